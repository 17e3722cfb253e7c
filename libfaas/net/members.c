#include "net/members.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "net/members_internal.h"

#define MEMBERS_MAX    4096 /* listed at once; more are ignored and logged */
#define PROBE_MS       300
#define PROBE_AGAIN_MS 500
#define DEAD_KEPT_MS   INT64_C(3600000)
#define COALESCE_S     0.002 /* between two beats that were asked for: others keep so many of them */

/* ---- the list ---- */

static int compare(const struct faas_member *member, const char *service, const char *id)
{
    int order = strcmp(member->service, service);

    return order != 0 ? order : strcmp(member->id, id);
}

size_t faas_members_position(const faas_members *members, const char *service, const char *id)
{
    size_t low = 0, high = members->count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (compare(&members->list[middle]->pub, service, id) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct faas_member_record *faas_members_record(const faas_members *members, const char *service,
                                               const char *id)
{
    size_t at = faas_members_position(members, service, id);

    if (at < members->count && compare(&members->list[at]->pub, service, id) == 0)
        return members->list[at];
    return NULL;
}

static bool make_room(faas_members *members)
{
    size_t room = members->room == 0 ? 16 : members->room * 2;
    struct faas_member_record **list;

    if (members->count < members->room)
        return true;
    if (members->count >= MEMBERS_MAX) {
        if (!members->is_full)
            FAAS_LOG(ERROR, "too many members: new ones are ignored",
                     FAAS_LINT("max", MEMBERS_MAX));
        members->is_full = true;
        return false;
    }
    list = realloc(members->list, room * sizeof *list);
    if (list == NULL)
        return false;
    members->list = list;
    members->room = room;
    return true;
}

/* mu is held. */
static struct faas_member_record *insert(faas_members *members, const char *service, const char *id)
{
    size_t at = faas_members_position(members, service, id);
    struct faas_member_record *record;

    if (!make_room(members))
        return NULL;
    record = calloc(1, sizeof *record);
    if (record == NULL)
        return NULL;
    (void)snprintf(record->pub.service, sizeof record->pub.service, "%s", service);
    (void)snprintf(record->pub.id, sizeof record->pub.id, "%s", id);
    memmove(&members->list[at + 1], &members->list[at],
            (members->count - at) * sizeof *members->list);
    members->list[at] = record;
    members->count++;
    return record;
}

static void remove_at(faas_members *members, size_t at)
{
    pthread_mutex_lock(&members->mu);
    free(members->list[at]);
    members->count--;
    memmove(&members->list[at], &members->list[at + 1],
            (members->count - at) * sizeof *members->list);
    pthread_mutex_unlock(&members->mu);
}

static void tell(const faas_members *members, const struct faas_member_record *record,
                 enum faas_member_change change)
{
    static const char *const words[] = {"member joined", "member left", "member died",
                                        "member restarted"};

    FAAS_LOG(INFO, words[change], FAAS_LSTR("member_service", record->pub.service),
             FAAS_LSTR("member", record->pub.id), FAAS_LSTR("epoch", record->pub.epoch));
    if (members->conf.watch != NULL)
        members->conf.watch(members->conf.arg, &record->pub, change);
}

/* ---- our beats ---- */

static json_t *beat_json(faas_members *members, const struct faas_beat *beat)
{
    FAAS_AUTO(json_t) *doc =
        json_pack("{s:i, s:s, s:I, s:s, s:I, s:I, s:I, s:I, s:i, s:s, s:I, s:I}", "v", 1, "epoch",
                  members->epoch, "beat", (json_int_t)++members->beats, "state", beat->state,
                  "free", (json_int_t)beat->free, "slots", (json_int_t)beat->slots, "running",
                  (json_int_t)beat->running, "running_seq", (json_int_t)beat->running_seq, "level",
                  FAAS_LEVEL, "version", members->rpc->conf.version, "up_s",
                  (json_int_t)((faas_now_ns() - members->began_ns) / (1000 * FAAS_MS_NS)),
                  "wall_ms", (json_int_t)faas_wall_ms());
    json_t *applied = doc != NULL ? json_object() : NULL;
    char server[FAAS_BUS_SERVER];

    faas_bus_server(faas_rpc_bus(members->rpc), FAAS_CONTROL, server);
    if (json_object_set_new(doc, "applied", applied) != 0 ||
        (server[0] != '\0' && json_object_set_new(doc, "server", json_string(server)) != 0) ||
        (beat->isolation != NULL &&
         json_object_set_new(doc, "isolation", json_string(beat->isolation)) != 0) ||
        (beat->trouble[0] != '\0' &&
         json_object_set_new(doc, "trouble", json_string(beat->trouble)) != 0))
        return NULL;
    for (size_t i = 0; i < FAAS_APPLIED_MAX && beat->applied[i].bucket != NULL; i++) {
        if (json_object_set_new(applied, beat->applied[i].bucket,
                                json_integer((json_int_t)beat->applied[i].seq)) != 0)
            return NULL;
    }
    return FAAS_STEAL(doc);
}

static void send_beat(faas_members *members, bool is_last)
{
    struct faas_beat beat = {.state = "ready"};
    FAAS_AUTO(json_t) *doc = NULL;
    FAAS_AUTO(char) *text = NULL;
    struct faas_out out = {.subject = members->subject};
    faas_err err = {0};

    if (members->conf.fill != NULL)
        members->conf.fill(members->conf.arg, &beat);
    doc = beat_json(members, &beat);
    if (doc == NULL || (is_last && json_object_set_new(doc, "bye", json_true()) != 0))
        return; /* without memory this beat is missed; the next one comes */
    text = faas_json_text(doc, &out.len);
    if (text == NULL)
        return;
    out.data = text;
    if (faas_bus_publish(faas_rpc_bus(members->rpc), FAAS_CONTROL, &out, &err) != FAAS_OK)
        FAAS_LOG(WARN, "heartbeat not sent", FAAS_LSTR("error", err.msg),
                 FAAS_LSTR("detail", err.detail));
}

static void on_soon(struct ev_loop *ev, ev_timer *timer, int events)
{
    faas_members *members = timer->data;

    (void)events;
    members->soon_at = ev_now(ev);
    send_beat(members, false);
}

/* The first one goes in the loop's next turn, when the caller's change is whole; those of a burst
 * share one. */
void faas_members_beat_now(faas_members *members)
{
    struct ev_loop *ev;
    ev_tstamp wait;

    if (members == NULL || ev_is_active(&members->soon_timer))
        return;
    ev = faas_loop_ev(members->loop);
    wait = members->soon_at + COALESCE_S - ev_now(ev);
    if (wait < 0 || wait > COALESCE_S) /* the clock was set */
        wait = 0;
    ev_timer_set(&members->soon_timer, wait, 0.0);
    ev_timer_start(ev, &members->soon_timer);
}

/* ---- their beats ---- */

struct heard {
    const char *service, *id; /* borrowed from the subject's copy */
    const char *epoch, *state, *isolation, *version, *trouble, *server;
    int64_t beat, free, slots, running, level, up_s, wall_ms;
    bool is_bye;
    json_t *applied;
};
static const struct faas_json_field heard_fields[] = {
    FAAS_FIELD(STR, struct heard, epoch, "epoch", 1, 32, true),
    FAAS_FIELD(STR, struct heard, state, "state", 1, 32, true),
    FAAS_FIELD(INT, struct heard, beat, "beat", 0, 9e15, true),
    FAAS_FIELD(INT, struct heard, free, "free", 0, 1e9, false),
    FAAS_FIELD(INT, struct heard, slots, "slots", 0, 1e9, false),
    FAAS_FIELD(INT, struct heard, running, "running", 0, 1e9, false),
    FAAS_FIELD(INT, struct heard, level, "level", 0, 1e9, false),
    FAAS_FIELD(STR, struct heard, isolation, "isolation", 1, 15, false),
    FAAS_FIELD(STR, struct heard, version, "version", 1, FAAS_MEMBER_VERSION - 1, false),
    FAAS_FIELD(INT, struct heard, up_s, "up_s", 0, 1e12, false),
    FAAS_FIELD(INT, struct heard, wall_ms, "wall_ms", 0, 9e15, false),
    FAAS_FIELD(STR, struct heard, trouble, "trouble", 1, FAAS_MEMBER_TROUBLE - 1, false),
    FAAS_FIELD(STR, struct heard, server, "server", 1, FAAS_BUS_SERVER - 1, false),
    FAAS_FIELD(BOOL, struct heard, is_bye, "bye", 0, 0, false),
    FAAS_FIELD(ANY, struct heard, applied, "applied", 0, 0, false),
    FAAS_FIELD_END,
};

/* What is there of it already. */
static uint64_t seen_of(const struct faas_member_applied *list, const char *bucket)
{
    for (size_t i = 0; i < FAAS_APPLIED_MAX && list[i].bucket[0] != '\0'; i++)
        if (strcmp(list[i].bucket, bucket) == 0)
            return list[i].seq;
    return 0;
}

/* A beat that is not the newest word of its reader takes nothing back. */
static void take_applied(struct faas_member_record *record, json_t *applied, bool is_old)
{
    struct faas_member_applied before[FAAS_APPLIED_MAX];
    const char *bucket;
    json_t *seq;
    size_t n = 0;

    memcpy(before, record->applied, sizeof before);

    json_object_foreach (applied, bucket, seq) {
        if (n == FAAS_APPLIED_MAX || strlen(bucket) >= FAAS_BUCKET_TEXT || !json_is_integer(seq))
            continue;
        (void)snprintf(record->applied[n].bucket, FAAS_BUCKET_TEXT, "%s", bucket);
        record->applied[n].seq = (uint64_t)json_integer_value(seq);
        if (is_old && seen_of(before, bucket) > record->applied[n].seq)
            record->applied[n].seq = seen_of(before, bucket);
        n++;
    }
    if (n < FAAS_APPLIED_MAX)
        record->applied[n].bucket[0] = '\0';
}

/* What concerns nobody but whoever looks at the platform. */
static void take_facts(struct faas_member *pub, const struct heard *heard)
{
    (void)snprintf(pub->isolation, sizeof pub->isolation, "%s",
                   heard->isolation != NULL ? heard->isolation : "");
    (void)snprintf(pub->version, sizeof pub->version, "%s",
                   heard->version != NULL ? heard->version : "");
    (void)snprintf(pub->trouble, sizeof pub->trouble, "%s",
                   heard->trouble != NULL ? heard->trouble : "");
    pub->up_s = heard->up_s;
    pub->skew_ms = heard->wall_ms > 0 ? heard->wall_ms - faas_wall_ms() : 0;
}

/* mu is held.  What changed for the watch: true with *out_change. */
static bool take_beat(struct faas_member_record *record, const struct heard *heard, uint64_t at_ns,
                      enum faas_member_change *out_change)
{
    struct faas_member *pub = &record->pub;
    bool is_new = pub->epoch[0] == '\0';
    bool is_other = !is_new && strcmp(pub->epoch, heard->epoch) != 0;
    bool was_dead = pub->is_dead;

    if (strcmp(record->old_epoch, heard->epoch) == 0 && !is_new)
        return false;
    if (!is_new && !is_other && (uint64_t)heard->beat <= pub->beat)
        return false; /* overtaken on its way */
    if (is_other)
        memcpy(record->old_epoch, pub->epoch, sizeof record->old_epoch);
    if (is_new || is_other) {
        (void)snprintf(pub->epoch, sizeof pub->epoch, "%s", heard->epoch);
        pub->first_ns = at_ns;
    }
    pub->beat = (uint64_t)heard->beat;
    pub->seen_ns = at_ns;
    pub->is_ready = strcmp(heard->state, "ready") == 0 && !heard->is_bye;
    pub->is_dead = record->pub.has_left = heard->is_bye;
    record->died_ns = heard->is_bye ? at_ns : 0;
    pub->free = heard->free;
    pub->slots = heard->slots;
    pub->running = heard->running;
    pub->level = heard->level;
    take_facts(pub, heard);
    (void)snprintf(record->server, sizeof record->server, "%s",
                   heard->server != NULL ? heard->server : "");
    if (is_new || is_other)
        record->seen_beat = 0;
    take_applied(record, heard->applied, (uint64_t)heard->beat <= record->seen_beat);
    if (heard->is_bye)
        *out_change = FAAS_MEMBER_LEFT;
    else
        *out_change = is_other ? FAAS_MEMBER_RESTARTED : FAAS_MEMBER_JOINED;
    return is_new || is_other || was_dead || heard->is_bye;
}

static void hear(faas_members *members, const struct heard *heard, uint64_t at_ns)
{
    enum faas_member_change change = FAAS_MEMBER_JOINED;
    struct faas_member_record *record;
    bool is_news;

    pthread_mutex_lock(&members->mu);
    record = faas_members_record(members, heard->service, heard->id);
    if (record == NULL)
        record = insert(members, heard->service, heard->id);
    is_news = record != NULL && take_beat(record, heard, at_ns, &change);
    if (record != NULL && faas_members_is_own(members, record))
        faas_members_correct_own(members, record);
    faas_members_wake(members);
    pthread_mutex_unlock(&members->mu);
    if (is_news)
        tell(members, record, change);
}

/* "faas.hb.<service>.<id>" in text becomes two strings. */
static bool split_subject(char *text, const char **out_service, const char **out_id)
{
    static const char prefix[] = "faas.hb.";
    char *service = text + sizeof prefix - 1, *id;

    if (strncmp(text, prefix, sizeof prefix - 1) != 0)
        return false;
    id = strchr(service, '.');
    if (id == NULL)
        return false;
    *id++ = '\0';
    *out_service = service;
    *out_id = id;
    return service[0] != '\0' && strlen(service) < sizeof((struct faas_member *)0)->service &&
           id[0] != '\0' && strlen(id) < sizeof((struct faas_member *)0)->id &&
           strchr(id, '.') == NULL;
}

static void on_beat(void *arg, faas_msg *take_msg)
{
    faas_members *members = arg;
    FAAS_AUTO(faas_msg) *msg = take_msg;
    FAAS_AUTO(json_t) *doc = NULL;
    char subject[FAAS_SUBJECT_MAX];
    struct heard heard = {0};
    faas_err err = {0};

    if (strlen(faas_msg_subject(msg)) >= sizeof subject)
        return;
    memcpy(subject, faas_msg_subject(msg), strlen(faas_msg_subject(msg)) + 1);
    if (!split_subject(subject, &heard.service, &heard.id))
        return;
    if (faas_json_parse(faas_msg_data(msg), faas_msg_len(msg), false, &doc, &err) != FAAS_OK ||
        faas_json_decode(doc, heard_fields, FAAS_JSON_TOLERANT, &heard, &err) != FAAS_OK) {
        FAAS_LOG(WARN, "heartbeat not understood", FAAS_LSTR("member", heard.id),
                 FAAS_LSTR("error", err.msg));
        return;
    }
    hear(members, &heard, msg->arrived_ns);
}

/* ---- the silent ---- */

/* A probe on its way; the record may be gone when it ends. */
struct probe {
    faas_members *members;
    char service[16], id[40], epoch[33];
};

static void members_free(faas_members *members)
{
    for (size_t i = 0; i < members->count; i++)
        free(members->list[i]);
    free(members->list);
    pthread_mutex_destroy(&members->mu);
    free(members);
}

bool faas_member_is_silent(const struct faas_member_record *record, uint64_t now)
{
    return now > record->pub.seen_ns + FAAS_BEAT_DEAD_MS * FAAS_MS_NS;
}

/* Long enough for a death, and not because we were deaf ourselves. */
static bool may_be_dead(const faas_members *members, const struct faas_member_record *record)
{
    uint64_t now = faas_now_ns();

    return faas_member_is_silent(record, now) &&
           now > members->back_ns + FAAS_BEAT_DEAD_MS * FAAS_MS_NS;
}

static void on_back(void *arg)
{
    faas_members *members = arg;

    members->back_ns = faas_now_ns();
}

/* Nobody answers, or another epoch does.  What we could not ask or read for lack of memory says
 * nothing. */
static bool probe_says_dead(const struct probe *probe, const struct faas_rpc_reply *reply)
{
    FAAS_AUTO(json_t) *doc = NULL;
    faas_err err = {0};
    const char *epoch;

    if (reply->code != FAAS_OK)
        return reply->code == FAAS_TIMEOUT || reply->code == FAAS_UNAVAILABLE;
    if (faas_json_parse(faas_msg_data(reply->msg), faas_msg_len(reply->msg), false, &doc, &err) !=
        FAAS_OK)
        return false;
    epoch = json_string_value(json_object_get(doc, "epoch"));
    return epoch == NULL || strcmp(epoch, probe->epoch) != 0;
}

static void declare_dead(faas_members *members, struct faas_member_record *record)
{
    pthread_mutex_lock(&members->mu);
    record->pub.is_dead = true;
    record->died_ns = faas_now_ns();
    faas_members_wake(members);
    pthread_mutex_unlock(&members->mu);
    tell(members, record, FAAS_MEMBER_DIED);
}

static void on_probed(void *arg, const struct faas_rpc_reply *reply)
{
    FAAS_AUTO(void) *owned = arg;
    const struct probe *probe = arg;
    faas_members *members = probe->members;
    struct faas_member_record *record;

    members->probes--;
    if (members->is_stopped) {
        if (members->probes == 0)
            members_free(members);
        return;
    }
    record = faas_members_record(members, probe->service, probe->id);
    if (record == NULL)
        return;
    record->is_probing = false;
    if (strcmp(record->pub.epoch, probe->epoch) != 0)
        return; /* another process under this name by now: it is probed when it is silent */
    record->probe_ns = faas_now_ns() + PROBE_AGAIN_MS * FAAS_MS_NS;
    /* Our own trouble is not their death: without a connection nobody can answer us. */
    if (!probe_says_dead(probe, reply) || record->pub.is_dead || !may_be_dead(members, record) ||
        !faas_bus_lane_is_up(faas_rpc_bus(members->rpc), FAAS_CONTROL))
        return;
    declare_dead(members, record);
}

static void send_probe(faas_members *members, struct faas_member_record *record)
{
    struct probe *probe = calloc(1, sizeof *probe);
    char subject[FAAS_SUBJECT_MAX];
    struct faas_ctx ctx = {.deadline_ns = faas_deadline_in_ms(PROBE_MS)};
    struct faas_rpc_request req = {.subject = subject, .ctx = &ctx, .lane = FAAS_CONTROL};

    if (probe == NULL)
        return; /* the next tick tries again */
    probe->members = members;
    memcpy(probe->service, record->pub.service, sizeof probe->service);
    memcpy(probe->id, record->pub.id, sizeof probe->id);
    memcpy(probe->epoch, record->pub.epoch, sizeof probe->epoch);
    (void)snprintf(subject, sizeof subject, FAAS_SUBJ_PROBE, probe->service, probe->id);
    record->is_probing = true;
    members->probes++;
    faas_rpc_call(members->rpc, &req, on_probed, probe);
}

static void look_for_silent(faas_members *members)
{
    uint64_t now = faas_now_ns();

    for (size_t i = members->count; i-- > 0;) {
        struct faas_member_record *record = members->list[i];

        if (record->pub.is_dead) {
            if (now > record->died_ns + (uint64_t)DEAD_KEPT_MS * FAAS_MS_NS && !record->is_probing)
                remove_at(members, i);
        } else if (may_be_dead(members, record) && !record->is_probing && now >= record->probe_ns) {
            send_probe(members, record);
        }
    }
}

static void on_tick(struct ev_loop *ev, ev_timer *timer, int events)
{
    (void)ev;
    (void)events;
    send_beat(timer->data, false);
    look_for_silent(timer->data);
    faas_members_look_for_island(timer->data);
}

/* ---- starting and stopping ---- */

static faas_members *members_new(faas_rpc *rpc, const struct faas_members_conf *conf)
{
    faas_members *members = calloc(1, sizeof *members);

    if (members == NULL)
        return NULL;
    members->rpc = rpc;
    members->loop = faas_bus_loop(faas_rpc_bus(rpc));
    members->conf = *conf;
    members->began_ns = faas_now_ns();
    faas_random_token(members->epoch);
    (void)snprintf(members->subject, sizeof members->subject, FAAS_SUBJ_BEAT, conf->service,
                   conf->id);
    pthread_mutex_init(&members->mu, NULL);
    LIST_INIT(&members->waiters);
    ev_init(&members->soon_timer, on_soon);
    members->soon_timer.data = members;
    ev_timer_init(&members->beat_timer, on_tick, 0.0, FAAS_BEAT_MS / 1e3);
    members->beat_timer.data = members;
    return members;
}

faas_code faas_members_start(faas_rpc *rpc, const struct faas_members_conf *conf,
                             faas_members **out_members, faas_err *err)
{
    faas_members *members = members_new(rpc, conf);
    faas_code rc;

    if (members == NULL)
        return faas_fail_sys(err, ENOMEM, "start the member list");
    rc = faas_bus_subscribe(faas_rpc_bus(rpc), FAAS_CONTROL, FAAS_SUBJ_BEAT_ALL, NULL, on_beat,
                            members, &members->sub, err);
    if (rc == FAAS_OK)
        rc = faas_members_seen_start(members, err);
    if (rc == FAAS_OK) {
        rc = faas_members_island_start(members, err);
        if (rc != FAAS_OK)
            faas_members_seen_stop(members);
    }
    if (rc != FAAS_OK) {
        faas_sub_free(members->sub);
        members_free(members);
        return rc;
    }
    members->watch = (struct faas_bus_watch){.lane = FAAS_CONTROL, .task = on_back, .arg = members};
    faas_bus_watch_add(faas_rpc_bus(rpc), &members->watch);
    ev_timer_start(faas_loop_ev(members->loop), &members->beat_timer);
    *out_members = members;
    return FAAS_OK;
}

void faas_members_stop(faas_members *members)
{
    if (members == NULL)
        return;
    send_beat(members, true);
    ev_timer_stop(faas_loop_ev(members->loop), &members->beat_timer);
    ev_timer_stop(faas_loop_ev(members->loop), &members->soon_timer);
    faas_sub_free(members->sub);
    faas_members_seen_stop(members);
    faas_members_island_stop(members);
    faas_bus_watch_remove(&members->watch);
    members->is_stopped = true;
    if (members->probes == 0)
        members_free(members);
}

const char *faas_members_epoch(const faas_members *members)
{
    return members->epoch;
}
