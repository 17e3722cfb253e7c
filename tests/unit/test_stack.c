/* Stack files: what is read of them, what is refused and where, variables, differences. */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <string.h>

#include "cli/stack.h"
#include "cli/stack_diff.h"
#include "contract.h"

static const char *lookup(const char *name)
{
    static const struct {
        const char *name, *value;
    } set[] = {
        {"TAG", "v2"},        {"EMPTY", ""},   {"PORT", "8080"},  {"CPUS", "0.5"},
        {"DOLLAR", "${TAG}"}, {"YES", "true"}, {"LATIN", "\xe9"},
    };

    for (size_t i = 0; i < FAAS_ARRAY_LEN(set); i++)
        if (strcmp(set[i].name, name) == 0)
            return set[i].value;
    return NULL;
}

static faas_code read_named(const char *text, const char *name, struct stack *stack, faas_err *err)
{
    struct stack_source source = {"stack.yml", text, strlen(text), name, lookup};

    *err = (faas_err){0};
    return stack_read(&source, stack, err);
}

static faas_code read(const char *text, struct stack *stack, faas_err *err)
{
    return read_named(text, NULL, stack, err);
}

/* A refused file says just this. */
static void refused(const char *text, const char *message)
{
    struct stack stack;
    faas_err err;
    faas_code code = read(text, &stack, &err);

    if (code == FAAS_OK)
        fail_msg("read, and should not be: %s", text);
    assert_int_equal(code, FAAS_INVALID);
    assert_string_equal(err.msg, message);
}

/* The body of the only function, as compact JSON, and the first warning (NULL: none). */
static void reads_as(const char *text, const char *body, const char *warning)
{
    struct stack stack;
    faas_err err;
    FAAS_AUTO(char) *got = NULL;

    if (read(text, &stack, &err) != FAAS_OK)
        fail_msg("%s", err.msg);
    assert_int_equal(stack.count, 1);
    got = faas_json_dump(stack.functions[0].body, JSON_COMPACT | JSON_REAL_PRECISION(6), NULL);
    assert_string_equal(got, body);
    assert_int_equal(json_array_size(stack.warnings), warning != NULL);
    if (warning != NULL)
        assert_string_equal(json_string_value(json_array_get(stack.warnings, 0)), warning);
    stack_done(&stack);
}

#define F "functions:\n  f:\n    image: i\n"

static void every_field_becomes_that_of_a_registration(void **state)
{
    (void)state;
    reads_as("stack: shop\n"
             "functions:\n"
             "  f:\n"
             "    image: reg/i:1\n"
             "    description: it's \"fine\"\n"
             "    input: stdin\n"
             "    timeout_ms: 5000\n"
             "    start_timeout_ms: 6000\n"
             "    max_wait_ms: 100\n"
             "    concurrency: 3\n"
             "    limits: {memory_mb: 64, cpus: 0.5, pids: 20, tmp_mb: 8, output_mb: 2}\n"
             "    environment: {A: one, B: ''}\n"
             "    network: outbound\n"
             "    reuse: slot\n"
             "    isolation: sandbox\n"
             "    retry: {idempotent: true, attempts: 4, backoff_ms: 50, on: [lost, failed]}\n"
             "    labels: {team: a}\n",
             "{\"payload\":\"reg/i:1\",\"description\":\"it's \\\"fine\\\"\",\"input\":\"stdin\","
             "\"timeout_ms\":5000,\"start_timeout_ms\":6000,\"max_wait_ms\":100,\"concurrency\":3,"
             "\"limits\":{\"memory_mb\":64,\"cpus\":0.5,\"pids\":20,\"tmp_mb\":8,\"output_mb\":2},"
             "\"env\":{\"A\":\"one\",\"B\":\"\"},\"network\":\"outbound\",\"reuse\":\"slot\","
             "\"isolation\":\"sandbox\",\"retry\":{\"idempotent\":true,\"attempts\":4,"
             "\"backoff_ms\":50,\"on\":[\"lost\",\"failed\"]},"
             "\"labels\":{\"team\":\"a\",\"faas.stack\":\"shop\"}}",
             NULL);
}

static void openfaas_files_are_read(void **state)
{
    (void)state;
    reads_as("version: 1.0\nprovider:\n  name: openfaas\nfunctions:\n  f:\n    lang: c\n"
             "    handler: ./f\n    image: i\n    limits:\n      memory: 40Mi\n      cpu: 250m\n",
             "{\"payload\":\"i\",\"limits\":{\"memory_mb\":40,\"cpus\":0.25}}", NULL);
}

static void what_has_no_meaning_is_a_warning_by_name(void **state)
{
    (void)state;
    reads_as(F "    annotations: {a: b}\n", "{\"payload\":\"i\"}",
             "stack.yml:4:5: annotations has no meaning here: use labels");
    reads_as(F "    requests: {memory: 1Gi}\n", "{\"payload\":\"i\"}",
             "stack.yml:4:5: requests has no meaning here: a call has what limits say, and no more "
             "is put aside for it");
    reads_as(
        "provider: {gateway: 'http://elsewhere'}\n" F, "{\"payload\":\"i\"}",
        "stack.yml:1:12: provider.gateway has no meaning here: --server or FAAS_URL say where");
}

static void what_nobody_knows_is_an_error_with_the_nearest_name(void **state)
{
    (void)state;
    refused(F "    timeuot_ms: 5\n",
            "stack.yml:4:5: timeuot_ms: there is no such field; did you mean timeout_ms?");
    refused(F "    limits: {memory_md: 5}\n",
            "stack.yml:4:14: memory_md: there is no such field; did you mean memory_mb?");
    refused("function:\n  f: {image: i}\n",
            "stack.yml:1:1: function: a stack file has stack, functions, version and provider; did "
            "you mean functions?");
}

static void texts_are_what_is_written(void **state)
{
    (void)state;
    reads_as(F "    environment:\n      A: on\n      B: 1.0\n      C: 0x10\n      D: yes\n"
               "      E: 'null'\n      F: 010\n      G: 2024-01-01\n",
             "{\"payload\":\"i\",\"env\":{\"A\":\"on\",\"B\":\"1.0\",\"C\":\"0x10\",\"D\":\"yes\","
             "\"E\":\"null\",\"F\":\"010\",\"G\":\"2024-01-01\"}}",
             NULL);
    refused(F "    environment:\n      A:\n",
            "stack.yml:5:9: A: expected a text (\"\" for an empty one), got nothing");
    refused(F "    environment: [A=1]\n",
            "stack.yml:4:18: environment: expected a mapping of NAME: VALUE, got a list");
}

static void numbers_are_decimal_digits_without_quotes(void **state)
{
    (void)state;
#define WHOLE "expected a whole number in decimal digits, without quotes, got "
    refused(F "    timeout_ms: \"5\"\n", "stack.yml:4:17: timeout_ms: " WHOLE "\"5\"");
    refused(F "    timeout_ms: 0x10\n", "stack.yml:4:17: timeout_ms: " WHOLE "0x10");
    refused(F "    timeout_ms: 1.0\n", "stack.yml:4:17: timeout_ms: " WHOLE "1.0");
    refused(F "    timeout_ms: 1e3\n", "stack.yml:4:17: timeout_ms: " WHOLE "1e3");
    refused(F "    timeout_ms: 1_000\n", "stack.yml:4:17: timeout_ms: " WHOLE "1_000");
    refused(F "    timeout_ms: -1\n", "stack.yml:4:17: timeout_ms: " WHOLE "-1");
    refused(F "    timeout_ms: 99999999999999999999\n",
            "stack.yml:4:17: timeout_ms: " WHOLE "99999999999999999999");
    refused(F "    retry: {idempotent: on}\n",
            "stack.yml:4:25: idempotent: expected true or false, got on");
    refused(F "    limits: {cpus: half}\n",
            "stack.yml:4:20: cpus: expected a number such as 0.5, without quotes, got half");
}

static void sizes_and_processors_have_units(void **state)
{
    static const struct {
        const char *memory;
        int mb;
    } sizes[] = {{"128Mi", 128}, {"128m", 128},      {"1Gi", 1024}, {"1g", 1024},
                 {"40M", 39},    {"134217728", 128}, {"1K", 1},     {"1G", 954}};

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(sizes); i++) {
        char text[128], body[128];

        snprintf(text, sizeof text, F "    limits: {memory: %s}\n", sizes[i].memory);
        snprintf(body, sizeof body, "{\"payload\":\"i\",\"limits\":{\"memory_mb\":%d}}",
                 sizes[i].mb);
        reads_as(text, body, NULL);
    }
    refused(F "    limits: {memory: 1Ti}\n",
            "stack.yml:4:22: memory: expected a size such as 128Mi, got 1Ti");
    refused(F "    limits: {memory: 1Gi, memory_mb: 5}\n",
            "stack.yml:4:27: memory_mb: the same was said above under another name; leave one of "
            "them");
    reads_as(F "    limits: {cpu: '1.5'}\n", "{\"payload\":\"i\",\"limits\":{\"cpus\":1.5}}", NULL);
}

/* ---- hostile files ---- */

static void anchors_aliases_tags_and_merge_keys_are_refused(void **state)
{
    (void)state;
    refused("a: &x [lol]\nb: [*x, *x]\n" F,
            "stack.yml:1:4: anchors (&) and aliases (*) are not read: write the value out, or in "
            "quotes when it begins with that sign");
    refused(F "    description: *x\n",
            "stack.yml:4:18: anchors (&) and aliases (*) are not read: write the value out, or in "
            "quotes when it begins with that sign");
    refused(F "    description: !!binary aGk=\n",
            "stack.yml:4:18: tags (!) are not read: leave it out, or put the value in quotes");
    refused(F "    <<: {image: j}\n",
            "stack.yml:4:5: merge keys (<<) are not read: write the fields out");
    refused("? [a]\n: b\n", "stack.yml:1:3: a name is a text: write NAME: VALUE");
}

static void duplicate_keys_name_both_places(void **state)
{
    (void)state;
    refused(F "    image: j\n", "stack.yml:4:5: image is there already, in line 3: leave one of "
                                "them");
    refused(F "  f: {image: j}\n", "stack.yml:4:3: f is there already, in line 2: leave one of "
                                   "them");
}

static void bytes_that_are_no_text_are_refused_with_their_place(void **state)
{
    struct stack_source nul = {"stack.yml", "a: b\nc\0d: e", 11, NULL, lookup};
    struct stack stack;
    faas_err err = {0};

    (void)state;
    refused("a: \xc3\xa4\n\xc3\xa4"
            "b\xff: c\n",
            "stack.yml:2:3: this is not UTF-8: save the file in that encoding");
    refused("\xff\xfe"
            "a",
            "stack.yml:1:1: this is not UTF-8: save the file in that encoding");
    assert_int_equal(stack_read(&nul, &stack, &err), FAAS_INVALID);
    assert_string_equal(err.msg, "stack.yml:2:2: a NUL byte: take it out");
    refused(F "    description: \"a\\0b\"\n", "stack.yml:4:18: a NUL byte (\\0): take it out");
}

static void syntax_errors_have_a_place(void **state)
{
    (void)state;
    refused("functions:\n\tf: x\n",
            "stack.yml:2:1: this character cannot begin a value: indent with spaces, not tabs, and "
            "put texts with special characters in quotes, while scanning for the next token");
    refused("", "stack.yml: the file is empty: it needs functions");
    refused("# nothing\n", "stack.yml: the file is empty: it needs functions");
    refused(F "---\nfunctions: {}\n",
            "stack.yml:4:1: a second document (---): a stack file has one");
    refused("[]", "stack.yml:1:1: the file: expected a mapping of NAME: VALUE");
    refused("stack: a\n", "stack.yml:1:1: functions is missing: a mapping of NAME: {image: ...}");
    refused("functions:\n  f:\n    lang: c\n",
            "stack.yml:2:3: f: image is missing: the container image that runs");
    refused("functions:\n  f: i\n", "stack.yml:2:6: f: expected a mapping of NAME: VALUE, got i");
}

static void depth_and_number_are_bounded(void **state)
{
    char deep[4000] = "a: ", many[40000] = "a: [";
    size_t len = 4;

    (void)state;
    memset(deep + 3, '[', 3000);
    deep[3003] = '\0';
    refused(deep, "stack.yml:1:19: more than 16 levels deep");
    for (int i = 0; i < 1001; i++)
        len += (size_t)snprintf(many + len, sizeof many - len, "b,");
    snprintf(many + len, sizeof many - len, "]");
    refused(many, "stack.yml:1:2005: more than 1000 entries in one mapping or list");
}

static void a_large_file_is_refused_unread(void **state)
{
    size_t size = TREE_BYTES_MAX + 1;
    FAAS_AUTO(char) *text = malloc(size);
    struct stack_source source = {"stack.yml", text, size, NULL, lookup};
    struct stack stack;
    faas_err err = {0};

    (void)state;
    assert_non_null(text);
    memset(text, ' ', size);
    assert_int_equal(stack_read(&source, &stack, &err), FAAS_TOO_LARGE);
    assert_string_equal(err.msg, "stack.yml: a stack file has at most 262144 bytes");
}

static void the_stack_label_is_not_the_files_to_set(void **state)
{
    struct stack stack;
    faas_err err;

    (void)state;
    refused(F "    labels: {faas.stack: other}\n",
            "stack.yml:2:3: labels: faas.stack is set by `faas deploy -f`: write stack: NAME at "
            "the top of the file");
    refused("stack: two words\n" F,
            "stack.yml:1:8: stack: a name of letters, digits, '_' and '-', at most 63");
    assert_int_equal(read_named("stack: mine\n" F, "other", &stack, &err), FAAS_OK);
    assert_string_equal(stack.name, "other");
    stack_done(&stack);
    assert_int_equal(read_named(F, "a b", &stack, &err), FAAS_INVALID);
    assert_contains(err.msg, "--stack");
}

/* ---- variables ---- */

static void variables_are_put_into_values(void **state)
{
    (void)state;
    reads_as("functions:\n  f:\n    image: reg/i:${TAG}\n    timeout_ms: ${PORT}\n"
             "    description: ${NO:-a ${TAG} b}, ${EMPTY:-e}${EMPTY-f}, $$${TAG}, 5$, $1\n"
             "    limits: {cpus: \"${CPUS}\"}\n    retry: {idempotent: \"${YES}\"}\n"
             "    environment: {A: \"${DOLLAR}\"}\n",
             "{\"payload\":\"reg/i:v2\",\"timeout_ms\":8080,"
             "\"description\":\"a v2 b, e, $v2, 5$, $1\",\"limits\":{\"cpus\":0.5},"
             "\"retry\":{\"idempotent\":true},\"env\":{\"A\":\"${TAG}\"}}",
             NULL);
}

static void unset_variables_are_told(void **state)
{
    (void)state;
    reads_as(F "    description: a${NO}b\n", "{\"payload\":\"i\",\"description\":\"ab\"}",
             "stack.yml:4:18: the variable NO is not set: nothing is put in its place");
    refused(F "    description: ${NO:?say which}\n",
            "stack.yml:4:18: the variable NO is needed: say which");
    refused(F "    description: ${EMPTY:?say which}\n",
            "stack.yml:4:18: the variable EMPTY is needed: say which");
}

static void what_is_no_variable_is_refused(void **state)
{
    (void)state;
    refused(F "    description: $TAG\n",
            "stack.yml:4:18: $T...: write ${NAME} for a variable, $$ for the sign itself");
    refused(F "    description: a ${TAG\n",
            "stack.yml:4:18: ${ without }; write $${ for the text ${");
    refused(F "    description: ${1}\n",
            "stack.yml:4:18: ${...} begins with the name of a variable; write $${ for the text "
            "${");
    refused(F "    description: ${TAG%x}\n",
            "stack.yml:4:18: ${TAG...}: write ${NAME}, ${NAME:-text} or ${NAME:?text}");
    refused(F "    description: ${LATIN}\n", "stack.yml:4:18: the variable LATIN is not UTF-8");
    refused(F "    description: ${A:-${A:-${A:-${A:-${A:-x}}}}}\n",
            "stack.yml:4:18: more than 4 variables inside each other");
}

/* ---- differences ---- */

/* given against a function registered with `was`: the changes and the patch, as text. */
static void differs(const char *given, const char *was, const char *changes, const char *patch)
{
    FAAS_AUTO(json_t) *body = json_loads(given, 0, NULL);
    FAAS_AUTO(json_t) *record = faas_function_defaults();
    FAAS_AUTO(json_t) *over = json_loads(was, 0, NULL);
    FAAS_AUTO(json_t) *got_changes = NULL;
    FAAS_AUTO(json_t) *got_patch = NULL;
    FAAS_AUTO(char) *changes_text = NULL;
    FAAS_AUTO(char) *patch_text = NULL;
    faas_err err = {0};

    json_object_update_recursive(record, over);
    assert_ok(stack_diff(body, record, &got_changes, &got_patch, &err));
    changes_text = faas_json_dump(got_changes, JSON_COMPACT | JSON_REAL_PRECISION(6), NULL);
    patch_text = faas_json_dump(got_patch, JSON_COMPACT | JSON_REAL_PRECISION(6), NULL);
    assert_string_equal(changes_text, changes);
    assert_string_equal(patch_text, patch);
}

static void equal_functions_have_no_difference(void **state)
{
    (void)state;
    differs("{\"payload\":\"i\"}", "{\"payload\":\"i\"}", "[]", "{}");
    differs("{\"payload\":\"i\",\"limits\":{\"cpus\":1}}", "{\"payload\":\"i\"}", "[]", "{}");
    differs("{\"payload\":\"i\",\"retry\":{\"idempotent\":true}}",
            "{\"payload\":\"i\",\"retry\":{\"idempotent\":true,\"on\":[\"lost\"]}}", "[]", "{}");
    differs("{\"payload\":\"i\"}", "{\"payload\":\"i\",\"isolation\":\"sandbox\",\"newer\":1}",
            "[]", "{}");
}

static void a_field_left_out_goes_back_to_its_default(void **state)
{
    (void)state;
    differs("{\"payload\":\"i\"}",
            "{\"payload\":\"i\",\"timeout_ms\":5,\"limits\":{\"pids\":7},\"env\":{\"A\":\"x\"}}",
            "[{\"field\":\"timeout_ms\",\"now\":5,\"wanted\":30000},"
            "{\"field\":\"limits.pids\",\"now\":7,\"wanted\":128},"
            "{\"field\":\"env.A\",\"now\":\"set\",\"wanted\":null}]",
            "{\"timeout_ms\":30000,\"limits\":{\"pids\":128},\"env\":{}}");
}

static void values_of_the_environment_are_not_shown(void **state)
{
    (void)state;
    differs("{\"payload\":\"j\",\"env\":{\"A\":\"new\",\"B\":\"b\"},\"labels\":{\"t\":\"2\"}}",
            "{\"payload\":\"i\",\"env\":{\"A\":\"old\"},\"labels\":{\"t\":\"1\"}}",
            "[{\"field\":\"image\",\"now\":\"i\",\"wanted\":\"j\"},"
            "{\"field\":\"env.A\",\"now\":\"set\",\"wanted\":\"set\"},"
            "{\"field\":\"env.B\",\"now\":null,\"wanted\":\"set\"},"
            "{\"field\":\"labels.t\",\"now\":\"1\",\"wanted\":\"2\"}]",
            "{\"payload\":\"j\",\"env\":{\"A\":\"new\",\"B\":\"b\"},\"labels\":{\"t\":\"2\"}}");
}

static void an_older_platform_is_asked_only_for_what_the_file_says(void **state)
{
    FAAS_AUTO(json_t) *record = json_loads("{\"payload\":\"i\"}", 0, NULL);
    FAAS_AUTO(json_t) *body =
        json_loads("{\"payload\":\"i\",\"reuse\":\"slot\",\"limits\":{\"pids\":3}}", 0, NULL);
    FAAS_AUTO(json_t) *changes = NULL;
    FAAS_AUTO(json_t) *patch = NULL;
    FAAS_AUTO(char) *text = NULL;
    faas_err err = {0};

    (void)state;
    assert_ok(stack_diff(body, record, &changes, &patch, &err));
    text = faas_json_dump(patch, JSON_COMPACT, NULL);
    assert_string_equal(text, "{\"limits\":{\"pids\":3},\"reuse\":\"slot\"}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_becomes_that_of_a_registration),
        cmocka_unit_test(openfaas_files_are_read),
        cmocka_unit_test(what_has_no_meaning_is_a_warning_by_name),
        cmocka_unit_test(what_nobody_knows_is_an_error_with_the_nearest_name),
        cmocka_unit_test(texts_are_what_is_written),
        cmocka_unit_test(numbers_are_decimal_digits_without_quotes),
        cmocka_unit_test(sizes_and_processors_have_units),
        cmocka_unit_test(anchors_aliases_tags_and_merge_keys_are_refused),
        cmocka_unit_test(duplicate_keys_name_both_places),
        cmocka_unit_test(bytes_that_are_no_text_are_refused_with_their_place),
        cmocka_unit_test(syntax_errors_have_a_place),
        cmocka_unit_test(depth_and_number_are_bounded),
        cmocka_unit_test(a_large_file_is_refused_unread),
        cmocka_unit_test(the_stack_label_is_not_the_files_to_set),
        cmocka_unit_test(variables_are_put_into_values),
        cmocka_unit_test(unset_variables_are_told),
        cmocka_unit_test(what_is_no_variable_is_refused),
        cmocka_unit_test(equal_functions_have_no_difference),
        cmocka_unit_test(a_field_left_out_goes_back_to_its_default),
        cmocka_unit_test(values_of_the_environment_are_not_shown),
        cmocka_unit_test(an_older_platform_is_asked_only_for_what_the_file_says),
    };

    return run_unit(tests);
}
