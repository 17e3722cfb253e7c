/* engine_probe.h - is there a Docker Engine where the spawners will look?
 * Looks at DOCKER_HOST (unix:// or tcp://), then /var/run/docker.sock.  Starts nothing.
 * Threads  any; waits up to ENGINE_PROBE_MS.
 */
#ifndef CLI_ENGINE_PROBE_H
#define CLI_ENGINE_PROBE_H

#include <stdbool.h>
#include <stddef.h>

#define ENGINE_PROBE_MS 500

/* out_where: the address tried, for people. */
bool engine_answers(char *out_where, size_t room);

#endif
