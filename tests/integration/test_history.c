/* Notes of calls on their way from a real publisher to the stream of a real nats-server: what is
 * noted, and what survives the publisher, the stream and the disk. */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/clock.h"
#include "contract.h"
#include "net/kv.h"
#include "tests/support/steps.h"
#include "tests/unit/unit.h"

#define WAIT_MS 15000

static faas_kv *stream;

/* All notes in the stream, read again each time. */
static json_t *notes(void)
{
    json_t *found = json_array();
    struct faas_kv_change change;
    faas_err err = {0};

    for (uint64_t from = 1;
         faas_kv_next(stream, from, faas_deadline_in_ms(2000), &change, &err) == FAAS_OK;) {
        const char *line = change.entry.value, *end;

        for (; line != NULL && *line != '\0'; line = end + 1) {
            end = strchr(line, '\n');
            assert_non_null(end);
            assert_int_equal(
                json_array_append_new(found, faas_json_load(line, (size_t)(end - line), 0)), 0);
        }
        from = change.entry.revision + 1;
        faas_kv_entry_done(&change.entry);
    }
    return found;
}

struct search {
    const char *id, *status;
    json_t *note; /* the first of that call with that status; owned */
};

static bool is_noted(void *arg)
{
    struct search *search = arg;
    FAAS_AUTO(json_t) *all = notes();
    const json_t *note;
    size_t i;

    json_array_foreach (all, i, note)
        if (strcmp(json_string_value(json_object_get(note, "id")), search->id) == 0 &&
            strcmp(json_string_value(json_object_get(note, "status")), search->status) == 0) {
            search->note = faas_json_copy(note);
            return true;
        }
    return false;
}

static json_t *wait_noted(const char *id, const char *status)
{
    struct search search = {id, status, NULL};

    wait_until(is_noted, &search, WAIT_MS, status);
    return search.note;
}

static void is_noted_as(const char *id, const char *status)
{
    json_decref(wait_noted(id, status));
}

static void js(const char *subject, const char *body)
{
    struct faas_ctx ctx = {.deadline_ns = faas_deadline_in_ms(10000)};
    const struct faas_rpc_request req = {
        .subject = subject, .ctx = &ctx, .data = body, .len = strlen(body), .retry = FAAS_RPC_SAFE};
    faas_msg *msg = NULL;
    faas_err err = {0};

    assert_ok(faas_rpc_wait(stage.gateway.rpc, &req, &msg, &err));
    if (memmem(faas_msg_data(msg), faas_msg_len(msg), "\"error\"", 7) != NULL)
        fail_msg("%s: %.*s", subject, (int)faas_msg_len(msg), (const char *)faas_msg_data(msg));
    faas_msg_free(msg);
}

#define STREAM "KV_" FAAS_BUCKET_RECORDS

static int open_stage(void **state)
{
    faas_err err = {0};

    (void)state;
    open_with(1, NULL);
    assert_ok(faas_kv_open_log(stage.gateway.rpc, FAAS_BUCKET_RECORDS, &stream, &err));
    stage_function(&stage, "patient", 1, "\"max_wait_ms\":20000,");
    return 0;
}

static int close_all(void **state)
{
    faas_kv_close(stream);
    return close_stage(state);
}

static const char *text_in(const json_t *doc, const char *key)
{
    const char *text = json_string_value(json_object_get(doc, key));

    return text != NULL ? text : "(none)";
}

/* ---- what is noted ---- */

static void a_quick_call_has_one_note(void **state)
{
    char id[FAAS_UUID_TEXT];
    FAAS_AUTO(json_t) *note = NULL;
    FAAS_AUTO(json_t) *all = NULL;
    const json_t *other;
    size_t i, count = 0;

    (void)state;
    stage_join(&stage, 0);
    call_now("plain", id);
    note = wait_noted(id, "succeeded");
    assert_string_equal(text_in(note, "tenant"), STAGE_TENANT);
    assert_string_equal(text_in(note, "user"), STAGE_USER);
    assert_string_equal(text_in(note, "function"), "plain");
    assert_string_equal(text_in(note, "publisher"), "p1");
    assert_string_equal(text_in(note, "spawner"), "sa");
    assert_string_equal(text_in(note, "code"), "ok");
    assert_int_equal(json_integer_value(json_object_get(note, "argument_bytes")), 1);
    assert_int_equal(json_integer_value(json_object_get(note, "attempt")), 1);
    assert_true(json_integer_value(json_object_get(note, "queued_at")) <=
                json_integer_value(json_object_get(note, "ended_at")));
    all = notes();
    json_array_foreach (all, i, other)
        count += strcmp(text_in(other, "id"), id) == 0;
    assert_int_equal(count, 1);
}

static void a_long_call_is_noted_while_it_waits_and_runs(void **state)
{
    char id[FAAS_UUID_TEXT];
    FAAS_AUTO(json_t) *running = NULL;

    (void)state;
    stage_join(&stage, 0);
    stage_mood(&stage, 0, ACTOR_ACCEPTS, NULL);
    stage_free(&stage, 0, 0);
    call_now("patient", id);
    is_noted_as(id, "queued");
    stage_free(&stage, 0, 8);
    running = wait_noted(id, "running");
    assert_string_equal(text_in(running, "spawner_epoch"), stage.spawners[0].epoch);
    assert_true(json_integer_value(json_object_get(running, "until")) > faas_wall_ms());
    stage_end(&stage, 0, 0, "function_failed");
    is_noted_as(id, "failed");
}

static void refusals_and_losses_are_noted(void **state)
{
    char id[FAAS_UUID_TEXT];
    FAAS_AUTO(json_t) *note = NULL;

    (void)state;
    stage_join(&stage, 0);
    stage_mood(&stage, 0, ACTOR_ACCEPTS, NULL);
    stage_free(&stage, 0, 0);
    call_now("plain", id);
    note = wait_noted(id, "refused");
    assert_string_equal(text_in(note, "code"), "busy");
    stage_free(&stage, 0, 8);
    call_now("plain", id);
    is_noted_as(id, "running");
    stage_crash(&stage, 0);
    is_noted_as(id, "lost");
}

/* Told to any publisher, since the call's own is gone. */
static void the_end_of_a_strangers_call_is_noted(void **state)
{
    static const char id[] = "0190a000-0000-7000-8000-0000000000aa";
    const struct faas_header headers[] = {{FAAS_H_ID, id}, {NULL, NULL}};
    static const char event[] =
        "{\"v\":1,\"event\":\"end\",\"place\":257,\"spawner\":\"sx\",\"epoch\":\"e\",\"code\":"
        "\"function_failed\",\"exit_code\":9,\"tenant\":\"" STAGE_TENANT "\",\"function\":\"\","
        "\"stderr\":\"eA==\",\"stderr_kept\":1,\"stderr_bytes\":1}";
    struct faas_ctx ctx = {.deadline_ns = faas_deadline_in_ms(5000)};
    const struct faas_rpc_request req = {.subject = FAAS_SUBJ_PUBLISHER_END,
                                         .ctx = &ctx,
                                         .headers = headers,
                                         .data = event,
                                         .len = sizeof event - 1};
    FAAS_AUTO(json_t) *note = NULL;
    faas_msg *msg = NULL;
    faas_err err = {0};

    (void)state;
    assert_ok(faas_rpc_wait(stage.gateway.rpc, &req, &msg, &err));
    faas_msg_free(msg);
    note = wait_noted(id, "failed");
    assert_int_equal(json_integer_value(json_object_get(note, "exit_code")), 9);
    assert_string_equal(text_in(note, "log"), "eA==");
    assert_string_equal(text_in(note, "function"), "(none)");
}

/* ---- what survives ---- */

static bool holds(const char *path, const char *text)
{
    static char bytes[1 << 20];
    int fd = open(path, O_RDONLY);
    ssize_t len = fd >= 0 ? read(fd, bytes, sizeof bytes) : 0;

    if (fd >= 0)
        close(fd);
    return len > 0 && memmem(bytes, (size_t)len, text, strlen(text)) != NULL;
}

/* Some file of the spool names that call. */
static bool is_spooled(void *arg)
{
    char path[512];
    DIR *list;
    const struct dirent *entry;
    bool is_found = false;

    (void)snprintf(path, sizeof path, "%s/publisher", stage.dir);
    list = opendir(path);
    assert_non_null(list);
    while (!is_found && (entry = readdir(list)) != NULL) {
        (void)snprintf(path, sizeof path, "%s/publisher/%s", stage.dir, entry->d_name);
        is_found = holds(path, arg);
    }
    closedir(list);
    return is_found;
}

/* The stream takes nothing: calls are as quick as ever.  Then the publisher is killed, and what it
 * had noted comes from its spool. */
static void what_was_noted_outlives_the_publisher(void **state)
{
    char ids[20][FAAS_UUID_TEXT];

    (void)state;
    js("$JS.API.STREAM.DELETE." STREAM, "");
    js("$JS.API.STREAM.CREATE." STREAM,
       "{\"name\":\"" STREAM "\",\"subjects\":[\"$KV." FAAS_BUCKET_RECORDS ".>\"],"
       "\"storage\":\"file\",\"max_msg_size\":10}");
    stage_join(&stage, 0);
    for (int i = 0; i < 20; i++) {
        call_now("plain", ids[i]);
        wait_state(ids[i], "done");
    }
    wait_until(is_spooled, ids[19], 5000, "the last note is in a file");
    stage_signal(&stage, SIGKILL);
    assert_int_equal(stage_wait_exit(&stage, 5000), -1);
    js("$JS.API.STREAM.DELETE." STREAM, "");
    stage_launch(&stage, NULL);
    for (int i = 0; i < 20; i++)
        is_noted_as(ids[i], "succeeded");
}

static void a_stream_that_vanished_is_made_again(void **state)
{
    char id[FAAS_UUID_TEXT];

    (void)state;
    stage_join(&stage, 0);
    call_now("plain", id);
    is_noted_as(id, "succeeded");
    js("$JS.API.STREAM.DELETE." STREAM, "");
    call_now("plain", id);
    wait_state(id, "done");
    is_noted_as(id, "succeeded");
}

static void fill(const char *path)
{
    static const char block[65536];
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_true(fd >= 0);
    for (size_t len = sizeof block; len > 0;)
        if (write(fd, block, len) <= 0)
            len /= 2;
    close(fd);
}

/* Records go to the stream straight from memory while the disk is full, and through their files
 * again afterwards. */
static void a_full_disk_neither_stops_calls_nor_their_records(void **state)
{
    char dir[] = "/tmp/faas-full-XXXXXX", filler[64], setting[64], id[FAAS_UUID_TEXT];
    const char *const settings[] = {setting, NULL};

    (void)state;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(mount("tmpfs", dir, "tmpfs", 0, "size=256k"), 0);
    stage_signal(&stage, SIGTERM);
    assert_int_equal(stage_wait_exit(&stage, 10000), 0);
    snprintf(setting, sizeof setting, "DATA_DIR=%s", dir);
    stage_launch(&stage, settings);
    stage_join(&stage, 0);
    snprintf(filler, sizeof filler, "%s/filler", dir);
    fill(filler);
    for (int i = 0; i < 5; i++) {
        call_now("plain", id);
        wait_state(id, "done");
        is_noted_as(id, "succeeded");
    }
    assert_int_equal(unlink(filler), 0);
    for (int i = 0; i < 5; i++) {
        call_now("plain", id);
        is_noted_as(id, "succeeded");
    }
    stage_signal(&stage, SIGTERM);
    assert_int_equal(stage_wait_exit(&stage, 10000), 0);
    assert_int_equal(umount2(dir, MNT_DETACH), 0);
    assert_int_equal(rmdir(dir), 0);
    stage_launch(&stage, NULL);
}

#define TEST(f) cmocka_unit_test_teardown(f, clear)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_quick_call_has_one_note),
        TEST(a_long_call_is_noted_while_it_waits_and_runs),
        TEST(refusals_and_losses_are_noted),
        TEST(the_end_of_a_strangers_call_is_noted),
        TEST(what_was_noted_outlives_the_publisher),
        TEST(a_stream_that_vanished_is_made_again),
        TEST(a_full_disk_neither_stops_calls_nor_their_records),
    };

    return cmocka_run_group_tests(tests, open_stage, close_all);
}
