/* Requests that two readers could frame differently: a real gateway refuses each, closes the
 * connection, and never takes what stands behind for a request. */
#include "tests/support/gate.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/unit.h"

#define POST "POST /auth/login HTTP/1.1\r\n"
#define GET  "GET /auth/validate HTTP/1.1\r\n"
#define HOST "Host: a\r\n"
#define END  "\r\n"
#define TAIL "GET /smuggled HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"

static struct gate gate;
static struct reply reply;

static int open_gate(void **state)
{
    static const char *const settings[] = {"GATEWAY_IDLE_S=2", NULL};

    (void)state;
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

static bool is_tail_in_log(void *arg)
{
    char path[96], line[4096];
    bool has = false;
    FILE *in;

    (void)arg;
    (void)snprintf(path, sizeof path, "%s/gateway.log", gate.dir);
    in = fopen(path, "r");
    assert_non_null(in);
    while (fgets(line, sizeof line, in) != NULL)
        has |= strstr(line, "/smuggled") != NULL;
    fclose(in);
    return has;
}

/* Sends the bytes and the tail, reads to the end of the connection. */
static void send_bytes(const char *bytes, size_t len)
{
    int fd = gate_connect(&gate);

    assert_true(fd >= 0);
    assert_int_equal(send(fd, bytes, len, MSG_NOSIGNAL), (ssize_t)len);
    (void)send(fd, TAIL, strlen(TAIL), MSG_NOSIGNAL); /* it may be closed by now */
    reply_done(&reply);
    gate_read(fd, &reply);
}

struct bytes {
    const char *text;
    size_t len;
};
#define B(literal)                                                                                 \
    {                                                                                              \
        literal, sizeof(literal) - 1                                                               \
    }

static void assert_refused(const struct bytes *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        send_bytes(bytes[i].text, bytes[i].len);
        if ((reply.status < 400 || reply.status > 499) && reply.status != 505 &&
            reply.body[0] != '\0')
            fail_msg("case %zu: %s%s: %s", i, reply.head, reply.body, bytes[i].text);
        if (is_tail_in_log(NULL))
            fail_msg("case %zu: the tail was a request: %s", i, bytes[i].text);
    }
}

static void lengths_that_can_be_read_in_two_ways(void **state)
{
    static const struct bytes bytes[] = {
        B(POST HOST "Content-Length: 2\r\nContent-Length: 2\r\n" END "{}"),
        B(POST HOST "Content-Length: 2\r\nContent-Length: 40\r\n" END "{}"),
        B(POST HOST "Content-Length: 2, 2\r\n" END "{}"),
        B(POST HOST "Content-Length: +2\r\n" END "{}"),
        B(POST HOST "Content-Length: -2\r\n" END "{}"),
        B(POST HOST "Content-Length: 0x2\r\n" END "{}"),
        B(POST HOST "Content-Length: 2e0\r\n" END "{}"),
        B(POST HOST "Content-Length: 1\r\n 2\r\n" END "{}"),
        B(POST HOST "Content-Length:\r\n 2\r\n" END "{}"),
        B(POST HOST "X: y\r\n z\r\nContent-Length: 2\r\n" END "{}"),
        B(POST HOST "Transfer-Encoding:\r\n chunked\r\n" END "2\r\n{}\r\n0\r\n" END),
        B(POST HOST "Content-Length:\r\n" END "{}"),
        B(POST HOST "Content-Length: 18446744073709551618\r\n" END "{}"),
        B(POST HOST "Content-Length : 2\r\n" END "{}"),
        B(POST HOST "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n" END "0\r\n" END),
        B(POST HOST "Transfer-Encoding: chunked\r\nContent-Length: 6\r\n" END "0\r\n" END),
    };

    (void)state;
    assert_refused(bytes, FAAS_ARRAY_LEN(bytes));
}

static void codings_that_not_every_reader_knows(void **state)
{
    static const struct bytes bytes[] = {
        B(POST HOST "Transfer-Encoding: gzip\r\n" END "0\r\n" END),
        B(POST HOST "Transfer-Encoding: identity\r\n" END "0\r\n" END),
        B(POST HOST "Transfer-Encoding: xchunked\r\n" END "0\r\n" END),
        B(POST HOST "Transfer-Encoding: gzip, chunked\r\n" END "0\r\n" END),
        B(POST HOST "Transfer-Encoding: chunked, identity\r\n" END "0\r\n" END),
        B(POST HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n" END "0\r\n" END),
        B(POST HOST "Transfer-Encoding : chunked\r\n" END "0\r\n" END),
        B(POST HOST "Transfer-Encoding\x0b: chunked\r\n" END "0\r\n" END),
        B("POST /auth/login HTTP/1.0\r\nTransfer-Encoding: chunked\r\n" END "0\r\n" END),
        B(POST HOST "Transfer-Encoding: chunked\r\n" END "zz\r\n{}\r\n0\r\n" END),
        B(POST HOST "Transfer-Encoding: chunked\r\n" END "-1\r\n{}\r\n0\r\n" END),
        B(POST HOST "Transfer-Encoding: chunked\r\n" END "10000000000000002\r\n{}\r\n0\r\n" END),
        B(POST HOST "Transfer-Encoding: chunked\r\n" END "2\r\n{}xx0\r\n" END),
    };

    (void)state;
    assert_refused(bytes, FAAS_ARRAY_LEN(bytes));
}

static void request_lines_that_are_none(void **state)
{
    static const struct bytes bytes[] = {
        B("nonsense\r\n" HOST END),
        B("GET\r\n" HOST END),
        B("GET /auth/validate\r\n" HOST END),
        B("GET /auth/validate HTTP/1.2\r\n" HOST END),
        B("GET /auth/validate HTTP/2.0\r\n" HOST END),
        B("GET /auth/validate http/1.1\r\n" HOST END),
        B("GET /auth/validate HTTP/1.1x\r\n" HOST END),
        B("GET /auth/validate?a b HTTP/1.1\r\n" HOST END),
        B("GET /auth/validate#a HTTP/1.1\r\n" HOST END),
        B("GET /auth/\xc3\xbc HTTP/1.1\r\n" HOST END),
        B("GET /auth/validate\0/x HTTP/1.1\r\n" HOST END),
        B("GET\0 /auth/validate HTTP/1.1\r\n" HOST END),
        B("GET /auth/validate HTTP/1.1\0\r\n" HOST END),
        B("GET /auth/\x01 HTTP/1.1\r\n" HOST END),
        B("GET auth/validate HTTP/1.1\r\n" HOST END),
        B("G(T /auth/validate HTTP/1.1\r\n" HOST END),
        B("CONNECT a:1 HTTP/1.1\r\n" HOST END),
        B("AVERYLONGMETHODNAME /auth/validate HTTP/1.1\r\n" HOST END),
        B("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    };

    (void)state;
    assert_refused(bytes, FAAS_ARRAY_LEN(bytes));
}

static void header_fields_that_are_none(void **state)
{
    static const struct bytes bytes[] = {
        B(GET END),
        B(GET HOST HOST END),
        B(GET HOST "Host: b\r\n" END),
        B(GET HOST "no colon\r\n" END),
        B(GET HOST ": no name\r\n" END),
        B(GET HOST "a b: x\r\n" END),
        B(GET HOST "a\x01: x\r\n" END),
        B(GET HOST "a\0b: x\r\n" END),
        B(GET HOST "a: x\0y\r\n" END),
        B(GET HOST "a: x\x01y\r\n" END),
        B(GET HOST "a: x\x7fy\r\n" END),
        B(GET HOST "a: x\ry\r\n" END),
        B(GET HOST "Authorization: a\r\nAuthorization: b\r\n" END),
    };

    (void)state;
    assert_refused(bytes, FAAS_ARRAY_LEN(bytes));
}

/* What shows that the tail would be seen if it were taken for a request. */
static void a_request_behind_a_sound_one_is_answered(void **state)
{
    static const struct bytes bytes[] = {
        B(GET HOST END),
        B("\r\n" GET HOST END),
        B(GET "a:\r\nb:  \t \r\nc:\tx y \t\r\nCookie: a=b; c=\"d\"\r\nd: \r\n" HOST END),
        B(POST HOST "Content-Length: 2\r\n" END "{}"),
        B(POST HOST "Transfer-Encoding: chunked\r\n" END "2\r\n{}\r\n0\r\nX: y\r\n" END),
    };

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(bytes); i++) {
        send_bytes(bytes[i].text, bytes[i].len);
        assert_true(reply.status == 401 || reply.status == 503);
        assert_contains(reply.body, "404");
    }
    wait_until(is_tail_in_log, NULL, 10000, "the tail is in the log");
}

#define test(f) cmocka_unit_test_teardown(f, calm)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(lengths_that_can_be_read_in_two_ways),
        test(codings_that_not_every_reader_knows),
        test(request_lines_that_are_none),
        test(header_fields_that_are_none),
        test(a_request_behind_a_sound_one_is_answered),
    };

    return cmocka_run_group_tests(tests, open_gate, close_gate);
}
