/* invoke_internal.h - one call inside the gateway, shared by invoke*.c.
 * Files     invoke.c moves a call along; invoke_frames.c reads what it is told; invoke_owner.c chooses its publisher; invoke_open.c makes it
 *           from a request; invoke_ask.c asks and cancels; invoke_answer.c turns its outcome into an
 *           HTTP answer; invoke_stream.c hands on its output as it comes; invoke_input.c sends a
 *           large argument to whoever runs it.
 */
#ifndef GATEWAY_INVOKE_INTERNAL_H
#define GATEWAY_INVOKE_INTERNAL_H

#include "base/name.h"
#include "contract.h"
#include "gateway/invoke.h"
#include "gateway/params.h"
#include "gateway/problem.h"
#include "net/frames.h"

#define INVOKE_TRIED  8 /* owners remembered as not listening */
#define INVOKE_LOSSES 2 /* owners that may die with it before it is given up */

struct peer {
    char id[40];
    char epoch[33]; /* "" until known */
};

#define INVOKE_OLDER                                                                               \
    "the function's publisher is of an older release, which calls the newest version alone; "      \
    "nothing "                                                                                     \
    "was started, try again once it has been replaced"

#define INVOKE_NO_INPUT                                                                            \
    "the function's publisher is of an older release, which takes arguments of at most 1 MiB; "    \
    "nothing was started, try again once it has been replaced"

struct ask; /* a question under way, see invoke_ask.c */

struct invoke {
    TAILQ_ENTRY(invoke) link;
    struct gateway *gw;
    http_exchange *x;
    char key[FAAS_UUID_TEXT + FAAS_FUNCTION_NAME_MAX + 1]; /* whose owner is looked for */
    char *function;                                        /* as it was named */
    bool is_picked;                                        /* a version or an alias was named */
    void *envelope;
    size_t envelope_len;

    enum invoke_phase {
        INVOKE_SEARCH,  /* for an owner that listens */
        INVOKE_SENT,    /* to owner; no word yet */
        INVOKE_SILENT,  /* nor an answer: it is asked again and again until silent_until_ns */
        INVOKE_TAKEN,   /* by owner */
        INVOKE_RUNNING, /* accepted by spawner */
        INVOKE_LOST,    /* somebody died: a last word may be on its way */
        INVOKE_LEAVING  /* the client left; cancels are under way */
    } phase;
    uint32_t attempt;
    struct peer owner, spawner;
    /* The publisher's tries, the low bytes of places; 0: none.  Up to the one it has given up they
     * count no more. */
    uint32_t accepted_try, given_up_try;
    char tried[INVOKE_TRIED][40];
    size_t tried_count;
    char lost_with[INVOKE_LOSSES][33]; /* epochs of owners that died when it may have begun */
    size_t losses;
    int64_t version; /* that runs, as its publisher or spawner said; 0: not heard of */
    faas_inbox *inbox;
    faas_frames_in *in;
    ev_timer timer;
    uint64_t sent_ns, accepted_ns; /* sent_ns: the first time */
    uint64_t search_until_ns, silent_until_ns;
    bool may_run_again; /* says the publisher that would be next */
    int asks_left;      /* before a silent peer's call counts as lost */
    TAILQ_HEAD(, ask) asks;

    int64_t input_bytes;        /* of an argument that goes in frames of its own; 0: none does */
    struct invoke_input *input; /* NULL: nobody asked for it yet */

    bool is_going_on;     /* when its client has left */
    enum gw_stream shape; /* of the answer; what follows is for the other ones than GW_WHOLE */
    bool has_begun;       /* the head of the answer has left */
    bool is_left;         /* by its client; the call goes on */
    bool is_torn;         /* it would begin anew after a part of its output has left */
    ev_timer quiet;       /* active: events have begun */
    ev_timer remind;      /* active: the client's room is used up */
    char credit_to[FAAS_SUBJECT_MAX];
};

/* ---- invoke_open.c ---- */
FAAS_MUST_CHECK faas_code invoke_new(struct gateway *gw, http_exchange *x,
                                     struct invoke **out_invoke, faas_err *err);
void invoke_free(struct invoke *inv);

/* ---- invoke.c ---- */
enum invoke_state { INVOKE_NEVER, INVOKE_GOING_ON, INVOKE_DONE, INVOKE_NO_WORD };
/* The receiver of a result; in place of the one before, which is dropped. */
FAAS_MUST_CHECK faas_code invoke_receive(struct invoke *inv, faas_err *err);
void invoke_on_state(struct invoke *inv, enum invoke_state state); /* the answer to a fence */
void invoke_on_may_run(struct invoke *inv);   /* the next publisher would run it again */
void invoke_on_cancelled(struct invoke *inv); /* all cancels were answered */
void invoke_on_client_gone(http_exchange *x);
void invoke_arm(struct invoke *inv, int64_t ms); /* the next word is due */
/* What came so far counts no more; false: no memory. */
bool invoke_begin_anew(struct invoke *inv, uint32_t given_up_try);

/* ---- invoke_frames.c ---- */
enum invoke_outcome {
    INVOKE_GOES_ON,
    INVOKE_COMPLETE,
    INVOKE_BROKEN,
    INVOKE_FAILED,
    INVOKE_UNTAKEN,
    INVOKE_TORN
};
/* The frames of one message; *out_last is the one that decided. */
enum invoke_outcome invoke_take_message(struct invoke *inv, const faas_msg *msg,
                                        struct faas_frame *out_last);
void invoke_await_frames(struct invoke *inv); /* they may come again */

/* ---- invoke_owner.c ---- */
const struct faas_member *invoke_next_owner(const struct invoke *inv); /* NULL: nobody now */
/* NULL: nobody now.  Were the owner lost: */
const struct faas_member *invoke_follower(const struct invoke *inv);
bool invoke_is_owner_heard(const struct invoke *inv);                        /* its heartbeats */
FAAS_MUST_CHECK faas_code invoke_publish(struct invoke *inv, faas_err *err); /* to its owner */

/* ---- invoke_ask.c ---- */
void invoke_ask_state(struct invoke *inv);
void invoke_ask_follower(struct invoke *inv); /* may it run again? */
void invoke_leave_owner(struct invoke *inv); /* if it lives, it need do nothing more for the call */
bool invoke_cancel(
    struct invoke *inv); /* false: nobody to tell, invoke_on_cancelled is not called */
void invoke_forget_asks(struct invoke *inv);

/* ---- invoke_answer.c: the exchange is answered, inv is still the caller's ---- */
void invoke_answer_end(struct invoke *inv);
/* The Content-Type that a HEAD or END names; false: it names none. */
bool invoke_answer_type(struct invoke *inv, const json_t *said);
void invoke_answer_fail(struct invoke *inv, const struct faas_frame *frame);
void invoke_answer_err(struct invoke *inv, const faas_err *err, bool may_have_run);

/* ---- invoke_input.c ---- */
/* A credit for the argument's frames, from the spawner that has the place. */
void invoke_input_credit(struct invoke *inv, const struct faas_frame *credit, const char *reply);
void invoke_input_free(struct invoke_input *input); /* NULL is fine */

/* ---- invoke_stream.c ---- */
void invoke_stream_start(struct invoke *inv);
void invoke_stream_stop(struct invoke *inv);
bool invoke_stream_is_full(struct invoke *inv);
/* The sink of the frames. */
bool invoke_stream_take(void *arg, enum faas_frame_type type, const void *data, size_t len);
void invoke_stream_credit(struct invoke *inv, const char *reply);
/* The call has ended: with END (NULL: there is none), badly with a problem.  False: nothing of an
 * answer has left, so it is made as of any call. */
bool invoke_stream_close(struct invoke *inv, const json_t *end, const struct problem *problem);

#endif
