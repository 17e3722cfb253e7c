/* Ended sessions: what auth writes, and what a gateway makes of it. */
#include <stdio.h>
#include <string.h>

#include "base/done.h"
#include "gateway/revoked.h"
#include "services/auth/sessions.h"
#include "tests/unit/unit.h"

#define USER  "0190a000-0000-7000-8000-000000000001"
#define OTHER "0190a000-0000-7000-8000-000000000002"
#define JTI   "0190a000-0000-7000-8000-00000000000a"

static struct revoked revoked;
static char *stored; /* the user's record */
static struct faas_ctx asker;

static int begin(void **state)
{
    (void)state;
    revoked_init(&revoked);
    stored = NULL;
    asker = (struct faas_ctx){.id = ""};
    return 0;
}

static int end(void **state)
{
    (void)state;
    revoked_done(&revoked);
    free(stored);
    return 0;
}

/* auth writes, the gateway applies. */
static void end_session(const char *jti, int64_t expires_at, int64_t now_s)
{
    const struct session session = {jti, expires_at};
    FAAS_AUTO(json_t) *record = NULL;
    faas_err err = {0};

    assert_ok(sessions_end(stored, stored != NULL ? strlen(stored) : 0,
                           jti != NULL ? &session : NULL, now_s, &record, &err));
    free(stored);
    stored = faas_json_text(record, NULL);
    assert_non_null(stored);
    assert_ok(revoked_apply(&revoked, "u." USER, stored, strlen(stored), &err));
}

static bool is_revoked(const char *user, const char *jti, int64_t generation)
{
    struct faas_token_claims claims = {.generation = generation};

    (void)snprintf(claims.user, sizeof claims.user, "%s", user);
    (void)snprintf(claims.jti, sizeof claims.jti, "%s", jti);
    return revoked_has(&revoked, &claims);
}

static int64_t generation(void)
{
    int64_t value = -1;
    faas_err err = {0};

    assert_ok(sessions_generation(stored, stored != NULL ? strlen(stored) : 0, &value, &err));
    return value;
}

static void one_session_ends_and_no_other(void **state)
{
    (void)state;
    assert_false(is_revoked(USER, JTI, 0));
    end_session(JTI, 200, 100);
    assert_true(is_revoked(USER, JTI, 0));
    assert_false(is_revoked(USER, OTHER, 0));
    assert_false(is_revoked(OTHER, JTI, 0));
    assert_int_equal(generation(), 0);
}

static void a_new_generation_ends_all_before_it(void **state)
{
    (void)state;
    assert_int_equal(generation(), 0);
    end_session(NULL, 0, 100);
    assert_int_equal(generation(), 1);
    assert_true(is_revoked(USER, JTI, 0));
    assert_false(is_revoked(USER, JTI, 1));
    assert_false(is_revoked(OTHER, JTI, 0));
}

static void too_many_sessions_end_all_of_them(void **state)
{
    char jti[FAAS_UUID_TEXT];

    (void)state;
    for (int i = 0; i <= SESSIONS_MAX; i++) {
        assert_int_equal(generation(), 0);
        (void)snprintf(jti, sizeof jti, "0190a000-0000-7000-8000-0000000001%02x", (unsigned)i);
        end_session(jti, 200, 100);
    }
    assert_int_equal(generation(), 1);
    assert_true(is_revoked(USER, jti, 0));
}

static void what_has_expired_takes_no_room(void **state)
{
    (void)state;
    end_session(JTI, 200, 100);
    end_session(OTHER, 300, 200);
    assert_null(strstr(stored, JTI));
    assert_non_null(strstr(stored, OTHER));
    revoked_sweep(&revoked, 299);
    assert_true(is_revoked(USER, OTHER, 0));
    revoked_sweep(&revoked, 300);
    assert_false(is_revoked(USER, OTHER, 0));
    assert_null(revoked.users);
}

static void a_generation_is_never_swept(void **state)
{
    (void)state;
    end_session(NULL, 0, 100);
    revoked_sweep(&revoked, 1000000);
    assert_true(is_revoked(USER, JTI, 0));
}

/* API keys are counted apart: a new password ends no key, and the end of a key no session. */
static void ends_of_keys_are_counted_apart_and_never_swept(void **state)
{
    FAAS_AUTO(json_t) *record = NULL;
    int64_t keys = -1;
    faas_err err = {0};

    (void)state;
    end_session(JTI, 200, 100);
    assert_int_equal(revoked_keys(&revoked, USER), 0);
    assert_ok(sessions_end_keys(stored, strlen(stored), &record, &err));
    free(stored);
    stored = faas_json_text(record, NULL);
    assert_ok(revoked_apply(&revoked, "u." USER, stored, strlen(stored), &err));
    assert_int_equal(revoked_keys(&revoked, USER), 1);
    assert_int_equal(revoked_keys(&revoked, OTHER), 0);
    assert_int_equal(generation(), 0);
    assert_true(is_revoked(USER, JTI, 0));
    end_session(NULL, 0, 100);
    assert_ok(sessions_keys(stored, strlen(stored), &keys, &err));
    assert_int_equal(keys, 1);
    revoked_sweep(&revoked, 1000000);
    assert_int_equal(revoked_keys(&revoked, USER), 1);
}

static void fields_of_later_versions_stay(void **state)
{
    (void)state;
    stored = strdup("{\"v\":1,\"generation\":4,\"revoked\":{},\"later\":[1]}");
    end_session(NULL, 0, 100);
    assert_non_null(strstr(stored, "\"later\":[1]"));
    assert_int_equal(generation(), 5);
}

static void an_unreadable_value_changes_nothing(void **state)
{
    static const char *const bad[] = {"x", "[]", "{\"v\":1}", "{\"generation\":1,\"revoked\":1}"};
    json_t *record = NULL;
    faas_err err = {0};

    (void)state;
    end_session(JTI, 200, 100);
    for (size_t i = 0; i < FAAS_ARRAY_LEN(bad); i++) {
        assert_int_equal(revoked_apply(&revoked, "u." USER, bad[i], strlen(bad[i]), &err),
                         FAAS_INTERNAL);
        assert_int_equal(sessions_end(bad[i], strlen(bad[i]), NULL, 100, &record, &err),
                         FAAS_INTERNAL);
    }
    assert_true(is_revoked(USER, JTI, 0));
    assert_ok(revoked_apply(&revoked, "ready.up", "x", 1, &err));
    assert_ok(revoked_apply(&revoked, "u." USER, NULL, 0, &err)); /* deleted */
    assert_false(is_revoked(USER, JTI, 0));
}

/* ---- standing ---- */

static faas_code set_standing(const char *body, faas_err *err)
{
    FAAS_AUTO(json_t) *doc = json_loads(body, 0, NULL);
    FAAS_AUTO(json_t) *record = NULL;
    struct sessions_change change;
    const char *name;

    FAAS_TRY(sessions_read_change(doc, &name, &change, err));
    FAAS_TRY(sessions_set_standing(stored, stored != NULL ? strlen(stored) : 0, &change, &asker,
                                   &record, err));
    if (record == NULL)
        return FAAS_OK;
    free(stored);
    stored = faas_json_text(record, NULL);
    return revoked_apply(&revoked, "u." USER, stored, strlen(stored), err);
}

static void a_standing_is_what_every_gateway_sees_and_ends_older_sessions(void **state)
{
    struct faas_standing standing;
    faas_err err = {0};

    (void)state;
    revoked_standing(&revoked, USER, &standing);
    assert_true(faas_standing_is_plain(&standing));
    assert_ok(set_standing("{\"name\":\"x\",\"quotas\":{\"functions\":0}}", &err));
    assert_int_equal(generation(), 0); /* a quota ends nothing */
    revoked_sweep(&revoked, 1000000);
    revoked_standing(&revoked, USER, &standing);
    assert_int_equal(faas_quota_of(&standing, FAAS_QUOTA_FUNCTIONS, 7), 0);
    assert_int_equal(faas_quota_of(&standing, FAAS_QUOTA_CALLS, 7), 7);
    assert_ok(set_standing("{\"name\":\"x\",\"disabled\":true}", &err));
    revoked_standing(&revoked, USER, &standing);
    assert_true(standing.is_disabled && !standing.is_admin);
    assert_int_equal(generation(), 1);
    assert_int_equal(revoked_keys(&revoked, USER), 1);
    end_session(NULL, 0, 100);
    assert_ok(set_standing("{\"name\":\"x\",\"disabled\":false,\"role\":\"admin\"}", &err));
    revoked_standing(&revoked, USER, &standing);
    assert_true(!standing.is_disabled && standing.is_admin);
    assert_int_equal(generation(), 3);
    assert_ok(set_standing("{\"name\":\"x\",\"role\":\"admin\"}", &err)); /* as it was */
    assert_int_equal(generation(), 3);
    assert_ok(
        set_standing("{\"name\":\"x\",\"role\":\"user\",\"quotas\":{\"functions\":null}}", &err));
    assert_int_equal(generation(), 4);
    revoked_standing(&revoked, USER, &standing);
    assert_true(faas_standing_is_plain(&standing));
    revoked_standing(&revoked, OTHER, &standing);
    assert_true(faas_standing_is_plain(&standing));
}

static void a_deleted_account_is_let_in_by_nothing(void **state)
{
    struct faas_standing standing;
    json_t *record = NULL;
    faas_err err = {0};

    (void)state;
    assert_ok(set_standing("{\"name\":\"x\",\"role\":\"admin\"}", &err));
    assert_ok(sessions_end_account(stored, strlen(stored), 5000, &record, &err));
    free(stored);
    stored = faas_json_text(record, NULL);
    json_decref(record);
    assert_ok(revoked_apply(&revoked, "u." USER, stored, strlen(stored), &err));
    revoked_standing(&revoked, USER, &standing);
    assert_true(standing.is_deleted && standing.is_disabled && !standing.is_admin);
    assert_int_equal(generation(), 2);
    assert_int_equal(revoked_keys(&revoked, USER), 2);
    assert_true(is_revoked(USER, JTI, 1));
    revoked_sweep(&revoked, 1000000);
    revoked_standing(&revoked, USER, &standing);
    assert_true(standing.is_deleted);
    assert_ok(sessions_end_account(stored, strlen(stored), 6000, &record, &err));
    assert_null(record); /* once */
}

static faas_code set_as(const char *id, const char *fields, faas_err *err)
{
    char body[100];

    (void)snprintf(body, sizeof body, "{\"name\":\"x\",%s}", fields);
    (void)snprintf(asker.id, sizeof asker.id, "0190a000-0000-7000-8000-0000000000%s", id);
    return set_standing(body, err);
}

/* None is marked as asked again: nor is the copy of an instance that stood still. */
static void a_change_that_comes_late_changes_nothing(void **state)
{
    struct faas_standing standing;
    char id[3];
    faas_err err = {0};

    (void)state;
    assert_ok(set_as("10", "\"disabled\":false", &err));
    assert_ok(set_as("20", "\"disabled\":true", &err));
    assert_ok(set_as("10", "\"disabled\":false", &err));
    revoked_standing(&revoked, USER, &standing);
    assert_true(standing.is_disabled);
    for (int i = 0; i < FAAS_DONE_MAX; i++) {
        (void)snprintf(id, sizeof id, "3%c", '0' + i);
        assert_ok(set_as(id, "\"role\":\"user\"", &err));
    }
    assert_int_equal(set_as("10", "\"disabled\":false", &err), FAAS_TIMEOUT);
    assert_ok(set_as("40", "\"role\":\"user\"", &err));
    revoked_standing(&revoked, USER, &standing);
    assert_true(standing.is_disabled);
}

static void a_change_is_read_strictly_and_names_what_is_wrong(void **state)
{
    static const struct {
        const char *body, *text;
    } bad[] = {
        {"{\"name\":\"x\",\"role\":\"king\"}", "role: admin or user"},
        {"{\"name\":\"x\",\"disabled\":1}", "disabled: expected true or false"},
        {"{\"name\":\"x\",\"quotas\":[]}", "quotas: expected an object"},
        {"{\"name\":\"x\",\"quotas\":{\"\":1}}", "quotas: there are functions"},
        {"{\"name\":\"x\",\"quotas\":{\"functions\":-1}}", "quotas.functions: expected"},
        {"{\"name\":\"x\",\"quotas\":{\"functions\":1.5}}", "quotas.functions: expected"},
        {"{\"name\":\"x\",\"quotas\":{\"calls_per_minute\":1000000000001}}",
         "quotas.calls_per_minute: expected"},
        {"{\"name\":\"x\",\"id\":\"y\"}", "id: unknown"},
        {"{\"role\":\"admin\"}", "name: "},
    };
    faas_err err = {0};

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(bad); i++) {
        assert_int_equal(set_standing(bad[i].body, &err), FAAS_INVALID);
        assert_non_null(strstr(err.msg, bad[i].text));
    }
    assert_null(stored);
}

/* What a later release, or nobody, wrote: it gives no rights and takes none away but by "disabled". */
static void a_strange_standing_gives_nothing(void **state)
{
    struct faas_standing standing;
    faas_err err = {0};

    (void)state;
    stored = strdup("{\"v\":1,\"generation\":0,\"revoked\":{},\"role\":[\"admin\"],\"quotas\":"
                    "{\"functions\":\"many\",\"concurrency\":-5,\"later\":1},\"later\":true}");
    assert_ok(revoked_apply(&revoked, "u." USER, stored, strlen(stored), &err));
    revoked_standing(&revoked, USER, &standing);
    assert_true(faas_standing_is_plain(&standing));
    assert_ok(set_standing("{\"name\":\"x\",\"quotas\":{\"concurrency\":2}}", &err));
    assert_non_null(strstr(stored, "\"later\":1"));
    assert_non_null(strstr(stored, "\"later\":true"));
    free(stored);
    stored = strdup("{\"v\":1,\"generation\":0,\"revoked\":{},\"role\":\"administrator\","
                    "\"disabled\":\"for now\"}");
    assert_ok(revoked_apply(&revoked, "u." USER, stored, strlen(stored), &err));
    revoked_standing(&revoked, USER, &standing);
    assert_true(standing.is_disabled && !standing.is_admin);
}

/* A key that a request made counts only if the session it came with had not ended. */
static void a_session_that_ended_is_known_by_generation_or_id(void **state)
{
    struct faas_token_claims claims = {.jti = JTI, .generation = 0};
    bool has_ended = true;
    faas_err err = {0};

    (void)state;
    assert_ok(sessions_has_ended(NULL, 0, &claims, &has_ended, &err));
    assert_false(has_ended);
    end_session(JTI, 200, 100);
    assert_ok(sessions_has_ended(stored, strlen(stored), &claims, &has_ended, &err));
    assert_true(has_ended);
    end_session(NULL, 0, 100);
    assert_ok(sessions_has_ended(stored, strlen(stored), &claims, &has_ended, &err));
    assert_true(has_ended);
    claims.generation = generation();
    assert_ok(sessions_has_ended(stored, strlen(stored), &claims, &has_ended, &err));
    assert_false(has_ended);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_session_ends_and_no_other, begin, end),
        cmocka_unit_test_setup_teardown(a_new_generation_ends_all_before_it, begin, end),
        cmocka_unit_test_setup_teardown(too_many_sessions_end_all_of_them, begin, end),
        cmocka_unit_test_setup_teardown(what_has_expired_takes_no_room, begin, end),
        cmocka_unit_test_setup_teardown(a_generation_is_never_swept, begin, end),
        cmocka_unit_test_setup_teardown(ends_of_keys_are_counted_apart_and_never_swept, begin, end),
        cmocka_unit_test_setup_teardown(fields_of_later_versions_stay, begin, end),
        cmocka_unit_test_setup_teardown(
            a_standing_is_what_every_gateway_sees_and_ends_older_sessions, begin, end),
        cmocka_unit_test_setup_teardown(a_deleted_account_is_let_in_by_nothing, begin, end),
        cmocka_unit_test_setup_teardown(a_change_that_comes_late_changes_nothing, begin, end),
        cmocka_unit_test_setup_teardown(a_change_is_read_strictly_and_names_what_is_wrong, begin,
                                        end),
        cmocka_unit_test_setup_teardown(a_strange_standing_gives_nothing, begin, end),
        cmocka_unit_test_setup_teardown(a_session_that_ended_is_known_by_generation_or_id, begin,
                                        end),
        cmocka_unit_test_setup_teardown(an_unreadable_value_changes_nothing, begin, end),
    };

    return run_unit(tests);
}
