#include "gateway/scrape.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/queue.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metric.h"
#include "contract.h"
#include "gateway/exposition.h"
#include "gateway/problem.h"
#include "net/members.h"

#define PATH        "/metrics"
#define PAGE_TYPE   "text/plain; version=0.0.4; charset=utf-8"
#define FRESH_NS    UINT64_C(1000000000)
#define CONNECTIONS 32
#define HEAD_KB     8
#define IDLE_S      30
#define READ_MS     5000
#define ENDPOINTS   64 /* of one instance */

static const char *const services[] = {"gateway", "auth", "registry", "publisher", "spawner"};

struct waiter {
    TAILQ_ENTRY(waiter) link;
    http_exchange *x;
};
struct ask { /* one instance of a gathering */
    struct scrape *scrape;
    const char *service;
    struct faas_member member; /* as it was then */
    char *page, *endpoints;    /* NULL: it did not say */
};
struct scrape {
    const struct faas_runtime *rt;
    http_server *http;
    TAILQ_HEAD(, waiter) waiters;
    struct ask *asks; /* of the gathering under way; NULL: none */
    size_t count, pending;
    char *page; /* the newest; NULL: none */
    size_t len;
    uint64_t made_ns;
    bool is_stopped;
};

/* ---- answers ---- */

static void refuse(http_exchange *x, faas_code code, const char *why)
{
    const struct problem problem = {.code = code, .detail = why};

    problem_answer(x, &problem);
}

static void answer(struct scrape *scrape, http_exchange *x)
{
    char *copy = scrape->page != NULL ? malloc(scrape->len + 1) : NULL;

    if (copy == NULL) {
        refuse(x, FAAS_INTERNAL, "out of memory");
        return;
    }
    memcpy(copy, scrape->page, scrape->len);
    http_answer_bytes(x, 200, PAGE_TYPE, copy, scrape->len);
}

static void answer_all(struct scrape *scrape)
{
    struct waiter *waiter;

    while ((waiter = TAILQ_FIRST(&scrape->waiters)) != NULL) {
        TAILQ_REMOVE(&scrape->waiters, waiter, link);
        if (scrape->is_stopped)
            refuse(waiter->x, FAAS_UNAVAILABLE, "the gateway is shutting down");
        else
            answer(scrape, waiter->x);
        free(waiter);
    }
}

/* ---- the page ---- */

static void write_gauge(FILE *out, const char *name, const char *help, double value)
{
    (void)fprintf(out, "# HELP %s %s\n# TYPE %s gauge\n%s %.15g\n", name, help, name, name, value);
}

/* What heartbeats say. */
static void write_member(FILE *out, const struct ask *ask)
{
    const struct faas_member *member = &ask->member;

    write_gauge(out, "faas_instance_up", "1: it beats, and says that it can work",
                faas_member_is_usable(member));
    write_gauge(out, "faas_instance_answered", "1: its own figures are on this page",
                ask->page != NULL);
    if (strcmp(ask->service, "spawner") != 0)
        return;
    write_gauge(out, "faas_spawner_places", "calls that it can run at once", (double)member->slots);
    write_gauge(out, "faas_spawner_places_free", "of them: free ones", (double)member->free);
    write_gauge(out, "faas_spawner_calls_running", "calls that it has now",
                (double)member->running);
}

static void add_member(struct exposition *to, const struct ask *ask)
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);

    if (out == NULL)
        return;
    write_member(out, ask);
    if (fclose(out) == 0)
        exposition_add(to, ask->service, ask->member.id, text);
    free(text);
}

static void free_asks(struct scrape *scrape)
{
    for (size_t i = 0; i < scrape->count; i++) {
        free(scrape->asks[i].page);
        free(scrape->asks[i].endpoints);
    }
    free(scrape->asks);
    scrape->asks = NULL;
    scrape->count = 0;
}

static faas_code make_page(struct scrape *scrape, faas_err *err)
{
    struct exposition *to = NULL;
    char *page;
    size_t len;

    FAAS_TRY(exposition_new(&to, err));
    for (size_t i = 0; i < scrape->count; i++) {
        const struct ask *ask = &scrape->asks[i];

        add_member(to, ask);
        if (ask->page != NULL)
            exposition_add(to, ask->service, ask->member.id, ask->page);
        if (ask->endpoints != NULL)
            exposition_add(to, ask->service, ask->member.id, ask->endpoints);
    }
    if (exposition_left_out(to) > 0)
        FAAS_LOG(WARN, "figures that are none, or too many, were left out",
                 FAAS_LINT("lines", (int64_t)exposition_left_out(to)));
    page = exposition_text(to, &len);
    exposition_free(to);
    if (page == NULL)
        return faas_fail_sys(err, ENOMEM, "a page of figures");
    free(scrape->page);
    scrape->page = page;
    scrape->len = len;
    scrape->made_ns = faas_now_ns();
    return FAAS_OK;
}

static void complete(struct scrape *scrape)
{
    faas_err err = {0};

    if (!scrape->is_stopped && make_page(scrape, &err) != FAAS_OK) {
        FAAS_LOG(ERROR, "no page of figures", FAAS_LSTR("detail", err.detail));
        free(FAAS_STEAL(scrape->page)); /* an old one would look like the present */
    }
    free_asks(scrape);
    answer_all(scrape);
}

/* ---- gathering ---- */

static bool is_word(const char *text)
{
    return text != NULL && text[0] != '\0' && strlen(text) < 64 &&
           text[strspn(
               text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.")] == '\0';
}

/* A change has two endpoints of one name, that of all instances and that of this one.  0: none of
 * the name, or it was said already. */
static size_t sum_named(const json_t *list, size_t first, const char *key, double *out_sum)
{
    const char *name = json_string_value(json_object_get(json_array_get(list, first), "name"));
    const json_t *end;
    size_t i, count = 0;

    *out_sum = 0;
    if (!is_word(name))
        return 0;
    json_array_foreach (list, i, end) {
        const char *other = json_string_value(json_object_get(end, "name"));

        if (other == NULL || strcmp(other, name) != 0)
            continue;
        if (i < first)
            return 0;
        *out_sum += json_number_value(json_object_get(end, key));
        count++;
    }
    return count;
}

static void write_endpoints(FILE *out, const json_t *list, const char *family, const char *help,
                            const char *key)
{
    double sum, scale = strcmp(key, "processing_time") == 0 ? 1e9 : 1;

    (void)fprintf(out, "# HELP %s %s\n# TYPE %s counter\n", family, help, family);
    for (size_t i = 0; i < json_array_size(list) && i < ENDPOINTS; i++)
        if (sum_named(list, i, key, &sum) > 0)
            (void)fprintf(out, "%s{endpoint=\"%s\"} %.15g\n", family,
                          json_string_value(json_object_get(json_array_get(list, i), "name")),
                          sum / scale);
}

/* Requests that came over the bus, as ADR-32 counts them. */
static char *endpoints_page(const json_t *list)
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);

    if (out == NULL)
        return NULL;
    write_endpoints(out, list, "faas_endpoint_requests_total", "requests that came over the bus",
                    "num_requests");
    write_endpoints(out, list, "faas_endpoint_errors_total", "of them: answered with an error",
                    "num_errors");
    write_endpoints(out, list, "faas_endpoint_processing_seconds_total", "time spent on them",
                    "processing_time");
    return fclose(out) == 0 ? text : NULL;
}

static void read_stats(struct ask *ask, const faas_msg *msg)
{
    FAAS_AUTO(json_t) *doc = NULL;
    const char *page;
    faas_err err = {0};

    if (faas_json_parse(faas_msg_data(msg), faas_msg_len(msg), false, &doc, &err) != FAAS_OK)
        return;
    page = json_string_value(json_object_get(doc, "metrics"));
    if (page == NULL)
        return;
    ask->page = strdup(page);
    ask->endpoints = endpoints_page(json_object_get(doc, "endpoints"));
}

static void on_stats(void *arg, const struct faas_rpc_reply *reply)
{
    struct ask *ask = arg;
    struct scrape *scrape = ask->scrape;

    if (reply->code == FAAS_OK)
        read_stats(ask, reply->msg);
    if (--scrape->pending == 0)
        complete(scrape);
}

static void send_ask(struct ask *ask)
{
    const struct faas_ctx ctx = {.deadline_ns = faas_deadline_in_ms(SCRAPE_MS)};
    struct faas_rpc_request req = {.ctx = &ctx, .retry = FAAS_RPC_SAFE, .lane = FAAS_DATA};
    char pattern[64], subject[FAAS_SUBJECT_MAX];

    (void)snprintf(pattern, sizeof pattern, "$SRV.STATS.%s.%%s", ask->service);
    if (ask->member.is_dead || !faas_subject(subject, pattern, ask->member.id))
        return;
    req.subject = subject;
    ask->scrape->pending++;
    faas_rpc_call(ask->scrape->rt->rpc, &req, on_stats, ask);
}

static void list_members(struct scrape *scrape)
{
    const struct faas_member *member;

    for (size_t s = 0; s < FAAS_ARRAY_LEN(services); s++)
        for (size_t i = 0; (member = faas_members_at(scrape->rt->members, services[s], i)) != NULL;
             i++) {
            if (scrape->count == SCRAPE_INSTANCES) {
                FAAS_LOG(WARN, "too many instances for a page of figures",
                         FAAS_LINT("max", SCRAPE_INSTANCES));
                return;
            }
            scrape->asks[scrape->count++] =
                (struct ask){.scrape = scrape, .service = services[s], .member = *member};
        }
}

/* This gateway hears its own beats, and answers itself like the others. */
static bool gather(struct scrape *scrape)
{
    scrape->asks = calloc(SCRAPE_INSTANCES, sizeof *scrape->asks);
    if (scrape->asks == NULL)
        return false;
    list_members(scrape);
    scrape->pending = 1; /* ours, so that no answer completes it before all were asked */
    for (size_t i = 0; i < scrape->count; i++)
        send_ask(&scrape->asks[i]);
    if (--scrape->pending == 0)
        complete(scrape);
    return true;
}

static void begin(http_exchange *x)
{
    struct scrape *scrape = http_arg(x);
    struct waiter *waiter;

    if (scrape->is_stopped) {
        refuse(x, FAAS_UNAVAILABLE, "the gateway is shutting down");
        return;
    }
    if (scrape->page != NULL && faas_now_ns() - scrape->made_ns < FRESH_NS) {
        answer(scrape, x);
        return;
    }
    waiter = calloc(1, sizeof *waiter);
    if (waiter == NULL) {
        refuse(x, FAAS_INTERNAL, "out of memory");
        return;
    }
    waiter->x = x;
    TAILQ_INSERT_TAIL(&scrape->waiters, waiter, link);
    if (scrape->asks != NULL || gather(scrape))
        return;
    free(FAAS_STEAL(scrape->page));
    answer_all(scrape);
}

/* ---- the listener ---- */

static void on_head(void *arg, http_exchange *x)
{
    (void)arg;
    x->body_max = 0;
    if (strcmp(x->path, PATH) != 0) {
        refuse(x, FAAS_NOT_FOUND, "here is " PATH " and nothing else");
    } else if (strcmp(x->method, "GET") != 0 && strcmp(x->method, "HEAD") != 0) {
        http_header(x, "Allow", "GET, HEAD");
        refuse(x, FAAS_METHOD, PATH " takes GET, HEAD");
    } else if (x->guard.declared > 0) {
        refuse(x, FAAS_TOO_LARGE, "this request has no body");
    }
}

static void on_too_large(void *arg, http_exchange *x)
{
    (void)arg;
    refuse(x, FAAS_TOO_LARGE, "this request has no body");
}

static void on_long_head(void *arg, http_exchange *x)
{
    const struct problem problem = {
        .code = FAAS_TOO_LARGE, .status = 431, .detail = "the request's head is too large"};

    (void)arg;
    problem_answer(x, &problem);
}

static void on_malformed(void *arg, http_exchange *x, const faas_err *err)
{
    (void)arg;
    problem_from_err(x, err, NULL);
}

static void on_ready(void *arg, http_exchange *x)
{
    (void)arg;
    if (!http_defer(x, begin))
        refuse(x, FAAS_UNAVAILABLE, "the gateway is shutting down");
}

static void on_done(void *arg, const http_exchange *x)
{
    (void)arg;
    FAAS_LOG(DEBUG, "scrape", FAAS_LSTR("method", x->method), FAAS_LSTR("client", x->client),
             FAAS_LINT("status", http_status(x)),
             FAAS_LINT("total_us", (int64_t)((faas_now_ns() - x->began_ns) / 1000)),
             FAAS_LINT("bytes_out", (int64_t)http_answer_len(x)));
}

faas_code scrape_open(const struct faas_runtime *rt, const char *listen, struct scrape **out_scrape,
                      faas_err *err)
{
    struct scrape *scrape = calloc(1, sizeof *scrape);
    const struct http_conf conf = {
        .listen = listen,
        .setting = "GATEWAY_METRICS_LISTEN",
        .listen_tls = "",
        .connections = CONNECTIONS,
        .threads = 1,
        .head_kb = HEAD_KB,
        .idle_s = IDLE_S,
        .read_ms = READ_MS,
        .loop = rt->loop,
        .on_head = on_head,
        .on_too_large = on_too_large,
        .on_long_head = on_long_head,
        .on_malformed = on_malformed,
        .on_ready = on_ready,
        .on_done = on_done,
        .arg = scrape,
    };

    if (scrape == NULL)
        return faas_fail_sys(err, errno, "allocate the figures' listener");
    scrape->rt = rt;
    TAILQ_INIT(&scrape->waiters);
    *out_scrape = scrape; /* the caller's, also when it is not listening */
    return http_open(&conf, &scrape->http, err);
}

void scrape_start(struct scrape *scrape)
{
    if (scrape != NULL && scrape->http != NULL)
        http_start(scrape->http);
}

void scrape_stop(struct scrape *scrape)
{
    if (scrape == NULL)
        return;
    scrape->is_stopped = true;
    answer_all(scrape);
    http_close_begin(scrape->http);
}

void scrape_close(struct scrape *scrape)
{
    if (scrape != NULL)
        http_close(FAAS_STEAL(scrape->http));
}

void scrape_free(struct scrape *scrape)
{
    if (scrape == NULL)
        return;
    free_asks(scrape);
    free(scrape->page);
    free(scrape);
}
