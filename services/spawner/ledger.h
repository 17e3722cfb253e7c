/* ledger.h - what this process remembers of calls it does not run: ended ones and fenced ones.
 * Done      the call ran here and ended; so says a fence, and the id is refused from then on.
 * Fenced    never seen here; refused up to the fence's placement number.
 * Kept      LEDGER_KEEP_MS from the newest note; at most LEDGER_MAX, the oldest goes first.
 * Threads   none of its own.
 */
#ifndef SPAWNER_LEDGER_H
#define SPAWNER_LEDGER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "contract.h"

#define LEDGER_KEEP_MS FAAS_FENCE_KEEP_MS
#define LEDGER_MAX     200000

typedef struct ledger ledger;

FAAS_MUST_CHECK faas_code ledger_new(ledger **out_ledger, faas_err *err);
void ledger_free(ledger *book);
/* Without memory: INTERNAL, nothing noted. */
FAAS_MUST_CHECK faas_code ledger_note_done(ledger *book, const char *call_id, faas_err *err);
FAAS_MUST_CHECK faas_code ledger_note_fence(ledger *book, const char *call_id, uint32_t place,
                                            faas_err *err);
bool ledger_is_done(ledger *book, const char *call_id);
/* Must a call of this number be refused? */
bool ledger_is_refused(ledger *book, const char *call_id, uint32_t place);
/* Every question does it, too; but who is not asked must not keep them either. */
void ledger_forget_old(ledger *book);
size_t ledger_count(const ledger *book);

#endif
