/* warm.c - a lane whose sandbox is kept from call to call (zygote/slot.h): made with the lane, and
 * the lane ends with it. */
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "native.h"

static int exit_code_of(int status)
{
    return WIFEXITED(status) ? WEXITSTATUS(status) : OUTCOME_SIGNAL_BASE + WTERMSIG(status);
}

/* Its first process is dead, and so is whatever ran in there. */
static void on_first(struct ev_loop *ev, ev_io *io, int events)
{
    struct lane *lane = io->data;

    (void)events;
    ev_io_stop(ev, io);
    (void)waitid(P_PIDFD, (id_t)lane->first, &(siginfo_t){0}, WEXITED | WNOHANG);
    close(lane->first);
    lane->first = -1;
    lane_broken(lane);
    if (lane->state == LANE_BUSY && lane->call->stage == STAGE_RUN && !lane->call->has_exited)
        call_exited(lane->call, OUTCOME_SIGNAL_BASE + SIGKILL);
    else if (lane->state == LANE_ENDING)
        lane_maybe_gone(lane);
}

void warm_init(struct lane *lane)
{
    lane->first = -1;
    ev_init(&lane->first_io, on_first);
    lane->first_io.data = lane;
}

void warm_kill(const struct lane *lane)
{
    if (lane->first >= 0)
        (void)pidfd_send_signal(lane->first, SIGKILL, NULL, 0);
}

/* Of the two that a slot begins with, in either order. */
static void is_there(struct lane *lane, const struct zy_reply *reply)
{
    if (lane->state != LANE_WARMING)
        return;
    if (reply->step != ZY_STEP_NONE) {
        lane_cannot_be_made(lane, reply);
        return;
    }
    lane->is_ready |= reply->word == ZY_READY;
    if (lane->is_ready && lane->first >= 0)
        lane_made(lane);
}

static void take_first(struct lane *lane, const struct zy_reply *reply, int take_pidfd)
{
    if (take_pidfd < 0)
        return;
    lane->first = take_pidfd;
    lane->first_pid = reply->pid;
    ev_io_set(&lane->first_io, take_pidfd, EV_READ);
    ev_io_start(lane->nt->ev, &lane->first_io);
}

void warm_reply(struct lane *lane, const struct zy_reply *reply, int take_pidfd)
{
    enum native_stage stage = lane->state == LANE_BUSY ? lane->call->stage : STAGE_OVER;

    if (reply->word == ZY_MADE)
        take_first(lane, reply, take_pidfd);
    else if (take_pidfd >= 0)
        close(take_pidfd);
    if (reply->word == ZY_MADE || reply->word == ZY_READY) {
        is_there(lane, reply);
        return;
    }
    lane->is_broken |= reply->step != ZY_STEP_NONE && reply->step <= ZY_STEP_LAST_OF_LANE;
    if (reply->word == ZY_BEGAN && stage == STAGE_START)
        call_began(lane->call, reply, -1);
    else if (reply->word == ZY_ENDED && stage == STAGE_RUN && !lane->call->has_exited)
        call_exited(lane->call, exit_code_of(reply->status));
}
