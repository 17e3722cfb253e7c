/* docker_secrets.c - a container whose function has secrets.
 * Why       an engine takes files for a container only through its own disk.  So what goes there is a
 *           program of ours (enter.c), in a volume that is removed with the container; the secrets
 *           follow on its standard input, into memory of the container's own.
 */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "docker.h"
#include "enter.h"

#define SEND_MS 60000
#define BLOCK   512 /* of a tar */

/* ---- the program ---- */

/* POSIX's ustar; all numbers are octal texts, what is not set is 0. */
struct tar_head {
    char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], sum[8], type, link[100], magic[6],
        version[2], rest[247];
};
_Static_assert(sizeof(struct tar_head) == BLOCK, "a tar's head is a block");

static void fill_head(struct tar_head *head, size_t len)
{
    unsigned sum = 0;

    *head = (struct tar_head){.name = ENTER_NAME,
                              .mode = "0000555",
                              .uid = "0000000",
                              .gid = "0000000",
                              .mtime = "00000000000",
                              .sum = "        ",
                              .type = '0',
                              .magic = "ustar",
                              .version = "00"};
    (void)snprintf(head->size, sizeof head->size, "%011zo", len);
    for (size_t i = 0; i < sizeof *head; i++)
        sum += ((const unsigned char *)head)[i];
    (void)snprintf(head->sum, sizeof head->sum, "%06o", sum);
}

/* As a tar of this one file: its head, its bytes, and two blocks of nothing at least. */
static faas_code pack_program(struct docker *dk, int fd, size_t len, faas_err *err)
{
    size_t room = BLOCK + (len + BLOCK - 1) / BLOCK * BLOCK + 2 * BLOCK;
    FAAS_AUTO(char) *tar = calloc(1, room);

    if (tar == NULL || read(fd, tar + BLOCK, len) != (ssize_t)len)
        return faas_fail_sys(err, errno, ENTER_NAME);
    fill_head((struct tar_head *)(void *)tar, len);
    dk->enter = FAAS_STEAL(tar);
    dk->enter_len = room;
    return FAAS_OK;
}

/* Kept from the first call on that needs it. */
static faas_code have_program(struct docker *dk, faas_err *err)
{
    struct stat info;
    faas_code rc;
    int fd;

    if (dk->enter != NULL)
        return FAAS_OK;
    fd = open(dk->conf.enter, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &info) != 0)
        rc = faas_fail_sys(err, errno, "%s", dk->conf.enter);
    else
        rc = pack_program(dk, fd, (size_t)info.st_size, err);
    if (fd >= 0)
        close(fd);
    return rc;
}

faas_code docker_secrets_send(struct rt_call *call,
                              void (*done)(void *arg, const struct engine_reply *reply),
                              faas_err *err)
{
    char path[160];
    struct engine_call order = {.method = "PUT",
                                .path = path,
                                .header = "Content-Type: application/x-tar",
                                .timeout_ms = SEND_MS,
                                .done = done,
                                .arg = call};

    FAAS_TRY(have_program(call->dk, err));
    order.bytes = call->dk->enter;
    order.bytes_len = call->dk->enter_len;
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
