#include "cli/session.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/file.h"
#include "cli/plan.h"
#include "version.h"

#define DRAIN_MS 200

static void *run_loop(void *arg)
{
    faas_loop_run(arg);
    return NULL;
}

faas_code session_open_as(const char *user, const struct session_at *at, const char *name,
                          struct session *out_session, faas_err *err)
{
    const struct faas_bus_conf bus_conf = {
        .urls = at->urls,
        .service = user,
        .id = name,
        .nkey_file = at->nkey_file,
        .ca_file = at->ca_file,
        .cert_file = at->cert_file,
        .key_file = at->key_file,
    };
    const struct faas_rpc_conf rpc_conf = {user, name, FAAS_VERSION, "faas", NULL};

    *out_session = (struct session){.loop = NULL};
    FAAS_TRY(faas_loop_new(&out_session->loop, err));
    FAAS_TRY(faas_bus_open(&bus_conf, out_session->loop, &out_session->bus, err));
    FAAS_TRY(faas_rpc_open(out_session->bus, &rpc_conf, &out_session->rpc, err));
    if (pthread_create(&out_session->thread, NULL, run_loop, out_session->loop) != 0)
        return faas_fail_sys(err, EAGAIN, "bus thread");
    out_session->has_thread = true;
    return FAAS_OK;
}

faas_code session_open(const struct session_at *at, const char *name, struct session *out_session,
                       faas_err *err)
{
    return session_open_as("cli", at, name, out_session, err);
}

/* "nats://127.0.0.1:P,..." of the servers that run here, and their authority's file; NULL: none. */
static faas_code find_servers(const char *path, char *out_urls, size_t room, char **out_ca_file,
                              faas_err *err)
{
    FAAS_AUTO(char) *state_file = file_path("%s/state.json", path);
    FAAS_AUTO(char) *ports_file = file_path("%s/ports.json", path);
    FAAS_AUTO(json_t) *state = NULL;
    FAAS_AUTO(json_t) *ports = NULL;
    const char *ca_file;
    int64_t count;
    size_t at = 0;
    char name[32];

    if (state_file == NULL || ports_file == NULL)
        return faas_fail_sys(err, ENOMEM, "paths");
    FAAS_TRY(file_read_json(state_file, &state, err));
    FAAS_TRY(file_read_json(ports_file, &ports, err));
    if (state == NULL)
        return faas_fail(err, FAAS_NOT_FOUND, "nothing runs in %s", path);
    count = json_integer_value(json_object_get(state, "nats_servers"));
    for (int64_t i = 1; i <= count && i <= NATS_SERVERS_MAX; i++) {
        snprintf(name, sizeof name, "nats-%lld", (long long)i);
        at += (size_t)snprintf(
            out_urls + at, room - at, "%snats://127.0.0.1:%lld", i > 1 ? "," : "",
            (long long)json_integer_value(json_object_get(json_object_get(ports, "ports"), name)));
    }
    if (at == 0)
        return faas_fail(err, FAAS_INVALID, "%s: damaged", ports_file);
    ca_file = json_string_value(json_object_get(state, "nats_ca_file"));
    *out_ca_file = ca_file != NULL ? strdup(ca_file) : NULL;
    return ca_file == NULL || *out_ca_file != NULL ? FAAS_OK : faas_fail_sys(err, ENOMEM, "paths");
}

faas_code session_open_data(const char *path, const char *name, struct session *out_session,
                            faas_err *err)
{
    FAAS_AUTO(char) *seed_file = file_path("%s/keys/nats-cli.seed", path);
    FAAS_AUTO(char) *ca_file = NULL;
    char urls[NATS_SERVERS_MAX * 32] = "";

    *out_session = (struct session){.loop = NULL};
    if (seed_file == NULL)
        return faas_fail_sys(err, ENOMEM, "paths");
    FAAS_TRY(find_servers(path, urls, sizeof urls, &ca_file, err));
    return session_open(
        &(struct session_at){.urls = urls, .nkey_file = seed_file, .ca_file = ca_file}, name,
        out_session, err);
}

bool session_close(struct session *session)
{
    bool is_lost = false;

    if (session->has_thread) {
        faas_loop_stop(session->loop);
        pthread_join(session->thread, NULL);
    }
    if (session->rpc != NULL)
        faas_rpc_close(session->rpc);
    if (session->bus != NULL) {
        is_lost = faas_bus_is_lost(session->bus);
        faas_bus_close(session->bus, DRAIN_MS);
    }
    if (session->loop != NULL)
        faas_loop_free(session->loop);
    *session = (struct session){.loop = NULL};
    return !is_lost;
}
