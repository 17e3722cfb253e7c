/* signup.h - who may make an account, and how many.
 * Mode      open: anybody; invite: who brings an invitation; closed: nobody.
 * Address   so many new accounts an hour from one client address: a bucket that holds an hour's
 *           worth and refills evenly.  Each of n live instances allows one n-th.  Only accounts
 *           that were made count.
 * All       accounts of the platform: counted by the store, asked at most once a second; what this
 *           instance made since is added, so one instance keeps the cap exactly and several pass it
 *           by at most what they make in a second.
 * Bounds    the table of addresses has a fixed size; a full place gives up its fullest bucket.
 * Errors    DENIED (closed), BUSY with the seconds to wait.
 * Threads   any; signup_begin() may block on the store.
 */
#ifndef AUTH_SIGNUP_H
#define AUTH_SIGNUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum signup_mode { SIGNUP_OPEN, SIGNUP_INVITE, SIGNUP_CLOSED };

/* How many accounts there are, from the store; blocks until deadline_ns. */
typedef faas_code signup_counter(void *arg, uint64_t deadline_ns, int64_t *out_count,
                                 faas_err *err);
struct signup_conf {
    enum signup_mode mode;
    int64_t per_address; /* an hour; 0: no limit */
    int64_t accounts;    /* in all; 0: no limit */
    signup_counter *count;
    void *arg;
};
struct signup_try { /* one registration */
    uint64_t hash;
};
typedef struct signup signup;

/* "open", "invite", "closed"; INVALID otherwise. */
FAAS_MUST_CHECK faas_code signup_mode_parse(const char *text, enum signup_mode *out_mode,
                                            faas_err *err);
FAAS_MUST_CHECK faas_code signup_new(const struct signup_conf *conf, signup **out_signup,
                                     faas_err *err);
void signup_free(signup *self);
void signup_set_share(signup *self,
                      size_t instances); /* live ones, this one included; any thread */
enum signup_mode signup_mode(const signup *self);
/* Takes the place of one account; signup_end() must follow.  address NULL: not said; all such are
 * one. */
FAAS_MUST_CHECK faas_code signup_begin(signup *self, const char *address, uint64_t now_ns,
                                       uint64_t deadline_ns, struct signup_try *out_try,
                                       faas_err *err);
void signup_end(signup *self, const struct signup_try *attempt, bool was_made);

#endif
