/* Stack files are read and compared whole, or the lack of memory is told as what it is. */
#include "tests/support/fault.h"

#include <string.h>

#include "cli/stack.h"
#include "cli/stack_diff.h"
#include "contract.h"
#include "tests/unit/unit.h"

static char file[] = "stack: shop\n"
                     "provider: {gateway: x}\n"
                     "functions:\n"
                     "  f:\n"
                     "    image: i:${TAG:-1}${UNSET}\n"
                     "    description: text\n"
                     "    timeout_ms: 5000\n"
                     "    limits: {memory: 64Mi, cpu: 500m}\n"
                     "    environment: {A: one}\n"
                     "    retry: {idempotent: true, on: [lost]}\n"
                     "    labels: {team: a}\n"
                     "    annotations: {a: b}\n";

static const char *nothing(const char *name)
{
    (void)name;
    return NULL;
}

static faas_code read_whole(void *state, faas_err *err)
{
    const char *text = state;
    struct stack_source source = {"stack.yml", text, strlen(text), NULL, nothing};
    struct stack stack;
    bool was_paused;

    FAAS_TRY(stack_read(&source, &stack, err));
    was_paused = fault_pause(true);
    assert_int_equal(stack.count, 1);
    assert_int_equal(json_array_size(stack.warnings), 3);
    assert_int_equal(json_object_size(stack.functions[0].body), 7);
    assert_int_equal(json_object_size(json_object_get(stack.functions[0].body, "labels")), 2);
    assert_string_equal(json_string_value(json_object_get(stack.functions[0].body, "payload")),
                        "i:1");
    stack_done(&stack);
    fault_pause(was_paused);
    return FAAS_OK;
}

static void a_file_is_read_whole_or_the_reason_is_told(void **state)
{
    (void)state;
    fault_each(read_whole, file, 60);
}

static faas_code compare(void *state, faas_err *err)
{
    FAAS_AUTO(json_t) *changes = NULL;
    FAAS_AUTO(json_t) *patch = NULL;
    json_t **both = state;
    bool was_paused;

    FAAS_TRY(stack_diff(both[0], both[1], &changes, &patch, err));
    was_paused = fault_pause(true);
    assert_int_equal(json_array_size(changes), 5);
    assert_int_equal(json_object_size(patch), 4);
    fault_pause(was_paused);
    return FAAS_OK;
}

static void all_differences_are_found_or_the_reason_is_told(void **state)
{
    FAAS_AUTO(json_t) *defaults = faas_function_defaults();
    json_t *both[] = {
        json_pack("{s:s,s:{s:s},s:{s:i},s:{s:b}}", "payload", "j", "env", "A", "1", "limits",
                  "pids", 9, "retry", "idempotent", 1),
        faas_json_deep_copy(defaults), /* links json.c, through which jansson allocates */
    };

    (void)state;
    json_object_set_new(both[1], "payload", json_string("i"));
    fault_each(compare, both, 40);
    json_decref(both[0]);
    json_decref(both[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_read_whole_or_the_reason_is_told),
        cmocka_unit_test(all_differences_are_found_or_the_reason_is_told),
    };

    return run_unit(tests);
}
