/* call.h - the states of one call and the moves allowed between them, as one table.
 * States    what the publisher knows of a call; ENDED is final.
 * Events    what happened: said by the caller, the store, a spawner, a timer or the members list.
 * Move      (state, event) -> next state and the action that goes with it.  An event that has no
 *           row for a state means nothing there: late or repeated news, counted and ignored.
 * Safety    a call leaves PLACING or FENCING for another spawner only by BUSY (it refused) or
 *           NEVER (it has not begun there and will not), and with it ACCEPTED and RUNNING by AGAIN,
 *           which an idempotent function's calls alone are told: DESIGN.md 4.4.
 * Pure      no input, no output, no clock.
 */
#ifndef PUBLISHER_CALL_H
#define PUBLISHER_CALL_H

#include <stdbool.h>

#define CALL_STATES(X)                                                                             \
    X(RECEIVED, "waiting")   /* taken over, the function not known yet */                          \
    X(RESOLVING, "waiting")  /* the store is asked for the function */                             \
    X(SEEKING, "waiting")    /* wants room: caps, then a spawner */                                \
    X(WAITING, "waiting")    /* in the fair queue */                                               \
    X(PLACING, "running")    /* sent to a spawner, no answer yet */                                \
    X(FENCING, "running")    /* it was silent: asked what became of the call */                    \
    X(ABANDONING, "running") /* as FENCING, but the caller left meanwhile */                       \
    X(ACCEPTED, "running")                                                                         \
    X(RUNNING, "running")                                                                          \
    X(CANCELLING, "running") /* the spawner was told to stop it */                                 \
    X(ENDED, "done")

#define CALL_EVENTS(X)                                                                             \
    X(MISS)    /* the function is not in memory */                                                 \
    X(FOUND)   /* the function is known */                                                         \
    X(REFUSED) /* it cannot go on and nothing was started; the reason is in the call */            \
    X(ROOM)    /* a spawner was chosen and the caps allow it */                                    \
    X(FULL)    /* no room now, and the function lets its calls wait */                             \
    X(WAITED)  /* it waited as long as it may */                                                   \
    X(ACCEPT)                                                                                      \
    X(BUSY)    /* the spawner refused */                                                           \
    X(SILENT)  /* no answer in time to what was last asked */                                      \
    X(NEVER)   /* it has not begun there, and will not: a fence, or an orderly good-bye */         \
    X(ADOPTED) /* fence: it has begun there */                                                     \
    X(STARTED)                                                                                     \
    X(END)                                                                                         \
    X(DIED)    /* the spawner is dead, another process has its id, or it says that it lost it */   \
    X(AGAIN)   /* as DIED, or it does not answer, and the function may run once more */            \
    X(CANCEL)  /* the caller left or asked for the end */                                          \
    X(GONE)    /* the spawner says that nothing of it runs any more */                             \
    X(GIVE_UP) /* this process was late: calls that were not placed end here */                    \
    X(TIME_UP) /* the last guard of the whole call */

#define CALL_ACTIONS(X)                                                                            \
    X(READ)   /* ask the store for the function */                                                 \
    X(SEEK)   /* check the argument and the caps, choose a spawner */                              \
    X(QUEUE)  /* give back what it holds and wait in the fair queue */                             \
    X(SEND)   /* publish to the chosen spawner, wait for its answer */                             \
    X(FENCE)  /* ask the spawner what became of it */                                              \
    X(HOLD)   /* note only that the caller left: the answer to the fence decides */                \
    X(ACCEPT) /* arm the guard for start and run */                                                \
    X(START)  /* note the start */                                                                 \
    X(KILL)   /* tell the spawner to stop it */                                                    \
    X(FINISH) /* it ended by itself: release, log */                                               \
    X(DROP)   /* it ended because its caller left, and nothing runs */                             \
    X(REDO)   /* tell the caller that its budget begins anew, forget that spawner, SEEK */         \
    X(FAIL)   /* tell the caller why; nothing was started */                                       \
    X(LOSE)   /* tell the caller that it may have run */

#define X(name, fence) CALL_##name,
enum call_state { CALL_STATES(X) CALL_STATE_END };
#undef X
#define X(name) CALL_EV_##name,
enum call_event { CALL_EVENTS(X) CALL_EVENT_END };
#undef X
#define X(name) CALL_DO_##name,
enum call_action { CALL_DO_NOTHING, CALL_ACTIONS(X) CALL_ACTION_END };
#undef X

struct call_move {
    enum call_state next;
    enum call_action action; /* CALL_DO_NOTHING only where there is no move */
};

/* NULL when the event means nothing in that state. */
const struct call_move *call_move(enum call_state state, enum call_event event);
const char *call_state_name(enum call_state state);
const char *call_event_name(enum call_event event);
/* What a fence is told: "waiting", "running" or "done". */
const char *call_state_for_fence(enum call_state state);
bool call_is_placed(enum call_state state); /* a spawner may have it */

#endif
