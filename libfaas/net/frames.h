/* frames.h - a call's result on its way from the spawner to whoever waits: numbered frames under a
 * credit window (docs/PROTOCOL.md 4.5).
 * Message   one or more frames, each: 'F', version 1, header length (32), type, u32 payload length,
 *           u32 place, u32 number, 16 bytes call id (integers big-endian).  A reader skips header
 *           bytes past 32 and types it does not know.
 * Types     numbered stream (from 0): HEAD (JSON), STDOUT, STDERR (bytes), END (JSON).  Unnumbered
 *           control (number 0): TAKEN, ACCEPT, FAIL (JSON, to the caller's inbox), CREDIT (payload
 *           u32 window; number = next frame wanted; to the frames' reply subject).
 * Sizes     a payload is at most FAAS_FRAME_MAX; a message at most FAAS_FRAME_MAX plus headers.
 * Sender    keeps frames until credit passes them; sends at most `window` beyond the newest credit;
 *           sends again from the credited frame when a credit repeats, or after 300 ms of silence;
 *           END repeats until acknowledged (credit = END's number + 1) or give-up.  A window of 0
 *           holds it: only after 3 s without any credit one frame goes out, in case one was lost.
 *           An eager one begins with a window of FAAS_FRAME_WINDOW_EAGER, and sends what was written while the window has room, and lets it grow into
 *           larger frames while it has none.
 * Receiver  accepts frames of one (call id, place) in order, drops the rest, answers with credit;
 *           takes no frame beyond what its credits let come;
 *           holds stdout in memory up to 1 MiB, then in an unlinked file, or hands stdout and stderr
 *           on as they come; the first complete END wins.  The END's count and BLAKE2b-128 hash of
 *           stdout are checked.
 * Threads   all state belongs to the loop thread.
 */
#ifndef FAAS_FRAMES_H
#define FAAS_FRAMES_H

#include "base/id.h"
#include "base/json.h"
#include "base/loop.h"

#define FAAS_FRAME_MAX          (256 * 1024)
#define FAAS_FRAME_HEAD         32
#define FAAS_FRAME_WINDOW       16
#define FAAS_FRAME_WINDOW_EAGER 4  /* where bytes are handed on as they come */
#define FAAS_FRAME_HASH         33 /* text of BLAKE2b-128, with NUL */

enum faas_frame_type {
    FAAS_FRAME_HEAD_INFO = 1,
    FAAS_FRAME_STDOUT = 2,
    FAAS_FRAME_STDERR = 3,
    FAAS_FRAME_END = 4,
    FAAS_FRAME_CREDIT = 8,
    FAAS_FRAME_TAKEN = 16,
    FAAS_FRAME_ACCEPT = 17,
    FAAS_FRAME_FAIL = 18,
};
struct faas_frame {
    enum faas_frame_type type;
    uint32_t place, number;
    char id[FAAS_UUID_TEXT];
    const void *payload; /* borrowed */
    size_t len;
};

/* ---- codec ---- */
/* Writes header and payload to out (room for FAAS_FRAME_HEAD + len); returns the bytes written.  A
 * payload that stands at out + FAAS_FRAME_HEAD already is left there. */
size_t faas_frame_write(const struct faas_frame *frame, uint8_t *out);
/* Next frame at *pos of a message; *out_more false at its end.  INVALID: cut short, wrong magic
 * or version, too large. */
FAAS_MUST_CHECK faas_code faas_frame_next(const void *msg, size_t len, size_t *pos,
                                          struct faas_frame *out_frame, bool *out_more,
                                          faas_err *err);

/* ---- sender ---- */
typedef struct faas_frames_out faas_frames_out;
struct faas_frames_out_conf {
    faas_loop *loop;
    char id[FAAS_UUID_TEXT];
    uint32_t place;
    /* Sends one message (any failure is repaired by resending); loop thread.  Must not call back
     * into the sender. */
    void (*send)(void *arg, const void *msg, size_t len);
    /* Once: acknowledged (true) or given up (false).  The owner frees afterwards. */
    void (*done)(void *arg, bool is_acknowledged);
    void *arg;
    int64_t give_up_ms; /* after END without any credit for so long */
    /* Without credit for so long the first unacknowledged message is sent again; 0: 300. */
    int64_t silence_ms;
    int64_t held_ms;   /* the same, of a receiver whose window is 0; 0: 3,000 */
    int64_t repeat_ms; /* a repeated credit sends nothing again that left so lately; 0: 30 */
    bool is_eager;     /* bytes leave as they are written, as far as the window allows */
};
FAAS_MUST_CHECK faas_code faas_frames_out_new(const struct faas_frames_out_conf *conf,
                                              faas_frames_out **out, faas_err *err);
void faas_frames_out_free(faas_frames_out *out);
/* Queue bytes; frames are cut at FAAS_FRAME_MAX.  Small results leave in one message: nothing is
 * sent before flush or a full frame. */
FAAS_MUST_CHECK faas_code faas_frames_out_head(faas_frames_out *out, const json_t *head,
                                               faas_err *err);
FAAS_MUST_CHECK faas_code faas_frames_out_write(faas_frames_out *out, enum faas_frame_type type,
                                                const void *data, size_t len, faas_err *err);
/* Adds "stdout_bytes" and "hash" to end and sends everything the window allows. */
FAAS_MUST_CHECK faas_code faas_frames_out_end(faas_frames_out *out, json_t *end, faas_err *err);
void faas_frames_out_flush(faas_frames_out *out);
void faas_frames_out_credit(faas_frames_out *out, const struct faas_frame *credit);
/* Nobody wants the rest: done runs, unless it has. */
void faas_frames_out_give_up(faas_frames_out *out);
/* Bytes kept that are not acknowledged yet, a small frame counted as the memory it takes: the writer
 * stops reading its source above its own bound. */
size_t faas_frames_out_pending(const faas_frames_out *out);

/* ---- receiver ---- */
typedef struct faas_frames_in faas_frames_in;
enum faas_frames_state {
    FAAS_FRAMES_OPEN,
    FAAS_FRAMES_COMPLETE,
    FAAS_FRAMES_BROKEN /* hash or count wrong, or no room */
};
struct faas_frames_in_conf {
    char id[FAAS_UUID_TEXT];
    uint32_t place;        /* the only one listened to; 0: the first frame's */
    size_t memory_max;     /* 0: 1 MiB; beyond it stdout spills to an unlinked file */
    size_t stdout_max;     /* 0: 64 MiB */
    const char *spill_dir; /* NULL: /tmp */
    bool is_batched;       /* take sends no credit by itself: call faas_frames_in_credit after the
                              last frame of each message */
    void (*credit)(void *arg, const char *reply, const void *msg,
                   size_t len); /* send credit to reply */
    /* Takes the bytes of STDOUT and STDERR in order, instead of their being kept here; false: no
     * memory, the stream is broken.  NULL: stdout is kept, stderr dropped. */
    bool (*sink)(void *arg, enum faas_frame_type type, const void *data, size_t len);
    void *arg;
};
FAAS_MUST_CHECK faas_code faas_frames_in_new(const struct faas_frames_in_conf *conf,
                                             faas_frames_in **out_in, faas_err *err);
void faas_frames_in_free(faas_frames_in *in);
/* Take one stream frame that arrived with the given reply subject.  Frames of another place than
 * the first one's are dropped unless nothing was kept.  A broken receiver keeps nothing more, but
 * still answers, so that the sender comes to its end. */
enum faas_frames_state faas_frames_in_take(faas_frames_in *in, const struct faas_frame *frame,
                                           const char *reply);
/* With is_batched: send the credit that the frames taken since the last one ask for, if any. */
void faas_frames_in_credit(faas_frames_in *in, const char *reply);
/* How many frames the next credits let come; 0: none but those let come before, which are taken. */
void faas_frames_in_set_window(faas_frames_in *in, uint32_t window);
/* Sends a credit now, whether one is due or not. */
void faas_frames_in_remind(faas_frames_in *in, const char *reply);
const json_t *faas_frames_in_end(const faas_frames_in *in);  /* borrowed; NULL before COMPLETE */
const json_t *faas_frames_in_head(const faas_frames_in *in); /* borrowed; NULL before it came */
size_t faas_frames_in_bytes(const faas_frames_in *in);       /* stdout received */
bool faas_frames_in_is_text(const faas_frames_in *in);       /* all of it is valid UTF-8 */
/* stdout: memory (returns pointer, *out_fd -1) or a file (NULL, *out_fd: the caller's to close).
 * Once, after COMPLETE; the memory is the caller's (free). */
void *faas_frames_in_steal(faas_frames_in *in, size_t *out_len, int *out_fd);

#endif
