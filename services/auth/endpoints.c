/* Requests about accounts and tokens. */
#include "auth.h"

#include "account.h"
#include "store.h"

#include "base/clock.h"
#include "contract.h"

#include <errno.h>
#include <string.h>

#define BODY_MAX     (16 * 1024)
#define HASH_WAIT_MS 3000 /* in the queue for a hash; then BUSY */

/* A hash may wait only a part of the request's time, so that the answer still arrives in it. */
static uint64_t hash_deadline(const struct faas_ctx *ctx)
{
    uint64_t brief = faas_deadline_in_ms(HASH_WAIT_MS);

    return ctx->deadline_ns < brief ? ctx->deadline_ns : brief;
}

/* faas.auth.register.  CONFLICT when somebody has the name. */
static faas_code on_register(void *state, const struct faas_call *call, json_t **out_reply,
                             faas_err *err)
{
    const struct auth *auth = state;
    struct account_req req;
    struct account account;
    char name[FAAS_USER_NAME_MAX + 1];
    bool is_taken;

    if (!auth->is_signup_open)
        return faas_fail(err, FAAS_DENIED, "sign-up is closed here; ask the operator");
    FAAS_TRY(account_read(call->body, &req, err));
    FAAS_TRY(faas_user_name_fold(req.username, name, err));
    FAAS_TRY(faas_password_check(req.password, name, auth->is_any_password, err));
    FAAS_TRY(store_is_taken(auth->users, name, call->ctx->deadline_ns, &is_taken, err));
    if (is_taken)
        return faas_fail(err, FAAS_CONFLICT, "username: taken; choose another one");
    account_init(&account, name);
    FAAS_TRY(faas_password_hash(req.password, hash_deadline(call->ctx), account.password, err));
    FAAS_TRY(store_add(auth->users, &account, call->ctx->deadline_ns, err));
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
    FAAS_TRY(faas_token_sign(auth->signer, &claims, auth->ttl_s, &token, err));
    *out_reply = json_pack("{s:s, s:s, s:I}", "token", token, "token_type", "Bearer", "expires_in",
                           (json_int_t)auth->ttl_s);
    return *out_reply != NULL ? FAAS_OK : faas_fail_sys(err, ENOMEM, "encode reply");
}

static faas_code refuse(faas_err *err)
{
    return faas_fail(err, FAAS_UNAUTHENTICATED, "the user name or the password is wrong");
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
    bool is_found, is_match;

    FAAS_TRY(account_read(call->body, &req, err));
    /* Names and passwords that the rules exclude belong to nobody, which tells nothing. */
    if (faas_user_name_fold(req.username, name, NULL) != FAAS_OK ||
        strlen(req.password) > ACCOUNT_PASSWORD_MAX)
        return refuse(err);
    FAAS_TRY(store_find(auth->users, name, call->ctx->deadline_ns, &account, &is_found, err));
    FAAS_TRY(faas_password_verify(is_found ? account.password : faas_password_dummy(), req.password,
                                  hash_deadline(call->ctx), &is_match, err));
    if (!is_found || !is_match)
        return refuse(err);
    return give_token(auth, &account, out_reply, err);
}

/* faas.auth.jwks */
static faas_code on_jwks(void *state, const struct faas_call *call, json_t **out_reply,
                         faas_err *err)
{
    const struct auth *auth = state;

    (void)call;
    *out_reply = json_deep_copy(auth->jwks);
    return *out_reply != NULL ? FAAS_OK : faas_fail_sys(err, ENOMEM, "encode reply");
}

const struct faas_endpoint auth_endpoints[] = {
    {
        .name = "register",
        .subject = FAAS_SUBJ_AUTH_REGISTER,
        .queue = FAAS_QUEUE,
        .body_max = BODY_MAX,
        .handler = on_register,
    },
    {
        .name = "login",
        .subject = FAAS_SUBJ_AUTH_LOGIN,
        .queue = FAAS_QUEUE,
        .body_max = BODY_MAX,
        .handler = on_login,
    },
    {
        .name = "jwks",
        .subject = FAAS_SUBJ_AUTH_JWKS,
        .queue = FAAS_QUEUE,
        .body_max = BODY_MAX,
        .handler = on_jwks,
    },
    {.name = NULL},
};
