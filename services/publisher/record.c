#include "record.h"

#include "base/text.h"
#include "contract.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct head { /* the stored fields that matter here; borrowed from the document */
    const char *id, *name, *reference, *input, *network, *reuse, *isolation, *content_type;
    const char *digest_kind, *digest_value;
    int64_t version, timeout_ms, start_timeout_ms, max_wait_ms, concurrency;
    int64_t memory_mb, pids, tmp_mb, output_mb;
    double cpus;
    bool is_idempotent;
    int64_t attempts, backoff_ms;
    json_t *command, *env, *secrets, *retry_on, *aliases;
    bool is_disabled;
};

static const struct faas_json_field digest_fields[] = {
    FAAS_FIELD(STR, struct head, digest_kind, "kind", 0, 64, false),
    FAAS_FIELD(STR, struct head, digest_value, "value", 0, 256, false),
    FAAS_FIELD_END,
};
static const struct faas_json_field limit_fields[] = {
    FAAS_FIELD(INT, struct head, memory_mb, "memory_mb", 1, 1e9, false),
    FAAS_FIELD(REAL, struct head, cpus, "cpus", 0, 1e6, false),
    FAAS_FIELD(INT, struct head, pids, "pids", 1, 1e9, false),
    FAAS_FIELD(INT, struct head, tmp_mb, "tmp_mb", 0, 1e9, false),
    FAAS_FIELD(INT, struct head, output_mb, "output_mb", 1, FAAS_OUTPUT_MB_MAX, false),
    FAAS_FIELD_END,
};
static const struct faas_json_field retry_fields[] = {
    FAAS_FIELD(BOOL, struct head, is_idempotent, "idempotent", 0, 0, false),
    FAAS_FIELD(INT, struct head, attempts, "attempts", 1, JOB_ATTEMPTS_MAX, false),
    FAAS_FIELD(INT, struct head, backoff_ms, "backoff_ms", 0, JOB_BACKOFF_MAX_MS, false),
    FAAS_FIELD(LIST, struct head, retry_on, "on", 0, 16, false),
    FAAS_FIELD_END,
};
static const struct faas_json_field head_fields[] = {
    FAAS_FIELD(STR, struct head, id, "id", 36, 36, true),
    FAAS_FIELD(STR, struct head, name, "name", 1, FAAS_FUNCTION_NAME_MAX, true),
    FAAS_FIELD(STR, struct head, reference, "reference", 0, 2 * FAAS_IMAGE_REF_MAX, false),
    FAAS_FIELD(STR, struct head, input, "input", 1, 32, false),
    FAAS_FIELD(STR, struct head, network, "network", 1, 32, false),
    FAAS_FIELD(STR, struct head, reuse, "reuse", 1, 32, false),
    FAAS_FIELD(STR, struct head, isolation, "isolation", 1, 64, false),
    FAAS_FIELD(STR, struct head, content_type, "content_type", 0, FAAS_MEDIA_TYPE_MAX, false),
    FAAS_FIELD(INT, struct head, version, "version", 1, 1e15, true),
    FAAS_FIELD(INT, struct head, timeout_ms, "timeout_ms", 1, FAAS_TIMEOUT_MS_MAX, false),
    FAAS_FIELD(INT, struct head, start_timeout_ms, "start_timeout_ms", 1, FAAS_TIMEOUT_MS_MAX,
               false),
    FAAS_FIELD(INT, struct head, max_wait_ms, "max_wait_ms", 0, FAAS_TIMEOUT_MS_MAX, false),
    FAAS_FIELD(INT, struct head, concurrency, "concurrency", 0, 1e9, false),
    FAAS_FIELD(LIST, struct head, command, "command", 0, 4096, false),
    FAAS_FIELD(MAP, struct head, env, "env", 0, 4096, false),
    FAAS_FIELD(LIST, struct head, secrets, "secrets", 0, 4096, false),
    FAAS_FIELD(ANY, struct head, aliases, "aliases", 0, 0, false),
    FAAS_FIELD(BOOL, struct head, is_disabled, "disabled", 0, 0, false),
    {"digest", FAAS_JSON_OBJECT, 0, 0, 0, false, digest_fields, SIZE_MAX},
    {"limits", FAAS_JSON_OBJECT, 0, 0, 0, false, limit_fields, SIZE_MAX},
    {"retry", FAAS_JSON_OBJECT, 0, 0, 0, false, retry_fields, SIZE_MAX},
    FAAS_FIELD_END,
};
static const struct head head_defaults = {
    .reference = "",
    .input = "argv",
    .network = "none",
    .reuse = "fresh",
    .isolation = "docker",
    .content_type = "",
    .digest_kind = "",
    .digest_value = "",
    .timeout_ms = FAAS_TIMEOUT_MS,
    .start_timeout_ms = FAAS_START_TIMEOUT_MS,
    .memory_mb = 128,
    .cpus = 1.0,
    .pids = 128,
    .tmp_mb = 64,
    .output_mb = FAAS_OUTPUT_MB,
    .attempts = JOB_ATTEMPTS,
    .backoff_ms = JOB_BACKOFF_MS,
};

void record_key(const char *tenant, const char *name, char out_key[RECORD_KEY_MAX])
{
    char hash[FAAS_HASH_TEXT];

    faas_hash_text(name, strlen(name), hash);
    snprintf(out_key, RECORD_KEY_MAX, "f.%.36s.%.32s", tenant, hash);
}

void record_version_key(const char *tenant, const char *id, int64_t version,
                        char out_key[RECORD_VERSION_KEY_MAX])
{
    snprintf(out_key, RECORD_VERSION_KEY_MAX, "v.%.36s.%.36s.%lld", tenant, id, (long long)version);
}

static json_t *or_empty(json_t *borrowed, json_t *(*empty)(void))
{
    return borrowed != NULL ? json_incref(borrowed) : empty();
}

/* An image of the store runs in a sandbox, whatever the record says: it is known nowhere else. */
static const char *isolation_of(const struct head *head)
{
    return strcmp(head->digest_kind, "store") == 0 ? "sandbox" : head->isolation;
}

static json_t *spec_new(const struct head *head, const char *tenant)
{
    json_t *limits =
        json_pack("{s:I, s:f, s:I, s:I, s:I}", "memory_mb", (json_int_t)head->memory_mb, "cpus",
                  head->cpus, "pids", (json_int_t)head->pids, "tmp_mb", (json_int_t)head->tmp_mb,
                  "output_mb", (json_int_t)head->output_mb);
    json_t *image = json_pack("{s:s, s:{s:s, s:s}, s:o}", "reference", head->reference, "digest",
                              "kind", head->digest_kind, "value", head->digest_value, "command",
                              or_empty(head->command, json_array));

    return json_pack("{s:i, s:s, s:s, s:I, s:o, s:s, s:o, s:o, s:o, s:I, s:s, s:s, s:s, s:i}", "v",
                     1, "tenant", tenant, "function", head->id, "version",
                     (json_int_t)head->version, "image", image, "input", head->input, "env",
                     or_empty(head->env, json_object), "secrets",
                     or_empty(head->secrets, json_array), "limits", limits, "start_timeout_ms",
                     (json_int_t)head->start_timeout_ms, "network", head->network, "reuse",
                     head->reuse, "isolation", isolation_of(head), "last_stderr", FAAS_STDERR_TAIL);
}

/* An idempotent function without a list of its own is run again when a run was lost. */
static struct job_retry retry_of(const struct head *head)
{
    struct job_retry retry = {.is_idempotent = head->is_idempotent,
                              .attempts = head->attempts,
                              .backoff_ms = head->backoff_ms};
    const json_t *word;
    size_t i;

    retry.on_lost = head->is_idempotent && head->retry_on == NULL;
    json_array_foreach (head->retry_on, i, word) {
        retry.on_lost |= strcmp(json_string_value(word), "lost") == 0;
        retry.on_failed |= strcmp(json_string_value(word), "failed") == 0;
    }
    return retry;
}

static void record_fill(struct record *rec, const struct head *head, const char *tenant)
{
    snprintf(rec->tenant, sizeof rec->tenant, "%s", tenant);
    snprintf(rec->id, sizeof rec->id, "%s", head->id);
    snprintf(rec->name, sizeof rec->name, "%s", head->name);
    rec->version = head->version;
    rec->timeout_ms = head->timeout_ms;
    rec->start_timeout_ms = head->start_timeout_ms;
    rec->max_wait_ms = head->max_wait_ms;
    rec->concurrency = head->concurrency;
    rec->is_stdin = strcmp(head->input, "stdin") == 0;
    rec->is_disabled = head->is_disabled;
    rec->retry = retry_of(head);
    snprintf(rec->affinity, sizeof rec->affinity, "%s/%s/%lld", rec->tenant, rec->id,
             (long long)rec->version);
}

static faas_code record_new(const struct head *head, const char *key, struct record **out_record,
                            faas_err *err)
{
    char tenant[FAAS_UUID_TEXT];
    size_t len = 0;
    FAAS_AUTO(json_t) *spec = NULL;
    FAAS_AUTO(char) *text = NULL;
    struct record *rec;
    faas_code rc;

    snprintf(tenant, sizeof tenant, "%.36s", key + 2);
    spec = spec_new(head, tenant);
    if (head->content_type[0] != '\0' &&
        json_object_set_new(spec, "content_type", json_string(head->content_type)) != 0)
        return faas_fail_sys(err, ENOMEM, "hold a function record");
    text = spec != NULL ? faas_json_text(spec, &len) : NULL;
    rec = text != NULL ? calloc(1, sizeof *rec + len) : NULL;
    if (rec == NULL)
        return faas_fail_sys(err, ENOMEM, "hold a function record");
    rec->refs = 1;
    rec->bytes = sizeof *rec + len;
    rec->spec_len = len - 1; /* without the brace that closes it */
    memcpy(rec->spec, text, rec->spec_len);
    record_fill(rec, head, tenant);
    rc = alias_read(head->aliases, &rec->aliases, &rec->alias_count, err);
    if (rc != FAAS_OK) {
        record_unref(rec);
        return rc;
    }
    rec->bytes += rec->alias_count * sizeof *rec->aliases;
    *out_record = rec;
    return FAAS_OK;
}

faas_code record_parse(const char *key, const void *value, size_t len, struct record **out_record,
                       faas_err *err)
{
    FAAS_AUTO(json_t) *doc = NULL;
    struct head head = head_defaults;
    faas_err why = {0};

    if ((strncmp(key, "f.", 2) != 0 && strncmp(key, "v.", 2) != 0) || strlen(key) < 2 + 36 + 1)
        return faas_fail(err, FAAS_INTERNAL, "not a function's key");
    if (faas_json_parse(value, len, false, &doc, &why) != FAAS_OK ||
        faas_json_decode(doc, head_fields, FAAS_JSON_TOLERANT, &head, &why) != FAAS_OK) {
        (void)faas_fail(err, FAAS_INTERNAL, "the stored function record cannot be read");
        return faas_err_detail(err, "%s: %s", key, why.msg);
    }
    return record_new(&head, key, out_record, err);
}

struct record *record_ref(struct record *rec)
{
    rec->refs++;
    return rec;
}

void record_unref(struct record *rec)
{
    if (rec == NULL || --rec->refs > 0)
        return;
    free(rec->aliases);
    free(rec);
}

const struct alias *record_alias(const struct record *rec, const char *name)
{
    for (size_t i = 0; i < rec->alias_count; i++)
        if (strcmp(rec->aliases[i].name, name) == 0)
            return &rec->aliases[i];
    return NULL;
}

faas_code record_check_argument(const struct record *rec, const void *arg, size_t len,
                                faas_err *err)
{
    if (len > FAAS_BODY_MAX)
        return faas_fail(err, FAAS_TOO_LARGE, "argument: %zu bytes, at most %d", len,
                         FAAS_BODY_MAX);
    if (rec->is_stdin)
        return FAAS_OK;
    if (len > FAAS_ARGUMENT_MAX)
        return faas_fail(err, FAAS_TOO_LARGE,
                         "argument: %zu bytes, at most %d as a command-line argument; a function "
                         "with \"input\":\"stdin\" takes up to %d",
                         len, FAAS_ARGUMENT_MAX, FAAS_BODY_MAX);
    if (memchr(arg, '\0', len) != NULL || !faas_utf8_is(arg, len))
        return faas_fail(err, FAAS_INVALID,
                         "argument: must be valid UTF-8 without NUL as a command-line argument; a "
                         "function with \"input\":\"stdin\" takes any bytes");
    return FAAS_OK;
}

faas_code record_check_input(const struct record *rec, int64_t bytes, faas_err *err)
{
    if (rec->is_stdin)
        return FAAS_OK;
    return faas_fail(err, FAAS_TOO_LARGE,
                     "argument: %lld bytes, at most %d as a command-line argument; a function with "
                     "\"input\":\"stdin\" takes more",
                     (long long)bytes, FAAS_ARGUMENT_MAX);
}

char *record_placement(const struct record *rec, const struct record_run *run, size_t *out_len)
{
    const char *stream = run->stream != NULL ? run->stream : "";
    char *text, kind[64] = "\"" FAAS_KIND_EXEC "\"";
    int len;

    if (run->input_bytes > 0)
        (void)snprintf(kind, sizeof kind, "\"" FAAS_KIND_INPUT "\",\"input_bytes\":%lld",
                       (long long)run->input_bytes);
    len = asprintf(&text, "%.*s,\"kind\":%s,\"timeout_ms\":%lld%s%s%s%s,\"pull\":%s}",
                   (int)rec->spec_len, rec->spec, kind, (long long)run->timeout_ms,
                   run->stream != NULL ? ",\"stream\":\"" : "", stream,
                   run->stream != NULL ? "\"" : "", run->may_run_again ? ",\"again\":true" : "",
                   run->is_pull ? "true" : "false");
    if (len < 0)
        return NULL;
    *out_len = (size_t)len;
    return text;
}
