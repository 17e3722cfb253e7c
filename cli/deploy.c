/* deploy.c - `faas deploy`: make a function, or change the one of that name.
 * Only fields given on the command line are sent, so that a second deploy keeps what the first one
 * set; members of `limits` are merged here with the ones in force.  With --file it is about a whole
 * stack of functions: stack_deploy.c.
 */
#include <string.h>

#include "cli/client.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/stack_deploy.h"

#define NUMBER_MOST 1e9 /* the platform's own bounds decide; they name the limit */

static struct {
    const char *image, *description, *input, *network, *reuse, *content_type;
    int64_t timeout_ms, start_timeout_ms, max_wait_ms, concurrency;
    int64_t memory_mb, pids, tmp_mb, output_mb;
    double cpus;
    struct cli_list env, secrets, labels;
} wanted;

static struct {
    bool timeout_ms, start_timeout_ms, max_wait_ms, concurrency;
    bool memory_mb, pids, tmp_mb, output_mb, cpus;
} given;

static struct stack_options stack;

#define NUMBER(name, field, help)                                                                  \
    {                                                                                              \
        (name), CLI_INT, &wanted.field, "N", (help), 0, NUMBER_MOST, &given.field                  \
    }
#define TEXT(name, field, value, help)                                                             \
    {                                                                                              \
        (name), CLI_TEXT, &wanted.field, (value), (help), 0, 0, NULL                               \
    }
#define LIST(name, field, value, help)                                                             \
    {                                                                                              \
        (name), CLI_LIST, &wanted.field, (value), (help), 0, 0, NULL                               \
    }

const struct cli_option cli_deploy_options[] = {
    {"f", CLI_TEXT, &stack.file, "FILE", "the same as --file", 0, 0, NULL},
    {"file", CLI_TEXT, &stack.file, "FILE", "a stack file (docs/STACK.md) in place of NAME", 0, 0,
     NULL},
    {"stack", CLI_TEXT, &stack.name, "NAME", "with --file: name of the stack, for the file's", 0, 0,
     NULL},
    {"only", CLI_LIST, &stack.only, "NAME", "with --file: this function; may be repeated", 0, 0,
     NULL},
    {"prune", CLI_FLAG, &stack.prune, NULL,
     "with --file: remove what earlier deploys of the stack made and the file no longer has", 0, 0,
     NULL},
    {"dry-run", CLI_FLAG, &stack.dry_run, NULL,
     "with --file: show the differences, change nothing; exit status 1 when there is one", 0, 0,
     NULL},
    TEXT("image", image, "REF", "container image; needed for a new function"),
    TEXT("description", description, "TEXT", "at most 1,024 bytes"),
    TEXT("input", input, "HOW", "argv (the argument is the last of argv) or stdin"),
    NUMBER("timeout-ms", timeout_ms, "longest run, from container start (30000)"),
    NUMBER("start-timeout-ms", start_timeout_ms, "longest pull and start (30000)"),
    NUMBER("max-wait-ms", max_wait_ms, "wait for a free place instead of 429 (0)"),
    NUMBER("concurrency", concurrency, "calls at a time; 0 is the platform's own limit"),
    NUMBER("memory-mb", memory_mb, "memory of one call (128)"),
    {"cpus", CLI_REAL, &wanted.cpus, "N", "processors of one call (1.0)", 0, NUMBER_MOST,
     &given.cpus},
    NUMBER("pids", pids, "processes of one call (128)"),
    NUMBER("tmp-mb", tmp_mb, "size of /tmp (64)"),
    NUMBER("output-mb", output_mb, "most standard output (6)"),
    LIST("env", env, "K=V", "environment; may be repeated; replaces all that was set"),
    LIST("secret", secrets, "NAME", "secret to mount; may be repeated; replaces the list"),
    LIST("label", labels, "K=V", "label; may be repeated; replaces all"),
    TEXT("network", network, "HOW", "none or outbound"),
    TEXT("reuse", reuse, "HOW", "fresh or slot"),
    TEXT("content-type", content_type, "TYPE", "of results; \"\" goes by their bytes"),
    CLI_OPTION_END,
};

/* ---- the request ---- */

/* Sets doc[key] = take_value unless memory is out. */
static bool set(json_t *doc, const char *key, json_t *take_value)
{
    return json_object_set_new(doc, key, take_value) == 0;
}

static bool set_text(json_t *doc, const char *key, const char *text)
{
    return text == NULL || set(doc, key, json_string(text));
}

static bool set_number(json_t *doc, const char *key, bool is_given, int64_t number)
{
    return !is_given || set(doc, key, json_integer(number));
}

static faas_code set_pairs(json_t *doc, const char *key, const struct cli_list *pairs,
                           faas_err *err)
{
    json_t *map;

    if (pairs->count == 0)
        return FAAS_OK;
    map = json_object();
    if (!set(doc, key, map))
        return faas_fail(err, FAAS_INTERNAL, "out of memory");
    for (size_t i = 0; i < pairs->count; i++) {
        const char *equals = strchr(pairs->items[i], '=');
        char name[256];

        if (equals == NULL || equals == pairs->items[i] ||
            (size_t)(equals - pairs->items[i]) >= sizeof name)
            return faas_fail(err, FAAS_INVALID, "--%s takes NAME=VALUE",
                             strcmp(key, "env") == 0 ? "env" : "label");
        snprintf(name, sizeof name, "%.*s", (int)(equals - pairs->items[i]), pairs->items[i]);
        if (!set(map, name, json_string(equals + 1)))
            return faas_fail(err, FAAS_INVALID, "%s: the value of %s is not UTF-8", key, name);
    }
    return FAAS_OK;
}

static bool set_names(json_t *doc, const char *key, const struct cli_list *names)
{
    json_t *list;

    if (names->count == 0)
        return true;
    list = json_array();
    if (!set(doc, key, list))
        return false;
    for (size_t i = 0; i < names->count; i++) {
        if (json_array_append_new(list, json_string(names->items[i])) != 0)
            return false;
    }
    return true;
}

/* Limits in force (or none) with the given ones over them. */
static bool set_limits(json_t *doc, const json_t *record)
{
    const json_t *in_force = json_object_get(record, "limits");
    json_t *limits = json_is_object(in_force) ? faas_json_copy(in_force) : json_object();

    if (!set(doc, "limits", limits))
        return false;
    if (!given.memory_mb && !given.cpus && !given.pids && !given.tmp_mb && !given.output_mb)
        return json_object_del(doc, "limits") == 0;
    return set_number(limits, "memory_mb", given.memory_mb, wanted.memory_mb) &&
           (!given.cpus || set(limits, "cpus", json_real(wanted.cpus))) &&
           set_number(limits, "pids", given.pids, wanted.pids) &&
           set_number(limits, "tmp_mb", given.tmp_mb, wanted.tmp_mb) &&
           set_number(limits, "output_mb", given.output_mb, wanted.output_mb);
}

static faas_code set_all(json_t *doc, const json_t *record, faas_err *err)
{
    bool is_set =
        set_text(doc, "payload", wanted.image) &&
        set_text(doc, "description", wanted.description) && set_text(doc, "input", wanted.input) &&
        set_text(doc, "network", wanted.network) && set_text(doc, "reuse", wanted.reuse) &&
        set_text(doc, "content_type", wanted.content_type) &&
        set_number(doc, "timeout_ms", given.timeout_ms, wanted.timeout_ms) &&
        set_number(doc, "start_timeout_ms", given.start_timeout_ms, wanted.start_timeout_ms) &&
        set_number(doc, "max_wait_ms", given.max_wait_ms, wanted.max_wait_ms) &&
        set_number(doc, "concurrency", given.concurrency, wanted.concurrency) &&
        set_limits(doc, record) && set_names(doc, "secrets", &wanted.secrets);

    if (!is_set)
        return faas_fail(err, FAAS_INVALID, "names, descriptions and image references are UTF-8");
    FAAS_TRY(set_pairs(doc, "env", &wanted.env, err));
    return set_pairs(doc, "labels", &wanted.labels, err);
}

/* The body: for a new function (record NULL) with its name, else the fields to change. */
static faas_code make_body(const char *name, const json_t *record, json_t **out_body, faas_err *err)
{
    FAAS_AUTO(json_t) *doc = json_object();

    if (doc == NULL || (record == NULL && !set(doc, "name", json_string(name))))
        return faas_fail(err, FAAS_INVALID, "NAME is letters, digits, '_' and '-'");
    FAAS_TRY(set_all(doc, record, err));
    if (record == NULL && wanted.image == NULL)
        return faas_fail(err, FAAS_NOT_FOUND,
                         "there is no function %s yet; --image makes a new one", name);
    if (record != NULL && json_object_size(doc) == 0)
        return faas_fail(
            err, FAAS_INVALID,
            "nothing to change; give --image (the tag is resolved again) or a setting");
    *out_body = FAAS_STEAL(doc);
    return FAAS_OK;
}

/* ---- the exchange ---- */

static faas_code fetch(cli_client *client, const char *path, struct client_answer *answer,
                       json_t **out_record, faas_err *err)
{
    struct client_request request = {.method = "GET", .path = path};
    faas_code code = client_exchange(client, &request, NULL, answer, out_record, err);

    if (code == FAAS_NOT_FOUND && answer->problem != NULL) {
        *out_record = NULL;
        code = FAAS_OK;
    }
    return code;
}

struct deployed {
    json_t *before, *after; /* owned; before NULL: it is new */
};

/* Two deploys of one new name may race: the one that meets CONFLICT goes on as an update. */
static faas_code deploy(cli_client *client, const char *name, struct client_answer *answer,
                        struct deployed *out, faas_err *err)
{
    FAAS_AUTO(char) *path = client_path("/v1/functions/", name);
    faas_code code = FAAS_CONFLICT;

    if (path == NULL)
        return faas_fail(err, FAAS_INTERNAL, "out of memory");
    for (int attempt = 0; attempt < 2 && code == FAAS_CONFLICT; attempt++) {
        FAAS_AUTO(json_t) *body = NULL;
        struct client_request request = {.method = "POST", .path = "/v1/functions"};

        client_answer_done(answer);
        json_decref(out->before);
        out->before = NULL;
        FAAS_TRY(fetch(client, path, answer, &out->before, err));
        FAAS_TRY(make_body(name, out->before, &body, err));
        if (out->before != NULL)
            request = (struct client_request){.method = "PATCH", .path = path};
        client_answer_done(answer);
        code = client_exchange(client, &request, body, answer, &out->after, err);
    }
    return code;
}

/* ---- what changed ---- */

static void tell_change(const char *prefix, const char *key, const json_t *before,
                        const json_t *after)
{
    FAAS_AUTO(char) *old = faas_json_dump(before, JSON_COMPACT | JSON_REAL_PRECISION(6), NULL);
    FAAS_AUTO(char) *new = faas_json_dump(after, JSON_COMPACT | JSON_REAL_PRECISION(6), NULL);

    output_say("  %s%s: %s -> %s", prefix, key, old != NULL ? old : "none",
               new != NULL ? new : "none");
}

static size_t tell_changes(const char *prefix, const json_t *before, const json_t *after)
{
    size_t count = 0;
    const char *key;
    json_t *value;
    char inner[64];

    json_object_foreach ((json_t *)(uintptr_t)after, key, value) {
        const json_t *old = json_object_get(before, key);

        if (json_equal(old, value) || strcmp(key, "version") == 0 || strcmp(key, "updated_at") == 0)
            continue;
        if (json_is_object(value) && json_is_object(old) && prefix[0] == '\0') {
            snprintf(inner, sizeof inner, "%s.", key);
            count += tell_changes(inner, old, value);
            continue;
        }
        tell_change(prefix, key, old, value);
        count++;
    }
    return count;
}

static void tell(const char *name, const struct deployed *deployed)
{
    json_int_t version = json_integer_value(json_object_get(deployed->after, "version"));
    const json_t *digest = json_object_get(deployed->after, "digest");
    const char *image = json_string_value(json_object_get(deployed->after, "payload"));
    const char *value = json_string_value(json_object_get(digest, "value"));

    output_say("%s %s: version %" JSON_INTEGER_FORMAT ", image %s%s%s",
               deployed->before == NULL ? "created" : "updated", name, version,
               image != NULL ? image : "?", value != NULL ? " at " : "",
               value != NULL ? value : "");
    if (deployed->before != NULL && tell_changes("", deployed->before, deployed->after) == 0)
        output_say("  nothing changed: the image is the one that ran before");
}

static int deploy_one(const struct cli_args *args)
{
    FAAS_AUTO(cli_client) *client = NULL;
    struct client_answer answer = {0};
    struct deployed deployed = {0};
    faas_err err = {0};
    faas_code code = client_open(&args->common, &client, &err);
    int status = CLI_OK;

    if (code == FAAS_OK) {
        const struct progress_of of = {.doing = "deploying", .name = args->rest.items[0]};
        struct progress *progress = progress_begin(&of);

        code = deploy(client, args->rest.items[0], &answer, &deployed, &err);
        progress_end(progress);
    }
    if (code != FAAS_OK)
        status = client_report(&err, &answer, &args->common);
    else if (args->common.is_json)
        output_json(deployed.after, stdout);
    else
        tell(args->rest.items[0], &deployed);
    json_decref(deployed.before);
    json_decref(deployed.after);
    client_answer_done(&answer);
    return status;
}

/* ---- one function, or a stack ---- */

static faas_code check_form(const struct cli_args *args, faas_err *err)
{
    FAAS_AUTO(json_t) *settings = json_object();
    bool is_stack = stack.file != NULL;

    FAAS_TRY(set_all(settings, NULL, err));
    if (!is_stack && args->rest.count == 0)
        return faas_fail(err, FAAS_INVALID,
                         "something is missing: faas deploy NAME --image IMAGE, or faas deploy -f "
                         "FILE");
    if (!is_stack && (stack.name != NULL || stack.only.count > 0 || stack.prune || stack.dry_run))
        return faas_fail(err, FAAS_INVALID,
                         "--stack, --only, --prune and --dry-run need a stack file: -f FILE");
    if (is_stack && args->rest.count > 0)
        return faas_fail(err, FAAS_INVALID,
                         "-f takes the functions of the file; for one of them give --only %s",
                         args->rest.items[0]);
    if (is_stack && json_object_size(settings) > 0)
        return faas_fail(err, FAAS_INVALID, "with -f the settings are in the file: write %s there",
                         json_object_iter_key(json_object_iter(settings)));
    return FAAS_OK;
}

int cli_deploy(const struct cli_args *args)
{
    const struct client_answer none = {0};
    faas_err err = {0};

    if (check_form(args, &err) != FAAS_OK)
        return client_report(&err, &none, &args->common);
    return stack.file != NULL ? stack_deploy(args, &stack) : deploy_one(args);
}
