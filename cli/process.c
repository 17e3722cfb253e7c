#include "cli/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

static void free_list(char **list)
{
    for (char **p = list; p != NULL && *p != NULL; p++)
        free(*p);
    free(list);
}

void process_spec_done(struct process_spec *spec)
{
    free(spec->name);
    free_list(spec->argv);
    free_list(spec->env);
    free(spec->log_path);
    free(spec->url);
    *spec = (struct process_spec){0};
}

int64_t process_delay_ms(int quick_deaths)
{
    int64_t delay = PROCESS_DELAY_FIRST_MS;

    if (quick_deaths <= 1)
        return 0;
    for (int i = 2; i < quick_deaths && delay < PROCESS_DELAY_MOST_MS; i++)
        delay *= 2;
    return delay < PROCESS_DELAY_MOST_MS ? delay : PROCESS_DELAY_MOST_MS;
}

void process_status_text(int status, char *out_text, size_t room)
{
    if (status == -1)
        snprintf(out_text, room, "-");
    else if (WIFSIGNALED(status))
        snprintf(out_text, room, "signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        snprintf(out_text, room, "exit status %d", WEXITSTATUS(status));
}

/* ---- between fork and exec: only calls that are safe after a fork in a threaded process ---- */

static void fail_in_child(const char *what)
{
    static const char begin[] = "{\"level\":\"error\",\"msg\":\"cannot start\",\"call\":\"";
    static const char end[] = "\"}\n";

    if (write(STDERR_FILENO, begin, sizeof begin - 1) < 0 ||
        write(STDERR_FILENO, what, strlen(what)) < 0 ||
        write(STDERR_FILENO, end, sizeof end - 1) < 0)
        _exit(126);
    _exit(127);
}

static void become(const struct process *process, int log_fd, pid_t parent)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigset_t none;
    int null_fd = open("/dev/null", O_RDONLY);

    if (dup2(log_fd, STDOUT_FILENO) < 0 || dup2(log_fd, STDERR_FILENO) < 0)
        _exit(126);
    if (null_fd < 0 || dup2(null_fd, STDIN_FILENO) < 0)
        fail_in_child("open /dev/null");
    close(null_fd);
    for (int i = 1; i < NSIG; i++)
        sigaction(i, &action, NULL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setpgid(0, 0);
    if (process->kept_fd >= 0 && fcntl(process->kept_fd, F_SETFD, 0) != 0)
        fail_in_child("fcntl");
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
        fail_in_child("prctl");
    if (process->spec->timer_slack_ns > 0 &&
        prctl(PR_SET_TIMERSLACK, process->spec->timer_slack_ns) != 0)
        fail_in_child("prctl");
    if (getppid() != parent) /* it died before the line above */
        _exit(126);
    execve(process->spec->argv[0], process->spec->argv, process->spec->env);
    fail_in_child("execve");
}

/* ---- life ---- */

static void ended(struct process *process, int status)
{
    int64_t life_ms = (int64_t)((faas_now_ns() - process->started_ns) / FAAS_MS_NS);

    logfile_drain(&process->log);
    process->pid = 0;
    process->last_status = status;
    process->quick_deaths = life_ms >= PROCESS_GOOD_LIFE_MS ? 1 : process->quick_deaths + 1;
    process->state = PROCESS_STOPPED;
    process->since_ms = faas_wall_ms();
    process->on_change(process, process->arg);
}

static void on_child(struct ev_loop *ev, ev_child *watcher, int events)
{
    (void)events;
    ev_child_stop(ev, watcher);
    ended(watcher->data, watcher->rstatus);
}

static void on_retry(struct ev_loop *ev, ev_timer *watcher, int events)
{
    struct process *process = watcher->data;

    (void)ev;
    (void)events;
    process->restarts++;
    process_start(process);
}

faas_code process_init(struct process *process, const struct process_spec *spec,
                       const struct process_setup *setup, faas_err *err)
{
    char *log_path = strdup(spec->log_path);

    if (log_path == NULL)
        return faas_fail_sys(err, errno, "log path");
    *process = (struct process){.spec = spec, .ev = setup->ev, .last_status = -1};
    process->kept_fd = setup->kept_fd;
    process->on_change = setup->on_change;
    process->arg = setup->arg;
    if (logfile_open(&process->log, log_path, spec->name, setup->is_echoed, err) != FAAS_OK) {
        free(log_path);
        return err->code;
    }
    ev_timer_init(&process->retry, on_retry, 0., 0.);
    process->retry.data = process;
    return FAAS_OK;
}

void process_start(struct process *process)
{
    pid_t parent = getpid(), pid = -1;
    faas_err err;
    int log_fd;

    process->started_ns = faas_now_ns();
    process->since_ms = faas_wall_ms();
    if (logfile_attach(&process->log, process->ev, &log_fd, &err) == FAAS_OK) {
        pid = fork();
        if (pid == 0)
            become(process, log_fd, parent);
        close(log_fd);
    }
    if (pid < 0) { /* no descriptors or processes left: try again later like after a death */
        ended(process, 126 << 8);
        return;
    }
    process->pid = pid;
    process->state = PROCESS_RUNNING;
    ev_child_init(&process->child, on_child, pid, 0);
    process->child.data = process;
    ev_child_start(process->ev, &process->child);
    process->on_change(process, process->arg);
}

void process_signal(struct process *process, int signal_number)
{
    if (process->pid > 0)
        kill(process->pid, signal_number);
}

void process_restart(struct process *process)
{
    process->state = PROCESS_WAITING;
    ev_timer_set(&process->retry, (double)process_delay_ms(process->quick_deaths) / 1000., 0.);
    ev_timer_start(process->ev, &process->retry);
}

void process_settle(struct process *process)
{
    ev_timer_stop(process->ev, &process->retry);
    if (process->state == PROCESS_WAITING)
        process->state = PROCESS_STOPPED;
}

void process_done(struct process *process)
{
    if (process->ev == NULL)
        return;
    ev_timer_stop(process->ev, &process->retry);
    ev_child_stop(process->ev, &process->child);
    logfile_close(&process->log, process->ev);
}
