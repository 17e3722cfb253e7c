/* done.h - the requests that wrote a record, kept in it as "done": whoever is asked again for one of
 * them, because the instance that had it is gone, finds here that it was carried out.
 * Shape     "done":[{"id":uuid,"n":number},...], newest last, at most FAAS_DONE_MAX; n is the writer's.
 * Order     ids are UUIDv7.  A list that is full of younger ones may have lost the one looked for.
 * Threads   pure; any.
 */
#ifndef FAAS_DONE_H
#define FAAS_DONE_H

#include "base/ctx.h"
#include "base/json.h"

#define FAAS_DONE_MAX 8

/* Did that request write this record, or one that it replaced?  doc may be NULL. */
bool faas_done_has(const json_t *doc, const char *id, int64_t *out_n);
/* As that, for a request that was perhaps carried out before.  TIMEOUT: nobody can tell any more. */
FAAS_MUST_CHECK faas_code faas_done_find(const json_t *doc, const struct faas_ctx *caller,
                                         bool *out_is_done, int64_t *out_n, faas_err *err);
/* doc, which is about to replace before (NULL: nothing), is written by that request. */
FAAS_MUST_CHECK faas_code faas_done_note(json_t *doc, const json_t *before, const char *id,
                                         int64_t n, faas_err *err);
/* The answer where nobody can tell. */
faas_code faas_done_unsure(faas_err *err);

#endif
