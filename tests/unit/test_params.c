/* Query strings, path parameters and the headers of a call. */
#include "gateway/params.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "contract.h"

static faas_err err;

/* ---- query ---- */

static char *query(const char *text, faas_code want)
{
    FAAS_AUTO(json_t) *doc = NULL;

    memset(&err, 0, sizeof err);
    assert_int_equal(gw_query_json(text, &doc, &err), want);
    return want == FAAS_OK ? faas_json_text(doc, &(size_t){0}) : NULL;
}

static void assert_query(const char *text, const char *want)
{
    FAAS_AUTO(char) *got = query(text, FAAS_OK);

    assert_string_equal(got, want);
}

static void query_values_become_strings(void **state)
{
    (void)state;
    assert_query(NULL, "{}");
    assert_query("", "{}");
    assert_query("limit=2&cursor=abc", "{\"limit\":\"2\",\"cursor\":\"abc\"}");
    assert_query("q=", "{\"q\":\"\"}");
    assert_query("q=a=b", "{\"q\":\"a=b\"}");
    assert_query("name=%65cho&q=a+b%2B%26", "{\"name\":\"echo\",\"q\":\"a b+&\"}");
    assert_query("q=%C3%BC", "{\"q\":\"\xc3\xbc\"}");
    assert_query("q=%22%5c", "{\"q\":\"\\\"\\\\\"}");
}

static void assert_query_refused(const char *text, const char *want)
{
    (void)query(text, FAAS_INVALID);
    assert_string_equal(err.msg, want);
}

static void malformed_queries_name_the_parameter(void **state)
{
    (void)state;
    assert_query_refused("name=a&name=b", "name: given twice in the query");
    assert_query_refused("name", "name: the query parameter has no value");
    assert_query_refused("name=%zz", "name: bad percent escape or control character in the query");
    assert_query_refused("name=a%00", "name: bad percent escape or control character in the query");
    assert_query_refused("name=%ff", "name: not valid UTF-8");
    assert_query_refused("=a", "query: a parameter's name is malformed or too long");
    assert_query_refused("&a=b", "query: a parameter's name is malformed or too long");
    assert_query_refused("a=b&", "query: ends with '&'");
    assert_query_refused("%ff=1", "query: a parameter's name is malformed or too long");
}

static void a_decoded_text_never_exceeds_its_room(void **state)
{
    char out[4];

    (void)state;
    assert_true(gw_percent_decode("abc", 3, false, out, sizeof out));
    assert_string_equal(out, "abc");
    assert_false(gw_percent_decode("abcd", 4, false, out, sizeof out));
    assert_false(gw_percent_decode("", 0, false, out, 0));
    assert_false(gw_percent_decode("%4", 2, false, out, sizeof out));
}

static void a_path_is_logged_without_keys_however_they_are_written(void **state)
{
#define ID     "0123456789abcdef"
#define SECRET "0123456789abcdef0123456789abcdef0123456789abcdef"
    char out[GW_PATH_LOG_MAX];

    (void)state;
    gw_path_for_log("/v1/functions/a%20b%zz", out, sizeof out);
    assert_string_equal(out, "/v1/functions/a%20b%zz");
    gw_path_for_log("/auth/keys/faas_" ID "_" SECRET, out, sizeof out);
    assert_null(strstr(out, SECRET));
    gw_path_for_log("/auth/keys/faas%5F" ID "%5f" SECRET, out, sizeof out);
    assert_null(strstr(out, SECRET));
    assert_non_null(strstr(out, ID));
}

/* ---- the body of a bus request ---- */

static struct gw_match match;

static faas_code request(const char *method, const char *path, const char *query_text,
                         const char *body, char **out_text)
{
    struct gw_input in = {.match = &match,
                          .query = query_text,
                          .body = body,
                          .body_len = body != NULL ? strlen(body) : 0};
    size_t len;

    memset(&err, 0, sizeof err);
    assert_int_equal(gw_match_route(method, path, &match, &err), FAAS_OK);
    return gw_request_json(&in, out_text, &len, &err);
}

static void assert_request(const char *method, const char *path, const char *query_text,
                           const char *body, const char *want)
{
    FAAS_AUTO(char) *got = NULL;

    assert_int_equal(request(method, path, query_text, body, &got), FAAS_OK);
    if (want == NULL)
        assert_null(got);
    else
        assert_string_equal(got, want);
}

static void bodies_go_on_as_they_came(void **state)
{
    (void)state;
    assert_request("POST", "/registry/register", NULL, "{\"name\": 1}", NULL);
    assert_request("POST", "/registry/register", NULL, "not JSON", NULL); /* the service says so */
    assert_request("GET", "/registry/retrieve", NULL, "{\"name\":\"x\"}", NULL);
}

static void parameters_join_the_body(void **state)
{
    (void)state;
    assert_request("GET", "/registry/retrieve", "name=x", NULL, "{\"name\":\"x\"}");
    assert_request("DELETE", "/registry/delete", "name=x", NULL, "{\"name\":\"x\"}");
    assert_request("GET", "/v1/functions/x", NULL, NULL, "{\"name\":\"x\"}");
    assert_request("PATCH", "/v1/functions/x", NULL, "{\"timeout_ms\":5}",
                   "{\"timeout_ms\":5,\"name\":\"x\"}");
    assert_request("PATCH", "/v1/functions/x", NULL, "{\"name\":\"x\"}", "{\"name\":\"x\"}");
    assert_request("GET", "/v1/functions/x/versions/7", NULL, NULL,
                   "{\"name\":\"x\",\"version\":7}");
}

static void assert_request_refused(const char *method, const char *path, const char *query_text,
                                   const char *body, const char *want)
{
    char *got = NULL;

    assert_int_equal(request(method, path, query_text, body, &got), FAAS_INVALID);
    assert_string_equal(err.msg, want);
    assert_null(got);
}

static void contradictions_are_refused(void **state)
{
    (void)state;
    assert_request_refused("GET", "/registry/retrieve", "name=x", "{\"name\":\"x\"}",
                           "parameters: in the query or in a JSON body, not in both");
    assert_request_refused("POST", "/registry/update", "name=x", "{}",
                           "query: parameters of this request go in its body");
    assert_request_refused("PUT", "/v1/functions/x", NULL, "{\"name\":\"y\"}",
                           "name: differs from the one in the path");
    assert_request_refused("PUT", "/v1/functions/x", NULL, "{\"name\":1}",
                           "name: differs from the one in the path");
    assert_request_refused("GET", "/v1/functions/x/versions/0x1", NULL, NULL,
                           "version: expected a whole number from 1");
    assert_request_refused("GET", "/v1/functions/x/versions/99999999999999999999", NULL, NULL,
                           "version: expected a whole number from 1");
    assert_request_refused("GET", "/v1/functions/%ff", NULL, NULL, "name: not valid UTF-8");
}

static void a_body_that_must_be_changed_must_be_an_object(void **state)
{
    char *got = NULL;

    (void)state;
    assert_int_equal(request("PATCH", "/v1/functions/x", NULL, "[1]", &got), FAAS_INVALID);
    assert_int_equal(request("PATCH", "/v1/functions/x", NULL, "{\"a\":1,\"a\":2}", &got),
                     FAAS_INVALID);
}

/* ---- headers ---- */

static void assert_timeout(const char *text, int64_t want_ms)
{
    int64_t got = 0;

    assert_int_equal(gw_timeout_parse(text, &got, &err), FAAS_OK);
    assert_int_equal(got, want_ms);
}

static void timeouts_are_milliseconds_or_durations(void **state)
{
    (void)state;
    assert_timeout("1", 1);
    assert_timeout("1500", 1500);
    assert_timeout("1500ms", 1500);
    assert_timeout("10s", 10000);
    assert_timeout("1.5s", 1500);
    assert_timeout("1m30s", 90000);
    assert_timeout("0.25h", 900000);
    assert_timeout("1.2ms", 2); /* rounded up: never less than asked for */
    assert_timeout("999999999999", FAAS_TIMEOUT_MS_MAX);
    assert_timeout("24h", FAAS_TIMEOUT_MS_MAX);
}

static void malformed_timeouts_are_invalid(void **state)
{
    static const char *const bad[] = {
        "",    "0",   "0s",  "-1",    "+1",    "1 s", " 1",  "1d",   "s",    "1.s",  ".5s",
        "1e3", "nan", "inf", "1s500", "0s500", "1.5", "0x5", "1,5s", "10ss", "1ms ", "1500 "};
    int64_t ms = 77;

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(bad); i++) {
        memset(&err, 0, sizeof err);
        assert_int_equal(gw_timeout_parse(bad[i], &ms, &err), FAAS_INVALID);
        assert_non_null(strstr(err.msg, "X-Timeout"));
    }
    assert_int_equal(ms, 77);
}

static enum gw_stream shape(const char *accept, const char *stream)
{
    enum gw_stream got = GW_WHOLE;

    assert_int_equal(gw_stream_parse(accept, stream, &got, &err), FAAS_OK);
    return got;
}

static void an_output_is_streamed_where_nothing_else_would_do(void **state)
{
    (void)state;
    assert_int_equal(shape(NULL, NULL), GW_WHOLE);
    assert_int_equal(shape(NULL, "true"), GW_BYTES);
    assert_int_equal(shape("*/*", "true"), GW_BYTES);
    assert_int_equal(shape(NULL, "false"), GW_WHOLE);
    assert_int_equal(shape("text/event-stream", NULL), GW_EVENTS);
    assert_int_equal(shape(" Text/Event-Stream ; charset=utf-8", "true"), GW_EVENTS);
    assert_int_equal(shape("text/event-stream", "false"), GW_WHOLE);
    assert_int_equal(shape("text/event-streams", NULL), GW_WHOLE);
    assert_int_equal(shape("application/json, text/event-stream", NULL), GW_WHOLE);
    assert_int_equal(shape("text/event-stream, application/json", NULL), GW_WHOLE);
    assert_int_equal(shape("", NULL), GW_WHOLE);
}

static void other_words_about_streams_are_invalid(void **state)
{
    enum gw_stream got;
    bool goes_on = true;

    (void)state;
    assert_int_equal(gw_stream_parse(NULL, "1", &got, &err), FAAS_INVALID);
    assert_string_equal(err.msg, "X-Stream: expected true or false");
    assert_int_equal(gw_leaving_parse("", &goes_on, &err), FAAS_INVALID);
    assert_string_equal(err.msg, "X-On-Disconnect: expected cancel or continue");
    assert_int_equal(gw_leaving_parse("continue", &goes_on, &err), FAAS_OK);
    assert_true(goes_on);
    assert_int_equal(gw_leaving_parse("cancel", &goes_on, &err), FAAS_OK);
    assert_false(goes_on);
    assert_int_equal(gw_leaving_parse(NULL, &goes_on, &err), FAAS_OK);
    assert_false(goes_on);
}

static void labels_are_short_printable_ascii(void **state)
{
    char longest[GW_LABEL_MAX + 2];

    (void)state;
    assert_int_equal(gw_label_check("my call #7 {x}", &err), FAAS_OK);
    memset(longest, 'x', sizeof longest);
    longest[GW_LABEL_MAX] = '\0';
    assert_int_equal(gw_label_check(longest, &err), FAAS_OK);
    longest[GW_LABEL_MAX] = 'x';
    longest[GW_LABEL_MAX + 1] = '\0';
    assert_int_equal(gw_label_check(longest, &err), FAAS_INVALID);
    assert_int_equal(gw_label_check("", &err), FAAS_INVALID);
    assert_int_equal(gw_label_check("a\tb", &err), FAAS_INVALID);
    assert_int_equal(gw_label_check("\xc3\xbc", &err), FAAS_INVALID);
    assert_string_equal(err.msg, "X-Call-Id: expected 1 to 128 printable ASCII characters");
}

static void keys_are_printable_and_travel_as_hashes(void **state)
{
    char hash[FAAS_HASH_TEXT], again[FAAS_HASH_TEXT], text[GW_KEY_MAX + 2];

    (void)state;
    assert_int_equal(gw_key_hash("order 17", hash, &err), FAAS_OK);
    assert_int_equal(strlen(hash), FAAS_HASH_TEXT - 1);
    assert_int_equal(gw_key_hash("order 18", again, &err), FAAS_OK);
    assert_string_not_equal(hash, again);
    memset(text, 'k', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    assert_int_equal(gw_key_hash(text, hash, &err), FAAS_INVALID);
    assert_non_null(strstr(err.msg, "Idempotency-Key"));
    text[GW_KEY_MAX] = '\0';
    assert_int_equal(gw_key_hash(text, hash, &err), FAAS_OK);
    assert_int_equal(gw_key_hash("", hash, &err), FAAS_INVALID);
    assert_int_equal(gw_key_hash("a\tb", hash, &err), FAAS_INVALID);
    assert_int_equal(gw_key_hash("\xc3\xbc", hash, &err), FAAS_INVALID);
}

static void callbacks_are_web_addresses_without_secrets(void **state)
{
    static const char *const good[] = {"http://a.example", "https://a.example:8443/b?c=d#e",
                                       "http://[::1]/", "http://a.example/x@y"};
    static const char *const bad[] = {"",
                                      "a.example",
                                      "ftp://a.example/",
                                      "http://",
                                      "http:///path",
                                      "https://?q",
                                      "HTTP://a",
                                      "http://u@a/",
                                      "http://u:p@a.example/",
                                      "http://a b/",
                                      "http://a\n/",
                                      "file:///etc/passwd"};

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(good); i++)
        assert_int_equal(gw_callback_check(good[i], &err), FAAS_OK);
    for (size_t i = 0; i < FAAS_ARRAY_LEN(bad); i++) {
        assert_int_equal(gw_callback_check(bad[i], &err), FAAS_INVALID);
        assert_non_null(strstr(err.msg, "X-Callback-Url"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(query_values_become_strings),
        cmocka_unit_test(malformed_queries_name_the_parameter),
        cmocka_unit_test(a_decoded_text_never_exceeds_its_room),
        cmocka_unit_test(a_path_is_logged_without_keys_however_they_are_written),
        cmocka_unit_test(bodies_go_on_as_they_came),
        cmocka_unit_test(parameters_join_the_body),
        cmocka_unit_test(contradictions_are_refused),
        cmocka_unit_test(a_body_that_must_be_changed_must_be_an_object),
        cmocka_unit_test(timeouts_are_milliseconds_or_durations),
        cmocka_unit_test(malformed_timeouts_are_invalid),
        cmocka_unit_test(an_output_is_streamed_where_nothing_else_would_do),
        cmocka_unit_test(other_words_about_streams_are_invalid),
        cmocka_unit_test(labels_are_short_printable_ascii),
        cmocka_unit_test(keys_are_printable_and_travel_as_hashes),
        cmocka_unit_test(callbacks_are_web_addresses_without_secrets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
