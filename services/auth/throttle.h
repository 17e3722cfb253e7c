/* throttle.h - how often passwords may be tried; memory of this process.
 * Counted   consecutive failures of three things: one account from one address (PAIR), one account
 *           from anywhere (ACCOUNT), one address on any account (ADDRESS).  The first few are free;
 *           then one try at a time, and after each failure twice the wait, up to its bound.  An
 *           hour without a failure forgets.
 * Lock-out  an address from which an account was opened or logged in to is known for it: there
 *           only PAIR counts, so strangers who guess cannot keep an owner out, and those who share
 *           an address with a guesser can still log in.
 * Keys      hashes under a key of this process; names that nobody has are counted like others.
 * Bounds    tables of a fixed size; a full place gives up the entry that was longest untouched.
 * Time      now_ns: faas_now_ns(), a parameter so that tests need no clock.
 * Threads   any.
 */
#ifndef AUTH_THROTTLE_H
#define AUTH_THROTTLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum throttle_kind { THROTTLE_PAIR, THROTTLE_ACCOUNT, THROTTLE_ADDRESS, THROTTLE_KINDS };

typedef struct throttle throttle;

struct throttle_try { /* one attempt */
    uint64_t hash[THROTTLE_KINDS];
    bool is_counted[THROTTLE_KINDS];
};

FAAS_MUST_CHECK faas_code throttle_new(throttle **out_throttle, faas_err *err);
void throttle_free(throttle *self);
/* name: folded.  address: NULL when it was not said; all such are one. */
void throttle_name(const throttle *self, const char *name, const char *address,
                   struct throttle_try *out_try);
/* BUSY with the seconds to wait; otherwise one of the three ends must follow. */
FAAS_MUST_CHECK faas_code throttle_begin(throttle *self, struct throttle_try *attempt,
                                         uint64_t now_ns, faas_err *err);
void throttle_failed(throttle *self, const struct throttle_try *attempt, uint64_t now_ns);
/* Also, without throttle_begin(), when an account was made: the address is known for it. */
void throttle_passed(throttle *self, const struct throttle_try *attempt, uint64_t now_ns);
/* Neither: the password was not looked at. */
void throttle_undo(throttle *self, const struct throttle_try *attempt, uint64_t now_ns);

#endif
