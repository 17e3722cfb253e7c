/* cert.h - certificates that tests make for themselves: self-signed, P-256, an hour.
 * Errors    what goes wrong fails the cmocka test that runs.
 */
#ifndef FAAS_TEST_CERT_H
#define FAAS_TEST_CERT_H

/* For 127.0.0.1.  Writes the certificate to both of its paths, the second for whoever is to trust it, and the key
 * with mode 0600. */
void cert_make(long serial, const char *cert_path, const char *key_path, const char *trust_path);
/* The same for names of OpenSSL's form ("IP:127.0.0.1"), good until so many seconds from now. */
void cert_make_as(const char *names, long seconds, const char *cert_path, const char *key_path,
                  const char *trust_path);

#endif
