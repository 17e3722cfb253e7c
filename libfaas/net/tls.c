/* TLS between us and the bus.  In its event loop mode libnats (3.4 to 3.10) would block the loop, without
 * an end: its read waits for the rest of a record that has begun, its write for room in the socket.
 * So a connection is read only when there is something to take from it, and what libnats encrypts
 * goes to memory, of which the loop sends what the socket takes. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"
#include "net/bus_internal.h"

#define CHUNK_BYTES (32 * 1024)
#define LOOK_MS     50 /* so long a bus that closes may have to wait */

struct faas_tls {
    SSL *ssl;         /* libnats's, valid until the link is broken */
    BIO *out;         /* of ssl: encrypted, not in the chunk yet */
    size_t len, sent; /* of the chunk */
    char chunk[CHUNK_BYTES];
};

/* ---- connecting ---- */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static BIO_METHOD *limited; /* what a connection is read through until it is made */
static _Thread_local struct {
    const faas_bus *bus; /* NULL: this thread does not connect */
    int64_t limit_ms;
    uint64_t deadline_ns;
    SSL *ssl;    /* the newest */
    BIO *reader; /* its limited one; NULL: not there yet */
} try;

static bool is_over(void)
{
    return faas_left_ms(try.deadline_ns) == 0 || atomic_load(&try.bus->is_closing);
}

/* libnats (3.4) sets no time to a handshake, nor to the reads until the connection is made. */
static int read_in_time(BIO *bio, char *out, int room)
{
    struct pollfd in = {.fd = SSL_get_fd(try.ssl), .events = POLLIN};
    int got;

    while (!is_over() && poll(&in, 1, LOOK_MS) <= 0)
        ;
    if (is_over())
        shutdown(in.fd, SHUT_RDWR); /* an end is understood; after an error libnats reads again */
    got = BIO_read(BIO_next(bio), out, room);
    BIO_clear_retry_flags(bio);
    BIO_copy_next_retry(bio);
    return got;
}

static long hand_on(BIO *bio, int cmd, long number, void *arg)
{
    return BIO_ctrl(BIO_next(bio), cmd, number, arg);
}

static void on_handshake(const SSL *ssl, int where, int value)
{
    int fd = SSL_get_fd(ssl);
    BIO *socket;

    (void)value;
    if (where != SSL_CB_HANDSHAKE_START || ssl != try.ssl)
        return;
    SSL_set_info_callback(try.ssl, NULL);
    socket = BIO_new_socket(fd, BIO_NOCLOSE);
    try.reader = socket != NULL ? BIO_new(limited) : NULL;
    if (try.reader == NULL) {
        BIO_free(socket);
        shutdown(fd, SHUT_RDWR); /* it fails, as without memory elsewhere */
        return;
    }
    BIO_set_init(try.reader, 1);
    try.deadline_ns = faas_deadline_in_ms(try.limit_ms);
    SSL_set0_rbio(try.ssl, BIO_push(try.reader, socket));
}

/* libnats shows its SSL objects to nobody, OpenSSL does.  The last one that a thread makes while it
 * connects is that of the connection: those before were of servers that did not do. */
static void on_new(void *parent, void *ptr, CRYPTO_EX_DATA *data, int index, long argl, void *argp)
{
    (void)ptr;
    (void)data;
    (void)index;
    (void)argl;
    (void)argp;
    if (try.bus == NULL)
        return;
    try.ssl = parent;
    try.reader = NULL;
    SSL_set_info_callback(try.ssl, on_handshake);
}

static void watch_openssl(void)
{
    limited = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_FILTER, "limited");
    if (limited != NULL && BIO_meth_set_read(limited, read_in_time) == 1 &&
        BIO_meth_set_ctrl(limited, hand_on) == 1)
        (void)SSL_get_ex_new_index(0, NULL, on_new, NULL, NULL);
}

static struct faas_tls *tls_new(SSL *ssl)
{
    struct faas_tls *tls = calloc(1, sizeof *tls);
    BIO *out = BIO_new(BIO_s_mem());

    if (tls == NULL || out == NULL) {
        free(tls);
        BIO_free(out);
        return NULL;
    }
    tls->ssl = ssl;
    tls->out = out;
    SSL_set0_wbio(ssl, out);
    return tls;
}

natsStatus faas_tls_connect(struct faas_link *link, natsOptions *opts, int64_t limit_ms)
{
    natsStatus status;

    pthread_once(&once, watch_openssl);
    ERR_clear_error();
    memset(&try, 0, sizeof try);
    try.bus = link->lane->bus;
    try.limit_ms = limit_ms;
    status = natsConnection_Connect(&link->nc, opts);
    try.bus = NULL;
    if (status == NATS_OK && try.ssl != NULL) {
        if (try.reader != NULL)
            SSL_set0_rbio(try.ssl, BIO_pop(try.reader));
        link->tls = tls_new(try.ssl);
        if (link->tls == NULL)
            FAAS_LOG(WARN, "no memory for a connection's buffer: a slow server will hold us up");
    }
    return status;
}

void faas_tls_free(struct faas_tls *tls)
{
    free(tls);
}

/* ---- reading and writing, on the loop ---- */

bool faas_tls_can_read(struct faas_link *link)
{
    char byte;
    int got, error;

    ERR_clear_error();
    got = SSL_peek(link->tls->ssl, &byte, sizeof byte);
    if (got > 0)
        return true;
    error = SSL_get_error(link->tls->ssl, got);
    ERR_clear_error();
    link->is_broken = error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE;
    return false;
}

bool faas_tls_send(struct faas_link *link)
{
    struct faas_tls *tls = link->tls;
    ssize_t sent;
    int got;

    for (;;) {
        if (tls->sent == tls->len) {
            got = BIO_read(tls->out, tls->chunk, sizeof tls->chunk);
            if (got <= 0)
                return true;
            tls->len = (size_t)got;
            tls->sent = 0;
        }
        sent = send(link->fd, tls->chunk + tls->sent, tls->len - tls->sent, MSG_NOSIGNAL);
        if (sent >= 0) {
            tls->sent += (size_t)sent;
        } else if (errno != EINTR) {
            link->is_broken = errno != EAGAIN;
            return false;
        }
    }
}

/* ---- settings ---- */

static bool is_set(const char *path)
{
    return path != NULL && path[0] != '\0';
}

static faas_code check_key(const char *path, faas_err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    faas_code rc;

    if (fd < 0)
        return faas_fail(err, FAAS_INVALID, "NATS_KEY_FILE: cannot read %s: %s", path,
                         strerror(errno));
    rc = faas_secret_check(fd, path, err);
    close(fd);
    return rc;
}

static faas_code set_own(natsOptions *opts, const struct faas_bus_conf *conf, faas_err *err)
{
    if (!is_set(conf->cert_file) && !is_set(conf->key_file))
        return FAAS_OK;
    if (!is_set(conf->cert_file) || !is_set(conf->key_file))
        return faas_fail(err, FAAS_INVALID, "NATS_CERT_FILE and NATS_KEY_FILE belong together");
    FAAS_TRY(check_key(conf->key_file, err));
    if (natsOptions_LoadCertificatesChain(opts, conf->cert_file, conf->key_file) != NATS_OK)
        return faas_fail(err, FAAS_INVALID,
                         "NATS_CERT_FILE, NATS_KEY_FILE: %s and %s are not a certificate and its "
                         "key, in PEM",
                         conf->cert_file, conf->key_file);
    return FAAS_OK;
}

faas_code faas_tls_set(natsOptions *opts, const struct faas_bus_conf *conf, faas_err *err)
{
    if (!is_set(conf->ca_file))
        return is_set(conf->cert_file) || is_set(conf->key_file)
                   ? faas_fail(err, FAAS_INVALID,
                               "NATS_CERT_FILE and NATS_KEY_FILE need NATS_CA_FILE beside them")
                   : FAAS_OK;
    FAAS_TRY(faas_bus_status(natsOptions_SetSecure(opts, true), "ask for TLS", err));
    if (natsOptions_LoadCATrustedCertificates(opts, conf->ca_file) != NATS_OK)
        return faas_fail(err, FAAS_INVALID,
                         "NATS_CA_FILE: %s holds no certificate in PEM that "
                         "can be read",
                         conf->ca_file);
    return set_own(opts, conf, err);
}

/* ---- troubles ---- */

static const char *of_certificate(const char *why)
{
    static const char prefix[] = "SSL handshake error: ";
    const char *at = strstr(why, prefix);
    int number = at != NULL ? (int)strtol(at + sizeof prefix - 1, NULL, 10) : 0;

    switch (number) {
    case 0:
        return NULL; /* it broke off */
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return "the certificate of a bus server has expired: renew it, and restart the server";
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return "the certificate of a bus server is not valid yet: look at the clocks";
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        return "the certificate of a bus server is for other names than NATS_URL has: name the "
               "server as its certificate does, or give it one with this name";
    default:
        return "the certificate of a bus server is not signed by an authority in NATS_CA_FILE: "
               "set that to the file of the one that signed it";
    }
}

/* The server's last words are not in libnats's. */
static bool is_ours_refused(void)
{
    int reason = ERR_GET_REASON(ERR_peek_last_error());

    return reason == SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED ||
           reason == SSL_R_SSLV3_ALERT_BAD_CERTIFICATE || reason == SSL_R_TLSV1_ALERT_UNKNOWN_CA;
}

const char *faas_tls_trouble(natsStatus status, const char *why)
{
    if (status == NATS_SECURE_CONNECTION_WANTED)
        return "a bus server speaks no TLS, and NATS_CA_FILE asks for it: give the server a "
               "certificate, or take the setting away";
    if (is_ours_refused())
        return "a bus server wants a certificate of its clients: set NATS_CERT_FILE and "
               "NATS_KEY_FILE to one that its authority signed";
    return status == NATS_SSL_ERROR ? of_certificate(why) : NULL;
}
