/* Requests about functions: from the wire and back. */
#include "registry.h"

#include "logins.h"
#include "store.h"

#include "base/name.h"
#include "base/standing.h"
#include "contract.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#define PAGE_LIMIT     50
#define PAGE_LIMIT_MAX 200
#define QUERY_MAX      256 /* bytes of q */
#define CURSOR_MAX     128

faas_code registry_check_caller(const struct faas_call *call, faas_err *err)
{
    if (call->ctx->user[0] == '\0' || call->ctx->tenant[0] == '\0')
        return faas_fail(err, FAAS_UNAUTHENTICATED, "the request names no user");
    return FAAS_OK;
}

static faas_code read_want(const struct faas_call *call, enum function_verb verb,
                           struct function_want *out_want, faas_err *err)
{
    FAAS_TRY(registry_check_caller(call, err));
    return function_read(call->body, verb, call->ctx, out_want, err);
}

/* The caller's own quota comes with the request. */
static int64_t functions_quota(const struct registry *reg, const struct faas_call *call)
{
    int64_t own = faas_msg_header_int(call->msg, FAAS_H_FUNCTIONS, -1);

    return own >= 0 ? own : reg->functions_max;
}

/* faas.registry.quota: those that registries keep to. */
static faas_code on_quota(void *state, const struct faas_call *call, json_t **out_reply,
                          faas_err *err)
{
    struct registry *reg = state;
    int64_t count = 0;

    FAAS_TRY(registry_check_caller(call, err));
    if (!follow_is_ready(&reg->follow))
        return faas_fail(err, FAAS_UNAVAILABLE,
                         "the list of functions is being built, so yours cannot be counted; try "
                         "again in a moment");
    FAAS_TRY(catalog_count(reg->follow.cat, call->ctx->tenant, &count, err));
    *out_reply = json_pack("{s:{s:I, s:I}}", faas_quota_name(FAAS_QUOTA_FUNCTIONS), "limit",
                           (json_int_t)functions_quota(reg, call), "used", (json_int_t)count);
    return *out_reply != NULL ? FAAS_OK : faas_fail_sys(err, ENOMEM, "encode reply");
}

/* faas.registry.register.  CONFLICT when the caller already has a function of that name. */
static faas_code on_register(void *state, const struct faas_call *call, json_t **out_reply,
                             faas_err *err)
{
    struct function_want want;

    FAAS_TRY(read_want(call, FUNCTION_CREATE, &want, err));
    return registry_create(state, call->ctx, &want, functions_quota(state, call), out_reply, err);
}

/* faas.registry.update.  CONFLICT when the body names an older version. */
static faas_code on_update(void *state, const struct faas_call *call, json_t **out_reply,
                           faas_err *err)
{
    struct function_want want;

    FAAS_TRY(read_want(call, FUNCTION_UPDATE, &want, err));
    return registry_change(state, call->ctx, &want, FUNCTION_UPDATE, out_reply, err);
}

/* faas.registry.replace */
static faas_code on_replace(void *state, const struct faas_call *call, json_t **out_reply,
                            faas_err *err)
{
    struct function_want want;

    FAAS_TRY(read_want(call, FUNCTION_REPLACE, &want, err));
    return registry_change(state, call->ctx, &want, FUNCTION_REPLACE, out_reply, err);
}

/* faas.registry.refresh */
static faas_code on_refresh(void *state, const struct faas_call *call, json_t **out_reply,
                            faas_err *err)
{
    struct function_want want;

    FAAS_TRY(read_want(call, FUNCTION_NAME, &want, err));
    return registry_refresh(state, call->ctx, want.name, out_reply, err);
}

/* faas.registry.delete; an empty answer. */
static faas_code on_delete(void *state, const struct faas_call *call, json_t **out_reply,
                           faas_err *err)
{
    struct function_want want;

    FAAS_TRY(read_want(call, FUNCTION_NAME, &want, err));
    *out_reply = NULL;
    return registry_delete(state, call->ctx, want.name, err);
}

static faas_code give(const json_t *doc, json_t **out_reply, faas_err *err)
{
    *out_reply = function_public(doc);
    return *out_reply != NULL ? FAAS_OK : faas_fail_sys(err, ENOMEM, "encode record");
}

static faas_code give_version(const json_t *doc, json_t **out_reply, faas_err *err)
{
    *out_reply = function_public_version(doc);
    return *out_reply != NULL ? FAAS_OK : faas_fail_sys(err, ENOMEM, "encode record");
}

/* faas.registry.retrieve */
static faas_code on_retrieve(void *state, const struct faas_call *call, json_t **out_reply,
                             faas_err *err)
{
    struct registry *reg = state;
    struct function_want want;
    struct store_head head = {0};
    faas_code rc;

    FAAS_TRY(read_want(call, FUNCTION_NAME, &want, err));
    FAAS_TRY(store_get(reg->functions, call->ctx, want.name, &head, err));
    rc = give(head.doc, out_reply, err);
    store_head_done(&head);
    return rc;
}

/* ---- lists ---- */

/* Parameters of a list; they may come from a query string, where numbers are text. */
struct list_req {
    const char *name, *uuid, *uui, *q, *cursor;
    json_t *limit, *version;
    int64_t limit_n, version_n; /* 0: not given */
};

#define OWNER_FIELDS                                                                               \
    FAAS_FIELD(STR, struct list_req, uuid, "uuid", 0, 0, false),                                   \
        FAAS_FIELD(STR, struct list_req, uui, "uui", 0, 0, false)
#define PAGE_FIELDS                                                                                \
    FAAS_FIELD(ANY, struct list_req, limit, "limit", 0, 0, false),                                 \
        FAAS_FIELD(STR, struct list_req, cursor, "cursor", 0, CURSOR_MAX, false)

static faas_code read_list(const struct faas_call *call, const struct faas_json_field *fields,
                           struct list_req *out_req, faas_err *err)
{
    static const int64_t limits[2] = {1, PAGE_LIMIT_MAX}, versions[2] = {1, INT32_MAX};
    struct list_req req = {.q = "", .cursor = "", .limit_n = PAGE_LIMIT};

    FAAS_TRY(registry_check_caller(call, err));
    FAAS_TRY(faas_json_decode(call->body, fields, FAAS_JSON_STRICT, &req, err));
    FAAS_TRY(function_check_owner(req.uuid, req.uui, call->ctx, err));
    FAAS_TRY(function_read_number(req.limit, "limit", limits, &req.limit_n, err));
    FAAS_TRY(function_read_number(req.version, "version", versions, &req.version_n, err));
    *out_req = req;
    return FAAS_OK;
}

/* A cursor is where the last page ended, opaque to clients: base64url of text. */
static faas_code read_cursor(const char *cursor, char out_text[CURSOR_MAX], faas_err *err)
{
    size_t len = 0;

    if (sodium_base642bin((unsigned char *)out_text, CURSOR_MAX - 1, cursor, strlen(cursor), NULL,
                          &len, NULL, sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0 ||
        memchr(out_text, '\0', len) != NULL)
        return faas_fail(err, FAAS_INVALID, "cursor: not one that a list has given");
    out_text[len] = '\0';
    return FAAS_OK;
}

static json_t *make_cursor(const char *text)
{
    char cursor[2 * CURSOR_MAX];

    if (text == NULL || strlen(text) >= CURSOR_MAX)
        return NULL;
    sodium_bin2base64(cursor, sizeof cursor, (const unsigned char *)text, strlen(text),
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    return json_string(cursor);
}

/* {"items":[...],"next_cursor":...}; take_cursor NULL: this was the last page. */
static faas_code give_page(json_t *take_items, bool has_more, json_t *take_cursor,
                           json_t **out_reply, faas_err *err)
{
    FAAS_AUTO(json_t) *items = take_items;
    FAAS_AUTO(json_t) *cursor = take_cursor;

    if (has_more && cursor == NULL)
        return faas_fail_sys(err, ENOMEM, "encode page");
    *out_reply = json_pack("{s:O, s:O?}", "items", items, "next_cursor", cursor);
    return *out_reply != NULL ? FAAS_OK : faas_fail_sys(err, ENOMEM, "encode page");
}

/* faas.registry.list.  TOO_LARGE when one message cannot hold it: then pages can. */
static faas_code on_list(void *state, const struct faas_call *call, json_t **out_reply,
                         faas_err *err)
{
    static const struct faas_json_field fields[] = {OWNER_FIELDS, FAAS_FIELD_END};
    struct registry *reg = state;
    struct list_req req;
    struct catalog_query query = {.tenant = call->ctx->tenant,
                                  .after = "",
                                  .part = "",
                                  .limit = FAAS_LIST_MAX,
                                  .bytes_max = reg->reply_max};
    FAAS_AUTO(json_t) *items = NULL;
    bool has_more;

    FAAS_TRY(read_list(call, fields, &req, err));
    FAAS_TRY(follow_check(&reg->follow, call->ctx->deadline_ns, err));
    FAAS_TRY(catalog_page(reg->follow.cat, &query, &items, &has_more, err));
    if (has_more && json_array_size(items) < FAAS_LIST_MAX)
        return faas_fail(err, FAAS_TOO_LARGE,
                         "the list is longer than one answer may be (%zu bytes); read it in pages "
                         "from /v1/functions",
                         reg->reply_max);
    *out_reply = FAAS_STEAL(items);
    return FAAS_OK;
}

/* faas.registry.page */
static faas_code on_page(void *state, const struct faas_call *call, json_t **out_reply,
                         faas_err *err)
{
    static const struct faas_json_field fields[] = {
        OWNER_FIELDS,
        PAGE_FIELDS,
        FAAS_FIELD(STR, struct list_req, q, "q", 0, QUERY_MAX, false),
        FAAS_FIELD_END,
    };
    struct registry *reg = state;
    struct list_req req;
    char after[CURSOR_MAX];
    json_t *items = NULL, *cursor = NULL;
    bool has_more;

    FAAS_TRY(read_list(call, fields, &req, err));
    FAAS_TRY(read_cursor(req.cursor, after, err));
    const struct catalog_query query = {.tenant = call->ctx->tenant,
                                        .after = after,
                                        .part = req.q,
                                        .limit = req.limit_n,
                                        .bytes_max = reg->reply_max};
    FAAS_TRY(follow_check(&reg->follow, call->ctx->deadline_ns, err));
    FAAS_TRY(catalog_page(reg->follow.cat, &query, &items, &has_more, err));
    if (has_more)
        cursor = make_cursor(function_name(json_array_get(items, json_array_size(items) - 1)));
    return give_page(items, has_more, cursor, out_reply, err);
}

/* ---- versions ---- */

static faas_code one_version(struct registry *reg, const struct faas_call *call, const json_t *head,
                             int64_t version, json_t **out_reply, faas_err *err)
{
    FAAS_AUTO(json_t) *doc = NULL;

    if (version == function_version(head))
        return give_version(head, out_reply, err);
    FAAS_TRY(store_get_version(reg->functions, call->ctx, function_id(head), version, &doc, err));
    return give_version(doc, out_reply, err);
}

/* The head, whose entry may not be written yet, begins the first page; rows of the read model follow
 * it. */
static faas_code begin_page(const json_t *head, struct catalog_versions_query *query,
                            json_t **out_first, faas_err *err)
{
    FAAS_AUTO(char) *text = NULL;
    size_t len = 0;

    if (query->before != INT64_MAX)
        return FAAS_OK;
    FAAS_TRY(give_version(head, out_first, err));
    text = faas_json_text(*out_first, &len);
    if (text == NULL)
        return faas_fail_sys(err, ENOMEM, "versions");
    query->before = function_version(head);
    query->limit--;
    query->bytes_max -= len < query->bytes_max ? len : query->bytes_max;
    return FAAS_OK;
}

static faas_code list_versions(struct registry *reg, const struct faas_call *call,
                               const struct list_req *req, const json_t *head, json_t **out_reply,
                               faas_err *err)
{
    static const int64_t range[2] = {1, INT32_MAX};
    struct catalog_versions_query query = {.tenant = call->ctx->tenant,
                                           .id = function_id(head),
                                           .before = INT64_MAX,
                                           .limit = req->limit_n,
                                           .bytes_max = reg->reply_max};
    FAAS_AUTO(json_t) *items = NULL;
    FAAS_AUTO(json_t) *first = NULL;
    FAAS_AUTO(json_t) *at = NULL;
    char text[CURSOR_MAX];
    json_t *cursor = NULL;
    bool has_more;

    FAAS_TRY(read_cursor(req->cursor, text, err));
    at = text[0] == '\0' ? NULL : json_string(text);
    FAAS_TRY(function_read_number(at, "cursor", range, &query.before, err));
    FAAS_TRY(begin_page(head, &query, &first, err));
    FAAS_TRY(follow_check(&reg->follow, call->ctx->deadline_ns, err));
    FAAS_TRY(catalog_versions(reg->follow.cat, &query, &items, &has_more, err));
    function_hide_own(items);
    if (first != NULL && json_array_insert(items, 0, first) != 0)
        return faas_fail_sys(err, ENOMEM, "versions");
    if (has_more) {
        snprintf(text, sizeof text, "%lld",
                 (long long)function_version(json_array_get(items, json_array_size(items) - 1)));
        cursor = make_cursor(text);
    }
    return give_page(FAAS_STEAL(items), has_more, cursor, out_reply, err);
}

/* faas.registry.versions: one record when the request names a version, else a page of them. */
static faas_code on_versions(void *state, const struct faas_call *call, json_t **out_reply,
                             faas_err *err)
{
    static const struct faas_json_field fields[] = {
        OWNER_FIELDS,
        PAGE_FIELDS,
        FAAS_FIELD(STR, struct list_req, name, "name", 0, 0, true),
        FAAS_FIELD(ANY, struct list_req, version, "version", 0, 0, false),
        FAAS_FIELD_END,
    };
    struct registry *reg = state;
    struct list_req req;
    struct store_head head = {0};
    faas_code rc;

    FAAS_TRY(read_list(call, fields, &req, err));
    FAAS_TRY(faas_function_name_check(req.name, err));
    FAAS_TRY(store_get(reg->functions, call->ctx, req.name, &head, err));
    if (req.version_n != 0)
        rc = one_version(reg, call, head.doc, req.version_n, out_reply, err);
    else
        rc = list_versions(reg, call, &req, head.doc, out_reply, err);
    store_head_done(&head);
    return rc;
}

#define ENDPOINT(ep_name, ep_subject, ep_handler)                                                  \
    {                                                                                              \
        .name = (ep_name), .subject = (ep_subject), .queue = FAAS_QUEUE,                           \
        .body_max = FAAS_CONTROL_BODY_MAX, .handler = (ep_handler)                                 \
    }

#define CHANGE(ep_name, ep_subject, ep_handler)                                                    \
    {                                                                                              \
        .name = (ep_name), .subject = (ep_subject), .queue = FAAS_QUEUE, .is_once = true,          \
        .body_max = FAAS_CONTROL_BODY_MAX, .handler = (ep_handler)                                 \
    }

const struct faas_endpoint registry_endpoints[] = {
    CHANGE("register", FAAS_SUBJ_REGISTRY_REGISTER, on_register),
    ENDPOINT("retrieve", FAAS_SUBJ_REGISTRY_RETRIEVE, on_retrieve),
    ENDPOINT("list", FAAS_SUBJ_REGISTRY_LIST, on_list),
    ENDPOINT("page", FAAS_SUBJ_REGISTRY_PAGE, on_page),
    CHANGE("update", FAAS_SUBJ_REGISTRY_UPDATE, on_update),
    CHANGE("replace", FAAS_SUBJ_REGISTRY_REPLACE, on_replace),
    CHANGE("delete", FAAS_SUBJ_REGISTRY_DELETE, on_delete),
    CHANGE("refresh", FAAS_SUBJ_REGISTRY_REFRESH, on_refresh),
    ENDPOINT("versions", FAAS_SUBJ_REGISTRY_VERSIONS, on_versions),
    CHANGE("rollback", FAAS_SUBJ_REGISTRY_ROLLBACK, registry_on_rollback),
    ENDPOINT("aliases", FAAS_SUBJ_REGISTRY_ALIASES, registry_on_aliases),
    CHANGE("alias", FAAS_SUBJ_REGISTRY_ALIAS, registry_on_alias),
    CHANGE("unalias", FAAS_SUBJ_REGISTRY_UNALIAS, registry_on_unalias),
    ENDPOINT("quota", FAAS_SUBJ_REGISTRY_QUOTA, on_quota),
    ENDPOINT("calls", FAAS_SUBJ_REGISTRY_CALLS, registry_on_calls),
    ENDPOINT("call", FAAS_SUBJ_REGISTRY_CALL, registry_on_call),
    ENDPOINT("call_log", FAAS_SUBJ_REGISTRY_CALL_LOG, registry_on_call_log),
    ENDPOINT("logs", FAAS_SUBJ_REGISTRY_LOGS, registry_on_logs),
    ENDPOINT("secrets", FAAS_SUBJ_REGISTRY_SECRETS, secrets_on_list),
    {.name = "secret_set",
     .subject = FAAS_SUBJ_REGISTRY_SECRET_SET,
     .queue = FAAS_QUEUE,
     .is_once = true,
     .body_max = FAAS_SECRET_BODY_MAX,
     .handler = secrets_on_set},
    CHANGE("secret_remove", FAAS_SUBJ_REGISTRY_SECRET_DROP, secrets_on_remove),
    ENDPOINT("logins", FAAS_SUBJ_REGISTRY_LOGINS, logins_on_list),
    CHANGE("login_set", FAAS_SUBJ_REGISTRY_LOGIN_SET, logins_on_set),
    CHANGE("login_remove", FAAS_SUBJ_REGISTRY_LOGIN_DROP, logins_on_remove),
    ENDPOINT("secret", FAAS_SUBJ_REGISTRY_SECRET, secrets_on_ask),
    ENDPOINT("purge", FAAS_SUBJ_REGISTRY_PURGE, registry_on_purge),
    {.name = NULL},
};
