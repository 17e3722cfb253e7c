#include "secrets.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/done.h"
#include "base/log.h"
#include "base/name.h"
#include "contract.h"
#include "registry.h"
#include "service.h"
#include "store.h"

#define STORE_WAIT_MS 60000
#define SEEN_MS       15000
#define ROUNDS_MAX    10
#define QUOTA_AGAIN_S 60
#define ASK_LABEL     (SECRET_KEY_MAX + 24)

/* ---- following the bucket ---- */

static void apply(void *arg, const struct faas_feed_event *event)
{
    struct secrets *secrets = arg;
    faas_err err = {0};

    if (secret_index_apply(&secrets->index, event->key, event->is_delete ? NULL : event->value,
                           event->len, &err) != FAAS_OK)
        FAAS_LOG(ERROR, "a stored secret is missing in lists", FAAS_LSTR("key", event->key),
                 FAAS_LSTR("detail", err.detail));
}

static void on_applied(void *arg)
{
    struct secrets *secrets = arg;

    if (secrets->feed != NULL)
        faas_members_applied(secrets->members, "registry", FAAS_BUCKET_SECRETS,
                             faas_feed_applied(secrets->feed));
}

void secrets_fill(struct secrets *secrets, struct faas_beat *beat)
{
    size_t i = 0;

    while (i < FAAS_ARRAY_LEN(beat->applied) && beat->applied[i].bucket != NULL)
        i++;
    if (secrets->feed == NULL || i == FAAS_ARRAY_LEN(beat->applied))
        return;
    beat->applied[i].bucket = FAAS_BUCKET_SECRETS;
    beat->applied[i].seq = faas_feed_applied(secrets->feed);
}

faas_code secrets_start(struct secrets *secrets, const struct secrets_conf *conf, faas_err *err)
{
    struct faas_feed_conf feed = {
        .apply = apply, .awaited = FAAS_AWAITED_SECRETS, .on_applied = on_applied, .arg = secrets};

    secrets->members = conf->rt->members;
    secrets->loop = conf->rt->loop;
    secrets->max = conf->max;
    secret_index_init(&secrets->index);
    secrets->is_open = true;
    if (conf->key_file[0] != '\0')
        FAAS_TRY(faas_sealed_key_read(conf->key_file, &secrets->key, err));
    FAAS_TRY(faas_kv_open(conf->rt->rpc, FAAS_BUCKET_SECRETS, conf->rt->replicas,
                          faas_deadline_in_ms(STORE_WAIT_MS), &secrets->kv, err));
    feed.kv = secrets->kv;
    return faas_feed_start(&feed, &secrets->feed, err);
}

void secrets_stop(struct secrets *secrets)
{
    if (!secrets->is_open)
        return;
    if (secrets->feed != NULL)
        faas_feed_stop(secrets->feed);
    secrets->feed = NULL;
    faas_kv_close(secrets->kv);
    faas_sealed_key_free(secrets->key);
    secrets->kv = NULL;
    secrets->key = NULL;
    secret_index_done(&secrets->index);
    secrets->is_open = false;
}

/* ---- requests ---- */

static struct secrets *secrets_of(void *state)
{
    return &((struct registry *)state)->secrets;
}

static faas_code check_key(const struct secrets *secrets, faas_err *err)
{
    return secrets->key != NULL
               ? FAAS_OK
               : faas_fail(err, FAAS_UNAVAILABLE,
                           "this deployment has no key for secrets; its operator sets "
                           "REGISTRY_SECRETS_KEY_FILE");
}

static faas_code check_caller(const struct faas_ctx *caller, faas_err *err)
{
    return caller->user[0] != '\0' && caller->tenant[0] != '\0'
               ? FAAS_OK
               : faas_fail(err, FAAS_UNAUTHENTICATED, "the request names no user");
}

static faas_code check_complete(struct secrets *secrets, faas_err *err)
{
    return faas_feed_age_ms(secrets->feed) <= FAAS_FEED_STALE_MS
               ? FAAS_OK
               : faas_fail(err, FAAS_UNAVAILABLE,
                           "the list of secrets is being read; try again in a moment");
}

struct body {
    const char *name, *uuid, *uui, *value, *value_base64;
};

#define NAME_FIELDS                                                                                \
    FAAS_FIELD(STR, struct body, uuid, "uuid", 0, 0, false),                                       \
        FAAS_FIELD(STR, struct body, uui, "uui", 0, 0, false)

static faas_code read_body(const struct faas_call *call, const struct faas_json_field *fields,
                           struct body *out_body, faas_err *err)
{
    FAAS_TRY(check_caller(call->ctx, err));
    FAAS_TRY(faas_json_decode(call->body, fields, FAAS_JSON_STRICT, out_body, err));
    FAAS_TRY(function_check_owner(out_body->uuid, out_body->uui, call->ctx, err));
    return out_body->name != NULL ? faas_function_name_check(out_body->name, err) : FAAS_OK;
}

faas_code secrets_list(struct secrets *secrets, const struct faas_ctx *caller, bool are_logins,
                       json_t **out_items, faas_err *err)
{
    FAAS_TRY(check_complete(secrets, err));
    return secret_index_list(&secrets->index, caller->tenant, are_logins, out_items, err);
}

/* faas.registry.secrets */
faas_code secrets_on_list(void *state, const struct faas_call *call, json_t **out_reply,
                          faas_err *err)
{
    static const struct faas_json_field fields[] = {NAME_FIELDS, FAAS_FIELD_END};
    json_t *items = NULL;
    struct body body = {0};

    FAAS_TRY(read_body(call, fields, &body, err));
    FAAS_TRY(secrets_list(secrets_of(state), call->ctx, false, &items, err));
    *out_reply = json_pack("{s:o, s:n}", "items", items, "next_cursor");
    return *out_reply != NULL ? FAAS_OK : faas_fail_sys(err, ENOMEM, "list of secrets");
}

static faas_code seen_everywhere(struct secrets *secrets, const struct faas_ctx *caller,
                                 uint64_t seq, faas_err *err)
{
    int64_t left = faas_left_ms(caller->deadline_ns);
    faas_code rc =
        faas_members_wait_applied(secrets->members, FAAS_BUCKET_SECRETS, seq,
                                  faas_deadline_in_ms(left < SEEN_MS ? left : SEEN_MS), err);

    if (rc == FAAS_TIMEOUT)
        return faas_fail(err, FAAS_UNAVAILABLE,
                         "the change is stored, but not every part of the platform has confirmed "
                         "in time that it sees it");
    return rc;
}

/* NOT_FOUND, or the stored document. */
static faas_code load(struct secrets *secrets, const char *key, uint64_t deadline_ns,
                      json_t **out_doc, uint64_t *out_revision, faas_err *err)
{
    struct faas_kv_entry entry = {0};
    faas_code rc;

    FAAS_TRY(faas_kv_get(secrets->kv, key, deadline_ns, &entry, err));
    *out_revision = entry.revision;
    rc = faas_json_parse(entry.value, entry.len, false, out_doc, NULL);
    faas_kv_entry_done(&entry);
    return rc == FAAS_OK ? FAAS_OK : faas_fail_sys(err, EPROTO, "stored secret: not JSON");
}

/* ---- setting ---- */

struct setting {
    struct secrets *secrets;
    const struct faas_ctx *caller;
    const char *name;
    const void *value;
    size_t len;
    char key[SECRET_KEY_MAX];
    json_t *doc; /* owned; what was stored */
    bool is_replaced;
    bool is_done; /* by another instance, before */
    uint64_t seq;
};

static faas_code check_quota(const struct setting *set, faas_err *err)
{
    int64_t count;

    FAAS_TRY(check_complete(set->secrets, err));
    count = secret_index_count(&set->secrets->index, set->caller->tenant);
    if (count < set->secrets->max)
        return FAAS_OK;
    return faas_fail_busy(err, QUOTA_AGAIN_S,
                          "you have %lld secrets, the most allowed; remove one first",
                          (long long)count);
}

static faas_code build(struct setting *set, const json_t *before, faas_err *err)
{
    const struct faas_sealed_value value = {set->key, set->value, set->len};
    int64_t now = faas_wall_ms();
    int64_t created =
        before != NULL ? json_integer_value(json_object_get(before, "created_at")) : now;
    FAAS_AUTO(char) *sealed = NULL;
    char op[33];

    faas_random_token(op);
    FAAS_TRY(faas_seal(faas_sealed_key_public(set->secrets->key), &value, &sealed, err));
    json_decref(set->doc);
    set->doc = json_pack("{s:i, s:s, s:s, s:I, s:I, s:I, s:s}", "v", 1, "op", op, "name", set->name,
                         "created_at", (json_int_t)created, "updated_at",
                         (json_int_t)(now > created ? now : created), "size", (json_int_t)set->len,
                         "sealed", sealed);
    return set->doc != NULL ? FAAS_OK : faas_fail_sys(err, ENOMEM, "secret");
}

/* This very request may have been carried out by another instance: then that is the answer. */
static faas_code take_done(struct setting *set, struct store_head *head, faas_err *err)
{
    int64_t was_replaced = 0;
    bool is_done;

    FAAS_TRY(faas_done_find(head->doc, set->caller, &is_done, &was_replaced, err));
    if (!is_done)
        return FAAS_OK;
    if (head->is_gone)
        return faas_done_unsure(err); /* removed since */
    set->is_done = true;
    set->is_replaced = was_replaced != 0;
    set->seq = head->revision;
    json_decref(set->doc);
    set->doc = FAAS_STEAL(head->doc);
    return FAAS_OK;
}

/* CONFLICT: somebody else wrote it in between. */
static faas_code set_round(struct setting *set, struct store_head *head, faas_err *err)
{
    FAAS_AUTO(char) *text = NULL;
    size_t len = 0;

    FAAS_TRY(take_done(set, head, err));
    if (set->is_done)
        return FAAS_OK;
    set->is_replaced = !head->is_gone;
    if (!set->is_replaced)
        FAAS_TRY(check_quota(set, err));
    FAAS_TRY(build(set, set->is_replaced ? head->doc : NULL, err));
    FAAS_TRY(faas_done_note(set->doc, head->doc, set->caller->id, set->is_replaced, err));
    text = faas_json_text(set->doc, &len);
    if (text == NULL)
        return faas_fail_sys(err, ENOMEM, "secret");
    return faas_kv_put(set->secrets->kv, set->key, head->revision, text, len,
                       set->caller->deadline_ns, &set->seq, err);
}

static faas_code set_rounds(struct setting *set, faas_err *err)
{
    faas_code rc = FAAS_CONFLICT;

    for (int round = 0; round < ROUNDS_MAX && rc == FAAS_CONFLICT; round++) {
        struct store_head head = {0};

        FAAS_TRY(store_look_at(set->secrets->kv, set->key, set->caller->deadline_ns, &head, err));
        rc = set_round(set, &head, err);
        store_head_done(&head);
    }
    return rc;
}

static faas_code set_value(struct setting *set, json_t **out_reply, faas_err *err)
{
    faas_code rc;

    secret_key(set->caller->tenant, set->name, set->key);
    rc = set_rounds(set, err);
    if (rc == FAAS_OK)
        rc = seen_everywhere(set->secrets, set->caller, set->seq, err);
    if (rc == FAAS_OK) {
        *out_reply = secret_public(set->doc);
        if (*out_reply == NULL ||
            json_object_set_new(*out_reply, "replaced", json_boolean(set->is_replaced)) != 0)
            rc = faas_fail_sys(err, ENOMEM, "secret");
    }
    json_decref(set->doc);
    return rc;
}

faas_code secrets_put(struct secrets *secrets, const struct faas_ctx *caller, const char *name,
                      const struct faas_sealed_value *value, json_t **out_reply, faas_err *err)
{
    struct setting set = {.secrets = secrets,
                          .caller = caller,
                          .name = name,
                          .value = value->bytes,
                          .len = value->len};

    FAAS_TRY(check_key(secrets, err));
    return set_value(&set, out_reply, err);
}

static faas_code too_long(faas_err *err)
{
    return faas_fail(err, FAAS_TOO_LARGE, "the value of a secret is at most %d bytes",
                     FAAS_SECRET_MAX);
}

/* *out_value: sodium_free(). */
static faas_code decode_base64(const char *text, void **out_value, size_t *out_len, faas_err *err)
{
    size_t len = strlen(text);
    unsigned char *value;

    if (len > sodium_base64_ENCODED_LEN(FAAS_SECRET_MAX, sodium_base64_VARIANT_ORIGINAL))
        return too_long(err);
    value = sodium_malloc(len + 1);
    if (value == NULL)
        return faas_fail_sys(err, ENOMEM, "secret");
    if (sodium_base642bin(value, len, text, len, NULL, out_len, NULL,
                          sodium_base64_VARIANT_ORIGINAL) != 0) {
        sodium_free(value);
        return faas_fail(err, FAAS_INVALID, "value_base64: expected base64 with padding");
    }
    *out_value = value;
    return FAAS_OK;
}

static faas_code set_from_body(void *state, const struct faas_call *call, const struct body *body,
                               json_t **out_reply, faas_err *err)
{
    struct setting set = {.secrets = secrets_of(state), .caller = call->ctx, .name = body->name};
    void *decoded = NULL;
    faas_code rc;

    if ((body->value == NULL) == (body->value_base64 == NULL))
        return faas_fail(err, FAAS_INVALID, "value: give it, or value_base64 for any bytes");
    if (body->value_base64 != NULL)
        FAAS_TRY(decode_base64(body->value_base64, &decoded, &set.len, err));
    else
        set.len = strlen(body->value);
    set.value = decoded != NULL ? decoded : body->value;
    rc = set.len <= FAAS_SECRET_MAX ? check_key(set.secrets, err) : too_long(err);
    if (rc == FAAS_OK)
        rc = set_value(&set, out_reply, err);
    sodium_free(decoded);
    return rc;
}

/* faas.registry.secret_set */
faas_code secrets_on_set(void *state, const struct faas_call *call, json_t **out_reply,
                         faas_err *err)
{
    static const struct faas_json_field fields[] = {
        NAME_FIELDS,
        FAAS_FIELD(STR, struct body, name, "name", 0, 0, true),
        FAAS_FIELD(STR, struct body, value, "value", 0, 0, false),
        FAAS_FIELD(STR, struct body, value_base64, "value_base64", 0, 0, false),
        FAAS_FIELD_END,
    };
    struct body body = {0};
    faas_code rc = read_body(call, fields, &body, err);

    if (rc == FAAS_OK)
        rc = set_from_body(state, call, &body, out_reply, err);
    faas_json_wipe(call->body);
    faas_msg_wipe(call->msg);
    return rc;
}

/* ---- removing ---- */

static faas_code remove_round(struct registry *reg, const struct faas_ctx *caller, const char *name,
                              const struct store_head *head, uint64_t *out_seq, faas_err *err)
{
    char key[SECRET_KEY_MAX];
    int64_t none;
    bool is_done;

    *out_seq = head->revision;
    FAAS_TRY(faas_done_find(head->doc, caller, &is_done, &none, err));
    if (is_done) /* by another instance */
        return FAAS_OK;
    if (head->is_gone)
        return faas_fail(err, FAAS_NOT_FOUND, "you have no secret of this name");
    secret_key(caller->tenant, name, key);
    return store_bury(reg->secrets.kv, key, caller, head, out_seq, err);
}

faas_code secrets_drop(struct registry *reg, const struct faas_ctx *caller, const char *name,
                       faas_err *err)
{
    struct secrets *secrets = &reg->secrets;
    char key[SECRET_KEY_MAX];
    uint64_t seq = 0;
    faas_code rc = FAAS_CONFLICT;

    secret_key(caller->tenant, name, key);
    for (int round = 0; round < ROUNDS_MAX && rc == FAAS_CONFLICT; round++) {
        struct store_head head = {0};

        FAAS_TRY(secret_users_check(reg, caller, name, err)); /* no other round settles this */
        FAAS_TRY(store_look_at(secrets->kv, key, caller->deadline_ns, &head, err));
        rc = remove_round(reg, caller, name, &head, &seq, err);
        store_head_done(&head);
    }
    FAAS_TRY(rc);
    return seen_everywhere(secrets, caller, seq, err);
}

/* faas.registry.secret_remove; an empty answer. */
faas_code secrets_on_remove(void *state, const struct faas_call *call, json_t **out_reply,
                            faas_err *err)
{
    static const struct faas_json_field fields[] = {
        NAME_FIELDS,
        FAAS_FIELD(STR, struct body, name, "name", 0, 0, true),
        FAAS_FIELD_END,
    };
    struct body body = {0};

    *out_reply = NULL;
    FAAS_TRY(read_body(call, fields, &body, err));
    return secrets_drop(state, call->ctx, body.name, err);
}

/* ---- functions that name them ---- */

/* Where this process has not heard of it, the leader is asked. */
static faas_code check_exists(struct secrets *secrets, const struct faas_ctx *caller,
                              const char *name, faas_err *err)
{
    FAAS_AUTO(json_t) *doc = NULL;
    char key[SECRET_KEY_MAX];
    uint64_t revision;
    faas_code rc;

    if (secret_index_has(&secrets->index, caller->tenant, name))
        return FAAS_OK;
    secret_key(caller->tenant, name, key);
    rc = load(secrets, key, caller->deadline_ns, &doc, &revision, err);
    if (rc == FAAS_NOT_FOUND)
        return faas_fail(err, FAAS_UNPROCESSABLE,
                         "secrets: you have no secret named %s; set it first (POST /v1/secrets, "
                         "`faas secret set`)",
                         name);
    return rc;
}

faas_code secrets_check(struct secrets *secrets, const struct faas_ctx *caller,
                        const json_t *function, faas_err *err)
{
    const json_t *names = json_object_get(function, "secrets");
    json_t *name;
    size_t i;

    json_array_foreach (names, i, name)
        FAAS_TRY(check_exists(secrets, caller, json_string_value(name), err));
    return FAAS_OK;
}

/* ---- for spawners ---- */

struct question {
    const char *tenant, *name, *public_key;
};

static faas_code reseal(const struct secrets *secrets, const struct question *question,
                        const struct faas_sealed_value *stored, char **out_sealed, faas_err *err)
{
    char key[SECRET_KEY_MAX];
    struct faas_sealed_value value = {.label = stored->label};
    void *bytes = NULL;
    faas_err why = {0};
    faas_code rc;

    secret_key(question->tenant, question->name, key);
    rc = faas_unseal(secrets->key, key, stored->bytes, &bytes, &value.len, &why);
    if (rc == FAAS_INVALID) {
        (void)faas_fail(err, FAAS_UNAVAILABLE,
                        "it was sealed to another key than the registry's of now; set it again");
        return faas_err_detail(err, "%s", why.msg);
    }
    if (rc != FAAS_OK) {
        *err = why;
        return rc;
    }
    value.bytes = bytes;
    rc = faas_seal(question->public_key, &value, out_sealed, err);
    sodium_free(bytes);
    return rc;
}

/* faas.registry.spawner.secret: {"v":1,"tenant","name","public_key"} -> {"v":1,"revision","sealed"},
 * sealed under the label "<bucket's key>@<revision>". */
faas_code secrets_on_ask(void *state, const struct faas_call *call, json_t **out_reply,
                         faas_err *err)
{
    static const struct faas_json_field fields[] = {
        FAAS_FIELD(STR, struct question, tenant, "tenant", 36, 36, true),
        FAAS_FIELD(STR, struct question, name, "name", 1, FAAS_FUNCTION_NAME_MAX, true),
        FAAS_FIELD(STR, struct question, public_key, "public_key", FAAS_SEALED_PUBLIC - 1,
                   FAAS_SEALED_PUBLIC - 1, true),
        FAAS_FIELD_END,
    };
    struct secrets *secrets = secrets_of(state);
    struct question question;
    FAAS_AUTO(json_t) *doc = NULL;
    FAAS_AUTO(char) *sealed = NULL;
    char key[SECRET_KEY_MAX], label[ASK_LABEL];
    struct faas_sealed_value stored = {.label = label};
    uint64_t revision;
    faas_code rc;

    FAAS_TRY(faas_json_decode(call->body, fields, FAAS_JSON_TOLERANT, &question, err));
    if (question.name[0] != FAAS_LOGIN_MARK) /* a registry's host follows */
        FAAS_TRY(faas_function_name_check(question.name, err));
    FAAS_TRY(check_key(secrets, err));
    secret_key(question.tenant, question.name, key);
    rc = load(secrets, key, call->ctx->deadline_ns, &doc, &revision, err);
    if (rc == FAAS_NOT_FOUND)
        return faas_fail(err, FAAS_NOT_FOUND, "there is no secret named %s", question.name);
    FAAS_TRY(rc);
    (void)snprintf(label, sizeof label, "%s@%llu", key, (unsigned long long)revision);
    stored.bytes = json_string_value(json_object_get(doc, "sealed"));
    if (stored.bytes == NULL)
        return faas_fail_sys(err, EPROTO, "stored secret: no value");
    FAAS_TRY(reseal(secrets, &question, &stored, &sealed, err));
    *out_reply =
        json_pack("{s:i, s:I, s:s}", "v", 1, "revision", (json_int_t)revision, "sealed", sealed);
    return *out_reply != NULL ? FAAS_OK : faas_fail_sys(err, ENOMEM, "secret");
}
