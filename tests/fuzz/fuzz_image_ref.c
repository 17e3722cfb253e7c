/* Any text either fails as INVALID without being echoed, or has a normalised form whose parts make
 * it up within their bounds, which holds nothing that is syntax in a URL or a shell, and which is
 * its own normalised form. */
#include "services/registry/image_ref.h"
#include "tests/fuzz/claim.h"

static void claim_part(const struct image_ref *ref, const struct image_part *part, size_t most)
{
    CLAIM(part->len <= most);
    CLAIM(part->len == 0 ||
          (part->at >= ref->text && part->at + part->len <= ref->text + strlen(ref->text)));
}

/* ".." may stand in a tag, which the grammar allows, but never where a path is made of it. */
static void claim_harmless(const struct image_ref *ref)
{
    const char *text = ref->text;

    CLAIM(strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                       "._-/:@+[]") == strlen(text));
    CLAIM(strstr(text, "//") == NULL);
    CLAIM(ref->path.len == 0 || memmem(ref->path.at, ref->path.len, "..", 2) == NULL);
    CLAIM(ref->host.len == 0 || memmem(ref->host.at, ref->host.len, "..", 2) == NULL);
}

static void claim_settled(const char *text)
{
    struct image_ref again = {0};
    faas_err err = {0};

    CLAIM(image_ref_parse(text, &again, &err) == FAAS_OK);
    CLAIM(strcmp(again.text, text) == 0);
    image_ref_done(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    struct image_ref ref = {0};
    faas_err err = {0};
    faas_code rc;

    CLAIM(text != NULL);
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    rc = image_ref_parse(text, &ref, &err);
    claim_outcome(rc, FAAS_INVALID, &err);
    CLAIM(rc == FAAS_OK || strncmp(err.msg, "payload: ", 9) == 0);
    if (rc == FAAS_OK) {
        CLAIM(ref.path.len > 0); /* the host may be missing: a_b.com/x */
        claim_part(&ref, &ref.host, strlen(ref.text));
        claim_part(&ref, &ref.path, IMAGE_PATH_MAX);
        claim_part(&ref, &ref.tag, IMAGE_TAG_MAX);
        claim_part(&ref, &ref.digest, strlen(ref.text));
        claim_harmless(&ref);
        claim_settled(ref.text);
    }
    image_ref_done(&ref);
    free(text);
    return 0;
}
