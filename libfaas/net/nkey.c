#include "net/nkey.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "base/secret.h"

#define PREFIX_SEED 144 /* 'S' in the first five bits */
#define PREFIX_USER 160 /* 'U' */
#define KEY_BYTES   32
#define TRIES_MAX   16 /* each fails once in 256 */
#define SEED_RAW    (2 + KEY_BYTES + 2)
#define PUBLIC_RAW  (1 + KEY_BYTES + 2)
/* Public half of the seed that the NATS documentation shows. */
#define PRINTED_PUBLIC "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

static uint16_t crc16(const uint8_t *data, size_t len)
{
    uint16_t crc = 0;

    for (size_t i = 0; i < len; i++) {
        crc ^= (uint16_t)(data[i] << 8);
        for (int bit = 0; bit < 8; bit++)
            crc = (uint16_t)((crc & 0x8000) != 0 ? (crc << 1) ^ 0x1021 : crc << 1);
    }
    return crc;
}

/* Appends the checksum to raw[0..len) and writes all of it as base32. */
static void encode(uint8_t *raw, size_t len, char *out_text)
{
    uint16_t crc = crc16(raw, len);
    uint32_t bits = 0;
    int count = 0;

    raw[len] = (uint8_t)(crc & 0xff);
    raw[len + 1] = (uint8_t)(crc >> 8);
    for (size_t i = 0; i < len + 2; i++) {
        bits = (bits << 8) | raw[i];
        for (count += 8; count >= 5; count -= 5)
            *out_text++ = alphabet[(bits >> (count - 5)) & 31];
    }
    if (count > 0)
        *out_text++ = alphabet[(bits << (5 - count)) & 31];
    *out_text = '\0';
}

static bool decode(const char *text, uint8_t *out_raw, size_t raw_len)
{
    uint32_t bits = 0;
    int count = 0;
    size_t used = 0;

    for (; *text != '\0'; text++) {
        const char *at = strchr(alphabet, *text);

        if (at == NULL)
            return false;
        bits = (bits << 5) | (uint32_t)(at - alphabet);
        count += 5;
        if (count < 8)
            continue;
        if (used == raw_len)
            return false;
        out_raw[used++] = (uint8_t)(bits >> (count - 8));
        count -= 8;
    }
    return used == raw_len;
}

static bool seed_decode(const char *seed, uint8_t out_raw[SEED_RAW])
{
    uint16_t crc;

    if (strlen(seed) != FAAS_NKEY_SEED_TEXT - 1 || !decode(seed, out_raw, SEED_RAW))
        return false;
    crc = crc16(out_raw, SEED_RAW - 2);
    return out_raw[SEED_RAW - 2] == (crc & 0xff) && out_raw[SEED_RAW - 1] == crc >> 8 &&
           out_raw[0] == (PREFIX_SEED | PREFIX_USER >> 5) &&
           out_raw[1] == (uint8_t)((PREFIX_USER & 31) << 3);
}

static void public_of(const uint8_t seed[KEY_BYTES], char out_public[FAAS_NKEY_PUBLIC_TEXT])
{
    uint8_t secret[crypto_sign_SECRETKEYBYTES];
    uint8_t raw[PUBLIC_RAW] = {PREFIX_USER};

    crypto_sign_seed_keypair(raw + 1, secret, seed);
    sodium_memzero(secret, sizeof secret);
    encode(raw, 1 + KEY_BYTES, out_public);
}

faas_code faas_nkey_new(char out_seed[FAAS_NKEY_SEED_TEXT], char out_public[FAAS_NKEY_PUBLIC_TEXT],
                        faas_err *err)
{
    uint8_t raw[SEED_RAW] = {PREFIX_SEED | PREFIX_USER >> 5, (uint8_t)((PREFIX_USER & 31) << 3)};

    if (sodium_init() < 0)
        return faas_fail_sys(err, ENOSYS, "start libsodium");
    randombytes_buf(raw + 2, KEY_BYTES);
    public_of(raw + 2, out_public);
    encode(raw, 2 + KEY_BYTES, out_seed);
    sodium_memzero(raw, sizeof raw);
    return FAAS_OK;
}

faas_code faas_nkey_public(const char *seed, char out_public[FAAS_NKEY_PUBLIC_TEXT], faas_err *err)
{
    uint8_t raw[SEED_RAW];

    if (sodium_init() < 0)
        return faas_fail_sys(err, ENOSYS, "start libsodium");
    if (!seed_decode(seed, raw)) {
        sodium_memzero(raw, sizeof raw);
        return faas_fail(err, FAAS_INVALID, "nkey: not the seed of a user key (SU...)");
    }
    public_of(raw + 2, out_public);
    sodium_memzero(raw, sizeof raw);
    return FAAS_OK;
}

/* Ed25519 as in RFC 8032, section 5.1.6, but for step 2: r is random and not derived from the text,
 * so that another signature of the same text exists.  Verifiers cannot tell. */
static void sign_again(const uint8_t secret[crypto_sign_SECRETKEYBYTES], const char *text,
                       uint8_t out_signature[FAAS_NKEY_SIGNATURE])
{
    const uint8_t *public_key = secret + KEY_BYTES;
    uint8_t a[32], r[32], k[32], ka[32], hash[crypto_hash_sha512_BYTES];
    crypto_hash_sha512_state state;

    crypto_core_ed25519_scalar_random(r);
    (void)crypto_scalarmult_ed25519_base_noclamp(out_signature, r); /* fails for r = 0 only */
    crypto_hash_sha512_init(&state);
    crypto_hash_sha512_update(&state, out_signature, 32);
    crypto_hash_sha512_update(&state, public_key, KEY_BYTES);
    crypto_hash_sha512_update(&state, (const uint8_t *)text, strlen(text));
    crypto_hash_sha512_final(&state, hash);
    crypto_core_ed25519_scalar_reduce(k, hash);
    (void)crypto_sign_ed25519_sk_to_curve25519(a, secret); /* the clamped secret scalar */
    crypto_core_ed25519_scalar_mul(ka, k, a);
    crypto_core_ed25519_scalar_add(out_signature + 32, r, ka);
    sodium_memzero(a, sizeof a);
    sodium_memzero(r, sizeof r);
    sodium_memzero(ka, sizeof ka);
}

static bool sign(const uint8_t secret[crypto_sign_SECRETKEYBYTES], const char *text,
                 uint8_t out_signature[FAAS_NKEY_SIGNATURE])
{
    const uint8_t *message = (const uint8_t *)text;

    crypto_sign_detached(out_signature, NULL, message, strlen(text), secret);
    for (int tries = 0; out_signature[0] == 0 && tries < TRIES_MAX; tries++)
        sign_again(secret, text, out_signature);
    return out_signature[0] != 0 &&
           crypto_sign_verify_detached(out_signature, message, strlen(text), secret + KEY_BYTES) ==
               0;
}

faas_code faas_nkey_sign(const char *seed, const char *text,
                         unsigned char out_signature[FAAS_NKEY_SIGNATURE], faas_err *err)
{
    uint8_t raw[SEED_RAW], secret[crypto_sign_SECRETKEYBYTES], public_key[KEY_BYTES];
    faas_code rc = FAAS_OK;

    if (sodium_init() < 0)
        return faas_fail_sys(err, ENOSYS, "start libsodium");
    if (!seed_decode(seed, raw)) {
        rc = faas_fail(err, FAAS_INVALID, "nkey: not the seed of a user key (SU...)");
    } else {
        crypto_sign_seed_keypair(public_key, secret, raw + 2);
        if (!sign(secret, text, out_signature))
            rc = faas_fail(err, FAAS_INTERNAL, "nkey: cannot sign");
        sodium_memzero(secret, sizeof secret);
    }
    sodium_memzero(raw, sizeof raw);
    return rc;
}

/* The text of the file, without its newline. */
static faas_code read_private(int fd, const char *path, char out_seed[FAAS_NKEY_SEED_TEXT],
                              faas_err *err)
{
    char text[FAAS_NKEY_SEED_TEXT + 2];
    ssize_t len;

    FAAS_TRY(faas_secret_check(fd, path, err));
    len = read(fd, text, sizeof text - 1);
    if (len < 0)
        return faas_fail_sys(err, errno, "read %s", path);
    if (len > 0 && text[len - 1] == '\n')
        len--;
    text[len] = '\0';
    if (strlen(text) != FAAS_NKEY_SEED_TEXT - 1) {
        sodium_memzero(text, sizeof text);
        return faas_fail(err, FAAS_INVALID, "nkey file %s: not the seed of a user key (SU...)",
                         path);
    }
    memcpy(out_seed, text, FAAS_NKEY_SEED_TEXT);
    sodium_memzero(text, sizeof text);
    return FAAS_OK;
}

faas_code faas_nkey_read(const char *path, char out_seed[FAAS_NKEY_SEED_TEXT], faas_err *err)
{
    char public_text[FAAS_NKEY_PUBLIC_TEXT];
    faas_code rc;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0)
        return faas_fail(err, FAAS_INVALID, "nkey file %s: cannot open it: %s", path,
                         strerrordesc_np(errno));
    rc = read_private(fd, path, out_seed, err);
    close(fd);
    if (rc == FAAS_OK && faas_nkey_public(out_seed, public_text, NULL) != FAAS_OK)
        rc = faas_fail(err, FAAS_INVALID, "nkey file %s: not the seed of a user key (SU...)", path);
    if (rc == FAAS_OK && strcmp(public_text, PRINTED_PUBLIC) == 0)
        rc = faas_fail(err, FAAS_INVALID,
                       "nkey file %s: this seed is printed in public documents; make one of your "
                       "own",
                       path);
    if (rc != FAAS_OK)
        sodium_memzero(out_seed, FAAS_NKEY_SEED_TEXT);
    return rc;
}
