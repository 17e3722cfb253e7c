/* records_follow.h - keeps the read model of calls equal to its log: the feed on one side, the file
 * on the other.
 * Start     records_follow_start() and nothing else: the log is made if it is not there, the file
 *           opened, both as soon as they can be.  The registry does not wait for it: functions are
 *           served without records of calls.
 * Road      the feed's entries wait in memory (at most FOLLOW_WAITING bytes; then the feed pauses)
 *           for a job on the pool that writes them, a batch in one transaction.
 * Failure   a batch that cannot be written (a full disk) is tried again each second; a damaged file
 *           is built again.
 * Sweep     open calls whose publisher and spawner are both gone end as `unknown` (records.h).
 * Threads   records_follow_use: any; the rest: the loop's, but for what a job has in its hands.
 */
#ifndef REGISTRY_RECORDS_FOLLOW_H
#define REGISTRY_RECORDS_FOLLOW_H

#include "records.h"
#include "service.h"

struct records_follow;

struct records_follow_conf {
    const struct faas_runtime *rt;
    int64_t stream_mb, age_h; /* of the log, when it is made; age_h also of rows */
    int64_t rows_max, tenant_rows_max, logs_mb;
};
/* From any thread but the loop's. */
FAAS_MUST_CHECK faas_code records_follow_start(const struct records_follow_conf *conf,
                                               struct records_follow **out_follow, faas_err *err);
void records_follow_stop(struct records_follow *self); /* loop and pool have stopped */
/* For queries: UNAVAILABLE until what the log holds is read. */
FAAS_MUST_CHECK faas_code records_follow_use(struct records_follow *self, records **out_records,
                                             faas_err *err);

#endif
