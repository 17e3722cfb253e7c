/* main.c - `faas`: the table of verbs. */
#include <locale.h>
#include <stdio.h>
#include <string.h>

#include "cli/args.h"
#include "cli/man.h"
#include "cli/output.h"
#include "version.h"

static int version(const struct cli_args *args)
{
    if (args->common.is_json)
        printf("{\"version\":\"%s\"}\n", FAAS_VERSION);
    else
        printf("faas %s\n", FAAS_VERSION);
    return CLI_OK;
}

/* Is it the first word of verbs that have two? */
static bool is_group(const char *word)
{
    size_t len = strlen(word);

    for (const struct cli_verb *verb = cli_verbs; verb->name != NULL; verb++)
        if (strncmp(verb->name, word, len) == 0 && verb->name[len] == ' ')
            return true;
    return false;
}

static int group_help(const char *group, FILE *to)
{
    size_t len = strlen(group);

    fprintf(to, "usage: faas %s VERB [arguments] [options]\n\n", group);
    for (const struct cli_verb *verb = cli_verbs; verb->name != NULL; verb++)
        if (strncmp(verb->name, group, len) == 0 && verb->name[len] == ' ')
            fprintf(to, "  %-20s %s\n", verb->name + len + 1, verb->summary);
    fprintf(to, "\n`faas %s VERB --help` lists the options of a verb.\n", group);
    if (strcmp(group, "image") == 0)
        cli_image_settings(to);
    return to == stdout ? CLI_OK : CLI_USAGE;
}

static bool is_man;

static const struct cli_option help_options[] = {
    {"man", CLI_FLAG, &is_man, NULL, "all of it, as a man page: faas help --man | man -l -", 0, 0,
     NULL},
    CLI_OPTION_END,
};

static int help(const struct cli_args *args)
{
    const char *nearest;
    const struct cli_verb *verb;
    char name[64];

    if (is_man || args->rest.count == 0) {
        (is_man ? man_page : args_program_help)(cli_verbs, stdout);
        return CLI_OK;
    }
    snprintf(name, sizeof name, "%s%s%s", args->rest.items[0], args->rest.count > 1 ? " " : "",
             args->rest.count > 1 ? args->rest.items[1] : "");
    if (args->rest.count == 1 && is_group(name))
        return group_help(name, stdout);
    verb = args_find_verb(cli_verbs, name, &nearest);
    if (verb == NULL) {
        output_note("there is no verb %s", name);
        return CLI_USAGE;
    }
    args_verb_help(verb, stdout);
    return CLI_OK;
}

static const char password_details[] =
    "The password is asked for on the terminal, or read from standard input with "
    "--password-stdin.\n"
    "It is never an argument: everybody on the machine can read those.\n";

static const char invite_details[] =
    "For the operator of a platform with SIGNUP=invite: prints a code that is good for one\n"
    "account, once, until it expires. Whoever has it registers with `faas register\n"
    "--invitation-file FILE`. It can be made on the machine where `faas up` runs, by who may read\n"
    "its data directory. Exit status: 0 made; 2 wrong usage; 4 nothing runs there; 5 not made.\n";

static const char login_details[] =
    "The token is kept in ~/.config/faas/credentials.json (XDG_CONFIG_HOME), readable by you "
    "alone,\n"
    "and only ever sent to the server that gave it. FAAS_TOKEN in the environment replaces it,\n"
    "and so does an API key in the file that FAAS_KEY_FILE names.\n"
    "The password is asked for on the terminal, or read from standard input with "
    "--password-stdin.\n";

static const char passwd_details[] =
    "Both are asked for on the terminal, or read from standard input or files; they are never\n"
    "arguments. Every login ends, on every machine; the one that is kept here is made anew. API\n"
    "keys stay, unless --end-keys is given. Exit status: 0 changed; 2 the new password breaks a\n"
    "rule; 3 not logged in; 4 the current password is wrong.\n";

static const char account_details[] =
    "Asks on the terminal first, and for the password. Functions with all versions, secrets,\n"
    "logins for registries, API keys, kept results and dead letters go; queued calls never run,\n"
    "and running ones end as they would. Somebody else can take the name, and sees nothing of\n"
    "yours. An administrator's account is deleted by another administrator.\n"
    "Exit status: 0 deleted; 2 not confirmed, or an administrator; 3 not logged in; 4 the "
    "password\n"
    "is wrong.\n";

static const char admin_delete_details[] =
    "As the user's own `faas account delete`. Nobody deletes their own account here, nor the one\n"
    "that AUTH_ADMIN names. Asks on the terminal first.\n"
    "Exit status: 0 deleted; 2 not confirmed, or refused; 3 not logged in; 4 no such user.\n";

static const char apikey_create_details[] =
    "Standard output holds the key and nothing else; it is shown this once. A script uses it from "
    "a\n"
    "file that only its user can read, which FAAS_KEY_FILE names; it is never an argument. NAME "
    "is\n"
    "for you to know it by. A key can do what its verbs say: invoke calls functions, queues calls\n"
    "and ends them; read shows functions, calls, results and logs; deploy makes functions, "
    "changes\n"
    "and removes them. With --function it can do so for these alone, and sees no lists. No key\n"
    "makes or lists keys, or changes the password. `faas keys rotate` is about something else: "
    "the\n"
    "platform's own keys.\n";

static const char apikey_details[] =
    "Keys that are used show when, to the hour. A removed one is refused everywhere when this\n"
    "returns. ID is in the list, and is the first part of a key after faas_.\n"
    "Exit status: 0 done; 3 not logged in; 4 no such key of yours, or you came with a key.\n";

static const char admin_details[] =
    "For administrators, logged in as such: docs/ADMIN.md. A change counts at every gateway when\n"
    "this returns. Quotas are shown where they are the user's own, not the platform's.\n"
    "Exit status: 0 done; 3 not logged in, or no administrator; 4 no such user.\n";

static const char deploy_details[] =
    "A function of that name is changed: only what is given here. Giving --image resolves the tag\n"
    "again, so a rebuilt image takes effect. Defaults in parentheses are those of new functions.\n"
    "With -f FILE the functions of a stack file, of ours or of OpenFaaS, become what it says:\n"
    "docs/STACK.md. What differs is shown first; each function has its own outcome.\n"
    "Exit status with -f: 0 all done; 1 a function failed; with --dry-run 0 no difference, 1 "
    "there\n"
    "is one; 2 the file is wrong, and where; 3 not logged in; 5 the platform is unreachable.\n";

static const char new_details[] =
    "Writes the folder NAME: the function, a Dockerfile, a stack.yml for `faas build` and `faas\n"
    "deploy -f`, a README; for c and shell also a recipe by which the image is made without a\n"
    "Docker Engine. Exit status: 0 made; 2 wrong usage, or NAME is there already.\n";

static const char build_details[] =
    "Builds the functions of stack.yml that have a handler, the folder to build from: with the\n"
    "Docker Engine at DOCKER_HOST from its Dockerfile; where none answers, or with --pack, the\n"
    "folder's program rootfs fills a folder with what the image holds, and `faas image pack` "
    "makes\n"
    "the image in the data directory. Of the templates c and shell have one; python, node and go\n"
    "need an engine. Exit status: 0 all built; 1 one was not; 2 the file is wrong, and where.\n";

static const char invoke_details[] =
    "NAME is the newest version, NAME@N version N, NAME:ALIAS what the alias names.\n"
    "ARGUMENT is passed as it is; put -- before one that begins with a dash. A single - reads it\n"
    "from standard input, and so does leaving it out unless standard input is a terminal.\n"
    "Standard output holds exactly the bytes that the function wrote; messages and the end of the\n"
    "function's standard error go to standard error.\n"
    "With --stream both are shown as they are written, and the exit status tells the end, also of "
    "a\n"
    "function that failed late. Ending the command (Ctrl-C) cancels the call.\n"
    "With --async the call is queued: its id is printed once it is stored, and it runs whatever\n"
    "happens; `faas result ID --wait-s 60` prints what it wrote, `faas cancel ID` ends it.\n"
    "--follow does both: the call goes on when the command is ended.\n"
    "Exit status: 0 done; 1 the function failed or could not be started; 2 wrong usage or "
    "request;\n"
    "3 not logged in or token expired; 4 no such function, or not allowed; 5 the platform is\n"
    "unreachable, busy, out of time, or lost the call.\n";

static const char bench_details[] =
    "Calls NAME with ARGUMENT (empty when left out) for --duration-s, draws how the times of the\n"
    "calls that succeeded are spread, and counts the others by their code. With --rate a call's\n"
    "time begins when it was due, so that waiting for one of --concurrency counts. SIGINT ends it\n"
    "with the report; at most 1,000,000 calls.\n"
    "Exit status: 0 all succeeded; 1 some failed; 2 wrong usage or request; 3 not logged in; 4 no\n"
    "such function; 5 the platform is unreachable.\n";
static const char versions_details[] =
    "Newest first. Each change of a function makes a version, which never changes; `faas invoke\n"
    "NAME@N` calls one, NAME alone the newest.\n";

static const char rollback_details[] =
    "Makes a new version that is what version N was, with the image that N ran: nothing is\n"
    "resolved again. Aliases, and whether the function is enabled, stay as they are.\n"
    "Exit status: 0 done; 2 there is no version before; 4 no such function or version.\n";

static const char refresh_details[] =
    "Makes a new version when the tag means another image than before; else nothing changes.\n"
    "Exit status: 0 done; 2 the image cannot be had; 4 no such function.\n";

static const char alias_details[] =
    "An alias is a name for a version: `faas invoke NAME:ALIAS` calls it. With several versions\n"
    "each call gets one of them, as the weights say: `faas alias set greet live 3=90 4=10`.\n"
    "NAME:latest always is the newest version.\n"
    "Exit status: 0 done; 2 wrong usage; 4 no such function, version or alias.\n";

static const char disable_details[] =
    "A disabled function is kept, and its calls are refused; calls that run end as usual, and\n"
    "queued ones wait for 24 hours at most. `faas enable NAME` ends it.\n"
    "Exit status: 0 done; 4 no such function.\n";

static const char calls_details[] =
    "Newest first. A call is listed a moment after it was answered, and one that runs longer than\n"
    "a moment while it runs. STATUS is queued, running, succeeded, failed, refused, cancelled,\n"
    "lost, dead or unknown; TIME is one such as 2026-01-02T03:04:05Z. `faas call ID` shows all of "
    "a\n"
    "record, `faas logs ID` what the function wrote to standard error.\n";

static const char call_details[] =
    "ID is what X-Call-Id said, and `faas calls` lists.\n"
    "Exit status: 0 shown; 2 that is no id; 4 there is no record of such a call (any more).\n";

static const char logs_details[] =
    "Of a call's ID, the last 64 KiB of what it wrote to standard error. Of a function's NAME, a\n"
    "line for each of its newest calls that have ended, oldest first, and what it wrote; with -f\n"
    "those that end from now on, too, until Ctrl-C. On a terminal control characters are shown as "
    "?,\n"
    "elsewhere the bytes are as they came. With --json each call is one line, its record with "
    "stderr.\n"
    "Exit status: 0 shown; 2 that is no id; 4 there is no record of such a call (any more).\n";

static const char top_details[] =
    "Calls that ended within --window-s, for each function: how many a second, how many did not\n"
    "succeed, how long half and 99 of 100 took at most, placing and start included; and how many\n"
    "run and wait now. At most the newest 2,000 are looked at. On a terminal it is shown anew\n"
    "until Ctrl-C. --json prints one document.\n";

static const char result_details[] =
    "Standard output holds exactly the bytes that the function wrote. Results of queued calls are\n"
    "kept for 24 hours. Exit status as of `faas invoke`; 2 also for a call that has not ended.\n";

static const char cancel_details[] =
    "A queued call never starts; of a running one nothing runs any more when this returns.\n"
    "Exit status: 0 cancelled; 2 it has ended already; 4 there is no such call.\n";

static const char dead_details[] =
    "A queued call that did not succeed, and is not tried again by itself, becomes a dead letter.\n"
    "Redriving queues the same argument, as another call, for what was called (the newest "
    "version,\n"
    "NAME@N, NAME:ALIAS), and removes the dead letter. Exit status: 0 done; 4 there is no such "
    "dead letter.\n";

static const char secret_details[] =
    "The value is standard input to its end, what FILE holds, or a line typed on the terminal,\n"
    "which does not show it; never an argument. It can be replaced, and nobody can read it back:\n"
    "functions deployed with --secret NAME find it in /run/secrets/NAME. 64 KiB of any bytes at\n"
    "most, kept as they come, a last newline, too.\n"
    "Exit status: 0 set; 2 wrong name or too long; 3 not logged in; 5 not set.\n";

static const char registry_details[] =
    "Images of your functions are then pulled from HOST (as in their references, such as\n"
    "registry.example:5000 or docker.io) with this login, and with nobody else's. The password is\n"
    "typed on the terminal, or the first line of standard input; never an argument. Nobody can\n"
    "read it back. It counts as one of your secrets.\n"
    "Exit status: 0 kept; 2 wrong host or name; 3 not logged in to the platform; 5 not kept.\n";

static const char up_details[] =
    "Prints `ready URL` once every part can do its work, then runs until SIGINT or SIGTERM.\n"
    "The services' own settings (docs/CONFIGURATION.md) are taken from the environment.\n"
    "--verbose shows what the parts log; it is in DIR/log/NAME.log in any case.\n"
    "nats-server is $NATS_SERVER, the one of scripts/deps, or the one in PATH (2.10.27 or newer).\n"
    "--registry runs docker-registry (a Debian package) with its images in DIR/registry and "
    "prints\n"
    "`registry ADDRESS`; `faas image push` sends images there, and spawners pull them.\n"
    "Exit status: 0 stopped in order; 2 wrong usage; 3 the directory is in use; 5 did not start.\n";

static const char init_details[] =
    "For a deployment in containers (docker-compose.yml): makes in DIR, once, the keys that its\n"
    "parts know each other by, and writes the configuration of its NATS servers, one for all,\n"
    "with what each part may do. Run again it keeps the keys, makes those that a newer version\n"
    "has besides, and writes the configuration anew. All files are 0600; who runs it owns them.\n"
    "Exit status: 0 done; 2 wrong usage, or a file is damaged; 3 another one uses DIR.\n";

static const char down_details[] =
    "Waits until every process has ended. Exit status: 0 stopped; 4 nothing runs there.\n";

static const char status_details[] =
    "Of a `faas up` on this machine: its processes. With --server or FAAS_URL, or where none runs\n"
    "here: a line for each instance of each service, as their heartbeats tell the gateway; who is\n"
    "logged in may see them. Exit status: 0 shown; 3 not logged in there; 4 nothing runs here; 5 "
    "no\n"
    "answer.\n";

static const char doctor_details[] =
    "Says why a call cannot run now, and what to do next: gateway, login, bus, services, spawners\n"
    "and what their machines lack, clocks, and of NAME whether it is there, enabled, and has what "
    "it\n"
    "needs. Of a `faas up` on this machine also its processes, NATS servers, disk and engine.\n"
    "Nothing is changed. Exit status: 0 nothing is wrong; 1 something is; 2 wrong usage; 4 "
    "nothing\n"
    "runs in DIR.\n";

static const char scale_details[] =
    "SERVICE is auth, registry, publisher or spawner, with -service behind it or without. The\n"
    "deployment is found by asking docker: a stack, or else a Compose project, named --name. "
    "Services\n"
    "that are not named keep their numbers, and running calls are finished. The next scripts/run\n"
    "brings the numbers of docker-compose.yml back. `faas up` is scaled at its start: --replicas.\n"
    "Exit status: 0 done, or begun in a Swarm; 2 wrong usage; 4 no such deployment; 5 docker "
    "failed.\n";

static const char keys_details[] =
    "rotate: makes a new key for signing tokens and waits until every auth program of `faas up`\n"
    "uses it. Nobody has to log in again: tokens of the key before count until they expire, and\n"
    "that key is forgotten after the longest life of a token (TOKEN_TTL). Its private half is "
    "gone\n"
    "at once. Where nothing runs, the new key counts from the next start on. With --end-others, "
    "for\n"
    "a key that somebody else may have, tokens of every earlier key end before it returns.\n"
    "Exit status: 0 done; 2 wrong usage; 3 another rotation runs; 4 nothing runs there; 5 not "
    "every auth program uses it "
    "yet\n(they go on trying).\n";

static const char backup_details[] =
    "Of the platform that `faas up` runs with the same --data: users, functions with all their\n"
    "versions, revoked tokens, secrets, the keys of these, and the images of this\n"
    "machine. Every write that was acknowledged before it began is in it. FILE is replaced when\n"
    "the backup is complete, and is 0600; - is standard output. It holds password hashes and\n"
    "private keys. docs/BACKUP.md says what is not in it. With --nats-url it is made of a "
    "deployment\n"
    "in containers, and DIR is the directory of its keys; it has no images then.\n"
    "Exit status: 0 made; 2 wrong usage; 4 nothing runs there; 5 not made, and FILE is as it "
    "was.\n";

static const char restore_details[] =
    "Makes a data directory of what `faas backup` wrote; `faas up --data DIR` runs it then. FILE\n"
    "is checked to its end before anything is made. A directory whose restore was interrupted is\n"
    "refused by `faas up`: remove it and restore again. With --nats-url the servers of a new\n"
    "deployment in containers are filled, and DIR gets the backup's keys (docs/BACKUP.md).\n"
    "Exit status: 0 done; 2 the file or the directory is refused, and why; 3 the directory is in\n"
    "use; 5 not done.\n";

static const char import_details[] =
    "PATH is an archive of `docker save`, or an OCI image layout: a folder or an archive. "
    "Archives\n"
    "may be compressed with gzip or zstd. Without --tag an image keeps the names it was saved "
    "with.\n"
    "`faas image --help` lists the settings that bound what an image may be.\n"
    "Exit status: 0 done; 2 the image is refused, and why; 5 this machine could not do it.\n";

static const char pull_details[] =
    "Fetches an image from its registry with skopeo, or with --engine from the Docker Engine at\n"
    "DOCKER_HOST, where it has the same id. A login is never an argument: it is in a file that\n"
    "only you can read. Exit status: 0 done; 2 the image is refused, and why; 4 the engine has no\n"
    "such image; 5 no engine answers, or skopeo is not installed.\n";

static const char pack_details[] =
    "Makes an image of what is in the folder DIR, without any other tool: a static program and\n"
    "--entrypoint are enough. Files belong to root, programs are 0755, other files 0644, and\n"
    "times are left out, so that the same contents give the same image.\n";

static const char push_details[] =
    "Sends an image of this machine to REFERENCE, [REGISTRY/]NAME[:TAG], with skopeo; without\n"
    "one, under its own name to the registry of `faas up --registry`. Its layers go as they\n"
    "came, so that it has the same id wherever it is pulled. Registries other than those of\n"
    "this machine must be in ALLOWED_REGISTRIES. --auth-file is a file in docker's\n"
    "config.json format that only you can read. Exit status: 0 done; 2 it cannot be pushed,\n"
    "and why; 4 no such image here, or no registry runs; 5 skopeo is not installed.\n";
static const char image_remove_details[] =
    "IMAGE is a name or an id. The last name of an image removes the image, an id all its names.\n"
    "Images that functions are running are not removed.\n";

static const char prune_details[] =
    "Removes images that have no name and that nobody used lately, and layers that no image "
    "needs.\n"
    "What has a name, or is in use, stays.\n";

static const char completion_details[] =
    "For ~/.bashrc: source <(faas completion bash). Verbs and options come from the program; "
    "names\n"
    "of functions from the platform that you are logged in to, when it answers within a second.\n"
    "The script asks `faas completion words -- WORD...` what may stand in place of the last "
    "word.\n";

const struct cli_verb cli_verbs[] = {
    {"up", "", "run the whole platform on this machine", up_details, 0, 0, cli_up_options, cli_up},
    {"down", "", "stop what `faas up` started", down_details, 0, 0, cli_down_options, cli_down},
    {"status", "", "show what runs: processes here, instances elsewhere", status_details, 0, 0,
     cli_status_options, cli_status},
    {"doctor", "[NAME]", "say why a call cannot run now", doctor_details, 0, 1, cli_doctor_options,
     cli_doctor},
    {"scale", "SERVICE=N...", "run other numbers of services in containers", scale_details, 1,
     CLI_LIST_MAX, cli_scale_options, cli_scale},
    {"init", "DIR", "make the keys of a deployment in containers", init_details, 1, 1,
     cli_init_options, cli_init},
    {"invite", "", "make an invitation to register", invite_details, 0, 0, cli_invite_options,
     cli_invite},
    {"keys", "rotate", "change the key that signs tokens", keys_details, 1, 1, cli_keys_options,
     cli_keys},
    {"backup", "FILE", "write what the platform keeps to a file", backup_details, 1, 1,
     cli_backup_options, cli_backup},
    {"restore", "FILE", "make a data directory of a backup", restore_details, 1, 1,
     cli_restore_options, cli_restore},
    {"register", "USERNAME", "make an account", password_details, 1, 1, cli_register_options,
     cli_register},
    {"login", "USERNAME", "log in and keep the token", login_details, 1, 1, cli_password_options,
     cli_login},
    {"logout", "", "end the session and forget its token", NULL, 0, 0, NULL, cli_logout},
    {"whoami", "", "show who the kept token says you are", NULL, 0, 0, NULL, cli_whoami},
    {"passwd", "", "change your password", passwd_details, 0, 0, cli_passwd_options, cli_passwd},
    {"account delete", "", "delete your account and all it has", account_details, 0, 0,
     cli_account_delete_options, cli_account_delete},
    {"apikey create", "NAME", "make a key for a machine", apikey_create_details, 1, 1,
     cli_apikey_create_options, cli_apikey_create},
    {"apikey list", "", "list your keys for machines", apikey_details, 0, 0, NULL, cli_apikey_list},
    {"apikey remove", "ID", "end one of them", apikey_details, 1, 1, NULL, cli_apikey_remove},
    {"quota", "", "show your quotas and what you use of them", NULL, 0, 0, NULL, cli_quota},
    {"admin users", "", "list the users of the platform", admin_details, 0, 0,
     cli_admin_users_options, cli_admin_users},
    {"admin user", "NAME", "show a user", admin_details, 1, 1, NULL, cli_admin_user},
    {"admin quota", "NAME", "give a user quotas of their own", admin_details, 1, 1,
     cli_admin_quota_options, cli_admin_quota},
    {"admin disable", "NAME", "refuse a user's tokens, keys and calls", admin_details, 1, 1, NULL,
     cli_admin_disable},
    {"admin enable", "NAME", "let a user in again", admin_details, 1, 1, NULL, cli_admin_enable},
    {"admin role", "NAME admin|user", "make a user an administrator, or no longer", admin_details,
     2, 2, NULL, cli_admin_role},
    {"admin delete", "NAME", "delete a user and all they have", admin_delete_details, 1, 1,
     cli_admin_delete_options, cli_admin_delete},
    {"admin records", "NAME", "list a user's calls", admin_details, 1, 1, cli_calls_options,
     cli_admin_records},
    {"deploy", "NAME | -f FILE", "make a function, or change it", deploy_details, 0, 1,
     cli_deploy_options, cli_deploy},
    {"new", "NAME", "make a folder with a function to begin with", new_details, 1, 1,
     cli_new_options, cli_new},
    {"build", "", "build the images of a stack file", build_details, 0, 0, cli_build_options,
     cli_build},
    {"list", "", "list your functions", NULL, 0, 0, cli_list_options, cli_list_functions},
    {"describe", "NAME", "show a function", NULL, 1, 1, NULL, cli_describe},
    {"versions", "NAME", "list a function's versions", versions_details, 1, 1, NULL, cli_versions},
    {"rollback", "NAME", "make an earlier version the newest", rollback_details, 1, 1,
     cli_rollback_options, cli_rollback},
    {"refresh", "NAME", "look up the image behind a function's tag again", refresh_details, 1, 1,
     NULL, cli_refresh},
    {"alias set", "NAME ALIAS VERSION[=WEIGHT]...", "name a version, or several with weights",
     alias_details, 3, CLI_LIST_MAX, NULL, cli_alias_set},
    {"alias list", "NAME", "list a function's aliases", alias_details, 1, 1, NULL, cli_alias_list},
    {"alias remove", "NAME ALIAS", "remove an alias", alias_details, 2, 2, NULL, cli_alias_remove},
    {"disable", "NAME", "refuse calls of a function", disable_details, 1, 1, NULL, cli_disable},
    {"enable", "NAME", "let a function be called again", disable_details, 1, 1, NULL, cli_enable},
    {"invoke", "NAME [ARGUMENT]", "call a function, print what it wrote", invoke_details, 1, 2,
     cli_invoke_options, cli_invoke},
    {"bench", "NAME [ARGUMENT]", "call a function many times, show how long it takes",
     bench_details, 1, 2, cli_bench_options, cli_bench},
    {"calls", "", "list calls that were made", calls_details, 0, 0, cli_calls_options, cli_calls},
    {"call", "ID", "show the record of a call", call_details, 1, 1, NULL, cli_call},
    {"logs", "NAME | ID", "print what a function's calls, or one, wrote to standard error",
     logs_details, 1, 1, cli_logs_options, cli_logs},
    {"top", "", "show which functions are busy", top_details, 0, 0, cli_top_options, cli_top},
    {"result", "ID", "print the kept result of a queued call", result_details, 1, 1,
     cli_result_options, cli_result},
    {"cancel", "ID", "end a call", cancel_details, 1, 1, NULL, cli_cancel},
    {"dead list", "", "list queued calls that did not succeed", dead_details, 0, 0,
     cli_dead_options, cli_dead_list},
    {"dead show", "ID", "show one of them, with its argument", dead_details, 1, 1, NULL,
     cli_dead_show},
    {"dead redrive", "ID", "queue it anew", dead_details, 1, 1, NULL, cli_dead_redrive},
    {"remove", "NAME...", "remove functions", NULL, 1, CLI_LIST_MAX, NULL, cli_remove},
    {"secret set", "NAME", "keep a value for functions to read", secret_details, 1, 1,
     cli_secret_options, cli_secret_set},
    {"secret list", "", "list your secrets, without their values", NULL, 0, 0, NULL,
     cli_secret_list},
    {"secret remove", "NAME...", "remove secrets", NULL, 1, CLI_LIST_MAX, NULL, cli_secret_remove},
    {"push", "IMAGE [REFERENCE]", "the same as faas image push", push_details, 1, 2,
     cli_image_push_options, cli_image_push},
    {"registry login", "HOST", "keep your login for a registry of images", registry_details, 1, 1,
     cli_registry_options, cli_registry_login},
    {"registry list", "", "list the registries you have a login for", NULL, 0, 0, NULL,
     cli_registry_list},
    {"registry logout", "HOST...", "remove logins", NULL, 1, CLI_LIST_MAX, NULL,
     cli_registry_logout},
    {"image import", "PATH", "take in an image from a file or folder", import_details, 1, 1,
     cli_image_import_options, cli_image_import},
    {"image pull", "IMAGE", "take in an image from a registry", pull_details, 1, 1,
     cli_image_pull_options, cli_image_pull},
    {"image push", "IMAGE [REFERENCE]", "send an image to a registry", push_details, 1, 2,
     cli_image_push_options, cli_image_push},
    {"image pack", "DIR", "make an image of a folder", pack_details, 1, 1, cli_image_pack_options,
     cli_image_pack},
    {"image list", "", "list the images on this machine", NULL, 0, 0, cli_image_options,
     cli_image_list},
    {"image inspect", "IMAGE", "show an image", NULL, 1, 1, cli_image_options, cli_image_inspect},
    {"image remove", "IMAGE...", "remove images", image_remove_details, 1, CLI_LIST_MAX,
     cli_image_options, cli_image_remove},
    {"image prune", "", "remove images that nobody uses", prune_details, 0, 0,
     cli_image_prune_options, cli_image_prune},
    {"completion", "bash", "print the completion of a shell", completion_details, 1, CLI_LIST_MAX,
     NULL, cli_completion},
    {"version", "", "print the version", NULL, 0, 0, NULL, version},
    {"help", "[VERB]", "print help", NULL, 0, 2, help_options, help},
    {NULL, NULL, NULL, NULL, 0, 0, NULL, NULL},
};

static int unknown_verb(const char *name, const char *nearest)
{
    if (nearest != NULL)
        output_note("error: unknown verb %s; did you mean %s?", name, nearest);
    else
        output_note("error: unknown verb %s; `faas help` lists them", name);
    return CLI_USAGE;
}

static int run(const struct cli_verb *verb, int argc, char **argv)
{
    static struct cli_args args;
    bool wants_help = false;
    faas_err err = {0};
    int status;

    if (args_parse(verb, argc, argv, &args, &wants_help, &err) != FAAS_OK) {
        output_error(&err, args.common.is_json, NULL);
        return CLI_USAGE;
    }
    if (wants_help) {
        args_verb_help(verb, stdout);
        return CLI_OK;
    }
    status = verb->run(&args);
    if (!output_flush() && status == CLI_OK) {
        output_note("error: standard output cannot be written");
        return CLI_UNAVAILABLE;
    }
    return status;
}

/* faas GROUP VERB ...: argv begins with the group. */
static int run_group(int argc, char **argv)
{
    const struct cli_verb *verb;
    const char *nearest;
    char name[64];

    if (argc < 2)
        return group_help(argv[0], stderr);
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return group_help(argv[0], stdout);
    snprintf(name, sizeof name, "%s %s", argv[0], argv[1]);
    verb = args_find_verb(cli_verbs, name, &nearest);
    return verb != NULL ? run(verb, argc - 2, argv + 2) : unknown_verb(name, nearest);
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "", *nearest;
    const struct cli_verb *verb;

    setlocale(LC_CTYPE, "C.UTF-8");
    if (argc < 2) {
        args_program_help(cli_verbs, stderr);
        return CLI_USAGE;
    }
    if (is_group(name))
        return run_group(argc - 1, argv + 1);
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        name = "help";
    if (strcmp(name, "--version") == 0)
        name = "version";
    verb = args_find_verb(cli_verbs, name, &nearest);
    return verb != NULL ? run(verb, argc - 2, argv + 2) : unknown_verb(name, nearest);
}
