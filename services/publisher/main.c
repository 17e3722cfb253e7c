/* The publisher: owns the fate of every call. */
#include "jobs.h"

#include "base/clock.h"
#include "base/log.h"
#include "contract.h"

#include <pthread.h>
#include <string.h>

#define OPEN_MS        60000 /* JetStream may still be electing its leaders */
#define SETTLE_MS      1000  /* heartbeats heard before calls are taken: DESIGN.md 4.2 */
#define DRAIN_LEAVE_MS 250   /* calls that were on their way when we left the subject */
#define DRAIN_STEP_MS  100
#define PUMP_S         0.02
#define SCAN_MS        100 /* after a publisher's death: others die at about the same time */

static struct publisher publisher;
static struct jobs jobs;
static ev_timer drain_timer;

static const struct faas_option options[] = {
    FAAS_OPT_INT(publisher.conf.function_concurrency, "FUNCTION_CONCURRENCY", "0", 0, 1000000,
                 "calls of one function at once, where the function names no number; 0: no limit"),
    FAAS_OPT_INT(
        publisher.conf.tenant_concurrency, "TENANT_CONCURRENCY", "1000", 0, 1000000,
        "calls of one user at once, running and waiting, at all publishers together; 0: no limit"),
    FAAS_OPT_INT(publisher.conf.calls_max, "PUBLISHER_CALLS", "10000", 1, 1000000,
                 "calls one publisher handles at once, waiting ones included"),
    FAAS_OPT_INT(publisher.conf.calls_mb, "PUBLISHER_CALLS_MB", "256", 2, 65536,
                 "memory for arguments of calls that no spawner has accepted yet, in MB"),
    FAAS_OPT_INT(publisher.conf.queue_max, "PUBLISHER_QUEUE", "4000", 1, 1000000,
                 "calls that may wait for room (max_wait_ms) at once"),
    FAAS_OPT_INT(publisher.conf.queue_tenant_max, "PUBLISHER_QUEUE_TENANT", "1000", 1, 1000000,
                 "of them: calls of one tenant"),
    FAAS_OPT_INT(jobs.conf.all_max, "QUEUED_CALLS", "100000", 1, 10000000,
                 "queued calls (POST /async-function/NAME) one publisher keeps at once"),
    FAAS_OPT_INT(jobs.conf.tenant_max, "QUEUED_CALLS_TENANT", "20000", 1, 10000000,
                 "of them: calls of one user"),
    FAAS_OPT_INT(jobs.conf.mb, "QUEUED_MB", "512", 2, 1048576,
                 "stored arguments of one publisher's queued calls, in MB"),
    FAAS_OPT_INT(jobs.conf.tenant_mb, "QUEUED_MB_TENANT", "128", 2, 1048576,
                 "of them: those of one user, in MB"),
    FAAS_OPT_STR(jobs.conf.callback_allow, "CALLBACK_ALLOW", "",
                 "addresses and networks, such as 10.0.0.0/8, that callbacks (X-Callback-Url) may "
                 "reach besides public ones"),
    FAAS_OPT_INT(jobs.conf.results_mb, "RESULTS_MB", "128", 1, 1048576,
                 "stored results of queued calls, in MB; the oldest go first (set once, when the "
                 "stream is made)"),
    FAAS_OPT_INT(jobs.conf.dead_mb, "DEAD_LETTERS_MB", "32", 1, 1048576,
                 "stored dead letters, in MB; the oldest go first (set once, when the stream is "
                 "made)"),
    FAAS_OPT_INT(publisher.conf.cache_len, "PUBLISHER_CACHE", "10000", 1, 10000000,
                 "function records kept in memory"),
    FAAS_OPT_INT(publisher.conf.cache_mb, "PUBLISHER_CACHE_MB", "32", 1, 65536,
                 "memory for function records, in MB"),
    FAAS_OPT_INT(publisher.conf.records_mb, "PUBLISHER_RECORDS_MB", "64", 0, 1048576,
                 "files for records of calls on their way to the store, in MB; 0: no records"),
    FAAS_OPT_INT(publisher.conf.stream_mb, "RECORDS_MB", "256", 1, 1048576,
                 "records of calls that the store keeps, in MB; counts when they are first kept"),
    FAAS_OPT_INT(publisher.conf.stream_h, "RECORDS_HOURS", "168", 1, 87600,
                 "how long it keeps them, in hours; likewise"),
    FAAS_OPT_INT(
        publisher.conf.metrics_functions, "PUBLISHER_METRICS_FUNCTIONS", "100", 0, 500,
        "functions with figures of their own, of one user at most half of them; the others "
        "share a row"),
    FAAS_OPT_END,
};

/* ---- start ---- */

static faas_kv *functions; /* start thread, then the loop; closed by stop */

struct attach { /* start thread waits for the loop thread */
    struct publisher *pub;
    const struct faas_runtime *rt;
    pthread_mutex_t mu;
    pthread_cond_t done;
    bool is_done; /* guarded by mu, as code and err */
    faas_code code;
    faas_err err;
};

static void on_applied(void *arg)
{
    struct publisher *pub = arg;

    if (pub->rt != NULL)
        faas_members_applied(pub->rt->members, "registry", FAAS_BUCKET_FUNCTIONS,
                             resolve_applied(&pub->resolve));
}

static faas_code attach(struct publisher *pub, const struct faas_runtime *rt, faas_err *err)
{
    struct resolve_conf conf = {.kv = functions,
                                .members = rt->members,
                                .cache_len = (size_t)pub->conf.cache_len,
                                .cache_bytes = (size_t)pub->conf.cache_mb << 20,
                                .on_applied = on_applied,
                                .arg = pub};
    struct ev_loop *ev = faas_loop_ev(rt->loop);

    FAAS_TRY(series_new((size_t)pub->conf.metrics_functions, &pub->series, err));
    FAAS_TRY(resolve_start(&pub->resolve, &conf, err));
    book_init(&pub->book);
    TAILQ_INIT(&pub->agains);
    usage_init(&pub->usage);
    faas_fair_init(&pub->fair, (size_t)pub->conf.queue_max, (size_t)pub->conf.queue_tenant_max);
    pub->repeat_tokens = REPEAT_TOKENS_MAX / 4;
    pub->attached_ns = faas_now_ns();
    pub->tick_due_ns = faas_deadline_in_ms(100);
    ev_init(&pub->pump, room_on_pump);
    pub->pump.repeat = PUMP_S;
    pub->pump.data = pub;
    ev_timer_init(&pub->tick, drive_on_tick, 0.1, 0.1);
    pub->tick.data = pub;
    ev_timer_start(ev, &pub->tick);
    if (pub->history != NULL)
        history_begin(pub->history);
    pub->rt = rt;
    FAAS_TRY(unheard_open(pub, err));
    jobs_start(pub->jobs, pub);
    return FAAS_OK;
}

static void on_attach(void *arg)
{
    struct attach *at = arg;
    faas_err err = {0};
    faas_code rc = attach(at->pub, at->rt, &err);

    pthread_mutex_lock(&at->mu);
    at->code = rc;
    at->err = err;
    at->is_done = true;
    pthread_cond_signal(&at->done);
    pthread_mutex_unlock(&at->mu);
}

static faas_code open_history(struct publisher *pub, const struct faas_runtime *rt, faas_err *err)
{
    const struct history_conf conf = {.rt = rt,
                                      .spool_mb = pub->conf.records_mb,
                                      .stream_mb = pub->conf.stream_mb,
                                      .age_h = pub->conf.stream_h};

    return conf.spool_mb > 0 ? history_open(&conf, &pub->history, err) : FAAS_OK;
}

static faas_code start(void *state, const struct faas_runtime *rt, faas_err *err)
{
    struct attach at = {
        .pub = state, .rt = rt, .mu = PTHREAD_MUTEX_INITIALIZER, .done = PTHREAD_COND_INITIALIZER};

    FAAS_TRY(callbacks_init(err));
    FAAS_TRY(faas_kv_open(rt->rpc, FAAS_BUCKET_FUNCTIONS, rt->replicas,
                          faas_deadline_in_ms(OPEN_MS), &functions, err));
    FAAS_TRY(standings_open(&publisher.standings, rt->rpc, rt->replicas,
                            faas_deadline_in_ms(OPEN_MS), err));
    FAAS_TRY(open_history(&publisher, rt, err));
    FAAS_TRY(jobs_open(&jobs, rt, faas_deadline_in_ms(OPEN_MS), err));
    publisher.jobs = &jobs;
    faas_loop_post(rt->loop, on_attach, &at);
    pthread_mutex_lock(&at.mu);
    while (!at.is_done) /* bounded: the loop runs until this thread was joined */
        pthread_cond_wait(&at.done, &at.mu);
    pthread_mutex_unlock(&at.mu);
    if (at.code != FAAS_OK)
        *err = at.err;
    return at.code;
}

/* ---- what it says of itself ---- */

static bool is_ready(void *state)
{
    const struct publisher *pub = state;

    return pub->rt != NULL && faas_now_ns() >= pub->attached_ns + SETTLE_MS * FAAS_MS_NS &&
           resolve_has_begun(&pub->resolve) && faas_feed_age_ms(pub->standings.feed) != INT64_MAX;
}

/* Could a call be run now?  Beats do not depend on it: a call that meets no spawner is told so. */
static bool is_healthy(void *state)
{
    const struct publisher *pub = state;

    return faas_bus_is_connected(pub->rt->bus) && resolve_may_serve(&pub->resolve) &&
           faas_members_usable(pub->rt->members, "spawner") > 0;
}

static void fill(void *state, struct faas_beat *beat)
{
    const struct publisher *pub = state;

    if (pub->rt == NULL)
        return;
    beat->running = (int64_t)pub->book.live_len;
    beat->applied[0].bucket = FAAS_BUCKET_FUNCTIONS;
    beat->applied[0].seq = resolve_applied(&pub->resolve);
}

/* ---- who is alive ---- */

/* Its last word was a good-bye: what it had accepted it has ended, and said so before. */
static void tell_call(struct live *call, enum faas_member_change change)
{
    if (change == FAAS_MEMBER_LEFT && call->accepted_ns == 0)
        ask_never(call);
    else
        drive_died(call);
}

static void spawner_lost(struct publisher *pub, const struct faas_member *member,
                         enum faas_member_change change)
{
    bool is_restart = change == FAAS_MEMBER_RESTARTED;
    struct book_page *page, *next;
    int count = 0;

    for (page = TAILQ_FIRST(&pub->book.live); page != NULL; page = next) {
        struct live *call = (struct live *)page;
        bool is_same = strcmp(call->at.epoch, member->epoch) == 0;

        next = TAILQ_NEXT(page, link);
        if (!call_is_placed(call->state) || strcmp(call->at.id, member->id) != 0 ||
            is_same == is_restart)
            continue;
        count++;
        tell_call(call, change);
    }
    if (count > 0)
        FAAS_LOG(WARN, "a spawner is gone with calls", FAAS_LSTR("spawner", member->id),
                 FAAS_LINT("calls", count));
    room_pump(pub);
}

/* Its synchronous calls have nobody to answer to: DESIGN.md 4.10.  After a restart, those from
 * before the new process was heard. */
static void gateway_lost(struct publisher *pub, const struct faas_member *member, bool is_restart)
{
    struct book_page *page, *next;
    int count = 0;

    for (page = TAILQ_FIRST(&pub->book.live); page != NULL; page = next) {
        struct live *call = (struct live *)page;

        next = TAILQ_NEXT(page, link);
        if (strcmp(call->gateway, member->id) != 0 ||
            (is_restart && call->taken_ns >= member->first_ns))
            continue;
        count++;
        if (call->cancel_why == NULL)
            call->cancel_why = "gateway_lost";
        drive(call, CALL_EV_CANCEL);
    }
    if (count > 0)
        FAAS_LOG(WARN, "a gateway is gone", FAAS_LSTR("gateway", member->id),
                 FAAS_LINT("calls_cancelled", count));
}

static void watch(void *state, const struct faas_member *member, enum faas_member_change change)
{
    struct publisher *pub = state;

    if (pub->rt == NULL)
        return;
    drive_check_late(pub);
    if (change == FAAS_MEMBER_JOINED)
        room_pump(pub);
    else if (strcmp(member->service, "spawner") == 0)
        spawner_lost(pub, member, change);
    else if (strcmp(member->service, "gateway") == 0)
        gateway_lost(pub, member, change == FAAS_MEMBER_RESTARTED);
    else if (strcmp(member->service, "publisher") == 0)
        jobs_scan_soon(pub->jobs, SCAN_MS);
}

/* ---- drain and stop ---- */

void publisher_check_drained(struct publisher *pub)
{
    if (pub->is_draining && pub->book.live_len == 0 && jobs_are_idle(pub->jobs))
        faas_service_drained();
}

static void on_drain_timer(struct ev_loop *ev, ev_timer *timer, int events)
{
    struct publisher *pub = timer->data;

    (void)ev;
    (void)events;
    pub->is_draining = true;
    publisher_check_drained(pub);
}

static void drain(void *state)
{
    struct publisher *pub = state;

    if (pub->rt == NULL) {
        faas_service_drained();
        return;
    }
    /* Again and again: not all that ends says so. */
    ev_timer_init(&drain_timer, on_drain_timer, DRAIN_LEAVE_MS / 1000.0, DRAIN_STEP_MS / 1000.0);
    drain_timer.data = pub;
    jobs_drain(pub->jobs);
    ev_timer_start(faas_loop_ev(pub->rt->loop), &drain_timer);
}

/* Whoever waits for these hears of them from the next publisher. */
static void log_unfinished(const struct publisher *pub)
{
    const struct book_page *page;
    const struct job *job;

    TAILQ_FOREACH (page, &pub->book.live, link)
        FAAS_LOG(WARN, "a call is left unfinished", FAAS_LSTR("call", page->id),
                 FAAS_LSTR("state", call_state_name(((const struct live *)page)->state)));
    TAILQ_FOREACH (job, &pub->jobs->all, link)
        if (!job_is_idle(job))
            FAAS_LOG(WARN, "a queued call is left to another publisher", FAAS_LSTR("call", job->id),
                     FAAS_LINT("phase", job->phase), FAAS_LINT("is_busy", job->is_busy));
}

static void stop(void *state)
{
    struct publisher *pub = state;
    struct book_page *page;

    if (pub->rt != NULL) {
        struct ev_loop *ev = faas_loop_ev(pub->rt->loop);

        pub->is_draining = false;
        log_unfinished(pub);
        jobs_stop(&jobs);
        again_stop(pub);
        while ((page = TAILQ_FIRST(&pub->book.live)) != NULL)
            finish_free((struct live *)page);
        ev_timer_stop(ev, &pub->tick);
        ev_timer_stop(ev, &pub->pump);
        ev_timer_stop(ev, &drain_timer);
    }
    history_stop(pub->history);
    pub->history = NULL;
    pub->rt = NULL;
    series_free(FAAS_STEAL(pub->series));
    faas_inbox_close(FAAS_STEAL(pub->unheard));
    resolve_stop(&pub->resolve);
    book_done(&pub->book);
    faas_fair_done(&pub->fair);
    tally_done(&pub->by_function);
    usage_done(&pub->usage);
    tally_done(&pub->waiting_by_function);
    place_ledger_done(&pub->ledger);
    place_fleet_done(&pub->fleet);
    standings_close(&pub->standings);
    faas_kv_close(functions);
    functions = NULL;
}

static void write_series(void *arg, FILE *out)
{
    const struct publisher *pub = arg;

    if (pub->series != NULL)
        series_write(pub->series, out);
}

int main(int argc, char **argv)
{
    static struct faas_metric_source functions_seen = {.write = write_series, .arg = &publisher};
    static const struct faas_service service = {
        .name = "publisher",
        .description = "places calls and owns their fate",
        .options = options,
        .endpoints = publisher_endpoints,
        .state = &publisher,
        .threads_default = 2, /* records of calls: one writes, one syncs */
        .start = start,
        .is_ready = is_ready,
        .is_healthy = is_healthy,
        .fill = fill,
        .watch = watch,
        .drain = drain,
        .stop = stop,
    };

    metrics_add();
    faas_metric_add_source(&functions_seen);
    return faas_service_main(&service, argc, argv);
}
