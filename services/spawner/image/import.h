/* import.h - images into the store, and what an operator does with them.
 * Sources   an archive of `docker save`, an OCI image layout as a folder or as an archive (either
 *           may be compressed), a Docker Engine, a registry, a folder of
 *           programs.
 * Parallel  archives are opened side by side; layers are added one image at a time, so that two
 *           imports of one image do the work once.
 * Results   JSON objects as `faas image --json` prints them; the caller decrefs.
 * Errors    INVALID and UNPROCESSABLE: what is wrong with the image; TOO_LARGE naming the setting;
 *           NOT_FOUND; CONFLICT: in use.
 * Threads   any; a call blocks until it is done.
 */
#ifndef SPAWNER_IMAGE_IMPORT_H
#define SPAWNER_IMAGE_IMPORT_H

#include "store.h"

/* [{"id","references","layers","bytes","left_out"}], one object for each image in it.  tag: the
 * name of the only image in it; NULL: the names it was saved with. */
FAAS_MUST_CHECK faas_code image_import(struct image_store *store, const char *path, const char *tag,
                                       json_t **out_images, faas_err *err);

/* One image of a Docker Engine, through its save API.  host as engine_save.h has it; name with its
 * tag or an engine's own id; tag NULL: named as it was asked for. */
FAAS_MUST_CHECK faas_code image_import_engine(struct image_store *store, const char *host,
                                              const char *name, const char *tag,
                                              json_t **out_images, faas_err *err);

/* One image of a registry, by skopeo: over HTTPS, on loopback also over HTTP.  Whether its registry
 * may be asked at all (ref.h) is the caller's to decide. */
struct image_pull {
    const char *name;      /* with a digest it is kept under that, too */
    const char *tag;       /* NULL: named as it was asked for */
    const char *auth_file; /* of registry_auth.h; NULL or "": no login */
    const char *mirrors;   /* REGISTRY_MIRRORS, asked before the registry itself; NULL: none */
    const char *login;     /* a user's own, text of an auth.json, in place of auth_file: what it
                            * brings is found by image_private_get() alone.  No mirror is asked */
};
FAAS_MUST_CHECK faas_code image_pull(struct image_store *store, const struct image_pull *pull,
                                     json_t **out_images, faas_err *err);

/* What the name means at its registry now: host/path@digest.  The caller frees. */
FAAS_MUST_CHECK faas_code image_pull_pinned(struct image_store *store,
                                            const struct image_pull *pull, char **out_pinned,
                                            faas_err *err);

/* One image of the store into a registry, with its layers as they came: it has the same id wherever
 * it is pulled.  Its new name is known here, too.  {"id","reference","pinned","bytes"}
 * UNPROCESSABLE: a layer of it was not kept so, or what the registry said. */
struct image_push {
    const char *name;      /* or id, in the store */
    const char *reference; /* [host[:port]/]path[:tag] */
    const char *auth_file; /* as image_pull's */
    const char *allowed;   /* ALLOWED_REGISTRIES; NULL: none but loopback ones */
};
FAAS_MUST_CHECK faas_code image_push(struct image_store *store, const struct image_push *push,
                                     json_t **out_image, faas_err *err);

/* One image as an OCI layout, which image_import() makes the same id of: each of its files in turn,
 * by its path in the layout.  One layer after the other is made again in the store's tmp.
 * UNPROCESSABLE: a layer of it was not kept so. */
typedef faas_code image_export_put(void *arg, const char *path, int fd, faas_err *err);
FAAS_MUST_CHECK faas_code image_export(struct image_store *store, const char *id,
                                       image_export_put *put, void *arg, faas_err *err);

/* The name's path and tag at another registry, host:port; INVALID for an id.  The caller frees. */
FAAS_MUST_CHECK faas_code image_push_name(const char *name, const char *registry,
                                          char **out_reference, faas_err *err);

/* Lists are arrays of strings or NULL, texts may be NULL. */
struct image_pack {
    const char *folder, *tag;
    json_t *entrypoint, *cmd, *env;
    const char *working_dir, *user;
};
FAAS_MUST_CHECK faas_code image_pack(struct image_store *store, const struct image_pack *pack,
                                     json_t **out_images, faas_err *err);

/* [{"id","references","layers","bytes","used_at"}], by id. */
FAAS_MUST_CHECK faas_code image_list(struct image_store *store, json_t **out_images, faas_err *err);
/* {"id","references","bytes","used_at","config","uid","gid","layers":[diff ids]} */
FAAS_MUST_CHECK faas_code image_inspect(struct image_store *store, const char *reference,
                                        json_t **out_image, faas_err *err);
/* Another name for an image that is here. */
FAAS_MUST_CHECK faas_code image_tag(struct image_store *store, const char *reference,
                                    const char *tag, faas_err *err);

struct image_freed {
    json_t *images; /* array of ids */
    int64_t layers, bytes;
};
/* A name; the image too when it was its last one.  An id: the image and all its names. */
FAAS_MUST_CHECK faas_code image_remove(struct image_store *store, const char *reference,
                                       struct image_freed *out_freed, faas_err *err);
struct image_prune {
    int64_t unused_s;   /* images without a name that nobody used for so long go */
    int64_t keep_bytes; /* and more of them, longest unused first, until all fits; < 0: no matter */
};
FAAS_MUST_CHECK faas_code image_prune(struct image_store *store, const struct image_prune *prune,
                                      struct image_freed *out_freed, faas_err *err);

#endif
