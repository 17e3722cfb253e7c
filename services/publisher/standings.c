#include "standings.h"

#include "base/log.h"
#include "contract.h"

#include <search.h>
#include <stdio.h>
#include <string.h>

#define USER_KEY "u."

struct user {
    char id[FAAS_UUID_TEXT]; /* first: the tree's key */
    struct faas_standing standing;
};

static int by_id(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void forget(struct standings *standings, const char *id)
{
    void *const *found = tfind(id, &standings->users, by_id);
    struct user *user = found != NULL ? *found : NULL;

    if (user == NULL)
        return;
    (void)tdelete(id, &standings->users, by_id);
    free(user);
}

static bool remember(struct standings *standings, const char *id,
                     const struct faas_standing *standing)
{
    void *const *found = tfind(id, &standings->users, by_id);
    struct user *user = found != NULL ? *found : calloc(1, sizeof *user);

    if (user == NULL)
        return false;
    user->standing = *standing;
    if (found != NULL)
        return true;
    (void)snprintf(user->id, sizeof user->id, "%s", id);
    if (tsearch(user, &standings->users, by_id) != NULL)
        return true;
    free(user);
    return false;
}

void standings_apply(struct standings *standings, const struct faas_feed_event *event)
{
    bool is_user = strncmp(event->key, USER_KEY, strlen(USER_KEY)) == 0;
    const char *id = is_user ? event->key + strlen(USER_KEY) : "";
    FAAS_AUTO(json_t) *doc = NULL;
    struct faas_standing standing;

    if (!faas_uuid_is(id))
        return;
    if (!event->is_delete &&
        faas_json_parse(event->value, event->len, false, &doc, NULL) != FAAS_OK) {
        FAAS_LOG(ERROR, "a user's standing cannot be read", FAAS_LSTR("user", id));
        return;
    }
    faas_standing_read(doc, &standing);
    if (faas_standing_is_plain(&standing))
        forget(standings, id);
    else if (!remember(standings, id, &standing))
        FAAS_LOG(ERROR, "no memory for a user's standing", FAAS_LSTR("user", id));
}

void standings_of(const struct standings *standings, const char *user,
                  struct faas_standing *out_standing)
{
    void *const *found = tfind(user, &standings->users, by_id);

    if (found != NULL)
        *out_standing = ((const struct user *)*found)->standing;
    else
        faas_standing_read(NULL, out_standing);
}

static void on_change(void *arg, const struct faas_feed_event *event)
{
    standings_apply(arg, event);
}

faas_code standings_open(struct standings *standings, faas_rpc *rpc, int replicas,
                         uint64_t deadline_ns, faas_err *err)
{
    struct faas_feed_conf conf = {.apply = on_change, .arg = standings};

    FAAS_TRY(
        faas_kv_open(rpc, FAAS_BUCKET_REVOCATIONS, replicas, deadline_ns, &standings->kv, err));
    conf.kv = standings->kv;
    return faas_feed_start(&conf, &standings->feed, err);
}

void standings_close(struct standings *standings)
{
    faas_feed_stop(standings->feed);
    faas_kv_close(standings->kv);
    tdestroy(standings->users, free);
    *standings = (struct standings){.users = NULL};
}
