/* What a real gateway makes of methods, of kept connections, and of many clients that take their
 * time. */
#include "tests/support/gate.h"

#include <dirent.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/unit.h"

#define SLOW    1000
#define WAITING 200
#define FAST    50

static struct gate gate;
static struct reply reply;
static int clients[SLOW];

static int open_calls(void **state)
{
    static const char *const patient[] = {"GATEWAY_IDLE_S=3600", "GATEWAY_READ_MS=600000", NULL};
    const struct rlimit files = {4096, 4096};

    (void)state;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
    gate_open(&gate, patient);
    gate_join(&gate, 0, false);
    gate_join(&gate, 1, false);
    return 0;
}

static int close_gate(void **state)
{
    (void)state;
    gate_close(&gate);
    return 0;
}

static int calm(void **state)
{
    (void)state;
    reply_done(&reply);
    gate_calm(&gate);
    return 0;
}

/* ---- methods ---- */

static void options_tells_what_a_path_takes(void **state)
{
    (void)state;
    gate_ask(&gate, "OPTIONS", "/v1/functions", NULL, NULL, &reply);
    assert_int_equal(reply.status, 204);
    assert_string_equal(reply_field(&reply, "Allow"), "GET, HEAD, POST, OPTIONS");
    assert_int_equal(reply.len, 0);
    reply_done(&reply);
    gate_ask(&gate, "OPTIONS", "/no/such/path", NULL, NULL, &reply);
    assert_int_equal(reply.status, 404);
}

static void options_of_no_path_tells_what_the_server_takes(void **state)
{
    static const char request[] = "OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    int fd = gate_connect(&gate);

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), (ssize_t)strlen(request));
    gate_read(fd, &reply);
    assert_int_equal(reply.status, 204);
    assert_string_equal(reply_field(&reply, "Allow"),
                        "POST, GET, HEAD, PUT, DELETE, PATCH, OPTIONS");
}

static void head_is_get_without_the_body(void **state)
{
    char length[32];

    (void)state;
    gate_ask(&gate, "GET", "/auth/validate", NULL, NULL, &reply);
    assert_int_equal(reply.status, 200);
    (void)snprintf(length, sizeof length, "%s", reply_field(&reply, "Content-Length"));
    assert_int_equal(strtol(length, NULL, 10), (long)reply.len);
    reply_done(&reply);
    gate_ask(&gate, "HEAD", "/auth/validate", NULL, NULL, &reply);
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply_field(&reply, "Content-Length"), length);
    assert_int_equal(reply.len, 0);
}

static void a_get_may_have_a_body(void **state)
{
    (void)state;
    gate_serve_registry(&gate);
    gate_ask(&gate, "GET", "/registry/retrieve", NULL, "{\"name\":\"x\"}", &reply);
    assert_int_equal(reply.status, 200);
    assert_contains(reply.body, "{\"name\":\"x\"}");
    reply_done(&reply);
    gate_ask(&gate, "GET", "/auth/validate", NULL, "ignored", &reply);
    assert_int_equal(reply.status, 200);
}

static void a_method_that_is_not_taken_names_those_that_are(void **state)
{
    (void)state;
    gate_ask(&gate, "PUT", "/auth/login", NULL, "{}", &reply);
    assert_int_equal(reply.status, 405);
    assert_string_equal(reply_field(&reply, "Allow"), "POST");
    assert_contains(reply.body, "\"code\":\"method_not_allowed\"");
    reply_done(&reply);
    gate_ask(&gate, "TRACE", "/v1/functions/x", NULL, NULL, &reply);
    assert_int_equal(reply.status, 405);
    assert_contains(reply_field(&reply, "Allow"), "GET");
}

/* ---- kept connections ---- */

static void http_10_keeps_a_connection_only_when_asked(void **state)
{
    int fd = gate_connect(&gate);
    char head[2048];

    (void)state;
    for (int i = 0; i < 3; i++) {
        gate_put(fd, "GET /auth/validate HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        assert_true(gate_take(fd, head, sizeof head));
        assert_non_null(strcasestr(head, "\r\nConnection: Keep-Alive\r\n"));
    }
    gate_put(fd, "GET /auth/validate HTTP/1.0\r\n\r\n");
    assert_true(gate_take(fd, head, sizeof head));
    assert_false(gate_take(fd, head, sizeof head));
    close(fd);
}

static void http_11_keeps_it_unless_told_and_answers_in_order(void **state)
{
    int fd = gate_connect(&gate);
    char head[2048];

    (void)state;
    gate_put(fd, "GET /auth/validate HTTP/1.1\r\nHost: a\r\n\r\n"
                 "GET /no/such/path HTTP/1.1\r\nHost: a\r\n\r\n"
                 "GET /auth/validate HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    for (int i = 0; i < 3; i++) {
        assert_true(gate_take(fd, head, sizeof head));
        assert_int_equal(strtol(head + 9, NULL, 10), i == 1 ? 404 : 401);
    }
    assert_false(gate_take(fd, head, sizeof head));
    close(fd);
}

/* ---- the log ---- */

struct wanted {
    const char *request; /* id */
    json_t *line;        /* out */
};

/* The access-log line of a request; every line of the log is one JSON object. */
static bool find_line(void *arg)
{
    struct wanted *wanted = arg;
    char path[96], *text = NULL;
    size_t room = 0;
    const char *id;
    json_t *line;
    FILE *in;

    (void)snprintf(path, sizeof path, "%s/gateway.log", gate.dir);
    in = fopen(path, "r");
    assert_non_null(in);
    while (wanted->line == NULL && getline(&text, &room, in) > 0) {
        line = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
        assert_true(json_is_object(line));
        id = json_string_value(json_object_get(line, "request"));
        if (id != NULL && strcmp(id, wanted->request) == 0)
            wanted->line = line;
        else
            json_decref(line);
    }
    free(text);
    fclose(in);
    return wanted->line != NULL;
}

static json_t *line_of_reply(void)
{
    struct wanted wanted = {.request = reply_field(&reply, "X-Call-Id")};

    wait_until(find_line, &wanted, 10000, "the request is in the log");
    return wanted.line;
}

static void assert_text(const json_t *line, const char *key, const char *value)
{
    assert_string_equal(json_string_value(json_object_get(line, key)), value);
}

static int64_t number(const json_t *line, const char *key)
{
    assert_true(json_is_integer(json_object_get(line, key)));
    return json_integer_value(json_object_get(line, key));
}

static void a_call_is_one_line_with_its_times(void **state)
{
    FAAS_AUTO(json_t) *line = NULL;
    char name[16], path[32];

    (void)state;
    gate_name(0, name);
    (void)snprintf(path, sizeof path, "/function/%s", name);
    gate_ask(&gate, "POST", path, NULL, "argument", &reply);
    assert_int_equal(reply.status, 200);
    line = line_of_reply();
    assert_text(line, "msg", "request");
    assert_text(line, "method", "POST");
    assert_text(line, "path", path);
    assert_text(line, "code", "ok");
    assert_text(line, "user", GATE_USER);
    assert_int_equal(number(line, "status"), 200);
    assert_int_equal(number(line, "bytes_in"), 8);
    assert_int_equal(number(line, "bytes_out"), (int64_t)reply.len);
    assert_int_equal(number(line, "place_us"), 500);
    assert_int_equal(number(line, "start_us"), 12250);
    assert_int_equal(number(line, "run_us"), 7500);
    assert_true(number(line, "total_us") > 0);
}

static void user_text_does_not_break_the_log(void **state)
{
    static const char *const paths[] = {
        "/\"",
        "/\\\"msg\\\":\\\"forged\\\"",
        "/\"},{\"forged\":1}",
        "/%0a{%22forged%22:1}%0d%00%1b[31m%e2%80%ae",
    };

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(paths); i++) {
        FAAS_AUTO(json_t) *line = NULL;

        gate_ask(&gate, "GET", paths[i], "X-Call-Id: \"\\\xc3\xbc\r\n", NULL, &reply);
        assert_true(reply.status == 404 || reply.status == 400);
        line = line_of_reply();
        assert_text(line, "path", paths[i]);
        assert_text(line, "msg", "request");
        assert_null(json_object_get(line, "forged"));
        reply_done(&reply);
    }
}

static void long_paths_are_cut_in_the_log(void **state)
{
    FAAS_AUTO(json_t) *line = NULL;
    char path[4096];

    (void)state;
    memset(path, 'p', sizeof path);
    path[0] = '/';
    path[sizeof path - 1] = '\0';
    gate_ask(&gate, "GET", path, NULL, NULL, &reply);
    assert_int_equal(reply.status, 404);
    line = line_of_reply();
    assert_in_range(strlen(json_string_value(json_object_get(line, "path"))), 1, 255);
}

/* ---- many ---- */

static void connect_all(int count, const char *text)
{
    for (int i = 0; i < count; i++) {
        clients[i] = gate_connect(&gate);
        assert_true(clients[i] >= 0);
        gate_put(clients[i], text);
    }
}

static void close_all(int count)
{
    for (int i = 0; i < count; i++)
        close(clients[i]);
}

static int threads_of(pid_t pid)
{
    char path[64];
    DIR *dir;
    int count = 0;

    (void)snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    dir = opendir(path);
    assert_non_null(dir);
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;)
        count += entry->d_name[0] != '.';
    closedir(dir);
    return count;
}

/* Answers come while all the others still wait: none of them had to end for it. */
static void assert_not_behind(int count)
{
    struct pollfd at = {.events = POLLIN | POLLRDHUP};

    for (int i = 0; i < FAST; i++) {
        reply_done(&reply);
        gate_ask(&gate, "GET", "/auth/validate", NULL, NULL, &reply);
        assert_int_equal(reply.status, 200);
    }
    for (int i = 0; i < count; i++) {
        at.fd = clients[i];
        assert_int_equal(poll(&at, 1, 0), 0);
    }
}

static void slow_clients_do_not_delay_a_fast_one(void **state)
{
    int before = threads_of(gate.gateway);

    (void)state;
    connect_all(SLOW, "POST /function/f HTTP/1.1\r\nHost: a\r\nX-Slow: ");
    assert_not_behind(SLOW);
    assert_int_equal(threads_of(gate.gateway), before);
    close_all(SLOW);
    test_promise(9, "%d of %d fast requests answered before %d slow ones; 0 threads more", FAST,
                 FAST, SLOW);
}

static bool all_have_come(void *arg)
{
    struct gate *g = arg;

    return g->publishers[0].calls >= WAITING;
}

static void calls_that_wait_hold_no_thread(void **state)
{
    FAAS_AUTO(char) *token = gate_token(&gate, 0, 3600);
    FAAS_AUTO(char) *text = NULL;
    int before = threads_of(gate.gateway);
    char name[16];

    (void)state;
    gate.publishers[0].mood = MOOD_ACCEPTS;
    gate_name(0, name);
    assert_true(asprintf(&text,
                         "POST /function/%s HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %s\r\n"
                         "Content-Length: 1\r\n\r\nx",
                         name, token) > 0);
    connect_all(WAITING, text);
    wait_until(all_have_come, &gate, 10000, "the publisher has all calls");
    assert_int_equal(threads_of(gate.gateway), before);
    assert_not_behind(WAITING);
    close_all(WAITING);
    test_promise(9, "%d of %d fast requests answered before %d waiting calls; 0 threads more", FAST,
                 FAST, WAITING);
}

#define test(f) cmocka_unit_test_teardown(f, calm)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(options_tells_what_a_path_takes),
        test(options_of_no_path_tells_what_the_server_takes),
        test(head_is_get_without_the_body),
        test(http_10_keeps_a_connection_only_when_asked),
        test(http_11_keeps_it_unless_told_and_answers_in_order),
        test(a_get_may_have_a_body),
        test(a_method_that_is_not_taken_names_those_that_are),
        test(a_call_is_one_line_with_its_times),
        test(user_text_does_not_break_the_log),
        test(long_paths_are_cut_in_the_log),
        test(slow_clients_do_not_delay_a_fast_one),
        test(calls_that_wait_hold_no_thread),
    };

    return cmocka_run_group_tests(tests, open_calls, close_gate);
}
