/* Requests about API keys: the owner's, and the gateways' question whose key it is.  Only a person
 * makes, lists and ends keys: the gateway's route table says so. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "apikey_store.h"
#include "auth.h"
#include "base/clock.h"
#include "base/log.h"
#include "contract.h"

#define USE_MS 10000 /* to write when a key was used */

static faas_code caller_of(const struct faas_call *call, struct account *out_account, faas_err *err)
{
    const char *name = faas_msg_header(call->msg, FAAS_H_USERNAME);
    struct account account = {0};

    if (!faas_uuid_is(call->ctx->user) || !faas_uuid_is(call->ctx->tenant) || name == NULL ||
        faas_user_name_fold(name, account.username, NULL) != FAAS_OK)
        return faas_fail(err, FAAS_INVALID, "no token came with the request");
    memcpy(account.id, call->ctx->user, sizeof account.id);
    memcpy(account.tenant, call->ctx->tenant, sizeof account.tenant);
    *out_account = account;
    return FAAS_OK;
}

/* Did the session that asks end meanwhile?  Looked at behind the write: whoever ends all keys ends
 * the sessions before, so a key that this look lets pass was there when all were ended. */
static faas_code check_session(const struct auth *auth, const struct faas_call *call,
                               const char *key_id, faas_err *err)
{
    const char *jti = faas_msg_header(call->msg, FAAS_H_TOKEN);
    struct faas_token_claims claims = {
        .generation = faas_msg_header_int(call->msg, FAAS_H_GENERATION, INT64_MAX)};
    uint64_t revision = 0;
    bool has_ended = false;

    if (jti != NULL)
        (void)snprintf(claims.jti, sizeof claims.jti, "%s", jti);
    FAAS_TRY(store_has_ended(&auth->store, call->ctx->user, &claims, call->ctx->deadline_ns,
                             &has_ended, err));
    if (!has_ended)
        return FAAS_OK;
    FAAS_TRY(apikey_store_end(&auth->store, call->ctx->user, key_id, call->ctx->deadline_ns,
                              &revision, err));
    apikey_store_forget(&auth->store, key_id, call->ctx->id);
    return faas_fail(err, FAAS_UNAUTHENTICATED,
                     "the session ended meanwhile, and no key was made; log in again");
}

/* faas.auth.apikey_new: the only answer that ever holds the key. */
faas_code apikey_on_new(void *state, const struct faas_call *call, json_t **out_reply,
                        faas_err *err)
{
    const struct auth *auth = state;
    struct account owner;
    struct apikey key;
    char text[FAAS_APIKEY_TEXT];
    FAAS_AUTO(json_t) *reply = NULL;

    FAAS_TRY(caller_of(call, &owner, err));
    FAAS_TRY(apikey_read(call->body, faas_wall_ms(), auth->apikey_life_s, &key, err));
    faas_apikey_new(text);
    if (!faas_apikey_parse(text, key.id, key.hash))
        return faas_fail(err, FAAS_INTERNAL, "internal error");
    memcpy(key.made_by, call->ctx->id, sizeof key.made_by);
    key.is_again = call->ctx->is_again;
    reply = apikey_json(&key);
    if (reply == NULL || json_object_set_new(reply, "key", json_string(text)) != 0)
        return faas_fail_sys(err, ENOMEM, "encode reply");
    FAAS_TRY(apikey_store_add(&auth->store, &owner, &key, auth->apikeys_max, call->ctx->deadline_ns,
                              err));
    FAAS_TRY(check_session(auth, call, key.id, err));
    *out_reply = FAAS_STEAL(reply);
    return FAAS_OK;
}

/* faas.auth.apikey_list */
faas_code apikey_on_list(void *state, const struct faas_call *call, json_t **out_reply,
                         faas_err *err)
{
    static const struct faas_json_field no_fields[] = {FAAS_FIELD_END};
    const struct auth *auth = state;
    struct account owner;
    json_t *items = NULL;
    char none;

    FAAS_TRY(faas_json_decode(call->body, no_fields, FAAS_JSON_STRICT, &none, err));
    FAAS_TRY(caller_of(call, &owner, err));
    FAAS_TRY(apikey_store_list(&auth->store, owner.id, call->ctx->deadline_ns, &items, err));
    *out_reply = json_pack("{s:o, s:n}", "items", items, "next_cursor");
    return *out_reply != NULL ? FAAS_OK : faas_fail_sys(err, ENOMEM, "encode reply");
}

/* ---- ends ---- */

/* faas.auth.apikey_end: no gateway takes the key from the answer on. */
faas_code apikey_on_end(void *state, const struct faas_call *call, json_t **out_reply,
                        faas_err *err)
{
    struct want {
        const char *id;
    };
    static const struct faas_json_field fields[] = {
        FAAS_FIELD(STR, struct want, id, "id", 0, 0, true),
        FAAS_FIELD_END,
    };
    const struct auth *auth = state;
    uint64_t deadline_ns = call->ctx->deadline_ns, revision = 0;
    struct want want = {0};
    struct account owner;

    (void)out_reply;
    FAAS_TRY(faas_json_decode(call->body, fields, FAAS_JSON_STRICT, &want, err));
    FAAS_TRY(caller_of(call, &owner, err));
    if (!faas_apikey_id_is(want.id))
        return faas_fail(err, FAAS_NOT_FOUND,
                         "you have no API key with this id: an id is %d hex digits, as the list of "
                         "keys shows it",
                         FAAS_APIKEY_ID_TEXT - 1);
    if (call->ctx->is_again && apikey_store_has_ended(&auth->store, want.id, call->ctx))
        return FAAS_OK;
    FAAS_TRY(apikey_store_end(&auth->store, owner.id, want.id, deadline_ns, &revision, err));
    FAAS_TRY(auth_wait_ended(auth, revision, deadline_ns, err));
    apikey_store_forget(&auth->store, want.id, call->ctx->id);
    return FAAS_OK;
}

faas_code apikey_end_all(const struct auth *auth, const struct faas_ctx *ctx, faas_err *err)
{
    FAAS_AUTO(json_t) *items = NULL;
    uint64_t revision = 0;
    const json_t *item;
    size_t i;

    FAAS_TRY(apikey_store_list(&auth->store, ctx->user, ctx->deadline_ns, &items, err));
    /* Counted without any key, too: a repeat ends what a failure in between left to the gateways. */
    FAAS_TRY(apikey_store_end(&auth->store, ctx->user, NULL, ctx->deadline_ns, &revision, err));
    FAAS_TRY(auth_wait_ended(auth, revision, ctx->deadline_ns, err));
    json_array_foreach (items, i, item)
        apikey_store_forget(&auth->store, json_string_value(json_object_get(item, "id")), ctx->id);
    return FAAS_OK;
}

/* ---- whose it is ---- */

struct use { /* a job's */
    const struct auth *auth;
    char user[FAAS_UUID_TEXT], id[FAAS_APIKEY_ID_TEXT];
};

static void note_use(void *arg)
{
    FAAS_AUTO(void) *owned = arg;
    const struct use *use = arg;
    faas_err err = {0};

    if (apikey_store_use(&use->auth->store, use->user, use->id, faas_deadline_in_ms(USE_MS),
                         &err) != FAAS_OK)
        FAAS_LOG(WARN, "the use of an API key was not noted", FAAS_LSTR("key", use->id),
                 FAAS_LSTR("error", err.msg), FAAS_LSTR("detail", err.detail));
}

/* Written behind the answer, and only when what is known is an hour old; the next check tries again
 * where it could not. */
static void used(const struct auth *auth, const struct apikey_found *found)
{
    struct use *use;

    if (found->key.used_at > faas_wall_ms() - APIKEY_USED_MS)
        return;
    use = calloc(1, sizeof *use);
    if (use == NULL)
        return;
    use->auth = auth;
    memcpy(use->user, found->user, sizeof use->user);
    memcpy(use->id, found->key.id, sizeof use->id);
    if (faas_pool_submit(auth->pool, note_use, use, NULL) != FAAS_OK)
        free(use);
}

static json_t *answer_of(const struct apikey_found *found)
{
    FAAS_AUTO(json_t) *doc =
        json_pack("{s:i, s:s, s:s, s:s, s:I, s:I}", "v", 1, "user", found->user, "tenant",
                  found->owner.tenant, "username", found->owner.username, "expires_at",
                  (json_int_t)found->key.expires_at, "ends", (json_int_t)found->ends);

    if (doc == NULL || !faas_apikey_scope_write(&found->key.scope, doc))
        return NULL;
    return FAAS_STEAL(doc);
}

/* faas.auth.apikey_check: from gateways, once per key and then now and again while it is used.  What
 * comes is a hash, so that keys stay off the bus.  UNAUTHENTICATED: there is no such key; the same
 * reads and the same answer for an id that nobody has and for a wrong secret. */
faas_code apikey_on_check(void *state, const struct faas_call *call, json_t **out_reply,
                          faas_err *err)
{
    struct want {
        const char *id, *hash;
    };
    static const struct faas_json_field fields[] = {
        FAAS_FIELD(STR, struct want, id, "id", 0, 0, true),
        FAAS_FIELD(STR, struct want, hash, "hash", 0, 0, true),
        FAAS_FIELD_END,
    };
    const struct auth *auth = state;
    struct want want = {0};
    struct apikey_found found;
    bool is_match = false;

    FAAS_TRY(faas_json_decode(call->body, fields, FAAS_JSON_TOLERANT, &want, err));
    if (!faas_apikey_id_is(want.id))
        return faas_fail(err, FAAS_INVALID, "id: no id of an API key");
    FAAS_TRY(apikey_store_check(&auth->store, want.id, want.hash, call->ctx->deadline_ns, &found,
                                &is_match, err));
    if (!is_match)
        return faas_fail(err, FAAS_UNAUTHENTICATED, "there is no such API key");
    if (found.is_disabled)
        return faas_fail(err, FAAS_DENIED, AUTH_DISABLED);
    *out_reply = answer_of(&found);
    if (*out_reply == NULL)
        return faas_fail_sys(err, ENOMEM, "encode reply");
    if (found.key.expires_at > faas_wall_ms() / 1000)
        used(auth, &found);
    return FAAS_OK;
}
