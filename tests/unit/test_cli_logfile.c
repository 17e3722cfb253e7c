#include "tests/unit/unit.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/file.h"
#include "cli/logfile.h"

#define LINE "0123456789012345678901234567890123456789012345678901234567890\n"

static char folder[] = "/tmp/faas-cli-log.XXXXXX";

static void write_lines(struct logfile *log, int fd, size_t bytes)
{
    for (size_t done = 0; done < bytes; done += sizeof LINE - 1) {
        assert_int_equal(write(fd, LINE, sizeof LINE - 1), sizeof LINE - 1);
        if (done % 32768 < sizeof LINE)
            logfile_drain(log);
    }
    logfile_drain(log);
}

static off_t size_of(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 ? st.st_size : -1;
}

static void a_full_log_moves_aside_at_a_lines_end(void **state)
{
    struct ev_loop *ev = ev_loop_new(0);
    char *path = file_path("%s/a.log", folder);
    FAAS_AUTO(char) *older = file_path("%s/a.log.1", folder);
    FAAS_AUTO(char) *current = strdup(path);
    struct logfile log;
    faas_err err = {0};
    int fd;

    (void)state;
    assert_ok(logfile_open(&log, path, "a", false, &err));
    assert_ok(logfile_attach(&log, ev, &fd, &err));
    write_lines(&log, fd, LOGFILE_MAX + LOGFILE_MAX / 2);
    close(fd);
    logfile_close(&log, ev);
    ev_loop_destroy(ev);
    assert_in_range(size_of(older), LOGFILE_MAX, LOGFILE_MAX + 200000);
    assert_int_equal(size_of(older) % (off_t)(sizeof LINE - 1), 0);
    assert_in_range(size_of(current), 1, LOGFILE_MAX / 2 + 200000);
    assert_int_equal(size_of(current) % (off_t)(sizeof LINE - 1), 0);
    unlink(older);
    unlink(current);
}

static void the_last_line_is_kept_also_an_unfinished_one(void **state)
{
    struct ev_loop *ev = ev_loop_new(0);
    char *path = file_path("%s/b.log", folder);
    FAAS_AUTO(char) *current = strdup(path);
    struct logfile log;
    faas_err err = {0};
    int fd;

    (void)state;
    assert_ok(logfile_open(&log, path, "b", false, &err));
    assert_ok(logfile_attach(&log, ev, &fd, &err));
    assert_int_equal(write(fd, "first\nsecond\n\n", 14), 14);
    logfile_drain(&log);
    assert_string_equal(log.last, "second");
    assert_int_equal(write(fd, "third", 5), 5);
    close(fd);
    ev_run(ev, 0); /* until the pipe's end */
    assert_string_equal(log.last, "third");
    assert_int_equal(log.pipe_fd, -1);
    assert_int_equal(size_of(current), 19);
    logfile_close(&log, ev);
    ev_loop_destroy(ev);
    unlink(current);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_log_moves_aside_at_a_lines_end),
        cmocka_unit_test(the_last_line_is_kept_also_an_unfinished_one),
    };
    int failed;

    if (mkdtemp(folder) == NULL)
        return 1;
    failed = run_unit(tests);
    rmdir(folder);
    return failed;
}
