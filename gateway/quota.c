#include "gateway/quota.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "contract.h"
#include "gateway/admit.h"
#include "gateway/forward.h"
#include "gateway/problem.h"

struct quota {
    TAILQ_ENTRY(quota) link;
    struct gateway *gw;
    http_exchange *x; /* NULL: answered already */
    json_t *doc;
    int awaited; /* answers */
};

static void quota_free(struct quota *q)
{
    json_decref(q->doc);
    free(q);
}

static void answer(struct quota *q)
{
    size_t len = 0;
    char *text = faas_json_text(q->doc, &len);

    http_answer_bytes(q->x, text == NULL ? 500 : q->x->match.route->status, "application/json",
                      text, len);
}

static void fail(struct quota *q, const faas_err *err, const char *component)
{
    TAILQ_REMOVE(&q->gw->quotas, q, link);
    problem_from_err(q->x, err, component);
    q->x = NULL;
}

static void on_part(struct quota *q, const struct faas_rpc_reply *reply, const char *component)
{
    FAAS_AUTO(json_t) *part = NULL;
    faas_err err = *reply->err;
    faas_code rc = reply->code;

    q->awaited--;
    if (rc == FAAS_OK)
        rc = faas_json_parse(faas_msg_data(reply->msg), faas_msg_len(reply->msg), false, &part,
                             &err);
    if (rc == FAAS_OK && json_object_update(q->doc, part) != 0)
        rc = faas_fail_sys(&err, ENOMEM, "quotas");
    if (q->x != NULL && rc != FAAS_OK) {
        fail(q, &err, component);
    } else if (q->x != NULL && q->awaited == 0) {
        TAILQ_REMOVE(&q->gw->quotas, q, link);
        answer(q);
    }
    if (q->awaited == 0)
        quota_free(q);
}

static void on_registry(void *arg, const struct faas_rpc_reply *reply)
{
    on_part(arg, reply, "registry");
}

static void on_publisher(void *arg, const struct faas_rpc_reply *reply)
{
    on_part(arg, reply, "publisher");
}

static void ask(struct quota *q, const char *subject, faas_rpc_done *done)
{
    char functions[24];
    int64_t own = q->x->standing.quotas[FAAS_QUOTA_FUNCTIONS];
    const struct faas_header headers[] = {
        {FAAS_H_FUNCTIONS, own != FAAS_QUOTA_DEFAULT ? functions : NULL}, {NULL, NULL}};
    struct faas_ctx ctx = {.id = ""};
    const struct faas_rpc_request req = {.subject = subject,
                                         .headers = headers,
                                         .ctx = &ctx,
                                         .data = "{}",
                                         .len = 2,
                                         .retry = FAAS_RPC_SAFE};

    (void)snprintf(functions, sizeof functions, "%lld", (long long)own);
    forward_fill_ctx(&ctx, q->x);
    faas_rpc_call(q->gw->rt->rpc, &req, done, q);
}

static void refuse(http_exchange *x)
{
    faas_err err = {0};

    (void)faas_fail(&err, FAAS_UNAVAILABLE, "the gateway is shutting down, or out of memory");
    problem_from_err(x, &err, NULL);
}

static void start(http_exchange *x)
{
    struct quota *q = x->state;

    if (q->gw->is_stopped) {
        refuse(x);
        quota_free(q);
        return;
    }
    TAILQ_INSERT_TAIL(&q->gw->quotas, q, link);
    q->awaited = 2;
    ask(q, FAAS_SUBJ_REGISTRY_QUOTA, on_registry);
    ask(q, FAAS_SUBJ_PUBLISHER_QUOTA, on_publisher);
}

void quota_begin(struct gateway *gw, http_exchange *x)
{
    struct quota *q = calloc(1, sizeof *q);
    int64_t calls = admit_calls_limit(gw, x);

    if (q != NULL) {
        q->gw = gw;
        q->x = x;
        q->doc = json_pack("{s:{s:o}}", faas_quota_name(FAAS_QUOTA_CALLS), "limit",
                           calls == ADMIT_NO_LIMIT ? json_null() : json_integer(calls));
        x->state = q;
        if (q->doc != NULL && http_defer(x, start))
            return;
        quota_free(q);
    }
    refuse(x);
}

void quota_stop(struct gateway *gw)
{
    struct quota *q;
    faas_err err = {0};

    (void)faas_fail(&err, FAAS_UNAVAILABLE, "the gateway is shutting down");
    while ((q = TAILQ_FIRST(&gw->quotas)) != NULL)
        fail(q, &err, NULL);
}
