#include "cli/keys.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <sodium.h>
#include <string.h>
#include <unistd.h>

#include "base/id.h"
#include "cli/file.h"
#include "crypto/sealed.h"

#define RANDOM_TEXT 33 /* faas_random_token(), with NUL */

static faas_code keys_path(const char *data_dir, const char *name, const char *suffix,
                           char **out_path, faas_err *err)
{
    FAAS_AUTO(char) *dir = file_path("%s/keys", data_dir);
    char *path;

    if (dir == NULL)
        return faas_fail(err, FAAS_INTERNAL, "out of memory");
    FAAS_TRY(file_make_dirs(dir, err));
    path = file_path("%s/%s%s", dir, name, suffix);
    if (path == NULL)
        return faas_fail(err, FAAS_INTERNAL, "out of memory");
    *out_path = path;
    return FAAS_OK;
}

/* Only a file that is surely not there is made: in doubt an old key must not be replaced. */
static faas_code look(const char *path, bool *out_is_there, faas_err *err)
{
    *out_is_there = access(path, F_OK) == 0;
    return *out_is_there || errno == ENOENT ? FAAS_OK : file_fail(err, "read", path, errno);
}

faas_code keys_write_pem(EVP_PKEY *key, const char *path, faas_err *err)
{
    BIO *memory = BIO_new(BIO_s_mem());
    faas_code code;
    char *text;
    long len;

    if (memory == NULL || PEM_write_bio_PrivateKey(memory, key, NULL, NULL, 0, NULL, NULL) != 1) {
        BIO_free(memory);
        return faas_fail(err, FAAS_INTERNAL, "the key cannot be written as PEM");
    }
    len = BIO_get_mem_data(memory, &text);
    code = file_write(path, text, (size_t)len, 0600, err);
    sodium_memzero(text, (size_t)len);
    BIO_free(memory);
    return code;
}

static faas_code write_new_key(const char *path, faas_err *err)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    faas_code code;

    if (key == NULL)
        return faas_fail(err, FAAS_INTERNAL, "OpenSSL makes no P-256 key");
    code = keys_write_pem(key, path, err);
    EVP_PKEY_free(key);
    return code;
}

faas_code keys_token(const char *data_dir, char **out_path, faas_err *err)
{
    FAAS_AUTO(char) *path = NULL;
    struct faas_ec_key key;
    bool is_there;

    FAAS_TRY(keys_path(data_dir, "token-1", ".pem", &path, err));
    FAAS_TRY(look(path, &is_there, err));
    if (!is_there)
        FAAS_TRY(write_new_key(path, err));
    FAAS_TRY(faas_ec_key_load(path, &key, err)); /* a bad one is better told here than by auth */
    faas_ec_key_done(&key);
    *out_path = FAAS_STEAL(path);
    return FAAS_OK;
}

faas_code keys_token_replace(const char *data_dir, char out_kid[FAAS_KID_TEXT], faas_err *err)
{
    FAAS_AUTO(char) *path = NULL;
    struct faas_ec_key key;

    FAAS_TRY(keys_path(data_dir, "token-1", ".pem", &path, err));
    FAAS_TRY(write_new_key(path, err));
    FAAS_TRY(faas_ec_key_load(path, &key, err));
    memcpy(out_kid, key.kid, sizeof key.kid);
    faas_ec_key_done(&key);
    return FAAS_OK;
}

static faas_code make_secrets_key(const char *path, faas_err *err)
{
    char text[FAAS_SEALED_KEY_TEXT + 1];
    faas_code code;

    faas_sealed_key_text(text);
    text[FAAS_SEALED_KEY_TEXT] = '\n';
    code = file_write(path, text, sizeof text, 0600, err);
    sodium_memzero(text, sizeof text);
    return code;
}

faas_code keys_secrets(const char *data_dir, char **out_path, faas_err *err)
{
    FAAS_AUTO(char) *path = NULL;
    faas_sealed_key *key = NULL;
    bool is_there;

    FAAS_TRY(keys_path(data_dir, "secrets", ".key", &path, err));
    FAAS_TRY(look(path, &is_there, err));
    if (!is_there)
        FAAS_TRY(make_secrets_key(path, err));
    FAAS_TRY(faas_sealed_key_read(path, &key, err));
    faas_sealed_key_free(key);
    *out_path = FAAS_STEAL(path);
    return FAAS_OK;
}

faas_code keys_admin(const char *data_dir, char **out_path, faas_err *err)
{
    FAAS_AUTO(char) *path = NULL;
    char text[RANDOM_TEXT];
    bool is_there;
    faas_code code = FAAS_OK;

    FAAS_TRY(keys_path(data_dir, "admin", ".password", &path, err));
    FAAS_TRY(look(path, &is_there, err));
    if (!is_there) {
        faas_random_token(text);
        text[RANDOM_TEXT - 1] = '\n';
        code = file_write(path, text, RANDOM_TEXT, 0600, err);
        sodium_memzero(text, sizeof text);
    }
    FAAS_TRY(code);
    *out_path = FAAS_STEAL(path);
    return FAAS_OK;
}

static faas_code make_seed(const char *path, faas_err *err)
{
    char seed[FAAS_NKEY_SEED_TEXT + 1], public_key[FAAS_NKEY_PUBLIC_TEXT];
    faas_code code;

    FAAS_TRY(faas_nkey_new(seed, public_key, err));
    seed[FAAS_NKEY_SEED_TEXT - 1] = '\n';
    code = file_write(path, seed, FAAS_NKEY_SEED_TEXT, 0600, err);
    sodium_memzero(seed, sizeof seed);
    return code;
}

faas_code keys_nats(const char *data_dir, const char *user, char **out_path,
                    char out_public[FAAS_NKEY_PUBLIC_TEXT], faas_err *err)
{
    FAAS_AUTO(char) *name = file_path("nats-%s", user);
    FAAS_AUTO(char) *path = NULL;
    char seed[FAAS_NKEY_SEED_TEXT];
    bool is_there;
    faas_code code;

    if (name == NULL)
        return faas_fail(err, FAAS_INTERNAL, "out of memory");
    FAAS_TRY(keys_path(data_dir, name, ".seed", &path, err));
    FAAS_TRY(look(path, &is_there, err));
    if (!is_there)
        FAAS_TRY(make_seed(path, err));
    FAAS_TRY(faas_nkey_read(path, seed, err));
    code = faas_nkey_public(seed, out_public, err);
    sodium_memzero(seed, sizeof seed);
    if (code == FAAS_OK)
        *out_path = FAAS_STEAL(path);
    return code;
}
