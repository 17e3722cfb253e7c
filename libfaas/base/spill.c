#include "base/spill.h"

#include "base/auto.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void faas_spill_init(struct faas_spill *spill, size_t memory_max, const char *dir)
{
    *spill = (struct faas_spill){.fd = -1, .memory_max = memory_max, .dir = dir};
}

void faas_spill_done(struct faas_spill *spill)
{
    free(spill->bytes);
    if (spill->fd >= 0)
        close(spill->fd);
    faas_spill_init(spill, spill->memory_max, spill->dir);
}

static faas_code no_room(int errnum, faas_err *err)
{
    (void)faas_fail(err, FAAS_UNAVAILABLE, "there is no room for this answer; try again later");
    (void)faas_err_detail(err, "keep an answer: %s", strerror(errnum));
    return FAAS_UNAVAILABLE;
}

int faas_spill_open(const char *dir)
{
    char path[256];
    int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    if (fd >= 0 || (size_t)snprintf(path, sizeof path, "%s/faas-XXXXXX", dir) >= sizeof path)
        return fd;
    fd = mkostemp(path, O_CLOEXEC); /* a file system without O_TMPFILE */
    if (fd >= 0)
        (void)unlink(path);
    return fd;
}

int faas_spill_write(int fd, const void *data, size_t len)
{
    const uint8_t *at = data;

    while (len > 0) {
        ssize_t done = write(fd, at, len);

        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return done < 0 ? errno : ENOSPC;
        at += done;
        len -= (size_t)done;
    }
    return 0;
}

static faas_code write_all(int fd, const uint8_t *data, size_t len, faas_err *err)
{
    int errnum = faas_spill_write(fd, data, len);

    return errnum == 0 ? FAAS_OK : no_room(errnum, err);
}

static faas_code move_to_file(struct faas_spill *spill, faas_err *err)
{
    spill->fd = faas_spill_open(spill->dir);
    if (spill->fd < 0)
        return no_room(errno, err);
    FAAS_TRY(write_all(spill->fd, spill->bytes, spill->len, err));
    free(spill->bytes);
    spill->bytes = NULL;
    spill->room = 0;
    return FAAS_OK;
}

static faas_code add_to_memory(struct faas_spill *spill, const void *data, size_t len,
                               faas_err *err)
{
    size_t room = spill->room;
    uint8_t *grown;

    if (len > room - spill->len) {
        room = len > room * 2 - spill->len ? spill->len + len : room * 2;
        grown = realloc(spill->bytes, room);
        if (grown == NULL)
            return no_room(ENOMEM, err);
        spill->bytes = grown;
        spill->room = room;
    }
    memcpy(spill->bytes + spill->len, data, len);
    return FAAS_OK;
}

faas_code faas_spill_add(struct faas_spill *spill, const void *data, size_t len, faas_err *err)
{
    if (len == 0)
        return FAAS_OK;
    if (spill->fd < 0 && (spill->len > spill->memory_max || len > spill->memory_max - spill->len))
        FAAS_TRY(move_to_file(spill, err));
    if (spill->fd >= 0)
        FAAS_TRY(write_all(spill->fd, data, len, err));
    else
        FAAS_TRY(add_to_memory(spill, data, len, err));
    spill->len += len;
    return FAAS_OK;
}

void *faas_spill_steal(struct faas_spill *spill, size_t *out_len, int *out_fd)
{
    void *bytes = spill->bytes;

    *out_len = spill->len;
    *out_fd = spill->fd;
    faas_spill_init(spill, spill->memory_max, spill->dir);
    return bytes;
}
