#include "share.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "services/spawner/zygote/wire.h"

/* 0x20000000 .. 0x5fffffff: far above people's accounts and ranges given to them. */
#define FIRST_ID 0x20000000U

static const struct {
    const char *name;
    unsigned major, minor;
} nodes[] = {{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}};

static const struct {
    const char *name, *to;
} links[] = {{"fd", "/proc/self/fd"},
             {"stdin", "/proc/self/fd/0"},
             {"stdout", "/proc/self/fd/1"},
             {"stderr", "/proc/self/fd/2"}};

static const struct {
    const char *name, *text;
} files[] = {{"hostname", "function\n"},
             {"hosts", "127.0.0.1 localhost function\n::1 localhost function\n"}};

static int make_dir(int at, const char *name, mode_t mode)
{
    int fd;

    if (mkdirat(at, name, mode) != 0 && errno != EEXIST)
        return -1;
    fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0 && fchmod(fd, mode) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

static int make_opaque(int at, const char *name, mode_t mode)
{
    int fd = make_dir(at, name, mode);

    if (fd >= 0 && fsetxattr(fd, "trusted.overlay.opaque", "y", 1, 0) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

static bool fill_dev(int dev)
{
    int shm = make_dir(dev, "shm", 01777);

    if (shm < 0)
        return false;
    close(shm);
    for (size_t i = 0; i < FAAS_ARRAY_LEN(nodes); i++) {
        if (mknodat(dev, nodes[i].name, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor)) !=
                0 &&
            errno != EEXIST)
            return false;
        if (fchmodat(dev, nodes[i].name, 0666, 0) != 0)
            return false;
    }
    for (size_t i = 0; i < FAAS_ARRAY_LEN(links); i++)
        if (symlinkat(links[i].to, dev, links[i].name) != 0 && errno != EEXIST)
            return false;
    return true;
}

static bool put_file(int etc, const char *name, const char *text)
{
    size_t len = strlen(text);
    int fd = openat(etc, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    bool is_done = fd >= 0 && fchmod(fd, 0644) == 0 && write(fd, text, len) == (ssize_t)len;

    if (fd >= 0)
        close(fd);
    return is_done;
}

static bool fill_etc(int etc, const char *resolv_conf)
{
    bool is_done = put_file(etc, "resolv.conf", resolv_conf);

    for (size_t i = 0; is_done && i < FAAS_ARRAY_LEN(files); i++)
        is_done = put_file(etc, files[i].name, files[i].text);
    return is_done;
}

static bool fill_skeleton(int at, const char *resolv_conf)
{
    static const char *const empty[] = {"proc", "sys", "tmp"};
    int dev = make_opaque(at, "dev", 0755), etc = make_dir(at, "etc", 0755), fd;
    bool is_done = dev >= 0 && etc >= 0 && fill_dev(dev) && fill_etc(etc, resolv_conf);

    for (size_t i = 0; is_done && i < FAAS_ARRAY_LEN(empty); i++) {
        fd = make_opaque(at, empty[i], strcmp(empty[i], "tmp") == 0 ? 01777 : 0755);
        is_done = fd >= 0;
        if (fd >= 0)
            close(fd);
    }
    if (dev >= 0)
        close(dev);
    if (etc >= 0)
        close(etc);
    return is_done;
}

static faas_code open_run_dir(const char *path, int *out_fd, faas_err *err)
{
    struct stat st;
    int fd;

    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return faas_fail(err, FAAS_UNAVAILABLE, "SPAWNER_RUN_DIR %s cannot be made: %s", path,
                         strerror(errno));
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return faas_fail(err, FAAS_UNAVAILABLE, "SPAWNER_RUN_DIR %s: %s", path, strerror(errno));
    if (fstat(fd, &st) != 0 || st.st_uid != geteuid() || (st.st_mode & 077) != 0) {
        close(fd);
        return faas_fail(err, FAAS_UNAVAILABLE,
                         "SPAWNER_RUN_DIR %s: others can enter it; make it root's with mode 0700",
                         path);
    }
    *out_fd = fd;
    return FAAS_OK;
}

/* The first number whose lock is free. */
static faas_code take_number(struct share *share, int run, faas_err *err)
{
    char name[16];

    for (unsigned i = 0; i < SHARE_COUNT; i++) {
        (void)snprintf(name, sizeof name, "%u.lock", i);
        share->lock = openat(run, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (share->lock < 0)
            return faas_fail_sys(err, errno, "open a lock of SPAWNER_RUN_DIR");
        if (flock(share->lock, LOCK_EX | LOCK_NB) == 0) {
            share->number = i;
            return FAAS_OK;
        }
        close(share->lock);
        share->lock = -1;
    }
    return faas_fail(err, FAAS_UNAVAILABLE, "%d spawners run functions on this machine already",
                     SHARE_COUNT);
}

static bool make_skeleton(int own, const char *name, const char *resolv_conf)
{
    int fd = make_dir(own, name, 0755);
    bool is_done = fd >= 0 && fill_skeleton(fd, resolv_conf);

    if (fd >= 0)
        close(fd);
    return is_done;
}

static bool fill_share(const struct share *share, int run, const char *resolv_conf)
{
    char name[16];
    int own, root;
    bool is_done;

    (void)snprintf(name, sizeof name, "%u", share->number);
    own = make_dir(run, name, 0700);
    if (own < 0)
        return false;
    root = make_dir(own, "root", 0700);
    is_done = root >= 0 && make_skeleton(own, "skeleton", "") &&
              make_skeleton(own, "outbound", resolv_conf);
    if (root >= 0)
        close(root);
    close(own);
    return is_done;
}

/* FNV-1a. */
static uint32_t hash(const char *text)
{
    uint32_t sum = 2166136261U;

    for (; *text != '\0'; text++)
        sum = (sum ^ (unsigned char)*text) * 16777619U;
    return sum;
}

faas_code share_open(struct share *share, const char *run_dir, const char *resolv_conf,
                     faas_err *err)
{
    int run = -1;
    faas_code rc;

    *share = (struct share){.lock = -1};
    if (strlen(run_dir) > SHARE_PATH_MAX - 32 || run_dir[0] != '/')
        return faas_fail(err, FAAS_INVALID, "SPAWNER_RUN_DIR: an absolute path of at most %d bytes",
                         SHARE_PATH_MAX - 32);
    FAAS_TRY(open_run_dir(run_dir, &run, err));
    rc = take_number(share, run, err);
    if (rc == FAAS_OK && !fill_share(share, run, resolv_conf)) {
        rc = faas_fail(err, FAAS_UNAVAILABLE,
                       "SPAWNER_RUN_DIR %s: device nodes and trusted attributes cannot be made "
                       "there (%s); use a directory on tmpfs or ext4, as root",
                       run_dir, strerror(errno));
        share_close(share);
    }
    close(run);
    if (rc != FAAS_OK)
        return rc;
    share->first_id = FIRST_ID + share->number * (uint32_t)SHARE_LANES * ZY_IDS;
    (void)snprintf(share->name, sizeof share->name, "faas-native-%08x-%u", hash(run_dir),
                   share->number);
    (void)snprintf(share->skeleton, sizeof share->skeleton, "%s/%u/skeleton", run_dir,
                   share->number);
    (void)snprintf(share->outbound, sizeof share->outbound, "%s/%u/outbound", run_dir,
                   share->number);
    (void)snprintf(share->root, sizeof share->root, "%s/%u/root", run_dir, share->number);
    return FAAS_OK;
}

void share_close(struct share *share)
{
    if (share->lock >= 0)
        close(share->lock);
    share->lock = -1;
}
