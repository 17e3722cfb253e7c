#include "cli/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

/* Whatever signals we hold back, it does not. */
static int set_attributes(const struct child *child, posix_spawnattr_t *attributes)
{
    sigset_t none;
    int rc;

    sigemptyset(&none);
    rc = posix_spawnattr_setsigmask(attributes, &none);
    return rc != 0 ? rc
                   : posix_spawnattr_setflags(
                         attributes, (short)(POSIX_SPAWN_SETSIGMASK |
                                             (child->stop_fd > 0 ? POSIX_SPAWN_SETPGROUP : 0)));
}

static int set_actions(const struct child *child, int kept_fd, posix_spawn_file_actions_t *actions)
{
    int rc = posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);

    if (rc == 0 && kept_fd >= 0)
        rc = posix_spawn_file_actions_adddup2(actions, kept_fd, STDERR_FILENO);
    if (rc == 0 && child->is_quiet)
        rc = posix_spawn_file_actions_addopen(actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    else if (rc == 0)
        rc = posix_spawn_file_actions_adddup2(actions, STDERR_FILENO, STDOUT_FILENO);
    if (rc == 0 && child->folder != NULL)
        rc = posix_spawn_file_actions_addchdir_np(actions, child->folder);
    return rc;
}

static int start(const struct child *child, int kept_fd, pid_t *out_pid)
{
    union {
        const char *const *words;
        char *const *argv;
    } borrowed = {.words = child->argv}; /* posix_spawn changes nothing */
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int rc = posix_spawn_file_actions_init(&actions);

    if (rc != 0)
        return rc;
    rc = posix_spawnattr_init(&attributes);
    if (rc == 0) {
        rc = set_attributes(child, &attributes);
        if (rc == 0)
            rc = set_actions(child, kept_fd, &actions);
        if (rc == 0)
            rc = posix_spawnp(out_pid, child->argv[0], &actions, &attributes, borrowed.argv,
                              environ);
        posix_spawnattr_destroy(&attributes);
    }
    posix_spawn_file_actions_destroy(&actions);
    return rc;
}

/* False: the time is over, or it must stop. */
static bool wait_for(int pidfd, int stop_fd, uint64_t until_ns)
{
    for (;;) {
        struct pollfd ends[] = {{.fd = pidfd, .events = POLLIN},
                                {.fd = stop_fd > 0 ? stop_fd : -1, .events = POLLIN}};
        uint64_t now = faas_now_ns();
        int rc = now < until_ns
                     ? poll(ends, 2, (int)((until_ns - now + FAAS_MS_NS - 1) / FAAS_MS_NS))
                     : 0;

        if (rc > 0)
            return ends[1].revents == 0;
        if (rc == 0 && faas_now_ns() >= until_ns)
            return false;
        if (rc < 0 && errno != EINTR)
            return false;
    }
}

static void read_kept(int fd, const struct child *child)
{
    ssize_t got = pread(fd, child->out_text, child->out_room - 1, 0);

    child->out_text[got > 0 ? got : 0] = '\0';
}

/* With a file for its words, or -1. */
static faas_code run(const struct child *child, int kept_fd, faas_err *err)
{
    uint64_t until_ns = faas_now_ns() + (uint64_t)child->timeout_ms * FAAS_MS_NS;
    const char *program = child->argv[0];
    char reason[128];
    pid_t pid;
    int rc = start(child, kept_fd, &pid), pidfd, status = 0;
    bool is_over;

    if (rc != 0)
        return faas_fail(err, FAAS_UNAVAILABLE, "%s cannot be started: %s", program,
                         strerror_r(rc, reason, sizeof reason));
    pidfd = pidfd_open(pid, 0);
    is_over = pidfd < 0 || !wait_for(pidfd, child->stop_fd, until_ns);
    if (is_over)
        kill(child->stop_fd > 0 ? -pid : pid, SIGKILL);
    if (pidfd >= 0)
        close(pidfd);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (is_over && faas_now_ns() < until_ns)
        return faas_fail(err, FAAS_UNAVAILABLE, "%s was stopped", program);
    if (is_over)
        return faas_fail(err, FAAS_UNAVAILABLE, "%s did not end within %lld s", program,
                         (long long)(child->timeout_ms / 1000));
    if (WIFSIGNALED(status))
        return faas_fail(err, FAAS_UNAVAILABLE, "%s was killed by signal %d", program,
                         WTERMSIG(status));
    if (WEXITSTATUS(status) != 0)
        return faas_fail(err, FAAS_UNAVAILABLE, "%s failed with exit status %d%s", program,
                         WEXITSTATUS(status), kept_fd < 0 ? "; see above" : "");
    return FAAS_OK;
}

/* A file, not a pipe: nobody has to read while the program runs. */
static faas_code run_kept(const struct child *child, faas_err *err)
{
    int fd = memfd_create("words", MFD_CLOEXEC);
    char words[sizeof err->msg];
    faas_code code;

    if (fd < 0)
        return faas_fail_sys(err, errno, "memfd");
    code = run(child, fd, err);
    read_kept(fd, child);
    close(fd);
    if (code == FAAS_OK || child->out_text[0] == '\0')
        return code;
    snprintf(words, sizeof words, "%s", child->out_text);
    words[strcspn(words, "\n")] = '\0';
    return faas_fail(err, code, "%s: %.150s", child->argv[0], words);
}

faas_code child_run(const struct child *child, faas_err *err)
{
    return child->out_text != NULL ? run_kept(child, err) : run(child, -1, err);
}
