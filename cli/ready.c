#include "cli/ready.h"

#include <curl/curl.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "cli/file.h"
#include "cli/session.h"
#include "contract.h"
#include "net/kv.h"

#define POLL_MS   20
#define ASK_MS    2000
#define READY_KEY "ready.up"

static const char *const buckets[] = {FAAS_BUCKET_USERS, FAAS_BUCKET_FUNCTIONS,
                                      FAAS_BUCKET_REVOCATIONS, FAAS_BUCKET_SECRETS};

struct ready {
    struct ready_conf conf;
    ready_done *done;
    void *arg;
    struct ev_loop *ev;
    ev_async arrived, formed;
    pthread_t thread;
    atomic_bool must_stop;
    uint64_t deadline_ns;
    faas_code code; /* written by the thread before it wakes the loop */
    faas_err err;
    bool has_result; /* loop thread */
};

/* ---- buckets ---- */

static faas_code write_one(faas_kv *kv, uint64_t deadline_ns, faas_err *err)
{
    struct faas_kv_entry entry = {0};
    char op[33], value[64];
    uint64_t revision = 0;
    int len;
    faas_code code = faas_kv_get(kv, READY_KEY, deadline_ns, &entry, err);

    if (code != FAAS_OK && code != FAAS_NOT_FOUND)
        return code;
    if (code == FAAS_OK)
        revision = entry.revision;
    faas_kv_entry_done(&entry);
    faas_random_token(op);
    len = snprintf(value, sizeof value, "{\"v\":1,\"op\":\"%s\"}", op);
    FAAS_TRY(faas_kv_put(kv, READY_KEY, revision, value, (size_t)len, deadline_ns, &revision, err));
    return faas_kv_delete(kv, READY_KEY, revision, deadline_ns, NULL, err);
}

static faas_code write_all(const struct ready *ready, faas_rpc *rpc, faas_err *err)
{
    for (size_t i = 0; i < FAAS_ARRAY_LEN(buckets); i++) {
        faas_kv *kv = NULL;
        faas_code code = faas_kv_open(rpc, buckets[i], ready->conf.stream_replicas,
                                      ready->deadline_ns, &kv, err);

        if (code == FAAS_OK)
            code = write_one(kv, ready->deadline_ns, err);
        faas_kv_close(kv);
        if (code != FAAS_OK) {
            char why[FAAS_ERR_MSG_MAX]; /* the operator may see what else is only logged */

            snprintf(why, sizeof why, "%s", err->detail[0] != '\0' ? err->detail : err->msg);
            return faas_fail(err, code, "the store takes no write (bucket %s): %s", buckets[i],
                             why);
        }
    }
    return FAAS_OK;
}

/* One try with a connection of its own.  *out_is_lost: the connection itself ended. */
static faas_code try_store(struct ready *ready, bool *out_is_lost, faas_err *err)
{
    struct session session;
    faas_code code = session_open(&ready->conf.at, "up", &session, err);

    if (code == FAAS_OK)
        code = write_all(ready, session.rpc, err);
    *out_is_lost = !session_close(&session);
    return code;
}

/* A connection may end for good while its server is still starting: then with a new one. */
static faas_code check_store(struct ready *ready, faas_err *err)
{
    bool is_lost;
    faas_code code = try_store(ready, &is_lost, err);

    while (is_lost && !atomic_load(&ready->must_stop) && faas_left_ms(ready->deadline_ns) > 0) {
        poll(NULL, 0, POLL_MS);
        code = try_store(ready, &is_lost, err);
    }
    faas_bus_end();
    return code;
}

/* ---- asking over HTTP ---- */

struct page {
    long status; /* 0: no answer */
    char text[FAAS_ERR_MSG_MAX];
};

static size_t keep_text(char *data, size_t size, size_t count, void *arg)
{
    struct page *page = arg;
    size_t at = strlen(page->text), len = size * count;

    snprintf(page->text + at, sizeof page->text - at, "%.*s", (int)len, data);
    return len;
}

static void ask(CURL *curl, struct page *out_page)
{
    *out_page = (struct page){0};
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, out_page);
    if (curl_easy_perform(curl) == CURLE_OK)
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &out_page->status);
}

/* Until the page says 200, the deadline, or the end of the program. */
static bool ask_until_ok(const struct ready *ready, const char *url, struct page *out_page)
{
    CURL *curl = curl_easy_init();

    *out_page = (struct page){0};
    if (curl == NULL)
        return false;
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)ASK_MS);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, keep_text);
    for (;;) {
        ask(curl, out_page);
        if (out_page->status == 200 || atomic_load(&ready->must_stop) ||
            faas_left_ms(ready->deadline_ns) == 0)
            break;
        poll(NULL, 0, POLL_MS); /* the pace of asking; the answer decides */
    }
    curl_easy_cleanup(curl);
    return out_page->status == 200;
}

static faas_code check_gateway(const struct ready *ready, const char *gateway_url, faas_err *err)
{
    FAAS_AUTO(char) *url = file_path("%s/healthz", gateway_url);
    struct page page;

    if (url == NULL)
        return faas_fail_sys(err, ENOMEM, "health check");
    if (ask_until_ok(ready, url, &page))
        return FAAS_OK;
    if (page.status == 0)
        return faas_fail(err, FAAS_UNAVAILABLE, "the gateway at %s does not answer", gateway_url);
    return faas_fail(err, FAAS_UNAVAILABLE, "the gateway is not healthy (%ld): %s", page.status,
                     page.text);
}

static faas_code check_cluster(const struct ready *ready, faas_err *err)
{
    struct page page;
    char url[64];

    for (size_t i = 0; i < ready->conf.monitor_count; i++) {
        snprintf(url, sizeof url, "http://127.0.0.1:%d/healthz", ready->conf.monitor_ports[i]);
        if (!ask_until_ok(ready, url, &page))
            return faas_fail(err, FAAS_UNAVAILABLE, "the NATS cluster does not form (%s)",
                             page.text);
    }
    return FAAS_OK;
}

static faas_code check_images(const struct ready *ready, faas_err *err)
{
    struct page page;

    if (ready->conf.images_url == NULL || ask_until_ok(ready, ready->conf.images_url, &page))
        return FAAS_OK;
    return faas_fail(err, FAAS_UNAVAILABLE, "the image registry at %s is not healthy (%ld)",
                     ready->conf.images_url, page.status);
}

/* ---- the thread ---- */

static void *run(void *arg)
{
    struct ready *ready = arg;

    ready->code = check_cluster(ready, &ready->err);
    if (ready->code == FAAS_OK)
        ready->code = check_store(ready, &ready->err);
    if (ready->code == FAAS_OK && ready->conf.monitor_count > 0)
        ev_async_send(ready->ev, &ready->formed);
    for (size_t i = 0; i < ready->conf.gateway_count && ready->code == FAAS_OK; i++)
        ready->code = check_gateway(ready, ready->conf.gateway_urls[i], &ready->err);
    if (ready->code == FAAS_OK)
        ready->code = check_images(ready, &ready->err);
    ev_async_send(ready->ev, &ready->arrived);
    return NULL;
}

static void on_arrived(struct ev_loop *ev, ev_async *watcher, int events)
{
    struct ready *ready = watcher->data;

    (void)events;
    ev_async_stop(ev, watcher);
    ready->has_result = true;
    ready->done(ready->arg, ready->code, &ready->err);
}

static void on_formed(struct ev_loop *ev, ev_async *watcher, int events)
{
    struct ready *ready = watcher->data;

    (void)events;
    ev_async_stop(ev, watcher);
    ready->conf.formed(ready->arg);
}

static void stop_watchers(struct ready *ready)
{
    ev_async_stop(ready->ev, &ready->arrived);
    ev_async_stop(ready->ev, &ready->formed);
}

faas_code ready_start(const struct ready_conf *conf, struct ev_loop *ev, ready_done *done,
                      void *arg, struct ready **out_ready, faas_err *err)
{
    struct ready *ready = calloc(1, sizeof *ready);

    if (ready == NULL)
        return faas_fail_sys(err, errno, "readiness check");
    ready->conf = *conf;
    ready->done = done;
    ready->arg = arg;
    ready->ev = ev;
    ready->deadline_ns = faas_deadline_in_ms(READY_TIMEOUT_MS);
    ev_async_init(&ready->arrived, on_arrived);
    ev_async_init(&ready->formed, on_formed);
    ready->arrived.data = ready->formed.data = ready;
    ev_async_start(ev, &ready->arrived);
    ev_async_start(ev, &ready->formed);
    if (pthread_create(&ready->thread, NULL, run, ready) != 0) {
        stop_watchers(ready);
        free(ready);
        return faas_fail_sys(err, EAGAIN, "readiness thread");
    }
    *out_ready = ready;
    return FAAS_OK;
}

void ready_end(struct ready *ready)
{
    if (ready == NULL)
        return;
    atomic_store(&ready->must_stop, true);
    if (!ready->has_result)
        return;
    stop_watchers(ready);
    pthread_join(ready->thread, NULL);
    free(ready);
}
