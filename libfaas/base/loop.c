#include "base/loop.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"

#define TICK_NS (100 * FAAS_MS_NS)

STAILQ_HEAD(posts, faas_post);

struct faas_loop {
    struct ev_loop *ev;
    ev_async wake;
    ev_timer tick;
    pthread_mutex_t mu;
    struct posts mailbox; /* guarded by mu */
    atomic_bool is_stopping;
    uint64_t tick_due_ns;   /* loop thread */
    uint64_t worst_late_ns; /* loop thread */
};

/* The loop that this thread runs at the moment. */
static _Thread_local const faas_loop *current;

static void run_posts(faas_loop *loop)
{
    struct posts batch = STAILQ_HEAD_INITIALIZER(batch);
    struct faas_post *first;

    pthread_mutex_lock(&loop->mu);
    STAILQ_CONCAT(&batch, &loop->mailbox);
    pthread_mutex_unlock(&loop->mu);
    while ((first = STAILQ_FIRST(&batch)) != NULL) {
        const struct faas_post post = *first;

        STAILQ_REMOVE_HEAD(&batch, link);
        if (post.is_loops)
            free(first);
        post.task(post.arg);
    }
}

static void on_wake(struct ev_loop *ev, ev_async *watcher, int events)
{
    faas_loop *loop = ev_userdata(ev);
    bool is_stopping = atomic_exchange(&loop->is_stopping, false);

    (void)watcher;
    (void)events;
    run_posts(loop); /* those made before the stop, too */
    if (is_stopping)
        ev_break(ev, EVBREAK_ALL);
}

static uint64_t late_ns(const faas_loop *loop)
{
    uint64_t now = faas_now_ns();

    return now > loop->tick_due_ns ? now - loop->tick_due_ns : 0;
}

static void on_tick(struct ev_loop *ev, ev_timer *watcher, int events)
{
    faas_loop *loop = ev_userdata(ev);
    uint64_t late = late_ns(loop);

    (void)events;
    if (late > loop->worst_late_ns)
        loop->worst_late_ns = late;
    loop->tick_due_ns = faas_now_ns() + TICK_NS;
    ev_now_update(ev);
    ev_timer_again(ev, watcher);
}

faas_code faas_loop_new(faas_loop **out_loop, faas_err *err)
{
    faas_loop *loop = calloc(1, sizeof *loop);

    if (loop == NULL)
        return faas_fail_sys(err, errno, "allocate loop");
    loop->ev = ev_loop_new(EVFLAG_AUTO | EVFLAG_NOENV);
    if (loop->ev == NULL) {
        free(loop);
        return faas_fail_sys(err, errno, "make an event loop");
    }
    pthread_mutex_init(&loop->mu, NULL);
    STAILQ_INIT(&loop->mailbox);
    ev_set_userdata(loop->ev, loop);
    ev_async_init(&loop->wake, on_wake);
    ev_async_start(loop->ev, &loop->wake);
    ev_init(&loop->tick, on_tick);
    loop->tick.repeat = (double)TICK_NS / (double)FAAS_S_NS;
    *out_loop = loop;
    return FAAS_OK;
}

void faas_loop_free(faas_loop *loop)
{
    const faas_loop *before = current;

    if (loop == NULL)
        return;
    current = loop;
    while (!STAILQ_EMPTY(&loop->mailbox)) /* posts may post */
        run_posts(loop);
    current = before;
    ev_loop_destroy(loop->ev);
    pthread_mutex_destroy(&loop->mu);
    free(loop);
}

void faas_loop_run(faas_loop *loop)
{
    const faas_loop *before = current;

    current = loop;
    ev_now_update(loop->ev);
    loop->tick_due_ns = faas_now_ns() + TICK_NS;
    ev_timer_again(loop->ev, &loop->tick);
    ev_run(loop->ev, 0);
    current = before;
}

void faas_loop_stop(faas_loop *loop)
{
    atomic_store(&loop->is_stopping, true);
    ev_async_send(loop->ev, &loop->wake);
}

static void post_node(faas_loop *loop, struct faas_post *post, const struct faas_post *what)
{
    *post = *what;
    pthread_mutex_lock(&loop->mu);
    STAILQ_INSERT_TAIL(&loop->mailbox, post, link);
    pthread_mutex_unlock(&loop->mu);
    ev_async_send(loop->ev, &loop->wake);
}

void faas_loop_post(faas_loop *loop, faas_task *task, void *arg)
{
    struct faas_post *post = malloc(sizeof *post);

    if (post == NULL)
        abort(); /* loop.h: a lost reply would be worse */
    post_node(loop, post, &(struct faas_post){.task = task, .arg = arg, .is_loops = true});
}

void faas_loop_post_with(faas_loop *loop, struct faas_post *post, faas_task *task, void *arg)
{
    post_node(loop, post, &(struct faas_post){.task = task, .arg = arg});
}

void faas_loop_wake(faas_loop *loop)
{
    ev_async_send(loop->ev, &loop->wake);
}

bool faas_loop_is_own_thread(const faas_loop *loop)
{
    return current == loop;
}

struct ev_loop *faas_loop_ev(faas_loop *loop)
{
    return loop->ev;
}

int64_t faas_loop_lag_ms(faas_loop *loop)
{
    uint64_t late = late_ns(loop);
    uint64_t worst = late > loop->worst_late_ns ? late : loop->worst_late_ns;

    loop->worst_late_ns = 0;
    return (int64_t)(worst / FAAS_MS_NS);
}
