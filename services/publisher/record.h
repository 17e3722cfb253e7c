/* record.h - a function's head, or one of its versions (docs/PROTOCOL.md section 6), as the publisher
 * uses it.
 * Own       of a version's entry what is the function's and not the version's (is_disabled, aliases)
 *           means nothing, and concurrency is the head's: whoever looked it up puts it there.
 * Shape     stored JSON, read tolerantly: unknown fields are ignored, absent ones have defaults.
 * Memory    one block, text and not a document: about 1 kB for a function without an environment;
 *           and one for its aliases, if any.
 * Ownership reference counted: the cache holds one, each live call one; a call keeps the version it
 *           was taken with, whatever happens to the function meanwhile.
 * Errors    INTERNAL for a value that no registry of ours wrote.
 * Threads   the loop thread.
 */
#ifndef PUBLISHER_RECORD_H
#define PUBLISHER_RECORD_H

#include "base/id.h"
#include "base/json.h"
#include "base/name.h"

#include "alias.h"
#include "job_policy.h"

struct record {
    int refs;
    size_t bytes; /* all of it */
    char id[FAAS_UUID_TEXT], tenant[FAAS_UUID_TEXT];
    char name[FAAS_FUNCTION_NAME_MAX + 1];
    char affinity[2 * FAAS_UUID_TEXT + 24]; /* "<tenant>/<id>/<version>" */
    int64_t version, timeout_ms, start_timeout_ms, max_wait_ms, concurrency;
    bool is_stdin, is_disabled;
    struct job_retry retry;
    struct alias *aliases; /* owned */
    size_t alias_count;
    size_t spec_len;
    char spec[]; /* text of the part of a placement that is the same for each call, up to its '}' */
};

/* Room for "f.<tenant>.<32 hex>". */
#define RECORD_KEY_MAX 80
/* The bucket key of a function name; tenant is a UUID. */
void record_key(const char *tenant, const char *name, char out_key[RECORD_KEY_MAX]);
/* Room for "v.<tenant>.<function id>.<version>". */
#define RECORD_VERSION_KEY_MAX 112
/* The bucket key of one version; tenant and id are UUIDs. */
void record_version_key(const char *tenant, const char *id, int64_t version,
                        char out_key[RECORD_VERSION_KEY_MAX]);
/* key is the bucket key the value was found under, of a head or a version: it names the tenant. */
FAAS_MUST_CHECK faas_code record_parse(const char *key, const void *value, size_t len,
                                       struct record **out_record, faas_err *err);
struct record *record_ref(struct record *record);
typedef struct record record;
void record_unref(record *rec); /* NULL is fine */
FAAS_DEFINE_AUTO(record, record_unref)

const struct alias *record_alias(const struct record *record, const char *name); /* NULL: none */

/* The argument fits the function's input: INVALID or TOO_LARGE naming what to change. */
FAAS_MUST_CHECK faas_code record_check_argument(const struct record *record, const void *arg,
                                                size_t len, faas_err *err);
/* Likewise of one that does not come with the call. */
FAAS_MUST_CHECK faas_code record_check_input(const struct record *record, int64_t bytes,
                                             faas_err *err);
struct record_run { /* what one placement adds to the spec */
    int64_t timeout_ms;
    bool is_pull;
    const char *stream;  /* a word of contract.h; NULL: none */
    int64_t input_bytes; /* 0: the argument goes with it */
    bool may_run_again;  /* of a loss the spawner tells the publisher alone */
};
/* The metadata of one placement, JSON.  The caller frees it; NULL without memory. */
char *record_placement(const struct record *record, const struct record_run *run, size_t *out_len);

#endif
