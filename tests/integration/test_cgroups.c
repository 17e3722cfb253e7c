/* native/cgroup.h on this machine's own control groups, as root: limits hold whatever version they
 * are, and on v2 wherever the spawner was started: in a service's group, alone or among others, in
 * one that was handed over (systemd's Delegate=), in a container, after another spawner.
 * scripts/in-vm runs it where there is v2 alone. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/clock.h"
#include "services/spawner/native/cgroup.h"
#include "tests/unit/unit.h"

#define TOP     "/sys/fs/cgroup"
#define MIB     (1024 * 1024)
#define WAIT_MS 20000

static const struct cgroup_limits small = {.memory_bytes = 32 * MIB, .pids = 8, .cpus = 0.2};
static char outer[64], own[96]; /* groups of a scene: outer holds own */
static char lanes[2][32];       /* names of two spawners' groups */

/* Scenes run in processes of their own, where cmocka's assertions cannot be used. */
#define HOLDS(claim)                                                                               \
    do {                                                                                           \
        if (!(claim)) {                                                                            \
            (void)fprintf(stderr, "%s:%d: not so: %s (errno %d)\n", __FILE__, __LINE__, #claim,    \
                          errno);                                                                  \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

/* ---- files of groups ---- */

static bool write_text(const char *folder, const char *name, const char *text)
{
    char path[192];
    bool is_written;
    int fd;

    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    is_written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return is_written;
}

static bool read_text(const char *path, char *out, size_t room)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd >= 0 ? read(fd, out, room - 1) : -1;

    if (fd >= 0)
        close(fd);
    out[len > 0 ? len : 0] = '\0';
    return len >= 0;
}

static bool has_v2(void)
{
    char text[256];

    return read_text(TOP "/cgroup.controllers", text, sizeof text) && strstr(text, "memory") &&
           strstr(text, "pids") && strstr(text, "cpu ");
}

static bool is_member(pid_t pid, const char *group)
{
    char path[64], text[256], line[128];

    (void)snprintf(path, sizeof path, "/proc/%d/cgroup", (int)pid);
    (void)snprintf(line, sizeof line, "0::%s\n", group);
    return read_text(path, text, sizeof text) && strcmp(text, line) == 0;
}

/* ---- what a spawner does with them ---- */

static pid_t enter(const struct cgroup *group, void (*deed)(void))
{
    int procs[CGROUP_DIRS];
    pid_t pid = fork();

    if (pid != 0)
        return pid;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (size_t i = 0; i < cgroup_procs(group, procs); i++)
        HOLDS(write(procs[i], "0", 1) == 1);
    deed();
    _exit(0);
}

static int status_of(pid_t pid)
{
    int status;

    HOLDS(waitpid(pid, &status, 0) == pid);
    return status;
}

static void fork_too_often(void)
{
    for (int i = 0; i < 16; i++) {
        pid_t pid = fork();

        if (pid == 0) {
            (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
            (void)pause();
        }
        if (pid < 0) {
            HOLDS(errno == EAGAIN && i > 1 && i < (int)small.pids); /* sanitizers have threads */
            _exit(0);
        }
    }
    HOLDS(!"the number of processes is bounded");
}

static void take_too_much(void)
{
    char *at = mmap(NULL, 64 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    HOLDS(at != MAP_FAILED);
    memset(at, 1, 64 * MIB);
}

static void spin(void)
{
    for (;;)
        (void)getppid();
}

static long throttled(const struct cgroup *group)
{
    char path[192], text[512];
    int procs[CGROUP_DIRS];
    const char *at = NULL;

    for (size_t i = 0; i < cgroup_procs(group, procs) && at == NULL; i++) {
        ssize_t len;

        (void)snprintf(path, sizeof path, "/proc/self/fd/%d", procs[i]);
        len = readlink(path, text, sizeof path - 16);
        HOLDS(len > 0);
        text[len] = '\0';
        (void)snprintf(strrchr(text, '/'), 16, "/cpu.stat");
        (void)snprintf(path, sizeof path, "%.180s", text);
        at = read_text(path, text, sizeof text) ? strstr(text, "nr_throttled ") : NULL;
    }
    HOLDS(at != NULL);
    return strtol(at + sizeof "nr_throttled", NULL, 10);
}

/* Until all in it are gone. */
static void kill_all(const struct cgroup *group)
{
    uint64_t deadline = faas_deadline_in_ms(WAIT_MS);

    while (cgroup_kill(group, NULL, NULL) > 0 && faas_left_ms(deadline) > 0)
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
    HOLDS(cgroup_count(group) == 0);
}

static void bound_its_use(const struct cgroup *group)
{
    uint64_t deadline = faas_deadline_in_ms(WAIT_MS);
    pid_t spinning;

    HOLDS(status_of(enter(group, fork_too_often)) == 0);
    kill_all(group); /* its children die with it, if not at once */
    HOLDS(cgroup_oom_kills(group) == 0);
    HOLDS(status_of(enter(group, take_too_much)) == SIGKILL);
    HOLDS(cgroup_oom_kills(group) == 1);
    spinning = enter(group, spin);
    while (throttled(group) == 0 && faas_left_ms(deadline) > 0)
        (void)poll(NULL, 0, 10);
    HOLDS(throttled(group) > 0);
    HOLDS(kill(spinning, SIGKILL) == 0 && status_of(spinning) == SIGKILL);
}

static struct cgroups *open_groups(const char *name)
{
    struct cgroups *groups = NULL;
    faas_err err = {0};

    HOLDS(cgroups_open(name, &groups, &err) == FAAS_OK);
    HOLDS(cgroups_has(groups) == CGROUP_ALL);
    return groups;
}

static void work(struct cgroups *groups)
{
    struct cgroup *group = NULL;
    faas_err err = {0};

    HOLDS(cgroups_take(groups, &small, &group, &err) == FAAS_OK);
    bound_its_use(group);
    cgroups_give(group);
}

static void open_work_and_close(void)
{
    struct cgroups *groups = open_groups(lanes[0]);

    work(groups);
    cgroups_close(groups);
}

/* ---- scenes of v2 ---- */

static void enter_own(void)
{
    HOLDS(write_text(TOP, "cgroup.subtree_control", "+memory +pids +cpu"));
    HOLDS(mkdir(outer, 0755) == 0);
    HOLDS(write_text(outer, "cgroup.subtree_control", "+memory +pids"));
    HOLDS(mkdir(own, 0755) == 0);
    HOLDS(write_text(own, "cgroup.procs", "0"));
}

static void give_own_all(void)
{
    HOLDS(write_text(outer, "cgroup.subtree_control", "+cpu"));
}

static pid_t bystander(void)
{
    pid_t pid = fork();

    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;)
            (void)pause();
    }
    HOLDS(pid > 0);
    return pid;
}

/* As a container's first process sees it. */
static void see_own_alone(void)
{
    HOLDS(unshare(CLONE_NEWCGROUP | CLONE_NEWNS) == 0);
    HOLDS(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    HOLDS(umount2(TOP, MNT_DETACH) == 0 && mount("cgroup2", TOP, "cgroup2", 0, NULL) == 0);
}

static bool is_there(const char *folder, const char *name)
{
    char path[192];

    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return access(path, F_OK) == 0;
}

static void alone_in_a_group(void)
{
    struct cgroups *groups;

    enter_own();
    give_own_all();
    groups = open_groups(lanes[0]);
    HOLDS(is_there(own, lanes[0]));
    work(groups);
    cgroups_close(groups);
    HOLDS(is_member(getpid(), own + strlen(TOP))); /* as it was */
}

static void among_others(void)
{
    struct cgroups *groups;
    pid_t other;

    enter_own();
    give_own_all();
    other = bystander();
    groups = open_groups(lanes[0]);
    HOLDS(is_there(TOP, lanes[0]) && is_member(other, own + strlen(TOP)));
    work(groups);
    cgroups_close(groups);
}

static void without_all_controllers(void)
{
    struct cgroups *groups;

    enter_own();
    groups = open_groups(lanes[0]);
    HOLDS(is_there(TOP, lanes[0]) && is_member(getpid(), own + strlen(TOP)));
    work(groups);
    cgroups_close(groups);
}

static void handed_over(void)
{
    struct cgroups *groups;

    enter_own();
    give_own_all();
    HOLDS(setxattr(own, "trusted.delegate", "1", 1, 0) == 0);
    (void)bystander();
    groups = open_groups(lanes[0]);
    HOLDS(is_there(own, lanes[0]));
    work(groups);
    cgroups_close(groups);
}

static void in_a_container(void)
{
    pid_t other;

    enter_own();
    give_own_all();
    other = bystander();
    see_own_alone();
    open_work_and_close();
    HOLDS(is_member(other, "/") && is_member(getpid(), "/"));
}

static void beside_another_spawner(void)
{
    struct cgroups *groups[2];

    enter_own();
    give_own_all();
    (void)bystander();
    see_own_alone();
    groups[0] = open_groups(lanes[0]);
    groups[1] = open_groups(lanes[1]);
    work(groups[0]);
    cgroups_close(groups[0]);
    work(groups[1]);
    cgroups_close(groups[1]);
    HOLDS(is_member(getpid(), "/"));
}

static void after_one_that_was_killed(void)
{
    struct cgroup *group = NULL;
    faas_err err = {0};
    pid_t pid;

    enter_own();
    give_own_all();
    see_own_alone();
    pid = fork();
    if (pid == 0) {
        HOLDS(cgroups_take(open_groups(lanes[0]), &small, &group, &err) == FAAS_OK);
        (void)raise(SIGKILL);
    }
    HOLDS(status_of(pid) == SIGKILL);
    open_work_and_close();
    HOLDS(is_member(getpid(), "/"));
}

static int remove_group(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st, (void)at;
    if (kind == FTW_DP)
        (void)rmdir(path);
    return 0;
}

/* When its processes have ended nothing is left in own. */
static void play(void (*scene)(void))
{
    static int number;
    uint64_t deadline = faas_deadline_in_ms(WAIT_MS);
    int status = 0;
    bool is_clean;
    pid_t pid;

    if (!has_v2())
        skip();
    (void)snprintf(outer, sizeof outer, TOP "/faas-test-%d-%d", (int)getpid(), number++);
    (void)snprintf(own, sizeof own, "%s/own", outer);
    pid = fork();
    if (pid == 0) {
        scene();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(write_text(outer, "cgroup.kill", "1"));
    while (status == 0 && rmdir(own) != 0 && faas_left_ms(deadline) > 0)
        (void)poll(NULL, 0, 10);
    is_clean = rmdir(outer) == 0;
    if (!is_clean)
        (void)nftw(outer, remove_group, 8, FTW_PHYS | FTW_DEPTH);
    assert_int_equal(status, 0);
    assert_true(is_clean);
    assert_false(is_there(TOP, lanes[0]));
}

static void v2_alone_in_its_group_a_spawner_divides_it(void **state)
{
    (void)state;
    play(alone_in_a_group);
}

static void v2_among_others_it_goes_to_the_top(void **state)
{
    (void)state;
    play(among_others);
}

static void v2_a_group_without_all_controllers_is_not_used(void **state)
{
    (void)state;
    play(without_all_controllers);
}

static void v2_a_group_that_was_handed_over_is_divided(void **state)
{
    (void)state;
    play(handed_over);
}

static void v2_in_a_container_its_processes_step_aside(void **state)
{
    (void)state;
    play(in_a_container);
}

static void v2_two_spawners_divide_a_container(void **state)
{
    (void)state;
    play(beside_another_spawner);
}

static void v2_the_next_spawner_takes_over(void **state)
{
    (void)state;
    play(after_one_that_was_killed);
}

/* ---- whatever the version ---- */

static int in_process(void (*deed)(void))
{
    pid_t pid = fork();

    if (pid == 0) {
        deed();
        _exit(0);
    }
    return status_of(pid);
}

static void limits_hold(void **state)
{
    (void)state;
    assert_int_equal(in_process(open_work_and_close), 0);
}

static char folder[] = "/tmp/faas-cgroups-XXXXXX";

static void fill_folder(void)
{
    char path[64], *block = calloc(1, MIB);
    int fd;

    (void)snprintf(path, sizeof path, "%s/file", folder);
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    HOLDS(block != NULL && fd >= 0);
    for (int i = 0; i < 24; i++)
        HOLDS(write(fd, block, MIB) == MIB);
}

/* What a lane wrote to memory may be given back after its end. */
static void use_a_full_group(void)
{
    const struct cgroup_limits less = {.memory_bytes = 16 * MIB, .pids = 8, .cpus = 0.2};
    struct cgroups *groups = open_groups(lanes[0]);
    struct cgroup *group = NULL, *next = NULL;
    faas_err err = {0};

    HOLDS(mount("tmpfs", folder, "tmpfs", 0, NULL) == 0);
    HOLDS(cgroups_take(groups, &small, &group, &err) == FAAS_OK);
    HOLDS(status_of(enter(group, fill_folder)) == 0);
    cgroups_give(group);
    HOLDS(cgroups_take(groups, &less, &next, &err) == FAAS_OK);
    HOLDS(status_of(enter(next, fork_too_often)) == 0); /* there is memory for that */
    kill_all(next);
    HOLDS(cgroup_oom_kills(next) == 0);
    HOLDS(umount(folder) == 0);
    cgroups_give(next);
    cgroups_close(groups);
}

static void a_full_group_is_not_used_again(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(folder));
    if (in_process(use_a_full_group) != 0) {
        (void)umount(folder);
        fail();
    }
    assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(a_full_group_is_not_used_again),
        cmocka_unit_test(v2_alone_in_its_group_a_spawner_divides_it),
        cmocka_unit_test(v2_among_others_it_goes_to_the_top),
        cmocka_unit_test(v2_a_group_without_all_controllers_is_not_used),
        cmocka_unit_test(v2_a_group_that_was_handed_over_is_divided),
        cmocka_unit_test(v2_in_a_container_its_processes_step_aside),
        cmocka_unit_test(v2_two_spawners_divide_a_container),
        cmocka_unit_test(v2_the_next_spawner_takes_over),
    };

    for (int i = 0; i < 2; i++)
        (void)snprintf(lanes[i], sizeof lanes[i], "faas-test-%d-lanes-%d", (int)getpid(), i);
    return run_unit(tests);
}
