/* planted_ack.c - an early acknowledgement, which the chaos checker must find; linked (--wrap) into
 * a registry of its own: a write is answered at once, and made LATER_MS later, so it is not read at
 * first, and lost with the process. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "net/kv.h"

#define LATER_MS 400

faas_code __real_faas_kv_put(faas_kv *kv, const char *key, uint64_t expected, const void *value,
                             size_t len, uint64_t deadline_ns, uint64_t *out_revision,
                             faas_err *err);
faas_code __wrap_faas_kv_put(faas_kv *kv, const char *key, uint64_t expected, const void *value,
                             size_t len, uint64_t deadline_ns, uint64_t *out_revision,
                             faas_err *err);

struct late {
    faas_kv *kv;
    char key[FAAS_KV_KEY_MAX + 1];
    uint64_t expected, deadline_ns;
    size_t len;
    char value[];
};

static void *write_late(void *arg)
{
    const struct timespec pause = {.tv_nsec = LATER_MS * 1000000L};
    struct late *late = arg;
    faas_err err = {0};
    faas_code rc;

    nanosleep(&pause, NULL); /* the fault */
    rc = __real_faas_kv_put(late->kv, late->key, late->expected, late->value, late->len,
                            late->deadline_ns, NULL, &err);
    (void)rc;
    free(late);
    return NULL;
}

faas_code __wrap_faas_kv_put(faas_kv *kv, const char *key, uint64_t expected, const void *value,
                             size_t len, uint64_t deadline_ns, uint64_t *out_revision,
                             faas_err *err)
{
    struct late *late = calloc(1, sizeof *late + len);
    pthread_t thread;

    if (late == NULL)
        return faas_fail_sys(err, ENOMEM, "a late write");
    *late = (struct late){.kv = kv, .expected = expected, .deadline_ns = deadline_ns, .len = len};
    memcpy(late->key, key, strlen(key) + 1);
    memcpy(late->value, value, len);
    if (pthread_create(&thread, NULL, write_late, late) != 0) {
        free(late);
        return faas_fail_sys(err, EAGAIN, "a late write");
    }
    pthread_detach(thread);
    if (out_revision != NULL)
        *out_revision = expected + 1;
    return FAAS_OK;
}
