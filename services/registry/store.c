#include "store.h"

#include "function.h"

#include "base/clock.h"
#include "base/done.h"
#include "base/id.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define NAME_HASH_HEX 32

void store_head_key(const char *tenant, const char *name, char out_key[STORE_KEY_MAX])
{
    char hash[FAAS_HASH_TEXT];

    faas_hash_text(name, strlen(name), hash);
    snprintf(out_key, STORE_KEY_MAX, "f.%s.%.*s", tenant, NAME_HASH_HEX, hash);
}

void store_version_key(const char *tenant, const char *id, int64_t version,
                       char out_key[STORE_KEY_MAX])
{
    snprintf(out_key, STORE_KEY_MAX, "v.%s.%s.%" PRId64, tenant, id, version);
}

static faas_code get(faas_kv *kv, const char *key, uint64_t deadline_ns,
                     struct store_head *out_head, faas_err *err)
{
    struct faas_kv_entry entry = {0};
    faas_code rc;

    FAAS_TRY(faas_kv_get(kv, key, deadline_ns, &entry, err));
    rc = function_parse(entry.value, entry.len, &out_head->doc, err);
    out_head->revision = entry.revision;
    faas_kv_entry_done(&entry);
    return rc;
}

faas_code store_get(faas_kv *kv, const struct faas_ctx *caller, const char *name,
                    struct store_head *out_head, faas_err *err)
{
    char key[STORE_KEY_MAX];
    faas_code rc;

    store_head_key(caller->tenant, name, key);
    rc = get(kv, key, caller->deadline_ns, out_head, err);
    return rc == FAAS_NOT_FOUND ? store_not_found(err) : rc;
}

faas_code store_not_found(faas_err *err)
{
    return faas_fail(err, FAAS_NOT_FOUND, "you have no function of this name");
}

faas_code store_look_at(faas_kv *kv, const char *key, uint64_t deadline_ns,
                        struct store_head *out_head, faas_err *err)
{
    struct faas_kv_entry entry = {0};
    faas_err why = {0};
    faas_code rc = faas_kv_look(kv, key, deadline_ns, &entry, &why);

    if (rc != FAAS_OK && rc != FAAS_NOT_FOUND) {
        *err = why;
        return rc;
    }
    out_head->revision = entry.revision;
    out_head->is_gone = rc == FAAS_NOT_FOUND || entry.is_delete;
    rc = FAAS_OK;
    if (entry.len > 0 || !out_head->is_gone) /* an older release leaves nothing behind */
        rc = faas_json_parse(entry.value, entry.len, false, &out_head->doc, &why);
    faas_kv_entry_done(&entry);
    return rc == FAAS_OK ? FAAS_OK : faas_fail_sys(err, EPROTO, "stored record: %s", why.msg);
}

faas_code store_look(faas_kv *kv, const struct faas_ctx *caller, const char *name,
                     struct store_head *out_head, faas_err *err)
{
    char key[STORE_KEY_MAX];
    faas_code rc;

    store_head_key(caller->tenant, name, key);
    FAAS_TRY(store_look_at(kv, key, caller->deadline_ns, out_head, err));
    rc = out_head->is_gone ? FAAS_OK : function_check(out_head->doc, err);
    if (rc != FAAS_OK)
        store_head_done(out_head);
    return rc;
}

void store_head_done(struct store_head *head)
{
    if (head == NULL)
        return;
    json_decref(head->doc);
    *head = (struct store_head){0};
}

faas_code store_bury(faas_kv *kv, const char *key, const struct faas_ctx *caller,
                     const struct store_head *head, uint64_t *out_seq, faas_err *err)
{
    FAAS_AUTO(json_t) *word = json_pack("{s:i}", "v", 1);
    FAAS_AUTO(char) *text = NULL;
    size_t len = 0;

    FAAS_TRY(faas_done_note(word, head->doc, caller->id, 0, err));
    text = word != NULL ? faas_json_text(word, &len) : NULL;
    if (text == NULL)
        return faas_fail_sys(err, ENOMEM, "a record");
    return faas_kv_bury(kv, key, head->revision, text, len, caller->deadline_ns, out_seq, err);
}

faas_code store_delete(faas_kv *kv, const struct faas_ctx *caller, const char *name,
                       const struct store_head *head, uint64_t *out_seq, faas_err *err)
{
    char key[STORE_KEY_MAX];

    store_head_key(caller->tenant, name, key);
    return store_bury(kv, key, caller, head, out_seq, err);
}

faas_code store_keep_version(faas_kv *kv, const struct faas_ctx *caller, const json_t *doc,
                             faas_err *err)
{
    char key[STORE_KEY_MAX];
    size_t len = 0;
    FAAS_AUTO(char) *text = faas_json_text(doc, &len);
    faas_err why = {0};
    faas_code rc;

    if (text == NULL)
        return faas_fail_sys(err, ENOMEM, "function record");
    store_version_key(caller->tenant, function_id(doc), function_version(doc), key);
    rc = faas_kv_put(kv, key, 0, text, len, caller->deadline_ns, NULL, &why);
    if (rc == FAAS_OK || rc == FAAS_CONFLICT)
        return FAAS_OK;
    if (err != NULL)
        *err = why;
    return rc;
}

faas_code store_get_version(faas_kv *kv, const struct faas_ctx *caller, const char *id,
                            int64_t version, json_t **out_doc, faas_err *err)
{
    char key[STORE_KEY_MAX];
    struct store_head entry = {0};
    faas_code rc;

    store_version_key(caller->tenant, id, version, key);
    rc = get(kv, key, caller->deadline_ns, &entry, err);
    if (rc == FAAS_NOT_FOUND)
        return faas_fail(err, FAAS_NOT_FOUND, "the function has no version %" PRId64, version);
    if (rc == FAAS_OK)
        *out_doc = entry.doc;
    return rc;
}

/* ---- a head and its version ---- */

faas_code store_put(faas_kv *kv, const struct faas_ctx *caller, struct store_write *write,
                    faas_err *err)
{
    char key[STORE_KEY_MAX], op[33];

    faas_random_token(op);
    FAAS_TRY(faas_done_note(write->doc, write->before->doc, caller->id,
                            function_version(write->doc), err));
    if (json_object_set_new(write->doc, "op", json_string(op)) == 0)
        write->text = faas_json_text(write->doc, &write->len);
    if (write->text == NULL)
        return faas_fail_sys(err, ENOMEM, "function record");
    store_head_key(caller->tenant, function_name(write->doc), key);
    return faas_kv_put(kv, key, write->before->revision, write->text, write->len,
                       caller->deadline_ns, &write->seq, err);
}

void store_put_version(faas_kv *kv, const struct faas_ctx *caller, const struct store_write *write,
                       faas_kv_done *done, void *arg)
{
    char key[STORE_KEY_MAX];

    store_version_key(caller->tenant, function_id(write->doc), function_version(write->doc), key);
    faas_kv_put_async(kv, key, 0, write->text, write->len, faas_deadline_in_ms(STORE_VERSION_MS),
                      done, arg);
}

void store_write_done(struct store_write *write)
{
    free(write->text);
    *write = (struct store_write){0};
}
