#include "tests/support/cert.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <sys/stat.h>

#include "tests/unit/unit.h"

#define HOUR_S 3600

static X509 *self_signed(EVP_PKEY *key, long serial, const char *names, long seconds)
{
    X509 *cert = X509_new();
    X509_EXTENSION *name;

    assert_non_null(cert);
    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), serial);
    X509_gmtime_adj(X509_getm_notBefore(cert), -7200);
    X509_gmtime_adj(X509_getm_notAfter(cert), seconds);
    X509_set_pubkey(cert, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
                               (const unsigned char *)"faas", -1, -1, 0);
    X509_set_issuer_name(cert, X509_get_subject_name(cert));
    name = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, names);
    assert_non_null(name);
    X509_add_ext(cert, name, -1);
    X509_EXTENSION_free(name);
    assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
    return cert;
}

static void write_cert(const char *path, X509 *cert)
{
    FILE *out = fopen(path, "w");

    assert_non_null(out);
    assert_int_equal(PEM_write_X509(out, cert), 1);
    fclose(out);
}

static void write_key(const char *path, EVP_PKEY *key)
{
    FILE *out = fopen(path, "w");

    assert_non_null(out);
    assert_int_equal(PEM_write_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL), 1);
    fclose(out);
    assert_int_equal(chmod(path, 0600), 0);
}

static void make(long serial, const char *names, long seconds, const char *cert_path,
                 const char *key_path, const char *trust_path)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert;

    assert_non_null(key);
    cert = self_signed(key, serial, names, seconds);
    write_cert(cert_path, cert);
    write_cert(trust_path, cert);
    write_key(key_path, key);
    X509_free(cert);
    EVP_PKEY_free(key);
}

void cert_make(long serial, const char *cert_path, const char *key_path, const char *trust_path)
{
    make(serial, "IP:127.0.0.1", HOUR_S, cert_path, key_path, trust_path);
}

void cert_make_as(const char *names, long seconds, const char *cert_path, const char *key_path,
                  const char *trust_path)
{
    make(1, names, seconds, cert_path, key_path, trust_path);
}
