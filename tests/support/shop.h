/* shop.h - everything around real registry programs: real NATS servers, a gateway that asks, and
 * spawners that resolve images as a test tells them (no container runs).
 * Images    "missing" cannot be had; "nothing" has no command; "shell" has a shell-form ENTRYPOINT;
 *           "cmd" has only a CMD; others have an ENTRYPOINT.  Their digest names shop.build.
 * Errors    what goes wrong here fails the running cmocka test; requests return theirs.
 * Threads   shop_ask and what stands on it: any.
 */
#ifndef FAAS_TEST_SHOP_H
#define FAAS_TEST_SHOP_H

#include <stdatomic.h>
#include <sys/types.h>

#include "base/json.h"
#include "net/kv.h"
#include "net/members.h"
#include "tests/support/nats.h"
#include "tests/support/process.h"

#define SHOP_REPLICAS 3
#define SHOP_SPAWNERS 2
#define SHOP_LONG_MS  30000
#define SHOP_ANN      "0190a000-0000-7000-8000-00000000000a"
#define SHOP_BOB      "0190a000-0000-7000-8000-00000000000b"

enum shop_mood {
    SHOP_RESOLVES,
    SHOP_BUSY,
    SHOP_NO_ENGINE,
    SHOP_SILENT,
    SHOP_SILENT_ONCE /* to the next question */
};

struct shop_spawner {
    struct process process;
    faas_members *members;
    _Atomic enum shop_mood mood;
    _Atomic int asked;
    char id[8];
};
struct shop {
    struct nats *nats;
    struct process gateway;
    faas_kv *functions;
    pid_t registries[SHOP_REPLICAS]; /* 0: not running */
    struct shop_spawner spawners[SHOP_SPAWNERS];
    char log_file[300], data_dir[300];
};
extern struct shop shop;
extern _Atomic int shop_build;
extern _Atomic bool shop_is_over; /* what SHOP_SILENT_ONCE holds up ends */
/* What the gateway says in its beats to have applied of the bucket; -1: it is no reader. */
extern _Atomic int64_t shop_gateway_applied;

int shop_open(void **state); /* three NATS servers, three registries, two spawners */
int shop_close(void **state);
void shop_start_registry(int which);  /* under its old id; waits for nothing */
void shop_kill_registry(int which);   /* SIGKILL */
void shop_wait_ready(int registries); /* so many are ready members */
/* A spawner comes back or says good-bye; returns when the registries' view must have changed. */
void shop_join(int which);
void shop_leave(int which);
int shop_asked(void); /* questions to spawners so far */

/* faas.registry.<op> as that user (whose tenant has an id of its own). */
faas_code shop_ask(const char *user, const char *op, const char *body, json_t **out_reply,
                   faas_err *err);
json_t *shop_must(const char *op, const char *body); /* as Ann; fails the test */
void shop_refuses(const char *op, const char *body, faas_code code, const char *part);
const char *shop_text(const json_t *doc, const char *key);
int64_t shop_number(const json_t *doc, const char *key);
faas_members *shop_members(void);                        /* the gateway's view */
void shop_head_key(const char *name, char out_key[120]); /* of Ann's function */
void shop_tenant(const char *user, char out_tenant[FAAS_UUID_TEXT]);

#endif
