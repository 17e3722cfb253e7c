/* access.h - bearer token or API key -> caller.
 * Header    as credential.h says.
 * API keys  apikeys.h; a caller that came with one has no jti.
 * Keys      the public keys of tokens, from the same feed as the revocations, so that auth can see
 *           in this gateway's beats that it knows a new key; also fetched from auth at start, every
 *           30 s, and, at most once a second, when a token names a key that is not known yet.
 * Cache     a verified token is remembered under a keyed hash of its text until it expires or the
 *           keys change; the cache has a fixed size, a newer token takes the place of an older one.
 * Revoked   tokens that were logged out, or are older than their user's password, are refused,
 *           cached or not: a feed of the bucket tells within moments.  While the feed has not
 *           begun, or does not count any more (faas_feed_may_serve), no token can be judged.
 * Begin     for 3 s after the start is_unsettled is also set while the first keys or revocations
 *           are on their way: the request waits in access_settle() instead of failing.
 * Disabled  users are refused whatever they come with.
 * Errors    DENIED (disabled); UNAUTHENTICATED with reason missing, invalid, expired or revoked; UNAVAILABLE while
 *           there are no keys, or revocations cannot be known.
 * Threads   access_check: any; everything else: the loop's.
 */
#ifndef GATEWAY_ACCESS_H
#define GATEWAY_ACCESS_H

#include "gateway/apikeys.h"
#include "net/feed.h"

struct access;

/* conf->entries: of each cache. */
FAAS_MUST_CHECK faas_code access_open(faas_rpc *rpc, const struct apikeys_conf *conf,
                                      struct access **out_access, faas_err *err);
void access_start(struct access *access);
/* Follow the revocations in kv (borrowed, as members is); on_applied(arg) on the loop thread after each
 * batch. */
FAAS_MUST_CHECK faas_code access_follow(struct access *access, faas_kv *kv,
                                        const faas_members *members, faas_task *on_applied,
                                        void *arg, faas_err *err);
bool access_applied(const struct access *access, uint64_t *out_seq); /* false: not following */
/* The loop has stopped, and nobody checks any more. */
void access_unfollow(struct access *access);
/* After the bus's calls have ended (their done functions use it). */
void access_free(struct access *access);
void access_stop(struct access *access); /* no more fetching */
bool access_is_ready(struct access *access);
/* The leader of the revocations has answered lately enough (faas_feed_may_serve).  Any thread. */
bool access_is_led(struct access *access);

struct access_verdict {
    struct faas_token_claims caller;
    struct faas_standing standing; /* the caller's */
    struct gw_key *key; /* the receiver's (free); NULL: a token came, or it was refused */
    const char *reason; /* static; NULL unless refused for the token or key */
    bool is_unsettled;  /* access_settle() may change the verdict */
};
typedef void access_done(void *arg, faas_code code, struct access_verdict *verdict,
                         const faas_err *err);

/* What holds for the caller in the verdict, token or key; DENIED: disabled, and the key is given up. */
FAAS_MUST_CHECK faas_code access_stand(struct revoked *revoked, struct access_verdict *verdict,
                                       faas_err *err);

/* header: the field's value, NULL when absent. */
FAAS_MUST_CHECK faas_code access_check(struct access *access, const char *header,
                                       struct access_verdict *out_verdict, faas_err *err);
struct access_question {
    const char *header;  /* borrowed until done */
    uint8_t address[16]; /* the client's */
    size_t address_len;  /* 0: not known, not limited */
};
/* done(arg, ...) runs on the loop thread with the last word, once the keys are as new as they can be:
 * at once when they were fetched within the last second, unless this gateway is just beginning; of
 * an API key once auth has been asked. */
void access_settle(struct access *access, const struct access_question *question, access_done *done,
                   void *arg);

#endif
