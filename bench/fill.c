/* fill.c - many functions in a moment: copies of one that was registered through the front door.
 * Writes    the head and the version entry of each copy straight into the bucket, with the keys and
 *           the stored form of the registry itself; every 500th waits for its acknowledgement.
 * Copies    have names f00000, f00001, ... and ids of their own; all else is as in the original.
 * Usage     fill NATS_URLS SEED_FILE TENANT NAME COUNT; the seed is that of the registry.
 */
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "contract.h"
#include "services/registry/function.h"
#include "services/registry/store.h"

#define WAIT_MS 30000
#define STRIDE  500

static struct {
    faas_loop *loop;
    faas_pool *pool;
    faas_bus *bus;
    faas_rpc *rpc;
    faas_kv *kv;
    struct faas_ctx owner;
} fill;

static void must(faas_code rc, const faas_err *err)
{
    if (rc == FAAS_OK)
        return;
    fprintf(stderr, "fill: %s: %s (%s)\n", faas_code_slug(rc), err->msg, err->detail);
    _exit(1); /* other threads are running */
}

static void *run_loop(void *arg)
{
    faas_loop_run(arg);
    return NULL;
}

static void connect_to(const char *urls, const char *seed_file)
{
    const struct faas_bus_conf bus = {
        .urls = urls, .service = "registry", .id = "fill", .nkey_file = seed_file};
    struct faas_rpc_conf rpc = {
        .service = "registry", .id = "fill", .version = "0.1.0", .description = "a benchmark"};
    pthread_t thread;
    faas_err err = {0};

    faas_log_setup("fill", "fill", FAAS_LOG_ERROR);
    must(faas_loop_new(&fill.loop, &err), &err);
    must(faas_pool_start(1, 16, &fill.pool, &err), &err);
    must(faas_bus_open(&bus, fill.loop, &fill.bus, &err), &err);
    rpc.pool = fill.pool;
    must(faas_rpc_open(fill.bus, &rpc, &fill.rpc, &err), &err);
    if (pthread_create(&thread, NULL, run_loop, fill.loop) != 0)
        must(faas_fail(&err, FAAS_INTERNAL, "no thread"), &err);
    must(faas_kv_open(fill.rpc, FAAS_BUCKET_FUNCTIONS, 1, faas_deadline_in_ms(WAIT_MS), &fill.kv,
                      &err),
         &err);
}

static void send_version(const json_t *doc)
{
    char key[STORE_KEY_MAX], subject[FAAS_SUBJECT_MAX];
    struct faas_out out = {.subject = subject};
    FAAS_AUTO(char) *text = faas_json_text(doc, &out.len);
    faas_err err = {0};

    store_version_key(fill.owner.tenant, function_id(doc), function_version(doc), key);
    snprintf(subject, sizeof subject, "$KV." FAAS_BUCKET_FUNCTIONS ".%s", key);
    out.data = text;
    must(faas_bus_publish(fill.bus, FAAS_DATA, &out, &err), &err);
}

static void send_head(json_t *doc, bool is_awaited)
{
    char key[STORE_KEY_MAX], subject[FAAS_SUBJECT_MAX];
    struct faas_out out = {.subject = subject};
    struct store_write write = {.doc = doc};
    FAAS_AUTO(char) *text = NULL;
    faas_err err = {0};

    if (is_awaited) {
        fill.owner.deadline_ns = faas_deadline_in_ms(WAIT_MS);
        must(store_put(fill.kv, &fill.owner, &write, &err), &err);
        store_write_done(&write);
        return;
    }
    text = faas_json_text(doc, &out.len);
    store_head_key(fill.owner.tenant, function_name(doc), key);
    snprintf(subject, sizeof subject, "$KV." FAAS_BUCKET_FUNCTIONS ".%s", key);
    out.data = text;
    must(faas_bus_publish(fill.bus, FAAS_DATA, &out, &err), &err);
}

static void copy(json_t *doc, int number, bool is_awaited)
{
    char name[16], id[FAAS_UUID_TEXT];

    snprintf(name, sizeof name, "f%05d", number);
    faas_uuid_new(id);
    if (json_object_set_new(doc, "name", json_string(name)) != 0 ||
        json_object_set_new(doc, "id", json_string(id)) != 0)
        abort();
    send_version(doc); /* first, so that the acknowledgement of the last head covers it */
    send_head(doc, is_awaited);
}

int main(int argc, char **argv)
{
    struct store_head original = {0};
    faas_err err = {0};
    int count;

    if (argc != 6 || sodium_init() < 0 || !faas_uuid_is(argv[3])) {
        fprintf(stderr, "usage: fill NATS_URLS SEED_FILE TENANT NAME COUNT\n");
        return 2;
    }
    connect_to(argv[1], argv[2]);
    snprintf(fill.owner.tenant, sizeof fill.owner.tenant, "%s", argv[3]);
    fill.owner.deadline_ns = faas_deadline_in_ms(WAIT_MS);
    must(store_get(fill.kv, &fill.owner, argv[4], &original, &err), &err);
    count = (int)strtol(argv[5], NULL, 10);
    for (int i = 0; i < count; i++)
        copy(original.doc, i, i % STRIDE == STRIDE - 1 || i == count - 1);
    _exit(0); /* acknowledged: one connection, one stream */
}
