/* What a spawner says of a call to its publisher (PROTOCOL.md 4.3), and answers to fences and cancels. */
#include "job.h"

#include <stdio.h>

#include "base/log.h"
#include "contract.h"

json_t *job_event_json(const struct job_host *host, uint32_t place, const char *name)
{
    return json_pack("{s:i,s:s,s:I,s:s,s:s}", "v", 1, "event", name, "place", (json_int_t)place,
                     "spawner", host->spawner, "epoch", faas_members_epoch(host->members));
}

bool job_event_subject(char out_subject[FAAS_SUBJECT_MAX], const struct call_spec *spec)
{
    int n =
        snprintf(out_subject, FAAS_SUBJECT_MAX, "faas.call.%s.%s.ev", spec->publisher, spec->id);

    return n > 0 && n < FAAS_SUBJECT_MAX;
}

/* Lost events are no loss of fate: the publisher asks (fence). */
void job_tell_event(const struct job_host *host, const struct call_spec *spec, const json_t *event)
{
    char subject[FAAS_SUBJECT_MAX];
    const struct faas_header headers[] = {
        {FAAS_H_PROTO, FAAS_PROTO}, {FAAS_H_ID, spec->id}, {NULL, NULL}};
    struct faas_out out = {.subject = subject, .headers = headers};
    FAAS_AUTO(char) *text = event != NULL ? faas_json_text(event, &out.len) : NULL;
    faas_err err = {0};

    out.data = text;
    if (text == NULL || !job_event_subject(subject, spec))
        return;
    if (faas_bus_publish(faas_rpc_bus(host->rpc), FAAS_CONTROL, &out, &err) != FAAS_OK)
        FAAS_LOG(WARN, "event not sent", FAAS_LSTR("call", spec->id), FAAS_LSTR("why", err.msg));
}

void job_tell_busy(const struct job_host *host, const struct call_spec *head, const char *reason,
                   const char *detail)
{
    FAAS_AUTO(json_t) *event = job_event_json(host, head->place, "busy");

    if (event == NULL || json_object_set_new(event, "reason", json_string(reason)) != 0 ||
        json_object_set_new(event, "detail", json_string(detail)) != 0)
        return;
    FAAS_LOG(DEBUG, "call refused", FAAS_LSTR("call", head->id), FAAS_LSTR("reason", reason),
             FAAS_LSTR("detail", detail));
    job_tell_event(host, head, event);
}

void job_answer_state(const struct job_host *host, const faas_msg *msg, const char *state)
{
    FAAS_AUTO(json_t) *doc = json_pack("{s:i,s:s,s:s}", "v", 1, "state", state, "epoch",
                                       faas_members_epoch(host->members));

    faas_rpc_answer_json(host->rpc, msg, doc);
}
