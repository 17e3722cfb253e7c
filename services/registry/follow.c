#include "follow.h"

#include "base/clock.h"
#include "base/log.h"
#include "contract.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define LAST_WAIT_MS 30000
#define REBUILD_S    1.0
#define TICK_S       0.1
#define LATE_MS      1000
#define LEADER_MS    500  /* wait for the leader's word before a list */
#define CATCH_UP_MS  3000 /* wait for what the leader named */
#define FAR_BEHIND   1000 /* changes; fewer are read in no time */
#define CATALOG_DIR  "registry"

static void rebuild(void *arg);

static void log_failure(const char *what, const faas_err *err)
{
    FAAS_LOG(ERROR, what, FAAS_LSTR("code", faas_code_slug(err->code)),
             FAAS_LSTR("error", err->msg), FAAS_LSTR("detail", err->detail));
}

/* The feed calls from inside itself, so it is stopped later. */
static void give_up(struct follow *f, const faas_err *err)
{
    log_failure("the list of functions is damaged: building it again", err);
    f->is_failed = true;
    faas_loop_post(f->loop, rebuild, f);
}

static void apply(void *arg, const struct faas_feed_event *event)
{
    struct follow *f = arg;
    const struct catalog_change change = {
        .key = event->key,
        .is_delete = event->is_delete,
        .value = event->value,
        .len = event->len,
        .revision = event->seq,
    };
    faas_err err = {0};
    faas_code rc;

    if (f->is_failed)
        return;
    rc = catalog_apply(f->cat, &change, &err);
    if (rc == FAAS_INVALID)
        FAAS_LOG(ERROR, "a stored record was skipped", FAAS_LSTR("key", event->key),
                 FAAS_LSTR("detail", err.detail));
    else if (rc != FAAS_OK)
        give_up(f, &err);
}

static void on_applied(void *arg)
{
    struct follow *f = arg;
    faas_err err = {0};

    if (f->is_failed || f->feed == NULL)
        return;
    if (catalog_commit(f->cat, faas_feed_applied(f->feed), &err) != FAAS_OK) {
        give_up(f, &err);
        return;
    }
    pthread_mutex_lock(&f->mu);
    pthread_cond_broadcast(&f->applied);
    pthread_mutex_unlock(&f->mu);
    faas_members_applied(f->members, "registry", FAAS_BUCKET_FUNCTIONS, catalog_applied(f->cat));
}

static int64_t feed_age_ms(struct follow *f)
{
    int64_t age = INT64_MAX;

    pthread_mutex_lock(&f->mu);
    if (f->feed != NULL)
        age = faas_feed_age_ms(f->feed);
    pthread_mutex_unlock(&f->mu);
    return age;
}

/* From building to settling when all is read; to current when that was asked long enough after. */
static void advance(struct follow *f, uint64_t now)
{
    int64_t age = feed_age_ms(f);

    if (f->state == FOLLOW_CURRENT || f->is_failed || age == INT64_MAX)
        return;
    if (f->state == FOLLOW_BUILDING) {
        f->state = FOLLOW_SETTLING;
        f->settling_ns = now;
        faas_members_beat_now(f->members);
    } else if (now - f->settling_ns >= (uint64_t)(age + FOLLOW_SETTLE_MS) * FAAS_MS_NS) {
        f->state = FOLLOW_CURRENT;
        FAAS_LOG(INFO, "the list of functions is complete",
                 FAAS_LINT("applied", (int64_t)catalog_applied(f->cat)));
    }
}

static void check_file(struct follow *f)
{
    faas_err err = {0};

    if (f->is_failed || catalog_is_good(f->cat))
        return;
    (void)faas_fail_sys(&err, EIO, "catalog: a read failed");
    give_up(f, &err);
}

/* A process that stood still has missed beats and messages alike. */
static void on_tick(struct ev_loop *ev, ev_timer *timer, int events)
{
    struct follow *f = timer->data;
    uint64_t now = faas_now_ns();

    (void)ev;
    (void)events;
    check_file(f);
    advance(f, now);
    if (now - f->ticked_ns > (LATE_MS + (uint64_t)(TICK_S * 1000)) * FAAS_MS_NS) {
        pthread_mutex_lock(&f->mu);
        f->was_late = true;
        pthread_mutex_unlock(&f->mu);
    }
    f->ticked_ns = now;
}

static faas_code start_feed(struct follow *f, bool is_far_behind, faas_err *err)
{
    const struct faas_feed_conf conf = {
        .kv = f->kv,
        .applied = catalog_applied(f->cat),
        .apply = apply,
        .awaited = FAAS_AWAITED_FUNCTIONS,
        .on_applied = on_applied,
        .arg = f,
    };
    faas_feed *feed = NULL;

    FAAS_TRY(faas_feed_start(&conf, &feed, err));
    f->state = is_far_behind ? FOLLOW_BUILDING : FOLLOW_CURRENT;
    pthread_mutex_lock(&f->mu);
    f->feed = feed;
    pthread_mutex_unlock(&f->mu);
    return FAAS_OK;
}

static void stop_feed(struct follow *f)
{
    faas_feed *feed;

    pthread_mutex_lock(&f->mu);
    feed = FAAS_STEAL(f->feed);
    pthread_mutex_unlock(&f->mu);
    if (feed != NULL)
        faas_feed_stop(feed);
}

static void on_pause(struct ev_loop *ev, ev_timer *timer, int events)
{
    (void)ev;
    (void)events;
    rebuild(timer->data);
}

static void rebuild(void *arg)
{
    struct follow *f = arg;
    faas_err err = {0};
    faas_code rc;

    stop_feed(f);
    rc = catalog_rebuild(f->cat, &err);
    if (rc == FAAS_OK)
        rc = start_feed(f, true, &err);
    if (rc == FAAS_OK) {
        f->is_failed = false;
        return;
    }
    log_failure("the list of functions cannot be built", &err);
    ev_timer_set(&f->pause, REBUILD_S, 0.0);
    ev_timer_start(faas_loop_ev(f->loop), &f->pause);
}

/* ---- starting: the starter's thread waits for steps on the loop's ---- */

static void end_step(struct follow *f, faas_code code, const faas_err *err)
{
    pthread_mutex_lock(&f->mu);
    f->start.is_done = true;
    f->start.code = code;
    if (code != FAAS_OK)
        f->start.err = *err;
    pthread_cond_signal(&f->start.ended);
    pthread_mutex_unlock(&f->mu);
}

static faas_code await_step(struct follow *f, faas_err *err)
{
    pthread_mutex_lock(&f->mu);
    while (!f->start.is_done) /* bounded: each step ends by itself */
        pthread_cond_wait(&f->start.ended, &f->mu);
    f->start.is_done = false;
    pthread_mutex_unlock(&f->mu);
    if (f->start.code != FAAS_OK && err != NULL)
        *err = f->start.err;
    return f->start.code;
}

static void on_last(void *arg, faas_code code, const struct faas_kv_entry *entry,
                    const faas_err *err)
{
    struct follow *f = arg;

    if (code == FAAS_OK)
        f->newest = entry->revision;
    end_step(f, code, err);
}

static void start_feed_step(void *arg)
{
    struct follow *f = arg;
    faas_err err = {0};
    faas_code rc = start_feed(f, f->newest > catalog_applied(f->cat) + FAR_BEHIND, &err);

    f->ticked_ns = faas_now_ns();
    ev_timer_start(faas_loop_ev(f->loop), &f->tick);
    end_step(f, rc, &err);
}

faas_code follow_start(struct follow *f, const char *dir, const char *instance, faas_err *err)
{
    FAAS_AUTO(char) *path = NULL;

    pthread_mutex_init(&f->mu, NULL);
    pthread_cond_init(&f->start.ended, NULL);
    pthread_cond_init(&f->applied, NULL);
    ev_timer_init(&f->tick, on_tick, TICK_S, TICK_S);
    f->tick.data = f;
    ev_init(&f->pause, on_pause);
    f->pause.data = f;
    if (asprintf(&path, "%s/" CATALOG_DIR, dir) < 0) {
        path = NULL;
        return faas_fail_sys(err, ENOMEM, "catalog path");
    }
    faas_kv_last_async(f->kv, faas_deadline_in_ms(LAST_WAIT_MS), on_last, f);
    FAAS_TRY(await_step(f, err));
    const struct catalog_conf conf = {.dir = path, .instance = instance, .bucket_last = f->newest};
    FAAS_TRY(catalog_open(&conf, &f->cat, err));
    faas_loop_post(f->loop, start_feed_step, f);
    return await_step(f, err);
}

void follow_stop(struct follow *f)
{
    if (f->cat == NULL)
        return;
    ev_timer_stop(faas_loop_ev(f->loop), &f->pause);
    ev_timer_stop(faas_loop_ev(f->loop), &f->tick);
    stop_feed(f);
    catalog_close(f->cat);
    f->cat = NULL;
}

/* ---- asking ---- */

/* Of the catalog. */
static int64_t age_ms(struct follow *f)
{
    return f->state == FOLLOW_CURRENT ? feed_age_ms(f) : INT64_MAX;
}

bool follow_is_ready(struct follow *f)
{
    return f->cat != NULL && age_ms(f) != INT64_MAX;
}

bool follow_is_led(struct follow *f)
{
    return f->cat != NULL && age_ms(f) <= FAAS_FEED_STALE_MS;
}

struct question { /* to the leader; its answer comes by its deadline */
    struct follow *f;
    bool is_done; /* guarded by f->mu, like what follows */
    faas_code code;
    uint64_t newest;
};

static void on_newest(void *arg, faas_code code, const struct faas_kv_entry *entry,
                      const faas_err *err)
{
    struct question *q = arg;

    (void)err;
    pthread_mutex_lock(&q->f->mu);
    q->is_done = true;
    q->code = code;
    q->newest = code == FAAS_OK ? entry->revision : 0;
    pthread_cond_broadcast(&q->f->applied);
    pthread_mutex_unlock(&q->f->mu);
}

static uint64_t sooner(uint64_t deadline_ns, int64_t ms)
{
    uint64_t other = faas_deadline_in_ms(ms);

    return deadline_ns < other ? deadline_ns : other;
}

/* mu is held. */
static bool wait_for_sequence(struct follow *f, uint64_t seq, uint64_t deadline_ns)
{
    const struct timespec end = {.tv_sec = (time_t)(deadline_ns / FAAS_S_NS),
                                 .tv_nsec = (long)(deadline_ns % FAAS_S_NS)};
    int rc = 0;

    while (catalog_applied(f->cat) < seq && rc == 0)
        rc = pthread_cond_clockwait(&f->applied, &f->mu, CLOCK_MONOTONIC, &end);
    return catalog_applied(f->cat) >= seq;
}

/* Over a second old: what does the leader say? */
static faas_code ask_leader(struct follow *f, uint64_t deadline_ns, faas_err *err)
{
    struct question q = {.f = f};
    bool has_caught_up, is_late;

    faas_kv_last_async(f->kv, sooner(deadline_ns, LEADER_MS), on_newest, &q);
    pthread_mutex_lock(&f->mu);
    while (!q.is_done) /* bounded: the answer comes by its deadline */
        pthread_cond_wait(&f->applied, &f->mu);
    is_late = f->was_late;
    has_caught_up =
        q.code == FAAS_OK && wait_for_sequence(f, q.newest, sooner(deadline_ns, CATCH_UP_MS));
    pthread_mutex_unlock(&f->mu);
    if (has_caught_up)
        return FAAS_OK;
    if (q.code != FAAS_OK && !is_late && age_ms(f) <= FAAS_FEED_STALE_MS)
        return FAAS_OK;
    return faas_fail(err, FAAS_UNAVAILABLE,
                     "the list of functions may be out of date: the store does not answer");
}

faas_code follow_check(struct follow *f, uint64_t deadline_ns, faas_err *err)
{
    int64_t age = age_ms(f);

    if (age == INT64_MAX)
        return faas_fail(err, FAAS_UNAVAILABLE, "the list of functions is being built");
    if (age > FAAS_FEED_FRESH_MS)
        return ask_leader(f, deadline_ns, err);
    pthread_mutex_lock(&f->mu);
    f->was_late = false;
    pthread_mutex_unlock(&f->mu);
    return FAAS_OK;
}

void follow_fill(struct follow *f, struct faas_beat *beat)
{
    if (f->feed == NULL || f->is_failed || f->state == FOLLOW_BUILDING)
        return;
    beat->applied[0].bucket = FAAS_BUCKET_FUNCTIONS;
    beat->applied[0].seq = catalog_applied(f->cat);
}
