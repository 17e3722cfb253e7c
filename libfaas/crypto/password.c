#include "crypto/password.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <sodium.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/clock.h"
#include "base/text.h"

#define PASSWORD_LEAST 8
#define PASSWORD_MOST  1024

static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t is_free;             /* with mu; monotonic clock */
static int free_places;                    /* guarded by mu */
static char dummy[FAAS_PASSWORD_HASH_MAX]; /* immutable after setup */

struct faas_metric faas_password_hashes = {
    .name = "faas_password_hashes_total",
    .help = "password hashes computed",
    .kind = FAAS_COUNTER,
};

static_assert(FAAS_PASSWORD_HASH_MAX >= crypto_pwhash_STRBYTES, "room for libsodium's hashes");

/* ---- places: each hash takes 64 MiB ---------------------------------------------------------- */

static int wait_until(uint64_t deadline_ns)
{
    struct timespec at = {.tv_sec = (time_t)(deadline_ns / FAAS_S_NS),
                          .tv_nsec = (long)(deadline_ns % FAAS_S_NS)};

    return deadline_ns == UINT64_MAX ? pthread_cond_wait(&is_free, &mu)
                                     : pthread_cond_timedwait(&is_free, &mu, &at);
}

static faas_code take_place(uint64_t deadline_ns, faas_err *err)
{
    bool is_taken;
    int rc = 0;

    pthread_mutex_lock(&mu);
    while (free_places == 0 && rc == 0)
        rc = wait_until(deadline_ns);
    is_taken = free_places > 0;
    free_places -= is_taken;
    pthread_mutex_unlock(&mu);
    return is_taken ? FAAS_OK
                    : faas_fail(err, FAAS_BUSY, "too many logins at once; try again in a moment");
}

static void give_place(void)
{
    pthread_mutex_lock(&mu);
    free_places++;
    pthread_cond_signal(&is_free);
    pthread_mutex_unlock(&mu);
}

/* ---- hashes ---------------------------------------------------------------------------------- */

static faas_code hash_now(const char *password, char out_hash[FAAS_PASSWORD_HASH_MAX],
                          faas_err *err)
{
    faas_metric_inc(&faas_password_hashes, 1);
    errno = ENOMEM; /* the only way to fail; libsodium does not always say so */
    if (crypto_pwhash_str(out_hash, password, strlen(password), crypto_pwhash_OPSLIMIT_INTERACTIVE,
                          crypto_pwhash_MEMLIMIT_INTERACTIVE) != 0)
        return faas_fail_sys(err, errno, "hash a password");
    return FAAS_OK;
}

faas_code faas_password_setup(int parallel, faas_err *err)
{
    pthread_condattr_t attr;
    char random[33];

    if (parallel < 1)
        return faas_fail(err, FAAS_INVALID, "passwords: at least one hash at a time");
    if (sodium_init() < 0)
        return faas_fail_sys(err, EIO, "start libsodium");
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&is_free, &attr);
    pthread_condattr_destroy(&attr);
    free_places = parallel;
    for (size_t i = 0; i < sizeof random - 1; i++)
        random[i] = (char)('!' + randombytes_uniform('~' - '!' + 1));
    random[sizeof random - 1] = '\0';
    FAAS_TRY(hash_now(random, dummy, err));
    sodium_memzero(random, sizeof random);
    return FAAS_OK;
}

const char *faas_password_dummy(void)
{
    return dummy;
}

faas_code faas_password_hash(const char *password, uint64_t deadline_ns,
                             char out_hash[FAAS_PASSWORD_HASH_MAX], faas_err *err)
{
    faas_code rc;

    FAAS_TRY(take_place(deadline_ns, err));
    rc = hash_now(password, out_hash, err);
    give_place();
    return rc;
}

static bool is_argon2id(const char *hash)
{
    static const char prefix[] = crypto_pwhash_argon2id_STRPREFIX;

    return strnlen(hash, FAAS_PASSWORD_HASH_MAX) < FAAS_PASSWORD_HASH_MAX &&
           strncmp(hash, prefix, sizeof prefix - 1) == 0 &&
           crypto_pwhash_argon2id_str_needs_rehash(hash, crypto_pwhash_OPSLIMIT_INTERACTIVE,
                                                   crypto_pwhash_MEMLIMIT_INTERACTIVE) >= 0;
}

static faas_code verify_now(const char *hash, const char *password, bool *out_is_match,
                            faas_err *err)
{
    bool is_real = is_argon2id(hash);
    int rc;

    faas_metric_inc(&faas_password_hashes, 1);
    errno = 0;
    rc = crypto_pwhash_str_verify(is_real ? hash : dummy, password, strlen(password));
    if (rc != 0 && errno == ENOMEM)
        return faas_fail_sys(err, errno, "verify a password");
    *out_is_match = rc == 0 && is_real;
    return FAAS_OK;
}

faas_code faas_password_verify(const char *hash, const char *password, uint64_t deadline_ns,
                               bool *out_is_match, faas_err *err)
{
    faas_code rc;

    FAAS_TRY(take_place(deadline_ns, err));
    rc = verify_now(hash, password, out_is_match, err);
    give_place();
    return rc;
}

/* ---- rules ----------------------------------------------------------------------------------- */

/* What people choose when eight characters are asked for; compared without regard to case. */
static const char *const common[] = {
    "password",   "password1",  "password12", "password123",   "passw0rd",   "p@ssw0rd",
    "p@ssword",   "password!",  "password01", "passwort",      "motdepasse", "contraseña",
    "changeme",   "changeit",   "changeme1",  "changeme123",   "letmein1",   "letmein123",
    "welcome1",   "welcome123", "welcome!",   "iloveyou",      "iloveyou1",  "sunshine",
    "princess",   "princess1",  "football",   "football1",     "baseball",   "basketball",
    "superman",   "superman1",  "starwars",   "pokemon1",      "whatever",   "trustno1",
    "computer",   "computer1",  "internet",   "samsung1",      "michelle",   "jennifer",
    "charlie1",   "michael1",   "jessica1",   "ashley123",     "jordan23",   "liverpool",
    "chelsea1",   "arsenal1",   "mercedes",   "corvette",      "mustang1",   "maverick",
    "qwerty12",   "qwerty123",  "qwertyui",   "qwertyuiop",    "qwertz123",  "azertyuiop",
    "asdfghjk",   "asdfghjkl",  "asdfasdf",   "zxcvbnm1",      "zxcvbnm123", "1q2w3e4r",
    "1q2w3e4r5t", "1qaz2wsx",   "1qazxsw2",   "zaq12wsx",      "q1w2e3r4",   "qazwsxedc",
    "abcd1234",   "abc12345",   "a1b2c3d4",   "aa123456",      "a1234567",   "a123456789",
    "12341234",   "11223344",   "12121212",   "123123123",     "123454321",  "147258369",
    "987654321",  "789456123",  "1234567890", "0123456789",    "test1234",   "testtest",
    "testing123", "admin123",   "admin1234",  "administrator", "root1234",   "rootroot",
    "toor1234",   "guest1234",  "default1",   "secret123",     "topsecret",  "master123",
    "dragon123",  "monkey123",  "shadow123",  "killer123",     "hello123",   "hello1234",
    "helloworld", "loveme123",  "fuckyou1",   "blahblah",      "faas1234",   "faasfaas",
    "functions",  "serverless",
};

static bool is_common(const char *password)
{
    for (size_t i = 0; i < FAAS_ARRAY_LEN(common); i++)
        if (strcasecmp(common[i], password) == 0)
            return true;
    return false;
}

/* "aaaaaaaa", "12345678", "hgfedcba": every byte the same step from the one before. */
static bool is_run(const char *password)
{
    int step = password[1] - password[0];

    if (step < -1 || step > 1)
        return false;
    for (size_t i = 2; password[i] != '\0'; i++)
        if (password[i] - password[i - 1] != step)
            return false;
    return true;
}

faas_code faas_password_check(const char *password, const char *user_name, bool is_any,
                              faas_err *err)
{
    size_t len = strnlen(password, PASSWORD_MOST + 1);
    size_t least = is_any ? 1 : PASSWORD_LEAST;

    if (len < least || len > PASSWORD_MOST)
        return faas_fail(err, FAAS_INVALID, "password: %zu to %d bytes", least, PASSWORD_MOST);
    if (!faas_utf8_is(password, len))
        return faas_fail(err, FAAS_INVALID, "password: not valid UTF-8");
    if (is_any)
        return FAAS_OK;
    if (is_common(password) || is_run(password))
        return faas_fail(err, FAAS_INVALID,
                         "password: too common; choose one that others would not");
    if (strcasecmp(password, user_name) == 0)
        return faas_fail(err, FAAS_INVALID, "password: must not be the user name");
    return FAAS_OK;
}
