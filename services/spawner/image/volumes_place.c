/* volumes_place.c - where an image's volumes are, as its layers together show it.  A folder that no
 * layer has is made by the lane, in a layer below all of them (zygote/lane.c): it shows unless
 * something above it is in its way. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "files.h"
#include "layer.h"
#include "volumes.h"

enum place {
    PLACE_BELOW,  /* this layer does not say */
    PLACE_FOLDER, /* it is there */
    PLACE_BARRED, /* by a link or a file */
    PLACE_HIDDEN, /* nothing from below shows */
};

struct walk {
    const char *path; /* clean, without its first slash */
    size_t known;     /* so many bytes of it are folders in a higher layer */
};

/* The part of the path that ends at `len`, in this layer. */
static enum place look(int root, struct walk *walk, size_t len, bool *is_opaque)
{
    char prefix[VOLUME_BYTES_MAX + 1];
    struct stat info;
    int fd;

    memcpy(prefix, walk->path, len);
    prefix[len] = '\0';
    if (fstatat(root, prefix, &info, AT_SYMLINK_NOFOLLOW) != 0)
        return *is_opaque ? PLACE_HIDDEN : PLACE_BELOW;
    if (S_ISCHR(info.st_mode) && info.st_rdev == makedev(0, 0))
        return PLACE_HIDDEN;
    if (!S_ISDIR(info.st_mode))
        return len <= walk->known ? PLACE_HIDDEN : PLACE_BARRED;
    fd = files_open_plain(root, prefix, O_RDONLY | O_DIRECTORY);
    if (fd < 0)
        return PLACE_BARRED;
    *is_opaque = *is_opaque || layer_is_opaque(fd);
    close(fd);
    walk->known = len > walk->known ? len : walk->known;
    return PLACE_FOLDER;
}

/* Every part of the path is looked at before anything below it: none is a link. */
static enum place walk_layer(int root, struct walk *walk)
{
    bool is_opaque = layer_is_opaque(root);
    enum place place = PLACE_FOLDER;

    for (size_t len = 0; place == PLACE_FOLDER && walk->path[len] != '\0';) {
        len += len > 0 ? 1 : 0;
        len += strcspn(walk->path + len, "/");
        place = look(root, walk, len, &is_opaque);
    }
    return place;
}

static faas_code place_one(struct image_store *store, const json_t *layers, const char *path,
                           faas_err *err)
{
    struct walk walk = {.path = path + 1};
    enum place place = PLACE_BELOW;

    for (size_t i = json_array_size(layers); place == PLACE_BELOW && i > 0; i--) {
        int root = layer_open_root(store, json_string_value(json_array_get(layers, i - 1)));

        if (root < 0)
            return faas_fail_sys(err, errno, "open a layer");
        place = walk_layer(root, &walk);
        close(root);
    }
    if (place == PLACE_BARRED)
        return faas_fail(err, FAAS_UNPROCESSABLE,
                         "image: VOLUME %.200s: leads through a link or a file of the image", path);
    if (place == PLACE_HIDDEN)
        return faas_fail(err, FAAS_UNPROCESSABLE,
                         "image: VOLUME %.200s: a layer of the image removed it; make the folder "
                         "again (RUN mkdir)",
                         path);
    return FAAS_OK;
}

faas_code volumes_place(struct image_store *store, const json_t *layers, const json_t *volumes,
                        faas_err *err)
{
    const json_t *path;
    size_t i;

    json_array_foreach (volumes, i, path)
        FAAS_TRY(place_one(store, layers, json_string_value(path), err));
    return FAAS_OK;
}
