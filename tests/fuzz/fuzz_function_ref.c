/* Any text either is a function's reference, which is exactly its name and what follows the name, or
 * fails as INVALID and leaves no trace. */
#include "base/name.h"
#include "tests/fuzz/claim.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct faas_function_ref untouched = {.name = "untouched", .version = 7};
    FAAS_AUTO(char) *text = strndup(size > 0 ? (const char *)data : "", size);
    char pick[FAAS_FUNCTION_PICK_MAX + 1], again[FAAS_FUNCTION_REF_MAX + 1];
    struct faas_function_ref ref = untouched;
    faas_err err = {0};
    faas_code rc;

    CLAIM(text != NULL);
    rc = faas_function_ref_parse(text, &ref, &err);
    claim_outcome(rc, FAAS_INVALID, &err);
    if (rc != FAAS_OK) {
        CLAIM(memcmp(&ref, &untouched, sizeof ref) == 0);
        return 0;
    }
    CLAIM(faas_function_name_check(ref.name, NULL) == FAAS_OK);
    CLAIM(ref.alias[0] == '\0' || faas_alias_name_check(ref.alias, NULL) == FAAS_OK);
    CLAIM(ref.version >= 0 && ref.version <= INT32_MAX);
    CLAIM(ref.version == 0 || ref.alias[0] == '\0');
    faas_function_ref_pick(&ref, pick);
    (void)snprintf(again, sizeof again, "%s%s", ref.name, pick);
    CLAIM(strcmp(again, text) == 0);
    return 0;
}
