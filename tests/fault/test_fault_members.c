/* Who is alive, over a real server, without memory and when the connection takes no more; the claims
 * are in fault.h and fault_net.h. */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "contract.h"
#include "net/members_internal.h"
#include "tests/support/fault_net.h"
#include "tests/unit/unit.h"

#define LONG_MS  10000
#define BUCKET   "functions"
#define PROBE_NS (250 * FAAS_MS_NS) /* a probe waits a little longer for its answer */

/* One hears what the other says. */
struct peer {
    struct process process;
    faas_members *members;
    faas_code rc;
    faas_err err;
    _Atomic uint64_t applied; /* what its beats say */
    _Atomic int counts[4];    /* by enum faas_member_change, of the other */
};

static struct nats *nats;
static struct peer hearer, speaker;

static void fill(void *arg, struct faas_beat *beat)
{
    struct peer *peer = arg;

    beat->isolation = "a sandbox";
    if (peer != &speaker)
        return;
    beat->applied[0].bucket = BUCKET;
    beat->applied[0].seq = atomic_load(&peer->applied);
}

static void on_change(void *arg, const struct faas_member *member, enum faas_member_change change)
{
    struct peer *peer = arg;

    if (strcmp(member->id, peer->process.id) != 0)
        atomic_fetch_add(&peer->counts[change], 1);
}

static void begin(void *arg)
{
    struct peer *peer = arg;
    struct faas_members_conf conf = {.service = peer->process.service,
                                     .id = peer->process.id,
                                     .fill = fill,
                                     .watch = on_change,
                                     .arg = peer};

    peer->members = NULL;
    peer->rc = faas_members_start(peer->process.rpc, &conf, &peer->members, &peer->err);
}

static void end(void *arg)
{
    faas_members_stop(((struct peer *)arg)->members);
}

/* As service.c answers: this process is alive. */
static void on_probe(void *state, faas_msg *take_msg)
{
    FAAS_AUTO(faas_msg) *msg = take_msg;
    FAAS_AUTO(json_t) *doc =
        json_pack("{s:b, s:s}", "ok", 1, "epoch", faas_members_epoch(speaker.members));

    (void)state;
    faas_rpc_answer_json(speaker.process.rpc, msg, doc);
}

static const struct faas_endpoint probes[] = {
    {.name = "probe",
     .subject = "faas.speaker.i.%s.probe",
     .body_max = 1024,
     .on_message = on_probe,
     .lane = FAAS_CONTROL},
    {.name = NULL},
};

static int start(void **state)
{
    (void)state;
    alarm(FAULT_PROGRAM_S);
    nats = nats_start(1, NULL);
    process_start(&hearer.process,
                  &(struct process_conf){.urls = nats_urls(nats), .service = "hearer", .id = "h1"});
    process_start(&speaker.process, &(struct process_conf){.urls = nats_urls(nats),
                                                           .service = "speaker",
                                                           .id = "s1",
                                                           .endpoints = probes});
    process_on_loop(&speaker.process, begin, &speaker);
    assert_ok(speaker.rc);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    process_stop(&hearer.process, NULL, NULL);
    process_stop(&speaker.process, end, &speaker);
    nats_stop(nats);
    return 0;
}

/* ---- beats ---- */

static void beat_now(void *arg)
{
    faas_members_beat_now(((struct peer *)arg)->members);
}

/* The other is listed as it says it is; it is made to speak more often than each 200 ms. */
static bool is_heard(void *arg)
{
    struct peer *peer = arg;
    const struct faas_member_record *record;
    bool is_there, is_half;

    process_on_loop(&speaker.process, beat_now, &speaker);
    pthread_mutex_lock(&peer->members->mu);
    record = faas_members_record(peer->members, "speaker", "s1");
    is_there = record != NULL && record->pub.is_ready &&
               record->applied[0].seq == atomic_load(&speaker.applied);
    is_half = is_there && strcmp(record->pub.isolation, "a sandbox") != 0;
    pthread_mutex_unlock(&peer->members->mu);
    if (is_half)
        fail_msg("%s failed, and half a beat was sent", fault_met());
    return is_there;
}

static faas_code hear(void *state, faas_err *err)
{
    faas_code rc;

    (void)state;
    atomic_fetch_add(&speaker.applied, 1);
    memset(hearer.counts, 0, sizeof hearer.counts);
    process_on_loop(&hearer.process, begin, &hearer);
    if (hearer.rc != FAAS_OK) {
        *err = hearer.err;
        return hearer.rc;
    }
    wait_until(is_heard, &hearer, FAULT_HANG_MS, "the other heard");
    rc = faas_members_wait_applied(hearer.members, BUCKET, atomic_load(&speaker.applied),
                                   faas_deadline_in_ms(LONG_MS), err);
    process_on_loop(&hearer.process, end, &hearer);
    assert_int_equal(atomic_load(&hearer.counts[FAAS_MEMBER_JOINED]), 1);
    assert_int_equal(atomic_load(&hearer.counts[FAAS_MEMBER_DIED]), 0);
    return rc;
}

static void a_beat_that_is_lost_is_followed_by_the_next(void **state)
{
    int before = fault_subscriptions(nats, "hearer-h1-control");

    (void)state;
    fault_each(hear, NULL, 60);
    fault_wait_subscriptions(nats, "hearer-h1-control", before);
}

/* ---- probes ---- */

/* The other has been silent for long, and is asked now. */
static void suspect(void *arg)
{
    struct peer *peer = arg;
    faas_members *members = peer->members;
    struct faas_member_record *record = faas_members_record(members, "speaker", "s1");

    pthread_mutex_lock(&members->mu);
    record->pub.seen_ns = 1;
    record->probe_ns = 0;
    pthread_mutex_unlock(&members->mu);
    ev_feed_event(faas_loop_ev(members->loop), &members->beat_timer, EV_TIMER);
}

static bool is_probed(void *arg)
{
    struct peer *peer = arg;
    const struct faas_member_record *record;
    bool is_over;

    pthread_mutex_lock(&peer->members->mu);
    record = faas_members_record(peer->members, "speaker", "s1");
    is_over = !record->is_probing && (record->probe_ns != 0 || record->pub.is_dead);
    pthread_mutex_unlock(&peer->members->mu);
    return is_over;
}

/* A member that answers is not given up for a lack of memory here: only when no answer came.  (A
 * connection that takes no question is down by then, and who has none judges nobody.) */
static faas_code probe(void *state, faas_err *err)
{
    struct faas_member_record *record = faas_members_record(hearer.members, "speaker", "s1");
    uint64_t began = faas_now_ns();

    (void)state, (void)err;
    record->pub.is_dead = false;
    process_on_loop(&hearer.process, suspect, &hearer);
    wait_until(is_probed, &hearer, FAULT_HANG_MS, "a verdict");
    if (record->pub.is_dead && faas_now_ns() < began + PROBE_NS &&
        strcmp(fault_met(), "natsConnection_PublishMsg") != 0)
        fail_msg("%s failed, and a member that answers is called dead", fault_met());
    return FAAS_OK;
}

/* From here on it says nothing unless it is asked. */
static void fall_silent(void *arg)
{
    struct peer *peer = arg;

    ev_timer_stop(faas_loop_ev(peer->process.loop), &peer->members->beat_timer);
    ev_timer_stop(faas_loop_ev(peer->process.loop), &peer->members->soon_timer);
}

static void only_silence_is_death(void **state)
{
    (void)state;
    process_on_loop(&hearer.process, begin, &hearer);
    assert_ok(hearer.rc);
    wait_until(is_heard, &hearer, FAULT_HANG_MS, "the other heard");
    process_on_loop(&speaker.process, fall_silent, &speaker);
    fault_each(probe, NULL, 40);
    process_on_loop(&hearer.process, end, &hearer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_beat_that_is_lost_is_followed_by_the_next),
        cmocka_unit_test(only_silence_is_death),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
