#include "gateway/openfaas.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/quantity.h"
#include "version.h"

#define ANNOTATION "faas."    /* begins those that set fields of ours */
#define PROCESS    "fprocess" /* what OpenFaaS's watchdog reads envProcess from */

bool openfaas_speaks(const struct gw_route *route)
{
    return route->what >= GW_SYS_LIST;
}

/* ---- requests ---- */

struct asked { /* borrowed from the request */
    const char *name, *image, *process, *space, *memory, *cpu, *value, *raw_value;
    const char *since, *tail, *instance;
    json_t *env, *constraints, *secrets, *labels, *annotations;
};

#define FIELD(kind, member, fname, req) FAAS_FIELD(kind, struct asked, member, fname, 0, 0, req)
#define SPACE                           FIELD(STR, space, "namespace", false)

static const struct faas_json_field limits_fields[] = {
    FIELD(STR, memory, "memory", false),
    FIELD(STR, cpu, "cpu", false),
    FAAS_FIELD_END,
};
static const struct faas_json_field deploy_fields[] = {
    FIELD(STR, name, "service", true),
    FIELD(STR, image, "image", true),
    FIELD(STR, process, "envProcess", false),
    FIELD(MAP, env, "envVars", false),
    FIELD(MAP, labels, "labels", false),
    FIELD(MAP, annotations, "annotations", false),
    FIELD(LIST, secrets, "secrets", false),
    FIELD(LIST, constraints, "constraints", false),
    {.name = "limits", .kind = FAAS_JSON_OBJECT, .sub = limits_fields, .present_offset = SIZE_MAX},
    SPACE,
    FAAS_FIELD_END,
};
static const struct faas_json_field remove_fields[] = {
    FIELD(STR, name, "functionName", true),
    SPACE,
    FAAS_FIELD_END,
};
static const struct faas_json_field secret_fields[] = {
    FIELD(STR, name, "name", true),
    FIELD(STR, value, "value", false),
    FIELD(STR, raw_value, "rawValue", false),
    SPACE,
    FAAS_FIELD_END,
};
static const struct faas_json_field logs_fields[] = {
    FIELD(STR, name, "name", true),
    FIELD(STR, since, "since", false),
    FIELD(STR, tail, "tail", false),
    FIELD(STR, instance, "instance", false),
    SPACE,
    FAAS_FIELD_END,
};
static const struct faas_json_field space_fields[] = {SPACE, FAAS_FIELD_END};

static bool is_given(const char *text)
{
    return text != NULL && text[0] != '\0';
}

static faas_code put(json_t *to, const char *key, json_t *take_value, faas_err *err)
{
    if (json_object_set_new(to, key, take_value) != 0)
        return faas_fail_sys(err, ENOMEM, "translate a request");
    return FAAS_OK;
}

static faas_code put_text(json_t *to, const char *key, const char *text, faas_err *err)
{
    return text != NULL ? put(to, key, json_string(text), err) : FAAS_OK;
}

static faas_code put_shared(json_t *to, const char *key, json_t *value, faas_err *err)
{
    return value != NULL ? put(to, key, json_incref(value), err) : FAAS_OK;
}

static faas_code check_space(const char *space, faas_err *err)
{
    if (!is_given(space) || strcmp(space, OPENFAAS_NAMESPACE) == 0)
        return FAAS_OK;
    return faas_fail(err, FAAS_UNPROCESSABLE,
                     "namespace: every user has one, " OPENFAAS_NAMESPACE "; leave it out");
}

static faas_code add_limits(const struct asked *asked, json_t *body, faas_err *err)
{
    json_t *limits = json_object();
    int64_t mib;
    double cpus;

    FAAS_TRY(put(body, "limits", limits, err));
    if (is_given(asked->memory)) {
        if (!faas_quantity_mib(asked->memory, &mib))
            return faas_fail(err, FAAS_INVALID, "limits.memory: expected a size such as 128Mi");
        FAAS_TRY(put(limits, "memory_mb", json_integer(mib), err));
    }
    if (is_given(asked->cpu)) {
        if (!faas_quantity_cpus(asked->cpu, &cpus))
            return faas_fail(err, FAAS_INVALID,
                             "limits.cpu: expected processors such as 500m or 0.5");
        FAAS_TRY(put(limits, "cpus", json_real(cpus), err));
    }
    return FAAS_OK;
}

static faas_code add_env(const struct asked *asked, json_t *body, faas_err *err)
{
    FAAS_AUTO(json_t) *env = asked->env != NULL ? faas_json_copy(asked->env) : json_object();

    if (env == NULL)
        return faas_fail_sys(err, ENOMEM, "translate a request");
    if (is_given(asked->process))
        FAAS_TRY(put_text(env, PROCESS, asked->process, err));
    return put(body, "env", FAAS_STEAL(env), err);
}

/* What OpenFaaS has no word for. */
static const struct annotated {
    const char *field; /* NULL ends */
    bool is_number;
} annotated[] = {
    {"description", false}, {"input", false},     {"network", false},    {"reuse", false},
    {"isolation", false},   {"timeout_ms", true}, {"max_wait_ms", true}, {"start_timeout_ms", true},
    {"concurrency", true},  {NULL, false},
};

static bool is_number(const char *text)
{
    size_t digits = strspn(text, "0123456789");

    return digits > 0 && digits <= 15 && text[digits] == '\0';
}

static faas_code add_annotation(json_t *body, const char *name, const char *text, faas_err *err)
{
    const struct annotated *known = annotated;

    if (strncmp(name, ANNOTATION, strlen(ANNOTATION)) != 0)
        return FAAS_OK;
    while (known->field != NULL && strcmp(known->field, name + strlen(ANNOTATION)) != 0)
        known++;
    if (known->field == NULL)
        return faas_fail(
            err, FAAS_INVALID,
            "annotations: " ANNOTATION "FIELD is one of description, input, network, "
            "reuse, isolation, timeout_ms, start_timeout_ms, max_wait_ms, concurrency");
    if (!known->is_number)
        return put_text(body, known->field, text, err);
    if (!is_number(text))
        return faas_fail(err, FAAS_INVALID, "annotations: %s: expected a whole number", name);
    return put(body, known->field, json_integer(strtoll(text, NULL, 10)), err);
}

static faas_code make_deploy(const struct asked *asked, json_t *body, faas_err *err)
{
    const char *name;
    json_t *text;

    if (json_array_size(asked->constraints) > 0)
        return faas_fail(err, FAAS_UNPROCESSABLE,
                         "constraints: calls run wherever there is a place; leave them out");
    FAAS_TRY(put_text(body, "name", asked->name, err));
    FAAS_TRY(put_text(body, "payload", asked->image, err));
    FAAS_TRY(put_shared(body, "labels", asked->labels, err));
    FAAS_TRY(put_shared(body, "secrets", asked->secrets, err));
    FAAS_TRY(add_env(asked, body, err));
    FAAS_TRY(add_limits(asked, body, err));
    json_object_foreach (asked->annotations, name, text)
        FAAS_TRY(add_annotation(body, name, json_string_value(text), err));
    return FAAS_OK;
}

static faas_code make_named(const struct asked *asked, json_t *body, faas_err *err)
{
    return put_text(body, "name", asked->name, err);
}

/* rawValue is what cannot be said in value; who sends both means the same by both. */
static faas_code make_secret(const struct asked *asked, json_t *body, faas_err *err)
{
    FAAS_TRY(put_text(body, "name", asked->name, err));
    return is_given(asked->raw_value) ? put_text(body, "value_base64", asked->raw_value, err)
                                      : put_text(body, "value", asked->value, err);
}

/* A tail of none, or of less, is all there is. */
static faas_code make_logs(const struct asked *asked, json_t *body, faas_err *err)
{
    bool has_tail = is_given(asked->tail) && asked->tail[0] != '-' && strcmp(asked->tail, "0") != 0;

    FAAS_TRY(put_text(body, "name", asked->name, err));
    FAAS_TRY(put_text(body, "since", is_given(asked->since) ? asked->since : NULL, err));
    FAAS_TRY(put_text(body, "instance", is_given(asked->instance) ? asked->instance : NULL, err));
    return put_text(body, "tail", has_tail ? asked->tail : NULL, err);
}

static const struct word {
    const struct faas_json_field *fields;
    faas_code (*make)(const struct asked *asked, json_t *body, faas_err *err);
} words[] = {
    [GW_SYS_LIST] = {space_fields, make_named},     [GW_SYS_DEPLOY] = {deploy_fields, make_deploy},
    [GW_SYS_REMOVE] = {remove_fields, make_named},  [GW_SYS_STATUS] = {space_fields, make_named},
    [GW_SYS_SCALE] = {space_fields, make_named},    [GW_SYS_SECRETS] = {space_fields, make_named},
    [GW_SYS_SECRET] = {secret_fields, make_secret}, [GW_SYS_UNSECRET] = {secret_fields, make_named},
    [GW_SYS_LOGS] = {logs_fields, make_logs},
};

static faas_code translate(const struct gw_input *in, const json_t *doc, json_t *body,
                           faas_err *err)
{
    const struct word *word = &words[in->match->route->what];
    struct asked asked = {.name = in->match->count > 0 ? in->match->params[0].value : NULL};
    FAAS_AUTO(json_t) *query = NULL;

    FAAS_TRY(gw_query_json(in->query, &query, err));
    FAAS_TRY(check_space(json_string_value(json_object_get(query, "namespace")), err));
    if (in->match->route->what == GW_SYS_LOGS) /* all it has to say is in its query */
        doc = query;
    FAAS_TRY(faas_json_decode(doc, word->fields, FAAS_JSON_TOLERANT, &asked, err));
    FAAS_TRY(check_space(asked.space, err));
    return word->make(&asked, body, err);
}

faas_code openfaas_request(const struct gw_input *in, char **out_text, size_t *out_len,
                           faas_err *err)
{
    FAAS_AUTO(json_t) *doc = NULL;
    FAAS_AUTO(json_t) *body = json_object();
    faas_code rc;

    if (body == NULL)
        return faas_fail_sys(err, ENOMEM, "translate a request");
    FAAS_TRY(faas_json_parse(in->body, in->body_len, true, &doc, err));
    rc = translate(in, doc, body, err);
    *out_text = rc == FAAS_OK ? faas_json_text(body, out_len) : NULL;
    faas_json_wipe(body); /* a secret may be in both */
    faas_json_wipe(doc);
    FAAS_TRY(rc);
    return *out_text != NULL ? FAAS_OK : faas_fail_sys(err, ENOMEM, "encode request");
}

/* ---- answers ---- */

static json_t *limits_of(const json_t *record)
{
    const json_t *limits = json_object_get(record, "limits");
    const json_int_t memory = json_integer_value(json_object_get(limits, "memory_mb"));
    const double cpus = json_number_value(json_object_get(limits, "cpus"));

    return json_pack("{s:o, s:o}", "memory", json_sprintf("%" JSON_INTEGER_FORMAT "Mi", memory),
                     "cpu", json_sprintf("%.0fm", round(cpus * 1000)));
}

static json_t *annotations_of(const json_t *record)
{
    FAAS_AUTO(json_t) *annotations = json_object();
    char name[48];

    for (const struct annotated *known = annotated; known->field != NULL; known++) {
        const json_t *value = json_object_get(record, known->field);

        (void)snprintf(name, sizeof name, ANNOTATION "%s", known->field);
        if (json_is_integer(value) &&
            json_object_set_new(annotations, name,
                                json_sprintf("%" JSON_INTEGER_FORMAT, json_integer_value(value))))
            return NULL;
        if (json_string_length(value) > 0 &&
            json_object_set_new(annotations, name, json_string(json_string_value(value))) != 0)
            return NULL;
    }
    return FAAS_STEAL(annotations);
}

static json_t *status_of(const json_t *record)
{
    const json_t *given = json_object_get(record, "env");
    FAAS_AUTO(json_t) *env = given != NULL ? faas_json_copy(given) : NULL;
    int replicas = json_is_true(json_object_get(record, "disabled")) ? 0 : 1;
    FAAS_AUTO(json_t) *process = json_incref(json_object_get(env, PROCESS));

    if (given != NULL && env == NULL)
        return NULL;
    (void)json_object_del(env, PROCESS);
    return json_pack(
        "{s:O, s:O, s:O*, s:O*, s:O*, s:O*, s:o, s:o, s:b, s:i, s:i, s:O}", "name",
        json_object_get(record, "name"), "image", json_object_get(record, "payload"), "envProcess",
        process, "envVars", env, "labels", json_object_get(record, "labels"), "secrets",
        json_object_get(record, "secrets"), "annotations", annotations_of(record), "limits",
        limits_of(record), "readOnlyRootFilesystem", 1, "replicas", replicas, "availableReplicas",
        replicas, "createdAt", json_object_get(record, "created_at"));
}

json_t *openfaas_functions(const json_t *records)
{
    FAAS_AUTO(json_t) *statuses = json_array();
    json_t *record;
    size_t i;

    json_array_foreach (records, i, record)
        if (json_array_append_new(statuses, status_of(record)) != 0)
            return NULL;
    return FAAS_STEAL(statuses);
}

static json_t *secrets_of(const json_t *page)
{
    FAAS_AUTO(json_t) *secrets = json_array();
    json_t *item;
    size_t i;

    json_array_foreach (json_object_get(page, "items"), i, item)
        if (json_array_append_new(secrets,
                                  json_pack("{s:O}", "name", json_object_get(item, "name"))) != 0)
            return NULL;
    return FAAS_STEAL(secrets);
}

/* One object a line; the caller frees; NULL only without memory. */
static char *lines_of(const json_t *page, size_t *out_len)
{
    char *text = NULL;
    FILE *to = open_memstream(&text, out_len);
    bool is_whole = to != NULL;
    json_t *item;
    size_t i;

    json_array_foreach (json_object_get(page, "items"), i, item) {
        FAAS_AUTO(char) *line = is_whole ? faas_json_text(item, NULL) : NULL;

        is_whole = line != NULL && fprintf(to, "%s\n", line) > 0;
    }
    if (to != NULL && fclose(to) == 0 && is_whole)
        return text;
    free(text);
    return NULL;
}

const char *openfaas_answer_type(const struct gw_route *route)
{
    return route->what == GW_SYS_LOGS ? "application/x-ndjson" : "application/json";
}

faas_code openfaas_answer(const struct gw_route *route, const void *reply, size_t len,
                          char **out_text, size_t *out_len, faas_err *err)
{
    bool is_status = route->what == GW_SYS_STATUS;
    FAAS_AUTO(json_t) *doc = NULL;
    FAAS_AUTO(json_t) *answer = NULL;

    *out_text = NULL;
    *out_len = 0;
    if (!is_status && route->what != GW_SYS_SECRETS && route->what != GW_SYS_LOGS)
        return FAAS_OK;
    FAAS_TRY(faas_json_parse(reply, len, false, &doc, err));
    if (route->what != GW_SYS_LOGS)
        answer = is_status ? status_of(doc) : secrets_of(doc);
    *out_text =
        route->what == GW_SYS_LOGS ? lines_of(doc, out_len) : faas_json_text(answer, out_len);
    return *out_text != NULL ? FAAS_OK : faas_fail_sys(err, ENOMEM, "encode answer");
}

char *openfaas_spaces(size_t *out_len)
{
    FAAS_AUTO(json_t) *spaces = json_pack("[s]", OPENFAAS_NAMESPACE);

    return spaces != NULL ? faas_json_text(spaces, out_len) : NULL;
}

char *openfaas_info(size_t *out_len)
{
    struct utsname machine;
    FAAS_AUTO(json_t) *info = NULL;

    if (uname(&machine) != 0)
        machine.machine[0] = '\0';
    info = json_pack("{s:{s:s, s:s, s:{s:s, s:s}}, s:{s:s, s:s}, s:s}", "provider", "provider",
                     "faas", "orchestration", "faas", "version", "release", FAAS_VERSION, "sha", "",
                     "version", "release", FAAS_VERSION, "sha", "", "arch", machine.machine);
    return faas_json_text(info, out_len);
}
