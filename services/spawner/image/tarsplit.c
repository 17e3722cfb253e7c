#include "tarsplit.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "entry_name.h"
#include "tarsplit_internal.h"

#define READ_BYTES (256 * 1024)
/* Between two files there are headers, of a few long names at most. */
#define HELD_MAX (16 * 1024 * 1024)
/* As main.c's bound of a stream. */
#define ROOM_PER_ENTRY 4096
#define ROOM           (1024 * 1024)

typedef struct archive archive;
typedef struct archive_entry archive_entry;
FAAS_DEFINE_AUTO(archive_entry, archive_entry_free)

struct tarsplit {
    int in, out;
    archive *to;
    char *block; /* what libarchive reads from */
    char *held;  /* read, and not yet known to be headers or contents */
    size_t begin, end, room;
    int64_t at;       /* of held[begin] in the stream */
    int64_t file_end; /* before it: contents, which are not kept */
    int64_t next;     /* where the next headers must begin; -1: not known */
    int64_t entries, literals;
    bool is_broken, is_unwritable;
};

/* ---- the record ---- */

static void put(tarsplit *split, const void *data, size_t len)
{
    if (!split->is_broken && archive_write_data(split->to, data, len) != (la_ssize_t)len)
        split->is_broken = split->is_unwritable = true;
}

static void put_op(tarsplit *split, char op, int64_t length, size_t path_len)
{
    unsigned char head[TARSPLIT_HEAD];

    tarsplit_pack(head, &(struct tarsplit_op){op, length, (uint32_t)path_len});
    put(split, head, sizeof head);
}

static void put_literal(tarsplit *split, const void *data, size_t len)
{
    if (len == 0 || split->is_broken)
        return;
    split->literals += (int64_t)len;
    if (split->literals > ROOM + split->entries * ROOM_PER_ENTRY) {
        tarsplit_break(split);
        return;
    }
    put_op(split, TARSPLIT_LITERAL, (int64_t)len, 0);
    put(split, data, len);
}

void tarsplit_break(tarsplit *split)
{
    split->is_broken = true;
    split->begin = split->end = 0;
}

/* ---- what is held ---- */

static void drop(tarsplit *split, size_t len)
{
    split->begin += len;
    split->at += (int64_t)len;
}

static size_t held(const tarsplit *split)
{
    return split->end - split->begin;
}

static void drop_contents(tarsplit *split)
{
    int64_t left = split->file_end - split->at;

    if (left > 0)
        drop(split, left < (int64_t)held(split) ? (size_t)left : held(split));
}

static bool make_room(tarsplit *split, size_t len)
{
    size_t now = held(split);

    if (now > 0 && split->begin > 0)
        memmove(split->held, split->held + split->begin, now);
    split->begin = 0;
    split->end = now;
    if (split->room - now < len) {
        char *larger = now + len <= HELD_MAX ? realloc(split->held, now + len) : NULL;

        if (larger == NULL)
            return false;
        split->held = larger;
        split->room = now + len;
    }
    return true;
}

static void hold(tarsplit *split, const char *data, size_t len)
{
    if (split->is_broken)
        return;
    if (!make_room(split, len)) {
        tarsplit_break(split);
        return;
    }
    memcpy(split->held + split->end, data, len);
    split->end += len;
    drop_contents(split);
}

/* ---- the stream ---- */

ssize_t tarsplit_read(struct archive *from, void *client, const void **out_data)
{
    tarsplit *split = client;
    ssize_t got;

    do
        got = read(split->in, split->block, READ_BYTES);
    while (got < 0 && errno == EINTR);
    if (got < 0) {
        archive_set_error(from, errno, "%s", strerrordesc_np(errno));
        return -1;
    }
    hold(split, split->block, (size_t)got);
    *out_data = split->block;
    return got;
}

void tarsplit_entry(tarsplit *split, int64_t begin)
{
    split->entries++;
    if (split->next >= 0 && split->next != begin)
        tarsplit_break(split);
    split->next = -1;
}

void tarsplit_file(tarsplit *split, const char *path, int64_t begin, int64_t size)
{
    int64_t before = begin - split->at;

    if (split->is_broken)
        return;
    if (split->at < split->file_end || before < 0 || before > (int64_t)held(split)) {
        tarsplit_break(split);
        return;
    }
    put_literal(split, split->held + split->begin, (size_t)before);
    drop(split, (size_t)before);
    put_op(split, TARSPLIT_FILE, size, strlen(path));
    put(split, path, strlen(path));
    split->file_end = begin + size;
    split->next = begin + (size + 511) / 512 * 512;
    drop_contents(split);
}

/* What follows the end of the archive belongs to its digest. */
static faas_code read_rest(tarsplit *split, faas_err *err)
{
    const void *data;
    ssize_t got;

    do {
        if (split->at < split->file_end)
            tarsplit_break(split); /* a file ended early */
        put_literal(split, split->held + split->begin, held(split));
        drop(split, held(split));
        got = tarsplit_read(split->to, split, &data);
    } while (got > 0);
    return got == 0 ? FAAS_OK : faas_fail_sys(err, errno, "read the archive");
}

faas_code tarsplit_end(tarsplit *split, faas_err *err)
{
    FAAS_TRY(read_rest(split, err));
    if (archive_write_close(split->to) != ARCHIVE_OK)
        split->is_unwritable = true;
    if (split->is_unwritable && archive_errno(split->to) != EFBIG)
        return faas_fail_sys(err, archive_errno(split->to), "write the record of a layer");
    if ((split->is_broken || split->is_unwritable) && ftruncate(split->out, 0) != 0)
        return faas_fail_sys(err, errno, "write the record of a layer");
    return FAAS_OK;
}

/* ---- life ---- */

static faas_code open_record(tarsplit *split, faas_err *err)
{
    FAAS_AUTO(archive_entry) *entry = archive_entry_new();

    split->to = archive_write_new();
    if (entry == NULL || split->to == NULL)
        return faas_fail_sys(err, ENOMEM, "libarchive");
    archive_entry_set_pathname(entry, "record");
    archive_entry_set_filetype(entry, AE_IFREG);
    if (archive_write_set_format_raw(split->to) != ARCHIVE_OK ||
        archive_write_add_filter_zstd(split->to) != ARCHIVE_OK ||
        archive_write_set_bytes_in_last_block(split->to, 1) != ARCHIVE_OK ||
        archive_write_open_fd(split->to, split->out) != ARCHIVE_OK ||
        archive_write_header(split->to, entry) != ARCHIVE_OK)
        return faas_fail_sys(err, archive_errno(split->to), "begin the record of a layer");
    return FAAS_OK;
}

faas_code tarsplit_new(int in, int out, tarsplit **out_split, faas_err *err)
{
    tarsplit *split = calloc(1, sizeof *split);
    faas_code code;

    if (split == NULL)
        return faas_fail_sys(err, errno, "unpack");
    *split = (tarsplit){.in = in, .out = out, .next = -1, .block = malloc(READ_BYTES)};
    code = split->block != NULL ? open_record(split, err) : faas_fail_sys(err, ENOMEM, "unpack");
    if (code != FAAS_OK) {
        tarsplit_free(split);
        return code;
    }
    *out_split = split;
    return FAAS_OK;
}

void tarsplit_free(tarsplit *split)
{
    if (split == NULL)
        return;
    archive_write_free(split->to);
    free(split->block);
    free(split->held);
    free(split);
}
