/* Requests about calls that were made: from the wire and back. */
#include "registry.h"

#include "call_record.h"

#include "base/name.h"
#include "contract.h"

#include <errno.h>
#include <string.h>

#define PAGE_LIMIT     50
#define PAGE_LIMIT_MAX 200
#define TEXT_MAX       256

/* Parameters; they may come from a query string, where numbers are text. */
struct calls_req {
    const char *id, *uuid, *uui;
    const char *function, *status, *since, *until, *cursor;
    json_t *limit;
    int64_t limit_n, since_ms, until_ms;
};

#define OWNER_FIELDS                                                                               \
    FAAS_FIELD(STR, struct calls_req, uuid, "uuid", 0, 0, false),                                  \
        FAAS_FIELD(STR, struct calls_req, uui, "uui", 0, 0, false)

static faas_code read_req(const struct faas_call *call, const struct faas_json_field *fields,
                          struct calls_req *out_req, faas_err *err)
{
    if (call->ctx->user[0] == '\0' || call->ctx->tenant[0] == '\0')
        return faas_fail(err, FAAS_UNAUTHENTICATED, "the request names no user");
    FAAS_TRY(faas_json_decode(call->body, fields, FAAS_JSON_STRICT, out_req, err));
    return function_check_owner(out_req->uuid, out_req->uui, call->ctx, err);
}

/* ---- one call ---- */

static faas_code read_id(const struct faas_call *call, struct records_id *out_id, faas_err *err)
{
    static const struct faas_json_field fields[] = {
        OWNER_FIELDS, FAAS_FIELD(STR, struct calls_req, id, "id", 0, 0, true), FAAS_FIELD_END};
    struct calls_req req = {.id = ""};

    FAAS_TRY(read_req(call, fields, &req, err));
    if (!faas_uuid_is(req.id))
        return faas_fail(err, FAAS_INVALID,
                         "id: expected a call's id as X-Call-Id gives it, a UUID in lower case");
    *out_id = (struct records_id){.tenant = call->ctx->tenant, .id = req.id};
    return FAAS_OK;
}

/* faas.registry.call */
faas_code registry_on_call(void *state, const struct faas_call *call, json_t **out_reply,
                           faas_err *err)
{
    struct registry *reg = state;
    struct records_id id;
    records *recs = NULL;

    FAAS_TRY(read_id(call, &id, err));
    FAAS_TRY(records_follow_use(reg->calls, &recs, err));
    return records_get(recs, &id, out_reply, err);
}

/* faas.registry.call_log */
faas_code registry_on_call_log(void *state, const struct faas_call *call, json_t **out_reply,
                               faas_err *err)
{
    struct registry *reg = state;
    struct records_id id;
    FAAS_AUTO(char) *log = NULL;
    records *recs = NULL;

    FAAS_TRY(read_id(call, &id, err));
    FAAS_TRY(records_follow_use(reg->calls, &recs, err));
    FAAS_TRY(records_log(recs, &id, &log, err));
    *out_reply = json_pack("{s:i, s:s}", "v", 1, "log", log);
    return *out_reply != NULL ? FAAS_OK : faas_fail_sys(err, ENOMEM, "encode a log");
}

/* ---- many ---- */

static faas_code check_filters(struct calls_req *req, faas_err *err)
{
    static const int64_t limits[2] = {1, PAGE_LIMIT_MAX};

    if (req->function[0] != '\0' && faas_function_name_check(req->function, NULL) != FAAS_OK)
        return faas_fail(err, FAAS_INVALID, "function: expected the name of a function");
    if (req->status[0] != '\0' && !call_status_is(req->status))
        return faas_fail(err, FAAS_INVALID,
                         "status: expected queued, running, succeeded, failed, refused, cancelled, "
                         "lost, dead or unknown");
    if (req->since[0] != '\0')
        FAAS_TRY(call_time_parse(req->since, "since", &req->since_ms, err));
    if (req->until[0] != '\0')
        FAAS_TRY(call_time_parse(req->until, "until", &req->until_ms, err));
    if (req->until[0] != '\0' && req->until_ms <= req->since_ms)
        return faas_fail(err, FAAS_INVALID, "until: must be later than since");
    if (req->cursor[0] != '\0' && !faas_uuid_is(req->cursor))
        return faas_fail(err, FAAS_INVALID, "cursor: not one that a list has given");
    return function_read_number(req->limit, "limit", limits, &req->limit_n, err);
}

static faas_code give_page(json_t *items, bool has_more, json_t **out_reply, faas_err *err)
{
    const json_t *last = json_array_get(items, json_array_size(items) - 1);
    json_t *cursor = has_more ? json_object_get(last, "id") : NULL;

    *out_reply = json_pack("{s:O, s:O?}", "items", items, "next_cursor", cursor);
    return *out_reply != NULL ? FAAS_OK : faas_fail_sys(err, ENOMEM, "encode page");
}

/* faas.registry.calls */
faas_code registry_on_calls(void *state, const struct faas_call *call, json_t **out_reply,
                            faas_err *err)
{
    static const struct faas_json_field fields[] = {
        OWNER_FIELDS,
        FAAS_FIELD(STR, struct calls_req, function, "function", 1, TEXT_MAX, false),
        FAAS_FIELD(STR, struct calls_req, status, "status", 1, TEXT_MAX, false),
        FAAS_FIELD(STR, struct calls_req, since, "since", 1, TEXT_MAX, false),
        FAAS_FIELD(STR, struct calls_req, until, "until", 1, TEXT_MAX, false),
        FAAS_FIELD(STR, struct calls_req, cursor, "cursor", 1, TEXT_MAX, false),
        FAAS_FIELD(ANY, struct calls_req, limit, "limit", 0, 0, false),
        FAAS_FIELD_END,
    };
    struct calls_req req = {.function = "",
                            .status = "",
                            .since = "",
                            .until = "",
                            .cursor = "",
                            .limit_n = PAGE_LIMIT};
    struct registry *reg = state;
    FAAS_AUTO(json_t) *items = NULL;
    records *recs = NULL;
    bool has_more;

    FAAS_TRY(read_req(call, fields, &req, err));
    FAAS_TRY(check_filters(&req, err));
    const struct records_query query = {.tenant = call->ctx->tenant,
                                        .function = req.function,
                                        .status = req.status,
                                        .since_ms = req.since_ms,
                                        .until_ms = req.until_ms,
                                        .before = req.cursor,
                                        .limit = req.limit_n,
                                        .bytes_max = reg->reply_max};
    FAAS_TRY(records_follow_use(reg->calls, &recs, err));
    FAAS_TRY(records_page(recs, &query, &items, &has_more, err));
    return give_page(items, has_more, out_reply, err);
}
