/* contract.h - what both ends of each message agree on: subjects, headers, limits.
 * Subjects are made of fixed words, ids and hashes only.  docs/PROTOCOL.md gives the JSON shapes.
 */
#ifndef FAAS_CONTRACT_H
#define FAAS_CONTRACT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/id.h"

/* Headers of bus messages */
#define FAAS_H_PROTO     "Faas-Proto" /* "1" */
#define FAAS_H_ID        "Faas-Id"
#define FAAS_H_USER      "Faas-User"
#define FAAS_H_TENANT    "Faas-Tenant"
#define FAAS_H_TIME_LEFT "Faas-Time-Left-Ms"
#define FAAS_H_ATTEMPT   "Faas-Attempt" /* gateway's tries, from 1 */
#define FAAS_H_PLACE                                                                               \
    "Faas-Place" /* Faas-Attempt x 256 + publisher's try, from 1: only grows for one id */
#define FAAS_H_AGE         "Faas-Age-Ms" /* since the call's first sending, by the sender's clock */
#define FAAS_H_PUBLISHER   "Faas-Publisher" /* whom events go to */
#define FAAS_H_EPOCH       "Faas-Epoch"     /* of the target: it refuses a foreign one */
#define FAAS_H_INBOX       "Faas-Inbox"   /* the caller's; the reply subject is the sender's own */
#define FAAS_H_BEAT        "Faas-Beat"    /* the target's newest heartbeat the sender knows */
#define FAAS_H_VERSION     "Faas-Version" /* with Faas-Lost: which of the function; 0: not known */
#define FAAS_H_LOST        "Faas-Lost" /* how many owners of the call died when it may have begun */
#define FAAS_H_AGAIN       "Faas-Again"  /* "1": another instance may have done it, and is gone */
#define FAAS_H_UNTOLD      "Faas-Untold" /* "1": of this end its caller was not told */
#define FAAS_H_TRACE       "traceparent"
#define FAAS_H_TOKEN       "Faas-Token"            /* jti of the caller's token, to auth only */
#define FAAS_H_USERNAME    "Faas-User-Name"        /* the caller's, to auth only */
#define FAAS_H_TOKEN_END   "Faas-Token-Expires"    /* its exp, seconds since 1970 */
#define FAAS_H_GENERATION  "Faas-Token-Generation" /* its gen, to auth only */
#define FAAS_H_FUNCTIONS   "Faas-Quota-Functions" /* the caller's own quota, to the registry only */
#define FAAS_H_CODE        "Faas-Code"            /* slug, on errors */
#define FAAS_H_COMPONENT   "Faas-Component"       /* who failed, on errors */
#define FAAS_H_RETRY_AFTER "Faas-Retry-After-S"   /* with busy: seconds */
#define FAAS_H_CLIENT      "Faas-Client"          /* the client's address, to auth only */
#define FAAS_H_RECEIPTS    "Faas-Receipts"        /* "many": the answer may come with others' */
#define FAAS_H_SERVICE_ERR "Nats-Service-Error"
#define FAAS_H_SERVICE_NUM "Nats-Service-Error-Code"
#define FAAS_PROTO         "1"
/* What a program of this release understands beyond the first; its heartbeats say it, and whoever
 * must rely on it looks there (docs/PROTOCOL.md section 5). */
#define FAAS_LEVEL          4
#define FAAS_LEVEL_INBOX    1 /* of a spawner: it reads Faas-Inbox */
#define FAAS_LEVEL_LOST     2 /* of a publisher: it reads Faas-Lost */
#define FAAS_LEVEL_VERSIONS 3 /* of a publisher: it knows NAME@N, NAME:ALIAS, disabled functions */
#define FAAS_LEVEL_INPUT    4 /* of a publisher: it knows calls of FAAS_KIND_INPUT */
#define FAAS_LEVEL_GIVEN_UP 4 /* of a spawner, a publisher: cancels have a place */
#define FAAS_LEVEL_AGAIN    4 /* of auth, a registry: what it writes says for which request */

#define FAAS_QUEUE "q"

/* Subjects; "%s" is an instance id */
#define FAAS_SUBJ_AUTH_REGISTER     "faas.auth.register"
#define FAAS_SUBJ_AUTH_LOGIN        "faas.auth.login"
#define FAAS_SUBJ_AUTH_JWKS         "faas.auth.jwks"
#define FAAS_SUBJ_AUTH_LOGOUT       "faas.auth.logout"
#define FAAS_SUBJ_AUTH_PASSWORD     "faas.auth.password"
#define FAAS_SUBJ_AUTH_ACCOUNT_END  "faas.auth.account_end"
#define FAAS_SUBJ_AUTH_KEYS         "faas.auth.i.%s.keys"
#define FAAS_SUBJ_AUTH_APIKEY_NEW   "faas.auth.apikey_new"
#define FAAS_SUBJ_AUTH_APIKEY_LIST  "faas.auth.apikey_list"
#define FAAS_SUBJ_AUTH_APIKEY_END   "faas.auth.apikey_end"
#define FAAS_SUBJ_AUTH_APIKEY_CHECK "faas.auth.apikey_check" /* the gateway's own question */
#define FAAS_SUBJ_AUTH_ADMIN_USERS  "faas.auth.admin_users"  /* an administrator's */
#define FAAS_SUBJ_AUTH_ADMIN_USER   "faas.auth.admin_user"
#define FAAS_SUBJ_AUTH_ADMIN_SET    "faas.auth.admin_set"
#define FAAS_SUBJ_AUTH_ADMIN_END    "faas.auth.admin_end"
#define FAAS_SUBJ_AUTH_ADMIN_WHOIS  "faas.auth.admin_whois" /* the gateway's own question */
#define FAAS_SUBJ_AUTH_HEALTH       "faas.auth.health"
#define FAAS_SUBJ_AUTH_END_KEYS     "faas.auth.op.endkeys"
#define FAAS_SUBJ_AUTH_INVITE       "faas.auth.op.invite" /* the operator's; not a gateway's */
#define FAAS_SUBJ_DIRECTLY          "faas.%s.i.%s.%s"     /* service, instance, endpoint */
#define FAAS_SUBJ_REGISTRY_REGISTER "faas.registry.register"
#define FAAS_SUBJ_REGISTRY_RETRIEVE "faas.registry.retrieve"
#define FAAS_SUBJ_REGISTRY_LIST     "faas.registry.list" /* array, own functions, at most 10,000 */
#define FAAS_SUBJ_REGISTRY_PAGE     "faas.registry.page" /* {"items","next_cursor"} */
#define FAAS_SUBJ_REGISTRY_UPDATE   "faas.registry.update"
#define FAAS_SUBJ_REGISTRY_REPLACE                                                                 \
    "faas.registry.replace" /* PUT of the resource path: absent fields back to defaults */
#define FAAS_SUBJ_REGISTRY_DELETE      "faas.registry.delete"
#define FAAS_SUBJ_REGISTRY_REFRESH     "faas.registry.refresh"
#define FAAS_SUBJ_REGISTRY_VERSIONS    "faas.registry.versions"
#define FAAS_SUBJ_REGISTRY_ROLLBACK    "faas.registry.rollback"
#define FAAS_SUBJ_REGISTRY_ALIASES     "faas.registry.aliases"
#define FAAS_SUBJ_REGISTRY_ALIAS       "faas.registry.alias"
#define FAAS_SUBJ_REGISTRY_UNALIAS     "faas.registry.unalias"
#define FAAS_SUBJ_REGISTRY_CALLS       "faas.registry.calls" /* {"items","next_cursor"} of records */
#define FAAS_SUBJ_REGISTRY_CALL        "faas.registry.call"
#define FAAS_SUBJ_REGISTRY_CALL_LOG    "faas.registry.call_log" /* {"log": base64} */
#define FAAS_SUBJ_REGISTRY_LOGS        "faas.registry.logs" /* lines of stderr of a function's calls */
#define FAAS_SUBJ_REGISTRY_QUOTA       "faas.registry.quota"
#define FAAS_SUBJ_REGISTRY_SECRETS     "faas.registry.secrets" /* {"items","next_cursor"} */
#define FAAS_SUBJ_REGISTRY_SECRET_SET  "faas.registry.secret_set"
#define FAAS_SUBJ_REGISTRY_SECRET_DROP "faas.registry.secret_remove"
#define FAAS_SUBJ_REGISTRY_LOGINS      "faas.registry.logins" /* of image registries */
#define FAAS_SUBJ_REGISTRY_LOGIN_SET   "faas.registry.login_set"
#define FAAS_SUBJ_REGISTRY_LOGIN_DROP  "faas.registry.login_remove"
#define FAAS_SUBJ_REGISTRY_SECRET      "faas.registry.spawner.secret" /* not a gateway's */
#define FAAS_SUBJ_REGISTRY_PURGE       "faas.registry.auth.purge"     /* auth's alone */
#define FAAS_SUBJ_REGISTRY_HEALTH      "faas.registry.health"
#define FAAS_SUBJ_PUBLISHER_HEALTH     "faas.publisher.health"
#define FAAS_SUBJ_PUBLISHER_CALL       "faas.publisher.i.%s.call"
#define FAAS_SUBJ_PUBLISHER_CANCEL     "faas.publisher.i.%s.cancel"
#define FAAS_SUBJ_PUBLISHER_FENCE      "faas.publisher.i.%s.fence"
#define FAAS_SUBJ_PUBLISHER_AGAIN      "faas.publisher.i.%s.again"
#define FAAS_SUBJ_PUBLISHER_EVENTS     "faas.call.%s.*.ev" /* "%s": publisher id; then the call id */
#define FAAS_SUBJ_PUBLISHER_USE        "faas.publisher.use" /* every publisher hears it */
#define FAAS_SUBJ_PUBLISHER_QUEUE      "faas.publisher.i.%s.queue"
#define FAAS_SUBJ_PUBLISHER_STATE      "faas.publisher.state"
#define FAAS_SUBJ_PUBLISHER_RESULT     "faas.publisher.result"
#define FAAS_SUBJ_PUBLISHER_PURGE      "faas.publisher.purge"
#define FAAS_SUBJ_PUBLISHER_QUOTA      "faas.publisher.quota"
#define FAAS_SUBJ_PUBLISHER_ENDED      "faas.publisher.ended" /* every publisher hears it */
#define FAAS_SUBJ_PUBLISHER_DEAD       "faas.publisher.dead.list"
#define FAAS_SUBJ_PUBLISHER_SHOW       "faas.publisher.dead.show"
#define FAAS_SUBJ_PUBLISHER_REDRIVE    "faas.publisher.dead.redrive"
#define FAAS_SUBJ_PUBLISHER_REDRIVE_AT "faas.publisher.i.%s.redrive" /* as gateways send changes */
#define FAAS_SUBJ_PUBLISHER_END        "faas.publisher.end"
#define FAAS_SUBJ_SPAWNER_CALL         "faas.spawner.i.%s.call"
#define FAAS_SUBJ_SPAWNER_CANCEL       "faas.spawner.i.%s.cancel"
#define FAAS_SUBJ_SPAWNER_FENCE        "faas.spawner.i.%s.fence"
#define FAAS_SUBJ_SPAWNER_RESOLVE      "faas.spawner.i.%s.resolve"
#define FAAS_SUBJ_SPAWNER_PREPARE      "faas.spawner.i.%s.prepare"
#define FAAS_SUBJ_DIRECT               "functions.execute"
#define FAAS_QUEUE_DIRECT              "worker-group"
#define FAAS_SUBJ_BEAT                 "faas.hb.%s.%s" /* service, id */
#define FAAS_SUBJ_BEAT_ALL             "faas.hb.>"
#define FAAS_SUBJ_SEEN                 "faas.seen.%s.%s.%s" /* whoever waits, service, id */
#define FAAS_SUBJ_SEEN_ALL             "faas.seen.%s.>"
#define FAAS_SUBJ_PROBE                "faas.%s.i.%s.probe" /* service, id */

#define FAAS_BUCKET_USERS       "users"
#define FAAS_BUCKET_FUNCTIONS   "functions"
#define FAAS_AWAITED_FUNCTIONS  "f."          /* keys whose writers wait for every reader: heads */
#define FAAS_BUCKET_REVOCATIONS "revocations" /* read by gateways, so apart from the passwords */
#define FAAS_BUCKET_SECRETS     "secrets"     /* sealed; spawners hear what has changed */

#define FAAS_AWAITED_SECRETS "s."

#define FAAS_STREAM_JOBS    "JOBS"
#define FAAS_STREAM_RESULTS "RESULTS"
#define FAAS_STREAM_DEAD    "DEAD"
#define FAAS_STREAM_KEYS    "KEYS"
#define FAAS_BUCKET_RECORDS "records" /* of calls: a log, read by registries */

/* "kind" of a call and a placement; who does not know one refuses it. */
#define FAAS_KIND_EXEC  "exec"
#define FAAS_KIND_INPUT "input" /* the same, whose argument follows in frames */

/* "stream" of a call's and a placement's JSON: what leaves as it is written. */
#define FAAS_STREAMED_STDOUT "stdout"
#define FAAS_STREAMED_ALL    "all" /* stderr, too */

#define FAAS_KEY_SIGNING "keys" /* in the revocations: the public keys of tokens */

#define FAAS_SUBJECT_MAX 256

/* Limits users meet; each refusal names the number */
#define FAAS_ARGUMENT_MAX     131071        /* bytes, argv input; Linux MAX_ARG_STRLEN - 1 */
#define FAAS_BODY_MAX         (1024 * 1024) /* bytes, any call body */
#define FAAS_CONTROL_BODY_MAX (64 * 1024)   /* bytes, control requests */
#define FAAS_SECRET_MAX       (64 * 1024)   /* bytes of a secret's value */
#define FAAS_SECRET_BODY_MAX  (128 * 1024)  /* bytes, a request that brings one */
#define FAAS_LOGIN_HOST_MAX   62            /* bytes of an image registry's host:port */
#define FAAS_LOGIN_MARK       '@'         /* before it: the name under which secrets have a login */
#define FAAS_SECRETS_MAX      32          /* names in a function's list */
#define FAAS_DESCRIPTION_MAX  1024        /* bytes */
#define FAAS_IMAGE_REF_MAX    512         /* bytes */
#define FAAS_ENV_MAX          64          /* entries */
#define FAAS_ENV_BYTES_MAX    (16 * 1024) /* all names and values */
#define FAAS_LABELS_MAX       32
#define FAAS_ALIASES_MAX      32                  /* of one function */
#define FAAS_ALIAS_PARTS_MAX  8                   /* versions that one alias names */
#define FAAS_ALIAS_WEIGHT_MAX 1000000             /* of one of them */
#define FAAS_LIST_MAX         10000               /* records of /registry/list */
#define FAAS_LIST_BYTES_MAX   (256 * 1024 * 1024) /* of /registry/list */
#define FAAS_TIMEOUT_MS       30000
#define FAAS_TIMEOUT_MS_MIN   100
#define FAAS_TIMEOUT_MS_MAX   3600000
#define FAAS_INVITE_S         604800 /* life of an invitation where nothing is said */
#define FAAS_INVITE_MIN_S     60
#define FAAS_INVITE_MAX_S     31536000
#define FAAS_START_TIMEOUT_MS 30000
#define FAAS_OUTPUT_MB        6
#define FAAS_OUTPUT_MB_MAX    64
#define FAAS_STDERR_TAIL      4096        /* bytes of stderr shown with a failure */
#define FAAS_STDERR_KEPT      (64 * 1024) /* bytes of stderr kept with a call's record */
#define FAAS_CALLBACK_MAX     2048        /* bytes of an X-Callback-Url */
#define FAAS_LABEL_MAX        128         /* bytes of a client's own X-Call-Id */
#define FAAS_TAKEN_MS         500 /* silence before the gateway asks the owner what became of a call */
#define FAAS_ACCEPT_MS        100 /* silence before the publisher asks a spawner */
/* What a call's end says as well is told only of calls that have not ended by then. */
#define FAAS_TAKEN_AFTER_MS  100
#define FAAS_ACCEPT_AFTER_MS 20
#define FAAS_FENCE_KEEP_MS   60000

/* "faas.publisher.i.ab12.call"; false when it does not fit or id holds anything but [A-Za-z0-9_-].
 */
bool faas_subject(char out_subject[FAAS_SUBJECT_MAX], const char *pattern, const char *id);

/* Every setting that the registration of a function may leave out, with what it then is; a new
 * reference.  retry.on follows from retry.idempotent, isolation from where the image is found.  NULL
 * only without memory. */
struct json_t;
struct json_t *faas_function_defaults(void);

/* What a program may do on the bus: the one table from which servers' allow-lists are written.  A
 * user is a program, with one key; its inbox is _INBOX_<service>.>. */
struct faas_bus_user {
    const char *service;          /* "gateway"; "cli" is `faas up` itself */
    const char *const *publish;   /* subjects allowed, NULL ends */
    const char *const *subscribe; /* likewise */
    bool allow_responses;         /* may answer each request that reached it, once, wherever its
                                     reply subject points */
};
/* NULL for a program that has no business there. */
const struct faas_bus_user *faas_contract_permissions(const char *service);
/* The idx-th user, NULL past the end. */
const struct faas_bus_user *faas_contract_user(size_t idx);
/* The nats-server `authorization` block for users with the given public keys ("U..."); users
 * without a key are left out. */
struct faas_bus_key {
    const char *service, *public_key; /* service NULL ends a list */
};
void faas_contract_authorization(const struct faas_bus_key *keys, FILE *to);

#endif
