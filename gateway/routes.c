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
    /* method  path                                       what         subject         access     body max     time        successfunction in */
    {"POST",   "/auth/register",                          GW_FORWARD,  A(REGISTER),    GW_PUBLIC, CREDENTIALS, WRITE_MS,   201, NULL},
    {"POST",   "/auth/login",                             GW_FORWARD,  A(LOGIN),       GW_PUBLIC, CREDENTIALS, WRITE_MS,   200, NULL},
    {"GET",    "/auth/validate",                          GW_VALIDATE, NULL,           GW_ANY,    QUERY,       0,          200, NULL},
    {"POST",   "/auth/logout",                            GW_FORWARD,  A(LOGOUT),      GW_PERSON, CREDENTIALS, WRITE_MS,   204, NULL},
    {"PUT",    "/auth/password",                          GW_FORWARD,  A(PASSWORD),    GW_PERSON, CREDENTIALS, WRITE_MS,   204, NULL},
    {"DELETE", "/v1/account",                             GW_FORWARD,  A(ACCOUNT_END), GW_PERSON, CREDENTIALS, WRITE_MS,   204, NULL},
    {"GET",    "/auth/keys",                              GW_FORWARD,  A(APIKEY_LIST), GW_PERSON, QUERY,       READ_MS,    200, NULL},
    {"POST",   "/auth/keys",                              GW_FORWARD,  A(APIKEY_NEW),  GW_PERSON, CREDENTIALS, WRITE_MS,   201, NULL},
    {"DELETE", "/auth/keys/{id}",                         GW_FORWARD,  A(APIKEY_END),  GW_PERSON, QUERY,       WRITE_MS,   204, NULL},
    {"GET",    "/auth/.well-known/jwks.json",             GW_FORWARD,  A(JWKS),        GW_PUBLIC, 0,           READ_MS,    200, NULL},
    {"GET",    "/auth/health",                            GW_HEALTH,   A(HEALTH),      GW_PUBLIC, 0,           READ_MS,    200, NULL},

    {"POST",   "/registry/register",                      GW_FORWARD,  R(REGISTER),    GW_DEPLOY, RECORD,      RESOLVE_MS, 201, "name"},
    {"GET",    "/registry/retrieve",                      GW_FORWARD,  R(RETRIEVE),    GW_READ,   QUERY,       READ_MS,    200, "name"},
    {"GET",    "/registry/list",                          GW_LIST,     R(PAGE),        GW_READ,   QUERY,       LIST_MS,    200, NULL},
    {"PUT",    "/registry/update",                        GW_FORWARD,  R(UPDATE),      GW_DEPLOY, RECORD,      RESOLVE_MS, 200, "name"},
    {"POST",   "/registry/update",                        GW_FORWARD,  R(UPDATE),      GW_DEPLOY, RECORD,      RESOLVE_MS, 200, "name"},
    {"DELETE", "/registry/delete",                        GW_FORWARD,  R(DELETE),      GW_DEPLOY, QUERY,       WRITE_MS,   204, "name"},
    {"GET",    "/registry/health",                        GW_HEALTH,   R(HEALTH),      GW_PUBLIC, 0,           READ_MS,    200, NULL},

    {"POST",   "/publisher/publish",                      GW_PUBLISH,  NULL,           GW_INVOKE, CALL,        CALL_MS,    200, "name"},
    {"GET",    "/publisher/health",                       GW_HEALTH,   P(HEALTH),      GW_PUBLIC, 0,           READ_MS,    200, NULL},
    {"POST",   "/function/{name}",                        GW_CALL,     NULL,           GW_INVOKE, CALL,        CALL_MS,    200, "name"},
    {"GET",    "/function/{name}",                        GW_CALL,     NULL,           GW_INVOKE, CALL,        CALL_MS,    200, "name"},

    {"POST",   "/async-function/{name}",                  GW_ASYNC,    NULL,           GW_INVOKE, CALL,        QUEUE_MS,   202, "name"},

    {"GET",    "/v1/calls/{id}/result",                   GW_RESULT,   P(RESULT),      GW_READ,   0,           WAIT_MS,    200, NULL},
    {"DELETE", "/v1/calls/{id}",                          GW_CANCEL,   P(CANCEL),      GW_INVOKE, 0,           WRITE_MS,   204, NULL},
    {"GET",    "/v1/dead-letters",                        GW_FORWARD,  P(DEAD),        GW_READ,   QUERY,       READ_MS,    200, NULL},
    {"GET",    "/v1/dead-letters/{id}",                   GW_FORWARD,  P(SHOW),        GW_READ,   QUERY,       READ_MS,    200, NULL},
    {"POST",   "/v1/dead-letters/{id}/redrive",           GW_FORWARD,  P(REDRIVE),     GW_INVOKE, QUERY,       WRITE_MS,   202, NULL},

    {"GET",    "/v1/functions",                           GW_FORWARD,  R(PAGE),        GW_READ,   QUERY,       READ_MS,    200, NULL},
    {"POST",   "/v1/functions",                           GW_FORWARD,  R(REGISTER),    GW_DEPLOY, RECORD,      RESOLVE_MS, 201, "name"},
    {"GET",    "/v1/functions/{name}",                    GW_FORWARD,  R(RETRIEVE),    GW_READ,   QUERY,       READ_MS,    200, "name"},
    {"PUT",    "/v1/functions/{name}",                    GW_FORWARD,  R(REPLACE),     GW_DEPLOY, RECORD,      RESOLVE_MS, 200, "name"},
    {"PATCH",  "/v1/functions/{name}",                    GW_FORWARD,  R(UPDATE),      GW_DEPLOY, RECORD,      RESOLVE_MS, 200, "name"},
    {"DELETE", "/v1/functions/{name}",                    GW_FORWARD,  R(DELETE),      GW_DEPLOY, QUERY,       WRITE_MS,   204, "name"},
    {"GET",    "/v1/functions/{name}/versions",           GW_FORWARD,  R(VERSIONS),    GW_READ,   QUERY,       READ_MS,    200, "name"},
    {"GET",    "/v1/functions/{name}/versions/{version}", GW_FORWARD,  R(VERSIONS),    GW_READ,   QUERY,       READ_MS,    200, "name"},
    {"POST",   "/v1/functions/{name}/rollback",           GW_FORWARD,  R(ROLLBACK),    GW_DEPLOY, RECORD,      WRITE_MS,   200, "name"},
    {"GET",    "/v1/functions/{name}/aliases",            GW_FORWARD,  R(ALIASES),     GW_READ,   QUERY,       READ_MS,    200, "name"},
    {"GET",    "/v1/functions/{name}/aliases/{alias}",    GW_FORWARD,  R(ALIASES),     GW_READ,   QUERY,       READ_MS,    200, "name"},
    {"PUT",    "/v1/functions/{name}/aliases/{alias}",    GW_FORWARD,  R(ALIAS),       GW_DEPLOY, RECORD,      WRITE_MS,   200, "name"},
    {"DELETE", "/v1/functions/{name}/aliases/{alias}",    GW_FORWARD,  R(UNALIAS),     GW_DEPLOY, QUERY,       WRITE_MS,   204, "name"},
    {"POST",   "/v1/functions/{name}/refresh",            GW_FORWARD,  R(REFRESH),     GW_DEPLOY, RECORD,      RESOLVE_MS, 200, "name"},

    {"GET",    "/v1/calls",                               GW_FORWARD,  R(CALLS),       GW_READ,   QUERY,       READ_MS,    200, "function"},
    {"GET",    "/v1/calls/{id}",                          GW_RECORD,   R(CALL),        GW_READ,   QUERY,       WAIT_MS,    200, NULL},
    {"GET",    "/v1/calls/{id}/logs",                     GW_LOG,      R(CALL_LOG),    GW_READ,   QUERY,       READ_MS,    200, NULL},

    {"GET",    "/v1/secrets",                             GW_FORWARD,  R(SECRETS),     GW_READ,   QUERY,       READ_MS,    200, NULL},
    {"POST",   "/v1/secrets",                             GW_SET,      R(SECRET_SET),  GW_DEPLOY, SECRET,      WRITE_MS,   201, NULL},
    {"PUT",    "/v1/secrets/{name}",                      GW_SET,      R(SECRET_SET),  GW_DEPLOY, SECRET,      WRITE_MS,   201, NULL},
    {"DELETE", "/v1/secrets/{name}",                      GW_FORWARD,  R(SECRET_DROP), GW_DEPLOY, QUERY,       WRITE_MS,   204, NULL},
    {"GET",    "/v1/registries",                          GW_FORWARD,  R(LOGINS),      GW_READ,   QUERY,       READ_MS,    200, NULL},
    {"PUT",    "/v1/registries/{registry}",               GW_SET,      R(LOGIN_SET),   GW_DEPLOY, RECORD,      WRITE_MS,   201, NULL},
    {"DELETE", "/v1/registries/{registry}",               GW_FORWARD,  R(LOGIN_DROP),  GW_DEPLOY, QUERY,       WRITE_MS,   204, NULL},

    {"GET",    "/v1/instances",                           GW_INSTANCES, NULL,          GW_READ,   QUERY,       0,          200, NULL},
    {"GET",    "/system/functions",                       GW_SYS_LIST,    R(PAGE),     GW_READ,   QUERY,       LIST_MS,    200, NULL},
    {"POST",   "/system/functions",                       GW_SYS_DEPLOY,  R(REGISTER), GW_DEPLOY, RECORD,      RESOLVE_MS, 202, "name"},
    {"PUT",    "/system/functions",                       GW_SYS_DEPLOY,  R(REPLACE),  GW_DEPLOY, RECORD,      RESOLVE_MS, 200, "name"},
    {"DELETE", "/system/functions",                       GW_SYS_REMOVE,  R(DELETE),   GW_DEPLOY, QUERY,       WRITE_MS,   202, "name"},
    {"GET",    "/system/function/{name}",                 GW_SYS_STATUS,  R(RETRIEVE), GW_READ,   QUERY,       READ_MS,    200, "name"},
    {"POST",   "/system/scale-function/{name}",           GW_SYS_SCALE,   R(RETRIEVE), GW_DEPLOY, QUERY,       READ_MS,    202, "name"},
    {"GET",    "/system/secrets",                         GW_SYS_SECRETS, R(SECRETS),  GW_READ,   QUERY,       READ_MS,    200, NULL},
    {"POST",   "/system/secrets",                         GW_SYS_SECRET,  R(SECRET_SET), GW_DEPLOY, SECRET,    WRITE_MS,   201, NULL},
    {"PUT",    "/system/secrets",                         GW_SYS_SECRET,  R(SECRET_SET), GW_DEPLOY, SECRET,    WRITE_MS,   200, NULL},
    {"DELETE", "/system/secrets",                         GW_SYS_UNSECRET, R(SECRET_DROP), GW_DEPLOY, QUERY,   WRITE_MS,   202, NULL},
    {"GET",    "/system/logs",                            GW_SYS_LOGS, R(LOGS),        GW_READ,   QUERY,       READ_MS,    200, "name"},
    {"GET",    "/system/namespaces",                      GW_SYS_SPACES, NULL,         GW_ANY,    QUERY,       0,          200, NULL},
    {"GET",    "/system/info",                            GW_SYS_INFO, NULL,           GW_ANY,    0,           0,          200, NULL},

    {"GET",    "/v1/quota",                               GW_QUOTA,    R(QUOTA),       GW_READ,   QUERY,       READ_MS,    200, NULL},

    {"GET",    "/v1/admin/users",                         GW_FORWARD,  A(ADMIN_USERS), GW_ADMIN,  QUERY,       READ_MS,    200, NULL},
    {"GET",    "/v1/admin/users/{name}",                  GW_FORWARD,  A(ADMIN_USER),  GW_ADMIN,  QUERY,       READ_MS,    200, NULL},
    {"PATCH",  "/v1/admin/users/{name}",                  GW_FORWARD,  A(ADMIN_SET),   GW_ADMIN,  CREDENTIALS, WRITE_MS,   200, NULL},
    {"DELETE", "/v1/admin/users/{name}",                  GW_FORWARD,  A(ADMIN_END),   GW_ADMIN,  QUERY,       WRITE_MS,   204, NULL},
    {"GET",    "/v1/admin/users/{name}/functions",        GW_FORWARD,  R(PAGE),        GW_OTHER,  QUERY,       READ_MS,    200, NULL},
    {"GET",    "/v1/admin/users/{name}/calls",            GW_FORWARD,  R(CALLS),       GW_OTHER,  QUERY,       READ_MS,    200, NULL},
    {"GET",    "/v1/admin/users/{name}/calls/{id}",       GW_FORWARD,  R(CALL),        GW_OTHER,  QUERY,       READ_MS,    200, NULL},
    {"GET",    "/v1/admin/users/{name}/calls/{id}/logs",  GW_LOG,      R(CALL_LOG),    GW_OTHER,  QUERY,       READ_MS,    200, NULL},

    {"GET",    GW_HEALTHZ_PATH,                           GW_HEALTHZ,  NULL,           GW_PUBLIC, 0,           0,          200, NULL},
    {"GET",    "/openapi.yaml",                           GW_OPENAPI,  NULL,           GW_PUBLIC, 0,           0,          200, NULL},
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
