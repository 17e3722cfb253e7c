#include "tests/unit/unit.h"

#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"

#define LINES_PER_THREAD 200

static char captured[1024 * 1024];

/* Standard error goes to a file while `run` runs; its content is in `captured` afterwards. */
static void capture(void (*run)(void))
{
    int saved = dup(STDERR_FILENO);
    int fd = memfd_create("stderr", MFD_CLOEXEC);
    ssize_t len;

    assert_true(saved >= 0 && fd >= 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_APPEND), 0); /* as a log file is opened */
    assert_true(dup2(fd, STDERR_FILENO) >= 0);
    run();
    assert_true(dup2(saved, STDERR_FILENO) >= 0);
    len = pread(fd, captured, sizeof captured - 1, 0);
    assert_true(len >= 0);
    captured[len] = '\0';
    close(saved);
    close(fd);
}

/* The captured text is one line of one JSON object. */
static json_t *only_line(void)
{
    size_t len = strlen(captured);
    json_t *doc;

    assert_true(len > 0);
    assert_ptr_equal(strchr(captured, '\n'), captured + len - 1);
    doc = json_loadb(captured, len, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(doc);
    return doc;
}

static const char *text_of(const json_t *doc, const char *key)
{
    return json_string_value(json_object_get(doc, key));
}

static void write_one(void)
{
    FAAS_LOG(INFO, "user registered", FAAS_LSTR("request", "r-1"), FAAS_LINT("took_ms", -12));
}

static void a_line_has_time_level_service_and_typed_fields(void **state)
{
    json_t *doc;

    (void)state;
    faas_log_setup("auth", "ab12", FAAS_LOG_INFO);
    capture(write_one);
    doc = only_line();
    assert_int_equal(strlen(text_of(doc, "time")), strlen("2026-01-02T03:04:05.678Z"));
    assert_string_equal(text_of(doc, "level"), "info");
    assert_string_equal(text_of(doc, "service"), "auth");
    assert_string_equal(text_of(doc, "instance"), "ab12");
    assert_string_equal(text_of(doc, "msg"), "user registered");
    assert_string_equal(text_of(doc, "request"), "r-1");
    assert_int_equal(json_integer_value(json_object_get(doc, "took_ms")), -12);
    json_decref(doc);
}

static void write_quiet(void)
{
    FAAS_LOG(DEBUG, "details");
    FAAS_LOG(INFO, "news");
    FAAS_LOG(WARN, "trouble");
}

static void levels_below_the_least_are_not_written(void **state)
{
    json_t *doc;

    (void)state;
    faas_log_setup("auth", "ab12", FAAS_LOG_WARN);
    capture(write_quiet);
    doc = only_line();
    assert_string_equal(text_of(doc, "msg"), "trouble");
    json_decref(doc);
}

#define HOSTILE                                                                                    \
    "x\",\"level\":\"error\"}\n{\"a\\\x1b[2J\xe2\x80\xae|\xc2\x9b|\xff\xc0\x80|\xe2\x82\xac"

static void write_hostile(void)
{
    FAAS_LOG(INFO, "refused", FAAS_LSTR("name", HOSTILE), FAAS_LSTR("none", NULL));
}

static void user_text_cannot_break_or_forge_a_line(void **state)
{
    json_t *doc;

    (void)state;
    faas_log_setup("auth", "ab12", FAAS_LOG_INFO);
    capture(write_hostile);
    doc = only_line();
    assert_string_equal(text_of(doc, "level"), "info");
    assert_string_equal(text_of(doc, "name"),
                        "x\",\"level\":\"error\"}\n{\"a\\\x1b[2J\xe2\x80\xae|\xc2\x9b|"
                        "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd|\xe2\x82\xac");
    assert_true(json_is_null(json_object_get(doc, "none")));
    for (const char *c = captured; c[1] != '\0'; c++)
        assert_true((unsigned char)*c >= ' ');
    assert_contains(captured, "\\u202e");
    assert_contains(captured, "\\u009b");
    json_decref(doc);
    test_promise(41, "1 line for 1 event, whatever its text");
}

static char big[4096];

static void write_big(void)
{
    FAAS_LOG(INFO, "long", FAAS_LSTR("text", big));
}

static void long_values_are_cut_between_characters(void **state)
{
    json_t *doc;

    (void)state;
    faas_log_setup("auth", "ab12", FAAS_LOG_INFO);
    big[0] = 'x';
    for (size_t at = 1; at + 3 < sizeof big; at += 3)
        memcpy(big + at, "\xe2\x82\xac", 3);
    capture(write_big);
    doc = only_line();
    assert_int_equal(strlen(text_of(doc, "text")), 1 + 341 * 3 + strlen("..."));
    assert_contains(text_of(doc, "text"), "\xe2\x82\xac...");
    json_decref(doc);
}

static void write_huge(void)
{
    FAAS_LOG(ERROR, "huge", FAAS_LSTR("a", big), FAAS_LSTR("b", big), FAAS_LSTR("c", big),
             FAAS_LINT("d", 1));
}

static void fields_that_do_not_fit_are_left_out_and_said_to_be(void **state)
{
    json_t *doc;

    (void)state;
    faas_log_setup("auth", "ab12", FAAS_LOG_INFO);
    memset(big, 1, sizeof big - 1); /* six bytes each once escaped */
    capture(write_huge);
    doc = only_line();
    assert_non_null(text_of(doc, "b"));
    assert_null(json_object_get(doc, "c"));
    assert_null(json_object_get(doc, "d"));
    assert_true(json_is_true(json_object_get(doc, "cut")));
    json_decref(doc);
}

static void *write_many(void *arg)
{
    for (int i = 0; i < LINES_PER_THREAD; i++)
        FAAS_LOG(INFO, "tick", FAAS_LSTR("thread", arg), FAAS_LINT("i", i));
    return NULL;
}

static void write_in_parallel(void)
{
    char a[] = "a", b[] = "b";
    pthread_t threads[2];

    assert_int_equal(pthread_create(&threads[0], NULL, write_many, a), 0);
    assert_int_equal(pthread_create(&threads[1], NULL, write_many, b), 0);
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
}

static void lines_of_threads_do_not_mix(void **state)
{
    int lines = 0;
    char *rest = captured;

    (void)state;
    faas_log_setup("auth", "ab12", FAAS_LOG_INFO);
    capture(write_in_parallel);
    for (char *end = strchr(rest, '\n'); end != NULL; rest = end + 1, end = strchr(rest, '\n')) {
        json_t *doc = json_loadb(rest, (size_t)(end - rest), 0, NULL);

        assert_non_null(doc);
        json_decref(doc);
        lines++;
    }
    assert_int_equal(lines, 2 * LINES_PER_THREAD);
}

static void levels_are_read_by_name(void **state)
{
    enum faas_log_level level = FAAS_LOG_ERROR;
    faas_err err = {0};

    (void)state;
    assert_ok(faas_log_level_parse("debug", &level, &err));
    assert_int_equal(level, FAAS_LOG_DEBUG);
    assert_ok(faas_log_level_parse("warn", &level, &err));
    assert_int_equal(level, FAAS_LOG_WARN);
    assert_int_equal(faas_log_level_parse("loud", &level, &err), FAAS_INVALID);
    assert_string_equal(err.msg, "log level: debug, info, warn or error, got \"loud\"");
    assert_int_equal(level, FAAS_LOG_WARN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_has_time_level_service_and_typed_fields),
        cmocka_unit_test(levels_below_the_least_are_not_written),
        cmocka_unit_test(user_text_cannot_break_or_forge_a_line),
        cmocka_unit_test(long_values_are_cut_between_characters),
        cmocka_unit_test(fields_that_do_not_fit_are_left_out_and_said_to_be),
        cmocka_unit_test(lines_of_threads_do_not_mix),
        cmocka_unit_test(levels_are_read_by_name),
    };

    return run_unit(tests);
}
