/* Outputs handed on by a real gateway, of a spawner that was never told of streams (its first window is 16
 * frames, and nothing of it is eager): tests/support/gate.h. */
#include "tests/support/gate.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/unit/unit.h"

#define MIB  (1024 * 1024)
#define LONG (20 * MIB + 17)

static struct gate gate;

static int open_gate(void **state)
{
    static const char *const settings[] = {"GATEWAY_STALL_S=1", NULL};

    (void)state;
    gate_open(&gate, settings);
    gate_join(&gate, 0, false);
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
    gate_calm(&gate);
    return 0;
}

/* A call by HTTP/1.0: the body is what comes until the connection ends. */
static int call(void)
{
    FAAS_AUTO(char) *token = gate_token(&gate, 0, 60);
    FAAS_AUTO(char) *text = NULL;
    char name[16];
    int fd = gate_connect(&gate);

    gate_name(0, name);
    assert_true(asprintf(&text,
                         "POST /function/%s HTTP/1.0\r\nAuthorization: Bearer %s\r\n"
                         "X-Stream: true\r\nContent-Length: 1\r\n\r\nx",
                         name, token) > 0);
    gate_put(fd, text);
    return fd;
}

struct body {
    size_t len;
    bool is_reset, is_right;
};

/* Each byte is looked at as it comes: it is the result's at that place. */
static struct body take(int fd)
{
    static uint8_t buffer[65536];
    struct body body = {.is_right = true};
    char head[2048] = "";
    size_t head_len = 0;
    ssize_t n;

    while (strstr(head, "\r\n\r\n") == NULL) {
        assert_true(head_len + 1 < sizeof head);
        assert_int_equal(recv(fd, head + head_len, 1, 0), 1);
        head[++head_len] = '\0';
    }
    assert_non_null(strstr(head, " 200 "));
    assert_null(strcasestr(head, "Transfer-Encoding"));
    while ((n = recv(fd, buffer, sizeof buffer, 0)) > 0) {
        for (ssize_t i = 0; i < n; i++, body.len++)
            body.is_right &= buffer[i] == 'a' + (body.len ^ body.len >> 8) % 26;
    }
    body.is_reset = n < 0 && errno == ECONNRESET;
    close(fd);
    return body;
}

static void a_long_output_of_an_older_spawner_arrives_whole(void **state)
{
    struct body body;

    (void)state;
    gate.publishers[0].result_len = LONG;
    body = take(call());
    assert_int_equal(body.len, LONG);
    assert_true(body.is_right && !body.is_reset);
}

static void a_lost_message_is_made_up_for(void **state)
{
    struct body body;

    (void)state;
    gate.publishers[0].result_len = 3 * MIB;
    gate.publishers[0].lose = 3;
    body = take(call());
    assert_int_equal(body.len, 3 * MIB);
    assert_true(body.is_right && !body.is_reset);
}

static void a_failure_behind_the_first_byte_is_a_reset(void **state)
{
    struct body body;

    (void)state;
    gate.publishers[0].code = "function_failed";
    body = take(call());
    assert_true(body.is_reset && body.is_right);
}

static void what_is_damaged_before_any_byte_is_a_problem(void **state)
{
    struct reply reply;

    (void)state;
    gate.publishers[0].result_len = 100000;
    gate.publishers[0].is_tampering = true;
    gate_call(&gate, "X-Stream: true\r\n", &reply);
    reply_assert_problem(&reply, 503, "unavailable");
    reply_done(&reply);
}

static void wait_for_cancels(void)
{
    uint64_t deadline_ns = faas_deadline_in_ms(20000);

    while (gate.publishers[0].cancels == 0 || gate.spawner_cancels == 0) {
        assert_true(faas_now_ns() < deadline_ns);
        (void)poll(NULL, 0, 5);
    }
}

static void a_call_is_not_begun_anew_behind_its_first_bytes(void **state)
{
    struct body body;

    (void)state;
    gate.publishers[0].mood = MOOD_AGAIN;
    gate.publishers[0].result_len = 1000;
    body = take(call());
    assert_true(body.is_reset && body.is_right && body.len <= 1000);
}

static void who_reads_nothing_is_cut_and_the_call_cancelled(void **state)
{
    int fd, small = 4096;

    (void)state;
    gate.spawner_cancels = 0;
    gate.publishers[0].result_len = LONG;
    fd = call();
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
    wait_for_cancels();
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup(name, calm)
        /* First: others' cancels, which are repeated, are not to be taken for its own. */
        T(who_reads_nothing_is_cut_and_the_call_cancelled),
        T(a_long_output_of_an_older_spawner_arrives_whole),
        T(a_lost_message_is_made_up_for),
        T(a_failure_behind_the_first_byte_is_a_reset),
        T(what_is_damaged_before_any_byte_is_a_problem),
        T(a_call_is_not_begun_anew_behind_its_first_bytes),
    };

    return cmocka_run_group_tests(tests, open_gate, close_gate);
}
