/* unpack.h - a tar stream into a folder: the only code that believes what a layer's entries say.
 * Input     an uncompressed tar stream; it is read to its end.
 * Names     entry_name.h; every one is resolved with openat2 below the folder.  Links inside that
 *           lead to another place inside are followed, as unpacking into a real root would.
 * Result    files, folders, symbolic and hard links.  Later entries replace earlier ones.  Set-id
 *           bits are dropped; devices, pipes and sockets are left out and counted.
 * Layers    whiteouts become char 0:0 devices; folders whose lower contents are hidden are told to
 *           `opaque`, because marking them takes a right that this process does not have.
 * Errors    INVALID and TOO_LARGE naming the entry and, where there is one, the setting.
 * Threads   one.
 */
#ifndef SPAWNER_IMAGE_UNPACK_H
#define SPAWNER_IMAGE_UNPACK_H

#include <stdbool.h>

#include "entry_name.h"

struct unpack_conf {
    int in, root;     /* borrowed */
    bool is_layer;    /* whiteouts mean something */
    bool keeps_owner; /* this process may give files away */
    int64_t bytes, entries;
    struct entry_bounds names;
    /* The folder of that clean name hides what lower layers have in it. */
    faas_code (*opaque)(void *arg, const char *folder, faas_err *err);
    void *arg;
    int record; /* where the tarsplit.h record goes; -1: nowhere */
};
struct unpack_result {
    int64_t entries, bytes, left_out;
};
FAAS_MUST_CHECK faas_code unpack_stream(const struct unpack_conf *conf,
                                        struct unpack_result *out_result, faas_err *err);

#endif
