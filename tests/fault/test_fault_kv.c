/* Buckets over a real server, without memory and when the connection takes no more; the claims are
 * in fault.h and fault_net.h. */
#include <string.h>

#include "base/clock.h"
#include "tests/support/fault_bucket.h"
#include "tests/unit/unit.h"

#define LONG_MS 10000

static faas_code open_bucket(void *state, faas_err *err)
{
    faas_kv *again = NULL;

    (void)state;
    FAAS_TRY(faas_kv_open(rig.reader.rpc, "fed", 1, faas_deadline_in_ms(LONG_MS), &again, err));
    process_on_loop(&rig.reader, rig_close_kv, again);
    return FAAS_OK;
}

static faas_code read_back(void *state, faas_err *err)
{
    struct faas_kv_entry entry = {0};

    FAAS_TRY(faas_kv_get(rig.reader_kv, state, faas_deadline_in_ms(LONG_MS), &entry, err));
    assert_int_equal(entry.len, 5);
    assert_string_equal(entry.value, "value");
    faas_kv_entry_done(&entry);
    return FAAS_OK;
}

static faas_code read_absent(void *state, faas_err *err)
{
    struct faas_kv_entry entry = {0};
    faas_code rc = faas_kv_get(rig.reader_kv, state, faas_deadline_in_ms(LONG_MS), &entry, err);

    if (rc == FAAS_OK)
        fail_msg("%s failed, and what is not there was read", fault_met());
    return rc == FAAS_NOT_FOUND ? FAAS_OK : rc;
}

static faas_code read_newest(void *state, faas_err *err)
{
    struct fault_call *call = fault_call_new();

    (void)state;
    faas_kv_last_async(rig.reader_kv, faas_deadline_in_ms(LONG_MS), fault_on_kv, call);
    FAAS_TRY(fault_call_wait(call, err));
    assert_true(call->number == rig.newest);
    return FAAS_OK;
}

static void what_is_read_is_right(void **state)
{
    (void)state;
    rig_write("there", 0, "value");
    rig_write("gone", 0, "value");
    rig_write("gone", rig.newest, NULL);
    fault_each(open_bucket, NULL, 60);
    fault_each(read_back, (char[]){"there"}, 40);
    fault_each(read_absent, (char[]){"absent"}, 20);
    fault_each(read_absent, (char[]){"gone"}, 30);
    fault_each(read_newest, NULL, 40);
}

/* A write is there when it says so, and otherwise is there whole or not at all. */
static faas_code create(void *state, faas_err *err)
{
    struct fault_call *call = fault_call_new();
    char name[RIG_NAME], value[FAULT_DATA_MAX];
    uint64_t revision;
    faas_code rc, there;

    (void)state;
    rig_name(name);
    faas_kv_put_async(rig.reader_kv, name, 0, "op-1 text", 9, faas_deadline_in_ms(LONG_MS),
                      fault_on_kv, call);
    rc = fault_call_wait(call, err);
    there = rig_truth(name, value, &revision);
    if (rc == FAAS_OK && (there != FAAS_OK || revision != call->number))
        fail_msg("%s failed, and a write that said OK is not there", fault_met());
    if (there == FAAS_OK)
        assert_string_equal(value, "op-1 text");
    return rc;
}

static faas_code replace(void *state, faas_err *err)
{
    char value[FAULT_DATA_MAX];
    uint64_t before, after, told = 0;
    faas_code rc;

    assert_ok(rig_truth(state, value, &before));
    rc = faas_kv_put(rig.reader_kv, state, before, value[0] == 'a' ? "b" : "a", 1,
                     faas_deadline_in_ms(LONG_MS), &told, err);
    assert_ok(rig_truth(state, value, &after));
    if (rc == FAAS_OK && (after != told || after == before))
        fail_msg("%s failed, and a write that said OK is not there", fault_met());
    return rc;
}

static faas_code remove_key(void *state, faas_err *err)
{
    char name[RIG_NAME], value[FAULT_DATA_MAX];
    uint64_t revision;
    faas_code rc, there;

    (void)state;
    rig_name(name);
    rig_write(name, 0, "value");
    rc = faas_kv_delete(rig.reader_kv, name, rig.newest, faas_deadline_in_ms(LONG_MS), NULL, err);
    there = rig_truth(name, value, &revision);
    if (rc == FAAS_OK && there != FAAS_NOT_FOUND)
        fail_msg("%s failed, and what was deleted is there", fault_met());
    return rc;
}

static void what_is_written_is_there_whole_or_not_at_all(void **state)
{
    (void)state;
    rig_write("changed", 0, "a");
    fault_each(create, NULL, 20);
    fault_each(replace, (char[]){"changed"}, 20);
    fault_each(remove_key, NULL, 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_read_is_right),
        cmocka_unit_test(what_is_written_is_there_whole_or_not_at_all),
    };

    return cmocka_run_group_tests(tests, rig_start, rig_stop);
}
