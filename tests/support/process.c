#include "tests/support/process.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "net/rpc_internal.h"

static void must(faas_code rc, const faas_err *err)
{
    if (rc != FAAS_OK)
        fail_msg("%s: %s (%s)", faas_code_slug(rc), err->msg, err->detail);
}

static void *run_loop(void *arg)
{
    faas_loop_run(arg);
    return NULL;
}

void process_start(struct process *p, const struct process_conf *conf)
{
    static bool has_log;
    faas_err err = {0};
    struct faas_bus_conf bus = {.urls = conf->urls,
                                .service = p->service,
                                .id = p->id,
                                .nkey_file = conf->nkey_file,
                                .ca_file = conf->ca_file};
    struct faas_rpc_conf rpc = {.service = p->service,
                                .id = p->id,
                                .version = "0.1.0",
                                .description = "a member of a test"};

    if (!has_log) /* once: another member's threads may be logging */
        faas_log_setup("test", "test",
                       getenv("FAAS_TEST_LOG") != NULL ? FAAS_LOG_DEBUG : FAAS_LOG_ERROR);
    has_log = true;
    memset(p, 0, sizeof *p);
    (void)snprintf(p->service, sizeof p->service, "%s", conf->service);
    (void)snprintf(p->id, sizeof p->id, "%s", conf->id);
    must(faas_loop_new(&p->loop, &err), &err);
    must(faas_pool_start(4, 256, &p->pool, &err), &err);
    must(faas_bus_open(&bus, p->loop, &p->bus, &err), &err);
    rpc.pool = p->pool;
    must(faas_rpc_open(p->bus, &rpc, &p->rpc, &err), &err);
    if (conf->endpoints != NULL)
        must(faas_rpc_serve(p->rpc, conf->endpoints, conf->state, &err), &err);
    assert_int_equal(pthread_create(&p->thread, NULL, run_loop, p->loop), 0);
}

struct visit {
    void (*run)(void *arg);
    void *arg;
    pthread_mutex_t mu;
    pthread_cond_t woken;
    bool is_done;
};

static void visit(void *arg)
{
    struct visit *v = arg;

    if (v->run != NULL)
        v->run(v->arg);
    pthread_mutex_lock(&v->mu);
    v->is_done = true;
    pthread_cond_signal(&v->woken);
    pthread_mutex_unlock(&v->mu);
}

void process_on_loop(struct process *p, void (*run)(void *arg), void *arg)
{
    struct visit v = {
        .run = run, .arg = arg, .mu = PTHREAD_MUTEX_INITIALIZER, .woken = PTHREAD_COND_INITIALIZER};

    faas_loop_post(p->loop, visit, &v);
    pthread_mutex_lock(&v.mu);
    while (!v.is_done)
        pthread_cond_wait(&v.woken, &v.mu);
    pthread_mutex_unlock(&v.mu);
}

static void cancel(void *arg)
{
    faas_rpc_cancel_all(arg);
}

void process_stop(struct process *p, void (*before)(void *arg), void *arg)
{
    if (p->loop == NULL)
        return;
    process_on_loop(p, cancel, p->rpc);
    faas_pool_stop(p->pool);
    process_on_loop(p, before, arg);
    faas_loop_stop(p->loop);
    pthread_join(p->thread, NULL);
    faas_rpc_close(p->rpc);
    faas_bus_close(p->bus, 500);
    faas_loop_free(p->loop);
    memset(p, 0, sizeof *p);
}

void wait_until(bool (*is_true)(void *arg), void *arg, int64_t ms, const char *what)
{
    uint64_t deadline = faas_deadline_in_ms(ms);
    struct timespec time = {.tv_nsec = 5000000};

    while (!is_true(arg)) {
        if (faas_left_ms(deadline) == 0)
            fail_msg("not within %lld ms: %s", (long long)ms, what);
        nanosleep(&time, NULL);
    }
}
