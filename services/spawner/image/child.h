/* child.h - running `faas-image`, which reads what strangers packed, as a process of its own.
 * Chain     a compressed stream goes through two of them: what comes out of the first is hashed
 *           here on its way to the second, so that neither can say that it was something else.
 * Program   faas-image beside the running program.
 * Fetching  skopeo talks to registries, as a user of its own that can reach one folder.
 * Errors    what faas-image said; UNPROCESSABLE when it died without a word; UNAVAILABLE when it
 *           is not there.
 * Threads   any; a call blocks until its processes have ended.
 */
#ifndef SPAWNER_IMAGE_CHILD_H
#define SPAWNER_IMAGE_CHILD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/id.h"
#include "base/json.h"
#include "limits.h"
#include "store.h"

struct child_job {
    const char *verb; /* "unpack", "layer" */
    int in;           /* the stream, from its beginning: plain, gzip or zstd; borrowed */
    int root;         /* the folder; borrowed */
    int empty;        /* an empty folder to decompress in; borrowed */
    int64_t bytes;    /* at most, unpacked */
    char *hash;       /* FAAS_HASH_TEXT: of the uncompressed stream; NULL: not asked for */
    int record;       /* of a layer: the file for what tarsplit.h keeps of it; borrowed */
};
struct child_result {
    int64_t entries, bytes, left_out;
    json_t *opaque; /* array of folders; the caller decrefs */
};
FAAS_MUST_CHECK faas_code child_unpack(const struct child_job *job, struct child_result *out_result,
                                       faas_err *err);
/* The folder `root` as a tar into the file `out`. */
FAAS_MUST_CHECK faas_code child_pack(int root, int out, faas_err *err);
/* A layer's tar into the file `out`, of its record and its folder. */
FAAS_MUST_CHECK faas_code child_assemble(int record, int root, int out, faas_err *err);
/* An image from a registry into "oci" of the folder, an OCI image layout, by skopeo.  The folder
 * belongs to IMAGE_FETCHER when this process is root; with a login, auth.json is in it. */
struct child_fetch {
    const char *image; /* host/path:tag or host/path@digest, checked */
    int folder;
    bool has_login, is_plain_http;
};
FAAS_MUST_CHECK faas_code child_fetch(const struct child_fetch *fetch, faas_err *err);
/* The other way: "oci" of the folder to a registry; the folder's "digest" tells its manifest's. */
FAAS_MUST_CHECK faas_code child_push(const struct child_fetch *push, faas_err *err);
/* The digest by which its registry knows it now, "sha256:<64 hex digits>". */
FAAS_MUST_CHECK faas_code child_fetch_digest(const struct child_fetch *fetch,
                                             char out_digest[IMAGE_ID_TEXT], faas_err *err);
/* SHA-256 of a file from its beginning on. */
FAAS_MUST_CHECK faas_code child_hash_file(int fd, char out_hash[FAAS_HASH_TEXT], faas_err *err);

/* This program is about to stop: its processes are killed, and what waits for them fails. */
void child_stop_all(void);
bool child_is_stopping(void);

#endif
