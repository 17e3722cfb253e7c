#include "accounts.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "files.h"
#include "layer.h"
#include "user.h"

enum find { FIND_BELOW, FIND_HERE, FIND_HIDDEN };

static enum find look_in_etc(int root, const char *name, int *out_fd)
{
    int etc = files_open_plain(root, "etc", O_RDONLY | O_DIRECTORY);
    enum find found;
    struct stat info;

    if (etc < 0)
        return errno == ENOENT ? FIND_BELOW : FIND_HIDDEN;
    found = layer_is_opaque(etc) ? FIND_HIDDEN : FIND_BELOW;
    if (fstatat(etc, name, &info, AT_SYMLINK_NOFOLLOW) == 0) {
        found = FIND_HIDDEN;
        if (S_ISREG(info.st_mode)) {
            *out_fd = files_open_plain(etc, name, O_RDONLY);
            found = *out_fd >= 0 ? FIND_HERE : FIND_HIDDEN;
        }
    }
    close(etc);
    return found;
}

static enum find look_in_layer(struct image_store *store, const char *diff_id, const char *name,
                               int *out_fd)
{
    enum find found;
    int root = layer_open_root(store, diff_id);

    if (root < 0)
        return FIND_HIDDEN;
    found = look_in_etc(root, name, out_fd);
    if (found == FIND_BELOW && layer_is_opaque(root))
        found = FIND_HIDDEN;
    close(root);
    return found;
}

/* NULL in *out_text when the image has no such file. */
static faas_code read_etc(struct image_store *store, const json_t *layers, const char *name,
                          char **out_text, size_t *out_len, faas_err *err)
{
    enum find found = FIND_BELOW;
    faas_code code;
    int fd = -1;

    for (size_t i = json_array_size(layers); found == FIND_BELOW && i > 0; i--)
        found = look_in_layer(store, json_string_value(json_array_get(layers, i - 1)), name, &fd);
    if (found != FIND_HERE)
        return FAAS_OK;
    code = files_read(fd, IMAGE_ACCOUNTS_MAX, out_text, out_len, err);
    close(fd);
    return code == FAAS_TOO_LARGE ? FAAS_OK : code;
}

faas_code accounts_resolve(struct image_store *store, struct image_spec *spec, faas_err *err)
{
    FAAS_AUTO(char) *passwd = NULL, *group = NULL;
    struct image_accounts accounts = {.passwd = NULL};

    FAAS_TRY(read_etc(store, spec->layers, "passwd", &passwd, &accounts.passwd_len, err));
    FAAS_TRY(read_etc(store, spec->layers, "group", &group, &accounts.group_len, err));
    accounts.passwd = passwd;
    accounts.group = group;
    return image_user_resolve(spec->config.user, &accounts, &spec->config.uid, &spec->config.gid,
                              err);
}
