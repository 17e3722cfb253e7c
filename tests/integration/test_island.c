/* A process whose NATS server seems cut off from the others changes over, where most members are on
 * the other side, or half of them with the first of all: two real servers; the other members are
 * beats that the test sends, or no longer sends. */
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "net/bus_internal.h"
#include "net/members.h"
#include "tests/support/nats.h"
#include "tests/support/process.h"
#include "tests/unit/unit.h"

#define LONG_MS 20000
#define OTHERS  5

static struct nats *nats;
static struct process me, sender;
static faas_members *members;
static struct faas_bus_watch back = {.lane = FAAS_CONTROL};
static _Atomic int changed_over;

/* Sorted by service and id with "client m", this process: */
static const char *const others[OTHERS] = {"client.a", "client.z", "publisher.p1", "publisher.p2",
                                           "publisher.p3"};
static bool is_beating[OTHERS];
static const char *servers[OTHERS]; /* NULL: it does not say */

static void on_back(void *arg)
{
    (void)arg;
    changed_over++;
}

static void begin(void *arg)
{
    const struct faas_members_conf conf = {.service = "client", .id = "m"};
    faas_err err = {0};

    (void)arg;
    back.task = on_back;
    if (faas_members_start(me.rpc, &conf, &members, &err) != FAAS_OK)
        members = NULL;
    faas_bus_watch_add(me.bus, &back);
}

static void end(void *arg)
{
    (void)arg;
    faas_bus_watch_remove(&back);
    faas_members_stop(members);
}

static int open_all(void **state)
{
    (void)state;
    nats = nats_start(2, NULL);
    process_start(&me,
                  &(struct process_conf){.urls = nats_urls(nats), .service = "client", .id = "m"});
    process_start(&sender, &(struct process_conf){
                               .urls = nats_urls(nats), .service = "client", .id = "sender"});
    process_on_loop(&me, begin, NULL);
    assert_non_null(members);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    process_stop(&sender, NULL, NULL);
    process_stop(&me, end, NULL);
    nats_stop(nats);
    return 0;
}

static void beat(void *arg)
{
    static int number;
    char subject[64], text[200], server[40];
    faas_err err = {0};

    (void)arg;
    number++;
    for (int i = 0; i < OTHERS; i++) {
        struct faas_out out = {.subject = subject, .data = text};

        (void)snprintf(subject, sizeof subject, "faas.hb.%s", others[i]);
        (void)snprintf(server, sizeof server, servers[i] != NULL ? ",\"server\":\"%s\"" : "",
                       servers[i]);
        out.len = (size_t)snprintf(
            text, sizeof text, "{\"v\":1,\"epoch\":\"%032d\",\"beat\":%d,\"state\":\"ready\"%s}", i,
            number, server);
        if (is_beating[i] && faas_bus_publish(sender.bus, FAAS_CONTROL, &out, &err) != FAAS_OK)
            abort();
    }
}

struct state {
    bool is_usable[OTHERS], is_dead[OTHERS];
};

static void look(void *arg)
{
    struct state *state = arg;

    for (int i = 0; i < OTHERS; i++) {
        char service[16];
        const char *dot = strchr(others[i], '.');
        const struct faas_member *member;

        (void)snprintf(service, sizeof service, "%.*s", (int)(dot - others[i]), others[i]);
        member = faas_members_find(members, service, dot + 1);
        state->is_usable[i] = member != NULL && faas_member_is_usable(member);
        state->is_dead[i] = member != NULL && member->is_dead;
    }
}

/* Those that beat are usable, and those that do not have been silent for 2 s. */
static bool is_seen(void *arg)
{
    struct state state;

    (void)arg;
    process_on_loop(&sender, beat, NULL);
    process_on_loop(&me, look, &state);
    for (int i = 0; i < OTHERS; i++)
        if (is_beating[i] ? !state.is_usable[i] : !state.is_dead[i])
            return false;
    return true;
}

/* All beat, then these alone; how often it had changed over when the others were found dead. */
static int changes_with(bool a, bool z, bool p1, bool p2, bool p3)
{
    for (int i = 0; i < OTHERS; i++)
        is_beating[i] = true;
    wait_until(is_seen, NULL, LONG_MS, "all are heard");
    changed_over = 0;
    memcpy(is_beating, (bool[]){a, z, p1, p2, p3}, sizeof is_beating);
    wait_until(is_seen, NULL, LONG_MS, "the others are found dead");
    return changed_over;
}

static void who_hears_the_smaller_part_changes_over(void **state)
{
    (void)state;
    assert_in_range(changes_with(true, false, false, false, false), 1, 9);
}

static void who_hears_the_greater_part_stays(void **state)
{
    (void)state;
    assert_int_equal(changes_with(false, true, true, true, false), 0);
}

static void of_two_halves_the_one_without_the_first_member_changes_over(void **state)
{
    (void)state;
    assert_int_equal(changes_with(true, false, true, false, false), 0);
    assert_in_range(changes_with(false, true, true, false, false), 1, 9);
}

/* This process has a server of its own. */
static void more_servers_count_more_than_more_members(void **state)
{
    (void)state;
    memcpy(servers, (const char *[]){"A", "B", NULL, NULL, NULL}, sizeof servers);
    assert_in_range(changes_with(false, false, true, true, true), 1, 9); /* two unheard, and one */
    memcpy(servers, (const char *[]){"A", "C", "C", "C", "C"}, sizeof servers);
    assert_int_equal(changes_with(true, false, false, false, false), 0); /* one, and two heard */
    memset(servers, 0, sizeof servers);
}

static bool are_heard(void *since_ns)
{
    process_on_loop(&sender, beat, NULL);
    return faas_members_all_heard(members, *(uint64_t *)since_ns);
}

static bool is_one_unheard(void *since_ns)
{
    return !are_heard(since_ns);
}

static bool are_heard_now(void *since_ns)
{
    *(uint64_t *)since_ns = faas_now_ns();
    return are_heard(since_ns);
}

/* Where a change may have been acknowledged without us, though all speak again. */
static void that_one_was_silent_is_remembered(void **state)
{
    uint64_t since = 0, later;

    (void)state;
    for (int i = 0; i < OTHERS; i++)
        is_beating[i] = true;
    wait_until(is_seen, NULL, LONG_MS, "all are heard");
    wait_until(are_heard_now, &since, LONG_MS, "none is silent");
    is_beating[1] = false;
    wait_until(is_one_unheard, &since, LONG_MS, "one is silent");
    is_beating[1] = true;
    wait_until(are_heard_now, &later, LONG_MS, "all speak again");
    assert_false(are_heard(&since));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(who_hears_the_smaller_part_changes_over, open_all,
                                        close_all),
        cmocka_unit_test_setup_teardown(who_hears_the_greater_part_stays, open_all, close_all),
        cmocka_unit_test_setup_teardown(of_two_halves_the_one_without_the_first_member_changes_over,
                                        open_all, close_all),
        cmocka_unit_test_setup_teardown(more_servers_count_more_than_more_members, open_all,
                                        close_all),
        cmocka_unit_test_setup_teardown(that_one_was_silent_is_remembered, open_all, close_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
