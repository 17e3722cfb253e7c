#include "gateway/status.h"

#include <stdio.h>
#include <string.h>

#include "gateway/problem.h"
#include "service.h"

#define REFRESH_S 0.25
#define OK_TYPE   "text/plain; charset=utf-8"
#define OK_TEXT   "OK"

static const char *const services[] = {"auth", "registry", "publisher", "spawner"};
/* What is missing besides them. */
static const char *const others[] = {"a connection to the bus", "a leader of the store"};
#define BUS   (1u << FAAS_ARRAY_LEN(services))
#define STORE (BUS << 1)

static void refresh(struct status *status)
{
    unsigned missing = faas_bus_is_connected(status->rt->bus) ? 0 : BUS;

    for (size_t i = 0; i < FAAS_ARRAY_LEN(services); i++) {
        if (faas_members_usable(status->rt->members, services[i]) == 0)
            missing |= 1u << i;
    }
    if (!access_is_led(status->access))
        missing |= STORE;
    atomic_store(&status->missing, missing);
}

static void on_timer(struct ev_loop *ev, ev_timer *timer, int events)
{
    (void)ev;
    (void)events;
    refresh(timer->data);
}

faas_code status_init(struct status *status, faas_err *err)
{
    atomic_init(&status->missing, STORE | (STORE - 1));
    return http_constant_new(OK_TYPE, OK_TEXT, &status->ok, err);
}

void status_start(struct status *status, const struct faas_runtime *rt, struct access *access)
{
    status->rt = rt;
    status->access = access;
    ev_timer_init(&status->timer, on_timer, 0.0, REFRESH_S);
    status->timer.data = status;
    ev_timer_start(faas_loop_ev(rt->loop), &status->timer);
    refresh(status);
}

void status_stop(struct status *status)
{
    if (status->rt != NULL)
        ev_timer_stop(faas_loop_ev(status->rt->loop), &status->timer);
}

void status_done(struct status *status)
{
    http_constant_free(status->ok);
    status->ok = NULL;
}

faas_code status_check(struct status *status, const char *service, faas_err *err)
{
    unsigned missing = atomic_load(&status->missing);

    if ((missing & BUS) != 0)
        return faas_fail(err, FAAS_UNAVAILABLE, "the gateway is not connected to the bus");
    for (size_t i = 0; i < FAAS_ARRAY_LEN(services); i++) {
        if (strcmp(services[i], service) == 0 && (missing & 1u << i) != 0)
            return faas_fail(err, FAAS_UNAVAILABLE, "no %s instance is ready", service);
    }
    return FAAS_OK;
}

const http_constant *status_constant(const struct status *status)
{
    return atomic_load(&status->missing) == 0 ? status->ok : NULL;
}

static const char *name_of(size_t bit)
{
    return bit < FAAS_ARRAY_LEN(services) ? services[bit] : others[bit - FAAS_ARRAY_LEN(services)];
}

json_t *status_missing(const struct status *status)
{
    unsigned missing = atomic_load(&status->missing);
    FAAS_AUTO(json_t) *names = json_array();

    for (size_t i = 0; i < FAAS_ARRAY_LEN(services) + FAAS_ARRAY_LEN(others); i++)
        if ((missing & 1u << i) != 0 && json_array_append_new(names, json_string(name_of(i))) != 0)
            return NULL;
    return FAAS_STEAL(names);
}

void status_answer(struct status *status, http_exchange *x)
{
    unsigned missing = atomic_load(&status->missing);
    char names[128] = "";
    faas_err err = {0};
    size_t used = 0;

    if (missing == 0) {
        http_answer_bytes(x, 200, OK_TYPE, strdup(OK_TEXT), strlen(OK_TEXT));
        return;
    }
    for (size_t i = 0; i < FAAS_ARRAY_LEN(services) + FAAS_ARRAY_LEN(others); i++) {
        if ((missing & 1u << i) == 0)
            continue;
        used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", used > 0 ? ", " : "",
                                 name_of(i));
    }
    (void)faas_fail(&err, FAAS_UNAVAILABLE, "not ready; missing: %s", names);
    problem_from_err(x, &err, NULL);
}
