#include "sweep.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

void sweep_deaf(struct sweep *sweep)
{
    memset(sweep->peers, 0, sizeof sweep->peers);
}

static struct sweep_peer *peer_of(struct sweep *sweep, const char *spawner)
{
    struct sweep_peer *empty = NULL;

    for (size_t i = 0; i < SWEEP_PEERS; i++) {
        if (strcmp(sweep->peers[i].spawner, spawner) == 0)
            return &sweep->peers[i];
        if (sweep->peers[i].spawner[0] == '\0' && empty == NULL)
            empty = &sweep->peers[i];
    }
    return empty;
}

static bool is_gone(struct sweep *sweep, const char *spawner, uint64_t now_ns)
{
    struct sweep_peer *peer = peer_of(sweep, spawner);

    if (peer == NULL)
        return false;
    if (sweep->is_heard(sweep->arg, spawner)) {
        memset(peer, 0, sizeof *peer);
        return false;
    }
    if (peer->spawner[0] == '\0') {
        snprintf(peer->spawner, sizeof peer->spawner, "%s", spawner);
        peer->missing_ns = now_ns;
    }
    return now_ns - peer->missing_ns >= SWEEP_GONE_MS * FAAS_MS_NS;
}

static const char *label(const json_t *labels, const char *name)
{
    const char *text = json_string_value(json_object_get(labels, name));

    return text != NULL ? text : "";
}

const char *sweep_judge(struct sweep *sweep, const json_t *labels, uint64_t now_ns, int64_t wall_s)
{
    const char *spawner = label(labels, LABEL_SPAWNER);
    const char *call = label(labels, LABEL_CALL);
    bool is_self = strcmp(spawner, sweep->self.spawner) == 0;
    long long expires = strtoll(label(labels, LABEL_EXPIRES), NULL, 10);

    if (strcmp(label(labels, LABEL_CLUSTER), sweep->self.cluster) != 0 || call[0] == '\0' ||
        spawner[0] == '\0' || strlen(spawner) >= sizeof sweep->peers[0].spawner)
        return NULL; /* not made by a spawner of this cluster */
    if (is_self && strcmp(label(labels, LABEL_EPOCH), sweep->self.epoch) != 0)
        return "left by an earlier process";
    if (is_self)
        return sweep->is_own_call(sweep->arg, call) ? NULL : "no call of it is known";
    if (expires > 0 && wall_s > expires)
        return "past its time";
    return is_gone(sweep, spawner, now_ns) ? "its spawner is gone" : NULL;
}
