/* find.h - the image that is meant by a name or an id, brought to the store when it is not there.
 * A name    is what the store has under it, unless it came from an engine or from a registry of this
 *           machine: such a name follows where it came from, where somebody may build or push an image
 *           anew, as long as that answers.  What the store has not, the Docker
 *           Engine gives when it answers and has it, else the registry, where ALLOWED_REGISTRIES
 *           lets it be asked.
 * A login   of the user's is used where no name of everybody's is found.  The registry is asked for the
 *           digest each time: what one user's login brought is given to nobody whom it refuses.
 * An id     is that image alone: what is found under the reference that came with it must have the
 *           id.
 * Result    image (to be released) and reference, by which another machine finds the same image: of
 *           a registry's image host/path@digest.  The caller frees it.
 * Errors    NOT_FOUND (look alone); INVALID: a malformed name; DENIED: its registry is not allowed;
 *           else what the engine, skopeo or the import said.
 * Threads   any; look reads a few small files, bring takes as long as it takes.
 */
#ifndef SPAWNER_IMAGE_FIND_H
#define SPAWNER_IMAGE_FIND_H

#include "store.h"

struct image_sources {
    struct image_store *store;
    const char *engine;    /* DOCKER_HOST; NULL: none is asked */
    const char *allowed;   /* ALLOWED_REGISTRIES */
    const char *auth_file; /* REGISTRY_AUTH_FILE, may be "" */
    const char *mirrors;   /* REGISTRY_MIRRORS; NULL or "": none */
    bool is_following;     /* IMAGE_PULL always: a registry's name means what that says now */
    bool is_pulling_none;  /* IMAGE_PULL never */
};

struct image_find {
    const struct image_sources *sources;
    const char *name;  /* reference; with an id: where that image was found, may be NULL */
    const char *id;    /* NULL: what the name stands for */
    const char *login; /* for the name's registry, of the user who asks: image_pull's; NULL: none */
    /* results */
    struct image *image;
    char *reference;
    bool is_settled; /* of look: nobody needs to be asked */
    bool is_near;    /* of look: it came from a registry of this machine */
};
FAAS_MUST_CHECK faas_code image_look(struct image_find *find, faas_err *err);
/* After a look, whatever it said. */
FAAS_MUST_CHECK faas_code image_bring(struct image_find *find, faas_err *err);
void image_find_done(struct image_find *find);

#endif
