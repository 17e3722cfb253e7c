/* rotate.c - `faas keys rotate`: another signing key, without a request that fails. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "cli/datadir.h"
#include "cli/file.h"
#include "cli/keys.h"
#include "cli/output.h"
#include "cli/plan.h"
#include "cli/session.h"
#include "cli/verb.h"
#include "contract.h"

#define WAIT_MS 60000
#define ASK_MS  2000
#define END_MS  20000 /* a write may wait for an election */
#define PACE_MS 100
#define NO_LOG  ((enum faas_log_level)(FAAS_LOG_ERROR + 1)) /* standard error is the user's */

static const char *data;
static bool is_ending; /* the keys before, at once */

const struct cli_option cli_keys_options[] = {
    {"data", CLI_TEXT, &data, "DIR", "as given to `faas up` (~/.local/share/faas)", 0, 0, NULL},
    {"end-others", CLI_FLAG, &is_ending, NULL,
     "tokens of earlier keys end at once: everybody logs in again", 0, 0, NULL},
    CLI_OPTION_END,
};

/* ---- one at a time ---- */

static faas_code lock_keys(const char *path, int *out_fd, faas_err *err)
{
    FAAS_AUTO(char) *dir = file_path("%s/keys", path);

    if (dir == NULL)
        return faas_fail_sys(err, ENOMEM, "keys");
    *out_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*out_fd < 0 && errno == ENOENT)
        return faas_fail(err, FAAS_INVALID, "%s: no keys here; `faas up` makes them", path);
    if (*out_fd < 0)
        return file_fail(err, "open", dir, errno);
    if (flock(*out_fd, LOCK_EX | LOCK_NB) == 0)
        return FAAS_OK;
    close(*out_fd);
    *out_fd = -1;
    return faas_fail(err, FAAS_CONFLICT, "another `faas keys rotate` runs in %s", path);
}

/* ---- the auth programs ---- */

/* Whether that auth program signs with the key; what it says otherwise is in err. */
static bool signs_with(faas_rpc *rpc, const char *id, const char *kid, faas_err *err)
{
    struct faas_ctx ctx = {.deadline_ns = faas_deadline_in_ms(ASK_MS)};
    char subject[FAAS_SUBJECT_MAX];
    struct faas_rpc_request req = {
        .subject = subject, .ctx = &ctx, .data = "{}", .len = 2, .retry = FAAS_RPC_SAFE};
    FAAS_AUTO(faas_msg) *msg = NULL;
    FAAS_AUTO(json_t) *doc = NULL;
    const char *signing;

    faas_uuid_new(ctx.id);
    if (!faas_subject(subject, FAAS_SUBJ_AUTH_KEYS, id) ||
        faas_rpc_wait(rpc, &req, &msg, err) != FAAS_OK ||
        faas_json_parse(faas_msg_data(msg), faas_msg_len(msg), false, &doc, err) != FAAS_OK)
        return false;
    signing = json_string_value(json_object_get(doc, "signing"));
    return signing != NULL && strcmp(signing, kid) == 0;
}

static faas_code wait_for(faas_rpc *rpc, const json_t *state, const char *kid, faas_err *err)
{
    uint64_t deadline_ns = faas_deadline_in_ms(WAIT_MS);
    const json_t *process;
    char id[32];
    size_t i;

    json_array_foreach (json_object_get(state, "processes"), i, process) {
        const char *service = json_string_value(json_object_get(process, "service"));
        int number = (int)json_integer_value(json_object_get(process, "number"));
        faas_err why = {0};

        if (service == NULL || strcmp(service, "auth") != 0)
            continue;
        snprintf(id, sizeof id, "auth%d", number);
        while (!signs_with(rpc, id, kid, &why)) {
            if (faas_left_ms(deadline_ns) == 0)
                return faas_fail(err, FAAS_TIMEOUT,
                                 "auth-%d does not sign with the new key yet%s%.200s; it goes on "
                                 "trying, its log says why",
                                 number, why.msg[0] != '\0' ? ": " : "", why.msg);
            poll(NULL, 0, PACE_MS); /* the pace of asking; the answer decides */
        }
    }
    return FAAS_OK;
}

/* Every auth program signs with the key; from now on no other one counts. */
static faas_code end_others(faas_rpc *rpc, const char *kid, faas_err *err)
{
    struct faas_ctx ctx = {.deadline_ns = faas_deadline_in_ms(END_MS)};
    char body[64];
    struct faas_rpc_request req = {
        .subject = FAAS_SUBJ_AUTH_END_KEYS, .ctx = &ctx, .data = body, .retry = FAAS_RPC_SAFE};
    FAAS_AUTO(faas_msg) *msg = NULL;

    faas_uuid_new(ctx.id);
    req.len = (size_t)snprintf(body, sizeof body, "{\"keep\":\"%s\"}", kid);
    return faas_rpc_wait(rpc, &req, &msg, err);
}

static faas_code wait_until_used(const char *path, const char *kid, faas_err *err)
{
    FAAS_AUTO(char) *state_file = file_path("%s/state.json", path);
    FAAS_AUTO(json_t) *state = NULL;
    struct session session;
    faas_code code;

    if (state_file == NULL)
        return faas_fail_sys(err, ENOMEM, "paths");
    FAAS_TRY(file_read_json(state_file, &state, err));
    if (state == NULL)
        return faas_fail(err, FAAS_UNAVAILABLE,
                         "the key was changed while the platform in %s starts or stops; it counts "
                         "from its next start on",
                         path);
    code = session_open_data(path, "keys", &session, err);
    if (code == FAAS_OK)
        code = wait_for(session.rpc, state, kid, err);
    if (code == FAAS_OK && is_ending)
        code = end_others(session.rpc, kid, err);
    (void)session_close(&session);
    faas_bus_end();
    return code;
}

/* ---- the verb ---- */

static faas_code rotate(const char *path, char out_kid[FAAS_KID_TEXT], bool *out_is_used,
                        faas_err *err)
{
    pid_t pid = 0;

    FAAS_TRY(datadir_holder(path, &pid, err));
    if (is_ending && pid == 0)
        return faas_fail(err, FAAS_NOT_FOUND,
                         "nothing runs in %s: --end-others needs the platform; start it first",
                         path);
    FAAS_TRY(keys_token_replace(path, out_kid, err));
    *out_is_used = pid != 0;
    return pid != 0 ? wait_until_used(path, out_kid, err) : FAAS_OK;
}

static void say(const char *kid, bool is_used, bool is_json)
{
    if (is_json)
        printf("{\"kid\":\"%s\",\"used\":%s}\n", kid, is_used ? "true" : "false");
    else if (is_used)
        output_say("tokens are signed with key %s now; earlier ones %s", kid,
                   is_ending ? "count no more" : "count until they expire");
    else
        output_say("nothing runs here; tokens are signed with key %s from the next start on", kid);
}

static int exit_of(faas_code code)
{
    if (code == FAAS_INVALID)
        return CLI_USAGE;
    if (code == FAAS_NOT_FOUND)
        return CLI_NOT_FOUND;
    return code == FAAS_CONFLICT ? CLI_NOT_ALLOWED : CLI_UNAVAILABLE;
}

int cli_keys(const struct cli_args *args)
{
    FAAS_AUTO(char) *path = NULL;
    char kid[FAAS_KID_TEXT] = "";
    bool is_used = false;
    int fd = -1;
    faas_err err = {0};
    faas_code code;

    faas_log_setup("faas", "keys", NO_LOG);
    if (strcmp(args->rest.items[0], "rotate") != 0)
        code = faas_fail(&err, FAAS_INVALID, "keys: the only thing to do is rotate");
    else
        code = datadir_path(data, &path, &err);
    if (code == FAAS_OK)
        code = lock_keys(path, &fd, &err);
    if (code == FAAS_OK)
        code = rotate(path, kid, &is_used, &err);
    if (fd >= 0)
        close(fd);
    if (code != FAAS_OK) {
        output_error(&err, args->common.is_json, NULL);
        return exit_of(code);
    }
    say(kid, is_used, args->common.is_json);
    return CLI_OK;
}
