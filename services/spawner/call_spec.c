#include "call_spec.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/name.h"
#include "contract.h"

#define TRACE_ENV         "TRACEPARENT"
#define MIB               (1024 * 1024)
#define MEMORY_MB_MAX     (1024 * 1024)
#define PIDS_MAX          32768
#define TMP_MB_MAX        (64 * 1024)
#define CPUS_MAX          1024
#define START_TIMEOUT_MAX FAAS_TIMEOUT_MS_MAX

struct body {
    const char *input, *network, *reuse, *function;
    const char *kind, *tenant, *reference, *digest_kind, *digest_value;
    json_t *command, *env, *secrets;
    double cpus;
    int64_t memory_mb, pids, tmp_mb, output_mb, timeout_ms, start_timeout_ms, last_stderr, version;
    int64_t input_bytes;
    const char *isolation, *stream, *content_type;
    bool may_pull, may_run_again;
};

static const struct faas_json_field digest_fields[] = {
    FAAS_FIELD(STR, struct body, digest_kind, "kind", 1, 32, true),
    FAAS_FIELD(STR, struct body, digest_value, "value", 1, 128, true),
    FAAS_FIELD_END,
};
static const struct faas_json_field image_fields[] = {
    FAAS_FIELD(STR, struct body, reference, "reference", 1, 1024, true),
    {"digest", FAAS_JSON_OBJECT, 0, 0, 0, true, digest_fields, SIZE_MAX},
    FAAS_FIELD(LIST, struct body, command, "command", 0, 1024, false),
    FAAS_FIELD_END,
};
static const struct faas_json_field limit_fields[] = {
    FAAS_FIELD(INT, struct body, memory_mb, "memory_mb", 1, MEMORY_MB_MAX, false),
    FAAS_FIELD(REAL, struct body, cpus, "cpus", 0.001, CPUS_MAX, false),
    FAAS_FIELD(INT, struct body, pids, "pids", 1, PIDS_MAX, false),
    FAAS_FIELD(INT, struct body, tmp_mb, "tmp_mb", 1, TMP_MB_MAX, false),
    FAAS_FIELD(INT, struct body, output_mb, "output_mb", 1, FAAS_OUTPUT_MB_MAX, false),
    FAAS_FIELD_END,
};
static const struct faas_json_field body_fields[] = {
    FAAS_FIELD(STR, struct body, kind, "kind", 1, 32, false),
    FAAS_FIELD(STR, struct body, tenant, "tenant", 0, FAAS_UUID_TEXT - 1, false),
    {"image", FAAS_JSON_OBJECT, 0, 0, 0, true, image_fields, SIZE_MAX},
    FAAS_FIELD(INT, struct body, version, "version", 0, 1e15, false),
    FAAS_FIELD(STR, struct body, input, "input", 1, 16, false),
    FAAS_FIELD(MAP, struct body, env, "env", 0, FAAS_ENV_MAX, false),
    FAAS_FIELD(LIST, struct body, secrets, "secrets", 0, FAAS_SECRETS_MAX, false),
    {"limits", FAAS_JSON_OBJECT, 0, 0, 0, false, limit_fields, SIZE_MAX},
    FAAS_FIELD(INT, struct body, timeout_ms, "timeout_ms", 1, FAAS_TIMEOUT_MS_MAX, false),
    FAAS_FIELD(INT, struct body, start_timeout_ms, "start_timeout_ms", 1, START_TIMEOUT_MAX, false),
    FAAS_FIELD(STR, struct body, network, "network", 1, 32, false),
    FAAS_FIELD(STR, struct body, reuse, "reuse", 1, 32, false),
    FAAS_FIELD(STR, struct body, function, "function", 0, FAAS_UUID_TEXT - 1, false),
    FAAS_FIELD(STR, struct body, isolation, "isolation", 1, 64, false),
    FAAS_FIELD(BOOL, struct body, may_pull, "pull", 0, 0, false),
    FAAS_FIELD(BOOL, struct body, may_run_again, "again", 0, 0, false),
    FAAS_FIELD(INT, struct body, last_stderr, "last_stderr", 0, FAAS_STDERR_TAIL, false),
    FAAS_FIELD(STR, struct body, stream, "stream", 0, 32, false),
    FAAS_FIELD(INT, struct body, input_bytes, "input_bytes", 1, 1e15, false),
    FAAS_FIELD(STR, struct body, content_type, "content_type", 0, FAAS_MEDIA_TYPE_MAX, false),
    FAAS_FIELD_END,
};

static bool is_instance_id(const char *text)
{
    size_t len = text != NULL ? strlen(text) : 0;

    return len >= 1 && len <= 32 && strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789") == len;
}

/* A publisher of before FAAS_LEVEL_INBOX makes it the reply subject. */
static const char *inbox_of(const faas_msg *msg)
{
    const char *inbox = faas_msg_header(msg, FAAS_H_INBOX);

    return inbox != NULL ? inbox : faas_msg_reply(msg);
}

static bool is_subject(const char *text)
{
    size_t len = text != NULL ? strlen(text) : 0;

    return len >= 1 && len < FAAS_SUBJECT_MAX && strpbrk(text, " \t*>") == NULL;
}

faas_code call_spec_head(const faas_msg *msg, struct call_spec *out_spec, faas_err *err)
{
    const char *id = faas_msg_header(msg, FAAS_H_ID);
    const char *publisher = faas_msg_header(msg, FAAS_H_PUBLISHER);
    const char *trace = faas_msg_header(msg, FAAS_H_TRACE);
    int64_t place = faas_msg_header_int(msg, FAAS_H_PLACE, -1);

    if (id == NULL || !faas_uuid_is(id))
        return faas_fail(err, FAAS_INVALID, FAAS_H_ID ": expected a UUID");
    if (!is_instance_id(publisher))
        return faas_fail(err, FAAS_INVALID, FAAS_H_PUBLISHER ": expected an instance id");
    if (place < 1 || place > UINT32_MAX)
        return faas_fail(err, FAAS_INVALID, FAAS_H_PLACE ": expected 1..%u", UINT32_MAX);
    if (!is_subject(inbox_of(msg)))
        return faas_fail(err, FAAS_INVALID, "a call without the caller's inbox");
    memset(out_spec, 0, sizeof *out_spec);
    snprintf(out_spec->id, sizeof out_spec->id, "%s", id);
    snprintf(out_spec->publisher, sizeof out_spec->publisher, "%s", publisher);
    out_spec->inbox = inbox_of(msg);
    out_spec->epoch = faas_msg_header(msg, FAAS_H_EPOCH);
    out_spec->beat = faas_msg_header_int(msg, FAAS_H_BEAT, -1);
    out_spec->place = (uint32_t)place;
    if (trace != NULL)
        (void)faas_trace_read(trace, out_spec->trace);
    out_spec->age_ms = (double)faas_msg_header_int(msg, FAAS_H_AGE, -1);
    return FAAS_OK;
}

void call_spec_defaults(struct rt_spec *run)
{
    *run = (struct rt_spec){
        .tenant = "",
        .function = "",
        .cpus = 1.0,
        .memory_mb = 128,
        .pids = 128,
        .tmp_mb = 64,
        .output_bytes = (int64_t)FAAS_OUTPUT_MB * MIB,
        .timeout_ms = FAAS_TIMEOUT_MS,
        .start_timeout_ms = FAAS_START_TIMEOUT_MS,
    };
}

/* Whatever else reuse may come to mean, a fresh sandbox is never wrong. */
static bool is_slot(const struct body *body)
{
    return strcmp(body->reuse, "slot") == 0;
}

static faas_code check_secrets(const struct body *body, faas_err *err)
{
    json_t *name;
    size_t i;

    json_array_foreach (body->secrets, i, name)
        if (faas_function_name_check(json_string_value(name), NULL) != FAAS_OK)
            return faas_fail(err, FAAS_INVALID, "secrets: expected names");
    if (i > 0 && !faas_uuid_is(body->tenant))
        return faas_fail(err, FAAS_INVALID, "secrets: need a tenant");
    return FAAS_OK;
}

static faas_code check(const struct body *body, faas_err *err)
{
    bool is_input = strcmp(body->kind, FAAS_KIND_INPUT) == 0;

    if (strcmp(body->kind, FAAS_KIND_EXEC) != 0 && !is_input)
        return faas_fail(err, FAAS_UNSUPPORTED, "calls of this kind cannot run here");
    if (is_input && (strcmp(body->input, "stdin") != 0 || body->input_bytes == 0))
        return faas_fail(err, FAAS_INVALID, "input_bytes: of a call whose input is stdin");
    FAAS_TRY(check_secrets(body, err));
    if (strcmp(body->input, "argv") != 0 && strcmp(body->input, "stdin") != 0)
        return faas_fail(err, FAAS_INVALID, "input: expected argv or stdin");
    if (strcmp(body->network, "none") != 0 && strcmp(body->network, "outbound") != 0)
        return faas_fail(err, FAAS_INVALID, "network: expected none or outbound");
    if (is_slot(body) && (body->tenant[0] == '\0' || body->function[0] == '\0'))
        return faas_fail(err, FAAS_INVALID, "reuse slot: needs tenant and function");
    return FAAS_OK;
}

/* The function goes on with its caller's trace, unless its own environment says another. */
static faas_code add_trace(const struct call_spec *spec, struct body *body, json_t *meta,
                           faas_err *err)
{
    if (spec->trace[0] == '\0' || json_object_get(body->env, TRACE_ENV) != NULL)
        return FAAS_OK;
    if (body->env == NULL) {
        body->env = json_object();
        if (json_object_set_new(meta, "env", body->env) != 0)
            return faas_fail_sys(err, ENOMEM, "a call's environment");
    }
    if (json_object_set_new(body->env, TRACE_ENV, json_string(spec->trace)) != 0)
        return faas_fail_sys(err, ENOMEM, "a call's environment");
    return FAAS_OK;
}

/* Of a word we do not know nothing leaves early, which is never wrong. */
static enum call_stream stream_of(const struct body *body)
{
    if (strcmp(body->stream, FAAS_STREAMED_ALL) == 0)
        return CALL_STREAM_ALL;
    return strcmp(body->stream, FAAS_STREAMED_STDOUT) == 0 ? CALL_STREAM_STDOUT : CALL_STREAM_NONE;
}

static void copy_texts(const struct body *body, struct call_spec *spec)
{
    snprintf(spec->tenant, sizeof spec->tenant, "%s", body->tenant);
    snprintf(spec->function, sizeof spec->function, "%s", body->function);
    snprintf(spec->content_type, sizeof spec->content_type, "%s", body->content_type);
}

faas_code call_spec_body(const struct faas_envelope *env, struct call_spec *spec, faas_err *err)
{
    struct rt_spec run;
    struct body body;

    call_spec_defaults(&run);
    body = (struct body){.kind = "exec",
                         .tenant = "",
                         .input = "argv",
                         .network = "none",
                         .reuse = "fresh",
                         .function = "",
                         .isolation = "docker",
                         .stream = "",
                         .content_type = "",
                         .cpus = run.cpus,
                         .memory_mb = run.memory_mb,
                         .pids = run.pids,
                         .tmp_mb = run.tmp_mb,
                         .output_mb = FAAS_OUTPUT_MB,
                         .timeout_ms = run.timeout_ms,
                         .start_timeout_ms = run.start_timeout_ms,
                         .last_stderr = FAAS_STDERR_TAIL};
    FAAS_TRY(faas_json_decode(env->meta, body_fields, FAAS_JSON_TOLERANT, &body, err));
    FAAS_TRY(check(&body, err));
    FAAS_TRY(add_trace(spec, &body, env->meta, err));
    spec->isolation = body.isolation;
    spec->stderr_max = body.last_stderr;
    spec->version = body.version;
    spec->stream = stream_of(&body);
    spec->may_run_again = body.may_run_again;
    spec->secrets = json_array_size(body.secrets) > 0 ? body.secrets : NULL;
    copy_texts(&body, spec);
    spec->run = (struct rt_spec){
        .call_id = spec->id,
        .tenant = body.tenant,
        .function = body.function,
        .image = {.reference = body.reference,
                  .kind = body.digest_kind,
                  .value = body.digest_value,
                  .tenant = body.tenant},
        .command = body.command,
        .argument = env->bytes,
        .argument_len = env->len,
        .is_stdin = strcmp(body.input, "stdin") == 0,
        .is_fed = strcmp(body.kind, FAAS_KIND_INPUT) == 0,
        .env = body.env,
        .has_network = strcmp(body.network, "outbound") == 0,
        .is_slot = is_slot(&body),
        .may_pull = body.may_pull,
        .cpus = body.cpus,
        .memory_mb = body.memory_mb,
        .pids = body.pids,
        .tmp_mb = body.tmp_mb,
        .output_bytes = body.output_mb * MIB,
        .timeout_ms = body.timeout_ms,
        .start_timeout_ms = body.start_timeout_ms,
    };
    return FAAS_OK;
}
