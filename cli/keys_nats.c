/* The bus's own authority, of `faas up --nats-tls` and `faas init --nats-tls`, and what it signs. */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/file.h"
#include "cli/keys.h"

#define CA_DAYS   7300
#define CERT_DAYS 3650
#define REST_S    (365 * 86400) /* with less time left it is made anew */
#define NAMES_MAX 1024

struct authority {
    X509 *cert;
    EVP_PKEY *key;
};

static void authority_done(struct authority *ca)
{
    X509_free(ca->cert);
    EVP_PKEY_free(ca->key);
}

static X509 *read_cert(const char *path)
{
    FILE *in = fopen(path, "re");
    X509 *cert = in == NULL ? NULL : PEM_read_X509(in, NULL, NULL, NULL);

    if (in != NULL)
        fclose(in);
    return cert;
}

static EVP_PKEY *read_key(const char *path)
{
    FILE *in = fopen(path, "re");
    EVP_PKEY *key = in == NULL ? NULL : PEM_read_PrivateKey(in, NULL, NULL, NULL);

    if (in != NULL)
        fclose(in);
    return key;
}

static bool will_last(const X509 *cert)
{
    time_t then = time(NULL) + REST_S;

    return X509_cmp_time(X509_get0_notAfter(cert), &then) > 0;
}

/* ---- making ---- */

static bool begin(X509 *cert, EVP_PKEY *key, const char *name, int days)
{
    return X509_set_version(cert, 2) == 1 &&
           ASN1_INTEGER_set_uint64(X509_get_serialNumber(cert), (uint64_t)time(NULL)) == 1 &&
           X509_gmtime_adj(X509_getm_notBefore(cert), -3600) != NULL &&
           X509_time_adj_ex(X509_getm_notAfter(cert), days, 0, NULL) != NULL &&
           X509_set_pubkey(cert, key) == 1 &&
           X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
                                      (const unsigned char *)name, -1, -1, 0) == 1;
}

static bool fill_ca(struct authority *ca)
{
    return begin(ca->cert, ca->key, "faas bus authority", CA_DAYS) &&
           X509_set_issuer_name(ca->cert, X509_get_subject_name(ca->cert)) == 1 &&
           keys_add_extension(ca->cert, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
           keys_add_extension(ca->cert, NID_key_usage, "critical,keyCertSign") &&
           X509_sign(ca->cert, ca->key, EVP_sha256()) > 0;
}

/* Servers are each other's clients. */
static bool fill_cert(X509 *cert, EVP_PKEY *key, const struct authority *ca, const char *names)
{
    return begin(cert, key, "faas bus", CERT_DAYS) &&
           X509_set_issuer_name(cert, X509_get_subject_name(ca->cert)) == 1 &&
           keys_add_extension(cert, NID_basic_constraints, "critical,CA:FALSE") &&
           keys_add_extension(cert, NID_ext_key_usage, "serverAuth,clientAuth") &&
           keys_add_extension(cert, NID_subject_alt_name, names) &&
           X509_sign(cert, ca->key, EVP_sha256()) > 0;
}

static faas_code make_ca(struct authority *ca, const char *cert_path, const char *key_path,
                         faas_err *err)
{
    authority_done(ca);
    *ca = (struct authority){X509_new(), EVP_EC_gen("P-256")};
    if (ca->cert == NULL || ca->key == NULL || !fill_ca(ca))
        return faas_fail(err, FAAS_INTERNAL, "OpenSSL makes no authority for the bus");
    FAAS_TRY(keys_write_pem(ca->key, key_path, err));
    return keys_write_cert(ca->cert, cert_path, err);
}

static faas_code make_cert(const struct authority *ca, const struct keys_bus *to, const char *names,
                           faas_err *err)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    faas_code code;

    if (key == NULL || cert == NULL || !fill_cert(cert, key, ca, names))
        code = faas_fail(err, FAAS_INTERNAL, "OpenSSL makes no certificate for the bus");
    else
        code = keys_write_pem(key, to->key_path, err);
    if (code == FAAS_OK)
        code = keys_write_cert(cert, to->cert_path, err);
    X509_free(cert);
    EVP_PKEY_free(key);
    return code;
}

/* ---- what is there ---- */

static bool is_for(X509 *cert, const char *const *hosts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (X509_check_host(cert, hosts[i], 0, 0, NULL) != 1 &&
            X509_check_ip_asc(cert, hosts[i], 0) != 1)
            return false;
    return true;
}

static bool is_good(const struct keys_bus *keys, const struct authority *ca,
                    const char *const *hosts, size_t count)
{
    X509 *cert = read_cert(keys->cert_path);
    EVP_PKEY *key = read_key(keys->key_path);
    bool is = cert != NULL && key != NULL && X509_check_private_key(cert, key) == 1 &&
              X509_verify(cert, X509_get0_pubkey(ca->cert)) == 1 && will_last(cert) &&
              is_for(cert, hosts, count);

    ERR_clear_error();
    X509_free(cert);
    EVP_PKEY_free(key);
    return is;
}

/* Files of another authority, whose key is elsewhere: they are taken as they are. */
static faas_code check_given(const struct keys_bus *keys, const char *const *hosts, size_t count,
                             faas_err *err)
{
    X509 *cert = read_cert(keys->cert_path);
    faas_code code = FAAS_OK;

    if (cert == NULL)
        code = faas_fail(err, FAAS_INVALID,
                         "%s is somebody's authority: put the certificate that it signed for the "
                         "servers beside it, as nats-tls.pem, and its key as nats-tls-key.pem",
                         keys->ca_path);
    else if (X509_cmp_current_time(X509_get0_notAfter(cert)) < 0)
        code = faas_fail(err, FAAS_INVALID, "%s has expired: renew it", keys->cert_path);
    else if (!is_for(cert, hosts, count))
        code = faas_fail(err, FAAS_INVALID, "%s is not for all of the servers' names (%s, ...)",
                         keys->cert_path, hosts[0]);
    X509_free(cert);
    return code;
}

static faas_code provide(const struct keys_bus *keys, const char *ca_key_path,
                         const char *const *hosts, size_t count, faas_err *err)
{
    struct authority ca = {read_cert(keys->ca_path), read_key(ca_key_path)};
    char names[NAMES_MAX] = "DNS:localhost,IP:127.0.0.1";
    size_t at = strlen(names);
    faas_code code = FAAS_OK;

    for (size_t i = 0; i < count && at < sizeof names; i++)
        at += (size_t)snprintf(names + at, sizeof names - at, ",%s:%s",
                               strspn(hosts[i], "0123456789.") == strlen(hosts[i]) ? "IP" : "DNS",
                               hosts[i]);
    if (ca.cert != NULL && ca.key == NULL) {
        code = check_given(keys, hosts, count, err);
    } else {
        if (ca.cert == NULL || !will_last(ca.cert))
            code = make_ca(&ca, keys->ca_path, ca_key_path, err);
        if (code == FAAS_OK && !is_good(keys, &ca, hosts, count))
            code = make_cert(&ca, keys, names, err);
    }
    ERR_clear_error();
    authority_done(&ca);
    return code;
}

faas_code keys_bus(const char *data_dir, const char *const *hosts, size_t count,
                   struct keys_bus *out_keys, faas_err *err)
{
    FAAS_AUTO(char) *dir = file_path("%s/keys", data_dir);
    FAAS_AUTO(char) *ca_key_path = file_path("%s/keys/nats-ca-key.pem", data_dir);
    struct keys_bus keys = {file_path("%s/keys/nats-ca.pem", data_dir),
                            file_path("%s/keys/nats-tls.pem", data_dir),
                            file_path("%s/keys/nats-tls-key.pem", data_dir)};
    faas_code code = FAAS_OK;

    if (dir == NULL || ca_key_path == NULL || keys.ca_path == NULL || keys.cert_path == NULL ||
        keys.key_path == NULL)
        code = faas_fail(err, FAAS_INTERNAL, "out of memory");
    if (code == FAAS_OK)
        code = file_make_dirs(dir, err);
    if (code == FAAS_OK)
        code = provide(&keys, ca_key_path, hosts, count, err);
    if (code == FAAS_OK)
        *out_keys = keys;
    else
        keys_bus_done(&keys);
    return code;
}

void keys_bus_done(struct keys_bus *keys)
{
    free(keys->ca_path);
    free(keys->cert_path);
    free(keys->key_path);
}
