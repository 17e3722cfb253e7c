/* What a real gateway makes of methods, of kept connections, and of many clients that take their
 * time. */
#include "tests/support/gate.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/unit/unit.h"

#define SLOW    1000
#define WAITING 200
#define FAST    50
#define FAST_MS 500 /* for one fast request, on a busy machine */

static struct gate gate;
static struct reply reply;
static int clients[SLOW];

static int open_calls(void **state)
{
    const struct rlimit files = {4096, 4096};

    (void)state;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
    gate_open(&gate, NULL);
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

/* ---- kept connections ---- */

static void put(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* One answer with its declared body; false when the server has closed. */
static bool get(int fd, char *out_head, size_t room)
{
    size_t used = 0, body;
    char byte, *length;

    while (used + 1 < room && recv(fd, &byte, 1, 0) == 1) {
        out_head[used++] = byte;
        out_head[used] = '\0';
        if (used >= 4 && strcmp(out_head + used - 4, "\r\n\r\n") == 0) {
            length = strcasestr(out_head, "\r\nContent-Length: ");
            assert_non_null(length);
            body = strtoul(length + 18, NULL, 10);
            while (body > 0 && recv(fd, &byte, 1, 0) == 1)
                body--;
            return body == 0;
        }
    }
    return false;
}

static void http_10_keeps_a_connection_only_when_asked(void **state)
{
    int fd = gate_connect(&gate);
    char head[2048];

    (void)state;
    for (int i = 0; i < 3; i++) {
        put(fd, "GET /auth/validate HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        assert_true(get(fd, head, sizeof head));
        assert_non_null(strcasestr(head, "\r\nConnection: Keep-Alive\r\n"));
    }
    put(fd, "GET /auth/validate HTTP/1.0\r\n\r\n");
    assert_true(get(fd, head, sizeof head));
    assert_false(get(fd, head, sizeof head));
    close(fd);
}

static void http_11_keeps_it_unless_told_and_answers_in_order(void **state)
{
    int fd = gate_connect(&gate);
    char head[2048];

    (void)state;
    put(fd, "GET /auth/validate HTTP/1.1\r\nHost: a\r\n\r\n"
            "GET /no/such/path HTTP/1.1\r\nHost: a\r\n\r\n"
            "GET /auth/validate HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    for (int i = 0; i < 3; i++) {
        assert_true(get(fd, head, sizeof head));
        assert_int_equal(strtol(head + 9, NULL, 10), i == 1 ? 404 : 401);
    }
    assert_false(get(fd, head, sizeof head));
    close(fd);
}

/* ---- many ---- */

static void connect_all(int count, const char *text)
{
    for (int i = 0; i < count; i++) {
        clients[i] = gate_connect(&gate);
        assert_true(clients[i] >= 0);
        put(clients[i], text);
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

static void assert_fast(void)
{
    for (int i = 0; i < FAST; i++) {
        uint64_t began_ns = faas_now_ns();

        reply_done(&reply);
        gate_ask(&gate, "GET", "/auth/validate", NULL, NULL, &reply);
        assert_int_equal(reply.status, 200);
        assert_true(faas_now_ns() - began_ns < FAST_MS * FAAS_MS_NS);
    }
}

static void slow_clients_do_not_delay_a_fast_one(void **state)
{
    int before = threads_of(gate.gateway);

    (void)state;
    connect_all(SLOW, "POST /function/f HTTP/1.1\r\nHost: a\r\nX-Slow: ");
    assert_fast();
    assert_int_equal(threads_of(gate.gateway), before);
    close_all(SLOW);
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
    assert_fast();
    close_all(WAITING);
}

#define test(f) cmocka_unit_test_teardown(f, calm)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(options_tells_what_a_path_takes),
        test(head_is_get_without_the_body),
        test(http_10_keeps_a_connection_only_when_asked),
        test(http_11_keeps_it_unless_told_and_answers_in_order),
        test(slow_clients_do_not_delay_a_fast_one),
        test(calls_that_wait_hold_no_thread),
    };

    return cmocka_run_group_tests(tests, open_calls, close_gate);
}
