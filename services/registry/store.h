/* store.h - function records in the bucket "functions": heads and versions.
 * Keys      f.<tenant>.<first 32 hex of sha256(name)>  the head: the whole current version;
 *           v.<tenant>.<function id>.<n>               version n, written once.
 * Order     a head is changed by compare-and-set first, then its version entry is created, behind
 *           the answer.  A writer that dies between the two leaves a hole, which no reader sees: the
 *           head itself is that version.  No head is replaced before its own version entry is there:
 *           the next writer waits for it, or fills the hole.
 * Done      a head, and what a delete leaves in its place, name the requests that wrote it (done.h).
 * Reads     go to the leader.
 * Time      deadlines are absolute faas_now_ns() instants.
 * Errors    NOT_FOUND, CONFLICT (somebody else wrote in between), UNAVAILABLE, TOO_LARGE.
 * Threads   any but the loop's; calls block.
 */
#ifndef REGISTRY_STORE_H
#define REGISTRY_STORE_H

#include "base/json.h"
#include "net/kv.h"

#define STORE_KEY_MAX    128 /* with NUL */
#define STORE_VERSION_MS 1000

struct store_head {
    json_t *doc;       /* owned */
    uint64_t revision; /* of the head, for compare-and-set; 0: there never was one */
    bool is_gone;      /* of store_look(): deleted, or never there; doc has "done", or is NULL */
};

void store_head_key(const char *tenant, const char *name, char out_key[STORE_KEY_MAX]);
void store_version_key(const char *tenant, const char *id, int64_t version,
                       char out_key[STORE_KEY_MAX]);

FAAS_MUST_CHECK faas_code store_get(faas_kv *kv, const struct faas_ctx *caller, const char *name,
                                    struct store_head *out_head, faas_err *err);
/* Any key of a bucket whose values are JSON objects with "done": never NOT_FOUND. */
FAAS_MUST_CHECK faas_code store_look_at(faas_kv *kv, const char *key, uint64_t deadline_ns,
                                        struct store_head *out_head, faas_err *err);
/* Deletes what was found there; what stays says for which request. */
FAAS_MUST_CHECK faas_code store_bury(faas_kv *kv, const char *key, const struct faas_ctx *caller,
                                     const struct store_head *head, uint64_t *out_seq,
                                     faas_err *err);
/* As store_get(), but never NOT_FOUND. */
FAAS_MUST_CHECK faas_code store_look(faas_kv *kv, const struct faas_ctx *caller, const char *name,
                                     struct store_head *out_head, faas_err *err);
/* What store_get() says. */
faas_code store_not_found(faas_err *err);
void store_head_done(struct store_head *head);
FAAS_MUST_CHECK faas_code store_delete(faas_kv *kv, const struct faas_ctx *caller, const char *name,
                                       const struct store_head *head, uint64_t *out_seq,
                                       faas_err *err);
/* Creates the version entry of a head; fine when it is there already. */
FAAS_MUST_CHECK faas_code store_keep_version(faas_kv *kv, const struct faas_ctx *caller,
                                             const json_t *doc, faas_err *err);
FAAS_MUST_CHECK faas_code store_get_version(faas_kv *kv, const struct faas_ctx *caller,
                                            const char *id, int64_t version, json_t **out_doc,
                                            faas_err *err);

/* A new head and its version entry, which is the same text. */
struct store_write {
    json_t *doc; /* borrowed; its "op" becomes a fresh one, its "done" names the caller's request */
    const struct store_head *before; /* what is to be replaced */
    uint64_t seq;                    /* out: the bucket's sequence of the head */
    char *text;                      /* owned */
    size_t len;
};
FAAS_MUST_CHECK faas_code store_put(faas_kv *kv, const struct faas_ctx *caller,
                                    struct store_write *write, faas_err *err);
/* After store_put(): writes the version entry too; *write may go at once.  done comes within
 * STORE_VERSION_MS; CONFLICT: it is there already. */
void store_put_version(faas_kv *kv, const struct faas_ctx *caller, const struct store_write *write,
                       faas_kv_done *done, void *arg);
void store_write_done(struct store_write *write);

#endif
