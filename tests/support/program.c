#include "tests/support/program.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/process.h"
#include "tests/unit/unit.h"

#define SETTINGS_MAX 32
#define KEY_MS       30000

static const char *const passed_on[] = {"PATH", "ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS",
                                        "LSAN_OPTIONS"};

static void run_child(const char *path, char **env, const char *log_file)
{
    int fd = open(log_file, O_WRONLY | O_CREAT | O_APPEND, 0600);

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (fd < 0 || dup2(fd, 2) < 0)
        _exit(127);
    execle(path, path, (char *)NULL, env);
    _exit(127);
}

pid_t program_start(const char *name, const char *const *settings, const char *log_file)
{
    const char *build = getenv("FAAS_BUILD");
    char path[256], kept[FAAS_ARRAY_LEN(passed_on)][512];
    char *env[SETTINGS_MAX + FAAS_ARRAY_LEN(passed_on) + 1];
    size_t count = 0;
    pid_t pid;

    (void)snprintf(path, sizeof path, "%s/bin/faas-%s", build != NULL ? build : "build/release",
                   name);
    for (size_t i = 0; i < FAAS_ARRAY_LEN(passed_on); i++) {
        const char *value = getenv(passed_on[i]);

        (void)snprintf(kept[i], sizeof kept[i], "%s=%s", passed_on[i], value != NULL ? value : "");
        if (value != NULL)
            env[count++] = kept[i];
    }
    for (; *settings != NULL && count < FAAS_ARRAY_LEN(env) - 1; settings++)
        env[count++] = (char *)(uintptr_t)*settings; /* execve's type; it changes nothing */
    env[count] = NULL;
    pid = fork();
    if (pid == 0)
        run_child(path, env, log_file);
    assert_true(pid > 0);
    return pid;
}

struct ending {
    pid_t pid;
    int status;
};

static bool has_ended(void *arg)
{
    struct ending *ending = arg;

    return waitpid(ending->pid, &ending->status, WNOHANG) == ending->pid;
}

int program_wait(pid_t pid, int64_t ms)
{
    struct ending ending = {.pid = pid};

    wait_until(has_ended, &ending, ms, "the program ends");
    return WIFSIGNALED(ending.status) ? 128 + WTERMSIG(ending.status) : WEXITSTATUS(ending.status);
}

int program_stop(pid_t pid, int signal, int64_t ms)
{
    assert_int_equal(kill(pid, signal), 0);
    return program_wait(pid, ms);
}

void program_make_key(const char *path)
{
    char command[1000];
    int len = snprintf(command, sizeof command,
                       "umask 077; openssl ecparam -name prime256v1 -genkey -noout -out %s.new && "
                       "mv %s.new %s",
                       path, path, path);
    pid_t pid;

    assert_in_range(len, 1, sizeof command - 1);
    pid = fork();
    if (pid == 0) {
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    assert_int_equal(program_wait(pid, KEY_MS), 0);
}
