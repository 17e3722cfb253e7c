#include "logins.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "contract.h"
#include "image_ref.h"
#include "registry.h"

#define USERNAME_MAX 255
#define PASSWORD_MAX 4096

struct body {
    const char *registry, *username, *password, *uuid, *uui;
};

#define OWNER_FIELDS                                                                               \
    FAAS_FIELD(STR, struct body, uuid, "uuid", 0, 0, false),                                       \
        FAAS_FIELD(STR, struct body, uui, "uui", 0, 0, false)
#define REGISTRY_FIELD FAAS_FIELD(STR, struct body, registry, "registry", 0, 0, true)

/* A host as it stands before the first slash of an image's reference, and nothing else. */
static faas_code check_host(const char *host, faas_err *err)
{
    struct image_ref ref = {.text = NULL};
    char image[FAAS_LOGIN_HOST_MAX + 5];
    bool is_host;

    (void)snprintf(image, sizeof image, "%s/x/y", strlen(host) <= FAAS_LOGIN_HOST_MAX ? host : "");
    is_host = image_ref_parse(image, &ref, NULL) == FAAS_OK && ref.host.len == strlen(host) &&
              memcmp(ref.host.at, host, ref.host.len) == 0 && ref.path.len == 3;
    image_ref_done(&ref);
    if (is_host)
        return FAAS_OK;
    return faas_fail(err, FAAS_INVALID,
                     "registry: a host as in an image's reference, such as registry.example:5000 "
                     "or docker.io, at most %d bytes",
                     FAAS_LOGIN_HOST_MAX);
}

static faas_code read_body(const struct faas_call *call, const struct faas_json_field *fields,
                           struct body *out_body, faas_err *err)
{
    if (call->ctx->user[0] == '\0' || call->ctx->tenant[0] == '\0')
        return faas_fail(err, FAAS_UNAUTHENTICATED, "the request names no user");
    FAAS_TRY(faas_json_decode(call->body, fields, FAAS_JSON_STRICT, out_body, err));
    FAAS_TRY(function_check_owner(out_body->uuid, out_body->uui, call->ctx, err));
    return out_body->registry != NULL ? check_host(out_body->registry, err) : FAAS_OK;
}

static void name_of(const char *host, char out_name[FAAS_LOGIN_HOST_MAX + 2])
{
    (void)snprintf(out_name, FAAS_LOGIN_HOST_MAX + 2, "%c%s", FAAS_LOGIN_MARK, host);
}

/* What a secret shows, as a login. */
static json_t *shown(const json_t *item)
{
    return json_pack("{s:s, s:O, s:O}", "registry",
                     json_string_value(json_object_get(item, "name")) + 1, "created_at",
                     json_object_get(item, "created_at"), "updated_at",
                     json_object_get(item, "updated_at"));
}

/* faas.registry.logins */
faas_code logins_on_list(void *state, const struct faas_call *call, json_t **out_reply,
                         faas_err *err)
{
    static const struct faas_json_field fields[] = {OWNER_FIELDS, FAAS_FIELD_END};
    struct registry *reg = state;
    FAAS_AUTO(json_t) *items = NULL;
    json_t *list = json_array(), *item;
    struct body body = {0};
    size_t i;
    faas_code rc = read_body(call, fields, &body, err);

    if (rc == FAAS_OK)
        rc = secrets_list(&reg->secrets, call->ctx, true, &items, err);
    json_array_foreach (items, i, item)
        if (rc == FAAS_OK && json_array_append_new(list, shown(item)) != 0)
            rc = faas_fail_sys(err, ENOMEM, "list of logins");
    *out_reply = json_pack("{s:o, s:n}", "items", list, "next_cursor");
    if (rc == FAAS_OK && *out_reply == NULL)
        rc = faas_fail_sys(err, ENOMEM, "list of logins");
    return rc;
}

static bool is_printable(const char *text, size_t max)
{
    size_t len = strlen(text);

    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] < ' ' || text[i] == '\x7f')
            return false;
    return len > 0 && len <= max;
}

static faas_code check_login(const struct body *body, faas_err *err)
{
    if (!is_printable(body->username, USERNAME_MAX) || strchr(body->username, ':') != NULL)
        return faas_fail(err, FAAS_INVALID,
                         "username: 1 to %d bytes without ':' and control characters",
                         USERNAME_MAX);
    if (!is_printable(body->password, PASSWORD_MAX))
        return faas_fail(err, FAAS_INVALID, "password: 1 to %d bytes without control characters",
                         PASSWORD_MAX);
    return FAAS_OK;
}

static faas_code set(struct registry *reg, const struct faas_call *call, const struct body *body,
                     json_t **out_reply, faas_err *err)
{
    FAAS_AUTO(json_t) *stored = NULL;
    FAAS_AUTO(json_t) *login =
        json_pack("{s:s, s:s}", "username", body->username, "password", body->password);
    struct faas_sealed_value value = {.len = 0};
    char name[FAAS_LOGIN_HOST_MAX + 2];
    char *text = login != NULL ? faas_json_text(login, &value.len) : NULL;
    faas_code rc = FAAS_OK;

    value.bytes = text;
    name_of(body->registry, name);
    if (text == NULL)
        rc = faas_fail_sys(err, ENOMEM, "login");
    if (rc == FAAS_OK)
        rc = secrets_put(&reg->secrets, call->ctx, name, &value, &stored, err);
    if (rc == FAAS_OK) {
        *out_reply = shown(stored);
        if (*out_reply == NULL ||
            json_object_set(*out_reply, "replaced", json_object_get(stored, "replaced")) != 0)
            rc = faas_fail_sys(err, ENOMEM, "login");
    }
    if (text != NULL)
        sodium_memzero(text, value.len);
    free(text);
    faas_json_wipe(login);
    return rc;
}

/* faas.registry.login_set */
faas_code logins_on_set(void *state, const struct faas_call *call, json_t **out_reply,
                        faas_err *err)
{
    static const struct faas_json_field fields[] = {
        OWNER_FIELDS,
        REGISTRY_FIELD,
        FAAS_FIELD(STR, struct body, username, "username", 0, 0, true),
        FAAS_FIELD(STR, struct body, password, "password", 0, 0, true),
        FAAS_FIELD_END,
    };
    struct body body = {0};
    faas_code rc = read_body(call, fields, &body, err);

    if (rc == FAAS_OK)
        rc = check_login(&body, err);
    if (rc == FAAS_OK)
        rc = set(state, call, &body, out_reply, err);
    faas_json_wipe(call->body);
    faas_msg_wipe(call->msg);
    return rc;
}

/* faas.registry.login_remove; an empty answer. */
faas_code logins_on_remove(void *state, const struct faas_call *call, json_t **out_reply,
                           faas_err *err)
{
    static const struct faas_json_field fields[] = {OWNER_FIELDS, REGISTRY_FIELD, FAAS_FIELD_END};
    char name[FAAS_LOGIN_HOST_MAX + 2];
    struct body body = {0};
    faas_code rc;

    *out_reply = NULL;
    FAAS_TRY(read_body(call, fields, &body, err));
    name_of(body.registry, name);
    rc = secrets_drop(state, call->ctx, name, err);
    return rc == FAAS_NOT_FOUND ? faas_fail(err, rc, "you have no login for this registry") : rc;
}
