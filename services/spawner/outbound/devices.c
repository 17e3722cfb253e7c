#include "devices.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rules.h"

#define GATEWAY   "198.19.255.254" /* of every lane: the outer end */
#define BATCH_MAX 1024

static const char *const programs[] = {"/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip", "/bin/ip"};

static const char *program(void)
{
    for (size_t i = 0; i < sizeof programs / sizeof programs[0]; i++)
        if (access(programs[i], X_OK) == 0)
            return programs[i];
    return NULL;
}

static int spawn_ip(const char *path, int input, pid_t *out_pid)
{
    char name[] = "ip", batch[] = "-batch", standard[] = "-";
    char *argv[] = {name, batch, standard, NULL}, *envp[] = {NULL};
    posix_spawn_file_actions_t actions;
    int rc;

    posix_spawn_file_actions_init(&actions);
    rc = posix_spawn_file_actions_adddup2(&actions, input, 0);
    for (int i = 1; rc == 0 && i < 3; i++)
        rc = posix_spawn_file_actions_addopen(&actions, i, "/dev/null", O_WRONLY, 0);
    if (rc == 0)
        rc = posix_spawn(out_pid, path, &actions, NULL, argv, envp);
    posix_spawn_file_actions_destroy(&actions);
    return rc;
}

/* Lines for `ip -batch`, in the namespace this process is in.  False, with errno. */
static bool run(const char *lines)
{
    const char *path = program();
    ssize_t len = (ssize_t)strlen(lines);
    int pair[2], status = 1, rc;
    pid_t pid;

    if (path == NULL || pipe2(pair, O_CLOEXEC) != 0) {
        errno = path == NULL ? ENOENT : errno;
        return false;
    }
    rc = write(pair[1], lines, (size_t)len) == len ? spawn_ip(path, pair[0], &pid) : EIO;
    close(pair[0]);
    close(pair[1]);
    if (rc == 0 && waitpid(pid, &status, 0) != pid)
        rc = ECHILD;
    errno = rc != 0 ? rc : ENOTSUP;
    return rc == 0 && status == 0;
}

static bool make_inside(const char *name, const char *address)
{
    char lines[BATCH_MAX];

    (void)snprintf(lines, sizeof lines,
                   "link add name eth0 type veth peer name %s netns /proc/%d/ns/net\n"
                   "link set eth0 addrgenmode none\n"
                   "addr add %s peer " GATEWAY "/32 dev eth0\n"
                   "link set eth0 up\n"
                   "route add default via " GATEWAY " dev eth0\n",
                   name, (int)getppid(), address);
    return run(lines);
}

static bool make_outside(const char *name, const char *address)
{
    char lines[BATCH_MAX];

    (void)snprintf(lines, sizeof lines,
                   "link set %s addrgenmode none\n"
                   "addr add " GATEWAY " peer %s/32 dev %s\n"
                   "link set %s up\n",
                   name, address, name, name);
    return run(lines);
}

static bool remove_one(const char *name)
{
    char lines[BATCH_MAX];

    if (if_nametoindex(name) == 0)
        return true;
    (void)snprintf(lines, sizeof lines, "link del %s\n", name);
    /* It may have ended by itself meanwhile. */
    return run(lines) || if_nametoindex(name) == 0;
}

bool devices_remove_all(unsigned number)
{
    struct if_nameindex *all = if_nameindex();
    char prefix[IFNAMSIZ];
    bool is_done = all != NULL;

    (void)snprintf(prefix, sizeof prefix, "faas%u-", number);
    for (const struct if_nameindex *at = all; all != NULL && at->if_index != 0; at++)
        if (strncmp(at->if_name, prefix, strlen(prefix)) == 0)
            is_done = remove_one(at->if_name) && is_done;
    if_freenameindex(all);
    return is_done;
}

int devices_make(const struct zy_network_req *req, int own_ns)
{
    struct in_addr at = {.s_addr = htonl(RULES_FIRST + req->number * ZY_NETWORKS + req->index)};
    char name[IFNAMSIZ], address[INET_ADDRSTRLEN];
    int ns = -1;
    bool is_done;

    (void)snprintf(name, sizeof name, "faas%u-%u", req->number, req->index);
    (void)inet_ntop(AF_INET, &at, address, sizeof address);
    if (!remove_one(name) || unshare(CLONE_NEWNET) != 0)
        return -1;
    ns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    is_done = ns >= 0 && make_inside(name, address);
    if (setns(own_ns, CLONE_NEWNET) != 0)
        _exit(1); /* in a strange namespace nothing can be done right */
    if (is_done && make_outside(name, address))
        return ns;
    if (ns >= 0)
        close(ns);
    return -1;
}
