/* faas.registry.logs: the lines that a function's calls wrote to standard error, as OpenFaaS's clients
 * ask for them. */
#include "registry.h"

#include "store.h"

#include "base/clock.h"
#include "base/name.h"
#include "base/text.h"
#include "call_record.h"
#include "contract.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#define PAGE      200
#define CALLS_MAX 1000 /* calls looked at for one answer */
#define TAIL_MAX  1000000
#define TEXT_MAX  256
#define BAD       "\xef\xbf\xbd" /* U+FFFD, for what JSON cannot hold */

struct lines {
    records *recs;
    const char *tenant, *name;
    size_t room;       /* bytes of the answer */
    int64_t left;      /* lines */
    int64_t calls;     /* seen */
    json_t *backwards; /* owned; the newest line first */
};

/* NULL without memory. */
static json_t *clean(const char *text, size_t len)
{
    FAAS_AUTO(char) *out = malloc(len * strlen(BAD) + 1);
    size_t used = 0;

    if (out == NULL)
        return NULL;
    for (size_t i = 0; i < len;) {
        size_t step = faas_utf8_decode(text + i, len - i, NULL);
        bool is_bad = step == 0 || text[i] == '\0';

        memcpy(out + used, is_bad ? BAD : text + i, is_bad ? strlen(BAD) : step);
        used += is_bad ? strlen(BAD) : step;
        i += is_bad ? 1 : step;
    }
    return json_stringn(out, used);
}

/* When the call came, by its id, which is what `since` goes by. */
static void read_time(const json_t *record, char out_text[FAAS_TIME_TEXT])
{
    const char *id = json_string_value(json_object_get(record, "id"));
    char hex[13];

    (void)snprintf(hex, sizeof hex, "%.8s%.4s", id, id + 9);
    faas_time_format(strtoll(hex, NULL, 16), out_text);
}

static faas_code add_line(struct lines *lines, const json_t *record, const char *text, size_t len,
                          faas_err *err)
{
    char when[FAAS_TIME_TEXT];
    FAAS_AUTO(json_t) *item = NULL;
    FAAS_AUTO(char) *written = NULL;
    size_t bytes = 0;

    read_time(record, when);
    item = json_pack("{s:s, s:O, s:s, s:o}", "name", lines->name, "instance",
                     json_object_get(record, "id"), "timestamp", when, "text", clean(text, len));
    written = item != NULL ? faas_json_text(item, &bytes) : NULL;
    if (written == NULL)
        return faas_fail_sys(err, ENOMEM, "a line of a log");
    if (bytes + 1 > lines->room) {
        lines->left = 0;
        return FAAS_OK;
    }
    if (json_array_append(lines->backwards, item) != 0)
        return faas_fail_sys(err, ENOMEM, "a line of a log");
    lines->room -= bytes + 1;
    lines->left--;
    return FAAS_OK;
}

/* From the last line to the first. */
static faas_code add_log(struct lines *lines, const json_t *record, const char *log, size_t len,
                         faas_err *err)
{
    if (len > 0 && log[len - 1] == '\n')
        len--;
    while (lines->left > 0) {
        const char *before = len > 0 ? memrchr(log, '\n', len) : NULL;
        size_t from = before != NULL ? (size_t)(before - log) + 1 : 0;

        FAAS_TRY(add_line(lines, record, log + from, len - from, err));
        if (from == 0)
            break;
        len = from - 1;
    }
    return FAAS_OK;
}

static faas_code add_call(struct lines *lines, const json_t *record, faas_err *err)
{
    const struct records_id id = {.tenant = lines->tenant,
                                  .id = json_string_value(json_object_get(record, "id"))};
    FAAS_AUTO(char) *encoded = NULL, *log = NULL;
    faas_err why = {0};
    faas_code rc;
    size_t len;

    lines->calls++;
    if (json_integer_value(json_object_get(record, "log_bytes")) == 0)
        return FAAS_OK;
    rc = records_log(lines->recs, &id, &encoded, &why);
    if (rc == FAAS_NOT_FOUND) /* it went by age meanwhile */
        return FAAS_OK;
    if (rc != FAAS_OK) {
        *err = why;
        return rc;
    }
    len = strlen(encoded);
    log = malloc(len + 1);
    if (log == NULL)
        return faas_fail_sys(err, ENOMEM, "a log");
    if (sodium_base642bin((unsigned char *)log, len, encoded, len, NULL, &len, NULL,
                          sodium_base64_VARIANT_ORIGINAL) != 0)
        return FAAS_OK;
    return len > 0 ? add_log(lines, record, log, len, err) : FAAS_OK;
}

static faas_code add_calls(struct lines *lines, int64_t since_ms, faas_err *err)
{
    char before[FAAS_UUID_TEXT] = "";
    bool has_more = true;

    while (has_more && lines->left > 0 && lines->calls < CALLS_MAX) {
        const struct records_query query = {.tenant = lines->tenant,
                                            .function = lines->name,
                                            .status = "",
                                            .since_ms = since_ms,
                                            .before = before,
                                            .limit = PAGE,
                                            .bytes_max = SIZE_MAX};
        FAAS_AUTO(json_t) *items = NULL;
        const json_t *record;
        size_t i;

        FAAS_TRY(records_page(lines->recs, &query, &items, &has_more, err));
        json_array_foreach (items, i, record) {
            if (lines->left > 0)
                FAAS_TRY(add_call(lines, record, err));
            (void)snprintf(before, sizeof before, "%s",
                           json_string_value(json_object_get(record, "id")));
        }
    }
    return FAAS_OK;
}

/* ---- the request ---- */

struct logs_req {
    const char *name, *since, *instance;
    json_t *tail;
};

static faas_code read_req(const struct faas_call *call, struct logs_req *out_req,
                          int64_t *out_since_ms, int64_t *out_tail, faas_err *err)
{
    static const struct faas_json_field fields[] = {
        FAAS_FIELD(STR, struct logs_req, name, "name", 0, 0, true),
        FAAS_FIELD(STR, struct logs_req, since, "since", 1, TEXT_MAX, false),
        FAAS_FIELD(STR, struct logs_req, instance, "instance", 1, TEXT_MAX, false),
        FAAS_FIELD(ANY, struct logs_req, tail, "tail", 0, 0, false),
        FAAS_FIELD_END,
    };
    static const int64_t tails[2] = {1, TAIL_MAX};

    FAAS_TRY(registry_check_caller(call, err));
    FAAS_TRY(faas_json_decode(call->body, fields, FAAS_JSON_STRICT, out_req, err));
    FAAS_TRY(faas_function_name_check(out_req->name, err));
    if (out_req->since != NULL)
        FAAS_TRY(call_time_parse(out_req->since, "since", out_since_ms, err));
    if (out_req->instance != NULL && !faas_uuid_is(out_req->instance))
        return faas_fail(err, FAAS_INVALID, "instance: expected the id of a call");
    return function_read_number(out_req->tail, "tail", tails, out_tail, err);
}

static faas_code gather(struct lines *lines, const struct logs_req *req, int64_t since_ms,
                        faas_err *err)
{
    const struct records_id id = {.tenant = lines->tenant, .id = req->instance};
    FAAS_AUTO(json_t) *record = NULL;
    const char *function;

    if (req->instance == NULL)
        return add_calls(lines, since_ms, err);
    FAAS_TRY(records_get(lines->recs, &id, &record, err));
    function = json_string_value(json_object_get(record, "function"));
    return function != NULL && strcmp(function, req->name) == 0 ? add_call(lines, record, err)
                                                                : FAAS_OK;
}

static faas_code answer(const json_t *backwards, json_t **out_reply, faas_err *err)
{
    FAAS_AUTO(json_t) *items = json_array();

    for (size_t i = json_array_size(backwards); i-- > 0;)
        if (json_array_append(items, json_array_get(backwards, i)) != 0)
            return faas_fail_sys(err, ENOMEM, "lines of logs");
    *out_reply = json_pack("{s:O?}", "items", items);
    return *out_reply != NULL ? FAAS_OK : faas_fail_sys(err, ENOMEM, "lines of logs");
}

/* {name,since?,tail?,instance?} -> {items:[{name,instance,timestamp,text}]}, the oldest first: the
 * newest lines, as many as one answer holds.  since and timestamp are when the call came. */
faas_code registry_on_logs(void *state, const struct faas_call *call, json_t **out_reply,
                           faas_err *err)
{
    struct registry *reg = state;
    struct logs_req req = {.name = ""};
    FAAS_AUTO(json_t) *backwards = json_array();
    struct lines lines = {.tenant = call->ctx->tenant,
                          .room = reg->reply_max,
                          .left = INT64_MAX,
                          .backwards = backwards};
    struct store_head head = {0};
    int64_t since_ms = 0;

    if (backwards == NULL)
        return faas_fail_sys(err, ENOMEM, "lines of logs");
    FAAS_TRY(read_req(call, &req, &since_ms, &lines.left, err));
    lines.name = req.name;
    FAAS_TRY(records_follow_use(reg->calls, &lines.recs, err));
    FAAS_TRY(gather(&lines, &req, since_ms, err));
    if (lines.calls == 0) { /* a name that nobody knows is a mistake */
        FAAS_TRY(store_get(reg->functions, call->ctx, req.name, &head, err));
        store_head_done(&head);
    }
    return answer(backwards, out_reply, err);
}
