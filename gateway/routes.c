#include "gateway/routes.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "contract.h"
#include "gateway/params.h"

#define KiB         1024
#define CREDENTIALS (8 * KiB)
#define RECORD      FAAS_CONTROL_BODY_MAX
#define SECRET      FAAS_SECRET_BODY_MAX
#define QUERY       (4 * KiB)
#define CALL        FAAS_BODY_MAX
/* Resolving an image may pull it; a write waits until every reader has applied it. */
#define RESOLVE_MS 60000
#define WRITE_MS   20000
#define READ_MS    15000 /* reads ask the leader of a bucket; electing one takes 4 to 9 s */
#define QUEUE_MS   40000 /* two tries of a store that elects its leader */
#define WAIT_MS    90000 /* the longest ?wait= and looking it up */
#define LIST_MS    60000 /* up to FAAS_LIST_MAX records in pages */
/* No call outlives this; what one may really take, the publisher and the spawner say. */
#define CALL_MS (FAAS_TIMEOUT_MS_MAX + 600000)

#define A(name) FAAS_SUBJ_AUTH_##name
#define R(name) FAAS_SUBJ_REGISTRY_##name
#define P(name) FAAS_SUBJ_PUBLISHER_##name

/* A table reads by column. */
/* clang-format off */
const struct gw_route gw_routes[] = {
    /* method   path                                      what         subject       access     body max     time        success */
    {"POST",   "/auth/register",                          GW_FORWARD,  A(REGISTER),  GW_PUBLIC, CREDENTIALS, WRITE_MS,   201},
    {"POST",   "/auth/login",                             GW_FORWARD,  A(LOGIN),     GW_PUBLIC, CREDENTIALS, WRITE_MS,   200},
    {"GET",    "/auth/validate",                          GW_VALIDATE, NULL,         GW_USER,   QUERY,       0,          200},
    {"POST",   "/auth/logout",                            GW_FORWARD,  A(LOGOUT),    GW_USER,   CREDENTIALS, WRITE_MS,   204},
    {"PUT",    "/auth/password",                          GW_FORWARD,  A(PASSWORD),  GW_USER,   CREDENTIALS, WRITE_MS,   204},
    {"GET",    "/auth/.well-known/jwks.json",             GW_FORWARD,  A(JWKS),      GW_PUBLIC, 0,           READ_MS,    200},
    {"GET",    "/auth/health",                            GW_HEALTH,   A(HEALTH),    GW_PUBLIC, 0,           READ_MS,    200},

    {"POST",   "/registry/register",                      GW_FORWARD,  R(REGISTER),  GW_USER,   RECORD,      RESOLVE_MS, 201},
    {"GET",    "/registry/retrieve",                      GW_FORWARD,  R(RETRIEVE),  GW_USER,   QUERY,       READ_MS,    200},
    {"GET",    "/registry/list",                          GW_LIST,     R(PAGE),      GW_USER,   QUERY,       LIST_MS,    200},
    {"PUT",    "/registry/update",                        GW_FORWARD,  R(UPDATE),    GW_USER,   RECORD,      RESOLVE_MS, 200},
    {"POST",   "/registry/update",                        GW_FORWARD,  R(UPDATE),    GW_USER,   RECORD,      RESOLVE_MS, 200},
    {"DELETE", "/registry/delete",                        GW_FORWARD,  R(DELETE),    GW_USER,   QUERY,       WRITE_MS,   204},
    {"GET",    "/registry/health",                        GW_HEALTH,   R(HEALTH),    GW_PUBLIC, 0,           READ_MS,    200},

    {"POST",   "/publisher/publish",                      GW_PUBLISH,  NULL,         GW_USER,   CALL,        CALL_MS,    200},
    {"GET",    "/publisher/health",                       GW_HEALTH,   P(HEALTH),    GW_PUBLIC, 0,           READ_MS,    200},
    {"POST",   "/function/{name}",                        GW_CALL,     NULL,         GW_USER,   CALL,        CALL_MS,    200},
    {"GET",    "/function/{name}",                        GW_CALL,     NULL,         GW_USER,   CALL,        CALL_MS,    200},

    {"POST",   "/async-function/{name}",                  GW_ASYNC,    NULL,         GW_USER,   CALL,        QUEUE_MS,   202},

    {"GET",    "/v1/calls/{id}/result",                   GW_RESULT,   P(RESULT),    GW_USER,   0,           WAIT_MS,    200},
    {"DELETE", "/v1/calls/{id}",                          GW_CANCEL,   P(CANCEL),    GW_USER,   0,           WRITE_MS,   204},
    {"GET",    "/v1/dead-letters",                        GW_FORWARD,  P(DEAD),      GW_USER,   QUERY,       READ_MS,    200},
    {"GET",    "/v1/dead-letters/{id}",                   GW_FORWARD,  P(SHOW),      GW_USER,   QUERY,       READ_MS,    200},
    {"POST",   "/v1/dead-letters/{id}/redrive",           GW_FORWARD,  P(REDRIVE),   GW_USER,   QUERY,       WRITE_MS,   202},

    {"GET",    "/v1/functions",                           GW_FORWARD,  R(PAGE),      GW_USER,   QUERY,       READ_MS,    200},
    {"POST",   "/v1/functions",                           GW_FORWARD,  R(REGISTER),  GW_USER,   RECORD,      RESOLVE_MS, 201},
    {"GET",    "/v1/functions/{name}",                    GW_FORWARD,  R(RETRIEVE),  GW_USER,   QUERY,       READ_MS,    200},
    {"PUT",    "/v1/functions/{name}",                    GW_FORWARD,  R(REPLACE),   GW_USER,   RECORD,      RESOLVE_MS, 200},
    {"PATCH",  "/v1/functions/{name}",                    GW_FORWARD,  R(UPDATE),    GW_USER,   RECORD,      RESOLVE_MS, 200},
    {"DELETE", "/v1/functions/{name}",                    GW_FORWARD,  R(DELETE),    GW_USER,   QUERY,       WRITE_MS,   204},
    {"GET",    "/v1/functions/{name}/versions",           GW_FORWARD,  R(VERSIONS),  GW_USER,   QUERY,       READ_MS,    200},
    {"GET",    "/v1/functions/{name}/versions/{version}", GW_FORWARD,  R(VERSIONS),  GW_USER,   QUERY,       READ_MS,    200},
    {"POST",   "/v1/functions/{name}/refresh",            GW_FORWARD,  R(REFRESH),   GW_USER,   RECORD,      RESOLVE_MS, 200},

    {"GET",    "/v1/calls",                               GW_FORWARD,  R(CALLS),     GW_USER,   QUERY,       READ_MS,    200},
    {"GET",    "/v1/calls/{id}",                          GW_RECORD,   R(CALL),      GW_USER,   QUERY,       WAIT_MS,    200},
    {"GET",    "/v1/calls/{id}/logs",                     GW_LOG,      R(CALL_LOG),  GW_USER,   QUERY,       READ_MS,    200},

    {"GET",    "/v1/secrets",                             GW_FORWARD,  R(SECRETS),   GW_USER,   QUERY,       READ_MS,    200},
    {"POST",   "/v1/secrets",                             GW_SET,      R(SECRET_SET), GW_USER,  SECRET,      WRITE_MS,   201},
    {"PUT",    "/v1/secrets/{name}",                      GW_SET,      R(SECRET_SET), GW_USER,  SECRET,      WRITE_MS,   201},
    {"DELETE", "/v1/secrets/{name}",                      GW_FORWARD,  R(SECRET_DROP), GW_USER, QUERY,       WRITE_MS,   204},

    {"GET",    GW_HEALTHZ_PATH,                           GW_HEALTHZ,  NULL,         GW_PUBLIC, 0,           0,          200},
    {.method = NULL},
};
/* clang-format on */

#define SEGMENTS 8

struct path {
    char text[SEGMENTS][GW_PARAM_MAX + 1];
    size_t count;
    bool is_unmatchable; /* longer than any pattern */
};

static faas_code split(const char *path, struct path *out, faas_err *err)
{
    size_t len;

    out->count = 0;
    out->is_unmatchable = *path != '/';
    while (*path == '/' && !out->is_unmatchable) {
        path++;
        len = strcspn(path, "/");
        if (out->count == SEGMENTS || len > (size_t)3 * GW_PARAM_MAX) {
            out->is_unmatchable = true;
            break;
        }
        if (!gw_percent_decode(path, len, false, out->text[out->count], GW_PARAM_MAX + 1))
            return faas_fail(err, FAAS_INVALID,
                             "path: a segment has a bad percent escape, an escaped control "
                             "character, or is longer than %d bytes",
                             GW_PARAM_MAX);
        out->count++;
        path += len;
    }
    return FAAS_OK;
}

/* Whether the path has the pattern's shape; fills the parameters on the way. */
static bool fits(const char *pattern, const struct path *path, struct gw_match *match)
{
    size_t len, i;

    match->count = 0;
    for (i = 0; *pattern == '/'; i++, pattern += len) {
        pattern++;
        len = strcspn(pattern, "/");
        if (i == path->count)
            return false;
        if (*pattern == '{') {
            struct gw_param *param = &match->params[match->count++];

            if (path->text[i][0] == '\0')
                return false;
            (void)snprintf(param->key, sizeof param->key, "%.*s", (int)len - 2, pattern + 1);
            (void)snprintf(param->value, sizeof param->value, "%s", path->text[i]);
        } else if (strlen(path->text[i]) != len || memcmp(path->text[i], pattern, len) != 0) {
            return false;
        }
    }
    return i == path->count;
}

static void allow(struct gw_match *match, const char *method)
{
    size_t used = strlen(match->allow);

    if (strstr(match->allow, method) != NULL) /* no method's name is a part of another's */
        return;
    (void)snprintf(match->allow + used, sizeof match->allow - used, "%s%s", used > 0 ? ", " : "",
                   method);
    if (strcmp(method, "GET") == 0)
        allow(match, "HEAD");
}

/* "OPTIONS *" asks about the server, not a path (RFC 9110, 9.3.7). */
static faas_code match_all(struct gw_match *out_match, faas_err *err)
{
    for (const struct gw_route *route = gw_routes; route->method != NULL; route++)
        allow(out_match, route->method);
    return faas_fail(err, FAAS_METHOD, "this server takes %s", out_match->allow);
}

faas_code gw_match_route(const char *method, const char *path, struct gw_match *out_match,
                         faas_err *err)
{
    const char *wanted = strcmp(method, "HEAD") == 0 ? "GET" : method;
    struct path split_path;

    memset(out_match, 0, sizeof *out_match);
    if (strcmp(path, "*") == 0)
        return match_all(out_match, err);
    FAAS_TRY(split(path, &split_path, err));
    if (split_path.is_unmatchable)
        return faas_fail(err, FAAS_NOT_FOUND, "there is nothing at this path");
    for (const struct gw_route *route = gw_routes; route->method != NULL; route++) {
        if (!fits(route->path, &split_path, out_match))
            continue;
        if (strcmp(route->method, wanted) == 0) {
            out_match->route = route;
            return FAAS_OK;
        }
        allow(out_match, route->method);
    }
    if (out_match->allow[0] == '\0')
        return faas_fail(err, FAAS_NOT_FOUND, "there is nothing at this path");
    return faas_fail(err, FAAS_METHOD, "this path takes %s", out_match->allow);
}
