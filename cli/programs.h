/* programs.h - where the programs that `faas up` starts are.
 * Ours      beside faas itself.
 * NATS      $NATS_SERVER, else ../../deps/bin/nats-server beside the folder of faas (the build
 *           tree), else nats-server beside faas, else PATH.  Older than 2.10.27 is refused.
 * Errors    UNAVAILABLE naming what is missing and what to do.
 * Threads   the main thread.
 */
#ifndef CLI_PROGRAMS_H
#define CLI_PROGRAMS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/* The folder of the running program; the caller frees. */
FAAS_MUST_CHECK faas_code programs_folder(char **out_folder, faas_err *err);
FAAS_MUST_CHECK faas_code programs_ours(const char *folder, const char *name, char **out_path,
                                        faas_err *err);
FAAS_MUST_CHECK faas_code programs_nats(const char *folder, char **out_path, faas_err *err);
/* docker-registry, in PATH. */
FAAS_MUST_CHECK faas_code programs_image_registry(char **out_path, faas_err *err);
/* What `PROGRAM ARGUMENT` prints; false when it cannot be run.  Waits for its end. */
bool programs_ask(const char *program, const char *argument, char *out_text, size_t room);

#endif
