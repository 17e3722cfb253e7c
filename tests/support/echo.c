/* A small service for the tests of the skeleton: echoes, refuses, and answers late. */
#include <errno.h>
#include <time.h>

#include "base/clock.h"
#include "contract.h"
#include "service.h"

static struct {
    int64_t start_ms;
    bool must_fail;
} conf;

static const struct faas_option options[] = {
    FAAS_OPT_INT(conf.start_ms, "ECHO_START_MS", "0", 0, 60000, "how long the start takes"),
    FAAS_OPT_BOOL(conf.must_fail, "ECHO_FAIL", "no", "fail at the start"),
    FAAS_OPT_END,
};

static void wait_ms(int64_t ms)
{
    struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

    while (nanosleep(&time, &time) != 0 && errno == EINTR)
        ;
}

static faas_code on_echo(void *state, const struct faas_call *call, json_t **out_reply,
                         faas_err *err)
{
    (void)state;
    (void)err;
    *out_reply = json_incref(call->body);
    return FAAS_OK;
}

static faas_code on_refuse(void *state, const struct faas_call *call, json_t **out_reply,
                           faas_err *err)
{
    (void)state;
    (void)call;
    (void)out_reply;
    return faas_fail(err, FAAS_CONFLICT, "refused on request");
}

struct slow_req {
    int64_t ms;
};
static const struct faas_json_field slow_fields[] = {
    FAAS_FIELD(INT, struct slow_req, ms, "ms", 0, 60000, true),
    FAAS_FIELD_END,
};

static faas_code on_slow(void *state, const struct faas_call *call, json_t **out_reply,
                         faas_err *err)
{
    struct slow_req req;

    (void)state;
    FAAS_TRY(faas_json_decode(call->body, slow_fields, FAAS_JSON_STRICT, &req, err));
    wait_ms(req.ms);
    *out_reply = json_object();
    return FAAS_OK;
}

static const struct faas_endpoint endpoints[] = {
    {.name = "echo",
     .subject = "faas.echo.echo",
     .queue = FAAS_QUEUE,
     .body_max = FAAS_CONTROL_BODY_MAX,
     .handler = on_echo},
    {.name = "refuse",
     .subject = "faas.echo.refuse",
     .queue = FAAS_QUEUE,
     .body_max = FAAS_CONTROL_BODY_MAX,
     .handler = on_refuse},
    {.name = "slow",
     .subject = "faas.echo.slow",
     .queue = FAAS_QUEUE,
     .body_max = FAAS_CONTROL_BODY_MAX,
     .handler = on_slow},
    {.name = NULL},
};

static faas_code start(void *state, const struct faas_runtime *rt, faas_err *err)
{
    (void)state;
    (void)rt;
    wait_ms(conf.start_ms);
    if (conf.must_fail)
        return faas_fail(err, FAAS_UNAVAILABLE, "told to fail");
    return FAAS_OK;
}

int main(int argc, char **argv)
{
    static const struct faas_service echo = {
        .name = "echo",
        .description = "answers with what it was asked",
        .options = options,
        .endpoints = endpoints,
        .start = start,
    };

    return faas_service_main(&echo, argc, argv);
}
