/* Which calls may share what was made for one: the id of a set of secrets. */
#include <sodium.h>
#include <string.h>

#include "services/spawner/secret_set.h"
#include "tests/unit/unit.h"

static struct secret_value *value(const char *name, uint64_t revision)
{
    void *bytes = sodium_init() >= 0 ? sodium_malloc(4) : NULL;
    struct secret_value *made;

    assert_non_null(bytes);
    memset(bytes, 'x', 4);
    made = secret_value_new(name, revision, bytes, 4);
    assert_non_null(made);
    return made;
}

static struct secret_set *set(struct secret_value *take_a, struct secret_value *take_b)
{
    struct secret_value *const both[] = {take_a, take_b};
    struct secret_set *made = secret_set_new(both, take_b != NULL ? 2 : 1);

    assert_non_null(made);
    secret_value_unref(take_a);
    secret_value_unref(take_b);
    return made;
}

static void the_id_is_names_and_revisions(void **state)
{
    struct secret_set *one = set(value("a", 1), value("b", 2));
    struct secret_set *same = set(value("a", 1), value("b", 2));
    struct secret_set *newer = set(value("a", 3), value("b", 2));
    struct secret_set *fewer = set(value("a", 1), NULL);
    struct secret_set *other = set(value("ab", 1), NULL);

    (void)state;
    assert_string_equal(one->id, same->id);
    assert_string_not_equal(one->id, newer->id);
    assert_string_not_equal(one->id, fewer->id);
    assert_string_not_equal(fewer->id, other->id);
    secret_set_unref(one);
    secret_set_unref(same);
    secret_set_unref(newer);
    secret_set_unref(fewer);
    secret_set_unref(other);
}

static void a_value_lives_as_long_as_its_last_set(void **state)
{
    struct secret_set *one = set(value("a", 1), NULL), *again = secret_set_ref(one);

    (void)state;
    secret_set_unref(one);
    assert_memory_equal(again->values[0]->bytes, "xxxx", 4);
    secret_set_unref(again);
    secret_set_unref(NULL);
    assert_null(secret_set_ref(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_id_is_names_and_revisions),
        cmocka_unit_test(a_value_lives_as_long_as_its_last_set),
    };

    return run_unit(tests);
}
