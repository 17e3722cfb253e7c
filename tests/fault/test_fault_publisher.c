/* What the publisher and auth keep in memory, when there is none. */
#include "tests/support/fault.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fair.h"
#include "contract.h"
#include "services/auth/account.h"
#include "services/auth/sessions.h"
#include "services/auth/throttle.h"
#include "services/publisher/book.h"
#include "services/publisher/cache.h"
#include "services/publisher/place.h"
#include "services/publisher/record.h"
#include "services/publisher/tally.h"
#include "tests/unit/unit.h"

#define ANN  "0190c8f6-0000-7000-8000-00000000000a"
#define FUNC "0190c8f6-0000-7000-8000-0000000000f1"
#define KEY  "f." ANN ".0123456789abcdef0123456789abcdef"
#define RECORD                                                                                     \
    "{\"v\":1,\"op\":\"x\",\"id\":\"" FUNC "\",\"uuid\":\"" ANN "\",\"name\":\"upper\","           \
    "\"payload\":\"u\",\"digest\":{\"kind\":\"k\",\"value\":\"v\"},\"reference\":"                 \
    "\"registry.example/upper:1\",\"command\":[\"/bin/upper\"],\"version\":3,\"created_at\":1,"    \
    "\"updated_at\":2,\"timeout_ms\":1000,\"env\":{\"KEY\":\"a value of some length\"},"           \
    "\"aliases\":{\"live\":{\"versions\":{\"2\":1}}}}"

/* ---- records ---- */

static faas_code place_record(void *state, faas_err *err)
{
    FAAS_AUTO(record) *rec = NULL;
    FAAS_AUTO(json_t) *placement = NULL;
    FAAS_AUTO(char) *text = NULL;
    const json_t *env;
    size_t len = 0;

    (void)state;
    FAAS_TRY(record_parse(KEY, RECORD, strlen(RECORD), &rec, err));
    text = record_placement(rec, &(struct record_run){.timeout_ms = 500, .is_pull = true}, &len);
    if (text == NULL)
        return faas_fail_sys(err, ENOMEM, "placement");
    FAAS_TRY(faas_json_parse(text, len, false, &placement, err));
    assert_int_equal(json_integer_value(json_object_get(placement, "timeout_ms")), 500);
    assert_true(json_is_true(json_object_get(placement, "pull")));
    env = json_object_get(placement, "env");
    assert_string_equal(json_string_value(json_object_get(env, "KEY")), "a value of some length");
    assert_int_equal(rec->version, 3);
    assert_int_equal(record_alias(rec, "live")->parts[0].version, 2);
    return FAAS_OK;
}

static void a_placement_is_whole_or_refused(void **state)
{
    (void)state;
    fault_each(place_record, NULL, 60);
}

/* A key that is not kept is asked for again; what is kept is right. */
static faas_code remember(void *state, faas_err *err)
{
    struct cache *cache = state;
    FAAS_AUTO(record) *rec = NULL;

    FAAS_TRY(record_parse(KEY, RECORD, strlen(RECORD), &rec, err));
    cache_put(cache, KEY, rec, 9);
    assert_true(cache_get(cache, KEY) == NULL || cache_get(cache, KEY) == rec);
    assert_true(cache_revision(cache, KEY) == (cache_has(cache, KEY) ? 9 : 0));
    assert_int_equal(cache->len, cache_has(cache, KEY));
    cache_remove(cache, KEY);
    assert_true(cache->len == 0 && cache->bytes == 0);
    return FAAS_OK;
}

static void a_cache_keeps_what_is_right_or_nothing(void **state)
{
    struct cache cache;

    (void)state;
    cache_init(&cache, 10, 1 << 20);
    fault_each(remember, &cache, 60);
    cache_done(&cache);
}

/* ---- calls ---- */

static faas_code enter(void *state, faas_err *err)
{
    struct book *book = state;
    struct book_page page = {.id = FUNC};

    FAAS_TRY(book_add(book, &page, err));
    assert_ptr_equal(book_find(book, FUNC), &page);
    book_remove(book, &page);
    assert_true(book_find(book, FUNC) == NULL && book->live_len == 0);
    return FAAS_OK;
}

static faas_code bury(void *state, faas_err *err)
{
    struct book *book = state;
    struct book_tomb *tomb = book_bury(book, ANN, 255, true, 5);

    if (tomb == NULL)
        return faas_fail_sys(err, ENOMEM, "tomb");
    assert_true(tomb->refuse_to == 255 && tomb->was_placed);
    assert_ptr_equal(book_tomb_find(book, ANN, 6), tomb);
    (void)book_tomb_find(book, ANN, UINT64_MAX); /* it is old by then, and forgotten */
    assert_int_equal(book->tombs_len, 0);
    return FAAS_OK;
}

static void calls_are_entered_whole_or_not_at_all(void **state)
{
    struct book book;

    (void)state;
    book_init(&book);
    fault_each(enter, &book, 1);
    fault_each(bury, &book, 2);
    book_done(&book);
}

static bool may_go(void *arg, struct faas_fair_item *item)
{
    (void)arg, (void)item;
    return true;
}

static faas_code wait_in_line(void *state, faas_err *err)
{
    struct faas_fair *fair = state;
    struct faas_fair_item item = {.line = NULL};

    FAAS_TRY(faas_fair_push(fair, ANN, &item, false, err));
    assert_int_equal(fair->len, 1);
    assert_ptr_equal(faas_fair_take(fair, may_go, NULL), &item);
    assert_int_equal(fair->len, 0);
    return FAAS_OK;
}

static faas_code count(void *state, faas_err *err)
{
    struct tally *tally = state;

    FAAS_TRY(tally_add(tally, ANN, err));
    FAAS_TRY(tally_add(tally, ANN, err));
    assert_int_equal(tally_of(tally, ANN), 2);
    tally_drop(tally, ANN);
    tally_drop(tally, ANN);
    assert_int_equal(tally_of(tally, ANN), 0);
    return FAAS_OK;
}

static void queues_and_counts_are_right_or_refuse(void **state)
{
    struct faas_fair fair = {.len = 0};
    struct tally tally = {.root = NULL};

    (void)state;
    faas_fair_init(&fair, 10, 5);
    fault_each(wait_in_line, &fair, 1);
    faas_fair_done(&fair);
    fault_each(count, &tally, 2);
    tally_done(&tally);
}

/* The corrections may be missing, never wrong. */
static faas_code correct(void *state, faas_err *err)
{
    const struct place_target target = {
        .id = "s1", .epoch = "e", .beat = 1, .free = 4, .slots = 4, .is_usable = true};
    const struct place_answer answer = {.id = "s1", .epoch = "e", .reason = PLACE_SLOTS};
    struct place_ledger ledger = {.entries = NULL};
    struct place_round round = {.answers = NULL};
    struct place_fleet fleet = {.targets = NULL};
    int64_t left;
    faas_code rc;

    (void)state;
    place_fleet_add(&fleet, &target);
    assert_true(fleet.len <= 1);
    place_ledger_note(&ledger, "s1", "e", PLACE_SENT);
    left = place_ledger_free(&ledger, &target);
    assert_true(left == (ledger.len == 1 ? 3 : 4));
    rc = place_round_note(&round, &answer, err);
    assert_true(round.len == (rc == FAAS_OK ? 1 : 0));
    place_fleet_done(&fleet);
    place_ledger_done(&ledger);
    place_round_done(&round);
    return rc;
}

static void placing_goes_on_without_its_corrections(void **state)
{
    (void)state;
    fault_each(correct, NULL, 3);
}

/* ---- accounts ---- */

static faas_code store_account(void *state, faas_err *err)
{
    struct account account, again;
    FAAS_AUTO(json_t) *stored = NULL;
    FAAS_AUTO(json_t) *changed = NULL;
    FAAS_AUTO(json_t) *name = NULL;
    FAAS_AUTO(char) *text = NULL;
    char id[FAAS_UUID_TEXT];
    size_t len = 0;

    (void)state;
    account_init(&account, "ada");
    snprintf(account.password, sizeof account.password, "$argon2id$v=19$m=65536,t=2,p=1$c2FsdA$aA");
    stored = account_user_record(&account);
    name = account_name_record(&account);
    text = faas_json_text(stored, &len);
    if (stored == NULL || name == NULL || text == NULL)
        return faas_fail_sys(err, ENOMEM, "encode");
    FAAS_TRY(account_parse_user(text, len, account.id, &again, err));
    assert_string_equal(again.password, account.password);
    FAAS_TRY(account_with_password(text, len, "another", account.id, &changed, err));
    assert_string_equal(json_string_value(json_object_get(changed, "password")), "another");
    free(text);
    text = faas_json_text(name, &len);
    if (text == NULL)
        return faas_fail_sys(err, ENOMEM, "encode");
    FAAS_TRY(account_parse_name(text, len, id, err));
    assert_string_equal(id, account.id);
    return FAAS_OK;
}

/* An ended session is in the stored, or the client is told that it has not ended. */
static faas_code end_session(void *state, faas_err *err)
{
    const struct session session = {.jti = FUNC, .expires_at = 200};
    FAAS_AUTO(json_t) *stored = NULL;
    const json_t *revoked;

    FAAS_TRY(sessions_end(state, strlen(state), &session, 100, &stored, err));
    revoked = json_object_get(stored, "revoked");
    assert_int_equal(json_integer_value(json_object_get(revoked, FUNC)), 200);
    assert_int_equal(json_integer_value(json_object_get(revoked, ANN)), 300);
    return FAAS_OK;
}

static faas_code watch_logins(void *state, faas_err *err)
{
    throttle *made = NULL;
    struct throttle_try attempt;

    (void)state;
    FAAS_TRY(throttle_new(&made, err));
    throttle_name(made, "ada", "::1", &attempt);
    FAAS_TRY(throttle_begin(made, &attempt, 1, err));
    throttle_failed(made, &attempt, 1);
    throttle_free(made);
    return FAAS_OK;
}

static void accounts_are_whole_or_refused(void **state)
{
    (void)state;
    fault_each(store_account, NULL, 60);
    fault_each(watch_logins, NULL, 1);
}

static void a_session_has_ended_or_its_user_knows(void **state)
{
    (void)state;
    fault_each(end_session,
               (char[]){"{\"v\":1,\"op\":\"x\",\"generation\":0,\"revoked\":{\"" ANN "\":300}}"},
               20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_placement_is_whole_or_refused),
        cmocka_unit_test(a_cache_keeps_what_is_right_or_nothing),
        cmocka_unit_test(calls_are_entered_whole_or_not_at_all),
        cmocka_unit_test(queues_and_counts_are_right_or_refuse),
        cmocka_unit_test(placing_goes_on_without_its_corrections),
        cmocka_unit_test(accounts_are_whole_or_refused),
        cmocka_unit_test(a_session_has_ended_or_its_user_knows),
    };

    return run_unit(tests);
}
