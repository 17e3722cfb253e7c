#include "service.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metric.h"
#include "contract.h"
#include "net/rpc_internal.h"
#include "service_health.h"

#define THREADS_DEFAULT  4
#define QUEUE_PER_THREAD 64
#define BUS_DRAIN_MS     1000
#define STOP_GRACE_S     5.0 /* for threads whose requests were all cancelled */
#define ID_MAX           32
#define URLS_TEXT        1024

enum phase { STARTING, RUNNING, DRAINING, STOPPING };

/* The one service of this process.  Loop thread, unless marked. */
struct skeleton {
    const struct faas_service *service;
    struct {
        char *url, *url1, *url2, *url3, *nkey_file, *ca_file, *cert_file, *key_file, *id,
            *log_level, *data_dir;
        char *health_socket;
        int64_t replicas, threads, drain_ms;
        bool is_check;
    } conf;
    char id[ID_MAX + 1];
    char urls[URLS_TEXT];
    char probe_subject[FAAS_SUBJECT_MAX], health_subject[FAAS_SUBJECT_MAX];
    struct faas_runtime rt;
    struct faas_health health;
    enum phase phase;
    bool was_ready; /* once, whatever came later */
    int exit_code;
    ev_signal on_term, on_int;
    ev_timer drain_timer, stop_timer;
    bool has_left;    /* rpc is drained */
    bool has_drained; /* the service said so */
    pthread_t starter;
    bool has_starter;
    faas_code start_code; /* written by the starter before it posts */
    faas_err start_err;
    pthread_t closer;
    bool has_closer;
    bool is_closed; /* starter and pool have ended */
    bool is_over;   /* the service is being stopped: nothing is told to it any more */
};
static struct skeleton sk;
static faas_metric_writer write_pool;
static struct faas_metric_source pool_figures = {.write = write_pool};

/* ---- health and heartbeats ---- */

static bool is_ready(void)
{
    const struct faas_service *service = sk.service;

    return sk.phase == RUNNING && (service->is_ready == NULL || service->is_ready(service->state));
}

static bool is_healthy(void)
{
    const struct faas_service *service = sk.service;

    return is_ready() && (service->is_healthy == NULL || service->is_healthy(service->state));
}

/* Of the process alone: service_health.h says why. */
static bool is_well(void)
{
    sk.was_ready = sk.was_ready || is_ready();
    return sk.was_ready;
}

static void fill(void *arg, struct faas_beat *beat)
{
    const struct faas_service *service = sk.service;

    (void)arg;
    if (service->fill != NULL && !sk.is_over)
        service->fill(service->state, beat);
    if (sk.phase >= DRAINING)
        beat->state = "draining";
    else
        beat->state = is_ready() ? "ready" : "starting";
}

static void watch(void *arg, const struct faas_member *member, enum faas_member_change change)
{
    (void)arg;
    if (sk.service->watch != NULL && !sk.is_over)
        sk.service->watch(sk.service->state, member, change);
}

static void on_health(void *arg, faas_msg *take_msg)
{
    static const char ok[] = "{\"ok\":true}";
    FAAS_AUTO(faas_msg) *msg = take_msg;
    faas_err err = {0};

    (void)arg;
    if (is_healthy()) {
        faas_rpc_answer(sk.rt.rpc, msg, ok, sizeof ok - 1);
        return;
    }
    faas_fail(&err, FAAS_UNAVAILABLE, "%s is not ready", sk.service->name);
    faas_rpc_answer_err(sk.rt.rpc, msg, &err);
}

static void on_probe(void *arg, faas_msg *take_msg)
{
    FAAS_AUTO(faas_msg) *msg = take_msg;
    FAAS_AUTO(json_t) *doc =
        json_pack("{s:b, s:s}", "ok", 1, "epoch", faas_members_epoch(sk.rt.members));

    (void)arg;
    faas_rpc_answer_json(sk.rt.rpc, msg, doc);
}

static faas_code serve(faas_err *err)
{
    const struct faas_endpoint common[] = {
        {.name = "health",
         .subject = sk.health_subject,
         .queue = FAAS_QUEUE,
         .body_max = FAAS_CONTROL_BODY_MAX,
         .on_message = on_health},
        {.name = "probe",
         .subject = sk.probe_subject,
         .body_max = FAAS_CONTROL_BODY_MAX,
         .on_message = on_probe,
         .lane = FAAS_CONTROL},
        {.name = NULL},
    };

    (void)snprintf(sk.health_subject, sizeof sk.health_subject, "faas.%s.health", sk.service->name);
    (void)snprintf(sk.probe_subject, sizeof sk.probe_subject, FAAS_SUBJ_PROBE, sk.service->name,
                   sk.id);
    return faas_rpc_serve(sk.rt.rpc, common, NULL, err);
}

/* ---- leaving ---- */

static void on_closed(void *arg)
{
    (void)arg;
    sk.is_closed = true;
    faas_loop_stop(sk.rt.loop);
}

/* Pool jobs may wait for replies, so the loop runs on until they have ended. */
static void *close_pool(void *arg)
{
    (void)arg;
    if (sk.has_starter)
        pthread_join(sk.starter, NULL);
    faas_pool_finish(sk.rt.pool); /* timers of the loop may still try to submit */
    faas_loop_post(sk.rt.loop, on_closed, NULL);
    return NULL;
}

static void on_stop_timer(struct ev_loop *ev, ev_timer *timer, int events)
{
    (void)ev;
    (void)timer;
    (void)events;
    FAAS_LOG(ERROR, "a thread does not end: leaving without it");
    _exit(1);
}

static void stop_all(void)
{
    int rc;

    if (sk.phase == STOPPING)
        return;
    sk.phase = STOPPING;
    ev_timer_stop(faas_loop_ev(sk.rt.loop), &sk.drain_timer);
    ev_timer_init(&sk.stop_timer, on_stop_timer, STOP_GRACE_S, 0.0);
    ev_timer_start(faas_loop_ev(sk.rt.loop), &sk.stop_timer);
    faas_rpc_cancel_all(sk.rt.rpc);
    rc = pthread_create(&sk.closer, NULL, close_pool, NULL);
    if (rc != 0) {
        FAAS_LOG(ERROR, "cannot stop in order", FAAS_LSTR("detail", strerror(rc)));
        _exit(1);
    }
    sk.has_closer = true;
}

static void leave_if_done(void)
{
    if (sk.phase == DRAINING && sk.has_left && sk.has_drained)
        stop_all();
}

void faas_service_drained(void)
{
    sk.has_drained = true;
    leave_if_done();
}

static void on_left(void *arg)
{
    (void)arg;
    sk.has_left = true;
    leave_if_done();
}

static void on_drain_timer(struct ev_loop *ev, ev_timer *timer, int events)
{
    (void)ev;
    (void)timer;
    (void)events;
    FAAS_LOG(WARN, "drain took too long: leaving with work unfinished",
             FAAS_LINT("drain_ms", sk.conf.drain_ms));
    stop_all();
}

static void drain(void)
{
    sk.phase = DRAINING;
    FAAS_LOG(INFO, "draining");
    faas_members_beat_now(sk.rt.members);
    ev_timer_init(&sk.drain_timer, on_drain_timer, (double)sk.conf.drain_ms / 1e3, 0.0);
    ev_timer_start(faas_loop_ev(sk.rt.loop), &sk.drain_timer);
    faas_rpc_drain(sk.rt.rpc, sk.conf.drain_ms, on_left, NULL);
    if (sk.service->drain != NULL)
        sk.service->drain(sk.service->state);
    else
        sk.has_drained = true;
    leave_if_done();
}

static void on_signal(struct ev_loop *ev, ev_signal *signal, int events)
{
    (void)ev;
    (void)signal;
    (void)events;
    if (sk.phase >= DRAINING)
        _exit(1);
    if (sk.phase == STARTING)
        stop_all();
    else
        drain();
}

/* ---- figures ---- */

static void write_pool(void *arg, FILE *out)
{
    struct faas_pool_state pool;

    (void)arg;
    faas_pool_look(sk.rt.pool, &pool);
    (void)fprintf(out,
                  "# HELP faas_pool_threads threads that run requests\n"
                  "# TYPE faas_pool_threads gauge\nfaas_pool_threads %d\n"
                  "# HELP faas_pool_threads_busy of them: at work\n"
                  "# TYPE faas_pool_threads_busy gauge\nfaas_pool_threads_busy %d\n"
                  "# HELP faas_pool_jobs_waiting requests that wait for one of them\n"
                  "# TYPE faas_pool_jobs_waiting gauge\nfaas_pool_jobs_waiting %d\n",
                  pool.threads, pool.busy, pool.waiting);
}

/* ---- starting ---- */

static void log_start_failure(const faas_err *err)
{
    FAAS_LOG(ERROR, "cannot start", FAAS_LSTR("code", faas_code_slug(err->code)),
             FAAS_LSTR("error", err->msg), FAAS_LSTR("detail", err->detail));
}

/* Endpoints are served only now that the service has what they need. */
static void on_started(void *arg)
{
    (void)arg;
    if (sk.phase != STARTING)
        return; /* told to leave meanwhile: how the start ended no longer matters */
    if (sk.start_code == FAAS_OK && sk.service->endpoints != NULL)
        sk.start_code =
            faas_rpc_serve(sk.rt.rpc, sk.service->endpoints, sk.service->state, &sk.start_err);
    if (sk.start_code != FAAS_OK) {
        log_start_failure(&sk.start_err);
        sk.exit_code = 1;
        stop_all();
        return;
    }
    sk.phase = RUNNING;
    FAAS_LOG(INFO, "started");
    faas_members_beat_now(sk.rt.members);
}

static void *starter(void *arg)
{
    const struct faas_service *service = sk.service;

    (void)arg;
    if (service->start != NULL)
        sk.start_code = service->start(service->state, &sk.rt, &sk.start_err);
    faas_loop_post(sk.rt.loop, on_started, NULL);
    return NULL;
}

static faas_code begin(faas_err *err)
{
    struct ev_loop *ev = faas_loop_ev(sk.rt.loop);
    int rc;

    ev_signal_init(&sk.on_term, on_signal, SIGTERM);
    ev_signal_init(&sk.on_int, on_signal, SIGINT);
    ev_signal_start(ev, &sk.on_term);
    ev_signal_start(ev, &sk.on_int);
    rc = pthread_create(&sk.starter, NULL, starter, NULL);
    if (rc != 0)
        return faas_fail_sys(err, rc, "start a thread");
    sk.has_starter = true;
    return FAAS_OK;
}

/* ---- opening ---- */

static faas_code make_id(faas_err *err)
{
    char token[33];

    if (sk.conf.id[0] == '\0') {
        faas_random_token(token);
        (void)snprintf(sk.id, sizeof sk.id, "%.12s", token);
        return FAAS_OK;
    }
    if (strlen(sk.conf.id) > ID_MAX ||
        sk.conf.id[strspn(sk.conf.id, "abcdefghijklmnopqrstuvwxyz0123456789")] != '\0')
        return faas_fail(err, FAAS_INVALID, "INSTANCE_ID: 1 to %d characters of a-z and 0-9",
                         ID_MAX);
    memcpy(sk.id, sk.conf.id, strlen(sk.conf.id) + 1);
    return FAAS_OK;
}

/* NATS_URL, or else whatever NATS1_URL to NATS3_URL name. */
static faas_code join_urls(faas_err *err)
{
    const char *const parts[] = {sk.conf.url1, sk.conf.url2, sk.conf.url3};
    size_t len = 0;

    if (sk.conf.url[0] != '\0') {
        if (strlen(sk.conf.url) >= sizeof sk.urls)
            return faas_fail(err, FAAS_INVALID, "NATS_URL: at most %zu bytes", sizeof sk.urls - 1);
        memcpy(sk.urls, sk.conf.url, strlen(sk.conf.url) + 1);
        return FAAS_OK;
    }
    for (size_t i = 0; i < FAAS_ARRAY_LEN(parts); i++) {
        if (parts[i][0] == '\0')
            continue;
        if (len + strlen(parts[i]) + 2 > sizeof sk.urls)
            return faas_fail(err, FAAS_INVALID, "NATS%zu_URL: all together at most %zu bytes",
                             i + 1, sizeof sk.urls - 1);
        len += (size_t)snprintf(sk.urls + len, sizeof sk.urls - len, "%s%s", len > 0 ? "," : "",
                                parts[i]);
    }
    if (len == 0)
        (void)snprintf(sk.urls, sizeof sk.urls, "nats://127.0.0.1:4222");
    return FAAS_OK;
}

static faas_code make_dir(const char *path, faas_err *err)
{
    char *copy = strdup(path);
    faas_code rc = FAAS_OK;
    struct stat st;

    if (copy == NULL)
        return faas_fail_sys(err, ENOMEM, "make %s", path);
    for (char *slash = copy; rc == FAAS_OK && slash != NULL;) {
        slash = strchr(slash + 1, '/');
        if (slash != NULL)
            *slash = '\0';
        if (mkdir(copy, 0700) != 0 && errno != EEXIST)
            rc =
                faas_fail(err, FAAS_INVALID, "DATA_DIR: cannot make %s: %s", copy, strerror(errno));
        if (slash != NULL)
            *slash = '/';
    }
    free(copy);
    if (rc == FAAS_OK && (stat(path, &st) != 0 || !S_ISDIR(st.st_mode)))
        rc = faas_fail(err, FAAS_INVALID, "DATA_DIR: %s is not a directory", path);
    return rc;
}

static faas_code open_bus(faas_err *err)
{
    const struct faas_bus_conf conf = {.urls = sk.urls,
                                       .service = sk.service->name,
                                       .id = sk.id,
                                       .nkey_file = sk.conf.nkey_file,
                                       .ca_file = sk.conf.ca_file,
                                       .cert_file = sk.conf.cert_file,
                                       .key_file = sk.conf.key_file};

    return faas_bus_open(&conf, sk.rt.loop, &sk.rt.bus, err);
}

static faas_code open_rpc(faas_err *err)
{
    const struct faas_rpc_conf rpc = {.service = sk.service->name,
                                      .id = sk.id,
                                      .version = FAAS_VERSION,
                                      .description = sk.service->description,
                                      .pool = sk.rt.pool};
    const struct faas_members_conf members = {
        .service = sk.service->name, .id = sk.id, .fill = fill, .watch = watch};

    FAAS_TRY(faas_rpc_open(sk.rt.bus, &rpc, &sk.rt.rpc, err));
    FAAS_TRY(faas_members_start(sk.rt.rpc, &members, &sk.rt.members, err));
    faas_rpc_set_epoch(sk.rt.rpc, faas_members_epoch(sk.rt.members));
    return serve(err);
}

static faas_code open_all(faas_err *err)
{
    enum faas_log_level level;

    FAAS_TRY(make_id(err));
    FAAS_TRY(faas_log_level_parse(sk.conf.log_level, &level, err));
    faas_log_setup(sk.service->name, sk.id, level);
    FAAS_TRY(join_urls(err));
    FAAS_TRY(make_dir(sk.conf.data_dir, err));
    sk.rt.id = sk.id;
    sk.rt.data_dir = sk.conf.data_dir;
    sk.rt.replicas = (int)sk.conf.replicas;
    sk.rt.drain_ms = sk.conf.drain_ms;
    FAAS_TRY(faas_loop_new(&sk.rt.loop, err));
    FAAS_TRY(faas_pool_start((int)sk.conf.threads, (int)sk.conf.threads * QUEUE_PER_THREAD,
                             &sk.rt.pool, err));
    faas_metric_add_source(&pool_figures);
    FAAS_TRY(open_bus(err));
    FAAS_TRY(open_rpc(err));
    if (sk.conf.health_socket[0] != '\0')
        FAAS_TRY(faas_health_open(&sk.health, sk.rt.loop, sk.conf.health_socket, is_well, err));
    return begin(err);
}

/* The loop has stopped, or never ran. */
static void close_all(void)
{
    if (sk.has_closer)
        pthread_join(sk.closer, NULL);
    faas_pool_stop(sk.rt.pool);
    sk.is_over = true;
    if (sk.has_starter && sk.service->stop != NULL)
        sk.service->stop(sk.service->state);
    faas_members_stop(sk.rt.members); /* says good-bye: now nothing runs here */
    faas_rpc_close(sk.rt.rpc);
    faas_bus_close(sk.rt.bus, BUS_DRAIN_MS);
    faas_health_close(&sk.health);
    if (sk.rt.loop != NULL)
        faas_loop_free(sk.rt.loop);
    faas_bus_end();
}

/* Until the closer is done: the loop also stops by itself, when the bus is lost. */
static void run(void)
{
    for (;;) {
        faas_loop_run(sk.rt.loop);
        if (sk.is_closed)
            return;
        sk.exit_code = 1;
        stop_all();
    }
}

static int service_run(void)
{
    faas_err err = {0};

    if (open_all(&err) == FAAS_OK) {
        run();
    } else {
        log_start_failure(&err);
        sk.exit_code = 1;
    }
    close_all();
    return sk.exit_code;
}

static char threads_default[16]; /* POOL_THREADS of this service */

static const struct faas_option common[] = {
    FAAS_OPT_GROUP("Every service:"),
    FAAS_OPT_STR(sk.conf.url, "NATS_URL", "",
                 "servers of the bus, comma-separated; default nats://127.0.0.1:4222"),
    FAAS_OPT_STR(sk.conf.url1, "NATS1_URL", "", "first server, when NATS_URL is not set"),
    FAAS_OPT_STR(sk.conf.url2, "NATS2_URL", "", "second server"),
    FAAS_OPT_STR(sk.conf.url3, "NATS3_URL", "", "third server"),
    FAAS_OPT_STR(sk.conf.nkey_file, "NATS_NKEY_FILE", "",
                 "file with the seed of this service's key, mode 0600; empty: no login"),
    FAAS_OPT_STR(sk.conf.ca_file, "NATS_CA_FILE", "",
                 "PEM file of the authority that signed the servers; empty: no TLS"),
    FAAS_OPT_STR(sk.conf.cert_file, "NATS_CERT_FILE", "",
                 "PEM file of our certificate, for servers that ask for one"),
    FAAS_OPT_STR(sk.conf.key_file, "NATS_KEY_FILE", "", "PEM file of its key, mode 0600"),
    FAAS_OPT_STR(sk.conf.id, "INSTANCE_ID", "",
                 "name of this instance, unique in the cluster, a-z0-9; default random"),
    FAAS_OPT_STR(sk.conf.log_level, "LOG_LEVEL", "info", "debug, info, warn or error"),
    FAAS_OPT_STR(sk.conf.data_dir, "DATA_DIR", "/var/lib/faas", "where files are kept"),
    FAAS_OPT_INT(sk.conf.replicas, "REPLICAS", "1", 1, 5,
                 "copies of stored data; at most the number of servers, 3 survives one's loss"),
    FAAS_OPT_INT(sk.conf.threads, "POOL_THREADS", threads_default, 1, 256,
                 "threads that run requests"),
    FAAS_OPT_INT(sk.conf.drain_ms, "DRAIN_MS", "30000", 0, 3600000,
                 "longest wait for running work after SIGTERM, in milliseconds"),
    FAAS_OPT_STR(
        sk.conf.health_socket, "HEALTH_SOCKET", "",
        "Unix socket that says whether this process is well, for --healthcheck; empty: none"),
    FAAS_OPT_BOOL(
        sk.conf.is_check, "HEALTHCHECK", "false",
        "run nothing: ask the process that listens at HEALTH_SOCKET; exit status 0 when it is "
        "well, else 1"),
    FAAS_OPT_END,
};

/* No file of what is in memory: keys, tokens, secrets and users' arguments are. */
static void forbid_cores(void)
{
    const struct rlimit none = {0, 0};

    if (setrlimit(RLIMIT_CORE, &none) != 0)
        FAAS_LOG(WARN, "core files could not be forbidden", FAAS_LSTR("error", strerror(errno)));
}

int faas_service_main(const struct faas_service *service, int argc, char **argv)
{
    const struct faas_option *const tables[] = {common, service->options, NULL};
    bool has_shown_help = false;
    faas_err err = {0};
    int exit_code = 0;

    sk.service = service;
    (void)snprintf(threads_default, sizeof threads_default, "%d",
                   service->threads_default > 0 ? service->threads_default : THREADS_DEFAULT);
    signal(SIGPIPE, SIG_IGN);
    forbid_cores();
    if (faas_options_load(tables, argc, argv, &has_shown_help, &err) != FAAS_OK) {
        faas_log_setup(service->name, "", FAAS_LOG_INFO);
        log_start_failure(&err);
        exit_code = 1;
    } else if (sk.conf.is_check && !has_shown_help) {
        exit_code = faas_health_ask(sk.conf.health_socket);
    } else if (!has_shown_help) {
        exit_code = service_run();
    }
    faas_options_free(tables);
    return exit_code;
}
