#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "contract.h"
#include "gateway/about.h"
#include "gateway/admit.h"
#include "gateway/behalf.h"
#include "gateway/forward.h"
#include "gateway/gateway.h"
#include "gateway/http_tls.h"
#include "gateway/instances.h"
#include "gateway/invoke.h"
#include "gateway/listing.h"
#include "gateway/metrics.h"
#include "gateway/openapi.h"
#include "gateway/params.h"
#include "gateway/permit.h"
#include "gateway/problem.h"
#include "gateway/queued.h"
#include "gateway/quota.h"
#include "gateway/refuse.h"
#include "gateway/scrape.h"

#define LISTEN_DEFAULT "127.0.0.1:8080"
#define DRAIN_LOOK_S   0.02
#define DRAIN_KEPT_MS  500 /* a client that calls more often hears of the end with an answer */
#define STORE_WAIT_MS  60000
#define SHARE_S        0.25  /* between looks at how many gateways there are */
#define RATE_ENTRIES   65536 /* callers remembered, of each kind: 1 MiB */

static struct gateway gateway;
#define conf gateway.conf

static const struct faas_option options[] = {
    FAAS_OPT_STR(conf.listen, "LISTEN_ADDR", "",
                 "ADDRESS:PORT to serve HTTP on; default " LISTEN_DEFAULT),
    FAAS_OPT_STR(conf.server_address, "SERVER_ADDRESS", "",
                 "the same, when LISTEN_ADDR is not set"),
    FAAS_OPT_STR(conf.listen_tls, "LISTEN_TLS", "",
                 "ADDRESS:PORT to serve HTTPS on besides; needs both files below"),
    FAAS_OPT_STR(conf.cert_file, "TLS_CERT_FILE", "",
                 "PEM certificate chain; read again at SIGHUP, connections stay"),
    FAAS_OPT_STR(conf.key_file, "TLS_KEY_FILE", "", "its private key, PEM, mode 0600"),
    FAAS_OPT_INT(conf.connections, "GATEWAY_CONNECTIONS", "2048", 2, 100000,
                 "connections served at once by each listener; more wait to be accepted"),
    FAAS_OPT_INT(conf.per_address, "GATEWAY_CONNECTIONS_PER_ADDRESS", "1024", 0, 100000,
                 "connections of one client address at each listener; 0: no limit (behind a "
                 "proxy)"),
    FAAS_OPT_INT(conf.threads, "GATEWAY_THREADS", "2", 2, 64, "threads that speak HTTP"),
    FAAS_OPT_INT(
        conf.head_kb, "GATEWAY_HEAD_KB", "8", 4, 1024,
        "memory for a request's line and header fields, in KiB per connection; 1 KiB of it is "
        "kept for the answer's, and more of it costs time in every request"),
    FAAS_OPT_INT(conf.idle_s, "GATEWAY_IDLE_S", "10", 1, 3600,
                 "seconds after which a silent connection is closed"),
    FAAS_OPT_INT(
        conf.stall_s, "GATEWAY_STALL_S", "30", 1, 3600,
        "seconds a client may leave a streamed output unread before it is cut and its call "
        "cancelled"),
    FAAS_OPT_INT(conf.read_ms, "GATEWAY_READ_MS", "30000", 100, 3600000,
                 "longest time to send a request's head, and again its body, in milliseconds"),
    FAAS_OPT_INT(conf.token_cache, "GATEWAY_TOKEN_CACHE", "8192", 1, 1000000,
                 "verified tokens remembered, and as many API keys"),
    FAAS_OPT_INT(conf.key_fresh_s, "GATEWAY_KEY_FRESH_S", "300", 1, 86400,
                 "seconds until auth is asked again, behind the requests, for an API key in use"),
    FAAS_OPT_INT(conf.rate_user, "RATE_USER", "500", 0, 1000000,
                 "requests a second of one user, at all gateways together; 0: no limit"),
    FAAS_OPT_INT(conf.rate_calls, "RATE_CALLS_PER_MINUTE", "0", 0, 1000000000,
                 "calls a minute of one user, at all gateways together, unless an administrator "
                 "gives them a number; 0: no limit"),
    FAAS_OPT_INT(conf.rate_address, "RATE_ADDRESS", "0", 0, 1000000,
                 "requests a second of one client address (IPv6: of its /64), at all gateways "
                 "together; 0: no limit (behind a proxy)"),
    FAAS_OPT_INT(conf.rate_bad_keys, "RATE_BAD_KEYS", "10", 0, 1000000,
                 "wrong API keys a second from one client address (IPv6: of its /64), at all "
                 "gateways together; 0: no limit (behind a proxy)"),
    FAAS_OPT_INT(conf.rate_burst_s, "RATE_BURST_S", "2", 1, 60,
                 "so many seconds' worth of requests may come at once"),
    FAAS_OPT_STR(conf.spill_dir, "GATEWAY_SPILL_DIR", "/tmp",
                 "folder for arguments, results and lists over 1 MiB while they arrive"),
    FAAS_OPT_INT(conf.body_mb, "GATEWAY_BODY_MB", "128", 1, 4096,
                 "most MiB of a call's argument, where the function reads standard input; queued "
                 "calls and those with an Idempotency-Key: 1"),
    FAAS_OPT_INT(
        conf.bodies_mb, "GATEWAY_BODIES_MB", "2048", 1, 1048576,
        "most MiB of arguments over 1 MiB at once, in GATEWAY_SPILL_DIR; a user has half of it at "
        "most"),
    FAAS_OPT_STR(conf.metrics_listen, "GATEWAY_METRICS_LISTEN", "",
                 "ADDRESS:PORT to serve GET /metrics on, for the operator's Prometheus alone: it "
                 "names users' ids and functions, and asks for no token; empty: none"),
    FAAS_OPT_END,
};

/* ---- one request ---- */

/* No other service is asked. */
static void answer_ourselves(struct gateway *gw, http_exchange *x)
{
    switch (x->match.route->what) {
    case GW_VALIDATE:
        about_caller(x);
        break;
    case GW_SYS_INFO:
    case GW_SYS_SPACES:
        about_platform(x);
        break;
    case GW_INSTANCES:
        instances_begin(x);
        break;
    case GW_OPENAPI:
        openapi_answer(x);
        break;
    default:
        status_answer(&gw->status, x);
        break;
    }
}

static void carry_out(struct gateway *gw, http_exchange *x)
{
    switch (x->match.route->what) {
    case GW_FORWARD:
    case GW_SET:
    case GW_RECORD:
        if (queued_is_wait(x))
            queued_state_begin(gw, x);
        else
            forward_begin(gw, x);
        break;
    case GW_LOG:
    case GW_HEALTH:
    case GW_SYS_DEPLOY:
    case GW_SYS_REMOVE:
    case GW_SYS_STATUS:
    case GW_SYS_SCALE:
    case GW_SYS_SECRETS:
    case GW_SYS_SECRET:
    case GW_SYS_UNSECRET:
    case GW_SYS_LOGS:
        forward_begin(gw, x);
        break;
    case GW_LIST:
    case GW_SYS_LIST:
        listing_begin(gw, x);
        break;
    case GW_CALL:
    case GW_PUBLISH:
        if (x->fields[HTTP_KEY] != NULL)
            queued_begin(gw, x);
        else
            invoke_begin(gw, x);
        break;
    case GW_ASYNC:
        queued_begin(gw, x);
        break;
    case GW_RESULT:
        result_begin(gw, x);
        break;
    case GW_CANCEL:
        cancel_begin(gw, x);
        break;
    case GW_QUOTA:
        quota_begin(gw, x);
        break;
    default:
        answer_ourselves(gw, x);
        break;
    }
}

/* The one way to all that is done, so that no key gets past what it is for. */
static void dispatch(http_exchange *x)
{
    struct gateway *gw = http_arg(x);
    faas_err err = {0};

    if (permit_check(x, &err) != FAAS_OK || admit_call(gw, x, &err) != FAAS_OK)
        problem_from_err(x, &err, NULL);
    else if (x->match.route->access == GW_OTHER)
        behalf_begin(gw, x);
    else
        carry_out(gw, x);
}

/* False: x was answered. */
static bool ask_access(struct gateway *gw, http_exchange *x)
{
    struct access_verdict verdict;
    faas_err err = {0};
    faas_code rc = access_check(gw->access, x->fields[HTTP_AUTHORIZATION], &verdict, &err);

    x->is_unsettled = rc != FAAS_OK && verdict.is_unsettled;
    if (x->is_unsettled) /* decided once the body is here */
        return admit_unknown(gw, x);
    return admit_caller(gw, x, rc, &verdict, &err);
}

static void on_settled(void *arg, faas_code code, struct access_verdict *verdict,
                       const faas_err *err)
{
    http_exchange *x = arg;

    if (admit_caller(http_arg(x), x, code, verdict, err))
        dispatch(x);
}

static void settle(http_exchange *x)
{
    struct gateway *gw = http_arg(x);
    struct access_question question = {.header = x->fields[HTTP_AUTHORIZATION]};

    question.address_len = http_address(x, question.address);
    access_settle(gw->access, &question, on_settled, x);
}

/* A sound /healthz, asked by whoever watches us; the rest of the table makes exchanges. */
static const http_constant *constant(void *arg, const char *method, const char *target)
{
    const struct gateway *gw = arg;

    if (strcmp(target, GW_HEALTHZ_PATH) != 0 ||
        (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0))
        return NULL;
    return status_constant(&gw->status);
}

/* In place: what is read is no longer than what came.  What is no trace goes no further. */
static void read_trace(http_exchange *x)
{
    char *text = x->fields[HTTP_TRACE];

    if (text != NULL && !faas_trace_read(text, text))
        free(FAAS_STEAL(x->fields[HTTP_TRACE]));
    x->is_trace_read = true;
}

static void on_head(void *arg, http_exchange *x)
{
    struct gateway *gw = arg;
    faas_err err = {0};
    faas_code rc = gw_match_route(x->method, x->path, &x->match, &err);

    read_trace(x);
    if (!admit_address(gw, x))
        return;
    if (rc == FAAS_METHOD && strcmp(x->method, "OPTIONS") == 0) {
        http_header(x, "Allow", "%s, OPTIONS", x->match.allow);
        http_answer_bytes(x, 204, NULL, NULL, 0);
        return;
    }
    if (rc != FAAS_OK) {
        if (rc == FAAS_METHOD)
            http_header(x, "Allow", "%s", x->match.allow);
        problem_from_err(x, &err, NULL);
        return;
    }
    x->body_max = x->match.route->body_max;
    if (refuse_is_plain_call(x))
        x->body_max = (size_t)conf.body_mb << 20;
    if (x->match.route->access != GW_PUBLIC && !ask_access(gw, x))
        return;
    if (x->is_unsettled && x->body_max > FAAS_BODY_MAX)
        x->body_max = FAAS_BODY_MAX; /* no files of strangers */
    if ((uint64_t)x->guard.declared > x->body_max)
        refuse_too_large(NULL, x);
    else if (x->guard.declared > FAAS_BODY_MAX && permit_check(x, &err) != FAAS_OK)
        problem_from_err(x, &err, NULL); /* before it takes room */
}

static void on_ready(void *arg, http_exchange *x)
{
    (void)arg;
    if (!x->is_unsettled) {
        dispatch(x);
    } else if (!http_defer(x, settle)) {
        const struct problem stopping = {.code = FAAS_UNAVAILABLE,
                                         .detail = "the gateway is shutting down"};

        problem_answer(x, &stopping);
    }
}

static void on_begin(void *arg)
{
    (void)arg;
    metrics_begun();
}

/* Path only: a query may hold what a body holds. */
static void on_done(void *arg, const http_exchange *x)
{
    const char *trace = x->fields[HTTP_TRACE];
    char path[GW_PATH_LOG_MAX], trace_id[FAAS_TRACE_ID];

    admit_done(arg, x);
    metrics_note(x);
    faas_trace_id(trace != NULL && x->is_trace_read ? trace : "", trace_id);
    gw_path_for_log(x->path, path, sizeof path);
    FAAS_LOG(INFO, "request", FAAS_LSTR("method", x->method), FAAS_LSTR("path", path),
             FAAS_LINT("status", http_status(x)), FAAS_LSTR("code", x->code),
             FAAS_LSTR("request", x->id), FAAS_LSTR("trace", trace_id),
             FAAS_LSTR("user", x->caller.user), FAAS_LSTR("key", x->key != NULL ? x->key->id : ""),
             FAAS_LINT("total_us", (int64_t)((faas_now_ns() - x->began_ns) / 1000)),
             FAAS_LINT("place_us", x->place_us), FAAS_LINT("start_us", x->start_us),
             FAAS_LINT("run_us", x->run_us), FAAS_LINT("bytes_in", (int64_t)x->guard.declared),
             FAAS_LINT("bytes_out", (int64_t)http_answer_len(x)),
             FAAS_LINT("sent", http_is_sent(x)));
}

/* ---- the service ---- */

static void on_share(struct ev_loop *ev, ev_timer *timer, int events)
{
    struct gateway *gw = timer->data;
    size_t gateways = faas_members_usable(gw->rt->members, "gateway");

    (void)ev;
    (void)events;
    rate_set_share(gw->users, gateways);
    rate_set_share(gw->calls, gateways);
    rate_set_share(gw->addresses, gateways);
    rate_set_share(gw->bad_keys, gateways);
}

static void on_renew(struct ev_loop *ev, ev_signal *signal, int events)
{
    faas_err err = {0};

    (void)ev;
    (void)signal;
    (void)events;
    if (conf.listen_tls[0] == '\0')
        return;
    if (http_tls_load(conf.cert_file, conf.key_file, &err) == FAAS_OK)
        FAAS_LOG(INFO, "certificate read again");
    else
        FAAS_LOG(ERROR, "certificate not replaced", FAAS_LSTR("error", err.msg),
                 FAAS_LSTR("detail", err.detail));
}

static void start_on_loop(void *arg)
{
    struct gateway *gw = arg;

    gw->is_open = true;
    if (gw->is_stopped)
        return;
    status_start(&gw->status, gw->rt, gw->access);
    access_start(gw->access);
    http_start(gw->http);
    scrape_start(gw->scrape);
    ev_timer_init(&gw->share, on_share, SHARE_S, SHARE_S);
    gw->share.data = gw;
    ev_timer_start(faas_loop_ev(gw->rt->loop), &gw->share);
    ev_signal_init(&gw->renew, on_renew, SIGHUP);
    ev_signal_start(faas_loop_ev(gw->rt->loop), &gw->renew);
}

static void on_applied(void *arg)
{
    struct gateway *gw = arg;
    uint64_t seq;

    if (!gw->is_stopped && access_applied(gw->access, &seq))
        faas_members_applied(gw->rt->members, "auth", FAAS_BUCKET_REVOCATIONS, seq);
}

static faas_code open_access(struct gateway *gw, faas_err *err)
{
    struct apikeys_conf keys = {.entries = (size_t)conf.token_cache,
                                .fresh_ms = conf.key_fresh_s * 1000};

    FAAS_TRY(rate_new(conf.rate_bad_keys, conf.rate_burst_s, RATE_ENTRIES, &gw->bad_keys, err));
    keys.bad = gw->bad_keys;
    return access_open(gw->rt->rpc, &keys, &gw->access, err);
}

static faas_code start(void *state, const struct faas_runtime *rt, faas_err *err)
{
    struct gateway *gw = state;
    const char *given = conf.listen[0] != '\0' ? conf.listen : conf.server_address;
    const struct http_conf http = {
        .listen = given[0] != '\0' ? given : LISTEN_DEFAULT,
        .setting = "LISTEN_ADDR",
        .listen_tls = conf.listen_tls,
        .connections = conf.connections,
        .per_address = conf.per_address,
        .threads = conf.threads,
        .head_kb = conf.head_kb,
        .idle_s = conf.idle_s,
        .read_ms = conf.read_ms,
        .stall_s = conf.stall_s,
        .loop = rt->loop,
        .constant = constant,
        .on_begin = on_begin,
        .on_head = on_head,
        .on_too_large = refuse_too_large,
        .on_no_room = refuse_no_room,
        .body_dir = conf.spill_dir,
        .bodies_max = conf.bodies_mb << 20,
        .on_long_head = refuse_long_head,
        .on_malformed = refuse_malformed,
        .on_ready = on_ready,
        .on_done = on_done,
        .arg = gw,
    };

    gw->rt = rt;
    faas_gather_init(&gw->credits, gw->rt->bus);
    FAAS_TRY(status_init(&gw->status, err));
    FAAS_TRY(open_access(gw, err));
    FAAS_TRY(rate_new(conf.rate_user, conf.rate_burst_s, RATE_ENTRIES, &gw->users, err));
    FAAS_TRY(rate_new(0, 1, RATE_ENTRIES, &gw->calls, err));
    FAAS_TRY(rate_new(conf.rate_address, conf.rate_burst_s, RATE_ENTRIES, &gw->addresses, err));
    if (conf.listen_tls[0] != '\0')
        FAAS_TRY(http_tls_load(conf.cert_file, conf.key_file, err));
    FAAS_TRY(http_open(&http, &gw->http, err));
    if (conf.metrics_listen[0] != '\0')
        FAAS_TRY(scrape_open(rt, conf.metrics_listen, &gw->scrape, err));
    faas_loop_post(rt->loop, start_on_loop, gw);
    FAAS_LOG(INFO, "listening", FAAS_LSTR("address", http.listen));
    FAAS_TRY(faas_kv_open(rt->rpc, FAAS_BUCKET_REVOCATIONS, rt->replicas,
                          faas_deadline_in_ms(STORE_WAIT_MS), &gw->revocations, err));
    return access_follow(gw->access, gw->revocations, rt->members, on_applied, gw, err);
}

static bool is_ready(void *state)
{
    struct gateway *gw = state;

    return access_is_ready(gw->access);
}

static void fill(void *state, struct faas_beat *beat)
{
    struct gateway *gw = state;

    beat->running = gw->running;
    if (gw->is_open && access_applied(gw->access, &beat->applied[0].seq))
        beat->applied[0].bucket = FAAS_BUCKET_REVOCATIONS;
}

static void watch(void *state, const struct faas_member *member, enum faas_member_change change)
{
    invoke_on_member(state, member, change);
    queued_on_member(state, member, change);
}

/* What a client sends on a connection just as it is closed is lost; answered meanwhile, its client is
 * told that it closes. */
static bool is_door_needed(const struct gateway *gw)
{
    uint64_t now = faas_now_ns();

    return (http_early(gw->http) > 0 && now < gw->shut_ns) ||
           (http_open_connections(gw->http) > 0 && now < gw->kept_ns);
}

static void on_drain_look(struct ev_loop *ev, ev_timer *timer, int events)
{
    struct gateway *gw = timer->data;

    (void)events;
    if (is_door_needed(gw))
        return;
    http_shut(gw->http);
    if (http_active(gw->http) > 0)
        return;
    ev_timer_stop(ev, timer);
    faas_service_drained();
}

/* What takes our place may have to wait for our port, and so for the calls that run: while there is
 * nothing to do but to wait for them the door stays open, and what comes is served.  Whatever comes
 * last has half of the time. */
static void drain(void *state)
{
    struct gateway *gw = state;

    http_drain(gw->http);
    gw->shut_ns = faas_deadline_in_ms(gw->rt->drain_ms / 2);
    gw->kept_ns = faas_deadline_in_ms(DRAIN_KEPT_MS);
    ev_timer_init(&gw->drain, on_drain_look, 0.0, DRAIN_LOOK_S);
    gw->drain.data = gw;
    ev_timer_start(faas_loop_ev(gw->rt->loop), &gw->drain);
}

/* The loop has stopped.  What was handed to it before is answered, then nothing comes any more. */
static void stop(void *state)
{
    struct gateway *gw = state;

    if (gw->rt == NULL)
        return;
    gw->is_stopped = true;
    status_stop(&gw->status);
    ev_timer_stop(faas_loop_ev(gw->rt->loop), &gw->drain);
    ev_timer_stop(faas_loop_ev(gw->rt->loop), &gw->share);
    ev_signal_stop(faas_loop_ev(gw->rt->loop), &gw->renew);
    access_stop(gw->access);
    invoke_stop(gw);
    queued_stop(gw);
    queued_state_stop(gw);
    result_stop(gw);
    forward_stop(gw);
    behalf_stop(gw);
    quota_stop(gw);
    listing_stop(gw);
    faas_gather_flush(&gw->credits);
    http_close_begin(gw->http);
    scrape_stop(gw->scrape);
    faas_loop_stop(gw->rt->loop);
    faas_loop_run(gw->rt->loop);
    http_close(gw->http);
    scrape_close(gw->scrape);
    http_tls_done();
    status_done(&gw->status);
    access_unfollow(gw->access);
    faas_kv_close(gw->revocations);
    rate_free(gw->users);
    rate_free(gw->calls);
    rate_free(gw->addresses);
}

int main(int argc, char **argv)
{
    static const struct faas_service service = {
        .name = "gateway",
        .description = "HTTP in, bus out",
        .options = options,
        .state = &gateway,
        .threads_default = 1,
        .start = start,
        .is_ready = is_ready,
        .fill = fill,
        .watch = watch,
        .drain = drain,
        .stop = stop,
    };
    faas_err err = {0};
    int exit_code;

    if (metrics_add(&err) != FAAS_OK)
        return 1;
    TAILQ_INIT(&gateway.forwards);
    TAILQ_INIT(&gateway.invokes);
    TAILQ_INIT(&gateway.listings);
    TAILQ_INIT(&gateway.behalfs);
    TAILQ_INIT(&gateway.quotas);
    TAILQ_INIT(&gateway.queued);
    TAILQ_INIT(&gateway.questions);
    TAILQ_INIT(&gateway.results);
    exit_code = faas_service_main(&service, argc, argv);
    access_free(gateway.access); /* the bus's last replies have used it, and the next */
    scrape_free(gateway.scrape);
    metrics_done();
    rate_free(gateway.bad_keys);
    return exit_code;
}
