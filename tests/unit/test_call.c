/* The call table of services/publisher/call.c, walked as a whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "services/publisher/call.h"
#include "tests/support/promise.h"

#include <stdlib.h>
#include <string.h>

struct row {
    enum call_state from;
    enum call_event event;
    enum call_state to;
    enum call_action action;
};
#define ROW(from, event, to, action)                                                               \
    {                                                                                              \
        CALL_##from, CALL_EV_##event, CALL_##to, CALL_DO_##action                                  \
    }

/* Every move there is; any other pair must be refused. */
static const struct row rows[] = {
    ROW(RECEIVED, MISS, RESOLVING, READ),
    ROW(RECEIVED, FOUND, SEEKING, SEEK),
    ROW(RECEIVED, REFUSED, ENDED, FAIL),
    ROW(RESOLVING, FOUND, SEEKING, SEEK),
    ROW(RESOLVING, REFUSED, ENDED, FAIL),
    ROW(RESOLVING, CANCEL, ENDED, DROP),
    ROW(RESOLVING, GIVE_UP, ENDED, FAIL),
    ROW(SEEKING, ROOM, PLACING, SEND),
    ROW(SEEKING, FULL, WAITING, QUEUE),
    ROW(SEEKING, REFUSED, ENDED, FAIL),
    ROW(WAITING, ROOM, PLACING, SEND),
    ROW(WAITING, REFUSED, ENDED, FAIL),
    ROW(WAITING, WAITED, ENDED, FAIL),
    ROW(WAITING, CANCEL, ENDED, DROP),
    ROW(WAITING, GIVE_UP, ENDED, FAIL),
    ROW(PLACING, REFUSED, ENDED, FAIL),
    ROW(PLACING, ACCEPT, ACCEPTED, ACCEPT),
    ROW(PLACING, STARTED, RUNNING, START),
    ROW(PLACING, END, ENDED, FINISH),
    ROW(PLACING, BUSY, SEEKING, SEEK),
    ROW(PLACING, NEVER, SEEKING, SEEK),
    ROW(PLACING, SILENT, FENCING, FENCE),
    ROW(PLACING, DIED, ENDED, LOSE),
    ROW(PLACING, AGAIN, SEEKING, REDO),
    ROW(PLACING, CANCEL, ABANDONING, FENCE),
    ROW(PLACING, TIME_UP, ENDED, LOSE),
    ROW(FENCING, ACCEPT, ACCEPTED, ACCEPT),
    ROW(FENCING, ADOPTED, ACCEPTED, ACCEPT),
    ROW(FENCING, STARTED, RUNNING, START),
    ROW(FENCING, END, ENDED, FINISH),
    ROW(FENCING, BUSY, SEEKING, SEEK),
    ROW(FENCING, NEVER, SEEKING, SEEK),
    ROW(FENCING, SILENT, FENCING, FENCE),
    ROW(FENCING, DIED, ENDED, LOSE),
    ROW(FENCING, AGAIN, SEEKING, REDO),
    ROW(FENCING, CANCEL, ABANDONING, HOLD),
    ROW(FENCING, TIME_UP, ENDED, LOSE),
    ROW(ABANDONING, ACCEPT, CANCELLING, KILL),
    ROW(ABANDONING, ADOPTED, CANCELLING, KILL),
    ROW(ABANDONING, STARTED, CANCELLING, KILL),
    ROW(ABANDONING, END, ENDED, FINISH),
    ROW(ABANDONING, BUSY, ENDED, DROP),
    ROW(ABANDONING, NEVER, ENDED, DROP),
    ROW(ABANDONING, SILENT, ABANDONING, FENCE),
    ROW(ABANDONING, DIED, ENDED, LOSE),
    ROW(ABANDONING, TIME_UP, ENDED, LOSE),
    ROW(ACCEPTED, STARTED, RUNNING, START),
    ROW(ACCEPTED, END, ENDED, FINISH),
    ROW(ACCEPTED, DIED, ENDED, LOSE),
    ROW(ACCEPTED, AGAIN, SEEKING, REDO),
    ROW(ACCEPTED, CANCEL, CANCELLING, KILL),
    ROW(ACCEPTED, TIME_UP, ENDED, LOSE),
    ROW(RUNNING, END, ENDED, FINISH),
    ROW(RUNNING, DIED, ENDED, LOSE),
    ROW(RUNNING, AGAIN, SEEKING, REDO),
    ROW(RUNNING, CANCEL, CANCELLING, KILL),
    ROW(RUNNING, TIME_UP, ENDED, LOSE),
    ROW(CANCELLING, END, ENDED, FINISH),
    ROW(CANCELLING, GONE, ENDED, DROP),
    ROW(CANCELLING, SILENT, CANCELLING, KILL),
    ROW(CANCELLING, DIED, ENDED, LOSE),
    ROW(CANCELLING, TIME_UP, ENDED, LOSE),
};

static const struct row *row_find(enum call_state from, enum call_event event)
{
    for (size_t i = 0; i < FAAS_ARRAY_LEN(rows); i++)
        if (rows[i].from == from && rows[i].event == event)
            return &rows[i];
    return NULL;
}

static void every_pair_is_as_written_down(void **state)
{
    size_t moves = 0;

    (void)state;
    for (enum call_state from = 0; from < CALL_STATE_END; from++)
        for (enum call_event event = 0; event < CALL_EVENT_END; event++) {
            const struct row *row = row_find(from, event);
            const struct call_move *move = call_move(from, event);

            if ((row == NULL) != (move == NULL))
                fail_msg("%s in %s: %s", call_event_name(event), call_state_name(from),
                         row == NULL ? "must mean nothing" : "must be a move");
            if (row == NULL)
                continue;
            moves++;
            if (move->next != row->to || move->action != row->action)
                fail_msg("%s in %s leads elsewhere", call_event_name(event), call_state_name(from));
        }
    assert_int_equal(moves, FAAS_ARRAY_LEN(rows));
}

static void a_placed_call_goes_elsewhere_only_when_refused_or_never_seen(void **state)
{
    (void)state;
    for (enum call_state from = 0; from < CALL_STATE_END; from++)
        for (enum call_event event = 0; event < CALL_EVENT_END; event++) {
            const struct call_move *move = call_move(from, event);

            if (move == NULL || !call_is_placed(from) || call_is_placed(move->next) ||
                move->next == CALL_ENDED)
                continue;
            if (event == CALL_EV_AGAIN) { /* of idempotent functions' calls alone */
                assert_int_equal(move->action, CALL_DO_REDO);
                continue;
            }
            assert_true(event == CALL_EV_BUSY || event == CALL_EV_NEVER);
            assert_true(from == CALL_PLACING || from == CALL_FENCING);
        }
    test_promise(37,
                 "0 of %d pairs of state and event place a call again that may have begun, but for "
                 "idempotent functions",
                 CALL_STATE_END * CALL_EVENT_END);
}

static void a_failure_before_anything_started_is_never_said_of_an_accepted_call(void **state)
{
    (void)state;
    for (enum call_event event = 0; event < CALL_EVENT_END; event++) {
        const enum call_state late[] = {CALL_FENCING, CALL_ABANDONING, CALL_ACCEPTED, CALL_RUNNING,
                                        CALL_CANCELLING};

        for (size_t i = 0; i < FAAS_ARRAY_LEN(late); i++) {
            const struct call_move *move = call_move(late[i], event);

            if (move != NULL)
                assert_int_not_equal(move->action, CALL_DO_FAIL);
        }
    }
}

static void every_placed_state_survives_no_death_and_has_a_last_guard(void **state)
{
    (void)state;
    for (enum call_state from = 0; from < CALL_STATE_END; from++) {
        if (!call_is_placed(from)) {
            assert_null(call_move(from, CALL_EV_DIED));
            continue;
        }
        assert_int_equal(call_move(from, CALL_EV_DIED)->next, CALL_ENDED);
        assert_int_equal(call_move(from, CALL_EV_TIME_UP)->next, CALL_ENDED);
        assert_int_equal(call_move(from, CALL_EV_END)->action, CALL_DO_FINISH);
        assert_null(call_move(from, CALL_EV_GIVE_UP)); /* lateness ends unplaced calls only */
    }
}

static void nothing_happens_after_the_end(void **state)
{
    (void)state;
    for (enum call_event event = 0; event < CALL_EVENT_END; event++)
        assert_null(call_move(CALL_ENDED, event));
}

static void states_and_events_out_of_range_are_no_moves(void **state)
{
    (void)state;
    assert_null(call_move(CALL_STATE_END, CALL_EV_END));
    assert_null(call_move(CALL_PLACING, CALL_EVENT_END));
    assert_string_equal(call_state_name(CALL_STATE_END), "?");
    assert_string_equal(call_event_name(CALL_EVENT_END), "?");
    assert_string_equal(call_state_for_fence(CALL_STATE_END), "done");
}

static void a_fence_hears_waiting_until_a_spawner_may_have_it(void **state)
{
    (void)state;
    assert_string_equal(call_state_for_fence(CALL_RESOLVING), "waiting");
    assert_string_equal(call_state_for_fence(CALL_WAITING), "waiting");
    assert_string_equal(call_state_for_fence(CALL_PLACING), "running");
    assert_string_equal(call_state_for_fence(CALL_CANCELLING), "running");
    assert_string_equal(call_state_for_fence(CALL_ENDED), "done");
    assert_false(call_is_placed(CALL_ENDED));
}

/* Random walks end, and only by a move into ENDED. */
static void random_walks_keep_to_the_table(void **state)
{
    (void)state;
    srandom(7);
    for (int walk = 0; walk < 2000; walk++) {
        enum call_state at = CALL_RECEIVED;

        for (int step = 0; step < 5000 && at != CALL_ENDED; step++) {
            const struct call_move *move =
                call_move(at, (enum call_event)(random() % CALL_EVENT_END));

            if (move != NULL)
                at = move->next;
        }
        assert_int_equal(at, CALL_ENDED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_pair_is_as_written_down),
        cmocka_unit_test(a_placed_call_goes_elsewhere_only_when_refused_or_never_seen),
        cmocka_unit_test(a_failure_before_anything_started_is_never_said_of_an_accepted_call),
        cmocka_unit_test(every_placed_state_survives_no_death_and_has_a_last_guard),
        cmocka_unit_test(nothing_happens_after_the_end),
        cmocka_unit_test(states_and_events_out_of_range_are_no_moves),
        cmocka_unit_test(a_fence_hears_waiting_until_a_spawner_may_have_it),
        cmocka_unit_test(random_walks_keep_to_the_table),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
