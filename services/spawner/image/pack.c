#include "pack.h"

#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "files.h"

typedef struct archive archive;
typedef struct archive_entry archive_entry;
FAAS_DEFINE_AUTO(archive, archive_write_free)
FAAS_DEFINE_AUTO(archive_entry, archive_entry_free)

struct pack {
    const struct pack_conf *conf;
    archive *to;
    int64_t entries, bytes;
};

static faas_code pack_tree(struct pack *pack, const char *folder, faas_err *err);

static faas_code fail_at(const char *name, faas_err *err)
{
    return faas_fail(err, FAAS_INVALID, "%.200s: cannot be packed: %s", name,
                     strerrordesc_np(errno));
}

static faas_code fail_write(const struct pack *pack, faas_err *err)
{
    return faas_fail_sys(err, archive_errno(pack->to), "write the archive");
}

static faas_code put_contents(struct pack *pack, const char *name, int fd, int64_t size,
                              faas_err *err)
{
    FAAS_AUTO(char) *buffer = malloc(65536);

    if (buffer == NULL)
        return faas_fail_sys(err, errno, "pack");
    while (size > 0) {
        ssize_t got = read(fd, buffer, size < 65536 ? (size_t)size : 65536);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fail_at(name, err);
        if (got == 0)
            return faas_fail(err, FAAS_INVALID, "%.200s: became shorter while it was packed", name);
        if (archive_write_data(pack->to, buffer, (size_t)got) != got)
            return fail_write(pack, err);
        size -= got;
    }
    return FAAS_OK;
}

static faas_code put_header(struct pack *pack, const char *name, const struct stat *info,
                            const char *target, faas_err *err)
{
    FAAS_AUTO(archive_entry) *entry = archive_entry_new();
    bool is_plain = S_ISREG(info->st_mode) && (info->st_mode & 0100) == 0;

    if (entry == NULL)
        return faas_fail_sys(err, ENOMEM, "pack");
    archive_entry_set_pathname(entry, name);
    archive_entry_set_filetype(entry, info->st_mode & S_IFMT);
    archive_entry_set_perm(entry, S_ISLNK(info->st_mode) ? 0777 : is_plain ? 0644 : 0755);
    archive_entry_set_mtime(entry, 0, 0);
    archive_entry_set_uid(entry, 0);
    archive_entry_set_gid(entry, 0);
    archive_entry_set_size(entry, S_ISREG(info->st_mode) ? info->st_size : 0);
    if (target != NULL)
        archive_entry_set_symlink(entry, target);
    if (archive_write_header(pack->to, entry) != ARCHIVE_OK)
        return fail_write(pack, err);
    return FAAS_OK;
}

static faas_code pack_file(struct pack *pack, const char *name, faas_err *err)
{
    int fd = files_open_plain(pack->conf->root, name, O_RDONLY | O_NONBLOCK);
    struct stat info;
    faas_code code;

    if (fd < 0)
        return fail_at(name, err);
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        close(fd);
        return faas_fail(err, FAAS_INVALID, "%.200s: changed while it was packed", name);
    }
    pack->bytes += info.st_size;
    code = pack->bytes > pack->conf->bytes
               ? faas_fail(err, FAAS_TOO_LARGE, "%.200s: the folder holds too much (IMAGE_MAX_MB)",
                           name)
               : put_header(pack, name, &info, NULL, err);
    if (code == FAAS_OK)
        code = put_contents(pack, name, fd, info.st_size, err);
    close(fd);
    return code;
}

static faas_code pack_link(struct pack *pack, const char *name, const struct stat *info,
                           faas_err *err)
{
    char target[PATH_MAX];
    ssize_t len = readlinkat(pack->conf->root, name, target, sizeof target - 1);

    if (len < 0)
        return fail_at(name, err);
    target[len] = '\0';
    return put_header(pack, name, info, target, err);
}

static faas_code pack_entry(struct pack *pack, const char *name, faas_err *err)
{
    char clean[ENTRY_NAME_MAX];
    struct stat info;

    FAAS_TRY(entry_name_clean(name, &pack->conf->names, clean, err));
    if (++pack->entries > pack->conf->entries)
        return faas_fail(err, FAAS_TOO_LARGE,
                         "the folder has more than %lld entries (IMAGE_MAX_ENTRIES)",
                         (long long)pack->conf->entries);
    if (fstatat(pack->conf->root, clean, &info, AT_SYMLINK_NOFOLLOW) != 0)
        return fail_at(name, err);
    if (S_ISLNK(info.st_mode))
        return pack_link(pack, clean, &info, err);
    if (S_ISREG(info.st_mode))
        return pack_file(pack, clean, err);
    if (!S_ISDIR(info.st_mode))
        return faas_fail(err, FAAS_INVALID,
                         "%.200s: an image holds files, folders and links only; remove it", name);
    FAAS_TRY(put_header(pack, clean, &info, NULL, err));
    return pack_tree(pack, clean, err);
}

/* alphasort sorts by the locale; here the bytes decide. */
static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_named(const struct dirent *entry)
{
    return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

static faas_code pack_tree(struct pack *pack, const char *folder, faas_err *err)
{
    struct dirent **list = NULL;
    faas_code code = FAAS_OK;
    int count, fd = files_open_plain(pack->conf->root, folder[0] != '\0' ? folder : ".",
                                     O_RDONLY | O_DIRECTORY);

    if (fd < 0)
        return fail_at(folder, err);
    count = scandirat(fd, ".", &list, is_named, by_bytes);
    close(fd);
    if (count < 0)
        return fail_at(folder, err);
    for (int i = 0; i < count; i++) {
        FAAS_AUTO(char) *name = NULL;

        if (code == FAAS_OK &&
            asprintf(&name, "%s%s%s", folder, folder[0] != '\0' ? "/" : "", list[i]->d_name) < 0) {
            name = NULL;
            code = faas_fail_sys(err, ENOMEM, "pack");
        }
        if (code == FAAS_OK)
            code = pack_entry(pack, name, err);
        free(list[i]);
    }
    free(list);
    return code;
}

faas_code pack_folder(const struct pack_conf *conf, int64_t *out_entries, faas_err *err)
{
    FAAS_AUTO(archive) *to = archive_write_new();
    struct pack pack = {.conf = conf, .to = to};

    if (to == NULL)
        return faas_fail_sys(err, ENOMEM, "libarchive");
    archive_write_set_format_pax_restricted(to);
    archive_write_set_bytes_in_last_block(to, 1);
    if (archive_write_open_fd(to, conf->out) != ARCHIVE_OK)
        return fail_write(&pack, err);
    FAAS_TRY(pack_tree(&pack, "", err));
    if (archive_write_close(to) != ARCHIVE_OK)
        return fail_write(&pack, err);
    *out_entries = pack.entries;
    return FAAS_OK;
}
