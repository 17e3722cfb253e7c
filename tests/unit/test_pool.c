#include "tests/unit/unit.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>

#include "base/pool.h"

#define JOBS 500

/* A gate that jobs wait at, so that tests decide when they end. */
static sem_t entered, leave;
static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;
static int order[JOBS], done, running, most; /* guarded by mu */
static faas_err err;

static int reset(void **state)
{
    (void)state;
    sem_init(&entered, 0, 0);
    sem_init(&leave, 0, 0);
    done = running = most = 0;
    err = (faas_err){0};
    return 0;
}

static void wait_at_gate(void *arg)
{
    (void)arg;
    sem_post(&entered);
    sem_wait(&leave);
}

static void record(void *arg)
{
    pthread_mutex_lock(&mu);
    order[done++] = *(int *)arg;
    pthread_mutex_unlock(&mu);
}

static void overlap(void *arg)
{
    (void)arg;
    pthread_mutex_lock(&mu);
    most = ++running > most ? running : most;
    pthread_mutex_unlock(&mu);
    sem_post(&entered);
    sem_wait(&leave);
    pthread_mutex_lock(&mu);
    running--;
    pthread_mutex_unlock(&mu);
}

static void jobs_run_in_submission_order(void **state)
{
    faas_pool *pool = NULL;
    int numbers[JOBS];

    (void)state;
    assert_ok(faas_pool_start(1, JOBS, &pool, &err));
    for (int i = 0; i < JOBS; i++) {
        numbers[i] = i;
        assert_ok(faas_pool_submit(pool, record, &numbers[i], &err));
    }
    faas_pool_stop(pool);
    assert_int_equal(done, JOBS);
    for (int i = 0; i < JOBS; i++)
        assert_int_equal(order[i], i);
}

static void a_full_queue_is_busy_at_once(void **state)
{
    faas_pool *pool = NULL;
    int number = 1;

    (void)state;
    assert_ok(faas_pool_start(1, 2, &pool, &err));
    assert_ok(faas_pool_submit(pool, wait_at_gate, NULL, &err));
    sem_wait(&entered); /* the only thread is taken, the queue is empty */
    assert_ok(faas_pool_submit(pool, record, &number, &err));
    assert_ok(faas_pool_submit(pool, record, &number, &err));
    assert_int_equal(faas_pool_submit(pool, record, &number, &err), FAAS_BUSY);
    assert_string_equal(err.msg, "too much work is waiting; try again in a moment");
    sem_post(&leave);
    faas_pool_stop(pool);
    assert_int_equal(done, 2);
}

static void at_most_the_given_threads_run_at_once(void **state)
{
    faas_pool *pool = NULL;

    (void)state;
    assert_ok(faas_pool_start(3, 16, &pool, &err));
    for (int i = 0; i < 9; i++)
        assert_ok(faas_pool_submit(pool, overlap, NULL, &err));
    for (int i = 0; i < 3; i++)
        sem_wait(&entered); /* three are inside, none may join them */
    for (int i = 0; i < 9; i++)
        sem_post(&leave);
    faas_pool_stop(pool);
    assert_int_equal(most, 3);
    assert_int_equal(running, 0);
}

#define MANY 64

static pthread_t seen[MANY]; /* guarded by mu */
static int seen_count;       /* guarded by mu */

static void note_thread(void *arg)
{
    int i = 0;

    (void)arg;
    pthread_mutex_lock(&mu);
    while (i < seen_count && !pthread_equal(seen[i], pthread_self()))
        i++;
    if (i == seen_count)
        seen[seen_count++] = pthread_self();
    pthread_mutex_unlock(&mu);
    sem_post(&entered);
}

/* Taking turns, ten times as many jobs as threads would meet them all. */
static void jobs_one_after_another_do_not_go_round_all_threads(void **state)
{
    faas_pool *pool = NULL;

    (void)state;
    seen_count = 0;
    assert_ok(faas_pool_start(MANY, MANY, &pool, &err));
    for (int i = 0; i < 10 * MANY; i++) {
        assert_ok(faas_pool_submit(pool, note_thread, NULL, &err));
        sem_wait(&entered);
    }
    faas_pool_stop(pool);
    assert_in_range(seen_count, 1, MANY - 1);
}

/* None may be left behind by threads that wake one another. */
static void as_many_jobs_as_threads_run_at_once_each_time(void **state)
{
    faas_pool *pool = NULL;

    (void)state;
    assert_ok(faas_pool_start(8, 8, &pool, &err));
    for (int round = 0; round < 200; round++) {
        for (int i = 0; i < 8; i++)
            assert_ok(faas_pool_submit(pool, wait_at_gate, NULL, &err));
        for (int i = 0; i < 8; i++)
            sem_wait(&entered);
        for (int i = 0; i < 8; i++)
            sem_post(&leave);
    }
    faas_pool_stop(pool);
}

static faas_pool *self;
static faas_code resubmitted;

/* Ends only once stop() has begun, which waits for this very job. */
static void submit_until_refused(void *arg)
{
    faas_err mine = {0};

    (void)arg;
    do
        resubmitted = faas_pool_submit(self, record, &done, &mine);
    while (resubmitted == FAAS_OK || resubmitted == FAAS_BUSY);
    err = mine;
}

static void a_stopping_pool_refuses_and_still_runs_what_is_queued(void **state)
{
    static int number = 3;

    (void)state;
    assert_ok(faas_pool_start(1, 4, &self, &err));
    assert_ok(faas_pool_submit(self, record, &number, &err));
    assert_ok(faas_pool_submit(self, submit_until_refused, NULL, &err));
    faas_pool_stop(self);
    assert_int_equal(resubmitted, FAAS_UNAVAILABLE);
    assert_string_equal(err.msg, "shutting down");
    assert_true(done >= 1 && done <= 5);
    assert_int_equal(order[0], 3);
}

static void a_finished_pool_refuses(void **state)
{
    static int number = 7;

    (void)state;
    done = 0;
    assert_ok(faas_pool_start(2, 4, &self, &err));
    assert_ok(faas_pool_submit(self, record, &number, &err));
    faas_pool_finish(self);
    assert_int_equal(done, 1);
    assert_int_equal(faas_pool_submit(self, record, &number, &err), FAAS_UNAVAILABLE);
    faas_pool_stop(self);
    assert_int_equal(done, 1);
}

static void senseless_sizes_are_refused(void **state)
{
    faas_pool *pool = NULL;

    (void)state;
    assert_int_equal(faas_pool_start(0, 1, &pool, &err), FAAS_INVALID);
    assert_int_equal(faas_pool_start(1, 0, &pool, &err), FAAS_INVALID);
    assert_string_equal(err.msg, "pool: at least one thread and one place in the queue");
    assert_null(pool);
    faas_pool_stop(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(jobs_run_in_submission_order, reset),
        cmocka_unit_test_setup(a_full_queue_is_busy_at_once, reset),
        cmocka_unit_test_setup(at_most_the_given_threads_run_at_once, reset),
        cmocka_unit_test_setup(jobs_one_after_another_do_not_go_round_all_threads, reset),
        cmocka_unit_test_setup(as_many_jobs_as_threads_run_at_once_each_time, reset),
        cmocka_unit_test_setup(a_stopping_pool_refuses_and_still_runs_what_is_queued, reset),
        cmocka_unit_test_setup(senseless_sizes_are_refused, reset),
        cmocka_unit_test_setup(a_finished_pool_refuses, reset),
    };

    return run_unit(tests);
}
