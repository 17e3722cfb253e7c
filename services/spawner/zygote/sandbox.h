/* sandbox.h - one call's process, from clone to exec, and the zygote's loop around it.
 * Sharing   the process shares the zygote's memory until its exec (CLONE_VM); the zygote sleeps
 *           meanwhile (CLONE_VFORK).  So it makes system calls alone (sys.h): nothing there may
 *           allocate or use stdio, errno or a lock.
 * Order     own /proc; ids, capabilities; only then, as weak as the function itself, it reads what
 *           to run.  Limits, host name, the empty bounding set, no_new_privs and the filter are the
 *           lane's, inherited.  Some calls pass the filter with setup.pass alone; with the exec the
 *           memory that it is in is out of reach.
 * Writable  /tmp, /dev/shm and the image's volumes are mounted by the zygote, and used again by the next call only if they
 *           are as they were: no block or inode more, no time changed.  Else they are replaced.
 */
#ifndef ZYGOTE_SANDBOX_H
#define ZYGOTE_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>

#include "wire.h"

struct zy_setup { /* the same for all calls of a lane */
    int control, null_fd;
    uint64_t pass;
    uint32_t uid, gid, pids, tmp_mb;
    const char *const *volumes; /* checked by lane.c */
    uint32_t volume_count;
    bool is_slot;
};

/* Serves calls until the spawner closes the socket. */
void zy_serve(const struct zy_setup *setup) __attribute__((noreturn));

#define ZY_WRITABLE_MAX (2 + ZY_VOLUMES_MAX)

/* For slot.c: the same steps, one by one. */
const char *zy_writable(size_t index); /* NULL: there are no more */
long zy_mount_writable(void);          /* in the zygote; 0, or -errno */
void zy_weaken(void);                  /* own /proc, ids, capabilities */
/* What a process that fails says before it ends; NULL: nothing. */
void zy_on_failure(void (*say)(void));
void zy_must(enum zy_step step, long result); /* ends this process when result is negative */
void zy_failure(struct zy_reply *reply);      /* moves it there; NONE: there was none */
char *zy_order_buffer(void);                  /* ZY_PACKET_MAX bytes */
bool zy_order_read(size_t len);               /* of the buffer */
void zy_order_exec(void) __attribute__((noreturn));

#endif
