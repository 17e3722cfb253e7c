#include "cli/bus.h"

#include <errno.h>
#include <pthread.h>

#include "base/loop.h"
#include "version.h"

#define DRAIN_MS 200

static void *run_loop(void *arg)
{
    faas_loop_run(arg);
    return NULL;
}

struct link { /* what is open */
    faas_loop *loop;
    faas_bus *bus;
    faas_rpc *rpc;
};

static faas_code open_link(const struct cli_bus_conf *conf, struct link *link, faas_err *err)
{
    const struct faas_bus_conf bus_conf = {
        .urls = conf->urls, .service = "cli", .id = conf->id, .nkey_file = conf->nkey_file};
    const struct faas_rpc_conf rpc_conf = {"cli", conf->id, FAAS_VERSION, "faas", NULL};

    FAAS_TRY(faas_loop_new(&link->loop, err));
    FAAS_TRY(faas_bus_open(&bus_conf, link->loop, &link->bus, err));
    return faas_rpc_open(link->bus, &rpc_conf, &link->rpc, err);
}

static faas_code run_work(const struct link *link, cli_bus_work *work, void *arg, faas_err *err)
{
    pthread_t thread;
    faas_code code;

    if (pthread_create(&thread, NULL, run_loop, link->loop) != 0)
        return faas_fail_sys(err, EAGAIN, "bus thread");
    code = work(link->rpc, arg, err);
    faas_loop_stop(link->loop);
    pthread_join(thread, NULL);
    return code;
}

faas_code cli_bus_use(const struct cli_bus_conf *conf, cli_bus_work *work, void *arg,
                      bool *out_is_lost, faas_err *err)
{
    struct link link = {NULL, NULL, NULL};
    faas_code code = open_link(conf, &link, err);

    *out_is_lost = false;
    if (code == FAAS_OK)
        code = run_work(&link, work, arg, err);
    if (link.rpc != NULL)
        faas_rpc_close(link.rpc);
    if (link.bus != NULL) {
        *out_is_lost = faas_bus_is_lost(link.bus);
        faas_bus_close(link.bus, DRAIN_MS);
    }
    if (link.loop != NULL)
        faas_loop_free(link.loop);
    return code;
}
