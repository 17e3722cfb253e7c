#include "gateway/revoked.h"

#include <errno.h>
#include <search.h>
#include <stdio.h>
#include <string.h>
#include <sys/queue.h>

#include "base/json.h"

#define USER_KEY "u."

struct ended {
    char jti[FAAS_UUID_TEXT];
    int64_t expires_at; /* seconds since 1970 */
};

struct user {
    char id[FAAS_UUID_TEXT]; /* the tree's key */
    SLIST_ENTRY(user) link;  /* while it is swept */
    int64_t generation;
    int64_t keys; /* how often API keys were ended */
    struct faas_standing standing;
    size_t count;
    struct ended ended[];
};
SLIST_HEAD(users, user);

static int compare(const void *a, const void *b)
{
    return strcmp(((const struct user *)a)->id, ((const struct user *)b)->id);
}

void revoked_init(struct revoked *revoked)
{
    revoked->users = NULL;
    pthread_rwlock_init(&revoked->lock, NULL);
}

void revoked_done(struct revoked *revoked)
{
    tdestroy(revoked->users, free);
    revoked->users = NULL;
    pthread_rwlock_destroy(&revoked->lock);
}

/* ---- changes ---- */

static faas_code bad(faas_err *err, const char *what)
{
    return faas_fail_sys(err, EPROTO, "stored revocations: %s", what);
}

static faas_code parse(const char *id, const void *value, size_t len, struct user **out_user,
                       faas_err *err)
{
    FAAS_AUTO(json_t) *doc = NULL;
    struct user *user;
    json_t *ended, *end;
    const char *jti;

    if (faas_json_parse(value, len, false, &doc, NULL) != FAAS_OK)
        return bad(err, "not JSON");
    ended = json_object_get(doc, "revoked");
    if (!json_is_integer(json_object_get(doc, "generation")) || !json_is_object(ended))
        return bad(err, "no generation, or nothing revoked");
    user = calloc(1, sizeof *user + json_object_size(ended) * sizeof user->ended[0]);
    if (user == NULL)
        return faas_fail_sys(err, errno, "revocations of a user");
    (void)snprintf(user->id, sizeof user->id, "%s", id);
    user->generation = json_integer_value(json_object_get(doc, "generation"));
    user->keys = json_integer_value(json_object_get(doc, "keys"));
    faas_standing_read(doc, &user->standing);
    json_object_foreach (ended, jti, end) {
        struct ended *place = &user->ended[user->count++];

        (void)snprintf(place->jti, sizeof place->jti, "%s", jti);
        place->expires_at = json_integer_value(end);
    }
    *out_user = user;
    return FAAS_OK;
}

/* The lock is held for writing. */
static void remove_user(struct revoked *revoked, const char *id)
{
    struct user key, **found, *old;

    (void)snprintf(key.id, sizeof key.id, "%s", id);
    found = tfind(&key, &revoked->users, compare);
    if (found == NULL)
        return;
    old = *found;
    (void)tdelete(old, &revoked->users, compare);
    free(old);
}

/* The lock is held for writing.  False: no memory, and what was known of the user stays. */
static bool put_user(struct revoked *revoked, struct user *take_user)
{
    struct user **place = tsearch(take_user, &revoked->users, compare), *old;

    if (place == NULL)
        return false;
    old = *place;
    *place = take_user;
    if (old != take_user)
        free(old);
    return true;
}

faas_code revoked_apply(struct revoked *revoked, const char *key, const void *value, size_t len,
                        faas_err *err)
{
    const char *id = key + strlen(USER_KEY);
    struct user *user = NULL;
    bool is_kept = true;

    if (strncmp(key, USER_KEY, strlen(USER_KEY)) != 0 || !faas_uuid_is(id))
        return FAAS_OK;
    if (len > 0)
        FAAS_TRY(parse(id, value, len, &user, err));
    pthread_rwlock_wrlock(&revoked->lock);
    if (user != NULL)
        is_kept = put_user(revoked, user);
    else
        remove_user(revoked, id);
    pthread_rwlock_unlock(&revoked->lock);
    if (is_kept)
        return FAAS_OK;
    free(user);
    return faas_fail_sys(err, ENOMEM, "revocations of a user");
}

/* ---- looking ---- */

static bool is_ended(const struct user *user, const struct faas_token_claims *claims)
{
    if (claims->generation < user->generation)
        return true;
    for (size_t i = 0; i < user->count; i++) {
        if (strcmp(user->ended[i].jti, claims->jti) == 0)
            return true;
    }
    return false;
}

bool revoked_has(struct revoked *revoked, const struct faas_token_claims *claims)
{
    struct user key, **found;
    bool has;

    memcpy(key.id, claims->user, sizeof key.id);
    pthread_rwlock_rdlock(&revoked->lock);
    found = tfind(&key, &revoked->users, compare);
    has = found != NULL && is_ended(*found, claims);
    pthread_rwlock_unlock(&revoked->lock);
    return has;
}

void revoked_standing(struct revoked *revoked, const char *user, struct faas_standing *out_standing)
{
    struct user key, **found;

    (void)snprintf(key.id, sizeof key.id, "%s", user);
    pthread_rwlock_rdlock(&revoked->lock);
    found = tfind(&key, &revoked->users, compare);
    if (found != NULL)
        *out_standing = (*found)->standing;
    else
        faas_standing_read(NULL, out_standing);
    pthread_rwlock_unlock(&revoked->lock);
}

int64_t revoked_keys(struct revoked *revoked, const char *user)
{
    struct user key, **found;
    int64_t keys;

    (void)snprintf(key.id, sizeof key.id, "%s", user);
    pthread_rwlock_rdlock(&revoked->lock);
    found = tfind(&key, &revoked->users, compare);
    keys = found != NULL ? (*found)->keys : 0;
    pthread_rwlock_unlock(&revoked->lock);
    return keys;
}

/* ---- forgetting ---- */

struct sweep {
    int64_t now_s;
    struct users empty; /* nothing left to remember */
};

static void sweep_user(const void *node, VISIT visit, void *arg)
{
    struct user *user = *(struct user *const *)node;
    struct sweep *sweep = arg;
    size_t kept = 0;

    if (visit != postorder && visit != leaf)
        return;
    for (size_t i = 0; i < user->count; i++) {
        if (user->ended[i].expires_at > sweep->now_s)
            user->ended[kept++] = user->ended[i];
    }
    user->count = kept;
    if (kept == 0 && user->generation == 0 && user->keys == 0 &&
        faas_standing_is_plain(&user->standing))
        SLIST_INSERT_HEAD(&sweep->empty, user, link);
}

void revoked_sweep(struct revoked *revoked, int64_t now_s)
{
    struct sweep sweep = {.now_s = now_s, .empty = SLIST_HEAD_INITIALIZER(sweep.empty)};
    struct user *user;

    pthread_rwlock_wrlock(&revoked->lock);
    twalk_r(revoked->users, sweep_user, &sweep);
    while ((user = SLIST_FIRST(&sweep.empty)) != NULL) {
        SLIST_REMOVE_HEAD(&sweep.empty, link);
        (void)tdelete(user, &revoked->users, compare);
        free(user);
    }
    pthread_rwlock_unlock(&revoked->lock);
}
