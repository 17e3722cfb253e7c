#include "unpack.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "files.h"
#include "store.h"
#include "tarsplit.h"

#define READ_BYTES (256 * 1024)

typedef struct archive archive;
FAAS_DEFINE_AUTO(archive, archive_read_free)
FAAS_DEFINE_AUTO(tarsplit, tarsplit_free)

struct unpack {
    const struct unpack_conf *conf;
    struct unpack_result result;
    struct archive *from;
    struct archive_entry *entry;
    char name[ENTRY_NAME_MAX]; /* of the entry, clean */
    const char *last;          /* its last part */
    int folder;                /* where it goes */
    tarsplit *split;           /* NULL: no record is asked for */
};

static faas_code fail_entry(const struct unpack *unpack, const char *what, faas_err *err)
{
    return faas_fail(err, FAAS_INVALID, "entry %.200s: %s: %s", unpack->name, what,
                     errno == EXDEV ? "a link leads out of the image" : strerrordesc_np(errno));
}

/* ---- folders ---- */

/* Makes what is missing of the folder's path; a link that leads nowhere is no folder. */
static int make_folders(int root, const char *path)
{
    char prefix[ENTRY_NAME_MAX];
    int at = files_open_plain(root, ".", O_PATH | O_DIRECTORY);

    for (size_t len = 0; at >= 0 && path[len] != '\0';) {
        size_t begin = len + (len > 0);
        int next;

        len = begin + strcspn(path + begin, "/");
        memcpy(prefix, path, len);
        prefix[len] = '\0';
        next = files_open_below(root, prefix, O_PATH | O_DIRECTORY);
        if (next < 0 && errno == ENOENT && mkdirat(at, prefix + begin, 0755) == 0)
            next = files_open_below(root, prefix, O_PATH | O_DIRECTORY);
        close(at);
        at = next;
    }
    return at;
}

static int open_folder(int root, const char *path)
{
    return files_open_below(root, path[0] != '\0' ? path : ".", O_PATH | O_DIRECTORY);
}

/* ---- what an entry is made of ---- */

static unsigned owner_of(int64_t id)
{
    return id >= 0 && id < (int64_t)IMAGE_OWNER_COUNT ? (unsigned)id : IMAGE_NOBODY;
}

static mode_t mode_of(const struct unpack *unpack, bool is_folder)
{
    return archive_entry_perm(unpack->entry) & (is_folder ? 01777 : 0777);
}

static faas_code set_owner(const struct unpack *unpack, int fd, const char *name, faas_err *err)
{
    if (unpack->conf->keeps_owner &&
        fchownat(fd, name, owner_of(archive_entry_uid(unpack->entry)),
                 owner_of(archive_entry_gid(unpack->entry)),
                 AT_SYMLINK_NOFOLLOW | (name[0] == '\0' ? AT_EMPTY_PATH : 0)) != 0)
        return fail_entry(unpack, "cannot set its owner", err);
    return FAAS_OK;
}

/* Counts what is about to be stored, holes included. */
static faas_code count_bytes(struct unpack *unpack, int64_t more, faas_err *err)
{
    if (more < 0 || more > unpack->conf->bytes - unpack->result.bytes)
        return faas_fail(err, FAAS_TOO_LARGE,
                         "entry %.200s: the image is larger than allowed when unpacked "
                         "(IMAGE_MAX_MB)",
                         unpack->name);
    unpack->result.bytes += more;
    return FAAS_OK;
}

static faas_code write_at(const struct unpack *unpack, int fd, const char *data, size_t len,
                          int64_t offset, faas_err *err)
{
    while (len > 0) {
        ssize_t put = pwrite(fd, data, len, offset);

        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return faas_fail_sys(err, errno, "write %s", unpack->name);
        data += put;
        len -= (size_t)put;
        offset += put;
    }
    return FAAS_OK;
}

/* Zeros that are not in the archive, which then cannot be made again from the file. */
static faas_code count_hole(struct unpack *unpack, int64_t bytes, faas_err *err)
{
    if (bytes > 0 && unpack->split != NULL)
        tarsplit_break(unpack->split);
    return count_bytes(unpack, bytes, err);
}

static faas_code copy_data(struct unpack *unpack, int fd, faas_err *err)
{
    int64_t end = 0, offset, size = archive_entry_size(unpack->entry);
    const void *data;
    size_t len;
    int rc;

    while ((rc = archive_read_data_block(unpack->from, &data, &len, &offset)) == ARCHIVE_OK) {
        if (offset < end)
            return faas_fail(err, FAAS_INVALID, "entry %.200s: its parts overlap", unpack->name);
        FAAS_TRY(count_hole(unpack, offset - end, err));
        FAAS_TRY(count_bytes(unpack, (int64_t)len, err));
        FAAS_TRY(write_at(unpack, fd, data, len, offset, err));
        end = offset + (int64_t)len;
    }
    if (rc != ARCHIVE_EOF)
        return faas_fail(err, FAAS_INVALID, "entry %.200s: %s", unpack->name,
                         archive_error_string(unpack->from));
    if (size <= end)
        return FAAS_OK;
    FAAS_TRY(count_hole(unpack, size - end, err));
    return ftruncate(fd, size) == 0 ? FAAS_OK : faas_fail_sys(err, errno, "write a hole");
}

static faas_code fill_file(struct unpack *unpack, int fd, faas_err *err)
{
    const struct timespec times[2] = {
        {.tv_nsec = UTIME_OMIT},
        {.tv_sec = archive_entry_mtime(unpack->entry), .tv_nsec = 0},
    };

    if (unpack->split != NULL) /* libarchive has read the headers, and nothing of the contents */
        tarsplit_file(unpack->split, unpack->name, archive_filter_bytes(unpack->from, 0),
                      archive_entry_size(unpack->entry));
    FAAS_TRY(copy_data(unpack, fd, err));
    FAAS_TRY(set_owner(unpack, fd, "", err));
    if (fchmod(fd, mode_of(unpack, false)) != 0)
        return fail_entry(unpack, "cannot set its mode", err);
    (void)futimens(fd, times); /* a date is not worth refusing an image */
    return FAAS_OK;
}

static faas_code make_file(struct unpack *unpack, faas_err *err)
{
    int fd = files_create(unpack->folder, unpack->last);
    faas_code code;

    if (fd < 0)
        return fail_entry(unpack, "cannot be made", err);
    code = fill_file(unpack, fd, err);
    if (close(fd) != 0 && code == FAAS_OK)
        code = faas_fail_sys(err, errno, "write %s", unpack->name);
    return code;
}

static faas_code make_symlink(struct unpack *unpack, faas_err *err)
{
    const char *target = archive_entry_symlink(unpack->entry);

    if (target == NULL || target[0] == '\0')
        return faas_fail(err, FAAS_INVALID, "entry %.200s: a link to nothing", unpack->name);
    if (symlinkat(target, unpack->folder, unpack->last) != 0)
        return fail_entry(unpack, "cannot be made", err);
    return set_owner(unpack, unpack->folder, unpack->last, err);
}

/* The target is resolved like any name of the archive; its last part is not followed. */
static faas_code link_to(struct unpack *unpack, const char *target, faas_err *err)
{
    char clean[ENTRY_NAME_MAX], folder[ENTRY_NAME_MAX];
    faas_code code = FAAS_OK;
    struct stat info;
    const char *last;
    int from;

    FAAS_TRY(entry_name_clean(target, &unpack->conf->names, clean, err));
    last = entry_name_split(clean, folder);
    from = open_folder(unpack->conf->root, folder);
    if (from < 0 || fstatat(from, last, &info, AT_SYMLINK_NOFOLLOW) != 0)
        code = fail_entry(unpack, "what it is a hard link to", err);
    else if (!S_ISREG(info.st_mode) && !S_ISLNK(info.st_mode))
        code = faas_fail(err, FAAS_INVALID, "entry %.200s: a hard link to no file", unpack->name);
    else if (linkat(from, last, unpack->folder, unpack->last, 0) != 0)
        code = fail_entry(unpack, "cannot be linked", err);
    if (from >= 0)
        close(from);
    return code;
}

/* ---- folders and whiteouts ---- */

static faas_code set_folder(struct unpack *unpack, int folder, const char *name, faas_err *err)
{
    int fd = files_open_plain(folder, name, O_RDONLY | O_DIRECTORY);
    faas_code code;

    if (fd < 0)
        return fail_entry(unpack, "cannot be opened", err);
    code = set_owner(unpack, fd, "", err);
    if (code == FAAS_OK && fchmod(fd, mode_of(unpack, true)) != 0)
        code = fail_entry(unpack, "cannot set its mode", err);
    close(fd);
    return code;
}

static bool is_whiteout(const struct stat *info)
{
    return S_ISCHR(info->st_mode) && info->st_rdev == makedev(0, 0);
}

/* A folder of this layer in place of a hidden one shows nothing of the hidden one. */
static faas_code make_folder(struct unpack *unpack, bool was_hidden, faas_err *err)
{
    if (mkdirat(unpack->folder, unpack->last, 0755) != 0 && errno != EEXIST)
        return fail_entry(unpack, "cannot be made", err);
    if (was_hidden && unpack->conf->is_layer)
        FAAS_TRY(unpack->conf->opaque(unpack->conf->arg, unpack->name, err));
    return set_folder(unpack, unpack->folder, unpack->last, err);
}

static faas_code hide(struct unpack *unpack, const char *folder_name, const char *hidden,
                      faas_err *err)
{
    struct stat info;

    if (fstatat(unpack->folder, hidden, &info, AT_SYMLINK_NOFOLLOW) != 0) {
        if (mknodat(unpack->folder, hidden, S_IFCHR, makedev(0, 0)) != 0)
            return fail_entry(unpack, "cannot hide what it names", err);
        return FAAS_OK;
    }
    /* This layer has something of that name: it hides what is below, a folder when told so. */
    if (S_ISDIR(info.st_mode)) {
        char name[ENTRY_NAME_MAX + 256];

        snprintf(name, sizeof name, "%s%s%s", folder_name, folder_name[0] != '\0' ? "/" : "",
                 hidden);
        return unpack->conf->opaque(unpack->conf->arg, name, err);
    }
    return FAAS_OK;
}

/* ---- entries ---- */

/* Makes room for the entry; a folder in place of a folder keeps it. */
static faas_code clear_place(struct unpack *unpack, bool is_folder, bool *out_was_hidden,
                             faas_err *err)
{
    struct stat info;

    *out_was_hidden = false;
    if (fstatat(unpack->folder, unpack->last, &info, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? FAAS_OK : fail_entry(unpack, "cannot be made", err);
    if (is_folder && S_ISDIR(info.st_mode))
        return FAAS_OK;
    *out_was_hidden = is_whiteout(&info);
    if (unpack->split != NULL && !*out_was_hidden)
        tarsplit_break(unpack->split); /* contents that the record would look for, or their path */
    return files_remove_tree(unpack->folder, unpack->last, err);
}

static faas_code place(struct unpack *unpack, faas_err *err)
{
    const char *target = archive_entry_hardlink(unpack->entry);
    mode_t type = archive_entry_filetype(unpack->entry);
    bool was_hidden;

    if (target == NULL && type != AE_IFREG && type != AE_IFDIR && type != AE_IFLNK) {
        unpack->result.left_out++;
        return FAAS_OK;
    }
    FAAS_TRY(clear_place(unpack, target == NULL && type == AE_IFDIR, &was_hidden, err));
    if (target != NULL)
        return link_to(unpack, target, err);
    if (type == AE_IFDIR)
        return make_folder(unpack, was_hidden, err);
    return type == AE_IFLNK ? make_symlink(unpack, err) : make_file(unpack, err);
}

/* In the folder of that name, which is there. */
static faas_code place_in(struct unpack *unpack, const char *folder_name, faas_err *err)
{
    enum entry_mark mark = ENTRY_PLAIN;
    const char *hidden;

    if (unpack->conf->is_layer)
        FAAS_TRY(entry_name_mark(unpack->last, &mark, &hidden, err));
    switch (mark) {
    case ENTRY_WHITEOUT:
        return hide(unpack, folder_name, hidden, err);
    case ENTRY_OPAQUE:
        return unpack->conf->opaque(unpack->conf->arg, folder_name, err);
    case ENTRY_IGNORED:
        return FAAS_OK;
    case ENTRY_PLAIN:
        break;
    }
    return place(unpack, err);
}

static faas_code take_entry(struct unpack *unpack, faas_err *err)
{
    const char *name = archive_entry_pathname(unpack->entry);
    char folder[ENTRY_NAME_MAX];
    faas_code code;

    if (unpack->split != NULL)
        tarsplit_entry(unpack->split, archive_read_header_position(unpack->from));
    if (++unpack->result.entries > unpack->conf->entries)
        return faas_fail(err, FAAS_TOO_LARGE, "it has more than %lld entries (IMAGE_MAX_ENTRIES)",
                         (long long)unpack->conf->entries);
    if (name == NULL)
        return faas_fail(err, FAAS_INVALID, "entry %lld: its name cannot be read",
                         (long long)unpack->result.entries);
    FAAS_TRY(entry_name_clean(name, &unpack->conf->names, unpack->name, err));
    if (unpack->name[0] == '\0')
        return archive_entry_filetype(unpack->entry) == AE_IFDIR
                   ? set_folder(unpack, unpack->conf->root, ".", err)
                   : faas_fail(err, FAAS_INVALID, "the root of an image must be a folder");
    unpack->last = entry_name_split(unpack->name, folder);
    unpack->folder = make_folders(unpack->conf->root, folder);
    if (unpack->folder < 0)
        return fail_entry(unpack, "its folder", err);
    code = place_in(unpack, folder, err);
    close(unpack->folder);
    return code;
}

/* ---- the stream ---- */

/* What follows the end of the archive belongs to the stream's digest. */
static faas_code read_rest(int in, faas_err *err)
{
    char buffer[65536];
    ssize_t got;

    do
        got = read(in, buffer, sizeof buffer);
    while (got > 0 || (got < 0 && errno == EINTR));
    return got == 0 ? FAAS_OK : faas_fail_sys(err, errno, "read the archive");
}

static int open_archive(const struct unpack *unpack)
{
    archive_read_support_format_tar(unpack->from);
    archive_read_support_format_empty(unpack->from);
    return unpack->split != NULL
               ? archive_read_open(unpack->from, unpack->split, NULL, tarsplit_read, NULL)
               : archive_read_open_fd(unpack->from, unpack->conf->in, READ_BYTES);
}

faas_code unpack_stream(const struct unpack_conf *conf, struct unpack_result *out_result,
                        faas_err *err)
{
    FAAS_AUTO(tarsplit) *split = NULL;
    FAAS_AUTO(archive) *from = archive_read_new();
    struct unpack unpack = {.conf = conf, .from = from};
    int rc;

    if (from == NULL)
        return faas_fail_sys(err, ENOMEM, "libarchive");
    if (conf->record >= 0)
        FAAS_TRY(tarsplit_new(conf->in, conf->record, &split, err));
    unpack.split = split;
    if (open_archive(&unpack) != ARCHIVE_OK)
        return faas_fail(err, FAAS_INVALID, "not a tar archive: %s", archive_error_string(from));
    while ((rc = archive_read_next_header(from, &unpack.entry)) == ARCHIVE_OK || rc == ARCHIVE_WARN)
        FAAS_TRY(take_entry(&unpack, err));
    if (rc != ARCHIVE_EOF)
        return faas_fail(err, FAAS_INVALID, "not a whole tar archive: %s",
                         archive_error_string(from));
    if (split != NULL)
        tarsplit_entry(split, archive_read_header_position(from)); /* of the end */
    FAAS_TRY(split != NULL ? tarsplit_end(split, err) : read_rest(conf->in, err));
    *out_result = unpack.result;
    return FAAS_OK;
}
