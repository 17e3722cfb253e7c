#include "spool_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define MAGIC     "FRC1"
#define MAGIC_LEN 4
#define LOCK_END  ".lock"
#define END       ".spool"
#define WINDOW    4096 /* bytes looked through at a time for the next chunk */

struct head {
    char magic[MAGIC_LEN];
    uint32_t len, records, zero;
    uint64_t hash;
};
_Static_assert(sizeof(struct head) == SPOOL_HEAD, "a chunk's head has no holes");

/* FNV-1a: tells torn and spoiled bytes, not malice. */
static uint64_t hash_of(const void *data, size_t len)
{
    const unsigned char *at = data;
    uint64_t hash = UINT64_C(14695981039346656037);

    for (size_t i = 0; i < len; i++)
        hash = (hash ^ at[i]) * UINT64_C(1099511628211);
    return hash;
}

/* ---- writing ---- */

static void sync_dir(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return;
    (void)fsync(fd);
    close(fd);
}

faas_code spool_file_create(struct spool_file *file, const char *dir, const char *path,
                            faas_err *err)
{
    file->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    file->size = 0;
    if (file->fd < 0)
        return faas_fail_sys(err, errno, "make %s", path);
    sync_dir(dir);
    return FAAS_OK;
}

faas_code spool_file_append(struct spool_file *file, const void *data, size_t len, uint32_t records,
                            faas_err *err)
{
    struct head head = {.len = (uint32_t)len, .records = records, .hash = hash_of(data, len)};
    struct iovec parts[2] = {{.iov_base = &head, .iov_len = sizeof head}, {.iov_len = len}};
    const ssize_t whole = (ssize_t)(sizeof head + len);
    ssize_t written;
    int errnum;

    memcpy(head.magic, MAGIC, MAGIC_LEN);
    memcpy(&parts[1].iov_base, &data, sizeof data); /* pwritev only reads */
    written = pwritev(file->fd, parts, 2, file->size);
    if (written == whole) {
        file->size += whole;
        return FAAS_OK;
    }
    errnum = written < 0 ? errno : ENOSPC;
    if (written > 0 && ftruncate(file->fd, file->size) != 0)
        errnum = errno; /* the next write is at the same place */
    return faas_fail_sys(err, errnum, "write the spool");
}

void spool_file_close(struct spool_file *file)
{
    if (file->fd >= 0)
        close(file->fd);
    file->fd = -1;
}

/* ---- sources ---- */

faas_code spool_source_new(const char *dir, const char *token, struct spool_source **out_source,
                           faas_err *err)
{
    struct spool_source *source = calloc(1, sizeof *source);

    if (source == NULL)
        return faas_fail_sys(err, ENOMEM, "a spool");
    TAILQ_INIT(&source->segments);
    source->lock_fd = source->read_fd = -1;
    source->next_number = 1;
    (void)snprintf(source->token, sizeof source->token, "%s", token);
    source->dir = strdup(dir);
    if (asprintf(&source->lock_path, "%s/%s" LOCK_END, dir, token) < 0)
        source->lock_path = NULL;
    if (source->dir == NULL || source->lock_path == NULL) {
        spool_source_free(source);
        return faas_fail_sys(err, ENOMEM, "a spool");
    }
    *out_source = source;
    return FAAS_OK;
}

void spool_source_free(struct spool_source *source)
{
    if (source == NULL)
        return;
    while (!TAILQ_EMPTY(&source->segments))
        spool_source_forget(source, TAILQ_FIRST(&source->segments));
    if (source->lock_fd >= 0)
        close(source->lock_fd);
    free(source->dir);
    free(source->lock_path);
    free(source);
}

/* The file may have been removed by its last owner between our open() and our lock. */
static bool is_still_there(int fd, const char *path)
{
    struct stat opened, named;

    return fstat(fd, &opened) == 0 && stat(path, &named) == 0 && opened.st_ino == named.st_ino &&
           opened.st_dev == named.st_dev;
}

faas_code spool_source_lock(struct spool_source *source, bool is_new, faas_err *err)
{
    int flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW | (is_new ? O_CREAT | O_EXCL : 0);
    int fd = open(source->lock_path, flags, 0600);

    if (fd < 0)
        return faas_fail_sys(err, errno, "open %s", source->lock_path);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0 || !is_still_there(fd, source->lock_path)) {
        close(fd);
        return faas_fail(err, FAAS_CONFLICT, "somebody else has this spool");
    }
    source->lock_fd = fd;
    return FAAS_OK;
}

/* Segments come in any order from a directory; the list is short. */
static void insert(struct spool_source *source, struct spool_segment *segment)
{
    struct spool_segment *at;

    TAILQ_FOREACH (at, &source->segments, link)
        if (at->number > segment->number) {
            TAILQ_INSERT_BEFORE(at, segment, link);
            return;
        }
    TAILQ_INSERT_TAIL(&source->segments, segment, link);
}

faas_code spool_source_add(struct spool_source *source, uint32_t number,
                           struct spool_segment **out_segment, faas_err *err)
{
    size_t room = strlen(source->dir) + SPOOL_TOKEN_TEXT + 32;
    struct spool_segment *segment = calloc(1, sizeof *segment + room);

    if (segment == NULL)
        return faas_fail_sys(err, ENOMEM, "a segment of the spool");
    segment->number = number;
    (void)snprintf(segment->path, room, "%s/%s.%010" PRIu32 END, source->dir, source->token,
                   number);
    insert(source, segment);
    *out_segment = segment;
    return FAAS_OK;
}

void spool_source_forget(struct spool_source *source, struct spool_segment *segment)
{
    if (segment == TAILQ_FIRST(&source->segments)) {
        if (source->read_fd >= 0)
            close(source->read_fd);
        source->read_fd = -1;
        source->offset = 0;
    }
    TAILQ_REMOVE(&source->segments, segment, link);
    free(segment);
}

/* ---- reading ---- */

static bool is_head(const struct head *head, off_t left)
{
    return memcmp(head->magic, MAGIC, MAGIC_LEN) == 0 && head->len > 0 &&
           head->len <= SPOOL_CHUNK_MAX && (off_t)(sizeof *head + head->len) <= left;
}

/* A whole chunk at that place?  SPOOL_END: there is none. */
static enum spool_read read_chunk(const struct spool_source *source, off_t at, off_t size,
                                  struct spool_chunk *out_chunk)
{
    struct head head;

    if (pread(source->read_fd, &head, sizeof head, at) != (ssize_t)sizeof head ||
        !is_head(&head, size - at))
        return SPOOL_END;
    out_chunk->data = malloc(head.len);
    if (out_chunk->data == NULL)
        return SPOOL_LATER;
    out_chunk->len = head.len;
    out_chunk->records = head.records;
    if (pread(source->read_fd, out_chunk->data, head.len, at + (off_t)sizeof head) ==
            (ssize_t)head.len &&
        hash_of(out_chunk->data, head.len) == head.hash)
        return SPOOL_CHUNK;
    spool_chunk_done(out_chunk);
    return SPOOL_END;
}

/* The next place from `at` on where a chunk may begin; size when there is none. */
static off_t find_magic(int fd, off_t at, off_t size)
{
    char window[WINDOW];

    while (at + (off_t)SPOOL_HEAD <= size) {
        ssize_t got = pread(fd, window, sizeof window, at);
        const char *found = got >= MAGIC_LEN ? memmem(window, (size_t)got, MAGIC, MAGIC_LEN) : NULL;

        if (found != NULL)
            return at + (found - window);
        if (got < (ssize_t)sizeof window)
            break;
        at += got - (MAGIC_LEN - 1);
    }
    return size;
}

enum spool_read spool_source_read(struct spool_source *source, struct spool_chunk *out_chunk,
                                  size_t *out_passed)
{
    const struct spool_segment *first = TAILQ_FIRST(&source->segments);
    enum spool_read rc = SPOOL_END;
    off_t at = source->offset;

    *out_passed = 0;
    if (source->read_fd < 0)
        source->read_fd = open(first->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (source->read_fd < 0 && errno != ENOENT)
        return SPOOL_LATER;
    while (source->read_fd >= 0 && at < first->size) {
        rc = read_chunk(source, at, first->size, out_chunk);
        if (rc != SPOOL_END)
            break;
        at = find_magic(source->read_fd, at + 1, first->size);
    }
    if (rc == SPOOL_CHUNK)
        (void)snprintf(out_chunk->id, sizeof out_chunk->id, "%s.%" PRIu32 ".%lld", source->token,
                       first->number, (long long)at);
    if (rc != SPOOL_LATER)
        *out_passed = (size_t)((rc == SPOOL_CHUNK ? at : first->size) - source->offset);
    return rc;
}

/* ---- orphans ---- */

/* "<token>.<number>.spool" of this token. */
static bool segment_number(const char *name, const char *token, uint32_t *out_number)
{
    size_t len = strlen(token);
    char *end;
    unsigned long number;

    if (strncmp(name, token, len) != 0 || name[len] != '.')
        return false;
    number = strtoul(name + len + 1, &end, 10);
    if (strcmp(end, END) != 0 || number == 0 || number > UINT32_MAX)
        return false;
    *out_number = (uint32_t)number;
    return true;
}

/* From head to head; what is damaged is not counted. */
static uint64_t count_records(int fd, off_t size)
{
    uint64_t records = 0;
    struct head head;

    for (off_t at = 0; at < size; at += (off_t)(sizeof head + head.len)) {
        if (pread(fd, &head, sizeof head, at) != (ssize_t)sizeof head || !is_head(&head, size - at))
            break;
        records += head.records;
    }
    return records;
}

static faas_code add_found(struct spool_source *source, uint32_t number, faas_err *err)
{
    struct spool_segment *segment = NULL;
    struct stat st = {.st_mode = 0};
    faas_code rc = FAAS_OK;
    int fd;

    FAAS_TRY(spool_source_add(source, number, &segment, err));
    fd = open(segment->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if ((fd < 0 && errno != ENOENT && errno != ELOOP) || (fd >= 0 && fstat(fd, &st) != 0))
        rc = faas_fail_sys(err, errno, "open %s", segment->path); /* not empty: later */
    if (rc == FAAS_OK && fd >= 0 && S_ISREG(st.st_mode)) {
        segment->size = st.st_size;
        segment->records = count_records(fd, st.st_size);
    }
    if (fd >= 0)
        close(fd);
    return rc;
}

static faas_code find_segments(struct spool_source *source, faas_err *err)
{
    DIR *list = opendir(source->dir);
    struct dirent *entry;
    faas_code rc = FAAS_OK;
    uint32_t number;

    if (list == NULL)
        return faas_fail_sys(err, errno, "open %s", source->dir);
    while (rc == FAAS_OK && (entry = readdir(list)) != NULL)
        if (segment_number(entry->d_name, source->token, &number))
            rc = add_found(source, number, err);
    closedir(list);
    return rc;
}

/* The token of "<token>.lock". */
static bool lock_token(const char *name, char out_token[SPOOL_TOKEN_TEXT])
{
    size_t len = SPOOL_TOKEN_TEXT - 1;

    if (strlen(name) != len + strlen(LOCK_END) || strcmp(name + len, LOCK_END) != 0 ||
        strspn(name, "0123456789abcdef") != len)
        return false;
    memcpy(out_token, name, len);
    out_token[len] = '\0';
    return true;
}

/* *out_source stays NULL when somebody holds the lock, or nothing is behind it. */
static faas_code take_orphan(const char *dir, const char *token, struct spool_source **out_source,
                             faas_err *err)
{
    struct spool_source *source = NULL;
    faas_code rc;

    FAAS_TRY(spool_source_new(dir, token, &source, err));
    if (spool_source_lock(source, false, NULL) != FAAS_OK) {
        spool_source_free(source);
        return FAAS_OK;
    }
    rc = find_segments(source, err);
    if (rc == FAAS_OK && !TAILQ_EMPTY(&source->segments)) {
        *out_source = source;
        return FAAS_OK;
    }
    if (rc == FAAS_OK)
        (void)unlink(source->lock_path);
    spool_source_free(source);
    return rc;
}

faas_code spool_source_orphan(const char *dir, struct spool_source **out_source, faas_err *err)
{
    DIR *list = opendir(dir);
    char token[SPOOL_TOKEN_TEXT];
    struct dirent *entry;
    faas_code rc = FAAS_OK;

    *out_source = NULL;
    if (list == NULL)
        return faas_fail_sys(err, errno, "open %s", dir);
    while (rc == FAAS_OK && *out_source == NULL && (entry = readdir(list)) != NULL)
        if (lock_token(entry->d_name, token))
            rc = take_orphan(dir, token, out_source, err);
    closedir(list);
    return rc;
}
