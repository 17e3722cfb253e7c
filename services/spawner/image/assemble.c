/* assemble.c - a layer's tar again: the other side of tarsplit.c. */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "entry_name.h"
#include "files.h"
#include "tarsplit.h"
#include "tarsplit_internal.h"

#define BUFFER_BYTES (128 * 1024)

typedef struct archive archive;
FAAS_DEFINE_AUTO(archive, archive_read_free)

struct assembly {
    archive *from;
    int root, out;
    int64_t left; /* bytes that may still be written */
    char *buffer;
};

static faas_code fail_record(faas_err *err)
{
    return faas_fail(err, FAAS_INVALID, "the record of a layer is damaged");
}

static faas_code write_out(struct assembly *assembly, size_t len, faas_err *err)
{
    const char *data = assembly->buffer;

    if ((int64_t)len > assembly->left)
        return faas_fail(err, FAAS_TOO_LARGE, "a layer is larger than allowed (IMAGE_MAX_MB)");
    assembly->left -= (int64_t)len;
    while (len > 0) {
        ssize_t put = write(assembly->out, data, len);

        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return faas_fail_sys(err, errno, "write a layer");
        data += put;
        len -= (size_t)put;
    }
    return FAAS_OK;
}

static size_t part_of(int64_t length)
{
    return length < BUFFER_BYTES ? (size_t)length : BUFFER_BYTES;
}

static faas_code put_literal(struct assembly *assembly, int64_t length, faas_err *err)
{
    for (; length > 0; length -= (int64_t)part_of(length)) {
        size_t len = part_of(length);

        if (archive_read_data(assembly->from, assembly->buffer, len) != (la_ssize_t)len)
            return fail_record(err);
        FAAS_TRY(write_out(assembly, len, err));
    }
    return FAAS_OK;
}

static faas_code copy_file(struct assembly *assembly, int fd, int64_t length, faas_err *err)
{
    while (length > 0) {
        ssize_t got = read(fd, assembly->buffer, part_of(length));

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return fail_record(err);
        FAAS_TRY(write_out(assembly, (size_t)got, err));
        length -= got;
    }
    return FAAS_OK;
}

static faas_code put_file(struct assembly *assembly, const struct tarsplit_op *op, faas_err *err)
{
    char path[ENTRY_NAME_MAX];
    struct stat info;
    faas_code code;
    int fd;

    if (op->path_len == 0 || op->path_len >= sizeof path ||
        archive_read_data(assembly->from, path, op->path_len) != (la_ssize_t)op->path_len)
        return fail_record(err);
    path[op->path_len] = '\0';
    fd = files_open_below(assembly->root, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return faas_fail(err, FAAS_INVALID, "%.200s: cannot be read: %s", path,
                         strerrordesc_np(errno));
    code = fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && info.st_size == op->length
               ? copy_file(assembly, fd, op->length, err)
               : fail_record(err);
    close(fd);
    return code;
}

static faas_code put_all(struct assembly *assembly, faas_err *err)
{
    unsigned char head[TARSPLIT_HEAD];
    la_ssize_t got;

    while ((got = archive_read_data(assembly->from, head, sizeof head)) == sizeof head) {
        const struct tarsplit_op op = tarsplit_unpack(head);

        if (op.length < 0)
            return fail_record(err);
        if (op.op == TARSPLIT_LITERAL)
            FAAS_TRY(put_literal(assembly, op.length, err));
        else if (op.op == TARSPLIT_FILE)
            FAAS_TRY(put_file(assembly, &op, err));
        else
            return fail_record(err);
    }
    return got == 0 ? FAAS_OK : fail_record(err);
}

faas_code tarsplit_assemble(int in, int root, int out, int64_t max, int64_t *out_bytes,
                            faas_err *err)
{
    FAAS_AUTO(archive) *from = archive_read_new();
    FAAS_AUTO(char) *buffer = malloc(BUFFER_BYTES);
    struct assembly assembly = {from, root, out, max, buffer};
    struct archive_entry *entry;

    if (from == NULL || buffer == NULL)
        return faas_fail_sys(err, ENOMEM, "libarchive");
    archive_read_support_filter_zstd(from);
    archive_read_support_format_raw(from);
    if (archive_read_open_fd(from, in, BUFFER_BYTES) != ARCHIVE_OK ||
        archive_read_next_header(from, &entry) != ARCHIVE_OK)
        return fail_record(err);
    FAAS_TRY(put_all(&assembly, err));
    *out_bytes = max - assembly.left;
    return FAAS_OK;
}
