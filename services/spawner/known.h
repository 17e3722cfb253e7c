/* known.h - names of images that were seen a moment ago, with what running them needs.
 * Entries   live KNOWN_FRESH_MS from their last known_put; at most KNOWN_MAX, the oldest goes
 * first. Ownership known_put takes over info's references; a found entry is valid until the next call.
 * Threads   none of its own.
 */
#ifndef SPAWNER_KNOWN_H
#define SPAWNER_KNOWN_H

#include <jansson.h>
#include <stddef.h>

#include "base/err.h"

#define KNOWN_FRESH_MS 60000
#define KNOWN_MAX      1024

struct image_info { /* what running an image needs to know */
    char id[80];
    char user[128];       /* as in the image's configuration; untrusted */
    json_t *volumes;      /* object whose keys are paths, or NULL */
    json_t *entrypoint;   /* array of strings, or NULL; owned as volumes are */
    json_t *cmd;          /* the same */
    const json_t *detail; /* the engine's whole description; NULL in entries found here */
};

typedef struct known known;

FAAS_MUST_CHECK faas_code known_new(known **out_known, faas_err *err);
void known_free(known *set);
/* Adds or renews; without memory nothing is remembered, which costs a request later, no more. */
void known_put(known *set, const char *name, const struct image_info *take_info);
const struct image_info *known_get(known *set, const char *name); /* NULL: not there, or too old */
void known_drop(known *set, const char *name);
size_t known_count(const known *set);

#endif
