/* The registry's read model of calls: services/registry/records.c, records_write.c. */
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/id.h"
#include "services/registry/records.h"
#include "tests/unit/catalog_rig.h"
#include "tests/unit/unit.h"

#define NOW_MS INT64_C(1767323045000)

static int64_t now_ms(void)
{
    return NOW_MS;
}

static struct records_conf conf = {.instance = "one",
                                   .log_last = 1000,
                                   .rows_max = 1000000,
                                   .tenant_rows_max = 1000000,
                                   .logs_bytes_max = 1000000,
                                   .age_ms = 86400000};

static records *open_with(const struct records_conf *with)
{
    struct records_conf here = *with;
    records *recs = NULL;
    faas_err err = {0};

    here.dir = rig_dir;
    if (records_open(&here, &recs, &err) != FAAS_OK)
        fail_msg("open: %s (%s)", err.msg, err.detail);
    return recs;
}

/* The id of the n-th call, a millisecond after the one before. */
static void id_of(int n, char out_id[FAAS_UUID_TEXT])
{
    uint8_t bytes[16] = {0};
    int64_t ms = NOW_MS - 100000 + n;

    for (int i = 0; i < 6; i++)
        bytes[i] = (uint8_t)(ms >> (40 - 8 * i));
    bytes[6] = 0x70;
    bytes[8] = 0x80;
    faas_uuid_from_bytes(bytes, out_id);
}

struct said { /* a note */
    const char *tenant;
    int n;
    int64_t order;
    const char *status, *function, *more;
};

static void apply(records *recs, const struct said *said)
{
    char id[FAAS_UUID_TEXT], line[2048];
    size_t skipped = 0;
    faas_err err = {0};

    id_of(said->n, id);
    (void)snprintf(line, sizeof line,
                   "{\"id\":\"%s\",\"tenant\":\"%s\",\"order\":%lld,\"status\":\"%s\""
                   "%s%s%s%s}\n",
                   id, said->tenant, (long long)said->order, said->status,
                   said->function[0] != '\0' ? ",\"function\":\"" : "", said->function,
                   said->function[0] != '\0' ? "\"" : "", said->more);
    if (records_apply(recs, line, strlen(line), &skipped, &err) != FAAS_OK)
        fail_msg("apply: %s (%s)", err.msg, err.detail);
    assert_int_equal(skipped, 0);
}

static void put(records *recs, const char *tenant, int n, const char *function, const char *status)
{
    const struct said said = {tenant, n, 13, status, function, ""};

    apply(recs, &said);
}

static void commit(records *recs, uint64_t seq)
{
    faas_err err = {0};

    if (records_commit(recs, seq, &err) != FAAS_OK)
        fail_msg("commit: %s (%s)", err.msg, err.detail);
}

static struct records_query all_of(const char *tenant)
{
    return (struct records_query){.tenant = tenant,
                                  .function = "",
                                  .status = "",
                                  .before = "",
                                  .limit = 200,
                                  .bytes_max = 1000000};
}

/* The numbers of a page's calls, joined by spaces; '+' at its end: there is more. */
static void page_is(records *recs, const struct records_query *query, const char *want)
{
    FAAS_AUTO(json_t) *items = NULL;
    char got[4096] = "";
    bool has_more = false;
    faas_err err = {0};
    const json_t *item;
    size_t i;

    if (records_page(recs, query, &items, &has_more, &err) != FAAS_OK)
        fail_msg("page: %s (%s)", err.msg, err.detail);
    json_array_foreach (items, i, item) {
        uint8_t id[16];
        int64_t ms = 0;
        size_t used = strlen(got);

        faas_uuid_to_bytes(json_string_value(json_object_get(item, "id")), id);
        for (int k = 0; k < 6; k++)
            ms = ms << 8 | id[k];
        (void)snprintf(got + used, sizeof got - used, "%s%lld", used > 0 ? " " : "",
                       (long long)(ms - NOW_MS + 100000));
    }
    if (has_more)
        (void)snprintf(got + strlen(got), sizeof got - strlen(got), "+");
    assert_string_equal(got, want);
}

static void lists_are_filtered_and_newest_first(void **state)
{
    records *recs = open_with(&conf);
    struct records_query q = all_of(ANN);
    char id[FAAS_UUID_TEXT];

    (void)state;
    put(recs, ANN, 1, "f", "succeeded");
    put(recs, ANN, 2, "g", "failed");
    put(recs, BOB, 3, "f", "succeeded");
    put(recs, ANN, 4, "f", "failed");
    put(recs, ANN, 5, "f", "succeeded");
    page_is(recs, &q, ""); /* not before their batch ends */
    commit(recs, 7);
    page_is(recs, &q, "5 4 2 1");
    q.function = "f";
    page_is(recs, &q, "5 4 1");
    q.status = "failed";
    page_is(recs, &q, "4");
    q.function = "";
    page_is(recs, &q, "4 2");
    q = all_of(ANN);
    q.since_ms = NOW_MS - 100000 + 2;
    q.until_ms = NOW_MS - 100000 + 5;
    page_is(recs, &q, "4 2");
    q = all_of(ANN);
    q.limit = 2;
    page_is(recs, &q, "5 4+");
    id_of(4, id);
    q.before = id;
    page_is(recs, &q, "2 1");
    q.bytes_max = 1; /* one record always fits */
    page_is(recs, &q, "2+");
    q = all_of(BOB);
    page_is(recs, &q, "3");
    records_close(recs);
}

static void one_call_is_found_by_its_tenant_alone(void **state)
{
    records *recs = open_with(&conf);
    const struct said said = {ANN, 1, 13, "failed", "f", ",\"log\":\"bG9n\",\"log_bytes\":3"};
    FAAS_AUTO(json_t) *doc = NULL;
    FAAS_AUTO(char) *log = NULL;
    char id[FAAS_UUID_TEXT];
    faas_err err = {0};

    (void)state;
    apply(recs, &said);
    commit(recs, 1);
    id_of(1, id);
    const struct records_id own = {ANN, id}, others = {BOB, id};
    assert_ok(records_get(recs, &own, &doc, &err));
    assert_null(json_object_get(doc, "log"));
    assert_int_equal(json_integer_value(json_object_get(doc, "log_bytes")), 3);
    assert_ok(records_log(recs, &own, &log, &err));
    assert_string_equal(log, "bG9n");
    assert_int_equal(records_get(recs, &others, &doc, &err), FAAS_NOT_FOUND);
    assert_int_equal(records_log(recs, &others, &log, &err), FAAS_NOT_FOUND);
    records_close(recs);
}

/* Each permutation of a call's notes, and each note twice, ends the same. */
static void notes_in_any_order_give_one_record(void **state)
{
    static const struct said notes[3] = {{ANN, 1, 10, "running", "f", ""},
                                         {ANN, 1, 11, "running", "f", ",\"started_at\":5"},
                                         {ANN, 1, 13, "failed", "f", ",\"log\":\"eA==\""}};
    static const int orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                     {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    struct records_query q = all_of(ANN);

    (void)state;
    for (int p = 0; p < 6; p++) {
        records *recs = open_with(&conf);
        FAAS_AUTO(char) *log = NULL;
        char id[FAAS_UUID_TEXT];
        faas_err err = {0};

        id_of(1, id);
        assert_ok(records_rebuild(recs, &err));
        for (int i = 0; i < 6; i++)
            apply(recs, &notes[orders[p][i / 2]]);
        commit(recs, 1);
        q.status = "failed";
        page_is(recs, &q, "1");
        q.status = "running";
        page_is(recs, &q, "");
        const struct records_id call = {ANN, id};
        assert_ok(records_log(recs, &call, &log, &err));
        assert_string_equal(log, "eA==");
        records_close(recs);
    }
}

static void lines_that_are_no_notes_are_passed_over(void **state)
{
    static const char lines[] = "nonsense\n{\"id\":1}\n\n";
    records *recs = open_with(&conf);
    struct records_query q = all_of(ANN);
    size_t skipped = 0;
    faas_err err = {0};

    (void)state;
    assert_ok(records_apply(recs, lines, sizeof lines - 1, &skipped, &err));
    assert_int_equal(skipped, 3);
    put(recs, ANN, 1, "f", "failed");
    commit(recs, 1);
    page_is(recs, &q, "1");
    records_close(recs);
}

static void a_restart_goes_on_where_it_was(void **state)
{
    records *recs = open_with(&conf);
    struct records_query q = all_of(ANN);
    struct records_conf behind = conf;

    (void)state;
    put(recs, ANN, 1, "f", "failed");
    commit(recs, 7);
    put(recs, ANN, 2, "f", "failed"); /* its batch never ends */
    records_close(recs);
    recs = open_with(&conf);
    assert_int_equal(records_applied(recs), 7);
    page_is(recs, &q, "1");
    put(recs, ANN, 3, "f", "failed");
    records_abandon(recs);
    commit(recs, 8);
    page_is(recs, &q, "1");
    records_close(recs);
    behind.log_last = 6; /* of another log */
    recs = open_with(&behind);
    assert_int_equal(records_applied(recs), 0);
    page_is(recs, &q, "");
    records_close(recs);
}

static void in_file(const char *sql)
{
    char path[100];
    sqlite3 *db = NULL;

    (void)snprintf(path, sizeof path, "%s/one.db", rig_dir);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static void another_layout_and_a_file_that_is_none_are_built_again(void **state)
{
    struct records_query q = all_of(ANN);
    records *recs = open_with(&conf);
    char path[100];
    int fd;

    (void)state;
    put(recs, ANN, 1, "f", "failed");
    commit(recs, 7);
    records_close(recs);
    in_file("PRAGMA user_version = 0");
    recs = open_with(&conf);
    page_is(recs, &q, "");
    records_close(recs);
    (void)snprintf(path, sizeof path, "%s/one.db", rig_dir);
    fd = open(path, O_WRONLY | O_TRUNC);
    assert_int_equal(write(fd, "not a database at all", 21), 21);
    close(fd);
    recs = open_with(&conf);
    put(recs, ANN, 2, "f", "failed");
    commit(recs, 1);
    page_is(recs, &q, "2");
    records_close(recs);
}

/* Damage is met by whoever reads there; a rebuild heals it. */
static void damage_is_found_when_it_is_met(void **state)
{
    struct records_query q = all_of(ANN);
    records *recs = open_with(&conf);
    FAAS_AUTO(json_t) *items = NULL;
    static const char zeros[4096];
    bool has_more;
    char path[100];
    struct stat st;
    faas_err err = {0};
    int fd;

    (void)state;
    for (int i = 0; i < 300; i++)
        put(recs, ANN, i, "f", "failed");
    commit(recs, 7);
    records_close(recs);
    (void)snprintf(path, sizeof path, "%s/one.db", rig_dir);
    fd = open(path, O_WRONLY);
    assert_int_equal(fstat(fd, &st), 0);
    for (off_t at = 2 * 4096; at < st.st_size; at += 4096)
        assert_int_equal(pwrite(fd, zeros, sizeof zeros, at), 4096);
    close(fd);
    recs = open_with(&conf);
    if (records_is_good(recs) && records_applied(recs) == 7) {
        assert_int_equal(records_page(recs, &q, &items, &has_more, &err), FAAS_UNAVAILABLE);
        assert_false(records_is_good(recs));
        assert_string_equal(err.msg, RECORDS_REBUILDING);
        assert_ok(records_rebuild(recs, &err));
    }
    assert_int_equal(records_applied(recs), 0);
    put(recs, ANN, 2, "f", "failed");
    commit(recs, 1);
    page_is(recs, &q, "2");
    records_close(recs);
}

static void the_oldest_go_beyond_the_bounds(void **state)
{
    struct records_conf few = conf;
    struct records_query ann = all_of(ANN), bob = all_of(BOB);
    records *recs;

    (void)state;
    few.rows_max = 5;
    few.tenant_rows_max = 3;
    recs = open_with(&few);
    for (int i = 1; i <= 3; i++)
        put(recs, BOB, i, "f", "failed");
    for (int i = 4; i <= 8; i++)
        put(recs, ANN, i, "f", "failed");
    for (uint64_t seq = 1; seq < 5; seq++)
        commit(recs, seq);
    page_is(recs, &ann, "8 7 6");
    page_is(recs, &bob, ""); /* three of eight are too many, and they are the oldest */
    put(recs, BOB, 9, "f", "failed");
    commit(recs, 6);
    page_is(recs, &ann, "8 7 6");
    page_is(recs, &bob, "9");
    records_close(recs);
}

static void what_is_too_old_goes(void **state)
{
    struct records_conf young = conf;
    struct records_query ann = all_of(ANN);
    records *recs;

    (void)state;
    young.age_ms = 100000 - 50; /* calls up to the 49th are older */
    recs = open_with(&young);
    for (int i = 1; i <= 60; i++)
        put(recs, ANN, i, "f", "failed");
    for (uint64_t seq = 1; seq <= 60; seq++)
        commit(recs, seq);
    ann.limit = 3;
    page_is(recs, &ann, "60 59 58+");
    ann.until_ms = NOW_MS - 100000 + 51;
    page_is(recs, &ann, "50");
    records_close(recs);
}

static void logs_have_a_bound_of_their_own(void **state)
{
    struct records_conf few = conf;
    struct records_query ann = all_of(ANN);
    int with_log = 0;
    records *recs;

    (void)state;
    few.logs_bytes_max = 1000;
    recs = open_with(&few);
    for (int i = 1; i <= 300; i++) {
        const struct said said = {ANN, i, 13, "failed", "f", ",\"log\":\"MDEyMzQ1Njc4OQ==\""};

        apply(recs, &said);
        commit(recs, (uint64_t)i);
    }
    for (int i = 1; i <= 300; i++) {
        FAAS_AUTO(char) *log = NULL;
        char id[FAAS_UUID_TEXT];
        faas_err err = {0};

        id_of(i, id);
        const struct records_id call = {ANN, id};
        assert_ok(records_log(recs, &call, &log, &err));
        with_log += log[0] != '\0';
        if (i == 300)
            assert_string_equal(log, "MDEyMzQ1Njc4OQ==");
        if (i == 1)
            assert_string_equal(log, "");
    }
    assert_true(with_log > 0 && with_log * 16 <= 1000);
    ann.limit = 1;
    page_is(recs, &ann, "300+");
    records_close(recs);
}

/* ---- open calls ---- */

static bool only_p1_lives(void *arg, const struct records_open_call *call)
{
    int *asked = arg;

    (*asked)++;
    return call->is_queued || strcmp(call->publisher, "p1") == 0;
}

static void open_calls_of_the_dead_end_as_unknown(void **state)
{
    static const struct said notes[] = {
        {ANN, 1, 10, "running", "f", ",\"publisher\":\"p1\""},
        {ANN, 2, 10, "running", "f", ",\"publisher\":\"p2\""},
        {ANN, 3, 9, "queued", "f", ",\"publisher\":\"p2\",\"queued\":true"},
        {ANN, 4, 9, "queued", "f", ",\"publisher\":\"p2\""},
        {ANN, 5, 13, "failed", "f", ",\"publisher\":\"p2\""},
    };
    static const struct said end = {ANN, 2, 13, "succeeded", "", ",\"exit_code\":0"};
    records *recs = open_with(&conf);
    struct records_query q = all_of(ANN);
    faas_err err = {0};
    int asked = 0;

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(notes); i++)
        apply(recs, &notes[i]);
    commit(recs, 7);
    assert_ok(records_sweep(recs, only_p1_lives, &asked, &err));
    assert_int_equal(asked, 4);
    q.status = "unknown";
    page_is(recs, &q, "4 2");
    assert_int_equal(records_applied(recs), 7);
    apply(recs, &notes[1]); /* replayed: says nothing new */
    apply(recs, &end);      /* somebody heard its end */
    commit(recs, 8);
    page_is(recs, &q, "4");
    q.status = "succeeded";
    page_is(recs, &q, "2");
    q.status = "running";
    page_is(recs, &q, "1");
    q.status = "queued";
    page_is(recs, &q, "3");
    records_close(recs);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_make_dir, rig_remove_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(lists_are_filtered_and_newest_first),
        TEST(one_call_is_found_by_its_tenant_alone),
        TEST(notes_in_any_order_give_one_record),
        TEST(lines_that_are_no_notes_are_passed_over),
        TEST(a_restart_goes_on_where_it_was),
        TEST(another_layout_and_a_file_that_is_none_are_built_again),
        TEST(damage_is_found_when_it_is_met),
        TEST(the_oldest_go_beyond_the_bounds),
        TEST(what_is_too_old_goes),
        TEST(logs_have_a_bound_of_their_own),
        TEST(open_calls_of_the_dead_end_as_unknown),
    };

    faas_wall_set_for_test(now_ms);
    return run_unit(tests);
}
