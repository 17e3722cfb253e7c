/* runtime_native.h - the runtime that runs each call in a fresh sandbox of this machine's kernel.
 * Lanes     calls of one tenant, image and set of limits use the same lane, one at a time: a zygote
 *           (zygote/) in its own control groups, user, network and mount namespace, with the image
 *           as its read-only root.  From it each call gets a process in fresh mount and pid
 *           namespaces.  Idle lanes are kept for idle_ms, with the next sandbox made in
 *           advance when is_parked.
 * Images    from the store, fetched there when they are missing; the kind of their digests is
 *           "store".
 * Needs     root, overlayfs with id-mapped layers (Linux 5.19), user namespaces.  Without control
 *           groups for memory, pids and cpu it serves one tenant alone, and says so at its start.
 * Network   none, or outbound: a pair of devices for each lane, made with it (outbound/main.c).
 * Sweep     groups and processes of an earlier life are removed when it is opened, rules of
 *           nftables when it begins; mounts, namespaces and devices end with their processes.
 * Threads   loop thread; new and free while it does not run calls.
 */
#ifndef NATIVE_RUNTIME_NATIVE_H
#define NATIVE_RUNTIME_NATIVE_H

#include "base/loop.h"
#include "services/spawner/image/puller.h"
#include "services/spawner/runtime.h"

struct native_conf {
    faas_loop *loop;
    puller *images;
    const char *run_dir;  /* SPAWNER_RUN_DIR */
    const char *program;  /* faas-zygote */
    const char *outbound; /* faas-outbound; NULL: no function gets a network */
    const char *dns;      /* SPAWNER_DNS; NULL is "" */
    int64_t idle_ms;      /* a lane that nobody used for so long ends */
    size_t secret_bytes;  /* of secrets in idle lanes; the one used least lately ends */
    bool is_parked;
};
FAAS_MUST_CHECK faas_code runtime_native_new(const struct native_conf *conf,
                                             struct runtime **out_runtime, faas_err *err);
void runtime_native_begin(struct runtime *rt);            /* loop thread */
bool runtime_native_is_settled(const struct runtime *rt); /* it knows what this machine can do */
void runtime_native_free(struct runtime *rt);

#endif
