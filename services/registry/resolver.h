/* resolver.h - asks a spawner what an image reference means (PROTOCOL.md section 3).
 * Choice    any usable spawner of the isolation that is wanted; equal references go to the same one,
 *           so that their pulls merge.  One that is busy, has no engine or dies meanwhile is
 *           followed by the next.
 * Answer    the spawner's JSON; its own message when the image cannot be had (UNPROCESSABLE).
 * Time      a pull may take most of the caller's time; enough is left for storing the result.
 * Bounds    RESOLVER_MAX at once in a process, so that slow pulls leave threads for the rest.
 * Errors    UNAVAILABLE (no spawner could answer; its message says why), BUSY (over the bound),
 *           UNPROCESSABLE: no spawner has the isolation that is needed.
 * Threads   any but the loop's; calls block.
 */
#ifndef REGISTRY_RESOLVER_H
#define REGISTRY_RESOLVER_H

#include <stdatomic.h>

#include "net/members.h"

#define RESOLVER_MAX 24

struct resolver {
    faas_loop *loop;
    faas_rpc *rpc;
    faas_members *members;
    _Atomic int running;
};

struct resolver_want {
    const char *image;
    const char *isolation; /* NULL: any */
    bool is_needed;        /* else another isolation will do when no spawner has this one */
};
FAAS_MUST_CHECK faas_code resolver_ask(struct resolver *resolver, const struct faas_ctx *caller,
                                       const struct resolver_want *want, json_t **out_resolved,
                                       faas_err *err);

#endif
