/* password.h - argon2id hashes (libsodium, INTERACTIVE: 64 MiB, about 60 ms each).
 * Memory    at most `parallel` hashes run at once in a process; a further caller waits up to its
 *           deadline, then BUSY.
 * Unknown   users verify against faas_password_dummy(), so that time and answer tell nothing.
 * Threads   any; calls block, so call from pool threads.
 * Source    RFC 9106, SECURITY.md section 8.
 */
#ifndef FAAS_PASSWORD_H
#define FAAS_PASSWORD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/metric.h"

#define FAAS_PASSWORD_HASH_MAX 128

/* Hashes computed, whoever asked; the program adds it to its figures. */
extern struct faas_metric faas_password_hashes;

FAAS_MUST_CHECK faas_code faas_password_setup(int parallel,
                                              faas_err *err); /* once, before threads */
FAAS_MUST_CHECK faas_code faas_password_hash(const char *password, uint64_t deadline_ns,
                                             char out_hash[FAAS_PASSWORD_HASH_MAX], faas_err *err);
/* *out_is_match; a hash that is not argon2id reads as no match after the same work. */
FAAS_MUST_CHECK faas_code faas_password_verify(const char *hash, const char *password,
                                               uint64_t deadline_ns, bool *out_is_match,
                                               faas_err *err);
const char *faas_password_dummy(void);
/* Rules of API.md section 1: 8..1,024 bytes of UTF-8 without NUL, not common, not the user name;
 * is_any lowers this to 1 byte. */
FAAS_MUST_CHECK faas_code faas_password_check(const char *password, const char *user_name,
                                              bool is_any, faas_err *err);

#endif
