/* doctor.c - the verb, the server and the login. */
#include "cli/doctor.h"

#include <curl/curl.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

#include "base/text.h"
#include "cli/datadir.h"
#include "cli/file.h"
#include "cli/output.h"
#include "cli/status.h"

#define ASK_MS        10000
#define CLOCK_APART_S 30
#define TEXT_MAX      1000 /* of what a finding says */

static const char *data;

const struct cli_option cli_doctor_options[] = {
    {"data", CLI_TEXT, &data, "DIR", "as given to `faas up` (~/.local/share/faas)", 0, 0, NULL},
    CLI_OPTION_END,
};

static const char *const levels[] = {"fine", "warning", "wrong"};

void doctor_say(struct doctor *doctor, enum doctor_level level, const char *check, const char *next,
                const char *fmt, ...)
{
    json_t *finding;
    char text[TEXT_MAX + 512];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    text[faas_utf8_cut(text, strlen(text), TEXT_MAX)] = '\0';
    finding = json_pack("{s:s,s:s,s:s,s:s*}", "check", check, "state", levels[level], "what", text,
                        "next", next);
    doctor->is_wrong = doctor->is_wrong || level == DOCTOR_WRONG;
    if (json_array_append_new(doctor->findings, finding) != 0)
        doctor->is_short = true;
}

faas_code doctor_get(struct doctor *doctor, const char *check, const char *path, json_t **out_doc)
{
    struct client_request request = {.method = "GET", .path = path, .timeout_ms = ASK_MS};
    struct client_answer answer = {0};
    faas_err err = {0};
    faas_code code = client_exchange(doctor->client, &request, NULL, &answer, out_doc, &err);

    client_answer_done(&answer);
    if (code == FAAS_OK || code == FAAS_NOT_FOUND)
        return code;
    if (code == FAAS_INVALID)
        doctor_say(doctor, DOCTOR_WRONG, check, "write NAME, NAME@VERSION or NAME:ALIAS", "%s",
                   err.msg);
    else if (code == FAAS_DENIED)
        doctor_say(doctor, DOCTOR_WARNING, check,
                   "log in as a person, or use a key with the verb read and without --function",
                   "not looked at: %s", err.msg);
    else
        doctor_say(doctor, DOCTOR_WARNING, check, "ask again in some seconds", "not looked at: %s",
                   err.msg);
    return code;
}

/* ---- the server ---- */

static void compare_clocks(struct doctor *doctor, const char *date)
{
    time_t theirs = curl_getdate(date, NULL);
    double apart_s = difftime(time(NULL), theirs);

    if (date[0] == '\0' || theirs < 0 || (apart_s <= CLOCK_APART_S && apart_s >= -CLOCK_APART_S))
        return;
    doctor_say(doctor, DOCTOR_WARNING, "clock", "set the clock of the machine that is wrong",
               "this machine's clock is %.0f s %s the gateway's; the times shown here are wrong",
               apart_s < 0 ? -apart_s : apart_s, apart_s < 0 ? "behind" : "ahead of");
}

static void say_unreachable(struct doctor *doctor, const faas_err *err)
{
    doctor_say(doctor, DOCTOR_WRONG, "gateway",
               doctor->is_local
                   ? "`faas status` shows its processes; --server and FAAS_URL name another one"
                   : "start it (`faas up`, scripts/run), or name where it is with --server or "
                     "FAAS_URL",
               "%s", err->msg);
}

/* False: nobody answers there, or no gateway of ours. */
static bool ask_health(struct doctor *doctor)
{
    struct client_request request = {
        .method = "GET", .path = "/healthz", .is_public = true, .timeout_ms = ASK_MS};
    struct client_answer answer = {0};
    faas_err err = {0};
    faas_code code = client_send(doctor->client, &request, &answer, &err);
    bool is_ours = code == FAAS_OK || answer.problem != NULL;

    if (code == FAAS_OK)
        doctor_say(doctor, DOCTOR_FINE, "gateway", NULL, "%s answers", doctor->server);
    else if (is_ours)
        doctor_say(doctor, DOCTOR_WRONG, "gateway", "see what is said of the parts below",
                   "%s answers, and the platform cannot do its work: %s", doctor->server, err.msg);
    else
        say_unreachable(doctor, &err);
    if (answer.status != 0)
        compare_clocks(doctor, answer.date);
    client_answer_done(&answer);
    return is_ours;
}

/* ---- the login ---- */

static bool may_invoke(const json_t *key)
{
    const json_t *verb;
    size_t i;

    json_array_foreach (json_object_get(key, "verbs"), i, verb)
        if (strcmp(json_string_value(verb), "invoke") == 0)
            return true;
    return key == NULL;
}

static void say_login(struct doctor *doctor, const json_t *who)
{
    const char *name = json_string_value(json_object_get(who, "username"));
    const char *until = json_string_value(json_object_get(who, "expires_at"));
    const json_t *key = json_object_get(who, "key");

    if (may_invoke(key))
        doctor_say(doctor, DOCTOR_FINE, "login", NULL, "%s of %s, good until %s",
                   key != NULL ? "an API key" : "a token", name != NULL ? name : "?",
                   until != NULL ? until : "?");
    else
        doctor_say(doctor, DOCTOR_WRONG, "login",
                   "make one: `faas apikey create NAME --verb invoke`",
                   "the API key of %s lacks the verb invoke", name != NULL ? name : "?");
}

/* False: nothing more can be asked. */
static bool ask_login(struct doctor *doctor)
{
    struct client_request request = {
        .method = "GET", .path = "/auth/validate", .timeout_ms = ASK_MS};
    struct client_answer answer = {0};
    FAAS_AUTO(json_t) *who = NULL;
    faas_err err = {0};
    faas_code code = client_require_login(doctor->client, &err);
    bool is_token = code == FAAS_OK;

    if (code == FAAS_OK)
        code = client_exchange(doctor->client, &request, NULL, &answer, &who, &err);
    if (code == FAAS_OK)
        say_login(doctor, who);
    else if (!is_token)
        doctor_say(doctor, DOCTOR_WRONG, "login", "`faas login USERNAME`, or `faas register` first",
                   "nobody is logged in to %s here, so no more can be asked", doctor->server);
    else
        doctor_say(doctor, DOCTOR_WRONG, "login",
                   code == FAAS_UNAUTHENTICATED
                       ? "`faas login USERNAME`; look at FAAS_TOKEN and FAAS_KEY_FILE, too"
                       : "see what is said of the parts; auth gives out the keys of tokens",
                   "%s", err.msg);
    client_answer_done(&answer);
    return code == FAAS_OK;
}

/* ---- this machine ---- */

/* Of another server than the one that is asked nothing here tells. */
static faas_code look_here(struct doctor *doctor, json_t **out_state, faas_err *err)
{
    FAAS_AUTO(char) *path = NULL;
    faas_code code;
    const char *url;

    FAAS_TRY(datadir_path(data, &path, err));
    code = status_read(path, out_state, err);
    if (code != FAAS_OK)
        return data == NULL ? FAAS_OK : code;
    url = json_string_value(json_object_get(*out_state, "url"));
    doctor->is_local = data != NULL || (url != NULL && strcmp(url, doctor->server) == 0);
    return FAAS_OK;
}

/* ---- showing ---- */

static void show(const struct doctor *doctor)
{
    const json_t *finding;
    size_t i;

    json_array_foreach (doctor->findings, i, finding) {
        const char *next = json_string_value(json_object_get(finding, "next"));

        output_say("%-8s %-10s %s", json_string_value(json_object_get(finding, "state")),
                   json_string_value(json_object_get(finding, "check")),
                   json_string_value(json_object_get(finding, "what")));
        if (next != NULL)
            output_say("%-19s next: %s", "", next);
    }
    if (!doctor->is_wrong)
        output_say("nothing is wrong");
}

static faas_code examine(struct doctor *doctor, const struct cli_args *args, faas_err *err)
{
    FAAS_AUTO(json_t) *state = NULL;

    FAAS_TRY(client_open(&args->common, &doctor->client, err));
    doctor->server = client_credential(doctor->client)->server;
    doctor->findings = json_array();
    FAAS_TRY(look_here(doctor, &state, err));
    if (ask_health(doctor) && ask_login(doctor)) {
        doctor_services(doctor);
        if (args->rest.count > 0)
            doctor_function(doctor, args->rest.items[0]);
    }
    if (doctor->is_local)
        doctor_machine(doctor, state);
    return doctor->findings != NULL && !doctor->is_short
               ? FAAS_OK
               : faas_fail(err, FAAS_INTERNAL, "out of memory");
}

int cli_doctor(const struct cli_args *args)
{
    FAAS_AUTO(json_t) *doc = NULL;
    struct client_answer none = {0};
    struct doctor doctor = {0};
    faas_err err = {0};
    faas_code code = examine(&doctor, args, &err);

    if (code == FAAS_OK && args->common.is_json) {
        doc = json_pack("{s:b,s:O}", "fine", !doctor.is_wrong, "findings", doctor.findings);
        if (doc != NULL)
            output_json(doc, stdout);
    } else if (code == FAAS_OK) {
        show(&doctor);
    }
    client_close(doctor.client);
    json_decref(doctor.findings);
    json_decref(doctor.instances);
    if (code != FAAS_OK)
        return client_report(&err, &none, &args->common);
    return doctor.is_wrong ? CLI_WRONG : CLI_OK;
}
