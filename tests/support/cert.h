/* cert.h - certificates that tests make for themselves: self-signed, P-256, for 127.0.0.1, an hour.
 * Errors    what goes wrong fails the cmocka test that runs.
 */
#ifndef FAAS_TEST_CERT_H
#define FAAS_TEST_CERT_H

/* Writes the certificate to both of its paths, the second for whoever is to trust it, and the key
 * with mode 0600. */
void cert_make(long serial, const char *cert_path, const char *key_path, const char *trust_path);

#endif
