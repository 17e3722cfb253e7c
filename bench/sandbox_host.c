/* sandbox_host.c - that what else is on a machine does not change the price of a cold call, and that
 * calls leave nothing behind.
 * Spawners  each a process of its own, in its own mount namespace: plain; with 1,000 more mounts;
 *           with 1 GiB resident and 5,000 descriptors.  Rounds of 10 cold calls of each in turn.
 * Memory    what the kernel charges to the control groups of lanes whose next sandbox is parked,
 *           less what it charges without: kernel memory and pages of processes and tmpfs.
 * Left      zombies, children, mounts, descriptors, control groups, and namespaces of the machine:
 *           before a spawner, and two seconds after it has run 5,000 calls, 8 at once, and ended.
 * Usage     sandbox_host STORE_DIR RUN_DIR ZYGOTE IMAGE [rounds]
 */
#include <dirent.h>
#include <fcntl.h>
#include <glob.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/rig.h"

#define BATCH       10
#define MOST        200
#define PAUSE_S     0.0015
#define MORE_MOUNTS 1000
#define MORE_FDS    5000
#define MORE_BYTES  (1UL << 30)
#define LANES       32
#define CALLS       5000
#define CALLERS     8
#define NAMES_MAX   4096
#define SETTLE_S    2.0
#define AGAIN       'a'

static struct rig_place place;
static const char *image;

/* ---- a spawner beside others ---- */

struct worker {
    const char *name;
    void (*burden)(void);
    int orders, answers;
    pid_t pid;
    double took_us[MOST], ratios[MOST];
};

static void own_mounts(void)
{
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
        rig_die("mount namespace", "not allowed: run as root");
}

static void more_mounts(void)
{
    for (int i = 0; i < MORE_MOUNTS; i++)
        if (mount("/sys", "/mnt", NULL, MS_BIND, NULL) != 0)
            rig_die("bind mount", "/mnt");
}

static void more_memory(void)
{
    const struct rlimit limit = {MORE_FDS + 1000, MORE_FDS + 1000};
    char *bytes =
        mmap(NULL, MORE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (bytes == MAP_FAILED || setrlimit(RLIMIT_NOFILE, &limit) != 0)
        rig_die("a spawner of 1 GiB and 5,000 descriptors", "not on this machine");
    memset(bytes, 1, MORE_BYTES);
    for (int i = 0; i < MORE_FDS; i++)
        if (open("/dev/null", O_RDONLY | O_CLOEXEC) < 0)
            rig_die("/dev/null", "no more descriptors");
}

static double cold(struct rig *rig)
{
    double took[BATCH];

    for (size_t i = 0; i < BATCH; i++) {
        double from;

        rig_rest(PAUSE_S);
        from = rig_now_us();
        rig_call(rig);
        took[i] = rig_now_us() - from;
    }
    return rig_part(took, BATCH, 0.5);
}

/* Answers AGAIN with the time of a batch, until another word. */
static void serve(const struct worker *self, int orders, int answers)
{
    struct rig rig;
    double took;
    char word;

    own_mounts();
    if (self->burden != NULL)
        self->burden();
    rig_begin(&place);
    rig_open(&rig, image, 'x', false);
    (void)cold(&rig);
    while (read(orders, &word, 1) == 1 && word == AGAIN) {
        took = cold(&rig);
        if (write(answers, &took, sizeof took) != (ssize_t)sizeof took)
            break;
    }
    rig_close(&rig);
    rig_end();
    _exit(0);
}

static void start(struct worker *worker)
{
    int orders[2], answers[2];

    if (pipe2(orders, O_CLOEXEC) != 0 || pipe2(answers, O_CLOEXEC) != 0)
        rig_die("pipe", "no descriptors");
    worker->pid = fork();
    if (worker->pid < 0)
        rig_die("fork", "no process");
    if (worker->pid == 0) {
        close(orders[1]);
        close(answers[0]);
        serve(worker, orders[0], answers[1]);
    }
    close(orders[0]);
    close(answers[1]);
    worker->orders = orders[1];
    worker->answers = answers[0];
}

static void stop(struct worker *worker)
{
    int status = 0;

    if (write(worker->orders, "", 1) != 1)
        rig_die(worker->name, "died");
    close(worker->orders);
    close(worker->answers);
    if (waitpid(worker->pid, &status, 0) != worker->pid || status != 0)
        rig_die(worker->name, "did not end well");
}

static double ask(const struct worker *worker)
{
    static const char word = AGAIN;
    double took;

    if (write(worker->orders, &word, 1) != 1 ||
        read(worker->answers, &took, sizeof took) != (ssize_t)sizeof took)
        rig_die(worker->name, "died");
    return took;
}

static void beside(size_t rounds)
{
    static struct worker workers[] = {{.name = "plain"},
                                      {.name = "1,000 more mounts", .burden = more_mounts},
                                      {.name = "1 GiB, 5,000 descriptors", .burden = more_memory}};
    const size_t count = sizeof workers / sizeof workers[0];

    for (size_t w = 0; w < count; w++)
        start(&workers[w]);
    for (size_t w = 0; w < count; w++)
        (void)ask(&workers[w]); /* it is ready then */
    for (size_t r = 0; r < rounds; r++)
        for (size_t w = 0; w < count; w++) {
            workers[w].took_us[r] = ask(&workers[w]);
            workers[w].ratios[r] = workers[w].took_us[r] / workers[0].took_us[r];
        }
    for (size_t w = 0; w < count; w++) {
        printf("  cold call of a spawner, %-25s p50 %6.0f us, %+6.1f %% (rounds from %+.1f to "
               "%+.1f)\n",
               workers[w].name, rig_part(workers[w].took_us, rounds, 0.5),
               100 * (rig_part(workers[w].ratios, rounds, 0.5) - 1),
               100 * (rig_part(workers[w].ratios, rounds, 0.1) - 1),
               100 * (rig_part(workers[w].ratios, rounds, 0.9) - 1));
        stop(&workers[w]);
    }
}

/* ---- memory ---- */

/* The sum of a line of a small file; "" as key: the file's only number. */
static double number_in(const char *dir, const char *name, const char *key)
{
    char path[512], word[64];
    double value = 0, found = 0;
    FILE *file;

    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    file = fopen(path, "re");
    if (file == NULL)
        return 0;
    if (*key == '\0')
        found = fscanf(file, "%lf", &value) == 1 ? value : 0;
    else
        while (fscanf(file, "%63s %lf", word, &value) == 2)
            if (strcmp(word, key) == 0)
                found = value;
    (void)fclose(file);
    return found;
}

/* Kernel memory and pages of processes and tmpfs: the group's total also counts what processors
 * hold in advance for it.  v2, else v1. */
static double charged(const char *dir)
{
    double kernel = number_in(dir, "memory.stat", "kernel");

    if (kernel > 0)
        return kernel + number_in(dir, "memory.stat", "anon") +
               number_in(dir, "memory.stat", "shmem");
    return number_in(dir, "memory.kmem.usage_in_bytes", "") + number_in(dir, "memory.stat", "rss") +
           number_in(dir, "memory.stat", "shmem");
}

static double lanes_charged(void)
{
    static const char *const where[] = {"/sys/fs/cgroup/memory/faas-native-*/lane-*",
                                        "/sys/fs/cgroup/memory/*/faas-native-*/lane-*",
                                        "/sys/fs/cgroup/memory/*/*/faas-native-*/lane-*",
                                        "/sys/fs/cgroup/faas-native-*/lane-*",
                                        "/sys/fs/cgroup/*/faas-native-*/lane-*",
                                        "/sys/fs/cgroup/*/*/faas-native-*/lane-*"};
    double sum = 0;

    for (size_t i = 0; i < sizeof where / sizeof where[0]; i++) {
        glob_t found;

        if (glob(where[i], 0, NULL, &found) == 0)
            for (size_t k = 0; k < found.gl_pathc; k++)
                sum += charged(found.gl_pathv[k]);
        globfree(&found);
        if (sum > 0)
            break;
    }
    return sum;
}

static double lane_bytes(bool is_parked)
{
    struct rig rig;
    double bytes;

    rig_open(&rig, image, 'x', is_parked);
    (void)rig_load(&rig, LANES, 60, 4 * LANES);
    rig_rest(0.2);
    bytes = lanes_charged() / LANES;
    rig_close(&rig);
    return bytes;
}

static void memory(void)
{
    double idle = lane_bytes(false), parked = lane_bytes(true);

    printf("  memory charged to a lane: %.0f kB; with a parked sandbox %.0f kB, so %.0f kB more "
           "(means of %d lanes)\n",
           idle / 1000, parked / 1000, (parked - idle) / 1000, LANES);
}

/* ---- what stays ---- */

enum { ZOMBIES, CHILDREN, MOUNTS, DESCRIPTORS, GROUPS, NAMESPACES, KINDS };
static const char *const kinds[KINDS] = {"zombies",     "children", "mounts",
                                         "descriptors", "groups",   "namespaces"};

static long count_lines(const char *path)
{
    FILE *file = fopen(path, "re");
    long count = 0;
    int c;

    if (file == NULL)
        return 0;
    while ((c = fgetc(file)) != EOF)
        count += c == '\n';
    (void)fclose(file);
    return count;
}

static long count_entries(const char *path)
{
    DIR *dir = opendir(path);
    long count = 0;

    while (dir != NULL && readdir(dir) != NULL)
        count++;
    if (dir != NULL)
        closedir(dir);
    return count;
}

static long count_groups(void)
{
    FILE *file = fopen("/proc/cgroups", "re");
    char line[256], name[64];
    long id, count, sum = 0;

    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "%63s %ld %ld", name, &id, &count) == 3)
            sum += count;
    if (file != NULL)
        (void)fclose(file);
    return sum;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Different ones of all processes. */
static long count_namespaces(void)
{
    static char *names[NAMES_MAX];
    size_t used = 0;
    long count = 0;
    glob_t found;

    if (glob("/proc/[0-9]*/ns/[a-z]*", 0, NULL, &found) != 0)
        return 0;
    for (size_t i = 0; i < found.gl_pathc && used < NAMES_MAX; i++) {
        char text[64];
        ssize_t len = readlink(found.gl_pathv[i], text, sizeof text - 1);

        if (len <= 0)
            continue;
        text[len] = '\0';
        names[used] = strdup(text);
        used += names[used] != NULL;
    }
    globfree(&found);
    qsort(names, used, sizeof *names, by_text);
    for (size_t i = 0; i < used; i++)
        count += i == 0 || strcmp(names[i], names[i - 1]) != 0;
    while (used > 0)
        free(names[--used]);
    return count;
}

static void count_all(long out[KINDS])
{
    siginfo_t info = {0};

    out[ZOMBIES] =
        waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0 ? 1 : 0;
    out[CHILDREN] = waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 ? 1 : 0;
    out[MOUNTS] = count_lines("/proc/self/mountinfo");
    out[DESCRIPTORS] = count_entries("/proc/self/fd");
    out[GROUPS] = count_groups();
    out[NAMESPACES] = count_namespaces();
}

static void leftovers(void)
{
    long before[KINDS], after[KINDS];
    struct rig rig;

    count_all(before);
    rig_open(&rig, image, 'x', false);
    (void)rig_load(&rig, CALLERS, 600, CALLS);
    rig_close(&rig);
    rig_rest(SETTLE_S);
    count_all(after);
    printf("  left %.0f s after %d calls:", SETTLE_S, CALLS);
    for (int k = 0; k < KINDS; k++)
        printf(" %s %+ld", kinds[k], after[k] - before[k]);
    printf("\n");
}

int main(int argc, char **argv)
{
    size_t rounds = argc > 5 ? strtoul(argv[5], NULL, 10) : 40;

    if (argc < 5 || rounds < 3 || rounds > MOST)
        rig_die("usage", "sandbox_host STORE_DIR RUN_DIR ZYGOTE IMAGE [rounds, 3 to 200]");
    place = (struct rig_place){argv[1], argv[2], argv[3]};
    image = argv[4];
    printf("%s and what else is on the machine\n", image);
    beside(rounds);
    rig_begin(&place);
    memory();
    leftovers();
    rig_end();
    return 0;
}
