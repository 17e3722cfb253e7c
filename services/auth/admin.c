/* Requests of administrators, about the accounts of others.  Gateways let nobody else ask; what the
 * caller's role is, the store says here once more. */
#include "auth.h"

#include "account.h"
#include "deletion.h"
#include "store.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"
#include "contract.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PAGE_LIMIT     50
#define PAGE_LIMIT_MAX 200

static faas_code check_admin(const struct auth *auth, const struct faas_call *call, faas_err *err)
{
    struct faas_standing standing = {.is_admin = false};
    int64_t generation;

    if (faas_uuid_is(call->ctx->user))
        FAAS_TRY(store_standing(&auth->store, call->ctx->user, call->ctx->deadline_ns, &generation,
                                &standing, err));
    if (!standing.is_admin || standing.is_disabled)
        return faas_fail(err, FAAS_DENIED, "only an administrator of the platform can do this");
    return FAAS_OK;
}

/* As administrators see it; quotas are those that differ from the platform's.  NULL without memory. */
static json_t *account_json(const struct account *account)
{
    const struct faas_standing *standing = &account->standing;
    FAAS_AUTO(json_t) *quotas = json_object();
    char created[FAAS_TIME_TEXT];

    for (int i = 0; i < FAAS_QUOTA_COUNT; i++) {
        if (standing->quotas[i] != FAAS_QUOTA_DEFAULT &&
            json_object_set_new(quotas, faas_quota_name((enum faas_quota)i),
                                json_integer(standing->quotas[i])) != 0)
            return NULL;
    }
    faas_time_format(account->created_at, created);
    return json_pack("{s:s, s:s, s:s, s:b, s:s, s:O?}", "id", account->id, "username",
                     account->username, "role",
                     standing->is_admin ? FAAS_ROLE_ADMIN : FAAS_ROLE_USER, "disabled",
                     standing->is_disabled, "created_at", created, "quotas", quotas);
}

static faas_code give(const struct account *account, json_t **out_reply, faas_err *err)
{
    *out_reply = account_json(account);
    return *out_reply != NULL ? FAAS_OK : faas_fail_sys(err, ENOMEM, "encode reply");
}

static faas_code find(const struct auth *auth, const struct faas_call *call, const char *name,
                      struct account *out_account, faas_err *err)
{
    char folded[FAAS_USER_NAME_MAX + 1];
    bool is_found = false;

    if (faas_user_name_fold(name, folded, NULL) == FAAS_OK)
        FAAS_TRY(
            store_find(&auth->store, folded, call->ctx->deadline_ns, out_account, &is_found, err));
    return is_found ? FAAS_OK : faas_fail(err, FAAS_NOT_FOUND, "there is no user of this name");
}

/* {"name"} of an administrator */
static faas_code read_user(const struct auth *auth, const struct faas_call *call,
                           struct account *out_account, faas_err *err)
{
    struct want {
        const char *name;
    };
    static const struct faas_json_field fields[] = {
        FAAS_FIELD(STR, struct want, name, "name", 0, 0, true),
        FAAS_FIELD_END,
    };
    struct want want = {0};

    FAAS_TRY(check_admin(auth, call, err));
    FAAS_TRY(faas_json_decode(call->body, fields, FAAS_JSON_STRICT, &want, err));
    return find(auth, call, want.name, out_account, err);
}

/* ---- seeing ---- */

/* A whole number of a query, which is text, or of a body. */
static faas_code read_number(const json_t *value, const char *name, uint64_t max, uint64_t *out,
                             faas_err *err)
{
    const char *text = json_string_value(value);
    size_t digits = text != NULL ? strspn(text, "0123456789") : 0;
    bool is_number = json_is_integer(value) && json_integer_value(value) > 0;

    if (value == NULL || json_is_null(value))
        return FAAS_OK;
    if (is_number)
        *out = (uint64_t)json_integer_value(value);
    else if (digits > 0 && digits < 19 && text[digits] == '\0')
        *out = strtoull(text, NULL, 10);
    else
        *out = 0;
    if (*out == 0 || *out > max)
        return faas_fail(err, FAAS_INVALID, "%s: expected a whole number from 1 to %llu", name,
                         (unsigned long long)max);
    return FAAS_OK;
}

static faas_code read_page(const struct auth *auth, const struct faas_call *call, uint64_t *at,
                           uint64_t *limit, faas_err *err)
{
    struct want {
        json_t *limit, *cursor;
    };
    static const struct faas_json_field fields[] = {
        FAAS_FIELD(ANY, struct want, limit, "limit", 0, 0, false),
        FAAS_FIELD(ANY, struct want, cursor, "cursor", 0, 0, false),
        FAAS_FIELD_END,
    };
    struct want want = {0};

    FAAS_TRY(check_admin(auth, call, err));
    FAAS_TRY(faas_json_decode(call->body, fields, FAAS_JSON_STRICT, &want, err));
    FAAS_TRY(read_number(want.limit, "limit", PAGE_LIMIT_MAX, limit, err));
    return read_number(want.cursor, "cursor", INT64_MAX, at, err);
}

/* One more than the page holds is looked for: is there another page? */
static faas_code fill_page(const struct auth *auth, const struct faas_call *call, uint64_t *at,
                           uint64_t limit, json_t *items, bool *out_has_more, faas_err *err)
{
    struct account account;
    uint64_t next = *at;
    faas_code rc;

    for (;;) {
        faas_err why = {0};
        json_t *item;

        rc = store_next(&auth->store, &next, call->ctx->deadline_ns, &account, &why);
        *out_has_more = rc == FAAS_OK && json_array_size(items) == limit;
        if (rc == FAAS_NOT_FOUND || *out_has_more)
            return FAAS_OK;
        if (rc != FAAS_OK) {
            *err = why;
            return rc;
        }
        item = account_json(&account);
        if (item == NULL || json_array_append_new(items, item) != 0)
            return faas_fail_sys(err, ENOMEM, "a page of users");
        *at = next;
    }
}

/* faas.auth.admin_users: {"items","next_cursor"}, in the order of registration. */
faas_code admin_on_users(void *state, const struct faas_call *call, json_t **out_reply,
                         faas_err *err)
{
    const struct auth *auth = state;
    uint64_t at = 0, limit = PAGE_LIMIT;
    FAAS_AUTO(json_t) *items = json_array();
    char cursor[24];
    bool has_more;

    FAAS_TRY(read_page(auth, call, &at, &limit, err));
    FAAS_TRY(fill_page(auth, call, &at, limit, items, &has_more, err));
    (void)snprintf(cursor, sizeof cursor, "%llu", (unsigned long long)at);
    *out_reply = json_pack("{s:O?, s:s?}", "items", items, "next_cursor", has_more ? cursor : NULL);
    return *out_reply != NULL ? FAAS_OK : faas_fail_sys(err, ENOMEM, "encode reply");
}

/* faas.auth.admin_user */
faas_code admin_on_user(void *state, const struct faas_call *call, json_t **out_reply,
                        faas_err *err)
{
    struct account account;

    FAAS_TRY(read_user(state, call, &account, err));
    return give(&account, out_reply, err);
}

/* faas.auth.admin_whois: for a gateway that asks another service on an administrator's behalf. */
faas_code admin_on_whois(void *state, const struct faas_call *call, json_t **out_reply,
                         faas_err *err)
{
    struct account account;

    FAAS_TRY(read_user(state, call, &account, err));
    *out_reply = json_pack("{s:i, s:s, s:s}", "v", 1, "user", account.id, "tenant", account.tenant);
    return *out_reply != NULL ? FAAS_OK : faas_fail_sys(err, ENOMEM, "encode reply");
}

/* ---- changing ---- */

/* Else the last administrator could leave nobody to undo it.  Two who do it to each other at the same
 * moment still can: docs/ADMIN.md. */
static faas_code check_other(const struct faas_call *call, const struct account *account,
                             const struct sessions_change *change, faas_err *err)
{
    if ((change->disabled == NULL && change->role == NULL) ||
        strcmp(account->id, call->ctx->user) != 0)
        return FAAS_OK;
    return faas_fail(err, FAAS_CONFLICT,
                     "this is your own account; another administrator can disable it or take its "
                     "role away");
}

/* faas.auth.admin_set: from the answer on, every gateway acts by it. */
faas_code admin_on_set(void *state, const struct faas_call *call, json_t **out_reply, faas_err *err)
{
    const struct auth *auth = state;
    uint64_t deadline_ns = call->ctx->deadline_ns, revision = 0;
    struct sessions_change change;
    struct account account;
    const char *name;

    FAAS_TRY(check_admin(auth, call, err));
    FAAS_TRY(sessions_read_change(call->body, &name, &change, err));
    FAAS_TRY(find(auth, call, name, &account, err));
    FAAS_TRY(check_other(call, &account, &change, err));
    FAAS_TRY(store_set_standing(&auth->store, account.id, &change, call->ctx, &revision, err));
    FAAS_LOG(INFO, "an administrator changed an account", FAAS_LSTR("by", call->ctx->user),
             FAAS_LSTR("user", account.id));
    FAAS_TRY(auth_wait_ended(auth, revision, deadline_ns, err));
    FAAS_TRY(find(auth, call, name, &account, err));
    return give(&account, out_reply, err);
}

/* ---- deleting ---- */

/* faas.auth.admin_end: an empty answer.  Nobody deletes their own account here, so an administrator is
 * left. */
faas_code admin_on_end(void *state, const struct faas_call *call, json_t **out_reply, faas_err *err)
{
    const struct auth *auth = state;
    struct account account;
    bool is_done;

    *out_reply = NULL;
    FAAS_TRY(check_admin(auth, call, err));
    FAAS_TRY(deletion_repeat(auth, call->ctx, &is_done, err));
    if (is_done)
        return FAAS_OK;
    FAAS_TRY(read_user(auth, call, &account, err));
    if (strcmp(account.id, call->ctx->user) == 0)
        return faas_fail(err, FAAS_CONFLICT,
                         "this is your own account; another administrator can delete it");
    return deletion_do(auth, &account, call->ctx, err);
}

/* ---- the first one ---- */

static faas_code read_line(int fd, const char *file, char *out_text, size_t room, faas_err *err)
{
    ssize_t len;

    FAAS_TRY(faas_secret_check(fd, file, err));
    len = read(fd, out_text, room - 1);
    if (len < 0)
        return faas_fail_sys(err, errno, "read %s", file);
    out_text[len] = '\0';
    out_text[strcspn(out_text, "\r\n")] = '\0';
    return FAAS_OK;
}

static faas_code read_password(const char *file, const char *name, char *out_text, size_t room,
                               faas_err *err)
{
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    faas_err why = {0};
    faas_code rc;

    if (fd < 0)
        return faas_fail(err, FAAS_INVALID, "AUTH_ADMIN_FILE: %.150s: cannot be opened: %s", file,
                         strerrordesc_np(errno));
    rc = read_line(fd, file, out_text, room, err);
    close(fd);
    FAAS_TRY(rc);
    if (faas_password_check(out_text, name, false, &why) != FAAS_OK)
        return faas_fail(err, FAAS_INVALID, "AUTH_ADMIN_FILE: %.100s: %.80s", file, why.msg);
    return FAAS_OK;
}

/* The role is written before the name: the account has it from its beginning, and what is written
 * for an account that is not made is about nobody. */
static faas_code make(const struct auth *auth, const char *name, const char *password,
                      uint64_t deadline_ns, faas_err *err)
{
    const struct sessions_change change = {.role = FAAS_ROLE_ADMIN};
    const struct faas_ctx nobody = {.deadline_ns = deadline_ns};
    struct account account;
    faas_code rc;

    account_init(&account, name);
    FAAS_TRY(faas_password_hash(password, deadline_ns, account.password, err));
    FAAS_TRY(store_set_standing(&auth->store, account.id, &change, &nobody, NULL, err));
    rc = store_add(&auth->store, &account, deadline_ns, err);
    if (rc == FAAS_OK)
        FAAS_LOG(INFO, "the first administrator was made", FAAS_LSTR("user", account.id));
    return rc == FAAS_CONFLICT ? FAAS_OK : rc; /* another instance was first */
}

faas_code admin_make_first(struct auth *auth, const char *name, const char *file,
                           uint64_t deadline_ns, faas_err *err)
{
    char *folded = auth->first_admin, password[ACCOUNT_PASSWORD_MAX + 2];
    struct account account;
    bool is_found;
    faas_code rc;

    if (faas_user_name_fold(name, folded, NULL) != FAAS_OK)
        return faas_fail(err, FAAS_INVALID, "AUTH_ADMIN: not a user name");
    FAAS_TRY(store_find(&auth->store, folded, deadline_ns, &account, &is_found, err));
    if (is_found && !account.standing.is_admin)
        FAAS_LOG(WARN,
                 "the user AUTH_ADMIN names is no administrator: somebody registered the name, or "
                 "the role was taken away; another name makes another one",
                 FAAS_LSTR("name", folded));
    if (is_found)
        return FAAS_OK;
    FAAS_TRY(read_password(file, folded, password, sizeof password, err));
    rc = make(auth, folded, password, deadline_ns, err);
    sodium_memzero(password, sizeof password);
    return rc;
}
