/* slot.h - a sandbox that is kept: its first process is ours, and runs a program for each call.
 * First     a process with memory of its own, as weak as the function: same ids, no capabilities,
 *           the filter.  The function can neither read it (it cannot be dumped) nor stop it (the
 *           kernel keeps signals of its namespace from it); its end is the end of all in there.
 * A call    clone and exec, sharing nothing; then everybody who is left is killed, and what may be
 *           written to is emptied, before the end is told.
 */
#ifndef ZYGOTE_SLOT_H
#define ZYGOTE_SLOT_H

#include "sandbox.h"

/* In the zygote: makes the sandbox, and ends with it. */
void zy_slot_serve(const struct zy_setup *setup) __attribute__((noreturn));

#endif
