/* Who is alive, with real programs that are killed, paused and restarted. */
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/members.h"
#include "net/rpc_internal.h"
#include "tests/support/nats.h"
#include "tests/support/process.h"
#include "tests/support/program.h"
#include "tests/unit/unit.h"

#define LONG_MS    15000
#define READERS    3
#define BUCKET     "functions"
#define OWN_BUCKET "own"

static struct nats *nats;
static struct process me;
static faas_members *members;
static char dir[] = "/tmp/faas-test-members-XXXXXX";

/* Changes seen of one member. */
static struct {
    pthread_mutex_t mu;
    char id[40];
    int counts[4]; /* by enum faas_member_change; guarded by mu */
} seen = {.mu = PTHREAD_MUTEX_INITIALIZER};

static void on_change(void *arg, const struct faas_member *member, enum faas_member_change change)
{
    (void)arg;
    pthread_mutex_lock(&seen.mu);
    if (strcmp(member->id, seen.id) == 0)
        seen.counts[change]++;
    pthread_mutex_unlock(&seen.mu);
}

/* This process reads a bucket, too: so far. */
static uint64_t own_applied; /* loop thread */

static void fill(void *arg, struct faas_beat *beat)
{
    (void)arg;
    beat->applied[0].bucket = OWN_BUCKET;
    beat->applied[0].seq = own_applied;
}

static void begin(void *arg)
{
    struct faas_members_conf conf = {
        .service = "client", .id = "c1", .fill = fill, .watch = on_change};
    faas_err err = {0};

    (void)arg;
    if (faas_members_start(me.rpc, &conf, &members, &err) != FAAS_OK)
        members = NULL;
}

static void end(void *arg)
{
    (void)arg;
    faas_members_stop(members);
}

static void free_sub(void *arg)
{
    faas_sub_free(arg);
}

static int start(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(dir));
    nats = nats_start(1, NULL);
    process_start(&me,
                  &(struct process_conf){.urls = nats_urls(nats), .service = "client", .id = "c1"});
    process_on_loop(&me, begin, NULL);
    assert_non_null(members);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    process_stop(&me, end, NULL);
    nats_stop(nats);
    if (fork() == 0) {
        execlp("rm", "rm", "-rf", "--", dir, (char *)NULL);
        _exit(127);
    }
    (void)wait(NULL);
    return 0;
}

static void watch_for(const char *id)
{
    pthread_mutex_lock(&seen.mu);
    if (strcmp(seen.id, id) != 0) {
        (void)snprintf(seen.id, sizeof seen.id, "%s", id);
        memset(seen.counts, 0, sizeof seen.counts);
    }
    pthread_mutex_unlock(&seen.mu);
}

/* ---- programs ---- */

static pid_t launch(const char *id)
{
    char url[512], name[64], data[128], log[128];
    const char *settings[] = {url, name, data, NULL};

    (void)snprintf(url, sizeof url, "NATS_URL=%s", nats_urls(nats));
    (void)snprintf(name, sizeof name, "INSTANCE_ID=%s", id);
    (void)snprintf(data, sizeof data, "DATA_DIR=%s", dir);
    (void)snprintf(log, sizeof log, "%s/%s.log", dir, id);
    watch_for(id);
    return program_start("echo", settings, log);
}

static int count_of(enum faas_member_change change)
{
    int count;

    pthread_mutex_lock(&seen.mu);
    count = seen.counts[change];
    pthread_mutex_unlock(&seen.mu);
    return count;
}

struct expectation {
    enum faas_member_change change;
    int count;
};

static bool is_met(void *arg)
{
    const struct expectation *expected = arg;

    return count_of(expected->change) >= expected->count;
}

static void wait_change(enum faas_member_change change, int count, const char *what)
{
    struct expectation expected = {change, count};

    wait_until(is_met, &expected, LONG_MS, what);
}

struct view {
    const char *id;
    struct faas_member member;
    bool is_listed;
    size_t usable;
};

static void look(void *arg)
{
    struct view *view = arg;
    const struct faas_member *member = faas_members_find(members, "echo", view->id);

    view->is_listed = member != NULL;
    if (member != NULL)
        view->member = *member;
    view->usable = faas_members_usable(members, "echo");
}

static bool is_usable(void *arg)
{
    struct view *view = arg;

    process_on_loop(&me, look, view);
    return view->is_listed && faas_member_is_usable(&view->member);
}

static bool is_unusable(void *arg)
{
    return !is_usable(arg);
}

/* ---- the claims: programs ---- */

static void a_killed_member_is_unusable_soon_then_dead_and_stays_listed(void **state)
{
    pid_t pid = launch("k1");
    struct view view = {.id = "k1"};
    uint64_t killed;

    (void)state;
    wait_until(is_usable, &view, LONG_MS, "a usable member");
    assert_int_equal(count_of(FAAS_MEMBER_JOINED), 1);
    killed = faas_now_ns();
    assert_int_equal(program_stop(pid, SIGKILL, LONG_MS), 128 + SIGKILL);
    wait_until(is_unusable, &view, LONG_MS, "an unusable member");
    assert_true(faas_now_ns() < killed + 1500 * FAAS_MS_NS);
    assert_false(view.member.is_dead);
    wait_change(FAAS_MEMBER_DIED, 1, "its death");
    assert_true(faas_now_ns() > killed + (FAAS_BEAT_DEAD_MS - FAAS_BEAT_MS) * FAAS_MS_NS);
    assert_true(faas_now_ns() < killed + 5 * FAAS_S_NS);
    process_on_loop(&me, look, &view);
    assert_true(view.is_listed && view.member.is_dead && !view.member.has_left);
}

/* Same name, another process: whatever the old one ran is lost. */
static void a_restarted_member_is_another_epoch(void **state)
{
    pid_t pid = launch("r1");
    struct view view = {.id = "r1"};
    char epoch[33];

    (void)state;
    wait_until(is_usable, &view, LONG_MS, "a usable member");
    memcpy(epoch, view.member.epoch, sizeof epoch);
    assert_int_equal(program_stop(pid, SIGKILL, LONG_MS), 128 + SIGKILL);
    pid = launch("r1");
    wait_change(FAAS_MEMBER_RESTARTED, 1, "its restart");
    wait_until(is_usable, &view, LONG_MS, "a usable member again");
    assert_string_not_equal(view.member.epoch, epoch);
    assert_int_equal(count_of(FAAS_MEMBER_DIED), 0);
    assert_int_equal(program_stop(pid, SIGTERM, LONG_MS), 0);
}

static void a_member_that_leaves_says_so(void **state)
{
    pid_t pid = launch("l1");
    struct view view = {.id = "l1"};

    (void)state;
    wait_until(is_usable, &view, LONG_MS, "a usable member");
    assert_int_equal(program_stop(pid, SIGTERM, LONG_MS), 0);
    wait_change(FAAS_MEMBER_LEFT, 1, "its good-bye");
    assert_int_equal(count_of(FAAS_MEMBER_DIED), 0);
    process_on_loop(&me, look, &view);
    assert_false(faas_member_is_usable(&view.member));
    assert_true(view.member.is_dead && view.member.has_left && view.member.version[0] != '\0');
}

/* Silent, and no answer to the probe: dead. Its next beat brings the same process back. */
static void a_paused_member_dies_and_comes_back(void **state)
{
    pid_t pid = launch("p1");
    struct view view = {.id = "p1"};

    (void)state;
    wait_until(is_usable, &view, LONG_MS, "a usable member");
    assert_int_equal(kill(pid, SIGSTOP), 0);
    wait_change(FAAS_MEMBER_DIED, 1, "its death");
    assert_int_equal(kill(pid, SIGCONT), 0);
    wait_change(FAAS_MEMBER_JOINED, 2, "its return");
    wait_until(is_usable, &view, LONG_MS, "a usable member again");
    assert_int_equal(count_of(FAAS_MEMBER_RESTARTED), 0);
    assert_int_equal(program_stop(pid, SIGTERM, LONG_MS), 0);
}

/* Nobody is declared dead by a process that has no connection itself. */
static void losing_the_bus_kills_nobody(void **state)
{
    pid_t pid = launch("n1");
    struct view view = {.id = "n1"};

    (void)state;
    wait_until(is_usable, &view, LONG_MS, "a usable member");
    nats_kill(nats, 0);
    wait_until(is_unusable, &view, LONG_MS, "an unusable member");
    /* Long enough for silence, a probe and its time-out: what must not happen has had its time. */
    (void)poll(NULL, 0, FAAS_BEAT_DEAD_MS + 1500);
    assert_int_equal(count_of(FAAS_MEMBER_DIED), 0);
    nats_restart(nats, 0);
    wait_until(is_usable, &view, LONG_MS, "a usable member again");
    assert_int_equal(count_of(FAAS_MEMBER_DIED), 0);
    assert_int_equal(program_stop(pid, SIGTERM, LONG_MS), 0);
}

/* ---- the claims: owners and readers, with members that this test plays itself ---- */

static void send_beat(const char *service, const char *id, const char *epoch, int beat,
                      const char *rest)
{
    char subject[128], text[512];
    struct faas_out out = {.subject = subject, .data = text};
    faas_err err = {0};

    (void)snprintf(subject, sizeof subject, "faas.hb.%s.%s", service, id);
    (void)snprintf(text, sizeof text,
                   "{\"v\":1,\"epoch\":\"%s\",\"beat\":%d,\"state\":\"ready\",\"later\":{}%s}",
                   epoch, beat, rest);
    out.len = strlen(text);
    assert_ok(faas_bus_publish(me.bus, FAAS_CONTROL, &out, &err));
}

struct count {
    const char *service;
    size_t usable;
    char owner[40];
    const char *key;
    int64_t min_age_ms;
};

static void count(void *arg)
{
    struct count *c = arg;
    const struct faas_member *owner =
        faas_members_owner(members, c->service, c->key, c->min_age_ms);

    c->usable = faas_members_usable(members, c->service);
    (void)snprintf(c->owner, sizeof c->owner, "%s", owner != NULL ? owner->id : "");
}

static bool has_3(void *arg)
{
    struct count *c = arg;

    process_on_loop(&me, count, c);
    return c->usable == 3;
}

/* Members "x0" to "x2", so that all beats before have been read. */
static void await_3(const char *service)
{
    static const char *const ids[] = {"x0", "x1", "x2"};
    struct count c = {.service = service, .key = ""};

    for (int i = 0; i < 3; i++)
        send_beat(service, ids[i], "aa", 1, "");
    wait_until(has_3, &c, LONG_MS, "the beats behind the others");
}

/* Every process computes the same owner; each of three owns about a third. */
static void keys_are_spread_over_owners_by_weight(void **state)
{
    struct count c = {.service = "owners", .key = ""};
    int owned[3] = {0};

    (void)state;
    await_3("owners");
    for (int i = 0; i < 300; i++) {
        char key[16];
        const char *best = NULL;
        uint64_t best_weight = 0;
        static const char *const ids[] = {"x0", "x1", "x2"};

        (void)snprintf(key, sizeof key, "t/f%d", i);
        for (int k = 0; k < 3; k++) {
            uint64_t weight = faas_rendezvous(key, ids[k]);

            if (best == NULL || weight > best_weight) {
                best = ids[k];
                best_weight = weight;
            }
        }
        for (int k = 0; k < 3; k++) /* fresh for the whole test */
            send_beat("owners", ids[k], "aa", i + 2, "");
        c.key = key;
        process_on_loop(&me, count, &c);
        assert_string_equal(c.owner, best);
        owned[best[1] - '0']++;
    }
    for (int k = 0; k < 3; k++)
        assert_in_range(owned[k], 60, 140);
}

static void young_members_own_nothing_while_there_are_older_ones(void **state)
{
    struct count c = {.service = "young", .key = "k", .min_age_ms = 60000};

    (void)state;
    await_3("young");
    process_on_loop(&me, count, &c);
    assert_string_not_equal(c.owner, ""); /* all are young: one of them all the same */
}

static void beats_that_are_no_beats_are_ignored(void **state)
{
    static const char *const bad[] = {"", "[]", "{}", "{\"v\":1,\"epoch\":1,\"beat\":1}", "\xff"};
    faas_err err = {0};

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(bad); i++) {
        struct faas_out out = {.subject = "faas.hb.bad.b1", .data = bad[i], .len = strlen(bad[i])};

        assert_ok(faas_bus_publish(me.bus, FAAS_CONTROL, &out, &err));
    }
    await_3("bad");
}

/* What people look at; a beat of an older release says none of it, and a later one takes it back. */
static void a_beat_says_what_its_process_is(void **state)
{
    struct view view = {.id = "f"};
    char said[200];

    (void)state;
    (void)snprintf(said, sizeof said,
                   ",\"version\":\"9.8.7\",\"up_s\":77,\"wall_ms\":%lld,\"trouble\":\"no engine\"",
                   (long long)faas_wall_ms() + 3600000);
    send_beat("echo", "f", "e1", 1, said);
    await_3("facts");
    process_on_loop(&me, look, &view);
    assert_string_equal(view.member.version, "9.8.7");
    assert_string_equal(view.member.trouble, "no engine");
    assert_int_equal(view.member.up_s, 77);
    assert_in_range(view.member.skew_ms, 3600000 - LONG_MS, 3600000);
    send_beat("echo", "f", "e1", 2, "");
    await_3("later");
    process_on_loop(&me, look, &view);
    assert_true(view.member.version[0] == '\0' && view.member.trouble[0] == '\0');
}

/* An overtaken beat and one of the epoch before change nothing. */
static void late_beats_are_ignored(void **state)
{
    struct view view = {.id = "x"};

    (void)state;
    send_beat("echo", "x", "e1", 5, ",\"free\":1");
    send_beat("echo", "x", "e2", 1, ",\"free\":2");
    send_beat("echo", "x", "e1", 6, ",\"free\":3");
    send_beat("echo", "x", "e2", 3, ",\"free\":4");
    send_beat("echo", "x", "e2", 2, ",\"free\":5");
    await_3("late");
    process_on_loop(&me, look, &view);
    assert_string_equal(view.member.epoch, "e2");
    assert_int_equal(view.member.beat, 3);
    assert_int_equal(view.member.free, 4);
}

/* The probe of a silent process finds its successor starting; no probe is ever answered. */
static void on_probe_of_old(void *arg, faas_msg *take_msg)
{
    (void)arg;
    faas_msg_free(take_msg);
    send_beat("echo", "again", "e2", 1, "");
}

static void a_member_restarted_while_it_is_probed_can_still_die(void **state)
{
    faas_sub *probed = NULL;
    faas_err err = {0};

    (void)state;
    watch_for("again");
    assert_ok(faas_bus_subscribe(me.bus, FAAS_CONTROL, "faas.echo.i.again.probe", NULL,
                                 on_probe_of_old, NULL, &probed, &err));
    send_beat("echo", "again", "e1", 1, "");
    wait_change(FAAS_MEMBER_RESTARTED, 1, "its successor");
    assert_int_equal(count_of(FAAS_MEMBER_DIED), 0);
    wait_change(FAAS_MEMBER_DIED, 1, "the death of that one");
    process_on_loop(&me, free_sub, probed);
}

static void beat_readers(int beat, int seq, int how_many)
{
    char rest[64];

    (void)snprintf(rest, sizeof rest, ",\"applied\":{\"" BUCKET "\":%d}", seq);
    for (int i = 0; i < how_many; i++) {
        char id[16];

        (void)snprintf(id, sizeof id, "r%d", i);
        send_beat("readers", id, "aa", beat, rest);
    }
}

static bool readers_are_here(void *arg)
{
    struct count *c = arg;

    process_on_loop(&me, count, c);
    return c->usable == READERS;
}

struct wait {
    uint64_t seq;
    int64_t ms;
    faas_code code;
    _Atomic bool is_done;
};

static void *wait_applied(void *arg)
{
    struct wait *w = arg;
    faas_err err = {0};

    w->code = faas_members_wait_applied(members, BUCKET, w->seq, faas_deadline_in_ms(w->ms), &err);
    atomic_store(&w->is_done, true);
    return NULL;
}

static void a_write_waits_for_every_live_reader(void **state)
{
    struct count c = {.service = "readers", .key = ""};
    struct wait w = {.seq = 7, .ms = LONG_MS};
    pthread_t thread;
    faas_err err = {0};

    (void)state;
    beat_readers(1, 5, READERS);
    wait_until(readers_are_here, &c, LONG_MS, "the readers");
    assert_ok(faas_members_wait_applied(members, BUCKET, 5, faas_deadline_in_ms(LONG_MS), &err));
    assert_ok(faas_members_wait_applied(members, "unread", 99, faas_deadline_in_ms(LONG_MS), &err));
    assert_int_equal(faas_members_wait_applied(members, BUCKET, 6, faas_deadline_in_ms(100), &err),
                     FAAS_TIMEOUT);
    assert_int_equal(pthread_create(&thread, NULL, wait_applied, &w), 0);
    beat_readers(2, 7, READERS - 1);
    beat_readers(3, 7, READERS - 1);
    assert_false(atomic_load(&w.is_done));
    beat_readers(4, 7, READERS);
    pthread_join(thread, NULL);
    assert_int_equal(w.code, FAAS_OK);
}

static void a_silent_reader_is_waited_for_2_s_only(void **state)
{
    struct count c = {.service = "readers", .key = ""};
    uint64_t began;
    faas_err err = {0};

    (void)state;
    beat_readers(10, 9, READERS);
    wait_until(readers_are_here, &c, LONG_MS, "the readers");
    began = faas_now_ns();
    assert_ok(faas_members_wait_applied(members, BUCKET, 10, faas_deadline_in_ms(LONG_MS), &err));
    assert_in_range((faas_now_ns() - began) / FAAS_MS_NS, 1000, 2600);
}

static bool bus_is_up(void *arg)
{
    (void)arg;
    return faas_bus_lane_is_up(me.bus, FAAS_DATA) && faas_bus_lane_is_up(me.bus, FAAS_CONTROL);
}

static void apply_own(void *arg)
{
    own_applied = *(const uint64_t *)arg;
    faas_members_applied(members, "client", OWN_BUCKET, own_applied);
}

static bool is_own_read(void *arg)
{
    faas_err err;

    (void)arg; /* nobody has applied that: somebody reads the bucket */
    return faas_members_wait_applied(members, OWN_BUCKET, UINT64_MAX, faas_now_ns(), &err) ==
           FAAS_TIMEOUT;
}

/* With its server stopped no beat comes back to this process. */
static void what_this_process_has_applied_needs_no_beat(void **state)
{
    uint64_t seq = 8;
    faas_err err = {0};

    (void)state;
    wait_until(is_own_read, NULL, LONG_MS, "our own beat");
    assert_int_equal(
        faas_members_wait_applied(members, OWN_BUCKET, 8, faas_deadline_in_ms(100), &err),
        FAAS_TIMEOUT);
    nats_pause(nats, 0);
    process_on_loop(&me, apply_own, &seq);
    assert_ok(faas_members_wait_applied(members, OWN_BUCKET, 8, faas_deadline_in_ms(1000), &err));
    assert_int_equal(
        faas_members_wait_applied(members, OWN_BUCKET, 9, faas_deadline_in_ms(100), &err),
        FAAS_TIMEOUT);
    nats_resume(nats, 0);
    wait_until(bus_is_up, NULL, LONG_MS, "the connection");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_killed_member_is_unusable_soon_then_dead_and_stays_listed),
        cmocka_unit_test(a_restarted_member_is_another_epoch),
        cmocka_unit_test(a_member_that_leaves_says_so),
        cmocka_unit_test(a_paused_member_dies_and_comes_back),
        cmocka_unit_test(losing_the_bus_kills_nobody),
        cmocka_unit_test(keys_are_spread_over_owners_by_weight),
        cmocka_unit_test(young_members_own_nothing_while_there_are_older_ones),
        cmocka_unit_test(beats_that_are_no_beats_are_ignored),
        cmocka_unit_test(a_beat_says_what_its_process_is),
        cmocka_unit_test(late_beats_are_ignored),
        cmocka_unit_test(a_member_restarted_while_it_is_probed_can_still_die),
        cmocka_unit_test(a_write_waits_for_every_live_reader),
        cmocka_unit_test(a_silent_reader_is_waited_for_2_s_only),
        cmocka_unit_test(what_this_process_has_applied_needs_no_beat),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
