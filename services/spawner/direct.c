#include "direct.h"

#include <errno.h>
#include <string.h>

#include "call_spec.h"
#include "contract.h"

#define BODY_MAX (1024 * 1024)

struct run {
    struct direct *direct;
    faas_msg *msg;
    struct rt_call *call;
    char *out;
    size_t len, room, max;
    bool is_full, is_cancelled;
};

static void run_free(struct run *run)
{
    faas_msg_free(run->msg);
    free(run->out);
    free(run);
}

static void on_started(void *arg)
{
    (void)arg;
}

static bool on_out(void *arg, const void *data, size_t len)
{
    struct run *run = arg;

    if (!run->is_full && run->len + len > run->room) {
        size_t room = (run->len + len) * 2;
        char *bigger = run->len + len <= run->max ? realloc(run->out, room) : NULL;

        run->is_full = bigger == NULL;
        run->out = bigger != NULL ? bigger : run->out;
        run->room = bigger != NULL ? room : run->room;
    }
    if (run->is_full) {
        if (!run->is_cancelled)
            run->direct->runtime->ops->cancel(run->call);
        run->is_cancelled = true;
        return true;
    }
    memcpy(run->out + run->len, data, len);
    run->len += len;
    return true;
}

static bool on_err(void *arg, const void *data, size_t len)
{
    (void)arg, (void)data, (void)len; /* errors are logged, and logs hold no output */
    return true;
}

static void answer(struct run *run, const struct rt_outcome *outcome)
{
    faas_rpc *rpc = run->direct->rt->rpc;
    faas_err err = {0};

    if (run->is_full)
        (void)faas_fail(&err, FAAS_TOO_LARGE,
                        "more than %zu bytes of output: the bus's max_payload; use the platform",
                        run->max);
    else if (outcome->code != FAAS_OK)
        (void)faas_fail(&err, outcome->code, "%s", outcome->detail);
    if (err.code != FAAS_OK)
        faas_rpc_answer_err(rpc, run->msg, &err);
    else
        faas_rpc_answer(rpc, run->msg, run->out != NULL ? run->out : "", run->len);
}

static void on_end(void *arg, const struct rt_outcome *outcome)
{
    struct run *run = arg;

    answer(run, outcome);
    worker_give_slot(run->direct->worker);
    run_free(run);
}

struct request {
    const char *image, *parameter;
};

static faas_code begin(struct run *run, const struct request *req, faas_err *err)
{
    struct runtime *runtime = run->direct->runtime;
    const struct rt_sink sink = {
        .started = on_started, .out = on_out, .err = on_err, .end = on_end, .arg = run};
    struct rt_spec spec;
    char id[FAAS_UUID_TEXT];
    faas_code rc;

    faas_uuid_new(id);
    call_spec_defaults(&spec);
    spec.call_id = id;
    spec.image.reference = req->image;
    spec.argument = req->parameter;
    spec.argument_len = strlen(req->parameter);
    spec.may_pull = true;
    FAAS_TRY(worker_take_slot(run->direct->worker, err));
    rc = runtime->ops->call(runtime, &spec, &sink, &run->call, err);
    if (rc != FAAS_OK)
        worker_give_slot(run->direct->worker);
    return rc;
}

static void on_execute(void *state, faas_msg *take_msg)
{
    static const struct faas_json_field fields[] = {
        FAAS_FIELD(STR, struct request, image, "image_reference", 1, FAAS_IMAGE_REF_MAX, true),
        FAAS_FIELD(STR, struct request, parameter, "parameter", 0, FAAS_ARGUMENT_MAX, true),
        FAAS_FIELD_END,
    };
    struct direct *direct = state;
    FAAS_AUTO(json_t) *doc = NULL;
    struct request req = {.image = NULL};
    struct run *run = calloc(1, sizeof *run);
    faas_err err = {0};
    faas_code rc;

    if (run == NULL) {
        faas_msg_free(take_msg);
        return;
    }
    run->direct = direct;
    run->msg = take_msg;
    run->max = faas_bus_max_payload(direct->rt->bus);
    rc = faas_json_parse(faas_msg_data(take_msg), faas_msg_len(take_msg), false, &doc, &err);
    if (rc == FAAS_OK)
        rc = faas_json_decode(doc, fields, FAAS_JSON_STRICT, &req, &err);
    if (rc == FAAS_OK)
        rc = begin(run, &req, &err);
    if (rc != FAAS_OK) {
        faas_rpc_answer_err(direct->rt->rpc, take_msg, &err);
        run_free(run);
    }
}

faas_code direct_begin(struct direct *direct, faas_err *err)
{
    static const struct faas_endpoint endpoints[] = {
        {.name = "execute",
         .subject = FAAS_SUBJ_DIRECT,
         .queue = FAAS_QUEUE_DIRECT,
         .body_max = BODY_MAX,
         .on_message = on_execute,
         .lane = FAAS_DATA},
        {.name = NULL},
    };

    return faas_rpc_serve(direct->rt->rpc, endpoints, direct, err);
}
