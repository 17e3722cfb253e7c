#include "check.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "native.h"

static void on_time(struct ev_loop *ev, ev_timer *timer, int events)
{
    (void)ev, (void)timer, (void)events; /* wakes ev_run */
}

/* Runs the loop until a claim holds, or for CHECK_S. */
static bool run_until(struct ev_loop *ev, bool (*holds)(struct runtime *), struct runtime *rt)
{
    ev_timer limit;
    bool is_so;

    ev_timer_init(&limit, on_time, CHECK_S, 0.0);
    ev_timer_start(ev, &limit);
    while (!(is_so = holds(rt)) && ev_is_active(&limit))
        ev_run(ev, EVRUN_ONCE);
    ev_timer_stop(ev, &limit);
    return is_so;
}

static bool is_settled(struct runtime *rt)
{
    return runtime_native_is_settled(rt);
}

static bool is_empty(struct runtime *rt)
{
    size_t left;

    rt->ops->drain(rt, &left);
    return left == 0;
}

static void list_lacks(const struct native *nt, char out_lacks[32])
{
    static const enum cgroup_controller each[] = {CGROUP_MEMORY, CGROUP_PIDS, CGROUP_CPU};
    size_t at = 0;

    out_lacks[0] = '\0';
    for (size_t i = 0; i < FAAS_ARRAY_LEN(each); i++)
        if ((cgroups_has(nt->groups) & each[i]) == 0)
            at += (size_t)snprintf(out_lacks + at, 32 - at, "%s%s", at > 0 ? ", " : "",
                                   cgroup_controller_name(each[i]));
}

static faas_code try_one(faas_loop *loop, const struct native_conf *conf, char out_lacks[32],
                         faas_err *err)
{
    struct runtime *rt = NULL;
    faas_code rc;

    FAAS_TRY(runtime_native_new(conf, &rt, err));
    list_lacks((struct native *)rt, out_lacks);
    runtime_native_begin(rt);
    rc = run_until(faas_loop_ev(loop), is_settled, rt)
             ? rt->ops->usable(rt, err)
             : faas_fail(err, FAAS_UNAVAILABLE, "a sandbox takes too long");
    (void)run_until(faas_loop_ev(loop), is_empty, rt);
    runtime_native_free(rt);
    return rc;
}

faas_code native_check(const char *run_dir, const char *program, char out_lacks[32], faas_err *err)
{
    struct native_conf conf = {.run_dir = run_dir, .program = program, .idle_ms = 1000};
    faas_code rc;

    if (geteuid() != 0)
        return faas_fail(err, FAAS_UNAVAILABLE, "sandboxes need root");
    FAAS_TRY(faas_loop_new(&conf.loop, err));
    rc = try_one(conf.loop, &conf, out_lacks, err);
    faas_loop_free(conf.loop);
    return rc;
}
