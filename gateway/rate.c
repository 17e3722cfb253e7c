#include "gateway/rate.h"

#include <errno.h>
#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define SECOND_NS  UINT64_C(1000000000)
#define MINUTE_S   60
#define NEIGHBOURS 8 /* places a key may have */

struct bucket {
    uint64_t hash;
    uint64_t full_ns; /* the instant at which it is full again */
};

struct rate {
    int64_t per_second, burst_s;
    size_t rows; /* of NEIGHBOURS buckets */
    _Atomic size_t gateways;
    uint8_t hash_key[crypto_shorthash_KEYBYTES];
    pthread_mutex_t mu;
    struct bucket *buckets; /* guarded by mu */
};

faas_code rate_new(int64_t per_second, int64_t burst_s, size_t entries, struct rate **out_rate,
                   faas_err *err)
{
    struct rate *made = calloc(1, sizeof *made);

    if (made == NULL)
        return faas_fail_sys(err, errno, "allocate the rate limits");
    made->per_second = per_second;
    made->burst_s = burst_s;
    made->rows = entries / NEIGHBOURS;
    made->buckets = calloc(made->rows * NEIGHBOURS, sizeof *made->buckets);
    if (made->buckets == NULL) {
        free(made);
        return faas_fail_sys(err, ENOMEM, "allocate the rate limits' table");
    }
    atomic_init(&made->gateways, 1);
    randombytes_buf(made->hash_key, sizeof made->hash_key);
    pthread_mutex_init(&made->mu, NULL);
    *out_rate = made;
    return FAAS_OK;
}

void rate_free(struct rate *rate)
{
    if (rate == NULL)
        return;
    pthread_mutex_destroy(&rate->mu);
    free(rate->buckets);
    free(rate);
}

void rate_set_share(struct rate *rate, size_t gateways)
{
    atomic_store(&rate->gateways, gateways > 0 ? gateways : 1);
}

int64_t rate_limit(const struct rate *rate)
{
    return rate->per_second;
}

/* The bucket of that key, or the place of the fullest one, emptied of its old key.  mu is held. */
static struct bucket *place_of(struct rate *rate, uint64_t hash)
{
    struct bucket *row = &rate->buckets[hash % rate->rows * NEIGHBOURS];
    struct bucket *fullest = row;

    for (size_t i = 0; i < NEIGHBOURS; i++) {
        if (row[i].hash == hash)
            return &row[i];
        if (row[i].full_ns < fullest->full_ns)
            fullest = &row[i];
    }
    *fullest = (struct bucket){.hash = hash};
    return fullest;
}

struct pace { /* of one key */
    uint64_t step_ns, room_ns;
};

static int64_t look(struct rate *rate, const void *key, size_t len, uint64_t now_ns,
                    struct pace pace, bool takes)
{
    struct bucket *bucket;
    uint64_t hash, full_ns;
    int64_t wait_s = 0;

    if (pace.room_ns < pace.step_ns)
        pace.room_ns = pace.step_ns;
    crypto_shorthash((unsigned char *)&hash, key, len, rate->hash_key);
    pthread_mutex_lock(&rate->mu);
    bucket = place_of(rate, hash);
    full_ns = (bucket->full_ns > now_ns ? bucket->full_ns : now_ns) + pace.step_ns;
    if (full_ns > now_ns + pace.room_ns)
        wait_s = (int64_t)((full_ns - pace.room_ns - now_ns + SECOND_NS - 1) / SECOND_NS);
    else if (takes)
        bucket->full_ns = full_ns;
    pthread_mutex_unlock(&rate->mu);
    return wait_s;
}

static int64_t look_of_all(struct rate *rate, const void *key, size_t len, uint64_t now_ns,
                           bool takes)
{
    struct pace pace = {.room_ns = SECOND_NS * (uint64_t)rate->burst_s};

    if (rate->per_second == 0)
        return 0;
    pace.step_ns = SECOND_NS * atomic_load(&rate->gateways) / (uint64_t)rate->per_second;
    return look(rate, key, len, now_ns, pace, takes);
}

int64_t rate_take(struct rate *rate, const void *key, size_t len, uint64_t now_ns)
{
    return look_of_all(rate, key, len, now_ns, true);
}

int64_t rate_wait(struct rate *rate, const void *key, size_t len, uint64_t now_ns)
{
    return look_of_all(rate, key, len, now_ns, false);
}

int64_t rate_take_minute(struct rate *rate, const void *key, size_t len, uint64_t now_ns,
                         int64_t per_minute)
{
    struct pace pace = {.room_ns = MINUTE_S * SECOND_NS};

    if (per_minute <= 0)
        return MINUTE_S;
    pace.step_ns = MINUTE_S * SECOND_NS * atomic_load(&rate->gateways) / (uint64_t)per_minute;
    return look(rate, key, len, now_ns, pace, true);
}
