#include "tests/unit/unit.h"

#include <pthread.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/loop.h"

#define POSTERS  3
#define PER_POST 2000

static faas_loop *loop;
static faas_err err;

static int open_loop(void **state)
{
    (void)state;
    return faas_loop_new(&loop, &err) == FAAS_OK ? 0 : -1;
}

static int close_loop(void **state)
{
    (void)state;
    faas_loop_free(loop);
    loop = NULL;
    return 0;
}

struct counted {
    int poster, number;
    struct faas_post post;
};

static int last_of[POSTERS], seen, wrong;

static void count(void *arg)
{
    struct counted *it = arg;

    wrong += !faas_loop_is_own_thread(loop) || last_of[it->poster] != it->number - 1;
    last_of[it->poster] = it->number;
    if (++seen == POSTERS * PER_POST)
        faas_loop_stop(loop);
}

static struct counted items[POSTERS][PER_POST];

static void *post_many(void *arg)
{
    struct counted *mine = arg;

    for (int i = 0; i < PER_POST; i++) {
        if (i % 2 == 0)
            faas_loop_post(loop, count, &mine[i]);
        else
            faas_loop_post_with(loop, &mine[i].post, count, &mine[i]);
    }
    return NULL;
}

static void posts_of_each_thread_run_in_order_on_the_loop_thread(void **state)
{
    pthread_t threads[POSTERS];

    (void)state;
    for (int t = 0; t < POSTERS; t++) {
        last_of[t] = -1;
        for (int i = 0; i < PER_POST; i++)
            items[t][i] = (struct counted){.poster = t, .number = i};
        assert_int_equal(pthread_create(&threads[t], NULL, post_many, items[t]), 0);
    }
    assert_false(faas_loop_is_own_thread(loop));
    faas_loop_run(loop);
    assert_false(faas_loop_is_own_thread(loop));
    for (int t = 0; t < POSTERS; t++)
        pthread_join(threads[t], NULL);
    assert_int_equal(seen, POSTERS * PER_POST);
    assert_int_equal(wrong, 0);
}

static int rounds;

static void post_again(void *arg)
{
    if (++rounds < 100)
        faas_loop_post(loop, post_again, arg);
    else
        faas_loop_stop(loop);
}

static void a_task_may_post(void **state)
{
    (void)state;
    faas_loop_post(loop, post_again, NULL);
    faas_loop_run(loop);
    assert_int_equal(rounds, 100);
}

static int ran;

static void run_once(void *arg)
{
    ran++;
    if (arg != NULL)
        faas_loop_post(loop, run_once, NULL);
}

static void free_runs_what_is_still_queued(void **state)
{
    faas_loop *own = loop;

    (void)state;
    faas_loop_post(loop, run_once, &ran);
    faas_loop_free(own);
    loop = NULL;
    assert_int_equal(ran, 2);
}

static void a_stop_before_the_run_ends_it(void **state)
{
    (void)state;
    faas_loop_stop(loop);
    faas_loop_run(loop);
    faas_loop_stop(loop);
    faas_loop_run(loop); /* and it can run again */
}

static bool is_fired;

static void on_timer(struct ev_loop *ev, ev_timer *timer, int events)
{
    (void)ev;
    (void)timer;
    (void)events;
    is_fired = true;
    faas_loop_stop(loop);
}

static void timers_fire_between_posts(void **state)
{
    ev_timer timer;
    uint64_t before = faas_now_ns();

    (void)state;
    ev_timer_init(&timer, on_timer, 0.02, 0);
    ev_timer_start(faas_loop_ev(loop), &timer);
    faas_loop_run(loop);
    assert_true(is_fired);
    assert_true(faas_now_ns() - before >= 19 * FAAS_MS_NS);
}

static int64_t lag_after_block, lag_after_reading;

static void block(void *arg)
{
    (void)arg;
    (void)faas_loop_lag_ms(loop);
    usleep(300 * 1000); /* the fault itself: a task that holds the loop up */
    lag_after_block = faas_loop_lag_ms(loop);
    faas_loop_stop(loop);
}

static void a_blocked_loop_shows_as_lag(void **state)
{
    (void)state;
    faas_loop_post(loop, block, NULL);
    faas_loop_run(loop);
    assert_in_range(lag_after_block, 190, 10000);
}

static void read_lag(struct ev_loop *ev, ev_timer *timer, int events)
{
    (void)ev;
    (void)timer;
    (void)events;
    lag_after_reading = faas_loop_lag_ms(loop);
    faas_loop_stop(loop);
}

static void block_only(void *arg)
{
    (void)arg;
    usleep(300 * 1000);
}

static void the_worst_lag_is_kept_until_it_is_read(void **state)
{
    ev_timer timer;

    (void)state;
    faas_loop_post(loop, block_only, NULL);
    ev_timer_init(&timer, read_lag, 0.45, 0);
    ev_timer_start(faas_loop_ev(loop), &timer);
    faas_loop_run(loop);
    assert_in_range(lag_after_reading, 190, 10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(posts_of_each_thread_run_in_order_on_the_loop_thread,
                                        open_loop, close_loop),
        cmocka_unit_test_setup_teardown(a_task_may_post, open_loop, close_loop),
        cmocka_unit_test_setup_teardown(free_runs_what_is_still_queued, open_loop, close_loop),
        cmocka_unit_test_setup_teardown(a_stop_before_the_run_ends_it, open_loop, close_loop),
        cmocka_unit_test_setup_teardown(timers_fire_between_posts, open_loop, close_loop),
        cmocka_unit_test_setup_teardown(a_blocked_loop_shows_as_lag, open_loop, close_loop),
        cmocka_unit_test_setup_teardown(the_worst_lag_is_kept_until_it_is_read, open_loop,
                                        close_loop),
    };

    return run_unit(tests);
}
