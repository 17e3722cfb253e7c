/* tree.h - a YAML file somebody else may have written, as a tree of texts, mappings and lists.
 * Read      block and flow style, comments, quoted and block texts, one document, UTF-8.
 * Refused   anchors and aliases (so nothing can multiply), tags, merge keys, a second document,
 *           duplicate keys, keys that are no text, more than the limits below.
 * Text      as written: `on`, `1.0` and `0x10` stay these letters; who reads a field decides what
 *           they mean.  is_plain tells a text without quotes, is_null one that is empty, `~` or
 *           `null` without quotes.
 * Errors    INVALID "FILE:LINE:COLUMN: what is wrong, and what to write"; TOO_LARGE likewise.
 * Ownership a tree owns its nodes and their texts.
 * Threads   any; a tree is not shared.
 */
#ifndef CLI_TREE_H
#define CLI_TREE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

#define TREE_BYTES_MAX (256 * 1024)
#define TREE_DEPTH_MAX 16    /* mappings and lists inside each other */
#define TREE_NODES_MAX 20000 /* in all */
#define TREE_ITEMS_MAX 1000  /* of one mapping or list */

struct tree_place {
    size_t line, column; /* from 1; a column counts characters */
};

struct tree_node {
    enum tree_kind { TREE_TEXT, TREE_MAP, TREE_LIST } kind;
    struct tree_place at;
    char *key; /* of its mapping, NULL elsewhere */
    struct tree_place key_at;
    char *text; /* TREE_TEXT; never NULL then */
    bool is_plain, is_null;
    bool is_filled; /* a variable was put in (stack_text.h) */
    struct tree_node **items;
    size_t count, room;
};

struct tree {
    const char *file;       /* as messages name it; borrowed */
    struct tree_node *root; /* owned; NULL for a file without anything */
    size_t nodes;
};

FAAS_MUST_CHECK faas_code tree_read(const char *file, const char *text, size_t len,
                                    struct tree *out_tree, faas_err *err);
void tree_done(struct tree *tree);
/* The member of that name, or NULL. */
struct tree_node *tree_get(const struct tree_node *map, const char *key);
/* "FILE:LINE:COLUMN: ", a file's name cut from the left, and the rest. */
faas_code tree_fail(const struct tree *tree, struct tree_place at, faas_err *err, const char *fmt,
                    ...) FAAS_PRINTF(4, 5);

#endif
