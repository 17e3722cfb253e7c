/* fail.c - a function that misbehaves on request: its one argument says how.
 * Argument  "VERB [NUMBER|WORD [TEXT]]", words parted by single blanks; see verbs[] and README.md.
 *           Without an argument it copies standard input, for functions that get their input there.
 * Status    what the verb says; 64 for an argument that is not understood.
 * Pattern   lines of 64 bytes, each its own offset and letters: any loss, repeat or swap shows.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BAD_USAGE 64
#define LINE      64
#define MIB       (1024UL * 1024UL)

/* The words of the argument; absent ones are empty, absent numbers are 0. */
struct request {
    const char *word; /* second word and all that follows it */
    const char *rest; /* all that follows the second word */
    unsigned long number;
    unsigned long second;
};

static void die(const char *what)
{
    fprintf(stderr, "fail: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void put(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            die("write");
        data += n;
        len -= (size_t)n;
    }
}

static void put_text(const char *text)
{
    put(STDOUT_FILENO, text, strlen(text));
}

static void wait_ms(unsigned long ms)
{
    struct timespec left = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000L};

    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        continue;
}

static unsigned long clock_ms(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (unsigned long)now.tv_sec * 1000UL + (unsigned long)now.tv_nsec / 1000000UL;
}

static void put_pattern(int fd, unsigned long bytes)
{
    static const char letters[] = " abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTU\n";
    char block[LINE * 1024];
    unsigned long at = 0;

    while (at < bytes) {
        size_t len = 0;

        while (len < sizeof block && at + len < bytes) {
            char line[LINE + 6]; /* room for 20 digits; LINE bytes are used */

            snprintf(line, sizeof line, "%015lu%s", at + len, letters);
            memcpy(block + len, line, LINE);
            len += LINE;
        }
        if (len > bytes - at)
            len = bytes - at;
        put(fd, block, len);
        at += len;
    }
}

/* ---- verbs: each returns the exit status ---- */

static int do_exit(const struct request *req)
{
    put(STDERR_FILENO, req->rest, strlen(req->rest));
    return (int)req->number;
}

static int do_nothing(const struct request *req)
{
    (void)req;
    return 0;
}

/* The first process of a container is immune to the signals it sends itself, but not to faults: it
 * outlives the kill and earns its signal where a fault can be had. */
static int do_signal(const struct request *req)
{
    volatile int zero = 0;

    kill(getpid(), (int)req->number);
    if (req->number == SIGSEGV)
        *(volatile int *)(uintptr_t)zero = 1;
    if (req->number == SIGILL)
        __builtin_trap();
    if (req->number == SIGFPE)
        return 1 / zero;
    fprintf(stderr, "fail: signal %lu did not end process %d\n", req->number, (int)getpid());
    return 99;
}

static int do_bytes(const struct request *req)
{
    put_pattern(STDOUT_FILENO, req->number);
    return 0;
}

static int do_stderr(const struct request *req)
{
    put_pattern(STDERR_FILENO, req->number);
    return 0;
}

/* Lines on both streams by turns. */
static int do_both(const struct request *req)
{
    for (unsigned long i = 0; i < req->number; i++) {
        char line[48];

        snprintf(line, sizeof line, "out %lu\n", i);
        put(STDOUT_FILENO, line, strlen(line));
        snprintf(line, sizeof line, "err %lu\n", i);
        put(STDERR_FILENO, line, strlen(line));
    }
    return 0;
}

/* All 256 values, in an order that shows a loss. */
static int do_binary(const struct request *req)
{
    unsigned char block[4096];

    for (unsigned long at = 0; at < req->number; at += sizeof block) {
        size_t len = req->number - at < sizeof block ? req->number - at : sizeof block;

        for (size_t i = 0; i < len; i++)
            block[i] = (unsigned char)((at + i) * 7 + (at + i) / 256);
        put(STDOUT_FILENO, (const char *)block, len);
    }
    return 0;
}

static int do_drip(const struct request *req)
{
    for (unsigned long i = 0; i < req->number; i++) {
        char line[32];

        snprintf(line, sizeof line, "drip %lu\n", i);
        put_text(line);
        wait_ms(req->second);
    }
    return 0;
}

static int do_sleep(const struct request *req)
{
    wait_ms(req->number);
    put_text("slept");
    return 0;
}

static int do_ignore_term(const struct request *req)
{
    signal(SIGTERM, SIG_IGN);
    return do_sleep(req);
}

static int do_close_and_sleep(const struct request *req)
{
    put_text("closing");
    close(STDOUT_FILENO);
    close(STDERR_FILENO);
    wait_ms(req->number);
    return 0;
}

/* The child holds standard output open; its own line must never be waited for. */
static int do_fork_and_leave(const struct request *req)
{
    pid_t child = fork();

    if (child < 0)
        die("fork");
    if (child == 0) {
        wait_ms(req->number);
        put_text("child");
        return 0;
    }
    put_text("parent");
    return 0;
}

static int do_oom(const struct request *req)
{
    char *block;

    (void)req;
    while ((block = malloc(MIB)) != NULL)
        memset(block, 1, MIB);
    die("malloc"); /* a limit on address space, not the memory limit we are after */
    return 1;
}

/* Only the child runs out of memory: the function itself ends well, and must be seen to. */
static int do_oom_child(const struct request *req)
{
    int status;
    pid_t child = fork();

    if (child < 0)
        die("fork");
    if (child == 0)
        return do_oom(req);
    if (waitpid(child, &status, 0) != child)
        die("waitpid");
    printf("child ended by signal %d", WIFSIGNALED(status) ? WTERMSIG(status) : 0);
    return 0;
}

static int do_stdin(const struct request *req)
{
    char block[65536];
    ssize_t n;

    (void)req;
    while ((n = read(STDIN_FILENO, block, sizeof block)) > 0)
        put(STDOUT_FILENO, block, (size_t)n);
    if (n < 0)
        die("read");
    return 0;
}

static int do_env(const struct request *req)
{
    const char *value = getenv(req->word);

    if (value == NULL)
        return 1;
    put_text(value);
    return 0;
}

static int do_id(const struct request *req)
{
    gid_t groups[64];
    int n = getgroups(64, groups);

    (void)req;
    printf("uid=%u gid=%u groups=", (unsigned)geteuid(), (unsigned)getegid());
    for (int i = 0; i < n; i++)
        printf("%s%u", i > 0 ? "," : "", (unsigned)groups[i]);
    return 0;
}

static int do_spin(const struct request *req)
{
    unsigned long until = clock_ms(CLOCK_MONOTONIC) + req->number;

    while (clock_ms(CLOCK_MONOTONIC) < until)
        continue;
    printf("cpu_ms=%lu", clock_ms(CLOCK_PROCESS_CPUTIME_ID));
    return 0;
}

/* How many children may there be? They end with this process, or by themselves. */
static int do_pids(const struct request *req)
{
    unsigned long made = 0;
    pid_t child = 1;

    while (made < req->number && (child = fork()) > 0)
        made++;
    if (child == 0) {
        wait_ms(5000);
        _exit(0);
    }
    printf("children=%lu error=%d", made, child < 0 ? errno : 0);
    return 0;
}

static int do_read(const struct request *req)
{
    int fd = open(req->word, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        die(req->word);
    dup2(fd, STDIN_FILENO);
    return do_stdin(req);
}

static int do_write(const struct request *req)
{
    int fd = open(req->word, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    if (fd < 0)
        die(req->word);
    put(fd, "written\n", 8);
    put_text("written");
    return 0;
}

static const struct {
    const char *name;
    int (*run)(const struct request *req);
} verbs[] = {
    {"exit", do_exit},
    {"nothing", do_nothing},
    {"signal", do_signal},
    {"bytes", do_bytes},
    {"stderr", do_stderr},
    {"both", do_both},
    {"binary", do_binary},
    {"drip", do_drip},
    {"sleep", do_sleep},
    {"ignore-term", do_ignore_term},
    {"close-and-sleep", do_close_and_sleep},
    {"fork-and-leave", do_fork_and_leave},
    {"oom", do_oom},
    {"oom-child", do_oom_child},
    {"stdin", do_stdin},
    {"env", do_env},
    {"id", do_id},
    {"spin", do_spin},
    {"pids", do_pids},
    {"read", do_read},
    {"write", do_write},
};

/* Cuts the first word off *text and returns it; *text is left at what follows. */
static char *cut_word(char **text)
{
    char *word = *text;
    char *blank = strchr(word, ' ');

    if (blank != NULL)
        *blank = '\0';
    *text = blank != NULL ? blank + 1 : word + strlen(word);
    return word;
}

int main(int argc, char **argv)
{
    static char copy_input[] = "stdin";
    char *text = argc > 1 ? argv[argc - 1] : copy_input;
    char *verb = cut_word(&text);
    char *all = strdup(text);
    char *number = cut_word(&text);
    struct request req = {.word = all, .rest = text};

    if (all == NULL)
        die("strdup");
    req.number = strtoul(number, NULL, 10);
    req.second = strtoul(text, NULL, 10);
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        if (strcmp(verbs[i].name, verb) == 0)
            return verbs[i].run(&req);
    }
    fprintf(stderr, "fail: not understood: %s\n", verb);
    return BAD_USAGE;
}
