#include "invite.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define CODE_LEN     32
#define TAKE_BACK_MS 5000

static faas_code refuse(faas_err *err)
{
    return faas_fail(err, FAAS_DENIED,
                     "invitation: not known, used already, or expired; ask the operator for "
                     "another one");
}

static bool is_code(const char *code)
{
    return strlen(code) == CODE_LEN && strspn(code, "0123456789abcdef") == CODE_LEN;
}

static void key_of(const char *code, char out_key[ACCOUNT_KEY_MAX])
{
    char hash[FAAS_HASH_TEXT];

    faas_hash_text(code, strlen(code), hash);
    snprintf(out_key, ACCOUNT_KEY_MAX, "i.%s", hash);
}

/* Writes the record in the place of invite->revision. */
static faas_code put(faas_kv *users, struct invite *invite, bool is_claimed, uint64_t deadline_ns,
                     faas_err *err)
{
    FAAS_AUTO(json_t) *record = NULL;
    FAAS_AUTO(char) *text = NULL;
    char op[33];

    faas_random_token(op);
    record = json_pack("{s:i, s:s, s:I, s:b, s:s*}", "v", 1, "op", op, "expires_at",
                       (json_int_t)invite->expires_at, "claimed", is_claimed, "claimed_by",
                       is_claimed ? invite->request : NULL);
    text = record != NULL ? faas_json_text(record, NULL) : NULL;
    if (text == NULL)
        return faas_fail_sys(err, ENOMEM, "invitation record");
    return faas_kv_put(users, invite->key, invite->revision, text, strlen(text), deadline_ns,
                       &invite->revision, err);
}

faas_code invite_make(faas_kv *users, int64_t life_s, uint64_t deadline_ns, json_t **out_reply,
                      faas_err *err)
{
    struct invite invite = {.expires_at = faas_wall_ms() + life_s * 1000};
    char code[CODE_LEN + 1], when[FAAS_TIME_TEXT];

    faas_random_token(code);
    key_of(code, invite.key);
    FAAS_TRY(put(users, &invite, false, deadline_ns, err));
    faas_time_format(invite.expires_at, when);
    *out_reply = json_pack("{s:s, s:s}", "invitation", code, "expires_at", when);
    return *out_reply != NULL ? FAAS_OK : faas_fail_sys(err, ENOMEM, "encode reply");
}

struct stored {
    int64_t expires_at;
    bool is_claimed, is_ours;
    const char *claimed_by; /* while it is parsed */
};

static faas_code read_stored(const struct faas_kv_entry *entry, const char *request,
                             struct stored *out, faas_err *err)
{
    static const struct faas_json_field fields[] = {
        FAAS_FIELD(INT, struct stored, expires_at, "expires_at", 0, 0, true),
        FAAS_FIELD(BOOL, struct stored, is_claimed, "claimed", 0, 0, true),
        FAAS_FIELD(STR, struct stored, claimed_by, "claimed_by", 0, 0, false),
        FAAS_FIELD_END,
    };
    FAAS_AUTO(json_t) *doc = NULL;
    faas_err why = {0};

    if (faas_json_parse(entry->value, entry->len, false, &doc, &why) != FAAS_OK ||
        faas_json_decode(doc, fields, FAAS_JSON_TOLERANT, out, &why) != FAAS_OK)
        return faas_fail_sys(err, EPROTO, "stored invitation: %s", why.msg);
    out->is_ours =
        request[0] != '\0' && out->claimed_by != NULL && strcmp(out->claimed_by, request) == 0;
    out->claimed_by = NULL;
    return FAAS_OK;
}

faas_code invite_find(faas_kv *users, const char *code, const struct faas_ctx *caller,
                      struct invite *out_invite, faas_err *err)
{
    struct faas_kv_entry entry = {0};
    struct stored stored = {0};
    faas_code rc;

    if (code == NULL)
        return faas_fail(err, FAAS_DENIED,
                         "signing up here takes an invitation; ask the operator for one and send "
                         "it as \"invitation\"");
    if (!is_code(code))
        return refuse(err);
    *out_invite = (struct invite){0};
    memcpy(out_invite->request, caller->id, sizeof out_invite->request);
    key_of(code, out_invite->key);
    rc = faas_kv_get(users, out_invite->key, caller->deadline_ns, &entry, err);
    if (rc == FAAS_NOT_FOUND)
        return refuse(err);
    FAAS_TRY(rc);
    out_invite->revision = entry.revision;
    rc = read_stored(&entry, caller->id, &stored, err);
    faas_kv_entry_done(&entry);
    FAAS_TRY(rc);
    out_invite->expires_at = stored.expires_at;
    if (stored.is_ours || (!stored.is_claimed && stored.expires_at > faas_wall_ms()))
        return FAAS_OK;
    if (!stored.is_claimed)
        invite_remove(users, out_invite);
    return refuse(err);
}

faas_code invite_claim(faas_kv *users, struct invite *invite, uint64_t deadline_ns, faas_err *err)
{
    faas_code rc = put(users, invite, true, deadline_ns, err);

    return rc == FAAS_CONFLICT ? refuse(err) : rc;
}

/* What cannot be written here stays claimed, which lets nobody in. */
static void warn(const char *what, const faas_err *err)
{
    FAAS_LOG(WARN, "an invitation stays claimed", FAAS_LSTR("while", what),
             FAAS_LSTR("msg_to_caller", err->msg), FAAS_LSTR("detail", err->detail));
}

void invite_give_back(faas_kv *users, struct invite *invite)
{
    faas_err err = {0};

    if (put(users, invite, false, faas_deadline_in_ms(TAKE_BACK_MS), &err) != FAAS_OK)
        warn("giving it back", &err);
}

void invite_remove(faas_kv *users, const struct invite *invite)
{
    faas_err err = {0};

    if (faas_kv_delete(users, invite->key, invite->revision, faas_deadline_in_ms(TAKE_BACK_MS),
                       NULL, &err) != FAAS_OK)
        warn("removing it", &err);
}
