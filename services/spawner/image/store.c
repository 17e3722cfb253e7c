#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "files.h"
#include "store_internal.h"

struct held { /* what image_store_get hands out */
    struct image image;
    atomic_uint refs;
    int fd; /* the record, locked shared */
};

/* ---- the folder ---- */

static faas_code open_folders(struct image_store *store, faas_err *err)
{
    int layers;
    faas_code code;

    FAAS_TRY(files_private_dir(store->fd, "layers", &layers, err));
    code = files_private_dir(layers, "sha256", &store->layers, err);
    close(layers);
    FAAS_TRY(code);
    FAAS_TRY(files_private_dir(store->fd, "images", &store->images, err));
    FAAS_TRY(files_private_dir(store->fd, "refs", &store->refs, err));
    return files_private_dir(store->fd, "tmp", &store->tmp, err);
}

faas_code image_store_open(struct image_store **out_store, const char *dir, faas_err *err)
{
    struct image_store *store = malloc(sizeof *store);
    faas_code code;

    if (store == NULL)
        return faas_fail_sys(err, errno, "image store");
    *store = (struct image_store){.fd = -1, .layers = -1, .images = -1, .refs = -1, .tmp = -1};
    code = files_private_dir(AT_FDCWD, dir, &store->fd, err);
    if (code == FAAS_OK && (store->dir = realpath(dir, NULL)) == NULL)
        code = faas_fail_sys(err, errno, "path of %s", dir);
    if (code == FAAS_OK)
        code = open_folders(store, err);
    if (code == FAAS_OK)
        code = image_staging_sweep(store, err);
    if (code != FAAS_OK) {
        image_store_close(store);
        return code;
    }
    *out_store = store;
    return FAAS_OK;
}

void image_store_close(struct image_store *store)
{
    if (store == NULL)
        return;
    for (size_t i = 0; i < 5; i++) {
        int fd = (const int[]){store->fd, store->layers, store->images, store->refs, store->tmp}[i];

        if (fd >= 0)
            close(fd);
    }
    free(store->dir);
    free(store);
}

faas_code image_store_lock(struct image_store *store, int *out_fd, faas_err *err)
{
    int fd = openat(store->fd, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600), rc;

    if (fd < 0)
        return faas_fail_sys(err, errno, "open the image store's lock");
    do
        rc = flock(fd, LOCK_EX);
    while (rc != 0 && errno == EINTR);
    if (rc != 0) {
        int errnum = errno;

        close(fd);
        return faas_fail_sys(err, errnum, "lock the image store");
    }
    *out_fd = fd;
    return FAAS_OK;
}

/* ---- images ---- */

static bool is_higher_up(const json_t *layers, size_t at)
{
    const char *layer = json_string_value(json_array_get(layers, at));

    for (size_t i = at + 1; i < json_array_size(layers); i++)
        if (strcmp(json_string_value(json_array_get(layers, i)), layer) == 0)
            return true;
    return false;
}

/* overlayfs refuses one directory twice.  Only the highest place of a layer counts: whatever it
 * holds or hides wins there anyway. */
static faas_code fill_layers(const struct image_store *store, const json_t *layers,
                             struct image *image, faas_err *err)
{
    size_t i;
    json_t *layer;

    image->layers = calloc(json_array_size(layers), sizeof *image->layers);
    if (image->layers == NULL)
        return faas_fail_sys(err, errno, "image layers");
    json_array_foreach (layers, i, layer) {
        char **path = &image->layers[image->layer_count];

        if (is_higher_up(layers, i))
            continue;
        if (asprintf(path, "%s/layers/sha256/%s/rootfs", store->dir,
                     json_string_value(layer) + strlen("sha256:")) < 0) {
            *path = NULL;
            return faas_fail_sys(err, ENOMEM, "image layers");
        }
        image->layer_count++;
    }
    return FAAS_OK;
}

static faas_code get(struct image_store *store, const char *id, struct image **out_image,
                     faas_err *err)
{
    struct image_record record;
    struct held *held;
    faas_code code;
    int fd;

    FAAS_TRY(image_record_open(store, id, &record, &fd, err));
    held = calloc(1, sizeof *held);
    if (held == NULL) {
        close(fd);
        image_record_done(&record);
        return faas_fail_sys(err, ENOMEM, "image");
    }
    held->refs = 1;
    held->fd = fd;
    (void)futimens(fd, NULL); /* its last use; not knowing it only makes it look older */
    memcpy(held->image.id, record.id, sizeof record.id);
    held->image.bytes = record.bytes;
    code = fill_layers(store, record.spec.layers, &held->image, err);
    held->image.config = record.spec.config;
    json_decref(record.spec.layers);
    if (code != FAAS_OK) {
        image_release(&held->image);
        return code;
    }
    *out_image = &held->image;
    return FAAS_OK;
}

faas_code image_store_get(struct image_store *store, const char *reference,
                          struct image **out_image, faas_err *err)
{
    char id[IMAGE_ID_TEXT];

    FAAS_TRY(image_ref_resolve(store, reference, id, err));
    return get(store, id, out_image, err);
}

faas_code image_private_get(struct image_store *store, const char *pinned, struct image **out_image,
                            faas_err *err)
{
    FAAS_AUTO(char) *name = NULL;
    char file[RECORD_NAME], id[IMAGE_ID_TEXT];

    if (asprintf(&name, IMAGE_PRIVATE "%s", pinned) < 0) {
        name = NULL;
        return faas_fail_sys(err, ENOMEM, "image name");
    }
    image_ref_file(name, file);
    FAAS_TRY(image_ref_read(store, file, id, NULL, err));
    return get(store, id, out_image, err);
}

struct image *image_ref(struct image *image)
{
    atomic_fetch_add(&((struct held *)image)->refs, 1);
    return image;
}

void image_release(struct image *image)
{
    struct held *held = (struct held *)image;

    if (image == NULL || atomic_fetch_sub(&held->refs, 1) > 1)
        return;
    close(held->fd);
    for (size_t i = 0; i < image->layer_count; i++)
        free(image->layers[i]);
    free(image->layers);
    image_config_done(&image->config);
    free(held);
}
