#include "cli/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct file_bytes {
    const void *data;
    size_t len;
    mode_t mode;
    bool is_quick;
};

faas_code file_fail(faas_err *err, const char *what, const char *path, int errnum)
{
    char reason[128];

    return faas_fail(err, FAAS_INVALID, "%s: cannot %s: %s", path, what,
                     strerror_r(errnum, reason, sizeof reason));
}

char *file_path(const char *fmt, ...)
{
    va_list args;
    char *text = NULL;
    int len;

    va_start(args, fmt);
    len = vasprintf(&text, fmt, args);
    va_end(args);
    return len < 0 ? NULL : text;
}

static faas_code write_all(int fd, const char *path, const char *data, size_t len, faas_err *err)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return file_fail(err, "write", path, errno);
        data += n;
        len -= (size_t)n;
    }
    return FAAS_OK;
}

static faas_code fill(int fd, const char *path, const struct file_bytes *bytes, faas_err *err)
{
    faas_code code = FAAS_OK;

    if (fchmod(fd, bytes->mode) != 0)
        code = file_fail(err, "write", path, errno);
    if (code == FAAS_OK)
        code = write_all(fd, path, bytes->data, bytes->len, err);
    if (code == FAAS_OK && !bytes->is_quick && fsync(fd) != 0)
        code = file_fail(err, "write", path, errno);
    if (close(fd) != 0 && code == FAAS_OK)
        code = file_fail(err, "write", path, errno);
    return code;
}

/* Makes a rename in the file's directory last. */
static faas_code sync_directory(const char *path, faas_err *err)
{
    const char *slash = strrchr(path, '/');
    FAAS_AUTO(char) *dir = slash != NULL ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
    int fd = dir != NULL ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    faas_code code = FAAS_OK;

    if (fd < 0)
        return file_fail(err, "write", path, errno);
    if (fsync(fd) != 0)
        code = file_fail(err, "write", path, errno);
    close(fd);
    return code;
}

static faas_code replace(const char *path, const struct file_bytes *bytes, faas_err *err)
{
    FAAS_AUTO(char) *temporary = file_path("%s.XXXXXX", path);
    faas_code code;
    int fd;

    if (temporary == NULL)
        return faas_fail_sys(err, ENOMEM, "path of %s", path);
    fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0)
        return file_fail(err, "write", path, errno);
    code = fill(fd, path, bytes, err);
    if (code == FAAS_OK && rename(temporary, path) != 0)
        code = file_fail(err, "replace", path, errno);
    if (code != FAAS_OK)
        unlink(temporary);
    return code != FAAS_OK || bytes->is_quick ? code : sync_directory(path, err);
}

faas_code file_write(const char *path, const void *data, size_t len, mode_t mode, faas_err *err)
{
    struct file_bytes bytes = {data, len, mode, false};

    return replace(path, &bytes, err);
}

faas_code file_write_quick(const char *path, const void *data, size_t len, faas_err *err)
{
    struct file_bytes bytes = {data, len, 0600, true};

    return replace(path, &bytes, err);
}

static faas_code read_all(int fd, const char *path, char **out_text, size_t *out_len, faas_err *err)
{
    struct stat st;
    size_t size, at = 0;
    FAAS_AUTO(char) *text = NULL;

    if (fstat(fd, &st) != 0)
        return file_fail(err, "read", path, errno);
    if (!S_ISREG(st.st_mode) || st.st_size > FILE_SMALL_MAX)
        return faas_fail(err, FAAS_INVALID, "%s: not a file of at most %d bytes", path,
                         FILE_SMALL_MAX);
    size = (size_t)st.st_size;
    text = malloc(size + 1);
    if (text == NULL)
        return faas_fail_sys(err, errno, "read %s", path);
    while (at < size) {
        ssize_t n = read(fd, text + at, size - at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return file_fail(err, "read", path, errno);
        if (n == 0)
            break;
        at += (size_t)n;
    }
    text[at] = '\0';
    *out_len = at;
    *out_text = FAAS_STEAL(text);
    return FAAS_OK;
}

faas_code file_read(const char *path, char **out_text, size_t *out_len, faas_err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    faas_code code;

    if (fd < 0 && errno == ENOENT) {
        *out_text = NULL;
        *out_len = 0;
        return FAAS_OK;
    }
    if (fd < 0)
        return file_fail(err, "read", path, errno);
    code = read_all(fd, path, out_text, out_len, err);
    close(fd);
    return code;
}

faas_code file_read_json(const char *path, json_t **out_doc, faas_err *err)
{
    FAAS_AUTO(char) *text = NULL;
    size_t len;
    faas_code rc;

    FAAS_TRY(file_read(path, &text, &len, err));
    if (text == NULL) {
        *out_doc = NULL;
        return FAAS_OK;
    }
    rc = faas_json_parse(text, len, false, out_doc, err);
    return rc != FAAS_INVALID ? rc : faas_fail(err, rc, "%s: not a JSON object", path);
}

faas_code file_write_json(const char *path, const json_t *doc, mode_t mode, faas_err *err)
{
    FAAS_AUTO(char) *text = faas_json_dump(doc, JSON_INDENT(2), NULL);

    if (text == NULL)
        return faas_fail_sys(err, ENOMEM, "encode %s", path);
    return file_write(path, text, strlen(text), mode, err);
}

faas_code file_make_dirs(const char *path, faas_err *err)
{
    FAAS_AUTO(char) *copy = strdup(path);
    struct stat st;

    if (copy == NULL)
        return faas_fail_sys(err, errno, "path %s", path);
    for (char *p = copy + 1; *p != '\0'; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        if (mkdir(copy, 0700) != 0 && errno != EEXIST)
            return file_fail(err, "make the directory", copy, errno);
        *p = '/';
    }
    if (mkdir(copy, 0700) != 0 && errno != EEXIST)
        return file_fail(err, "make the directory", copy, errno);
    if (stat(copy, &st) != 0)
        return file_fail(err, "use the directory", copy, errno);
    return S_ISDIR(st.st_mode) ? FAAS_OK : file_fail(err, "use as a directory", copy, ENOTDIR);
}
