#include "crypto/sealed.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/secret.h"

#define BOX_MAX (FAAS_SEALED_LABEL_MAX + FAAS_SEALED_MAX + crypto_box_SEALBYTES)
#define BASE64  sodium_base64_VARIANT_ORIGINAL

struct faas_sealed_key { /* sodium_malloc */
    unsigned char secret[crypto_box_SECRETKEYBYTES], open[crypto_box_PUBLICKEYBYTES];
    char public_text[FAAS_SEALED_PUBLIC];
};

_Static_assert(FAAS_SEALED_PUBLIC == 2 * crypto_box_PUBLICKEYBYTES + 1, "hex of a public key");
_Static_assert(FAAS_SEALED_KEY_TEXT == 2 * crypto_box_SECRETKEYBYTES, "hex of a key");

/* ---- keys ---- */

static void settle(faas_sealed_key *key)
{
    (void)crypto_scalarmult_base(key->open, key->secret);
    (void)sodium_bin2hex(key->public_text, sizeof key->public_text, key->open, sizeof key->open);
}

faas_code faas_sealed_key_new(faas_sealed_key **out_key, faas_err *err)
{
    /* Without it libsodium knows no page size. */
    faas_sealed_key *key = sodium_init() >= 0 ? sodium_malloc(sizeof *key) : NULL;

    if (key == NULL)
        return faas_fail_sys(err, ENOMEM, "key");
    randombytes_buf(key->secret, sizeof key->secret);
    settle(key);
    *out_key = key;
    return FAAS_OK;
}

void faas_sealed_key_text(char out_text[FAAS_SEALED_KEY_TEXT + 1])
{
    unsigned char secret[crypto_box_SECRETKEYBYTES];

    randombytes_buf(secret, sizeof secret);
    (void)sodium_bin2hex(out_text, FAAS_SEALED_KEY_TEXT + 1, secret, sizeof secret);
    sodium_memzero(secret, sizeof secret);
}

/* text has room for one byte more than a good file has. */
static bool parse(const char *text, size_t len, faas_sealed_key *key)
{
    size_t got = 0;

    if (len == FAAS_SEALED_KEY_TEXT + 1 && text[FAAS_SEALED_KEY_TEXT] == '\n')
        len--;
    return len == FAAS_SEALED_KEY_TEXT &&
           sodium_hex2bin(key->secret, sizeof key->secret, text, len, NULL, &got, NULL) == 0 &&
           got == sizeof key->secret && !sodium_is_zero(key->secret, sizeof key->secret);
}

static faas_code read_key(int fd, const char *path, faas_sealed_key *key, faas_err *err)
{
    char text[FAAS_SEALED_KEY_TEXT + 2];
    ssize_t len;
    bool is_key;

    FAAS_TRY(faas_secret_check(fd, path, err));
    len = read(fd, text, sizeof text);
    is_key = len > 0 && parse(text, (size_t)len, key);
    sodium_memzero(text, sizeof text);
    if (len < 0)
        return faas_fail_sys(err, errno, "read %s", path);
    return is_key ? FAAS_OK
                  : faas_fail(err, FAAS_INVALID, "%.150s: not a key: %d hex digits are expected",
                              path, FAAS_SEALED_KEY_TEXT);
}

faas_code faas_sealed_key_read(const char *path, faas_sealed_key **out_key, faas_err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    faas_sealed_key *key = NULL;
    faas_code rc;

    if (fd < 0)
        return faas_fail(err, FAAS_INVALID, "%.150s: cannot be opened: %s", path,
                         strerrordesc_np(errno));
    rc = faas_sealed_key_new(&key, err);
    if (rc == FAAS_OK)
        rc = read_key(fd, path, key, err);
    close(fd);
    if (rc != FAAS_OK) {
        faas_sealed_key_free(key);
        return rc;
    }
    settle(key);
    *out_key = key;
    return FAAS_OK;
}

void faas_sealed_key_free(faas_sealed_key *key)
{
    sodium_free(key);
}

const char *faas_sealed_key_public(const faas_sealed_key *key)
{
    return key->public_text;
}

/* ---- boxes: crypto_box_seal(label NUL value) ---- */

static faas_code encode(const unsigned char *box, size_t len, char **out_text, faas_err *err)
{
    size_t room = sodium_base64_ENCODED_LEN(len, BASE64);
    char *text = malloc(room);

    if (text == NULL)
        return faas_fail_sys(err, ENOMEM, "sealed value");
    (void)sodium_bin2base64(text, room, box, len, BASE64);
    *out_text = text;
    return FAAS_OK;
}

static faas_code read_public(const char *text, unsigned char out_key[crypto_box_PUBLICKEYBYTES],
                             faas_err *err)
{
    size_t got = 0;

    return sodium_hex2bin(out_key, crypto_box_PUBLICKEYBYTES, text, strlen(text), NULL, &got,
                          NULL) == 0 &&
                   got == crypto_box_PUBLICKEYBYTES
               ? FAAS_OK
               : faas_fail(err, FAAS_INVALID, "public_key: expected %d hex digits",
                           FAAS_SEALED_PUBLIC - 1);
}

/* plain and box are apart: a sealed box begins with what it needs while it is made. */
static faas_code make_box(const unsigned char *open, const struct faas_sealed_value *value,
                          char **out_text, faas_err *err)
{
    size_t label = strlen(value->label) + 1, len = label + value->len;
    unsigned char *plain = sodium_malloc(len), *box = malloc(len + crypto_box_SEALBYTES);
    faas_code rc = FAAS_OK;

    if (plain == NULL || box == NULL) {
        rc = faas_fail_sys(err, ENOMEM, "sealed value");
    } else {
        memcpy(plain, value->label, label);
        if (value->len > 0)
            memcpy(plain + label, value->bytes, value->len);
        rc = crypto_box_seal(box, plain, len, open) == 0
                 ? encode(box, len + crypto_box_SEALBYTES, out_text, err)
                 : faas_fail(err, FAAS_INVALID, "public_key: not a key");
    }
    sodium_free(plain);
    free(box);
    return rc;
}

faas_code faas_seal(const char *public_key, const struct faas_sealed_value *value, char **out_text,
                    faas_err *err)
{
    unsigned char open[crypto_box_PUBLICKEYBYTES];

    if (sodium_init() < 0)
        return faas_fail_sys(err, EIO, "libsodium");
    FAAS_TRY(read_public(public_key, open, err));
    if (strlen(value->label) >= FAAS_SEALED_LABEL_MAX || value->len > FAAS_SEALED_MAX)
        return faas_fail(err, FAAS_TOO_LARGE, "a sealed value is at most %d bytes",
                         FAAS_SEALED_MAX);
    return make_box(open, value, out_text, err);
}

static faas_code decode(const char *text, unsigned char **out_box, size_t *out_len, faas_err *err)
{
    size_t text_len = strlen(text), room = text_len / 4 * 3 + 3;
    unsigned char *box;

    if (text_len > sodium_base64_ENCODED_LEN(BOX_MAX, BASE64))
        return faas_fail(err, FAAS_INVALID, "a sealed value is too long");
    box = malloc(room);
    if (box == NULL)
        return faas_fail_sys(err, ENOMEM, "sealed value");
    if (sodium_base642bin(box, room, text, text_len, NULL, out_len, NULL, BASE64) != 0 ||
        *out_len < crypto_box_SEALBYTES) {
        free(box);
        return faas_fail(err, FAAS_INVALID, "a sealed value is damaged");
    }
    *out_box = box;
    return FAAS_OK;
}

static faas_code take_value(const char *label, unsigned char *plain, size_t len, void **out_value,
                            size_t *out_len, faas_err *err)
{
    size_t head = strlen(label) + 1;
    unsigned char *value;

    if (len < head || memcmp(plain, label, head) != 0)
        return faas_fail(err, FAAS_INVALID, "a sealed value is another's");
    value = sodium_malloc(len - head + 1);
    if (value == NULL)
        return faas_fail_sys(err, ENOMEM, "opened value");
    memcpy(value, plain + head, len - head);
    *out_value = value;
    *out_len = len - head;
    return FAAS_OK;
}

faas_code faas_unseal(const faas_sealed_key *key, const char *label, const char *text,
                      void **out_value, size_t *out_len, faas_err *err)
{
    unsigned char *box = NULL, *plain;
    size_t len = 0, plain_len;
    faas_code rc;

    FAAS_TRY(decode(text, &box, &len, err));
    plain_len = len - crypto_box_SEALBYTES;
    plain = sodium_malloc(plain_len + 1);
    if (plain == NULL)
        rc = faas_fail_sys(err, ENOMEM, "opened value");
    else if (crypto_box_seal_open(plain, box, len, key->open, key->secret) != 0)
        rc = faas_fail(err, FAAS_INVALID, "a sealed value was made for another key, or is damaged");
    else
        rc = take_value(label, plain, plain_len, out_value, out_len, err);
    sodium_free(plain);
    free(box);
    return rc;
}
