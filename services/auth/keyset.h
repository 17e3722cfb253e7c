/* keyset.h - the public signing keys that every gateway knows: one stored document.
 * Value     {"v":1,"op","keys":[JWK with "exp",...]}, newest first (PROTOCOL.md section 6).
 * Term      "exp" of a key is when the last token that it signed has ended.  Whoever signs with a
 *           key renews its term in time; a key that nobody signs with any more, or whose file is
 *           gone, so leaves by itself one token's longest life after it was replaced.
 * Others    entries and fields that this version does not know stay.
 * Values    as stored; len 0: none yet.
 * Errors    INTERNAL when stored bytes are not what we write; BUSY when too many keys live.
 * Threads   pure; any.
 */
#ifndef AUTH_KEYSET_H
#define AUTH_KEYSET_H

#include <stdint.h>

#include "base/json.h"

struct keyset_term {
    int64_t now_s, exp_s;  /* a renewed term ends at exp_s */
    int64_t renew_below_s; /* terms that end before this are renewed */
};

/* The document once every key of own (a JWKS, newest first) is in it with a term; NULL when nothing
 * has to change.  A new reference.  *out_is_joining: the first of own is not in a document that
 * others are in, so gateways may not know it. */
FAAS_MUST_CHECK faas_code keyset_join(const void *value, size_t len, const json_t *own,
                                      const struct keyset_term *term, json_t **out_doc,
                                      bool *out_is_joining, faas_err *err);
/* When the term of that key ends; 0: it is not there. */
FAAS_MUST_CHECK faas_code keyset_end(const void *value, size_t len, const char *kid,
                                     int64_t *out_exp_s, faas_err *err);
/* The document without any key but that one; NULL when there is no other.  A new reference.
 * NOT_FOUND: it is not there, and nothing would be left. */
FAAS_MUST_CHECK faas_code keyset_keep(const void *value, size_t len, const char *kid,
                                      json_t **out_doc, faas_err *err);
/* {"revision":n,"keys":[...]} of the keys that live; a new reference. */
FAAS_MUST_CHECK faas_code keyset_public(const void *value, size_t len, uint64_t revision,
                                        int64_t now_s, json_t **out_doc, faas_err *err);

#endif
