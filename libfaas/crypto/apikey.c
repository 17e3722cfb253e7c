#include "crypto/apikey.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/auto.h"

#define PREFIX_LEN   (sizeof FAAS_APIKEY_PREFIX - 1)
#define ID_LEN       (FAAS_APIKEY_ID_TEXT - 1)
#define SECRET_BYTES 24
#define SECRET_LEN   ((size_t)2 * SECRET_BYTES)
#define HEX          "0123456789abcdef"
#define ALL          "*"

static const struct {
    enum faas_apikey_verb verb;
    const char *text;
} verb_texts[] = {
#define X(name, bit, text) {FAAS_APIKEY_##name, text},
    FAAS_APIKEY_VERBS(X)
#undef X
};

/* ---- the text ---- */

void faas_apikey_new(char out_text[FAAS_APIKEY_TEXT])
{
    unsigned char bytes[ID_LEN / 2 + SECRET_BYTES];
    char hex[sizeof bytes * 2 + 1];

    randombytes_buf(bytes, sizeof bytes);
    (void)sodium_bin2hex(hex, sizeof hex, bytes, sizeof bytes);
    (void)snprintf(out_text, FAAS_APIKEY_TEXT, FAAS_APIKEY_PREFIX "%.*s_%s", (int)ID_LEN, hex,
                   hex + ID_LEN);
    sodium_memzero(bytes, sizeof bytes);
    sodium_memzero(hex, sizeof hex);
}

bool faas_apikey_is_meant(const char *text)
{
    return strncmp(text, FAAS_APIKEY_PREFIX, PREFIX_LEN) == 0;
}

bool faas_apikey_id_is(const char *text)
{
    return strspn(text, HEX) == ID_LEN && text[ID_LEN] == '\0';
}

bool faas_apikey_parse(const char *text, char out_id[FAAS_APIKEY_ID_TEXT],
                       char out_hash[FAAS_HASH_TEXT])
{
    const char *id = text + PREFIX_LEN, *secret;

    if (!faas_apikey_is_meant(text) || strspn(id, HEX) != ID_LEN || id[ID_LEN] != '_')
        return false;
    secret = id + ID_LEN + 1;
    if (strspn(secret, HEX) != SECRET_LEN || secret[SECRET_LEN] != '\0')
        return false;
    memcpy(out_id, id, ID_LEN);
    out_id[ID_LEN] = '\0';
    faas_hash_text(text, FAAS_APIKEY_TEXT - 1, out_hash);
    return true;
}

/* Also of a key that lacks digits at its end. */
void faas_apikey_mask(char *text)
{
    char *secret;

    while ((text = strstr(text, FAAS_APIKEY_PREFIX)) != NULL) {
        text += PREFIX_LEN; /* no further: the next prefix may begin with hex digits */
        if (strspn(text, HEX) != ID_LEN || text[ID_LEN] != '_')
            continue;
        for (secret = text + ID_LEN + 1; *secret != '\0' && strchr(HEX, *secret) != NULL; secret++)
            *secret = '*';
    }
}

/* ---- what it is for ---- */

const char *faas_apikey_verb_text(enum faas_apikey_verb verb)
{
    for (size_t i = 0; i < FAAS_ARRAY_LEN(verb_texts); i++) {
        if (verb_texts[i].verb == verb)
            return verb_texts[i].text;
    }
    return "?";
}

/* 0: there is no such verb. */
static unsigned verb_bits(const char *text)
{
    unsigned all = 0;

    for (size_t i = 0; i < FAAS_ARRAY_LEN(verb_texts); i++) {
        all |= (unsigned)verb_texts[i].verb;
        if (strcmp(text, verb_texts[i].text) == 0)
            return (unsigned)verb_texts[i].verb;
    }
    return strcmp(text, ALL) == 0 ? all : 0;
}

static faas_code read_verbs(const json_t *verbs, bool is_strict, unsigned *out_verbs, faas_err *err)
{
    const json_t *item;
    size_t i;
    unsigned bits;

    *out_verbs = is_strict && verbs == NULL ? FAAS_APIKEY_INVOKE : 0;
    json_array_foreach (verbs, i, item) {
        bits = json_is_string(item) ? verb_bits(json_string_value(item)) : 0;
        if (bits == 0 && is_strict)
            return faas_fail(err, FAAS_INVALID,
                             "verbs: each is invoke, read, deploy, or * for all of them");
        *out_verbs |= bits;
    }
    if (*out_verbs == 0 && is_strict)
        return faas_fail(err, FAAS_INVALID, "verbs: at least one of invoke, read, deploy, *");
    return FAAS_OK;
}

/* A name, or its beginning (possibly nothing) before a star. */
static bool is_pattern(const char *text)
{
    size_t len = strlen(text);
    char name[FAAS_FUNCTION_NAME_MAX + 1];

    if (strcmp(text, ALL) == 0)
        return true;
    if (len > 0 && text[len - 1] == '*')
        len--;
    if (len == 0 || len > FAAS_FUNCTION_NAME_MAX)
        return false;
    (void)snprintf(name, sizeof name, "%.*s", (int)len, text);
    return faas_function_name_check(name, NULL) == FAAS_OK;
}

static void add_function(struct faas_apikey_scope *scope, const char *pattern)
{
    (void)snprintf(scope->functions[scope->count++], sizeof scope->functions[0], "%s", pattern);
}

static faas_code read_functions(const json_t *functions, bool is_strict,
                                struct faas_apikey_scope *scope, faas_err *err)
{
    size_t count = json_array_size(functions), i;
    const json_t *item;

    if (functions != NULL && is_strict && (count == 0 || count > FAAS_APIKEY_FUNCTIONS_MAX))
        return faas_fail(err, FAAS_INVALID, "functions: 1 to %d of them",
                         FAAS_APIKEY_FUNCTIONS_MAX);
    json_array_foreach (functions, i, item) {
        bool is_good = json_is_string(item) && is_pattern(json_string_value(item));

        if (!is_good && is_strict)
            return faas_fail(err, FAAS_INVALID,
                             "functions: each is the name of a function, or the beginning of names "
                             "with * at its end");
        if (is_good && scope->count < FAAS_APIKEY_FUNCTIONS_MAX)
            add_function(scope, json_string_value(item));
    }
    if (functions == NULL && is_strict)
        add_function(scope, ALL);
    return FAAS_OK;
}

faas_code faas_apikey_scope_read(const json_t *verbs, const json_t *functions,
                                 enum faas_json_mode mode, struct faas_apikey_scope *out_scope,
                                 faas_err *err)
{
    struct faas_apikey_scope scope = {0};
    bool is_strict = mode == FAAS_JSON_STRICT;

    if (is_strict && verbs != NULL && !json_is_array(verbs))
        return faas_fail(err, FAAS_INVALID, "verbs: expected a list");
    if (is_strict && functions != NULL && !json_is_array(functions))
        return faas_fail(err, FAAS_INVALID, "functions: expected a list");
    FAAS_TRY(read_verbs(verbs, is_strict, &scope.verbs, err));
    FAAS_TRY(read_functions(functions, is_strict, &scope, err));
    *out_scope = scope;
    return FAAS_OK;
}

bool faas_apikey_scope_write(const struct faas_apikey_scope *scope, json_t *doc)
{
    FAAS_AUTO(json_t) *verbs = json_array();
    FAAS_AUTO(json_t) *functions = json_array();

    for (size_t i = 0; i < FAAS_ARRAY_LEN(verb_texts); i++) {
        if ((scope->verbs & (unsigned)verb_texts[i].verb) != 0 &&
            json_array_append_new(verbs, json_string(verb_texts[i].text)) != 0)
            return false;
    }
    for (size_t i = 0; i < scope->count; i++) {
        if (json_array_append_new(functions, json_string(scope->functions[i])) != 0)
            return false;
    }
    return json_object_set(doc, "verbs", verbs) == 0 &&
           json_object_set(doc, "functions", functions) == 0;
}

bool faas_apikey_allows(const struct faas_apikey_scope *scope, const char *function)
{
    for (size_t i = 0; i < scope->count; i++) {
        const char *pattern = scope->functions[i];
        size_t len = strlen(pattern);

        if (strcmp(pattern, ALL) == 0)
            return true;
        if (function == NULL || len == 0)
            continue;
        if (pattern[len - 1] == '*' ? strncmp(function, pattern, len - 1) == 0
                                    : strcmp(function, pattern) == 0)
            return true;
    }
    return false;
}
