/* Any query string either fails as INVALID or becomes an object of strings, one per parameter, whose
 * values have no control characters, and which is the same object once all of it was escaped again. */
#include "gateway/params.h"
#include "tests/fuzz/claim.h"

static void escape(FILE *to, const char *text)
{
    for (; *text != '\0'; text++)
        fprintf(to, "%%%02X", (unsigned char)*text);
}

static char *write_again(json_t *doc)
{
    char *text = NULL;
    size_t len = 0;
    FILE *to = open_memstream(&text, &len);
    const char *key;
    json_t *value;

    CLAIM(to != NULL);
    json_object_foreach (doc, key, value) {
        CLAIM(json_is_string(value));
        CLAIM(faas_utf8_is(json_string_value(value), json_string_length(value)));
        CLAIM(strlen(json_string_value(value)) == json_string_length(value));
        for (const char *c = json_string_value(value); *c != '\0'; c++)
            CLAIM((unsigned char)*c >= ' ' && *c != 0x7F);
        if (ftell(to) > 0)
            fputc('&', to);
        escape(to, key);
        fputc('=', to);
        escape(to, json_string_value(value));
    }
    CLAIM(fclose(to) == 0);
    return text;
}

static size_t parameters_in(const char *text)
{
    size_t count = text[0] != '\0';

    for (; *text != '\0'; text++)
        count += *text == '&';
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    FAAS_AUTO(char) *text = strndup(size > 0 ? (const char *)data : "", size);
    FAAS_AUTO(char) *again = NULL;
    FAAS_AUTO(json_t) *doc = NULL;
    FAAS_AUTO(json_t) *same = NULL;
    faas_err err = {0};
    faas_code rc;

    CLAIM(text != NULL);
    rc = gw_query_json(text, &doc, &err);
    claim_outcome(rc, FAAS_INVALID, &err);
    if (rc != FAAS_OK)
        return 0;
    CLAIM(json_object_size(doc) <= parameters_in(text));
    again = write_again(doc);
    CLAIM(gw_query_json(again, &same, &err) == FAAS_OK);
    CLAIM(json_equal(doc, same));
    return 0;
}
