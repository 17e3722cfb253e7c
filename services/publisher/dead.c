/* Dead letters: queued calls that did not succeed and will not be tried again by themselves.  They
 * are listed, shown, and queued anew under another id when their user says so. */
#include "jobs.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "contract.h"

#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#define LOOK_MS       5000
#define LIMIT         50
#define LIMIT_MAX     200
#define TEXT_SHOWN    (128 * 1024) /* bytes of an argument shown as text, not in base64 */
#define PAGE_READ_MAX (64 * 1024 * 1024)

struct dead_ask {
    struct jobs *jobs;
    faas_msg *msg;
    struct faas_ctx ctx;
    char id[FAAS_UUID_TEXT]; /* of the letter; "" in a list */
    char filter[JOB_SUBJECT_MAX];
    json_t *items;
    int64_t limit;
    uint64_t from;
    size_t bytes; /* read so far */
};

static void ask_free(struct dead_ask *ask)
{
    json_decref(ask->items);
    faas_msg_free(ask->msg);
    free(ask);
}

static void answer(struct dead_ask *ask, const json_t *doc)
{
    faas_rpc_answer_json(ask->jobs->pub->rt->rpc, ask->msg, doc);
    ask_free(ask);
}

static void refuse(struct dead_ask *ask, const faas_err *err)
{
    faas_err why = *err;

    if (err->code == FAAS_NOT_FOUND)
        (void)faas_fail(&why, FAAS_NOT_FOUND, "you have no dead letter of this id");
    faas_rpc_answer_err(ask->jobs->pub->rt->rpc, ask->msg, &why);
    ask_free(ask);
}

/* ---- what is shown ---- */

static json_t *letter_json(const struct faas_envelope *env)
{
    json_t *doc = job_shown(env->meta);

    if (doc != NULL &&
        json_object_set_new(doc, "argument_bytes", json_integer((json_int_t)env->len)) != 0) {
        json_decref(doc);
        return NULL;
    }
    return doc;
}

static bool add_argument(json_t *doc, const struct faas_envelope *env)
{
    size_t room = sodium_base64_encoded_len(env->len, sodium_base64_VARIANT_ORIGINAL);
    FAAS_AUTO(char) *text = NULL;

    if (env->len <= TEXT_SHOWN && memchr(env->bytes, '\0', env->len) == NULL &&
        faas_utf8_is(env->bytes, env->len))
        return json_object_set_new(doc, "argument", json_stringn(env->bytes, env->len)) == 0;
    text = malloc(room);
    if (text == NULL)
        return false;
    sodium_bin2base64(text, room, env->bytes, env->len, sodium_base64_VARIANT_ORIGINAL);
    return json_object_set_new(doc, "argument_base64", json_string(text)) == 0;
}

/* ---- a page of them ---- */

static void next(struct dead_ask *ask);

static void answer_page(struct dead_ask *ask, bool has_more)
{
    char cursor[24];
    FAAS_AUTO(json_t) *doc = NULL;

    (void)snprintf(cursor, sizeof cursor, "%" PRIu64, ask->from);
    doc = json_pack("{s:O, s:o}", "items", ask->items, "next_cursor",
                    has_more ? json_string(cursor) : json_null());
    answer(ask, doc);
}

static void on_item(void *arg, faas_code code, const struct faas_stream_msg *msg,
                    const faas_err *err)
{
    struct dead_ask *ask = arg;
    struct faas_envelope env = {0};
    faas_err why = {0};

    if (ask->jobs->is_stopped) {
        ask_free(ask);
        return;
    }
    if (code == FAAS_NOT_FOUND) {
        answer_page(ask, false);
        return;
    }
    if (code != FAAS_OK) {
        refuse(ask, err);
        return;
    }
    if (json_array_size(ask->items) >= (size_t)ask->limit || ask->bytes > PAGE_READ_MAX) {
        ask->from = msg->seq; /* there is more: the next page begins here */
        answer_page(ask, true);
        return;
    }
    ask->from = msg->seq + 1;
    ask->bytes += msg->len;
    if (faas_envelope_open(msg->data, msg->len, &env, &why) == FAAS_OK)
        (void)json_array_append_new(ask->items, letter_json(&env));
    faas_envelope_done(&env);
    next(ask);
}

static void next(struct dead_ask *ask)
{
    faas_stream_next(ask->jobs->dead, ask->from, ask->filter, faas_deadline_in_ms(LOOK_MS), on_item,
                     ask);
}

/* Parameters come from a query, as text, or from a body. */
static faas_code read_number(const json_t *doc, const char *key, int64_t most, int64_t *out,
                             faas_err *err)
{
    const json_t *value = json_object_get(doc, key);
    const char *text = json_string_value(value);
    size_t digits = text != NULL ? strspn(text, "0123456789") : 0;

    if (value == NULL || json_is_null(value))
        return FAAS_OK;
    if (json_is_integer(value))
        *out = json_integer_value(value);
    else if (text != NULL && digits > 0 && digits <= 18 && text[digits] == '\0')
        *out = strtoll(text, NULL, 10);
    else
        return faas_fail(err, FAAS_INVALID, "%s: expected a whole number", key);
    if (*out < 1 || *out > most)
        return faas_fail(err, FAAS_INVALID, "%s: 1 to %" PRId64 ", got %" PRId64, key, most, *out);
    return FAAS_OK;
}

static faas_code check_keys(const json_t *doc, const char *const *known, faas_err *err)
{
    const char *key;
    json_t *value;

    json_object_foreach ((json_t *)(uintptr_t)doc, key, value) {
        size_t i = 0;

        while (known[i] != NULL && strcmp(known[i], key) != 0)
            i++;
        if (known[i] == NULL)
            return faas_fail(err, FAAS_INVALID, "%s: unknown field", key);
    }
    return FAAS_OK;
}

static faas_code read_page(struct dead_ask *ask, const json_t *doc, faas_err *err)
{
    static const char *const known[] = {"limit", "cursor", NULL};
    int64_t from = 1;

    ask->limit = LIMIT;
    FAAS_TRY(check_keys(doc, known, err));
    FAAS_TRY(read_number(doc, "limit", LIMIT_MAX, &ask->limit, err));
    FAAS_TRY(read_number(doc, "cursor", INT64_MAX, &from, err));
    ask->from = (uint64_t)from;
    ask->items = json_array();
    (void)snprintf(ask->filter, sizeof ask->filter, "dead.%s.%s.*", ask->ctx.tenant + 34,
                   ask->ctx.tenant);
    return ask->items != NULL ? FAAS_OK : faas_fail_sys(err, ENOMEM, "list dead letters");
}

/* ---- one of them ---- */

static faas_code read_id(struct dead_ask *ask, const json_t *doc, faas_err *err)
{
    static const char *const known[] = {"id", NULL};

    FAAS_TRY(check_keys(doc, known, err));
    if (!faas_uuid_is(job_text(doc, "id")))
        return faas_fail(err, FAAS_NOT_FOUND, "no dead letter has this id");
    memcpy(ask->id, job_text(doc, "id"), sizeof ask->id);
    job_subject(JOB_IN_DEAD, ask->ctx.tenant, ask->id, ask->filter);
    return FAAS_OK;
}

static void on_shown(void *arg, faas_code code, const struct faas_stream_msg *msg,
                     const faas_err *err)
{
    struct dead_ask *ask = arg;
    struct faas_envelope env = {0};
    FAAS_AUTO(json_t) *doc = NULL;
    faas_err why = {0};

    if (ask->jobs->is_stopped) {
        ask_free(ask);
        return;
    }
    if (code != FAAS_OK) {
        refuse(ask, err);
        return;
    }
    if (faas_envelope_open(msg->data, msg->len, &env, &why) == FAAS_OK) {
        doc = letter_json(&env);
        if (doc != NULL && !add_argument(doc, &env)) {
            json_decref(doc);
            doc = NULL;
        }
        if (doc != NULL)
            (void)json_object_set(doc, "stderr",
                                  json_object_get(json_object_get(env.meta, "end"), "stderr_tail"));
    }
    faas_envelope_done(&env);
    answer(ask, doc);
}

/* ---- queued anew ---- */

/* The new call is decided: whoever comes after a crash makes the same one. */
static void on_marked(void *arg, faas_code code, const struct faas_stream_msg *msg,
                      const faas_err *err)
{
    struct job *job = arg;

    job->is_busy = false;
    if (job->jobs->is_stopped)
        return;
    if (code == FAAS_OK) {
        job->letter_seq = msg->seq;
        job_submit(job, true);
        return;
    }
    job_refuse(job, err);
}

static void mark(struct job *job, const struct faas_envelope *env, uint64_t seq)
{
    FAAS_AUTO(json_t) *doc = faas_json_copy(env->meta);
    FAAS_AUTO(void) *bytes = NULL;
    char subject[JOB_SUBJECT_MAX];
    struct faas_stream_put put = {.subject = subject,
                                  .expected = (int64_t)seq,
                                  .deadline_ns = faas_deadline_in_ms(JOBS_STORE_MS)};
    faas_err err = {0};

    if (doc == NULL || json_object_set_new(doc, "redriven_as", json_string(job->state.id)) != 0 ||
        faas_envelope_pack(doc, env->bytes, env->len, &bytes, &put.len, &err) != FAAS_OK) {
        (void)faas_fail_sys(&err, ENOMEM, "redrive a dead letter");
        job_refuse(job, &err);
        return;
    }
    put.data = bytes;
    job_subject(JOB_IN_DEAD, job->state.tenant, job->letter, subject);
    job->is_busy = true;
    faas_stream_put(job->jobs->dead, &put, on_marked, job);
}

/* The same call under another id; NULL with err. */
static struct job *job_again(struct dead_ask *ask, const struct faas_envelope *env, faas_err *err)
{
    struct jobs *jobs = ask->jobs;
    const char *before = job_text(env->meta, "redriven_as");
    struct job *job = job_new(jobs);

    if (job == NULL) {
        (void)faas_fail_sys(err, ENOMEM, "redrive a dead letter");
        return NULL;
    }
    if (job_state_read(json_object_get(env->meta, "job"), &job->state, err) != FAAS_OK) {
        job_free(job);
        return NULL;
    }
    memcpy(job->letter, ask->id, sizeof job->letter);
    memcpy(job->state.id, faas_uuid_is(before) ? before : ask->ctx.id, sizeof job->state.id);
    memcpy(job->state.run, job->state.id, sizeof job->state.run);
    job->state.is_started = false;
    job->state.runs = 0;
    job_own(job);
    job_hold_argument(job, env->bytes, env->len);
    if (job->arg == NULL) {
        (void)faas_fail_sys(err, ENOMEM, "redrive a dead letter");
        job_free(job);
        return NULL;
    }
    return job;
}

static void on_letter(void *arg, faas_code code, const struct faas_stream_msg *msg,
                      const faas_err *err)
{
    struct dead_ask *ask = arg;
    struct faas_envelope env = {0};
    struct job *job = NULL;
    faas_err why = *err;

    if (ask->jobs->is_stopped) {
        ask_free(ask);
        return;
    }
    if (code == FAAS_OK && faas_envelope_open(msg->data, msg->len, &env, &why) == FAAS_OK &&
        jobs_check_room(ask->jobs, &ask->ctx, env.len, &why) == FAAS_OK)
        job = job_again(ask, &env, &why);
    if (job == NULL) {
        refuse(ask, &why);
    } else {
        job_add_asker(job, FAAS_STEAL(ask->msg));
        ask_free(ask);
        mark(job, &env, msg->seq);
    }
    faas_envelope_done(&env);
}

/* ---- the wire ---- */

static faas_code read_ask(struct dead_ask *ask,
                          faas_code (*read)(struct dead_ask *, const json_t *, faas_err *),
                          faas_err *err)
{
    FAAS_AUTO(json_t) *doc = NULL;

    faas_ctx_from_msg(ask->msg, LOOK_MS, &ask->ctx);
    if (ask->ctx.tenant[0] == '\0' || ask->ctx.id[0] == '\0')
        return faas_fail(err, FAAS_INVALID,
                         "headers " FAAS_H_ID " and " FAAS_H_TENANT ": must be UUIDs");
    FAAS_TRY(faas_json_parse(faas_msg_data(ask->msg), faas_msg_len(ask->msg), true, &doc, err));
    return read(ask, doc, err);
}

/* NULL: the message was answered. */
static struct dead_ask *ask_new(struct publisher *pub, faas_msg *take_msg,
                                faas_code (*read)(struct dead_ask *, const json_t *, faas_err *))
{
    struct dead_ask *ask = calloc(1, sizeof *ask);
    faas_err err = {0};

    if (ask == NULL) {
        (void)faas_fail_sys(&err, ENOMEM, "look for dead letters");
        faas_rpc_answer_err(pub->rt->rpc, take_msg, &err);
        faas_msg_free(take_msg);
        return NULL;
    }
    ask->jobs = pub->jobs;
    ask->msg = take_msg;
    if (read_ask(ask, read, &err) == FAAS_OK)
        return ask;
    refuse(ask, &err);
    return NULL;
}

void jobs_on_dead_list(void *state, faas_msg *take_msg)
{
    struct dead_ask *ask = ask_new(state, take_msg, read_page);

    if (ask != NULL)
        next(ask);
}

static void look(struct dead_ask *ask, faas_stream_done *done)
{
    faas_stream_last(ask->jobs->dead, ask->filter, faas_deadline_in_ms(LOOK_MS), done, ask);
}

void jobs_on_dead_show(void *state, faas_msg *take_msg)
{
    struct dead_ask *ask = ask_new(state, take_msg, read_id);

    if (ask != NULL)
        look(ask, on_shown);
}

void jobs_on_dead_redrive(void *state, faas_msg *take_msg)
{
    struct dead_ask *ask = ask_new(state, take_msg, read_id);

    if (ask != NULL)
        look(ask, on_letter);
}
