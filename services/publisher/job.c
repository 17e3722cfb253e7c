#include "job.h"

#include "contract.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char *const roots[] = {
    [JOB_IN_QUEUE] = "job", [JOB_IN_RESULTS] = "res", [JOB_IN_DEAD] = "dead"};

void job_subject(enum job_place place, const char *tenant, const char *id,
                 char out_subject[JOB_SUBJECT_MAX])
{
    (void)snprintf(out_subject, JOB_SUBJECT_MAX, "%s.%s.%.36s.%.36s", roots[place], tenant + 34,
                   tenant, id);
}

void job_end_subject(const char *tenant, const char *id, char out_subject[JOB_SUBJECT_MAX])
{
    char root[JOB_SUBJECT_MAX];

    job_subject(JOB_IN_RESULTS, tenant, id, root);
    (void)snprintf(out_subject, JOB_SUBJECT_MAX, "%.100s.end", root);
}

void job_chunk_subject(const char *tenant, const char *id, size_t n,
                       char out_subject[JOB_SUBJECT_MAX])
{
    char root[JOB_SUBJECT_MAX];

    job_subject(JOB_IN_RESULTS, tenant, id, root);
    (void)snprintf(out_subject, JOB_SUBJECT_MAX, "%.100s.c%zu", root, n);
}

void job_key_subject(const char *tenant, const char *function, const char *hash,
                     char out_subject[JOB_KEY_SUBJECT_MAX])
{
    (void)snprintf(out_subject, JOB_KEY_SUBJECT_MAX, "key.%s.%.36s.%.36s.%.64s", tenant + 34,
                   tenant, function, hash);
}

static bool take_uuid(const char *text, char out_id[FAAS_UUID_TEXT])
{
    (void)snprintf(out_id, FAAS_UUID_TEXT, "%s", text);
    return faas_uuid_is(out_id) && (text[36] == '\0' || text[36] == '.');
}

bool job_subject_parse(const char *subject, char out_tenant[FAAS_UUID_TEXT],
                       char out_id[FAAS_UUID_TEXT])
{
    const char *dot = strchr(subject, '.');

    /* root.xx.tenant.id */
    if (dot == NULL || strlen(dot) < 4 + 36 + 1 + 36 || dot[3] != '.')
        return false;
    return take_uuid(dot + 4, out_tenant) && take_uuid(dot + 4 + 37, out_id);
}

/* ---- the state ---- */

struct stored { /* borrowed from the document */
    const char *id, *tenant, *user, *name, *pick, *function, *run, *state, *owner, *epoch, *trace,
        *label, *callback;
    int64_t version, runs, queued_ms, asked_ms;
};
static const struct faas_json_field stored_fields[] = {
    FAAS_FIELD(STR, struct stored, id, "id", 36, 36, true),
    FAAS_FIELD(STR, struct stored, tenant, "tenant", 36, 36, true),
    FAAS_FIELD(STR, struct stored, user, "user", 0, 36, false),
    FAAS_FIELD(STR, struct stored, name, "name", 1, FAAS_FUNCTION_REF_MAX, true),
    FAAS_FIELD(STR, struct stored, pick, "pick", 0, FAAS_FUNCTION_PICK_MAX, false),
    FAAS_FIELD(STR, struct stored, function, "function", 36, 36, true),
    FAAS_FIELD(STR, struct stored, run, "run", 36, 36, true),
    FAAS_FIELD(STR, struct stored, state, "state", 1, 32, true),
    FAAS_FIELD(STR, struct stored, owner, "owner", 0, 39, false),
    FAAS_FIELD(STR, struct stored, epoch, "epoch", 0, 32, false),
    FAAS_FIELD(STR, struct stored, trace, "traceparent", 0, 55, false),
    FAAS_FIELD(STR, struct stored, label, "client_call_id", 0, JOB_LABEL_MAX, false),
    FAAS_FIELD(STR, struct stored, callback, "callback", 0, JOB_URL_MAX, false),
    FAAS_FIELD(INT, struct stored, version, "version", 1, 1e15, true),
    FAAS_FIELD(INT, struct stored, runs, "runs", 0, 1e9, false),
    FAAS_FIELD(INT, struct stored, queued_ms, "queued_at", 0, 1e15, false),
    FAAS_FIELD(INT, struct stored, asked_ms, "timeout_ms", 0, FAAS_TIMEOUT_MS_MAX, false),
    FAAS_FIELD_END,
};

static json_t *state_json(const struct job_state *state)
{
    const char *pick = state->pick[0] != '\0' ? state->pick : NULL;

    return json_pack("{s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:s, s:s, s:s, "
                     "s:s, s:s*, s:s*}",
                     "v", 1, "id", state->id, "tenant", state->tenant, "user", state->user, "name",
                     state->name, "function", state->function, "run", state->run, "state",
                     state->is_started ? "started" : "waiting", "version",
                     (json_int_t)state->version, "runs", (json_int_t)state->runs, "queued_at",
                     (json_int_t)state->queued_ms, "timeout_ms", (json_int_t)state->asked_ms,
                     "owner", state->owner, "epoch", state->epoch, "traceparent", state->trace,
                     "client_call_id", state->label, "callback", state->callback, "pick", pick);
}

json_t *job_state_letter(const struct job_state *state)
{
    json_t *doc = state_json(state);

    if (doc != NULL && state->pick[0] != '\0' &&
        (json_object_del(doc, "pick") != 0 ||
         json_object_set_new(doc, "name", json_sprintf("%s%s", state->name, state->pick)) != 0)) {
        json_decref(doc);
        return NULL;
    }
    return doc;
}

void job_state_ref(const struct job_state *state, struct faas_function_ref *out_ref)
{
    char text[FAAS_FUNCTION_REF_MAX + 1];

    (void)snprintf(text, sizeof text, "%s%s", state->name, state->pick);
    if (faas_function_ref_parse(text, out_ref, NULL) != FAAS_OK)
        *out_ref = (struct faas_function_ref){.version = 0}; /* no function has this name */
}

faas_code job_state_pack(const struct job_state *state, const void *arg, size_t len, void **out_msg,
                         size_t *out_len, faas_err *err)
{
    FAAS_AUTO(json_t) *doc = state_json(state);

    if (doc == NULL)
        return faas_fail_sys(err, ENOMEM, "encode a queued call");
    return faas_envelope_pack(doc, arg, len, out_msg, out_len, err);
}

void job_state_done(struct job_state *state)
{
    free(state->callback);
    state->callback = NULL;
}

static faas_code fill(const struct stored *got, const struct faas_function_ref *ref,
                      struct job_state *out, faas_err *err)
{
    *out = (struct job_state){.version = got->version,
                              .runs = got->runs,
                              .queued_ms = got->queued_ms,
                              .asked_ms = got->asked_ms,
                              .is_started = strcmp(got->state, "waiting") != 0};
    (void)snprintf(out->id, sizeof out->id, "%s", got->id);
    (void)snprintf(out->tenant, sizeof out->tenant, "%s", got->tenant);
    (void)snprintf(out->user, sizeof out->user, "%s", got->user);
    memcpy(out->name, ref->name, sizeof out->name);
    faas_function_ref_pick(ref, out->pick);
    (void)snprintf(out->function, sizeof out->function, "%s", got->function);
    (void)snprintf(out->run, sizeof out->run, "%s", got->run);
    (void)snprintf(out->owner, sizeof out->owner, "%s", got->owner);
    (void)snprintf(out->epoch, sizeof out->epoch, "%s", got->epoch);
    (void)snprintf(out->trace, sizeof out->trace, "%s", got->trace);
    (void)snprintf(out->label, sizeof out->label, "%s", got->label);
    if (got->callback[0] != '\0' && (out->callback = strdup(got->callback)) == NULL)
        return faas_fail_sys(err, ENOMEM, "read a queued call");
    return FAAS_OK;
}

faas_code job_state_read(const json_t *doc, struct job_state *out_state, faas_err *err)
{
    char text[FAAS_FUNCTION_REF_MAX + FAAS_FUNCTION_PICK_MAX + 1];
    struct faas_function_ref ref;
    struct stored got = {
        .user = "", .pick = "", .owner = "", .epoch = "", .trace = "", .label = "", .callback = ""};

    FAAS_TRY(faas_json_decode(doc, stored_fields, FAAS_JSON_TOLERANT, &got, err));
    if (!faas_uuid_is(got.id) || !faas_uuid_is(got.tenant) || !faas_uuid_is(got.function) ||
        !faas_uuid_is(got.run) || (got.user[0] != '\0' && !faas_uuid_is(got.user)))
        return faas_fail(err, FAAS_INVALID, "queued call: expected UUIDs");
    (void)snprintf(text, sizeof text, "%s%s", got.name, got.pick);
    FAAS_TRY(faas_function_ref_parse(text, &ref, err));
    return fill(&got, &ref, out_state, err);
}

faas_code job_state_open(const void *msg, size_t len, struct job_state *out_state,
                         struct faas_envelope *out_env, faas_err *err)
{
    struct faas_envelope env = {0};

    FAAS_TRY(faas_envelope_open(msg, len, &env, err));
    if (job_state_read(env.meta, out_state, err) != FAAS_OK) {
        faas_envelope_done(&env);
        return err->code;
    }
    *out_env = env;
    return FAAS_OK;
}

/* ---- the end ---- */

json_t *job_end_json(const struct job_state *state, const struct job_end *end)
{
    FAAS_AUTO(json_t) *doc =
        json_pack("{s:i, s:s, s:s, s:s, s:I, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:b, s:b}", "v", 1,
                  "id", state->id, "name", state->name, "function", state->function, "version",
                  (json_int_t)state->version, "client_call_id", state->label, "status", end->status,
                  "runs", (json_int_t)state->runs, "queued_at", (json_int_t)state->queued_ms,
                  "ended_at", (json_int_t)end->ended_ms, "bytes", (json_int_t)end->bytes, "chunks",
                  (json_int_t)end->chunks, "text", end->is_text, "dead", end->is_dead);
    json_t *copy = faas_json_copy(end->end);

    if (copy == NULL || doc == NULL || json_object_set_new(doc, "end", copy) != 0)
        return NULL;
    return FAAS_STEAL(doc);
}

const char *job_text(const json_t *doc, const char *key)
{
    const char *text = json_string_value(json_object_get(doc, key));

    return text != NULL ? text : "";
}
