#include "spool.h"

#include "spool_file.h"

#include "base/id.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK_TRIES 3

struct spool {
    char *dir;
    int64_t bytes_max;
    TAILQ_HEAD(, spool_source) sources; /* our own first */
    struct spool_source *own, *given;   /* given: whose chunk spool_next() gave last */
    size_t given_len;                   /* of that chunk with its head */
    uint32_t given_records;
    struct spool_file out; /* the segment being written; fd -1: none */
    bool is_unsynced;
    struct spool_counts counts;
};

/* ---- sources ---- */

static void segment_drop(struct spool *self, struct spool_source *source,
                         struct spool_segment *segment)
{
    self->counts.bytes -= segment->size;
    (void)unlink(segment->path);
    spool_source_forget(source, segment);
}

/* Also its lock, when nobody writes there any more. */
static void source_end(struct spool *self, struct spool_source *source)
{
    if (self->given == source)
        self->given = NULL;
    (void)unlink(source->lock_path);
    TAILQ_REMOVE(&self->sources, source, link);
    spool_source_free(source);
}

static struct spool_segment *writing(const struct spool *self)
{
    return self->out.fd >= 0 ? TAILQ_LAST(&self->own->segments, spool_segments) : NULL;
}

/* Whole segments, the oldest of the oldest source first; never the one being written. */
static void keep_bound(struct spool *self)
{
    while (self->counts.bytes > self->bytes_max) {
        struct spool_source *source = TAILQ_LAST(&self->sources, spool_sources);
        struct spool_segment *oldest = TAILQ_FIRST(&source->segments);

        if (oldest == NULL && source != self->own) {
            source_end(self, source);
            continue;
        }
        if (oldest == NULL || oldest == writing(self))
            return;
        self->counts.records_dropped += oldest->records;
        if (self->given == source)
            self->given = NULL; /* its confirmation comes too late */
        segment_drop(self, source, oldest);
    }
}

/* ---- opening ---- */

static faas_code claim(struct spool *self, faas_err *err)
{
    char token[33];

    for (int i = 0; i < LOCK_TRIES; i++) {
        faas_random_token(token);
        FAAS_TRY(spool_source_new(self->dir, token, &self->own, err));
        if (spool_source_lock(self->own, true, err) == FAAS_OK) {
            TAILQ_INSERT_HEAD(&self->sources, self->own, link);
            return FAAS_OK;
        }
        /* Somebody who looks for orphans was faster than our lock; or the disk is no good. */
        spool_source_free(self->own);
        self->own = NULL;
    }
    return err->code;
}

faas_code spool_open(const struct spool_conf *conf, struct spool **out_spool, faas_err *err)
{
    struct spool *self = calloc(1, sizeof *self);
    faas_code rc = FAAS_OK;

    if (self == NULL)
        return faas_fail_sys(err, ENOMEM, "open the spool");
    self->out.fd = -1;
    TAILQ_INIT(&self->sources);
    self->bytes_max = conf->bytes_max;
    self->dir = strdup(conf->dir);
    if (self->dir == NULL)
        rc = faas_fail_sys(err, ENOMEM, "open the spool");
    else if (mkdir(conf->dir, 0700) != 0 && errno != EEXIST)
        rc = faas_fail_sys(err, errno, "make %s", conf->dir);
    if (rc == FAAS_OK)
        rc = claim(self, err);
    if (rc != FAAS_OK) {
        spool_close(self);
        return rc;
    }
    *out_spool = self;
    return FAAS_OK;
}

static bool is_all_confirmed(const struct spool_source *source)
{
    const struct spool_segment *first = TAILQ_FIRST(&source->segments);

    return first == NULL || (TAILQ_NEXT(first, link) == NULL && source->offset >= first->size);
}

void spool_close(struct spool *self)
{
    struct spool_source *source, *next;

    if (self == NULL)
        return;
    spool_file_close(&self->out);
    for (source = TAILQ_FIRST(&self->sources); source != NULL; source = next) {
        next = TAILQ_NEXT(source, link);
        if (is_all_confirmed(source)) {
            if (!TAILQ_EMPTY(&source->segments))
                segment_drop(self, source, TAILQ_FIRST(&source->segments));
            source_end(self, source);
        } else {
            TAILQ_REMOVE(&self->sources, source, link);
            spool_source_free(source);
        }
    }
    free(self->dir);
    free(self);
}

/* ---- writing ---- */

static faas_code begin_segment(struct spool *self, faas_err *err)
{
    struct spool_segment *segment = NULL;

    if (self->out.fd >= 0 && self->out.size < SPOOL_SEGMENT)
        return FAAS_OK;
    if (self->out.fd >= 0 && self->is_unsynced && fdatasync(self->out.fd) != 0)
        return faas_fail_sys(err, errno, "sync the spool");
    spool_file_close(&self->out);
    FAAS_TRY(spool_source_add(self->own, self->own->next_number, &segment, err));
    if (spool_file_create(&self->out, self->dir, segment->path, err) != FAAS_OK) {
        spool_source_forget(self->own, segment);
        return err->code;
    }
    self->own->next_number++;
    return FAAS_OK;
}

faas_code spool_write(struct spool *self, const void *data, size_t len, uint32_t records,
                      faas_err *err)
{
    struct spool_segment *segment;

    if (len == 0 || len > SPOOL_CHUNK_MAX)
        return faas_fail(err, FAAS_INTERNAL, "a chunk of records of %zu bytes", len);
    FAAS_TRY(begin_segment(self, err));
    FAAS_TRY(spool_file_append(&self->out, data, len, records, err));
    segment = writing(self);
    self->counts.bytes += self->out.size - segment->size;
    segment->size = self->out.size;
    segment->records += records;
    self->is_unsynced = true;
    keep_bound(self);
    return FAAS_OK;
}

int spool_sync_fd(struct spool *self)
{
    int fd = self->is_unsynced ? fcntl(self->out.fd, F_DUPFD_CLOEXEC, 0) : -1;

    if (fd >= 0)
        self->is_unsynced = false;
    return fd;
}

/* ---- reading ---- */

/* The reader has come to the end of the source's first segment. */
static void leave_segment(struct spool *self, struct spool_source *source)
{
    struct spool_segment *first = TAILQ_FIRST(&source->segments);

    if (first != NULL && first != writing(self))
        segment_drop(self, source, first);
}

/* SPOOL_END: nothing waits in this source. */
static enum spool_read next_of(struct spool *self, struct spool_source *source,
                               struct spool_chunk *out_chunk)
{
    struct spool_segment *first;

    while ((first = TAILQ_FIRST(&source->segments)) != NULL) {
        size_t passed = 0;
        enum spool_read rc = spool_source_read(source, out_chunk, &passed);

        if (rc == SPOOL_LATER)
            return rc;
        self->counts.bytes_damaged += passed;
        source->offset += (off_t)passed;
        if (rc == SPOOL_CHUNK || first == writing(self))
            return rc;
        leave_segment(self, source);
    }
    return SPOOL_END;
}

faas_code spool_next(struct spool *self, struct spool_chunk *out_chunk, faas_err *err)
{
    struct spool_source *source, *next;

    self->given = NULL;
    for (source = TAILQ_FIRST(&self->sources); source != NULL; source = next) {
        enum spool_read rc = next_of(self, source, out_chunk);

        next = TAILQ_NEXT(source, link);
        if (rc == SPOOL_LATER)
            return faas_fail(err, FAAS_BUSY, "the spool cannot be read at the moment");
        if (rc == SPOOL_CHUNK) {
            self->given = source;
            self->given_len = SPOOL_HEAD + out_chunk->len;
            self->given_records = out_chunk->records;
            return FAAS_OK;
        }
        if (source != self->own)
            source_end(self, source);
    }
    return faas_fail(err, FAAS_NOT_FOUND, "the spool is empty");
}

void spool_chunk_done(struct spool_chunk *chunk)
{
    free(chunk->data);
    *chunk = (struct spool_chunk){.id = ""};
}

void spool_confirm(struct spool *self)
{
    struct spool_source *source = self->given;
    struct spool_segment *first = source != NULL ? TAILQ_FIRST(&source->segments) : NULL;

    self->given = NULL;
    if (first == NULL)
        return;
    source->offset += (off_t)self->given_len;
    first->records -= self->given_records < first->records ? self->given_records : first->records;
    if (source->offset >= first->size)
        leave_segment(self, source);
}

/* ---- orphans ---- */

faas_code spool_adopt(struct spool *self, faas_err *err)
{
    struct spool_source *found = NULL;

    for (;;) {
        FAAS_TRY(spool_source_orphan(self->dir, &found, err));
        if (found == NULL)
            return FAAS_OK;
        TAILQ_INSERT_TAIL(&self->sources, found, link);
        self->counts.orphans++;
        for (const struct spool_segment *s = TAILQ_FIRST(&found->segments); s != NULL;
             s = TAILQ_NEXT(s, link))
            self->counts.bytes += s->size;
        keep_bound(self);
    }
}

void spool_counts(const struct spool *self, struct spool_counts *out_counts)
{
    const struct spool_source *source;

    *out_counts = self->counts;
    out_counts->unconfirmed = self->counts.bytes;
    TAILQ_FOREACH (source, &self->sources, link)
        out_counts->unconfirmed -= source->offset; /* into its first segment */
}
