/* Any bytes either decode within the table's bounds, or fail as INVALID with a message; what a
 * strict reading accepts a tolerant one accepts with the same result; and text written from a
 * document reads back as the same document, if its reals have no more digits than are written. */
#include "base/json.h"
#include "tests/fuzz/claim.h"

struct inner {
    int64_t pids;
    double cpus;
};
struct outer {
    const char *name;
    struct inner limits;
    bool is_idempotent, has_env;
    json_t *env, *command, *extra;
};

static const struct faas_json_field inner_fields[] = {
    FAAS_FIELD(INT, struct inner, pids, "pids", 1, 4096, false),
    FAAS_FIELD(REAL, struct inner, cpus, "cpus", 0.05, 64, false),
    FAAS_FIELD_END,
};
static const struct faas_json_field outer_fields[] = {
    FAAS_FIELD(STR, struct outer, name, "name", 1, 8, true),
    FAAS_FIELD_OBJECT(struct outer, limits, "limits", inner_fields, false),
    FAAS_FIELD(BOOL, struct outer, is_idempotent, "idempotent", 0, 0, false),
    FAAS_FIELD_P(MAP, struct outer, env, has_env, "env", 0, 2),
    FAAS_FIELD(LIST, struct outer, command, "command", 0, 3, false),
    FAAS_FIELD(ANY, struct outer, extra, "extra", 0, 0, false),
    FAAS_FIELD_END,
};

static faas_code decode(const json_t *doc, enum faas_json_mode mode, struct outer *out)
{
    faas_err err = {0};
    faas_code rc;

    memset(out, 0, sizeof *out); /* padding, too: results are compared as bytes */
    out->limits.pids = 128;
    out->limits.cpus = 1;
    rc = faas_json_decode(doc, outer_fields, mode, out, &err);
    claim_outcome(rc, FAAS_INVALID, &err);
    return rc;
}

static void claim_bounds(const struct outer *out)
{
    CLAIM(out->name != NULL && strlen(out->name) >= 1 && strlen(out->name) <= 8);
    CLAIM(out->limits.pids >= 1 && out->limits.pids <= 4096);
    CLAIM(out->limits.cpus >= 0.05 && out->limits.cpus <= 64);
    CLAIM(out->env == NULL || (json_is_object(out->env) && json_object_size(out->env) <= 2));
    CLAIM(out->command == NULL ||
          (json_is_array(out->command) && json_array_size(out->command) <= 3));
}

/* Some real in doc needs more than the 15 digits of faas_json_text(). */
static bool has_long_real(json_t *doc)
{
    const char *key;
    char digits[32];
    json_t *each;
    size_t i;

    if (json_is_real(doc)) {
        snprintf(digits, sizeof digits, "%.15g", json_real_value(doc));
        return strtod(digits, NULL) < json_real_value(doc) ||
               strtod(digits, NULL) > json_real_value(doc);
    }
    json_object_foreach (doc, key, each) {
        if (has_long_real(each))
            return true;
    }
    json_array_foreach (doc, i, each) {
        if (has_long_real(each))
            return true;
    }
    return false;
}

static void claim_round_trip(json_t *doc)
{
    size_t len = 0;
    FAAS_AUTO(char) *text = faas_json_text(doc, &len);
    FAAS_AUTO(json_t) *again = NULL;
    faas_err err = {0};

    CLAIM(text != NULL && len == strlen(text));
    if (has_long_real(doc))
        return;
    CLAIM(faas_json_parse(text, len, false, &again, &err) == FAAS_OK);
    CLAIM(json_equal(doc, again));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    FAAS_AUTO(json_t) *doc = NULL;
    struct outer strict, tolerant;
    faas_err err = {0};
    faas_code rc = faas_json_parse(data, size, false, &doc, &err);

    claim_outcome(rc, FAAS_INVALID, &err);
    CLAIM((rc == FAAS_OK) == (doc != NULL));
    if (rc != FAAS_OK)
        return 0;
    claim_round_trip(doc);
    rc = decode(doc, FAAS_JSON_TOLERANT, &tolerant);
    if (rc == FAAS_OK)
        claim_bounds(&tolerant);
    if (decode(doc, FAAS_JSON_STRICT, &strict) == FAAS_OK)
        CLAIM(rc == FAAS_OK && memcmp(&strict, &tolerant, sizeof strict) == 0);
    return 0;
}
