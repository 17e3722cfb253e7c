/* token.h - access tokens: JWT, ES256 only, through libjwt; every claim checked by us.
 * Claims    iss "faas", aud "faas-api", sub (user uuid), tid (tenant uuid), preferred_username,
 *           iat, exp, jti (uuid); gen, the generation of the user's sessions (absent: 0); nbf is
 *           respected.  iat and nbf may be 60 s ahead.
 * Header    typ "JWT", alg exactly "ES256", kid = first 16 hex of SHA-256 over the public key's
 *           SPKI DER; nothing else.
 * Keys      PEM, EC P-256.  A signer holds one private key; a verifier holds up to FAAS_TOKEN_KEYS
 *           public ones (rotation: newest signs, both verify).  A published key may have an "exp"
 *           (seconds since 1970): nothing that it signed counts from then on.
 * Order     length, shape, alg and kid are checked before any cryptography; claims after the
 *           signature.
 * Errors    UNAUTHENTICATED with reason "missing", "invalid", "expired" or "revoked" in out_reason
 *           (revoked is for whoever keeps a list of them); start-up problems (missing, short, wrong
 *           curve, group- or world-readable private key) are INVALID naming the file; INTERNAL
 *           without memory, which is never the token's fault.
 * Threads   signer and verifier are immutable after creation.  Any thread.
 * Source    RFC 7519, RFC 8725, SECURITY.md section 8.
 */
#ifndef FAAS_TOKEN_H
#define FAAS_TOKEN_H

#include <jansson.h>
#include <stdint.h>

#include "base/id.h"
#include "base/name.h"

#define FAAS_TOKEN_MAX  4096 /* bytes; longer ones are refused unread */
#define FAAS_TOKEN_KEYS 16

struct faas_token_claims {
    char user[FAAS_UUID_TEXT];
    char tenant[FAAS_UUID_TEXT];
    char jti[FAAS_UUID_TEXT];
    char username[FAAS_USER_NAME_MAX + 1];
    int64_t issued_at, expires_at; /* seconds since 1970 */
    int64_t generation;            /* tokens of an earlier one than the user's are revoked */
};

typedef struct faas_token_signer faas_token_signer;
typedef struct faas_token_verifier faas_token_verifier;

FAAS_MUST_CHECK faas_code faas_token_signer_open(const char *key_file,
                                                 faas_token_signer **out_signer, faas_err *err);
void faas_token_signer_free(faas_token_signer *signer); /* wipes the key */
const char *faas_token_signer_kid(const faas_token_signer *signer);
/* Fresh jti and iat; expires_at = iat + ttl_s; fills the claims it chose.  *out_token is the
 * caller's (free). */
FAAS_MUST_CHECK faas_code faas_token_sign(const faas_token_signer *signer,
                                          struct faas_token_claims *claims, int64_t ttl_s,
                                          char **out_token, faas_err *err);
/* {"keys":[{"kty":"EC","crv":"P-256","x","y","kid","alg":"ES256","use":"sig"}]} of the key files
 * (private or public PEM), newest first; a new reference. */
FAAS_MUST_CHECK faas_code faas_token_jwks(const char *const *key_files, size_t count,
                                          json_t **out_jwks, faas_err *err);
/* From a JWKS document; keys that are not EC P-256 ES256 are ignored; none left is INVALID. */
FAAS_MUST_CHECK faas_code faas_token_verifier_new(const json_t *jwks,
                                                  faas_token_verifier **out_verifier,
                                                  faas_err *err);
void faas_token_verifier_free(faas_token_verifier *verifier);
/* now_s: seconds since 1970 (a parameter so that tests need no clock).  out_reason may be NULL. */
FAAS_MUST_CHECK faas_code faas_token_verify(const faas_token_verifier *verifier, const char *token,
                                            int64_t now_s, struct faas_token_claims *out_claims,
                                            const char **out_reason, faas_err *err);

#endif
