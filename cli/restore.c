/* restore.c - `faas restore`: a new data directory of what `faas backup` wrote.
 *
 * The file is read to its end, and its checksum with it, before anything is made.  From then on
 * DIR/restore.json says that the directory is not whole; it goes when everything is there. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "cli/backup_file.h"
#include "cli/datadir.h"
#include "cli/file.h"
#include "cli/image_backup.h"
#include "cli/output.h"
#include "cli/plan.h"
#include "cli/restore_write.h"
#include "cli/supervisor.h"
#include "cli/verb.h"

#define NO_LOG ((enum faas_log_level)(FAAS_LOG_ERROR + 1)) /* standard error is the user's */

#define CERTIFICATE "keys/tls.pem" /* for whoever is to trust it */
#define NOT_WHOLE   "%s is not whole, and `faas up` refuses it; remove it before you restore again"

#define STREAM_REPLICAS 3

static const char *data;
static struct cli_list replicas;
static struct session_at at;

const struct cli_option cli_restore_options[] = {
    {"data", CLI_TEXT, &data, "DIR", "made by it, or empty (~/.local/share/faas)", 0, 0, NULL},
    {"replicas", CLI_LIST, &replicas, "nats=N",
     "NATS servers of the new directory (1, 3 or 5; as in the backup)", 0, 0, NULL},
    SESSION_OPTIONS(at, "servers of a new deployment whose keys `faas init` made in DIR"),
    CLI_OPTION_END,
};

struct restore {
    char *path; /* the data directory */
    int nats;   /* 0: as in the backup */
    char created_at[FAAS_TIME_TEXT];
    bool has_begun; /* DIR is claimed */
    struct backup_in in;
    json_t *said; /* what the verb prints */
    struct restore_write write;
};

static faas_code read_options(struct restore *restore, faas_err *err)
{
    int counts[ROLE_COUNT] = {0};

    for (size_t i = 0; i < replicas.count; i++) {
        if (strncmp(replicas.items[i], "nats=", 5) != 0)
            return faas_fail(err, FAAS_INVALID,
                             "--replicas: only the number of NATS servers is kept in a data "
                             "directory, nats=N");
        FAAS_TRY(plan_parse_replicas(replicas.items[i], counts, err));
    }
    restore->nats = counts[ROLE_NATS];
    return FAAS_OK;
}

/* ---- the target ---- */

static bool is_counted(const char *name)
{
    return strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && strcmp(name, DATADIR_RESTORE) != 0;
}

/* Whether anything but our marker is in it. */
static faas_code look(const char *path, bool *out_has_more, faas_err *err)
{
    DIR *folder = opendir(path);
    const struct dirent *entry;
    faas_code code = FAAS_OK;

    *out_has_more = false;
    if (folder == NULL)
        return errno == ENOENT ? FAAS_OK : file_fail(err, "restore into", path, errno);
    errno = 0;
    while ((entry = readdir(folder)) != NULL && !is_counted(entry->d_name))
        ;
    if (entry == NULL && errno != 0)
        code = file_fail(err, "read", path, errno);
    *out_has_more = entry != NULL;
    closedir(folder);
    return code;
}

static faas_code check_empty(const char *path, faas_err *err)
{
    bool has_more;

    FAAS_TRY(look(path, &has_more, err));
    if (!has_more)
        return FAAS_OK;
    return faas_fail(err, FAAS_INVALID,
                     "%s is not empty; a backup is restored into a new directory: name one with "
                     "--data",
                     path);
}

static faas_code sync_folder(const char *path, faas_err *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    faas_code code = FAAS_OK;

    if (fd < 0 || fsync(fd) != 0)
        code = file_fail(err, "write", path, errno);
    if (fd >= 0)
        close(fd);
    return code;
}

/* Of two restores into one directory one makes the marker; a `faas up` that began meanwhile sees the
 * marker behind its own lock, or we see the lock. */
static faas_code claim(const struct restore *restore, faas_err *err)
{
    FAAS_AUTO(char) *marker = file_path("%s/" DATADIR_RESTORE, restore->path);
    int fd;

    if (marker == NULL)
        return faas_fail_sys(err, ENOMEM, "restore");
    FAAS_TRY(file_make_dirs(restore->path, err));
    if (chmod(restore->path, 0700) != 0)
        return file_fail(err, "make private", restore->path, errno);
    fd = open(marker, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 && errno == EEXIST)
        return datadir_check_whole(restore->path, err);
    if (fd < 0)
        return file_fail(err, "make", marker, errno);
    close(fd);
    if (check_empty(restore->path, err) != FAAS_OK) {
        (void)unlink(marker);
        return err->code;
    }
    return sync_folder(restore->path, err);
}

static faas_code release(const struct restore *restore, faas_err *err)
{
    FAAS_AUTO(char) *marker = file_path("%s/" DATADIR_RESTORE, restore->path);

    if (marker == NULL)
        return faas_fail_sys(err, ENOMEM, "restore");
    if (unlink(marker) != 0)
        return file_fail(err, "remove", marker, errno);
    return sync_folder(restore->path, err);
}

/* ---- the file ---- */

static faas_code take_header(struct restore *restore, const struct backup_record *record,
                             faas_err *err)
{
    FAAS_AUTO(json_t) *doc = NULL;
    const char *created_at;
    json_int_t nats;

    if (faas_json_parse(record->value, record->len, false, &doc, err) != FAAS_OK)
        return faas_fail(err, FAAS_INVALID, "%s: not restored: its header is no JSON object",
                         restore->in.path);
    created_at = json_string_value(json_object_get(doc, "created_at"));
    nats = json_integer_value(json_object_get(doc, "nats_servers"));
    snprintf(restore->created_at, sizeof restore->created_at, "%s",
             created_at != NULL ? created_at : "?");
    if (restore->nats == 0)
        restore->nats = nats == 3 || nats == 5 ? (int)nats : 1;
    return FAAS_OK;
}

/* All of it once, before anything is made. */
static faas_code check(struct restore *restore, faas_err *err)
{
    struct backup_record record;

    do {
        FAAS_TRY(backup_next(&restore->in, &record, err));
        if (record.kind == BACKUP_HEADER)
            FAAS_TRY(take_header(restore, &record, err));
    } while (record.kind != BACKUP_END);
    return FAAS_OK;
}

static faas_code write_file(const struct restore *restore, const struct backup_record *record,
                            faas_err *err)
{
    FAAS_AUTO(char) *path = file_path("%s/%s", restore->path, record->name); /* of backup_files */
    FAAS_AUTO(char) *keys = file_path("%s/keys", restore->path);

    if (path == NULL || keys == NULL)
        return faas_fail_sys(err, ENOMEM, "restore");
    FAAS_TRY(file_make_dirs(keys, err));
    return file_write(path, record->value, record->len,
                      strcmp(record->name, CERTIFICATE) == 0 ? 0644 : 0600, err);
}

/* Before the plan, which would make new ones. */
static faas_code write_files(struct restore *restore, faas_err *err)
{
    struct backup_record record;

    FAAS_TRY(backup_rewind(&restore->in, err));
    do {
        FAAS_TRY(backup_next(&restore->in, &record, err));
        if (record.kind == BACKUP_FILE)
            FAAS_TRY(write_file(restore, &record, err));
    } while (record.kind == BACKUP_HEADER || record.kind == BACKUP_FILE);
    return FAAS_OK;
}

/* ---- all of it ---- */

static faas_code fill(struct restore *restore, faas_err *err)
{
    struct up_options options = {.data = restore->path, .address = "127.0.0.1", .is_restore = true};
    struct supervisor_setup setup = {.job = restore_write, .arg = &restore->write};
    struct plan plan;
    int status;

    options.replicas[ROLE_NATS] = restore->nats;
    FAAS_TRY(plan_make(&options, &plan, err));
    restore->write = (struct restore_write){.in = &restore->in,
                                            .at = {.urls = plan.nats_urls},
                                            .auth_seed = plan.seed_paths[ROLE_AUTH],
                                            .registry_seed = plan.seed_paths[ROLE_REGISTRY],
                                            .replicas = plan.stream_replicas,
                                            .said = restore->said};
    status = supervisor_run(&plan, &setup);
    if (!atomic_load(&restore->write.is_done)) {
        output_note(NOT_WHOLE, restore->path);
        fflush(NULL);
        _exit(CLI_UNAVAILABLE); /* told by the supervisor; the thread may still use all of this */
    }
    plan_done(&plan);
    if (status == CLI_OK)
        return FAAS_OK;
    if (restore->write.code == FAAS_OK)
        return faas_fail(err, FAAS_UNAVAILABLE, "interrupted");
    *err = restore->write.err;
    return err->code;
}

static faas_code take_images(struct restore *restore, struct image_restore *images, faas_err *err)
{
    struct backup_record record;

    FAAS_TRY(backup_rewind(&restore->in, err));
    for (;;) {
        FAAS_TRY(backup_next(&restore->in, &record, err));
        if (record.kind == BACKUP_IMAGE || record.kind == BACKUP_BLOB || record.kind == BACKUP_DATA)
            FAAS_TRY(image_restore_take(images, &record, err));
        if (record.kind == BACKUP_END)
            return image_restore_finish(images, restore->said, err);
    }
}

/* When the supervisor is through: its loop would take the ends of the processes that read images. */
static faas_code write_images(struct restore *restore, faas_err *err)
{
    struct image_restore images = {.data = restore->path};
    faas_code code = take_images(restore, &images, err);

    image_restore_done(&images);
    if (code == FAAS_INTERNAL && err->detail[0] != '\0') /* the user's own paths and reasons */
        (void)faas_fail(err, FAAS_UNAVAILABLE, "%s", err->detail);
    return code;
}

/* ---- into a deployment in containers ---- */

/* As many as `faas init` was told. */
static faas_code count_servers(struct restore *restore, faas_err *err)
{
    FAAS_AUTO(char) *cluster_file = file_path("%s/cluster.json", restore->path);
    FAAS_AUTO(json_t) *cluster = NULL;

    if (cluster_file == NULL)
        return faas_fail_sys(err, ENOMEM, "restore");
    if (replicas.count > 0)
        return faas_fail(err, FAAS_INVALID, "--replicas: a deployment's servers are there already");
    FAAS_TRY(file_read_json(cluster_file, &cluster, err));
    restore->nats = (int)json_integer_value(json_object_get(cluster, "nats"));
    return restore->nats > 0
               ? FAAS_OK
               : faas_fail(err, FAAS_INVALID, "%s holds no deployment's keys (`faas init`)",
                           restore->path);
}

/* The keys that what is in the buckets was made with. */
static faas_code write_keys(struct restore *restore, faas_err *err)
{
    struct backup_record record;

    FAAS_TRY(backup_rewind(&restore->in, err));
    do {
        FAAS_TRY(backup_next(&restore->in, &record, err));
        if (record.kind == BACKUP_FILE && (strcmp(record.name, "keys/token-1.pem") == 0 ||
                                           strcmp(record.name, "keys/secrets.key") == 0 ||
                                           strcmp(record.name, "keys/admin.password") == 0))
            FAAS_TRY(write_file(restore, &record, err));
    } while (record.kind == BACKUP_HEADER || record.kind == BACKUP_FILE);
    return FAAS_OK;
}

static faas_code mark(const struct restore *restore, faas_err *err)
{
    FAAS_AUTO(char) *marker = file_path("%s/" DATADIR_RESTORE, restore->path);

    if (marker == NULL)
        return faas_fail_sys(err, ENOMEM, "restore");
    FAAS_TRY(file_write(marker, "", 0, 0600, err));
    return sync_folder(restore->path, err);
}

static faas_code fill_deployment(struct restore *restore, faas_err *err)
{
    FAAS_TRY(restore_write_empty(&restore->write, err));
    FAAS_TRY(mark(restore, err));
    restore->has_begun = true;
    FAAS_TRY(write_keys(restore, err));
    if (restore_write(&restore->write) != FAAS_OK) {
        *err = restore->write.err;
        return err->code;
    }
    return release(restore, err);
}

static faas_code run_deployment(struct restore *restore, const char *from, faas_err *err)
{
    FAAS_AUTO(char) *auth_seed = NULL;
    FAAS_AUTO(char) *registry_seed = NULL;

    FAAS_TRY(datadir_path(data, &restore->path, err));
    FAAS_TRY(datadir_check_whole(restore->path, err));
    FAAS_TRY(count_servers(restore, err));
    FAAS_TRY(backup_open(from, &restore->in, err));
    FAAS_TRY(check(restore, err));
    auth_seed = file_path("%s/keys/nats-auth.seed", restore->path);
    registry_seed = file_path("%s/keys/nats-registry.seed", restore->path);
    if (auth_seed == NULL || registry_seed == NULL)
        return faas_fail_sys(err, ENOMEM, "restore");
    umask(077);
    restore->write = (struct restore_write){
        .in = &restore->in,
        .at = at,
        .auth_seed = auth_seed,
        .registry_seed = registry_seed,
        .replicas = restore->nats < STREAM_REPLICAS ? restore->nats : STREAM_REPLICAS,
        .said = restore->said};
    return fill_deployment(restore, err);
}

static faas_code run(struct restore *restore, const char *from, faas_err *err)
{
    FAAS_TRY(read_options(restore, err));
    FAAS_TRY(datadir_path(data, &restore->path, err));
    FAAS_TRY(datadir_check_whole(restore->path, err));
    FAAS_TRY(check_empty(restore->path, err));
    FAAS_TRY(backup_open(from, &restore->in, err));
    FAAS_TRY(check(restore, err));
    umask(077);
    FAAS_TRY(claim(restore, err));
    restore->has_begun = true;
    FAAS_TRY(write_files(restore, err));
    FAAS_TRY(fill(restore, err));
    FAAS_TRY(write_images(restore, err));
    return release(restore, err);
}

static void say(const struct restore *restore, bool is_json)
{
    if (is_json) {
        json_object_set_new(restore->said, "data", json_string(restore->path));
        json_object_set_new(restore->said, "nats_servers", json_integer(restore->nats));
        json_object_set_new(restore->said, "created_at", json_string(restore->created_at));
        output_json(restore->said, stdout);
        return;
    }
    output_say("restored the backup of %s into %s", restore->created_at, restore->path);
    if (at.urls != NULL)
        return;
    output_say("start it with: faas up --data %s --replicas nats=%d", restore->path, restore->nats);
}

static int exit_of(faas_code code)
{
    if (code == FAAS_INVALID)
        return CLI_USAGE;
    return code == FAAS_CONFLICT ? CLI_NOT_ALLOWED : CLI_UNAVAILABLE;
}

int cli_restore(const struct cli_args *args)
{
    struct restore restore = {.said = json_object()};
    faas_err err = {0};
    faas_code code;

    faas_log_setup("faas", "restore", NO_LOG);
    code = at.urls != NULL ? run_deployment(&restore, args->rest.items[0], &err)
                           : run(&restore, args->rest.items[0], &err);
    if (code == FAAS_OK)
        say(&restore, args->common.is_json);
    else
        output_error(&err, args->common.is_json, NULL);
    if (code != FAAS_OK && restore.has_begun)
        output_note(NOT_WHOLE, restore.path);
    backup_in_done(&restore.in);
    json_decref(restore.said);
    free(restore.path);
    return code == FAAS_OK ? CLI_OK : exit_of(code);
}
