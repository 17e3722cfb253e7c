/* auth.h - what main.c sets up and endpoints.c uses.
 * Threads   written before the endpoints are served, then only read.
 */
#ifndef AUTH_AUTH_H
#define AUTH_AUTH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/loop.h"
#include "keys.h"
#include "net/members.h"
#include "signup.h"
#include "store.h"
#include "throttle.h"

struct auth {
    struct store store;
    faas_members *members;
    throttle *throttle;
    signup *signup;
    faas_loop *loop;
    ev_timer share; /* of the caps on signing up; loop thread */
    ev_timer
        pulse; /* asks the store's leader whether it is there; loop thread, like the next two */
    ev_timer leavers; /* looks for deleted accounts (deletion.h); loop thread */
    _Atomic bool is_finishing;
    bool is_asking;
    uint64_t heard_ns; /* when it last was */
    struct keys *keys;
    faas_pool *pool;
    int64_t ttl_s;                            /* of a token */
    int64_t apikeys_max;                      /* of a user */
    int64_t apikey_life_s;                    /* the longest */
    bool is_any_password;                     /* old clients: the rules for passwords are off */
    char first_admin[FAAS_USER_NAME_MAX + 1]; /* who is made at a start; "": nobody */
};

extern const struct faas_endpoint auth_endpoints[];

/* From the answer on, every gateway has applied that revision of the ends. */
FAAS_MUST_CHECK faas_code auth_wait_ended(const struct auth *auth, uint64_t revision,
                                          uint64_t deadline_ns, faas_err *err);

#define AUTH_DISABLED "this account is disabled; ask an administrator of the platform"

/* admin.c */
faas_handler admin_on_users, admin_on_user, admin_on_set, admin_on_end, admin_on_whois;
/* Makes the first administrator, unless the name is taken; the password is the file's first line. */
FAAS_MUST_CHECK faas_code admin_make_first(struct auth *auth, const char *name, const char *file,
                                           uint64_t deadline_ns, faas_err *err);

/* apikey_endpoints.c */
faas_handler apikey_on_new, apikey_on_list, apikey_on_end, apikey_on_check;
FAAS_MUST_CHECK faas_code apikey_end_all(const struct auth *auth, const struct faas_ctx *ctx,
                                         faas_err *err);

#endif
