/* registry.h - what main.c sets up; what requests do with it.
 * Writes    change the head by compare-and-set, then wait until every live reader of the bucket
 *           has applied the change (read your writes); see writes.c.
 * Records   results are public forms, new references of the caller.
 * Threads   the struct is written before the endpoints are served; requests: pool threads.
 */
#ifndef REGISTRY_REGISTRY_H
#define REGISTRY_REGISTRY_H

#include "follow.h"
#include "function.h"
#include "kept.h"
#include "records_follow.h"
#include "resolver.h"
#include "secrets.h"

struct registry {
    faas_kv *functions;
    faas_members *members;
    struct follow follow;
    struct records_follow *calls; /* NULL until started */
    struct resolver resolver;
    struct kept kept;
    struct secrets secrets;
    int64_t versions_max;             /* of one function */
    int64_t functions_max;            /* of one tenant */
    size_t reply_max;                 /* bytes of records in one answer */
    _Atomic bool is_attached;         /* members is set */
    _Atomic int64_t publishers_level; /* the lowest of those that live, as of the last beat; 0
                                         before it */
};

extern const struct faas_endpoint registry_endpoints[];

/* endpoints.c */
/* Every record belongs to a tenant; a request without one did not come through the gateway. */
FAAS_MUST_CHECK faas_code registry_check_caller(const struct faas_call *call, faas_err *err);

/* picks.c: faas.registry.rollback, .aliases, .alias, .unalias */
FAAS_MUST_CHECK faas_code registry_on_rollback(void *state, const struct faas_call *call,
                                               json_t **out_reply, faas_err *err);
FAAS_MUST_CHECK faas_code registry_on_aliases(void *state, const struct faas_call *call,
                                              json_t **out_reply, faas_err *err);
FAAS_MUST_CHECK faas_code registry_on_alias(void *state, const struct faas_call *call,
                                            json_t **out_reply, faas_err *err);
FAAS_MUST_CHECK faas_code registry_on_unalias(void *state, const struct faas_call *call,
                                              json_t **out_reply, faas_err *err);

/* calls.c: faas.registry.calls, .call, .call_log */
FAAS_MUST_CHECK faas_code registry_on_calls(void *state, const struct faas_call *call,
                                            json_t **out_reply, faas_err *err);
FAAS_MUST_CHECK faas_code registry_on_call(void *state, const struct faas_call *call,
                                           json_t **out_reply, faas_err *err);
FAAS_MUST_CHECK faas_code registry_on_call_log(void *state, const struct faas_call *call,
                                               json_t **out_reply, faas_err *err);

/* log_lines.c: faas.registry.logs */
FAAS_MUST_CHECK faas_code registry_on_logs(void *state, const struct faas_call *call,
                                           json_t **out_reply, faas_err *err);

/* purge.c: faas.registry.auth.purge */
FAAS_MUST_CHECK faas_code registry_on_purge(void *state, const struct faas_call *call,
                                            json_t **out_reply, faas_err *err);

/* secret_users.c: CONFLICT when functions of the caller name that secret. */
FAAS_MUST_CHECK faas_code secret_users_check(struct registry *reg, const struct faas_ctx *caller,
                                             const char *name, faas_err *err);

/* writes.c */
/* most: functions the caller may have. */
FAAS_MUST_CHECK faas_code registry_create(struct registry *reg, const struct faas_ctx *caller,
                                          const struct function_want *want, int64_t most,
                                          json_t **out_record, faas_err *err);
/* FUNCTION_UPDATE or FUNCTION_REPLACE */
FAAS_MUST_CHECK faas_code registry_change(struct registry *reg, const struct faas_ctx *caller,
                                          const struct function_want *want, enum function_verb verb,
                                          json_t **out_record, faas_err *err);
/* Resolves the image again; a new version only when it is another one. */
FAAS_MUST_CHECK faas_code registry_refresh(struct registry *reg, const struct faas_ctx *caller,
                                           const char *name, json_t **out_record, faas_err *err);
/* The content of an earlier version becomes the newest version; NOT_FOUND. */
FAAS_MUST_CHECK faas_code registry_rollback(struct registry *reg, const struct faas_ctx *caller,
                                            const char *name, int64_t version, json_t **out_record,
                                            faas_err *err);
/* parts: {"3":90,"4":10}, versions that must be there; NULL removes the alias. */
struct registry_alias {
    const char *function, *alias;
    json_t *parts; /* borrowed */
};
FAAS_MUST_CHECK faas_code registry_alias(struct registry *reg, const struct faas_ctx *caller,
                                         const struct registry_alias *want, faas_err *err);
FAAS_MUST_CHECK faas_code registry_delete(struct registry *reg, const struct faas_ctx *caller,
                                          const char *name, faas_err *err);

#endif
