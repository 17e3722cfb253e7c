/* barrier.h - what a lane and its sandboxes put between a function and the machine, one by one, so
 * that a test can leave some out and show that each holds alone (tests/integration/
 * test_sandbox_alone.c).  In the product there is nothing to switch: it is built with all of them.
 */
#ifndef ZYGOTE_BARRIER_H
#define ZYGOTE_BARRIER_H

enum zy_barrier {
    ZY_BARRIER_IDS = 1,     /* user namespace, user and group ids */
    ZY_BARRIER_CAPS = 2,    /* capabilities, also to come, and new privileges */
    ZY_BARRIER_FILTER = 4,  /* of system calls */
    ZY_BARRIER_PROC = 8,    /* /proc with nothing but processes */
    ZY_BARRIER_GROUPS = 16, /* control groups */
    ZY_BARRIER_NET = 32,    /* network namespace */
    ZY_BARRIER_PIDS = 64,   /* pid namespace */
    ZY_BARRIERS = 128       /* all are below */
};

#ifdef ZY_TEST_BARRIERS
extern unsigned zy_barriers_off;
#define zy_has(barrier) ((zy_barriers_off & (barrier)) == 0)
#else
#define zy_has(barrier) 1
#endif

#endif
