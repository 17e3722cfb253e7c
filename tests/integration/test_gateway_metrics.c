/* GET /metrics of a real gateway: who may ask what there, what a storm of scrapes costs the bus, and what
 * of a request's text gets into a label. */
#include "tests/support/gate.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/unit/unit.h"

#define AT_ONCE   16
#define ROUNDS    20
#define LONG_HEAD 16384

struct pulse { /* a service that beats, and answers for its figures */
    struct process process;
    faas_members *members;
    faas_sub *sub;
};

static struct gate gate, door; /* door: the same gateway's other listener */
static struct pulse pulse;
static struct reply reply;
static _Atomic int asked; /* of pulse, for its figures */

static void on_asked(void *arg, faas_msg *take_msg)
{
    (void)arg;
    asked++;
    faas_msg_free(take_msg);
}

static void join(void *arg)
{
    struct pulse *self = arg;
    const struct faas_members_conf conf = {.service = self->process.service,
                                           .id = self->process.id};
    faas_err err = {0};

    assert_int_equal(faas_members_start(self->process.rpc, &conf, &self->members, &err), FAAS_OK);
    assert_int_equal(faas_bus_subscribe(self->process.bus, FAAS_DATA, "$SRV.STATS.auth.pulse", NULL,
                                        on_asked, NULL, &self->sub, &err),
                     FAAS_OK);
}

static void leave(void *arg)
{
    struct pulse *self = arg;

    faas_sub_free(self->sub);
    faas_members_stop(self->members);
}

static void scrape(void)
{
    reply_done(&reply);
    gate_ask(&door, "GET", "/metrics", NULL, NULL, &reply);
}

static bool has(const char *text)
{
    return reply.body != NULL && strstr(reply.body, text) != NULL;
}

static bool is_pulse_there(void *arg)
{
    (void)arg;
    scrape();
    return has("faas_instance_answered{service=\"auth\",id=\"pulse\"} 1\n");
}

static int open_all(void **state)
{
    char listen[64];
    const char *settings[] = {listen, NULL};
    struct process_conf conf = {.service = "auth", .id = "pulse"};
    int port = gate_free_port(26000);

    (void)state;
    (void)snprintf(listen, sizeof listen, "GATEWAY_METRICS_LISTEN=127.0.0.1:%d", port);
    gate_open(&gate, settings);
    door = gate;
    door.port = port;
    conf.urls = nats_urls(gate.nats);
    process_start(&pulse.process, &conf);
    process_on_loop(&pulse.process, join, &pulse);
    wait_until(is_pulse_there, NULL, 10000, "the figures of a service are on the page");
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    reply_done(&reply);
    process_stop(&pulse.process, leave, &pulse);
    gate_close(&gate);
    return 0;
}

/* ---- the page ---- */

static void the_page_tells_of_this_gateway_and_of_others(void **state)
{
    (void)state;
    scrape();
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply_field(&reply, "Content-Type"),
                        "text/plain; version=0.0.4; charset=utf-8");
    assert_true(has("faas_instance_up{service=\"gateway\",id="));
    assert_true(has("faas_gateway_requests_begun_total{service=\"gateway\",id="));
    assert_true(has("faas_process_resident_memory_bytes{service=\"auth\",id=\"pulse\"} "));
    assert_true(has("faas_build_info{service=\"auth\",id=\"pulse\",version="));
}

static bool is_counted(void *arg)
{
    scrape();
    return has(arg);
}

static void what_a_client_writes_gets_into_no_label(void **state)
{
    static char row[] = ",method=\"none\",route=\"none\",status=\"404\"} ";
    struct reply answer = {0};

    (void)state;
    gate_ask(&gate, "GET", "/nowhere%22%7D%0Afaas_up%201?a=nowhere", NULL, NULL, &answer);
    reply_done(&answer);
    gate_ask(&gate, "GET", "/nowhere", "X-Call-Id: nowhere\r\n", NULL, &answer);
    assert_int_equal(answer.status, 404);
    reply_done(&answer);
    wait_until(is_counted, row, 5000, "the request is counted");
    assert_false(has("nowhere"));
    assert_false(has("faas_up"));
}

static void requests_are_counted_by_pattern_and_status(void **state)
{
    struct reply answer = {0};

    (void)state;
    gate_ask(&gate, "GET", "/v1/functions/some-name", "Authorization: Bearer x\r\n", NULL, &answer);
    assert_int_equal(answer.status, 401);
    reply_done(&answer);
    wait_until(is_counted, ",method=\"GET\",route=\"/v1/functions/{name}\",status=\"401\"} 1\n",
               5000, "the request is counted under its pattern");
    assert_false(has("some-name"));
    assert_true(has("faas_gateway_requests_active{"));
}

/* ---- cost ---- */

/* So many scrapes at once, each on a connection of its own; all must be answered in full. */
static void storm(void)
{
    int fds[AT_ONCE];

    for (int i = 0; i < AT_ONCE; i++) {
        fds[i] = gate_connect(&door);
        assert_true(fds[i] >= 0);
        gate_put(fds[i], "GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    }
    for (int i = 0; i < AT_ONCE; i++) {
        reply_done(&reply);
        gate_read(fds[i], &reply);
        assert_int_equal(reply.status, 200);
        assert_true(has("faas_instance_up{"));
    }
}

static void a_storm_costs_the_bus_one_gathering_a_second(void **state)
{
    uint64_t began_ns = faas_now_ns(), seconds;
    int before = asked;

    (void)state;
    for (int i = 0; i < ROUNDS; i++)
        storm();
    seconds = (faas_now_ns() - began_ns) / UINT64_C(1000000000) + 1;
    /* One at its beginning and one for each whole second of it. */
    assert_in_range(asked - before, 0, seconds + 1);
}

/* ---- what is refused ---- */

static void only_get_and_head_of_metrics_are_served(void **state)
{
    static const struct {
        const char *method, *path;
        int status;
    } rows[] = {
        {"POST", "/metrics", 405},
        {"PUT", "/metrics", 405},
        {"DELETE", "/metrics", 405},
        {"PATCH", "/metrics", 405},
        {"OPTIONS", "/metrics", 405},
        {"BREW", "/metrics", 405},
        {"GET", "/", 404},
        {"GET", "/healthz", 404},
        {"GET", "/metrics/", 404},
        {"GET", "/Metrics", 404},
        {"GET", "/v1/functions", 404},
        {"GET", "/..%2fmetrics", 404},
        {"POST", "/auth/login", 404},
        {"GET", "/metrics?a=b", 200},
    };

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(rows); i++) {
        reply_done(&reply);
        gate_ask(&door, rows[i].method, rows[i].path, NULL, NULL, &reply);
        assert_int_equal(reply.status, rows[i].status);
        if (reply.status == 405)
            assert_string_equal(reply_field(&reply, "Allow"), "GET, HEAD");
    }
}

static void head_has_the_length_and_no_page(void **state)
{
    int fd = gate_connect(&door);

    (void)state;
    gate_put(fd, "HEAD /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    reply_done(&reply);
    gate_read(fd, &reply);
    assert_int_equal(reply.status, 200);
    assert_int_equal(reply.len, 0);
    assert_true(strtol(reply_field(&reply, "Content-Length"), NULL, 10) > 1000);
}

static void bodies_long_heads_and_malformed_requests_are_refused(void **state)
{
    static char head[LONG_HEAD + 1];
    int fd;

    (void)state;
    reply_done(&reply);
    gate_ask(&door, "GET", "/metrics", NULL, "a body", &reply);
    assert_int_equal(reply.status, 413);
    memset(head, 'a', LONG_HEAD);
    memcpy(head, "GET /metrics HTTP/1.1\r\nHost: a\r\nX: ", 35);
    memcpy(head + LONG_HEAD - 4, "\r\n\r\n", 5);
    fd = gate_connect(&door);
    gate_put(fd, head);
    reply_done(&reply);
    gate_read(fd, &reply);
    assert_int_equal(reply.status, 431);
    fd = gate_connect(&door);
    gate_put(fd, "GET /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: "
                 "chunked\r\n\r\n");
    reply_done(&reply);
    gate_read(fd, &reply);
    assert_int_equal(reply.status, 400);
    scrape();
    assert_int_equal(reply.status, 200);
}

static void nothing_of_it_is_on_the_public_listener(void **state)
{
    (void)state;
    reply_done(&reply);
    gate_ask(&gate, "GET", "/metrics", NULL, NULL, &reply);
    reply_assert_problem(&reply, 404, "not_found");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_page_tells_of_this_gateway_and_of_others),
        cmocka_unit_test(what_a_client_writes_gets_into_no_label),
        cmocka_unit_test(requests_are_counted_by_pattern_and_status),
        cmocka_unit_test(a_storm_costs_the_bus_one_gathering_a_second),
        cmocka_unit_test(only_get_and_head_of_metrics_are_served),
        cmocka_unit_test(head_has_the_length_and_no_page),
        cmocka_unit_test(bodies_long_heads_and_malformed_requests_are_refused),
        cmocka_unit_test(nothing_of_it_is_on_the_public_listener),
    };

    return cmocka_run_group_tests(tests, open_all, close_all);
}
