/* What a real gateway says of the platform's state at /healthz, and how: a sound state is a constant
 * that no exchange is made for, and it is guarded like everything else. */
#include "tests/support/gate.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/unit.h"

#define HEAD_FITS   6144  /* bytes of a header that any client may send */
#define HEAD_MAX    16384 /* more than the gateway keeps of a request's head */
#define ANSWERS_MAX 8192

/* A service that does nothing but beat. */
struct pulse {
    struct process process;
    faas_members *members;
};

static struct gate gate;
static struct pulse pulses[2];
static struct reply reply;

static void join(void *arg)
{
    struct pulse *pulse = arg;
    const struct faas_members_conf conf = {.service = pulse->process.service,
                                           .id = pulse->process.id};
    faas_err err = {0};

    assert_int_equal(faas_members_start(pulse->process.rpc, &conf, &pulse->members, &err), FAAS_OK);
}

static void leave(void *arg)
{
    struct pulse *pulse = arg;

    faas_members_stop(pulse->members);
}

static bool is_sound(void *arg)
{
    (void)arg;
    reply_done(&reply);
    gate_ask(&gate, "GET", "/healthz", NULL, NULL, &reply);
    return reply.status == 200;
}

static bool is_unsound(void *arg)
{
    (void)is_sound(arg);
    return reply.status == 503;
}

static void start_pulse(struct pulse *pulse, const char *service)
{
    const struct process_conf conf = {
        .urls = nats_urls(gate.nats), .service = service, .id = "pulse"};

    process_start(&pulse->process, &conf);
    process_on_loop(&pulse->process, join, pulse);
}

static int open_sound(void **state)
{
    (void)state;
    gate_open(&gate, NULL);
    gate_join(&gate, 0, false);
    start_pulse(&pulses[0], "auth");
    start_pulse(&pulses[1], "registry");
    wait_until(is_sound, NULL, 10000, "everybody's heartbeat counts");
    return 0;
}

static int close_sound(void **state)
{
    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(pulses); i++)
        process_stop(&pulses[i].process, leave, &pulses[i]);
    gate_close(&gate);
    return 0;
}

static int forget(void **state)
{
    (void)state;
    reply_done(&reply);
    return 0;
}

/* Sends the bytes; what comes until the server closes. */
static void exchange(const char *bytes, char out_answers[ANSWERS_MAX])
{
    int fd = gate_connect(&gate);
    size_t used = 0;
    ssize_t n;

    assert_int_equal(send(fd, bytes, strlen(bytes), MSG_NOSIGNAL), (ssize_t)strlen(bytes));
    while (used < ANSWERS_MAX - 1 &&
           (n = recv(fd, out_answers + used, ANSWERS_MAX - 1 - used, 0)) > 0)
        used += (size_t)n;
    out_answers[used] = '\0';
    close(fd);
}

static size_t count(const char *text, const char *what)
{
    size_t found = 0;

    for (; (text = strstr(text, what)) != NULL; text += strlen(what))
        found++;
    return found;
}

static void a_sound_state_has_its_headers_and_head_has_no_body(void **state)
{
    (void)state;
    assert_true(is_sound(NULL));
    assert_string_equal(reply.body, "OK");
    assert_string_equal(reply_field(&reply, "Content-Type"), "text/plain; charset=utf-8");
    assert_string_equal(reply_field(&reply, "Cache-Control"), "no-store");
    assert_string_equal(reply_field(&reply, "X-Content-Type-Options"), "nosniff");
    reply_done(&reply);
    gate_ask(&gate, "HEAD", "/healthz", NULL, NULL, &reply);
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply_field(&reply, "Content-Length"), "2");
    assert_int_equal(reply.len, 0);
}

/* Constants, exchanges, and a refusal that ends the connection, one behind the other. */
static void a_connection_is_kept_and_its_answers_are_in_order(void **state)
{
    char answers[ANSWERS_MAX];

    (void)state;
    exchange("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
             "GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n"
             "GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
             "GET /healthz?x=1 HTTP/1.1\r\nHost: a\r\n\r\n"
             "GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
             "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
             answers);
    assert_int_equal(count(answers, "HTTP/1.1 200"), 4);
    assert_int_equal(count(answers, "HTTP/1.1 404"), 1);
    assert_true(strstr(answers, "HTTP/1.1 404") > strstr(answers, "HTTP/1.1 200"));
}

static void a_body_and_a_broken_rule_are_refused(void **state)
{
    char answers[ANSWERS_MAX];

    (void)state;
    exchange("GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx",
             answers);
    assert_int_equal(count(answers, "HTTP/1.1 413"), 1);
    exchange("GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", answers);
    assert_int_equal(count(answers, "HTTP/1.1 400"), 1);
    assert_int_equal(count(answers, "HTTP/1.1 200"), 0);
    exchange("POST /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", answers);
    assert_int_equal(count(answers, "HTTP/1.1 405"), 1);
}

static void a_head_of_6_kib_is_taken_and_one_of_16_is_not(void **state)
{
    static char request[HEAD_MAX + 256];
    char answers[ANSWERS_MAX];

    (void)state;
    (void)snprintf(request, sizeof request,
                   "GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX: %0*d\r\n\r\n",
                   HEAD_FITS, 0);
    exchange(request, answers);
    assert_int_equal(count(answers, "HTTP/1.1 200"), 1);
    (void)snprintf(request, sizeof request, "GET /healthz HTTP/1.1\r\nHost: a\r\nX: %0*d\r\n\r\n",
                   HEAD_MAX, 0);
    exchange(request, answers);
    assert_int_equal(count(answers, "HTTP/1.1 431"), 1);
    assert_true(is_sound(NULL));
}

/* All that the gateway has logged; the caller's. */
static char *read_log(void)
{
    char path[96], *log = NULL;
    size_t room = 0;
    FILE *from;

    (void)snprintf(path, sizeof path, "%s/gateway.log", gate.dir);
    from = fopen(path, "r");
    assert_non_null(from);
    assert_true(getdelim(&log, &room, '\0', from) > 0);
    fclose(from);
    return log;
}

static bool is_logged(void *arg)
{
    FAAS_AUTO(char) *log = read_log();

    return strstr(log, arg) != NULL;
}

/* Probes come every second from everywhere; a log of them hides what happened. */
static void a_sound_probe_is_not_logged_and_another_request_is(void **state)
{
    char another[] = "\"path\":\"/healthz/after\"";
    FAAS_AUTO(char) *before = read_log();
    FAAS_AUTO(char) *after = NULL;

    (void)state;
    assert_true(is_sound(NULL));
    reply_done(&reply);
    gate_ask(&gate, "GET", "/healthz/after", NULL, NULL, &reply);
    wait_until(is_logged, another, 10000, "the other request is logged");
    after = read_log();
    assert_null(strstr(after + strlen(before), "\"path\":\"/healthz\""));
}

static void the_loss_of_a_service_shows(void **state)
{
    (void)state;
    gate_leave(&gate, 0);
    wait_until(is_unsound, NULL, 10000, "the publisher is missed");
    assert_contains(reply.body, "missing: publisher\"");
    gate_join(&gate, 0, false);
    wait_until(is_sound, NULL, 10000, "it is back");
}

#define test(f) cmocka_unit_test_teardown(f, forget)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(a_sound_state_has_its_headers_and_head_has_no_body),
        test(a_connection_is_kept_and_its_answers_are_in_order),
        test(a_body_and_a_broken_rule_are_refused),
        test(a_head_of_6_kib_is_taken_and_one_of_16_is_not),
        test(a_sound_probe_is_not_logged_and_another_request_is),
        test(the_loss_of_a_service_shows),
    };

    return cmocka_run_group_tests(tests, open_sound, close_sound);
}
