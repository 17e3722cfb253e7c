/* err.h - the error value every fallible function fills.
 * Shape     faas_code says what kind; struct faas_err carries a message for the client and a detail
 *           for our log.
 * Codes     one row each: C name, HTTP status (also the Nats-Service-Error-Code of ADR-32), slug,
 *           title.  The slug is what travels between programs (header Faas-Code); an unknown slug
 *           reads as INTERNAL.
 * Ownership a faas_err lives on the caller's stack and owns nothing.
 * Threads   values only; nothing shared.
 * Source    API.md section 4, RFC 9457.
 */
#ifndef FAAS_ERR_H
#define FAAS_ERR_H

#include "base/auto.h"

#define FAAS_CODES(X)                                                                              \
    X(INVALID, 400, "invalid_request", "Invalid request")                                          \
    X(UNAUTHENTICATED, 401, "unauthenticated", "Authentication required")                          \
    X(DENIED, 403, "denied", "Not allowed")                                                        \
    X(NOT_FOUND, 404, "not_found", "Not found")                                                    \
    X(METHOD, 405, "method_not_allowed", "Method not allowed")                                     \
    X(CONFLICT, 409, "conflict", "Conflict")                                                       \
    X(TOO_LARGE, 413, "too_large", "Too large")                                                    \
    X(UNSUPPORTED, 415, "unsupported", "Unsupported")                                              \
    X(UNPROCESSABLE, 422, "unprocessable", "Cannot be processed")                                  \
    X(BUSY, 429, "busy", "No capacity at the moment")                                              \
    X(CLIENT_GONE, 499, "client_gone", "The client left")                                          \
    X(INTERNAL, 500, "internal", "Internal error")                                                 \
    X(FAILED, 502, "function_failed", "The function failed")                                       \
    X(START_FAILED, 502, "start_failed", "The function could not be started")                      \
    X(LOST, 502, "lost", "The machine that ran the call was lost")                                 \
    X(UNAVAILABLE, 503, "unavailable", "Unavailable at the moment")                                \
    X(TIMEOUT, 504, "timeout", "Time is up")                                                       \
    X(OUTPUT_TOO_LARGE, 507, "output_too_large", "The function wrote too much")

#define X(name, status, slug, title) FAAS_##name,
typedef enum faas_code { FAAS_OK = 0, FAAS_CODES(X) FAAS_CODE_END } faas_code;
#undef X

#define FAAS_ERR_MSG_MAX 512 /* bytes with NUL; longer messages end in "..." */

typedef struct faas_err {
    faas_code code;
    char msg[FAAS_ERR_MSG_MAX];    /* for the client: what is wrong and what to change */
    char detail[FAAS_ERR_MSG_MAX]; /* for our log: errno, subjects, paths; never leaves the process
                                    */
    int retry_after_s;             /* with BUSY: when to try again; 0: not said */
} faas_err;

/* Fill err (which may be NULL) and return code, so that `return faas_fail(...)` reads as one step.
 * Control characters and bytes that are not UTF-8 become '?', cuts respect UTF-8 sequences; an
 * earlier detail is dropped.  Arguments may point into err itself. */
faas_code faas_fail(faas_err *err, faas_code code, const char *fmt, ...) FAAS_PRINTF(3, 4);
/* INTERNAL with a constant message for the client; the text and strerror(errnum) go to detail. */
faas_code faas_fail_sys(faas_err *err, int errnum, const char *fmt, ...) FAAS_PRINTF(3, 4);
/* BUSY, and when to try again; rpc carries the seconds to the client's Retry-After. */
faas_code faas_fail_busy(faas_err *err, int retry_after_s, const char *fmt, ...) FAAS_PRINTF(3, 4);
/* Set err->detail (log only) and return err->code, keeping code and msg; INTERNAL for NULL. */
faas_code faas_err_detail(faas_err *err, const char *fmt, ...) FAAS_PRINTF(2, 3);

int faas_code_status(faas_code code);            /* HTTP status, 200 for FAAS_OK */
const char *faas_code_slug(faas_code code);      /* "ok" for FAAS_OK; never NULL */
const char *faas_code_title(faas_code code);     /* never NULL */
faas_code faas_code_from_slug(const char *slug); /* INTERNAL for NULL and unknown */

/* Return early on failure.  Only where everything held is a FAAS_AUTO. */
#define FAAS_TRY(call)                                                                             \
    do {                                                                                           \
        faas_code rc_ = (call);                                                                    \
        if (rc_ != FAAS_OK)                                                                        \
            return rc_;                                                                            \
    } while (0)

#endif
