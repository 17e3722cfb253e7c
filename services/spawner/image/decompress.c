#include "decompress.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <unistd.h>

#define BUFFER_BYTES (128 * 1024)

typedef struct archive archive;
FAAS_DEFINE_AUTO(archive, archive_read_free)

static faas_code write_all(int out, const char *data, size_t len, faas_err *err)
{
    while (len > 0) {
        ssize_t put = write(out, data, len);

        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return faas_fail_sys(err, errno, "write what was decompressed");
        data += put;
        len -= (size_t)put;
    }
    return FAAS_OK;
}

static faas_code open_stream(archive *from, int in, faas_err *err)
{
    struct archive_entry *entry;
    int rc;

    archive_read_support_filter_gzip(from);
    archive_read_support_filter_zstd(from);
    archive_read_support_format_raw(from);
    archive_read_support_format_empty(from);
    rc = archive_read_open_fd(from, in, BUFFER_BYTES);
    if (rc == ARCHIVE_OK)
        rc = archive_read_next_header(from, &entry);
    if (rc != ARCHIVE_OK && rc != ARCHIVE_EOF)
        return faas_fail(err, FAAS_INVALID, "cannot be decompressed: %s",
                         archive_error_string(from));
    return FAAS_OK;
}

faas_code decompress_stream(int in, int out, int64_t max, int64_t *out_bytes, faas_err *err)
{
    FAAS_AUTO(archive) *from = archive_read_new();
    FAAS_AUTO(char) *buffer = malloc(BUFFER_BYTES);
    ssize_t got;

    if (from == NULL || buffer == NULL)
        return faas_fail_sys(err, ENOMEM, "libarchive");
    FAAS_TRY(open_stream(from, in, err));
    while ((got = archive_read_data(from, buffer, BUFFER_BYTES)) > 0) {
        *out_bytes += got;
        if (*out_bytes > max)
            return faas_fail(err, FAAS_TOO_LARGE,
                             "it is larger than allowed when decompressed (IMAGE_MAX_MB)");
        FAAS_TRY(write_all(out, buffer, (size_t)got, err));
    }
    if (got < 0)
        return faas_fail(err, FAAS_INVALID, "cannot be decompressed: %s",
                         archive_error_string(from));
    return FAAS_OK;
}
