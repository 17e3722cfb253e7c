/* routes.h - the gateway's whole public face as one table.
 * Row       method, path pattern, what to do, bus subject, who may, body bound, deadline, status of
 *           success, where the function is named.  A pattern segment {word} takes one path segment under that name.
 * Paths     segments are percent-decoded strictly, then compared byte by byte; a trailing slash is
 *           another path.  HEAD is answered as GET.
 * Errors    NOT_FOUND, METHOD (with the methods there are), INVALID (bad escape).
 * Threads   pure.
 * Spec      API.md sections 1 and 2; docs/openapi.yaml says the same for machines.
 */
#ifndef GATEWAY_ROUTES_H
#define GATEWAY_ROUTES_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum gw_what {
    GW_FORWARD,   /* one bus request; its JSON reply is the answer */
    GW_SET,       /* the same; 200 where the reply says that something was replaced */
    GW_RECORD,    /* the same, about one call: a record that is on its way is waited for */
    GW_LOG,       /* likewise; the bytes in the reply are the answer */
    GW_LIST,      /* pages of subject, joined */
    GW_PUBLISH,   /* a call; {"name","argument"} in the body */
    GW_CALL,      /* a call; the body is the argument */
    GW_ASYNC,     /* a call for the queue; the body is the argument */
    GW_RESULT,    /* the kept result of a queued call */
    GW_CANCEL,    /* end a call */
    GW_QUOTA,     /* the caller's quotas, and what is used of them */
    GW_VALIDATE,  /* who the token says the caller is */
    GW_HEALTH,    /* one service: alive and answering on subject */
    GW_HEALTHZ,   /* all services alive */
    GW_INSTANCES, /* what heartbeats tell of each instance */
    GW_OPENAPI,   /* docs/openapi.yaml */
    /* From here on as OpenFaaS's clients say it (openfaas.h). */
    GW_SYS_LIST,
    GW_SYS_DEPLOY,
    GW_SYS_REMOVE,
    GW_SYS_STATUS,
    GW_SYS_SCALE,
    GW_SYS_SECRETS,
    GW_SYS_SECRET,
    GW_SYS_UNSECRET,
    GW_SYS_LOGS,
    GW_SYS_INFO,
    GW_SYS_SPACES,
};
/* Who may.  A person's token may everything but what is for administrators; an API key what its verbs
 * say.  A row that says nothing is closed to keys. */
enum gw_access {
    GW_PERSON, /* nobody with a key */
    GW_PUBLIC,
    GW_ANY, /* every key, whatever it is for */
    GW_INVOKE,
    GW_READ,
    GW_DEPLOY,
    GW_ADMIN, /* an administrator; nobody with a key */
    GW_OTHER, /* likewise; done as the user {name} would do it */
};

#define GW_HEALTHZ_PATH "/healthz"

struct gw_route {
    const char *method; /* NULL ends the table */
    const char *path;
    enum gw_what what;
    const char *subject;
    enum gw_access access;
    size_t body_max; /* bytes */
    int64_t time_ms; /* for the bus request, or bounding a call */
    int status;      /* of success */
    /* The parameter or member that names the function it is about; NULL: about no single one, which
     * is closed to keys that are for some functions only. */
    const char *function;
};
extern const struct gw_route gw_routes[];

#define GW_PARAMS    2
#define GW_PARAM_MAX 255 /* bytes of a decoded segment; longer ones match nothing */

struct gw_param {
    char key[16];
    char value[GW_PARAM_MAX + 1]; /* without NUL and control characters */
};
struct gw_match {
    const struct gw_route *route;
    struct gw_param params[GW_PARAMS];
    size_t count;
    char allow[64]; /* with METHOD: value of the Allow header */
};

/* path: as received, without query. */
FAAS_MUST_CHECK faas_code gw_match_route(const char *method, const char *path,
                                         struct gw_match *out_match, faas_err *err);

#endif
