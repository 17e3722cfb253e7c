#include "cli/watchdog.h"

#include <curl/curl.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"

#define IS_OFF_TEXT "(10076)" /* NATS's number of "JetStream not enabled" */

struct target {
    CURL *curl;  /* watchdog thread, like the next one */
    bool is_off; /* the newest answer says that JetStream is off, and the server otherwise ready */
    bool has_answered; /* guarded by mu, as all below */
    int misses;
    unsigned generation; /* grows with each start of the server */
    uint64_t started_ns;
};

struct watchdog {
    CURLM *multi;
    pthread_t thread;
    bool is_running;
    pthread_mutex_t mu;
    bool must_stop; /* guarded by mu */
    struct target targets[WATCHDOG_MOST];
    size_t count;
};

static size_t look(char *data, size_t size, size_t count, void *arg)
{
    struct target *target = arg;

    if (memmem(data, size * count, IS_OFF_TEXT, sizeof IS_OFF_TEXT - 1) != NULL)
        target->is_off = true;
    return size * count;
}

static bool set_up(struct target *target, int port)
{
    char url[96];

    target->curl = curl_easy_init();
    if (target->curl == NULL)
        return false;
    snprintf(url, sizeof url, "http://127.0.0.1:%d/healthz?js-enabled-only=true", port);
    curl_easy_setopt(target->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(target->curl, CURLOPT_PROXY, "");
    curl_easy_setopt(target->curl, CURLOPT_TIMEOUT_MS, (long)WATCHDOG_PERIOD_MS);
    curl_easy_setopt(target->curl, CURLOPT_WRITEFUNCTION, look);
    curl_easy_setopt(target->curl, CURLOPT_WRITEDATA, target);
    /* a kept connection would be answered by the server of before */
    curl_easy_setopt(target->curl, CURLOPT_FORBID_REUSE, 1L);
    target->started_ns = faas_now_ns();
    return curl_easy_setopt(target->curl, CURLOPT_URL, url) == CURLE_OK;
}

/* One answer or its absence.  Before the first good answer a server that says anything at all is
 * only starting, unless its JetStream is off: that is said by one that has started, on a full disk,
 * and does not come back by itself. */
static void judge(struct target *target, unsigned generation, bool has_answer, long status)
{
    uint64_t grace_ns = WATCHDOG_START_MS * FAAS_MS_NS;

    if (generation != target->generation)
        return;
    if (has_answer && status == 200) {
        target->has_answered = true;
        target->misses = 0;
    } else if (target->has_answered || (has_answer && target->is_off) ||
               (!has_answer && faas_now_ns() - target->started_ns > grace_ns)) {
        target->misses++;
    }
}

static void note_done(const struct watchdog *watchdog, const CURLMsg *message, bool *out_answered)
{
    for (size_t i = 0; i < watchdog->count; i++) {
        if (watchdog->targets[i].curl == message->easy_handle)
            out_answered[i] = message->msg == CURLMSG_DONE && message->data.result == CURLE_OK;
    }
}

/* Until every probe has an answer or ran out of time. */
static void perform(struct watchdog *watchdog, bool *out_answered)
{
    int running = 1, left;
    const CURLMsg *message;

    while (running > 0 && curl_multi_perform(watchdog->multi, &running) == CURLM_OK &&
           running > 0 && curl_multi_poll(watchdog->multi, NULL, 0, 50, NULL) == CURLM_OK) {
    }
    while ((message = curl_multi_info_read(watchdog->multi, &left)) != NULL)
        note_done(watchdog, message, out_answered);
}

static void probe_all(struct watchdog *watchdog)
{
    unsigned generations[WATCHDOG_MOST];
    bool answered[WATCHDOG_MOST] = {false}, is_late;
    uint64_t begin_ns = faas_now_ns();

    pthread_mutex_lock(&watchdog->mu);
    for (size_t i = 0; i < watchdog->count; i++) {
        generations[i] = watchdog->targets[i].generation;
        watchdog->targets[i].is_off = false;
        curl_multi_add_handle(watchdog->multi, watchdog->targets[i].curl);
    }
    pthread_mutex_unlock(&watchdog->mu);
    perform(watchdog, answered);
    is_late = faas_now_ns() - begin_ns > 2 * WATCHDOG_PERIOD_MS * FAAS_MS_NS;
    pthread_mutex_lock(&watchdog->mu);
    for (size_t i = 0; i < watchdog->count; i++) {
        struct target *target = &watchdog->targets[i];
        long status = 0;

        curl_easy_getinfo(target->curl, CURLINFO_RESPONSE_CODE, &status);
        curl_multi_remove_handle(watchdog->multi, target->curl);
        if (answered[i] || !is_late)
            judge(target, generations[i], answered[i], status);
    }
    pthread_mutex_unlock(&watchdog->mu);
}

static bool must_stop(struct watchdog *watchdog)
{
    bool must;

    pthread_mutex_lock(&watchdog->mu);
    must = watchdog->must_stop;
    pthread_mutex_unlock(&watchdog->mu);
    return must;
}

static void *run(void *arg)
{
    struct watchdog *watchdog = arg;

    while (!must_stop(watchdog)) {
        uint64_t next_ns = faas_deadline_in_ms(WATCHDOG_PERIOD_MS);
        int64_t left_ms;

        probe_all(watchdog);
        left_ms = faas_left_ms(next_ns);
        if (left_ms > 0) /* the pace of the probes, cut short by watchdog_stop */
            curl_multi_poll(watchdog->multi, NULL, 0, (int)left_ms, NULL);
    }
    return NULL;
}

faas_code watchdog_start(const int *monitor_ports, size_t count, struct watchdog **out_watchdog,
                         faas_err *err)
{
    struct watchdog *watchdog = calloc(1, sizeof *watchdog);

    if (watchdog == NULL || count > WATCHDOG_MOST) {
        free(watchdog);
        return faas_fail_sys(err, ENOMEM, "watchdog");
    }
    pthread_mutex_init(&watchdog->mu, NULL);
    watchdog->multi = curl_multi_init();
    for (size_t i = 0; i < count && watchdog->multi != NULL; i++) {
        watchdog->count++;
        if (!set_up(&watchdog->targets[i], monitor_ports[i])) {
            watchdog_stop(watchdog);
            return faas_fail_sys(err, ENOMEM, "watchdog");
        }
    }
    if (watchdog->multi == NULL || pthread_create(&watchdog->thread, NULL, run, watchdog) != 0) {
        watchdog_stop(watchdog);
        return faas_fail_sys(err, EAGAIN, "watchdog thread");
    }
    watchdog->is_running = true;
    *out_watchdog = watchdog;
    return FAAS_OK;
}

void watchdog_stop(struct watchdog *watchdog)
{
    if (watchdog == NULL)
        return;
    pthread_mutex_lock(&watchdog->mu);
    watchdog->must_stop = true;
    pthread_mutex_unlock(&watchdog->mu);
    if (watchdog->is_running) {
        curl_multi_wakeup(watchdog->multi);
        pthread_join(watchdog->thread, NULL);
    }
    for (size_t i = 0; i < watchdog->count; i++)
        curl_easy_cleanup(watchdog->targets[i].curl);
    if (watchdog->multi != NULL)
        curl_multi_cleanup(watchdog->multi);
    pthread_mutex_destroy(&watchdog->mu);
    free(watchdog);
}

void watchdog_reset(struct watchdog *watchdog, size_t index)
{
    struct target *target = &watchdog->targets[index];

    pthread_mutex_lock(&watchdog->mu);
    target->generation++;
    target->misses = 0;
    target->has_answered = false;
    target->started_ns = faas_now_ns();
    pthread_mutex_unlock(&watchdog->mu);
}

bool watchdog_is_frozen(struct watchdog *watchdog, size_t index)
{
    bool is_frozen;

    pthread_mutex_lock(&watchdog->mu);
    is_frozen = watchdog->targets[index].misses >= WATCHDOG_MISSES;
    pthread_mutex_unlock(&watchdog->mu);
    return is_frozen;
}
