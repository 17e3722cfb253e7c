/* Idempotency-Key: the first call with a key claims it, by a write that only one can make; a later one
 * with the same argument is that call.  A key is `new` until its call is stored: who finds it so, since
 * whoever claimed it died, stores the same call under the same id, which is made once at most. */
#include "jobs.h"

#include "base/clock.h"
#include "base/log.h"
#include "contract.h"

#include <errno.h>
#include <string.h>

static void *value_of(const struct job *job, const char *state, size_t *out_len)
{
    char hash[FAAS_HASH_TEXT];
    FAAS_AUTO(json_t) *doc = NULL;

    faas_hash_text(job->arg, job->arg_len, hash);
    doc = json_pack("{s:i, s:s, s:s, s:s}", "v", 1, "call_id", job->state.id, "argument", hash,
                    "state", state);
    return doc != NULL ? faas_json_text(doc, out_len) : NULL;
}

static void write_key(struct job *job, const char *state, int64_t expected, faas_stream_done *done)
{
    char subject[JOB_KEY_SUBJECT_MAX];
    struct faas_stream_put put = {.subject = subject,
                                  .expected = expected,
                                  .deadline_ns = faas_deadline_in_ms(JOBS_STORE_MS)};
    FAAS_AUTO(void) *value = value_of(job, state, &put.len);

    put.data = value != NULL ? value : "";
    job_key_subject(job->state.tenant, job->state.function, job->key, subject);
    job->is_busy = true;
    faas_stream_put(job->jobs->keys, &put, done, job);
}

/* ---- claiming ---- */

static void answer_repeat(struct job *job, const char *id)
{
    FAAS_AUTO(json_t) *doc = json_pack("{s:s, s:b}", "call_id", id, "repeat", 1);

    job_answer_askers(job, doc);
    job_free(job);
}

/* Somebody claimed it before. */
static void take_claim(struct job *job, const json_t *doc)
{
    const char *id = job_text(doc, "call_id");
    char hash[FAAS_HASH_TEXT];
    faas_err err = {0};

    faas_hash_text(job->arg, job->arg_len, hash);
    if (!faas_uuid_is(id)) {
        (void)faas_fail(&err, FAAS_INTERNAL, "internal error");
        job_refuse(job, &err);
    } else if (strcmp(job_text(doc, "argument"), hash) != 0) {
        (void)faas_fail(&err, FAAS_UNPROCESSABLE,
                        "Idempotency-Key: it was used for this function with another argument, as "
                        "call %s; take a new key",
                        id);
        job_refuse(job, &err);
    } else if (strcmp(job_text(doc, "state"), "new") != 0) {
        answer_repeat(job, id);
    } else if (!job_join(job, id)) {
        /* Whoever claimed it may still be about to store it, or died: the same call either way. */
        memcpy(job->state.id, id, sizeof job->state.id);
        memcpy(job->state.run, id, sizeof job->state.run);
        job->is_key_taken = true;
        job_submit(job, true);
    }
}

static void on_read(void *arg, faas_code code, const struct faas_stream_msg *msg,
                    const faas_err *err)
{
    struct job *job = arg;
    FAAS_AUTO(json_t) *doc = NULL;
    faas_err why = *err;

    job->is_busy = false;
    if (job->jobs->is_stopped)
        return;
    if (code == FAAS_OK)
        code = faas_json_parse(msg->data, msg->len, false, &doc, &why);
    if (code == FAAS_OK) {
        job->key_seq = msg->seq;
        take_claim(job, doc);
        return;
    }
    (void)faas_fail(&why, FAAS_UNAVAILABLE,
                    "the store of keys could not be read; nothing was queued, try again");
    job_refuse(job, &why);
}

static void on_claimed(void *arg, faas_code code, const struct faas_stream_msg *msg,
                       const faas_err *err)
{
    struct job *job = arg;
    char subject[JOB_KEY_SUBJECT_MAX];
    faas_err why = *err;

    job->is_busy = false;
    if (job->jobs->is_stopped)
        return;
    if (code == FAAS_OK) {
        job->key_seq = msg->seq;
        job->then(job);
        return;
    }
    if (code == FAAS_CONFLICT) {
        job_key_subject(job->state.tenant, job->state.function, job->key, subject);
        job->is_busy = true;
        faas_stream_last(job->jobs->keys, subject, faas_deadline_in_ms(JOBS_KEEP_MS), on_read, job);
        return;
    }
    (void)faas_fail(&why, FAAS_UNAVAILABLE,
                    "the key could not be stored at the moment; nothing was queued, try again");
    job_refuse(job, &why);
}

void job_claim_key(struct job *job, void (*then)(struct job *job))
{
    job->then = then;
    if (job->is_key_taken) /* found new: this call goes on with it */
        then(job);
    else
        write_key(job, "new", 0, on_claimed);
}

/* ---- afterwards ---- */

static void on_confirmed(void *arg, faas_code code, const struct faas_stream_msg *msg,
                         const faas_err *err)
{
    struct job *job = arg;

    (void)msg;
    (void)err;
    job->is_busy = false;
    if (job->jobs->is_stopped)
        return;
    if (code != FAAS_OK) /* a repeat finds it new, and this very call */
        FAAS_LOG(WARN, "a key stays unconfirmed", FAAS_LSTR("call", job->id),
                 FAAS_LSTR("code", faas_code_slug(code)));
    job->then(job);
}

void job_confirm_key(struct job *job, void (*then)(struct job *job))
{
    job->then = then;
    write_key(job, "stored", (int64_t)job->key_seq, on_confirmed);
}
