#include "keys.h"

#include <errno.h>
#include <string.h>

/* Cuts the list at its commas, in place. */
static faas_code split(char *list, const char *out_files[FAAS_TOKEN_KEYS], size_t *out_count,
                       faas_err *err)
{
    size_t count = 0;

    for (char *rest = list, *file; (file = strsep(&rest, ",")) != NULL;) {
        if (file[0] == '\0')
            return faas_fail(err, FAAS_INVALID,
                             "AUTH_KEY_FILES: empty, or a comma too many; expected the files of "
                             "the signing keys, newest first");
        if (count == FAAS_TOKEN_KEYS)
            return faas_fail(err, FAAS_INVALID, "AUTH_KEY_FILES: at most %d files",
                             FAAS_TOKEN_KEYS);
        out_files[count++] = file;
    }
    *out_count = count;
    return FAAS_OK;
}

faas_code keys_open(const char *files, faas_token_signer **out_signer, json_t **out_jwks,
                    faas_err *err)
{
    const char *names[FAAS_TOKEN_KEYS];
    size_t count = 0;
    FAAS_AUTO(char) *list = strdup(files);
    FAAS_AUTO(json_t) *jwks = NULL;

    if (list == NULL)
        return faas_fail_sys(err, errno, "AUTH_KEY_FILES");
    FAAS_TRY(split(list, names, &count, err));
    FAAS_TRY(faas_token_jwks(names, count, &jwks, err));
    FAAS_TRY(faas_token_signer_open(names[0], out_signer, err));
    *out_jwks = FAAS_STEAL(jwks);
    return FAAS_OK;
}
