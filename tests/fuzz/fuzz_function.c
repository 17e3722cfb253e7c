/* Any object either breaks a rule, with a message that says which, or makes a stored record that
 * comes back from its bytes, shows every public field, and takes the same body again as an update.
 * The first byte chooses what the body is for. */
#include "services/registry/function.h"
#include "tests/fuzz/claim.h"

#define USER "0190c8f6-0000-7000-8000-000000000001"

#define PUBLIC_FIELDS 25

static const struct faas_ctx caller = {.user = USER, .tenant = USER};

static bool is_refusal(faas_code rc)
{
    return rc == FAAS_INVALID || rc == FAAS_DENIED || rc == FAAS_UNPROCESSABLE;
}

static void claim_refused(faas_code rc, const faas_err *err)
{
    CLAIM(is_refusal(rc));
    CLAIM(err->msg[0] != '\0');
}

static json_t *resolved(void)
{
    return json_pack("{s:{s:s, s:s}, s:s, s:[s], s:n}", "digest", "kind", "k", "value", "v",
                     "reference", "docker.io/library/x:latest", "entrypoint", "/x", "cmd");
}

static void claim_stored(const json_t *doc)
{
    FAAS_AUTO(json_t) *again = NULL;
    FAAS_AUTO(json_t) *public = function_public(doc);
    size_t len = 0;
    FAAS_AUTO(char) *text = faas_json_text(doc, &len);

    CLAIM(text != NULL && public != NULL);
    CLAIM(function_parse(text, len, &again, NULL) == FAAS_OK);
    CLAIM(json_equal(doc, again));
    CLAIM(json_object_size(public) == PUBLIC_FIELDS);
}

static void claim_made(const struct function_want *want)
{
    FAAS_AUTO(json_t) *doc = NULL;
    FAAS_AUTO(json_t) *next = NULL;
    FAAS_AUTO(json_t) *image = resolved();
    faas_err err = {0};
    faas_code rc = function_make(want, &caller, &doc, &err);

    if (rc != FAAS_OK) {
        claim_refused(rc, &err); /* rules between fields: retry */
        return;
    }
    CLAIM(function_set_image(doc, image, &err) == FAAS_OK);
    claim_stored(doc);
    CLAIM(function_change(doc, want, FUNCTION_UPDATE, &next, &err) == FAAS_OK);
    CLAIM(function_version(next) == 2 && function_same_image(doc, next));
    claim_stored(next);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    FAAS_AUTO(json_t) *body = NULL;
    enum function_verb verb = size == 0 ? FUNCTION_CREATE : data[0] % 4;
    struct function_want want;
    faas_err err = {0};
    faas_code rc;

    if (size == 0 || faas_json_parse(data + 1, size - 1, true, &body, NULL) != FAAS_OK)
        return 0;
    rc = function_read(body, verb, &caller, &want, &err);
    if (rc != FAAS_OK)
        claim_refused(rc, &err);
    else if (verb == FUNCTION_CREATE)
        claim_made(&want);
    return 0;
}
