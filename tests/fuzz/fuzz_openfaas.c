/* Any deployment of an OpenFaaS client either fails, with a message, as what is wrong or cannot be had,
 * or becomes a registration that names function and image and has no fields but those of one. */
#include "gateway/openfaas.h"
#include "tests/fuzz/claim.h"

static void claim_registration(const char *text)
{
    static const char *const known[] = {
        "name",
        "payload",
        "env",
        "limits",
        "labels",
        "secrets",
        "description",
        "input",
        "network",
        "reuse",
        "isolation",
        "timeout_ms",
        "start_timeout_ms",
        "max_wait_ms",
        "concurrency",
    };
    FAAS_AUTO(json_t) *doc = json_loads(text, 0, NULL);
    const char *field;
    json_t *value;

    CLAIM(json_is_string(json_object_get(doc, "name")));
    CLAIM(json_is_string(json_object_get(doc, "payload")));
    json_object_foreach (doc, field, value) {
        size_t i = 0;

        while (i < FAAS_ARRAY_LEN(known) && strcmp(known[i], field) != 0)
            i++;
        CLAIM(i < FAAS_ARRAY_LEN(known));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct gw_route route = {.method = "POST", .what = GW_SYS_DEPLOY};
    const struct gw_match match = {.route = &route};
    const struct gw_input in = {.match = &match, .body = data, .body_len = size};
    FAAS_AUTO(char) *text = NULL;
    faas_err err = {0};
    size_t len = 0;
    faas_code rc = gw_request_json(&in, &text, &len, &err);

    if (rc != FAAS_UNPROCESSABLE)
        claim_outcome(rc, FAAS_INVALID, &err);
    CLAIM((rc == FAAS_OK) == (text != NULL));
    if (rc == FAAS_OK)
        claim_registration(text);
    return 0;
}
