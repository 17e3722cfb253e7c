/* What a real gateway does with clients that send too much, too slowly, or from too many
 * connections. */
#include "tests/support/gate.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/program.h"
#include "tests/unit/unit.h"

#define MIB          (1024 * 1024)
#define BOUND_MS     60000 /* far above what anything here takes */
#define LIMIT        4
#define FILES        128
#define CONNECTIONS  300        /* more than FILES */
#define TOO_MUCH     "41943040" /* 40 MiB */
#define ASK          "GET /auth/validate HTTP/1.1\r\nHost: a\r\n\r\n"
#define HEAD_OF_POST "POST /auth/login HTTP/1.1\r\nHost: a\r\nContent-Length: "

static struct gate gate;
static struct reply reply;
static char head[4096];

static int open_with(const char *const *settings)
{
    gate_open(&gate, settings);
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
    return 0;
}

static int status_of(const char *answer)
{
    return strncmp(answer, "HTTP/1.1 ", 9) == 0 ? (int)strtol(answer + 9, NULL, 10) : 0;
}

static void assert_answers(int fd)
{
    gate_put(fd, ASK);
    assert_true(gate_take(fd, head, sizeof head));
    assert_int_equal(status_of(head), 401); /* no token: the gateway has spoken */
}

/* ---- too large ---- */

static int open_plain(void **state)
{
    (void)state;
    return open_with(NULL);
}

static void a_body_too_large_is_refused_before_it_comes(void **state)
{
    int fd = gate_connect(&gate);

    (void)state;
    gate_put(fd, HEAD_OF_POST TOO_MUCH "\r\n\r\n"); /* nothing of the body */
    assert_true(gate_take(fd, head, sizeof head));
    assert_int_equal(status_of(head), 413);
    assert_contains(head, "Connection: close");
    close(fd);
}

static long peak_kib(pid_t pid)
{
    char path[64], line[256];
    long kib = 0;
    FILE *in;

    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    in = fopen(path, "r");
    assert_non_null(in);
    while (fgets(line, sizeof line, in) != NULL) {
        if (strncmp(line, "VmHWM:", 6) == 0)
            kib = strtol(line + 6, NULL, 10);
    }
    fclose(in);
    assert_true(kib > 0);
    return kib;
}

/* As much as goes; false once the other side takes no more. */
static bool push(int fd, size_t len)
{
    static char bytes[MIB];
    ssize_t sent;

    for (size_t done = 0; done < len; done += (size_t)sent) {
        sent = send(fd, bytes, len - done < MIB ? len - done : MIB, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
    }
    return true;
}

static void a_refused_body_can_be_sent_and_the_answer_read_after_it(void **state)
{
    int fd = gate_connect(&gate);
    long before = peak_kib(gate.gateway);

    (void)state;
    gate_put(fd, HEAD_OF_POST "31457280\r\n\r\n"); /* 30 MiB */
    assert_true(push(fd, (size_t)30 * MIB));
    assert_true(gate_take(fd, head, sizeof head));
    assert_int_equal(status_of(head), 413);
    close(fd);
    assert_true(peak_kib(gate.gateway) < before + 8 * 1024); /* nothing of it was kept */
}

static void a_refused_body_is_not_taken_without_end(void **state)
{
    int fd = gate_connect(&gate);

    (void)state;
    gate_put(fd, HEAD_OF_POST "999999999999\r\n\r\n");
    assert_true(push(fd, (size_t)31 * MIB));
    assert_false(push(fd, (size_t)512 * MIB)); /* buffers take some of it */
    close(fd);
}

static bool is_refused(void *arg)
{
    int *fd = arg;

    return send(*fd, "x", 1, MSG_NOSIGNAL) != 1;
}

static void a_refused_body_is_not_taken_for_ever(void **state)
{
    int fd = gate_connect(&gate);

    (void)state;
    gate_put(fd, HEAD_OF_POST TOO_MUCH "\r\n\r\n");
    wait_until(is_refused, &fd, BOUND_MS, "the gateway takes no more");
    close(fd);
}

static void a_short_refused_body_keeps_the_connection(void **state)
{
    int fd = gate_connect(&gate);

    (void)state;
    for (int i = 0; i < 3; i++) {
        gate_put(fd, HEAD_OF_POST "100000\r\n\r\n");
        assert_true(push(fd, 100000));
        assert_true(gate_take(fd, head, sizeof head));
        assert_int_equal(status_of(head), 413);
    }
    assert_answers(fd);
    close(fd);
}

static void a_body_in_chunks_has_the_same_limit(void **state)
{
    int fd = gate_connect(&gate);

    (void)state;
    gate_put(fd, "POST /auth/login HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                 "100000\r\n"); /* 1 MiB */
    assert_true(push(fd, MIB));
    gate_put(fd, "\r\n0\r\n\r\n");
    assert_true(gate_take(fd, head, sizeof head));
    assert_int_equal(status_of(head), 413);
    assert_answers(fd);
    close(fd);
}

/* A request whose target and one field have so many bytes; the answer's status. */
static int ask_with(size_t target_len, size_t field_len)
{
    FAAS_AUTO(char) *target = calloc(1, target_len + 1);
    FAAS_AUTO(char) *field = calloc(1, field_len + 1);
    FAAS_AUTO(char) *text = NULL;
    int fd = gate_connect(&gate);

    assert_true(target != NULL && field != NULL);
    memset(target, 'a', target_len);
    memset(field, 'b', field_len);
    assert_true(asprintf(&text,
                         "GET /auth/validate?%s HTTP/1.1\r\nHost: a\r\nX-Long: %s\r\n"
                         "Connection: close\r\n\r\n",
                         target, field) > 0);
    gate_put(fd, text);
    reply_done(&reply);
    gate_read(fd, &reply);
    return reply.status;
}

static void heads_have_a_budget(void **state)
{
    (void)state;
    assert_int_equal(ask_with(3200, 3200), 401); /* looked at: there is no token */
    assert_int_equal(ask_with(1, 100 * 1024), 431);
    assert_int_equal(ask_with(100 * 1024, 1), 414);
    assert_int_equal(ask_with(3200, 3200), 401);
}

/* What is not carried out for want of room is not carried out a byte later either. */
static void a_head_without_room_for_an_answer_is_refused(void **state)
{
    size_t first = 0;

    (void)state;
    for (size_t len = 6000; len < 8000; len += 40) {
        int status = ask_with(1, len);

        if (status != 401 && first == 0)
            first = len;
        if (first == 0)
            continue;
        assert_int_not_equal(status, 401);
        if (len < first + 500) {
            assert_int_equal(status, 431);
            assert_non_null(strstr(reply.head, "application/problem+json"));
        }
    }
    assert_in_range(first, 6700, 7200);
}

static int open_long_heads(void **state)
{
    static const char *const settings[] = {"GATEWAY_HEAD_KB=64", NULL};

    (void)state;
    return open_with(settings);
}

static void the_budget_of_heads_can_be_raised(void **state)
{
    (void)state;
    assert_int_equal(ask_with(20000, 20000), 401);
    assert_int_equal(ask_with(1, 100 * 1024), 431);
}

/* ---- too slow ---- */

static int open_hasty(void **state)
{
    static const char *const settings[] = {"GATEWAY_READ_MS=1500", "GATEWAY_IDLE_S=3600", NULL};

    (void)state;
    return open_with(settings);
}

struct drip {
    int fd;
    const char *text; /* sent again and again */
};

/* Every byte sent would put off a mere idle timeout. */
static bool is_closed_on(void *arg)
{
    struct drip *drip = arg;
    struct pollfd at = {.fd = drip->fd, .events = POLLIN | POLLRDHUP};

    return send(drip->fd, drip->text, strlen(drip->text), MSG_NOSIGNAL) <= 0 ||
           (poll(&at, 1, 0) == 1 && (at.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0);
}

static void assert_dripping_ends(const char *begin, const char *text)
{
    struct drip drip = {gate_connect(&gate), text};

    gate_put(drip.fd, begin);
    wait_until(is_closed_on, &drip, BOUND_MS, "the slow client is closed");
    close(drip.fd);
}

static void a_head_that_does_not_end_is_closed(void **state)
{
    (void)state;
    assert_dripping_ends("GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ", "x");
}

static void a_body_that_does_not_end_is_closed(void **state)
{
    (void)state;
    assert_dripping_ends(HEAD_OF_POST "4000\r\n\r\n", "x");
}

static void empty_lines_before_a_request_do_not_buy_time(void **state)
{
    (void)state;
    assert_dripping_ends("\r\n", "\r\n");
}

static void a_refused_body_that_does_not_end_is_closed(void **state)
{
    (void)state;
    assert_dripping_ends("POST /no/such/path HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n",
                         "x");
}

/* ---- too many ---- */

static int open_address_limit(void **state)
{
    static const char *const settings[] = {"GATEWAY_CONNECTIONS_PER_ADDRESS=4",
                                           "GATEWAY_IDLE_S=3600", NULL};

    (void)state;
    return open_with(settings);
}

static int open_limit(void **state)
{
    static const char *const settings[] = {"GATEWAY_CONNECTIONS=4", "GATEWAY_IDLE_S=3600", NULL};

    (void)state;
    return open_with(settings);
}

static bool has_place(void *arg)
{
    int fd = gate_connect(&gate);
    bool is = false;

    (void)arg;
    if (fd < 0)
        return false;
    if (send(fd, ASK, strlen(ASK), MSG_NOSIGNAL) == (ssize_t)strlen(ASK))
        is = gate_take(fd, head, sizeof head);
    close(fd);
    return is;
}

static void open_all(int *fds, int count)
{
    for (int i = 0; i < count; i++) {
        fds[i] = gate_connect(&gate);
        assert_true(fds[i] >= 0);
        assert_answers(fds[i]);
    }
}

static void one_address_cannot_take_all_connections(void **state)
{
    int fds[LIMIT], other;

    (void)state;
    wait_until(has_place, NULL, BOUND_MS, "what the start has opened is closed");
    for (int i = 0; i < LIMIT; i++) {
        fds[i] = gate_connect_from(&gate, "127.0.0.9");
        assert_answers(fds[i]);
    }
    other = gate_connect_from(&gate, "127.0.0.9");
    (void)send(other, ASK, strlen(ASK), MSG_NOSIGNAL);
    assert_false(gate_take(other, head, sizeof head)); /* closed at once */
    close(other);
    other = gate_connect_from(&gate, "127.0.0.10");
    assert_answers(other);
    close(other);
    for (int i = 0; i < LIMIT; i++)
        assert_answers(fds[i]); /* who was there is not disturbed */
    for (int i = 0; i < LIMIT; i++)
        close(fds[i]);
}

/* The first are served on; who comes later waits until one of them has left. */
static void connections_in_all_are_limited(void **state)
{
    int fds[LIMIT], late;
    struct pollfd at = {.events = POLLIN};

    (void)state;
    wait_until(has_place, NULL, BOUND_MS, "what the start has opened is closed");
    open_all(fds, LIMIT);
    late = gate_connect(&gate);
    gate_put(late, ASK);
    for (int i = 0; i < LIMIT; i++)
        assert_answers(fds[i]);
    at.fd = late;
    assert_int_equal(poll(&at, 1, 0), 0);
    for (int i = 0; i < LIMIT; i++)
        close(fds[i]);
    assert_true(gate_take(late, head, sizeof head));
    assert_int_equal(status_of(head), 401);
    close(late);
}

/* ---- files ---- */

static void set_soft_limit(rlim_t count)
{
    struct rlimit files;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
    files.rlim_cur = count;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
}

static int open_few_files(void **state)
{
    static const char *const settings[] = {"GATEWAY_IDLE_S=3600", NULL};

    (void)state;
    set_soft_limit(FILES);
    return open_with(settings);
}

static void the_limit_of_open_files_follows_that_of_connections(void **state)
{
    int fds[CONNECTIONS];

    (void)state;
    set_soft_limit(4 * CONNECTIONS);
    open_all(fds, CONNECTIONS);
    for (int i = 0; i < CONNECTIONS; i++)
        close(fds[i]);
}

static void more_connections_than_files_are_refused_at_the_start(void **state)
{
    char urls[256], log[96], text[4096] = "";
    const char *const settings[] = {urls, "LISTEN_ADDR=127.0.0.1:0", "GATEWAY_CONNECTIONS=100000",
                                    NULL};
    struct rlimit files;
    FILE *in;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
    files.rlim_max = files.rlim_cur;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
    (void)snprintf(urls, sizeof urls, "NATS_URL=%s", nats_urls(gate.nats));
    (void)snprintf(log, sizeof log, "%s/refused.log", gate.dir);
    assert_int_equal(program_wait(program_start("gateway", settings, log), BOUND_MS), 1);
    in = fopen(log, "r");
    assert_non_null(in);
    assert_true(fread(text, 1, sizeof text - 1, in) > 0);
    fclose(in);
    assert_contains(text, "GATEWAY_CONNECTIONS: it takes 101024 open files, and 1200 are allowed");
}

#define test(f) cmocka_unit_test_teardown(f, calm)

int main(void)
{
    const struct CMUnitTest large[] = {
        test(a_body_too_large_is_refused_before_it_comes),
        test(a_refused_body_can_be_sent_and_the_answer_read_after_it),
        test(a_refused_body_is_not_taken_without_end),
        test(a_refused_body_is_not_taken_for_ever),
        test(a_short_refused_body_keeps_the_connection),
        test(a_body_in_chunks_has_the_same_limit),
        test(heads_have_a_budget),
        test(a_head_without_room_for_an_answer_is_refused),
    };
    const struct CMUnitTest heads[] = {test(the_budget_of_heads_can_be_raised)};
    const struct CMUnitTest slow[] = {
        test(a_head_that_does_not_end_is_closed),
        test(a_body_that_does_not_end_is_closed),
        test(empty_lines_before_a_request_do_not_buy_time),
        test(a_refused_body_that_does_not_end_is_closed),
    };
    const struct CMUnitTest address[] = {test(one_address_cannot_take_all_connections)};
    const struct CMUnitTest all[] = {test(connections_in_all_are_limited)};
    const struct CMUnitTest files[] = {
        test(the_limit_of_open_files_follows_that_of_connections),
        test(more_connections_than_files_are_refused_at_the_start),
    };
    int failed = cmocka_run_group_tests_name("large", large, open_plain, close_gate);

    failed += cmocka_run_group_tests_name("long heads", heads, open_long_heads, close_gate);
    failed += cmocka_run_group_tests_name("slow", slow, open_hasty, close_gate);
    failed += cmocka_run_group_tests_name("address", address, open_address_limit, close_gate);
    failed += cmocka_run_group_tests_name("all", all, open_limit, close_gate);
    failed += cmocka_run_group_tests_name("files", files, open_few_files, close_gate);
    return failed;
}
