/* runtime_docker.h - the runtime that runs each call in a fresh container of a Docker Engine.
 * Sequence  image known, create, then attach and wait side by side, start when both answered, exit
 *           status and end of output in either order, inspect when the status is not 0.  The answer
 *           leaves then; the container is removed behind it.
 * Why so    attached and waited for before the start, so a container that lives a millisecond loses
 *           neither output nor status; wait?condition=next-exit is registered when its head is in.
 * Time      timeout_ms counts from the engine's answer to start.
 * Sweep     at start, when the engine comes back, and every 10 s (sweep.h).
 * Threads   loop thread; new and free while it does not run calls.
 */
#ifndef SPAWNER_RUNTIME_DOCKER_H
#define SPAWNER_RUNTIME_DOCKER_H

#include "base/loop.h"
#include "docker_spec.h"
#include "runtime.h"

struct docker_conf {
    faas_loop *loop;
    const char *host;      /* DOCKER_HOST */
    const char *auth_file; /* REGISTRY_AUTH_FILE */
    const char *allowed;   /* ALLOWED_REGISTRIES */
    const char *enter;     /* path of faas-enter; lives as long as the runtime */
    int pulls;
    int64_t starts; /* containers on their way to their start; 0: processors of the engine + 1 */
    int64_t pull_timeout_ms;
    struct docker_owner owner; /* strings live as long as the runtime */
    bool (*is_bus_heard)(void *arg);
    bool (*is_spawner_heard)(void *arg, const char *spawner);
    void *arg;
};
FAAS_MUST_CHECK faas_code runtime_docker_new(const struct docker_conf *conf,
                                             struct runtime **out_runtime, faas_err *err);
/* epoch is known only once the bus runs; the loop thread starts asking the engine here. */
void runtime_docker_begin(struct runtime *rt, const char *epoch);
bool runtime_docker_is_settled(const struct runtime *rt); /* first ping answered or failed */
void runtime_docker_free(struct runtime *rt);

#endif
