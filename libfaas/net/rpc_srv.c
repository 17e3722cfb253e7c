/* The NATS service protocol (ADR-32): PING, INFO and STATS, each for all services, for one name
 * and for one instance. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/metric.h"
#include "net/rpc_internal.h"

#define TYPE_PREFIX "io.nats.micro.v1."

/* ---- documents ---- */

static json_t *identity(const faas_rpc *rpc, const char *type)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:{}}", "type", type, "name", rpc->conf.service, "id",
                     rpc->conf.id, "version", rpc->conf.version, "metadata");
}

static const char *queue_of(const struct faas_rpc_end *end)
{
    return end->row.queue != NULL ? end->row.queue : "";
}

static json_t *info_of(const struct faas_rpc_end *end)
{
    return json_pack("{s:s, s:s, s:s, s:{}}", "name", end->row.name, "subject", end->subject,
                     "queue_group", queue_of(end), "metadata");
}

static json_t *stats_of(struct faas_rpc_end *end)
{
    json_int_t requests = atomic_load(&end->requests);
    json_int_t time_ns = atomic_load(&end->time_ns);
    char last_error[sizeof end->last_error];

    pthread_mutex_lock(&end->mu);
    memcpy(last_error, end->last_error, sizeof last_error);
    pthread_mutex_unlock(&end->mu);
    return json_pack("{s:s, s:s, s:s, s:I, s:I, s:s, s:I, s:I}", "name", end->row.name, "subject",
                     end->subject, "queue_group", queue_of(end), "num_requests", requests,
                     "num_errors", (json_int_t)atomic_load(&end->errors), "last_error", last_error,
                     "processing_time", time_ns, "average_processing_time",
                     requests > 0 ? time_ns / requests : (json_int_t)0);
}

json_t *faas_rpc_srv_ping(const faas_rpc *rpc)
{
    return identity(rpc, TYPE_PREFIX "ping_response");
}

json_t *faas_rpc_srv_info(const faas_rpc *rpc)
{
    FAAS_AUTO(json_t) *doc = identity(rpc, TYPE_PREFIX "info_response");
    json_t *list = doc != NULL ? json_array() : NULL;
    const struct faas_rpc_end *end;

    if (json_object_set_new(doc, "endpoints", list) != 0 ||
        json_object_set_new(doc, "description", json_string(rpc->conf.description)) != 0)
        return NULL;
    TAILQ_FOREACH (end, &rpc->ends, link) {
        if (json_array_append_new(list, info_of(end)) != 0)
            return NULL;
    }
    return FAAS_STEAL(doc);
}

/* Beyond the specification: the process's metrics as Prometheus text, for whoever gathers them. */
static bool add_metrics(json_t *doc)
{
    FAAS_AUTO(char) *text = faas_metrics_render();

    return text != NULL && json_object_set_new(doc, "metrics", json_string(text)) == 0;
}

json_t *faas_rpc_srv_stats(const faas_rpc *rpc)
{
    FAAS_AUTO(json_t) *doc = identity(rpc, TYPE_PREFIX "stats_response");
    json_t *list = doc != NULL ? json_array() : NULL;
    struct faas_rpc_end *end;

    if (json_object_set_new(doc, "endpoints", list) != 0 ||
        json_object_set_new(doc, "started", json_string(rpc->started)) != 0 || !add_metrics(doc))
        return NULL;
    TAILQ_FOREACH (end, &rpc->ends, link) {
        if (json_array_append_new(list, stats_of(end)) != 0)
            return NULL;
    }
    return FAAS_STEAL(doc);
}

/* ---- subjects ---- */

static void answer(faas_rpc *rpc, faas_msg *take_msg, json_t *take_doc)
{
    FAAS_AUTO(json_t) *doc = take_doc;

    faas_rpc_answer_json(rpc, take_msg, doc);
    faas_msg_free(take_msg);
}

static void on_ping(void *arg, faas_msg *take_msg)
{
    answer(arg, take_msg, faas_rpc_srv_ping(arg));
}

static void on_info(void *arg, faas_msg *take_msg)
{
    answer(arg, take_msg, faas_rpc_srv_info(arg));
}

static void on_stats(void *arg, faas_msg *take_msg)
{
    answer(arg, take_msg, faas_rpc_srv_stats(arg));
}

faas_code faas_rpc_srv_open(faas_rpc *rpc, faas_err *err)
{
    static const struct {
        const char *verb;
        faas_msg_handler *handler;
    } verbs[] = {{"PING", on_ping}, {"INFO", on_info}, {"STATS", on_stats}};
    size_t n = 0;

    for (size_t i = 0; i < FAAS_ARRAY_LEN(verbs); i++) {
        char subjects[3][FAAS_SUBJECT_MAX];

        (void)snprintf(subjects[0], FAAS_SUBJECT_MAX, "$SRV.%s", verbs[i].verb);
        (void)snprintf(subjects[1], FAAS_SUBJECT_MAX, "$SRV.%s.%.64s", verbs[i].verb,
                       rpc->conf.service);
        (void)snprintf(subjects[2], FAAS_SUBJECT_MAX, "$SRV.%s.%.64s.%.64s", verbs[i].verb,
                       rpc->conf.service, rpc->conf.id);
        for (size_t k = 0; k < FAAS_ARRAY_LEN(subjects); k++)
            FAAS_TRY(faas_bus_subscribe(rpc->bus, FAAS_DATA, subjects[k], NULL, verbs[i].handler,
                                        rpc, &rpc->srv_sub[n++], err));
    }
    return FAAS_OK;
}
