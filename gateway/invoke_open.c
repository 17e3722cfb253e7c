#include "invoke_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/envelope.h"
#include "gateway/params.h"

struct input { /* borrowed */
    const char *name;
    const void *argument;
    size_t argument_len;
};

struct publish_req {
    const char *name, *argument, *uuid, *uui;
};
static const struct faas_json_field publish_fields[] = {
    FAAS_FIELD(STR, struct publish_req, name, "name", 0, 0, true),
    FAAS_FIELD(STR, struct publish_req, argument, "argument", 0, 0, true),
    FAAS_FIELD(STR, struct publish_req, uuid, "uuid", 0, 0, false),
    FAAS_FIELD(STR, struct publish_req, uui, "uui", 0, 0, false),
    FAAS_FIELD_END,
};

static faas_code check_owner(const char *claimed, const char *user, faas_err *err)
{
    if (claimed != NULL && strcmp(claimed, user) != 0)
        return faas_fail(err, FAAS_DENIED,
                         "uuid: a call is made in the name of the token's user only");
    return FAAS_OK;
}

/* {"name","argument"}; *out_doc keeps what input borrows. */
static faas_code read_publish(const http_exchange *x, json_t **out_doc, struct input *input,
                              faas_err *err)
{
    struct publish_req req = {0};

    if (x->query != NULL && x->query[0] != '\0')
        return faas_fail(err, FAAS_INVALID, "query: parameters of this request go in its body");
    FAAS_TRY(faas_json_parse(x->body, x->body_len, true, out_doc, err));
    FAAS_TRY(faas_json_decode(*out_doc, publish_fields, FAAS_JSON_STRICT, &req, err));
    FAAS_TRY(check_owner(req.uuid, x->caller.user, err));
    FAAS_TRY(check_owner(req.uui, x->caller.user, err));
    *input = (struct input){req.name, req.argument, strlen(req.argument)};
    return FAAS_OK;
}

static void read_path(const http_exchange *x, struct input *input)
{
    *input = (struct input){x->match.params[0].value, x->body, x->body_len};
}

/* What only a queued call has. */
static bool add_queued(const http_exchange *x, json_t *meta)
{
    char hash[FAAS_HASH_TEXT];

    if (x->fields[HTTP_KEY] != NULL && (gw_key_hash(x->fields[HTTP_KEY], hash, NULL) != FAAS_OK ||
                                        json_object_set_new(meta, "key", json_string(hash)) != 0))
        return false;
    return x->match.route->what != GW_ASYNC || x->fields[HTTP_CALLBACK] == NULL ||
           json_object_set_new(meta, "callback", json_string(x->fields[HTTP_CALLBACK])) == 0;
}

/* What the answer is to be like, and whether it is waited for. */
static faas_code read_manner(struct invoke *inv, faas_err *err)
{
    const http_exchange *x = inv->x;
    bool is_queued = x->match.route->what == GW_ASYNC || x->fields[HTTP_KEY] != NULL;

    FAAS_TRY(gw_stream_parse(x->fields[HTTP_ACCEPT], x->fields[HTTP_STREAM], &inv->shape, err));
    FAAS_TRY(gw_leaving_parse(x->fields[HTTP_ON_LEAVING], &inv->is_going_on, err));
    if (x->fields[HTTP_STREAM] != NULL && inv->shape != GW_WHOLE && is_queued)
        return faas_fail(err, FAAS_INVALID,
                         "X-Stream: not of queued calls and those with an Idempotency-Key, whose "
                         "result is kept first");
    if (is_queued || strcmp(x->method, "HEAD") == 0)
        inv->shape = GW_WHOLE;
    return FAAS_OK;
}

static faas_code check_fields(const http_exchange *x, faas_err *err)
{
    char hash[FAAS_HASH_TEXT];

    if (x->fields[HTTP_CALL_ID] != NULL)
        FAAS_TRY(gw_label_check(x->fields[HTTP_CALL_ID], err));
    if (x->fields[HTTP_KEY] != NULL)
        FAAS_TRY(gw_key_hash(x->fields[HTTP_KEY], hash, err));
    if (x->fields[HTTP_CALLBACK] == NULL)
        return FAAS_OK;
    if (x->match.route->what != GW_ASYNC)
        return faas_fail(err, FAAS_INVALID,
                         "X-Callback-Url: of queued calls (POST /async-function/NAME) only");
    return gw_callback_check(x->fields[HTTP_CALLBACK], err);
}

static json_t *meta_of(const struct invoke *inv, const char *function, int64_t timeout_ms)
{
    const http_exchange *x = inv->x;
    const char *label = x->fields[HTTP_CALL_ID];
    FAAS_AUTO(json_t) *meta = json_pack(
        "{s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:{}, s:s}", "v", 1, "kind",
        inv->input_bytes > 0 ? FAAS_KIND_INPUT : FAAS_KIND_EXEC, "function", function, "gateway",
        inv->gw->rt->id, "method", x->method, "path", "", "query", x->query != NULL ? x->query : "",
        "headers", "client_call_id", label != NULL ? label : "");

    if (meta == NULL || !add_queued(x, meta) ||
        (inv->input_bytes > 0 &&
         json_object_set_new(meta, "input_bytes", json_integer(inv->input_bytes)) != 0) ||
        (timeout_ms > 0 &&
         json_object_set_new(meta, "timeout_ms", json_integer(timeout_ms)) != 0) ||
        (inv->shape != GW_WHOLE &&
         json_object_set_new(
             meta, "stream",
             json_string(inv->shape == GW_EVENTS ? FAAS_STREAMED_ALL : FAAS_STREAMED_STDOUT)) != 0))
        return NULL;
    return FAAS_STEAL(meta);
}

static faas_code pack(struct invoke *inv, const struct input *input, faas_err *err)
{
    const http_exchange *x = inv->x;
    FAAS_AUTO(json_t) *meta = NULL;
    struct faas_function_ref ref;
    int64_t timeout_ms = 0;

    FAAS_TRY(check_fields(x, err));
    FAAS_TRY(read_manner(inv, err));
    if (x->fields[HTTP_TIMEOUT] != NULL)
        FAAS_TRY(gw_timeout_parse(x->fields[HTTP_TIMEOUT], &timeout_ms, err));
    FAAS_TRY(faas_function_ref_parse(input->name, &ref, err));
    (void)snprintf(inv->key, sizeof inv->key, "%s/%s", x->caller.tenant, ref.name);
    inv->is_picked = ref.version != 0 || ref.alias[0] != '\0';
    inv->function = strdup(input->name);
    meta = inv->function != NULL ? meta_of(inv, input->name, timeout_ms) : NULL;
    if (meta == NULL)
        return faas_fail_sys(err, ENOMEM, "encode a call");
    return faas_envelope_pack(meta, input->argument, input->argument_len, &inv->envelope,
                              &inv->envelope_len, err);
}

typedef struct invoke invoke;
FAAS_DEFINE_AUTO(invoke, invoke_free)

faas_code invoke_new(struct gateway *gw, http_exchange *x, struct invoke **out_invoke,
                     faas_err *err)
{
    FAAS_AUTO(invoke) *inv = calloc(1, sizeof *inv);
    FAAS_AUTO(json_t) *doc = NULL;
    struct input input = {0};

    if (inv == NULL)
        return faas_fail_sys(err, errno, "allocate a call");
    inv->gw = gw;
    inv->x = x;
    TAILQ_INIT(&inv->asks);
    if (x->match.route->what == GW_PUBLISH)
        FAAS_TRY(read_publish(x, &doc, &input, err));
    else
        read_path(x, &input);
    if (x->body_fd >= 0) { /* it follows in frames */
        inv->input_bytes = (int64_t)x->body_len;
        input.argument_len = 0;
    }
    FAAS_TRY(pack(inv, &input, err));
    free(x->body); /* the envelope has a copy */
    x->body = NULL;
    *out_invoke = FAAS_STEAL(inv);
    return FAAS_OK;
}

void invoke_free(struct invoke *inv)
{
    if (inv == NULL)
        return;
    invoke_input_free(inv->input);
    faas_inbox_close(inv->inbox);
    faas_frames_in_free(inv->in);
    free(inv->envelope);
    free(inv->function);
    free(inv);
}
