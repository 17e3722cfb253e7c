#include "tests/support/forge.h"

#include <fcntl.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BASE64URL sodium_base64_VARIANT_URLSAFE_NO_PADDING
#define MAX_FILES 64

static char directory[64];
static char files[MAX_FILES][96];
static int file_count;

static void must(int is_true)
{
    if (!is_true)
        abort();
}

void forge_init(void)
{
    snprintf(directory, sizeof directory, "/tmp/faas-forge-XXXXXX");
    must(mkdtemp(directory) != NULL && sodium_init() >= 0);
}

void forge_done(void)
{
    while (file_count > 0)
        unlink(files[--file_count]);
    rmdir(directory);
}

const char *forge_file(const char *name, const void *content, size_t len, mode_t mode)
{
    char *path = files[file_count];
    int fd;

    must(file_count < MAX_FILES);
    file_count++;
    snprintf(path, sizeof files[0], "%s/%s", directory, name);
    fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    must(fd >= 0 && write(fd, content, len) == (ssize_t)len && fchmod(fd, mode) == 0);
    close(fd);
    return path;
}

/* The file's path, and its content as text of the caller when asked for. */
static void write_pem(EVP_PKEY *pkey, int is_private, mode_t mode, char out_path[96],
                      char **out_text)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char name[32], *text;
    long len;

    must(bio != NULL && (is_private ? PEM_write_bio_PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL)
                                    : PEM_write_bio_PUBKEY(bio, pkey)) == 1);
    len = BIO_get_mem_data(bio, &text);
    snprintf(name, sizeof name, "key-%d.pem", file_count);
    snprintf(out_path, 96, "%s", forge_file(name, text, (size_t)len, mode));
    if (out_text != NULL)
        must((*out_text = strndup(text, (size_t)len)) != NULL);
    BIO_free_all(bio);
}

void forge_key_new(struct forge_key *out_key, const char *curve, mode_t mode)
{
    EVP_PKEY *pkey = EVP_EC_gen(curve);

    must(pkey != NULL);
    out_key->pkey = pkey;
    write_pem(pkey, 1, mode, out_key->private_file, NULL);
    write_pem(pkey, 0, 0644, out_key->public_file, &out_key->public_pem);
}

void forge_key_done(struct forge_key *key)
{
    EVP_PKEY_free(key->pkey);
    free(key->public_pem);
}

static void append_base64(FILE *out, const void *bytes, size_t len)
{
    size_t size = sodium_base64_encoded_len(len, BASE64URL);
    char *text = malloc(size);

    must(text != NULL);
    fputs(sodium_bin2base64(text, size, bytes, len, BASE64URL), out);
    free(text);
}

char *forge_raw(const char *header, const char *payload, const char *signature)
{
    char *token = NULL;
    size_t len;
    FILE *out = open_memstream(&token, &len);

    must(out != NULL);
    append_base64(out, header, strlen(header));
    fputc('.', out);
    append_base64(out, payload, strlen(payload));
    fprintf(out, ".%s", signature);
    must(fclose(out) == 0);
    return token;
}

char *forge_unsigned(const char *header, const char *payload)
{
    return forge_raw(header, payload, "");
}

/* `token` ends in the dot before the signature; it is replaced by the whole. */
static char *append_signature(char *token, const void *bytes, size_t len)
{
    char *whole = NULL;
    size_t size;
    FILE *out = open_memstream(&whole, &size);

    must(out != NULL);
    fputs(token, out);
    append_base64(out, bytes, len);
    must(fclose(out) == 0);
    free(token);
    return whole;
}

char *forge_es256(const struct forge_key *key, const char *header, const char *payload)
{
    char *token = forge_unsigned(header, payload);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    unsigned char der[160], raw[64];
    const unsigned char *at = der;
    size_t len = sizeof der;
    ECDSA_SIG *sig;

    must(ctx != NULL && EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key->pkey) == 1 &&
         EVP_DigestSign(ctx, der, &len, (const unsigned char *)token, strlen(token) - 1) == 1);
    sig = d2i_ECDSA_SIG(NULL, &at, (long)len);
    must(sig != NULL && BN_bn2binpad(ECDSA_SIG_get0_r(sig), raw, 32) == 32 &&
         BN_bn2binpad(ECDSA_SIG_get0_s(sig), raw + 32, 32) == 32);
    ECDSA_SIG_free(sig);
    EVP_MD_CTX_free(ctx);
    return append_signature(token, raw, sizeof raw);
}

char *forge_hs256(const char *secret, const char *header, const char *payload)
{
    char *token = forge_unsigned(header, payload);
    crypto_auth_hmacsha256_state state;
    unsigned char mac[crypto_auth_hmacsha256_BYTES];

    crypto_auth_hmacsha256_init(&state, (const unsigned char *)secret, strlen(secret));
    crypto_auth_hmacsha256_update(&state, (const unsigned char *)token, strlen(token) - 1);
    crypto_auth_hmacsha256_final(&state, mac);
    return append_signature(token, mac, sizeof mac);
}
