/* process.h - one member of the platform inside a test program: loop thread, pool, bus, rpc.
 * Threads   the loop runs on a thread of its own; process_on_loop() runs a function there and
 *           waits for it.
 * Errors    what goes wrong here fails the cmocka test that runs.
 */
#ifndef FAAS_TEST_PROCESS_H
#define FAAS_TEST_PROCESS_H

#include "net/members.h"
#include "net/rpc.h"

struct process {
    faas_loop *loop;
    faas_pool *pool;
    faas_bus *bus;
    faas_rpc *rpc;
    pthread_t thread;
    char service[16], id[33];
};

/* nkey_file and ca_file may be NULL.  endpoints may be NULL; state is handed to them. */
struct process_conf {
    const char *urls, *service, *id, *nkey_file, *ca_file;
    const struct faas_endpoint *endpoints;
    void *state;
};
void process_start(struct process *p, const struct process_conf *conf);
void process_on_loop(struct process *p, void (*run)(void *arg), void *arg);
/* before (or NULL) runs on the loop once the pool has stopped. */
void process_stop(struct process *p, void (*before)(void *arg), void *arg);

/* Calls is_true every few milliseconds until it holds; fails the test after ms. */
void wait_until(bool (*is_true)(void *arg), void *arg, int64_t ms, const char *what);

#endif
