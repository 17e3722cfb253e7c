/* What a real gateway makes of tokens, calls and bus requests: a real nats-server, services as the
 * test tells them (tests/support/gate.h). */
#include "tests/support/gate.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/unit/unit.h"

static struct gate gate;
static struct reply reply;

static int open_gate(void **state)
{
    (void)state;
    gate_open(&gate, NULL);
    return 0;
}

static int open_calls(void **state)
{
    (void)state;
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

/* ---- how often ---- */

static int open_limited(void **state)
{
    static const char *const settings[] = {"RATE_USER=2", "RATE_BURST_S=1", NULL};

    (void)state;
    gate_open(&gate, settings);
    return 0;
}

static int open_address_limited(void **state)
{
    static const char *const settings[] = {"RATE_ADDRESS=2", "RATE_BURST_S=1", NULL};

    (void)state;
    gate_open(&gate, settings);
    return 0;
}

/* Asks until it is refused: a limit of two a second cannot let twenty at once pass. */
static void ask_until_busy(const char *path, const char *fields)
{
    for (int i = 0; i < 20; i++) {
        reply_done(&reply);
        gate_ask(&gate, "GET", path, fields, NULL, &reply);
        if (reply.status == 429)
            return;
    }
    fail_msg("20 requests at once have passed");
}

static void a_user_over_the_limit_is_told_when_to_come_back(void **state)
{
    (void)state;
    ask_until_busy("/auth/validate", NULL);
    reply_assert_problem(&reply, 429, "busy");
    assert_contains(reply.body, "more than 2 requests a second from this user; try again in 1 s");
    assert_string_equal(reply_field(&reply, "Retry-After"), "1");
    reply_done(&reply); /* who is not that user is not concerned */
    gate_ask(&gate, "GET", "/auth/validate", "Authorization: Bearer x\r\n", NULL, &reply);
    reply_assert_problem(&reply, 401, "unauthenticated");
}

static void an_address_over_the_limit_is_refused_before_its_token_is_looked_at(void **state)
{
    (void)state;
    ask_until_busy("/auth/validate", "Authorization: Bearer x\r\n");
    reply_assert_problem(&reply, 429, "busy");
    assert_contains(reply.body, "from this address");
    ask_until_busy("/no/such/path", NULL);
    for (int i = 0; i < 10; i++) {
        reply_done(&reply);
        gate_ask(&gate, "GET", "/healthz", NULL, NULL, &reply);
        assert_int_equal(reply.status, 503); /* parts are missing here; never 429 */
    }
}

/* ---- calls ---- */

static void a_result_comes_with_its_headers(void **state)
{
    (void)state;
    gate_call(&gate, NULL, &reply);
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply.body, "abcde");
    assert_string_equal(reply_field(&reply, "Content-Type"), "text/plain; charset=utf-8");
    assert_string_equal(reply_field(&reply, "X-Start"), "cold");
    assert_string_equal(reply_field(&reply, "X-Duration-Ms"), "7.500");
    assert_string_equal(reply_field(&reply, "X-Exit-Code"), "0");
    assert_string_equal(reply_field(&reply, "X-Served-By"), "s1");
    assert_contains(reply_field(&reply, "Server-Timing"),
                    "place;dur=0.500, start;dur=12.250, run;dur=7.500");
    assert_int_equal(gate.publishers[0].calls, 1);
    assert_int_equal(gate.publishers[1].calls, 0);
    assert_int_equal(gate.publishers[0].attempt, 1);
}

static void a_failed_function_is_a_problem_with_its_stderr(void **state)
{
    (void)state;
    gate.publishers[0].code = "function_failed";
    gate.publishers[0].result_len = 0;
    gate_call(&gate, NULL, &reply);
    reply_assert_problem(&reply, 502, "function_failed");
    assert_contains(reply.body, "\"component\":\"function\"");
    assert_contains(reply.body, "\"exit_code\":3");
    assert_contains(reply.body, "\"stderr\":\"went wrong\"");
    assert_string_equal(reply_field(&reply, "X-Exit-Code"), "3");
}

static void a_lost_part_of_a_long_result_is_sent_again(void **state)
{
    (void)state;
    gate.publishers[0].result_len = 3 * 1024 * 1024 + 11; /* spills to a file */
    gate.publishers[0].lose = 3;
    gate_call(&gate, NULL, &reply);
    assert_int_equal(reply.status, 200);
    assert_int_equal(reply.len, gate.publishers[0].result_len);
    for (size_t i = 0; i < reply.len; i++) {
        if (reply.body[i] != (char)('a' + (i ^ i >> 8) % 26))
            fail_msg("byte %zu differs", i);
    }
}

static bool is_cancelled(void *arg)
{
    struct gate *g = arg;

    return g->publishers[0].cancels > 0 && g->spawner_cancels > 0;
}

static void a_damaged_result_is_not_delivered(void **state)
{
    (void)state;
    gate.publishers[0].result_len = 100000;
    gate.publishers[0].is_tampering = true;
    gate_call(&gate, NULL, &reply);
    reply_assert_problem(&reply, 503, "unavailable");
    wait_until(is_cancelled, &gate, 3000, "publisher and spawner are told");
}

static void the_publishers_refusal_is_told(void **state)
{
    (void)state;
    gate.publishers[0].mood = MOOD_FAILS;
    gate_call(&gate, NULL, &reply);
    reply_assert_problem(&reply, 429, "busy");
    assert_string_equal(reply_field(&reply, "Retry-After"), "7");
    assert_contains(reply.body, "\"component\":\"publisher\"");
    assert_null(strstr(reply.body, "retry_after_s"));
}

static bool has_call(void *arg)
{
    return ((const struct puppet *)arg)->calls > 0;
}

static void send_call(int fd)
{
    FAAS_AUTO(char) *token = gate_token(&gate, 0, 3600);
    char name[16], text[2048];
    int len;

    gate_name(0, name);
    len = snprintf(text, sizeof text,
                   "POST /function/%s HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n"
                   "Authorization: Bearer %s\r\n\r\n",
                   name, token);
    assert_int_equal(send(fd, text, (size_t)len, MSG_NOSIGNAL), len);
    wait_until(has_call, &gate.publishers[0], 3000, "the call arrives");
    /* What the publisher sent before came over the same road as this request's reply. */
    gate_ask(&gate, "GET", "/auth/.well-known/jwks.json", NULL, NULL, &reply);
    assert_int_equal(reply.status, 200);
    reply_done(&reply);
}

static void a_client_that_leaves_cancels_its_call(void **state)
{
    int fd = gate_connect(&gate);

    (void)state;
    gate.publishers[0].mood = MOOD_ACCEPTS;
    send_call(fd);
    close(fd);
    wait_until(is_cancelled, &gate, 3000, "publisher and spawner are told");
    assert_int_equal(gate.publishers[0].cancels, 1);
    assert_int_equal(gate.spawner_cancels, 1);
}

static void a_client_that_closed_its_side_can_read_why(void **state)
{
    int fd = gate_connect(&gate);

    (void)state;
    gate.publishers[0].mood = MOOD_ACCEPTS;
    send_call(fd);
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    gate_read(fd, &reply);
    reply_assert_problem(&reply, 499, "client_gone");
}

static void timeouts_and_labels_are_checked(void **state)
{
    (void)state;
    gate_call(&gate, "X-Timeout: soon\r\n", &reply);
    reply_assert_problem(&reply, 400, "invalid_request");
    assert_contains(reply.body, "X-Timeout");
    reply_done(&reply);
    gate_call(&gate, "X-Call-Id: \xc3\xbc\r\n", &reply);
    reply_assert_problem(&reply, 400, "invalid_request");
    assert_contains(reply.body, "X-Call-Id");
    assert_int_equal(gate.publishers[0].calls, 0);
}

/* ---- nobody ---- */

static void no_publisher_is_said_and_nothing_started(void **state)
{
    (void)state;
    gate_call(&gate, NULL, &reply);
    reply_assert_problem(&reply, 503, "unavailable");
    assert_contains(reply.body, "not started");
}

/* ---- tokens ---- */

static void a_new_signing_key_is_fetched_when_a_token_names_it(void **state)
{
    FAAS_AUTO(char) *old = gate_token(&gate, 0, 3600);
    char field[2048];

    (void)state;
    usleep(1100 * 1000); /* keys are fetched at most once a second for tokens */
    atomic_store(&gate.key, 1);
    gate_ask(&gate, "GET", "/auth/validate", NULL, NULL, &reply);
    assert_int_equal(reply.status, 200);
    assert_contains(reply.body, "\"id\":\"" GATE_USER "\"");
    reply_done(&reply);
    (void)snprintf(field, sizeof field, "Authorization: Bearer %s\r\n", old);
    gate_ask(&gate, "GET", "/auth/validate", field, NULL, &reply); /* its key is gone */
    reply_assert_problem(&reply, 401, "unauthenticated");
}

static void unknown_keys_do_not_make_a_storm(void **state)
{
    FAAS_AUTO(char) *foreign = gate_token(&gate, 1 - atomic_load(&gate.key), 3600);
    int before = gate.jwks_calls;
    char field[2048];

    (void)state;
    (void)snprintf(field, sizeof field, "Authorization: Bearer %s\r\n", foreign);
    for (int i = 0; i < 30; i++) {
        gate_ask(&gate, "GET", "/auth/validate", field, NULL, &reply);
        reply_assert_problem(&reply, 401, "unauthenticated");
        assert_contains(reply_field(&reply, "WWW-Authenticate"), "invalid");
        reply_done(&reply);
    }
    assert_in_range(gate.jwks_calls - before, 0, 3);
}

static void an_expired_token_says_so(void **state)
{
    FAAS_AUTO(char) *token = gate_token(&gate, atomic_load(&gate.key), 1);
    char field[2048];

    (void)state;
    (void)snprintf(field, sizeof field, "Authorization: %s\r\n", token);
    for (int i = 0; i < 60; i++) { /* until the second is over; from the cache, too */
        gate_ask(&gate, "GET", "/auth/validate", field, NULL, &reply);
        if (reply.status != 200)
            break;
        reply_done(&reply);
        usleep(50 * 1000);
    }
    reply_assert_problem(&reply, 401, "unauthenticated");
    assert_contains(reply.body, "\"reason\":\"expired\"");
}

/* ---- bus requests ---- */

static void *serve_late(void *arg)
{
    usleep(500 * 1000);
    gate_serve_registry(arg);
    return NULL;
}

static void a_change_waits_for_a_service_that_is_not_there_yet(void **state)
{
    pthread_t thread;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, serve_late, &gate), 0);
    gate_ask(&gate, "POST", "/registry/register", NULL, "{\"name\":\"x\"}", &reply);
    pthread_join(thread, NULL);
    assert_int_equal(reply.status, 201);
    assert_string_equal(reply.body, "{\"got\":{\"name\":\"x\"},\"user\":\"" GATE_USER "\"}");
    assert_int_equal(gate.registry_calls, 1);
}

static void fail_in_registry(faas_code code, int after_s)
{
    char body[64];

    (void)snprintf(body, sizeof body, "{\"fail\":%d,\"after_s\":%d}", (int)code, after_s);
    reply_done(&reply);
    gate_ask(&gate, "POST", "/registry/register", NULL, body, &reply);
}

/* Whoever says so and however little: 429 is said with when to come back, and nothing else is. */
static void assert_capacity_is_said(faas_code code)
{
    bool is_capacity = code == FAAS_BUSY;

    reply_assert_problem(&reply, faas_code_status(code), faas_code_slug(code));
    assert_int_equal(reply.status == 429, is_capacity);
    if (is_capacity)
        assert_true(strtoll(reply_field(&reply, "Retry-After"), NULL, 10) >= 1);
}

static void every_code_of_a_service_has_its_status_and_429_has_retry_after(void **state)
{
    (void)state;
    for (int code = FAAS_OK + 1; code < FAAS_CODE_END; code++) {
        fail_in_registry((faas_code)code, 0);
        assert_capacity_is_said((faas_code)code);
    }
}

static void every_code_of_a_call_has_its_status_and_429_has_retry_after(void **state)
{
    (void)state;
    for (int code = FAAS_OK + 1; code < FAAS_CODE_END; code++) {
        gate.publishers[0].code = faas_code_slug((faas_code)code);
        reply_done(&reply);
        gate_call(&gate, NULL, &reply);
        assert_capacity_is_said((faas_code)code);
    }
}

static void errors_of_services_become_problems(void **state)
{
    (void)state;
    fail_in_registry(FAAS_CONFLICT, 0);
    reply_assert_problem(&reply, 409, "conflict");
    assert_contains(reply.body, "as the test says");
    assert_contains(reply.body, "\"component\":\"registry\"");
}

static void the_seconds_a_service_names_reach_the_client(void **state)
{
    (void)state;
    fail_in_registry(FAAS_BUSY, 9);
    reply_assert_problem(&reply, 429, "busy");
    assert_string_equal(reply_field(&reply, "Retry-After"), "9");
}

static void a_silent_read_is_asked_again_a_change_is_not(void **state)
{
    (void)state;
    atomic_store(&gate.is_registry_silent, true);
    gate_ask(&gate, "GET", "/v1/functions/x", NULL, NULL, &reply);
    assert_int_equal(reply.status, 200);
    assert_int_equal(gate.registry_calls, 2);
    reply_done(&reply);
    atomic_store(&gate.registry_calls, 0);
    gate_ask(&gate, "POST", "/registry/register", NULL, "{}", &reply);
    assert_int_equal(reply.status, 201);
    assert_int_equal(gate.registry_calls, 1);
    atomic_store(&gate.is_registry_silent, false);
}

static void a_204_has_no_body(void **state)
{
    (void)state;
    gate_ask(&gate, "DELETE", "/registry/delete?name=x", NULL, NULL, &reply);
    assert_int_equal(reply.status, 204);
    assert_int_equal(reply.len, 0);
}

static bool has_seen_the_spawner(void *arg)
{
    (void)arg;
    reply_done(&reply);
    gate_ask(&gate, "GET", "/healthz", NULL, NULL, &reply);
    return strstr(reply.body, "spawner") == NULL;
}

static void health_names_what_is_missing(void **state)
{
    (void)state;
    wait_until(has_seen_the_spawner, NULL, 3000, "the spawner's heartbeat counts");
    reply_assert_problem(&reply, 503, "unavailable");
    assert_contains(reply.body, "missing: auth, registry, publisher\"");
}

/* ---- leaving ---- */

static void *call_in_background(void *arg)
{
    (void)arg;
    gate_call(&gate, NULL, &reply);
    return NULL;
}

static bool is_leaving(void *arg)
{
    int fd = gate_connect(&gate);
    char head[2048];

    (void)arg;
    assert_true(fd >= 0); /* taken, and answered */
    gate_put(fd, "GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_true(gate_take(fd, head, sizeof head));
    close(fd);
    return strstr(head, "\r\nConnection: close\r\n") != NULL;
}

static bool is_shut(void *arg)
{
    int fd = gate_connect(&gate);

    (void)arg;
    if (fd >= 0)
        close(fd);
    return fd < 0;
}

/* Closed at once, it would lose what its client is just sending. */
static void a_kept_connection_hears_of_the_drain_with_an_answer(void **state)
{
    static const char ask[] = "GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n";
    int kept = gate_connect(&gate);
    char head[2048];

    (void)state;
    assert_true(kept >= 0);
    gate_put(kept, ask);
    assert_true(gate_take(kept, head, sizeof head));
    assert_null(strstr(head, "\r\nConnection: close\r\n"));
    assert_int_equal(kill(gate.gateway, SIGTERM), 0);
    wait_until(is_leaving, NULL, 2000, "it leaves");
    gate_put(kept, ask);
    assert_true(gate_take(kept, head, sizeof head));
    assert_non_null(strstr(head, "\r\nConnection: close\r\n"));
    close(kept);
    wait_until(is_shut, NULL, 2000, "its door is closed");
    gate.gateway = -1;
}

static void work_left_after_the_drain_is_answered(void **state)
{
    pthread_t thread;

    (void)state;
    gate.publishers[0].mood = MOOD_ACCEPTS;
    assert_int_equal(pthread_create(&thread, NULL, call_in_background, NULL), 0);
    wait_until(has_call, &gate.publishers[0], 3000, "the call arrives");
    assert_int_equal(kill(gate.gateway, SIGTERM), 0);
    wait_until(is_leaving, NULL, 2000, "it leaves, and serves others while the call runs");
    wait_until(is_shut, NULL, 2000, "its door is closed for the second half of DRAIN_MS");
    pthread_join(thread, NULL); /* DRAIN_MS later */
    reply_assert_problem(&reply, 502, "lost");
    gate.gateway = -1;
}

#define test(f) cmocka_unit_test_teardown(f, calm)

int main(void)
{
    const struct CMUnitTest calls[] = {
        test(a_result_comes_with_its_headers),
        test(a_failed_function_is_a_problem_with_its_stderr),
        test(a_lost_part_of_a_long_result_is_sent_again),
        test(a_damaged_result_is_not_delivered),
        test(the_publishers_refusal_is_told),
        test(every_code_of_a_call_has_its_status_and_429_has_retry_after),
        test(a_client_that_leaves_cancels_its_call),
        test(a_client_that_closed_its_side_can_read_why),
        test(timeouts_and_labels_are_checked),
        test(work_left_after_the_drain_is_answered),
    };
    const struct CMUnitTest alone[] = {
        test(health_names_what_is_missing),
        test(no_publisher_is_said_and_nothing_started),
        test(a_change_waits_for_a_service_that_is_not_there_yet),
        test(errors_of_services_become_problems),
        test(the_seconds_a_service_names_reach_the_client),
        test(every_code_of_a_service_has_its_status_and_429_has_retry_after),
        test(a_silent_read_is_asked_again_a_change_is_not),
        test(a_204_has_no_body),
        test(an_expired_token_says_so),
        test(a_new_signing_key_is_fetched_when_a_token_names_it),
        test(unknown_keys_do_not_make_a_storm),
        test(a_kept_connection_hears_of_the_drain_with_an_answer),
    };
    const struct CMUnitTest limited[] = {test(a_user_over_the_limit_is_told_when_to_come_back)};
    const struct CMUnitTest address[] = {
        test(an_address_over_the_limit_is_refused_before_its_token_is_looked_at),
    };
    int failed = cmocka_run_group_tests_name("calls", calls, open_calls, close_gate);

    failed += cmocka_run_group_tests_name("alone", alone, open_gate, close_gate);
    failed += cmocka_run_group_tests_name("limited", limited, open_limited, close_gate);
    failed += cmocka_run_group_tests_name("address", address, open_address_limited, close_gate);
    return failed;
}
