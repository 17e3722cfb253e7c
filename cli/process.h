/* process.h - one child of `faas up`: start, death, restart with back-off.
 * Start     its own process group, standard input empty, output into its log, SIGKILL when the
 *           supervisor dies (PR_SET_PDEATHSIG), one inherited descriptor (kept_fd).
 * Restart   the first at once, then after 100 ms, doubling to 5 s; a life of 10 s counts as success
 *           and begins anew.
 * States    see the enum; only process.c and supervisor.c change them.
 * Threads   the loop thread (the main thread: PDEATHSIG follows the thread that forked).
 */
#ifndef CLI_PROCESS_H
#define CLI_PROCESS_H

#include <ev.h>
#include <stdint.h>

#include "cli/logfile.h"

#define PROCESS_DELAY_FIRST_MS 100
#define PROCESS_DELAY_MOST_MS  5000
#define PROCESS_GOOD_LIFE_MS   10000

struct process_spec { /* all owned by the spec */
    char *name;       /* "auth-1" */
    const char *service;
    int number;
    char **argv, **env; /* NULL-terminated */
    char *log_path;
    char *url;               /* where it answers HTTP, or NULL */
    const char *health_path; /* of the url; NULL: /healthz */
    int monitor_port;
    long timer_slack_ns; /* its timers may be so late; 0: as usual */
};
void process_spec_done(struct process_spec *spec);

struct process {
    const struct process_spec *spec;
    enum process_state {
        PROCESS_STOPPED, /* not started, or ended for good */
        PROCESS_RUNNING,
        PROCESS_WAITING, /* will be started again */
    } state;
    pid_t pid;                  /* 0 unless running */
    int restarts, quick_deaths; /* since the start; in a row, each before a good life */
    int last_status;            /* waitpid's; -1: has not ended yet */
    int64_t since_ms;           /* wall clock of the last change */
    uint64_t started_ns;
    struct ev_loop *ev;
    int kept_fd;
    ev_child child;
    ev_timer retry;
    struct logfile log;
    void (*on_change)(struct process *process, void *arg); /* started, or ended */
    void *arg;
};

struct process_setup {
    struct ev_loop *ev;
    int kept_fd; /* handed down through exec; -1: none */
    bool is_echoed;
    void (*on_change)(struct process *process, void *arg);
    void *arg;
};

FAAS_MUST_CHECK faas_code process_init(struct process *process, const struct process_spec *spec,
                                       const struct process_setup *setup, faas_err *err);
void process_start(struct process *process);
/* Sends the signal if it runs. */
void process_signal(struct process *process, int signal_number);
/* After its death (on_change): start it again when it is due. */
void process_restart(struct process *process);
/* No further restart. */
void process_settle(struct process *process);
void process_done(struct process *process);
/* Milliseconds before the next start, given deaths in a row (1: the first). */
int64_t process_delay_ms(int quick_deaths);
/* "exit status 1", "signal 9 (Killed)". */
void process_status_text(int status, char *out_text, size_t room);

#endif
