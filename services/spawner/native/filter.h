/* filter.h - the lane's system call filter, as a program the zygote loads.
 * native_filter_fd: pass lets zygotes make the calls of allowed.h that are theirs.  A sealed memory file with an array of struct sock_filter, close-on-exec, the
 * caller's to close.  Built by libseccomp as a binary tree: a list of this length costs several
 * times as much to install.
 * Errors    INTERNAL.   Threads   any; blocks for about a millisecond.
 */
#ifndef NATIVE_FILTER_H
#define NATIVE_FILTER_H

#include <stdint.h>

#include "base/err.h"

FAAS_MUST_CHECK faas_code native_filter_fd(uint64_t pass, int *out_fd, faas_err *err);

/* The names of the system calls a function may make, some with conditions; NULL ends them. */
extern const char *const native_filter_calls[];

#endif
