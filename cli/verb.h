/* verb.h - one row per command of `faas`: its arguments, its options, what runs it.
 * Row       main.c holds the table; help, "did you mean" and parsing read the same rows.
 * Options   a table per verb; targets are the verb's own static storage and hold the defaults
 *           before parsing.  Passwords and tokens never have an option: argv is public.
 * Exit      the numbers below mean the same for every verb; `faas help` prints them.
 * Threads   used before any thread starts.
 */
#ifndef CLI_VERB_H
#define CLI_VERB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"

enum cli_exit {
    CLI_OK = 0,
    CLI_FUNCTION_FAILED = 1,
    CLI_WRONG = 1,       /* `faas doctor` found something */
    CLI_USAGE = 2,       /* the command line, or what it asks for, is wrong */
    CLI_NOT_ALLOWED = 3, /* not logged in, token expired; `faas up`: the directory is in use */
    CLI_NOT_FOUND = 4,
    CLI_UNAVAILABLE = 5, /* platform unreachable, busy, out of time, or an error of its own */
};

#define CLI_LIST_MAX 64 /* repetitions of one option, and positional arguments */

struct cli_list {
    const char *items[CLI_LIST_MAX]; /* borrowed from argv */
    size_t count;
};

struct cli_option {
    const char *name; /* without dashes; NULL ends a table */
    enum cli_option_kind {
        CLI_FLAG, /* bool * */
        CLI_TEXT, /* const char **, borrowed from argv */
        CLI_INT,  /* int64_t *, min..max */
        CLI_REAL, /* double *, min..max */
        CLI_LIST, /* struct cli_list *, may be repeated */
    } kind;
    void *target;
    const char *value; /* what the help calls the value; NULL for flags */
    const char *help;
    double min, max;
    bool *is_present; /* set when given; may be NULL */
};
#define CLI_OPTION_END                                                                             \
    {                                                                                              \
        .name = NULL                                                                               \
    }

struct cli_common { /* options every verb has */
    bool is_json, is_verbose;
    const char *server;  /* NULL: environment, credentials file, built-in default */
    const char *ca_file; /* NULL: environment, credentials file, the system's */
};

struct cli_args {
    struct cli_common common;
    struct cli_list rest; /* positional arguments */
};

struct cli_verb {
    const char *name;      /* one word or two; NULL ends the table */
    const char *arguments; /* as the help shows them: "NAME [ARGUMENT]" */
    const char *summary;
    const char *details;                     /* further help text, or NULL */
    size_t least, most;                      /* positional arguments */
    const struct cli_option *options;        /* or NULL */
    int (*run)(const struct cli_args *args); /* returns an exit status */
};

extern const struct cli_verb cli_verbs[]; /* main.c */

/* account.c */
extern const struct cli_option cli_register_options[];
extern const struct cli_option cli_password_options[];
extern const struct cli_option cli_passwd_options[];
int cli_register(const struct cli_args *args);
int cli_login(const struct cli_args *args);
int cli_logout(const struct cli_args *args);
int cli_whoami(const struct cli_args *args);
int cli_passwd(const struct cli_args *args);
extern const struct cli_option cli_account_delete_options[];
int cli_account_delete(const struct cli_args *args);
/* apikey.c */
extern const struct cli_option cli_apikey_create_options[];
int cli_apikey_create(const struct cli_args *args);
int cli_apikey_list(const struct cli_args *args);
int cli_apikey_remove(const struct cli_args *args);
/* admin.c; records: calls.c */
extern const struct cli_option cli_admin_users_options[];
extern const struct cli_option cli_admin_quota_options[];
int cli_admin_users(const struct cli_args *args);
int cli_admin_user(const struct cli_args *args);
int cli_admin_quota(const struct cli_args *args);
int cli_admin_disable(const struct cli_args *args);
int cli_admin_enable(const struct cli_args *args);
int cli_admin_role(const struct cli_args *args);
extern const struct cli_option cli_admin_delete_options[];
int cli_admin_delete(const struct cli_args *args);
int cli_admin_records(const struct cli_args *args);
int cli_quota(const struct cli_args *args);
/* calls.c */
extern const struct cli_option cli_calls_options[];
int cli_calls(const struct cli_args *args);
int cli_call(const struct cli_args *args);
/* logs.c, top.c */
extern const struct cli_option cli_logs_options[];
int cli_logs(const struct cli_args *args);
extern const struct cli_option cli_top_options[];
int cli_top(const struct cli_args *args);
/* deploy.c, functions.c, invoke.c */
extern const struct cli_option cli_deploy_options[];
extern const struct cli_option cli_list_options[];
extern const struct cli_option cli_invoke_options[];
int cli_deploy(const struct cli_args *args);
int cli_list_functions(const struct cli_args *args);
int cli_describe(const struct cli_args *args);
int cli_remove(const struct cli_args *args);
int cli_invoke(const struct cli_args *args);
/* new.c, build.c */
extern const struct cli_option cli_new_options[];
extern const struct cli_option cli_build_options[];
int cli_new(const struct cli_args *args);
int cli_build(const struct cli_args *args);
/* bench.c */
extern const struct cli_option cli_bench_options[];
int cli_bench(const struct cli_args *args);
/* completion.c */
int cli_completion(const struct cli_args *args);
/* versions.c */
extern const struct cli_option cli_rollback_options[];
int cli_versions(const struct cli_args *args);
int cli_rollback(const struct cli_args *args);
int cli_refresh(const struct cli_args *args);
int cli_alias_set(const struct cli_args *args);
int cli_alias_list(const struct cli_args *args);
int cli_alias_remove(const struct cli_args *args);
int cli_disable(const struct cli_args *args);
int cli_enable(const struct cli_args *args);
/* queued.c */
extern const struct cli_option cli_result_options[];
extern const struct cli_option cli_dead_options[];
int cli_result(const struct cli_args *args);
int cli_cancel(const struct cli_args *args);
int cli_dead_list(const struct cli_args *args);
int cli_dead_show(const struct cli_args *args);
int cli_dead_redrive(const struct cli_args *args);
/* up.c, down.c, status.c, rotate.c, invite.c, init.c */
extern const struct cli_option cli_up_options[];
extern const struct cli_option cli_down_options[];
extern const struct cli_option cli_status_options[];
extern const struct cli_option cli_keys_options[];
int cli_up(const struct cli_args *args);
int cli_down(const struct cli_args *args);
int cli_status(const struct cli_args *args);
/* doctor.c, scale.c */
extern const struct cli_option cli_doctor_options[];
extern const struct cli_option cli_scale_options[];
int cli_doctor(const struct cli_args *args);
int cli_scale(const struct cli_args *args);
extern const struct cli_option cli_invite_options[];
int cli_invite(const struct cli_args *args);
extern const struct cli_option cli_init_options[];
int cli_init(const struct cli_args *args);
int cli_keys(const struct cli_args *args);
/* backup.c, restore.c */
extern const struct cli_option cli_backup_options[];
extern const struct cli_option cli_restore_options[];
int cli_backup(const struct cli_args *args);
int cli_restore(const struct cli_args *args);
/* registry_login.c */
extern const struct cli_option cli_registry_options[];
int cli_registry_login(const struct cli_args *args);
int cli_registry_list(const struct cli_args *args);
int cli_registry_logout(const struct cli_args *args);

/* secret.c */
extern const struct cli_option cli_secret_options[];
int cli_secret_set(const struct cli_args *args);
int cli_secret_list(const struct cli_args *args);
int cli_secret_remove(const struct cli_args *args);
/* image.c */
extern const struct cli_option cli_image_options[];
extern const struct cli_option cli_image_import_options[];
extern const struct cli_option cli_image_pull_options[];
extern const struct cli_option cli_image_push_options[];
extern const struct cli_option cli_image_pack_options[];
extern const struct cli_option cli_image_prune_options[];
int cli_image_import(const struct cli_args *args);
int cli_image_pull(const struct cli_args *args);
int cli_image_push(const struct cli_args *args);
int cli_image_pack(const struct cli_args *args);
int cli_image_list(const struct cli_args *args);
int cli_image_inspect(const struct cli_args *args);
int cli_image_remove(const struct cli_args *args);
int cli_image_prune(const struct cli_args *args);
void cli_image_settings(FILE *to); /* for the help */

#endif
