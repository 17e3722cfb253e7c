/* account.c - register, login, logout, whoami, passwd, account delete. */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/client.h"
#include "cli/file.h"
#include "cli/output.h"
#include "cli/prompt.h"

#define PASSWORD_MAX 1024 /* bytes; the platform's own limit */

static bool is_password_on_stdin;
static const char *invitation_file, *current_file, *new_file;
static bool ends_keys, is_yes;

const struct cli_option cli_register_options[] = {
    {"password-stdin", CLI_FLAG, &is_password_on_stdin, NULL,
     "read the password from standard input (to the first newline)", 0, 0, NULL},
    {"invitation-file", CLI_TEXT, &invitation_file, "FILE",
     "holds the invitation, where one is needed; never an argument itself", 0, 0, NULL},
    CLI_OPTION_END,
};
const struct cli_option cli_password_options[] = {
    {"password-stdin", CLI_FLAG, &is_password_on_stdin, NULL,
     "read the password from standard input (to the first newline)", 0, 0, NULL},
    CLI_OPTION_END,
};
const struct cli_option cli_passwd_options[] = {
    {"password-stdin", CLI_FLAG, &is_password_on_stdin, NULL,
     "read the current password and then the new one from standard input, a line each", 0, 0, NULL},
    {"current-file", CLI_TEXT, &current_file, "FILE", "its first line is the current password", 0,
     0, NULL},
    {"new-file", CLI_TEXT, &new_file, "FILE", "its first line is the new password", 0, 0, NULL},
    {"end-keys", CLI_FLAG, &ends_keys, NULL, "end your API keys, too", 0, 0, NULL},
    CLI_OPTION_END,
};
const struct cli_option cli_account_delete_options[] = {
    {"password-stdin", CLI_FLAG, &is_password_on_stdin, NULL,
     "read the password from standard input (to the first newline)", 0, 0, NULL},
    {"password-file", CLI_TEXT, &current_file, "FILE", "its first line is the password", 0, 0,
     NULL},
    {"yes", CLI_FLAG, &is_yes, NULL, "do not ask", 0, 0, NULL},
    CLI_OPTION_END,
};

/* ---- passwords ---- */

/* The first line of file (NULL: of standard input or the terminal, where it may be asked twice). */
static faas_code get_password(const struct prompt *prompt, const char *file, bool ask_twice,
                              char out[PASSWORD_MAX + 1], faas_err *err)
{
    struct prompt second = *prompt;
    char again[PASSWORD_MAX + 1];
    faas_code code;

    if (file != NULL) {
        int fd = open(file, O_RDONLY | O_CLOEXEC);

        if (fd < 0)
            return file_fail(err, "read", file, errno);
        code = prompt_line(prompt, fd, out, err);
        close(fd);
        return code;
    }
    if (is_password_on_stdin)
        return prompt_line(prompt, STDIN_FILENO, out, err);
    FAAS_TRY(prompt_terminal(prompt, out, err));
    if (!ask_twice)
        return FAAS_OK;
    second.question = "The same again";
    code = prompt_terminal(&second, again, err);
    if (code == FAAS_OK && strcmp(out, again) != 0)
        code = faas_fail(err, FAAS_INVALID, "the two passwords differ");
    sodium_memzero(again, sizeof again);
    return code;
}

/* Adds the invitation, one line of a file, when one was named. */
static faas_code add_invitation(json_t *doc, faas_err *err)
{
    FAAS_AUTO(char) *text = NULL;
    size_t len;

    if (invitation_file == NULL)
        return FAAS_OK;
    FAAS_TRY(file_read(invitation_file, &text, &len, err));
    if (text == NULL)
        return faas_fail(err, FAAS_INVALID, "%s: no such file", invitation_file);
    text[strcspn(text, "\r\n")] = '\0';
    if (json_object_set_new(doc, "invitation", json_string(text)) != 0)
        return faas_fail(err, FAAS_INVALID, "%s: not UTF-8", invitation_file);
    return FAAS_OK;
}

/* POSTs {"username","password"}; *out_doc is the answer. */
static faas_code send_password(cli_client *client, const char *path, const struct cli_args *args,
                               struct client_answer *answer, json_t **out_doc, faas_err *err)
{
    const struct prompt prompt = {.what = "password",
                                  .question = "Password",
                                  .instead = "use --password-stdin",
                                  .max = PASSWORD_MAX};
    struct client_request request = {.method = "POST", .path = path, .is_public = true};
    char password[PASSWORD_MAX + 1];
    FAAS_AUTO(json_t) *doc = NULL;
    faas_code code =
        get_password(&prompt, NULL, strcmp(path, "/auth/register") == 0, password, err);

    if (code == FAAS_OK) {
        doc = json_pack("{s:s,s:s}", "username", args->rest.items[0], "password", password);
        if (doc == NULL)
            code = faas_fail(err, FAAS_INVALID, "user name and password are UTF-8");
        else
            code = add_invitation(doc, err);
    }
    if (code == FAAS_OK)
        code = client_exchange(client, &request, doc, answer, out_doc, err);
    sodium_memzero(password, sizeof password);
    return code;
}

/* ---- register ---- */

int cli_register(const struct cli_args *args)
{
    FAAS_AUTO(cli_client) *client = NULL;
    FAAS_AUTO(json_t) *doc = NULL;
    struct client_answer answer = {0};
    faas_err err = {0};
    faas_code code = client_open(&args->common, &client, &err);
    int status = CLI_OK;

    if (code == FAAS_OK)
        code = send_password(client, "/auth/register", args, &answer, &doc, &err);
    if (code != FAAS_OK)
        status = client_report(&err, &answer, &args->common);
    else if (args->common.is_json)
        output_json(doc, stdout);
    else
        output_say("registered %s (%s); now: faas login %s",
                   json_string_value(json_object_get(doc, "username")),
                   json_string_value(json_object_get(doc, "id")), args->rest.items[0]);
    client_answer_done(&answer);
    return status;
}

/* ---- login, logout ---- */

static faas_code keep_login(const cli_client *client, const char *username, const json_t *doc,
                            struct credential *out_kept, faas_err *err)
{
    const char *token = json_string_value(json_object_get(doc, "token"));
    const char *ca_file = client_credential(client)->ca_file;
    json_int_t expires_in = json_integer_value(json_object_get(doc, "expires_in"));

    if (token == NULL || expires_in <= 0)
        return faas_fail(err, FAAS_INTERNAL, "the answer holds no token");
    out_kept->server = strdup(client_credential(client)->server);
    out_kept->username = strdup(username);
    out_kept->token = strdup(token);
    out_kept->expires_at_ms = faas_wall_ms() + (int64_t)expires_in * 1000;
    if (ca_file != NULL)
        out_kept->ca_file = strdup(ca_file);
    if (out_kept->server == NULL || out_kept->username == NULL || out_kept->token == NULL ||
        (ca_file != NULL && out_kept->ca_file == NULL))
        return faas_fail_sys(err, errno, "login");
    return credential_save(out_kept, err);
}

static void tell_login(const struct credential *kept, bool is_json)
{
    char when[FAAS_TIME_TEXT];
    FAAS_AUTO(json_t) *doc = NULL;

    faas_time_format(kept->expires_at_ms, when);
    if (!is_json) {
        output_say("logged in to %s as %s until %s", kept->server, kept->username, when);
        return;
    }
    doc = json_pack("{s:s,s:s,s:s}", "server", kept->server, "username", kept->username,
                    "expires_at", when);
    output_json(doc, stdout);
}

int cli_login(const struct cli_args *args)
{
    FAAS_AUTO(cli_client) *client = NULL;
    FAAS_AUTO(json_t) *doc = NULL;
    struct client_answer answer = {0};
    struct credential kept = {0};
    faas_err err = {0};
    faas_code code = client_open(&args->common, &client, &err);
    int status = CLI_OK;

    if (code == FAAS_OK)
        code = send_password(client, "/auth/login", args, &answer, &doc, &err);
    if (code == FAAS_OK)
        code = keep_login(client, args->rest.items[0], doc, &kept, &err);
    if (code == FAAS_OK)
        tell_login(&kept, args->common.is_json);
    else
        status = client_report(&err, &answer, &args->common);
    if (answer.body != NULL)
        sodium_memzero(answer.body, answer.len);
    client_answer_done(&answer);
    credential_done(&kept);
    return status;
}

/* Whether the server has ended the session that is kept here. */
static bool end_session(cli_client *client, struct client_answer *answer, faas_err *err)
{
    struct client_request request = {.method = "POST", .path = "/auth/logout"};
    faas_code code = client_send(client, &request, answer, err);

    return code == FAAS_OK || code == FAAS_UNAUTHENTICATED; /* it had ended before */
}

static void tell_logout(const struct credential *kept, bool is_ended, const faas_err *why,
                        bool is_json)
{
    FAAS_AUTO(json_t) *doc = NULL;

    if (is_json) {
        doc = json_pack("{s:s, s:b}", "server", kept->server, "ended", is_ended);
        output_json(doc, stdout);
    } else if (kept->username == NULL) {
        output_say("no login for %s was kept here", kept->server);
    } else if (is_ended) {
        output_say("logged out of %s: %s's session there has ended", kept->server, kept->username);
    } else {
        output_say("the login for %s is forgotten here; the session could not be ended there (%s) "
                   "and ends by itself",
                   kept->server, why->msg);
    }
}

int cli_logout(const struct cli_args *args)
{
    FAAS_AUTO(cli_client) *client = NULL;
    const struct credential *kept;
    struct client_answer answer = {0};
    faas_err err = {0}, why = {0};
    bool is_ended = false;
    faas_code code = client_open(&args->common, &client, &err);

    if (code != FAAS_OK)
        return client_report(&err, &answer, &args->common);
    kept = client_credential(client);
    if (kept->username != NULL && kept->token != NULL)
        is_ended = end_session(client, &answer, &why);
    code = credential_forget(kept->server, &err);
    if (code == FAAS_OK)
        tell_logout(kept, is_ended, &why, args->common.is_json);
    client_answer_done(&answer);
    return code == FAAS_OK ? CLI_OK : client_report(&err, &answer, &args->common);
}

/* ---- whoami ---- */

int cli_whoami(const struct cli_args *args)
{
    struct client_request request = {.method = "GET", .path = "/auth/validate"};
    FAAS_AUTO(cli_client) *client = NULL;
    FAAS_AUTO(json_t) *doc = NULL;
    struct client_answer answer = {0};
    faas_err err = {0};
    faas_code code = client_open(&args->common, &client, &err);
    const char *name, *expires_at;
    int status = CLI_OK;

    if (code == FAAS_OK)
        code = client_exchange(client, &request, NULL, &answer, &doc, &err);
    name = json_string_value(json_object_get(doc, "username"));
    expires_at = json_string_value(json_object_get(doc, "expires_at"));
    if (code != FAAS_OK)
        status = client_report(&err, &answer, &args->common);
    else if (args->common.is_json)
        output_json(doc, stdout);
    else
        output_say("%s at %s%s%s", name != NULL ? name : "?", client_credential(client)->server,
                   expires_at != NULL ? ", token until " : "",
                   expires_at != NULL ? expires_at : "");
    client_answer_done(&answer);
    return status;
}

/* ---- passwd ---- */

static faas_code read_change(char current[PASSWORD_MAX + 1], char wanted[PASSWORD_MAX + 1],
                             json_t **out_doc, faas_err *err)
{
    struct prompt prompt = {.what = "current password",
                            .question = "Current password",
                            .instead = "use --password-stdin, or --current-file and --new-file",
                            .max = PASSWORD_MAX};

    FAAS_TRY(get_password(&prompt, current_file, false, current, err));
    prompt.what = "new password";
    prompt.question = "New password";
    FAAS_TRY(get_password(&prompt, new_file, true, wanted, err));
    *out_doc = json_pack("{s:s, s:s, s:s}", "current_password", current, "new_password", wanted,
                         "keys", ends_keys ? "end" : "keep");
    return *out_doc != NULL ? FAAS_OK : faas_fail(err, FAAS_INVALID, "passwords are UTF-8");
}

/* The kept token ended with the others: with the new password there is another one. */
static faas_code login_again(cli_client *client, const char *password, struct client_answer *answer,
                             struct credential *out_kept, faas_err *err)
{
    struct client_request request = {.method = "POST", .path = "/auth/login", .is_public = true};
    const char *username = client_credential(client)->username;
    FAAS_AUTO(json_t) *doc = json_pack("{s:s, s:s}", "username", username, "password", password);
    FAAS_AUTO(json_t) *reply = NULL;
    faas_code code;

    client_answer_done(answer);
    code = client_exchange(client, &request, doc, answer, &reply, err);
    faas_json_wipe(doc);
    if (code == FAAS_OK)
        code = keep_login(client, username, reply, out_kept, err);
    if (answer->body != NULL)
        sodium_memzero(answer->body, answer->len);
    return code;
}

static void tell_changed(void)
{
    output_note("the password is changed, and every token ended; log in again");
}

static faas_code change_password(cli_client *client, struct client_answer *answer,
                                 struct credential *out_kept, faas_err *err)
{
    struct client_request request = {.method = "PUT", .path = "/auth/password"};
    char current[PASSWORD_MAX + 1] = "", wanted[PASSWORD_MAX + 1] = "";
    FAAS_AUTO(json_t) *doc = NULL;
    faas_code code;

    FAAS_TRY(client_require_login(client, err)); /* before anybody types a password in vain */
    code = read_change(current, wanted, &doc, err);
    if (code == FAAS_OK)
        code = client_exchange(client, &request, doc, answer, NULL, err);
    if (code == FAAS_OK && client_credential(client)->username != NULL) {
        code = login_again(client, wanted, answer, out_kept, err);
        if (code != FAAS_OK)
            tell_changed();
    }
    faas_json_wipe(doc);
    sodium_memzero(current, sizeof current);
    sodium_memzero(wanted, sizeof wanted);
    return code;
}

int cli_passwd(const struct cli_args *args)
{
    FAAS_AUTO(cli_client) *client = NULL;
    struct client_answer answer = {0};
    struct credential kept = {0};
    faas_err err = {0};
    faas_code code = client_open(&args->common, &client, &err);
    int status = CLI_OK;

    if (code == FAAS_OK)
        code = change_password(client, &answer, &kept, &err);
    if (code != FAAS_OK)
        status = client_report(&err, &answer, &args->common);
    else if (kept.server != NULL)
        tell_login(&kept, args->common.is_json);
    else
        tell_changed();
    client_answer_done(&answer);
    credential_done(&kept);
    return status;
}

/* ---- account delete ---- */

static faas_code delete_account(cli_client *client, struct client_answer *answer, faas_err *err)
{
    const struct prompt prompt = {.what = "password",
                                  .question = "Password",
                                  .instead = "use --password-stdin or --password-file",
                                  .max = PASSWORD_MAX};
    struct client_request request = {.method = "DELETE", .path = "/v1/account"};
    char password[PASSWORD_MAX + 1] = "";
    FAAS_AUTO(json_t) *doc = NULL;
    faas_code code;

    FAAS_TRY(client_require_login(client, err));
    if (!is_yes)
        FAAS_TRY(prompt_confirm("The account and all its functions, secrets and keys are deleted "
                                "for good.",
                                err));
    code = get_password(&prompt, current_file, false, password, err);
    if (code == FAAS_OK) {
        doc = json_pack("{s:s}", "current_password", password);
        code = doc != NULL ? client_exchange(client, &request, doc, answer, NULL, err)
                           : faas_fail(err, FAAS_INVALID, "passwords are UTF-8");
    }
    faas_json_wipe(doc);
    sodium_memzero(password, sizeof password);
    return code;
}

int cli_account_delete(const struct cli_args *args)
{
    FAAS_AUTO(cli_client) *client = NULL;
    struct client_answer answer = {0};
    faas_err err = {0};
    faas_code code = client_open(&args->common, &client, &err);
    int status = CLI_OK;

    if (code == FAAS_OK)
        code = delete_account(client, &answer, &err);
    if (code == FAAS_OK && client_credential(client)->username != NULL)
        code = credential_forget(client_credential(client)->server, &err);
    if (code != FAAS_OK)
        status = client_report(&err, &answer, &args->common);
    else
        output_note("the account is deleted");
    client_answer_done(&answer);
    return status;
}
