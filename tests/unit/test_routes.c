/* The route table and how paths find their rows. */
#include "gateway/routes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "contract.h"

static struct gw_match match;
static faas_err err;

static faas_code look(const char *method, const char *path)
{
    memset(&err, 0, sizeof err);
    return gw_match_route(method, path, &match, &err);
}

static void a_fixed_path_finds_its_row(void **state)
{
    (void)state;
    assert_int_equal(look("POST", "/auth/login"), FAAS_OK);
    assert_string_equal(match.route->subject, FAAS_SUBJ_AUTH_LOGIN);
    assert_int_equal(match.route->access, GW_PUBLIC);
    assert_int_equal(match.count, 0);
}

static void path_parameters_are_taken_under_their_names(void **state)
{
    (void)state;
    assert_int_equal(look("GET", "/v1/functions/Up-per_1/versions/12"), FAAS_OK);
    assert_string_equal(match.route->subject, FAAS_SUBJ_REGISTRY_VERSIONS);
    assert_int_equal(match.count, 2);
    assert_string_equal(match.params[0].key, "name");
    assert_string_equal(match.params[0].value, "Up-per_1");
    assert_string_equal(match.params[1].key, "version");
    assert_string_equal(match.params[1].value, "12");
}

static void segments_are_decoded_before_they_are_compared(void **state)
{
    (void)state;
    assert_int_equal(look("POST", "/%61uth/login"), FAAS_OK);
    assert_int_equal(look("GET", "/v1/functions/%65cho"), FAAS_OK);
    assert_string_equal(match.params[0].value, "echo");
    assert_int_equal(look("GET", "/v1/functions/a%2Fb"), FAAS_OK); /* one segment, not two */
    assert_string_equal(match.params[0].value, "a/b");
    assert_int_equal(look("GET", "/v1/functions/a+b"), FAAS_OK); /* '+' is a plus in a path */
    assert_string_equal(match.params[0].value, "a+b");
}

static void bad_escapes_are_invalid(void **state)
{
    static const char *const bad[] = {"/%", "/%4", "/%zz", "/v1/functions/%00", "/v1/%0a"};

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(bad); i++) {
        assert_int_equal(look("GET", bad[i]), FAAS_INVALID);
        assert_non_null(strstr(err.msg, "path"));
    }
}

static void what_is_not_in_the_table_is_not_found(void **state)
{
    static const char *const absent[] = {"/",
                                         "",
                                         "/auth",
                                         "/auth/login/",
                                         "//auth/login",
                                         "/AUTH/login",
                                         "/auth/loginx",
                                         "/v1/functions/",
                                         "/v1/functions//versions",
                                         "/a/b/c/d/e/f/g/h/i/j"};

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(absent); i++)
        assert_int_equal(look("GET", absent[i]), FAAS_NOT_FOUND);
}

static void endless_paths_are_refused(void **state)
{
    static char path[4096];

    (void)state;
    memset(path, 'a', sizeof path - 1);
    memcpy(path, "/v1/functions/", 14);
    assert_int_equal(look("GET", path), FAAS_NOT_FOUND);
    path[14 + GW_PARAM_MAX + 1] = '\0'; /* one byte too long for a segment */
    assert_int_equal(look("GET", path), FAAS_INVALID);
    path[14 + GW_PARAM_MAX] = '\0';
    assert_int_equal(look("GET", path), FAAS_OK);
    assert_int_equal(strlen(match.params[0].value), GW_PARAM_MAX);
}

static void another_method_names_those_there_are(void **state)
{
    (void)state;
    assert_int_equal(look("PUT", "/auth/login"), FAAS_METHOD);
    assert_string_equal(match.allow, "POST");
    assert_int_equal(look("POST", "/v1/functions/x"), FAAS_METHOD);
    assert_string_equal(match.allow, "GET, HEAD, PUT, PATCH, DELETE");
    assert_string_equal(err.msg, "this path takes GET, HEAD, PUT, PATCH, DELETE");
    assert_int_equal(look("get", "/healthz"), FAAS_METHOD); /* methods have case */
}

static void head_is_answered_as_get(void **state)
{
    (void)state;
    assert_int_equal(look("HEAD", "/healthz"), FAAS_OK);
    assert_string_equal(match.route->method, "GET");
    assert_int_equal(look("HEAD", "/auth/login"), FAAS_METHOD);
}

static void every_row_is_whole_and_finds_itself(void **state)
{
    (void)state;
    for (const struct gw_route *route = gw_routes; route->method != NULL; route++) {
        bool asks_bus = route->what != GW_CALL && route->what != GW_PUBLISH &&
                        route->what != GW_ASYNC && route->what != GW_VALIDATE &&
                        route->what != GW_HEALTHZ && route->what != GW_INSTANCES &&
                        route->what != GW_OPENAPI && route->what != GW_SYS_INFO &&
                        route->what != GW_SYS_SPACES;

        assert_int_equal(asks_bus, route->subject != NULL);
        assert_true(!asks_bus || route->time_ms > 0);
        assert_true(route->body_max <= FAAS_BODY_MAX);
        assert_int_equal(look(route->method, route->path), FAAS_OK);
        assert_ptr_equal(match.route, route);
    }
}

/* Whoever adds an open row has to come here and say so. */
static void only_these_rows_are_open_to_all(void **state)
{
    static const char open_rows[] = "/auth/register /auth/login /auth/.well-known/jwks.json "
                                    "/auth/health /registry/health /publisher/health /healthz "
                                    "/openapi.yaml ";
    char seen[512] = "";
    size_t used = 0;

    (void)state;
    for (const struct gw_route *route = gw_routes; route->method != NULL; route++) {
        if (route->access == GW_PUBLIC)
            used += (size_t)snprintf(seen + used, sizeof seen - used, "%s ", route->path);
    }
    assert_string_equal(seen, open_rows);
}

/* Whoever adds a row that API keys cannot use, or all of them can, has to come here and say so; and
 * whoever adds one that changes things must not let keys that read do it. */
static void keys_have_verbs_for_all_rows_but_these(void **state)
{
    static const char odd_rows[] =
        "/auth/validate /auth/logout /auth/password /v1/account "
        "/auth/keys /auth/keys /auth/keys/{id} /system/namespaces /system/info ";
    char seen[512] = "";
    size_t used = 0;

    (void)state;
    for (const struct gw_route *route = gw_routes; route->method != NULL; route++) {
        bool is_get = strcmp(route->method, "GET") == 0;

        if (route->access == GW_PERSON || route->access == GW_ANY)
            used += (size_t)snprintf(seen + used, sizeof seen - used, "%s ", route->path);
        if (route->access == GW_READ)
            assert_true(is_get);
        if (route->access == GW_DEPLOY)
            assert_false(is_get);
        /* a name in the path is the function that the row is about, or a secret: a key for some
         * functions has none */
        if (strncmp(route->path, "/v1/secrets", strlen("/v1/secrets")) == 0)
            assert_null(route->function);
        else if (strncmp(route->path, "/v1/admin/", strlen("/v1/admin/")) == 0)
            assert_true(route->access == GW_ADMIN || route->access == GW_OTHER);
        else if (strstr(route->path, "{name}") != NULL)
            assert_string_equal(route->function, "name");
    }
    assert_string_equal(seen, odd_rows);
}

/* ---- docs/openapi.yaml ---- */

/* "  /path:" and "    get:" of the section "paths:"; other lines are of no interest. */
static bool take_line(const char *line, char path[256], char method[16])
{
    char word[16];
    int end = 0;

    if (strncmp(line, "  /", 3) == 0) {
        (void)snprintf(path, 256, "%.*s", (int)strcspn(line + 2, ":\n"), line + 2);
        return false;
    }
    if (strncmp(line, "    ", 4) != 0 || sscanf(line + 4, "%15[a-z]:%n", word, &end) != 1 ||
        end == 0)
        return false;
    for (size_t i = 0; i <= strlen(word); i++)
        method[i] = (char)(word[i] >= 'a' ? word[i] - 'a' + 'A' : word[i]);
    return strcmp(word, "parameters") != 0;
}

static void the_openapi_document_lists_the_same_operations(void **state)
{
    FILE *doc = fopen("docs/openapi.yaml", "re");
    char line[512], path[256] = "", method[16];
    size_t listed = 0, rows = 0;
    bool is_inside = false;

    (void)state;
    assert_non_null(doc); /* tests run in the project's root */
    while (fgets(line, sizeof line, doc) != NULL) {
        if (line[0] != ' ')
            is_inside = strncmp(line, "paths:", 6) == 0;
        if (!is_inside || !take_line(line, path, method))
            continue;
        listed++;
        if (look(method, path) != FAAS_OK || strcmp(match.route->path, path) != 0)
            fail_msg("%s %s is documented and not served", method, path);
    }
    assert_int_equal(fclose(doc), 0);
    for (const struct gw_route *route = gw_routes; route->method != NULL; route++)
        rows++;
    assert_int_equal(listed, rows); /* each row is documented: none twice, see above */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fixed_path_finds_its_row),
        cmocka_unit_test(path_parameters_are_taken_under_their_names),
        cmocka_unit_test(segments_are_decoded_before_they_are_compared),
        cmocka_unit_test(bad_escapes_are_invalid),
        cmocka_unit_test(what_is_not_in_the_table_is_not_found),
        cmocka_unit_test(endless_paths_are_refused),
        cmocka_unit_test(another_method_names_those_there_are),
        cmocka_unit_test(head_is_answered_as_get),
        cmocka_unit_test(every_row_is_whole_and_finds_itself),
        cmocka_unit_test(the_openapi_document_lists_the_same_operations),
        cmocka_unit_test(only_these_rows_are_open_to_all),
        cmocka_unit_test(keys_have_verbs_for_all_rows_but_these),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
