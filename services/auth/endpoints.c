/* Requests about accounts and tokens. */
#include "auth.h"

#include "account.h"
#include "deletion.h"
#include "invite.h"
#include "store.h"

#include "base/clock.h"
#include "contract.h"
#include "crypto/ec_key.h"

#include <errno.h>
#include <string.h>

#define BODY_MAX     (16 * 1024)
#define HASH_WAIT_MS 3000 /* in the queue for a hash; then BUSY */

static uint64_t hash_deadline(const struct faas_ctx *ctx)
{
    uint64_t brief = faas_deadline_in_ms(HASH_WAIT_MS);

    return ctx->deadline_ns < brief ? ctx->deadline_ns : brief;
}

static const char *client_of(const struct faas_call *call)
{
    return faas_msg_header(call->msg, FAAS_H_CLIENT);
}

/* With an invitation, when one is needed: claimed, and given back unless the account was made. */
static faas_code add_invited(const struct auth *auth, const struct account *account,
                             struct invite *invite, uint64_t deadline_ns, faas_err *err)
{
    faas_kv *users = auth->store.users;
    faas_code rc;

    if (signup_mode(auth->signup) != SIGNUP_INVITE)
        return store_add(&auth->store, account, deadline_ns, err);
    FAAS_TRY(invite_claim(users, invite, deadline_ns, err));
    rc = store_add(&auth->store, account, deadline_ns, err);
    if (rc == FAAS_CONFLICT)
        invite_give_back(users, invite);
    else if (rc == FAAS_OK)
        invite_remove(users, invite);
    return rc; /* otherwise the account may exist, and the invitation stays claimed */
}

static faas_code add_counted(const struct auth *auth, const struct faas_call *call,
                             const char *password, struct account *account, struct invite *invite,
                             faas_err *err)
{
    uint64_t deadline_ns = call->ctx->deadline_ns;
    struct signup_try attempt;
    faas_code rc;

    FAAS_TRY(
        signup_begin(auth->signup, client_of(call), faas_now_ns(), deadline_ns, &attempt, err));
    rc = faas_password_hash(password, hash_deadline(call->ctx), account->password, err);
    if (rc == FAAS_OK)
        rc = add_invited(auth, account, invite, deadline_ns, err);
    signup_end(auth->signup, &attempt, rc == FAAS_OK);
    return rc;
}

static faas_code add_account(const struct auth *auth, const struct faas_call *call,
                             const struct account_req *req, const char *name,
                             struct account *out_account, faas_err *err)
{
    struct invite invite = {0};
    bool is_taken;

    if (signup_mode(auth->signup) == SIGNUP_INVITE)
        FAAS_TRY(invite_find(auth->store.users, req->invitation, call->ctx, &invite, err));
    FAAS_TRY(store_is_taken(&auth->store, name, call->ctx->deadline_ns, &is_taken, err));
    if (is_taken)
        return faas_fail(err, FAAS_CONFLICT, "username: taken; choose another one");
    account_init(out_account, name);
    memcpy(out_account->made_by, call->ctx->id, sizeof out_account->made_by);
    return add_counted(auth, call, req->password, out_account, &invite, err);
}

/* Has another instance made it, for this very request? */
static faas_code find_made(const struct auth *auth, const struct faas_call *call,
                           const struct account_req *req, const char *name,
                           struct account *out_account, bool *out_is_made, faas_err *err)
{
    struct invite invite;

    FAAS_TRY(store_find_made(&auth->store, name, call->ctx, out_account, out_is_made, err));
    if (*out_is_made && signup_mode(auth->signup) == SIGNUP_INVITE &&
        invite_find(auth->store.users, req->invitation, call->ctx, &invite, NULL) == FAAS_OK)
        invite_remove(auth->store.users, &invite);
    return FAAS_OK;
}

static faas_code add_once(const struct auth *auth, const struct faas_call *call,
                          const struct account_req *req, const char *name,
                          struct account *out_account, faas_err *err)
{
    bool is_made = false;
    faas_err why = {0};
    faas_code rc;

    if (!call->ctx->is_again)
        return add_account(auth, call, req, name, out_account, err);
    FAAS_TRY(find_made(auth, call, req, name, out_account, &is_made, err));
    if (is_made)
        return FAAS_OK;
    rc = add_account(auth, call, req, name, out_account, &why);
    if (rc == FAAS_CONFLICT) /* its write came after the look */
        FAAS_TRY(find_made(auth, call, req, name, out_account, &is_made, err));
    if (rc != FAAS_OK && !is_made)
        *err = why;
    return is_made ? FAAS_OK : rc;
}

/* faas.auth.register.  CONFLICT when somebody has the name.  Without an invitation, where one is
 * needed, nobody learns which names are taken. */
static faas_code on_register(void *state, const struct faas_call *call, json_t **out_reply,
                             faas_err *err)
{
    const struct auth *auth = state;
    struct account_req req;
    struct account account = {0};
    char name[FAAS_USER_NAME_MAX + 1];
    struct throttle_try attempt;

    if (signup_mode(auth->signup) == SIGNUP_CLOSED)
        return faas_fail(err, FAAS_DENIED, "sign-up is closed here; ask the operator");
    FAAS_TRY(account_read_new(call->body, &req, err));
    FAAS_TRY(faas_user_name_fold(req.username, name, err));
    FAAS_TRY(faas_password_check(req.password, name, auth->is_any_password, err));
    FAAS_TRY(add_once(auth, call, &req, name, &account, err));
    throttle_name(auth->throttle, name, client_of(call), &attempt);
    throttle_passed(auth->throttle, &attempt, faas_now_ns());
    *out_reply = json_pack("{s:s, s:s}", "id", account.id, "username", account.username);
    return *out_reply != NULL ? FAAS_OK : faas_fail_sys(err, ENOMEM, "encode reply");
}

static faas_code give_token(const struct auth *auth, const struct account *account,
                            json_t **out_reply, faas_err *err)
{
    struct faas_token_claims claims = {0};
    FAAS_AUTO(char) *token = NULL;

    memcpy(claims.user, account->id, sizeof claims.user);
    memcpy(claims.tenant, account->tenant, sizeof claims.tenant);
    memcpy(claims.username, account->username, sizeof claims.username);
    claims.generation = account->generation;
    FAAS_TRY(keys_sign(auth->keys, &claims, &token, err));
    *out_reply = json_pack("{s:s, s:s, s:I}", "token", token, "token_type", "Bearer", "expires_in",
                           (json_int_t)auth->ttl_s);
    return *out_reply != NULL ? FAAS_OK : faas_fail_sys(err, ENOMEM, "encode reply");
}

/* The throttle learns how an attempt ended.  What is neither a pass nor a wrong password (no memory
 * for the hash, no store) was no guess. */
static void tell_throttle(const struct auth *auth, const struct throttle_try *attempt,
                          faas_code outcome, bool is_match)
{
    if (outcome != FAAS_OK)
        throttle_undo(auth->throttle, attempt, faas_now_ns());
    else if (is_match)
        throttle_passed(auth->throttle, attempt, faas_now_ns());
    else
        throttle_failed(auth->throttle, attempt, faas_now_ns());
}

static faas_code refuse(faas_err *err)
{
    return faas_fail(err, FAAS_UNAUTHENTICATED, "the user name or the password is wrong");
}

/* The account of that name, when the password is its own. */
static faas_code verify(const struct auth *auth, const struct faas_call *call,
                        const struct account_req *req, struct account *out_account,
                        bool *out_is_match, faas_err *err)
{
    bool is_found, is_match;

    FAAS_TRY(store_find(&auth->store, req->username, call->ctx->deadline_ns, out_account, &is_found,
                        err));
    FAAS_TRY(faas_password_verify(is_found ? out_account->password : faas_password_dummy(),
                                  req->password, hash_deadline(call->ctx), &is_match, err));
    *out_is_match = is_found && is_match;
    return FAAS_OK;
}

static faas_code verify_throttled(const struct auth *auth, const struct faas_call *call,
                                  const struct account_req *req, struct account *out_account,
                                  bool *out_is_match, faas_err *err)
{
    struct throttle_try attempt;
    faas_code rc;

    throttle_name(auth->throttle, req->username, client_of(call), &attempt);
    FAAS_TRY(throttle_begin(auth->throttle, &attempt, faas_now_ns(), err));
    rc = verify(auth, call, req, out_account, out_is_match, err);
    tell_throttle(auth, &attempt, rc, rc == FAAS_OK && *out_is_match);
    return rc;
}

/* faas.auth.login.  A name that nobody has costs the same reads and the same hash as one that
 * somebody has, and gets the same answer. */
static faas_code on_login(void *state, const struct faas_call *call, json_t **out_reply,
                          faas_err *err)
{
    const struct auth *auth = state;
    struct account_req req;
    struct account account;
    char name[FAAS_USER_NAME_MAX + 1];
    bool is_match;

    FAAS_TRY(account_read(call->body, &req, err));
    /* Names and passwords that the rules exclude belong to nobody, which tells nothing. */
    if (faas_user_name_fold(req.username, name, NULL) != FAAS_OK ||
        strlen(req.password) > ACCOUNT_PASSWORD_MAX)
        return refuse(err);
    req.username = name;
    FAAS_TRY(verify_throttled(auth, call, &req, &account, &is_match, err));
    if (!is_match)
        return refuse(err);
    if (account.standing.is_disabled)
        return faas_fail(err, FAAS_DENIED, AUTH_DISABLED);
    return give_token(auth, &account, out_reply, err);
}

/* ---- ending sessions ---- */

faas_code auth_wait_ended(const struct auth *auth, uint64_t revision, uint64_t deadline_ns,
                          faas_err *err)
{
    faas_code rc = faas_members_wait_applied(auth->members, FAAS_BUCKET_REVOCATIONS, revision,
                                             deadline_ns, err);

    if (rc == FAAS_TIMEOUT)
        return faas_fail(err, FAAS_UNAVAILABLE,
                         "it is stored, but not every gateway has confirmed in time that it sees "
                         "it");
    return rc;
}

/* From the answer on, no gateway takes the tokens any more. */
static faas_code end_sessions(const struct auth *auth, const struct faas_ctx *ctx,
                              const struct session *session, faas_err *err)
{
    uint64_t revision = 0;

    FAAS_TRY(
        store_end_sessions(&auth->store, ctx->user, session, ctx->deadline_ns, &revision, err));
    return auth_wait_ended(auth, revision, ctx->deadline_ns, err);
}

/* faas.auth.logout: the token that came with the request ends. */
static faas_code on_logout(void *state, const struct faas_call *call, json_t **out_reply,
                           faas_err *err)
{
    static const struct faas_json_field no_fields[] = {FAAS_FIELD_END};
    const char *jti = faas_msg_header(call->msg, FAAS_H_TOKEN);
    char none;
    const struct session session = {
        .jti = jti, .expires_at = faas_msg_header_int(call->msg, FAAS_H_TOKEN_END, 0)};

    (void)out_reply;
    FAAS_TRY(faas_json_decode(call->body, no_fields, FAAS_JSON_STRICT, &none, err));
    if (call->ctx->user[0] == '\0' || jti == NULL || !faas_uuid_is(jti))
        return faas_fail(err, FAAS_INVALID, "no token came with the request");
    return end_sessions(state, call->ctx, &session, err);
}

/* The caller's account, when the password is theirs. */
static faas_code check_owner(const struct auth *auth, const struct faas_call *call,
                             const char *password, struct account *out_account, faas_err *err)
{
    const char *name = faas_msg_header(call->msg, FAAS_H_USERNAME);
    char folded[FAAS_USER_NAME_MAX + 1];
    struct account_req req = {.username = folded, .password = password};
    bool is_match = false;

    if (name == NULL || faas_user_name_fold(name, folded, NULL) != FAAS_OK)
        return faas_fail(err, FAAS_INVALID, "no token came with the request");
    if (strlen(password) <= ACCOUNT_PASSWORD_MAX)
        FAAS_TRY(verify_throttled(auth, call, &req, out_account, &is_match, err));
    if (!is_match || strcmp(out_account->id, call->ctx->user) != 0)
        return faas_fail(err, FAAS_DENIED, "current_password: wrong");
    return FAAS_OK;
}

static faas_code set_password(const struct auth *auth, const struct faas_call *call,
                              const struct account_change *change, faas_err *err)
{
    struct account account = {0};

    FAAS_TRY(check_owner(auth, call, change->current, &account, err));
    FAAS_TRY(faas_password_check(change->wanted, account.username, auth->is_any_password, err));
    FAAS_TRY(faas_password_hash(change->wanted, hash_deadline(call->ctx), account.password, err));
    return store_set_password(&auth->store, &account, call->ctx, err);
}

/* Asked again, the password may be set already: then the current one is not the current one. */
static faas_code set_password_once(const struct auth *auth, const struct faas_call *call,
                                   const struct account_change *change, faas_err *err)
{
    bool is_set = false;
    faas_err why = {0};
    faas_code rc;

    if (!call->ctx->is_again)
        return set_password(auth, call, change, err);
    FAAS_TRY(store_is_changed(&auth->store, call->ctx, &is_set, err));
    if (is_set)
        return FAAS_OK;
    rc = set_password(auth, call, change, &why);
    if (rc != FAAS_OK) /* or its write came after the look */
        FAAS_TRY(store_is_changed(&auth->store, call->ctx, &is_set, err));
    if (rc != FAAS_OK && !is_set)
        *err = why;
    return is_set ? FAAS_OK : rc;
}

/* faas.auth.password: another password; every token there is ends, API keys where asked.  CONFLICT when it was changed
 * by somebody else at the same time. */
static faas_code on_password(void *state, const struct faas_call *call, json_t **out_reply,
                             faas_err *err)
{
    const struct auth *auth = state;
    struct account_change change;

    (void)out_reply;
    FAAS_TRY(account_read_change(call->body, &change, err));
    FAAS_TRY(set_password_once(auth, call, &change, err));
    /* Sessions first: whoever holds a token could make another key behind the end of all. */
    FAAS_TRY(end_sessions(auth, call->ctx, NULL, err));
    return change.ends_keys ? apikey_end_all(auth, call->ctx, err) : FAAS_OK;
}

/* faas.auth.account_end: the caller's own account, and all it has; an empty answer.  An administrator
 * could be the last one. */
static faas_code on_account_end(void *state, const struct faas_call *call, json_t **out_reply,
                                faas_err *err)
{
    struct want {
        const char *current;
    };
    static const struct faas_json_field fields[] = {
        FAAS_FIELD(STR, struct want, current, "current_password", 0, 0, true),
        FAAS_FIELD_END,
    };
    const struct auth *auth = state;
    struct want want = {0};
    struct account account = {0};
    bool is_done;

    (void)out_reply;
    FAAS_TRY(faas_json_decode(call->body, fields, FAAS_JSON_STRICT, &want, err));
    FAAS_TRY(deletion_repeat(auth, call->ctx, &is_done, err));
    if (is_done)
        return FAAS_OK;
    FAAS_TRY(check_owner(auth, call, want.current, &account, err));
    if (account.standing.is_admin)
        return faas_fail(err, FAAS_CONFLICT,
                         "you are an administrator; another one can delete your account, or take "
                         "the role away");
    return deletion_do(auth, &account, call->ctx, err);
}

/* faas.auth.op.invite: for the operator; no route of the gateway leads here. */
static faas_code on_invite(void *state, const struct faas_call *call, json_t **out_reply,
                           faas_err *err)
{
    struct want {
        int64_t life_s;
    };
    static const struct faas_json_field fields[] = {
        FAAS_FIELD(INT, struct want, life_s, "expires_in", FAAS_INVITE_MIN_S, FAAS_INVITE_MAX_S,
                   false),
        FAAS_FIELD_END,
    };
    const struct auth *auth = state;
    struct want want = {.life_s = FAAS_INVITE_S};

    FAAS_TRY(faas_json_decode(call->body, fields, FAAS_JSON_STRICT, &want, err));
    return invite_make(auth->store.users, want.life_s, call->ctx->deadline_ns, out_reply, err);
}

/* faas.auth.op.endkeys: for the operator, after the loss of a key.  Tokens of every other key end. */
static faas_code on_end_keys(void *state, const struct faas_call *call, json_t **out_reply,
                             faas_err *err)
{
    struct want {
        const char *keep;
    };
    static const struct faas_json_field fields[] = {
        FAAS_FIELD(STR, struct want, keep, "keep", 1, FAAS_KID_TEXT - 1, true),
        FAAS_FIELD_END,
    };
    const struct auth *auth = state;
    struct want want = {0};

    (void)out_reply;
    FAAS_TRY(faas_json_decode(call->body, fields, FAAS_JSON_STRICT, &want, err));
    return keys_end_others(auth->keys, want.keep, call->ctx->deadline_ns, err);
}

/* faas.auth.jwks */
static faas_code on_jwks(void *state, const struct faas_call *call, json_t **out_reply,
                         faas_err *err)
{
    const struct auth *auth = state;

    return keys_public(auth->keys, call->ctx->deadline_ns, out_reply, err);
}

/* faas.auth.i.<id>.keys: which key this program signs with. */
static faas_code on_keys(void *state, const struct faas_call *call, json_t **out_reply,
                         faas_err *err)
{
    const struct auth *auth = state;
    char kid[32];

    (void)call;
    keys_signing(auth->keys, kid);
    *out_reply = json_pack("{s:i, s:s}", "v", 1, "signing", kid);
    return *out_reply != NULL ? FAAS_OK : faas_fail_sys(err, ENOMEM, "encode reply");
}

const struct faas_endpoint auth_endpoints[] = {
    {
        .name = "register",
        .is_once = true,
        .subject = FAAS_SUBJ_AUTH_REGISTER,
        .queue = FAAS_QUEUE,
        .body_max = BODY_MAX,
        .handler = on_register,
    },
    {
        .name = "login",
        .is_once = true,
        .subject = FAAS_SUBJ_AUTH_LOGIN,
        .queue = FAAS_QUEUE,
        .body_max = BODY_MAX,
        .handler = on_login,
    },
    {
        .name = "logout",
        .is_once = true,
        .subject = FAAS_SUBJ_AUTH_LOGOUT,
        .queue = FAAS_QUEUE,
        .body_max = BODY_MAX,
        .handler = on_logout,
    },
    {
        .name = "password",
        .is_once = true,
        .subject = FAAS_SUBJ_AUTH_PASSWORD,
        .queue = FAAS_QUEUE,
        .body_max = BODY_MAX,
        .handler = on_password,
    },
    {
        .name = "account_end",
        .is_once = true,
        .subject = FAAS_SUBJ_AUTH_ACCOUNT_END,
        .queue = FAAS_QUEUE,
        .body_max = BODY_MAX,
        .handler = on_account_end,
    },
    {
        .name = "apikey_new",
        .is_once = true,
        .subject = FAAS_SUBJ_AUTH_APIKEY_NEW,
        .queue = FAAS_QUEUE,
        .body_max = BODY_MAX,
        .handler = apikey_on_new,
    },
    {
        .name = "apikey_list",
        .subject = FAAS_SUBJ_AUTH_APIKEY_LIST,
        .queue = FAAS_QUEUE,
        .body_max = BODY_MAX,
        .handler = apikey_on_list,
    },
    {
        .name = "apikey_end",
        .is_once = true,
        .subject = FAAS_SUBJ_AUTH_APIKEY_END,
        .queue = FAAS_QUEUE,
        .body_max = BODY_MAX,
        .handler = apikey_on_end,
    },
    {
        .name = "apikey_check",
        .subject = FAAS_SUBJ_AUTH_APIKEY_CHECK,
        .queue = FAAS_QUEUE,
        .body_max = BODY_MAX,
        .handler = apikey_on_check,
    },
    {
        .name = "admin_users",
        .subject = FAAS_SUBJ_AUTH_ADMIN_USERS,
        .queue = FAAS_QUEUE,
        .body_max = BODY_MAX,
        .handler = admin_on_users,
    },
    {
        .name = "admin_user",
        .subject = FAAS_SUBJ_AUTH_ADMIN_USER,
        .queue = FAAS_QUEUE,
        .body_max = BODY_MAX,
        .handler = admin_on_user,
    },
    {
        .name = "admin_set",
        .is_once = true,
        .subject = FAAS_SUBJ_AUTH_ADMIN_SET,
        .queue = FAAS_QUEUE,
        .body_max = BODY_MAX,
        .handler = admin_on_set,
    },
    {
        .name = "admin_end",
        .is_once = true,
        .subject = FAAS_SUBJ_AUTH_ADMIN_END,
        .queue = FAAS_QUEUE,
        .body_max = BODY_MAX,
        .handler = admin_on_end,
    },
    {
        .name = "admin_whois",
        .subject = FAAS_SUBJ_AUTH_ADMIN_WHOIS,
        .queue = FAAS_QUEUE,
        .body_max = BODY_MAX,
        .handler = admin_on_whois,
    },
    {
        .name = "invite",
        .subject = FAAS_SUBJ_AUTH_INVITE,
        .queue = FAAS_QUEUE,
        .body_max = BODY_MAX,
        .handler = on_invite,
    },
    {
        .name = "endkeys",
        .subject = FAAS_SUBJ_AUTH_END_KEYS,
        .queue = FAAS_QUEUE,
        .body_max = BODY_MAX,
        .handler = on_end_keys,
    },
    {
        .name = "jwks",
        .subject = FAAS_SUBJ_AUTH_JWKS,
        .queue = FAAS_QUEUE,
        .body_max = BODY_MAX,
        .handler = on_jwks,
    },
    {
        .name = "keys",
        .subject = FAAS_SUBJ_AUTH_KEYS,
        .body_max = BODY_MAX,
        .handler = on_keys,
    },
    {.name = NULL},
};
