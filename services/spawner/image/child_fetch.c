/* child_fetch.c - the runs of faas-image that become skopeo. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "child_internal.h"
#include "config.h"
#include "files.h"

#define WORDS_MAX (1024 * 1024) /* of skopeo */

static faas_code fail_too_much(faas_err *err)
{
    return faas_fail(err, FAAS_TOO_LARGE,
                     "the image cannot be pulled: it is larger than %lld MB (IMAGE_MAX_MB)",
                     (long long)image_limits.mb);
}

/* skopeo's last words: ... level=fatal msg="WHY" */
static faas_code fail_fetch(const char *verb, int out, faas_err *err)
{
    bool is_push = strcmp(verb, "push") == 0;
    FAAS_AUTO(char) *text = NULL;
    char *why, *found;
    size_t len;

    FAAS_TRY(files_read(out, WORDS_MAX, &text, &len, err));
    why = text;
    while ((found = strstr(why, "msg=\"")) != NULL)
        why = found + strlen("msg=\"");
    len = strlen(why);
    while (len > 0 && strchr("\"\n", why[len - 1]) != NULL)
        why[--len] = '\0';
    if (!is_push && strstr(why, "file too large") != NULL) /* EFBIG, in Go's words */
        return fail_too_much(err);
    return faas_fail(err, FAAS_UNPROCESSABLE, "the image cannot be %s: %s",
                     is_push ? "pushed" : "pulled", len > 0 ? why : "skopeo gave no reason");
}

/* Of the plain files in a folder of what is being fetched; 0 when it is not there yet. */
static int64_t bytes_in(int folder, const char *path)
{
    int fd = files_open_plain(folder, path, O_RDONLY | O_DIRECTORY);
    DIR *list = fd >= 0 ? fdopendir(fd) : NULL;
    const struct dirent *entry;
    struct stat info;
    int64_t bytes = 0;

    while (list != NULL && (entry = readdir(list)) != NULL)
        if (fstatat(fd, entry->d_name, &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(info.st_mode))
            bytes += info.st_size;
    if (list != NULL)
        closedir(list);
    else if (fd >= 0)
        close(fd);
    return bytes;
}

/* All layers together: the limit of one file is the kernel's business. */
static bool is_too_much(int folder)
{
    return bytes_in(folder, ".") + bytes_in(folder, "oci") + bytes_in(folder, "oci/blobs/sha256") >
           image_limits.mb * 1024 * 1024;
}

/* Ends a skopeo that fetches more than an image may be (true), or does not end. */
static bool watch_fetch(const struct child *child, const char *verb, int folder)
{
    bool is_push = strcmp(verb, "push") == 0;
    struct pollfd end = {.fd = (int)syscall(SYS_pidfd_open, child->pid, 0), .events = POLLIN};
    uint64_t deadline_ns = faas_deadline_in_ms(SILENCE_MS);
    bool is_over = false, has_ended = false;

    while (end.fd >= 0 && !has_ended && !is_over && faas_left_ms(deadline_ns) > 0 &&
           !child_is_stopping()) {
        has_ended = poll(&end, 1, LOOK_MS) > 0;
        is_over = !has_ended && !is_push && is_too_much(folder);
    }
    if (!has_ended)
        kill(child->pid, SIGKILL);
    if (end.fd >= 0)
        close(end.fd);
    return is_over;
}

/* What skopeo says goes to the file `out`. */
static faas_code run_fetch(const char *verb, const struct child_fetch *fetch, int out,
                           faas_err *err)
{
    char name[] = PROGRAM, login[] = "login", anonymous[] = "anonymous";
    char http[] = "http", https[] = "https", bytes[24];
    FAAS_AUTO(char) *image = strdup(fetch->image), *doing = strdup(verb), *text = NULL;
    char *const argv[] = {name,
                          doing,
                          fetch->has_login ? login : anonymous,
                          fetch->is_plain_http ? http : https,
                          bytes,
                          image,
                          NULL};
    struct child_result ignored = {.entries = 0};
    struct child child;
    size_t len = 0;
    bool is_over;
    int status;

    if (image == NULL || doing == NULL)
        return faas_fail_sys(err, errno, "pull");
    snprintf(bytes, sizeof bytes, "%" PRId64, image_limits.mb * 1024 * 1024);
    FAAS_TRY(child_start(argv, &(struct ends){-1, out, fetch->folder}, &child, err));
    is_over = watch_fetch(&child, verb, fetch->folder);
    FAAS_TRY(child_wait(&child, &status, &text, &len, err));
    if (is_over)
        return fail_too_much(err);
    if (status == 0)
        return FAAS_OK;
    return len > 0 ? child_report(text, len, &ignored, err) : fail_fetch(verb, out, err);
}

static faas_code open_words(int *out_fd, faas_err *err)
{
    *out_fd = memfd_create("skopeo-says", MFD_CLOEXEC);
    return *out_fd >= 0 ? FAAS_OK : faas_fail_sys(err, errno, "pull");
}

static faas_code copy_image(const char *verb, const struct child_fetch *fetch, faas_err *err)
{
    faas_code code;
    int out;

    FAAS_TRY(open_words(&out, err));
    code = run_fetch(verb, fetch, out, err);
    close(out);
    return code;
}

faas_code child_fetch(const struct child_fetch *fetch, faas_err *err)
{
    return copy_image("fetch", fetch, err);
}

faas_code child_push(const struct child_fetch *push, faas_err *err)
{
    return copy_image("push", push, err);
}

/* The last line: warnings may come before it. */
static faas_code read_digest(int out, char out_digest[IMAGE_ID_TEXT], faas_err *err)
{
    FAAS_AUTO(char) *text = NULL;
    const char *line;
    size_t len;

    FAAS_TRY(files_read(out, WORDS_MAX, &text, &len, err));
    while (len > 0 && text[len - 1] == '\n')
        text[--len] = '\0';
    line = strrchr(text, '\n');
    line = line != NULL ? line + 1 : text;
    if (!image_digest_is(line))
        return faas_fail(err, FAAS_UNPROCESSABLE,
                         "the image cannot be pulled: its registry gave no digest");
    snprintf(out_digest, IMAGE_ID_TEXT, "%s", line);
    return FAAS_OK;
}

faas_code child_fetch_digest(const struct child_fetch *fetch, char out_digest[IMAGE_ID_TEXT],
                             faas_err *err)
{
    faas_code code;
    int out;

    FAAS_TRY(open_words(&out, err));
    code = run_fetch("digest", fetch, out, err);
    if (code == FAAS_OK)
        code = read_digest(out, out_digest, err);
    close(out);
    return code;
}
