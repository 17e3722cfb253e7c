/* logfile.h - what a child prints, from its pipe into a file of bounded size.
 * Size      past LOGFILE_MAX the file becomes NAME.log.1 (one older file is kept), at a line's end.
 * Echo      with is_echoed each line also goes to standard error, after the process's name.
 * Delay     lines come a few milliseconds late while there are few, so that many come at once.
 * Last      the last line that was not empty is kept for messages about a failing start.
 * Threads   the loop thread.
 */
#ifndef CLI_LOGFILE_H
#define CLI_LOGFILE_H

#include <ev.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

#define LOGFILE_MAX      (10 * 1024 * 1024)
#define LOGFILE_LINE_MAX 512

struct logfile {
    char *path; /* owned */
    const char *name;
    bool is_echoed;
    int pipe_fd, file_fd; /* -1: closed */
    off_t size;
    bool is_at_line_end;
    char line[LOGFILE_LINE_MAX], last[LOGFILE_LINE_MAX];
    size_t line_len;
    ev_io readable;
    ev_timer rest; /* between two readings of little */
};

/* path is taken when it succeeds.  name lives as long as the log. */
FAAS_MUST_CHECK faas_code logfile_open(struct logfile *log, char *take_path, const char *name,
                                       bool is_echoed, faas_err *err);
/* A pipe for the next child: its end to write (close-on-exec; the caller closes it). */
FAAS_MUST_CHECK faas_code logfile_attach(struct logfile *log, struct ev_loop *ev, int *out_write_fd,
                                         faas_err *err);
/* Reads what is in the pipe now. */
void logfile_drain(struct logfile *log);
void logfile_close(struct logfile *log, struct ev_loop *ev);

#endif
