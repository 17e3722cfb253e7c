#include "signup.h"

#include "base/clock.h"

#include <errno.h>
#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define PLACES   1024
#define WAYS     8 /* buckets an address may have */
#define HOUR_NS  (3600 * FAAS_S_NS)
#define FULL_S   3600 /* when to try again once there are as many accounts as may be */
#define FRESH_NS FAAS_S_NS

struct bucket {
    uint64_t hash;
    uint64_t full_ns; /* the instant at which it is full again */
};

struct signup {
    struct signup_conf conf;                      /* immutable */
    unsigned char key[crypto_shorthash_KEYBYTES]; /* immutable */
    _Atomic size_t instances;
    pthread_mutex_t mu; /* guards what follows */
    struct bucket buckets[PLACES][WAYS];
    bool is_asking;                /* the store, for all */
    uint64_t counted_ns;           /* when the store was asked; 0: never */
    int64_t counted, made, making; /* as it said; since then; at this moment */
};

faas_code signup_mode_parse(const char *text, enum signup_mode *out_mode, faas_err *err)
{
    static const char *const names[] = {
        [SIGNUP_OPEN] = "open", [SIGNUP_INVITE] = "invite", [SIGNUP_CLOSED] = "closed"};

    for (size_t i = 0; i < FAAS_ARRAY_LEN(names); i++) {
        if (strcmp(names[i], text) == 0) {
            *out_mode = (enum signup_mode)i;
            return FAAS_OK;
        }
    }
    return faas_fail(err, FAAS_INVALID, "SIGNUP: open, invite or closed");
}

faas_code signup_new(const struct signup_conf *conf, signup **out_signup, faas_err *err)
{
    signup *self = calloc(1, sizeof *self);

    if (self == NULL)
        return faas_fail_sys(err, errno, "allocate the sign-up limits");
    self->conf = *conf;
    randombytes_buf(self->key, sizeof self->key);
    atomic_init(&self->instances, 1);
    pthread_mutex_init(&self->mu, NULL);
    *out_signup = self;
    return FAAS_OK;
}

void signup_free(signup *self)
{
    if (self == NULL)
        return;
    pthread_mutex_destroy(&self->mu);
    free(self);
}

void signup_set_share(signup *self, size_t instances)
{
    atomic_store(&self->instances, instances > 0 ? instances : 1);
}

enum signup_mode signup_mode(const signup *self)
{
    return self->conf.mode;
}

/* ---- of one address: the lock is held ---- */

static uint64_t hash_of(const signup *self, const char *address)
{
    unsigned char hash[crypto_shorthash_BYTES];
    uint64_t value;

    if (address == NULL)
        address = "";
    crypto_shorthash(hash, (const unsigned char *)address, strlen(address), self->key);
    memcpy(&value, hash, sizeof value);
    return value != 0 ? value : 1;
}

static struct bucket *find(signup *self, uint64_t hash)
{
    struct bucket *place = self->buckets[hash % PLACES];

    for (size_t i = 0; i < WAYS; i++)
        if (place[i].hash == hash)
            return &place[i];
    return NULL;
}

static struct bucket *find_or_add(signup *self, uint64_t hash)
{
    struct bucket *place = self->buckets[hash % PLACES], *fullest = &place[0];
    struct bucket *bucket = find(self, hash);

    if (bucket != NULL)
        return bucket;
    for (size_t i = 1; i < WAYS; i++)
        if (place[i].full_ns < fullest->full_ns)
            fullest = &place[i];
    *fullest = (struct bucket){.hash = hash};
    return fullest;
}

static uint64_t step_ns(const signup *self)
{
    return HOUR_NS * atomic_load(&self->instances) / (uint64_t)self->conf.per_address;
}

static faas_code take_of_address(signup *self, uint64_t hash, uint64_t now_ns, faas_err *err)
{
    uint64_t step, room, full_ns;
    struct bucket *bucket;
    int wait_s;

    if (self->conf.per_address == 0)
        return FAAS_OK;
    step = step_ns(self);
    room = step > HOUR_NS ? step : HOUR_NS;
    bucket = find_or_add(self, hash);
    full_ns = (bucket->full_ns > now_ns ? bucket->full_ns : now_ns) + step;
    if (full_ns <= now_ns + room) {
        bucket->full_ns = full_ns;
        return FAAS_OK;
    }
    wait_s = (int)((full_ns - room - now_ns + FAAS_S_NS - 1) / FAAS_S_NS);
    return faas_fail_busy(
        err, wait_s, "more than %lld new accounts an hour from this address; try again in %d s",
        (long long)self->conf.per_address, wait_s);
}

static void give_to_address(signup *self, uint64_t hash)
{
    struct bucket *bucket = find(self, hash);

    if (self->conf.per_address != 0 && bucket != NULL && bucket->full_ns > step_ns(self))
        bucket->full_ns -= step_ns(self);
}

/* ---- in all ---- */

/* One asks for all, once there is a number to go by meanwhile. */
static bool must_ask(signup *self, uint64_t now_ns)
{
    bool must = self->counted_ns == 0 || (!self->is_asking && now_ns > self->counted_ns + FRESH_NS);

    self->is_asking = self->is_asking || must;
    return must;
}

/* The lock is not held while the store is asked. */
static faas_code refresh(signup *self, uint64_t now_ns, uint64_t deadline_ns, faas_err *err)
{
    int64_t count = 0, made_before;
    faas_code rc;
    bool must;

    if (self->conf.accounts == 0)
        return FAAS_OK;
    pthread_mutex_lock(&self->mu);
    must = must_ask(self, now_ns);
    made_before = self->made;
    pthread_mutex_unlock(&self->mu);
    if (!must)
        return FAAS_OK;
    rc = self->conf.count(self->conf.arg, deadline_ns, &count, err);
    pthread_mutex_lock(&self->mu);
    self->is_asking = false;
    if (rc == FAAS_OK) {
        self->counted = count;
        self->counted_ns = now_ns;
        self->made -= made_before; /* those made meanwhile may count twice for a second */
    }
    pthread_mutex_unlock(&self->mu);
    return rc;
}

/* The lock is held. */
static faas_code take_of_all(const signup *self, faas_err *err)
{
    if (self->conf.accounts == 0)
        return FAAS_OK;
    if (self->counted + self->made + self->making < self->conf.accounts)
        return FAAS_OK;
    return faas_fail_busy(err, FULL_S,
                          "this platform has %lld accounts, the most allowed; ask the operator",
                          (long long)self->conf.accounts);
}

/* ---- a registration ---- */

faas_code signup_begin(signup *self, const char *address, uint64_t now_ns, uint64_t deadline_ns,
                       struct signup_try *out_try, faas_err *err)
{
    faas_code rc;

    out_try->hash = hash_of(self, address);
    FAAS_TRY(refresh(self, now_ns, deadline_ns, err));
    pthread_mutex_lock(&self->mu);
    rc = take_of_all(self, err);
    if (rc == FAAS_OK)
        rc = take_of_address(self, out_try->hash, now_ns, err);
    self->making += rc == FAAS_OK;
    pthread_mutex_unlock(&self->mu);
    return rc;
}

void signup_end(signup *self, const struct signup_try *attempt, bool was_made)
{
    pthread_mutex_lock(&self->mu);
    self->making--;
    self->made += was_made;
    if (!was_made)
        give_to_address(self, attempt->hash);
    pthread_mutex_unlock(&self->mu);
}
