/* standing.h - what the platform's administrators have decided about one user.
 * Record    fields of the user's entry in the bucket "revocations" (PROTOCOL.md section 6), which
 *           auth alone writes and others follow: "role", "disabled", "quotas", "deleted".
 * Quotas    of each the platform has a default (an option of whoever keeps to it), unless
 *           the record gives the user a number; 0 allows none.
 * Reading   tolerant: what is unknown or of another type says nothing, but for "disabled", which
 *           only false and its absence unsay.
 * Threads   pure; any.
 */
#ifndef FAAS_STANDING_H
#define FAAS_STANDING_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#define FAAS_QUOTAS(X)                                                                             \
    X(FUNCTIONS, "functions")       /* registered */                                               \
    X(CONCURRENCY, "concurrency")   /* calls running and waiting, all publishers */                \
    X(CALLS, "calls_per_minute")    /* all gateways */                                             \
    X(QUEUED_BYTES, "queued_bytes") /* arguments of queued calls, each publisher */

enum faas_quota {
#define X(name, text) FAAS_QUOTA_##name,
    FAAS_QUOTAS(X)
#undef X
        FAAS_QUOTA_COUNT
};
#define FAAS_QUOTA_DEFAULT (-1)
#define FAAS_QUOTA_MAX     INT64_C(1000000000000)

#define FAAS_ROLE_ADMIN "admin"
#define FAAS_ROLE_USER  "user" /* whoever has none */

struct faas_standing {
    bool is_admin, is_disabled, is_deleted; /* a deleted account is disabled, too */
    int64_t quotas[FAAS_QUOTA_COUNT];       /* or FAAS_QUOTA_DEFAULT */
};

const char *faas_quota_name(enum faas_quota quota);
/* Nobody's: no role, enabled, the platform's quotas.  record NULL: the same. */
void faas_standing_read(const json_t *record, struct faas_standing *out_standing);
bool faas_standing_is_plain(const struct faas_standing *standing); /* as nobody's */
/* The user's number, else the platform's. */
int64_t faas_quota_of(const struct faas_standing *standing, enum faas_quota quota,
                      int64_t platform);

#endif
