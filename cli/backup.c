/* backup.c - `faas backup`: what a platform that runs keeps, as one file. */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "cli/backup_file.h"
#include "cli/datadir.h"
#include "cli/file.h"
#include "cli/image_backup.h"
#include "cli/output.h"
#include "cli/session.h"
#include "cli/verb.h"
#include "version.h"

#define READ_MS       20000 /* an election may be under way */
#define REPLICAS_MOST 3
#define NO_LOG        ((enum faas_log_level)(FAAS_LOG_ERROR + 1)) /* standard error is the user's */
#define PASSING       "ready." /* keys that `faas up` writes and takes away: of no use elsewhere */

static const char *data;
static struct session_at at;

const struct cli_option cli_backup_options[] = {
    {"data", CLI_TEXT, &data, "DIR", "as given to `faas up` (~/.local/share/faas), or `faas init`",
     0, 0, NULL},
    SESSION_OPTIONS(at, "servers of a deployment whose keys `faas init` made in DIR"),
    CLI_OPTION_END,
};

struct backup {
    const char *path; /* the data directory */
    int nats;         /* servers that run there */
    struct backup_out out;
    json_t *said; /* what the verb prints */
};

/* ---- header and files ---- */

static faas_code put_header(struct backup *backup, faas_err *err)
{
    char now[FAAS_TIME_TEXT];
    FAAS_AUTO(json_t) *doc = NULL;
    FAAS_AUTO(char) *text = NULL;
    size_t len;

    faas_time_format(faas_wall_ms(), now);
    doc = json_pack("{s:i,s:s,s:s,s:i}", "v", BACKUP_VERSION, "program", FAAS_VERSION, "created_at",
                    now, "nats_servers", backup->nats);
    text = doc != NULL ? faas_json_text(doc, &len) : NULL;
    if (text == NULL)
        return faas_fail_sys(err, ENOMEM, "backup");
    FAAS_TRY(backup_begin(&backup->out, err));
    return backup_put(&backup->out, BACKUP_HEADER, "", text, len, err);
}

static faas_code put_files(struct backup *backup, faas_err *err)
{
    for (size_t i = 0; backup_files[i] != NULL; i++) {
        FAAS_AUTO(char) *path = file_path("%s/%s", backup->path, backup_files[i]);
        FAAS_AUTO(char) *text = NULL;
        faas_code code;
        size_t len;

        if (path == NULL)
            return faas_fail_sys(err, ENOMEM, "backup");
        FAAS_TRY(file_read(path, &text, &len, err));
        if (text == NULL || len == 0) /* HTTPS was never asked for */
            continue;
        code = backup_put(&backup->out, BACKUP_FILE, backup_files[i], text, len, err);
        sodium_memzero(text, len);
        FAAS_TRY(code);
    }
    return FAAS_OK;
}

/* ---- buckets ---- */

/* What was last when the reading began; later revisions may replace what was read before. */
static faas_code put_change(struct backup *backup, const struct faas_kv_change *change,
                            uint64_t last, json_int_t *count, faas_err *err)
{
    const struct faas_kv_entry *entry = &change->entry;
    bool is_late = entry->revision > last;

    if (change->key[0] == '\0' || strncmp(change->key, PASSING, strlen(PASSING)) == 0)
        return FAAS_OK;
    if (change->is_delete)
        return is_late ? backup_put(&backup->out, BACKUP_DELETED, change->key, NULL, 0, err)
                       : FAAS_OK;
    ++*count;
    return backup_put(&backup->out, is_late ? BACKUP_CHANGED : BACKUP_ENTRY, change->key,
                      entry->value, entry->len, err);
}

/* In the order of revisions to the very end: then every key was met at its newest value, and what
 * was written is the bucket as it was when its last entry was read. */
static faas_code put_changes(struct backup *backup, faas_kv *kv, json_int_t *count, faas_err *err)
{
    uint64_t last, next = 1;

    FAAS_TRY(faas_kv_last(kv, faas_deadline_in_ms(READ_MS), &last, err));
    for (;;) {
        struct faas_kv_change change = {.key = ""};
        faas_code code = faas_kv_next(kv, next, faas_deadline_in_ms(READ_MS), &change, err);

        if (code == FAAS_NOT_FOUND && next > last) {
            *err = (faas_err){0};
            return FAAS_OK;
        }
        if (code == FAAS_NOT_FOUND)
            return faas_fail(err, FAAS_UNAVAILABLE,
                             "the store lost its newest entries while it was read; try again");
        FAAS_TRY(code);
        code = put_change(backup, &change, last, count, err);
        next = change.entry.revision + 1;
        faas_kv_entry_done(&change.entry);
        FAAS_TRY(code);
    }
}

static faas_code put_bucket(struct backup *backup, faas_rpc *rpc, const char *bucket, faas_err *err)
{
    int replicas = backup->nats < REPLICAS_MOST ? backup->nats : REPLICAS_MOST;
    json_int_t count = 0;
    faas_kv *kv = NULL;
    faas_code code = faas_kv_open(rpc, bucket, replicas, faas_deadline_in_ms(READ_MS), &kv, err);

    if (code == FAAS_OK)
        code = backup_put(&backup->out, BACKUP_BUCKET, bucket, NULL, 0, err);
    if (code == FAAS_OK)
        code = put_changes(backup, kv, &count, err);
    faas_kv_close(kv);
    FAAS_TRY(code);
    return json_object_set_new(backup->said, bucket, json_integer(count)) == 0
               ? FAAS_OK
               : faas_fail_sys(err, ENOMEM, "backup");
}

static faas_code open_session(const char *path, struct session *session, faas_err *err)
{
    FAAS_AUTO(char) *seed_file = file_path("%s/keys/nats-cli.seed", path);

    *session = (struct session){.loop = NULL};
    if (at.urls == NULL)
        return session_open_data(path, "backup", session, err);
    if (seed_file == NULL)
        return faas_fail_sys(err, ENOMEM, "paths");
    at.nkey_file = seed_file;
    return session_open(&at, "backup", session, err);
}

static faas_code put_buckets(struct backup *backup, faas_err *err)
{
    struct session session;
    faas_code code = open_session(backup->path, &session, err);

    for (size_t i = 0; backup_buckets[i] != NULL && code == FAAS_OK; i++)
        code = put_bucket(backup, session.rpc, backup_buckets[i], err);
    (void)session_close(&session);
    faas_bus_end();
    return code;
}

/* ---- the verb ---- */

/* Of a deployment in containers there is the number of its servers, and nothing here that runs. */
static faas_code find_deployment(struct backup *backup, faas_err *err)
{
    FAAS_AUTO(char) *cluster_file = file_path("%s/cluster.json", backup->path);
    FAAS_AUTO(json_t) *cluster = NULL;

    if (cluster_file == NULL)
        return faas_fail_sys(err, ENOMEM, "paths");
    FAAS_TRY(file_read_json(cluster_file, &cluster, err));
    backup->nats = (int)json_integer_value(json_object_get(cluster, "nats"));
    return backup->nats > 0
               ? FAAS_OK
               : faas_fail(err, FAAS_NOT_FOUND, "%s holds no deployment's keys (`faas init`)",
                           backup->path);
}

/* A platform that only starts may have no buckets yet, and they are not ours to make. */
static faas_code find_platform(struct backup *backup, faas_err *err)
{
    FAAS_AUTO(char) *state_file = file_path("%s/state.json", backup->path);
    FAAS_AUTO(json_t) *state = NULL;
    pid_t pid;

    if (state_file == NULL)
        return faas_fail_sys(err, ENOMEM, "paths");
    FAAS_TRY(datadir_holder(backup->path, &pid, err));
    if (pid == 0)
        return faas_fail(err, FAAS_NOT_FOUND,
                         "nothing runs in %s; a backup is made of a platform that runs (`faas up`)",
                         backup->path);
    FAAS_TRY(datadir_check_whole(backup->path, err));
    FAAS_TRY(file_read_json(state_file, &state, err));
    if (!json_is_true(json_object_get(state, "ready")))
        return faas_fail(err, FAAS_UNAVAILABLE, "process %d is starting or stopping in %s",
                         (int)pid, backup->path);
    backup->nats = (int)json_integer_value(json_object_get(state, "nats_servers"));
    return backup->nats > 0 ? FAAS_OK : faas_fail(err, FAAS_INVALID, "%s: damaged", state_file);
}

static faas_code make(struct backup *backup, const char *to, faas_err *err)
{
    FAAS_TRY(at.urls != NULL ? find_deployment(backup, err) : find_platform(backup, err));
    FAAS_TRY(backup_create(to, &backup->out, err));
    output_note("the backup holds password hashes and private keys: who can read it can be anybody "
                "on this platform");
    FAAS_TRY(put_header(backup, err));
    FAAS_TRY(put_files(backup, err));
    FAAS_TRY(put_buckets(backup, err));
    FAAS_TRY(image_backup(backup->path, &backup->out, backup->said, err));
    return backup_finish(&backup->out, err);
}

static int exit_of(faas_code code)
{
    if (code == FAAS_INVALID)
        return CLI_USAGE;
    return code == FAAS_NOT_FOUND ? CLI_NOT_FOUND : CLI_UNAVAILABLE;
}

static json_int_t said(const struct backup *backup, const char *name)
{
    return json_integer_value(json_object_get(backup->said, name));
}

static void say(const struct backup *backup, const char *to, bool is_json)
{
    if (is_json) {
        json_object_set_new(backup->said, "file", json_string(to));
        json_object_set_new(backup->said, "bytes", json_integer((json_int_t)backup->out.bytes));
        output_json(backup->said, stdout);
        return;
    }
    output_say("%s: %llu bytes; entries of functions %lld, users %lld, revocations %lld, secrets "
               "%lld; images %lld",
               to, (unsigned long long)backup->out.bytes, said(backup, "functions"),
               said(backup, "users"), said(backup, "revocations"), said(backup, "secrets"),
               said(backup, "images"));
}

int cli_backup(const struct cli_args *args)
{
    const char *to = args->rest.items[0];
    FAAS_AUTO(char) *path = NULL;
    struct backup backup = {.said = json_object()};
    faas_err err = {0};
    faas_code code;

    faas_log_setup("faas", "backup", NO_LOG);
    if (strcmp(to, "-") == 0 && args->common.is_json)
        code = faas_fail(&err, FAAS_INVALID, "--json and - both want standard output");
    else
        code = datadir_path(data, &path, &err);
    backup.path = path;
    if (code == FAAS_OK)
        code = make(&backup, to, &err);
    if (code == FAAS_OK && strcmp(to, "-") != 0)
        say(&backup, to, args->common.is_json);
    backup_out_done(&backup.out);
    json_decref(backup.said);
    if (code == FAAS_OK)
        return CLI_OK;
    if (code == FAAS_INTERNAL && err.detail[0] != '\0') /* the operator's own paths and reasons */
        (void)faas_fail(&err, FAAS_UNAVAILABLE, "%s", err.detail);
    output_error(&err, args->common.is_json, NULL);
    return exit_of(code);
}
