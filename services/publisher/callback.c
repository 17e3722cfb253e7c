#include "callback.h"

#include "jobs.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/pool.h"

#include <curl/curl.h>
#include <errno.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define THREADS     4
#define QUEUE       256
#define REQUEST_MS  5000L
#define FIRST_MS    1000
#define CROWDED_MS  200 /* until a user's other callbacks are looked at again */
#define HEADER_TEXT 2300

struct callbacks {
    struct callback_guard guard;
    const struct faas_runtime *rt;
    faas_pool *pool;
    _Atomic bool is_stopping;
    LIST_HEAD(, callback_call) calls; /* under way; loop thread */
};

struct callback_call { /* one request; owned by the pool until it is done */
    LIST_ENTRY(callback_call) link;
    struct callbacks *callbacks;
    struct job *job; /* NULL: nobody waits; loop thread */
    char *url, *body;
    size_t body_len;
    struct curl_slist *headers;
    long status;     /* 0: none came */
    bool is_refused; /* by the guard */
    char trouble[128];
};

/* ---- on the pool ---- */

/* The one place where a connection begins: what is refused here is never connected to. */
static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct callback_call *call = arg;

    (void)purpose;
    if (!callback_guard_lets(&call->callbacks->guard, &address->addr)) {
        call->is_refused = true;
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static size_t drop(char *data, size_t size, size_t count, void *arg)
{
    size_t *read = arg;

    (void)data;
    *read += size * count;
    return *read > 65536 ? 0 : size * count; /* nobody needs it, so no more of it */
}

static int on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const struct callback_call *call = arg;

    (void)a, (void)b, (void)c, (void)d;
    return atomic_load(&call->callbacks->is_stopping) ? 1 : 0;
}

static void set_options(CURL *easy, struct callback_call *call, size_t *read)
{
    curl_easy_setopt(easy, CURLOPT_URL, call->url);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, REQUEST_MS);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, call);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, drop);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, read);
    curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(easy, CURLOPT_XFERINFODATA, call);
    curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, call->body);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body_len);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, call->headers);
}

static void on_done(void *arg);

static void perform(void *arg)
{
    struct callback_call *call = arg;
    CURL *easy = curl_easy_init();
    size_t read = 0;
    CURLcode rc;

    if (easy != NULL) {
        set_options(easy, call, &read);
        rc = curl_easy_perform(easy);
        (void)curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &call->status);
        if (rc != CURLE_OK)
            (void)snprintf(call->trouble, sizeof call->trouble, "%s", curl_easy_strerror(rc));
        curl_easy_cleanup(easy);
    }
    faas_loop_post(call->callbacks->rt->loop, on_done, call);
}

/* ---- on the loop ---- */

static void call_free(struct callback_call *call)
{
    curl_slist_free_all(call->headers);
    free(call->url);
    free(call->body);
    free(call);
}

static bool was_taken(const struct callback_call *call)
{
    return call->status >= 200 && call->status < 300;
}

static bool is_worth_another(const struct callback_call *call, int tries)
{
    return tries < CALLBACK_TRIES && !call->is_refused &&
           (call->status == 0 || call->status == 408 || call->status == 429 || call->status >= 500);
}

static void send_now(struct job *job);

static void on_done(void *arg)
{
    struct callback_call *call = arg;
    struct job *job = call->job;
    int64_t pause_ms;

    if (job == NULL) {
        call_free(call);
        return;
    }
    LIST_REMOVE(call, link);
    job->calling = NULL;
    job->item.line->user->calling--;
    job->callback_tries++;
    if (is_worth_another(call, job->callback_tries)) {
        pause_ms = FIRST_MS << (job->callback_tries - 1);
        job_arm(job, pause_ms / 2 + randombytes_uniform((uint32_t)pause_ms / 2 + 1), send_now);
    } else {
        if (!was_taken(call))
            FAAS_LOG(WARN, "a callback was given up", FAAS_LSTR("call", job->id),
                     FAAS_LINT("status", call->status), FAAS_LINT("tries", job->callback_tries),
                     FAAS_LINT("refused", call->is_refused), FAAS_LSTR("why", call->trouble));
        metric_count(was_taken(call) ? M_CALLBACKS : M_CALLBACKS_LOST);
        job->is_callback_done = true;
        job->then(job);
    }
    call_free(call);
}

static bool add_header(struct callback_call *call, const char *name, const char *value)
{
    char line[HEADER_TEXT];
    struct curl_slist *longer;

    (void)snprintf(line, sizeof line, "%s: %s", name, value);
    longer = curl_slist_append(call->headers, line);
    if (longer == NULL)
        return false;
    call->headers = longer;
    return true;
}

static bool add_headers(struct callback_call *call, const struct job *job, bool is_whole)
{
    const json_t *run = json_object_get(json_object_get(job->end, "times_ms"), "run");
    char status[16], seconds[32], path[80];
    const char *set = json_string_value(json_object_get(job->end, "content_type"));
    const char *type = job->code != FAAS_OK                          ? "application/json"
                       : faas_media_type_check(set, NULL) == FAAS_OK ? set
                       : job->is_text                                ? "text/plain; charset=utf-8"
                                                                     : "application/octet-stream";

    (void)snprintf(status, sizeof status, "%d", faas_code_status(job->code));
    (void)snprintf(seconds, sizeof seconds, "%.6f", json_number_value(run) / 1e3);
    (void)snprintf(path, sizeof path, "/v1/calls/%s/result", job->id);
    return add_header(call, "X-Call-Id", job->id) &&
           add_header(call, "X-Function-Name", job->state.name) &&
           add_header(call, "X-Function-Status", status) &&
           add_header(call, "X-Duration-Seconds", seconds) &&
           (is_whole || add_header(call, "X-Result-Path", path)) &&
           (job->state.trace[0] == '\0' || add_header(call, "traceparent", job->state.trace)) &&
           add_header(call, "Content-Type", type) && add_header(call, "Expect", "") &&
           add_header(call, "User-Agent", "faas");
}

/* The result, or how it failed. */
static bool add_body(struct callback_call *call, const struct job *job, bool is_whole)
{
    if (job->code != FAAS_OK) {
        call->body = faas_json_text(job->end, &call->body_len);
        return call->body != NULL;
    }
    call->body_len = is_whole ? job->result_len : 0;
    call->body = malloc(call->body_len + 1);
    if (call->body == NULL || call->body_len == 0)
        return call->body != NULL;
    if (job->result_fd >= 0)
        return pread(job->result_fd, call->body, call->body_len, 0) == (ssize_t)call->body_len;
    memcpy(call->body, job->result, call->body_len);
    return true;
}

static struct callback_call *call_new(struct job *job)
{
    struct callback_call *call = calloc(1, sizeof *call);
    bool is_whole = job->result_len <= JOB_INLINE_MAX;

    if (call == NULL)
        return NULL;
    call->callbacks = job->jobs->callbacks;
    call->job = job;
    call->url = strdup(job->state.callback);
    if (call->url == NULL || !add_body(call, job, is_whole) || !add_headers(call, job, is_whole)) {
        call_free(call);
        return NULL;
    }
    return call;
}

static void send_now(struct job *job)
{
    struct callbacks *callbacks = job->jobs->callbacks;
    struct job_user *user = job->item.line->user;
    struct callback_call *call = user->calling < CALLBACK_TENANT ? call_new(job) : NULL;
    faas_err err = {0};

    if (call == NULL) {
        job_arm(job, CROWDED_MS, send_now);
        return;
    }
    if (faas_pool_submit(callbacks->pool, perform, call, &err) != FAAS_OK) {
        call_free(call);
        job_arm(job, CROWDED_MS, send_now);
        return;
    }
    user->calling++;
    job->calling = call;
    LIST_INSERT_HEAD(&callbacks->calls, call, link);
}

void callback_send(struct job *job, void (*then)(struct job *job))
{
    job->then = then;
    send_now(job);
}

void callback_forget(struct job *job)
{
    if (job->calling == NULL)
        return;
    LIST_REMOVE(job->calling, link);
    job->item.line->user->calling--;
    job->calling->job = NULL;
    job->calling = NULL;
}

/* ---- life ---- */

faas_code callbacks_init(faas_err *err)
{
    return curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK
               ? FAAS_OK
               : faas_fail_sys(err, ENOMEM, "libcurl cannot be used");
}

faas_code callbacks_open(const char *allow, const struct faas_runtime *rt,
                         struct callbacks **out_callbacks, faas_err *err)
{
    struct callbacks *self = calloc(1, sizeof *self);
    faas_code rc;

    if (self == NULL)
        return faas_fail_sys(err, ENOMEM, "callbacks");
    self->rt = rt;
    LIST_INIT(&self->calls);
    rc = callback_guard_parse(allow, &self->guard, err);
    if (rc == FAAS_OK)
        rc = faas_pool_start(THREADS, QUEUE, &self->pool, err);
    if (rc != FAAS_OK) {
        free(self);
        return rc;
    }
    *out_callbacks = self;
    return FAAS_OK;
}

void callbacks_close(struct callbacks *self)
{
    struct callback_call *call;

    if (self == NULL)
        return;
    atomic_store(&self->is_stopping, true);
    faas_pool_stop(self->pool); /* each of them hears of it within a second */
    LIST_FOREACH (call, &self->calls, link)
        call->job->calling = NULL; /* what came of them is in the loop's mailbox */
    LIST_FOREACH (call, &self->calls, link)
        call->job = NULL;
    free(self);
}
