#include "child_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <spawn.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "config.h"
#include "files.h"

#define REPORT_MAX   (17 * 1024 * 1024)
#define BUFFER_BYTES (256 * 1024)
#define FD_FLOOR     10 /* copies are made above what the child is given: 0 to 4 */

static atomic_bool is_stopping;

void child_stop_all(void)
{
    atomic_store(&is_stopping, true);
}

bool child_is_stopping(void)
{
    return atomic_load(&is_stopping);
}

/* False: not within SILENCE_MS, or nobody waits for it any more. */
static bool wait_readable(int fd)
{
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    uint64_t deadline_ns = faas_deadline_in_ms(SILENCE_MS);
    int rc = 0;

    while (rc <= 0 && faas_left_ms(deadline_ns) > 0 && !child_is_stopping())
        rc = poll(&ready, 1, LOOK_MS);
    return rc > 0;
}

/* ---- start ---- */

static faas_code program_path(char out_path[PATH_MAX], faas_err *err)
{
    char self[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);

    if (len < 0)
        return faas_fail_sys(err, errno, "read /proc/self/exe");
    self[len] = '\0';
    *strrchr(self, '/') = '\0';
    if (snprintf(out_path, PATH_MAX, "%s/" PROGRAM, self) >= PATH_MAX ||
        access(out_path, X_OK) != 0)
        return faas_fail(err, FAAS_UNAVAILABLE,
                         "%s is missing beside this program; build it (make)", PROGRAM);
    return FAAS_OK;
}

/* Copies above FD_FLOOR first: one descriptor's place may be another's target. */
static int add_fds(posix_spawn_file_actions_t *actions, const struct ends *ends, int report,
                   int copies[4])
{
    const int given[4] = {ends->in, ends->out, ends->root, report};
    static const int places[4] = {0, 1, 3, 4};
    int rc = 0;

    for (size_t i = 0; i < 4 && rc == 0; i++) {
        if (given[i] < 0) {
            rc = posix_spawn_file_actions_addopen(actions, places[i], "/dev/null", O_RDWR, 0);
            continue;
        }
        copies[i] = fcntl(given[i], F_DUPFD_CLOEXEC, FD_FLOOR);
        rc =
            copies[i] < 0 ? errno : posix_spawn_file_actions_adddup2(actions, copies[i], places[i]);
    }
    return rc;
}

static int spawn_with(const char *path, char *const argv[], const struct ends *ends, int report,
                      pid_t *out_pid)
{
    char locale[] = "LC_ALL=C.UTF-8", *const environment[] = {locale, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    int copies[4] = {-1, -1, -1, -1}, rc;
    sigset_t none, all;

    sigemptyset(&none);
    sigfillset(&all);
    if ((rc = posix_spawn_file_actions_init(&actions)) != 0)
        return rc;
    if ((rc = posix_spawnattr_init(&attr)) == 0) {
        posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
        posix_spawnattr_setsigmask(&attr, &none);
        posix_spawnattr_setsigdefault(&attr, &all);
        rc = add_fds(&actions, ends, report, copies);
        if (rc == 0)
            rc = posix_spawn(out_pid, path, &actions, &attr, argv, environment);
        posix_spawnattr_destroy(&attr);
    }
    posix_spawn_file_actions_destroy(&actions);
    for (size_t i = 0; i < 4; i++)
        if (copies[i] >= 0)
            close(copies[i]);
    return rc;
}

faas_code child_start(char *const argv[], const struct ends *ends, struct child *out_child,
                      faas_err *err)
{
    struct child child = {.pid = 0};
    char path[PATH_MAX];
    int rc;

    FAAS_TRY(program_path(path, err));
    child.report = memfd_create("faas-image-report", MFD_CLOEXEC);
    if (child.report < 0)
        return faas_fail_sys(err, errno, "make the report of " PROGRAM);
    rc = spawn_with(path, argv, ends, child.report, &child.pid);
    if (rc != 0) {
        close(child.report);
        return faas_fail_sys(err, rc, "start " PROGRAM);
    }
    *out_child = child;
    return FAAS_OK;
}

/* The verbs that work on archives, with what an archive may be. */
static faas_code start_bounded(const char *verb, const struct ends *ends, int64_t bytes,
                               struct child *out_child, faas_err *err)
{
    char name[] = PROGRAM, verb_text[16], numbers[4][24];
    char *const argv[] = {name, verb_text, numbers[0], numbers[1], numbers[2], numbers[3], NULL};
    const int64_t values[4] = {bytes, image_limits.entries, image_limits.depth,
                               image_limits.name_bytes};

    snprintf(verb_text, sizeof verb_text, "%s", verb);
    for (size_t i = 0; i < 4; i++)
        snprintf(numbers[i], sizeof numbers[i], "%" PRId64, values[i]);
    return child_start(argv, ends, out_child, err);
}

/* ---- end ---- */

/* "O<folder>\0" ... "R<JSON>\0" */
faas_code child_report(const char *text, size_t len, struct child_result *result, faas_err *err)
{
    FAAS_AUTO(json_t) *doc = NULL;
    const char *error;

    for (size_t at = 0; at < len && doc == NULL;) {
        size_t word = strnlen(text + at, len - at);

        if (word == 0)
            break;
        if (text[at] == 'R')
            doc = faas_json_load(text + at + 1, word - 1, 0);
        else if (result->opaque != NULL &&
                 json_array_append_new(result->opaque,
                                       json_stringn_nocheck(text + at + 1, word - 1)) != 0)
            return faas_fail_sys(err, ENOMEM, "read the report");
        at += word + 1;
    }
    if (doc == NULL)
        return faas_fail(err, FAAS_UNPROCESSABLE,
                         "the image cannot be unpacked: its reader ended without a word");
    error = json_string_value(json_object_get(doc, "error"));
    if (error != NULL) {
        faas_code code = faas_code_from_slug(json_string_value(json_object_get(doc, "code")));
        const char *detail = json_string_value(json_object_get(doc, "detail"));

        (void)faas_fail(err, code, "%s", error);
        return faas_err_detail(err, "%s", detail != NULL ? detail : "");
    }
    result->entries = json_integer_value(json_object_get(doc, "entries"));
    result->bytes = json_integer_value(json_object_get(doc, "bytes"));
    result->left_out = json_integer_value(json_object_get(doc, "left_out"));
    if (result->entries < 0 || result->bytes < 0 || result->left_out < 0)
        return faas_fail(err, FAAS_UNPROCESSABLE, "the reader of the image made no sense");
    return FAAS_OK;
}

static void kill_if_silent(pid_t pid)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);

    if (fd < 0 || !wait_readable(fd))
        kill(pid, SIGKILL); /* not reaped yet: the number is still the child's */
    if (fd >= 0)
        close(fd);
}

faas_code child_wait(struct child *child, int *out_status, char **out_text, size_t *out_len,
                     faas_err *err)
{
    faas_code code;
    int rc;

    kill_if_silent(child->pid);
    do
        rc = waitpid(child->pid, out_status, 0);
    while (rc < 0 && errno == EINTR);
    if (rc < 0)
        *out_status = -1;
    code = files_read(child->report, REPORT_MAX, out_text, out_len, err);
    close(child->report);
    return code;
}

/* *out_is_broken: it was ended by a broken pipe, so the reason is elsewhere. */
static faas_code finish(struct child *child, struct child_result *result, bool *out_is_broken,
                        faas_err *err)
{
    FAAS_AUTO(char) *text = NULL;
    size_t len = 0;
    faas_code code;
    int status;

    *out_is_broken = false;
    FAAS_TRY(child_wait(child, &status, &text, &len, err));
    *out_is_broken = WIFSIGNALED(status) && WTERMSIG(status) == SIGPIPE;
    if (WIFSIGNALED(status) && !*out_is_broken)
        return faas_fail(err, FAAS_UNPROCESSABLE,
                         "the image cannot be unpacked: its reader was ended by signal %d (%s)",
                         WTERMSIG(status), sigdescr_np(WTERMSIG(status)));
    code = child_report(text, len, result, err);
    if (code == FAAS_OK && status != 0)
        code = faas_fail(err, FAAS_UNPROCESSABLE, "the reader of the image failed");
    return code;
}

/* ---- the stream between ---- */

static ssize_t read_some(int fd, void *buffer)
{
    ssize_t got;

    if (!wait_readable(fd)) {
        errno = ETIMEDOUT;
        return -1;
    }
    do
        got = read(fd, buffer, BUFFER_BYTES);
    while (got < 0 && errno == EINTR);
    return got;
}

/* False when the other side is gone: then it has said why. */
static bool send_all(int to, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t put = send(to, data, len, MSG_NOSIGNAL);

        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return false;
        data += put;
        len -= (size_t)put;
    }
    return true;
}

/* From -> to (-1: nowhere), hashed on the way. */
static faas_code pump(int from, int to, char *out_hash, faas_err *err)
{
    FAAS_AUTO(char) *buffer = malloc(BUFFER_BYTES);
    uint8_t hash[crypto_hash_sha256_BYTES];
    crypto_hash_sha256_state state;
    ssize_t got;

    if (buffer == NULL)
        return faas_fail_sys(err, errno, "read the image");
    crypto_hash_sha256_init(&state);
    while ((got = read_some(from, buffer)) > 0) {
        if (out_hash != NULL)
            crypto_hash_sha256_update(&state, (const uint8_t *)buffer, (size_t)got);
        if (to >= 0 && !send_all(to, buffer, (size_t)got))
            break;
    }
    if (got < 0)
        return faas_fail_sys(err, errno, "read the image");
    crypto_hash_sha256_final(&state, hash);
    if (out_hash != NULL)
        sodium_bin2hex(out_hash, FAAS_HASH_TEXT, hash, sizeof hash);
    return FAAS_OK;
}

faas_code child_hash_file(int fd, char out_hash[FAAS_HASH_TEXT], faas_err *err)
{
    if (lseek(fd, 0, SEEK_SET) != 0)
        return faas_fail_sys(err, errno, "read the image");
    return pump(fd, -1, out_hash, err);
}

/* ---- unpack ---- */

static bool is_compressed(int fd)
{
    static const uint8_t gzip[] = {0x1F, 0x8B}, zstd[] = {0x28, 0xB5, 0x2F, 0xFD};
    uint8_t magic[4] = {0};

    return pread(fd, magic, sizeof magic, 0) > 0 &&
           (memcmp(magic, gzip, sizeof gzip) == 0 || memcmp(magic, zstd, sizeof zstd) == 0);
}

/* The uncompressed stream goes to `to`; closes it. */
static faas_code feed(const struct child_job *job, int to, faas_err *err)
{
    struct child_result ignored = {.entries = 0};
    struct child child;
    faas_code code, ended;
    bool is_broken;
    int ends[2];

    if (!is_compressed(job->in)) {
        code = pump(job->in, to, job->hash, err);
        close(to);
        return code;
    }
    if (pipe2(ends, O_CLOEXEC) != 0) {
        close(to);
        return faas_fail_sys(err, errno, "make a pipe");
    }
    code = start_bounded("decompress", &(struct ends){job->in, ends[1], job->empty}, job->bytes,
                         &child, err);
    close(ends[1]);
    if (code == FAAS_OK) {
        faas_err why = {0};

        code = pump(ends[0], to, job->hash, err);
        close(ends[0]); /* so that it ends when we stopped early */
        ended = finish(&child, &ignored, &is_broken, &why);
        if (code == FAAS_OK && ended != FAAS_OK && !is_broken) {
            *err = why;
            code = ended;
        }
    } else {
        close(ends[0]);
    }
    close(to);
    return code;
}

/* A socket, for what a pipe cannot: no SIGPIPE, and an end to waiting. */
static int open_stream(int ends[2])
{
    const struct timeval silence = {.tv_sec = SILENCE_MS / 1000};

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        return -1;
    return setsockopt(ends[0], SOL_SOCKET, SO_SNDTIMEO, &silence, sizeof silence);
}

faas_code child_unpack(const struct child_job *job, struct child_result *out_result, faas_err *err)
{
    struct child_result result = {.opaque = json_array()};
    faas_err why = {0};
    struct child child;
    faas_code code, ended;
    bool is_broken;
    int ends[2];

    if (result.opaque == NULL)
        return faas_fail_sys(err, ENOMEM, "unpack");
    if (lseek(job->in, 0, SEEK_SET) != 0 || open_stream(ends) != 0) {
        json_decref(result.opaque);
        return faas_fail_sys(err, errno, "unpack");
    }
    code = start_bounded(job->verb, &(struct ends){ends[1], job->record, job->root}, job->bytes,
                         &child, err);
    close(ends[1]);
    if (code == FAAS_OK) {
        code = feed(job, ends[0], err);
        ended = finish(&child, &result, &is_broken, &why);
        if (code == FAAS_OK && ended != FAAS_OK) {
            *err = why;
            code = ended;
        }
    } else {
        close(ends[0]);
    }
    if (code != FAAS_OK) {
        json_decref(result.opaque);
        return code;
    }
    *out_result = result;
    return FAAS_OK;
}

faas_code child_pack(int root, int out, faas_err *err)
{
    struct child_result ignored = {.entries = 0};
    struct child child;
    bool is_broken;

    FAAS_TRY(start_bounded("pack", &(struct ends){-1, out, root}, image_limits.mb * 1024 * 1024,
                           &child, err));
    return finish(&child, &ignored, &is_broken, err);
}

faas_code child_assemble(int record, int root, int out, faas_err *err)
{
    struct child_result ignored = {.entries = 0};
    struct child child;
    bool is_broken;

    FAAS_TRY(start_bounded("assemble", &(struct ends){record, out, root},
                           image_limits.mb * 1024 * 1024, &child, err));
    return finish(&child, &ignored, &is_broken, err);
}
