/* The stored set of signing keys: who joins, how long each counts. */
#include <string.h>

#include "services/auth/keyset.h"
#include "tests/unit/unit.h"

#define NOW  INT64_C(1000000)
#define LIFE 1000 /* of a token */
#define TERM 100  /* beyond it */

static char *stored;

static int end(void **state)
{
    (void)state;
    free(stored);
    stored = NULL;
    return 0;
}

static size_t stored_len(void)
{
    return stored != NULL ? strlen(stored) : 0;
}

/* {"keys":[{"kid":a},{"kid":b}]} */
static json_t *jwks(const char *a, const char *b)
{
    json_t *own = json_pack("{s:[{s:s}]}", "keys", "kid", a);

    if (b != NULL)
        json_array_append_new(json_object_get(own, "keys"), json_pack("{s:s}", "kid", b));
    return own;
}

/* A look of an auth program whose files hold the keys a and b; what it writes is stored.  Whether
 * it wrote. */
static bool look(const char *a, const char *b, int64_t now_s, bool *out_is_joining)
{
    const struct keyset_term term = {now_s, now_s + LIFE + TERM, now_s + LIFE + TERM / 2};
    FAAS_AUTO(json_t) *own = jwks(a, b);
    FAAS_AUTO(json_t) *doc = NULL;
    faas_err err = {0};

    assert_ok(keyset_join(stored, stored_len(), own, &term, &doc, out_is_joining, &err));
    if (doc == NULL)
        return false;
    free(stored);
    stored = faas_json_text(doc, NULL);
    return true;
}

static int64_t end_of(const char *kid)
{
    int64_t exp_s = -1;
    faas_err err = {0};

    assert_ok(keyset_end(stored, stored_len(), kid, &exp_s, &err));
    return exp_s;
}

static void assert_public(const char *kids, int64_t now_s)
{
    FAAS_AUTO(json_t) *doc = NULL;
    char text[200] = "";
    const json_t *entry;
    faas_err err = {0};
    size_t i;

    assert_ok(keyset_public(stored, stored_len(), 7, now_s, &doc, &err));
    assert_int_equal(json_integer_value(json_object_get(doc, "revision")), 7);
    json_array_foreach (json_object_get(doc, "keys"), i, entry)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s ",
                 json_string_value(json_object_get(entry, "kid")));
    assert_string_equal(text, kids);
}

static void the_first_key_joins_an_empty_set_and_nobody_has_to_wait(void **state)
{
    bool is_joining = true;

    (void)state;
    assert_true(look("a", NULL, NOW, &is_joining));
    assert_false(is_joining);
    assert_int_equal(end_of("a"), NOW + LIFE + TERM);
    assert_false(look("a", NULL, NOW, &is_joining)); /* and a second program has nothing to write */
    assert_false(is_joining);
}

static void a_new_key_stands_in_front_and_the_one_before_it_stays(void **state)
{
    bool is_joining = false;

    (void)state;
    look("a", NULL, NOW, &is_joining);
    assert_true(look("b", NULL, NOW + 1, &is_joining));
    assert_true(is_joining);
    assert_public("b a ", NOW + 1);
    assert_false(look("b", NULL, NOW + 2, &is_joining));
    assert_false(is_joining);
}

static void a_term_is_renewed_only_while_its_file_is_there(void **state)
{
    bool is_joining;
    int64_t half = NOW + TERM / 2 + 1;

    (void)state;
    look("b", "a", NOW, &is_joining);
    assert_false(look("b", "a", NOW + TERM / 2, &is_joining));
    assert_true(look("b", NULL, half, &is_joining));
    assert_int_equal(end_of("b"), half + LIFE + TERM);
    assert_int_equal(end_of("a"), NOW + LIFE + TERM); /* the last token of a ends before that */
}

static void a_key_leaves_when_its_term_ends_and_no_sooner(void **state)
{
    bool is_joining;
    int64_t end_s = NOW + LIFE + TERM;

    (void)state;
    look("a", NULL, NOW, &is_joining);
    look("b", NULL, NOW, &is_joining);
    look("b", NULL, end_s - 1, &is_joining);
    assert_public("b a ", end_s - 1);
    assert_public("b ", end_s);
    assert_int_equal(end_of("a"), end_s); /* still stored */
    assert_true(look("b", NULL, end_s, &is_joining));
    assert_int_equal(end_of("a"), 0);
}

static void what_a_later_version_wrote_stays(void **state)
{
    FAAS_AUTO(json_t) *doc = NULL;
    bool is_joining;

    (void)state;
    stored = strdup("{\"v\":1,\"keys\":[{\"kty\":\"NEW\",\"kid\":\"z\",\"more\":1}],\"later\":{}}");
    assert_true(look("a", NULL, NOW, &is_joining));
    doc = json_loads(stored, 0, NULL);
    assert_non_null(json_object_get(doc, "later"));
    assert_public("a z ", NOW);
    assert_int_equal(json_integer_value(
                         json_object_get(json_array_get(json_object_get(doc, "keys"), 1), "more")),
                     1);
}

static void more_keys_than_a_verifier_holds_are_refused(void **state)
{
    const struct keyset_term term = {NOW, NOW + 1, NOW + 1};
    FAAS_AUTO(json_t) *own = jwks("new", NULL);
    FAAS_AUTO(json_t) *doc = NULL;
    char kid[16];
    bool is_joining;
    faas_err err = {0};

    (void)state;
    for (int i = 0; i < 16; i++) {
        snprintf(kid, sizeof kid, "k%d", i);
        assert_true(look(kid, NULL, NOW, &is_joining));
    }
    assert_int_equal(keyset_join(stored, stored_len(), own, &term, &doc, &is_joining, &err),
                     FAAS_BUSY);
    assert_contains(err.msg, "16 signing keys live");
    assert_true(look("new", NULL, NOW + LIFE + TERM, &is_joining)); /* until one has ended */
}

static void a_kept_key_is_the_only_one(void **state)
{
    FAAS_AUTO(json_t) *doc = NULL;
    bool is_joining;
    faas_err err = {0};

    (void)state;
    assert_true(look("a", "b", NOW, &is_joining));
    assert_true(look("c", NULL, NOW, &is_joining));
    assert_int_equal(keyset_keep(stored, stored_len(), "d", &doc, &err), FAAS_NOT_FOUND);
    assert_null(doc);
    assert_ok(keyset_keep(stored, stored_len(), "c", &doc, &err));
    assert_non_null(doc);
    free(stored);
    stored = faas_json_text(doc, NULL);
    assert_public("c ", NOW);
    json_decref(doc);
    assert_ok(keyset_keep(stored, stored_len(), "c", &doc, &err));
    assert_null(doc); /* nothing to write */
}

static void bytes_that_are_not_ours_are_an_error(void **state)
{
    static const char *const texts[] = {"x", "[]", "{}", "{\"keys\":{}}"};
    int64_t exp_s;
    faas_err err = {0};

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(texts); i++)
        assert_int_equal(keyset_end(texts[i], strlen(texts[i]), "a", &exp_s, &err), FAAS_INTERNAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(the_first_key_joins_an_empty_set_and_nobody_has_to_wait, end),
        cmocka_unit_test_teardown(a_new_key_stands_in_front_and_the_one_before_it_stays, end),
        cmocka_unit_test_teardown(a_term_is_renewed_only_while_its_file_is_there, end),
        cmocka_unit_test_teardown(a_key_leaves_when_its_term_ends_and_no_sooner, end),
        cmocka_unit_test_teardown(what_a_later_version_wrote_stays, end),
        cmocka_unit_test_teardown(more_keys_than_a_verifier_holds_are_refused, end),
        cmocka_unit_test_teardown(a_kept_key_is_the_only_one, end),
        cmocka_unit_test_teardown(bytes_that_are_not_ours_are_an_error, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
