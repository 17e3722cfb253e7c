/* store.h - the images this machine can run without an engine: where the native runtime gets an
 * image's layers and its configuration.
 * Layout    DIR/layers/sha256/<diff id>/{rootfs,tarsplit.zst}, shared by images; DIR/images/<id>.json;
 *           DIR/refs/<hash of the name>.json; DIR/tmp.  All 0700 and of this process's user.  What
 *           is visible outside tmp is complete: everything arrives by one rename.
 * Owners    files keep their image's owners: made by root, user u of the image owns them as
 *           IMAGE_OWNER_BASE + u, so that nothing in a layer belongs to a real user (mount layers
 *           with an idmap to give them to a sandbox).  Made by another user, all are that user's.
 * Layers    hold what overlayfs reads: a char 0:0 device hides a name of lower layers,
 *           trusted.overlay.opaque=y (made by root; else user.overlay.opaque) a directory's lower
 *           contents.  Setuid bits, devices, sockets and pipes are never in them.  They are never
 *           written again.  Their paths are long and may be many: mount them as /proc/self/fd/N.
 * Name      "name:tag" in any form of ref.h, "name@sha256:<manifest digest>" of a pulled image, or
 *           the canonical id "sha256:<64 hex digits>".
 * In use    while an image is held, prune and remove leave it alone, in every process.
 * Errors    NOT_FOUND: not here; INVALID: a malformed name, or a store that others can enter.
 * Threads   any; an image is immutable.
 */
#ifndef SPAWNER_IMAGE_STORE_H
#define SPAWNER_IMAGE_STORE_H

#include <stddef.h>
#include <stdint.h>

#include "base/json.h"

#define IMAGE_OWNER_BASE  1879048192U /* 0x70000000: no range that systems hand out themselves */
#define IMAGE_OWNER_COUNT 65536U      /* larger owners of an image become IMAGE_NOBODY */
#define IMAGE_FETCHER     (IMAGE_OWNER_BASE + IMAGE_OWNER_COUNT) /* the user that talks to registries */
#define IMAGE_NOBODY      65534U
#define IMAGE_ID_TEXT     72 /* "sha256:<64 hex digits>" with NUL */

/* As written in the image, checked: bounded, UTF-8 without NUL. */
struct image_config {
    json_t *entrypoint, *cmd; /* arrays of at least one string; NULL: not given */
    json_t *env;              /* array of "NAME=value", may be empty; no control bytes in names */
    json_t *volumes;          /* array of absolute clean paths, sorted (volumes.h); NULL: none */
    char *working_dir;        /* absolute, without "." and ".."; "/" when not given */
    char *user;               /* "", "1000", "app", "1000:1000"; no control bytes */
    uint32_t uid, gid;        /* resolved with the image's own passwd and group files, both below
                               * IMAGE_OWNER_COUNT; IMAGE_NOBODY where it would be 0 */
};

struct image {
    char id[IMAGE_ID_TEXT]; /* SHA-256 over the ordered diff ids and the normalised config */
    size_t layer_count;
    char **layers; /* absolute directories, lowest first; each of them once */
    struct image_config config;
    int64_t bytes; /* unpacked */
};

struct image_store;
/* Makes the directory (its parent must be there) and removes what interrupted imports left. */
FAAS_MUST_CHECK faas_code image_store_open(struct image_store **out_store, const char *dir,
                                           faas_err *err);
void image_store_close(struct image_store *store); /* NULL is fine; held images stay valid */

FAAS_MUST_CHECK faas_code image_store_get(struct image_store *store, const char *reference,
                                          struct image **out_image, faas_err *err);
/* By the name that a user's pull gave it, which no reference reads as.  Who asks must have shown that
 * the registry lets them have the image.  pinned: host/path@digest. */
#define IMAGE_PRIVATE "private "
FAAS_MUST_CHECK faas_code image_private_get(struct image_store *store, const char *pinned,
                                            struct image **out_image, faas_err *err);
struct image *image_ref(struct image *image);
void image_release(struct image *image); /* NULL is fine */

#endif
