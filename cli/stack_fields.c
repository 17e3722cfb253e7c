/* The fields of one function, as a table: what each is called, what it becomes in a registration. */
#include <errno.h>
#include <string.h>

#include "base/quantity.h"
#include "cli/args.h"
#include "cli/stack.h"

#define WHOLE_MAX 1e12 /* the platform's own bounds decide; they name the limit */

struct rule {
    const char *name; /* in the file; NULL ends */
    enum rule_kind {
        RULE_TEXT,
        RULE_WHOLE,
        RULE_REAL,
        RULE_BOOL,
        RULE_MAP,    /* of texts */
        RULE_LIST,   /* of texts */
        RULE_MEMORY, /* 128Mi, 1G: MiB, rounded up */
        RULE_CPU,    /* 0.5, 500m */
        RULE_GROUP,  /* `to` holds the members of `sub` */
        RULE_BUILD,  /* about building: of no concern to a registration */
        RULE_UNUSED, /* a warning; note says what there is instead */
    } kind;
    const char *to; /* in the registration */
    const struct rule *sub;
    const char *note;
};

#define RULE(name, kind, to)                                                                       \
    {                                                                                              \
        (name), RULE_##kind, (to), NULL, NULL                                                      \
    }
#define GROUP(name, sub)                                                                           \
    {                                                                                              \
        (name), RULE_GROUP, (name), (sub), NULL                                                    \
    }
#define UNUSED(name, note)                                                                         \
    {                                                                                              \
        (name), RULE_UNUSED, NULL, NULL, (note)                                                    \
    }
#define RULE_END                                                                                   \
    {                                                                                              \
        .name = NULL                                                                               \
    }

static const struct rule limits_rules[] = {
    RULE("memory_mb", WHOLE, "memory_mb"),
    RULE("memory", MEMORY, "memory_mb"),
    RULE("cpus", REAL, "cpus"),
    RULE("cpu", CPU, "cpus"),
    RULE("pids", WHOLE, "pids"),
    RULE("tmp_mb", WHOLE, "tmp_mb"),
    RULE("output_mb", WHOLE, "output_mb"),
    RULE_END,
};

static const struct rule retry_rules[] = {
    RULE("idempotent", BOOL, "idempotent"),
    RULE("attempts", WHOLE, "attempts"),
    RULE("backoff_ms", WHOLE, "backoff_ms"),
    RULE("on", LIST, "on"),
    RULE_END,
};

static const struct rule function_rules[] = {
    RULE("image", TEXT, "payload"),
    RULE("description", TEXT, "description"),
    RULE("input", TEXT, "input"),
    RULE("timeout_ms", WHOLE, "timeout_ms"),
    RULE("start_timeout_ms", WHOLE, "start_timeout_ms"),
    RULE("max_wait_ms", WHOLE, "max_wait_ms"),
    RULE("concurrency", WHOLE, "concurrency"),
    GROUP("limits", limits_rules),
    RULE("environment", MAP, "env"),
    RULE("env", MAP, "env"),
    RULE("network", TEXT, "network"),
    RULE("reuse", TEXT, "reuse"),
    RULE("content_type", TEXT, "content_type"),
    RULE("isolation", TEXT, "isolation"),
    GROUP("retry", retry_rules),
    RULE("labels", MAP, "labels"),
    RULE("secrets", LIST, "secrets"),
    RULE("lang", BUILD, NULL),
    RULE("handler", BUILD, NULL),
    UNUSED("skip_build", "images are built before, and deployed as they are"),
    UNUSED("build_args", "images are built before, and deployed as they are"),
    UNUSED("build_options", "images are built before, and deployed as they are"),
    UNUSED("buildpacks", "images are built before, and deployed as they are"),
    UNUSED("copy", "images are built before, and deployed as they are"),
    UNUSED("environment_file", "write its variables below environment"),
    UNUSED("requests", "a call has what limits say, and no more is put aside for it"),
    UNUSED("annotations", "use labels"),
    UNUSED("constraints", "calls run wherever there is a place"),
    UNUSED("namespace", "functions belong to the user who deploys them"),
    UNUSED("fprocess", "the image's ENTRYPOINT runs"),
    UNUSED("readonly_root_filesystem", "the root is always read-only; /tmp can be written to"),
    RULE_END,
};

static faas_code no_memory(faas_err *err)
{
    return faas_fail_sys(err, ENOMEM, "stack file");
}

void stack_near(const char *given, const char *const *words, char out_hint[64])
{
    size_t best = SIZE_MAX, distance;

    out_hint[0] = '\0';
    for (; *words != NULL; words++)
        if (args_is_near(given, *words, &distance) && distance < best) {
            best = distance;
            snprintf(out_hint, 64, "; did you mean %s?", *words);
        }
}

/* ---- values ---- */

struct reading {
    struct stack *stack;
    const struct tree_node *node;
    const char *name; /* of the field */
};

static faas_code wrong(const struct reading *reading, const char *wanted, faas_err *err)
{
    const struct tree_node *node = reading->node;

    return tree_fail(&reading->stack->tree, node->at, err, "%s: expected %s, got %s%.40s%s",
                     reading->name, wanted, node->kind == TREE_TEXT && !node->is_plain ? "\"" : "",
                     node->kind == TREE_MAP    ? "a mapping"
                     : node->kind == TREE_LIST ? "a list"
                     : node->is_null           ? "nothing"
                                               : node->text,
                     node->kind == TREE_TEXT && !node->is_plain ? "\"" : "");
}

/* A text that stands for a number: without quotes, or with a variable in it (in `{...}` that needs
 * quotes). */
static bool may_be_number(const struct tree_node *node)
{
    return node->kind == TREE_TEXT && (node->is_plain || node->is_filled);
}

/* Each of these: false, it is not what the field takes; true and NULL, there is no memory. */
static bool read_whole(const struct reading *reading, json_t **out_value)
{
    int64_t number;

    if (!may_be_number(reading->node) || !args_int(reading->node->text, 0, WHOLE_MAX, &number))
        return false;
    *out_value = json_integer(number);
    return true;
}

static bool read_real(const struct reading *reading, json_t **out_value)
{
    double number;

    if (!may_be_number(reading->node) || !args_real(reading->node->text, 0, WHOLE_MAX, &number))
        return false;
    *out_value = json_real(number);
    return true;
}

static bool read_cpu(const struct reading *reading, json_t **out_value)
{
    double cpus;

    if (reading->node->kind != TREE_TEXT || !faas_quantity_cpus(reading->node->text, &cpus) ||
        cpus > WHOLE_MAX)
        return false;
    *out_value = json_real(cpus);
    return true;
}

static bool read_memory(const struct reading *reading, json_t **out_value)
{
    int64_t mib;

    if (reading->node->kind != TREE_TEXT || !faas_quantity_mib(reading->node->text, &mib))
        return false;
    *out_value = json_integer(mib);
    return true;
}

static bool read_bool(const struct reading *reading, json_t **out_value)
{
    const struct tree_node *node = reading->node;
    bool is_true = node->kind == TREE_TEXT && strcmp(node->text, "true") == 0;

    if (!may_be_number(node) || (!is_true && strcmp(node->text, "false") != 0))
        return false;
    *out_value = json_boolean(is_true);
    return true;
}

static bool read_text(const struct reading *reading, json_t **out_value)
{
    const struct tree_node *node = reading->node;

    if (node->kind != TREE_TEXT || node->is_null)
        return false;
    *out_value = json_string(node->text);
    return true;
}

/* Values are what is written: `on` is the two letters, 1.0 the three characters. */
static faas_code read_map(const struct reading *reading, json_t **out_map, faas_err *err)
{
    FAAS_AUTO(json_t) *map = json_object();

    if (reading->node->kind != TREE_MAP)
        return wrong(reading, "a mapping of NAME: VALUE", err);
    for (size_t i = 0; i < reading->node->count; i++) {
        struct reading inner = {reading->stack, reading->node->items[i],
                                reading->node->items[i]->key};
        json_t *value = NULL;

        if (!read_text(&inner, &value))
            return wrong(&inner, "a text (\"\" for an empty one)", err);
        if (json_object_set_new(map, inner.name, value) != 0)
            return no_memory(err);
    }
    *out_map = FAAS_STEAL(map);
    return *out_map != NULL ? FAAS_OK : no_memory(err);
}

static faas_code read_list(const struct reading *reading, json_t **out_list, faas_err *err)
{
    FAAS_AUTO(json_t) *list = json_array();

    if (reading->node->kind != TREE_LIST)
        return wrong(reading, "a list", err);
    for (size_t i = 0; i < reading->node->count; i++) {
        struct reading inner = {reading->stack, reading->node->items[i], reading->name};
        json_t *value = NULL;

        if (!read_text(&inner, &value))
            return wrong(&inner, "a list of texts", err);
        if (json_array_append_new(list, value) != 0)
            return no_memory(err);
    }
    *out_list = FAAS_STEAL(list);
    return *out_list != NULL ? FAAS_OK : no_memory(err);
}

static faas_code read_group(const struct reading *reading, const struct rule *rules,
                            json_t **out_group, faas_err *err);

static const struct value_kind {
    bool (*read)(const struct reading *reading, json_t **out_value);
    const char *expected;
} value_kinds[] = {
    [RULE_TEXT] = {read_text, "a text"},
    [RULE_WHOLE] = {read_whole, "a whole number in decimal digits, without quotes"},
    [RULE_REAL] = {read_real, "a number such as 0.5, without quotes"},
    [RULE_BOOL] = {read_bool, "true or false"},
    [RULE_MEMORY] = {read_memory, "a size such as 128Mi"},
    [RULE_CPU] = {read_cpu, "processors such as 0.5 or 500m"},
};

static faas_code read_value(const struct reading *reading, const struct rule *rule,
                            json_t **out_value, faas_err *err)
{
    switch (rule->kind) {
    case RULE_MAP:
        return read_map(reading, out_value, err);
    case RULE_LIST:
        return read_list(reading, out_value, err);
    case RULE_GROUP:
        return read_group(reading, rule->sub, out_value, err);
    default:
        if (!value_kinds[rule->kind].read(reading, out_value))
            return wrong(reading, value_kinds[rule->kind].expected, err);
        return *out_value != NULL ? FAAS_OK : no_memory(err);
    }
}

/* ---- mappings ---- */

static faas_code unknown(const struct reading *reading, const struct rule *rules, faas_err *err)
{
    const char *words[FAAS_ARRAY_LEN(function_rules) + 1];
    size_t count = 0;
    char hint[64];

    for (; rules->name != NULL && count < FAAS_ARRAY_LEN(function_rules); rules++)
        words[count++] = rules->name;
    words[count] = NULL;
    stack_near(reading->name, words, hint);
    return tree_fail(&reading->stack->tree, reading->node->key_at, err,
                     "%.40s: there is no such field%s", reading->name, hint);
}

static bool is_empty(const struct tree_node *node)
{
    return node->kind == TREE_TEXT ? node->is_null : node->count == 0;
}

static faas_code read_member(const struct reading *reading, const struct rule *rules, json_t *group,
                             faas_err *err)
{
    const struct rule *rule = rules;
    json_t *value = NULL;

    while (rule->name != NULL && strcmp(rule->name, reading->name) != 0)
        rule++;
    if (rule->name == NULL)
        return unknown(reading, rules, err);
    if (rule->kind == RULE_BUILD)
        return FAAS_OK;
    if (rule->kind == RULE_UNUSED)
        return is_empty(reading->node)
                   ? FAAS_OK
                   : stack_warn(reading->stack, reading->node->key_at, err,
                                "%s has no meaning here: %s", rule->name, rule->note);
    if (json_object_get(group, rule->to) != NULL)
        return tree_fail(&reading->stack->tree, reading->node->key_at, err,
                         "%s: the same was said above under another name; leave one of them",
                         rule->name);
    FAAS_TRY(read_value(reading, rule, &value, err));
    return json_object_set_new(group, rule->to, value) == 0 ? FAAS_OK : no_memory(err);
}

static faas_code read_group(const struct reading *reading, const struct rule *rules,
                            json_t **out_group, faas_err *err)
{
    FAAS_AUTO(json_t) *group = json_object();

    if (reading->node->kind != TREE_MAP)
        return wrong(reading, "a mapping of NAME: VALUE", err);
    if (group == NULL)
        return no_memory(err);
    for (size_t i = 0; i < reading->node->count; i++) {
        struct reading inner = {reading->stack, reading->node->items[i],
                                reading->node->items[i]->key};

        FAAS_TRY(read_member(&inner, rules, group, err));
    }
    *out_group = FAAS_STEAL(group);
    return FAAS_OK;
}

faas_code stack_fields_read(struct stack *stack, const struct tree_node *function,
                            json_t **out_body, faas_err *err)
{
    struct reading reading = {stack, function, function->key};
    FAAS_AUTO(json_t) *body = NULL;
    const char *image;

    FAAS_TRY(read_group(&reading, function_rules, &body, err));
    image = json_string_value(json_object_get(body, "payload"));
    if (image == NULL || image[0] == '\0')
        return tree_fail(&stack->tree, function->key_at, err,
                         "%.63s: image is missing: the container image that runs", function->key);
    *out_body = FAAS_STEAL(body);
    return FAAS_OK;
}
