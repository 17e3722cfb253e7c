#include "cli/stack.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/name.h"

#define WARNINGS_MAX 200

static faas_code no_memory(faas_err *err)
{
    return faas_fail_sys(err, ENOMEM, "stack file");
}

faas_code stack_warn(struct stack *stack, struct tree_place at, faas_err *err, const char *fmt, ...)
{
    faas_err warning = {0};
    char text[FAAS_ERR_MSG_MAX];
    va_list args;

    if (json_array_size(stack->warnings) == WARNINGS_MAX)
        return tree_fail(&stack->tree, at, err, "more than %d warnings: is this a stack file?",
                         WARNINGS_MAX);
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    tree_fail(&stack->tree, at, &warning, "%s", text); /* cleaned, with the place */
    return json_array_append_new(stack->warnings, json_string(warning.msg)) == 0 ? FAAS_OK
                                                                                 : no_memory(err);
}

/* ---- the file's own fields ---- */

static faas_code need_map(const struct stack *stack, const struct tree_node *node, faas_err *err)
{
    if (node->kind != TREE_MAP)
        return tree_fail(&stack->tree, node->at, err, "%.40s: expected a mapping of NAME: VALUE",
                         node->key != NULL ? node->key : "the file");
    return FAAS_OK;
}

static faas_code read_version(struct stack *stack, const struct tree_node *node, faas_err *err)
{
    if (node->kind == TREE_TEXT && (strcmp(node->text, "1.0") == 0 || strcmp(node->text, "1") == 0))
        return FAAS_OK;
    return tree_fail(&stack->tree, node->at, err,
                     "version: this reads 1.0, the format of OpenFaaS's stack files; leave it out");
}

/* Where to deploy is for --server, FAAS_URL and the login to say: a file from elsewhere does not
 * choose who hears of it. */
static faas_code read_provider(struct stack *stack, const struct tree_node *node, faas_err *err)
{
    FAAS_TRY(need_map(stack, node, err));
    for (size_t i = 0; i < node->count; i++) {
        const struct tree_node *member = node->items[i];

        if (strcmp(member->key, "name") == 0)
            continue;
        FAAS_TRY(stack_warn(stack, member->key_at, err,
                            "provider.%.40s has no meaning here: --server or FAAS_URL say where",
                            member->key));
    }
    return FAAS_OK;
}

static faas_code read_configuration(struct stack *stack, const struct tree_node *node,
                                    faas_err *err)
{
    return stack_warn(stack, node->key_at, err,
                      "configuration has no meaning here: it is about building images");
}

static faas_code read_name(struct stack *stack, const struct tree_node *node, faas_err *err)
{
    faas_err why = {0};

    if (node->kind != TREE_TEXT || faas_function_name_check(node->text, &why) != FAAS_OK)
        return tree_fail(&stack->tree, node->at, err,
                         "stack: a name of letters, digits, '_' and '-', at most %d",
                         STACK_NAME_MAX);
    if (stack->name == NULL)
        stack->name = node->text;
    return FAAS_OK;
}

static faas_code skip(struct stack *stack, const struct tree_node *node, faas_err *err)
{
    (void)stack;
    (void)node;
    (void)err;
    return FAAS_OK;
}

static const struct file_field {
    const char *name;
    faas_code (*read)(struct stack *stack, const struct tree_node *node, faas_err *err);
} file_fields[] = {
    {"version", read_version}, {"provider", read_provider},
    {"stack", read_name},      {"configuration", read_configuration},
    {"functions", skip}, /* after these */
};

static faas_code read_field(struct stack *stack, const struct tree_node *node, faas_err *err)
{
    const char *words[FAAS_ARRAY_LEN(file_fields) + 1] = {NULL};
    char hint[64];

    for (size_t i = 0; i < FAAS_ARRAY_LEN(file_fields); i++) {
        if (strcmp(file_fields[i].name, node->key) == 0)
            return file_fields[i].read(stack, node, err);
        words[i] = file_fields[i].name;
    }
    stack_near(node->key, words, hint);
    return tree_fail(&stack->tree, node->key_at, err,
                     "%.40s: a stack file has stack, functions, version and provider%s", node->key,
                     hint);
}

/* ---- functions ---- */

static faas_code add_label(const struct stack *stack, const struct tree_node *node, json_t *body,
                           faas_err *err)
{
    json_t *labels = json_object_get(body, "labels");

    if (json_object_get(labels, STACK_LABEL) != NULL)
        return tree_fail(&stack->tree, node->key_at, err,
                         "labels: " STACK_LABEL " is set by `faas deploy -f`: write stack: NAME at "
                         "the top of the file");
    if (stack->name == NULL)
        return FAAS_OK;
    if (labels == NULL) {
        labels = json_object();
        if (json_object_set_new(body, "labels", labels) != 0)
            return no_memory(err);
    }
    return json_object_set_new(labels, STACK_LABEL, json_string(stack->name)) == 0 ? FAAS_OK
                                                                                   : no_memory(err);
}

/* NULL: not said. */
static faas_code build_text(const struct stack *stack, const struct tree_node *node,
                            const char *field, const char **out_text, faas_err *err)
{
    const struct tree_node *member = tree_get(node, field);

    if (member != NULL && (member->kind != TREE_TEXT || member->text[0] == '\0'))
        return tree_fail(&stack->tree, member->at, err, "%s: expected a text", field);
    *out_text = member != NULL ? member->text : NULL;
    return FAAS_OK;
}

static faas_code read_function(struct stack *stack, const struct tree_node *node, faas_err *err)
{
    struct stack_function *function = &stack->functions[stack->count];
    faas_err why = {0};

    if (faas_function_name_check(node->key, &why) != FAAS_OK)
        return tree_fail(&stack->tree, node->key_at, err, "%s", why.msg);
    FAAS_TRY(stack_fields_read(stack, node, &function->body, err));
    function->name = node->key;
    function->at = node->key_at;
    stack->count++; /* owns the body from here on */
    FAAS_TRY(build_text(stack, node, "lang", &function->lang, err));
    FAAS_TRY(build_text(stack, node, "handler", &function->handler, err));
    return add_label(stack, node, function->body, err);
}

static faas_code read_functions(struct stack *stack, faas_err *err)
{
    const struct tree_node *map = tree_get(stack->tree.root, "functions");

    if (map == NULL)
        return tree_fail(&stack->tree, stack->tree.root->at, err,
                         "functions is missing: a mapping of NAME: {image: ...}");
    FAAS_TRY(need_map(stack, map, err));
    stack->functions = calloc(map->count > 0 ? map->count : 1, sizeof *stack->functions);
    if (stack->functions == NULL)
        return faas_fail_sys(err, errno, "stack file");
    for (size_t i = 0; i < map->count; i++)
        FAAS_TRY(read_function(stack, map->items[i], err));
    return FAAS_OK;
}

/* ---- all of it ---- */

static faas_code on_unset(void *arg, struct tree_place at, const char *name, faas_err *err)
{
    return stack_warn(arg, at, err, "the variable %.60s is not set: nothing is put in its place",
                      name);
}

static faas_code read_all(const struct stack_source *source, struct stack *stack, faas_err *err)
{
    struct stack_variables variables = {source->lookup, on_unset, stack};

    stack->warnings = json_array();
    if (stack->warnings == NULL)
        return no_memory(err);
    FAAS_TRY(tree_read(source->file, source->text, source->len, &stack->tree, err));
    if (stack->tree.root == NULL)
        return faas_fail(err, FAAS_INVALID, "%.60s: the file is empty: it needs functions",
                         source->file);
    FAAS_TRY(stack_text_fill(&stack->tree, &variables, err));
    FAAS_TRY(need_map(stack, stack->tree.root, err));
    for (size_t i = 0; i < stack->tree.root->count; i++)
        FAAS_TRY(read_field(stack, stack->tree.root->items[i], err));
    return read_functions(stack, err);
}

faas_code stack_read(const struct stack_source *source, struct stack *out_stack, faas_err *err)
{
    faas_code code;

    *out_stack = (struct stack){.name = source->name};
    if (source->name != NULL && faas_function_name_check(source->name, err) != FAAS_OK)
        return faas_fail(err, FAAS_INVALID,
                         "--stack: a name of letters, digits, '_' and '-', at most %d",
                         STACK_NAME_MAX);
    code = read_all(source, out_stack, err);
    if (code != FAAS_OK)
        stack_done(out_stack);
    return code;
}

void stack_done(struct stack *stack)
{
    for (size_t i = 0; i < stack->count; i++)
        json_decref(stack->functions[i].body);
    free(stack->functions);
    json_decref(stack->warnings);
    tree_done(&stack->tree);
    *stack = (struct stack){0};
}
