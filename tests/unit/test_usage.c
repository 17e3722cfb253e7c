/* What each user has at the publishers, and which places are kept from them. */
#include <stdio.h>
#include <string.h>

#include "services/publisher/usage.h"
#include "tests/unit/unit.h"

#define ANN  "0190a000-0000-7000-8000-00000000000a"
#define BOB  "0190a000-0000-7000-8000-00000000000b"
#define MANY (1 << 20)

static struct usage usage, other;
static const struct usage_caps wide = {.calls = INT64_MAX, .bytes = MANY};
static uint64_t now;

static int begin(void **state)
{
    (void)state;
    usage_init(&usage);
    usage_init(&other);
    now = 100 * FAAS_S_NS;
    return 0;
}

static int end(void **state)
{
    (void)state;
    usage_done(&usage);
    usage_done(&other);
    return 0;
}

/* So many calls of the user, all placed. */
static struct usage_user *run(struct usage *at, const char *tenant, int calls)
{
    struct usage_user *user = NULL;
    faas_err err = {0};

    for (int i = 0; i < calls; i++) {
        assert_ok(usage_enter(at, tenant, 0, &wide, &user, &err));
        usage_seek(user, now);
        usage_place(user, 1);
    }
    return user;
}

static void end_call(struct usage_user *user)
{
    usage_place(user, -1);
    usage_leave(user);
}

/* other's word reaches usage. */
static bool tell(void)
{
    FAAS_AUTO(json_t) *doc = usage_say(&other, "p2");
    faas_err err = {0};

    if (doc == NULL)
        return false;
    assert_ok(usage_hear(&usage, doc, "p1", now, &err));
    return true;
}

static void alone_a_user_may_have_all(void **state)
{
    struct usage_user *ann = run(&usage, ANN, 63);

    (void)state;
    assert_true(usage_is_below_share(&usage, ann, 64));
    assert_int_equal(usage_kept(&usage, ann, 64), 0);
    run(&usage, ANN, 1);
    assert_false(usage_is_below_share(&usage, ann, 64));
    assert_int_equal(usage_kept(&usage, ann, 64), 0);
}

static void who_has_their_share_leaves_an_eighth_to_the_others(void **state)
{
    struct usage_user *ann = run(&usage, ANN, 31), *bob = run(&usage, BOB, 1);

    (void)state;
    assert_true(usage_is_below_share(&usage, ann, 64)); /* 32 of 64 */
    run(&usage, ANN, 1);
    assert_false(usage_is_below_share(&usage, ann, 64));
    assert_int_equal(usage_kept(&usage, ann, 64), 8);
    assert_int_equal(usage_kept(&usage, ann, 4), 1); /* at least one */
    assert_int_equal(usage_kept(&usage, ann, 1), 0); /* of two or more */
    assert_true(usage_is_below_share(&usage, bob, 64));
    assert_int_equal(usage_kept(&usage, bob, 64), 0);
    assert_false(usage_is_below_share(&usage, bob, 2)); /* one each */
}

static void a_user_is_remembered_for_a_while_and_then_forgotten(void **state)
{
    struct usage_user *ann = run(&usage, ANN, 64), *bob = run(&usage, BOB, 1);

    (void)state;
    end_call(bob);
    now += USAGE_RECENT_NS;
    usage_sweep(&usage, now);
    assert_int_equal(usage.active, 2);
    assert_int_equal(usage_kept(&usage, ann, 64), 8);
    usage_sweep(&usage, now + 1);
    assert_int_equal(usage.active, 1);
    assert_int_equal(usage_kept(&usage, ann, 64), 0);
}

static void who_sought_no_place_does_not_count(void **state)
{
    struct usage_user *user = NULL;
    faas_err err = {0};

    (void)state;
    assert_ok(usage_enter(&usage, BOB, 0, &wide, &user, &err));
    usage_leave(user);
    usage_sweep(&usage, now);
    assert_int_equal(usage.active, 0);
}

static void calls_at_all_publishers_count_together(void **state)
{
    const struct usage_caps five = {.calls = 5, .bytes = MANY};
    struct usage_user *user = NULL, *there = run(&other, ANN, 3);
    faas_err err = {0};

    (void)state;
    assert_true(tell());
    assert_ok(usage_enter(&usage, ANN, 0, &five, &user, &err));
    assert_ok(usage_enter(&usage, ANN, 0, &five, &user, &err));
    assert_int_equal(usage_enter(&usage, ANN, 0, &five, &user, &err), FAAS_BUSY);
    assert_contains(err.msg, "running and waiting, as you may have at once (5)");
    assert_ok(usage_enter(&usage, BOB, 0, &five, &user, &err));
    end_call(there);
    assert_true(tell()); /* the newest word counts */
    assert_ok(usage_enter(&usage, ANN, 0, &five, &user, &err));
}

static void placed_calls_elsewhere_are_of_the_share_too(void **state)
{
    struct usage_user *ann, *bob = run(&usage, BOB, 1);

    (void)state;
    run(&other, ANN, 40);
    assert_true(tell());
    ann = run(&usage, ANN, 1);
    assert_int_equal(usage_kept(&usage, ann, 64), 8);
    assert_int_equal(usage_kept(&usage, bob, 64), 0);
}

static void a_publisher_that_fell_silent_counts_no_more(void **state)
{
    const struct usage_caps three = {.calls = 3, .bytes = MANY};
    struct usage_user *user = NULL;
    faas_err err = {0};

    (void)state;
    run(&other, ANN, 3);
    assert_true(tell());
    usage_sweep(&usage, now + USAGE_PEER_NS);
    assert_int_equal(usage_enter(&usage, ANN, 0, &three, &user, &err), FAAS_BUSY);
    usage_sweep(&usage, now + USAGE_PEER_NS + 1);
    assert_ok(usage_enter(&usage, ANN, 0, &three, &user, &err));
}

static void nothing_is_said_of_nobody_but_the_end(void **state)
{
    struct usage_user *ann;

    (void)state;
    assert_false(tell());
    ann = run(&other, ANN, 1);
    assert_true(tell());
    end_call(ann);
    assert_true(tell()); /* that there is nobody now */
    assert_false(tell());
}

static void own_words_and_nonsense_change_nothing(void **state)
{
    static const char *const bad[] = {"{}", "{\"publisher\":\"p\"}",
                                      "{\"publisher\":1,\"users\":{}}",
                                      "{\"publisher\":\"p\",\"users\":[]}"};
    static const char odd[] =
        "{\"publisher\":\"p2\",\"users\":{\"x\":[1,1],\"" ANN "\":[-1,0],\"" BOB "\":\"y\"}}";
    FAAS_AUTO(json_t) *said = NULL;
    FAAS_AUTO(json_t) *strange = json_loads(odd, 0, NULL);
    faas_err err = {0};

    (void)state;
    run(&other, ANN, 3);
    said = usage_say(&other, "p1");
    assert_ok(usage_hear(&usage, said, "p1", now, &err));
    assert_int_equal(usage.active, 0);
    for (size_t i = 0; i < FAAS_ARRAY_LEN(bad); i++) {
        FAAS_AUTO(json_t) *doc = json_loads(bad[i], 0, NULL);

        assert_int_equal(usage_hear(&usage, doc, "p1", now, &err), FAAS_INVALID);
    }
    assert_ok(usage_hear(&usage, strange, "p1", now, &err));
    assert_int_equal(usage.active, 1); /* Bob, with no calls */
}

static void a_user_holds_so_many_bytes_at_most(void **state)
{
    struct usage_user *user = NULL;
    faas_err err = {0};

    (void)state;
    assert_ok(usage_enter(&usage, ANN, MANY, &wide, &user, &err));
    assert_int_equal(usage_enter(&usage, ANN, 1, &wide, &user, &err), FAAS_BUSY);
    assert_contains(err.msg, "1 MB already");
    usage_release_bytes(user, MANY);
    assert_ok(usage_enter(&usage, ANN, 1, &wide, &user, &err));
    usage_release_bytes(user, 1);
}

static void of_too_many_users_those_with_most_calls_are_named(void **state)
{
    FAAS_AUTO(json_t) *doc = NULL;
    const json_t *users;

    (void)state;
    for (int i = 0; i < USAGE_SAID_MAX + 10; i++) {
        char tenant[FAAS_UUID_TEXT];

        (void)snprintf(tenant, sizeof tenant, "0190a000-0000-7000-8000-%012x", (unsigned)i);
        run(&other, tenant, i >= USAGE_SAID_MAX ? 2 : 1);
    }
    doc = usage_say(&other, "p2");
    users = json_object_get(doc, "users");
    assert_int_equal(json_object_size(users), USAGE_SAID_MAX);
    for (int i = USAGE_SAID_MAX; i < USAGE_SAID_MAX + 10; i++) {
        char tenant[FAAS_UUID_TEXT];

        (void)snprintf(tenant, sizeof tenant, "0190a000-0000-7000-8000-%012x", (unsigned)i);
        assert_non_null(json_object_get(users, tenant));
    }
}

#define test(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(alone_a_user_may_have_all),
        test(who_has_their_share_leaves_an_eighth_to_the_others),
        test(a_user_is_remembered_for_a_while_and_then_forgotten),
        test(who_sought_no_place_does_not_count),
        test(calls_at_all_publishers_count_together),
        test(placed_calls_elsewhere_are_of_the_share_too),
        test(a_publisher_that_fell_silent_counts_no_more),
        test(nothing_is_said_of_nobody_but_the_end),
        test(own_words_and_nonsense_change_nothing),
        test(a_user_holds_so_many_bytes_at_most),
        test(of_too_many_users_those_with_most_calls_are_named),
    };

    return run_unit(tests);
}
