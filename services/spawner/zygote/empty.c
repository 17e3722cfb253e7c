#include "empty.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BATCH (16 * 1024) /* bytes of directory entries */

static struct {
    char top[BATCH], inner[BATCH];
    unsigned next; /* for names at the top */
} own;

struct entries {
    int dir;
    char *batch;
    long len, at;
};

/* NULL: no more, or an error in errno. */
static const char *next_name(struct entries *list)
{
    const struct dirent64 *entry;

    for (;;) {
        if (list->at >= list->len) {
            list->len = syscall(SYS_getdents64, list->dir, list->batch, BATCH);
            list->at = 0;
            if (list->len <= 0)
                return NULL;
        }
        entry = (const struct dirent64 *)(const void *)(list->batch + list->at);
        list->at += entry->d_reclen;
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            return entry->d_name;
    }
}

/* A directory that is not empty moves to a name of its own at the top. */
static int move_up(int dir, const char *name, int top)
{
    char to[16];
    int rc;

    do {
        (void)snprintf(to, sizeof to, "%u", own.next++);
        rc = renameat2(dir, name, top, to, RENAME_NOREPLACE);
    } while (rc != 0 && errno == EEXIST);
    return rc;
}

/* 0: it is gone, or at the top.  Writing to a directory is asked for to move it. */
static int take_out(int dir, const char *name, int top)
{
    if (unlinkat(dir, name, 0) == 0)
        return 0;
    if (errno != EISDIR)
        return -1;
    if (unlinkat(dir, name, AT_REMOVEDIR) == 0)
        return 0;
    return errno == ENOTEMPTY && fchmodat(dir, name, 0700, 0) == 0 ? move_up(dir, name, top) : -1;
}

static int clear_inner(int top, const char *name)
{
    struct entries list = {.batch = own.inner};
    const char *inner;
    int rc = fchmodat(top, name, 0700, 0);

    if (rc == 0)
        rc = list.dir = openat(top, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (rc < 0)
        return -1;
    rc = 0;
    while (rc == 0 && (inner = next_name(&list)) != NULL)
        rc = take_out(list.dir, inner, top);
    close(list.dir);
    return rc == 0 ? unlinkat(top, name, AT_REMOVEDIR) : -1;
}

static int remove_at_top(int top, const char *name)
{
    if (unlinkat(top, name, 0) == 0)
        return 0;
    if (errno != EISDIR)
        return -1;
    if (unlinkat(top, name, AT_REMOVEDIR) == 0)
        return 0;
    return errno == ENOTEMPTY ? clear_inner(top, name) : -1;
}

/* Entries come and go while it is read, so it is read until it is found empty. */
bool zy_empty(int top)
{
    bool was_empty;

    do {
        struct entries list = {.dir = top, .batch = own.top};
        const char *name;

        was_empty = true;
        if (lseek(top, 0, SEEK_SET) != 0)
            return false;
        while ((name = next_name(&list)) != NULL) {
            was_empty = false;
            if (remove_at_top(top, name) != 0)
                return false;
        }
        if (list.len < 0)
            return false;
    } while (!was_empty);
    return true;
}
