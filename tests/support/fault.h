/* fault.h - runs a scenario with its Nth allocation, or its Nth system call, failing.
 * How       the linker's --wrap redirects the calls that our own objects make (tests/fault/
 *           sources.mk has the list, fault_calls.c the replacements).  jansson allocates through
 *           base/json.c, libcrypto and SQLite through hooks of theirs.  libev has one, too, but ends
 *           the process when it fails; the others have none.
 * Scenario  does something and checks all of what came of it before it says FAAS_OK.  What it makes
 *           it frees; what is to survive a fault lives in its state.  fault_pause() around checks
 *           and cleaning up.
 * Claims    for N = 1, 2, 3 ... until a run meets no fault (of the thousands that libcrypto and
 *           SQLite allocate themselves, every tenth further on): no crash; FAAS_OK, or an error with a
 *           message that does not blame the caller (INTERNAL, UNAVAILABLE, TIMEOUT, or the
 *           system's own reason in the text); no more descriptors afterwards than before, and none
 *           closed twice; no leak (where LeakSanitizer is); and the scenario passes with the same
 *           state right afterwards.
 * Threads   faults count over all threads that are not spared; scenarios run on the test's own.
 */
#ifndef FAAS_FAULT_H
#define FAAS_FAULT_H

#include <stdbool.h>

#include "base/err.h"

enum fault_kind { FAULT_MEMORY, FAULT_SYSTEM, FAULT_LIBRARY };

typedef faas_code fault_scenario(void *state, faas_err *err);

/* Once, before these are used; of SQLite also its system calls. */
void fault_crypto(void);
void fault_sqlite(void);
/* Fails the running cmocka test where a claim does not hold.  At least `least` faults of all kinds
 * together must have been met, so that a scenario cannot rot away unnoticed. */
void fault_each(fault_scenario *run, void *state, unsigned least);
/* Which call failed in this run; "none" so far. */
const char *fault_met(void);
/* Faults wait while paused; true when they were paused before. */
bool fault_pause(bool is_paused);
/* The calls of a spared thread neither fail nor count; true when this one was spared before. */
bool fault_spare(bool is_spared);

/* For fault_calls.c and hooks: counts a call, and says whether it is the one that fails; errno is
 * then errnum. */
bool fault_is_due(enum fault_kind kind, const char *call, int errnum);

#endif
