#include "tests/support/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/auto.h"

extern char **environ;

static char private_dir[] = "/tmp/faas-engine-XXXXXX";
static int is_private;

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "test engine: %s\n", what);
    exit(1);
}

static pid_t spawn_with_pipe(const char *const *argv, int out_fd)
{
    posix_spawn_file_actions_t actions;
    char *copy[32] = {NULL};
    pid_t pid = -1;

    for (int i = 0; argv[i] != NULL && i < 31; i++)
        copy[i] = strdup(argv[i]);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, out_fd, STDOUT_FILENO);
    if (posix_spawnp(&pid, copy[0], &actions, NULL, copy, environ) != 0)
        pid = -1;
    posix_spawn_file_actions_destroy(&actions);
    for (int i = 0; copy[i] != NULL; i++)
        free(copy[i]);
    return pid;
}

static char *read_all(int fd)
{
    size_t len = 0, room = 4096;
    char *text = malloc(room);

    for (;;) {
        ssize_t n;

        if (text == NULL)
            die("no memory");
        n = read(fd, text + len, room - len - 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        len += (size_t)n;
        if (room - len < 2048)
            text = realloc(text, room *= 2);
    }
    while (len > 0 && text[len - 1] == '\n')
        len--;
    text[len] = '\0';
    return text;
}

char *test_run(const char *const *argv)
{
    int ends[2], status = 0;
    char *text;
    pid_t pid;

    if (pipe2(ends, O_CLOEXEC) != 0) /* or the engine would hold its end for ever */
        die("no pipe");
    pid = spawn_with_pipe(argv, ends[1]);
    close(ends[1]);
    if (pid < 0)
        die(argv[0]);
    text = read_all(ends[0]);
    close(ends[0]);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return text;
    free(text);
    return NULL;
}

char *test_containers(const char *label, const char *value)
{
    char filter[200];
    const char *const argv[] = {"docker", "ps", "-a", "--no-trunc", "-q", "--filter", filter, NULL};
    char *ids;

    (void)snprintf(filter, sizeof filter, "label=%s=%s", label, value);
    ids = test_run(argv);
    if (ids == NULL)
        die("docker ps");
    return ids;
}

void test_engine_start(void)
{
    const char *const find[] = {"scripts/engine", "find", NULL};
    const char *const start[] = {"scripts/engine", "start", private_dir, NULL};
    const char *const images[] = {"scripts/examples", "--tests", NULL};
    FAAS_AUTO(char) *host = test_run(find), *done = NULL;
    const char *last;

    if (host == NULL) {
        if (mkdtemp(private_dir) == NULL)
            die("no directory");
        is_private = 1;
        host = test_run(start);
    }
    if (host == NULL)
        die("scripts/engine start");
    last = strrchr(host, '\n');
    setenv("DOCKER_HOST", last != NULL ? last + 1 : host, 1);
    done = test_run(images);
    if (done == NULL) {
        test_engine_stop();
        die("scripts/examples");
    }
}

void test_engine_stop(void)
{
    const char *const stop[] = {"scripts/engine", "stop", private_dir, NULL};
    const char *const clean[] = {"rm", "-rf", private_dir, NULL};

    if (!is_private)
        return;
    free(test_run(stop));
    free(test_run(clean));
    is_private = 0;
}
