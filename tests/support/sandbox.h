/* sandbox.h - the native runtime on this machine, driven from a test: a loop, an image, calls.
 * Image     one layer, made here: busybox (Debian's static one) with its names in /bin, and the
 *           test program tests/images/inside.c as /bin/inside; files are the image's as the store
 *           would have them.  It is the only one there is: every reference means it.
 * Needs     root and faas-zygote, faas-inside, in the folder bin beside the test's own.
 * Errors    what goes wrong here fails the running cmocka test.
 */
#ifndef FAAS_TEST_SANDBOX_H
#define FAAS_TEST_SANDBOX_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/loop.h"
#include "services/spawner/native/runtime_native.h"

#define SANDBOX_OUT_MAX (8 * 1024 * 1024)

struct sandbox_rig {
    faas_loop *loop;
    struct runtime *rt;
    char dir[64];        /* of all that is made here */
    struct image *image; /* config may be changed between calls */
};
extern struct sandbox_rig rig;

int sandbox_open(void **state); /* for cmocka_run_group_tests */
int sandbox_close(void **state);
void sandbox_restart(int64_t idle_ms, bool is_parked); /* another life of the runtime */
void sandbox_stop(void);

void sandbox_inside(char out_path[256]); /* the test program, outside */

struct sandbox_call {
    struct rt_call *run; /* NULL before it is begun and after its end */
    struct rt_outcome outcome;
    bool has_started, has_ended, is_paused;
    char *out; /* ended by NUL */
    size_t out_len;
    char err[16384];
    size_t err_len;
    bool (*on_out)(struct sandbox_call *call); /* NULL: take all */
};
/* Words of a command line, split at spaces; a spec with the platform's defaults. */
struct sandbox_order {
    struct rt_spec spec;
    json_t *command;
};
extern bool sandbox_is_slot;       /* what sandbox_order says of reuse; false */
extern bool sandbox_is_outbound;   /* what it says of the network, and the runtime offers; false */
extern const char *sandbox_zygote; /* another than the product's; NULL */
extern const char *sandbox_dns;    /* of the runtime; NULL */
void sandbox_order(struct sandbox_order *order, const char *command);
void sandbox_order_done(struct sandbox_order *order);
void sandbox_begin(struct sandbox_call *call, const struct rt_spec *spec);
void sandbox_await(struct sandbox_call *call); /* its end */
void sandbox_call_done(struct sandbox_call *call);
/* "sh -c TEXT" from beginning to end. */
void sandbox_shell(struct sandbox_call *call, const char *text);
/* One turn of the loop, or more until is_true; fails after 20 s. */
void sandbox_await_true(bool (*is_true)(void *arg), void *arg);

#endif
