#include "catalog_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUSY_MS 5000

static faas_code sql_fail(faas_err *err, sqlite3 *db, const char *what)
{
    return faas_fail_sys(err, EIO, "catalog: %s: %s", what,
                         db == NULL ? "no memory" : sqlite3_errmsg(db));
}

static faas_code run(sqlite3 *db, const char *sql, faas_err *err)
{
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        return sql_fail(err, db, sql);
    return FAAS_OK;
}

static char *join(const char *dir, const char *name, const char *suffix)
{
    char *path;

    return asprintf(&path, "%s/%s%s", dir, name, suffix) < 0 ? NULL : path;
}

/* The database and what SQLite keeps beside it. */
static void remove_files(const char *path)
{
    static const char *const suffixes[] = {"", "-wal", "-shm", "-journal"};

    for (size_t i = 0; i < FAAS_ARRAY_LEN(suffixes); i++) {
        FAAS_AUTO(char) *name = NULL;

        if (asprintf(&name, "%s%s", path, suffixes[i]) < 0)
            name = NULL;
        else
            (void)unlink(name);
    }
}

static int open_private(const char *path)
{
    return open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
}

/* One "<instance>.lock" of another process: gone with its database unless somebody holds it. */
static void sweep_one(const char *dir, const char *lock_name)
{
    size_t stem = strlen(lock_name) - strlen(".lock");
    FAAS_AUTO(char) *lock_path = join(dir, lock_name, "");
    FAAS_AUTO(char) *db_path = NULL;
    int fd;

    if (asprintf(&db_path, "%s/%.*s.db", dir, (int)stem, lock_name) < 0)
        db_path = NULL;
    if (lock_path == NULL || db_path == NULL)
        return;
    fd = open_private(lock_path);
    if (fd < 0)
        return;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
        remove_files(db_path);
        (void)unlink(lock_path);
    }
    close(fd);
}

static bool ends_with(const char *text, const char *end)
{
    size_t len = strlen(text), tail = strlen(end);

    return len > tail && strcmp(text + len - tail, end) == 0;
}

static faas_code sweep(const char *dir, const char *own_lock, faas_err *err)
{
    DIR *list = opendir(dir);
    struct dirent *entry;

    if (list == NULL)
        return faas_fail_sys(err, errno, "open %s", dir);
    while ((entry = readdir(list)) != NULL)
        if (ends_with(entry->d_name, ".lock") && strcmp(entry->d_name, own_lock) != 0)
            sweep_one(dir, entry->d_name);
    closedir(list);
    return FAAS_OK;
}

/* With the directory's own lock held: nobody else looks or takes meanwhile. */
static faas_code claim_alone(struct catalog_file *file, const char *dir, const char *instance,
                             faas_err *err)
{
    FAAS_AUTO(char) *lock_name = NULL;
    FAAS_AUTO(char) *lock_path = join(dir, instance, ".lock");

    if (asprintf(&lock_name, "%s.lock", instance) < 0)
        lock_name = NULL;
    if (lock_name == NULL || lock_path == NULL || file->path == NULL)
        return faas_fail_sys(err, ENOMEM, "catalog paths");
    FAAS_TRY(sweep(dir, lock_name, err));
    file->lock_fd = open_private(lock_path);
    if (file->lock_fd < 0)
        return faas_fail_sys(err, errno, "open %s", lock_path);
    if (flock(file->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return FAAS_OK;
    if (errno != EWOULDBLOCK)
        return faas_fail_sys(err, errno, "lock %s", lock_path);
    return faas_fail(err, FAAS_INVALID,
                     "INSTANCE_ID: another registry with this id runs on this DATA_DIR");
}

faas_code catalog_file_claim(struct catalog_file *file, const struct catalog_layout *layout,
                             const char *dir, const char *instance, faas_err *err)
{
    FAAS_AUTO(char) *sweep_path = join(dir, ".sweep", "");
    int fd;
    faas_code rc;

    *file =
        (struct catalog_file){.layout = layout, .lock_fd = -1, .path = join(dir, instance, ".db")};
    if (sweep_path == NULL)
        return faas_fail_sys(err, ENOMEM, "catalog paths");
    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        return faas_fail_sys(err, errno, "make %s", dir);
    fd = open_private(sweep_path);
    if (fd < 0)
        return faas_fail_sys(err, errno, "open %s", sweep_path);
    if (flock(fd, LOCK_EX) != 0)
        rc = faas_fail_sys(err, errno, "lock %s", sweep_path);
    else
        rc = claim_alone(file, dir, instance, err);
    close(fd);
    return rc;
}

static faas_code open_connections(struct catalog_file *file, faas_err *err)
{
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX;

    if (sqlite3_open_v2(file->path, &file->writer, flags, NULL) != SQLITE_OK)
        return sql_fail(err, file->writer, "open");
    sqlite3_busy_timeout(file->writer, BUSY_MS);
    /* What a power cut takes from this copy is fetched again: no fsync per batch. */
    FAAS_TRY(run(file->writer, "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;", err));
    FAAS_TRY(run(file->writer, file->layout->writer, err));
    if (sqlite3_open_v2(file->path, &file->reader, flags, NULL) != SQLITE_OK)
        return sql_fail(err, file->reader, "open");
    sqlite3_busy_timeout(file->reader, BUSY_MS);
    return FAAS_OK;
}

/* The first column of the first row of a query is this text. */
static bool answers(sqlite3 *db, const char *sql, const char *expected)
{
    sqlite3_stmt *stmt = NULL;
    bool is_equal = false;

    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) == SQLITE_OK &&
        sqlite3_step(stmt) == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(stmt, 0);

        is_equal = text != NULL && strcmp(text, expected) == 0;
    }
    sqlite3_finalize(stmt);
    return is_equal;
}

faas_code catalog_file_open(struct catalog_file *file, faas_err *err)
{
    FAAS_TRY(open_connections(file, err));
    if (sqlite3_db_readonly(file->writer, "main") != 0)
        return faas_fail_sys(err, EROFS, "catalog: not writable");
    if (!answers(file->writer, "PRAGMA user_version", file->layout->version))
        return faas_fail_sys(err, EPROTO, "catalog: another layout than %s", file->layout->version);
    if (file->layout->is_read_whole && !answers(file->writer, "PRAGMA quick_check(1)", "ok"))
        return faas_fail_sys(err, EIO, "catalog: damaged");
    return FAAS_OK;
}

faas_code catalog_file_create(struct catalog_file *file, faas_err *err)
{
    char version[64];
    int fd;

    snprintf(version, sizeof version, "PRAGMA user_version = %s", file->layout->version);
    catalog_file_close(file);
    remove_files(file->path);
    fd = open_private(file->path); /* SQLite would let others read; its side files copy the mode */
    if (fd < 0)
        return faas_fail_sys(err, errno, "make %s", file->path);
    close(fd);
    FAAS_TRY(open_connections(file, err));
    FAAS_TRY(run(file->writer, "BEGIN", err));
    FAAS_TRY(run(file->writer, file->layout->schema, err));
    FAAS_TRY(run(file->writer, version, err));
    return run(file->writer, "COMMIT", err);
}

faas_code catalog_file_read_failed(sqlite3 *reader, const char *what, faas_err *err)
{
    if (sqlite3_errcode(reader) == SQLITE_NOMEM)
        return faas_fail_sys(err, ENOMEM, "catalog: %s", what);
    (void)faas_fail(err, FAAS_UNAVAILABLE, CATALOG_REBUILDING);
    (void)faas_err_detail(err, "catalog: %s: %s", what, sqlite3_errmsg(reader));
    return FAAS_UNAVAILABLE;
}

void catalog_file_close(struct catalog_file *file)
{
    sqlite3_close(file->reader);
    sqlite3_close(file->writer);
    file->reader = file->writer = NULL;
}

void catalog_file_release(struct catalog_file *file)
{
    catalog_file_close(file);
    if (file->lock_fd >= 0)
        close(file->lock_fd);
    free(file->path);
    *file = (struct catalog_file){.lock_fd = -1};
}
