/* pack.h - a folder as a tar stream, the same bytes for the same contents.
 * Entries   sorted by name; owner 0, time 0; folders and executable files 0755, other files 0644,
 *           whatever the umask was; symbolic links as they are.  Hard links become files.
 * Errors    INVALID: a device, pipe or socket, or something unreadable, by name; TOO_LARGE.
 * Threads   one.
 */
#ifndef SPAWNER_IMAGE_PACK_H
#define SPAWNER_IMAGE_PACK_H

#include "entry_name.h"

struct pack_conf {
    int root, out; /* borrowed */
    int64_t bytes, entries;
    struct entry_bounds names;
};
FAAS_MUST_CHECK faas_code pack_folder(const struct pack_conf *conf, int64_t *out_entries,
                                      faas_err *err);

#endif
