/* history_internal.h - what history.c (notes) and history_send.c (files and the stream) share.
 * Road      text (being filled) -> blocks (whole, in memory) -> the spool, by a turn on the pool ->
 *           the stream, one chunk at a time -> confirmed in the spool by the next turn.  While the
 *           spool cannot be written blocks go to the stream straight from memory.
 * Turn      a job on the pool that writes blocks, confirms, and brings the next chunk; at most one
 *           at a time, so the spool has one user.
 * Lifetime  counted: by its owner and by each job and answer that is on its way.
 * Threads   the loop's, but for what a turn has in its hands.
 */
#ifndef PUBLISHER_HISTORY_INTERNAL_H
#define PUBLISHER_HISTORY_INTERNAL_H

#include "history.h"
#include "history_text.h"
#include "spool.h"

struct history_block {
    STAILQ_ENTRY(history_block) link;
    size_t len;
    uint32_t records;
    char *data; /* owned */
};
STAILQ_HEAD(history_blocks, history_block);

struct history_turn { /* the job's from its submission to its post */
    struct faas_post post;
    bool is_running;
    struct history_blocks blocks; /* to be written; what is left could not be */
    size_t bytes;                 /* in them */
    bool wants_chunk, wants_orphans, is_confirming, wants_sync;
    bool has_chunk;
    struct spool_chunk chunk;
    int sync_fd;
    struct spool_counts counts;
    faas_err err; /* why writing failed; code OK: it did not */
};

struct history {
    struct history_conf conf;
    int refs;
    bool is_stopped;
    faas_kv *log;
    struct spool *spool; /* the turn's; NULL: there is none */
    struct history_text text;
    uint32_t text_records;
    struct history_blocks blocks; /* not given to a turn yet */
    size_t bytes;                 /* in blocks and in text */
    TAILQ_HEAD(, history_live) opening;
    ev_timer tick;  /* while there is something to do */
    ev_timer adopt; /* orphans are looked for */
    struct history_turn turn;

    enum { HISTORY_UNMADE, HISTORY_MAKING, HISTORY_MADE } stream;
    uint64_t make_ns, write_ns;  /* not before: to make the stream, to write again */
    struct spool_chunk sending;  /* id "" : nothing is on its way */
    bool is_direct;              /* that chunk is not of the spool */
    bool is_confirmed;           /* the spool is to be told */
    bool may_have_more;          /* the spool was not empty when it was asked last */
    bool is_syncing, is_written; /* is_written: since the last sync began */
    uint64_t synced_ns, told_ns; /* told_ns: the log, of trouble */
    uint64_t direct_count;
    char token[33];             /* of chunks that are sent from memory */
    uint64_t dropped;           /* records, for whatever reason */
    struct spool_counts counts; /* as the spool had them last */
};

void history_wake(struct history *self);       /* there is something to do */
void history_close_text(struct history *self); /* what it holds becomes a block */
void history_advance(struct history *self);    /* turn, stream, sync: whatever is due */
bool history_has_work(const struct history *self);
void history_unref(struct history *self);
void history_drop(struct history *self, uint64_t records);
/* Blocking; the loop and the pool have stopped. */
void history_flush(struct history *self);

#endif
