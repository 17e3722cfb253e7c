/* What a publisher keeps of users' standings: changes as they come from the bucket. */
#include "services/publisher/standings.h"

#include <stdio.h>
#include <string.h>

#include "tests/unit/unit.h"

#define USER  "0190a000-0000-7000-8000-000000000001"
#define OTHER "0190a000-0000-7000-8000-000000000002"

static struct standings standings;

static int end(void **state)
{
    (void)state;
    standings_close(&standings);
    return 0;
}

/* value NULL: deleted. */
static void apply(const char *key, const char *value)
{
    const struct faas_feed_event event = {.key = key,
                                          .is_delete = value == NULL,
                                          .value = value,
                                          .len = value != NULL ? strlen(value) : 0};

    standings_apply(&standings, &event);
}

static struct faas_standing of(const char *user)
{
    struct faas_standing standing;

    standings_of(&standings, user, &standing);
    return standing;
}

static void what_differs_is_known_until_it_does_not(void **state)
{
    struct faas_standing standing;

    (void)state;
    standing = of(USER);
    assert_true(faas_standing_is_plain(&standing));
    apply("u." USER, "{\"generation\":1,\"quotas\":{\"concurrency\":0}}");
    apply("u." OTHER, "{\"generation\":1,\"disabled\":true}");
    standing = of(USER);
    assert_int_equal(faas_quota_of(&standing, FAAS_QUOTA_CONCURRENCY, 9), 0);
    assert_int_equal(faas_quota_of(&standing, FAAS_QUOTA_QUEUED_BYTES, 9), 9);
    assert_true(of(OTHER).is_disabled);
    apply("u." USER, "{\"generation\":1,\"quotas\":{}}");
    apply("u." OTHER, NULL);
    standing = of(USER);
    assert_true(faas_standing_is_plain(&standing));
    assert_false(of(OTHER).is_disabled);
    assert_null(standings.users);
}

static void other_keys_and_nonsense_change_nothing(void **state)
{
    (void)state;
    apply("u." USER, "{\"disabled\":true}");
    apply("u." USER, "no json");
    apply("keys", "{\"disabled\":false}");
    apply("u.x", "{\"disabled\":true}");
    apply("u", "{\"disabled\":true}");
    assert_true(of(USER).is_disabled);
    assert_false(of(OTHER).is_disabled);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(what_differs_is_known_until_it_does_not, end),
        cmocka_unit_test_teardown(other_keys_and_nonsense_change_nothing, end),
    };

    return run_unit(tests);
}
