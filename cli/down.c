/* down.c - `faas down`: end the supervisor of a data directory, and wait until all has ended. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/datadir.h"
#include "cli/file.h"
#include "cli/output.h"
#include "cli/verb.h"

static const char *data;
static int64_t timeout_s = 240; /* every group may take its full time */

const struct cli_option cli_down_options[] = {
    {"data", CLI_TEXT, &data, "DIR", "as given to `faas up` (~/.local/share/faas)", 0, 0, NULL},
    {"timeout-s", CLI_INT, &timeout_s, "N", "longest wait for everything to end (240)", 1, 86400,
     NULL},
    CLI_OPTION_END,
};

/* The descriptor names the process even if its number is used again meanwhile. */
static faas_code wait_for_end(int pid_fd, const char *path, pid_t pid, faas_err *err)
{
    struct pollfd ended = {.fd = pid_fd, .events = POLLIN};
    uint64_t deadline_ns = faas_deadline_in_ms(timeout_s * 1000);
    int n;

    do
        n = poll(&ended, 1, (int)faas_left_ms(deadline_ns));
    while (n < 0 && errno == EINTR);
    if (n == 1)
        return FAAS_OK;
    return faas_fail(err, FAAS_TIMEOUT, "process %d in %s still runs after %d s", (int)pid, path,
                     (int)timeout_s);
}

static faas_code stop(const char *path, pid_t pid, faas_err *err)
{
    int fd = pidfd_open(pid, 0);
    pid_t holder = 0;
    faas_code code;

    if (fd < 0 && errno == ESRCH)
        return FAAS_OK;
    if (fd < 0)
        return file_fail(err, "reach the process of", path, errno);
    code = datadir_holder(path, &holder, err);
    if (code == FAAS_OK && holder != pid) { /* it ended before we had hold of it */
        close(fd);
        return FAAS_OK;
    }
    if (code == FAAS_OK && pidfd_send_signal(fd, SIGTERM, NULL, 0) != 0 && errno != ESRCH)
        code = file_fail(err, "end the process of", path, errno);
    if (code == FAAS_OK)
        code = wait_for_end(fd, path, pid, err);
    close(fd);
    return code;
}

int cli_down(const struct cli_args *args)
{
    FAAS_AUTO(char) *path = NULL;
    faas_err err = {0};
    pid_t pid = 0;
    faas_code code = datadir_path(data, &path, &err);

    if (code == FAAS_OK)
        code = datadir_holder(path, &pid, &err);
    if (code == FAAS_OK && pid == 0)
        code = faas_fail(&err, FAAS_NOT_FOUND, "nothing runs in %s", path);
    if (code == FAAS_OK)
        code = stop(path, pid, &err);
    if (code == FAAS_OK && args->common.is_json)
        printf("{\"stopped\":%d}\n", (int)pid);
    else if (code == FAAS_OK)
        output_say("stopped what ran in %s", path);
    if (code == FAAS_OK)
        return CLI_OK;
    output_error(&err, args->common.is_json, NULL);
    if (code == FAAS_NOT_FOUND)
        return CLI_NOT_FOUND;
    return code == FAAS_INVALID ? CLI_USAGE : CLI_UNAVAILABLE;
}
