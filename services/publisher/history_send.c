/* From memory to the spool and from there to the stream. */
#include "history_internal.h"

#include "metrics.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define AGAIN_MS    1000 /* after a failure */
#define MAKE_MS     10000
#define APPEND_MS   5000
#define TELL_S      10 /* between two lines of the log about the same trouble */
#define BLOCK_BYTES (64 * 1024)

/* ---- blocks ---- */

static void block_free(struct history_block *block)
{
    free(block->data);
    free(block);
}

static struct history_block *take_first(struct history_blocks *blocks)
{
    struct history_block *block = STAILQ_FIRST(blocks);

    if (block != NULL)
        STAILQ_REMOVE_HEAD(blocks, link);
    return block;
}

static void trouble(struct history *self, const char *what, const faas_err *err)
{
    uint64_t now = faas_now_ns();

    if (self->told_ns != 0 && now < self->told_ns + TELL_S * FAAS_S_NS)
        return;
    self->told_ns = now;
    FAAS_LOG(WARN, what, FAAS_LSTR("msg", err->msg), FAAS_LSTR("detail", err->detail),
             FAAS_LINT("dropped", (int64_t)self->dropped));
}

void history_drop(struct history *self, uint64_t records)
{
    faas_err err = {0};

    self->dropped += records;
    metric_add(M_RECORDS_DROPPED, (int64_t)records);
    (void)faas_fail(&err, FAAS_BUSY, "neither the disk nor the stream takes records");
    trouble(self, "records of calls were dropped", &err);
}

/* In memory the oldest go first, too. */
static void keep_bound(struct history *self)
{
    struct history_block *block;

    while (self->bytes + self->turn.bytes > HISTORY_BUFFER_MAX &&
           (block = take_first(&self->blocks)) != NULL) {
        self->bytes -= block->len;
        history_drop(self, block->records);
        block_free(block);
    }
}

void history_close_text(struct history *self)
{
    struct history_block *block;

    if (self->text.len == 0)
        return;
    block = calloc(1, sizeof *block);
    if (block == NULL) {
        self->bytes -= self->text.len;
        self->text.len = 0;
        history_drop(self, self->text_records);
    } else {
        *block = (struct history_block){
            .len = self->text.len, .records = self->text_records, .data = self->text.data};
        self->text = (struct history_text){0};
        STAILQ_INSERT_TAIL(&self->blocks, block, link);
        keep_bound(self);
    }
    self->text_records = 0;
}

/* ---- the turn, on the pool ---- */

static void write_blocks(struct history *self, struct history_turn *turn)
{
    struct history_block *block;

    while ((block = STAILQ_FIRST(&turn->blocks)) != NULL) {
        if (spool_write(self->spool, block->data, block->len, block->records, &turn->err) !=
            FAAS_OK)
            return;
        STAILQ_REMOVE_HEAD(&turn->blocks, link);
        turn->bytes -= block->len;
        block_free(block);
    }
}

static void on_turn_done(void *arg);

static void run_turn(void *arg)
{
    struct history *self = arg;
    struct history_turn *turn = &self->turn;
    faas_err err = {0};

    if (turn->is_confirming)
        spool_confirm(self->spool);
    write_blocks(self, turn);
    if (turn->wants_orphans && spool_adopt(self->spool, &err) != FAAS_OK &&
        turn->err.code == FAAS_OK)
        turn->err = err;
    if (turn->wants_chunk)
        turn->has_chunk = spool_next(self->spool, &turn->chunk, &err) == FAAS_OK;
    if (turn->wants_sync)
        turn->sync_fd = spool_sync_fd(self->spool);
    spool_counts(self->spool, &turn->counts);
    faas_loop_post_with(self->conf.rt->loop, &turn->post, on_turn_done, self);
}

/* ---- sync, on the pool beside turns: a disk that is slow to sync keeps nothing out of its file ---- */

struct sync {
    struct history *self;
    int fd;
    faas_err err;
};

static void on_synced(void *arg)
{
    FAAS_AUTO(void) *owned = arg;
    struct sync *sync = arg;
    struct history *self = sync->self;

    self->is_syncing = false;
    if (sync->err.code != FAAS_OK)
        trouble(self, "records of calls could not be synced", &sync->err);
    history_wake(self);
    history_unref(self);
}

static void run_sync(void *arg)
{
    struct sync *sync = arg;

    if (fdatasync(sync->fd) != 0)
        (void)faas_fail_sys(&sync->err, errno, "sync the spool");
    close(sync->fd);
    faas_loop_post(sync->self->conf.rt->loop, on_synced, sync);
}

static void start_sync(struct history *self, int fd)
{
    struct sync *sync = calloc(1, sizeof *sync);
    faas_err err = {0};

    self->synced_ns = faas_now_ns();
    if (sync != NULL) {
        *sync = (struct sync){.self = self, .fd = fd};
        if (faas_pool_submit(self->conf.rt->pool, run_sync, sync, &err) == FAAS_OK) {
            self->is_syncing = true;
            self->refs++;
            return;
        }
    }
    free(sync);
    close(fd);
    self->is_written = true; /* the next one syncs this, too */
}

/* ---- the stream ---- */

static void on_made(void *arg, faas_code code, const struct faas_kv_entry *entry,
                    const faas_err *err)
{
    struct history *self = arg;

    (void)entry;
    self->stream = code == FAAS_OK ? HISTORY_MADE : HISTORY_UNMADE;
    self->make_ns = faas_deadline_in_ms(AGAIN_MS);
    if (code != FAAS_OK)
        trouble(self, "the stream of call records cannot be made yet", err);
    history_wake(self);
    history_unref(self);
}

static void make(struct history *self)
{
    const struct faas_kv_bounds bounds = {.replicas = self->conf.rt->replicas,
                                          .max_bytes = self->conf.stream_mb << 20,
                                          .max_age_ms = self->conf.age_h * 3600 * 1000};

    self->stream = HISTORY_MAKING;
    self->refs++;
    faas_kv_make_log_async(self->log, &bounds, faas_deadline_in_ms(MAKE_MS), on_made, self);
}

static void take_back(struct history *self)
{
    struct history_block *block = calloc(1, sizeof *block);

    if (block == NULL) {
        history_drop(self, self->sending.records);
        spool_chunk_done(&self->sending);
        return;
    }
    *block = (struct history_block){.len = self->sending.len,
                                    .records = self->sending.records,
                                    .data = FAAS_STEAL(self->sending.data)};
    self->bytes += block->len;
    STAILQ_INSERT_HEAD(&self->blocks, block, link);
    spool_chunk_done(&self->sending);
    keep_bound(self);
}

static void on_appended(void *arg, faas_code code, const struct faas_kv_entry *entry,
                        const faas_err *err)
{
    struct history *self = arg;

    (void)entry;
    if (code == FAAS_OK) {
        metric_add(M_RECORDS_SENT, self->sending.records);
        self->is_confirmed = !self->is_direct;
        spool_chunk_done(&self->sending);
    } else {
        trouble(self, "call records cannot be sent yet", err);
        /* Perhaps there is no stream any more. */
        self->stream = HISTORY_UNMADE;
        self->make_ns = faas_deadline_in_ms(AGAIN_MS);
        if (self->is_direct)
            take_back(self);
        else
            spool_chunk_done(&self->sending);
        self->may_have_more = true;
    }
    if (!self->is_stopped)
        history_advance(self);
    history_unref(self);
}

static void send_chunk(struct history *self)
{
    const struct faas_kv_item item = {.key = self->conf.rt->id,
                                      .id = self->sending.id,
                                      .value = self->sending.data,
                                      .len = self->sending.len};

    self->refs++;
    faas_kv_append_async(self->log, &item, faas_deadline_in_ms(APPEND_MS), on_appended, self);
}

static bool is_sending(const struct history *self)
{
    return self->sending.id[0] != '\0';
}

/* A block as it is in memory: its file cannot be written. */
static void send_directly(struct history *self)
{
    struct history_block *block = take_first(&self->blocks);

    if (block == NULL)
        return;
    self->bytes -= block->len;
    self->sending = (struct spool_chunk){
        .data = FAAS_STEAL(block->data), .len = block->len, .records = block->records};
    (void)snprintf(self->sending.id, sizeof self->sending.id, "%s.m.%llu", self->token,
                   (unsigned long long)++self->direct_count);
    self->is_direct = true;
    block_free(block);
    send_chunk(self);
}

/* ---- the end of a turn ---- */

/* What could not be written comes before what was noted since. */
static void take_unwritten(struct history *self, struct history_turn *turn)
{
    self->bytes += turn->bytes;
    STAILQ_CONCAT(&turn->blocks, &self->blocks);
    self->blocks = (struct history_blocks)STAILQ_HEAD_INITIALIZER(self->blocks);
    STAILQ_CONCAT(&self->blocks, &turn->blocks);
    turn->bytes = 0;
    keep_bound(self);
}

static void note_counts(struct history *self, const struct spool_counts *counts)
{
    const struct spool_counts *last = &self->counts;

    if (counts->records_dropped > last->records_dropped)
        history_drop(self, counts->records_dropped - last->records_dropped);
    if (counts->bytes_damaged > last->bytes_damaged)
        FAAS_LOG(WARN, "a spool of call records was damaged; what was whole is sent",
                 FAAS_LINT("bytes", (int64_t)(counts->bytes_damaged - last->bytes_damaged)));
    if (counts->orphans > last->orphans)
        FAAS_LOG(INFO, "call records of a publisher that is gone are sent",
                 FAAS_LINT("spools", (int64_t)(counts->orphans - last->orphans)));
    self->counts = *counts;
    metric_level(M_SPOOL_BYTES, counts->unconfirmed);
}

/* The process ends: history_flush() has looked after the blocks. */
static void drop_turn(struct history_turn *turn)
{
    spool_chunk_done(&turn->chunk);
    if (turn->sync_fd >= 0)
        close(turn->sync_fd);
    turn->sync_fd = -1;
}

static void end_turn(struct history *self, struct history_turn *turn)
{
    if (turn->err.code != FAAS_OK) {
        trouble(self, "call records cannot be written", &turn->err);
        self->write_ns = faas_deadline_in_ms(AGAIN_MS);
    }
    if (!STAILQ_EMPTY(&turn->blocks))
        take_unwritten(self, turn);
    note_counts(self, &turn->counts);
    if (turn->sync_fd >= 0)
        start_sync(self, turn->sync_fd);
    if (turn->wants_chunk)
        self->may_have_more = turn->has_chunk;
    if (turn->has_chunk) {
        self->sending = turn->chunk;
        self->is_direct = false;
        send_chunk(self);
    }
    turn->wants_orphans = false;
    history_advance(self);
}

static void on_turn_done(void *arg)
{
    struct history *self = arg;

    self->turn.is_running = false;
    if (self->is_stopped)
        drop_turn(&self->turn);
    else
        end_turn(self, &self->turn);
    history_unref(self);
}

/* ---- turns, on the loop ---- */

static bool sync_is_due(const struct history *self, uint64_t now)
{
    return self->is_written && !self->is_syncing &&
           now >= self->synced_ns + HISTORY_SYNC_MS * FAAS_MS_NS;
}

static bool may_read(const struct history *self)
{
    return !is_sending(self) && self->stream == HISTORY_MADE;
}

static bool turn_is_due(const struct history *self, uint64_t now)
{
    bool may_write = now >= self->write_ns && !STAILQ_EMPTY(&self->blocks);

    return self->spool != NULL && !self->turn.is_running &&
           (may_write || (may_read(self) && self->may_have_more) || self->is_confirmed ||
            self->turn.wants_orphans || sync_is_due(self, now));
}

static void start_turn(struct history *self, uint64_t now)
{
    struct history_turn *turn = &self->turn;
    faas_err err = {0};

    *turn = (struct history_turn){.wants_orphans = turn->wants_orphans,
                                  .is_confirming = self->is_confirmed,
                                  .wants_chunk = may_read(self),
                                  .sync_fd = -1};
    STAILQ_INIT(&turn->blocks);
    if (now >= self->write_ns && !STAILQ_EMPTY(&self->blocks)) {
        STAILQ_CONCAT(&turn->blocks, &self->blocks);
        turn->bytes = self->bytes - self->text.len;
        self->bytes = self->text.len;
        self->is_written = true;
    }
    turn->wants_sync = sync_is_due(self, now);
    self->refs++;
    turn->is_running = true;
    if (faas_pool_submit(self->conf.rt->pool, run_turn, self, &err) != FAAS_OK) {
        turn->is_running = false;
        self->refs--;
        take_unwritten(self, turn); /* the next tick tries */
        return;
    }
    self->is_confirmed = false;
    if (turn->wants_sync)
        self->is_written = false;
}

void history_advance(struct history *self)
{
    uint64_t now = faas_now_ns();
    bool is_unwritable = self->spool == NULL || now < self->write_ns;

    if (self->stream == HISTORY_UNMADE && now >= self->make_ns)
        make(self);
    if (is_unwritable && may_read(self) && !self->turn.is_running)
        send_directly(self);
    if (turn_is_due(self, now))
        start_turn(self, now);
    history_wake(self);
}

bool history_has_work(const struct history *self)
{
    return self->text.len > 0 || !STAILQ_EMPTY(&self->blocks) || self->is_written ||
           self->is_confirmed || self->may_have_more || self->stream == HISTORY_UNMADE ||
           self->turn.wants_orphans;
}

/* ---- the end ---- */

static void flush_list(struct history *self, struct history_blocks *blocks)
{
    struct history_block *block;
    faas_err err = {0};

    while ((block = take_first(blocks)) != NULL) {
        if (self->spool == NULL ||
            spool_write(self->spool, block->data, block->len, block->records, &err) != FAAS_OK)
            history_drop(self, block->records);
        block_free(block);
    }
}

void history_flush(struct history *self)
{
    faas_err err = {0};
    int fd;

    history_close_text(self);
    if (is_sending(self) && self->is_direct && self->spool != NULL &&
        spool_write(self->spool, self->sending.data, self->sending.len, self->sending.records,
                    &err) != FAAS_OK)
        history_drop(self, self->sending.records);
    flush_list(self, &self->turn.blocks);
    flush_list(self, &self->blocks);
    if (self->spool == NULL)
        return;
    if (self->is_confirmed)
        spool_confirm(self->spool);
    fd = spool_sync_fd(self->spool);
    if (fd >= 0) {
        (void)fdatasync(fd);
        close(fd);
    }
}
