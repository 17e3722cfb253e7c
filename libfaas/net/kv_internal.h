/* kv_internal.h - what kv.c, kv_op.c and feed.c share beyond kv.h.
 * Lifetime  a bucket is counted: by its opener and by each operation until done has run.
 */
#ifndef FAAS_KV_INTERNAL_H
#define FAAS_KV_INTERNAL_H

#include "net/kv.h"
#include "net/rpc_internal.h"

struct faas_kv {
    faas_rpc *rpc;
    faas_loop *loop;
    char bucket[32];
    _Atomic int refs;               /* the opener's and one per operation */
    LIST_HEAD(, faas_kv_op) pauses; /* operations between two tries */
};

/* A stored message. */
struct faas_kv_message {
    struct faas_kv_entry entry; /* first member */
    const char *subject;
    char op_id[33]; /* of a delete; "" when there is none */
};

enum faas_kv_op_kind {
    FAAS_KV_OPEN,
    FAAS_KV_GET,
    FAAS_KV_LOOK,
    FAAS_KV_PEEK,
    FAAS_KV_LAST,
    FAAS_KV_NEXT,
    FAAS_KV_PUT,
    FAAS_KV_APPEND,
    FAAS_KV_DELETE
};

/* One operation from its start to done. */
struct faas_kv_op {
    LIST_ENTRY(faas_kv_op) link; /* in kv->pauses while the timer runs */
    faas_kv *kv;
    struct faas_post post; /* its begin */
    enum faas_kv_op_kind kind;
    bool is_settling;  /* a write met "wrong sequence" and reads what is there */
    uint64_t expected; /* what the caller said */
    uint64_t sent;     /* what the message says: a create over a tombstone names that */
    void *value;       /* owned */
    size_t len;
    char op_id[64];
    struct faas_kv_bounds bounds; /* max_bytes 0: a bucket without any */
    uint64_t from;                /* FAAS_KV_NEXT: first sequence wanted */
    uint64_t deadline_ns;
    ev_timer pause;
    int pauses;
    faas_err trouble; /* why the newest try did not do it */
    faas_kv_done *done;
    void *arg;
    char key[]; /* "" for the bucket */
};

void faas_kv_unref(faas_kv *kv);
/* NULL without memory.  key "" for operations on the bucket. */
struct faas_kv_op *faas_kv_op_new(faas_kv *kv, enum faas_kv_op_kind kind, const char *key,
                                  uint64_t deadline_ns);
bool faas_kv_op_value(struct faas_kv_op *op, const void *value, size_t len); /* copied */
void faas_kv_op_free(struct faas_kv_op *op); /* of one that was never run */
/* Any thread; done runs on the loop thread, later. */
void faas_kv_op_run(struct faas_kv_op *take_op, faas_kv_done *done, void *arg);
/* Ends an operation that is between two tries with UNAVAILABLE. */
void faas_kv_op_give_up(struct faas_kv_op *op);

/* The bucket's first message at or after a sequence, asked from the leader; NOT_FOUND when there is
 * none.  The entry given to done is the first member of a struct faas_kv_message. */
void faas_kv_next_async(faas_kv *kv, uint64_t from, uint64_t deadline_ns, faas_kv_done *done,
                        void *arg);

faas_rpc *faas_kv_rpc(const faas_kv *kv);
/* Does this KV-Operation header (or NULL) take the key away? */
bool faas_kv_is_delete(const char *operation);

#endif
