/* engine_probe.c - is the engine there, which one is it, and what do we speak with it. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "engine_internal.h"

#define PING_UP_S   2.0
#define PING_DOWN_S 0.5
#define PROBE_MS    3000

static void probe(engine *eng);

static void set_state(engine *eng, enum engine_state state, const char *why)
{
    bool is_change = eng->state != state;

    eng->state = state;
    ev_timer_stop(eng->ev, &eng->ping_timer);
    ev_timer_set(&eng->ping_timer, state == ENGINE_UP ? PING_UP_S : PING_DOWN_S, 0.0);
    ev_timer_start(eng->ev, &eng->ping_timer);
    if (!is_change)
        return;
    if (state == ENGINE_UP)
        FAAS_LOG(INFO, "docker engine answers", FAAS_LSTR("address", eng->address),
                 FAAS_LSTR("version", eng->facts.version), FAAS_LSTR("api", eng->facts.api),
                 FAAS_LSTR("arch", eng->facts.arch), FAAS_LINT("cpus", eng->facts.cpus));
    else
        FAAS_LOG(WARN, "no docker engine answers; calls end unavailable until one does",
                 FAAS_LSTR("address", eng->address), FAAS_LSTR("why", why));
    if (eng->conf.changed != NULL)
        eng->conf.changed(eng->conf.arg, state);
}

static void probe_failed(engine *eng, const struct engine_reply *reply)
{
    char text[FAAS_ERR_MSG_MAX];

    engine_reply_text(reply, text);
    set_state(eng, ENGINE_DOWN, text);
}

static void copy_text(char *to, size_t size, const json_t *doc, const char *key)
{
    const char *text = json_string_value(json_object_get(doc, key));

    snprintf(to, size, "%s", text != NULL ? text : "");
}

static void on_version(void *arg, const struct engine_reply *reply)
{
    engine *eng = arg;
    FAAS_AUTO(json_t) *doc = engine_reply_json(reply);

    eng->probe = NULL;
    if (!reply->is_complete || reply->status != 200) {
        probe_failed(eng, reply);
        return;
    }
    copy_text(eng->found.arch, sizeof eng->found.arch, doc, "Arch");
    copy_text(eng->found.version, sizeof eng->found.version, doc, "Version");
    eng->stage = PROBE_INFO;
    probe(eng);
}

static void on_info(void *arg, const struct engine_reply *reply)
{
    engine *eng = arg;
    FAAS_AUTO(json_t) *doc = engine_reply_json(reply);

    eng->probe = NULL;
    if (!reply->is_complete || reply->status != 200) {
        probe_failed(eng, reply);
        return;
    }
    eng->found.cpus = (int)json_integer_value(json_object_get(doc, "NCPU"));
    if (eng->found.cpus < 1)
        eng->found.cpus = 1;
    eng->facts = eng->found;
    set_state(eng, ENGINE_UP, "");
}

static void negotiate(engine *eng)
{
    int major = 0, minor = 0;

    if (sscanf(eng->offered, "%4d.%4d", &major, &minor) != 2 || major > ENGINE_API_NEWEST_MAJOR ||
        (major == ENGINE_API_NEWEST_MAJOR && minor > ENGINE_API_NEWEST_MINOR)) {
        major = ENGINE_API_NEWEST_MAJOR;
        minor = ENGINE_API_NEWEST_MINOR;
    }
    memset(&eng->found, 0, sizeof eng->found);
    snprintf(eng->found.api, sizeof eng->found.api, "%d.%d", major & 0xff, minor & 0xfff);
    snprintf(eng->prefix, sizeof eng->prefix, "/v%s", eng->found.api);
}

static void on_ping(void *arg, const struct engine_reply *reply)
{
    engine *eng = arg;
    bool is_same = strcmp(eng->offered, eng->probe->api) == 0;

    snprintf(eng->offered, sizeof eng->offered, "%s", eng->probe->api);
    eng->probe = NULL;
    if (!reply->is_complete || reply->status != 200) {
        probe_failed(eng, reply);
        return;
    }
    if (eng->state == ENGINE_UP && is_same) {
        set_state(eng, ENGINE_UP, "");
        return;
    }
    negotiate(eng);
    eng->stage = PROBE_VERSION;
    probe(eng);
}

/* /_ping decides; /version and /info follow when the engine is new to us. */
static void probe(engine *eng)
{
    static const struct {
        const char *path;
        void (*done)(void *arg, const struct engine_reply *reply);
    } stages[] = {
        [PROBE_PING] = {"/_ping", on_ping},
        [PROBE_VERSION] = {"/version", on_version},
        [PROBE_INFO] = {"/info", on_info},
    };
    struct engine_call call = {.method = "GET", .timeout_ms = PROBE_MS, .arg = eng};
    faas_err err = {0};

    call.path = stages[eng->stage].path;
    call.done = stages[eng->stage].done;
    if (engine_send_to(eng, eng->stage == PROBE_PING ? "" : eng->prefix, &call, &eng->probe,
                       &err) != FAAS_OK)
        set_state(eng, ENGINE_DOWN, err.detail);
}

static void on_ping_timer(struct ev_loop *ev, ev_timer *timer, int events)
{
    engine *eng = timer->data;

    (void)ev, (void)events;
    if (eng->probe != NULL)
        return;
    eng->stage = PROBE_PING;
    probe(eng);
}

void engine_suspect(engine *eng)
{
    if (eng->probe != NULL || eng->state != ENGINE_UP)
        return;
    ev_timer_stop(eng->ev, &eng->ping_timer);
    ev_timer_set(&eng->ping_timer, 0.0, 0.0);
    ev_timer_start(eng->ev, &eng->ping_timer);
}

void engine_begin(engine *eng)
{
    eng->stage = PROBE_PING;
    probe(eng);
}

faas_code engine_usable(const engine *eng, faas_err *err)
{
    if (eng->state == ENGINE_UP)
        return FAAS_OK;
    return faas_fail(err, FAAS_UNAVAILABLE,
                     "no Docker Engine answers at %s: start it or set DOCKER_HOST", eng->address);
}

void engine_probe_init(engine *eng)
{
    ev_timer_init(&eng->ping_timer, on_ping_timer, 0.0, 0.0);
    eng->ping_timer.data = eng;
}
