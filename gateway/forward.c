#include "gateway/forward.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "contract.h"
#include "gateway/openfaas.h"
#include "gateway/params.h"
#include "gateway/problem.h"

#define READ_AGAIN_MS  1000 /* silence before a read is sent again */
#define NOBODY_MS      2000 /* how long a service may be without any listener */
#define AGAIN_MIN_MS   10
#define AGAIN_MAX_MS   100
#define COMPONENT_TEXT 32
#define AUTH           "faas.auth."
#define LEAVING                                                                                    \
    "the gateway is shutting down, and has no answer yet; a change may have been made: look "      \
    "before "                                                                                      \
    "trying again"

struct forward {
    TAILQ_ENTRY(forward) link;
    struct gateway *gw;
    http_exchange *x; /* NULL: answered already, while the bus call was under way */
    char *body;       /* NULL: the exchange's body */
    size_t len;
    struct faas_ctx ctx;
    ev_timer again;
    int64_t again_ms;
    int tries;
    bool is_direct; /* sent to one instance, and only there again */
    bool is_noting; /* that one writes down what it did for which request (FAAS_LEVEL_AGAIN) */
    bool is_again;  /* one that had it is gone: what others do now must be the same */
    char id[40], epoch[33]; /* of that instance */
    uint64_t nobody_ns;     /* until when to try in vain */
};

static void forward_free(struct forward *f)
{
    if (f->body != NULL) /* a password or a secret may be in it */
        sodium_memzero(f->body, f->len);
    free(f->body);
    free(f);
}

/* ---- answering ---- */

/* "auth" of "faas.auth.login" */
static void component_of(const char *subject, char out_name[COMPONENT_TEXT])
{
    const char *dot = strchr(subject, '.');
    const char *name = dot == NULL ? subject : dot + 1;

    (void)snprintf(out_name, COMPONENT_TEXT, "%.*s", (int)strcspn(name, "."), name);
}

void forward_answer_failure(http_exchange *x, const struct faas_rpc_reply *reply)
{
    char component[COMPONENT_TEXT];
    const char *named = reply->msg == NULL ? NULL : faas_msg_header(reply->msg, FAAS_H_COMPONENT);
    faas_err err = {.code = reply->code};

    component_of(x->match.route->subject, component);
    if (reply->msg != NULL)
        err = *reply->err;
    else if (faas_rpc_is_cancelled(((struct gateway *)http_arg(x))->rt->rpc))
        (void)faas_fail(&err, FAAS_UNAVAILABLE, LEAVING);
    else if (reply->code == FAAS_UNAVAILABLE)
        (void)faas_fail(&err, FAAS_UNAVAILABLE,
                        "no %s instance can be reached at the moment; nothing was changed",
                        component);
    else if (reply->code == FAAS_TIMEOUT)
        (void)faas_fail(&err, FAAS_TIMEOUT,
                        "%s did not answer in time; a change may have been made: look before "
                        "trying again",
                        component);
    else
        err = *reply->err;
    problem_from_err(x, &err, named != NULL ? named : component);
}

/* {"log": base64} as bytes. */
static faas_code read_log(const struct faas_rpc_reply *reply, char **out_bytes, size_t *out_len,
                          faas_err *err)
{
    FAAS_AUTO(json_t) *doc = NULL;
    FAAS_AUTO(char) *bytes = NULL;
    const char *text;
    size_t len;

    FAAS_TRY(
        faas_json_parse(faas_msg_data(reply->msg), faas_msg_len(reply->msg), false, &doc, err));
    text = json_string_value(json_object_get(doc, "log"));
    len = text != NULL ? strlen(text) : 0;
    bytes = malloc(len + 1);
    if (bytes == NULL)
        return faas_fail_sys(err, ENOMEM, "a log");
    if (len > 0 && sodium_base642bin((unsigned char *)bytes, len, text, len, NULL, out_len, NULL,
                                     sodium_base64_VARIANT_ORIGINAL) != 0) {
        (void)faas_fail(err, FAAS_INTERNAL, "internal error");
        return faas_err_detail(err, "the log of a call is no base64");
    }
    if (len == 0)
        *out_len = 0;
    *out_bytes = FAAS_STEAL(bytes);
    return FAAS_OK;
}

static void answer_log(struct forward *f, const struct faas_rpc_reply *reply)
{
    faas_err err = {0};
    char *bytes = NULL;
    size_t len = 0;

    if (read_log(reply, &bytes, &len, &err) != FAAS_OK) {
        (void)faas_fail(&err, FAAS_INTERNAL, "internal error");
        problem_from_err(f->x, &err, "registry");
        return;
    }
    http_answer_bytes(f->x, f->x->match.route->status,
                      faas_utf8_is(bytes, len) ? "text/plain; charset=utf-8" : "text/plain", bytes,
                      len);
}

static void answer_openfaas(struct forward *f, const struct faas_rpc_reply *reply)
{
    faas_err err = {0};
    char *text = NULL;
    size_t len = 0;

    if (openfaas_answer(f->x->match.route, faas_msg_data(reply->msg), faas_msg_len(reply->msg),
                        &text, &len, &err) == FAAS_OK) {
        http_answer_bytes(f->x, f->x->match.route->status,
                          text != NULL ? openfaas_answer_type(f->x->match.route) : NULL, text, len);
        return;
    }
    (void)faas_fail(&err, FAAS_INTERNAL, "internal error");
    problem_from_err(f->x, &err, "registry");
}

static int status_of(const struct gw_route *route, const struct faas_rpc_reply *reply)
{
    FAAS_AUTO(json_t) *doc = NULL;

    if (route->what == GW_SET &&
        faas_json_parse(faas_msg_data(reply->msg), faas_msg_len(reply->msg), false, &doc, NULL) ==
            FAAS_OK &&
        json_is_true(json_object_get(doc, "replaced")))
        return 200;
    return route->status;
}

static void answer_success(struct forward *f, const struct faas_rpc_reply *reply)
{
    const struct gw_route *route = f->x->match.route;
    size_t len = faas_msg_len(reply->msg);
    char *copy;

    if (route->what == GW_HEALTH) {
        http_answer_bytes(f->x, route->status, "text/plain; charset=utf-8", strdup("OK"), 2);
        return;
    }
    if (route->what == GW_LOG) {
        answer_log(f, reply);
        return;
    }
    if (openfaas_speaks(route)) {
        answer_openfaas(f, reply);
        return;
    }
    if (route->status == 204) {
        http_answer_bytes(f->x, 204, NULL, NULL, 0);
        return;
    }
    copy = malloc(len + 1);
    if (copy == NULL) {
        const struct problem problem = {.code = FAAS_INTERNAL, .detail = "out of memory"};

        problem_answer(f->x, &problem);
        return;
    }
    memcpy(copy, faas_msg_data(reply->msg), len);
    http_answer_bytes(f->x, status_of(route, reply), "application/json", copy, len);
}

static void send(struct forward *f);

static void on_again(struct ev_loop *ev, ev_timer *timer, int events)
{
    (void)ev;
    (void)events;
    send(timer->data);
}

/* Nothing was done: a service may be between two instances. */
static bool try_again(struct forward *f)
{
    if (faas_now_ns() >= f->nobody_ns || f->gw->is_stopped)
        return false;
    ev_timer_set(&f->again, (double)f->again_ms / 1000.0, 0.0);
    ev_timer_start(faas_loop_ev(f->gw->rt->loop), &f->again);
    f->again_ms = f->again_ms * 2 < AGAIN_MAX_MS ? f->again_ms * 2 : AGAIN_MAX_MS;
    return true;
}

/* Of a service whose one instance is not well another may be, and is asked the next time. */
static bool is_worth_another(const struct forward *f, const struct faas_rpc_reply *reply)
{
    return reply->code == FAAS_UNAVAILABLE &&
           (reply->msg == NULL || f->x->match.route->what == GW_HEALTH);
}

/* What was written says for which request, so another instance finds out whether it was carried out,
 * and else does it (docs/PROTOCOL.md section 2). */
static bool ask_again(struct forward *f)
{
    f->is_again = f->is_again || f->is_noting;
    f->nobody_ns = f->ctx.deadline_ns;
    return f->is_again && try_again(f);
}

/* Of these it is not certain that nothing was, or will be, carried out by the one that is gone. */
static bool leaves_doubt(const struct forward *f, faas_code code)
{
    return f->is_again && (code == FAAS_UNAVAILABLE || code == FAAS_BUSY || code == FAAS_INTERNAL ||
                           code == FAAS_TIMEOUT || code == FAAS_UNPROCESSABLE);
}

/* The instance that was sent the request is gone. */
static void answer_gone(struct forward *f)
{
    char component[COMPONENT_TEXT];
    faas_err err = {0};

    component_of(f->x->match.route->subject, component);
    (void)faas_fail(&err, FAAS_TIMEOUT,
                    "the %s instance that had the request is gone; a change may have been made: "
                    "look before trying again",
                    component);
    problem_from_err(f->x, &err, component);
}

static void give_up(struct forward *f)
{
    TAILQ_REMOVE(&f->gw->forwards, f, link);
    answer_gone(f);
    forward_free(f);
}

/* A record that was not found may be on its way. */
static bool is_young(const struct forward *f, const struct faas_rpc_reply *reply)
{
    const struct gw_match *match = &f->x->match;
    uint8_t id[16];
    int64_t came_ms = 0, age_ms;

    if (reply->code != FAAS_NOT_FOUND ||
        (match->route->what != GW_RECORD && match->route->what != GW_LOG) ||
        !faas_uuid_is(match->params[0].value))
        return false;
    faas_uuid_to_bytes(match->params[0].value, id);
    for (int i = 0; i < 6; i++)
        came_ms = came_ms << 8 | id[i];
    age_ms = faas_wall_ms() - came_ms;
    return age_ms < FORWARD_YOUNG_MS && age_ms > -FORWARD_YOUNG_MS;
}

static void on_reply(void *arg, const struct faas_rpc_reply *reply)
{
    struct forward *f = arg;
    bool is_gone = f->is_direct && reply->code == FAAS_LOST;

    if (f->x == NULL) {
        forward_free(f);
        return;
    }
    if ((is_worth_another(f, reply) || is_young(f, reply) || (is_gone && !reply->may_be_done)) &&
        try_again(f))
        return;
    if ((is_gone || (f->is_again && reply->code == FAAS_UNAVAILABLE)) && ask_again(f))
        return;
    TAILQ_REMOVE(&f->gw->forwards, f, link);
    if (reply->code == FAAS_OK)
        answer_success(f, reply);
    else if (is_gone || leaves_doubt(f, reply->code))
        answer_gone(f);
    else
        forward_answer_failure(f->x, reply);
    forward_free(f);
}

/* ---- sending ---- */

/* What auth is told of the caller, besides what every service is; and whom a change is for. */
struct caller_headers {
    char token_end[24], generation[24], functions[24];
    size_t count;
    struct faas_header list[9]; /* ended by zeros */
};

static void add_header(struct caller_headers *headers, const char *name, const char *value)
{
    headers->list[headers->count++] = (struct faas_header){name, value};
}

static void fill_headers(struct caller_headers *headers, const http_exchange *x)
{
    (void)snprintf(headers->token_end, sizeof headers->token_end, "%lld",
                   (long long)x->caller.expires_at);
    (void)snprintf(headers->generation, sizeof headers->generation, "%lld",
                   (long long)x->caller.generation);
    if (x->client[0] != '\0')
        add_header(headers, FAAS_H_CLIENT, x->client);
    if (x->caller.user[0] != '\0') {
        add_header(headers, FAAS_H_USERNAME, x->caller.username);
        add_header(headers, FAAS_H_TOKEN, x->caller.jti);
        add_header(headers, FAAS_H_TOKEN_END, headers->token_end);
        add_header(headers, FAAS_H_GENERATION, headers->generation);
    }
}

/* The registry counts, the gateway knows how many the caller may have. */
static void fill_quota(struct caller_headers *headers, const http_exchange *x)
{
    int64_t own = x->standing.quotas[FAAS_QUOTA_FUNCTIONS];

    (void)snprintf(headers->functions, sizeof headers->functions, "%lld", (long long)own);
    if (x->other == NULL && x->caller.user[0] != '\0' && own != FAAS_QUOTA_DEFAULT)
        add_header(headers, FAAS_H_FUNCTIONS, headers->functions);
}

/* Any of the usable instances, each as likely as another; NULL: none. */
static const struct faas_member *choose(const struct forward *f, const char *service)
{
    int64_t level = f->is_again ? FAAS_LEVEL_AGAIN : 0;
    const struct faas_member *member, *chosen = NULL;
    uint32_t count = 0;

    for (size_t i = 0; (member = faas_members_at(f->gw->rt->members, service, i)) != NULL; i++) {
        if (faas_member_is_usable(member) && member->level >= level &&
            randombytes_uniform(++count) == 0)
            chosen = member;
    }
    return chosen;
}

/* Services whose changes are rows with is_once. */
static bool knows_again(const char *service)
{
    return strcmp(service, "auth") == 0 || strcmp(service, "registry") == 0;
}

/* Of the instance that has the request. */
static bool is_instance_gone(void *arg)
{
    const struct forward *f = arg;
    char component[COMPONENT_TEXT];
    const struct faas_member *member;

    component_of(f->x != NULL ? f->x->match.route->subject : "", component);
    member = faas_members_find(f->gw->rt->members, component, f->id);
    return member != NULL && (member->is_dead || strcmp(member->epoch, f->epoch) != 0);
}

static void address(struct forward *f, const struct faas_member *member,
                    struct faas_rpc_request *req, struct caller_headers *headers)
{
    (void)snprintf(f->id, sizeof f->id, "%s", member->id);
    (void)snprintf(f->epoch, sizeof f->epoch, "%s", member->epoch);
    f->is_noting = member->level >= FAAS_LEVEL_AGAIN;
    req->retry = FAAS_RPC_SAME;
    req->is_gone = f->is_noting ? is_instance_gone : NULL;
    add_header(headers, FAAS_H_EPOCH, f->epoch);
    if (f->is_again)
        add_header(headers, FAAS_H_AGAIN, "1");
}

/* A change goes to one instance, which knows it again when it comes again.  One that does not
 * listen there (an older release) gets the next try through the queue group. */
static void send_directly(struct forward *f, struct faas_rpc_request *req,
                          struct caller_headers *headers)
{
    const char *op = strrchr(req->subject, '.') + 1;
    char component[COMPONENT_TEXT], subject[FAAS_SUBJECT_MAX];
    const struct faas_member *member = NULL;

    component_of(req->subject, component);
    if (knows_again(component) && (f->is_again || f->tries % 2 == 1))
        member = choose(f, component);
    f->is_direct = member != NULL && snprintf(subject, sizeof subject, FAAS_SUBJ_DIRECTLY,
                                              component, member->id, op) < (int)sizeof subject;
    if (f->is_direct) {
        req->subject = subject;
        address(f, member, req, headers);
    }
    if (f->is_direct || !f->is_again)
        faas_rpc_call(f->gw->rt->rpc, req, on_reply, f);
    else if (!try_again(f)) /* nobody is there yet */
        give_up(f);
}

static void send(struct forward *f)
{
    const struct gw_route *route = f->x->match.route;
    bool is_read = strcmp(route->method, "GET") == 0 || route->what == GW_SYS_SCALE;
    struct caller_headers headers = {.count = 0};
    struct faas_rpc_request req = {
        .subject = route->subject,
        .headers = headers.list,
        .ctx = &f->ctx,
        .data = f->body != NULL ? (const void *)f->body : f->x->body,
        .len = f->len,
        .retry = is_read ? FAAS_RPC_SAFE : FAAS_RPC_ONCE,
        .attempt_ms = READ_AGAIN_MS,
    };

    f->tries++;
    if (strncmp(route->subject, AUTH, strlen(AUTH)) == 0)
        fill_headers(&headers, f->x);
    else
        fill_quota(&headers, f->x);
    if (is_read)
        faas_rpc_call(f->gw->rt->rpc, &req, on_reply, f);
    else
        send_directly(f, &req, &headers);
}

static void start(http_exchange *x)
{
    struct forward *f = x->state;

    if (f->gw->is_stopped) {
        const struct problem stopping = {.code = FAAS_UNAVAILABLE,
                                         .detail = "the gateway is shutting down"};

        problem_answer(x, &stopping);
        forward_free(f);
        return;
    }
    TAILQ_INSERT_TAIL(&f->gw->forwards, f, link);
    f->nobody_ns = faas_deadline_in_ms(NOBODY_MS);
    if (f->nobody_ns > f->ctx.deadline_ns)
        f->nobody_ns = f->ctx.deadline_ns;
    send(f);
}

void forward_fill_ctx(struct faas_ctx *ctx, const http_exchange *x)
{
    memcpy(ctx->id, x->id, sizeof ctx->id);
    memcpy(ctx->user, x->other != NULL ? x->other->user : x->caller.user, sizeof ctx->user);
    memcpy(ctx->tenant, x->other != NULL ? x->other->tenant : x->caller.tenant, sizeof ctx->tenant);
    if (x->fields[HTTP_TRACE] != NULL)
        memcpy(ctx->traceparent, x->fields[HTTP_TRACE], sizeof ctx->traceparent);
    ctx->deadline_ns = x->began_ns + (uint64_t)x->match.route->time_ms * FAAS_MS_NS;
}

static faas_code make(struct gateway *gw, http_exchange *x, struct forward *f, faas_err *err)
{
    const struct gw_input input = {
        .match = &x->match, .query = x->query, .body = x->body, .body_len = x->body_len};
    char component[COMPONENT_TEXT];

    f->gw = gw;
    f->x = x;
    f->again_ms = AGAIN_MIN_MS;
    ev_init(&f->again, on_again);
    f->again.data = f;
    forward_fill_ctx(&f->ctx, x);
    if (x->match.route->what == GW_HEALTH) {
        component_of(x->match.route->subject, component);
        return status_check(&gw->status, component, err);
    }
    return gw_request_json(&input, &f->body, &f->len, err);
}

void forward_begin(struct gateway *gw, http_exchange *x)
{
    struct forward *f = calloc(1, sizeof *f);
    faas_err err = {0};

    if (f == NULL) {
        (void)faas_fail_sys(&err, errno, "allocate a request");
        problem_from_err(x, &err, NULL);
        return;
    }
    if (make(gw, x, f, &err) != FAAS_OK) {
        forward_free(f);
        problem_from_err(x, &err, NULL);
        return;
    }
    x->state = f;
    if (http_defer(x, start))
        return;
    forward_free(f);
    (void)faas_fail(&err, FAAS_UNAVAILABLE, "the gateway is shutting down");
    problem_from_err(x, &err, NULL);
}

void forward_stop(struct gateway *gw)
{
    struct forward *f;
    faas_err err = {0};

    (void)faas_fail(&err, FAAS_UNAVAILABLE, "the gateway is shutting down");
    while ((f = TAILQ_FIRST(&gw->forwards)) != NULL) {
        bool is_calling = !ev_is_active(&f->again);

        TAILQ_REMOVE(&gw->forwards, f, link);
        ev_timer_stop(faas_loop_ev(gw->rt->loop), &f->again);
        problem_from_err(f->x, &err, NULL);
        f->x = NULL;
        if (!is_calling)
            forward_free(f);
    }
}
