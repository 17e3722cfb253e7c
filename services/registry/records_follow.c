#include "records_follow.h"

#include "base/clock.h"
#include "base/log.h"
#include "contract.h"
#include "net/feed.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/queue.h>

#define FOLLOW_WAITING (4 * 1024 * 1024)
#define TICK_S         0.5
#define AGAIN_MS       1000
#define MAKE_MS        10000
#define SWEEP_MS       5000
#define LOOKS          2     /* in turn that found the log behind us */
#define HEARD_MS       10000 /* until then not everybody may have been heard */
#define TELL_MS        10000
#define MEMBERS_MAX    256

struct entry { /* of the log, until it is written */
    STAILQ_ENTRY(entry) link;
    uint64_t seq;
    size_t len;
    char lines[];
};
STAILQ_HEAD(entries, entry);

struct alive { /* who was there when a sweep began */
    char id[40], epoch[33];
    bool is_publisher;
};

enum step {            /* what is to be done next, one after the other */
            STEP_MAKE, /* the log */
            STEP_LAST, /* its newest sequence */
            STEP_OPEN, /* the file */
            STEP_FEED,
            STEP_FOLLOW
};

struct records_follow {
    struct records_follow_conf conf;
    faas_loop *loop;
    faas_kv *log;
    faas_feed *feed;
    char *dir;
    int refs; /* the owner's and one per job and answer on its way */
    bool is_stopped;
    enum step step;
    bool is_busy;      /* a job or an answer of this step is awaited */
    uint64_t again_ns; /* not before */
    uint64_t told_ns;  /* the log, of trouble */
    uint64_t newest, begun_ns, swept_ns;
    records *recs;                /* the job's while is_busy; set once, before is_usable */
    _Atomic bool is_usable;       /* recs can be asked */
    struct entries waiting, held; /* held: by the job */
    size_t waiting_bytes;         /* in both */
    bool has_missed;              /* an entry could not be taken */
    bool is_looking;              /* the log's newest sequence is asked */
    bool is_anew;                 /* the log is another one: read it from its beginning */
    int looks;                    /* how often it was below what we have */
    ev_timer tick;
    struct faas_post post;
    bool does_rebuild, does_sweep; /* what the job is to do besides */
    faas_code code;                /* what it came to */
    faas_err err;
    size_t skipped;
    struct alive members[MEMBERS_MAX];
    size_t members_len;
};

static void advance(struct records_follow *self);

static void unref(struct records_follow *self)
{
    if (--self->refs > 0)
        return;
    free(self->dir);
    free(self);
}

static void trouble(struct records_follow *self, const char *what, const faas_err *err)
{
    uint64_t now = faas_now_ns();

    self->again_ns = faas_deadline_in_ms(AGAIN_MS);
    if (self->told_ns != 0 && now < self->told_ns + TELL_MS * FAAS_MS_NS)
        return;
    self->told_ns = now;
    FAAS_LOG(WARN, what, FAAS_LSTR("msg", err->msg), FAAS_LSTR("detail", err->detail));
}

/* ---- the log and the file ---- */

/* The end of an answer: true when the process goes on. */
static bool answered(struct records_follow *self, faas_code code, const char *what,
                     const faas_err *err)
{
    self->is_busy = false;
    if (!self->is_stopped && code != FAAS_OK)
        trouble(self, what, err);
    return !self->is_stopped;
}

static void on_made(void *arg, faas_code code, const struct faas_kv_entry *entry,
                    const faas_err *err)
{
    struct records_follow *self = arg;

    (void)entry;
    if (answered(self, code, "the log of calls cannot be made yet", err) && code == FAAS_OK) {
        self->step = STEP_LAST;
        advance(self);
    }
    unref(self);
}

static void on_last(void *arg, faas_code code, const struct faas_kv_entry *entry,
                    const faas_err *err)
{
    struct records_follow *self = arg;

    if (answered(self, code, "the log of calls cannot be read yet", err) && code == FAAS_OK) {
        self->newest = entry->revision;
        self->step = STEP_OPEN;
        advance(self);
    }
    unref(self);
}

static void make_log(struct records_follow *self)
{
    const struct faas_kv_bounds bounds = {.replicas = self->conf.rt->replicas,
                                          .max_bytes = self->conf.stream_mb << 20,
                                          .max_age_ms = self->conf.age_h * 3600 * 1000};

    self->is_busy = true;
    self->refs++;
    faas_kv_make_log_async(self->log, &bounds, faas_deadline_in_ms(MAKE_MS), on_made, self);
}

static void ask_last(struct records_follow *self)
{
    self->is_busy = true;
    self->refs++;
    faas_kv_last_async(self->log, faas_deadline_in_ms(MAKE_MS), on_last, self);
}

/* ---- jobs: on the pool ---- */

static void on_job_done(void *arg);

static void end_job(struct records_follow *self, faas_code code)
{
    self->code = code;
    faas_loop_post_with(self->loop, &self->post, on_job_done, self);
}

static void run_open(void *arg)
{
    struct records_follow *self = arg;
    const struct records_follow_conf *conf = &self->conf;
    const struct records_conf rc = {.dir = self->dir,
                                    .instance = conf->rt->id,
                                    .log_last = self->newest,
                                    .rows_max = conf->rows_max,
                                    .tenant_rows_max = conf->tenant_rows_max,
                                    .logs_bytes_max = conf->logs_mb << 20,
                                    .age_ms = conf->age_h * 3600 * 1000};

    end_job(self, records_open(&rc, &self->recs, &self->err));
}

/* Whoever is named may still tell how the call ends. */
static bool is_member(const struct records_follow *self, const char *id, const char *epoch,
                      bool is_publisher)
{
    for (size_t i = 0; i < self->members_len; i++)
        if (self->members[i].is_publisher == is_publisher && strcmp(self->members[i].id, id) == 0 &&
            strcmp(self->members[i].epoch, epoch) == 0)
            return true;
    return false;
}

static bool is_alive(void *arg, const struct records_open_call *call)
{
    const struct records_follow *self = arg;

    if (call->is_queued || is_member(self, call->publisher, call->publisher_epoch, true))
        return true;
    return call->spawner[0] != '\0' && faas_wall_ms() < call->until_ms &&
           is_member(self, call->spawner, call->spawner_epoch, false);
}

static faas_code write_held(struct records_follow *self, faas_err *err)
{
    uint64_t last = 0;

    for (const struct entry *entry = STAILQ_FIRST(&self->held); entry != NULL;
         entry = STAILQ_NEXT(entry, link)) {
        size_t skipped = 0;

        FAAS_TRY(records_apply(self->recs, entry->lines, entry->len, &skipped, err));
        self->skipped += skipped;
        last = entry->seq;
    }
    return last > 0 ? records_commit(self->recs, last, err) : FAAS_OK;
}

static void run_write(void *arg)
{
    struct records_follow *self = arg;
    faas_code rc = FAAS_OK;

    if (self->does_rebuild)
        rc = records_rebuild(self->recs, &self->err);
    if (rc == FAAS_OK)
        rc = write_held(self, &self->err);
    if (rc == FAAS_OK && self->does_sweep)
        rc = records_sweep(self->recs, is_alive, self, &self->err);
    if (rc != FAAS_OK)
        records_abandon(self->recs);
    end_job(self, rc);
}

static void submit(struct records_follow *self, faas_job *job)
{
    self->err = (faas_err){0};
    self->skipped = 0;
    self->is_busy = true;
    self->refs++;
    if (faas_pool_submit(self->conf.rt->pool, job, self, &self->err) == FAAS_OK)
        return;
    self->is_busy = false; /* the next tick tries */
    self->refs--;
}

/* ---- the feed ---- */

static void drop_entries(struct records_follow *self, struct entries *entries)
{
    struct entry *entry;

    while ((entry = STAILQ_FIRST(entries)) != NULL) {
        STAILQ_REMOVE_HEAD(entries, link);
        self->waiting_bytes -= sizeof *entry + entry->len;
        free(entry);
    }
}

static void apply(void *arg, const struct faas_feed_event *event)
{
    struct records_follow *self = arg;
    struct entry *entry;

    if (event->is_delete)
        return;
    entry = malloc(sizeof *entry + event->len);
    if (entry == NULL) {
        self->has_missed = true; /* read again, with all others */
        return;
    }
    entry->seq = event->seq;
    entry->len = event->len;
    memcpy(entry->lines, event->value, event->len);
    STAILQ_INSERT_TAIL(&self->waiting, entry, link);
    self->waiting_bytes += sizeof *entry + entry->len;
}

static bool is_full(void *arg)
{
    const struct records_follow *self = arg;

    return self->waiting_bytes >= FOLLOW_WAITING;
}

static void on_applied(void *arg)
{
    advance(arg);
}

static void start_feed(struct records_follow *self)
{
    const struct faas_feed_conf conf = {.kv = self->log,
                                        .applied = self->is_anew ? 0 : records_applied(self->recs),
                                        .apply = apply,
                                        .is_full = is_full,
                                        .on_applied = on_applied,
                                        .arg = self};
    faas_err err = {0};

    if (faas_feed_start(&conf, &self->feed, &err) != FAAS_OK)
        trouble(self, "the log of calls cannot be followed yet", &err);
    else
        self->step = STEP_FOLLOW;
    self->is_anew = false;
}

/* ---- is it still the same log? ---- */

/* Somebody removed it, and it was made again: what is in our file stays, what comes is read. */
static void follow_anew(struct records_follow *self)
{
    FAAS_LOG(ERROR, "the log of calls is another one than it was: reading it from its beginning");
    self->looks = 0;
    self->is_anew = true;
    faas_feed_stop(self->feed);
    self->feed = NULL;
    self->step = STEP_FEED;
}

static void on_look(void *arg, faas_code code, const struct faas_kv_entry *entry,
                    const faas_err *err)
{
    struct records_follow *self = arg;

    (void)err;
    self->is_looking = false;
    if (!self->is_stopped && self->feed != NULL && code == FAAS_OK) {
        self->looks = entry->revision < faas_feed_applied(self->feed) ? self->looks + 1 : 0;
        if (self->looks >= LOOKS)
            follow_anew(self);
    }
    unref(self);
}

static void look(struct records_follow *self)
{
    if (self->is_looking)
        return;
    self->is_looking = true;
    self->refs++;
    faas_kv_last_async(self->log, faas_deadline_in_ms(AGAIN_MS), on_look, self);
}

/* ---- what comes next ---- */

static void note_members(struct records_follow *self, const char *service, bool is_publisher)
{
    const struct faas_member *member;

    for (size_t i = 0; (member = faas_members_at(self->conf.rt->members, service, i)) != NULL &&
                       self->members_len < MEMBERS_MAX;
         i++) {
        struct alive *alive = &self->members[self->members_len];

        if (member->is_dead)
            continue;
        memcpy(alive->id, member->id, sizeof alive->id);
        memcpy(alive->epoch, member->epoch, sizeof alive->epoch);
        alive->is_publisher = is_publisher;
        self->members_len++;
    }
}

/* Not while we know of nobody: then it is we who are alone; nor of more than fit. */
static bool sweep_is_due(struct records_follow *self, uint64_t now)
{
    if (now < self->begun_ns + HEARD_MS * FAAS_MS_NS ||
        now < self->swept_ns + SWEEP_MS * FAAS_MS_NS)
        return false;
    self->swept_ns = now;
    look(self);
    self->members_len = 0;
    note_members(self, "publisher", true);
    note_members(self, "spawner", false);
    return self->members_len > 0 && self->members_len < MEMBERS_MAX &&
           self->members[0].is_publisher;
}

static void write_some(struct records_follow *self, uint64_t now)
{
    self->does_sweep = sweep_is_due(self, now);
    if (STAILQ_EMPTY(&self->held))
        STAILQ_CONCAT(&self->held, &self->waiting);
    if (self->does_rebuild || self->does_sweep || !STAILQ_EMPTY(&self->held))
        submit(self, run_write);
}

/* All that was in the log when the feed looked first is in the file. */
static void note_current(struct records_follow *self)
{
    if (self->is_usable || self->feed == NULL || faas_feed_age_ms(self->feed) == INT64_MAX ||
        !STAILQ_EMPTY(&self->waiting) || !STAILQ_EMPTY(&self->held))
        return;
    self->is_usable = true;
    FAAS_LOG(INFO, "the records of calls are complete",
             FAAS_LINT("applied", (int64_t)records_applied(self->recs)));
}

static void advance(struct records_follow *self)
{
    uint64_t now = faas_now_ns();

    if (self->is_busy || self->is_stopped || now < self->again_ns)
        return;
    switch (self->step) {
    case STEP_MAKE:
        make_log(self);
        break;
    case STEP_LAST:
        ask_last(self);
        break;
    case STEP_OPEN:
        submit(self, run_open);
        break;
    case STEP_FEED:
        start_feed(self);
        break;
    case STEP_FOLLOW:
        note_current(self);
        write_some(self, now);
    }
}

/* The file is no good: an empty one, and everything from the log once more. */
static void rebuild(struct records_follow *self)
{
    faas_feed_stop(self->feed);
    self->feed = NULL;
    drop_entries(self, &self->waiting);
    drop_entries(self, &self->held);
    self->is_usable = false;
    self->has_missed = false;
    self->does_rebuild = true;
}

static void end_write(struct records_follow *self)
{
    if (self->skipped > 0)
        FAAS_LOG(ERROR, "entries of the log of calls were no records",
                 FAAS_LINT("lines", (int64_t)self->skipped));
    if (self->code != FAAS_OK)
        trouble(self, "records of calls cannot be written", &self->err);
    if (self->code == FAAS_OK) {
        if (self->does_rebuild)
            self->step = STEP_FEED;
        self->does_rebuild = false;
        drop_entries(self, &self->held);
    } else if (!self->does_rebuild && !records_is_good(self->recs)) {
        rebuild(self);
    }
}

static void on_job_done(void *arg)
{
    struct records_follow *self = arg;

    self->is_busy = false;
    if (!self->is_stopped) {
        if (self->step == STEP_OPEN && self->code == FAAS_OK)
            self->step = STEP_FEED;
        else if (self->step == STEP_OPEN)
            trouble(self, "the file of records of calls cannot be opened", &self->err);
        else
            end_write(self);
        advance(self);
    }
    unref(self);
}

static void on_tick(struct ev_loop *ev, ev_timer *timer, int events)
{
    struct records_follow *self = timer->data;

    (void)ev;
    (void)events;
    if (!self->is_busy && self->step == STEP_FOLLOW && !self->does_rebuild &&
        (self->has_missed || !records_is_good(self->recs))) /* a read found it damaged */
        rebuild(self);
    advance(self);
}

static void begin(void *arg)
{
    struct records_follow *self = arg;

    if (!self->is_stopped) {
        ev_timer_start(faas_loop_ev(self->loop), &self->tick);
        advance(self);
    }
    unref(self);
}

faas_code records_follow_start(const struct records_follow_conf *conf,
                               struct records_follow **out_follow, faas_err *err)
{
    struct records_follow *self = calloc(1, sizeof *self);
    faas_code rc;

    if (self == NULL)
        return faas_fail_sys(err, ENOMEM, "follow the log of calls");
    self->conf = *conf;
    self->loop = conf->rt->loop;
    self->refs = 2; /* the owner's and begin()'s */
    self->begun_ns = faas_now_ns();
    STAILQ_INIT(&self->waiting);
    STAILQ_INIT(&self->held);
    ev_timer_init(&self->tick, on_tick, TICK_S, TICK_S);
    self->tick.data = self;
    if (asprintf(&self->dir, "%s/calls", conf->rt->data_dir) < 0)
        self->dir = NULL;
    rc = self->dir == NULL ? faas_fail_sys(err, ENOMEM, "follow the log of calls")
                           : faas_kv_open_log(conf->rt->rpc, FAAS_BUCKET_RECORDS, &self->log, err);
    if (rc != FAAS_OK) {
        self->refs = 1;
        unref(self);
        return rc;
    }
    *out_follow = self;
    faas_loop_post(self->loop, begin, self);
    return FAAS_OK;
}

void records_follow_stop(struct records_follow *self)
{
    if (self == NULL)
        return;
    self->is_stopped = true;
    ev_timer_stop(faas_loop_ev(self->loop), &self->tick);
    faas_feed_stop(self->feed);
    drop_entries(self, &self->waiting);
    drop_entries(self, &self->held);
    records_close(self->recs);
    faas_kv_close(self->log);
    unref(self);
}

faas_code records_follow_use(struct records_follow *self, records **out_records, faas_err *err)
{
    if (self == NULL || !self->is_usable)
        return faas_fail(err, FAAS_UNAVAILABLE, RECORDS_REBUILDING);
    *out_records = self->recs;
    return FAAS_OK;
}
