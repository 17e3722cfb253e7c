#include "base/id.h"

#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define COUNTER_MAX 0xFFFu /* rand_a of RFC 9562: 12 bits */

static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;
static int64_t last_ms;       /* guarded by mu */
static uint32_t last_counter; /* guarded by mu */

static void start_sodium(void)
{
    if (sodium_init() < 0)
        abort(); /* no randomness: no identifier could be trusted */
}

static void random_bytes(void *out, size_t len)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, start_sodium);
    randombytes_buf(out, len);
}

/* RFC 9562 section 6.2, method 1: a counter with a random start in each millisecond.  A clock that
 * steps back, or a full counter, borrows from the future instead of breaking the order. */
static void next_tick(uint16_t seed, int64_t *out_ms, uint32_t *out_counter)
{
    int64_t now = faas_wall_ms();

    pthread_mutex_lock(&mu);
    if (now > last_ms || last_counter == COUNTER_MAX) {
        last_ms = now > last_ms ? now : last_ms + 1;
        last_counter = seed & (COUNTER_MAX >> 1); /* the lower half: room to count */
    } else {
        last_counter++;
    }
    *out_ms = last_ms;
    *out_counter = last_counter;
    pthread_mutex_unlock(&mu);
}

void faas_uuid_new(char out_text[FAAS_UUID_TEXT])
{
    uint8_t bytes[16];
    uint16_t seed;
    uint32_t counter;
    int64_t ms;

    random_bytes(bytes + 6, 10); /* one system call: eight bytes stay, two begin the counter */
    memcpy(&seed, bytes + 6, sizeof seed);
    next_tick(seed, &ms, &counter);
    for (int i = 0; i < 6; i++)
        bytes[i] = (uint8_t)(ms >> (40 - 8 * i));
    bytes[6] = (uint8_t)(0x70 | counter >> 8);
    bytes[7] = (uint8_t)counter;
    bytes[8] = (uint8_t)(0x80 | (bytes[8] & 0x3F));
    faas_uuid_from_bytes(bytes, out_text);
}

static bool is_dash_at(size_t i)
{
    return i == 8 || i == 13 || i == 18 || i == 23;
}

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

bool faas_uuid_is(const char *text)
{
    if (text == NULL || strnlen(text, FAAS_UUID_TEXT) != FAAS_UUID_TEXT - 1)
        return false;
    for (size_t i = 0; i < FAAS_UUID_TEXT - 1; i++)
        if (is_dash_at(i) ? text[i] != '-' : !is_hex(text[i]))
            return false;
    return true;
}

static uint8_t hex_value(char c)
{
    return (uint8_t)(c <= '9' ? c - '0' : c - 'a' + 10);
}

void faas_uuid_to_bytes(const char *text, uint8_t out_bytes[16])
{
    size_t at = 0;

    for (size_t i = 0; i < 16; i++) {
        at += is_dash_at(at);
        out_bytes[i] = (uint8_t)(hex_value(text[at]) << 4 | hex_value(text[at + 1]));
        at += 2;
    }
}

void faas_uuid_from_bytes(const uint8_t bytes[16], char out_text[FAAS_UUID_TEXT])
{
    static const char digits[] = "0123456789abcdef";
    char *out = out_text;

    for (size_t i = 0; i < 16; i++) {
        if (is_dash_at((size_t)(out - out_text)))
            *out++ = '-';
        *out++ = digits[bytes[i] >> 4];
        *out++ = digits[bytes[i] & 0xF];
    }
    *out = '\0';
}

void faas_random_token(char out_text[33])
{
    uint8_t bytes[16];

    random_bytes(bytes, sizeof bytes);
    sodium_bin2hex(out_text, 33, bytes, sizeof bytes);
}

void faas_hash_text(const void *data, size_t len, char out_text[FAAS_HASH_TEXT])
{
    uint8_t hash[crypto_hash_sha256_BYTES];

    crypto_hash_sha256(hash, data, len);
    sodium_bin2hex(out_text, FAAS_HASH_TEXT, hash, sizeof hash);
}

uint64_t faas_rendezvous(const char *key, const char *member)
{
    crypto_hash_sha256_state state;
    uint8_t hash[crypto_hash_sha256_BYTES];
    uint64_t weight = 0;

    crypto_hash_sha256_init(&state);
    /* With its NUL, so that no two pairs are the same bytes. */
    crypto_hash_sha256_update(&state, (const uint8_t *)key, strlen(key) + 1);
    crypto_hash_sha256_update(&state, (const uint8_t *)member, strlen(member));
    crypto_hash_sha256_final(&state, hash);
    for (int i = 0; i < 8; i++)
        weight = weight << 8 | hash[i];
    return weight;
}
