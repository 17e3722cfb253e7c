/* engine.h - a Docker Engine with the example and test images, for integration tests.
 * Engine    the one that scripts/engine find names, else a private one, ended by test_engine_stop.
 * Effect    DOCKER_HOST is set for this process and those it starts.
 * Errors    what goes wrong here ends the program with a message.
 */
#ifndef FAAS_TEST_ENGINE_H
#define FAAS_TEST_ENGINE_H

void test_engine_start(void);
void test_engine_stop(void);
/* Runs a program (found in PATH; argv ends with NULL); its standard output without the last newline
 * is the caller's.  NULL: it failed. */
char *test_run(const char *const *argv);
/* docker ps -a --no-trunc -q --filter label=NAME=VALUE: ids, one a line; the caller's. */
char *test_containers(const char *label, const char *value);

#endif
