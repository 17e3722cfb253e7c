#include "cli/programs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/file.h"
#include "cli/nats_conf.h"

extern char **environ;

faas_code programs_folder(char **out_folder, faas_err *err)
{
    char path[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", path, sizeof path - 1);

    if (len < 0)
        return file_fail(err, "read", "/proc/self/exe", errno);
    path[len] = '\0';
    *strrchr(path, '/') = '\0';
    *out_folder = strdup(path);
    return *out_folder != NULL ? FAAS_OK : faas_fail_sys(err, errno, "program folder");
}

faas_code programs_ours(const char *folder, const char *name, char **out_path, faas_err *err)
{
    FAAS_AUTO(char) *path = file_path("%s/%s", folder, name);

    if (path == NULL)
        return faas_fail(err, FAAS_INTERNAL, "out of memory");
    if (access(path, X_OK) != 0)
        return faas_fail(err, FAAS_UNAVAILABLE, "%s is missing; build it first (make)", path);
    *out_path = FAAS_STEAL(path);
    return FAAS_OK;
}

bool programs_ask(const char *program, const char *argument, char *out_text, size_t room)
{
    FAAS_AUTO(char) *name = strdup(program), *word = strdup(argument);
    char *const argv[] = {name, word, NULL};
    posix_spawn_file_actions_t actions;
    size_t len = 0;
    int ends[2], status;
    ssize_t n;
    pid_t pid;

    if (name == NULL || word == NULL || pipe2(ends, O_CLOEXEC) != 0)
        return false;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    status = posix_spawn(&pid, program, &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    while (status == 0 && len < room - 1 && (n = read(ends[0], out_text + len, room - 1 - len)) > 0)
        len += (size_t)n;
    out_text[len] = '\0';
    close(ends[0]);
    if (status != 0)
        return false;
    waitpid(pid, &status, 0);
    return true;
}

static char *find_in_path(const char *name)
{
    const char *at = getenv("PATH");

    while (at != NULL && *at != '\0') {
        size_t len = strcspn(at, ":");
        FAAS_AUTO(char) *path = file_path("%.*s/%s", (int)len, at, name);

        if (len > 0 && path != NULL && access(path, X_OK) == 0)
            return FAAS_STEAL(path);
        at += len + (at[len] == ':');
    }
    return NULL;
}

static char *find_nats(const char *folder)
{
    const char *const beside[] = {"../../deps/bin/nats-server", "nats-server"};
    const char *named = getenv("NATS_SERVER");

    if (named != NULL && named[0] != '\0')
        return strdup(named);
    for (size_t i = 0; i < FAAS_ARRAY_LEN(beside); i++) {
        FAAS_AUTO(char) *path = file_path("%s/%s", folder, beside[i]);

        if (path != NULL && access(path, X_OK) == 0)
            return realpath(path, NULL);
    }
    return find_in_path("nats-server");
}

faas_code programs_nats(const char *folder, char **out_path, faas_err *err)
{
    FAAS_AUTO(char) *path = find_nats(folder);
    char text[256];
    int version[3];

    if (path == NULL)
        return faas_fail(err, FAAS_UNAVAILABLE,
                         "no nats-server found; run scripts/deps, or set NATS_SERVER to one");
    if (!programs_ask(path, "--version", text, sizeof text) || !nats_version_parse(text, version))
        return faas_fail(err, FAAS_UNAVAILABLE, "%s does not run, or is no nats-server", path);
    if (!nats_version_is_enough(version))
        return faas_fail(
            err, FAAS_UNAVAILABLE,
            "%s is version %d.%d.%d, which loses acknowledged writes; 2.10.27 or newer "
            "is needed (scripts/deps)",
            path, version[0], version[1], version[2]);
    *out_path = FAAS_STEAL(path);
    return FAAS_OK;
}

faas_code programs_image_registry(char **out_path, faas_err *err)
{
    *out_path = find_in_path("docker-registry");
    if (*out_path == NULL)
        return faas_fail(err, FAAS_UNAVAILABLE,
                         "--registry needs the program docker-registry: apt-get install "
                         "docker-registry (scripts/deps does so, too)");
    return FAAS_OK;
}
