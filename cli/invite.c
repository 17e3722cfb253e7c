/* invite.c - `faas invite`: an invitation, made by the auth service for whoever holds the
 * operator's key of the bus. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "cli/datadir.h"
#include "cli/output.h"
#include "cli/session.h"
#include "cli/verb.h"
#include "contract.h"

#define ANSWER_MS 20000 /* a write may wait for an election */

static const char *data;
static struct session_at at;
static int64_t life_s = FAAS_INVITE_S;

const struct cli_option cli_invite_options[] = {
    {"expires-s", CLI_INT, &life_s, "N", "seconds until it can no longer be used (604800)",
     FAAS_INVITE_MIN_S, FAAS_INVITE_MAX_S, NULL},
    {"data", CLI_TEXT, &data, "DIR", "as given to `faas up` (~/.local/share/faas)", 0, 0, NULL},
    SESSION_OPTIONS(at, "servers of a platform that `faas up` did not start; needs --nkey-file"),
    {"nkey-file", CLI_TEXT, &at.nkey_file, "FILE", "seed of the bus's user \"cli\", mode 0600", 0,
     0, NULL},
    CLI_OPTION_END,
};

/* ---- where the bus is ---- */

static faas_code open_data(struct session *session, faas_err *err)
{
    FAAS_AUTO(char) *path = NULL;
    pid_t pid;

    FAAS_TRY(datadir_path(data, &path, err));
    FAAS_TRY(datadir_holder(path, &pid, err));
    if (pid == 0)
        return faas_fail(err, FAAS_NOT_FOUND, "nothing runs in %s", path);
    return session_open_data(path, "invite", session, err);
}

static faas_code open_bus(struct session *session, faas_err *err)
{
    *session = (struct session){.loop = NULL};
    if (at.urls == NULL && at.nkey_file == NULL)
        return open_data(session, err);
    if (at.urls == NULL || at.nkey_file == NULL)
        return faas_fail(err, FAAS_INVALID, "--nats-url and --nkey-file belong together");
    return session_open(&at, "invite", session, err);
}

/* ---- asking ---- */

static faas_code ask(faas_rpc *rpc, json_t **out_reply, faas_err *err)
{
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
    struct session session;
    faas_code code = open_bus(&session, err);

    if (code == FAAS_OK)
        code = ask(session.rpc, out_reply, err);
    (void)session_close(&session);
    faas_bus_end();
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
