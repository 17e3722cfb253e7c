#include "resolver.h"

#include "base/clock.h"
#include "base/id.h"
#include "contract.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define SPAWNERS_MAX  64   /* considered for one image */
#define AGAIN_MS      2000 /* of silence, before a spawner is asked again */
#define WATCH_MS      250  /* how often a waiting caller looks whether its spawner lives */
#define NOBODY_MS     2500 /* how long to look for a spawner: it, or we, may just have started */
#define LOOK_MS       50
#define STORE_LEFT_MS 4000 /* of the caller's time, kept for storing what was resolved */

/* Something done on the loop thread that a pool thread waits for.  Both hold a reference (the
 * loop's is taken when it is posted), since either may be gone first. */
struct task {
    _Atomic int refs;
    pthread_mutex_t mu;
    pthread_cond_t ended;
    bool is_done; /* guarded by mu, like what the task found */
};

/* Which spawners there are. */
struct survey {
    struct task task; /* first: freed as one */
    faas_members *members;
    char image[FAAS_IMAGE_REF_MAX + 1];
    char isolation[16]; /* wanted; "": any */
    size_t count;
    struct candidate {
        char id[40], epoch[33];
        uint64_t weight;
        bool is_usable; /* may be asked now; else only not known to be dead */
        bool is_wanted; /* has the isolation */
        bool has_answered;
    } list[SPAWNERS_MAX];
};

/* One question to one spawner. */
struct ask {
    struct task task;
    faas_code code;
    faas_err err;
    json_t *reply; /* owned */
    bool has_answered;
};

static void task_init(struct task *task)
{
    atomic_init(&task->refs, 1);
    pthread_mutex_init(&task->mu, NULL);
    pthread_cond_init(&task->ended, NULL);
}

static void task_ref(struct task *task)
{
    atomic_fetch_add(&task->refs, 1);
}

static bool task_unref(struct task *task)
{
    if (atomic_fetch_sub(&task->refs, 1) != 1)
        return false;
    pthread_cond_destroy(&task->ended);
    pthread_mutex_destroy(&task->mu);
    return true;
}

static void survey_unref(struct survey *survey)
{
    if (task_unref(&survey->task))
        free(survey);
}

static void ask_unref(struct ask *ask)
{
    if (!task_unref(&ask->task))
        return;
    json_decref(ask->reply);
    free(ask);
}

static struct timespec until(uint64_t deadline_ns)
{
    return (struct timespec){
        .tv_sec = (time_t)(deadline_ns / FAAS_S_NS),
        .tv_nsec = (long)(deadline_ns % FAAS_S_NS),
    };
}

static void task_end(struct task *task)
{
    pthread_mutex_lock(&task->mu);
    task->is_done = true;
    pthread_cond_signal(&task->ended);
    pthread_mutex_unlock(&task->mu);
}

/* Waits for at most ms; whether the task has ended. */
static bool task_wait(struct task *task, int64_t ms)
{
    struct timespec end = until(faas_now_ns() + (uint64_t)ms * FAAS_MS_NS);
    bool is_done;
    int rc = 0;

    pthread_mutex_lock(&task->mu);
    while (!task->is_done && rc == 0)
        rc = pthread_cond_clockwait(&task->ended, &task->mu, CLOCK_MONOTONIC, &end);
    is_done = task->is_done;
    pthread_mutex_unlock(&task->mu);
    return is_done;
}

/* ---- who is there ---- */

/* Spawners of releases that said nothing of it had containers alone. */
static bool has_isolation(const struct faas_member *m, const char *wanted)
{
    const char *its = m->isolation[0] != '\0' ? m->isolation : "docker";

    return wanted[0] == '\0' || strcmp(its, wanted) == 0;
}

static void take_survey(void *arg)
{
    struct survey *survey = arg;
    const struct faas_member *m;

    for (size_t i = 0; (m = faas_members_at(survey->members, "spawner", i)) != NULL; i++) {
        struct candidate *c = &survey->list[survey->count];

        if (m->is_dead)
            continue;
        if (survey->count == SPAWNERS_MAX)
            break;
        snprintf(c->id, sizeof c->id, "%s", m->id);
        snprintf(c->epoch, sizeof c->epoch, "%s", m->epoch);
        c->weight = faas_rendezvous(survey->image, m->id);
        c->is_usable = faas_member_is_usable(m);
        c->is_wanted = has_isolation(m, survey->isolation);
        survey->count++;
    }
    task_end(&survey->task);
    survey_unref(survey);
}

static faas_code look_around(struct resolver *resolver, const struct resolver_want *want,
                             int64_t wait_ms, struct survey **out_survey, faas_err *err)
{
    struct survey *survey = calloc(1, sizeof *survey);

    if (survey == NULL)
        return faas_fail_sys(err, errno, "spawner list");
    task_init(&survey->task);
    survey->members = resolver->members;
    snprintf(survey->image, sizeof survey->image, "%s", want->image);
    snprintf(survey->isolation, sizeof survey->isolation, "%s",
             want->isolation != NULL ? want->isolation : "");
    task_ref(&survey->task);
    faas_loop_post(resolver->loop, take_survey, survey);
    if (!task_wait(&survey->task, wait_ms)) {
        survey_unref(survey);
        return faas_fail(err, FAAS_BUSY, "the registry is overloaded; try again");
    }
    *out_survey = survey;
    return FAAS_OK;
}

static const struct candidate *find(const struct survey *survey, const struct candidate *who)
{
    for (size_t i = 0; i < survey->count; i++)
        if (strcmp(survey->list[i].id, who->id) == 0 &&
            strcmp(survey->list[i].epoch, who->epoch) == 0)
            return &survey->list[i];
    return NULL;
}

struct tried { /* spawners that could not answer */
    size_t count;
    struct candidate list[SPAWNERS_MAX];
};

static bool was_tried(const struct tried *tried, const struct candidate *who)
{
    for (size_t i = 0; i < tried->count; i++)
        if (strcmp(tried->list[i].id, who->id) == 0)
            return true;
    return false;
}

static const struct candidate *choose_of(const struct survey *survey, const struct tried *tried,
                                         bool is_wanted)
{
    const struct candidate *best = NULL;

    for (size_t i = 0; i < survey->count; i++) {
        const struct candidate *c = &survey->list[i];

        if (c->is_usable && c->is_wanted == is_wanted && !was_tried(tried, c) &&
            (best == NULL || c->weight > best->weight))
            best = c;
    }
    return best;
}

static const struct candidate *choose(const struct survey *survey, const struct tried *tried,
                                      const struct resolver_want *want)
{
    const struct candidate *best = NULL;

    if (tried->count < SPAWNERS_MAX)
        best = choose_of(survey, tried, true);
    if (tried->count < SPAWNERS_MAX && best == NULL && !want->is_needed)
        best = choose_of(survey, tried, false);
    return best;
}

/* Spawners are there, but none of them could ever do. */
static bool is_foreign(const struct survey *survey)
{
    for (size_t i = 0; i < survey->count; i++)
        if (survey->list[i].is_wanted)
            return false;
    return survey->count > 0;
}

static faas_code fail_nobody(const struct survey *survey, faas_err *err)
{
    if (is_foreign(survey))
        return faas_fail(err, FAAS_UNPROCESSABLE,
                         "isolation: no spawner here offers \"%s\"; leave the field out to take "
                         "what there is",
                         survey->isolation);
    return faas_fail(err, FAAS_UNAVAILABLE,
                     "no spawner is there to resolve the image; nothing was stored, try again when "
                     "one runs");
}

/* ---- the question ---- */

static void on_answer(void *arg, const struct faas_rpc_reply *reply)
{
    struct ask *ask = arg;

    ask->code = reply->code;
    ask->has_answered = reply->msg != NULL;
    if (reply->code == FAAS_OK)
        ask->code = faas_json_parse(faas_msg_data(reply->msg), faas_msg_len(reply->msg), false,
                                    &ask->reply, &ask->err);
    else
        ask->err = *reply->err;
    task_end(&ask->task);
    ask_unref(ask);
}

static faas_code send_ask(struct resolver *resolver, const struct faas_ctx *ctx,
                          const struct candidate *who, const char *image, struct ask *ask,
                          faas_err *err)
{
    char subject[FAAS_SUBJECT_MAX];
    FAAS_AUTO(json_t) *body = json_pack("{s:i, s:s, s:b, s:s}", "v", 1, "image", image,
                                        "architecture_required", 1, "tenant", ctx->tenant);
    size_t len = 0;
    FAAS_AUTO(char) *text = body == NULL ? NULL : faas_json_text(body, &len);
    /* It, or its answer, may be lost.  A spawner that is gone is followed by another one, not waited
     * for. */
    struct faas_rpc_request req = {
        .subject = subject,
        .ctx = ctx,
        .data = text,
        .len = len,
        .lane = FAAS_DATA,
        .retry = FAAS_RPC_SAME,
        .attempt_ms = AGAIN_MS,
    };

    if (text == NULL || !faas_subject(subject, FAAS_SUBJ_SPAWNER_RESOLVE, who->id))
        return faas_fail_sys(err, ENOMEM, "resolve request");
    task_ref(&ask->task);
    faas_rpc_call(resolver->rpc, &req, on_answer, ask);
    return FAAS_OK;
}

/* Waits for the answer as long as the spawner is not known to be dead or restarted. */
static faas_code await(struct resolver *resolver, const struct faas_ctx *ctx,
                       const struct candidate *who, struct ask *ask, faas_err *err)
{
    static const struct resolver_want anybody = {.image = ""};

    while (!task_wait(&ask->task, WATCH_MS)) {
        struct survey *now = NULL;
        bool is_there;

        if (faas_left_ms(ctx->deadline_ns) == 0)
            return faas_fail(err, FAAS_TIMEOUT, "no answer in time");
        FAAS_TRY(look_around(resolver, &anybody, faas_left_ms(ctx->deadline_ns), &now, err));
        is_there = find(now, who) != NULL || now->count == SPAWNERS_MAX;
        survey_unref(now);
        if (!is_there)
            return faas_fail(err, FAAS_UNAVAILABLE, "the spawner was lost");
    }
    return FAAS_OK;
}

static faas_code ask_one(struct resolver *resolver, const struct faas_ctx *ctx,
                         struct candidate *who, const char *image, json_t **out_resolved,
                         faas_err *err)
{
    struct ask *ask = calloc(1, sizeof *ask);
    faas_code rc;

    if (ask == NULL)
        return faas_fail_sys(err, errno, "resolve request");
    task_init(&ask->task);
    rc = send_ask(resolver, ctx, who, image, ask, err);
    if (rc == FAAS_OK)
        rc = await(resolver, ctx, who, ask, err);
    if (rc == FAAS_OK) {
        rc = ask->code;
        who->has_answered = ask->has_answered;
        if (rc == FAAS_OK)
            *out_resolved = FAAS_STEAL(ask->reply);
        else
            *err = ask->err;
    }
    ask_unref(ask);
    return rc;
}

/* Not this image's fault: another spawner may know. */
static bool is_worth_another(faas_code rc)
{
    return rc == FAAS_UNAVAILABLE || rc == FAAS_BUSY;
}

struct search {
    struct resolver *resolver;
    const struct faas_ctx *ctx;
    const struct resolver_want *want;
    struct tried tried;
};

/* Each spawner once. */
static faas_code ask_each(struct search *search, json_t **out_resolved, faas_err *err)
{
    struct tried *tried = &search->tried;

    tried->count = 0;
    for (;;) {
        struct survey *survey = NULL;
        const struct candidate *who;
        faas_code rc;

        FAAS_TRY(look_around(search->resolver, search->want, faas_left_ms(search->ctx->deadline_ns),
                             &survey, err));
        who = choose(survey, tried, search->want);
        if (who == NULL) {
            if (tried->count == 0)
                (void)fail_nobody(survey, err);
            survey_unref(survey);
            return err->code; /* or what the last one said */
        }
        tried->list[tried->count++] = *who;
        survey_unref(survey);
        rc = ask_one(search->resolver, search->ctx, &tried->list[tried->count - 1],
                     search->want->image, out_resolved, err);
        if (rc == FAAS_TIMEOUT)
            return faas_fail(err, FAAS_UNAVAILABLE,
                             "the spawner did not resolve the image in time; a pull goes on, so "
                             "try again in a while");
        if (!is_worth_another(rc))
            return rc;
    }
}

static bool has_answer(const struct tried *tried)
{
    for (size_t i = 0; i < tried->count; i++)
        if (tried->list[i].has_answered)
            return true;
    return false;
}

/* Again while nobody answered: a spawner is back soon, and a registry that has just started has
 * heard of none yet. */
static faas_code ask_around(struct resolver *resolver, const struct faas_ctx *ctx,
                            const struct resolver_want *want, json_t **out_resolved, faas_err *err)
{
    struct search search = {.resolver = resolver, .ctx = ctx, .want = want};
    uint64_t until_ns = faas_deadline_in_ms(NOBODY_MS);
    faas_code rc;

    for (;;) {
        rc = ask_each(&search, out_resolved, err);
        if (rc != FAAS_UNAVAILABLE || has_answer(&search.tried) || faas_now_ns() >= until_ns ||
            faas_left_ms(ctx->deadline_ns) <= LOOK_MS)
            return rc;
        poll(NULL, 0, LOOK_MS); /* the pace of looking; who is there decides */
        *err = (faas_err){0};
    }
}

faas_code resolver_ask(struct resolver *resolver, const struct faas_ctx *caller,
                       const struct resolver_want *want, json_t **out_resolved, faas_err *err)
{
    struct faas_ctx ctx = *caller;
    int64_t left = faas_left_ms(caller->deadline_ns);
    faas_err last = {0};
    faas_code rc;

    ctx.deadline_ns =
        faas_deadline_in_ms(left > 2 * STORE_LEFT_MS ? left - STORE_LEFT_MS : left / 2);
    if (atomic_fetch_add(&resolver->running, 1) < RESOLVER_MAX)
        rc = ask_around(resolver, &ctx, want, out_resolved, &last);
    else
        rc = faas_fail(&last, FAAS_BUSY, "too many images are being resolved; try again");
    atomic_fetch_sub(&resolver->running, 1);
    if (rc != FAAS_OK && err != NULL)
        *err = last;
    return rc;
}
