#include "engine_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#define DEFAULT_HOST    "unix:///var/run/docker.sock"
#define CONNECT_MS      2000
#define CONNECTIONS_MAX 512L /* kept open between requests */

struct watch { /* one socket of libcurl's */
    engine *eng;
    ev_io io;
};

/* ---- answers ---- */

static void req_free(engine_req *req)
{
    engine *eng = req->eng;

    if (req->is_head_due)
        TAILQ_REMOVE(&eng->heads, req, head_link);
    TAILQ_REMOVE(&eng->reqs, req, link);
    curl_multi_remove_handle(eng->multi, req->easy);
    curl_easy_cleanup(req->easy);
    curl_slist_free_all(req->headers);
    free(req->body);
    free(req);
}

static size_t on_body(char *data, size_t one, size_t count, void *arg)
{
    engine_req *req = arg;
    size_t len = one * count;

    if (req->call.chunk != NULL && req->status >= 200 && req->status < 300) {
        req->call.chunk(req->call.arg, data, len);
        return len;
    }
    if (len > ENGINE_BODY_MAX - req->len) {
        req->is_too_large = true;
        return 0;
    }
    if (req->len + len + 1 > req->room) {
        size_t room = (req->len + len + 1) * 2;
        char *bigger = realloc(req->body, room);

        if (bigger == NULL)
            return 0;
        req->body = bigger;
        req->room = room;
    }
    memcpy(req->body + req->len, data, len);
    req->len += len;
    req->body[req->len] = '\0';
    return len;
}

/* Heads are told after libcurl returned: it cannot be used from inside its own callback. */
static size_t on_header(char *data, size_t one, size_t count, void *arg)
{
    engine_req *req = arg;
    size_t len = one * count;
    long status = 0;

    if (len > 12 && strncasecmp(data, "Api-Version:", 12) == 0) {
        const char *at = data + 12;

        at += strspn(at, " ");
        snprintf(req->api, sizeof req->api, "%.*s", (int)strspn(at, "0123456789."), at);
    } else if (len == 2 && data[0] == '\r') {
        curl_easy_getinfo(req->easy, CURLINFO_RESPONSE_CODE, &status);
        req->status = (int)status;
        if (status >= 200 && req->call.head != NULL && !req->is_head_due) {
            req->is_head_due = true;
            TAILQ_INSERT_TAIL(&req->eng->heads, req, head_link);
        }
    }
    return len;
}

static void tell_heads(engine *eng)
{
    engine_req *req;

    while ((req = TAILQ_FIRST(&eng->heads)) != NULL) {
        TAILQ_REMOVE(&eng->heads, req, head_link);
        req->is_head_due = false;
        req->call.head(req->call.arg, req->status);
    }
}

/* Notes where tcp:// requests really go, so that attach needs no name resolution of its own. */
static void note_peer(engine *eng, CURL *easy)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    char *ip = NULL;
    long port = 0;

    if (eng->unix_path != NULL || curl_easy_getinfo(easy, CURLINFO_PRIMARY_IP, &ip) != CURLE_OK ||
        curl_easy_getinfo(easy, CURLINFO_PRIMARY_PORT, &port) != CURLE_OK || ip == NULL)
        return;
    v4.sin_port = v6.sin6_port = htons((uint16_t)port);
    if (inet_pton(AF_INET, ip, &v4.sin_addr) == 1) {
        memcpy(&eng->peer, &v4, sizeof v4);
        eng->peer_len = sizeof v4;
    } else if (inet_pton(AF_INET6, ip, &v6.sin6_addr) == 1) {
        memcpy(&eng->peer, &v6, sizeof v6);
        eng->peer_len = sizeof v6;
    }
}

static void finish(engine_req *req, CURLcode rc)
{
    struct engine_call call = req->call;
    struct engine_reply reply = {
        .status = req->status,
        .is_complete = rc == CURLE_OK,
        .is_timeout = rc == CURLE_OPERATION_TIMEDOUT,
        .why = req->is_too_large       ? "the engine's answer is too large"
               : req->error[0] != '\0' ? req->error
                                       : curl_easy_strerror(rc),
        .body = req->body != NULL ? req->body : "",
        .len = req->len,
    };
    engine *eng = req->eng;

    if (rc == CURLE_OK)
        note_peer(eng, req->easy);
    if (rc != CURLE_OK && rc != CURLE_OPERATION_TIMEDOUT && eng->probe != req)
        engine_suspect(eng);
    if (call.done != NULL)
        call.done(call.arg, &reply);
    req_free(req);
}

/* Requests whose socket could not be watched for want of memory. */
static void finish_starved(engine *eng)
{
    engine_req *req;

    while (eng->is_starved) {
        TAILQ_FOREACH (req, &eng->reqs, link)
            if (req->is_starved)
                break;
        eng->is_starved = req != NULL;
        if (req != NULL)
            finish(req, CURLE_OUT_OF_MEMORY);
    }
}

static void collect(engine *eng)
{
    CURLMsg *msg;
    int left;

    finish_starved(eng);
    tell_heads(eng);
    while ((msg = curl_multi_info_read(eng->multi, &left)) != NULL) {
        engine_req *req = NULL;
        CURLcode rc = msg->data.result;

        if (msg->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, (char **)&req);
        finish(req, rc);
        tell_heads(eng);
    }
}

/* ---- libcurl on libev ---- */

static void on_socket_event(struct ev_loop *ev, ev_io *io, int events)
{
    struct watch *watch = io->data;
    engine *eng = watch->eng;
    int what =
        (events & EV_READ ? CURL_CSELECT_IN : 0) | (events & EV_WRITE ? CURL_CSELECT_OUT : 0);
    int running;

    (void)ev;
    curl_multi_socket_action(eng->multi, io->fd, what, &running);
    collect(eng);
}

static void on_curl_timer(struct ev_loop *ev, ev_timer *timer, int events)
{
    engine *eng = timer->data;
    int running;

    (void)ev, (void)events;
    curl_multi_socket_action(eng->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    collect(eng);
}

static int set_timer(CURLM *multi, long timeout_ms, void *arg)
{
    engine *eng = arg;

    (void)multi;
    ev_timer_stop(eng->ev, &eng->curl_timer);
    if (timeout_ms >= 0) {
        ev_timer_set(&eng->curl_timer, (double)timeout_ms / 1000.0, 0.0);
        ev_timer_start(eng->ev, &eng->curl_timer);
    }
    return 0;
}

/* An error told to libcurl from its callback would end every request, now and later. */
static void starve(engine *eng, CURL *easy)
{
    engine_req *req = NULL;

    curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&req);
    if (req != NULL)
        req->is_starved = eng->is_starved = true;
}

static int set_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    engine *eng = arg;
    struct watch *watch = socket_arg;
    int events = (what & CURL_POLL_IN ? EV_READ : 0) | (what & CURL_POLL_OUT ? EV_WRITE : 0);

    if (what == CURL_POLL_REMOVE) {
        if (watch != NULL)
            ev_io_stop(eng->ev, &watch->io);
        free(watch);
        return 0;
    }
    if (watch == NULL) {
        watch = calloc(1, sizeof *watch);
        if (watch == NULL) {
            starve(eng, easy);
            return 0;
        }
        watch->eng = eng;
        ev_io_init(&watch->io, on_socket_event, fd, events);
        watch->io.data = watch;
        curl_multi_assign(eng->multi, fd, watch);
    } else {
        ev_io_stop(eng->ev, &watch->io);
        ev_io_set(&watch->io, fd, events);
    }
    ev_io_start(eng->ev, &watch->io);
    return 0;
}

/* ---- requests ---- */

static faas_code req_setup(engine_req *req, const char *prefix, faas_err *err)
{
    const struct engine_call *call = &req->call;
    engine *eng = req->eng;
    FAAS_AUTO(char) *url = NULL;
    CURL *easy = req->easy;
    struct curl_slist *list;
    bool is_post = strcmp(call->method, "POST") == 0;
    const char *type = call->bytes == NULL ? "Content-Type: application/json" : NULL;
    const char *const lines[] = {"Expect:", type, call->header};

    if (asprintf(&url, "%s%s%s", eng->base, prefix, call->path) < 0) {
        url = NULL;
        return faas_fail_sys(err, ENOMEM, "engine url");
    }
    for (size_t i = 0; i < FAAS_ARRAY_LEN(lines); i++) {
        if (lines[i] == NULL)
            continue;
        list = curl_slist_append(req->headers, lines[i]);
        if (list == NULL)
            return faas_fail_sys(err, ENOMEM, "engine header");
        req->headers = list;
    }
    curl_easy_setopt(easy, CURLOPT_PRIVATE, req);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, req->error);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)call->timeout_ms);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, req->headers);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, req);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, req);
    if (eng->unix_path != NULL)
        curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, eng->unix_path);
    if (is_post) {
        const char *body = call->body != NULL ? call->body : "";

        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(body));
        if (curl_easy_setopt(easy, CURLOPT_COPYPOSTFIELDS, body) != CURLE_OK)
            return faas_fail_sys(err, ENOMEM, "engine request body");
    } else if (strcmp(call->method, "GET") != 0) {
        if (call->bytes != NULL) {
            curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->bytes_len);
            curl_easy_setopt(easy, CURLOPT_POSTFIELDS, call->bytes);
        }
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, call->method);
    }
    if (curl_easy_setopt(easy, CURLOPT_URL, url) != CURLE_OK)
        return faas_fail_sys(err, ENOMEM, "engine url");
    return FAAS_OK;
}

faas_code engine_send_to(engine *eng, const char *prefix, const struct engine_call *call,
                         engine_req **out_req, faas_err *err)
{
    engine_req *req = calloc(1, sizeof *req);
    faas_code rc;

    if (req == NULL)
        return faas_fail_sys(err, ENOMEM, "engine request");
    req->eng = eng;
    req->call = *call;
    req->easy = curl_easy_init();
    if (req->easy == NULL) {
        free(req);
        return faas_fail_sys(err, ENOMEM, "engine request");
    }
    TAILQ_INSERT_TAIL(&eng->reqs, req, link);
    rc = req_setup(req, prefix, err);
    req->call.body = req->call.header = req->call.path = NULL;
    req->call.bytes = NULL;
    if (rc == FAAS_OK && curl_multi_add_handle(eng->multi, req->easy) != CURLM_OK)
        rc = faas_fail_sys(err, ENOMEM, "engine request");
    if (rc != FAAS_OK) {
        req_free(req);
        return rc;
    }
    if (out_req != NULL)
        *out_req = req;
    return FAAS_OK;
}

faas_code engine_send(engine *eng, const struct engine_call *call, engine_req **out_req,
                      faas_err *err)
{
    FAAS_TRY(engine_usable(eng, err));
    return engine_send_to(eng, eng->prefix, call, out_req, err);
}

void engine_abort(engine_req *req)
{
    if (req != NULL)
        req_free(req);
}

void engine_reply_text(const struct engine_reply *reply, char out_text[FAAS_ERR_MSG_MAX])
{
    FAAS_AUTO(json_t) *doc = engine_reply_json(reply);
    const char *text = json_string_value(json_object_get(doc, "message"));
    faas_err clean;

    if (text == NULL)
        text = !reply->is_complete ? reply->why : reply->body;
    (void)faas_fail(&clean, FAAS_INTERNAL, "%s", text); /* control bytes and length */
    snprintf(out_text, FAAS_ERR_MSG_MAX, "%s", clean.msg);
    if (out_text[0] == '\0')
        snprintf(out_text, FAAS_ERR_MSG_MAX, "the engine answered status %d", reply->status);
}

json_t *engine_reply_json(const struct engine_reply *reply)
{
    return faas_json_load(reply->body, reply->len, 0);
}

/* ---- life ---- */

static faas_code parse_host(engine *eng, const char *host, faas_err *err)
{
    int rc = 0;

    if (host == NULL || host[0] == '\0')
        host = DEFAULT_HOST;
    eng->address = strdup(host);
    if (strncmp(host, "unix://", 7) == 0 && host[7] == '/') {
        struct sockaddr_un *sun = (struct sockaddr_un *)&eng->peer;

        if (strlen(host + 7) >= sizeof sun->sun_path)
            return faas_fail(err, FAAS_INVALID, "DOCKER_HOST: socket path longer than %zu bytes",
                             sizeof sun->sun_path - 1);
        sun->sun_family = AF_UNIX;
        snprintf(sun->sun_path, sizeof sun->sun_path, "%s", host + 7);
        eng->peer_len = sizeof *sun;
        eng->unix_path = strdup(host + 7);
        eng->base = strdup("http://engine");
        rc = eng->unix_path == NULL ? -1 : 0;
    } else if (strncmp(host, "tcp://", 6) == 0 && host[6] != '\0' &&
               strpbrk(host + 6, "/?#@ %") == NULL) {
        const char *colon = strrchr(host + 6, ':');
        bool has_port = colon != NULL && strchr(colon, ']') == NULL;

        rc = asprintf(&eng->base, "http://%s%s", host + 6, has_port ? "" : ":2375");
        if (rc < 0)
            eng->base = NULL;
    } else {
        return faas_fail(err, FAAS_INVALID,
                         "DOCKER_HOST: expected unix:///PATH or tcp://HOST[:PORT]");
    }
    if (rc < 0 || eng->address == NULL || eng->base == NULL)
        return faas_fail_sys(err, ENOMEM, "engine address");
    return FAAS_OK;
}

faas_code engine_new(const struct engine_conf *conf, engine **out_engine, faas_err *err)
{
    engine *eng;
    faas_code rc;

    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return faas_fail_sys(err, ENOMEM, "libcurl");
    eng = calloc(1, sizeof *eng);
    if (eng == NULL)
        return faas_fail_sys(err, ENOMEM, "engine");
    eng->conf = *conf;
    eng->ev = faas_loop_ev(conf->loop);
    TAILQ_INIT(&eng->reqs);
    TAILQ_INIT(&eng->heads);
    ev_timer_init(&eng->curl_timer, on_curl_timer, 0.0, 0.0);
    eng->curl_timer.data = eng;
    engine_probe_init(eng);
    eng->multi = curl_multi_init();
    rc = eng->multi == NULL ? faas_fail_sys(err, ENOMEM, "libcurl")
                            : parse_host(eng, conf->host, err);
    if (rc != FAAS_OK) {
        engine_free(eng);
        return rc;
    }
    curl_multi_setopt(eng->multi, CURLMOPT_SOCKETFUNCTION, set_socket);
    curl_multi_setopt(eng->multi, CURLMOPT_SOCKETDATA, eng);
    curl_multi_setopt(eng->multi, CURLMOPT_TIMERFUNCTION, set_timer);
    curl_multi_setopt(eng->multi, CURLMOPT_TIMERDATA, eng);
    curl_multi_setopt(eng->multi, CURLMOPT_MAXCONNECTS, CONNECTIONS_MAX);
    *out_engine = eng;
    return FAAS_OK;
}

void engine_free(engine *eng)
{
    engine_req *req;

    if (eng == NULL)
        return;
    while ((req = TAILQ_FIRST(&eng->reqs)) != NULL)
        req_free(req);
    if (eng->multi != NULL)
        curl_multi_cleanup(eng->multi);
    ev_timer_stop(eng->ev, &eng->curl_timer);
    ev_timer_stop(eng->ev, &eng->ping_timer);
    free(eng->address);
    free(eng->unix_path);
    free(eng->base);
    free(eng);
}

enum engine_state engine_state(const engine *eng)
{
    return eng->state;
}

const struct engine_facts *engine_facts(const engine *eng)
{
    return &eng->facts;
}

const char *engine_address(const engine *eng)
{
    return eng->address;
}

const char *engine_prefix(const engine *eng)
{
    return eng->prefix;
}

struct ev_loop *engine_ev(const engine *eng)
{
    return eng->ev;
}

faas_code engine_peer(const engine *eng, struct sockaddr_storage *out_addr, socklen_t *out_len,
                      faas_err *err)
{
    if (eng->peer_len == 0)
        return engine_usable(eng, err) != FAAS_OK
                   ? FAAS_UNAVAILABLE
                   : faas_fail(err, FAAS_UNAVAILABLE, "the engine's address is not known yet");
    *out_addr = eng->peer;
    *out_len = eng->peer_len;
    return FAAS_OK;
}
