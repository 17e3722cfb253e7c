/* confine.h - this process gives up what it does not need, before it reads a stranger's bytes.
 * After     a user namespace of its own, in which the image's users 0..65535 are the otherwise
 *           unused IMAGE_OWNER_BASE + user (started by another user than root: that user alone);
 *           no network; the given folder is the root; limits of memory, time and file size;
 *           the named capabilities within that namespace and no others; no_new_privs; a list of
 *           the system calls that are left.
 * Lasts     until the process ends; it ends with its parent.
 * Errors    UNAVAILABLE: what the machine does not allow, and the setting that would.
 * Threads   called while there is one.
 */
#ifndef SPAWNER_IMAGE_CONFINE_H
#define SPAWNER_IMAGE_CONFINE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum confine_work {
    CONFINE_STREAM, /* opens nothing */
    CONFINE_READER, /* reads any file of the folder */
    CONFINE_WRITER, /* makes files for several owners in it */
};
struct confine {
    int root; /* the folder; stays open */
    enum confine_work work;
    int64_t file_bytes;   /* the longest file */
    bool *out_has_owners; /* files can be given away */
};
FAAS_MUST_CHECK faas_code confine_self(const struct confine *confine, faas_err *err);
/* Only a user and a mount namespace, in which this process stays who it is. */
FAAS_MUST_CHECK faas_code confine_map_self(faas_err *err);

#endif
