/* libfaas/base without memory and with failing system calls; the claims are in fault.h. */
#include "tests/support/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/envelope.h"
#include "base/json.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/metric.h"
#include "base/option.h"
#include "base/pool.h"
#include "base/spill.h"
#include "tests/unit/unit.h"

/* ---- JSON and envelopes ---- */

/* Texts and keys that are longer than what jansson begins with. */
#define LONG "0123456789012345678901234567890123456789"
#define DOCUMENT                                                                                   \
    "{\"name\":\"a\\u00e9\",\"limits\":{\"pids\":12},\"env\":{\"KEY_" LONG "\":\"" LONG LONG       \
    "\"},\"list\":[1,2.5,null]}"

struct wanted {
    const char *name;
    int64_t pids;
    json_t *env;
};
static const struct faas_json_field limit_fields[] = {
    FAAS_FIELD(INT, struct wanted, pids, "pids", 1, 99, true),
    FAAS_FIELD_END,
};
static const struct faas_json_field fields[] = {
    FAAS_FIELD(STR, struct wanted, name, "name", 1, 8, true),
    {"limits", FAAS_JSON_OBJECT, 0, 0, 0, true, limit_fields, SIZE_MAX},
    FAAS_FIELD(MAP, struct wanted, env, "env", 0, 2, true),
    FAAS_FIELD_END,
};

static faas_code parse(void *state, faas_err *err)
{
    FAAS_AUTO(json_t) *doc = NULL;
    FAAS_AUTO(json_t) *same = NULL;
    FAAS_AUTO(char) *text = NULL;
    const char *value = NULL;
    struct wanted got = {0};
    size_t len = 0;

    (void)state;
    FAAS_TRY(faas_json_parse(DOCUMENT, strlen(DOCUMENT), false, &doc, err));
    FAAS_TRY(faas_json_decode(doc, fields, FAAS_JSON_TOLERANT, &got, err));
    text = faas_json_text(doc, &len);
    if (text == NULL)
        return faas_fail_sys(err, ENOMEM, "text");
    fault_pause(true);
    same = json_loadb(text, len, 0, NULL);
    assert_true(json_equal(doc, same) && got.pids == 12);
    assert_int_equal(json_array_size(json_object_get(doc, "list")), 3);
    value = json_string_value(json_object_get(got.env, "KEY_" LONG));
    assert_string_equal(value, LONG LONG);
    assert_string_equal(got.name, "a\xC3\xA9");
    return FAAS_OK;
}

static faas_code parse_nothing(void *state, faas_err *err)
{
    FAAS_AUTO(json_t) *doc = NULL;

    (void)state;
    FAAS_TRY(faas_json_parse("", 0, true, &doc, err));
    assert_true(json_is_object(doc));
    return FAAS_OK;
}

static faas_code pack(void *state, faas_err *err)
{
    struct faas_envelope env = {0};
    FAAS_AUTO(void) *msg = NULL;
    size_t len = 0;

    FAAS_TRY(faas_envelope_pack(state, "argument", 8, &msg, &len, err));
    FAAS_TRY(faas_envelope_open(msg, len, &env, err));
    fault_pause(true);
    assert_true(json_equal(state, env.meta) && env.len == 8);
    assert_memory_equal(env.bytes, "argument", 8);
    faas_envelope_done(&env);
    return FAAS_OK;
}

static void json_blames_memory_and_not_the_text(void **state)
{
    (void)state;
    fault_each(parse, NULL, 20);
    fault_each(parse_nothing, NULL, 1);
}

static void envelopes_are_whole_or_refused(void **state)
{
    FAAS_AUTO(json_t) *doc = json_loads(DOCUMENT, 0, NULL);

    (void)state;
    fault_each(pack, doc, 20);
}

/* ---- options ---- */

static struct {
    char *url, *secret;
    int64_t threads;
} conf;
static const struct faas_option rows[] = {
    FAAS_OPT_STR(conf.url, "T_URL", "nats://127.0.0.1:4222", "servers"),
    FAAS_OPT_SECRET(conf.secret, "T_PASSWORD", "", "password"),
    FAAS_OPT_INT(conf.threads, "T_THREADS", "4", 1, 64, "threads"),
    FAAS_OPT_END,
};
static const struct faas_option *const tables[] = {rows, NULL};

static faas_code load(void *state, faas_err *err)
{
    char *argv[] = {(char[]){"program"}, (char[]){"--t-threads=7"}, NULL};
    bool is_exit = true;
    faas_code rc = faas_options_load(tables, 2, argv, &is_exit, err);

    (void)state;
    if (rc == FAAS_OK) {
        assert_string_equal(conf.secret, "s3cr3t");
        assert_string_equal(conf.url, "nats://127.0.0.1:4222");
        assert_true(conf.threads == 7 && !is_exit);
    }
    faas_options_free(tables);
    assert_true(conf.url == NULL && conf.secret == NULL);
    return rc;
}

static void options_name_the_file_that_cannot_be_read(void **state)
{
    char path[] = "/tmp/faas-fault-XXXXXX";
    int fd = mkstemp(path);

    (void)state;
    assert_true(fd >= 0 && write(fd, "s3cr3t\n", 7) == 7);
    close(fd);
    setenv("T_PASSWORD_FILE", path, 1);
    fault_each(load, NULL, 6);
    unlink(path);
}

/* ---- threads ---- */

static void count_one(void *arg)
{
    atomic_fetch_add((atomic_int *)arg, 1);
}

static faas_code work(void *state, faas_err *err)
{
    atomic_int ran = 0;
    int taken = 0;
    faas_pool *pool = NULL;
    faas_code rc = FAAS_OK;

    (void)state;
    FAAS_TRY(faas_pool_start(3, 8, &pool, err));
    while (rc == FAAS_OK && taken < 4)
        if ((rc = faas_pool_submit(pool, count_one, &ran, err)) == FAAS_OK)
            taken++;
    faas_pool_stop(pool);
    assert_int_equal(atomic_load(&ran), taken); /* what was taken runs, and nothing else */
    return rc;
}

static void a_pool_runs_what_it_took(void **state)
{
    (void)state;
    fault_each(work, NULL, 8);
}

/* Posting ends the process without memory (loop.h), so faults wait meanwhile. */
static faas_code turn(void *state, faas_err *err)
{
    atomic_int ran = 0;
    faas_loop *loop = NULL;

    (void)state;
    FAAS_TRY(faas_loop_new(&loop, err));
    fault_pause(true);
    faas_loop_post(loop, count_one, &ran);
    faas_loop_free(loop);
    assert_int_equal(atomic_load(&ran), 1);
    return FAAS_OK;
}

static void a_loop_is_made_or_not(void **state)
{
    (void)state;
    fault_each(turn, NULL, 1);
}

/* ---- bytes on disk ---- */

static faas_code fill(struct faas_spill *spill, faas_err *err)
{
    for (int i = 0; i < 5; i++) /* three fit into memory, then the file takes over */
        FAAS_TRY(faas_spill_add(spill, "0123456789", 10, err));
    return FAAS_OK;
}

static faas_code keep(void *state, faas_err *err)
{
    struct faas_spill spill;
    char got[51] = "";
    size_t len = 0;
    int fd = -1;
    faas_code rc;

    faas_spill_init(&spill, 30, state);
    rc = fill(&spill, err);
    if (rc == FAAS_OK) {
        fault_pause(true);
        assert_null(faas_spill_steal(&spill, &len, &fd));
        assert_int_equal(pread(fd, got, sizeof got, 0), 50);
        assert_string_equal(got, "01234567890123456789012345678901234567890123456789");
        close(fd);
    }
    faas_spill_done(&spill);
    return rc;
}

static void an_answer_is_kept_whole_or_given_up(void **state)
{
    (void)state;
    fault_each(keep, (char[]){"/tmp"}, 6);
}

/* ---- what is told ---- */

static struct faas_metric calls = {
    .name = "faas_t_calls_total", .help = "calls", .kind = FAAS_COUNTER};
static struct faas_metric times = {
    .name = "faas_t_time_seconds", .help = "time", .kind = FAAS_HISTOGRAM};

static faas_code render(void *state, faas_err *err)
{
    FAAS_AUTO(char) *text = faas_metrics_render();

    (void)state;
    if (text == NULL)
        return faas_fail_sys(err, ENOMEM, "metrics");
    assert_contains(text, "faas_t_time_seconds_count 1\n");
    return FAAS_OK;
}

static void metrics_are_whole_or_absent(void **state)
{
    (void)state;
    faas_metric_add(&calls);
    faas_metric_add(&times);
    faas_metric_observe_ns(&times, 5);
    fault_each(render, NULL, 7);
}

static faas_code write_line(void *state, faas_err *err)
{
    (void)state, (void)err;
    errno = EXFULL;
    FAAS_LOG(ERROR, "a line", FAAS_LSTR("user", "text\n"), FAAS_LINT("number", 1));
    assert_int_equal(errno, EXFULL);
    return FAAS_OK;
}

static void a_log_that_cannot_be_written_disturbs_nobody(void **state)
{
    int kept = dup(STDERR_FILENO), null = open("/dev/null", O_WRONLY | O_CLOEXEC);

    (void)state;
    assert_true(kept >= 0 && null >= 0 && dup2(null, STDERR_FILENO) >= 0);
    fault_each(write_line, NULL, 1);
    dup2(kept, STDERR_FILENO);
    close(kept);
    close(null);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_blames_memory_and_not_the_text),
        cmocka_unit_test(envelopes_are_whole_or_refused),
        cmocka_unit_test(options_name_the_file_that_cannot_be_read),
        cmocka_unit_test(a_pool_runs_what_it_took),
        cmocka_unit_test(a_loop_is_made_or_not),
        cmocka_unit_test(an_answer_is_kept_whole_or_given_up),
        cmocka_unit_test(metrics_are_whole_or_absent),
        cmocka_unit_test(a_log_that_cannot_be_written_disturbs_nobody),
    };

    return run_unit(tests);
}
