/* invite.c - `faas invite`: an invitation, made by the auth service for whoever holds the
 * operator's key of the bus. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "cli/bus.h"
#include "cli/datadir.h"
#include "cli/file.h"
#include "cli/output.h"
#include "cli/ports.h"
#include "cli/verb.h"
#include "contract.h"

#define ANSWER_MS   20000 /* a write may wait for an election */
#define SERVERS_MAX 5

static const char *data, *nats_urls, *nkey_file;
static int64_t life_s = FAAS_INVITE_S;

const struct cli_option cli_invite_options[] = {
    {"expires-s", CLI_INT, &life_s, "N", "seconds until it can no longer be used (604800)",
     FAAS_INVITE_MIN_S, FAAS_INVITE_MAX_S, NULL},
    {"data", CLI_TEXT, &data, "DIR", "as given to `faas up` (~/.local/share/faas)", 0, 0, NULL},
    {"nats-url", CLI_TEXT, &nats_urls, "URLS",
     "servers of a platform that `faas up` did not start; needs --nkey-file", 0, 0, NULL},
    {"nkey-file", CLI_TEXT, &nkey_file, "FILE", "seed of the bus's user \"cli\", mode 0600", 0, 0,
     NULL},
    CLI_OPTION_END,
};

/* ---- where the bus is ---- */

struct place {
    char *urls, *nkey_file; /* owned */
};

static void place_done(struct place *place)
{
    free(place->urls);
    free(place->nkey_file);
}

static faas_code join_urls(const json_t *ports, char **out_urls, faas_err *err)
{
    char text[SERVERS_MAX * 40] = "", name[16];
    size_t at = 0;

    for (int i = 1; i <= SERVERS_MAX; i++) {
        json_int_t port;

        snprintf(name, sizeof name, "nats-%d", i);
        port = json_integer_value(json_object_get(ports, name));
        if (port > 0)
            at += (size_t)snprintf(text + at, sizeof text - at, "%snats://127.0.0.1:%d",
                                   at > 0 ? "," : "", (int)port);
    }
    if (at == 0)
        return faas_fail(err, FAAS_UNAVAILABLE, "ports.json names no NATS server");
    *out_urls = strdup(text);
    return *out_urls != NULL ? FAAS_OK : faas_fail(err, FAAS_INTERNAL, "out of memory");
}

static faas_code read_ports(const char *path, char **out_urls, faas_err *err)
{
    FAAS_AUTO(char) *file = file_path("%s/ports.json", path);
    FAAS_AUTO(json_t) *doc = NULL;

    if (file == NULL)
        return faas_fail(err, FAAS_INTERNAL, "out of memory");
    FAAS_TRY(file_read_json(file, &doc, err));
    return join_urls(json_object_get(doc, "ports"), out_urls, err);
}

static faas_code find_in_data(struct place *place, faas_err *err)
{
    FAAS_AUTO(char) *path = NULL;
    pid_t pid;

    FAAS_TRY(datadir_path(data, &path, err));
    FAAS_TRY(datadir_holder(path, &pid, err));
    if (pid == 0)
        return faas_fail(err, FAAS_NOT_FOUND, "nothing runs in %s", path);
    FAAS_TRY(read_ports(path, &place->urls, err));
    place->nkey_file = file_path("%s/keys/nats-cli.seed", path);
    return place->nkey_file != NULL ? FAAS_OK : faas_fail(err, FAAS_INTERNAL, "out of memory");
}

static faas_code find_place(struct place *place, faas_err *err)
{
    if (nats_urls == NULL && nkey_file == NULL)
        return find_in_data(place, err);
    if (nats_urls == NULL || nkey_file == NULL)
        return faas_fail(err, FAAS_INVALID, "--nats-url and --nkey-file belong together");
    place->urls = strdup(nats_urls);
    place->nkey_file = strdup(nkey_file);
    if (place->urls == NULL || place->nkey_file == NULL)
        return faas_fail(err, FAAS_INTERNAL, "out of memory");
    return FAAS_OK;
}

/* ---- asking ---- */

static faas_code ask(faas_rpc *rpc, void *arg, faas_err *err)
{
    json_t **out_reply = arg;
    const struct faas_ctx ctx = {.deadline_ns = faas_deadline_in_ms(ANSWER_MS)};
    char body[64];
    struct faas_rpc_request req = {
        .subject = FAAS_SUBJ_AUTH_INVITE, .ctx = &ctx, .data = body, .retry = FAAS_RPC_ONCE};
    FAAS_AUTO(faas_msg) *msg = NULL;

    req.len = (size_t)snprintf(body, sizeof body, "{\"expires_in\":%lld}", (long long)life_s);
    FAAS_TRY(faas_rpc_wait(rpc, &req, &msg, err));
    return faas_json_parse(faas_msg_data(msg), faas_msg_len(msg), false, out_reply, err);
}

static faas_code make(json_t **out_reply, faas_err *err)
{
    struct place place = {NULL, NULL};
    struct cli_bus_conf conf = {.id = "invite"};
    bool is_lost;
    faas_code code = find_place(&place, err);

    if (code == FAAS_OK) {
        conf.urls = place.urls;
        conf.nkey_file = place.nkey_file;
        code = cli_bus_use(&conf, ask, out_reply, &is_lost, err);
        faas_bus_end();
    }
    place_done(&place);
    return code;
}

static int status_of(faas_code code)
{
    if (code == FAAS_INVALID)
        return CLI_USAGE;
    return code == FAAS_NOT_FOUND ? CLI_NOT_FOUND : CLI_UNAVAILABLE;
}

int cli_invite(const struct cli_args *args)
{
    FAAS_AUTO(json_t) *reply = NULL;
    faas_err err = {0};
    faas_code code;

    /* Standard error is for sentences of ours, not for log lines of the library. */
    faas_log_setup("faas", "invite", (enum faas_log_level)(FAAS_LOG_ERROR + 1));
    code = make(&reply, &err);
    if (code != FAAS_OK) {
        output_error(&err, args->common.is_json, NULL);
        return status_of(code);
    }
    if (args->common.is_json) {
        output_json(reply, stdout);
        return CLI_OK;
    }
    printf("%s\n", json_string_value(json_object_get(reply, "invitation")));
    output_note("good for one account until %s",
                json_string_value(json_object_get(reply, "expires_at")));
    return CLI_OK;
}
