#include "tests/support/caller.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/queue.h>

#include "base/clock.h"
#include "base/envelope.h"
#include "base/log.h"
#include "contract.h"
#include "net/frames.h"
#include "net/gather.h"
#include "net/rpc.h"

#define BEATS_MAX 16

struct flight {
    struct caller *caller;
    const struct caller_order *order;
    struct caller_result *result;
    faas_inbox *inbox;
    faas_frames_in *frames;
    ev_timer timer;
    uint64_t sent_ns;
    bool is_over, is_gone;
    LIST_ENTRY(flight) link;
};
struct caller {
    faas_loop *loop;
    faas_pool *pool;
    faas_bus *bus;
    faas_rpc *rpc;
    faas_sub *events, *beats, *ends;
    pthread_t thread;
    const char *publisher;
    LIST_HEAD(, flight) flights;
    struct faas_gather credits; /* of results that have arrived */
    pthread_mutex_t mu;         /* guards is_over, is_gone of flights, and heard */
    pthread_cond_t woken;
    char ignored[FAAS_UUID_TEXT]; /* newest call whose end stays unanswered; loop thread */
    struct {
        char spawner[40];
        json_t *beat;
    } heard[BEATS_MAX];
    char adopted[FAAS_UUID_TEXT]; /* newest call whose end came to any publisher */
};

static void die(const char *what, const faas_err *err)
{
    fprintf(stderr, "caller: %s: %s %s\n", what, err->msg, err->detail);
    abort();
}

static void must(faas_code rc, const char *what, const faas_err *err)
{
    if (rc != FAAS_OK)
        die(what, err);
}

/* ---- a call, on the loop thread ---- */

static void over(struct flight *f)
{
    if (f->is_over)
        return;
    f->result->ms = (double)(faas_now_ns() - f->sent_ns) / 1e6;
    pthread_mutex_lock(&f->caller->mu);
    f->is_over = true;
    pthread_cond_broadcast(&f->caller->woken);
    pthread_mutex_unlock(&f->caller->mu);
}

/* The END is here; the event of that name comes behind all others. */
static void ended(struct flight *f)
{
    if (!f->order->awaits_events || f->result->end_events > 0)
        over(f);
}

static void send_credit(void *arg, const char *reply, const void *msg, size_t len)
{
    struct flight *f = arg;
    struct faas_out out = {.subject = reply, .data = msg, .len = len};
    faas_err err = {0};

    if (faas_frames_in_end(f->frames) != NULL)
        faas_gather_add(&f->caller->credits, FAAS_DATA, reply, msg, len);
    else
        must(faas_bus_publish(f->caller->bus, FAAS_DATA, &out, &err), "credit", &err);
}

static void take_frames(struct flight *f, const faas_msg *msg)
{
    struct faas_frame frame;
    size_t pos = 0;
    bool has_more = false;
    faas_err err = {0};

    for (;;) {
        must(faas_frame_next(faas_msg_data(msg), faas_msg_len(msg), &pos, &frame, &has_more, &err),
             "frame", &err);
        if (!has_more)
            return;
        if (frame.type == FAAS_FRAME_ACCEPT)
            f->result->has_accept_frame = true;
        if (frame.number == 0 && frame.type >= FAAS_FRAME_CREDIT)
            continue;
        if (faas_frames_in_take(f->frames, &frame, faas_msg_reply(msg)) == FAAS_FRAMES_BROKEN)
            f->result->is_broken = true;
    }
}

static void on_frames(void *arg, faas_msg *take_msg)
{
    struct flight *f = arg;
    int fd = -1;

    if (!f->order->is_deaf)
        take_frames(f, take_msg);
    faas_msg_free(take_msg);
    if (f->result->end == NULL && faas_frames_in_end(f->frames) != NULL) {
        f->result->end = json_deep_copy(faas_frames_in_end(f->frames));
        f->result->out_len = faas_frames_in_bytes(f->frames);
        f->result->out = faas_frames_in_steal(f->frames, &f->result->out_len, &fd);
        if (f->result->out == NULL && fd >= 0) {
            FILE *in = fdopen(fd, "r");

            f->result->out = malloc(f->result->out_len + 1);
            rewind(in);
            if (fread(f->result->out, 1, f->result->out_len, in) != f->result->out_len)
                f->result->is_broken = true;
            fclose(in);
        }
        ended(f);
    }
    if (f->result->is_broken)
        over(f);
}

static void take_event(struct flight *f, const char *name, json_t *event, const faas_msg *msg)
{
    if (strcmp(name, "accept") == 0) {
        if (!f->result->has_accept_event && f->order->accepted != NULL)
            f->order->accepted(f->order->arg, f->result->id);
        f->result->has_accept_event = true;
    } else if (strcmp(name, "started") == 0) {
        if (!f->result->has_started && f->order->started != NULL)
            f->order->started(f->order->arg, f->result->id);
        f->result->has_started = true;
    } else if (strcmp(name, "busy") == 0 || strcmp(name, "end") == 0) {
        json_decref(f->result->event);
        f->result->event = json_incref(event);
        f->result->is_busy = name[0] == 'b';
        f->result->end_events += name[0] == 'e';
        f->result->is_untold = faas_msg_header(msg, FAAS_H_UNTOLD) != NULL;
        if (name[0] == 'b' || f->order->is_deaf || (f->result->is_untold && !f->order->ignores_end))
            over(f);
    }
    if (f->result->end != NULL)
        ended(f);
    if (faas_msg_reply(msg) != NULL && strcmp(f->caller->ignored, f->result->id) != 0)
        faas_rpc_answer(f->caller->rpc, msg, "{\"ok\":true}", 11);
}

static void on_event(void *arg, faas_msg *take_msg)
{
    struct caller *self = arg;
    FAAS_AUTO(faas_msg) *msg = take_msg;
    FAAS_AUTO(json_t) *event = json_loadb(faas_msg_data(msg), faas_msg_len(msg), 0, NULL);
    const char *id = faas_msg_header(msg, FAAS_H_ID);
    struct flight *f;

    LIST_FOREACH (f, &self->flights, link)
        if (id != NULL && strcmp(f->result->id, id) == 0)
            break;
    if (f != NULL)
        take_event(f, json_string_value(json_object_get(event, "event")), event, msg);
    else if (faas_msg_reply(msg) != NULL && (id == NULL || strcmp(self->ignored, id) != 0))
        faas_rpc_answer(self->rpc, msg, "{\"ok\":true}", 11);
}

static void on_adopted(void *arg, faas_msg *take_msg)
{
    struct caller *self = arg;
    FAAS_AUTO(faas_msg) *msg = take_msg;
    const char *id = faas_msg_header(msg, FAAS_H_ID);

    pthread_mutex_lock(&self->mu);
    snprintf(self->adopted, sizeof self->adopted, "%s", id != NULL ? id : "");
    pthread_cond_broadcast(&self->woken);
    pthread_mutex_unlock(&self->mu);
    faas_rpc_answer(self->rpc, msg, "{\"ok\":true}", 11);
}

static void on_timeout(struct ev_loop *ev, ev_timer *timer, int events)
{
    struct flight *f = timer->data;

    (void)ev, (void)events;
    f->result->is_timeout = true;
    over(f);
}

static void send_order(struct flight *f)
{
    const struct caller_order *o = f->order;
    const char *inbox = faas_inbox_subject(f->inbox);
    char subject[FAAS_SUBJECT_MAX], place[16], beat[24];
    const struct faas_header headers[] = {
        {FAAS_H_PROTO, FAAS_PROTO},
        {FAAS_H_ID, f->result->id},
        {FAAS_H_PLACE, place},
        {FAAS_H_PUBLISHER, f->caller->publisher},
        {FAAS_H_EPOCH, o->epoch},
        {FAAS_H_BEAT, o->beat > 0 ? beat : NULL},
        {FAAS_H_AGE, "1"},
        {FAAS_H_INBOX, o->is_old ? NULL : inbox},
        {NULL, NULL},
    };
    struct faas_out out = {.subject = subject,
                           .reply = o->is_old ? inbox : "_INBOX_publisher.nobody",
                           .headers = headers};
    FAAS_AUTO(void) *msg = NULL;
    faas_err err = {0};

    snprintf(place, sizeof place, "%u", o->place > 0 ? o->place : 257);
    snprintf(beat, sizeof beat, "%lld", (long long)o->beat);
    must(faas_envelope_pack(o->meta, o->argument, o->argument_len, &msg, &out.len, &err),
         "envelope", &err);
    out.data = msg;
    if (!faas_subject(subject, FAAS_SUBJ_SPAWNER_CALL, o->spawner))
        die("spawner id", &err);
    f->sent_ns = faas_now_ns();
    must(faas_bus_publish(f->caller->bus, FAAS_DATA, &out, &err), "publish", &err);
}

static void launch(void *arg)
{
    struct flight *f = arg;
    struct faas_frames_in_conf conf = {.credit = send_credit, .arg = f};
    struct ev_loop *ev = faas_loop_ev(f->caller->loop);
    faas_err err = {0};

    if (f->order->id != NULL)
        snprintf(f->result->id, sizeof f->result->id, "%s", f->order->id);
    else
        faas_uuid_new(f->result->id);
    memcpy(conf.id, f->result->id, sizeof conf.id);
    if (f->order->ignores_end)
        memcpy(f->caller->ignored, conf.id, sizeof conf.id);
    must(faas_inbox_open(f->caller->rpc, on_frames, f, &f->inbox, &err), "inbox", &err);
    must(faas_frames_in_new(&conf, &f->frames, &err), "frames", &err);
    LIST_INSERT_HEAD(&f->caller->flights, f, link);
    ev_now_update(ev);
    ev_timer_init(&f->timer, on_timeout,
                  (double)(f->order->wait_ms > 0 ? f->order->wait_ms : 60000) / 1e3, 0.0);
    f->timer.data = f;
    ev_timer_start(ev, &f->timer);
    send_order(f);
}

static void land(void *arg)
{
    struct flight *f = arg;

    ev_timer_stop(faas_loop_ev(f->caller->loop), &f->timer);
    LIST_REMOVE(f, link);
    faas_inbox_close(f->inbox);
    faas_frames_in_free(f->frames);
    pthread_mutex_lock(&f->caller->mu);
    f->is_gone = true;
    pthread_cond_broadcast(&f->caller->woken);
    pthread_mutex_unlock(&f->caller->mu);
}

void caller_run(struct caller *self, const struct caller_order *order,
                struct caller_result *out_result)
{
    struct flight f = {.caller = self, .order = order, .result = out_result};

    memset(out_result, 0, sizeof *out_result);
    faas_loop_post(self->loop, launch, &f);
    pthread_mutex_lock(&self->mu);
    while (!f.is_over)
        pthread_cond_wait(&self->woken, &self->mu);
    pthread_mutex_unlock(&self->mu);
    faas_loop_post(self->loop, land, &f);
    pthread_mutex_lock(&self->mu);
    while (!f.is_gone)
        pthread_cond_wait(&self->woken, &self->mu);
    pthread_mutex_unlock(&self->mu);
}

void caller_result_done(struct caller_result *result)
{
    json_decref(result->end);
    json_decref(result->event);
    free(result->out);
    memset(result, 0, sizeof *result);
}

/* ---- the rest ---- */

json_t *caller_ask(struct caller *self, const char *spawner, const char *verb, const json_t *body)
{
    struct faas_ctx ctx = {.deadline_ns = faas_deadline_in_ms(60000)};
    char subject[FAAS_SUBJECT_MAX];
    struct faas_rpc_request req = {.subject = subject,
                                   .ctx = &ctx,
                                   .lane = FAAS_CONTROL,
                                   .retry = FAAS_RPC_ONCE,
                                   .attempt_ms = 60000};
    FAAS_AUTO(char) *text = faas_json_text(body, &req.len);
    FAAS_AUTO(faas_msg) *msg = NULL;
    faas_err err = {0};
    faas_code rc;

    snprintf(subject, sizeof subject, "faas.spawner.i.%s.%s", spawner, verb);
    req.data = text;
    rc = faas_rpc_wait(self->rpc, &req, &msg, &err);
    if (rc != FAAS_OK)
        return json_pack("{s:s,s:s}", "error", err.msg, "code", faas_code_slug(rc));
    return json_loadb(faas_msg_data(msg), faas_msg_len(msg), 0, NULL);
}

static void on_beat(void *arg, faas_msg *take_msg)
{
    struct caller *self = arg;
    FAAS_AUTO(faas_msg) *msg = take_msg;
    const char *id = strrchr(faas_msg_subject(msg), '.') + 1;

    pthread_mutex_lock(&self->mu);
    for (size_t i = 0; i < BEATS_MAX; i++) {
        if (self->heard[i].spawner[0] != '\0' && strcmp(self->heard[i].spawner, id) != 0)
            continue;
        snprintf(self->heard[i].spawner, sizeof self->heard[i].spawner, "%s", id);
        json_decref(self->heard[i].beat);
        self->heard[i].beat = json_loadb(faas_msg_data(msg), faas_msg_len(msg), 0, NULL);
        break;
    }
    pthread_cond_broadcast(&self->woken);
    pthread_mutex_unlock(&self->mu);
}

json_t *caller_beat(struct caller *self, const char *spawner, int64_t ms)
{
    struct timespec until;
    json_t *beat = NULL;
    int rc = 0;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += ms / 1000 + 1;
    pthread_mutex_lock(&self->mu);
    while (beat == NULL && rc == 0) {
        for (size_t i = 0; i < BEATS_MAX && beat == NULL; i++)
            if (strcmp(self->heard[i].spawner, spawner) == 0)
                beat = json_deep_copy(self->heard[i].beat);
        if (beat == NULL)
            rc = pthread_cond_timedwait(&self->woken, &self->mu, &until);
    }
    pthread_mutex_unlock(&self->mu);
    return beat;
}

bool caller_adopted(struct caller *self, const char *id, int64_t ms)
{
    struct timespec until;
    bool is_adopted;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += ms / 1000 + 1;
    pthread_mutex_lock(&self->mu);
    while (strcmp(self->adopted, id) != 0)
        if (pthread_cond_timedwait(&self->woken, &self->mu, &until) != 0)
            break;
    is_adopted = strcmp(self->adopted, id) == 0;
    pthread_mutex_unlock(&self->mu);
    return is_adopted;
}

json_t *caller_meta(const char *reference, const char *kind, const char *value)
{
    return json_pack("{s:i,s:s,s:{s:s,s:{s:s,s:s},s:[]},s:s,s:{},s:i,s:i,s:s,s:s,s:s,s:b}", "v", 1,
                     "kind", "exec", "image", "reference", reference, "digest", "kind", kind,
                     "value", value, "command", "input", "argv", "limits", "timeout_ms", 30000,
                     "start_timeout_ms", 30000, "network", "none", "reuse", "fresh", "isolation",
                     "docker", "pull", 0);
}

static void *run_loop(void *arg)
{
    faas_loop_run(arg);
    return NULL;
}

struct caller *caller_open(const char *nats_urls, const char *publisher_id)
{
    struct caller *self = calloc(1, sizeof *self);
    faas_err err = {0};
    struct faas_bus_conf bus = {.urls = nats_urls, .service = "bench", .id = publisher_id};
    struct faas_rpc_conf rpc = {
        .service = "bench", .id = publisher_id, .version = "0.1.0", .description = "test caller"};
    char subject[FAAS_SUBJECT_MAX];

    if (self == NULL)
        die("memory", &err);
    self->publisher = publisher_id;
    faas_log_setup("caller", publisher_id, FAAS_LOG_WARN);
    pthread_mutex_init(&self->mu, NULL);
    pthread_cond_init(&self->woken, NULL);
    must(faas_loop_new(&self->loop, &err), "loop", &err);
    must(faas_pool_start(1, 64, &self->pool, &err), "pool", &err);
    must(faas_bus_open(&bus, self->loop, &self->bus, &err), "bus", &err);
    faas_gather_init(&self->credits, self->bus);
    rpc.pool = self->pool;
    must(faas_rpc_open(self->bus, &rpc, &self->rpc, &err), "rpc", &err);
    if (!faas_subject(subject, FAAS_SUBJ_PUBLISHER_EVENTS, publisher_id))
        die("publisher id", &err);
    must(faas_bus_subscribe(self->bus, FAAS_CONTROL, subject, NULL, on_event, self, &self->events,
                            &err),
         "events", &err);
    must(faas_bus_subscribe(self->bus, FAAS_CONTROL, "faas.hb.spawner.*", NULL, on_beat, self,
                            &self->beats, &err),
         "beats", &err);
    must(faas_bus_subscribe(self->bus, FAAS_CONTROL, FAAS_SUBJ_PUBLISHER_END, FAAS_QUEUE,
                            on_adopted, self, &self->ends, &err),
         "ends", &err);
    if (pthread_create(&self->thread, NULL, run_loop, self->loop) != 0)
        die("thread", &err);
    return self;
}

static void unsubscribe(void *arg)
{
    struct caller *self = arg;

    faas_gather_flush(&self->credits);
    faas_sub_free(self->events);
    faas_sub_free(self->beats);
    faas_sub_free(self->ends);
    faas_loop_stop(self->loop);
}

void caller_close(struct caller *self)
{
    faas_loop_post(self->loop, unsubscribe, self);
    pthread_join(self->thread, NULL);
    faas_pool_stop(self->pool);
    faas_rpc_close(self->rpc);
    faas_bus_close(self->bus, 500);
    faas_loop_free(self->loop);
    for (size_t i = 0; i < BEATS_MAX; i++)
        json_decref(self->heard[i].beat);
    pthread_cond_destroy(&self->woken);
    pthread_mutex_destroy(&self->mu);
    free(self);
}
