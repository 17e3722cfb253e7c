/* The protocol of a call, as the programs speak it: one call of one gateway, two publishers, two
 * spawners.  README.md says what is left out and why; scripts/check-model runs it.  Each #ifdef is a
 * planted fault.
 * Time      A timer may run out in any state that has one: a message may always be later than that.
 *           So a process that was stopped and goes on is one that took no step for a while.
 * Messages  Flags, not queues: what is on its way arrives at any later moment, in any order. What
 *           would be ignored from then on for ever is taken away; so for an answer, an event or a
 *           frame, to be lost is to come after its receiver's timer. A question or a call that comes
 *           late still does something, so for these, without a bound, perhaps().
 * Numbers   n = (attempt - 1) * TRIES + try stands for Faas-Place = attempt * 256 + try. */

#ifndef DEATHS
#define DEATHS 1 /* of any process; the dead may come back, with a new epoch and no memory */
#endif
#ifndef ATTEMPTS
#define ATTEMPTS 2 /* of the gateway */
#endif
#ifndef TRIES
#define TRIES 2 /* of a publisher, for each attempt */
#endif
#ifndef ASKS
#define ASKS 2 /* about one placement */
#endif
#define LAST     4
#define FOREVER  255

byte runs;            /* how often the function was started */
byte answers;         /* how often the client was answered */
bool told_nothing;    /* ... with "nothing was started" */
byte deaths = DEATHS; /* that may still come */
bool is_placed;       /* spawners are alike until then, so the first one gets it */

/* What a fence is answered; NO_WORD: nothing yet, or too late. */
#define NO_WORD  0
#define NEVER    1
#define GOING_ON 2 /* publisher: "waiting", "running"; spawner: "running", "done" */
#define DONE     3
#define FOREIGN  4 /* by a process of another epoch */
#define NOBODY   5 /* nobody listens, or nobody at the moment */

/* ---- gateway: enum invoke_phase ---- */

#define SEARCH  0
#define SENT    1
#define TAKEN   2
#define RUNNING 3
#define SILENT  4 /* not a word of it: asked again and again */
#define LOST    5 /* waits for a last word */
#define OVER    6
byte phase, attempt, owner_epoch, fence_answer;
bool is_asking, has_spoken, asks_left = 1;
bool is_following; /* the attempt it is at says Faas-Lost */

/* From gateway to publisher, by attempt; back to it, for the attempt it is at. */
bool m_call[3], m_fence[3];
byte to[3], to_epoch[3]; /* to whom, as heartbeats named them: Faas-Epoch */
bool says_lost[3];       /* Faas-Lost */
bool m_taken, m_fail, m_lost, m_fail_unnumbered;
bool m_untaken; /* nobody took that call: NATS says so, or the process that it was not meant for */

/* ---- publishers: enum call_state, and the tomb ---- */

#define NONE    0
#define SEEKING 1 /* also RECEIVED, RESOLVING, WAITING: no spawner has it */
#define PLACING 2
#define FENCING 3
#define HELD    4 /* ACCEPTED, RUNNING */
typedef publisher_t {
    bool is_up, comes_back;
    byte epoch, state, attempt, tries, n, asks;
    bool was_placed;
    byte refuse_to;
}
publisher_t pub[2];

/* Placements by number: where to, and what is said of them.  m_none: by NATS, to whoever sent it:
 * this message was delivered to nobody. */
bool m_place[LAST + 1], m_ask[LAST + 1], m_accept[LAST + 1], m_busy[LAST + 1], m_end[LAST + 1];
bool m_none[LAST + 1];
byte place_at[LAST + 1], place_epoch[LAST + 1], ask_answer[LAST + 1];
bool m_frame_accept, m_frame_end; /* to the gateway, which asks for no number of them */

/* ---- spawners: enum job_stage, and the ledger ---- */

#define CHECKING 1
#define RUNS     2
#define TOLD     3 /* JOB_SENT */
typedef spawner_t {
    bool is_up, comes_back;
    byte epoch, job, n, fence; /* n: the newest it took */
    bool is_done, has_repeated;
}
spawner_t spa[2];

inline perhaps(flag)
{
    if
    :: flag = 1
    :: skip
    fi
}

/* ======== gateway ======== */

inline answer(is_nothing)
{
    answers++;
    assert(answers == 1); /* property 2 */
    if
    :: is_nothing -> told_nothing = 1; assert(runs == 0) /* property 3, and begin() */
    :: else
    fi;
    phase = OVER;
    is_asking = 0; has_spoken = 0; asks_left = 0; fence_answer = NO_WORD; owner_epoch = 0;
    m_taken = 0; m_fail = 0; m_lost = 0; m_untaken = 0; m_fail_unnumbered = 0; m_frame_accept = 0;
    attempt = 0; is_following = 0;
#ifndef END_COUNTED_TWICE
    m_frame_end = 0
#endif
}

inline send_attempt(i)
{
    attempt++;
    m_taken = 0; m_fail = 0; m_lost = 0; is_asking = 0; fence_answer = NO_WORD;
#ifndef UNTAKEN_WITHOUT_NUMBER
    m_untaken = 0;
#endif
    to[attempt] = i;
    owner_epoch = pub[i].epoch;
    if /* heartbeats may be of the process before */
    :: pub[i].epoch > 0 -> owner_epoch = pub[i].epoch - 1
    :: skip
    fi;
    to_epoch[attempt] = owner_epoch; says_lost[attempt] = is_following;
    if
    :: m_call[attempt] = 1
    :: m_untaken = 1 /* also where somebody listens: servers tell each other of it late */
    :: skip
    fi;
    phase = SENT
}

/* Its owner is gone, and it may have begun: another process is asked, which knows the function. */
inline follow(i)
{
    is_following = 1; is_asking = 0; has_spoken = 0; m_frame_accept = 0;
    send_attempt(i)
}

inline on_state()
{
    is_asking = 0; fence_answer = NO_WORD;
    if
    :: state == NEVER && (phase == SENT || phase == SILENT) -> phase = SEARCH
    :: else ->
        if
        :: has_spoken || phase == LOST || phase == RUNNING
        :: else ->
            if
            :: state == GOING_ON && asks_left -> asks_left = 0; phase = TAKEN
            :: state == GOING_ON && !asks_left -> answer(0)
            :: state != GOING_ON && state != DONE && phase != TAKEN -> phase = SILENT
            :: else -> phase = LOST
            fi
        fi
    fi;
    has_spoken = 0; state = NO_WORD
}

proctype gateway()
{
    byte state;
end:
    do
    :: atomic { phase == SEARCH && attempt < ATTEMPTS -> send_attempt(0) }
    :: atomic { phase == SEARCH && attempt < ATTEMPTS && attempt > 0 -> send_attempt(1) }
    :: atomic { phase == SEARCH -> answer(!is_following) } /* searched long enough */
    /* From SILENT at once where the next publisher says that the function may run again; of one that
     * may not it would only say that it is lost. */
    :: atomic { (phase == LOST || phase == SILENT) && !is_following && attempt < ATTEMPTS && to[attempt] != 0 -> follow(0) }
    :: atomic { (phase == LOST || phase == SILENT) && !is_following && attempt < ATTEMPTS && to[attempt] != 1 -> follow(1) }

    :: atomic { (phase == SENT || phase == TAKEN || phase == SILENT) && !is_asking -> /* silence, or it died */
        is_asking = 1;
        perhaps(m_fence[attempt]) }
    :: atomic { is_asking && fence_answer != NO_WORD ->
        state = fence_answer;
        on_state() }
    :: atomic { is_asking && fence_answer == NO_WORD -> /* no answer in time */
#ifdef SENT_AGAIN_WITHOUT_FENCE
        state = NEVER;
#endif
        on_state() }
    :: atomic { phase == TAKEN || phase == RUNNING || phase == SILENT -> phase = LOST } /* it died; its time is up */
    :: atomic { phase == LOST -> answer(0) }

    :: atomic { phase < OVER && m_taken ->
        m_taken = 0;
        if
        :: phase == SENT || phase == TAKEN || phase == SILENT -> phase = TAKEN; has_spoken = is_asking
        :: else
        fi }
    :: atomic { phase < OVER && m_frame_accept ->
        m_frame_accept = 0;
        if
        :: is_following /* of the attempt before */
        :: else -> phase = RUNNING; has_spoken = is_asking
        fi }
    :: atomic { phase < OVER && m_untaken ->
        m_untaken = 0;
        if
        :: phase == SENT || phase == SILENT || phase == LOST ->
            phase = SEARCH; is_asking = 0; has_spoken = 0; fence_answer = NO_WORD
        :: else
        fi }
#ifdef FOLLOWER_STARTED_NOTHING
    :: atomic { phase < OVER && m_fail -> answer(1) }
#else
    :: atomic { phase < OVER && m_fail -> answer(!is_following) }
#endif
    :: atomic { phase < OVER && m_fail_unnumbered -> answer(1) }
    :: atomic { phase < OVER && m_lost -> answer(0) }
    :: atomic {
#ifndef END_COUNTED_TWICE
        phase < OVER &&
#endif
        m_frame_end ->
        m_frame_end = 0;
        if
        :: is_following /* of the attempt before */
        :: else ->
            assert(runs == 1); /* property 4 */
            answer(0)
        fi }
    od
}

/* ======== publishers ======== */

#define P pub[i]

inline forget_placement() /* what comes of it now is of another number */
{
    if
    :: P.n > 0 ->
        m_accept[P.n] = 0; m_busy[P.n] = 0; m_end[P.n] = 0; ask_answer[P.n] = 0;
#ifndef NOBODY_WITHOUT_NUMBER
        m_none[P.n] = 0
#endif
    :: else
    fi;
    P.n = 0; P.asks = 0
}

/* FAIL, of the attempt as the publisher knows it; the gateway drops those of older ones. */
inline fail(flag)
{
    if
    :: phase < OVER && attempt == P.attempt -> flag = 1
    :: else
    fi
}

inline bury(number, placed)
{
    if
    :: number > P.refuse_to -> P.refuse_to = number
    :: else
    fi;
    P.was_placed = P.was_placed || placed
}

inline leave(number, placed)
{
    forget_placement();
    bury(number, placed);
    P.state = NONE; P.attempt = 0; P.tries = 0
}

inline refuse()
{
    fail(m_fail);
    leave(P.attempt * TRIES, 0)
}

inline lose()
{
    fail(m_lost);
    leave(FOREVER, 1)
}

inline on_call(a)
{
    m_call[a] = 0;
    epoch = to_epoch[a]; to_epoch[a] = 0;
    if
    :: !P.is_up
#ifndef CALL_WITHOUT_EPOCH
    :: P.is_up && P.epoch != epoch ->
        if
        :: phase < OVER && attempt == a -> m_untaken = 1
        :: else
        fi
#endif
    :: else ->
        if
        :: P.state != NONE ->
            if
            :: a > P.attempt -> P.attempt = a
            :: else
            fi;
            fail(m_taken)
#ifndef FOLLOWER_PLACES
        :: P.state == NONE && a * TRIES > P.refuse_to && says_lost[a] ->
            P.attempt = a;
            if
            :: true -> fail(m_lost); bury(a * TRIES, 0)
            :: true -> fail(m_fail) /* no room even to look */
            fi;
            P.attempt = 0
        :: P.state == NONE && a * TRIES > P.refuse_to && !says_lost[a] ->
#else
        :: P.state == NONE && a * TRIES > P.refuse_to ->
#endif
            if
            :: P.state = SEEKING; P.attempt = a; P.tries = 0; fail(m_taken)
            :: /* no room even to enter it: no tomb */
               P.attempt = a;
#ifdef REFUSED_WITHOUT_NUMBER
               if :: phase < OVER -> m_fail_unnumbered = 1 :: else fi;
#else
               fail(m_fail);
#endif
               P.attempt = 0
            fi
        :: else /* ended or fenced: not a word */
        fi
    fi;
    epoch = 0
}

inline on_fence(a)
{
    m_fence[a] = 0;
    if
    :: !P.is_up
    :: else ->
        answered = GOING_ON;
        if
        :: P.state != NONE
        :: P.state == NONE && P.was_placed ->
            answered = DONE;
            P.attempt = a; fail(m_lost); P.attempt = 0 /* kept and sent once more */
        :: else ->
            answered = NEVER;
#ifndef PUBLISHER_FENCE_FORGETS
            bury(a * TRIES, 0)
#endif
        fi;
        if
        :: is_asking && attempt == a && fence_answer == NO_WORD ->
#ifndef GATEWAY_TRUSTS_ANY_EPOCH
            if
            :: answered == NEVER && P.epoch != owner_epoch -> answered = FOREIGN
            :: else
            fi;
#endif
            fence_answer = answered
        :: else
        fi;
        answered = NO_WORD
    fi
}

inline place(j)
{
    P.tries++;
    P.n = (P.attempt - 1) * TRIES + P.tries;
    place_at[P.n] = j; place_epoch[P.n] = spa[j].epoch;
    if /* heartbeats may be of the process before */
    :: spa[j].epoch > 0 -> place_epoch[P.n] = spa[j].epoch - 1
    :: skip
    fi;
    if
    :: m_place[P.n] = 1
    :: m_none[P.n] = 1
    :: skip
    fi;
    P.state = PLACING; is_placed = 1
}

inline on_ask_answer()
{
    answered = ask_answer[P.n];
    ask_answer[P.n] = NO_WORD;
    if
    :: answered == NEVER -> forget_placement(); P.state = SEEKING
    :: answered == GOING_ON -> P.state = HELD
    :: answered == FOREIGN -> lose()
    :: answered == NOBODY ->
#ifdef NOBODY_MEANS_NEVER
        forget_placement(); P.state = SEEKING
#else
        skip /* asked again, until it answers or is found dead */
#endif
    fi;
    answered = NO_WORD
}

#ifdef NOBODY_WITHOUT_NUMBER
#define is_number(number) true
#else
#define is_number(number) P.n == number
#endif

/* The events of placement n, if they are its publisher's still. */
#define EVENTS(number)                                                                             \
    :: atomic { (P.state == PLACING || P.state == FENCING) && P.n == number && m_accept[number] -> \
        m_accept[number] = 0; P.state = HELD }                                                     \
    :: atomic { (P.state == PLACING || P.state == FENCING) && P.n == number && m_busy[number] ->   \
        forget_placement(); P.state = SEEKING }                                                    \
    :: atomic { (P.state == PLACING || P.state == FENCING) && is_number(number) && m_none[number] -> \
        m_none[number] = 0; forget_placement(); P.state = SEEKING }                                \
    :: atomic { P.state >= PLACING && P.n == number && m_end[number] -> leave(FOREVER, 1) }

proctype publisher(byte i)
{
    byte answered, epoch;
end:
    do
    :: atomic { m_call[1] && to[1] == i -> on_call(1) }
    :: atomic { m_call[2] && to[2] == i -> on_call(2) }
    :: atomic { m_fence[1] && to[1] == i -> on_fence(1) }
    :: atomic { m_fence[2] && to[2] == i -> on_fence(2) }

    :: atomic { P.state == SEEKING && P.tries < TRIES -> place(0) }
    :: atomic { P.state == SEEKING && P.tries < TRIES && is_placed -> place(1) }
    :: atomic { P.state == SEEKING -> refuse() } /* no room, given up, all refused */

    :: atomic { P.state == PLACING -> /* silence */
#ifdef PLACED_AGAIN_WITHOUT_FENCE
        forget_placement(); P.state = SEEKING
#else
        P.state = FENCING
#endif
        }
    :: atomic { P.state == FENCING && P.asks < ASKS && !m_ask[P.n] ->
        P.asks++;
        perhaps(m_ask[P.n]) }
    :: atomic { P.state == FENCING && ask_answer[P.n] != NO_WORD -> on_ask_answer() }
    :: atomic { P.state >= PLACING -> lose() } /* DIED, TIME_UP */
    EVENTS(1) EVENTS(2) EVENTS(3) EVENTS(4)
    od
}

/* ======== spawners ======== */

#define S spa[j]
/* Would the publisher that placed it still listen? */
#define is_heard(x)  (pub[0].n == x || pub[1].n == x)
#define is_asked(x)  ((pub[0].n == x && pub[0].state == FENCING) || (pub[1].n == x && pub[1].state == FENCING))

inline event(flag, number)
{
    if
    :: is_heard(number) -> flag = 1
    :: else
    fi
}

inline frame(flag)
{
#ifdef END_COUNTED_TWICE
    flag = 1
#else
    if
    :: phase < OVER -> flag = 1
    :: else
    fi
#endif
}

inline on_place(number)
{
    m_place[number] = 0;
    if
    :: !S.is_up
    :: S.is_up && (S.job != NONE || place_epoch[number] != S.epoch || S.is_done ||
#ifdef SPAWNER_TAKES_FENCED
                   number < S.fence) ->
#else
                   number <= S.fence) ->
#endif
        event(m_busy[number], number)
    :: else ->
        if
        :: S.job = CHECKING; S.n = number
        :: event(m_busy[number], number) /* full, stale, draining, no image */
        fi
    fi
}

inline on_ask(number)
{
    m_ask[number] = 0;
    if
    :: said = NOBODY /* dead, or without a connection for a moment */
    :: S.is_up ->
        if
        :: S.job == RUNS || S.job == TOLD || S.is_done -> said = GOING_ON
        :: else ->
#ifndef SPAWNER_FENCE_FORGETS
            if
            :: number > S.fence -> S.fence = number
            :: else
            fi;
#endif
            if
            :: S.job == CHECKING && S.n > number -> said = GOING_ON
            :: else ->
                said = NEVER;
#ifndef FENCE_WITHDRAWS_NOTHING
                S.job = NONE; S.n = 0
#endif
            fi
        fi;
        if
        :: place_epoch[number] != S.epoch -> said = FOREIGN
        :: else
        fi
    fi;
    if
    :: is_asked(number) -> ask_answer[number] = said
    :: else
    fi;
    said = NO_WORD
}

inline begin()
{
    runs++;
    assert(runs == 1);     /* property 1 */
    assert(!told_nothing); /* property 3 */
    S.job = RUNS;
    event(m_accept[S.n], S.n);
    frame(m_frame_accept)
}

inline end_job()
{
    event(m_end[S.n], S.n);
    frame(m_frame_end)
}

/* Only where the END before is gone; it ended whoever took it. */
#ifdef END_COUNTED_TWICE
#define can_repeat !m_frame_end
#else
#define can_repeat                                                                                 \
    ((is_heard(S.n) && !m_end[S.n]) || (phase < OVER && !m_frame_end))
#endif

proctype spawner(byte j)
{
    byte said;
end:
    do
    :: atomic { m_place[1] && place_at[1] == j -> on_place(1) }
    :: atomic { m_place[2] && place_at[2] == j -> on_place(2) }
    :: atomic { m_place[3] && place_at[3] == j -> on_place(3) }
    :: atomic { m_place[4] && place_at[4] == j -> on_place(4) }
    :: atomic { m_ask[1] && place_at[1] == j -> on_ask(1) }
    :: atomic { m_ask[2] && place_at[2] == j -> on_ask(2) }
    :: atomic { m_ask[3] && place_at[3] == j -> on_ask(3) }
    :: atomic { m_ask[4] && place_at[4] == j -> on_ask(4) }
    :: atomic { S.job == CHECKING -> begin() }
    :: atomic { S.job == CHECKING -> S.job = NONE; event(m_busy[S.n], S.n); S.n = 0 }
    :: atomic { S.job == RUNS -> S.job = TOLD; S.is_done = 1; end_job() }
    :: atomic { S.job == TOLD && !S.has_repeated && can_repeat ->
        S.has_repeated = 1; end_job() }
    :: atomic { S.job == TOLD -> S.job = NONE; S.has_repeated = 0 } /* acknowledged, or given up */
    od
}

/* ======== death, and the last look ======== */

inline spawner_dies()
{
    deaths--;
    S.is_up = 0;
    perhaps(S.comes_back);
    S.job = NONE; S.n = 0; S.fence = 0; S.is_done = 0; S.has_repeated = 0
}

inline publisher_dies()
{
    deaths--;
    P.is_up = 0;
    perhaps(P.comes_back);
    forget_placement();
    P.state = NONE; P.attempt = 0; P.tries = 0; P.refuse_to = 0; P.was_placed = 0
}

proctype death(byte i; byte j) /* of publisher i and spawner j */
{
end:
    do
#ifndef NO_SPAWNER_DIES
    :: atomic { deaths > 0 && S.is_up -> spawner_dies() }
#endif
#ifndef NO_PUBLISHER_DIES
    :: atomic { deaths > 0 && P.is_up -> publisher_dies() }
#endif
    :: atomic { S.comes_back -> S.comes_back = 0; S.epoch++; S.is_up = 1 }
    :: atomic { P.comes_back -> P.comes_back = 0; P.epoch++; P.is_up = 1 }
    od
}

init
{
    atomic {
        pub[0].is_up = 1; pub[1].is_up = 1; spa[0].is_up = 1; spa[1].is_up = 1;
        run gateway(); run publisher(0); run publisher(1); run spawner(0); run spawner(1);
        run death(0, 0); run death(1, 1)
    }
    timeout -> /* nothing can happen any more */
    assert(answers == 1);                                          /* property 2 */
    assert(pub[0].state == NONE && pub[1].state == NONE);          /* property 5 */
    assert(spa[0].job == NONE && spa[1].job == NONE)
}
