/* The input is a stack file.  It is read, or fails as INVALID or TOO_LARGE with a message that any
 * terminal can show; what was read is bodies that a registration's JSON can carry, each with an
 * image, and comparing one with what a registration of it makes finds no difference. */
#include "cli/stack.h"
#include "cli/stack_diff.h"
#include "contract.h"
#include "tests/fuzz/claim.h"

static const char *lookup(const char *name)
{
    return name[0] == 'U' ? NULL : name[0] == 'E' ? "" : "7";
}

/* What the registry keeps of a body. */
static json_t *record_of(const json_t *body)
{
    json_t *record = faas_function_defaults();
    json_t *copy = faas_json_deep_copy(body);
    const json_t *retry = json_object_get(body, "retry");

    CLAIM(record != NULL && copy != NULL);
    if (json_is_true(json_object_get(retry, "idempotent")) && json_object_get(retry, "on") == NULL)
        json_object_set_new(json_object_get(copy, "retry"), "on", json_pack("[s]", "lost"));
    CLAIM(json_object_update_recursive(record, copy) == 0);
    json_decref(copy);
    return record;
}

static void claim_function(const struct stack_function *function)
{
    FAAS_AUTO(json_t) *record = record_of(function->body);
    FAAS_AUTO(json_t) *changes = NULL;
    FAAS_AUTO(json_t) *patch = NULL;
    FAAS_AUTO(char) *text = faas_json_text(function->body, NULL);
    const char *image = json_string_value(json_object_get(function->body, "payload"));
    faas_err err = {0};

    CLAIM(text != NULL && image != NULL && image[0] != '\0' && function->at.line > 0);
    CLAIM(stack_diff(function->body, record, &changes, &patch, &err) == FAAS_OK);
    CLAIM(json_array_size(changes) == 0 && json_object_size(patch) == 0);
}

static void claim_warning(const char *text)
{
    CLAIM(text != NULL && strstr(text, "stack.yml:") == text &&
          !faas_has_control(text, strlen(text)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct stack_source source = {"stack.yml", (const char *)data, size, NULL, lookup};
    struct stack stack;
    faas_err err = {0};
    faas_code code = stack_read(&source, &stack, &err);
    const json_t *warning;
    size_t i;

    claim_outcome(code, size > TREE_BYTES_MAX ? FAAS_TOO_LARGE : FAAS_INVALID, &err);
    if (code != FAAS_OK)
        return 0;
    CLAIM(stack.tree.nodes <= TREE_NODES_MAX && stack.count <= TREE_ITEMS_MAX);
    for (i = 0; i < stack.count; i++)
        claim_function(&stack.functions[i]);
    json_array_foreach (stack.warnings, i, warning)
        claim_warning(json_string_value(warning));
    stack_done(&stack);
    return 0;
}
