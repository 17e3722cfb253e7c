/* config.h - what an image says about how it is run, read as the words of a stranger.
 * Input     an OCI or Docker image configuration, or an engine's answer about an image: the same
 *           facts under other names, so both give the same spec and the same id.
 * Normal    an empty list is one that was not given; the working directory is absolute and clean;
 *           everything else stays as written.
 * Id        "sha256:" and SHA-256 over the compact JSON, keys sorted, of cmd, entrypoint, env,
 *           layers (diff ids, lowest first), user, working_dir and, where there are any, volumes.
 * Ownership a spec owns everything in it: image_spec_done.
 * Errors    INVALID naming the field and its bound; UNPROCESSABLE: for another platform.
 * Threads   pure values.
 * Spec      OCI image-spec 1.1, config.md; Docker image spec 1.2.
 */
#ifndef SPAWNER_IMAGE_CONFIG_H
#define SPAWNER_IMAGE_CONFIG_H

#include "store.h"

#define IMAGE_CONFIG_MAX     (4 * 1024 * 1024) /* bytes of JSON */
#define IMAGE_WORDS_MAX      1024              /* strings of one list */
#define IMAGE_WORD_BYTES_MAX 131071            /* what exec takes */
#define IMAGE_LIST_BYTES_MAX (256 * 1024)      /* a list's strings together */
#define IMAGE_PATH_BYTES_MAX 4095
#define IMAGE_USER_BYTES_MAX 255
#define IMAGE_LAYERS_MAX     500 /* what overlayfs stacks */

struct image_spec {
    struct image_config config; /* uid and gid: not resolved yet */
    json_t *layers;             /* array of "sha256:<64 hex digits>", lowest first */
};
void image_spec_done(struct image_spec *spec);
void image_config_done(struct image_config *config);

/* This machine's architecture as images call it: "amd64". */
const char *image_architecture(void);

/* *out_spec is zeroed after a failure. */
FAAS_MUST_CHECK faas_code image_spec_read(const json_t *config, struct image_spec *out_spec,
                                          faas_err *err);
/* From the answer to GET /images/NAME/json. */
FAAS_MUST_CHECK faas_code image_spec_inspect(const json_t *answer, struct image_spec *out_spec,
                                             faas_err *err);
FAAS_MUST_CHECK faas_code image_spec_id(const struct image_spec *spec, char out_id[IMAGE_ID_TEXT],
                                        faas_err *err);
/* The config as members of an object: cmd, entrypoint (null: not given), env, user, working_dir;
 * volumes where there are any.
 * NULL only without memory. */
json_t *image_config_to_json(const struct image_config *config);
/* Of image_config_to_json's members, checked again. */
FAAS_MUST_CHECK faas_code image_config_from_json(const json_t *doc, struct image_config *out_config,
                                                 faas_err *err);
/* "sha256:<64 lower-case hex digits>" */
bool image_digest_is(const char *text);

#endif
