#include "cli/tree.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

#include "base/text.h"

#define FILE_SHOWN 60 /* bytes of a file's name in a message: the end tells files apart */

struct reader {
    yaml_parser_t parser;
    struct tree *tree;
    yaml_event_t event; /* the one at hand */
    bool has_event;
};

static void node_free(struct tree_node *node)
{
    if (node == NULL)
        return;
    for (size_t i = 0; i < node->count; i++)
        node_free(node->items[i]);
    free(node->items);
    free(node->text);
    free(node->key);
    free(node);
}
typedef struct tree_node tree_node;
FAAS_DEFINE_AUTO(tree_node, node_free)

void tree_done(struct tree *tree)
{
    node_free(tree->root);
    tree->root = NULL;
}

struct tree_node *tree_get(const struct tree_node *map, const char *key)
{
    for (size_t i = 0; map != NULL && map->kind == TREE_MAP && i < map->count; i++)
        if (strcmp(map->items[i]->key, key) == 0)
            return map->items[i];
    return NULL;
}

/* ---- errors ---- */

faas_code tree_fail(const struct tree *tree, struct tree_place at, faas_err *err, const char *fmt,
                    ...)
{
    size_t len = strlen(tree->file);
    const char *file = len > FILE_SHOWN ? tree->file + len - FILE_SHOWN : tree->file;
    char text[FAAS_ERR_MSG_MAX];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return faas_fail(err, FAAS_INVALID, "%s:%zu:%zu: %s", file, at.line, at.column, text);
}

static struct tree_place place_of(yaml_mark_t mark)
{
    return (struct tree_place){mark.line + 1, mark.column + 1};
}

static faas_code no_memory(faas_err *err)
{
    return faas_fail_sys(err, ENOMEM, "stack file");
}

/* The place of the byte at `offset`. */
static struct tree_place place_at(const char *text, size_t offset)
{
    struct tree_place at = {1, 1};

    for (size_t i = 0; i < offset; i++) {
        if (text[i] == '\n')
            at = (struct tree_place){at.line + 1, 1};
        else if (((unsigned char)text[i] & 0xC0) != 0x80)
            at.column++;
    }
    return at;
}

static faas_code check_bytes(const struct tree *tree, const char *text, size_t len, faas_err *err)
{
    if (len > TREE_BYTES_MAX)
        return faas_fail(err, FAAS_TOO_LARGE, "%s: a stack file has at most %d bytes", tree->file,
                         TREE_BYTES_MAX);
    for (size_t i = 0; i < len;) {
        size_t n = faas_utf8_decode(text + i, len - i, NULL);

        if (n == 0)
            return tree_fail(tree, place_at(text, i), err,
                             "this is not UTF-8: save the file in that encoding");
        if (text[i] == '\0')
            return tree_fail(tree, place_at(text, i), err, "a NUL byte: take it out");
        i += n;
    }
    return FAAS_OK;
}

static faas_code syntax(const struct reader *reader, faas_err *err)
{
    const yaml_parser_t *parser = &reader->parser;
    const char *problem = parser->problem != NULL ? parser->problem : "not YAML";

    if (parser->error == YAML_MEMORY_ERROR)
        return no_memory(err);
    if (parser->error == YAML_READER_ERROR)
        return tree_fail(reader->tree, place_of(parser->mark), err,
                         "a control character (%s): take it out", problem);
    if (strstr(problem, "cannot start any token") != NULL)
        problem = "this character cannot begin a value: indent with spaces, not tabs, and put "
                  "texts with special characters in quotes";
    return tree_fail(reader->tree, place_of(parser->problem_mark), err, "%s%s%s", problem,
                     parser->context != NULL ? ", " : "",
                     parser->context != NULL ? parser->context : "");
}

/* ---- events ---- */

static void drop(struct reader *reader)
{
    if (reader->has_event)
        yaml_event_delete(&reader->event);
    reader->has_event = false;
}

static faas_code advance(struct reader *reader, faas_err *err)
{
    drop(reader);
    if (yaml_parser_parse(&reader->parser, &reader->event) == 0)
        return syntax(reader, err);
    reader->has_event = true;
    return FAAS_OK;
}

/* Anchors and tags may stand at any value. */
static faas_code check_plain_value(const struct reader *reader, faas_err *err)
{
    const yaml_event_t *event = &reader->event;
    struct tree_place at = place_of(event->start_mark);
    const yaml_char_t *anchor = NULL, *tag = NULL;

    if (event->type == YAML_SCALAR_EVENT) {
        anchor = event->data.scalar.anchor;
        tag = event->data.scalar.tag;
    } else if (event->type == YAML_MAPPING_START_EVENT) {
        anchor = event->data.mapping_start.anchor;
        tag = event->data.mapping_start.tag;
    } else if (event->type == YAML_SEQUENCE_START_EVENT) {
        anchor = event->data.sequence_start.anchor;
        tag = event->data.sequence_start.tag;
    }
    if (event->type == YAML_ALIAS_EVENT || anchor != NULL)
        return tree_fail(reader->tree, at, err,
                         "anchors (&) and aliases (*) are not read: write the value out, or in "
                         "quotes when it begins with that sign");
    if (tag != NULL)
        return tree_fail(reader->tree, at, err,
                         "tags (!) are not read: leave it out, or put the value in quotes");
    return FAAS_OK;
}

/* ---- nodes ---- */

static faas_code new_node(struct reader *reader, enum tree_kind kind, struct tree_node **out_node,
                          faas_err *err)
{
    struct tree_place at = place_of(reader->event.start_mark);
    struct tree_node *node;

    if (reader->tree->nodes == TREE_NODES_MAX)
        return tree_fail(reader->tree, at, err, "more than %d values: divide the file",
                         TREE_NODES_MAX);
    node = calloc(1, sizeof *node);
    if (node == NULL)
        return no_memory(err);
    reader->tree->nodes++;
    node->kind = kind;
    node->at = at;
    *out_node = node;
    return FAAS_OK;
}

static faas_code copy_text(const struct reader *reader, char **out_text, faas_err *err)
{
    const char *value = (const char *)reader->event.data.scalar.value;
    size_t len = reader->event.data.scalar.length;

    if (memchr(value, '\0', len) != NULL)
        return tree_fail(reader->tree, place_of(reader->event.start_mark), err,
                         "a NUL byte (\\0): take it out");
    if (!faas_utf8_is(value, len)) /* "\ud800" */
        return tree_fail(reader->tree, place_of(reader->event.start_mark), err,
                         "an escape that is no character: take it out");
    *out_text = strndup(value, len);
    return *out_text != NULL ? FAAS_OK : no_memory(err);
}

static bool is_null_word(const char *text)
{
    return text[0] == '\0' || strcmp(text, "~") == 0 || strcmp(text, "null") == 0 ||
           strcmp(text, "Null") == 0 || strcmp(text, "NULL") == 0;
}

static faas_code read_text(struct reader *reader, struct tree_node *node, faas_err *err)
{
    FAAS_TRY(copy_text(reader, &node->text, err));
    node->is_plain = reader->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    node->is_null = node->is_plain && is_null_word(node->text);
    return FAAS_OK;
}

/* Room for one more in a map or list. */
static faas_code make_room(struct reader *reader, struct tree_node *in, faas_err *err)
{
    struct tree_node **items;
    size_t room = in->room > 0 ? in->room * 2 : 8;

    if (in->count == TREE_ITEMS_MAX)
        return tree_fail(reader->tree, place_of(reader->event.start_mark), err,
                         "more than %d entries in one mapping or list", TREE_ITEMS_MAX);
    if (in->count < in->room)
        return FAAS_OK;
    items = realloc(in->items, room * sizeof(struct tree_node *));
    if (items == NULL)
        return no_memory(err);
    in->items = items;
    in->room = room;
    return FAAS_OK;
}

struct entry_key {
    char *text; /* owned until the entry has it */
    struct tree_place at;
};

static faas_code read_key(struct reader *reader, const struct tree_node *map,
                          struct entry_key *out_key, faas_err *err)
{
    const struct tree_node *same;

    out_key->at = place_of(reader->event.start_mark);
    FAAS_TRY(check_plain_value(reader, err));
    if (reader->event.type != YAML_SCALAR_EVENT)
        return tree_fail(reader->tree, out_key->at, err, "a name is a text: write NAME: VALUE");
    FAAS_TRY(copy_text(reader, &out_key->text, err));
    if (strcmp(out_key->text, "<<") == 0)
        return tree_fail(reader->tree, out_key->at, err,
                         "merge keys (<<) are not read: write the fields out");
    same = tree_get(map, out_key->text);
    if (same != NULL)
        return tree_fail(reader->tree, out_key->at, err,
                         "%.40s is there already, in line %zu: leave one of them", out_key->text,
                         same->key_at.line);
    return FAAS_OK;
}

static faas_code read_node(struct reader *reader, int depth, struct tree_node **out_node,
                           faas_err *err);

static faas_code read_entry(struct reader *reader, int depth, struct tree_node *map, faas_err *err)
{
    struct entry_key key = {0};
    faas_code code = read_key(reader, map, &key, err);
    struct tree_node *node = NULL;

    if (code == FAAS_OK)
        code = advance(reader, err);
    if (code == FAAS_OK)
        code = read_node(reader, depth, &node, err);
    if (code != FAAS_OK) {
        free(key.text);
        return code;
    }
    node->key = key.text;
    node->key_at = key.at;
    map->items[map->count++] = node;
    return FAAS_OK;
}

static faas_code read_inner(struct reader *reader, int depth, struct tree_node *in, faas_err *err)
{
    yaml_event_type_t end = in->kind == TREE_MAP ? YAML_MAPPING_END_EVENT : YAML_SEQUENCE_END_EVENT;

    if (depth == TREE_DEPTH_MAX)
        return tree_fail(reader->tree, in->at, err, "more than %d levels deep", TREE_DEPTH_MAX);
    for (;;) {
        FAAS_TRY(advance(reader, err));
        if (reader->event.type == end)
            return FAAS_OK;
        FAAS_TRY(make_room(reader, in, err));
        if (in->kind == TREE_MAP) {
            FAAS_TRY(read_entry(reader, depth + 1, in, err));
        } else {
            FAAS_TRY(read_node(reader, depth + 1, &in->items[in->count], err));
            in->count++;
        }
    }
}

/* The value that begins with the event at hand. */
static faas_code read_node(struct reader *reader, int depth, struct tree_node **out_node,
                           faas_err *err)
{
    FAAS_AUTO(tree_node) *node = NULL;
    enum tree_kind kind = reader->event.type == YAML_MAPPING_START_EVENT    ? TREE_MAP
                          : reader->event.type == YAML_SEQUENCE_START_EVENT ? TREE_LIST
                                                                            : TREE_TEXT;

    FAAS_TRY(check_plain_value(reader, err));
    FAAS_TRY(new_node(reader, kind, &node, err));
    if (kind == TREE_TEXT)
        FAAS_TRY(read_text(reader, node, err));
    else
        FAAS_TRY(read_inner(reader, depth, node, err));
    *out_node = FAAS_STEAL(node);
    return FAAS_OK;
}

static faas_code read_document(struct reader *reader, faas_err *err)
{
    FAAS_TRY(advance(reader, err)); /* the stream begins */
    FAAS_TRY(advance(reader, err));
    if (reader->event.type == YAML_STREAM_END_EVENT)
        return FAAS_OK;
    FAAS_TRY(advance(reader, err)); /* after the beginning of the document */
    FAAS_TRY(read_node(reader, 0, &reader->tree->root, err));
    FAAS_TRY(advance(reader, err)); /* its end */
    FAAS_TRY(advance(reader, err));
    if (reader->event.type != YAML_STREAM_END_EVENT)
        return tree_fail(reader->tree, place_of(reader->event.start_mark), err,
                         "a second document (---): a stack file has one");
    return FAAS_OK;
}

faas_code tree_read(const char *file, const char *text, size_t len, struct tree *out_tree,
                    faas_err *err)
{
    struct reader reader = {.tree = out_tree};
    faas_code code;

    *out_tree = (struct tree){.file = file};
    FAAS_TRY(check_bytes(out_tree, text, len, err));
    if (yaml_parser_initialize(&reader.parser) == 0)
        return no_memory(err);
    yaml_parser_set_encoding(&reader.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&reader.parser, (const unsigned char *)text, len);
    code = read_document(&reader, err);
    drop(&reader);
    yaml_parser_delete(&reader.parser);
    if (code != FAAS_OK)
        tree_done(out_tree);
    return code;
}
