/* job.h - a queued call as it is stored, and how it ended (docs/PROTOCOL.md section 9).
 * Queue     subject job.<xx>.<tenant>.<id>, xx the last two digits of the tenant: an envelope of the
 *           state (JSON) and the argument.
 * Results   res.<xx>.<tenant>.<id>.end: an envelope of the end (JSON) and, up to JOB_INLINE_MAX, the
 *           result's bytes; longer ones are in .c0, .c1 ... of JOB_CHUNK bytes.
 * Dead      dead.<xx>.<tenant>.<id>: the end, and within it the state ("job"), with the argument.
 * Times     wall clock, milliseconds since 1970: for people, and for what is a day old.
 * Ownership a struct job_state owns nothing but what job_state_done() frees.
 * Errors    INVALID for what no publisher of ours wrote.
 * Threads   pure.
 */
#ifndef PUBLISHER_JOB_H
#define PUBLISHER_JOB_H

#include "base/envelope.h"
#include "base/id.h"
#include "base/name.h"
#include "contract.h"

#define JOB_SUBJECT_MAX     128
#define JOB_KEY_SUBJECT_MAX 160
#define JOB_CHUNK           (256 * 1024)
#define JOB_INLINE_MAX      JOB_CHUNK
#define JOB_LABEL_MAX       FAAS_LABEL_MAX
#define JOB_URL_MAX         FAAS_CALLBACK_MAX

enum job_place { JOB_IN_QUEUE, JOB_IN_RESULTS, JOB_IN_DEAD };
/* "job.ab.<tenant>.<id>"; results: "res.ab.<tenant>.<id>", below which are .end and .c<n>. */
void job_subject(enum job_place place, const char *tenant, const char *id,
                 char out_subject[JOB_SUBJECT_MAX]);
void job_end_subject(const char *tenant, const char *id, char out_subject[JOB_SUBJECT_MAX]);
void job_chunk_subject(const char *tenant, const char *id, size_t n,
                       char out_subject[JOB_SUBJECT_MAX]);
/* An Idempotency-Key: hash is 64 hex digits. */
void job_key_subject(const char *tenant, const char *function, const char *hash,
                     char out_subject[JOB_KEY_SUBJECT_MAX]);
/* The tenant and id in such a subject; false: it is none. */
bool job_subject_parse(const char *subject, char out_tenant[FAAS_UUID_TEXT],
                       char out_id[FAAS_UUID_TEXT]);

struct job_state {
    char id[FAAS_UUID_TEXT], tenant[FAAS_UUID_TEXT], user[FAAS_UUID_TEXT];
    char name[FAAS_FUNCTION_NAME_MAX + 1], function[FAAS_UUID_TEXT];
    char pick[FAAS_FUNCTION_PICK_MAX + 1]; /* what followed the name: "", "@N", ":ALIAS" */
    char run[FAAS_UUID_TEXT]; /* the newest run's id on the bus; the first has the job's */
    int64_t version;          /* of the function: fixed when the call was queued */
    bool is_started;          /* the newest run may have begun, and must not be repeated unasked */
    int64_t runs;             /* begun and counted */
    int64_t queued_ms;
    int64_t asked_ms; /* the caller's own timeout; 0: none */
    char owner[40], epoch[33];
    char trace[56], label[JOB_LABEL_MAX + 1];
    char *callback; /* URL; NULL: none */
};
void job_state_done(struct job_state *state);
/* The stored message: the caller's (free). */
FAAS_MUST_CHECK faas_code job_state_pack(const struct job_state *state, const void *arg, size_t len,
                                         void **out_msg, size_t *out_len, faas_err *err);
/* *out_env keeps the argument's place in msg, and is the caller's (faas_envelope_done). */
FAAS_MUST_CHECK faas_code job_state_open(const void *msg, size_t len, struct job_state *out_state,
                                         struct faas_envelope *out_env, faas_err *err);
/* Of a dead letter, whose version is chosen anew when it is queued anew: `name` is NAME@N or NAME:ALIAS
 * where the caller named one, so that a publisher which knows neither finds no such function, and does
 * not call the newest version instead.  NULL without memory. */
json_t *job_state_letter(const struct job_state *state);
/* What the caller asked for. */
void job_state_ref(const struct job_state *state, struct faas_function_ref *out_ref);
FAAS_MUST_CHECK faas_code job_state_read(const json_t *doc, struct job_state *out_state,
                                         faas_err *err);

/* How it ended: what people are shown, and the outcome as the gateway's callers get it. */
struct job_end {
    const char *status; /* "succeeded", "failed", "refused", "cancelled", "lost" */
    bool is_dead;       /* it can be queued again from the dead letters */
    int64_t ended_ms;
    size_t bytes, chunks; /* of the result; chunks 0: they follow the JSON */
    bool is_text;
    const json_t *end; /* END's JSON; or of a call that never ran {"code","detail"} */
};
json_t *job_end_json(const struct job_state *state, const struct job_end *end);

/* "" when there is none. */
const char *job_text(const json_t *doc, const char *key);

#endif
