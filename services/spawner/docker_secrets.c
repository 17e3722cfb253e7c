/* docker_secrets.c - a container whose function has secrets.
 * Why       an engine takes files for a container only through its own disk.  So what goes there is a
 *           program of ours (enter.c), in a volume that is removed with the container; the secrets
 *           follow on its standard input, into memory of the container's own.
 */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "docker.h"
#include "enter.h"

#define SEND_MS  60000
#define MODE     0555
#define TAR_MORE (32 * 512) /* its head, and what libarchive fills the end with */

/* ---- the program ---- */

static faas_code read_program(const char *path, void **out_bytes, size_t *out_len, faas_err *err)
{
    FAAS_AUTO(char) *bytes = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    ssize_t len = -1;

    if (fd >= 0 && fstat(fd, &info) == 0) {
        bytes = malloc((size_t)info.st_size);
        len = bytes != NULL ? read(fd, bytes, (size_t)info.st_size) : -1;
    }
    if (fd >= 0)
        close(fd);
    if (len <= 0 || len != info.st_size)
        return faas_fail_sys(err, errno, "read %s", path);
    *out_len = (size_t)len;
    *out_bytes = FAAS_STEAL(bytes);
    return FAAS_OK;
}

static bool write_tar(struct archive *tar, const void *program, size_t len)
{
    struct archive_entry *entry = archive_entry_new();
    bool is_written;

    if (entry == NULL)
        return false;
    archive_entry_set_pathname(entry, ENTER_NAME);
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_perm(entry, MODE);
    archive_entry_set_size(entry, (la_int64_t)len);
    is_written = archive_write_header(tar, entry) == ARCHIVE_OK &&
                 archive_write_data(tar, program, len) == (la_ssize_t)len &&
                 archive_write_close(tar) == ARCHIVE_OK;
    archive_entry_free(entry);
    return is_written;
}

faas_code docker_secrets_open(struct docker *dk, const char *path, faas_err *err)
{
    FAAS_AUTO(char) *room = NULL;
    void *program = NULL;
    struct archive *tar;
    size_t len = 0;
    bool is_written;

    FAAS_TRY(read_program(path, &program, &len, err));
    tar = archive_write_new();
    room = malloc(len + TAR_MORE);
    is_written =
        tar != NULL && room != NULL && archive_write_set_format_ustar(tar) == ARCHIVE_OK &&
        archive_write_open_memory(tar, room, len + TAR_MORE, &dk->enter_len) == ARCHIVE_OK &&
        write_tar(tar, program, len);
    archive_write_free(tar);
    free(program);
    if (!is_written)
        return faas_fail_sys(err, ENOMEM, "pack %s", path);
    dk->enter = FAAS_STEAL(room);
    return FAAS_OK;
}

faas_code docker_secrets_send(struct rt_call *call,
                              void (*done)(void *arg, const struct engine_reply *reply),
                              faas_err *err)
{
    char path[160];
    struct engine_call order = {.method = "PUT",
                                .path = path,
                                .header = "Content-Type: application/x-tar",
                                .bytes = call->dk->enter,
                                .bytes_len = call->dk->enter_len,
                                .timeout_ms = SEND_MS,
                                .done = done,
                                .arg = call};

    snprintf(path, sizeof path, "/containers/%s/archive?path=" ENTER_PLACE, call->container);
    return engine_send(call->dk->eng, &order, &call->req, err);
}

/* ---- the secrets ---- */

#define HEAD_MAX (FAAS_FUNCTION_NAME_MAX + 24) /* "NAME LENGTH\n" */

static char *add(char *at, const void *bytes, size_t len)
{
    if (len > 0)
        memcpy(at, bytes, len);
    return at + len;
}

static char *add_secret(char *at, const struct secret_value *value)
{
    char head[HEAD_MAX];
    int len = snprintf(head, sizeof head, "%s %zu\n", value->name, value->len);

    return add(add(at, head, (size_t)len), value->bytes, value->len);
}

faas_code docker_secrets_input(struct rt_call *call, faas_err *err)
{
    const struct secret_set *set = call->spec.secrets;
    size_t own = call->spec.is_stdin ? call->spec.argument_len : 0, room = own + 1;
    char *at;

    for (size_t i = 0; i < set->count; i++)
        room += HEAD_MAX + set->values[i]->len;
    call->input = at = sodium_malloc(room);
    if (at == NULL)
        return faas_fail_sys(err, ENOMEM, "secrets");
    for (size_t i = 0; i < set->count; i++)
        at = add_secret(at, set->values[i]);
    at = add(at, "\n", 1);
    call->input_len = (size_t)(add(at, call->argument, own) - (char *)call->input);
    return FAAS_OK;
}
