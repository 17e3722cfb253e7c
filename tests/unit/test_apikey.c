/* API keys: their text, what they are for, and what auth keeps of them. */
#include <stdio.h>
#include <string.h>

#include "services/auth/apikey.h"
#include "tests/unit/unit.h"

#define NOW_MS INT64_C(1800000000000)
#define YEAR_S 31536000
#define A      "\"a\",\"a\",\"a\",\"a\","
#define SECRET "0123456789abcdef0123456789abcdef0123456789abcdef"
#define ID     "00112233aabbccdd"
#define KEY    "faas_" ID "_" SECRET

static faas_err err;

/* ---- the text ---- */

static void a_new_key_is_read_as_one_and_no_two_are_the_same(void **state)
{
    char one[FAAS_APIKEY_TEXT], two[FAAS_APIKEY_TEXT], id[FAAS_APIKEY_ID_TEXT];
    char hash[FAAS_HASH_TEXT], expected[FAAS_HASH_TEXT];

    (void)state;
    faas_apikey_new(one);
    faas_apikey_new(two);
    assert_string_not_equal(one, two);
    assert_true(faas_apikey_parse(one, id, hash));
    assert_true(faas_apikey_id_is(id));
    assert_memory_equal(one + 5, id, strlen(id));
    faas_hash_text(one, strlen(one), expected);
    assert_string_equal(hash, expected);
    assert_null(strstr(hash, one + 22));
}

static void what_is_not_exactly_a_key_is_none(void **state)
{
    static const char *const bad[] = {
        "",
        "faas_",
        "faas__",
        "faas_" ID,
        "faas_" ID "_",
        "faas_" ID "_" SECRET "0",
        "faas_" ID "_" SECRET " ",
        "faas_" ID "_" SECRET "\n",
        " faas_" ID "_" SECRET,
        "FAAS_" ID "_" SECRET,
        "faas_00112233AABBCCDD_" SECRET,
        "faas_0011223aabbccdd_" SECRET,
        "faas_" ID "-" SECRET,
        "faas_" ID "_g123456789abcdef0123456789abcdef0123456789abcdef",
        "faas_" ID "_0123456789abcdef0123456789abcdef0123456789abcde",
        "faas_" ID "_" ID,
        "faas_%s_%n",
    };
    char id[FAAS_APIKEY_ID_TEXT], hash[FAAS_HASH_TEXT];

    (void)state;
    assert_true(faas_apikey_parse(KEY, id, hash));
    for (size_t i = 0; i < FAAS_ARRAY_LEN(bad); i++) {
        if (faas_apikey_parse(bad[i], id, hash))
            fail_msg("\"%s\" was taken for a key", bad[i]);
    }
    assert_true(faas_apikey_is_meant("faas_x"));
    assert_false(faas_apikey_is_meant("eyJ0eXAi"));
}

static void secrets_are_masked_wherever_they_stand(void **state)
{
    char path[] = "/auth/keys/" KEY "/" KEY;
    char cut[] = "faas_" ID "_0123";
    char twice[] = "faas_" KEY;
    char harmless[] = "/function/faas_dead_beef";

    (void)state;
    faas_apikey_mask(path);
    assert_null(strstr(path, "0123456789"));
    assert_non_null(strstr(path, "/auth/keys/faas_" ID "_****"));
    faas_apikey_mask(cut);
    assert_string_equal(cut, "faas_" ID "_****");
    faas_apikey_mask(twice);
    assert_null(strstr(twice, "0123456789"));
    faas_apikey_mask(harmless);
    assert_string_equal(harmless, "/function/faas_dead_beef");
}

/* ---- what it is for ---- */

static faas_code read_scope(const char *text, enum faas_json_mode mode,
                            struct faas_apikey_scope *scope)
{
    FAAS_AUTO(json_t) *doc = json_loads(text, 0, NULL);

    assert_non_null(doc);
    memset(&err, 0, sizeof err);
    return faas_apikey_scope_read(json_object_get(doc, "verbs"), json_object_get(doc, "functions"),
                                  mode, scope, &err);
}

static void without_a_word_a_key_invokes_everything_and_no_more(void **state)
{
    struct faas_apikey_scope scope;

    (void)state;
    assert_ok(read_scope("{}", FAAS_JSON_STRICT, &scope));
    assert_int_equal(scope.verbs, FAAS_APIKEY_INVOKE);
    assert_true(faas_apikey_allows(&scope, "anything"));
    assert_true(faas_apikey_allows(&scope, NULL));
}

static void names_and_beginnings_of_names_are_told_apart(void **state)
{
    struct faas_apikey_scope scope;

    (void)state;
    assert_ok(read_scope("{\"verbs\":[\"*\"],\"functions\":[\"echo\",\"ci-*\"]}", FAAS_JSON_STRICT,
                         &scope));
    assert_int_equal(scope.verbs, FAAS_APIKEY_INVOKE | FAAS_APIKEY_READ | FAAS_APIKEY_DEPLOY);
    assert_true(faas_apikey_allows(&scope, "echo"));
    assert_true(faas_apikey_allows(&scope, "ci-"));
    assert_true(faas_apikey_allows(&scope, "ci-build"));
    assert_false(faas_apikey_allows(&scope, "echo2"));
    assert_false(faas_apikey_allows(&scope, "Echo"));
    assert_false(faas_apikey_allows(&scope, "ci"));
    assert_false(faas_apikey_allows(&scope, ""));
    assert_false(faas_apikey_allows(&scope, NULL));
}

static void junk_in_a_scope_is_refused_by_name(void **state)
{
    static const char *const verbs[] = {
        "{\"verbs\":[]}",         "{\"verbs\":[\"Invoke\"]}", "{\"verbs\":[\"invoke\",\"\"]}",
        "{\"verbs\":[1]}",        "{\"verbs\":\"invoke\"}",   "{\"verbs\":[[\"read\"]]}",
        "{\"verbs\":[\"admin\"]}"};
    static const char *const functions[] = {"{\"functions\":[]}",
                                            "{\"functions\":[\"\"]}",
                                            "{\"functions\":[\"**\"]}",
                                            "{\"functions\":[\"a*b\"]}",
                                            "{\"functions\":[\"*a\"]}",
                                            "{\"functions\":[\"a b\"]}",
                                            "{\"functions\":[\"../etc\"]}",
                                            "{\"functions\":[null]}",
                                            "{\"functions\":{\"a\":1}}",
                                            "{\"functions\":[\"-a\"]}",
                                            "{\"functions\":[\"a:b\"]}",
                                            "{\"functions\":[\"\\u00e9\"]}",
                                            ("{\"functions\":[" A A A A "\"a\"]}")};
    struct faas_apikey_scope scope;

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(verbs); i++) {
        assert_int_equal(read_scope(verbs[i], FAAS_JSON_STRICT, &scope), FAAS_INVALID);
        assert_contains(err.msg, "verbs");
    }
    for (size_t i = 0; i < FAAS_ARRAY_LEN(functions); i++) {
        assert_int_equal(read_scope(functions[i], FAAS_JSON_STRICT, &scope), FAAS_INVALID);
        assert_contains(err.msg, "functions");
    }
}

/* A newer auth may know more; what is not understood here must not open anything. */
static void what_is_not_understood_grants_nothing(void **state)
{
    struct faas_apikey_scope scope;

    (void)state;
    assert_ok(read_scope("{\"verbs\":[\"own\",\"read\",7],\"functions\":[\"a?\",\"b\"]}",
                         FAAS_JSON_TOLERANT, &scope));
    assert_int_equal(scope.verbs, FAAS_APIKEY_READ);
    assert_true(faas_apikey_allows(&scope, "b"));
    assert_false(faas_apikey_allows(&scope, "a?"));
    assert_ok(read_scope("{}", FAAS_JSON_TOLERANT, &scope));
    assert_int_equal(scope.verbs, 0);
    assert_false(faas_apikey_allows(&scope, "b"));
    assert_false(faas_apikey_allows(&scope, NULL));
}

/* ---- what auth keeps ---- */

static char *stored;
static const struct apikey_owner owner = {.tenant = "0190a000-0000-7000-8000-000000000001",
                                          .username = "ann"};

static int begin(void **state)
{
    (void)state;
    stored = NULL;
    memset(&err, 0, sizeof err);
    return 0;
}

static int end(void **state)
{
    (void)state;
    free(stored);
    return 0;
}

static size_t stored_len(void)
{
    return stored != NULL ? strlen(stored) : 0;
}

static void store(json_t *take_doc)
{
    free(stored);
    stored = faas_json_text(take_doc, NULL);
    assert_non_null(stored);
    json_decref(take_doc);
}

static faas_code read_body(const char *text, struct apikey *key)
{
    FAAS_AUTO(json_t) *doc = json_loads(text, 0, NULL);

    assert_non_null(doc);
    memset(&err, 0, sizeof err);
    return apikey_read(doc, NOW_MS, YEAR_S, key, &err);
}

static void add(const char *id, const char *hash_of)
{
    struct apikey key;
    json_t *doc = NULL;

    assert_ok(read_body("{\"name\":\"ci\",\"verbs\":[\"read\"],\"functions\":[\"a*\"]}", &key));
    (void)snprintf(key.id, sizeof key.id, "%s", id);
    faas_hash_text(hash_of, strlen(hash_of), key.hash);
    assert_ok(apikey_add(stored, stored_len(), &owner, &key, 3, &doc, &err));
    store(doc);
}

static bool finds(const char *id, const char *hash_of, struct apikey *out_key)
{
    struct apikey_owner whose = {.tenant = ""};
    char hash[FAAS_HASH_TEXT];
    bool is_match = false;

    faas_hash_text(hash_of, strlen(hash_of), hash);
    assert_ok(apikey_find(stored, stored_len(), id, hash, out_key, &whose, &is_match, &err));
    if (is_match)
        assert_string_equal(whose.username, owner.username);
    return is_match;
}

static void a_body_out_of_bounds_is_refused_by_name(void **state)
{
    static const struct {
        const char *body, *field;
    } bad[] = {
        {"{}", "name"},
        {"{\"name\":\"\"}", "name"},
        {"{\"name\":7}", "name"},
        {"{\"name\":\"a\\nb\"}", "name"},
        {"{\"name\":\"0123456789012345678901234567890123456789012345678901234567890123X\"}",
         "name"},
        {"{\"name\":\"a\",\"expires_in\":0}", "expires_in"},
        {"{\"name\":\"a\",\"expires_in\":-1}", "expires_in"},
        {"{\"name\":\"a\",\"expires_in\":31536001}", "expires_in"},
        {"{\"name\":\"a\",\"expires_in\":9223372036854775807}", "expires_in"},
        {"{\"name\":\"a\",\"expires_in\":\"90d\"}", "expires_in"},
        {"{\"name\":\"a\",\"user\":\"b\"}", "user"},
        {"{\"name\":\"a\",\"id\":\"" ID "\"}", "id"},
    };
    struct apikey key;

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(bad); i++) {
        assert_int_equal(read_body(bad[i].body, &key), FAAS_INVALID);
        assert_contains(err.msg, bad[i].field);
    }
    assert_ok(read_body("{\"name\":\"a\"}", &key));
    assert_int_equal(key.expires_at, NOW_MS / 1000 + APIKEY_LIFE_S);
    assert_ok(read_body("{\"name\":\"a\",\"expires_in\":60}", &key));
    assert_int_equal(key.expires_at, NOW_MS / 1000 + 60);
}

static void a_kept_key_is_found_by_its_secret_alone(void **state)
{
    struct apikey key = {.id = ""};

    (void)state;
    assert_false(finds(ID, "right", &key));
    add(ID, "right");
    assert_null(strstr(stored, "right"));
    assert_false(finds(ID, "wrong", &key));
    assert_false(finds("00112233aabbccde", "right", &key));
    assert_string_equal(key.id, ""); /* nothing leaks on a miss */
    assert_true(finds(ID, "right", &key));
    assert_string_equal(key.id, ID);
    assert_string_equal(key.name, "ci");
    assert_int_equal(key.scope.verbs, FAAS_APIKEY_READ);
    assert_true(faas_apikey_allows(&key.scope, "abc"));
    assert_false(faas_apikey_allows(&key.scope, "b"));
}

static void a_hash_of_another_length_matches_nothing(void **state)
{
    struct apikey key;
    struct apikey_owner whose;
    char hash[FAAS_HASH_TEXT];
    bool is_match = true;

    (void)state;
    add(ID, "right");
    faas_hash_text("right", 5, hash);
    hash[63] = '\0';
    assert_ok(apikey_find(stored, stored_len(), ID, hash, &key, &whose, &is_match, &err));
    assert_false(is_match);
    assert_ok(apikey_find(stored, stored_len(), ID, "", &key, &whose, &is_match, &err));
    assert_false(is_match);
}

static void there_is_room_for_so_many_and_a_removal_makes_some(void **state)
{
    struct apikey key;
    json_t *doc = NULL;

    (void)state;
    add("0000000000000001", "1");
    add("0000000000000002", "2");
    add("0000000000000003", "3");
    assert_ok(read_body("{\"name\":\"a\"}", &key));
    assert_int_equal(apikey_add(stored, stored_len(), &owner, &key, 3, &doc, &err),
                     FAAS_UNPROCESSABLE);
    assert_contains(err.msg, "3 API keys");
    assert_ok(apikey_remove(stored, stored_len(), "0000000000000009", &doc, &err));
    assert_null(doc);
    assert_ok(apikey_remove(stored, stored_len(), "0000000000000002", &doc, &err));
    store(doc);
    assert_false(finds("0000000000000002", "2", &key));
    assert_true(finds("0000000000000003", "3", &key));
    add("0000000000000004", "4");
    assert_ok(apikey_remove(stored, stored_len(), NULL, &doc, &err));
    store(doc);
    assert_false(finds("0000000000000004", "4", &key));
}

/* Its first copy knows nothing of the key that another instance made in its place. */
static void a_copy_that_comes_late_leaves_the_key_that_was_shown(void **state)
{
    struct apikey key;
    json_t *doc = NULL;

    (void)state;
    assert_ok(read_body("{\"name\":\"a\"}", &key));
    faas_uuid_new(key.made_by);
    faas_hash_text("1", 1, key.hash);
    memcpy(key.id, "0000000000000001", sizeof key.id);
    assert_ok(apikey_add(stored, stored_len(), &owner, &key, 3, &doc, &err));
    store(doc);
    assert_ok(apikey_add(stored, stored_len(), &owner, &key, 3, &doc, &err)); /* itself */
    assert_null(doc);
    memcpy(key.id, "0000000000000002", sizeof key.id);
    assert_int_equal(apikey_add(stored, stored_len(), &owner, &key, 3, &doc, &err), FAAS_TIMEOUT);
    assert_null(doc);
    key.is_again = true;
    assert_ok(apikey_add(stored, stored_len(), &owner, &key, 3, &doc, &err));
    store(doc);
    assert_false(finds("0000000000000001", "1", &key));
    assert_true(finds("0000000000000002", "1", &key));
}

static void a_use_is_written_once_an_hour(void **state)
{
    struct apikey key;
    json_t *doc = NULL;

    (void)state;
    add(ID, "right");
    assert_ok(apikey_use(stored, stored_len(), ID, NOW_MS, &doc, &err));
    store(doc);
    assert_true(finds(ID, "right", &key));
    assert_int_equal(key.used_at, NOW_MS);
    assert_ok(apikey_use(stored, stored_len(), ID, NOW_MS + APIKEY_USED_MS - 1, &doc, &err));
    assert_null(doc);
    assert_ok(apikey_use(stored, stored_len(), ID, NOW_MS + APIKEY_USED_MS, &doc, &err));
    assert_non_null(doc);
    json_decref(doc);
    assert_ok(apikey_use(stored, stored_len(), "0000000000000009", NOW_MS, &doc, &err));
    assert_null(doc);
}

static void a_list_shows_everything_but_the_hash(void **state)
{
    FAAS_AUTO(json_t) *items = NULL;
    FAAS_AUTO(char) *text = NULL;
    char hash[FAAS_HASH_TEXT];

    (void)state;
    add(ID, "right");
    assert_ok(apikey_list(stored, stored_len(), &items, &err));
    text = faas_json_text(items, NULL);
    faas_hash_text("right", 5, hash);
    assert_null(strstr(text, hash));
    assert_string_equal(text, "[{\"id\":\"" ID
                              "\",\"name\":\"ci\",\"created_at\":\"2027-01-15T08:00:00.000Z\","
                              "\"expires_at\":\"2027-04-15T08:00:00.000Z\",\"last_used_at\":null,"
                              "\"verbs\":[\"read\"],\"functions\":[\"a*\"]}]");
}

static void fields_of_later_versions_stay(void **state)
{
    struct apikey key;

    (void)state;
    stored = strdup("{\"v\":1,\"later\":[1],\"apikeys\":{}}");
    add(ID, "right");
    assert_non_null(strstr(stored, "\"later\":[1]"));
    assert_true(finds(ID, "right", &key));
}

static void unreadable_values_are_said_to_be(void **state)
{
    static const char *const bad[] = {"x", "[]", "{\"v\":1}", "{\"apikeys\":[]}"};
    json_t *doc = NULL;

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(bad); i++) {
        assert_int_equal(apikey_list(bad[i], strlen(bad[i]), &doc, &err), FAAS_INTERNAL);
        assert_int_equal(apikey_remove(bad[i], strlen(bad[i]), ID, &doc, &err), FAAS_INTERNAL);
    }
}

#define kept(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_key_is_read_as_one_and_no_two_are_the_same),
        cmocka_unit_test(what_is_not_exactly_a_key_is_none),
        cmocka_unit_test(secrets_are_masked_wherever_they_stand),
        cmocka_unit_test(without_a_word_a_key_invokes_everything_and_no_more),
        cmocka_unit_test(names_and_beginnings_of_names_are_told_apart),
        cmocka_unit_test(junk_in_a_scope_is_refused_by_name),
        cmocka_unit_test(what_is_not_understood_grants_nothing),
        kept(a_body_out_of_bounds_is_refused_by_name),
        kept(a_kept_key_is_found_by_its_secret_alone),
        kept(a_hash_of_another_length_matches_nothing),
        kept(there_is_room_for_so_many_and_a_removal_makes_some),
        kept(a_copy_that_comes_late_leaves_the_key_that_was_shown),
        kept(a_use_is_written_once_an_hour),
        kept(a_list_shows_everything_but_the_hash),
        kept(fields_of_later_versions_stay),
        kept(unreadable_values_are_said_to_be),
    };

    return run_unit(tests);
}
