#include "tests/support/fault_bucket.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/unit/unit.h"

#define LONG_MS 10000

struct rig rig;

/* The reader is tried; the writer is there to change what it reads, and to say what is true. */
static void spare(void *arg)
{
    (void)arg;
    fault_spare(true);
}

int rig_start(void **state)
{
    faas_err err = {0};

    (void)state;
    alarm(FAULT_PROGRAM_S);
    rig.nats = nats_start(1, NULL);
    process_start(&rig.writer, &(struct process_conf){
                                   .urls = nats_urls(rig.nats), .service = "writer", .id = "w1"});
    process_start(&rig.reader, &(struct process_conf){
                                   .urls = nats_urls(rig.nats), .service = "reader", .id = "r1"});
    process_on_loop(&rig.writer, spare, NULL);
    assert_ok(faas_kv_open(rig.writer.rpc, "fed", 1, faas_deadline_in_ms(LONG_MS), &rig.kv, &err));
    assert_ok(
        faas_kv_open(rig.reader.rpc, "fed", 1, faas_deadline_in_ms(LONG_MS), &rig.reader_kv, &err));
    return 0;
}

void rig_close_kv(void *arg)
{
    faas_kv_close(arg);
}

int rig_stop(void **state)
{
    (void)state;
    process_stop(&rig.reader, rig_close_kv, rig.reader_kv);
    process_stop(&rig.writer, rig_close_kv, rig.kv);
    nats_stop(rig.nats);
    fault_calls_check();
    return 0;
}

/* ---- what is in the bucket, whatever happened to the reader's connection ---- */

faas_code rig_truth(const char *key, char out_value[FAULT_DATA_MAX], uint64_t *out_revision)
{
    struct faas_kv_entry entry = {0};
    bool was_spared = fault_spare(true);
    faas_err err = {0};
    faas_code rc = faas_kv_get(rig.kv, key, faas_deadline_in_ms(LONG_MS), &entry, &err);

    fault_spare(was_spared);
    if (rc != FAAS_OK && rc != FAAS_NOT_FOUND)
        fail_msg("%s: %s", err.msg, err.detail);
    *out_revision = entry.revision;
    (void)snprintf(out_value, FAULT_DATA_MAX, "%s",
                   entry.value != NULL ? (const char *)entry.value : "");
    faas_kv_entry_done(&entry);
    return rc;
}

void rig_write(const char *key, uint64_t expected, const char *value)
{
    bool was_spared = fault_spare(true);
    faas_err err = {0};
    faas_code rc = value != NULL ? faas_kv_put(rig.kv, key, expected, value, strlen(value),
                                               faas_deadline_in_ms(LONG_MS), &rig.newest, &err)
                                 : faas_kv_delete(rig.kv, key, expected,
                                                  faas_deadline_in_ms(LONG_MS), &rig.newest, &err);

    fault_spare(was_spared);
    if (rc != FAAS_OK)
        fail_msg("%s: %s", err.msg, err.detail);
}

void rig_name(char out_name[RIG_NAME])
{
    static unsigned number;

    (void)snprintf(out_name, RIG_NAME, "k.%u", number++);
}
