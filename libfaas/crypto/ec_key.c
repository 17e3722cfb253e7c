#include "crypto/ec_key.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/core_names.h>
#include <openssl/ecerr.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/id.h"
#include "base/secret.h"

#define FILE_BYTES 16384 /* a PEM key is under 1 KiB; certificates may surround it */

FAAS_DEFINE_AUTO(BIO, BIO_free_all)
FAAS_DEFINE_AUTO(EVP_PKEY, EVP_PKEY_free)
FAAS_DEFINE_AUTO(EVP_PKEY_CTX, EVP_PKEY_CTX_free)

/* Empties OpenSSL's queue of errors.  Was a lack of memory among them? */
static bool was_memory_short(bool *out_is_off_curve)
{
    bool is_short = false;
    unsigned long code;

    *out_is_off_curve = false;
    while ((code = ERR_get_error()) != 0) {
        is_short = is_short || ERR_GET_REASON(code) == ERR_R_MALLOC_FAILURE;
        *out_is_off_curve |= ERR_GET_REASON(code) == EC_R_POINT_IS_NOT_ON_CURVE;
    }
    return is_short;
}

/* INVALID with the message, unless OpenSSL only lacked memory. */
FAAS_PRINTF(2, 3)
static faas_code refuse(faas_err *err, const char *fmt, ...)
{
    char text[FAAS_ERR_MSG_MAX];
    bool is_off_curve;
    va_list args;

    if (was_memory_short(&is_off_curve))
        return faas_fail_sys(err, ENOMEM, "read a key");
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return faas_fail(err, FAAS_INVALID, "%s", text);
}

/* What OpenSSL has to say goes to the log; its error queue is per thread and must not pile up. */
static faas_code crypto_failure(faas_err *err, const char *what)
{
    unsigned long code = ERR_peek_last_error();
    char reason[128];

    ERR_error_string_n(code, reason, sizeof reason);
    ERR_clear_error();
    (void)faas_fail(err, FAAS_INTERNAL, "internal error");
    return faas_err_detail(err, "%s: %s", what, reason);
}

/* An encrypted key would make OpenSSL ask on the terminal. */
static int no_passphrase(char *buf, int size, int is_writing, void *arg)
{
    (void)buf;
    (void)size;
    (void)is_writing;
    (void)arg;
    return -1;
}

static bool is_p256(EVP_PKEY *pkey)
{
    char group[32] = "";

    return EVP_PKEY_is_a(pkey, "EC") == 1 &&
           EVP_PKEY_get_group_name(pkey, group, sizeof group, NULL) == 1 &&
           strcmp(group, "prime256v1") == 0;
}

static faas_code set_kid(EVP_PKEY *pkey, struct faas_ec_key *key, faas_err *err)
{
    unsigned char *der = NULL;
    int len = i2d_PUBKEY(pkey, &der);
    char hash[FAAS_HASH_TEXT];

    if (len <= 0)
        return crypto_failure(err, "encode the public key");
    faas_hash_text(der, (size_t)len, hash);
    memcpy(key->kid, hash, FAAS_KID_TEXT - 1);
    key->kid[FAAS_KID_TEXT - 1] = '\0';
    OPENSSL_free(der);
    return FAAS_OK;
}

static bool set_coordinate(EVP_PKEY *pkey, const char *name, uint8_t out[FAAS_EC_BYTES])
{
    BIGNUM *number = NULL;
    bool is_set = EVP_PKEY_get_bn_param(pkey, name, &number) == 1 &&
                  BN_bn2binpad(number, out, FAAS_EC_BYTES) == FAAS_EC_BYTES;

    BN_free(number);
    return is_set;
}

/* libjwt reads PEM only: write the key anew, so that it sees one block and nothing else. */
static faas_code set_pem(EVP_PKEY *pkey, struct faas_ec_key *key, faas_err *err)
{
    FAAS_AUTO(BIO) *bio = BIO_new(BIO_s_secmem());
    char *text;
    long len;

    if (bio == NULL ||
        (key->is_private ? PEM_write_bio_PKCS8PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL)
                         : PEM_write_bio_PUBKEY(bio, pkey)) != 1)
        return crypto_failure(err, "write the key as PEM");
    len = BIO_get_mem_data(bio, &text);
    key->pem = malloc((size_t)len + 1);
    if (key->pem == NULL)
        return faas_fail_sys(err, errno, "copy a key");
    memcpy(key->pem, text, (size_t)len);
    key->pem[len] = '\0';
    key->pem_len = (size_t)len;
    (void)sodium_mlock(key->pem, key->pem_len + 1); /* best effort: RLIMIT_MEMLOCK may forbid it */
    return FAAS_OK;
}

/* On failure nothing is owned. */
static faas_code fill_key(EVP_PKEY *pkey, bool is_private, struct faas_ec_key *out_key,
                          faas_err *err)
{
    struct faas_ec_key key = {.is_private = is_private};

    if (!set_coordinate(pkey, OSSL_PKEY_PARAM_EC_PUB_X, key.x) ||
        !set_coordinate(pkey, OSSL_PKEY_PARAM_EC_PUB_Y, key.y))
        return crypto_failure(err, "read the public point");
    FAAS_TRY(set_kid(pkey, &key, err));
    FAAS_TRY(set_pem(pkey, &key, err));
    *out_key = key;
    return FAAS_OK;
}

static faas_code check_key(EVP_PKEY *pkey, bool is_private, const char *file, faas_err *err)
{
    FAAS_AUTO(EVP_PKEY_CTX) *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);

    if (ctx == NULL)
        return crypto_failure(err, "check a key");
    if (!is_p256(pkey))
        return refuse(err, "%.200s: not an EC key on the curve P-256", file);
    if ((is_private ? EVP_PKEY_check(ctx) : EVP_PKEY_public_check(ctx)) != 1)
        return refuse(err, "%.200s: the key is damaged", file);
    return FAAS_OK;
}

/* ---- files ----------------------------------------------------------------------------------- */

struct key_file {
    char text[FILE_BYTES + 1];
    size_t len;
    faas_err unfit; /* why it may not hold a private key; code FAAS_OK: it may */
};

/* Private keys that anybody can read in RFC 7515 (A.3), RFC 7517 (A.2) and on jwt.io. */
static const char *const printed_keys[] = {"2bd1bb0c44a897c3", "51b944cdfa544d4c",
                                           "a40f0f2e2974dc76"};

static faas_code read_whole(int fd, const char *name, struct key_file *file, faas_err *err)
{
    ssize_t n = 1;

    while (n > 0 && file->len < sizeof file->text) {
        n = read(fd, file->text + file->len, sizeof file->text - file->len);
        if (n < 0)
            return faas_fail(err, FAAS_INVALID, "%.200s: cannot read it: %s", name,
                             strerrordesc_np(errno));
        file->len += (size_t)n;
    }
    if (file->len == 0 || file->len > FILE_BYTES)
        return faas_fail(err, FAAS_INVALID, "%.200s: %s, expected a PEM key", name,
                         file->len == 0 ? "empty" : "over 16 KiB");
    return FAAS_OK;
}

static faas_code open_file(const char *name, struct key_file *file, faas_err *err)
{
    /* O_NONBLOCK: a FIFO in place of the file must not hang the start. */
    int fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat info;
    faas_code rc;

    if (fd < 0)
        return faas_fail(err, FAAS_INVALID, "%.200s: cannot open it: %s", name,
                         strerrordesc_np(errno));
    file->len = 0;
    file->unfit = (faas_err){.code = FAAS_OK};
    if (fstat(fd, &info) != 0) {
        rc = faas_fail(err, FAAS_INVALID, "%.200s: cannot read it: %s", name,
                       strerrordesc_np(errno));
    } else if (!S_ISREG(info.st_mode)) {
        rc = faas_fail(err, FAAS_INVALID, "%.200s: not a plain file", name);
    } else {
        file->unfit.code = faas_secret_check(fd, name, &file->unfit);
        rc = read_whole(fd, name, file, err);
    }
    close(fd);
    return rc;
}

/* Looks for a private key first, since its file needs protection. */
static EVP_PKEY *parse_pem(const struct key_file *file, bool *out_is_private)
{
    FAAS_AUTO(BIO) *private_bio = BIO_new_mem_buf(file->text, (int)file->len);
    FAAS_AUTO(BIO) *public_bio = BIO_new_mem_buf(file->text, (int)file->len);
    EVP_PKEY *pkey = NULL;

    if (private_bio != NULL)
        pkey = PEM_read_bio_PrivateKey(private_bio, NULL, no_passphrase, NULL);
    *out_is_private = pkey != NULL;
    if (pkey == NULL && public_bio != NULL)
        pkey = PEM_read_bio_PUBKEY(public_bio, NULL, no_passphrase, NULL);
    return pkey;
}

static faas_code load(const char *name, const struct key_file *file, struct faas_ec_key *out_key,
                      faas_err *err)
{
    bool is_private = false;
    FAAS_AUTO(EVP_PKEY) *pkey = parse_pem(file, &is_private);

    if (pkey == NULL)
        return refuse(err, "%.200s: holds no PEM key without a passphrase", name);
    ERR_clear_error();
    if (is_private && file->unfit.code != FAAS_OK)
        return faas_fail(err, file->unfit.code, "%s", file->unfit.msg);
    FAAS_TRY(check_key(pkey, is_private, name, err));
    FAAS_TRY(fill_key(pkey, is_private, out_key, err));
    for (size_t i = 0; is_private && i < FAAS_ARRAY_LEN(printed_keys); i++) {
        if (strcmp(out_key->kid, printed_keys[i]) != 0)
            continue;
        faas_ec_key_done(out_key);
        return faas_fail(err, FAAS_INVALID,
                         "%.200s: this private key is printed in public documents; make one of "
                         "your own",
                         name);
    }
    return FAAS_OK;
}

faas_code faas_ec_key_load(const char *name, struct faas_ec_key *out_key, faas_err *err)
{
    struct key_file file;
    faas_code rc = open_file(name, &file, err);

    if (rc == FAAS_OK)
        rc = load(name, &file, out_key, err);
    sodium_memzero(&file, sizeof file);
    return rc;
}

/* ---- points ---------------------------------------------------------------------------------- */

faas_code faas_ec_key_from_point(const uint8_t x[FAAS_EC_BYTES], const uint8_t y[FAAS_EC_BYTES],
                                 struct faas_ec_key *out_key, faas_err *err)
{
    FAAS_AUTO(EVP_PKEY_CTX) *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    FAAS_AUTO(EVP_PKEY) *pkey = NULL;
    uint8_t point[1 + 2 * FAAS_EC_BYTES] = {POINT_CONVERSION_UNCOMPRESSED};
    char group[] = "prime256v1";
    bool is_off_curve;
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point),
        OSSL_PARAM_construct_end(),
    };

    memcpy(point + 1, x, FAAS_EC_BYTES);
    memcpy(point + 1 + FAAS_EC_BYTES, y, FAAS_EC_BYTES);
    if (ctx == NULL || EVP_PKEY_fromdata_init(ctx) != 1)
        return crypto_failure(err, "make a public key");
    if (EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) != 1) {
        /* OpenSSL calls a point off the curve, too, when it had no memory to look. */
        if (was_memory_short(&is_off_curve) || !is_off_curve)
            return faas_fail_sys(err, ENOMEM, "make a public key");
        return faas_fail(err, FAAS_INVALID, "not a point on the curve P-256");
    }
    return fill_key(pkey, false, out_key, err);
}

void faas_ec_key_done(struct faas_ec_key *key)
{
    if (key == NULL)
        return;
    if (key->pem != NULL)
        sodium_munlock(key->pem, key->pem_len + 1); /* wipes first */
    free(key->pem);
    *key = (struct faas_ec_key){0};
}
