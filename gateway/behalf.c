#include "gateway/behalf.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "contract.h"
#include "gateway/forward.h"
#include "gateway/problem.h"

struct behalf { /* until auth has answered; then forward.c's */
    TAILQ_ENTRY(behalf) link;
    struct gateway *gw;
    http_exchange *x; /* NULL: answered already */
};

static faas_code read_other(const faas_msg *msg, struct http_other *other, faas_err *err)
{
    struct told {
        const char *user, *tenant;
    };
    static const struct faas_json_field fields[] = {
        FAAS_FIELD(STR, struct told, user, "user", 36, 36, true),
        FAAS_FIELD(STR, struct told, tenant, "tenant", 36, 36, true),
        FAAS_FIELD_END,
    };
    FAAS_AUTO(json_t) *doc = NULL;
    struct told told = {0};

    FAAS_TRY(faas_json_parse(faas_msg_data(msg), faas_msg_len(msg), false, &doc, err));
    FAAS_TRY(faas_json_decode(doc, fields, FAAS_JSON_TOLERANT, &told, err));
    (void)snprintf(other->user, sizeof other->user, "%s", told.user);
    (void)snprintf(other->tenant, sizeof other->tenant, "%s", told.tenant);
    return FAAS_OK;
}

/* Without the first parameter, the name. */
static void shift(struct gw_match *match)
{
    match->count--;
    memmove(&match->params[0], &match->params[1], match->count * sizeof match->params[0]);
}

static void go_on(struct gateway *gw, http_exchange *x, const struct faas_rpc_reply *reply)
{
    faas_err err = {0};

    if (reply->code != FAAS_OK) {
        problem_from_err(x, reply->err, "auth");
        return;
    }
    x->other = calloc(1, sizeof *x->other);
    if (x->other == NULL || read_other(reply->msg, x->other, &err) != FAAS_OK) {
        (void)faas_fail(&err, FAAS_INTERNAL, "internal error");
        problem_from_err(x, &err, NULL);
        return;
    }
    shift(&x->match);
    forward_begin(gw, x);
}

static void on_reply(void *arg, const struct faas_rpc_reply *reply)
{
    FAAS_AUTO(void) *owned = arg;
    struct behalf *b = arg;

    if (b->x == NULL)
        return;
    TAILQ_REMOVE(&b->gw->behalfs, b, link);
    go_on(b->gw, b->x, reply);
}

static void start(http_exchange *x)
{
    struct behalf *b = x->state;
    FAAS_AUTO(json_t) *body = json_pack("{s:s}", "name", x->match.params[0].value);
    FAAS_AUTO(char) *text = NULL;
    struct faas_ctx ctx = {.id = ""};
    struct faas_rpc_request req = {
        .subject = FAAS_SUBJ_AUTH_ADMIN_WHOIS, .ctx = &ctx, .retry = FAAS_RPC_SAFE};
    faas_err err = {0};

    if (body != NULL)
        text = faas_json_text(body, &req.len);
    if (text == NULL || b->gw->is_stopped) {
        (void)faas_fail(&err, FAAS_UNAVAILABLE, "the gateway is shutting down, or out of memory");
        problem_from_err(x, &err, NULL);
        free(b);
        return;
    }
    forward_fill_ctx(&ctx, x);
    req.data = text;
    TAILQ_INSERT_TAIL(&b->gw->behalfs, b, link);
    faas_rpc_call(b->gw->rt->rpc, &req, on_reply, b);
}

void behalf_begin(struct gateway *gw, http_exchange *x)
{
    struct behalf *b = calloc(1, sizeof *b);
    faas_err err = {0};

    if (b != NULL) {
        b->gw = gw;
        b->x = x;
        x->state = b;
        if (http_defer(x, start))
            return;
        free(b);
    }
    (void)faas_fail(&err, FAAS_UNAVAILABLE, "the gateway is shutting down, or out of memory");
    problem_from_err(x, &err, NULL);
}

void behalf_stop(struct gateway *gw)
{
    struct behalf *b;
    faas_err err = {0};

    (void)faas_fail(&err, FAAS_UNAVAILABLE, "the gateway is shutting down");
    while ((b = TAILQ_FIRST(&gw->behalfs)) != NULL) { /* freed by its reply */
        TAILQ_REMOVE(&gw->behalfs, b, link);
        problem_from_err(b->x, &err, NULL);
        b->x = NULL;
    }
}
