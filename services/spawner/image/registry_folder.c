#include "registry_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "files.h"
#include "services/spawner/registry_auth.h"
#include "store.h"

#define FOLDER "registry"

static faas_code give(int fd, const char *what, faas_err *err)
{
    if (geteuid() == 0 && fchown(fd, IMAGE_FETCHER, IMAGE_FETCHER) != 0)
        return faas_fail_sys(err, errno, "give %s to skopeo", what);
    return FAAS_OK;
}

/* Where only skopeo's user can read it. */
static faas_code put_login(int folder, const char *text, faas_err *err)
{
    int fd = openat(folder, "auth.json", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    size_t len = strlen(text);
    faas_code code;

    if (fd < 0)
        return faas_fail_sys(err, errno, "make auth.json");
    code = give(fd, "auth.json", err);
    if (code == FAAS_OK && write(fd, text, len) != (ssize_t)len)
        code = faas_fail_sys(err, errno, "write auth.json");
    close(fd);
    return code;
}

static faas_code make_private(int dir, const char *name, int *out_fd, faas_err *err)
{
    faas_code code;
    int fd;

    if (mkdirat(dir, name, 0700) != 0)
        return faas_fail_sys(err, errno, "make %s", name);
    fd = files_open_plain(dir, name, O_RDONLY | O_DIRECTORY);
    if (fd < 0)
        return faas_fail_sys(err, errno, "open %s", name);
    code = give(fd, name, err);
    if (code == FAAS_OK && out_fd != NULL)
        *out_fd = fd;
    else
        close(fd);
    return code;
}

faas_code registry_folder_make(const struct registry_folder *folder, const char *name, int *out_fd,
                               faas_err *err)
{
    return make_private(folder->fd, name, out_fd, err);
}

faas_code registry_folder_open(int staging, const struct registry_access *access,
                               struct registry_folder *out_folder, faas_err *err)
{
    struct registry_folder folder = {.staging = staging, .fd = -1};
    char *operators = NULL;
    const char *login = access->login;
    faas_code code;

    if (login == NULL)
        FAAS_TRY(registry_auth_config(access->auth_file, access->host, &operators, err));
    if (login == NULL)
        login = operators;
    code = make_private(staging, FOLDER, &folder.fd, err);
    folder.has_login = login != NULL;
    if (code == FAAS_OK && login != NULL)
        code = put_login(folder.fd, login, err);
    registry_auth_free(operators);
    if (code != FAAS_OK) {
        registry_folder_close(&folder);
        return code;
    }
    *out_folder = folder;
    return FAAS_OK;
}

void registry_folder_close(struct registry_folder *folder)
{
    if (folder->fd >= 0)
        close(folder->fd);
    folder->fd = -1;
}
