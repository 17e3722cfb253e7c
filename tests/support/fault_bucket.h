/* fault_bucket.h - a bucket, a process that is tried on it, and another that changes the bucket and
 * says what is true of it, whatever fails in the first. */
#ifndef FAAS_FAULT_BUCKET_H
#define FAAS_FAULT_BUCKET_H

#include "tests/support/fault_net.h"

#define RIG_NAME 32

struct rig {
    struct nats *nats;
    struct process writer, reader;
    faas_kv *kv, *reader_kv;
    uint64_t newest; /* sequence of the writer's last write */
};
extern struct rig rig;

/* Of a group of cmocka tests. */
int rig_start(void **state);
int rig_stop(void **state);
/* OK or NOT_FOUND; value "" then. */
faas_code rig_truth(const char *key, char out_value[FAULT_DATA_MAX], uint64_t *out_revision);
/* value NULL: deletes. */
void rig_write(const char *key, uint64_t expected, const char *value);
/* A key that no other run has. */
void rig_name(char out_name[RIG_NAME]);
void rig_close_kv(void *kv); /* on a loop */

#endif
