#include "cli/supervisor.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "cli/engine_probe.h"
#include "cli/output.h"
#include "cli/ready.h"
#include "cli/state.h"
#include "cli/verb.h"
#include "cli/watchdog.h"

#define WATCH_S      (WATCHDOG_PERIOD_MS / 1000.)
#define STATE_S      0.01 /* changes within this time are written once */
#define KILL_LIMIT_S 5.   /* after SIGKILL; a process that survives it is stuck in the kernel */

struct supervisor {
    const struct plan *plan;
    const struct supervisor_setup *setup;
    struct ev_loop *ev;
    struct process *processes; /* plan->spec_count, in the plan's order */
    ev_signal signals[3];
    ev_timer watch, write_state, stop_limit;
    struct watchdog *watchdog;
    struct ready *ready;
    bool is_ready, is_stopping, has_failed;
    int stopping_role; /* roles above it are down; ROLE_COUNT: none yet */
    bool has_killed;   /* the group that is stopping got SIGKILL */
    int64_t started_ms;
    struct job *job;
};

/* Of its own memory: it may outlive the supervisor's. */
struct job {
    struct supervisor *sup;
    faas_code (*run)(void *arg);
    void *arg;
    struct ev_loop *ev;
    ev_async done;
    pthread_t thread;
    faas_code code; /* written by the thread before it wakes the loop */
};

/* ---- telling ---- */

/* One event of our own: a sentence for a terminal, a JSON line for a log. */
static void tell(const struct supervisor *sup, enum faas_log_level level, const char *process,
                 const char *what)
{
    const struct faas_log_field fields[] = {
        FAAS_LSTR("process", process), FAAS_LSTR("what", what), {.key = NULL}};

    if (sup->setup->is_detached)
        faas_log_write(level, "supervisor", fields);
    else
        output_note("%s: %s", process, what);
}

static void write_state(const struct supervisor *sup)
{
    faas_err err = {0};

    if (state_write(sup->plan, sup->processes, sup->is_ready, sup->started_ms, &err) != FAAS_OK)
        tell(sup, FAAS_LOG_ERROR, "faas", err.msg);
}

static void on_write_state(struct ev_loop *ev, ev_timer *watcher, int events)
{
    (void)ev;
    (void)events;
    write_state(watcher->data);
}

static void mark_changed(struct supervisor *sup)
{
    if (ev_is_active(&sup->write_state))
        return;
    ev_timer_set(&sup->write_state, STATE_S, 0.);
    ev_timer_start(sup->ev, &sup->write_state);
}

/* ---- stopping ---- */

static enum role role_of(const struct supervisor *sup, const struct process *process)
{
    return sup->plan->spec_roles[process - sup->processes];
}

static size_t alive_in(const struct supervisor *sup, int role)
{
    size_t count = 0;

    for (size_t i = 0; i < sup->plan->spec_count; i++)
        count += (int)sup->plan->spec_roles[i] == role && sup->processes[i].pid > 0;
    return count;
}

static void signal_role(struct supervisor *sup, int role, int signal_number)
{
    for (size_t i = 0; i < sup->plan->spec_count; i++) {
        if ((int)sup->plan->spec_roles[i] != role)
            continue;
        process_settle(&sup->processes[i]);
        process_signal(&sup->processes[i], signal_number);
    }
}

/* Goes on to the next group that has somebody alive; ends the loop when none has. */
static void stop_next(struct supervisor *sup)
{
    while (sup->stopping_role >= 0 &&
           (sup->stopping_role == ROLE_COUNT || alive_in(sup, sup->stopping_role) == 0)) {
        sup->stopping_role--;
        if (sup->stopping_role < 0)
            break;
        sup->has_killed = false;
        signal_role(sup, sup->stopping_role, SIGTERM);
        ev_timer_stop(sup->ev, &sup->stop_limit);
        ev_timer_set(&sup->stop_limit, (double)plan_roles[sup->stopping_role].stop_ms / 1000., 0.);
        ev_timer_start(sup->ev, &sup->stop_limit);
    }
    if (sup->stopping_role < 0)
        ev_break(sup->ev, EVBREAK_ALL);
}

static void on_stop_limit(struct ev_loop *ev, ev_timer *watcher, int events)
{
    struct supervisor *sup = watcher->data;
    const char *name = plan_roles[sup->stopping_role].name;

    (void)events;
    if (sup->has_killed) {
        tell(sup, FAAS_LOG_ERROR, name, "does not even end by SIGKILL; left behind");
        ev_break(ev, EVBREAK_ALL);
        return;
    }
    tell(sup, FAAS_LOG_WARN, name, "did not stop in time, killed");
    sup->has_killed = true;
    signal_role(sup, sup->stopping_role, SIGKILL);
    ev_timer_set(watcher, KILL_LIMIT_S, 0.);
    ev_timer_start(ev, watcher);
}

static void begin_stop(struct supervisor *sup)
{
    sup->is_stopping = true;
    sup->is_ready = false;
    sup->stopping_role = ROLE_COUNT;
    ev_timer_stop(sup->ev, &sup->watch);
    mark_changed(sup);
    stop_next(sup);
}

static void on_signal(struct ev_loop *ev, ev_signal *watcher, int events)
{
    struct supervisor *sup = watcher->data;

    (void)ev;
    (void)events;
    if (!sup->is_stopping) {
        tell(sup, FAAS_LOG_INFO, "faas", "stopping");
        begin_stop(sup);
        return;
    }
    tell(sup, FAAS_LOG_WARN, "faas", "killing everything");
    for (int role = 0; role < ROLE_COUNT; role++)
        signal_role(sup, role, SIGKILL);
}

/* ---- children ---- */

static void fail_start(struct supervisor *sup, const char *text)
{
    faas_err err = {0};

    (void)faas_fail(&err, FAAS_UNAVAILABLE, "%.300s; logs are in %s", text, sup->plan->log_dir);
    output_error(&err, false, NULL);
    sup->has_failed = true;
    begin_stop(sup);
}

/* What a process said last: of a log line in JSON only its error or message. */
static void last_words(const struct process *process, char *out_text, size_t room)
{
    FAAS_AUTO(json_t) *line = faas_json_load(process->log.last, strlen(process->log.last), 0);
    const char *error = json_string_value(json_object_get(line, "error"));

    if (error == NULL)
        error = json_string_value(json_object_get(line, "msg"));
    snprintf(out_text, room, "%s", error != NULL ? error : process->log.last);
}

static void on_death(struct supervisor *sup, struct process *process)
{
    char how[64], words[LOGFILE_LINE_MAX], text[FAAS_ERR_MSG_MAX + LOGFILE_LINE_MAX];

    if (sup->is_stopping && (int)role_of(sup, process) >= sup->stopping_role) {
        stop_next(sup);
        return;
    }
    process_status_text(process->last_status, how, sizeof how);
    if (!sup->is_ready && !sup->is_stopping && process->quick_deaths >= SUPERVISOR_START_DEATHS) {
        last_words(process, words, sizeof words);
        snprintf(text, sizeof text, "%s does not start (%s): %s", process->spec->name, how, words);
        fail_start(sup, text);
        return;
    }
    snprintf(text, sizeof text, "ended with %s; starts again in %lld ms", how,
             (long long)process_delay_ms(process->quick_deaths));
    tell(sup, FAAS_LOG_WARN, process->spec->name, text);
    process_restart(process);
}

static void on_change(struct process *process, void *arg)
{
    struct supervisor *sup = arg;
    size_t index = (size_t)(process - sup->processes);

    mark_changed(sup);
    if (process->state != PROCESS_RUNNING)
        on_death(sup, process);
    else if (sup->plan->spec_roles[index] == ROLE_NATS && sup->watchdog != NULL)
        watchdog_reset(sup->watchdog, index); /* NATS servers come first in the plan */
}

static void on_watch(struct ev_loop *ev, ev_timer *watcher, int events)
{
    struct supervisor *sup = watcher->data;

    (void)ev;
    (void)events;
    for (size_t i = 0; i < (size_t)sup->plan->facts.nats; i++) {
        if (sup->processes[i].pid <= 0 || !watchdog_is_frozen(sup->watchdog, i))
            continue;
        tell(sup, FAAS_LOG_ERROR, sup->processes[i].spec->name, "does not answer, killed");
        watchdog_reset(sup->watchdog, i);
        process_signal(&sup->processes[i], SIGKILL);
    }
}

/* ---- starting ---- */

/* ---- a job ---- */

static void *run_job(void *arg)
{
    struct job *job = arg;

    job->code = job->run(job->arg);
    ev_async_send(job->ev, &job->done);
    return NULL;
}

static void on_job_done(struct ev_loop *ev, ev_async *watcher, int events)
{
    struct job *job = watcher->data;
    struct supervisor *sup = job->sup;

    (void)events;
    ev_async_stop(ev, watcher);
    pthread_join(job->thread, NULL);
    sup->job = NULL;
    if (job->code != FAAS_OK)
        sup->has_failed = true;
    free(job);
    if (!sup->is_stopping)
        begin_stop(sup);
}

static faas_code start_job(struct supervisor *sup, faas_err *err)
{
    struct job *job = calloc(1, sizeof *job);

    if (job == NULL)
        return faas_fail_sys(err, errno, "job");
    job->sup = sup;
    job->run = sup->setup->job;
    job->arg = sup->setup->arg;
    job->ev = sup->ev;
    ev_async_init(&job->done, on_job_done);
    job->done.data = job;
    ev_async_start(sup->ev, &job->done);
    if (pthread_create(&job->thread, NULL, run_job, job) != 0) {
        ev_async_stop(sup->ev, &job->done);
        free(job);
        return faas_fail_sys(err, EAGAIN, "job");
    }
    sup->job = job;
    return FAAS_OK;
}

/* ---- starting ---- */

static void say_ready(struct supervisor *sup)
{
    printf("ready %s\n", sup->plan->url);
    if (sup->plan->tls_url != NULL)
        printf("tls %s certificate %s\n", sup->plan->tls_url, sup->plan->tls.cert_path);
    if (sup->plan->images.address != NULL)
        printf("registry %s\n", sup->plan->images.address);
    fflush(stdout);
    if (sup->setup->on_ready != NULL)
        sup->setup->on_ready(sup->setup->arg);
    if (sup->setup->is_detached)
        tell(sup, FAAS_LOG_INFO, "faas", "ready");
}

static void on_ready(void *arg, faas_code code, const faas_err *err)
{
    struct supervisor *sup = arg;
    faas_err why = {0};

    if (sup->is_stopping)
        return;
    if (code != FAAS_OK) {
        fail_start(sup, err->msg);
        return;
    }
    sup->is_ready = true;
    write_state(sup); /* before the word: who reads it may ask for the status at once */
    if (sup->setup->job == NULL)
        say_ready(sup);
    else if (start_job(sup, &why) != FAAS_OK)
        fail_start(sup, why.msg);
}

static faas_code start_watchers(struct supervisor *sup, faas_err *err)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP};
    int ports[NATS_SERVERS_MAX];

    for (size_t i = 0; i < FAAS_ARRAY_LEN(numbers); i++) {
        ev_signal_init(&sup->signals[i], on_signal, numbers[i]);
        sup->signals[i].data = sup;
        ev_signal_start(sup->ev, &sup->signals[i]);
    }
    ev_timer_init(&sup->write_state, on_write_state, STATE_S, 0.);
    ev_timer_init(&sup->stop_limit, on_stop_limit, 1., 0.);
    ev_timer_init(&sup->watch, on_watch, WATCH_S, WATCH_S);
    sup->write_state.data = sup->stop_limit.data = sup->watch.data = sup;
    for (int i = 0; i < sup->plan->facts.nats; i++)
        ports[i] = sup->plan->nodes[i].monitor_port;
    FAAS_TRY(watchdog_start(ports, (size_t)sup->plan->facts.nats, &sup->watchdog, err));
    ev_timer_start(sup->ev, &sup->watch);
    return FAAS_OK;
}

static faas_code start_processes(struct supervisor *sup, faas_err *err)
{
    struct process_setup setup = {
        .ev = sup->ev,
        .is_echoed = sup->setup->is_verbose && !sup->setup->is_detached,
        .on_change = on_change,
        .arg = sup,
    };

    for (size_t i = 0; i < sup->plan->spec_count; i++) {
        /* Only an old nats-server could harm a new one: they share a store. */
        setup.kept_fd = sup->plan->spec_roles[i] == ROLE_NATS ? sup->plan->dir.nats_fd : -1;
        FAAS_TRY(process_init(&sup->processes[i], &sup->plan->specs[i], &setup, err));
    }
    for (size_t i = 0; i < sup->plan->spec_count; i++) {
        if (sup->plan->spec_roles[i] == ROLE_NATS || !sup->plan->is_new_cluster)
            process_start(&sup->processes[i]);
    }
    return FAAS_OK;
}

/* A new cluster has a leader that all its servers know, and its buckets. */
static void on_formed(void *arg)
{
    struct supervisor *sup = arg;

    for (size_t i = 0; i < sup->plan->spec_count && !sup->is_stopping; i++) {
        if (sup->plan->spec_roles[i] != ROLE_NATS)
            process_start(&sup->processes[i]);
    }
}

static void tell_admin(const struct supervisor *sup)
{
    output_note("the first administrator is admin; their first password is in %s",
                sup->plan->admin_path);
}

static void tell_runtime(const struct supervisor *sup)
{
    const struct runtime_choice *runtime = &sup->plan->runtime;
    bool is_docker = strcmp(runtime->name, "docker") == 0;
    char engine[256];

    output_note("functions run in %s: %s", is_docker ? "containers (docker)" : "sandboxes (native)",
                runtime->why);
    if (is_docker && !engine_answers(engine, sizeof engine))
        output_note("no Docker Engine answers at %s: functions cannot be registered or called "
                    "until one runs there; DOCKER_HOST names another",
                    engine);
}

static faas_code start(struct supervisor *sup, faas_err *err)
{
    struct ready_conf ready_conf = {
        .at = {.urls = sup->plan->nats_urls,
               .nkey_file = sup->plan->seed_paths[ROLE_NATS],
               .ca_file = sup->plan->nats_tls.ca_path},
        .stream_replicas = sup->plan->stream_replicas,
        .monitor_count = sup->plan->is_new_cluster ? (size_t)sup->plan->facts.nats : 0,
        .formed = on_formed,
    };

    for (size_t i = 0; i < ready_conf.monitor_count; i++)
        ready_conf.monitor_ports[i] = sup->plan->nodes[i].monitor_port;
    for (size_t i = 0; i < sup->plan->spec_count; i++) {
        if (sup->plan->spec_roles[i] == ROLE_GATEWAY)
            ready_conf.gateway_urls[ready_conf.gateway_count++] = sup->plan->specs[i].url;
        if (sup->plan->spec_roles[i] == ROLE_IMAGES)
            ready_conf.images_url = sup->plan->specs[i].url;
    }
    sup->processes = calloc(sup->plan->spec_count, sizeof *sup->processes);
    sup->ev = ev_default_loop(EVFLAG_AUTO);
    if (sup->processes == NULL || sup->ev == NULL)
        return faas_fail_sys(err, ENOMEM, "supervisor");
    FAAS_TRY(start_watchers(sup, err)); /* first: starting processes touches the timers */
    FAAS_TRY(start_processes(sup, err));
    FAAS_TRY(ready_start(&ready_conf, sup->ev, on_ready, sup, &sup->ready, err));
    if (sup->setup->job == NULL)
        tell_runtime(sup);
    tell_admin(sup);
    return FAAS_OK;
}

static void finish(struct supervisor *sup)
{
    watchdog_stop(sup->watchdog);
    ready_end(sup->ready);
    if (sup->ev != NULL) {
        for (size_t i = 0; sup->processes != NULL && i < sup->plan->spec_count; i++)
            process_done(&sup->processes[i]);
        for (size_t i = 0; i < FAAS_ARRAY_LEN(sup->signals); i++)
            ev_signal_stop(sup->ev, &sup->signals[i]);
        ev_timer_stop(sup->ev, &sup->watch);
        ev_timer_stop(sup->ev, &sup->write_state);
        ev_timer_stop(sup->ev, &sup->stop_limit);
    }
    if (sup->job != NULL) { /* cut short by a signal; the process ends with it */
        ev_async_stop(sup->ev, &sup->job->done);
        sup->has_failed = true;
    }
    free(sup->processes);
    unlink(sup->plan->state_path);
}

int supervisor_run(const struct plan *plan, const struct supervisor_setup *setup)
{
    struct supervisor sup = {.plan = plan, .setup = setup, .started_ms = faas_wall_ms()};
    faas_err err = {0};

    signal(SIGPIPE, SIG_IGN);
    if (start(&sup, &err) == FAAS_OK) {
        ev_run(sup.ev, 0);
    } else {
        output_error(&err, false, NULL);
        sup.has_failed = true;
        for (size_t i = 0; sup.processes != NULL && i < plan->spec_count; i++)
            process_signal(&sup.processes[i], SIGKILL);
    }
    finish(&sup);
    return sup.has_failed ? CLI_UNAVAILABLE : CLI_OK;
}
