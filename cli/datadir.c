#include "cli/datadir.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/id.h"
#include "base/secret.h"
#include "cli/args.h"
#include "cli/file.h"

#define OLD_SERVERS_MS 10000
#define LOOK_MS        100

faas_code datadir_path(const char *given, char **out_path, faas_err *err)
{
    const char *xdg = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    FAAS_AUTO(char) *here = NULL;
    char *path = NULL;

    if (given != NULL && given[0] == '\0')
        return faas_fail(err, FAAS_INVALID, "--data needs a directory");
    if (given != NULL && given[0] == '/') {
        path = strdup(given);
    } else if (given != NULL) {
        here = getcwd(NULL, 0);
        if (here == NULL)
            return file_fail(err, "find", "the working directory", errno);
        path = file_path("%s/%s", here, given);
    } else if (xdg != NULL && xdg[0] == '/') {
        path = file_path("%s/faas", xdg);
    } else if (home != NULL && home[0] == '/') {
        path = file_path("%s/.local/share/faas", home);
    } else {
        return faas_fail(err, FAAS_INVALID, "--data DIR is needed: HOME is not set");
    }
    if (path == NULL)
        return faas_fail(err, FAAS_INTERNAL, "out of memory");
    for (size_t len = strlen(path); len > 1 && path[len - 1] == '/'; len--)
        path[len - 1] = '\0';
    *out_path = path;
    return FAAS_OK;
}

/* ---- locks ---- */

static faas_code open_in(const char *dir, const char *name, int *out_fd, faas_err *err)
{
    FAAS_AUTO(char) *path = file_path("%s/%s", dir, name);

    if (path == NULL)
        return faas_fail(err, FAAS_INTERNAL, "out of memory");
    *out_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    return *out_fd >= 0 ? FAAS_OK : file_fail(err, "open", path, errno);
}

/* 0 when the text is no process id; -1 when it cannot be read. */
static pid_t read_pid(int fd)
{
    char text[16];
    ssize_t len = pread(fd, text, sizeof text - 1, 0);
    int64_t pid = 0;

    if (len <= 0)
        return len < 0 ? -1 : 0;
    text[len] = '\0';
    text[strcspn(text, "\n")] = '\0';
    return args_int(text, 1, INT32_MAX, &pid) ? (pid_t)pid : 0;
}

/* Servers of a supervisor that was killed die with it, but not in the same instant. */
static faas_code wait_for_old_servers(const struct datadir *dir, faas_err *err)
{
    uint64_t deadline_ns = faas_deadline_in_ms(OLD_SERVERS_MS);

    while (flock(dir->nats_fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return file_fail(err, "lock", dir->path, errno);
        if (faas_left_ms(deadline_ns) == 0)
            return faas_fail(err, FAAS_CONFLICT,
                             "nats-servers of an earlier `faas up` in %s still run; end them first",
                             dir->path);
        poll(NULL, 0, 10);
    }
    /* From here on the descriptor that servers inherit stands for "one lives". */
    return flock(dir->nats_fd, LOCK_SH) == 0 ? FAAS_OK : file_fail(err, "lock", dir->path, errno);
}

/* `faas status` and `faas down` look whether the lock is held by holding it for an instant. */
static bool is_held_for_long(int fd)
{
    uint64_t deadline_ns = faas_deadline_in_ms(LOOK_MS);

    while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return true;
        if (faas_left_ms(deadline_ns) == 0)
            return true;
        poll(NULL, 0, 5);
    }
    return false;
}

static faas_code take_locks(struct datadir *dir, faas_err *err)
{
    FAAS_TRY(open_in(dir->path, "lock", &dir->lock_fd, err));
    if (is_held_for_long(dir->lock_fd)) {
        if (errno != EWOULDBLOCK)
            return file_fail(err, "lock", dir->path, errno);
        return faas_fail(err, FAAS_CONFLICT, "%s is in use by process %d; `faas down` ends it",
                         dir->path, (int)read_pid(dir->lock_fd));
    }
    FAAS_TRY(datadir_claim(dir, err));
    FAAS_TRY(open_in(dir->path, "nats.lock", &dir->nats_fd, err));
    return wait_for_old_servers(dir, err);
}

faas_code datadir_open(const char *given, struct datadir *out_dir, faas_err *err)
{
    struct datadir dir = {.lock_fd = -1, .nats_fd = -1};
    faas_code code = datadir_path(given, &dir.path, err);

    if (code == FAAS_OK)
        code = file_make_dirs(dir.path, err);
    if (code == FAAS_OK && chmod(dir.path, 0700) != 0)
        code = file_fail(err, "make private", dir.path, errno);
    if (code == FAAS_OK)
        code = take_locks(&dir, err);
    if (code != FAAS_OK) {
        datadir_close(&dir);
        return code;
    }
    *out_dir = dir;
    return FAAS_OK;
}

void datadir_close(struct datadir *dir)
{
    if (dir->lock_fd >= 0)
        close(dir->lock_fd);
    if (dir->nats_fd >= 0)
        close(dir->nats_fd);
    free(dir->path);
    *dir = (struct datadir){.lock_fd = -1, .nats_fd = -1};
}

faas_code datadir_check_whole(const char *path, faas_err *err)
{
    FAAS_AUTO(char) *marker = file_path("%s/" DATADIR_RESTORE, path);

    if (marker == NULL)
        return faas_fail(err, FAAS_INTERNAL, "out of memory");
    if (access(marker, F_OK) == 0)
        return faas_fail(err, FAAS_INVALID,
                         "%s holds a restore that was not finished; remove the directory and "
                         "restore again",
                         path);
    return errno == ENOENT || errno == ENOTDIR ? FAAS_OK : file_fail(err, "read", marker, errno);
}

faas_code datadir_claim(const struct datadir *dir, faas_err *err)
{
    char text[16];
    int len = snprintf(text, sizeof text, "%d\n", (int)getpid());

    if (ftruncate(dir->lock_fd, 0) != 0 || pwrite(dir->lock_fd, text, (size_t)len, 0) != len)
        return file_fail(err, "write the lock in", dir->path, errno);
    return FAAS_OK;
}

faas_code datadir_holder(const char *path, pid_t *out_pid, faas_err *err)
{
    FAAS_AUTO(char) *lock = file_path("%s/lock", path);
    faas_code rc = FAAS_OK;
    int fd;

    if (lock == NULL)
        return faas_fail(err, FAAS_INTERNAL, "out of memory");
    *out_pid = 0;
    fd = open(lock, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR ? FAAS_OK : file_fail(err, "open", lock, errno);
    if (flock(fd, LOCK_SH | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK)
            rc = file_fail(err, "lock", lock, errno);
        else if ((*out_pid = read_pid(fd)) < 0)
            rc = file_fail(err, "read", lock, errno);
    }
    close(fd);
    return rc;
}

/* ---- facts that never change ---- */

static faas_code make_cluster(const char *path, int nats, struct cluster_facts *out_facts,
                              faas_err *err)
{
    FAAS_AUTO(json_t) *doc = NULL;
    char token[33];

    faas_random_token(token);
    memcpy(out_facts->id, token, 16);
    out_facts->id[16] = '\0';
    faas_random_token(out_facts->route_password);
    out_facts->nats = nats;
    doc = json_pack("{s:i,s:s,s:i,s:s}", "v", 1, "id", out_facts->id, "nats", nats,
                    "route_password", out_facts->route_password);
    if (doc == NULL)
        return faas_fail(err, FAAS_INTERNAL, "out of memory");
    return file_write_json(path, doc, 0600, err);
}

/* There may be none yet. */
static faas_code check_secret(const char *path, faas_err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    faas_code code;

    if (fd < 0)
        return errno == ENOENT ? FAAS_OK : file_fail(err, "read", path, errno);
    code = faas_secret_check(fd, path, err);
    close(fd);
    return code;
}

static bool is_route_password(const char *text)
{
    return text != NULL && strlen(text) == 32 && strspn(text, "0123456789abcdef") == 32 &&
           strspn(text, (const char[]){text[0], '\0'}) < 32; /* not one character over and over */
}

faas_code datadir_cluster(const struct datadir *dir, int nats, struct cluster_facts *out_facts,
                          faas_err *err)
{
    FAAS_AUTO(char) *path = file_path("%s/cluster.json", dir->path);
    FAAS_AUTO(json_t) *doc = NULL;
    const char *id, *password;

    if (path == NULL)
        return faas_fail(err, FAAS_INTERNAL, "out of memory");
    FAAS_TRY(check_secret(path, err));
    FAAS_TRY(file_read_json(path, &doc, err));
    if (doc == NULL)
        return make_cluster(path, nats, out_facts, err);
    id = json_string_value(json_object_get(doc, "id"));
    password = json_string_value(json_object_get(doc, "route_password"));
    out_facts->nats = (int)json_integer_value(json_object_get(doc, "nats"));
    if (id == NULL || strlen(id) != 16 || !is_route_password(password))
        return faas_fail(err, FAAS_INVALID, "%s: damaged; restore it from a backup", path);
    memcpy(out_facts->id, id, 17);
    memcpy(out_facts->route_password, password, 33);
    if (out_facts->nats != nats)
        return faas_fail(err, FAAS_INVALID,
                         "%s was made for %d nats server%s; start it with --replicas nats=%d. "
                         "`faas backup` and `faas restore` into a new directory change the number",
                         dir->path, out_facts->nats, out_facts->nats == 1 ? "" : "s",
                         out_facts->nats);
    return FAAS_OK;
}
