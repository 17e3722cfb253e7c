/* share.h - what of a machine is one spawner's alone while it lives: a numbered share of the run
 * directory, held by a lock, with a block of user ids and the files its lanes need.
 * Contents  NUMBER/skeleton: the topmost layer of every root (dev with its nodes, empty proc, sys,
 *           tmp, a few files of etc); dev, proc, sys and tmp are opaque, so nothing an image brings
 *           shows in them, and what it has in their place is hidden.
 *           NUMBER/outbound: the same for functions with a network, with name servers.
 *           NUMBER/root: the empty directory roots are mounted on, in namespaces of their own.
 * Ids       SHARE_LANES ranges of 65,536 from first_id; no two spawners of a machine have one range.
 * Rights    the run directory is root's and 0700; anything else is refused.
 * Errors    UNAVAILABLE with what to change; INTERNAL.
 * Threads   open and close: any.
 */
#ifndef NATIVE_SHARE_H
#define NATIVE_SHARE_H

#include <limits.h>
#include <stdint.h>

#include "base/err.h"

#define SHARE_COUNT    16 /* spawners of one machine */
#define SHARE_LANES    1024
#define SHARE_PATH_MAX 256

struct share {
    int lock; /* -1: not open */
    unsigned number;
    uint32_t first_id;
    char name[40]; /* of control groups: tells run directories apart, and numbers */
    char skeleton[SHARE_PATH_MAX], outbound[SHARE_PATH_MAX], root[SHARE_PATH_MAX];
};
FAAS_MUST_CHECK faas_code share_open(struct share *share, const char *run_dir,
                                     const char *resolv_conf, faas_err *err);
void share_close(struct share *share);

#endif
