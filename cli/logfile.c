#include "cli/logfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/file.h"
#include "cli/output.h"

#define REST_S 0.005
#define LITTLE 4096 /* bytes: a pipe holds sixteen times that */

static faas_code open_file(struct logfile *log, faas_err *err)
{
    struct stat st;

    log->file_fd = open(log->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log->file_fd < 0)
        return file_fail(err, "write", log->path, errno);
    log->size = fstat(log->file_fd, &st) == 0 ? st.st_size : 0;
    log->is_at_line_end = true;
    return FAAS_OK;
}

faas_code logfile_open(struct logfile *log, char *take_path, const char *name, bool is_echoed,
                       faas_err *err)
{
    *log = (struct logfile){.path = take_path, .name = name, .is_echoed = is_echoed};
    log->pipe_fd = -1;
    log->file_fd = -1;
    if (open_file(log, err) == FAAS_OK)
        return FAAS_OK;
    log->path = NULL;
    return err->code;
}

static void rotate(struct logfile *log)
{
    FAAS_AUTO(char) *older = file_path("%s.1", log->path);
    faas_err err;

    if (older == NULL || rename(log->path, older) != 0)
        return;
    close(log->file_fd);
    if (open_file(log, &err) != FAAS_OK)
        log->file_fd = -1; /* the child goes on without a log rather than block */
}

static void end_line(struct logfile *log)
{
    log->line[log->line_len] = '\0';
    if (log->line_len > 0)
        memcpy(log->last, log->line, log->line_len + 1);
    if (log->is_echoed)
        output_note("%-11s | %s", log->name, log->line);
    log->line_len = 0;
}

static void keep_lines(struct logfile *log, const char *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (data[i] == '\n')
            end_line(log);
        else if (log->line_len < sizeof log->line - 1)
            log->line[log->line_len++] = data[i];
    }
}

static void take(struct logfile *log, const char *data, size_t len)
{
    size_t done = 0;

    keep_lines(log, data, len);
    if (log->size > LOGFILE_MAX && log->is_at_line_end)
        rotate(log);
    while (log->file_fd >= 0 && done < len) {
        ssize_t n = write(log->file_fd, data + done, len - done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break; /* disk full: the line is lost, the child goes on */
        done += (size_t)n;
    }
    log->size += (off_t)done;
    log->is_at_line_end = data[len - 1] == '\n';
}

static void stop_reading(struct logfile *log, struct ev_loop *ev)
{
    if (log->pipe_fd < 0)
        return;
    if (ev != NULL) {
        ev_io_stop(ev, &log->readable);
        ev_timer_stop(ev, &log->rest);
    }
    close(log->pipe_fd);
    log->pipe_fd = -1;
    if (log->line_len > 0)
        end_line(log);
}

/* False at the end of the pipe.  *out_len: what was there. */
static bool read_some(struct logfile *log, size_t *out_len)
{
    char data[65536];
    ssize_t n = read(log->pipe_fd, data, sizeof data);

    *out_len = n > 0 ? (size_t)n : 0;
    if (n > 0)
        take(log, data, (size_t)n);
    return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

static void on_rested(struct ev_loop *ev, ev_timer *timer, int events)
{
    struct logfile *log = timer->data;

    (void)events;
    ev_io_start(ev, &log->readable);
}

static void on_readable(struct ev_loop *ev, ev_io *watcher, int events)
{
    struct logfile *log = watcher->data;

    size_t len;

    (void)events;
    if (!read_some(log, &len)) {
        stop_reading(log, ev);
    } else if (len < LITTLE) { /* a line each time would wake us for each: others may follow */
        ev_io_stop(ev, &log->readable);
        ev_timer_start(ev, &log->rest);
    }
}

faas_code logfile_attach(struct logfile *log, struct ev_loop *ev, int *out_write_fd, faas_err *err)
{
    int ends[2];

    stop_reading(log, ev);
    if (pipe2(ends, O_CLOEXEC) != 0)
        return faas_fail_sys(err, errno, "pipe for %s", log->path);
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    log->pipe_fd = ends[0];
    ev_io_init(&log->readable, on_readable, ends[0], EV_READ);
    log->readable.data = log;
    ev_timer_init(&log->rest, on_rested, REST_S, 0.0);
    log->rest.data = log;
    ev_io_start(ev, &log->readable);
    *out_write_fd = ends[1];
    return FAAS_OK;
}

void logfile_drain(struct logfile *log)
{
    char data[65536];
    ssize_t n;

    while (log->pipe_fd >= 0 && (n = read(log->pipe_fd, data, sizeof data)) > 0)
        take(log, data, (size_t)n);
}

void logfile_close(struct logfile *log, struct ev_loop *ev)
{
    stop_reading(log, ev);
    if (log->path != NULL && log->file_fd >= 0)
        close(log->file_fd);
    free(log->path);
    log->path = NULL;
}
