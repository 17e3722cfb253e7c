/* http_tls.h - the certificate and key that TLS connections begin with.
 * Files     a PEM certificate chain, the server's own first, and its private key, unencrypted and
 *           closed to the group and to others.  Both are read and held against each other before
 *           anything changes.
 * Renewal   each handshake asks for the pair and gets copies of the newest one, so loading another
 *           concerns connections that begin later and nothing else: no listener, daemon or
 *           connection ends for it, and it can be repeated without end.
 * One       pair per process: GnuTLS hands the callback nothing of ours.
 * Threads   any.
 * Errors    INVALID naming the setting; then the pair of before stays.
 */
#ifndef GATEWAY_HTTP_TLS_H
#define GATEWAY_HTTP_TLS_H

#include <gnutls/abstract.h>

#include "base/err.h"

FAAS_MUST_CHECK faas_code http_tls_load(const char *cert_file, const char *key_file, faas_err *err);
void http_tls_done(void); /* no handshake is under way or comes */

gnutls_certificate_retrieve_function3 http_tls_retrieve; /* for libmicrohttpd */

#endif
