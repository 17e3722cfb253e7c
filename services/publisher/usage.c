#include "usage.h"

#include <errno.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEPT_PART 8

struct said { /* what a publisher said of one user */
    struct usage_user *user;
    struct usage_count count;
};
struct usage_peer {
    TAILQ_ENTRY(usage_peer) link;
    char id[40];
    uint64_t heard_ns;
    struct said *said;
    size_t len;
};

static int by_tenant(const void *a, const void *b)
{
    return strcmp(a, b);
}

static struct usage_user *user_find(const struct usage *usage, const char *tenant)
{
    void *const *node = tfind(tenant, &usage->tree, by_tenant);

    return node != NULL ? *node : NULL;
}

int64_t usage_calls(const struct usage *usage, const char *tenant)
{
    const struct usage_user *user = user_find(usage, tenant);

    return user != NULL ? user->own.calls + user->others.calls : 0;
}

int64_t usage_placed(const struct usage *usage, const char *tenant)
{
    const struct usage_user *user = user_find(usage, tenant);

    return user != NULL ? user->own.placed + user->others.placed : 0;
}

void usage_init(struct usage *usage)
{
    *usage = (struct usage){.tree = NULL};
    TAILQ_INIT(&usage->users);
    TAILQ_INIT(&usage->peers);
}

/* ---- entries ---- */

static struct usage_user *user_get(struct usage *usage, const char *tenant)
{
    struct usage_user *user = user_find(usage, tenant);

    if (user == NULL) {
        user = calloc(1, sizeof *user);
        if (user == NULL)
            return NULL;
        snprintf(user->tenant, sizeof user->tenant, "%s", tenant);
        if (tsearch(user, &usage->tree, by_tenant) == NULL) {
            free(user);
            return NULL;
        }
        TAILQ_INSERT_TAIL(&usage->users, user, link);
        usage->active++;
    }
    return user;
}

static void user_drop(struct usage *usage, struct usage_user *user)
{
    TAILQ_REMOVE(&usage->users, user, link);
    tdelete(user->tenant, &usage->tree, by_tenant);
    usage->active--;
    free(user);
}

/* Takes back what the publisher said before. */
static void peer_unsay(struct usage_peer *peer)
{
    for (size_t i = 0; i < peer->len; i++) {
        struct said *said = &peer->said[i];

        said->user->others.calls -= said->count.calls;
        said->user->others.placed -= said->count.placed;
    }
    free(peer->said);
    peer->said = NULL;
    peer->len = 0;
}

static void peer_drop(struct usage *usage, struct usage_peer *peer)
{
    peer_unsay(peer);
    TAILQ_REMOVE(&usage->peers, peer, link);
    free(peer);
}

void usage_done(struct usage *usage)
{
    struct usage_peer *peer;
    struct usage_user *user;

    if (usage->users.tqh_last == NULL) /* zeroed: never initialised */
        return;
    while ((peer = TAILQ_FIRST(&usage->peers)) != NULL)
        peer_drop(usage, peer);
    while ((user = TAILQ_FIRST(&usage->users)) != NULL)
        user_drop(usage, user);
}

/* A user whom a publisher's last word names has an entry as long as that word counts: last_ns is
 * not older, and a peer's time is the shorter one. */
void usage_sweep(struct usage *usage, uint64_t now_ns)
{
    struct usage_peer *peer, *next_peer;
    struct usage_user *user, *next;

    for (peer = TAILQ_FIRST(&usage->peers); peer != NULL; peer = next_peer) {
        next_peer = TAILQ_NEXT(peer, link);
        if (now_ns > peer->heard_ns + USAGE_PEER_NS)
            peer_drop(usage, peer);
    }
    for (user = TAILQ_FIRST(&usage->users); user != NULL; user = next) {
        next = TAILQ_NEXT(user, link);
        if (user->own.calls == 0 && now_ns > user->last_ns + USAGE_RECENT_NS)
            user_drop(usage, user);
    }
}

/* ---- own calls ---- */

faas_code usage_enter(struct usage *usage, const char *tenant, size_t bytes,
                      const struct usage_caps *caps, struct usage_user **out_user, faas_err *err)
{
    struct usage_user *user = user_get(usage, tenant);

    if (user == NULL)
        return faas_fail_sys(err, ENOMEM, "count a user's calls");
    if (user->own.calls + user->others.calls >= caps->calls)
        return faas_fail(err, FAAS_BUSY,
                         "you have as many calls, running and waiting, as you may have at once "
                         "(%lld), your quota concurrency",
                         (long long)caps->calls);
    if (user->bytes + bytes > caps->bytes)
        return faas_fail(err, FAAS_BUSY,
                         "arguments of your waiting calls take %zu MB already, the most they may",
                         caps->bytes >> 20);
    user->own.calls++;
    user->bytes += bytes;
    *out_user = user;
    return FAAS_OK;
}

void usage_leave(struct usage_user *user)
{
    user->own.calls--;
}

void usage_seek(struct usage_user *user, uint64_t now_ns)
{
    user->last_ns = now_ns;
}

void usage_release_bytes(struct usage_user *user, size_t bytes)
{
    user->bytes -= bytes;
}

void usage_place(struct usage_user *user, int by)
{
    user->own.placed += by;
}

/* ---- shares ---- */

bool usage_is_below_share(const struct usage *usage, const struct usage_user *user,
                          int64_t capacity)
{
    int64_t share = usage->active > 0 ? capacity / (int64_t)usage->active : capacity;

    return user->own.placed + user->others.placed < (share > 0 ? share : 1);
}

int64_t usage_kept(const struct usage *usage, const struct usage_user *user, int64_t capacity)
{
    int64_t kept = capacity / KEPT_PART;

    if (usage->active < 2 || capacity < 2 || usage_is_below_share(usage, user, capacity))
        return 0;
    return kept > 0 ? kept : 1;
}

/* ---- the other publishers ---- */

/* Those with `least` to `most` calls, as far as there is room. */
static bool say_some(const struct usage *usage, json_t *users, int64_t least, int64_t most)
{
    const struct usage_user *user;

    TAILQ_FOREACH (user, &usage->users, link) {
        const struct usage_count *own = &user->own;

        if (json_object_size(users) >= USAGE_SAID_MAX)
            return true;
        if (own->calls >= least && own->calls <= most &&
            json_object_set_new(
                users, user->tenant,
                json_pack("[I, I]", (json_int_t)own->calls, (json_int_t)own->placed)) != 0)
            return false;
    }
    return true;
}

json_t *usage_say(struct usage *usage, const char *publisher)
{
    FAAS_AUTO(json_t) *users = json_object();
    bool was_said = usage->was_said;

    if (users == NULL || !say_some(usage, users, 2, INT64_MAX) || !say_some(usage, users, 1, 1))
        return NULL;
    usage->was_said = json_object_size(users) > 0;
    if (!usage->was_said && !was_said)
        return NULL;
    return json_pack("{s:i, s:s, s:O}", "v", 1, "publisher", publisher, "users", users);
}

static struct usage_peer *peer_get(struct usage *usage, const char *id)
{
    struct usage_peer *peer;

    TAILQ_FOREACH (peer, &usage->peers, link)
        if (strcmp(peer->id, id) == 0)
            return peer;
    peer = calloc(1, sizeof *peer);
    if (peer == NULL)
        return NULL;
    snprintf(peer->id, sizeof peer->id, "%s", id);
    TAILQ_INSERT_TAIL(&usage->peers, peer, link);
    return peer;
}

/* What is not a user's count is passed over. */
static void hear_user(struct usage *usage, struct usage_peer *peer, const char *tenant,
                      const json_t *counts)
{
    const json_int_t calls = json_integer_value(json_array_get(counts, 0));
    const json_int_t placed = json_integer_value(json_array_get(counts, 1));
    struct usage_user *user;

    if (!faas_uuid_is(tenant) || calls < 0 || calls > UINT32_MAX || placed < 0 || placed > calls)
        return;
    user = user_get(usage, tenant);
    if (user == NULL)
        return; /* counted too low until the next message */
    user->last_ns = peer->heard_ns;
    user->others.calls += calls;
    user->others.placed += placed;
    peer->said[peer->len++] = (struct said){user, {calls, placed}};
}

faas_code usage_hear(struct usage *usage, const json_t *doc, const char *self, uint64_t now_ns,
                     faas_err *err)
{
    const char *id = json_string_value(json_object_get(doc, "publisher")), *tenant;
    json_t *users = json_object_get(doc, "users"), *counts;
    struct usage_peer *peer;

    if (id == NULL || !json_is_object(users) || json_object_size(users) > USAGE_SAID_MAX)
        return faas_fail(err, FAAS_INVALID, "USE: publisher and users");
    if (strcmp(id, self) == 0)
        return FAAS_OK;
    peer = peer_get(usage, id);
    if (peer == NULL)
        return faas_fail_sys(err, ENOMEM, "hear a publisher");
    peer_unsay(peer);
    peer->heard_ns = now_ns;
    if (json_object_size(users) == 0)
        return FAAS_OK;
    peer->said = calloc(json_object_size(users), sizeof *peer->said);
    if (peer->said == NULL)
        return faas_fail_sys(err, ENOMEM, "hear a publisher");
    json_object_foreach (users, tenant, counts)
        hear_user(usage, peer, tenant, counts);
    return FAAS_OK;
}
