/* Accounts: bodies, keys, stored records. */
#include <stdio.h>
#include <string.h>

#include "services/auth/account.h"
#include "tests/unit/unit.h"

#define ID "0190c8f6-0000-7000-8000-000000000001"

static void body_says(const char *text, faas_code code, const char *msg)
{
    FAAS_AUTO(json_t) *body = json_loads(text, 0, NULL);
    struct account_req req = {0};
    faas_err err = {0};

    assert_non_null(body);
    if (account_read(body, &req, &err) != code || strcmp(err.msg, msg) != 0)
        fail_msg("%s: got %s \"%s\"", text, faas_code_slug(err.code), err.msg);
    assert_int_equal(req.username != NULL, code == FAAS_OK);
}

static void bodies_hold_two_strings_and_nothing_else(void **state)
{
    (void)state;
    body_says("{\"username\":\"ann\",\"password\":\"correct horse\"}", FAAS_OK, "");
    body_says("{\"username\":\"ann\"}", FAAS_INVALID, "password: required");
    body_says("{\"password\":\"x\"}", FAAS_INVALID, "username: required");
    body_says("{\"username\":null,\"password\":\"x\"}", FAAS_INVALID, "username: required");
    body_says("{\"username\":5,\"password\":\"x\"}", FAAS_INVALID,
              "username: expected string, got integer");
    body_says("{\"username\":\"ann\",\"password\":[\"x\"]}", FAAS_INVALID,
              "password: expected string, got array");
    body_says("{\"username\":\"ann\",\"password\":\"x\",\"role\":\"admin\"}", FAAS_INVALID,
              "role: unknown field");
}

static void a_new_account_has_ids_of_its_own(void **state)
{
    struct account a, b;

    (void)state;
    account_init(&a, "ann");
    account_init(&b, "ann");
    assert_true(faas_uuid_is(a.id) && faas_uuid_is(a.tenant));
    assert_string_not_equal(a.id, a.tenant);
    assert_string_not_equal(a.id, b.id);
    assert_string_equal(a.username, "ann");
    assert_true(a.created_at > 0);
}

static void keys_hold_hashes_and_ids_only(void **state)
{
    char key[ACCOUNT_KEY_MAX];

    (void)state;
    account_name_key("abc", key); /* FIPS 180-2 appendix B.1 */
    assert_string_equal(key, "n.ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    account_user_key(ID, key);
    assert_string_equal(key, "u." ID);
}

static void the_user_record_comes_back(void **state)
{
    struct account made, back;
    FAAS_AUTO(json_t) *record = NULL;
    FAAS_AUTO(char) *text = NULL;
    faas_err err = {0};

    (void)state;
    account_init(&made, "ann");
    snprintf(made.password, sizeof made.password, "$argon2id$v=19$m=65536,t=2,p=1$c2FsdA$aGFzaA");
    record = account_user_record(&made);
    text = faas_json_text(record, NULL);
    assert_int_equal(json_integer_value(json_object_get(record, "v")), 1);
    assert_int_equal(json_string_length(json_object_get(record, "op")), 32);
    assert_int_equal(account_parse_user(text, strlen(text), made.id, &back, &err), FAAS_OK);
    assert_string_equal(back.id, made.id);
    assert_string_equal(back.tenant, made.tenant);
    assert_string_equal(back.username, made.username);
    assert_string_equal(back.password, made.password);
    assert_int_equal(back.created_at, made.created_at);
}

static void every_write_names_its_own_operation(void **state)
{
    struct account made;
    FAAS_AUTO(json_t) *a = NULL;
    FAAS_AUTO(json_t) *b = NULL;

    (void)state;
    account_init(&made, "ann");
    a = account_name_record(&made);
    b = account_name_record(&made);
    assert_string_not_equal(json_string_value(json_object_get(a, "op")),
                            json_string_value(json_object_get(b, "op")));
}

static void the_name_record_leads_to_the_user(void **state)
{
    struct account made;
    char id[FAAS_UUID_TEXT] = "";
    FAAS_AUTO(json_t) *record = NULL;
    FAAS_AUTO(char) *text = NULL;
    faas_err err = {0};

    (void)state;
    account_init(&made, "ann");
    record = account_name_record(&made);
    json_object_set_new(record, "of_a_later_release", json_true());
    text = faas_json_text(record, NULL);
    assert_int_equal(account_parse_name(text, strlen(text), id, &err), FAAS_OK);
    assert_string_equal(id, made.id);
}

static void stored_nonsense_is_our_error_and_tells_the_client_nothing(void **state)
{
    static const char *const values[] = {
        "",
        "{}",
        "[]",
        "{\"id\":5}",
        "{\"id\":\"0190c8f6-0000-7000-8000-00000000000X\"}",
        "{\"username\":\"ann\",\"password\":\"h\",\"tenant\":\"x\",\"created_at\":1}",
    };
    struct account account;
    char id[FAAS_UUID_TEXT] = "";

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(values); i++) {
        faas_err err = {0};

        assert_int_equal(account_parse_name(values[i], strlen(values[i]), id, &err), FAAS_INTERNAL);
        assert_null(strstr(err.msg, "id"));
        assert_int_equal(account_parse_user(values[i], strlen(values[i]), ID, &account, &err),
                         FAAS_INTERNAL);
    }
    assert_string_equal(id, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies_hold_two_strings_and_nothing_else),
        cmocka_unit_test(a_new_account_has_ids_of_its_own),
        cmocka_unit_test(keys_hold_hashes_and_ids_only),
        cmocka_unit_test(the_user_record_comes_back),
        cmocka_unit_test(every_write_names_its_own_operation),
        cmocka_unit_test(the_name_record_leads_to_the_user),
        cmocka_unit_test(stored_nonsense_is_our_error_and_tells_the_client_nothing),
    };

    return run_unit(tests);
}
