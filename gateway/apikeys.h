/* apikeys.h - what this gateway knows of API keys, and asking auth for the rest.
 * Known     a key that auth has vouched for is remembered, as many as there are tokens; a newer one
 *           takes the place of an older one.  One that is used is asked for again every
 *           fresh_ms, behind the requests; no answer leaves it known, so that an auth that is
 *           away breaks no key in use.
 * Ended     the feed of the revocations counts how often keys of a user were ended; what is known
 *           from before that is asked for anew, and an answer of before it is asked for again.
 * Refused   keys that auth does not know are remembered for a few seconds, in a table of its own; and
 *           who sends many of them is told to wait (GATEWAY option RATE_BAD_KEYS).
 * Asking    one question per key at a time, APIKEYS_ASKS in all and
 *           APIKEYS_ASKS_ADDRESS of a client's address, each for at most 3 s.
 * Errors    of an answer: UNAUTHENTICATED (no such key), DENIED (its user is disabled), BUSY,
 *           UNAVAILABLE.
 * Threads   look: any; everything else: the loop's, or while none runs.
 */
#ifndef GATEWAY_APIKEYS_H
#define GATEWAY_APIKEYS_H

#include "crypto/apikey.h"
#include "crypto/token.h"
#include "gateway/rate.h"
#include "gateway/revoked.h"
#include "net/rpc.h"

#define APIKEYS_ASKS         64
#define APIKEYS_ASKS_ADDRESS 8

#define ACCESS_DISABLED "this account is disabled; ask an administrator of the platform"

struct apikeys;
struct gw_key { /* of a request that came with one */
    char id[FAAS_APIKEY_ID_TEXT];
    struct faas_apikey_scope scope;
};
struct apikeys_question {
    const char *id, *hash;
    const void *address; /* the client's, for the limit; may be empty */
    size_t address_len;
};
/* code FAAS_OK: caller and *take_key (free). */
typedef void apikeys_done(void *arg, faas_code code, const struct faas_token_claims *caller,
                          struct gw_key *take_key, const faas_err *err);

struct apikeys_conf {
    size_t entries;   /* remembered */
    int64_t fresh_ms; /* until one is asked for again */
    struct rate *bad; /* how many wrong ones a client may send; borrowed */
};
/* revoked is borrowed. */
FAAS_MUST_CHECK faas_code apikeys_open(faas_rpc *rpc, struct revoked *revoked,
                                       const struct apikeys_conf *conf, struct apikeys **out_keys,
                                       faas_err *err);
struct revoked *apikeys_revoked(struct apikeys *keys);
void apikeys_start(struct apikeys *keys);
void apikeys_stop(struct apikeys *keys); /* whoever waits hears UNAVAILABLE */
void apikeys_free(struct apikeys *keys); /* after the bus's calls have ended */

enum apikeys_known {
    APIKEYS_UNKNOWN,  /* ask */
    APIKEYS_REFUSED,  /* auth knows no such key */
    APIKEYS_DISABLED, /* its user is */
    APIKEYS_KNOWN,    /* it may have expired; *out_key is the caller's (free) */
};
enum apikeys_known apikeys_look(struct apikeys *keys, const char *id, const char *hash,
                                struct faas_token_claims *out_caller, struct gw_key **out_key);
/* done(arg, ...) runs on the loop thread, possibly at once. */
void apikeys_ask(struct apikeys *keys, const struct apikeys_question *question, apikeys_done *done,
                 void *arg);

#endif
