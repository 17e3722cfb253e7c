#include "gateway/http_tls.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sodium.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/secret.h"

#define FILE_MAX  (64 * 1024)
#define CHAIN_MAX 16
#define ID_BYTES  64 /* of a public key */

struct pair {
    gnutls_x509_crt_t chain[CHAIN_MAX];
    unsigned count; /* 0: none yet */
    gnutls_x509_privkey_t key;
};

static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;
static struct pair newest; /* guarded by mu */

static void pair_done(struct pair *pair)
{
    for (unsigned i = 0; i < pair->count; i++)
        gnutls_x509_crt_deinit(pair->chain[i]);
    if (pair->key != NULL)
        gnutls_x509_privkey_deinit(pair->key);
    *pair = (struct pair){0};
}

/* ---- files ---- */

typedef struct pem {
    unsigned char text[FILE_MAX]; /* wiped when done */
    unsigned len;
} pem;

static void pem_free(pem *file)
{
    sodium_memzero(file, sizeof *file);
    free(file);
}
FAAS_DEFINE_AUTO(pem, pem_free)

static faas_code check_secret(int fd, const char *path, const char *name, faas_err *err)
{
    faas_err why = {0};
    faas_code rc = faas_secret_check(fd, path, &why);

    return rc == FAAS_OK ? FAAS_OK : faas_fail(err, rc, "%s: %s", name, why.msg);
}

static faas_code read_open(int fd, const char *name, pem *out_file, faas_err *err)
{
    struct stat at;
    ssize_t got;

    if (fstat(fd, &at) != 0 || !S_ISREG(at.st_mode))
        return faas_fail(err, FAAS_INVALID, "%s: not a regular file", name);
    while ((got = read(fd, out_file->text + out_file->len, FILE_MAX - out_file->len)) > 0)
        out_file->len += (unsigned)got;
    if (got < 0 || out_file->len == FILE_MAX)
        return faas_fail(err, FAAS_INVALID, "%s: cannot be read, or has %d bytes or more", name,
                         FILE_MAX);
    return FAAS_OK;
}

static faas_code read_pem(const char *path, const char *name, bool is_secret, pem *out_file,
                          faas_err *err)
{
    faas_code rc = FAAS_OK;
    int fd;

    if (path[0] == '\0')
        return faas_fail(err, FAAS_INVALID, "%s: LISTEN_TLS needs it", name);
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return faas_fail(err, FAAS_INVALID, "%s: %s: %s", name, path, strerror(errno));
    if (is_secret)
        rc = check_secret(fd, path, name, err);
    if (rc == FAAS_OK)
        rc = read_open(fd, name, out_file, err);
    close(fd);
    return rc;
}

/* ---- a pair ---- */

static faas_code take_chain(const pem *file, struct pair *pair, faas_err *err)
{
    const gnutls_datum_t text = {(unsigned char *)(uintptr_t)file->text, file->len};
    unsigned count = CHAIN_MAX;
    int rc = gnutls_x509_crt_list_import(pair->chain, &count, &text, GNUTLS_X509_FMT_PEM,
                                         GNUTLS_X509_CRT_LIST_IMPORT_FAIL_IF_EXCEED |
                                             GNUTLS_X509_CRT_LIST_FAIL_IF_UNSORTED);

    if (rc <= 0)
        return faas_fail(err, FAAS_INVALID,
                         "TLS_CERT_FILE: no chain of 1 to %d certificates in PEM form, the "
                         "server's own first (%s)",
                         CHAIN_MAX, gnutls_strerror(rc));
    pair->count = (unsigned)rc;
    return FAAS_OK;
}

static faas_code take_key(const pem *file, struct pair *pair, faas_err *err)
{
    const gnutls_datum_t text = {(unsigned char *)(uintptr_t)file->text, file->len};
    int rc = gnutls_x509_privkey_init(&pair->key);

    if (rc == 0)
        rc = gnutls_x509_privkey_import2(pair->key, &text, GNUTLS_X509_FMT_PEM, NULL,
                                         GNUTLS_PKCS_PLAIN);
    if (rc == 0)
        return FAAS_OK;
    return faas_fail(err, FAAS_INVALID, "TLS_KEY_FILE: no unencrypted private key in PEM form (%s)",
                     gnutls_strerror(rc));
}

static faas_code check_pair(struct pair *pair, faas_err *err)
{
    unsigned char of_cert[ID_BYTES], of_key[ID_BYTES];
    size_t cert_len = sizeof of_cert, key_len = sizeof of_key;

    if (gnutls_x509_crt_get_key_id(pair->chain[0], 0, of_cert, &cert_len) == 0 &&
        gnutls_x509_privkey_get_key_id(pair->key, 0, of_key, &key_len) == 0 &&
        cert_len == key_len && memcmp(of_cert, of_key, key_len) == 0)
        return FAAS_OK;
    return faas_fail(err, FAAS_INVALID, "TLS_KEY_FILE: not the key of TLS_CERT_FILE");
}

static faas_code make_pair(const pem *cert, const pem *key, struct pair *out_pair, faas_err *err)
{
    faas_code rc = take_chain(cert, out_pair, err);

    if (rc == FAAS_OK)
        rc = take_key(key, out_pair, err);
    if (rc == FAAS_OK)
        rc = check_pair(out_pair, err);
    if (rc != FAAS_OK)
        pair_done(out_pair);
    return rc;
}

static void replace(struct pair pair)
{
    struct pair old;

    pthread_mutex_lock(&mu);
    old = newest;
    newest = pair;
    pthread_mutex_unlock(&mu);
    pair_done(&old);
}

faas_code http_tls_load(const char *cert_file, const char *key_file, faas_err *err)
{
    FAAS_AUTO(pem) *cert = calloc(1, sizeof *cert);
    FAAS_AUTO(pem) *key = calloc(1, sizeof *key);
    struct pair pair = {0};

    if (cert == NULL || key == NULL)
        return faas_fail_sys(err, errno, "allocate a certificate");
    FAAS_TRY(read_pem(cert_file, "TLS_CERT_FILE", false, cert, err));
    FAAS_TRY(read_pem(key_file, "TLS_KEY_FILE", true, key, err));
    FAAS_TRY(make_pair(cert, key, &pair, err));
    replace(pair);
    return FAAS_OK;
}

void http_tls_done(void)
{
    replace((struct pair){0});
}

/* ---- one handshake ---- */

static int copy_key(gnutls_x509_privkey_t key, gnutls_privkey_t *out_copy)
{
    int rc = gnutls_privkey_init(out_copy);

    if (rc != 0)
        return rc;
    rc = gnutls_privkey_import_x509(*out_copy, key, GNUTLS_PRIVKEY_IMPORT_COPY);
    if (rc != 0)
        gnutls_privkey_deinit(*out_copy);
    return rc;
}

static int copy_chain(const struct pair *pair, gnutls_pcert_st **out_copies)
{
    gnutls_pcert_st *copies = gnutls_calloc(CHAIN_MAX, sizeof *copies);
    unsigned done = 0;
    int rc = copies == NULL ? GNUTLS_E_MEMORY_ERROR : 0;

    while (rc == 0 && done < pair->count) {
        rc = gnutls_pcert_import_x509(&copies[done], pair->chain[done], 0);
        done += rc == 0;
    }
    if (rc == 0) {
        *out_copies = copies;
        return 0;
    }
    while (done > 0)
        gnutls_pcert_deinit(&copies[--done]);
    gnutls_free(copies);
    return rc;
}

/* GnuTLS owns the copies until the handshake has ended, however long that takes. */
int http_tls_retrieve(gnutls_session_t session, const struct gnutls_cert_retr_st *info,
                      gnutls_pcert_st **out_chain, unsigned *out_count,
                      gnutls_ocsp_data_st **out_ocsp, unsigned *out_ocsp_count,
                      gnutls_privkey_t *out_key, unsigned *out_flags)
{
    int rc;

    (void)session, (void)info;
    pthread_mutex_lock(&mu);
    rc = newest.count == 0 ? GNUTLS_E_NO_CERTIFICATE_FOUND : copy_key(newest.key, out_key);
    if (rc == 0) {
        rc = copy_chain(&newest, out_chain);
        if (rc != 0)
            gnutls_privkey_deinit(*out_key);
    }
    *out_count = newest.count;
    pthread_mutex_unlock(&mu);
    *out_ocsp = NULL;
    *out_ocsp_count = 0;
    *out_flags = GNUTLS_CERT_RETR_DEINIT_ALL;
    return rc == 0 ? 0 : -1;
}
