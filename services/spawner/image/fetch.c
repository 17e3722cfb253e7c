#include "fetch.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "confine.h"
#include "store.h"

#define SKOPEO     "skopeo"
#define TIMEOUT    "--command-timeout=9m30s" /* below child.c's own patience */
#define FILES_OPEN 256

static faas_code fail_machine(const char *what, faas_err *err)
{
    return faas_fail(err, FAAS_UNAVAILABLE, "images cannot be pulled safely: %s: %s", what,
                     strerrordesc_np(errno));
}

/* The folder is the working directory, which moves along into the namespace: a descriptor would not,
 * and its path leads through folders that nobody else may enter. */
static faas_code mount_folder(faas_err *err)
{
    if (mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount(".", "/tmp", NULL, MS_BIND, NULL) != 0 || chdir("/tmp") != 0)
        return fail_machine("its folder cannot be mounted", err);
    return FAAS_OK;
}

/* As root, another user; any other user stays who they are, in a namespace that may mount. */
static faas_code enter(int folder, faas_err *err)
{
    if (fchdir(folder) != 0)
        return faas_fail_sys(err, errno, "enter the folder");
    if (geteuid() != 0) {
        FAAS_TRY(confine_map_self(err));
        return mount_folder(err);
    }
    if (unshare(CLONE_NEWNS) != 0)
        return fail_machine("no mount namespace", err);
    FAAS_TRY(mount_folder(err));
    if (setgroups(0, NULL) != 0 || setresgid(IMAGE_FETCHER, IMAGE_FETCHER, IMAGE_FETCHER) != 0 ||
        setresuid(IMAGE_FETCHER, IMAGE_FETCHER, IMAGE_FETCHER) != 0)
        return fail_machine("it cannot become another user", err);
    return FAAS_OK;
}

static faas_code limit(int64_t file_bytes, faas_err *err)
{
    const struct rlimit core = {0, 0}, files = {FILES_OPEN, FILES_OPEN};
    const struct rlimit size = {(rlim_t)file_bytes, (rlim_t)file_bytes};

    if (setrlimit(RLIMIT_CORE, &core) != 0 || setrlimit(RLIMIT_NOFILE, &files) != 0 ||
        setrlimit(RLIMIT_FSIZE, &size) != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
        return fail_machine("it cannot be limited", err);
    return FAAS_OK;
}

/* Each of these: -1 and errno, or never. */
static int become_skopeo(char *const argv[])
{
    char path[] = "PATH=/usr/local/bin:/usr/bin:/bin", home[] = "HOME=/tmp", tmp[] = "TMPDIR=/tmp";
    char *const environment[] = {path, home, tmp, NULL};

    return execvpe(SKOPEO, argv, environment);
}

static int copy_image(const struct fetch *fetch, char *from)
{
    char name[] = SKOPEO, policy[] = "--insecure-policy", timeout[] = TIMEOUT, verb[] = "copy";
    char quiet[] = "--quiet", login[] = "--src-authfile=/tmp/auth.json";
    char anonymous[] = "--src-no-creds", verify[] = "--src-tls-verify=true";
    char plain[] = "--src-tls-verify=false", to[] = "oci:/tmp/oci:image";
    char *const argv[] = {name,
                          policy,
                          timeout,
                          verb,
                          quiet,
                          fetch->has_login ? login : anonymous,
                          fetch->is_plain_http ? plain : verify,
                          from,
                          to,
                          NULL};

    return become_skopeo(argv);
}

static int ask_digest(const struct fetch *fetch, char *from)
{
    char name[] = SKOPEO, policy[] = "--insecure-policy", timeout[] = TIMEOUT, verb[] = "inspect";
    char no_tags[] = "--no-tags", format[] = "--format={{.Digest}}";
    char login[] = "--authfile=/tmp/auth.json", anonymous[] = "--no-creds";
    char verify[] = "--tls-verify=true", plain[] = "--tls-verify=false";
    char *const argv[] = {name,
                          policy,
                          timeout,
                          verb,
                          no_tags,
                          format,
                          fetch->has_login ? login : anonymous,
                          fetch->is_plain_http ? plain : verify,
                          from,
                          NULL};

    return become_skopeo(argv);
}

static int push_image(const struct fetch *fetch, char *to)
{
    char name[] = SKOPEO, policy[] = "--insecure-policy", timeout[] = TIMEOUT, verb[] = "copy";
    char quiet[] = "--quiet", login[] = "--dest-authfile=/tmp/auth.json";
    char anonymous[] = "--dest-no-creds", verify[] = "--dest-tls-verify=true";
    char plain[] = "--dest-tls-verify=false", digest[] = "--digestfile=/tmp/digest";
    char from[] = "oci:/tmp/oci";
    char *const argv[] = {name,
                          policy,
                          timeout,
                          verb,
                          quiet,
                          digest,
                          fetch->has_login ? login : anonymous,
                          fetch->is_plain_http ? plain : verify,
                          from,
                          to,
                          NULL};

    return become_skopeo(argv);
}

faas_code fetch_become(const struct fetch *fetch, faas_err *err)
{
    static int (*const works[])(const struct fetch *fetch, char *image) = {
        [FETCH_COPY] = copy_image, [FETCH_DIGEST] = ask_digest, [FETCH_PUSH] = push_image};
    FAAS_AUTO(char) *image = NULL;

    if (asprintf(&image, "docker://%s", fetch->image) < 0) {
        image = NULL;
        return faas_fail_sys(err, ENOMEM, "start " SKOPEO);
    }
    FAAS_TRY(enter(fetch->folder, err));
    FAAS_TRY(limit(fetch->file_bytes, err));
    if (dup2(fetch->out, STDERR_FILENO) < 0 || close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) != 0)
        return faas_fail_sys(err, errno, "start " SKOPEO);
    (void)works[fetch->work](fetch, image);
    if (errno == ENOENT)
        return faas_fail(err, FAAS_UNAVAILABLE, "skopeo is not installed; it talks to registries");
    return faas_fail_sys(err, errno, "start " SKOPEO);
}
