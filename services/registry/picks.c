/* Requests about which version runs: aliases, and the way back to an earlier version. */
#include "registry.h"

#include "store.h"

#include "base/name.h"
#include "contract.h"

#include <errno.h>
#include <string.h>

struct pick_req {
    const char *name, *uuid, *uui, *alias;
    json_t *version, *versions;
};

#define NAME_FIELDS                                                                                \
    FAAS_FIELD(STR, struct pick_req, name, "name", 0, FAAS_CONTROL_BODY_MAX, true),                \
        FAAS_FIELD(STR, struct pick_req, uuid, "uuid", 0, 0, false),                               \
        FAAS_FIELD(STR, struct pick_req, uui, "uui", 0, 0, false)
#define ALIAS_FIELD(is_needed)                                                                     \
    FAAS_FIELD(STR, struct pick_req, alias, "alias", 0, FAAS_CONTROL_BODY_MAX, is_needed)

static faas_code read_req(const struct faas_call *call, const struct faas_json_field *fields,
                          struct pick_req *out_req, faas_err *err)
{
    struct pick_req req = {0};

    FAAS_TRY(registry_check_caller(call, err));
    FAAS_TRY(faas_json_decode(call->body, fields, FAAS_JSON_STRICT, &req, err));
    FAAS_TRY(function_check_owner(req.uuid, req.uui, call->ctx, err));
    FAAS_TRY(faas_function_name_check(req.name, err));
    if (req.alias != NULL)
        FAAS_TRY(faas_alias_name_check(req.alias, err));
    *out_req = req;
    return FAAS_OK;
}

/* faas.registry.rollback */
faas_code registry_on_rollback(void *state, const struct faas_call *call, json_t **out_reply,
                               faas_err *err)
{
    static const struct faas_json_field fields[] = {
        NAME_FIELDS,
        FAAS_FIELD(ANY, struct pick_req, version, "version", 0, 0, true),
        FAAS_FIELD_END,
    };
    static const int64_t range[2] = {1, INT32_MAX};
    struct pick_req req;
    int64_t version = 0;

    FAAS_TRY(read_req(call, fields, &req, err));
    if (!json_is_integer(req.version))
        return faas_fail(err, FAAS_INVALID, "version: expected an integer");
    FAAS_TRY(function_read_number(req.version, "version", range, &version, err));
    return registry_rollback(state, call->ctx, req.name, version, out_reply, err);
}

static json_t *shown(const char *alias, json_t *parts)
{
    return json_pack("{s:s, s:O}", "alias", alias, "versions", parts);
}

static faas_code check_settable(const char *alias, faas_err *err)
{
    if (strcmp(alias, FAAS_ALIAS_LATEST) == 0)
        return faas_fail(err, FAAS_INVALID,
                         "alias: \"" FAAS_ALIAS_LATEST "\" always is the newest version; take "
                         "another name");
    return FAAS_OK;
}

/* faas.registry.alias */
faas_code registry_on_alias(void *state, const struct faas_call *call, json_t **out_reply,
                            faas_err *err)
{
    static const struct faas_json_field fields[] = {
        NAME_FIELDS,
        ALIAS_FIELD(true),
        FAAS_FIELD(ANY, struct pick_req, version, "version", 0, 0, false),
        FAAS_FIELD(ANY, struct pick_req, versions, "versions", 0, 0, false),
        FAAS_FIELD_END,
    };
    struct pick_req req;
    FAAS_AUTO(json_t) *parts = NULL;

    FAAS_TRY(read_req(call, fields, &req, err));
    FAAS_TRY(check_settable(req.alias, err));
    const struct function_alias given = {req.alias, req.version, req.versions};
    FAAS_TRY(function_read_parts(&given, &parts, err));
    const struct registry_alias want = {req.name, req.alias, parts};
    FAAS_TRY(registry_alias(state, call->ctx, &want, err));
    *out_reply = shown(req.alias, parts);
    return *out_reply != NULL ? FAAS_OK : faas_fail_sys(err, ENOMEM, "encode an alias");
}

/* faas.registry.unalias; an empty answer. */
faas_code registry_on_unalias(void *state, const struct faas_call *call, json_t **out_reply,
                              faas_err *err)
{
    static const struct faas_json_field fields[] = {NAME_FIELDS, ALIAS_FIELD(true), FAAS_FIELD_END};
    struct pick_req req;

    FAAS_TRY(read_req(call, fields, &req, err));
    FAAS_TRY(check_settable(req.alias, err));
    const struct registry_alias want = {.function = req.name, .alias = req.alias};
    *out_reply = NULL;
    return registry_alias(state, call->ctx, &want, err);
}

static faas_code list(const json_t *aliases, json_t **out_reply, faas_err *err)
{
    FAAS_AUTO(json_t) *items = json_array();
    const char *alias;
    json_t *parts;

    json_object_foreach ((json_t *)(uintptr_t)aliases, alias, parts)
        if (json_array_append_new(items, shown(alias, parts)) != 0)
            return faas_fail_sys(err, ENOMEM, "encode aliases");
    *out_reply = json_pack("{s:O, s:n}", "items", items, "next_cursor");
    return *out_reply != NULL ? FAAS_OK : faas_fail_sys(err, ENOMEM, "encode aliases");
}

static faas_code give(const json_t *head, const char *alias, json_t **out_reply, faas_err *err)
{
    FAAS_AUTO(json_t) *aliases = function_aliases(head);

    if (aliases == NULL)
        return faas_fail_sys(err, ENOMEM, "encode aliases");
    if (alias == NULL)
        return list(aliases, out_reply, err);
    if (json_object_get(aliases, alias) == NULL)
        return faas_fail(err, FAAS_NOT_FOUND, "the function has no alias of this name");
    *out_reply = shown(alias, json_object_get(aliases, alias));
    return *out_reply != NULL ? FAAS_OK : faas_fail_sys(err, ENOMEM, "encode an alias");
}

/* faas.registry.aliases: all of a function (FAAS_ALIASES_MAX at most, one page), or the named one. */
faas_code registry_on_aliases(void *state, const struct faas_call *call, json_t **out_reply,
                              faas_err *err)
{
    static const struct faas_json_field fields[] = {NAME_FIELDS, ALIAS_FIELD(false),
                                                    FAAS_FIELD_END};
    struct registry *reg = state;
    struct pick_req req;
    struct store_head head = {0};
    faas_code rc;

    FAAS_TRY(read_req(call, fields, &req, err));
    FAAS_TRY(store_get(reg->functions, call->ctx, req.name, &head, err));
    rc = give(head.doc, req.alias, out_reply, err);
    store_head_done(&head);
    return rc;
}
