#include "call.h"

#include <stddef.h>
#include <string.h>

#define MOVE(next, action)                                                                         \
    {                                                                                              \
        CALL_##next, CALL_DO_##action                                                              \
    }

static const struct call_move moves[CALL_STATE_END][CALL_EVENT_END] =
    {
        [CALL_RECEIVED] =
            {
                [CALL_EV_MISS] = MOVE(RESOLVING, READ),
                [CALL_EV_FOUND] = MOVE(SEEKING, SEEK),
                [CALL_EV_REFUSED] = MOVE(ENDED, FAIL),
            },
        [CALL_RESOLVING] =
            {
                [CALL_EV_FOUND] = MOVE(SEEKING, SEEK),
                [CALL_EV_REFUSED] = MOVE(ENDED, FAIL),
                [CALL_EV_CANCEL] = MOVE(ENDED, DROP),
                [CALL_EV_GIVE_UP] = MOVE(ENDED, FAIL),
            },
        [CALL_SEEKING] =
            {
                [CALL_EV_ROOM] = MOVE(PLACING, SEND),
                [CALL_EV_FULL] = MOVE(WAITING, QUEUE),
                [CALL_EV_REFUSED] = MOVE(ENDED, FAIL),
            },
        [CALL_WAITING] =
            {
                [CALL_EV_ROOM] = MOVE(PLACING, SEND),
                [CALL_EV_REFUSED] = MOVE(ENDED, FAIL),
                [CALL_EV_WAITED] = MOVE(ENDED, FAIL),
                [CALL_EV_CANCEL] = MOVE(ENDED, DROP),
                [CALL_EV_GIVE_UP] = MOVE(ENDED, FAIL),
            },
        [CALL_PLACING] =
            {
                /* REFUSED: the message could not leave this process. */
                [CALL_EV_REFUSED] = MOVE(ENDED, FAIL),
                [CALL_EV_ACCEPT] = MOVE(ACCEPTED, ACCEPT),
                [CALL_EV_STARTED] = MOVE(RUNNING, START),
                [CALL_EV_END] = MOVE(ENDED, FINISH),
                [CALL_EV_BUSY] = MOVE(SEEKING, SEEK),
                [CALL_EV_NEVER] = MOVE(SEEKING, SEEK),
                [CALL_EV_SILENT] = MOVE(FENCING, FENCE),
                [CALL_EV_AGAIN] = MOVE(SEEKING, REDO),
                [CALL_EV_DIED] = MOVE(ENDED, LOSE),
                [CALL_EV_CANCEL] = MOVE(ABANDONING, FENCE),
                [CALL_EV_TIME_UP] = MOVE(ENDED, LOSE),
            },
        [CALL_FENCING] =
            {
                [CALL_EV_ACCEPT] = MOVE(ACCEPTED, ACCEPT),
                [CALL_EV_ADOPTED] = MOVE(ACCEPTED, ACCEPT),
                [CALL_EV_STARTED] = MOVE(RUNNING, START),
                [CALL_EV_END] = MOVE(ENDED, FINISH),
                [CALL_EV_BUSY] = MOVE(SEEKING, SEEK),
                [CALL_EV_NEVER] = MOVE(SEEKING, SEEK),
                [CALL_EV_SILENT] = MOVE(FENCING, FENCE),
                [CALL_EV_AGAIN] = MOVE(SEEKING, REDO),
                [CALL_EV_DIED] = MOVE(ENDED, LOSE),
                [CALL_EV_CANCEL] = MOVE(ABANDONING, HOLD),
                [CALL_EV_TIME_UP] = MOVE(ENDED, LOSE),
            },
        [CALL_ABANDONING] =
            {
                [CALL_EV_ACCEPT] = MOVE(CANCELLING, KILL),
                [CALL_EV_ADOPTED] = MOVE(CANCELLING, KILL),
                [CALL_EV_STARTED] = MOVE(CANCELLING, KILL),
                [CALL_EV_END] = MOVE(ENDED, FINISH),
                [CALL_EV_BUSY] = MOVE(ENDED, DROP),
                [CALL_EV_NEVER] = MOVE(ENDED, DROP),
                [CALL_EV_SILENT] = MOVE(ABANDONING, FENCE),
                [CALL_EV_DIED] = MOVE(ENDED, LOSE),
                [CALL_EV_TIME_UP] = MOVE(ENDED, LOSE),
            },
        [CALL_ACCEPTED] =
            {
                [CALL_EV_STARTED] = MOVE(RUNNING, START),
                [CALL_EV_END] = MOVE(ENDED, FINISH),
                [CALL_EV_AGAIN] = MOVE(SEEKING, REDO),
                [CALL_EV_DIED] = MOVE(ENDED, LOSE),
                [CALL_EV_CANCEL] = MOVE(CANCELLING, KILL),
                [CALL_EV_TIME_UP] = MOVE(ENDED, LOSE),
            },
        [CALL_RUNNING] =
            {
                [CALL_EV_END] = MOVE(ENDED, FINISH),
                [CALL_EV_AGAIN] = MOVE(SEEKING, REDO),
                [CALL_EV_DIED] = MOVE(ENDED, LOSE),
                [CALL_EV_CANCEL] = MOVE(CANCELLING, KILL),
                [CALL_EV_TIME_UP] = MOVE(ENDED, LOSE),
            },
        [CALL_CANCELLING] =
            {
                [CALL_EV_END] = MOVE(ENDED, FINISH),
                [CALL_EV_GONE] = MOVE(ENDED, DROP),
                [CALL_EV_SILENT] = MOVE(CANCELLING, KILL),
                [CALL_EV_DIED] = MOVE(ENDED, LOSE),
                [CALL_EV_TIME_UP] = MOVE(ENDED, LOSE),
            },
};

const struct call_move *call_move(enum call_state state, enum call_event event)
{
    const struct call_move *move;

    if (state >= CALL_STATE_END || event >= CALL_EVENT_END)
        return NULL;
    move = &moves[state][event];
    return move->action == CALL_DO_NOTHING ? NULL : move;
}

const char *call_state_name(enum call_state state)
{
#define X(name, fence) #name,
    static const char *const names[] = {CALL_STATES(X)};
#undef X

    return state < CALL_STATE_END ? names[state] : "?";
}

const char *call_event_name(enum call_event event)
{
#define X(name) #name,
    static const char *const names[] = {CALL_EVENTS(X)};
#undef X

    return event < CALL_EVENT_END ? names[event] : "?";
}

const char *call_state_for_fence(enum call_state state)
{
#define X(name, fence) fence,
    static const char *const words[] = {CALL_STATES(X)};
#undef X

    return state < CALL_STATE_END ? words[state] : "done";
}

bool call_is_placed(enum call_state state)
{
    return strcmp(call_state_for_fence(state), "running") == 0;
}
