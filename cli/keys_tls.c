/* The self-signed certificate of `faas up --tls`. */
#include <limits.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/file.h"
#include "cli/keys.h"

#define DAYS   398
#define REST_S (30 * 86400) /* with less time left it is made anew */
#define CN     "faas self-signed"

static bool is_wildcard(const char *address)
{
    return strcmp(address, "0.0.0.0") == 0 || strcmp(address, "::") == 0;
}

static bool is_good_for(X509 *cert, const char *address)
{
    time_t then = time(NULL) + REST_S;

    return X509_cmp_time(X509_get0_notAfter(cert), &then) > 0 &&
           (is_wildcard(address) || X509_check_ip_asc(cert, address, 0) == 1);
}

static bool is_there(const char *cert_path, const char *key_path, const char *address)
{
    FILE *in = fopen(cert_path, "re");
    X509 *cert = in == NULL ? NULL : PEM_read_X509(in, NULL, NULL, NULL);
    bool is = cert != NULL && access(key_path, F_OK) == 0 && is_good_for(cert, address);

    X509_free(cert);
    if (in != NULL)
        fclose(in);
    return is;
}

bool keys_add_extension(X509 *cert, int nid, const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
    bool is_added = extension != NULL && X509_add_ext(cert, extension, -1) == 1;

    X509_EXTENSION_free(extension);
    return is_added;
}

/* Names for OpenSSL's text form: this machine's own, and what is listened on. */
static void list_names(const char *address, char *out, size_t room)
{
    static const char host_chars[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.";
    char host[HOST_NAME_MAX + 1] = "";

    if (gethostname(host, sizeof host - 1) != 0 || host[strspn(host, host_chars)] != '\0')
        host[0] = '\0';
    (void)snprintf(out, room, "DNS:localhost,IP:127.0.0.1,IP:::1%s%s%s%s",
                   host[0] == '\0' ? "" : ",DNS:", host,
                   is_wildcard(address) ? "" : ",IP:", is_wildcard(address) ? "" : address);
}

static bool fill(X509 *cert, EVP_PKEY *key, const char *address)
{
    X509_NAME *name = X509_get_subject_name(cert);
    char names[512];

    list_names(address, names, sizeof names);
    return X509_set_version(cert, 2) == 1 &&
           ASN1_INTEGER_set_uint64(X509_get_serialNumber(cert), (uint64_t)time(NULL)) == 1 &&
           X509_gmtime_adj(X509_getm_notBefore(cert), -3600) != NULL &&
           X509_time_adj_ex(X509_getm_notAfter(cert), DAYS, 0, NULL) != NULL &&
           X509_set_pubkey(cert, key) == 1 &&
           X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)CN, -1, -1,
                                      0) == 1 &&
           X509_set_issuer_name(cert, name) == 1 &&
           keys_add_extension(cert, NID_basic_constraints, "critical,CA:FALSE") &&
           keys_add_extension(cert, NID_subject_alt_name, names) &&
           X509_sign(cert, key, EVP_sha256()) > 0;
}

faas_code keys_write_cert(X509 *cert, const char *path, faas_err *err)
{
    BIO *memory = BIO_new(BIO_s_mem());
    faas_code code;
    char *text;
    long len;

    if (memory == NULL || PEM_write_bio_X509(memory, cert) != 1) {
        BIO_free(memory);
        return faas_fail(err, FAAS_INTERNAL, "the certificate cannot be written as PEM");
    }
    len = BIO_get_mem_data(memory, &text);
    code = file_write(path, text, (size_t)len, 0644, err);
    BIO_free(memory);
    return code;
}

static faas_code make(const char *cert_path, const char *key_path, const char *address,
                      faas_err *err)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    faas_code code;

    if (key == NULL || cert == NULL || !fill(cert, key, address))
        code = faas_fail(err, FAAS_INTERNAL, "OpenSSL makes no certificate for %s", address);
    else
        code = keys_write_pem(key, key_path, err);
    if (code == FAAS_OK)
        code = keys_write_cert(cert, cert_path, err);
    X509_free(cert);
    EVP_PKEY_free(key);
    return code;
}

faas_code keys_tls(const char *data_dir, const char *address, struct keys_pair *out_pair,
                   faas_err *err)
{
    FAAS_AUTO(char) *dir = file_path("%s/keys", data_dir);
    FAAS_AUTO(char) *cert_path = file_path("%s/keys/tls.pem", data_dir);
    FAAS_AUTO(char) *key_path = file_path("%s/keys/tls-key.pem", data_dir);

    if (dir == NULL || cert_path == NULL || key_path == NULL)
        return faas_fail(err, FAAS_INTERNAL, "out of memory");
    FAAS_TRY(file_make_dirs(dir, err));
    if (!is_there(cert_path, key_path, address))
        FAAS_TRY(make(cert_path, key_path, address, err));
    out_pair->cert_path = FAAS_STEAL(cert_path);
    out_pair->key_path = FAAS_STEAL(key_path);
    return FAAS_OK;
}
