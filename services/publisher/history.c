/* Notes of calls, and when what becomes of them. */
#include "publisher.h"

#include "history_internal.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define TEXT_FULL (48 * 1024) /* a block then; a note may add up to 100 KiB */
#define ADOPT_S   30.0
#define UNTIL_MS  60000 /* an open call whose time is up for so long has nobody */

/* ---- notes ---- */

void history_add(struct history *self, const struct history_note *note)
{
    size_t before = self->text.len;

    metric_count(M_RECORDS);
    if (!history_text_add(&self->text, note)) {
        history_drop(self, 1);
        return;
    }
    self->bytes += self->text.len - before;
    self->text_records++;
    if (self->text.len >= TEXT_FULL)
        history_close_text(self);
    history_wake(self);
}

/* When that instant was by the wall clock; 0: it was not. */
static int64_t wall_of(uint64_t ns)
{
    uint64_t now = faas_now_ns();

    return ns == 0 ? 0 : faas_wall_ms() - (int64_t)((now > ns ? now - ns : 0) / FAAS_MS_NS);
}

static const char *or_null(const char *text)
{
    return text[0] != '\0' ? text : NULL;
}

static void fill(struct history_note *note, const struct live *call)
{
    history_note_init(note);
    note->id = call->history.call_id[0] != '\0' ? call->history.call_id : call->page.id;
    note->tenant = call->tenant;
    note->user = or_null(call->user);
    note->client_call_id = or_null(call->history.client_call_id);
    note->trace = call->trace;
    note->is_queued = call->history.is_queued;
    note->function = call->ref.name;
    note->function_id = call->rec != NULL ? call->rec->id : NULL;
    note->version = call->rec != NULL ? call->rec->version : 0;
    note->attempt = call->history.attempt > 0 ? call->history.attempt : call->attempt;
    note->tries = call->tries;
    note->publisher = call->pub->rt->id;
    note->spawner = call->tries > 0 ? or_null(call->at.id) : NULL;
    note->queued_ms =
        call->history.queued_ms > 0 ? call->history.queued_ms : wall_of(call->taken_ns);
    note->placed_ms = wall_of(call->accepted_ns);
    note->started_ms = wall_of(call->started_ns);
    note->argument_bytes = (int64_t)call->arg_len;
}

/* ---- open calls ---- */

static void add_open(struct history *self, const struct live *call)
{
    bool is_placed = call->accepted_ns != 0;
    int64_t left_ms = call->rec->start_timeout_ms + drive_timeout_ms(call) + UNTIL_MS;
    struct history_note note;

    fill(&note, call);
    note.event = call->started_ns != 0 ? HISTORY_STARTED
                 : is_placed           ? HISTORY_PLACED
                                       : HISTORY_QUEUED;
    note.status = is_placed ? HISTORY_IS_RUNNING : HISTORY_IS_QUEUED;
    note.publisher_epoch = faas_members_epoch(call->pub->rt->members);
    note.spawner_epoch = is_placed ? or_null(call->at.epoch) : NULL;
    note.until_ms = faas_wall_ms() + left_ms + (is_placed ? 0 : call->rec->max_wait_ms);
    history_add(self, &note);
}

static struct live *live_of(struct history_live *history)
{
    return (struct live *)((char *)history - offsetof(struct live, history));
}

/* In order of their opening: those that are still open after a while are shown. */
static void show_open(struct history *self, uint64_t now)
{
    struct history_live *first;

    while ((first = TAILQ_FIRST(&self->opening)) != NULL &&
           now >= first->opened_ns + HISTORY_OPEN_MS * FAAS_MS_NS) {
        TAILQ_REMOVE(&self->opening, first, link);
        first->is_linked = false;
        add_open(self, live_of(first));
    }
}

static void open_call(struct live *call)
{
    struct history *self = call->pub->history;
    struct history_live *history = &call->history;

    if (self == NULL)
        return;
    if (history->is_linked)
        TAILQ_REMOVE(&self->opening, history, link);
    history->is_linked = true;
    history->opened_ns = faas_now_ns();
    TAILQ_INSERT_TAIL(&self->opening, history, link);
    history_wake(self);
}

void history_on_queued(struct live *call)
{
    open_call(call);
}

void history_on_placed(struct live *call)
{
    open_call(call);
}

void history_on_started(struct live *call)
{
    if (!call->history.is_linked) /* else the note to come says it, too */
        open_call(call);
}

/* ---- the end ---- */

static const char *text_in(const json_t *doc, const char *key)
{
    return json_string_value(json_object_get(doc, key));
}

static int64_t int_in(const json_t *doc, const char *key, int64_t absent)
{
    const json_t *value = json_object_get(doc, key);

    return json_is_integer(value) ? json_integer_value(value) : absent;
}

static double real_in(const json_t *doc, const char *key)
{
    const json_t *value = json_object_get(doc, key);

    return json_is_number(value) ? json_number_value(value) : -1;
}

/* What a spawner's END says. */
static void fill_end(struct history_note *note, const json_t *end)
{
    const json_t *times = json_object_get(end, "times_ms");

    note->place_time_ms = real_in(times, "place");
    note->start_time_ms = real_in(times, "start");
    note->run_time_ms = real_in(times, "run");
    note->start = text_in(end, "start");
    note->detail = text_in(end, "detail");
    note->exit_code = int_in(end, "exit_code", -1);
    note->signal = int_in(end, "signal", 0);
    note->is_oom = json_is_true(json_object_get(end, "oom"));
    note->may_have_run = json_is_true(json_object_get(end, "may_have_run"));
    note->result_bytes = int_in(end, "stdout_bytes", -1);
    note->stderr_bytes = int_in(end, "stderr_bytes", -1);
    note->result_hash = text_in(end, "hash");
    note->log = text_in(end, "stderr");
    note->log_bytes = note->log != NULL ? int_in(end, "stderr_kept", 0) : 0;
    /* A quick call's start is not told of by itself. */
    if (note->started_ms == 0 && note->run_time_ms > 0)
        note->started_ms = note->ended_ms - (int64_t)note->run_time_ms;
    if (note->placed_ms == 0 && note->started_ms > 0 && note->start_time_ms >= 0)
        note->placed_ms = note->started_ms - (int64_t)note->start_time_ms;
}

static enum history_status status_of(const char *code)
{
    if (strcmp(code, faas_code_slug(FAAS_OK)) == 0)
        return HISTORY_IS_SUCCEEDED;
    if (strcmp(code, faas_code_slug(FAAS_CLIENT_GONE)) == 0)
        return HISTORY_IS_CANCELLED;
    return strcmp(code, faas_code_slug(FAAS_LOST)) == 0 ? HISTORY_IS_LOST : HISTORY_IS_FAILED;
}

/* It will be tried again: open for whoever looks. */
static void turn_into_retry(struct history_note *note)
{
    note->event = HISTORY_QUEUED;
    note->status = HISTORY_IS_QUEUED;
    note->attempt++;
    note->ended_ms = 0;
}

void history_on_freed(struct live *call)
{
    if (call->history.is_linked)
        TAILQ_REMOVE(&call->pub->history->opening, &call->history, link);
    call->history.is_linked = false;
}

void history_on_ended(struct live *call, enum history_status status, const char *code)
{
    struct history *self = call->pub->history;
    struct history_note note;

    if (self == NULL)
        return;
    history_on_freed(call);
    if (call->rec == NULL) /* of no function: nobody would find it */
        return;
    fill(&note, call);
    note.event = HISTORY_ENDED;
    note.status = call->end != NULL ? status_of(code) : status;
    note.code = code;
    note.detail = call->err.msg;
    note.ended_ms = faas_wall_ms();
    note.may_have_run = status == HISTORY_IS_LOST;
    if (call->end != NULL)
        fill_end(&note, call->end);
    if (call->history.is_retried)
        turn_into_retry(&note);
    history_add(self, &note);
}

void history_on_foreign_end(struct history *self, const char *id, const json_t *event)
{
    const char *tenant = text_in(event, "tenant"), *code = text_in(event, "code");
    const char *kind = text_in(event, "event");
    struct history_note note;

    if (self == NULL || tenant == NULL || code == NULL || kind == NULL ||
        strcmp(kind, "end") != 0 || !faas_uuid_is(tenant) || !faas_uuid_is(id))
        return;
    history_note_init(&note);
    note.event = HISTORY_ENDED;
    note.id = id;
    note.tenant = tenant;
    note.function_id = text_in(event, "function");
    note.attempt = int_in(event, "place", 256) / 256;
    note.spawner = text_in(event, "spawner");
    note.status = status_of(code);
    note.code = code;
    note.ended_ms = faas_wall_ms();
    fill_end(&note, event);
    history_add(self, &note);
}

/* ---- its life ---- */

static void on_tick(struct ev_loop *ev, ev_timer *timer, int events)
{
    struct history *self = timer->data;

    (void)ev;
    (void)events;
    show_open(self, faas_now_ns());
    history_close_text(self);
    history_advance(self);
}

void history_wake(struct history *self)
{
    struct ev_loop *ev = faas_loop_ev(self->conf.rt->loop);
    bool has_work = !self->is_stopped && (history_has_work(self) || !TAILQ_EMPTY(&self->opening));

    if (has_work && !ev_is_active(&self->tick))
        ev_timer_again(ev, &self->tick);
    else if (!has_work && ev_is_active(&self->tick))
        ev_timer_stop(ev, &self->tick);
}

static void on_adopt(struct ev_loop *ev, ev_timer *timer, int events)
{
    struct history *self = timer->data;

    (void)ev;
    (void)events;
    self->turn.wants_orphans = !self->turn.is_running;
    self->may_have_more = true;
    history_wake(self);
}

void history_unref(struct history *self)
{
    if (--self->refs == 0) {
        history_text_done(&self->text);
        free(self);
    }
}

faas_code history_open(const struct history_conf *conf, struct history **out_history, faas_err *err)
{
    struct history *self = calloc(1, sizeof *self);
    FAAS_AUTO(char) *dir = NULL;
    struct spool_conf spool = {.bytes_max = conf->spool_mb << 20};
    faas_err why = {0};
    faas_code rc;

    if (self == NULL || asprintf(&dir, "%s/publisher", conf->rt->data_dir) < 0) {
        dir = NULL;
        free(self);
        return faas_fail_sys(err, ENOMEM, "keep records of calls");
    }
    self->conf = *conf;
    self->refs = 1;
    STAILQ_INIT(&self->blocks);
    STAILQ_INIT(&self->turn.blocks);
    TAILQ_INIT(&self->opening);
    faas_random_token(self->token);
    spool.dir = dir;
    rc = faas_kv_open_log(conf->rt->rpc, FAAS_BUCKET_RECORDS, &self->log, err);
    if (rc != FAAS_OK) {
        free(self);
        return rc;
    }
    if (spool_open(&spool, &self->spool, &why) != FAAS_OK)
        FAAS_LOG(ERROR, "records of calls are kept in memory alone until they are sent",
                 FAAS_LSTR("msg", why.msg), FAAS_LSTR("detail", why.detail));
    *out_history = self;
    return FAAS_OK;
}

void history_begin(struct history *self)
{
    ev_timer_init(&self->tick, on_tick, 0, HISTORY_WRITE_MS / 1000.0);
    self->tick.data = self;
    ev_timer_init(&self->adopt, on_adopt, 0, ADOPT_S);
    self->adopt.data = self;
    ev_timer_start(faas_loop_ev(self->conf.rt->loop), &self->adopt);
}

void history_stop(struct history *self)
{
    if (self == NULL)
        return;
    self->is_stopped = true;
    ev_timer_stop(faas_loop_ev(self->conf.rt->loop), &self->tick);
    ev_timer_stop(faas_loop_ev(self->conf.rt->loop), &self->adopt);
    history_flush(self);
    spool_close(self->spool);
    self->spool = NULL;
    faas_kv_close(self->log);
    history_unref(self);
}
