/* The spool of call records without memory, on a disk that fails: what it said it took comes back
 * once, in order, and what it refused does not. */
#include "tests/support/fault.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "services/publisher/spool.h"
#include "tests/unit/unit.h"

#define CHUNKS      5 /* of a run: more than a segment holds */
#define WAITING     64
#define CHUNK_BYTES (SPOOL_CHUNK_MAX + 24)

struct shelf {
    char dir[64];
    struct spool *spool;
    char waiting[WAITING]; /* the first letters of chunks that were taken, a queue */
    size_t len;
    char next;
    uint64_t damaged; /* bytes, as the spool has counted so far */
};

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st, (void)type, (void)at;
    return remove(path);
}

static faas_code open_spool(const struct shelf *shelf, struct spool **out_spool, faas_err *err)
{
    const struct spool_conf conf = {.dir = shelf->dir, .bytes_max = INT64_MAX};

    return spool_open(&conf, out_spool, err);
}

static faas_code write_chunk(struct shelf *shelf, faas_err *err)
{
    static char text[SPOOL_CHUNK_MAX];

    shelf->next = shelf->next == 'z' ? 'a' : (char)(shelf->next + 1);
    memset(text, shelf->next, sizeof text);
    FAAS_TRY(spool_write(shelf->spool, text, sizeof text, 1, err));
    assert_true(shelf->len < WAITING);
    shelf->waiting[shelf->len++] = shelf->next;
    return FAAS_OK;
}

static void forget(struct shelf *shelf, size_t count)
{
    assert_true(count <= shelf->len);
    shelf->len -= count;
    memmove(shelf->waiting, shelf->waiting + count, shelf->len);
}

/* What the disk refuses to give back is passed over, and that is said. */
static void forget_damaged(struct shelf *shelf)
{
    struct spool_counts counts;

    spool_counts(shelf->spool, &counts);
    forget(shelf, (counts.bytes_damaged - shelf->damaged) / CHUNK_BYTES);
    shelf->damaged = counts.bytes_damaged;
}

/* The oldest one that was taken, and confirms it. */
static faas_code read_chunk(struct shelf *shelf, faas_err *err)
{
    struct spool_chunk chunk = {.id = ""};
    faas_err why = {0};
    const char *bytes;
    faas_code rc = spool_next(shelf->spool, &chunk, &why);

    if (strstr(fault_met(), "pread") != NULL)
        forget_damaged(shelf);
    if (rc == FAAS_NOT_FOUND && shelf->len == 0)
        return FAAS_OK;
    if (rc ==
        FAAS_NOT_FOUND) { /* what could not be looked at was left for later; no more than that */
        assert_string_not_equal(fault_met(), "none");
        return faas_fail(err, FAAS_UNAVAILABLE, "not found yet");
    }
    if (rc != FAAS_OK) {
        assert_int_equal(rc, FAAS_BUSY);
        return faas_fail(err, FAAS_UNAVAILABLE, "%s", why.msg);
    }
    bytes = chunk.data;
    assert_int_equal(chunk.len, SPOOL_CHUNK_MAX);
    assert_int_equal(bytes[0], shelf->waiting[0]);
    assert_int_equal(bytes[chunk.len - 1], shelf->waiting[0]);
    spool_chunk_done(&chunk);
    spool_confirm(shelf->spool);
    forget(shelf, 1);
    return FAAS_OK;
}

static faas_code write_and_read(void *state, faas_err *err)
{
    struct shelf *shelf = state;
    struct spool_chunk none;
    struct spool_counts counts;

    for (int i = 0; i < CHUNKS; i++)
        FAAS_TRY(write_chunk(shelf, err));
    while (shelf->len > 0)
        FAAS_TRY(read_chunk(shelf, err));
    fault_pause(true);
    assert_int_equal(spool_next(shelf->spool, &none, NULL), FAAS_NOT_FOUND);
    spool_counts(shelf->spool, &counts);
    assert_int_equal(counts.unconfirmed, 0);
    assert_int_equal(counts.records_dropped, 0);
    return FAAS_OK;
}

static faas_code open_only(void *state, faas_err *err)
{
    struct spool *spool = NULL;

    FAAS_TRY(open_spool(state, &spool, err));
    spool_close(spool);
    return FAAS_OK;
}

/* Whatever failed before, the dead process's chunk is there for the next one that looks. */
static faas_code adopt(void *state, faas_err *err)
{
    struct shelf *shelf = state;
    bool was_paused = fault_pause(true);
    faas_code rc;

    if (shelf->len == 0) {
        assert_ok(open_spool(shelf, &shelf->spool, err));
        assert_ok(write_chunk(shelf, err));
        spool_close(FAAS_STEAL(shelf->spool)); /* as its end leaves it */
    }
    assert_ok(open_spool(shelf, &shelf->spool, err));
    shelf->damaged = 0;
    fault_pause(was_paused);
    rc = spool_adopt(shelf->spool, err);
    if (rc == FAAS_OK)
        rc = read_chunk(shelf, err);
    fault_pause(true);
    spool_close(FAAS_STEAL(shelf->spool));
    return rc;
}

static int make_shelf(void **state)
{
    struct shelf *shelf = calloc(1, sizeof *shelf);

    *state = shelf;
    if (shelf == NULL)
        return -1;
    shelf->next = 'z';
    snprintf(shelf->dir, sizeof shelf->dir, "/tmp/faas-fault-XXXXXX");
    return mkdtemp(shelf->dir) != NULL ? 0 : -1;
}

static int remove_shelf(void **state)
{
    struct shelf *shelf = *state;
    int rc = nftw(shelf->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);

    spool_close(shelf->spool);
    free(shelf);
    return rc;
}

static void a_spool_opens_or_says_why(void **state)
{
    fault_each(open_only, *state, 5);
}

static void what_was_taken_comes_back_once_and_in_order(void **state)
{
    struct shelf *shelf = *state;

    assert_ok(open_spool(shelf, &shelf->spool, NULL));
    fault_each(write_and_read, shelf, 20);
}

static void a_dead_process_s_records_are_found_at_last(void **state)
{
    fault_each(adopt, *state, 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_spool_opens_or_says_why, make_shelf, remove_shelf),
        cmocka_unit_test_setup_teardown(what_was_taken_comes_back_once_and_in_order, make_shelf,
                                        remove_shelf),
        cmocka_unit_test_setup_teardown(a_dead_process_s_records_are_found_at_last, make_shelf,
                                        remove_shelf),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
