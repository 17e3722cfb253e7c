/* Subjects, and the table of who may do what on the bus. */
#include <string.h>

#include "contract.h"
#include "tests/unit/unit.h"

static void an_id_takes_its_place_in_a_subject(void **state)
{
    char subject[FAAS_SUBJECT_MAX];

    (void)state;
    assert_true(faas_subject(subject, FAAS_SUBJ_PUBLISHER_CALL, "ab12"));
    assert_string_equal(subject, "faas.publisher.i.ab12.call");
    assert_true(faas_subject(subject, FAAS_SUBJ_PUBLISHER_EVENTS, "ab12"));
    assert_string_equal(subject, "faas.call.ab12.*.ev");
    assert_true(faas_subject(subject, FAAS_SUBJ_AUTH_LOGIN, "ab12"));
    assert_string_equal(subject, FAAS_SUBJ_AUTH_LOGIN);
}

static void what_is_no_id_makes_no_subject(void **state)
{
    static const char *const bad[] = {"", "a.b", "*", ">", "a b", "a\n", "\xc3\xa9"};
    char subject[FAAS_SUBJECT_MAX];

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(bad); i++)
        assert_false(faas_subject(subject, FAAS_SUBJ_PUBLISHER_CALL, bad[i]));
}

static void a_subject_too_long_is_refused(void **state)
{
    char id[FAAS_SUBJECT_MAX], subject[FAAS_SUBJECT_MAX];
    size_t room = FAAS_SUBJECT_MAX - (sizeof FAAS_SUBJ_PUBLISHER_CALL - 1 - 2) - 1;

    (void)state;
    memset(id, 'a', sizeof id);
    id[room] = '\0';
    assert_true(faas_subject(subject, FAAS_SUBJ_PUBLISHER_CALL, id));
    assert_int_equal(strlen(subject), FAAS_SUBJECT_MAX - 1);
    id[room] = 'a';
    id[room + 1] = '\0';
    assert_false(faas_subject(subject, FAAS_SUBJ_PUBLISHER_CALL, id));
}

/* ---- permissions ---- */

static bool has(const char *const *list, const char *subject)
{
    for (; *list != NULL; list++) {
        if (strcmp(*list, subject) == 0)
            return true;
    }
    return false;
}

static bool has_beginning(const char *const *list, const char *beginning)
{
    for (; *list != NULL; list++) {
        if (strncmp(*list, beginning, strlen(beginning)) == 0)
            return true;
    }
    return false;
}

static void nobody_may_do_everything(void **state)
{
    const struct faas_bus_user *user;
    size_t count = 0;

    (void)state;
    for (; (user = faas_contract_user(count)) != NULL; count++) {
        assert_false(has(user->publish, ">"));
        assert_false(has(user->subscribe, ">"));
        assert_false(has(user->publish, "$JS.API.>"));
        assert_false(has(user->publish, "$JS.>"));
        assert_false(has(user->publish, "$SYS.>"));
        assert_false(has(user->publish, "$KV.>"));
        assert_ptr_equal(faas_contract_permissions(user->service), user);
    }
    assert_int_equal(count, 6);
    assert_null(faas_contract_permissions("nobody"));
}

static void only_jetstream_publishes_changes(void **state)
{
    const struct faas_bus_user *user;

    (void)state;
    for (size_t i = 0; (user = faas_contract_user(i)) != NULL; i++)
        assert_false(has_beginning(user->publish, "rp."));
}

static void each_bucket_has_one_writer(void **state)
{
    static const struct {
        const char *subject, *service;
    } writers[] = {
        {"$KV.users.>", "auth"}, {"$KV.functions.>", "registry"}, {"$KV.revocations.>", "auth"}};
    const struct faas_bus_user *user;

    (void)state;
    for (size_t k = 0; k < FAAS_ARRAY_LEN(writers); k++) {
        for (size_t i = 0; (user = faas_contract_user(i)) != NULL; i++)
            assert_int_equal(has(user->publish, writers[k].subject),
                             strcmp(user->service, writers[k].service) == 0);
    }
}

/* What a call's result travels to is closed to services that have no part in calls. */
static void inboxes_are_read_by_their_owner_only(void **state)
{
    const struct faas_bus_user *user;

    (void)state;
    for (size_t i = 0; (user = faas_contract_user(i)) != NULL; i++) {
        for (const char *const *subject = user->subscribe; *subject != NULL; subject++) {
            size_t len = strlen(user->service);

            if (strncmp(*subject, "_INBOX_", 7) == 0)
                assert_true(strncmp(*subject + 7, user->service, len) == 0 &&
                            strcmp(*subject + 7 + len, ".>") == 0);
        }
    }
}

static void the_block_names_each_key_with_its_lists(void **state)
{
    static const struct faas_bus_key keys[] = {{"auth", "UAAA"}, {"nobody", "UBBB"}, {NULL, NULL}};
    char *text = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&text, &size);

    (void)state;
    assert_non_null(to);
    faas_contract_authorization(keys, to);
    assert_int_equal(fclose(to), 0);
    assert_contains(text, "nkey: \"UAAA\"");
    assert_contains(text, "\"$KV.users.>\"");
    assert_contains(text, "allow_responses");
    assert_null(strstr(text, "UBBB"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_id_takes_its_place_in_a_subject),
        cmocka_unit_test(what_is_no_id_makes_no_subject),
        cmocka_unit_test(a_subject_too_long_is_refused),
        cmocka_unit_test(nobody_may_do_everything),
        cmocka_unit_test(only_jetstream_publishes_changes),
        cmocka_unit_test(each_bucket_has_one_writer),
        cmocka_unit_test(inboxes_are_read_by_their_owner_only),
        cmocka_unit_test(the_block_names_each_key_with_its_lists),
    };

    return run_unit(tests);
}
