#include "throttle.h"

#include <errno.h>
#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define PLACES 2048 /* of each table */
#define WAYS   4    /* entries in a place */
#define SECOND UINT64_C(1000000000)
#define FORGET (3600 * SECOND)
#define SHIFTS 20 /* doublings; every bound is reached before */

struct entry {
    uint64_t hash; /* 0: empty */
    uint64_t touched_ns, until_ns;
    unsigned failures;
};

struct table {
    struct entry entries[PLACES][WAYS];
};

struct throttle {
    unsigned char key[crypto_shorthash_KEYBYTES]; /* immutable */
    pthread_mutex_t mu;                           /* guards the tables */
    struct table failed[THROTTLE_KINDS];
    struct table known; /* by the hash of the pair */
};

/* About 32 guesses of an account in its first hour: 10 free, 8 while the wait doubles, 14 more. */
static const struct {
    unsigned free;
    unsigned wait_max_s;
} rules[THROTTLE_KINDS] = {
    [THROTTLE_PAIR] = {5, 240},
    [THROTTLE_ACCOUNT] = {10, 240},
    [THROTTLE_ADDRESS] = {30, 30},
};

faas_code throttle_new(throttle **out_throttle, faas_err *err)
{
    throttle *self = calloc(1, sizeof *self);

    if (self == NULL)
        return faas_fail_sys(err, errno, "allocate the throttle");
    randombytes_buf(self->key, sizeof self->key);
    pthread_mutex_init(&self->mu, NULL);
    *out_throttle = self;
    return FAAS_OK;
}

void throttle_free(throttle *self)
{
    if (self == NULL)
        return;
    pthread_mutex_destroy(&self->mu);
    free(self);
}

/* ---- tables: the lock is held ---- */

static struct entry *find(struct table *table, uint64_t hash)
{
    struct entry *place = table->entries[hash % PLACES];

    for (size_t i = 0; i < WAYS; i++) {
        if (place[i].hash == hash)
            return &place[i];
    }
    return NULL;
}

static struct entry *take(struct table *table, uint64_t hash, uint64_t now_ns)
{
    struct entry *place = table->entries[hash % PLACES], *oldest = &place[0];
    struct entry *entry = find(table, hash);

    for (size_t i = 1; entry == NULL && i < WAYS; i++) {
        if (place[i].touched_ns < oldest->touched_ns)
            oldest = &place[i];
    }
    if (entry == NULL) {
        entry = oldest;
        *entry = (struct entry){.hash = hash};
    }
    entry->touched_ns = now_ns;
    return entry;
}

static void forget(struct table *table, uint64_t hash)
{
    struct entry *entry = find(table, hash);

    if (entry != NULL)
        *entry = (struct entry){0};
}

static struct entry *find_recent(struct table *table, uint64_t hash, uint64_t now_ns)
{
    struct entry *entry = find(table, hash);

    if (entry == NULL || now_ns < entry->touched_ns + FORGET)
        return entry;
    forget(table, hash);
    return NULL;
}

static uint64_t wait_ns(enum throttle_kind kind, unsigned failures)
{
    unsigned doublings = failures - rules[kind].free;
    uint64_t wait_s = doublings < SHIFTS ? UINT64_C(1) << doublings : UINT64_MAX;

    return (wait_s < rules[kind].wait_max_s ? wait_s : rules[kind].wait_max_s) * SECOND;
}

/* ---- attempts ---- */

static uint64_t hash_of(const throttle *self, const char *a, const char *b)
{
    unsigned char parts[2][crypto_shorthash_BYTES], hash[crypto_shorthash_BYTES];
    uint64_t value;

    crypto_shorthash(parts[0], (const unsigned char *)a, strlen(a), self->key);
    crypto_shorthash(parts[1], (const unsigned char *)b, strlen(b), self->key);
    crypto_shorthash(hash, parts[0], sizeof parts, self->key);
    memcpy(&value, hash, sizeof value);
    return value != 0 ? value : 1;
}

void throttle_name(const throttle *self, const char *name, const char *address,
                   struct throttle_try *out_try)
{
    const char *from = address != NULL ? address : "";

    out_try->hash[THROTTLE_PAIR] = hash_of(self, name, from);
    out_try->hash[THROTTLE_ACCOUNT] = hash_of(self, name, "");
    out_try->hash[THROTTLE_ADDRESS] = hash_of(self, "", from);
    for (int kind = 0; kind < THROTTLE_KINDS; kind++)
        out_try->is_counted[kind] = true;
}

/* Nanoseconds until this attempt may be made. */
static uint64_t longest_wait(throttle *self, const struct throttle_try *attempt, uint64_t now_ns)
{
    uint64_t longest = 0;

    for (int kind = 0; kind < THROTTLE_KINDS; kind++) {
        struct entry *entry = find_recent(&self->failed[kind], attempt->hash[kind], now_ns);

        if (attempt->is_counted[kind] && entry != NULL && entry->until_ns > now_ns + longest)
            longest = entry->until_ns - now_ns;
    }
    return longest;
}

/* Past the free ones, others wait as if this attempt had failed already: one at a time. */
static void hold_others(throttle *self, const struct throttle_try *attempt, uint64_t now_ns)
{
    for (int kind = 0; kind < THROTTLE_KINDS; kind++) {
        struct entry *entry = find(&self->failed[kind], attempt->hash[kind]);

        if (attempt->is_counted[kind] && entry != NULL && entry->failures >= rules[kind].free)
            entry->until_ns = now_ns + wait_ns((enum throttle_kind)kind, entry->failures);
    }
}

faas_code throttle_begin(throttle *self, struct throttle_try *attempt, uint64_t now_ns,
                         faas_err *err)
{
    uint64_t wait;
    int seconds;

    pthread_mutex_lock(&self->mu);
    if (find(&self->known, attempt->hash[THROTTLE_PAIR]) != NULL)
        attempt->is_counted[THROTTLE_ACCOUNT] = attempt->is_counted[THROTTLE_ADDRESS] = false;
    wait = longest_wait(self, attempt, now_ns);
    if (wait == 0)
        hold_others(self, attempt, now_ns);
    pthread_mutex_unlock(&self->mu);
    if (wait == 0)
        return FAAS_OK;
    seconds = (int)((wait + SECOND - 1) / SECOND);
    return faas_fail_busy(err, seconds, "too many failed logins; try again in %d s", seconds);
}

void throttle_failed(throttle *self, const struct throttle_try *attempt, uint64_t now_ns)
{
    struct entry *entry;

    pthread_mutex_lock(&self->mu);
    for (int kind = 0; kind < THROTTLE_KINDS; kind++) {
        if (!attempt->is_counted[kind])
            continue;
        entry = take(&self->failed[kind], attempt->hash[kind], now_ns);
        entry->failures++;
        if (entry->failures >= rules[kind].free)
            entry->until_ns = now_ns + wait_ns((enum throttle_kind)kind, entry->failures);
    }
    pthread_mutex_unlock(&self->mu);
}

/* The lock is held.  The next attempt need not wait for this one. */
static void release(throttle *self, const struct throttle_try *attempt, uint64_t now_ns)
{
    for (int kind = 0; kind < THROTTLE_KINDS; kind++) {
        struct entry *entry = find(&self->failed[kind], attempt->hash[kind]);

        if (attempt->is_counted[kind] && entry != NULL)
            entry->until_ns = now_ns;
    }
}

/* The address stays counted: an account of one's own must not pay for guessing at others. */
void throttle_passed(throttle *self, const struct throttle_try *attempt, uint64_t now_ns)
{
    pthread_mutex_lock(&self->mu);
    release(self, attempt, now_ns);
    forget(&self->failed[THROTTLE_PAIR], attempt->hash[THROTTLE_PAIR]);
    forget(&self->failed[THROTTLE_ACCOUNT], attempt->hash[THROTTLE_ACCOUNT]);
    (void)take(&self->known, attempt->hash[THROTTLE_PAIR], now_ns);
    pthread_mutex_unlock(&self->mu);
}

void throttle_undo(throttle *self, const struct throttle_try *attempt, uint64_t now_ns)
{
    pthread_mutex_lock(&self->mu);
    release(self, attempt, now_ns);
    pthread_mutex_unlock(&self->mu);
}
