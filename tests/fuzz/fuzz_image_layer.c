/* Whatever the entries of a layer are named and lead to, only the layer's own folder changes, and
 * nothing in it is a device, a pipe, a socket or set-id; and what is kept of the stream makes the same
 * bytes again, or nothing is kept.  An input is lines "KIND NAME[>TARGET]":
 * f file, d folder, s symbolic link, h hard link, c b p devices and pipe, anything else a file; the
 * line's end is its contents, too.  An input that begins with a NUL is a tar stream as it is. */
#include "tests/fuzz/claim.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "services/spawner/image/files.h"
#include "services/spawner/image/tarsplit.h"
#include "services/spawner/image/unpack.h"

#define STREAM_MAX (4 * 1024 * 1024)

static char base[64];
static int base_fd, outside_fd;
static struct stat outside_info, secret_info;

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *at)
{
    (void)info, (void)type, (void)at;
    return remove(path);
}

static void teardown(void)
{
    nftw(base, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* BASE/outside/secret must stay as it is; layers are unpacked to BASE/root, so that "../outside"
 * is near, and BASE's own name is short enough to be guessed. */
static void setup(void)
{
    int fd;

    snprintf(base, sizeof base, "/tmp/faas-fuzz-XXXXXX");
    CLAIM(mkdtemp(base) != NULL);
    atexit(teardown);
    base_fd = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CLAIM(mkdirat(base_fd, "outside", 0700) == 0);
    outside_fd = openat(base_fd, "outside", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    fd = openat(outside_fd, "secret", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    CLAIM(fd >= 0 && write(fd, "secret", 6) == 6);
    close(fd);
    CLAIM(fstatat(outside_fd, ".", &outside_info, 0) == 0);
    CLAIM(fstatat(outside_fd, "secret", &secret_info, 0) == 0);
}

static bool is_same(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_mode == b->st_mode && a->st_uid == b->st_uid &&
           a->st_nlink == b->st_nlink && a->st_size == b->st_size &&
           memcmp(&a->st_ctim, &b->st_ctim, sizeof a->st_ctim) == 0;
}

static void claim_outside(void)
{
    struct stat info;

    CLAIM(fstatat(outside_fd, ".", &info, 0) == 0 && is_same(&info, &outside_info));
    CLAIM(fstatat(outside_fd, "secret", &info, 0) == 0 && is_same(&info, &secret_info));
}

static int claim_inside(const char *path, const struct stat *info, int type, struct FTW *at)
{
    bool is_hidden = S_ISCHR(info->st_mode) && info->st_rdev == 0;

    (void)path, (void)type, (void)at;
    CLAIM(S_ISREG(info->st_mode) || S_ISDIR(info->st_mode) || S_ISLNK(info->st_mode) || is_hidden);
    CLAIM((info->st_mode & (S_ISUID | S_ISGID)) == 0);
    return 0;
}

/* ---- input to tar ---- */

static void set_kind(struct archive_entry *entry, char kind, const char *target)
{
    archive_entry_set_filetype(entry, kind == 'd'   ? AE_IFDIR
                                      : kind == 's' ? AE_IFLNK
                                      : kind == 'c' ? AE_IFCHR
                                      : kind == 'b' ? AE_IFBLK
                                      : kind == 'p' ? AE_IFIFO
                                                    : AE_IFREG);
    if (kind == 's')
        archive_entry_set_symlink(entry, target);
    if (kind == 'h')
        archive_entry_set_hardlink(entry, target);
}

static void put_line(struct archive *to, char *line)
{
    struct archive_entry *entry = archive_entry_new();
    char kind = line[0], *target = strchr(line, '>');
    const char *name = line + (line[0] != '\0' ? 1 : 0);
    bool has_data;

    if (target != NULL)
        *target++ = '\0';
    else
        target = line + strlen(line);
    archive_entry_copy_pathname(entry, name);
    archive_entry_set_perm(entry, 07777);
    set_kind(entry, kind, target);
    has_data = archive_entry_filetype(entry) == AE_IFREG && kind != 'h';
    archive_entry_set_size(entry, has_data ? (int64_t)strlen(name) : 0);
    if (archive_write_header(to, entry) == ARCHIVE_OK && has_data)
        (void)!archive_write_data(to, name, strlen(name));
    archive_entry_free(entry);
}

static int stream_of(const uint8_t *data, size_t size)
{
    int fd = memfd_create("layer", MFD_CLOEXEC);
    struct archive *to;
    char *text = strndup((const char *)data, size), *save = NULL;

    CLAIM(fd >= 0 && text != NULL);
    if (size > 0 && data[0] == '\0') {
        CLAIM(write(fd, data + 1, size - 1) == (ssize_t)(size - 1));
    } else {
        to = archive_write_new();
        archive_write_set_format_pax_restricted(to);
        CLAIM(archive_write_open_fd(to, fd) == ARCHIVE_OK);
        for (char *line = strtok_r(text, "\n", &save); line != NULL;
             line = strtok_r(NULL, "\n", &save))
            put_line(to, line);
        archive_write_free(to);
    }
    free(text);
    CLAIM(lseek(fd, 0, SEEK_SET) == 0);
    return fd;
}

static faas_code note_opaque(void *arg, const char *folder, faas_err *err)
{
    (void)arg, (void)err;
    CLAIM(folder[0] != '/' && strlen(folder) < ENTRY_NAME_MAX);
    return FAAS_OK;
}

static size_t bytes_of(int fd, char **out_bytes)
{
    struct stat info;
    size_t size;

    CLAIM(fstat(fd, &info) == 0);
    size = (size_t)info.st_size;
    *out_bytes = malloc(size + 1);
    CLAIM(*out_bytes != NULL && pread(fd, *out_bytes, size, 0) == (ssize_t)size);
    return size;
}

static void claim_again(const struct unpack_conf *conf)
{
    char *before, *after, *record;
    int out = memfd_create("again", MFD_CLOEXEC);
    size_t kept = bytes_of(conf->record, &record), len = bytes_of(conf->in, &before);
    int64_t made = 0;
    faas_err err = {0};
    faas_code code = FAAS_OK;

    CLAIM(out >= 0 && lseek(conf->record, 0, SEEK_SET) == 0);
    if (kept > 0)
        code = tarsplit_assemble(conf->record, conf->root, out, 2L * STREAM_MAX, &made, &err);
    CLAIM(code == FAAS_OK || geteuid() != 0); /* others cannot read what nobody may */
    if (kept > 0 && code == FAAS_OK)
        CLAIM(bytes_of(out, &after) == len && made == (int64_t)len &&
              memcmp(before, after, len) == 0);
    if (kept > 0 && code == FAAS_OK)
        free(after);
    free(before);
    free(record);
    close(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct unpack_conf conf = {.is_layer = true,
                               .bytes = STREAM_MAX,
                               .entries = 200,
                               .names = {.depth = 10, .bytes = 500},
                               .opaque = note_opaque};
    struct unpack_result result;
    faas_err err = {0};
    faas_code code;
    char root[80];

    if (base[0] == '\0')
        setup();
    CLAIM(mkdirat(base_fd, "root", 0755) == 0);
    conf.root = openat(base_fd, "root", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    conf.in = stream_of(data, size);
    conf.record = memfd_create("record", MFD_CLOEXEC);
    CLAIM(conf.record >= 0);
    code = unpack_stream(&conf, &result, &err);
    CLAIM(code == FAAS_OK || code == FAAS_INVALID || code == FAAS_TOO_LARGE);
    claim_outcome(code, err.code, &err);
    if (code == FAAS_OK)
        claim_again(&conf);
    claim_outside();
    snprintf(root, sizeof root, "%s/root", base);
    CLAIM(nftw(root, claim_inside, 16, FTW_PHYS) == 0);
    close(conf.in);
    close(conf.record);
    close(conf.root);
    CLAIM(files_remove_tree(base_fd, "root", NULL) == FAAS_OK);
    return 0;
}
