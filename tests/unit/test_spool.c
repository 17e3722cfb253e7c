/* Records on their way, in files: services/publisher/spool.c, spool_file.c. */
#include "tests/unit/unit.h"

#include "services/publisher/spool.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB (1024 * 1024)

static char dir[] = "/tmp/faas-spool-XXXXXX";

static int make_dir(void **state)
{
    (void)state;
    memcpy(dir + sizeof dir - 7, "XXXXXX", 6);
    return mkdtemp(dir) == NULL;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st, (void)type, (void)at;
    return remove(path);
}

static int remove_dir(void **state)
{
    (void)state;
    return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static struct spool *open_spool(int64_t bytes_max)
{
    const struct spool_conf conf = {.dir = dir, .bytes_max = bytes_max};
    struct spool *spool = NULL;
    faas_err err = {0};

    if (spool_open(&conf, &spool, &err) != FAAS_OK)
        fail_msg("open: %s (%s)", err.msg, err.detail);
    return spool;
}

static void write_text(struct spool *spool, const char *text)
{
    faas_err err = {0};

    if (spool_write(spool, text, strlen(text), 1, &err) != FAAS_OK)
        fail_msg("write: %s (%s)", err.msg, err.detail);
}

/* The next chunk is that text; it is confirmed.  NULL: there is none. */
static void expect(struct spool *spool, const char *text)
{
    struct spool_chunk chunk = {.id = ""};
    faas_err err = {0};
    faas_code rc = spool_next(spool, &chunk, &err);

    if (text == NULL) {
        assert_int_equal(rc, FAAS_NOT_FOUND);
        return;
    }
    if (rc != FAAS_OK)
        fail_msg("instead of \"%s\": %s", text, err.msg);
    assert_int_equal(chunk.len, strlen(text));
    assert_memory_equal(chunk.data, text, chunk.len);
    spool_chunk_done(&chunk);
    spool_confirm(spool);
}

static struct spool_counts counts_of(const struct spool *spool)
{
    struct spool_counts counts;

    spool_counts(spool, &counts);
    return counts;
}

/* How many files whose name ends so; the path of one of them. */
static int files(const char *end, char out_path[512])
{
    DIR *list = opendir(dir);
    const struct dirent *entry;
    int count = 0;

    assert_non_null(list);
    while ((entry = readdir(list)) != NULL) {
        size_t len = strlen(entry->d_name);

        if (len < strlen(end) || strcmp(entry->d_name + len - strlen(end), end) != 0)
            continue;
        count++;
        if (out_path != NULL)
            (void)snprintf(out_path, 512, "%s/%s", dir, entry->d_name);
    }
    closedir(list);
    return count;
}

/* A process that writes these and is killed. */
static void die_with(const char *const *texts)
{
    int status;
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        struct spool *spool = open_spool(MIB);

        for (; *texts != NULL; texts++)
            write_text(spool, *texts);
        (void)raise(SIGKILL);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void adopt(struct spool *spool)
{
    faas_err err = {0};

    if (spool_adopt(spool, &err) != FAAS_OK)
        fail_msg("adopt: %s (%s)", err.msg, err.detail);
}

static void chunks_come_in_order_until_they_are_confirmed(void **state)
{
    struct spool *spool = open_spool(MIB);
    struct spool_chunk first = {.id = ""}, again = {.id = ""};
    faas_err err;

    (void)state;
    expect(spool, NULL);
    assert_int_equal(counts_of(spool).unconfirmed, 0);
    write_text(spool, "one");
    write_text(spool, "two");
    assert_ok(spool_next(spool, &first, &err));
    assert_ok(spool_next(spool, &again, &err)); /* sending it failed */
    assert_string_equal(first.id, again.id);
    spool_chunk_done(&first);
    spool_chunk_done(&again);
    spool_confirm(spool);
    expect(spool, "two");
    expect(spool, NULL);
    write_text(spool, "three");
    expect(spool, "three");
    spool_close(spool);
    assert_int_equal(files("", NULL), 2); /* "." and "..": nothing is left */
}

static void what_a_killed_process_wrote_is_adopted_with_its_ids(void **state)
{
    static const char *const texts[] = {"a", "b", NULL};
    struct spool_chunk chunk = {.id = ""};
    struct spool *spool;
    char path[512];
    faas_err err;

    (void)state;
    die_with(texts);
    assert_int_equal(files(".spool", path), 1);
    spool = open_spool(MIB);
    adopt(spool);
    assert_int_equal(counts_of(spool).orphans, 1);
    write_text(spool, "own");
    expect(spool, "own"); /* the living one's first: it has callers */
    assert_ok(spool_next(spool, &chunk, &err));
    assert_memory_equal(strrchr(path, '/') + 1, chunk.id, 32); /* the token of the dead one */
    spool_chunk_done(&chunk);
    expect(spool, "a");
    expect(spool, "b");
    expect(spool, NULL);
    assert_int_equal(files(".lock", NULL), 1);
    spool_close(spool);
}

static void a_spool_in_use_is_left_alone(void **state)
{
    struct spool *one = open_spool(MIB), *two = open_spool(MIB);

    (void)state;
    write_text(one, "mine");
    adopt(two);
    expect(two, NULL);
    expect(one, "mine");
    spool_close(one);
    spool_close(two);
}

static void what_was_not_confirmed_stays_after_an_orderly_end(void **state)
{
    struct spool *one = open_spool(MIB), *two;

    (void)state;
    write_text(one, "sent");
    write_text(one, "left");
    expect(one, "sent");
    spool_close(one);
    two = open_spool(MIB);
    adopt(two);
    expect(two, "sent"); /* how far it was confirmed died with it: ids tell */
    expect(two, "left");
    spool_close(two);
}

static void a_torn_end_loses_what_was_torn_alone(void **state)
{
    static const char *const texts[] = {"whole", "torn by the cut", NULL};
    struct spool *spool;
    struct stat st;
    char path[512];

    (void)state;
    die_with(texts);
    assert_int_equal(files(".spool", path), 1);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(truncate(path, st.st_size - 3), 0);
    spool = open_spool(MIB);
    adopt(spool);
    expect(spool, "whole");
    expect(spool, NULL);
    assert_int_equal(counts_of(spool).bytes_damaged, 24 + strlen(texts[1]) - 3);
    spool_close(spool);
}

/* At each byte of the middle chunk: its neighbours come, it does not. */
static void damage_in_the_middle_is_passed_over(void **state)
{
    static const char *const texts[] = {"before", "FRC1 middle", "after", NULL};
    const off_t begin = 24 + (off_t)strlen("before"), len = 24 + (off_t)strlen("FRC1 middle");

    (void)state;
    for (off_t at = begin; at < begin + len; at++) {
        struct spool *spool;
        char path[512], byte;
        int fd;

        if (at >= begin + 12 && at < begin + 16) /* of no meaning yet */
            continue;
        die_with(texts);
        assert_int_equal(files(".spool", path), 1);
        fd = open(path, O_RDWR);
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        byte ^= 0x41;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        close(fd);
        spool = open_spool(MIB);
        adopt(spool);
        expect(spool, "before");
        if (at < begin + 8 || at >= begin + 12) /* the count of records is not under the hash */
            expect(spool, "after");
        else
            expect(spool, "FRC1 middle"), expect(spool, "after");
        expect(spool, NULL);
        spool_close(spool);
    }
}

static void whole_segments_go_when_there_are_too_many(void **state)
{
    static char large[SPOOL_CHUNK_MAX];
    struct spool *spool = open_spool((int64_t)3 * MIB);
    struct spool_chunk chunk = {.id = ""};
    uint64_t got = 0;
    faas_err err;

    (void)state;
    memset(large, 'x', sizeof large);
    for (int i = 0; i < 40; i++) {
        memcpy(large, &i, sizeof i);
        assert_ok(spool_write(spool, large, sizeof large, 1, &err));
        assert_true(counts_of(spool).bytes <= (int64_t)3 * MIB + (int64_t)sizeof large + 24);
    }
    for (int last = -1, at; spool_next(spool, &chunk, &err) == FAAS_OK; got++) {
        memcpy(&at, chunk.data, sizeof at);
        assert_true(at > last); /* the newest stay, in order */
        last = at;
        spool_chunk_done(&chunk);
        spool_confirm(spool);
    }
    assert_true(got >= 7);
    assert_int_equal(counts_of(spool).records_dropped + got, 40);
    spool_close(spool);
}

/* A full disk, as a limit of the process: nothing torn stays, and writing goes on afterwards. */
static void a_full_disk_fails_the_write_and_spoils_nothing(void **state)
{
    struct spool *spool = open_spool(MIB);
    const struct rlimit none = {RLIM_INFINITY, RLIM_INFINITY};
    struct rlimit little = {60, RLIM_INFINITY};
    static const char text[] = "a text that is too long for what is left of the disk";
    faas_err err = {0};

    (void)state;
    (void)signal(SIGXFSZ, SIG_IGN);
    write_text(spool, "first");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &little), 0);
    assert_int_equal(spool_write(spool, text, strlen(text), 1, &err), FAAS_INTERNAL);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
    expect(spool, "first");
    expect(spool, NULL);
    write_text(spool, text);
    expect(spool, text);
    assert_int_equal(counts_of(spool).bytes_damaged, 0);
    spool_close(spool);
    (void)signal(SIGXFSZ, SIG_DFL);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_dir, remove_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(chunks_come_in_order_until_they_are_confirmed),
        TEST(what_a_killed_process_wrote_is_adopted_with_its_ids),
        TEST(a_spool_in_use_is_left_alone),
        TEST(what_was_not_confirmed_stays_after_an_orderly_end),
        TEST(a_torn_end_loses_what_was_torn_alone),
        TEST(damage_in_the_middle_is_passed_over),
        TEST(whole_segments_go_when_there_are_too_many),
        TEST(a_full_disk_fails_the_write_and_spoils_nothing),
    };

    return run_unit(tests);
}
