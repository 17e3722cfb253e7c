#include "tests/support/fault_net.h"

#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "tests/unit/unit.h"

#define CALLS_MAX 8192

static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;
static struct fault_call calls[CALLS_MAX];
static size_t count; /* the test's thread */

struct fault_call *fault_call_new(void)
{
    assert_in_range(count, 0, CALLS_MAX - 1);
    return &calls[count++];
}

struct told {
    faas_code code;
    const faas_err *err;
    uint64_t number;
    const void *data;
    size_t len;
};

static void end(struct fault_call *call, const struct told *told)
{
    pthread_mutex_lock(&mu);
    call->ends++;
    call->code = told->code;
    call->err = *told->err;
    call->number = told->number;
    call->len = told->len;
    if (told->data != NULL && told->len > 0)
        memcpy(call->data, told->data, told->len < FAULT_DATA_MAX ? told->len : FAULT_DATA_MAX - 1);
    pthread_mutex_unlock(&mu);
}

void fault_call_end(void *arg)
{
    static const faas_err none;

    end(arg, &(struct told){.err = &none});
}

void fault_on_reply(void *arg, const struct faas_rpc_reply *reply)
{
    struct told told = {.code = reply->code, .err = reply->err};

    if (reply->code == FAAS_OK) {
        told.data = faas_msg_data(reply->msg);
        told.len = faas_msg_len(reply->msg);
    }
    end(arg, &told);
}

void fault_on_kv(void *arg, faas_code code, const struct faas_kv_entry *entry, const faas_err *err)
{
    struct told told = {.code = code, .err = err};

    if (entry != NULL) {
        told.number = entry->revision;
        told.data = entry->value;
        told.len = entry->len;
    }
    end(arg, &told);
}

static bool has_ended(const struct fault_call *call)
{
    bool is_over;

    pthread_mutex_lock(&mu);
    is_over = call->ends > 0;
    pthread_mutex_unlock(&mu);
    return is_over;
}

static void nap(void)
{
    struct timespec time = {.tv_nsec = 500000};

    nanosleep(&time, NULL);
}

faas_code fault_call_wait(struct fault_call *call, faas_err *err)
{
    uint64_t deadline = faas_deadline_in_ms(FAULT_HANG_MS);

    while (!has_ended(call)) {
        if (faas_left_ms(deadline) == 0)
            fail_msg("%s failed, and done has not run", fault_met());
        nap();
    }
    if (call->code != FAAS_OK)
        *err = call->err;
    return call->code;
}

void fault_calls_check(void)
{
    pthread_mutex_lock(&mu);
    for (size_t i = 0; i < count; i++) {
        if (calls[i].ends != 1)
            fail_msg("call %zu: done ran %u times", i, calls[i].ends);
    }
    pthread_mutex_unlock(&mu);
}

faas_code fault_wait(bool (*is_true)(void *arg), void *arg, const char *what, faas_err *err)
{
    uint64_t hang = faas_deadline_in_ms(FAULT_HANG_MS), quiet = UINT64_MAX;

    while (!is_true(arg)) {
        if (faas_left_ms(hang) == 0)
            fail_msg("%s failed, and never came: %s", fault_met(), what);
        if (quiet == UINT64_MAX && strcmp(fault_met(), "none") != 0)
            quiet = faas_deadline_in_ms(FAULT_QUIET_MS);
        if (faas_left_ms(quiet) == 0)
            return faas_fail(err, FAAS_TIMEOUT, "did not come: %s", what);
        nap();
    }
    return FAAS_OK;
}

/* ---- what is left behind ---- */

int fault_subscriptions(const struct nats *nats, const char *client_name)
{
    char *body = nats_get(nats, 0, "/connz");
    json_t *doc = body != NULL ? json_loads(body, 0, NULL) : NULL, *connection;
    int found = -1;
    size_t i;

    json_array_foreach (json_object_get(doc, "connections"), i, connection) {
        const char *name = json_string_value(json_object_get(connection, "name"));

        if (name != NULL && strcmp(name, client_name) == 0)
            found = (int)json_integer_value(json_object_get(connection, "subscriptions"));
    }
    json_decref(doc);
    free(body);
    return found;
}

struct subscribed {
    const struct nats *nats;
    const char *client_name;
    int expected;
};

static bool is_subscribed(void *arg)
{
    const struct subscribed *subscribed = arg;

    return fault_subscriptions(subscribed->nats, subscribed->client_name) == subscribed->expected;
}

void fault_wait_subscriptions(const struct nats *nats, const char *client_name, int expected)
{
    struct subscribed subscribed = {nats, client_name, expected};

    wait_until(is_subscribed, &subscribed, FAULT_HANG_MS, "as many subscriptions as before");
}
