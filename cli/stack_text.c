#include "cli/stack_text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

#define NAME_MAX_BYTES 128

struct filling {
    const struct tree *tree;
    const struct stack_variables *variables;
    struct tree_place at;
    FILE *to;
    size_t bytes;
    bool is_filled;
};

struct part {
    const char *at, *end;
};

static bool is_letter(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
}

static bool is_word(char c)
{
    return is_letter(c) || (c >= '0' && c <= '9');
}

static faas_code put(struct filling *filling, const char *text, size_t len, faas_err *err)
{
    if (len > STACK_TEXT_MAX - filling->bytes)
        return tree_fail(filling->tree, filling->at, err, "a value has at most %d bytes",
                         STACK_TEXT_MAX);
    filling->bytes += len;
    if (len > 0 && fwrite(text, 1, len, filling->to) != len)
        return faas_fail_sys(err, ENOMEM, "value");
    return FAAS_OK;
}

/* The brace that ends what begins after "${", or NULL. */
static const char *closing(struct part part)
{
    size_t open = 1;

    for (const char *p = part.at; p < part.end; p++) {
        if (p[0] == '$' && p + 1 < part.end && p[1] == '{') {
            open++;
            p++;
        } else if (p[0] == '}' && --open == 0) {
            return p;
        }
    }
    return NULL;
}

struct variable {
    char name[NAME_MAX_BYTES];
    char how;         /* 0, '-' or '?' */
    bool needs_bytes; /* ":": an empty one counts as unset */
    struct part other;
};

static faas_code read_variable(const struct filling *filling, struct part inside,
                               struct variable *out, faas_err *err)
{
    const char *p = inside.at;

    while (p < inside.end && is_word(*p))
        p++;
    if (p == inside.at || !is_letter(inside.at[0]) || p - inside.at >= NAME_MAX_BYTES)
        return tree_fail(filling->tree, filling->at, err,
                         "${...} begins with the name of a variable; write $${ for the text ${");
    snprintf(out->name, sizeof out->name, "%.*s", (int)(p - inside.at), inside.at);
    out->needs_bytes = p + 1 < inside.end && p[0] == ':' && (p[1] == '-' || p[1] == '?');
    if (out->needs_bytes)
        p++;
    out->how = p < inside.end ? *p : '\0';
    if (out->how != '\0' && out->how != '-' && out->how != '?')
        return tree_fail(filling->tree, filling->at, err,
                         "${%.40s...}: write ${NAME}, ${NAME:-text} or ${NAME:?text}", out->name);
    out->other = (struct part){p < inside.end ? p + 1 : p, inside.end};
    return FAAS_OK;
}

static faas_code fill_part(struct filling *filling, struct part part, int depth, faas_err *err);

static faas_code put_variable(struct filling *filling, struct part inside, int depth, faas_err *err)
{
    struct variable variable;
    const char *value;

    FAAS_TRY(read_variable(filling, inside, &variable, err));
    filling->is_filled = true;
    value = filling->variables->lookup(variable.name);
    if (value != NULL && !faas_utf8_is(value, strlen(value)))
        return tree_fail(filling->tree, filling->at, err, "the variable %.60s is not UTF-8",
                         variable.name);
    if (value != NULL && (value[0] != '\0' || !variable.needs_bytes))
        return put(filling, value, strlen(value), err);
    if (variable.how == '-')
        return fill_part(filling, variable.other, depth + 1, err);
    if (variable.how == '?')
        return tree_fail(filling->tree, filling->at, err, "the variable %.60s is needed: %.*s",
                         variable.name, (int)(variable.other.end - variable.other.at),
                         variable.other.at);
    return filling->variables->unset(filling->variables->arg, filling->at, variable.name, err);
}

static faas_code put_dollar(struct filling *filling, struct part *part, int depth, faas_err *err)
{
    char next = part->at + 1 < part->end ? part->at[1] : '\0';
    const char *brace;

    if (next == '{') {
        struct part inside = {part->at + 2, part->end};

        brace = closing(inside);
        if (brace == NULL)
            return tree_fail(filling->tree, filling->at, err,
                             "${ without }; write $${ for the text ${");
        inside.end = brace;
        part->at = brace + 1;
        return put_variable(filling, inside, depth, err);
    }
    if (is_letter(next))
        return tree_fail(filling->tree, filling->at, err,
                         "$%c...: write ${NAME} for a variable, $$ for the sign itself", next);
    part->at += next == '$' ? 2 : 1;
    return put(filling, "$", 1, err);
}

static faas_code fill_part(struct filling *filling, struct part part, int depth, faas_err *err)
{
    if (depth > STACK_TEXT_DEPTH)
        return tree_fail(filling->tree, filling->at, err,
                         "more than %d variables inside each other", STACK_TEXT_DEPTH);
    while (part.at < part.end) {
        const char *dollar = memchr(part.at, '$', (size_t)(part.end - part.at));
        const char *until = dollar != NULL ? dollar : part.end;

        FAAS_TRY(put(filling, part.at, (size_t)(until - part.at), err));
        part.at = until;
        if (dollar != NULL)
            FAAS_TRY(put_dollar(filling, &part, depth, err));
    }
    return FAAS_OK;
}

static faas_code fill_text(const struct tree *tree, const struct stack_variables *variables,
                           struct tree_node *node, faas_err *err)
{
    struct filling filling = {.tree = tree, .variables = variables, .at = node->at};
    struct part part = {node->text, node->text + strlen(node->text)};
    char *text = NULL;
    size_t len;
    faas_code code;

    if (strchr(node->text, '$') == NULL)
        return FAAS_OK;
    filling.to = open_memstream(&text, &len);
    if (filling.to == NULL)
        return faas_fail_sys(err, errno, "value");
    code = fill_part(&filling, part, 0, err);
    if (fclose(filling.to) != 0 && code == FAAS_OK)
        code = faas_fail_sys(err, ENOMEM, "value");
    if (code != FAAS_OK) {
        free(text);
        return code;
    }
    free(node->text);
    node->text = text;
    node->is_filled = filling.is_filled;
    return FAAS_OK;
}

static faas_code fill_node(const struct tree *tree, const struct stack_variables *variables,
                           struct tree_node *node, faas_err *err)
{
    if (node->kind == TREE_TEXT)
        return fill_text(tree, variables, node, err);
    for (size_t i = 0; i < node->count; i++)
        FAAS_TRY(fill_node(tree, variables, node->items[i], err));
    return FAAS_OK;
}

faas_code stack_text_fill(const struct tree *tree, const struct stack_variables *variables,
                          faas_err *err)
{
    return tree->root != NULL ? fill_node(tree, variables, tree->root, err) : FAAS_OK;
}
