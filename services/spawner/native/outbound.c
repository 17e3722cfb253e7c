/* outbound.c - network "outbound": asked of faas-outbound, which makes devices and rules. */
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "native.h"
#include "services/spawner/zygote/packet.h"

_Static_assert(ZY_NETWORKS == SHARE_LANES, "a network for each lane");

static void settle(struct native *nt, const faas_err *err)
{
    nt->is_outbound_settled = true;
    nt->unconnected = *err;
    if (err->code != FAAS_OK)
        FAAS_LOG(WARN, "functions with network \"outbound\" are refused",
                 FAAS_LSTR("why", err->msg));
}

/* One is made at the start, to know whether it can be, and to put away what an earlier life left. */
static void on_probed(void *arg, const struct zy_reply *reply, int take_fd)
{
    struct native *nt = arg;
    faas_err err = {0};

    if (take_fd >= 0)
        close(take_fd);
    if (reply->step != ZY_STEP_NONE)
        (void)faas_fail(&err, FAAS_INVALID, "network \"outbound\" is not offered here: %s (%s)",
                        zy_step_text(reply->step), strerror(reply->error));
    settle(nt, &err);
}

void outbound_begin(struct native *nt)
{
    faas_err err = {0};

    if (nt->conf.outbound == NULL) {
        nt->is_outbound_settled = true;
        (void)faas_fail(&nt->unconnected, FAAS_INVALID,
                        "network \"outbound\" is not offered here: SPAWNER_OUTBOUND is off");
        return;
    }
    if (nursery_open(nt->ev, nt->conf.outbound, &nt->outbound, &err) != FAAS_OK ||
        outbound_make(nt, ZY_NETWORKS - 1, on_probed, nt, &err) != FAAS_OK)
        settle(nt, &err);
}

/* Where nothing comes of it, its process is not kept (nor started again, should it not run here). */
void outbound_tidy(struct native *nt)
{
    if (!nt->is_outbound_settled || nt->unconnected.code == FAAS_OK)
        return;
    nursery_close(nt->outbound);
    nt->outbound = NULL;
}

faas_code outbound_usable(const struct native *nt, faas_err *err)
{
    const faas_err *why = &nt->unconnected;

    return why->code == FAAS_OK ? FAAS_OK : faas_fail(err, why->code, "%s", why->msg);
}

faas_code outbound_make(struct native *nt, unsigned index, nursery_made *made, void *arg,
                        faas_err *err)
{
    struct zy_network_req req = {.number = nt->share.number,
                                 .index = index,
                                 .resolver_count = (uint32_t)nt->resolvers.count};
    const struct nursery_order order = {.data = &req, .len = sizeof req, .made = made, .arg = arg};

    memcpy(req.resolvers, nt->resolvers.at, sizeof req.resolvers);
    return nursery_make(nt->outbound, &order, err);
}
