/* Which version a call of an alias runs: services/publisher/alias.c, and record.c, which holds it. */
#include <stdio.h>
#include <string.h>

#include "base/id.h"
#include "services/publisher/record.h"
#include "tests/unit/unit.h"

#define TENANT "01890000-0000-7000-8000-000000000001"
#define ID     "01890000-0000-7000-8000-000000000002"
#define CALLS  20000

static record *parse(const char *more)
{
    char key[RECORD_KEY_MAX], text[2048];
    record *rec = NULL;
    faas_err err = {0};

    record_key(TENANT, "upper", key);
    (void)snprintf(text, sizeof text, "{\"id\":\"" ID "\",\"name\":\"upper\",\"version\":9%s}",
                   more);
    if (record_parse(key, text, strlen(text), &rec, &err) != FAAS_OK)
        fail_msg("%s %s", err.msg, err.detail);
    return rec;
}

static void a_record_knows_its_aliases_by_name(void **state)
{
    FAAS_AUTO(record) *rec = parse(",\"aliases\":{\"live\":{\"versions\":{\"3\":1}},"
                                   "\"canary\":{\"versions\":{\"3\":90,\"4\":10},\"later\":[]}}");
    FAAS_AUTO(record) *plain = parse("");
    const struct alias *canary = record_alias(rec, "canary");

    (void)state;
    assert_int_equal(record_alias(rec, "live")->parts[0].version, 3);
    assert_int_equal(canary->total, 100);
    assert_int_equal(canary->count, 2);
    assert_int_equal(canary->parts[1].version, 4);
    assert_int_equal(canary->parts[1].weight, 10);
    assert_null(record_alias(rec, "liv"));
    assert_null(record_alias(plain, "live"));
    assert_true(rec->bytes >= plain->bytes + 2 * sizeof(struct alias));
}

static void only_true_disables(void **state)
{
    FAAS_AUTO(record) *on = parse(",\"disabled\":true");
    FAAS_AUTO(record) *off = parse(",\"disabled\":false");
    FAAS_AUTO(record) *absent = parse("");

    (void)state;
    assert_true(on->is_disabled);
    assert_false(off->is_disabled);
    assert_false(absent->is_disabled);
}

/* A later release may keep other things in it: such an alias is known, and names no version. */
static void what_cannot_be_read_names_no_version(void **state)
{
    static const char *const bad[] = {
        "{}",
        "{\"versions\":{}}",
        "{\"versions\":{\"newest\":1}}",
        "{\"versions\":{\"03\":1}}",
        "{\"versions\":{\"3\":0}}",
        "{\"versions\":{\"3\":-1,\"4\":5}}",
        "{\"versions\":{\"4\":5,\"3\":\"10\"}}",
        "{\"versions\":{\"3\":1000001}}",
        "{\"versions\":{\"1\":1,\"2\":1,\"3\":1,\"4\":1,\"5\":1,\"6\":1,\"7\":1,\"8\":1,\"9\":1}}",
        "[]",
        "7",
    };
    char more[512];

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(bad); i++) {
        FAAS_AUTO(record) *rec = NULL;

        (void)snprintf(more, sizeof more, ",\"aliases\":{\"live\":%s}", bad[i]);
        rec = parse(more);
        assert_non_null(record_alias(rec, "live"));
        assert_int_equal(record_alias(rec, "live")->total, 0);
    }
}

static void calls_spread_as_the_weights_say_and_each_stays_with_its_version(void **state)
{
    FAAS_AUTO(record) *rec =
        parse(",\"aliases\":{\"mix\":{\"versions\":{\"3\":7,\"4\":2,\"5\":1}}}");
    const struct alias *mix = record_alias(rec, "mix");
    int64_t counts[10] = {0};
    char id[FAAS_UUID_TEXT];

    (void)state;
    for (int i = 0; i < CALLS; i++) {
        int64_t version;

        faas_uuid_new(id);
        version = alias_choose(mix, id);
        assert_int_equal(alias_choose(mix, id), version);
        counts[version]++;
    }
    /* Six standard deviations and more around what is expected. */
    assert_in_range(counts[3], CALLS * 7 / 10 - 450, CALLS * 7 / 10 + 450);
    assert_in_range(counts[4], CALLS * 2 / 10 - 400, CALLS * 2 / 10 + 400);
    assert_in_range(counts[5], CALLS / 10 - 300, CALLS / 10 + 300);
    assert_int_equal(counts[3] + counts[4] + counts[5], CALLS);
}

/* Another release's publisher must choose likewise for a call that is sent again. */
static void the_choice_is_the_same_in_every_release(void **state)
{
    static const struct alias half = {
        .name = "live", .total = 2, .count = 2, .parts = {{.version = 1, .weight = 1}, {2, 1}}};
    char id[FAAS_UUID_TEXT];

    (void)state;
    for (int i = 0; i < 16; i++) {
        (void)snprintf(id, sizeof id, "01890000-0000-7000-8000-0000000000%02x", i);
        assert_int_equal(alias_choose(&half, id), 1 + (int64_t)(faas_rendezvous(id, "live") & 1));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_knows_its_aliases_by_name),
        cmocka_unit_test(only_true_disables),
        cmocka_unit_test(what_cannot_be_read_names_no_version),
        cmocka_unit_test(calls_spread_as_the_weights_say_and_each_stays_with_its_version),
        cmocka_unit_test(the_choice_is_the_same_in_every_release),
    };

    return run_unit(tests);
}
