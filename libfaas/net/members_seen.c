/* What a reader has applied, told at once to those who wait for it: a message to the instances of one
 * service, where a beat would wake every program.  One that is lost is made good by the next beat. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "contract.h"
#include "net/members_internal.h"

#define GAP_S 0.0005 /* those of a burst share one */

/* ---- telling ---- */

static void publish(faas_members *members, const struct faas_member_applied *own,
                    const char *writers)
{
    char subject[FAAS_SUBJECT_MAX];
    struct faas_out out = {.subject = subject};
    FAAS_AUTO(json_t) *doc =
        json_pack("{s:i, s:s, s:I, s:s, s:I}", "v", 1, "epoch", members->epoch, "beat",
                  (json_int_t)members->beats, "bucket", own->bucket, "seq", (json_int_t)own->seq);
    FAAS_AUTO(char) *text = doc != NULL ? faas_json_text(doc, &out.len) : NULL;
    int len = snprintf(subject, sizeof subject, FAAS_SUBJ_SEEN, writers, members->conf.service,
                       members->conf.id);

    faas_err err = {0};

    out.data = text;
    if (text == NULL || len <= 0 || (size_t)len >= sizeof subject)
        return;
    if (faas_bus_publish(faas_rpc_bus(members->rpc), FAAS_CONTROL, &out, &err) != FAAS_OK)
        FAAS_LOG(DEBUG, "what was applied is told by the next beat", FAAS_LSTR("why", err.msg));
}

static void on_seen_timer(struct ev_loop *ev, ev_timer *timer, int events)
{
    faas_members *members = timer->data;

    (void)events;
    members->seen_at = ev_now(ev);
    for (size_t i = 0; i < FAAS_APPLIED_MAX; i++) {
        const char *writers = FAAS_STEAL(members->told[i]);

        if (writers != NULL)
            publish(members, &members->own[i], writers);
    }
}

/* members->own[own] has grown, and the instances of writers wait for it. */
static void tell_seen(faas_members *members, size_t own, const char *writers)
{
    struct ev_loop *ev = faas_loop_ev(members->loop);
    ev_tstamp wait = members->seen_at + GAP_S - ev_now(ev);

    members->told[own] = writers;
    if (ev_is_active(&members->seen_timer))
        return;
    ev_timer_set(&members->seen_timer, wait > 0 && wait < GAP_S ? wait : 0, 0.0);
    ev_timer_start(ev, &members->seen_timer);
}

/* ---- what this process has applied ---- */

/* The entry of a bucket, the end of the list when it has none, NULL when that is full, too. */
static struct faas_member_applied *applied_of(struct faas_member_applied *list, const char *bucket)
{
    for (size_t i = 0; i < FAAS_APPLIED_MAX; i++)
        if (list[i].bucket[0] == '\0' || strcmp(list[i].bucket, bucket) == 0)
            return &list[i];
    return NULL;
}

static void set_applied(struct faas_member_applied *place, const char *bucket, uint64_t seq)
{
    if (place == NULL)
        return;
    (void)snprintf(place->bucket, FAAS_BUCKET_TEXT, "%s", bucket);
    place->seq = seq;
}

bool faas_members_is_own(const faas_members *members, const struct faas_member_record *record)
{
    return strcmp(record->pub.id, members->conf.id) == 0 &&
           strcmp(record->pub.service, members->conf.service) == 0;
}

void faas_members_correct_own(faas_members *members, struct faas_member_record *own)
{
    for (size_t i = 0; i < FAAS_APPLIED_MAX && members->own[i].bucket[0] != '\0'; i++) {
        struct faas_member_applied *place = applied_of(own->applied, members->own[i].bucket);

        if (place != NULL && place->bucket[0] != '\0')
            place->seq = members->own[i].seq;
    }
}

static bool has_other(const faas_members *members, const char *service)
{
    for (size_t at = faas_members_position(members, service, "");
         at < members->count && strcmp(members->list[at]->pub.service, service) == 0; at++)
        if (!members->list[at]->pub.is_dead && !faas_members_is_own(members, members->list[at]))
            return true;
    return false;
}

void faas_members_applied(faas_members *members, const char *writers, const char *bucket,
                          uint64_t seq)
{
    struct faas_member_applied *place;
    struct faas_member_record *own;

    if (members == NULL)
        return;
    pthread_mutex_lock(&members->mu);
    place = applied_of(members->own, bucket);
    set_applied(place, bucket, seq);
    if (place != NULL && has_other(members, writers))
        tell_seen(members, (size_t)(place - members->own), writers);
    own = faas_members_record(members, members->conf.service, members->conf.id);
    if (own != NULL)
        faas_members_correct_own(members, own);
    faas_members_wake(members);
    pthread_mutex_unlock(&members->mu);
}

/* ---- hearing ---- */

struct seen {
    const char *epoch, *bucket;
    int64_t beat, seq;
};
static const struct faas_json_field seen_fields[] = {
    FAAS_FIELD(STR, struct seen, epoch, "epoch", 1, 32, true),
    FAAS_FIELD(INT, struct seen, beat, "beat", 0, 9e15, true),
    FAAS_FIELD(STR, struct seen, bucket, "bucket", 1, FAAS_BUCKET_TEXT - 1, true),
    FAAS_FIELD(INT, struct seen, seq, "seq", 0, 9e15, true),
    FAAS_FIELD_END,
};

/* Of a bucket that its beats name.  A beat that was sent before, and is read behind it, takes nothing
 * back; mu is held. */
static void take(struct faas_member_record *record, const struct seen *seen)
{
    if (strcmp(record->pub.epoch, seen->epoch) != 0)
        return;
    if ((uint64_t)seen->beat > record->seen_beat)
        record->seen_beat = (uint64_t)seen->beat;
    for (size_t i = 0; i < FAAS_APPLIED_MAX && record->applied[i].bucket[0] != '\0'; i++)
        if (strcmp(record->applied[i].bucket, seen->bucket) == 0 &&
            record->applied[i].seq < (uint64_t)seen->seq)
            record->applied[i].seq = (uint64_t)seen->seq;
}

/* The last two words of faas.seen.<writers>.<service>.<id>. */
static bool find_teller(char *subject, const char **out_service, const char **out_id)
{
    char *id = strrchr(subject, '.');
    char *service;

    if (id == NULL)
        return false;
    *id = '\0';
    service = strrchr(subject, '.');
    if (service == NULL)
        return false;
    *out_service = service + 1;
    *out_id = id + 1;
    return true;
}

static void on_seen(void *arg, faas_msg *take_msg)
{
    faas_members *members = arg;
    FAAS_AUTO(faas_msg) *msg = take_msg;
    FAAS_AUTO(json_t) *doc = NULL;
    char subject[FAAS_SUBJECT_MAX];
    const char *service, *id;
    struct seen seen = {.epoch = ""};
    struct faas_member_record *record;
    faas_err err = {0};

    (void)snprintf(subject, sizeof subject, "%s", faas_msg_subject(msg));
    if (!find_teller(subject, &service, &id) ||
        faas_json_parse(faas_msg_data(msg), faas_msg_len(msg), false, &doc, &err) != FAAS_OK ||
        faas_json_decode(doc, seen_fields, FAAS_JSON_TOLERANT, &seen, &err) != FAAS_OK) {
        FAAS_LOG(WARN, "what a reader applied was not understood", FAAS_LSTR("error", err.msg));
        return;
    }
    pthread_mutex_lock(&members->mu);
    record = faas_members_record(members, service, id);
    if (record != NULL)
        take(record, &seen);
    faas_members_wake(members);
    pthread_mutex_unlock(&members->mu);
}

faas_code faas_members_seen_start(faas_members *members, faas_err *err)
{
    char subject[FAAS_SUBJECT_MAX];

    ev_init(&members->seen_timer, on_seen_timer);
    members->seen_timer.data = members;
    (void)snprintf(subject, sizeof subject, FAAS_SUBJ_SEEN_ALL, members->conf.service);
    return faas_bus_subscribe(faas_rpc_bus(members->rpc), FAAS_CONTROL, subject, NULL, on_seen,
                              members, &members->seen_sub, err);
}

void faas_members_seen_stop(faas_members *members)
{
    ev_timer_stop(faas_loop_ev(members->loop), &members->seen_timer);
    faas_sub_free(FAAS_STEAL(members->seen_sub));
}
