/* program.h - one of our programs as a child of a test, with its settings and its log.
 * Program   $FAAS_BUILD/bin/faas-<name> (make integration sets it), build/release/bin otherwise.
 * Settings  "NAME=value", NULL ends the list; nothing else of our environment reaches the child
 *           but PATH and the sanitizers' options.
 * Log       what it writes to standard error, in a file of the caller's choice (appended).
 * Ownership ended by pid; it dies with the test, too.
 * Errors    what goes wrong here fails the running cmocka test.
 */
#ifndef FAAS_TEST_PROGRAM_H
#define FAAS_TEST_PROGRAM_H

#include <stdint.h>
#include <sys/types.h>

pid_t program_start(const char *name, const char *const *settings, const char *log_file);
/* Sends the signal and waits; the exit status, or 128 + the signal that ended it. */
int program_stop(pid_t pid, int signal, int64_t ms);
/* Waits for a child that ends by itself. */
int program_wait(pid_t pid, int64_t ms);
/* Another signing key (P-256, PEM, 0600) at path, in the place of what was there. */
void program_make_key(const char *path);

#endif
