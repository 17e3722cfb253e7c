/* den.h - a real spawner ("s1") on a real engine and a real nats-server, for integration tests; the
 * test program is the publisher and the gateway of its calls (caller.h).
 * Images    FAIL and ECHO, resolved at the start.
 * Errors    what goes wrong here fails the running cmocka test.
 */
#ifndef FAAS_TEST_DEN_H
#define FAAS_TEST_DEN_H

#include <pthread.h>
#include <stdbool.h>
#include <sys/types.h>

#include "tests/support/caller.h"

#define DEN_FAIL "docker.io/faas-tests/fail:latest"
#define DEN_ECHO "docker.io/faas-examples/echo:latest"
#define DEN_ID   80

struct den {
    struct caller *caller;
    char cluster[40]; /* label of all containers made here */
    pid_t spawner;    /* "s1"; 0 once a test has ended it */
    char fail_id[DEN_ID], echo_id[DEN_ID];
};
extern struct den den;

int den_open(void **state); /* for cmocka_run_group_tests */
int den_close(void **state);

/* settings: NAME, value, ..., NULL. */
pid_t den_spawner_start(const char *id, const char *const *settings);
void den_await_ready(const char *id);
int den_await_exit(pid_t pid); /* exit status, or minus the signal */

void den_resolve(const char *image, char out_id[DEN_ID]);
/* more: further fields of the envelope as JSON text, or NULL.  A new reference. */
json_t *den_meta(const char *reference, const char *id, const char *more);
/* A call of FAIL at s1 that must come to an end. */
void den_call(const char *argument, const char *more, struct caller_result *out_result);
const char *den_text(const json_t *doc, const char *field); /* "" when absent */

/* Containers with the label, stopped ones included, are gone within ms. */
void den_assert_gone(const char *label, const char *value, int64_t ms);
void den_assert_stopped(const char *call_id); /* right now */

/* A call of FAIL on a thread of its own; "sleep 60000" when no argument is set. */
struct sleeper {
    struct caller_result result;
    char id[FAAS_UUID_TEXT];
    const char *spawner; /* NULL: "s1" */
    const char *argument, *more;
    int64_t wait_ms; /* 0: 60 s */
    bool is_deaf, ignores_end;
    void (*started)(void *arg, const char *id); /* on the caller's thread; or NULL */
    void *arg;
    pthread_t thread;
};
void sleeper_start(struct sleeper *self);
void sleeper_await_container(const struct sleeper *self);
void sleeper_join(struct sleeper *self);

#endif
