#include "base/pool.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/queue.h>

struct job {
    STAILQ_ENTRY(job) link;
    faas_job *run;
    void *arg;
};

struct worker {
    SLIST_ENTRY(worker) link; /* in pool->idle; guarded by mu */
    faas_pool *pool;
    pthread_t thread;
    pthread_cond_t is_woken; /* with mu */
    bool is_idle;            /* guarded by mu */
};

struct faas_pool {
    pthread_mutex_t mu;
    STAILQ_HEAD(jobs, job) queue; /* guarded by mu */
    SLIST_HEAD(, worker) idle;    /* guarded by mu; the one that became idle last is first */
    int queued;                   /* guarded by mu */
    bool is_waking;   /* guarded by mu: a woken worker has not looked at the queue yet */
    bool is_stopping; /* guarded by mu */
    int queue_max;    /* immutable */
    int thread_count; /* the owner's; 0 once finished */
    int threads;      /* immutable: what it started with */
    struct worker workers[];
};

static void wake_locked(faas_pool *pool)
{
    struct worker *worker = SLIST_FIRST(&pool->idle);

    SLIST_REMOVE_HEAD(&pool->idle, link);
    worker->is_idle = false;
    pthread_cond_signal(&worker->is_woken);
}

/* One at a time: whoever takes a job and leaves others behind wakes the next.  So a burst of short
 * jobs is done by few threads, and no job waits while a thread sleeps. */
static void wake_one_locked(faas_pool *pool)
{
    if (pool->is_waking || SLIST_EMPTY(&pool->idle))
        return;
    pool->is_waking = true;
    wake_locked(pool);
}

/* The worker that slept least is woken first: its stack and its memory are still in the caches. */
static void sleep_locked(struct worker *worker)
{
    faas_pool *pool = worker->pool;

    worker->is_idle = true;
    SLIST_INSERT_HEAD(&pool->idle, worker, link);
    while (worker->is_idle)
        pthread_cond_wait(&worker->is_woken, &pool->mu);
    pool->is_waking = false;
}

/* The next job, or NULL once the pool stops and everything queued was taken. */
static struct job *next_job(struct worker *worker)
{
    faas_pool *pool = worker->pool;
    struct job *job;

    pthread_mutex_lock(&pool->mu);
    while (STAILQ_EMPTY(&pool->queue) && !pool->is_stopping)
        sleep_locked(worker);
    job = STAILQ_FIRST(&pool->queue);
    if (job != NULL) {
        STAILQ_REMOVE_HEAD(&pool->queue, link);
        pool->queued--;
        if (!STAILQ_EMPTY(&pool->queue))
            wake_one_locked(pool);
    }
    pthread_mutex_unlock(&pool->mu);
    return job;
}

static void *work(void *arg)
{
    struct job *job;

    while ((job = next_job(arg)) != NULL) {
        job->run(job->arg);
        free(job);
    }
    return NULL;
}

/* Signals are for the thread that waits for them, so workers start with all of them blocked. */
static int start_thread(pthread_t *out_thread, void *(*run)(void *), void *arg)
{
    sigset_t all, before;
    int errnum;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    errnum = pthread_create(out_thread, NULL, run, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return errnum;
}

faas_code faas_pool_start(int threads, int queue_max, faas_pool **out_pool, faas_err *err)
{
    faas_pool *pool;

    if (threads < 1 || queue_max < 1)
        return faas_fail(err, FAAS_INVALID, "pool: at least one thread and one place in the queue");
    pool = calloc(1, sizeof *pool + (size_t)threads * sizeof pool->workers[0]);
    if (pool == NULL)
        return faas_fail_sys(err, errno, "allocate pool");
    pthread_mutex_init(&pool->mu, NULL);
    STAILQ_INIT(&pool->queue);
    SLIST_INIT(&pool->idle);
    pool->queue_max = queue_max;
    for (; pool->thread_count < threads; pool->thread_count++) {
        struct worker *worker = &pool->workers[pool->thread_count];
        int errnum;

        worker->pool = pool;
        pthread_cond_init(&worker->is_woken, NULL);
        errnum = start_thread(&worker->thread, work, worker);
        if (errnum != 0) {
            pthread_cond_destroy(&worker->is_woken);
            faas_pool_stop(pool);
            return faas_fail_sys(err, errnum, "start pool thread");
        }
    }
    pool->threads = threads;
    *out_pool = pool;
    return FAAS_OK;
}

static faas_code enqueue(faas_pool *pool, struct job *job, faas_err *err)
{
    faas_code rc = FAAS_OK;

    pthread_mutex_lock(&pool->mu);
    if (pool->is_stopping) {
        rc = faas_fail(err, FAAS_UNAVAILABLE, "shutting down");
    } else if (pool->queued >= pool->queue_max) {
        rc = faas_fail(err, FAAS_BUSY, "too much work is waiting; try again in a moment");
    } else {
        STAILQ_INSERT_TAIL(&pool->queue, job, link);
        pool->queued++;
        wake_one_locked(pool);
    }
    pthread_mutex_unlock(&pool->mu);
    return rc;
}

faas_code faas_pool_submit(faas_pool *pool, faas_job *run, void *arg, faas_err *err)
{
    struct job *job = malloc(sizeof *job);
    faas_code rc;

    if (job == NULL)
        return faas_fail_sys(err, errno, "allocate job");
    job->run = run;
    job->arg = arg;
    rc = enqueue(pool, job, err);
    if (rc != FAAS_OK)
        free(job);
    return rc;
}

void faas_pool_look(faas_pool *pool, struct faas_pool_state *out_state)
{
    const struct worker *worker;

    pthread_mutex_lock(&pool->mu);
    *out_state = (struct faas_pool_state){pool->threads, pool->threads, pool->queued};
    SLIST_FOREACH (worker, &pool->idle, link)
        out_state->busy--;
    pthread_mutex_unlock(&pool->mu);
}

void faas_pool_finish(faas_pool *pool)
{
    pthread_mutex_lock(&pool->mu);
    pool->is_stopping = true;
    while (!SLIST_EMPTY(&pool->idle))
        wake_locked(pool);
    pthread_mutex_unlock(&pool->mu);
    for (int i = 0; i < pool->thread_count; i++) {
        pthread_join(pool->workers[i].thread, NULL);
        pthread_cond_destroy(&pool->workers[i].is_woken);
    }
    pool->thread_count = 0;
}

void faas_pool_stop(faas_pool *pool)
{
    if (pool == NULL)
        return;
    faas_pool_finish(pool);
    pthread_mutex_destroy(&pool->mu);
    free(pool);
}
