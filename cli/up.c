/* up.c - `faas up`: options, detaching, then the supervisor. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "cli/file.h"
#include "cli/output.h"
#include "cli/supervisor.h"
#include "cli/verb.h"

/* While standard error is the user's it gets sentences of ours, and no log lines of the library. */
#define NO_LOG ((enum faas_log_level)(FAAS_LOG_ERROR + 1))

static const char *data, *listen_text = "127.0.0.1:8080";
static struct cli_list replicas;
static bool is_detached, is_tls, is_nats_tls, has_registry;

const struct cli_option cli_up_options[] = {
    {"data", CLI_TEXT, &data, "DIR", "where everything is kept (~/.local/share/faas)", 0, 0, NULL},
    {"listen", CLI_TEXT, &listen_text, "ADDR:PORT",
     "of the gateway (127.0.0.1:8080); port 0 is a free one; more gateways take the ports after it",
     0, 0, NULL},
    {"replicas", CLI_LIST, &replicas, "NAME=N",
     "of auth, registry, publisher, spawner, gateway or nats (1, 3 or 5); may be repeated", 0, 0,
     NULL},
    {"tls", CLI_FLAG, &is_tls, NULL,
     "HTTPS besides, on a free port that is kept, with a certificate made in DIR/keys", 0, 0, NULL},
    {"nats-tls", CLI_FLAG, &is_nats_tls, NULL,
     "the bus by TLS, with an authority of its own in DIR/keys", 0, 0, NULL},
    {"registry", CLI_FLAG, &has_registry, NULL,
     "a registry of images besides (docker-registry), on a loopback port that is kept", 0, 0, NULL},
    {"detach", CLI_FLAG, &is_detached, NULL, "go to the background once ready", 0, 0, NULL},
    CLI_OPTION_END,
};

static faas_code read_options(struct up_options *out, faas_err *err)
{
    *out = (struct up_options){.data = data, .is_tls = is_tls, .is_nats_tls = is_nats_tls};
    for (int role = 0; role < ROLE_COUNT; role++)
        out->replicas[role] = role != ROLE_IMAGES || has_registry ? 1 : 0;
    for (size_t i = 0; i < replicas.count; i++)
        FAAS_TRY(plan_parse_replicas(replicas.items[i], out->replicas, err));
    return plan_parse_listen(listen_text, out, err);
}

/* ---- detaching ---- */

struct detached {
    int report_fd; /* one byte, the exit status, tells the waiting command how the start went */
    const char *log_dir;
};

static void report(int fd, int status)
{
    char byte = (char)status;

    if (write(fd, &byte, 1) != 1)
        raise(SIGTERM); /* nobody waits for us any more: the command was interrupted */
    close(fd);
}

/* From here on nothing of ours may keep the caller's terminal or pipes open. */
static void leave_terminal(void *arg)
{
    const struct detached *detached = arg;
    FAAS_AUTO(char) *path = file_path("%s/faas.log", detached->log_dir);
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    int log_fd = path != NULL ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;

    if (null_fd >= 0) {
        dup2(null_fd, STDIN_FILENO);
        dup2(null_fd, STDOUT_FILENO);
        dup2(log_fd >= 0 ? log_fd : null_fd, STDERR_FILENO);
        close(null_fd);
    }
    if (log_fd >= 0)
        close(log_fd);
    faas_log_setup("faas", "up", FAAS_LOG_INFO);
    report(detached->report_fd, CLI_OK);
}

static int wait_for_report(int fd)
{
    char byte;
    ssize_t n;

    do
        n = read(fd, &byte, 1);
    while (n < 0 && errno == EINTR);
    close(fd);
    return n == 1 ? byte : CLI_UNAVAILABLE;
}

/* ---- running ---- */

static int exit_of(faas_code code)
{
    if (code == FAAS_CONFLICT)
        return CLI_NOT_ALLOWED;
    return code == FAAS_INVALID ? CLI_USAGE : CLI_UNAVAILABLE;
}

static int run(const struct up_options *options, const struct cli_args *args, int report_fd)
{
    struct detached detached = {.report_fd = report_fd};
    struct supervisor_setup setup = {
        .is_verbose = args->common.is_verbose,
        .is_detached = report_fd >= 0,
        .on_ready = report_fd >= 0 ? leave_terminal : NULL,
        .arg = &detached,
    };
    struct plan plan;
    faas_err err = {0};
    int status;

    umask(077);
    faas_log_setup("faas", "up", NO_LOG);
    if (plan_make(options, &plan, &err) != FAAS_OK) {
        output_error(&err, args->common.is_json, NULL);
        return exit_of(err.code);
    }
    detached.log_dir = plan.log_dir;
    status = supervisor_run(&plan, &setup);
    plan_done(&plan);
    return status;
}

static int run_detached(const struct up_options *options, const struct cli_args *args)
{
    int ends[2], status;
    pid_t pid;

    if (pipe2(ends, O_CLOEXEC) != 0 || (pid = fork()) < 0) {
        perror("faas up");
        return CLI_UNAVAILABLE;
    }
    if (pid > 0) {
        close(ends[1]);
        return wait_for_report(ends[0]);
    }
    close(ends[0]);
    setsid();
    status = run(options, args, ends[1]);
    fflush(NULL);
    if (status != CLI_OK)
        report(ends[1], status);
    _exit(status); /* a readiness thread may still run */
}

int cli_up(const struct cli_args *args)
{
    struct up_options options;
    faas_err err = {0};

    if (read_options(&options, &err) != FAAS_OK) {
        output_error(&err, args->common.is_json, NULL);
        return CLI_USAGE;
    }
    if (is_detached)
        return run_detached(&options, args);
    return run(&options, args, -1);
}
