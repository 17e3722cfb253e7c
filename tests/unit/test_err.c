#include "tests/unit/unit.h"

#include <errno.h>
#include <string.h>

static void slug_and_status_agree_with_the_contract(void **state)
{
    (void)state;
    assert_int_equal(faas_code_status(FAAS_OK), 200);
    assert_int_equal(faas_code_status(FAAS_BUSY), 429);
    assert_int_equal(faas_code_status(FAAS_OUTPUT_TOO_LARGE), 507);
    assert_string_equal(faas_code_slug(FAAS_OK), "ok");
    assert_string_equal(faas_code_slug(FAAS_FAILED), "function_failed");
    assert_string_equal(faas_code_title(FAAS_TIMEOUT), "Time is up");
}

static void every_code_comes_back_from_its_slug(void **state)
{
    (void)state;
    for (int code = FAAS_OK; code < FAAS_CODE_END; code++)
        assert_int_equal(faas_code_from_slug(faas_code_slug((faas_code)code)), code);
}

static void unknown_slugs_and_codes_read_as_internal(void **state)
{
    (void)state;
    assert_int_equal(faas_code_from_slug("from_the_future"), FAAS_INTERNAL);
    assert_int_equal(faas_code_from_slug(""), FAAS_INTERNAL);
    assert_int_equal(faas_code_from_slug(NULL), FAAS_INTERNAL);
    assert_string_equal(faas_code_slug((faas_code)999), "internal");
    assert_int_equal(faas_code_status((faas_code)-1), 500);
}

static void fail_fills_message_and_drops_an_old_detail(void **state)
{
    faas_err err = {.detail = "old"};

    (void)state;
    assert_int_equal(faas_fail(&err, FAAS_CONFLICT, "name: %s is taken", "ada"), FAAS_CONFLICT);
    assert_int_equal(err.code, FAAS_CONFLICT);
    assert_string_equal(err.msg, "name: ada is taken");
    assert_string_equal(err.detail, "");
}

static void fail_without_an_error_value_returns_the_code(void **state)
{
    (void)state;
    assert_int_equal(faas_fail(NULL, FAAS_DENIED, "no"), FAAS_DENIED);
    assert_int_equal(faas_fail_sys(NULL, EIO, "no"), FAAS_INTERNAL);
    assert_int_equal(faas_err_detail(NULL, "no"), FAAS_INTERNAL);
}

static void fail_sys_tells_the_cause_to_the_log_only(void **state)
{
    faas_err err = {0};

    (void)state;
    assert_int_equal(faas_fail_sys(&err, ENOSPC, "write %s", "/var/x"), FAAS_INTERNAL);
    assert_string_equal(err.msg, "internal error");
    assert_string_equal(err.detail, "write /var/x: No space left on device");
}

static void detail_keeps_code_and_message(void **state)
{
    faas_err err = {0};

    (void)state;
    assert_int_equal(faas_fail(&err, FAAS_UNAVAILABLE, "try again"), FAAS_UNAVAILABLE);
    assert_int_equal(faas_err_detail(&err, "bucket %s", "users"), FAAS_UNAVAILABLE);
    assert_string_equal(err.msg, "try again");
    assert_string_equal(err.detail, "bucket users");
}

static void a_message_may_wrap_itself(void **state)
{
    faas_err err = {0};

    (void)state;
    assert_int_equal(faas_fail(&err, FAAS_INVALID, "required"), FAAS_INVALID);
    assert_int_equal(faas_fail(&err, FAAS_INVALID, "env: %s", err.msg), FAAS_INVALID);
    assert_string_equal(err.msg, "env: required");
}

static void control_characters_and_bad_utf8_become_question_marks(void **state)
{
    faas_err err = {0};

    (void)state;
    faas_fail(&err, FAAS_INVALID, "a\nb\x1b[31m\x7f|\xc2\x9b|\xff|\xc0\x80|gr\xc3\xbc\xc3\x9f");
    assert_string_equal(err.msg, "a?b?[31m?|?|?|??|gr\xc3\xbc\xc3\x9f");
}

static void long_messages_end_in_dots(void **state)
{
    char text[2000];
    faas_err err = {0};

    (void)state;
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    faas_fail(&err, FAAS_INVALID, "%s", text);
    assert_int_equal(strlen(err.msg), FAAS_ERR_MSG_MAX - 1);
    assert_string_equal(err.msg + FAAS_ERR_MSG_MAX - 5, "x...");
}

/* Each offset of the cut within a four-byte character. */
static void cuts_fall_between_characters(void **state)
{
    (void)state;
    for (size_t shift = 0; shift < 4; shift++) {
        char text[2000] = "xxxx";
        faas_err err = {0};
        size_t len;

        for (size_t at = shift; at + 4 < sizeof text - 4; at += 4)
            memcpy(text + at, "\xf0\x9f\x98\x80", 4);
        faas_fail(&err, FAAS_INVALID, "%s", text);
        len = strlen(err.msg);
        assert_null(strchr(err.msg, '?'));
        assert_string_equal(err.msg + len - 3, "...");
        assert_int_equal((len - 3 - shift) % 4, 0);
        assert_true(len + 4 > FAAS_ERR_MSG_MAX - 1);
    }
}

static faas_code fails(faas_err *err)
{
    return faas_fail(err, FAAS_LOST, "gone");
}

static faas_code tries(faas_err *err)
{
    FAAS_TRY(fails(err));
    return FAAS_OK;
}

static void try_hands_the_failure_on(void **state)
{
    faas_err err = {0};

    (void)state;
    assert_int_equal(tries(&err), FAAS_LOST);
    assert_string_equal(err.msg, "gone");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slug_and_status_agree_with_the_contract),
        cmocka_unit_test(every_code_comes_back_from_its_slug),
        cmocka_unit_test(unknown_slugs_and_codes_read_as_internal),
        cmocka_unit_test(fail_fills_message_and_drops_an_old_detail),
        cmocka_unit_test(fail_without_an_error_value_returns_the_code),
        cmocka_unit_test(fail_sys_tells_the_cause_to_the_log_only),
        cmocka_unit_test(detail_keeps_code_and_message),
        cmocka_unit_test(a_message_may_wrap_itself),
        cmocka_unit_test(control_characters_and_bad_utf8_become_question_marks),
        cmocka_unit_test(long_messages_end_in_dots),
        cmocka_unit_test(cuts_fall_between_characters),
        cmocka_unit_test(try_hands_the_failure_on),
    };

    return run_unit(tests);
}
