/* May a call run once more, that an earlier owner may have run?  A gateway that hears nothing of a
 * call's publisher asks the next one, before it gives up the first: for the last word of a call that
 * may run again it need not wait. */
#include "publisher.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"

struct again { /* one question, while the store is asked */
    TAILQ_ENTRY(again) link;
    struct publisher *pub;
    faas_msg *msg;
    char tenant[FAAS_UUID_TEXT], call_id[FAAS_UUID_TEXT];
    struct faas_function_ref ref;
    int64_t lost;
    uint64_t sent_ns;
    struct resolve_wait look;
};

void again_name_version(struct faas_function_ref *ref, int64_t version)
{
    if (version <= 0)
        return;
    ref->version = version;
    ref->alias[0] = '\0';
}

uint64_t again_sent_ns(uint64_t came_ns, int64_t age_ms)
{
    uint64_t age_ns = age_ms > 0 ? (uint64_t)age_ms * FAAS_MS_NS : 0;

    return came_ns > age_ns ? came_ns - age_ns : 0;
}

/* The version that may have run is named, or what the name means did not change since: a publisher may
 * have gone by what is FAAS_FEED_STALE_MS old. */
static bool is_version_sure(struct publisher *pub, const struct again_loss *loss)
{
    const struct record *rec = loss->rec;
    uint64_t stale_ns = FAAS_FEED_STALE_MS * FAAS_MS_NS;

    return loss->ref->version > 0 || (loss->ref->alias[0] == '\0' && rec->version == 1) ||
           (loss->sent_ns > stale_ns &&
            resolve_is_steady(&pub->resolve, rec->tenant, rec->name, loss->sent_ns - stale_ns));
}

bool again_may_run(struct publisher *pub, const struct again_loss *loss)
{
    return job_retry_allows_loss(&loss->rec->retry, loss->lost) && is_version_sure(pub, loss);
}

/* ---- the question ---- */

struct words {
    const char *id, *function;
    int64_t lost, version, age_ms;
};
static const struct faas_json_field fields[] = {
    FAAS_FIELD(STR, struct words, id, "id", 36, 36, true),
    FAAS_FIELD(STR, struct words, function, "function", 1, 4096, true),
    FAAS_FIELD(INT, struct words, lost, "lost", 1, UINT32_MAX, true),
    FAAS_FIELD(INT, struct words, version, "version", 0, 1e15, false),
    FAAS_FIELD(INT, struct words, age_ms, "age_ms", 0, 1e15, false),
    FAAS_FIELD_END,
};

static void again_free(struct again *again)
{
    TAILQ_REMOVE(&again->pub->agains, again, link);
    resolve_cancel(&again->look);
    faas_msg_free(again->msg);
    free(again);
}

static void on_looked_up(void *arg, struct record *rec, const faas_err *err)
{
    struct again *again = arg;
    struct publisher *pub = again->pub;
    const struct again_loss loss = {
        .rec = rec, .ref = &again->ref, .lost = again->lost, .sent_ns = again->sent_ns};

    if (rec == NULL) {
        faas_rpc_answer_err(pub->rt->rpc, again->msg, err);
    } else {
        FAAS_AUTO(json_t) *doc =
            json_pack("{s:i, s:b}", "v", 1, "may_run", again_may_run(pub, &loss));

        faas_rpc_answer_json(pub->rt->rpc, again->msg, doc);
    }
    again_free(again);
}

static faas_code read_words(struct again *again, faas_err *err)
{
    FAAS_AUTO(json_t) *doc = NULL;
    struct words words = {0};
    struct faas_ctx ctx;

    FAAS_TRY(
        faas_json_parse(faas_msg_data(again->msg), faas_msg_len(again->msg), false, &doc, err));
    FAAS_TRY(faas_json_decode(doc, fields, FAAS_JSON_TOLERANT, &words, err));
    faas_ctx_from_msg(again->msg, FAAS_TIMEOUT_MS, &ctx);
    if (!faas_uuid_is(words.id))
        return faas_fail(err, FAAS_INVALID, "id: must be a UUID");
    if (ctx.tenant[0] == '\0')
        return faas_fail(err, FAAS_INVALID, "header " FAAS_H_TENANT ": must be a UUID");
    FAAS_TRY(faas_function_ref_parse(words.function, &again->ref, err));
    again_name_version(&again->ref, words.version);
    memcpy(again->tenant, ctx.tenant, sizeof again->tenant);
    memcpy(again->call_id, words.id, sizeof again->call_id);
    again->lost = words.lost;
    again->sent_ns = again_sent_ns(faas_now_ns(), words.age_ms);
    return FAAS_OK;
}

void again_take(void *state, faas_msg *take_msg)
{
    struct publisher *pub = state;
    struct again *again = calloc(1, sizeof *again);
    faas_err err = {0};

    drive_check_late(pub);
    if (again == NULL) {
        (void)faas_fail_sys(&err, ENOMEM, "take a question");
        faas_rpc_answer_err(pub->rt->rpc, take_msg, &err);
        faas_msg_free(take_msg);
        return;
    }
    again->pub = pub;
    again->msg = take_msg;
    again->look.done = on_looked_up;
    again->look.arg = again;
    TAILQ_INSERT_TAIL(&pub->agains, again, link);
    if (read_words(again, &err) != FAAS_OK) {
        metric_count(M_MALFORMED);
        faas_rpc_answer_err(pub->rt->rpc, take_msg, &err);
        again_free(again);
        return;
    }
    resolve_ask(&pub->resolve,
                &(struct resolve_want){
                    .tenant = again->tenant, .ref = &again->ref, .call_id = again->call_id},
                &again->look);
}

void again_stop(struct publisher *pub)
{
    struct again *again;

    while ((again = TAILQ_FIRST(&pub->agains)) != NULL)
        again_free(again);
}
