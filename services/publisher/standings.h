/* standings.h - what administrators decided about users (base/standing.h), as far as it concerns
 * their calls; followed in the bucket "revocations".
 * Nobody waits for this reader: a decision counts here within moments.  A publisher is ready once it
 * has read those there were.
 * Threads   open: any but the loop's; of: the loop's; close: when the loop has stopped.
 */
#ifndef PUBLISHER_STANDINGS_H
#define PUBLISHER_STANDINGS_H

#include "base/standing.h"
#include "net/feed.h"

struct standings { /* zeroed: knows nothing */
    void *users;   /* a tsearch() tree; those alone that differ from nobody's */
    faas_kv *kv;
    faas_feed *feed;
};

FAAS_MUST_CHECK faas_code standings_open(struct standings *standings, faas_rpc *rpc, int replicas,
                                         uint64_t deadline_ns, faas_err *err);
void standings_close(struct standings *standings);
/* A change of the bucket.  What cannot be read leaves what was known. */
void standings_apply(struct standings *standings, const struct faas_feed_event *event);
void standings_of(const struct standings *standings, const char *user,
                  struct faas_standing *out_standing);

#endif
