/* sealed.h - values that one holder of a key alone can read: libsodium's sealed boxes.
 * Label     what the value is the value of, sealed with it: a box put in another's place does not
 *           open.
 * Key       a file of 64 hex digits and a newline, or made here; in memory that is neither swapped
 *           nor dumped where the system allows it, and wiped.
 * Values    any bytes, up to FAAS_SEALED_MAX; opened ones lie in memory of that kind.
 * Errors    INVALID (the file is no key, or not fit for a secret; the box was made for another key
 *           or label, or is damaged), INTERNAL (no memory).
 * Threads   any.
 */
#ifndef FAAS_SEALED_H
#define FAAS_SEALED_H

#include <stddef.h>

#include "base/auto.h"
#include "base/err.h"

#define FAAS_SEALED_MAX       (64 * 1024) /* bytes of a value */
#define FAAS_SEALED_PUBLIC    65          /* hex of a public key, with NUL */
#define FAAS_SEALED_KEY_TEXT  64          /* hex digits of a key's file */
#define FAAS_SEALED_LABEL_MAX 256

typedef struct faas_sealed_key faas_sealed_key;

FAAS_MUST_CHECK faas_code faas_sealed_key_new(faas_sealed_key **out_key, faas_err *err);
FAAS_MUST_CHECK faas_code faas_sealed_key_read(const char *path, faas_sealed_key **out_key,
                                               faas_err *err);
void faas_sealed_key_free(faas_sealed_key *key);
const char *faas_sealed_key_public(const faas_sealed_key *key); /* hex */
/* What a new file of a key holds; the caller wipes it. */
void faas_sealed_key_text(char out_text[FAAS_SEALED_KEY_TEXT + 1]);

struct faas_sealed_value {
    const char *label;
    const void *bytes;
    size_t len;
};
/* *out_text: base64, the caller's to free; nothing secret. */
FAAS_MUST_CHECK faas_code faas_seal(const char *public_key, const struct faas_sealed_value *value,
                                    char **out_text, faas_err *err);
/* *out_value: the caller's; sodium_free() wipes it.  Never NULL, also when *out_len is 0. */
FAAS_MUST_CHECK faas_code faas_unseal(const faas_sealed_key *key, const char *label,
                                      const char *text, void **out_value, size_t *out_len,
                                      faas_err *err);

#endif
