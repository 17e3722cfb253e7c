#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "job_internal.h"

#define WINDOW   2   /* frames that may come while the function has taken everything */
#define REMIND_S 0.5 /* of silence, until the credit is repeated */

struct job_input {
    job *job;
    faas_inbox *inbox;
    faas_frames_in *in;
    ev_timer remind;
    bool is_waiting; /* for the function to take what it was fed */
    bool is_dropped; /* it reads no more: the rest comes and goes */
};

/* The caller's inbox takes credits for its argument; their reply subject is where that goes. */
static void send_credit(void *arg, const char *reply, const void *msg, size_t len)
{
    struct job_input *input = arg;
    const struct faas_header headers[] = {{FAAS_H_PROTO, FAAS_PROTO}, {NULL, NULL}};
    const struct faas_out out = {
        .subject = input->job->inbox, .reply = reply, .headers = headers, .data = msg, .len = len};
    faas_err err = {0};

    if (faas_bus_publish(faas_rpc_bus(input->job->host->rpc), FAAS_DATA, &out, &err) != FAAS_OK)
        FAAS_LOG(DEBUG, "a credit was not sent", FAAS_LSTR("call", input->job->spec.id),
                 FAAS_LSTR("why", err.msg)); /* it is repeated */
}

static void ask(struct job_input *input)
{
    struct ev_loop *ev = faas_loop_ev(input->job->host->loop);

    faas_frames_in_set_window(input->in, input->is_waiting ? 0 : WINDOW);
    faas_frames_in_remind(input->in, faas_inbox_subject(input->inbox));
    ev_timer_again(ev, &input->remind);
}

static void on_remind(struct ev_loop *ev, ev_timer *timer, int events)
{
    (void)ev, (void)events;
    ask(timer->data);
}

static bool take(void *arg, enum faas_frame_type type, const void *data, size_t len)
{
    struct job_input *input = arg;
    job *self = input->job;

    if (type != FAAS_FRAME_STDOUT || input->is_dropped || self->run == NULL)
        return true;
    if (self->host->runtime->ops->feed(self->run, data, len))
        input->is_waiting = true;
    else
        input->is_dropped = true;
    return true;
}

/* All of it is here, or never will be. */
static void over(struct job_input *input, enum faas_frames_state state)
{
    job *self = input->job;

    ev_timer_stop(faas_loop_ev(self->host->loop), &input->remind);
    if (self->run == NULL)
        return;
    if (state == FAAS_FRAMES_COMPLETE) {
        (void)self->host->runtime->ops->feed(self->run, NULL, 0);
        return;
    }
    FAAS_LOG(ERROR, "an argument arrived damaged", FAAS_LSTR("call", self->spec.id));
    self->is_input_broken = true;
    self->host->runtime->ops->cancel(self->run);
}

static void on_message(void *arg, faas_msg *take_msg)
{
    FAAS_AUTO(faas_msg) *msg = take_msg;
    struct job_input *input = arg;
    enum faas_frames_state state = FAAS_FRAMES_OPEN;
    struct faas_frame frame;
    bool more = true;
    size_t pos = 0;
    faas_err err = {0};

    if (faas_msg_is_no_responders(msg))
        return; /* whoever had it is gone, or will be back: the reminder asks again */
    if (!ev_is_active(&input->remind)) { /* over: an END whose credit was lost comes again */
        ask(input);
        ev_timer_stop(faas_loop_ev(input->job->host->loop), &input->remind);
        return;
    }
    while (state == FAAS_FRAMES_OPEN &&
           faas_frame_next(faas_msg_data(msg), faas_msg_len(msg), &pos, &frame, &more, &err) ==
               FAAS_OK &&
           more)
        state = faas_frames_in_take(input->in, &frame, NULL);
    ask(input);
    if (state != FAAS_FRAMES_OPEN)
        over(input, state);
}

void job_input_fed(job *self)
{
    struct job_input *input = self->input;

    if (input == NULL || !input->is_waiting)
        return;
    input->is_waiting = false;
    if (ev_is_active(&input->remind))
        ask(input);
}

faas_code job_input_open(job *self, faas_err *err)
{
    struct job_input *input = calloc(1, sizeof *input);
    struct faas_frames_in_conf conf = {.place = self->spec.place,
                                       .credit = send_credit,
                                       .sink = take,
                                       .arg = input,
                                       .is_batched = true};

    if (input == NULL)
        return faas_fail_sys(err, ENOMEM, "an argument in pieces");
    self->input = input;
    input->job = self;
    ev_init(&input->remind, on_remind);
    input->remind.data = input;
    input->remind.repeat = REMIND_S;
    memcpy(conf.id, self->spec.id, sizeof conf.id);
    FAAS_TRY(faas_frames_in_new(&conf, &input->in, err));
    FAAS_TRY(faas_inbox_open(self->host->rpc, on_message, input, &input->inbox, err));
    ask(input);
    return FAAS_OK;
}

void job_input_close(job *self)
{
    struct job_input *input = self->input;

    if (input == NULL)
        return;
    self->input = NULL;
    ev_timer_stop(faas_loop_ev(self->host->loop), &input->remind);
    faas_inbox_close(input->inbox);
    faas_frames_in_free(input->in);
    free(input);
}
