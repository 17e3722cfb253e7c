#include "secret_index.h"

#include <errno.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/name.h"
#include "contract.h"

#define NAME_HASH_HEX 32
#define PREFIX        "s."

struct node {
    char key[SECRET_KEY_MAX]; /* the tree's key */
    char name[FAAS_FUNCTION_NAME_MAX + 1];
    int64_t created_ms, updated_ms, size;
};

void secret_key(const char *tenant, const char *name, char out_key[SECRET_KEY_MAX])
{
    char hash[FAAS_HASH_TEXT];

    faas_hash_text(name, strlen(name), hash);
    (void)snprintf(out_key, SECRET_KEY_MAX, PREFIX "%.36s.%.*s", tenant, NAME_HASH_HEX, hash);
}

static int compare(const void *a, const void *b)
{
    return strcmp(((const struct node *)a)->key, ((const struct node *)b)->key);
}

void secret_index_init(struct secret_index *index)
{
    index->tree = NULL;
    pthread_rwlock_init(&index->lock, NULL);
}

void secret_index_done(struct secret_index *index)
{
    tdestroy(index->tree, free);
    index->tree = NULL;
    pthread_rwlock_destroy(&index->lock);
}

/* ---- changes ---- */

struct kept { /* what is read of a stored value */
    const char *name;
    int64_t created_ms, updated_ms, size;
};

static faas_code read_doc(const json_t *doc, struct kept *out_kept, faas_err *err)
{
    static const struct faas_json_field fields[] = {
        FAAS_FIELD(STR, struct kept, name, "name", 1, FAAS_FUNCTION_NAME_MAX, true),
        FAAS_FIELD(INT, struct kept, created_ms, "created_at", 0, 0, true),
        FAAS_FIELD(INT, struct kept, updated_ms, "updated_at", 0, 0, true),
        FAAS_FIELD(INT, struct kept, size, "size", 0, INT32_MAX, true),
        FAAS_FIELD_END,
    };
    faas_err why = {0};

    if (faas_json_decode(doc, fields, FAAS_JSON_TOLERANT, out_kept, &why) != FAAS_OK)
        return faas_fail_sys(err, EPROTO, "stored secret: %s", why.msg);
    return FAAS_OK;
}

static faas_code make_node(const char *key, const void *value, size_t len, struct node **out_node,
                           faas_err *err)
{
    FAAS_AUTO(json_t) *doc = NULL;
    struct kept kept;
    struct node *node;

    if (faas_json_parse(value, len, false, &doc, NULL) != FAAS_OK)
        return faas_fail_sys(err, EPROTO, "stored secret: not JSON");
    FAAS_TRY(read_doc(doc, &kept, err));
    node = calloc(1, sizeof *node);
    if (node == NULL)
        return faas_fail_sys(err, ENOMEM, "secret");
    (void)snprintf(node->key, sizeof node->key, "%s", key);
    (void)snprintf(node->name, sizeof node->name, "%s", kept.name);
    node->created_ms = kept.created_ms;
    node->updated_ms = kept.updated_ms;
    node->size = kept.size;
    *out_node = node;
    return FAAS_OK;
}

/* The lock is held for writing. */
static void remove_node(struct secret_index *index, const char *key)
{
    struct node wanted, **found, *old;

    (void)snprintf(wanted.key, sizeof wanted.key, "%s", key);
    found = tfind(&wanted, &index->tree, compare);
    if (found == NULL)
        return;
    old = *found;
    (void)tdelete(old, &index->tree, compare);
    free(old);
}

faas_code secret_index_apply(struct secret_index *index, const char *key, const void *value,
                             size_t len, faas_err *err)
{
    struct node *node = NULL;
    bool is_kept = true;

    if (strncmp(key, PREFIX, strlen(PREFIX)) != 0 || strlen(key) >= SECRET_KEY_MAX)
        return FAAS_OK;
    if (value != NULL)
        FAAS_TRY(make_node(key, value, len, &node, err));
    pthread_rwlock_wrlock(&index->lock);
    remove_node(index, key);
    if (node != NULL)
        is_kept = tsearch(node, &index->tree, compare) != NULL;
    pthread_rwlock_unlock(&index->lock);
    if (is_kept)
        return FAAS_OK;
    free(node);
    return faas_fail_sys(err, ENOMEM, "secret");
}

/* ---- looking ---- */

bool secret_index_has(struct secret_index *index, const char *tenant, const char *name)
{
    struct node wanted;
    bool has;

    secret_key(tenant, name, wanted.key);
    pthread_rwlock_rdlock(&index->lock);
    has = tfind(&wanted, &index->tree, compare) != NULL;
    pthread_rwlock_unlock(&index->lock);
    return has;
}

struct walk {
    char prefix[SECRET_KEY_MAX];
    int64_t count;
    json_t *items; /* NULL: only counted */
    bool are_logins;
    bool has_failed;
};

static json_t *item(const char *name, const int64_t times_ms[2], int64_t size)
{
    char created[FAAS_TIME_TEXT], updated[FAAS_TIME_TEXT];

    faas_time_format(times_ms[0], created);
    faas_time_format(times_ms[1], updated);
    return json_pack("{s:s, s:s, s:s, s:I}", "name", name, "created_at", created, "updated_at",
                     updated, "size", (json_int_t)size);
}

json_t *secret_public(const json_t *doc)
{
    struct kept kept;

    if (read_doc(doc, &kept, NULL) != FAAS_OK)
        return NULL;
    return item(kept.name, (const int64_t[]){kept.created_ms, kept.updated_ms}, kept.size);
}

static void visit(const void *place, VISIT order, void *arg)
{
    const struct node *node = *(struct node *const *)place;
    struct walk *walk = arg;
    json_t *made;

    if ((order != postorder && order != leaf) ||
        strncmp(node->key, walk->prefix, strlen(walk->prefix)) != 0)
        return;
    walk->count++;
    if (walk->items == NULL || (node->name[0] == FAAS_LOGIN_MARK) != walk->are_logins)
        return;
    made = item(node->name, (const int64_t[]){node->created_ms, node->updated_ms}, node->size);
    if (made == NULL || json_array_append_new(walk->items, made) != 0)
        walk->has_failed = true;
}

static void walk_all(struct secret_index *index, const char *tenant, struct walk *walk)
{
    (void)snprintf(walk->prefix, sizeof walk->prefix, PREFIX "%.36s.", tenant);
    pthread_rwlock_rdlock(&index->lock);
    twalk_r(index->tree, visit, walk);
    pthread_rwlock_unlock(&index->lock);
}

int64_t secret_index_count(struct secret_index *index, const char *tenant)
{
    struct walk walk = {.count = 0};

    walk_all(index, tenant, &walk);
    return walk.count;
}

static const char *name_of(const json_t *made)
{
    return json_string_value(json_object_get(made, "name"));
}

static int by_name(const void *a, const void *b)
{
    return strcmp(name_of(*(json_t *const *)a), name_of(*(json_t *const *)b));
}

/* The tree is in the order of hashes. */
static json_t *sorted(const json_t *items)
{
    size_t count = json_array_size(items);
    json_t **list = calloc(count + 1, sizeof(json_t *)), *out = json_array();

    for (size_t i = 0; list != NULL && i < count; i++)
        list[i] = json_array_get(items, i);
    if (list != NULL)
        qsort(list, count, sizeof(json_t *), by_name);
    for (size_t i = 0; list != NULL && i < count; i++)
        if (json_array_append(out, list[i]) != 0) {
            json_decref(out);
            out = NULL;
            break;
        }
    if (list == NULL) {
        json_decref(out);
        out = NULL;
    }
    free((void *)list);
    return out;
}

faas_code secret_index_list(struct secret_index *index, const char *tenant, bool are_logins,
                            json_t **out_items, faas_err *err)
{
    FAAS_AUTO(json_t) *items = json_array();
    struct walk walk = {.items = items, .are_logins = are_logins};

    if (items == NULL)
        return faas_fail_sys(err, ENOMEM, "list of secrets");
    walk_all(index, tenant, &walk);
    *out_items = walk.has_failed ? NULL : sorted(items);
    return *out_items != NULL ? FAAS_OK : faas_fail_sys(err, ENOMEM, "list of secrets");
}
