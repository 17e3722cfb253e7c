#include "catalog_names.h"

#include "catalog_file.h"

#include "base/id.h"

#include <errno.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct name_user {
    char tenant[FAAS_UUID_TEXT]; /* first: the tree compares whole nodes as texts */
    TAILQ_ENTRY(name_user) link;
    struct names names;
};

FAAS_DEFINE_AUTO(sqlite3_stmt, sqlite3_finalize)

static int by_tenant(const void *a, const void *b)
{
    return strcmp(a, b);
}

static struct name_user *lookup(const struct catalog_names *known, const char *tenant)
{
    void *const *node = tfind(tenant, &known->root, by_tenant);

    return node != NULL ? *node : NULL;
}

static size_t bytes_of(const struct name_user *user)
{
    return sizeof *user + 2 * user->names.size;
}

static void user_free(struct name_user *user)
{
    if (user == NULL)
        return;
    names_done(&user->names);
    free(user);
}

typedef struct name_user name_user;
FAAS_DEFINE_AUTO(name_user, user_free)

static void drop(struct catalog_names *known, struct name_user *user)
{
    tdelete(user, &known->root, by_tenant);
    TAILQ_REMOVE(&known->recent, user, link);
    known->bytes -= bytes_of(user);
    user_free(user);
}

static void shrink(struct catalog_names *known)
{
    while (known->bytes > CATALOG_NAMES_BYTES && TAILQ_FIRST(&known->recent) != NULL)
        drop(known, TAILQ_LAST(&known->recent, name_users));
}

void catalog_names_init(struct catalog_names *known)
{
    *known = (struct catalog_names){.root = NULL};
    pthread_mutex_init(&known->mu, NULL);
    TAILQ_INIT(&known->recent);
}

void catalog_names_done(struct catalog_names *known)
{
    catalog_names_forget(known);
    pthread_mutex_destroy(&known->mu);
}

void catalog_names_forget(struct catalog_names *known)
{
    struct name_user *user;

    pthread_mutex_lock(&known->mu);
    while ((user = TAILQ_FIRST(&known->recent)) != NULL)
        drop(known, user);
    known->is_in_batch = false;
    known->batches++;
    pthread_mutex_unlock(&known->mu);
}

void catalog_names_set_batch(struct catalog_names *known, bool is_open)
{
    pthread_mutex_lock(&known->mu);
    known->is_in_batch = is_open;
    if (is_open)
        known->batches++;
    pthread_mutex_unlock(&known->mu);
}

/* Names that cannot be kept up are read again at the next search. */
void catalog_names_add(struct catalog_names *known, const char *tenant, const char *name)
{
    struct name_user *user;

    pthread_mutex_lock(&known->mu);
    user = lookup(known, tenant);
    if (user != NULL) {
        size_t before = bytes_of(user);
        faas_code rc = names_add(&user->names, name, NULL);

        known->bytes += bytes_of(user) - before;
        if (rc != FAAS_OK)
            drop(known, user);
        shrink(known);
    }
    pthread_mutex_unlock(&known->mu);
}

void catalog_names_remove(struct catalog_names *known, const char *tenant, const char *name)
{
    struct name_user *user;

    pthread_mutex_lock(&known->mu);
    user = lookup(known, tenant);
    if (user != NULL)
        names_remove(&user->names, name);
    pthread_mutex_unlock(&known->mu);
}

/* ---- searching ---- */

static faas_code load(sqlite3 *reader, const char *tenant, struct names *names, faas_err *err)
{
    static const char sql[] = "SELECT name FROM functions WHERE tenant = ?1 ORDER BY name";
    FAAS_AUTO(sqlite3_stmt) *stmt = NULL;
    int rc;

    if (sqlite3_prepare_v2(reader, sql, -1, &stmt, NULL) != SQLITE_OK)
        return catalog_file_read_failed(reader, "names", err);
    sqlite3_bind_text(stmt, 1, tenant, -1, SQLITE_STATIC);
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(stmt, 0);

        if (name == NULL)
            return faas_fail_sys(err, ENOMEM, "catalog: names");
        FAAS_TRY(names_add(names, name, err));
    }
    if (rc != SQLITE_DONE)
        return catalog_file_read_failed(reader, "names", err);
    return FAAS_OK;
}

static void collect(const struct names *names, const struct catalog_search *search,
                    struct catalog_found *found)
{
    const char *name = search->after;

    while (found->count < search->max && (name = names_find(names, name, search->part)) != NULL)
        snprintf(found->names[found->count++], sizeof found->names[0], "%s", name);
}

static bool find_known(struct catalog_names *known, const struct catalog_search *search,
                       struct catalog_found *found, uint64_t *out_batches)
{
    struct name_user *user;

    pthread_mutex_lock(&known->mu);
    user = lookup(known, search->tenant);
    if (user != NULL) {
        TAILQ_REMOVE(&known->recent, user, link);
        TAILQ_INSERT_HEAD(&known->recent, user, link);
        collect(&user->names, search, found);
    }
    *out_batches = known->is_in_batch ? UINT64_MAX : known->batches;
    pthread_mutex_unlock(&known->mu);
    return user != NULL;
}

/* Unless something changed since `batches` was read: then the next search reads them again. */
static void keep(struct catalog_names *known, uint64_t batches, struct name_user *take_user)
{
    FAAS_AUTO(name_user) *user = take_user;

    pthread_mutex_lock(&known->mu);
    if (known->batches == batches && tsearch(user, &known->root, by_tenant) != NULL) {
        known->bytes += bytes_of(user);
        TAILQ_INSERT_HEAD(&known->recent, user, link);
        user = NULL;
        shrink(known);
    }
    pthread_mutex_unlock(&known->mu);
}

static faas_code find_read(struct catalog_names *known, sqlite3 *reader,
                           const struct catalog_search *search, uint64_t batches,
                           struct catalog_found *found, faas_err *err)
{
    FAAS_AUTO(name_user) *user = calloc(1, sizeof *user);

    if (user == NULL)
        return faas_fail_sys(err, ENOMEM, "catalog: names");
    snprintf(user->tenant, sizeof user->tenant, "%s", search->tenant);
    FAAS_TRY(load(reader, search->tenant, &user->names, err));
    collect(&user->names, search, found);
    keep(known, batches, FAAS_STEAL(user));
    return FAAS_OK;
}

faas_code catalog_names_find(struct catalog_names *known, sqlite3 *reader,
                             const struct catalog_search *search, struct catalog_found *out_found,
                             faas_err *err)
{
    struct catalog_found found = {.names = calloc(search->max, sizeof found.names[0])};
    uint64_t batches;
    faas_code rc = FAAS_OK;

    if (found.names == NULL)
        return faas_fail_sys(err, ENOMEM, "catalog: names");
    if (!find_known(known, search, &found, &batches))
        rc = find_read(known, reader, search, batches, &found, err);
    if (rc != FAAS_OK) {
        free(found.names);
        return rc;
    }
    *out_found = found;
    return FAAS_OK;
}
