/* Requests that change a function. */
#include "registry.h"

#include "store.h"

#include "base/clock.h"
#include "base/done.h"
#include "base/log.h"
#include "contract.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEEN_MS       15000 /* longest wait for the readers of the bucket */
#define ROUNDS_MAX    10    /* lost races before a change is given up */
#define QUOTA_AGAIN_S 60    /* time does not help; something must be deleted */
#define TAKEN         "name: you have a function of this name already; update it, or choose another"

struct change;
/* The head that is to be in place of this one; *out_next NULL: nothing is to be changed. */
typedef faas_code change_build(struct change *change, const json_t *head, json_t **out_next,
                               faas_err *err);

/* One change of one function; several rounds when others change it at the same time. */
struct change {
    struct registry *reg;
    const struct faas_ctx *caller;
    change_build *build;
    const struct function_want *want; /* NULL but for a change by its fields */
    enum function_verb verb;
    bool may_touch_image;
    const char *name;
    int64_t version;                    /* of a rollback */
    const struct registry_alias *alias; /* of a change of aliases */
    json_t *resolved;                   /* owned; what resolved_for means, asked once */
    char *resolved_for;                 /* owned */
    json_t *record;                     /* owned; the public result */
};

static void change_done(struct change *change)
{
    json_decref(change->resolved);
    json_decref(change->record);
    free(change->resolved_for);
}

static faas_code publish(const json_t *doc, json_t **out_record, faas_err *err)
{
    *out_record = function_public(doc);
    return *out_record != NULL ? FAAS_OK : faas_fail_sys(err, ENOMEM, "encode record");
}

/* The write is stored; from the answer on, everybody's next look sees it. */
static faas_code seen_everywhere(struct registry *reg, const struct faas_ctx *caller, uint64_t seq,
                                 faas_err *err)
{
    int64_t left = faas_left_ms(caller->deadline_ns);
    int64_t wait = left < SEEN_MS ? left : SEEN_MS;
    faas_code rc = faas_members_wait_applied(reg->members, FAAS_BUCKET_FUNCTIONS, seq,
                                             faas_deadline_in_ms(wait), err);

    if (rc == FAAS_TIMEOUT)
        return faas_fail(err, FAAS_UNAVAILABLE,
                         "the change is stored, but not every part of the platform has confirmed "
                         "in time that it sees it");
    return rc;
}

/* The head that is about to be replaced stays as a version.  Our read model may know of less than
 * there is and never of more; a write for nothing would cost a third. */
static faas_code keep_version(struct registry *reg, const struct faas_ctx *caller,
                              const json_t *head, faas_err *err)
{
    const struct catalog_version version = {
        .tenant = caller->tenant, .id = function_id(head), .number = function_version(head)};
    bool is_kept = kept_has(&reg->kept, version.id, version.number);

    if (is_kept ||
        (catalog_has_version(reg->follow.cat, &version, &is_kept, NULL) == FAAS_OK && is_kept))
        return FAAS_OK;
    return store_keep_version(reg->functions, caller, head, err);
}

/* What the caller wants the function to run in; NULL: what there is. */
static const char *wanted_isolation(const struct function_want *want)
{
    return want != NULL ? json_string_value(json_object_get(want->body, "isolation")) : NULL;
}

struct entry { /* of a version, on its way; owned by its writing */
    struct kept *kept;
    char id[FAAS_UUID_TEXT];
    int64_t number;
};

static void log_missing(const char *id, int64_t number, const faas_err *err)
{
    FAAS_LOG(WARN, "a version entry was not written, the next change will",
             FAAS_LSTR("function", id), FAAS_LINT("version", number), FAAS_LSTR("error", err->msg),
             FAAS_LSTR("detail", err->detail));
}

static void on_entry_written(void *arg, faas_code code, const struct faas_kv_entry *written,
                             const faas_err *err)
{
    FAAS_AUTO(void) *owned = arg;
    const struct entry *entry = arg;
    bool is_stored = code == FAAS_OK || code == FAAS_CONFLICT; /* it was there already */

    (void)written;
    if (!is_stored)
        log_missing(entry->id, entry->number, err);
    kept_end(entry->kept, entry->id, entry->number, is_stored);
}

/* The head is stored, and is this version for everyone who reads: so nobody waits for the entry
 * but the next change, and a process that leaves. */
static void write_entry(struct registry *reg, const struct faas_ctx *caller,
                        const struct store_write *write)
{
    struct entry *entry = malloc(sizeof *entry);
    faas_err err = {0};

    if (entry != NULL) {
        *entry = (struct entry){.kept = &reg->kept, .number = function_version(write->doc)};
        (void)snprintf(entry->id, sizeof entry->id, "%s", function_id(write->doc));
        if (kept_begin(&reg->kept, entry->id, entry->number)) {
            store_put_version(reg->functions, caller, write, on_entry_written, entry);
            return;
        }
        free(entry);
    }
    if (store_keep_version(reg->functions, caller, write->doc, &err) != FAAS_OK)
        log_missing(function_id(write->doc), function_version(write->doc), &err);
}

/* doc becomes the head in place of before, and a version where it is a new one; then everybody sees
 * it. */
static faas_code write_head(struct registry *reg, const struct faas_ctx *caller, json_t *doc,
                            const struct store_head *before, faas_err *err)
{
    struct store_write write = {.doc = doc, .before = before};
    faas_code rc = store_put(reg->functions, caller, &write, err);

    if (rc == FAAS_OK) {
        if (before->is_gone || function_version(before->doc) != function_version(doc))
            write_entry(reg, caller, &write);
        rc = seen_everywhere(reg, caller, write.seq, err);
    }
    store_write_done(&write);
    return rc;
}

/* ---- asked again ---- */

/* The record that this very request made, when another instance carried it out before; or NULL. */
static faas_code find_done(struct registry *reg, const struct faas_ctx *caller,
                           const struct store_head *head, json_t **out_record, faas_err *err)
{
    FAAS_AUTO(json_t) *doc = NULL;
    int64_t version = 0;
    bool is_done;

    FAAS_TRY(faas_done_find(head->doc, caller, &is_done, &version, err));
    if (!is_done)
        return FAAS_OK;
    if (head->is_gone)
        return faas_done_unsure(err); /* what it made was deleted since */
    if (version == function_version(head->doc))
        doc = json_incref(head->doc);
    else
        FAAS_TRY(
            store_get_version(reg->functions, caller, function_id(head->doc), version, &doc, err));
    FAAS_TRY(seen_everywhere(reg, caller, head->revision, err));
    return publish(doc, out_record, err);
}

/* ---- create ---- */

/* Counts what the list shows, so parallel registrations may pass the bound by their number. */
static faas_code check_quota(struct registry *reg, const struct faas_ctx *caller, int64_t most,
                             faas_err *err)
{
    int64_t count = 0;

    if (!follow_is_ready(&reg->follow))
        return faas_fail(err, FAAS_UNAVAILABLE,
                         "the list of functions is being built, so yours cannot be counted; try "
                         "again in a moment");
    FAAS_TRY(catalog_count(reg->follow.cat, caller->tenant, &count, err));
    if (count >= most)
        return faas_fail_busy(
            err, QUOTA_AGAIN_S,
            "you have %lld functions, the most allowed (quota functions); delete one first",
            (long long)count);
    return FAAS_OK;
}

static faas_code make(struct registry *reg, const struct faas_ctx *caller,
                      const struct function_want *want, json_t **out_doc, faas_err *err)
{
    FAAS_AUTO(json_t) *doc = NULL;
    FAAS_AUTO(json_t) *resolved = NULL;
    struct resolver_want image = {.image = want->payload};

    FAAS_TRY(function_make(want, caller, &doc, err));
    image.isolation = wanted_isolation(want);
    image.is_needed = image.isolation != NULL;
    FAAS_TRY(resolver_ask(&reg->resolver, caller, &image, &resolved, err));
    FAAS_TRY(function_set_image(doc, resolved, err));
    FAAS_TRY(secrets_check(&reg->secrets, caller, doc, err));
    *out_doc = FAAS_STEAL(doc);
    return FAAS_OK;
}

/* CONFLICT: something was written there in between; another round finds what. */
static faas_code create_over(struct registry *reg, const struct faas_ctx *caller,
                             const struct function_want *want, const struct store_head *gone,
                             json_t **doc, faas_err *err)
{
    if (*doc == NULL)
        FAAS_TRY(make(reg, caller, want, doc, err));
    return write_head(reg, caller, *doc, gone, err);
}

faas_code registry_create(struct registry *reg, const struct faas_ctx *caller,
                          const struct function_want *want, int64_t most, json_t **out_record,
                          faas_err *err)
{
    FAAS_AUTO(json_t) *doc = NULL;
    FAAS_AUTO(json_t) *record = NULL;
    bool is_final = false;
    faas_code rc = FAAS_CONFLICT;

    for (int round = 0; round < ROUNDS_MAX && rc == FAAS_CONFLICT && !is_final; round++) {
        struct store_head head = {0};

        FAAS_TRY(store_look(reg->functions, caller, want->name, &head, err));
        rc = find_done(reg, caller, &head, &record, err);
        is_final = !head.is_gone;
        if (rc == FAAS_OK && record == NULL && !is_final && doc == NULL)
            rc = check_quota(reg, caller, most, err);
        if (rc == FAAS_OK && record == NULL)
            rc = is_final ? faas_fail(err, FAAS_CONFLICT, TAKEN)
                          : create_over(reg, caller, want, &head, &doc, err);
        store_head_done(&head);
    }
    FAAS_TRY(rc);
    if (record == NULL)
        return publish(doc, out_record, err);
    *out_record = FAAS_STEAL(record);
    return FAAS_OK;
}

/* ---- change, refresh ---- */

/* Whatever the rounds, one reference is resolved once.  Without another word a function stays in
 * what it runs in. */
static faas_code resolve(struct change *change, const json_t *head, const char *payload,
                         faas_err *err)
{
    struct resolver_want image = {.image = payload, .isolation = wanted_isolation(change->want)};
    json_t *resolved = NULL;

    image.is_needed = image.isolation != NULL;
    if (!image.is_needed && change->verb != FUNCTION_REPLACE)
        image.isolation = function_isolation(head);
    if (change->resolved_for != NULL && strcmp(change->resolved_for, payload) == 0)
        return FAAS_OK;
    FAAS_TRY(resolver_ask(&change->reg->resolver, change->caller, &image, &resolved, err));
    json_decref(change->resolved);
    free(change->resolved_for);
    change->resolved = resolved;
    change->resolved_for = strdup(payload);
    return change->resolved_for != NULL ? FAAS_OK : faas_fail_sys(err, errno, "image reference");
}

/* Where a function runs is where its image was found: another isolation finds it anew. */
static bool is_moving(const struct function_want *want, const json_t *head)
{
    const char *wanted = wanted_isolation(want);

    return wanted != NULL && strcmp(wanted, function_isolation(head)) != 0;
}

static faas_code check_count(const struct change *change, const json_t *next, faas_err *err)
{
    if (function_version(next) > change->reg->versions_max)
        return faas_fail_busy(err, QUOTA_AGAIN_S,
                              "the function has %lld versions, the most allowed; delete it and "
                              "register it again",
                              (long long)change->reg->versions_max);
    return FAAS_OK;
}

static bool names_secrets(const struct function_want *want)
{
    return want != NULL && json_object_get(want->body, "secrets") != NULL;
}

/* The fields of a body, or another look for the image. */
static faas_code build_next(struct change *change, const json_t *head, json_t **out_next,
                            faas_err *err)
{
    FAAS_AUTO(json_t) *next = NULL;

    if (change->want == NULL) {
        FAAS_TRY(function_next(head, &next, err));
    } else {
        FAAS_TRY(function_change(head, change->want, change->verb, &next, err));
        if (change->verb == FUNCTION_UPDATE && change->want->is_empty)
            return FAAS_OK;
    }
    if (change->want == NULL || change->want->payload != NULL || is_moving(change->want, head)) {
        FAAS_TRY(resolve(change, head, function_payload(next), err));
        FAAS_TRY(function_set_image(next, change->resolved, err));
    } else {
        FAAS_TRY(function_tell_isolation(next, err)); /* stays, where null asked for a default */
    }
    if (change->want == NULL ? function_same_image(head, next) : json_equal(head, next) != 0)
        return FAAS_OK;
    if (names_secrets(change->want))
        FAAS_TRY(secrets_check(&change->reg->secrets, change->caller, next, err));
    FAAS_TRY(check_count(change, next, err));
    *out_next = FAAS_STEAL(next);
    return FAAS_OK;
}

/* CONFLICT: that is not the head any more, and nothing was changed. */
static faas_code write_next(struct change *change, const struct store_head *head, json_t *next,
                            faas_err *err)
{
    struct registry *reg = change->reg;

    FAAS_TRY(keep_version(reg, change->caller, head->doc, err));
    FAAS_TRY(write_head(reg, change->caller, next, head, err));
    return publish(next, &change->record, err);
}

/* The head as our read model has it. */
static faas_code find_head(const struct change *change, struct store_head *out_head)
{
    char key[STORE_KEY_MAX];
    struct catalog_head found = {0};
    faas_code rc;

    store_head_key(change->caller->tenant, change->name, key);
    FAAS_TRY(catalog_find(change->reg->follow.cat, key, &found, NULL));
    rc = function_parse(found.value, strlen(found.value), &out_head->doc, NULL);
    out_head->revision = found.revision;
    free(found.value);
    return rc;
}

/* Our read model nearly always has the newest head, which saves asking the leader for it.  It
 * decides nothing: either a write comes of it, which compares revisions, or CONFLICT.  Beside finding
 * an image, asking the leader takes no time; and an image is looked for once. */
static faas_code guess_round(struct change *change, faas_err *err)
{
    struct store_head head = {0};
    FAAS_AUTO(json_t) *next = NULL;
    bool is_asked = change->may_touch_image || change->caller->is_again;
    faas_code rc = is_asked ? FAAS_CONFLICT : find_head(change, &head);
    int64_t version;

    if (rc == FAAS_OK && faas_done_has(head.doc, change->caller->id, &version))
        rc = FAAS_CONFLICT; /* this process was held up, and another has done it */
    if (rc == FAAS_OK)
        rc = change->build(change, head.doc, &next, err);
    if (rc == FAAS_OK && next != NULL)
        rc = write_next(change, &head, next, err);
    else
        rc = FAAS_CONFLICT;
    store_head_done(&head);
    return rc;
}

/* CONFLICT: somebody else changed the function in between; another round. */
static faas_code change_round(struct change *change, const struct store_head *head, faas_err *err)
{
    FAAS_AUTO(json_t) *next = NULL;

    FAAS_TRY(find_done(change->reg, change->caller, head, &change->record, err));
    if (change->record != NULL)
        return FAAS_OK;
    if (head->is_gone)
        return store_not_found(err);
    FAAS_TRY(change->build(change, head->doc, &next, err));
    if (next == NULL)
        return publish(head->doc, &change->record, err);
    return write_next(change, head, next, err);
}

static bool is_stale(const struct change *change, const struct store_head *head)
{
    return change->want != NULL && change->want->version != 0 &&
           change->want->version != function_version(head->doc);
}

/* A caller that named the version it saw is told; others meant whatever is there. */
static faas_code change_rounds(struct change *change, faas_err *err)
{
    faas_code rc = guess_round(change, err);

    for (int round = 0; round < ROUNDS_MAX && rc == FAAS_CONFLICT; round++) {
        struct store_head head = {0};
        bool is_final;

        FAAS_TRY(store_look(change->reg->functions, change->caller, change->name, &head, err));
        is_final = !head.is_gone && is_stale(change, &head);
        rc = change_round(change, &head, err);
        store_head_done(&head);
        if (is_final)
            break;
    }
    return rc;
}

static faas_code run_change(struct change *change, json_t **out_record, faas_err *err)
{
    faas_code rc = change_rounds(change, err);

    if (rc == FAAS_OK)
        *out_record = FAAS_STEAL(change->record);
    change_done(change);
    return rc;
}

/* A publisher of an older release would call the function all the same. */
static faas_code check_readers(struct registry *reg, faas_err *err)
{
    if (reg->publishers_level < FAAS_LEVEL_VERSIONS)
        return faas_fail(err, FAAS_UNAVAILABLE,
                         "a publisher of an older release is running, which would not heed it; "
                         "replace it first");
    return FAAS_OK;
}

faas_code registry_change(struct registry *reg, const struct faas_ctx *caller,
                          const struct function_want *want, enum function_verb verb,
                          json_t **out_record, faas_err *err)
{
    struct change change = {
        .reg = reg,
        .caller = caller,
        .build = build_next,
        .want = want,
        .verb = verb,
        .may_touch_image = want->payload != NULL || wanted_isolation(want) != NULL,
        .name = want->name,
    };

    if (want->is_disabling)
        FAAS_TRY(check_readers(reg, err));
    return run_change(&change, out_record, err);
}

faas_code registry_refresh(struct registry *reg, const struct faas_ctx *caller, const char *name,
                           json_t **out_record, faas_err *err)
{
    struct change change = {
        .reg = reg, .caller = caller, .build = build_next, .may_touch_image = true, .name = name};

    return run_change(&change, out_record, err);
}

/* ---- rollback, aliases ---- */

static faas_code build_back(struct change *change, const json_t *head, json_t **out_next,
                            faas_err *err)
{
    FAAS_AUTO(json_t) *version = NULL;
    FAAS_AUTO(json_t) *next = NULL;

    if (change->version == function_version(head))
        return FAAS_OK;
    FAAS_TRY(store_get_version(change->reg->functions, change->caller, function_id(head),
                               change->version, &version, err));
    FAAS_TRY(function_back(head, version, &next, err));
    FAAS_TRY(secrets_check(&change->reg->secrets, change->caller, next, err));
    FAAS_TRY(check_count(change, next, err));
    *out_next = FAAS_STEAL(next);
    return FAAS_OK;
}

faas_code registry_rollback(struct registry *reg, const struct faas_ctx *caller, const char *name,
                            int64_t version, json_t **out_record, faas_err *err)
{
    struct change change = {
        .reg = reg, .caller = caller, .build = build_back, .name = name, .version = version};

    return run_change(&change, out_record, err);
}

static faas_code check_version(const struct change *change, const json_t *head, int64_t version,
                               faas_err *err)
{
    FAAS_AUTO(json_t) *doc = NULL;

    if (version == function_version(head))
        return FAAS_OK;
    return store_get_version(change->reg->functions, change->caller, function_id(head), version,
                             &doc, err);
}

static faas_code build_aliases(struct change *change, const json_t *head, json_t **out_next,
                               faas_err *err)
{
    const struct registry_alias *want = change->alias;
    FAAS_AUTO(json_t) *next = NULL;
    const char *version;
    json_t *weight;

    json_object_foreach (want->parts, version, weight)
        FAAS_TRY(check_version(change, head, strtoll(version, NULL, 10), err));
    FAAS_TRY(function_set_alias(head, want->alias, want->parts, &next, err));
    if (json_equal(head, next) == 0)
        *out_next = FAAS_STEAL(next);
    return FAAS_OK;
}

faas_code registry_alias(struct registry *reg, const struct faas_ctx *caller,
                         const struct registry_alias *want, faas_err *err)
{
    struct change change = {.reg = reg,
                            .caller = caller,
                            .build = build_aliases,
                            .name = want->function,
                            .alias = want};
    FAAS_AUTO(json_t) *record = NULL;

    return run_change(&change, &record, err);
}

/* ---- delete ---- */

/* CONFLICT: somebody else changed it in between. */
static faas_code delete_round(struct registry *reg, const struct faas_ctx *caller, const char *name,
                              const struct store_head *head, uint64_t *out_seq, faas_err *err)
{
    int64_t none;
    bool is_done;

    *out_seq = head->revision;
    FAAS_TRY(faas_done_find(head->doc, caller, &is_done, &none, err));
    if (is_done) /* by another instance */
        return FAAS_OK;
    if (head->is_gone)
        return store_not_found(err);
    return store_delete(reg->functions, caller, name, head, out_seq, err);
}

faas_code registry_delete(struct registry *reg, const struct faas_ctx *caller, const char *name,
                          faas_err *err)
{
    faas_code rc = FAAS_CONFLICT;
    uint64_t seq = 0;

    for (int round = 0; round < ROUNDS_MAX && rc == FAAS_CONFLICT; round++) {
        struct store_head head = {0};

        FAAS_TRY(store_look(reg->functions, caller, name, &head, err));
        rc = delete_round(reg, caller, name, &head, &seq, err);
        store_head_done(&head);
    }
    FAAS_TRY(rc);
    return seen_everywhere(reg, caller, seq, err);
}
