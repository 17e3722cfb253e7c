#include "ref.h"

#include <stdio.h>
#include <string.h>

static const char lower[] = "abcdefghijklmnopqrstuvwxyz0123456789._-/";
static const char word[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
static const char host_set[] =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:[]";
static const char hex[] = "0123456789abcdef";

static bool is_host(const char *part, size_t len)
{
    if (len == 9 && memcmp(part, "localhost", 9) == 0)
        return true;
    for (size_t i = 0; i < len; i++)
        if (part[i] == '.' || part[i] == ':' || (part[i] >= 'A' && part[i] <= 'Z'))
            return true;
    return false;
}

/* Copies len bytes made of `set` alone. */
static bool take(const char *from, size_t len, const char *set, char *out, size_t size)
{
    if (len == 0 || len >= size)
        return false;
    memcpy(out, from, len);
    out[len] = '\0';
    return strlen(out) == len && strspn(out, set) == len;
}

bool ref_is_digest(const char *text)
{
    return text != NULL && strncmp(text, "sha256:", 7) == 0 && strspn(text + 7, hex) == 64 &&
           text[71] == '\0';
}

/* Path as written; "library/" goes before a bare name of the default host. */
static bool take_path(const char *at, size_t len, struct image_ref *ref)
{
    char path[FAAS_IMAGE_REF_MAX - 8];

    if (!take(at, len, lower, path, sizeof path) || path[0] == '/' || strstr(path, "//") != NULL ||
        strstr(path, "..") != NULL || path[len - 1] == '/')
        return false;
    snprintf(ref->path, sizeof ref->path, "%s%s",
             strcmp(ref->host, "docker.io") == 0 && strchr(path, '/') == NULL ? "library/" : "",
             path);
    return true;
}

static faas_code split(const char *text, struct image_ref *ref, faas_err *err)
{
    const char *at = text, *slash = strchr(text, '/'), *digest = strchr(text, '@');
    const char *end = digest != NULL ? digest : text + strlen(text), *colon;

    snprintf(ref->host, sizeof ref->host, "docker.io");
    if (slash != NULL && slash < end && is_host(text, (size_t)(slash - text))) {
        if (!take(text, (size_t)(slash - text), host_set, ref->host, sizeof ref->host) ||
            strchr(".:-", ref->host[0]) != NULL || strstr(ref->host, "..") != NULL)
            return faas_fail(err, FAAS_INVALID, "image: bad registry host");
        if (strcmp(ref->host, "index.docker.io") == 0)
            snprintf(ref->host, sizeof ref->host, "docker.io");
        at = slash + 1;
    }
    colon = memchr(at, ':', (size_t)(end - at));
    if (colon != NULL &&
        !take(colon + 1, (size_t)(end - colon - 1), word, ref->tag, sizeof ref->tag))
        return faas_fail(err, FAAS_INVALID, "image: bad tag");
    if (digest != NULL) {
        if (!ref_is_digest(digest + 1))
            return faas_fail(err, FAAS_INVALID, "image: digest must be sha256:<64 hex digits>");
        snprintf(ref->digest, sizeof ref->digest, "%s", digest + 1);
    } else if (colon == NULL) {
        snprintf(ref->tag, sizeof ref->tag, "latest");
    }
    if (!take_path(at, (size_t)((colon != NULL ? colon : end) - at), ref))
        return faas_fail(err, FAAS_INVALID, "image: bad repository name");
    return FAAS_OK;
}

faas_code ref_parse(const char *text, struct image_ref *out_ref, faas_err *err)
{
    struct image_ref ref = {.tag = ""};

    if (text == NULL || text[0] == '\0')
        return faas_fail(err, FAAS_INVALID, "image: empty reference");
    if (strlen(text) > FAAS_IMAGE_REF_MAX)
        return faas_fail(err, FAAS_INVALID, "image: longer than %d bytes", FAAS_IMAGE_REF_MAX);
    if (strspn(text, hex) == 64 && text[64] == '\0')
        return faas_fail(err, FAAS_INVALID, "image: 64 hex digits cannot be a name");
    FAAS_TRY(split(text, &ref, err));
    *out_ref = ref;
    return FAAS_OK;
}

void ref_full(const struct image_ref *ref, char out_text[REF_TEXT_MAX])
{
    snprintf(out_text, REF_TEXT_MAX, "%s/%s%s%s%s%s", ref->host, ref->path,
             ref->tag[0] != '\0' ? ":" : "", ref->tag, ref->digest[0] != '\0' ? "@" : "",
             ref->digest);
}

faas_code ref_pinned(const struct image_ref *ref, const char *digest, char out_text[REF_TEXT_MAX],
                     faas_err *err)
{
    if (!ref_is_digest(digest))
        return faas_fail(err, FAAS_INVALID, "image digest: expected sha256:<64 hex digits>");
    snprintf(out_text, REF_TEXT_MAX, "%s/%s@%s", ref->host, ref->path, digest);
    return FAAS_OK;
}

bool ref_is_same_repository(const struct image_ref *a, const struct image_ref *b)
{
    return strcmp(a->host, b->host) == 0 && strcmp(a->path, b->path) == 0;
}

/* The literal forms alone: a name that merely resolves to loopback is not one. */
bool ref_is_loopback(const char *host)
{
    size_t name = strcspn(host, ":");
    unsigned a, b, c, d;
    int used = 0;

    if (strncmp(host, "[::1]", 5) == 0)
        return host[5] == '\0' || host[5] == ':';
    if (name == 9 && strncmp(host, "localhost", 9) == 0)
        return true;
    return sscanf(host, "%3u.%3u.%3u.%3u%n", &a, &b, &c, &d, &used) == 4 && (size_t)used == name &&
           a == 127 && b < 256 && c < 256 && d < 256;
}

faas_code ref_check_allowed(const struct image_ref *ref, const char *allowed, faas_err *err)
{
    size_t want = strlen(ref->host);

    if (ref_is_loopback(ref->host))
        return FAAS_OK;
    for (const char *at = allowed; *at != '\0';) {
        size_t len;

        at += strspn(at, ", \t");
        len = strcspn(at, ", \t");
        if ((len == 1 && *at == '*') || (len == want && memcmp(at, ref->host, len) == 0))
            return FAAS_OK;
        at += len;
    }
    return faas_fail(
        err, FAAS_DENIED,
        "image %s/%s is not on this machine and its registry may not be asked: the "
        "operator can add %s to ALLOWED_REGISTRIES, or load the image (docker load, faas "
        "image import)",
        ref->host, ref->path, ref->host);
}

char *ref_url_encode(const char *text)
{
    static const char upper_hex[] = "0123456789ABCDEF";
    char *out = malloc(strlen(text) * 3 + 1), *to = out;

    if (out == NULL)
        return NULL;
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;

        if (strchr(word, c) != NULL || c == '~') {
            *to++ = (char)c;
        } else {
            *to++ = '%';
            *to++ = upper_hex[c >> 4];
            *to++ = upper_hex[c & 15];
        }
    }
    *to = '\0';
    return out;
}

/* The next of "HOST=MIRROR,..."; *mirrors moves on. */
static bool next_mirror(const char **mirrors, struct image_ref *out_pair)
{
    size_t len = strcspn(*mirrors, ","), host = strcspn(*mirrors, "=");
    const char *at = *mirrors;

    *mirrors += len + (at[len] == ',');
    if (host == 0 || host + 1 >= len || len - host >= sizeof out_pair->path ||
        host >= sizeof out_pair->host)
        return false;
    snprintf(out_pair->host, sizeof out_pair->host, "%.*s", (int)host, at);
    snprintf(out_pair->path, sizeof out_pair->path, "%.*s", (int)(len - host - 1), at + host + 1);
    return true;
}

faas_code ref_check_mirrors(const char *mirrors, faas_err *err)
{
    char image[REF_TEXT_MAX];
    struct image_ref pair, ref;

    while (*mirrors != '\0') {
        bool is_pair = next_mirror(&mirrors, &pair);

        snprintf(image, sizeof image, "%s/x", is_pair ? pair.path : "");
        if (!is_pair || ref_parse(image, &ref, NULL) != FAAS_OK ||
            strncmp(ref.host, pair.path, strlen(ref.host)) != 0)
            return faas_fail(err, FAAS_INVALID,
                             "REGISTRY_MIRRORS: HOST=MIRROR, comma-separated, such as "
                             "docker.io=mirror.example:5000");
    }
    return FAAS_OK;
}

bool ref_mirror(const char *mirrors, const char *host, char out_mirror[FAAS_IMAGE_REF_MAX])
{
    struct image_ref pair;

    while (mirrors != NULL && *mirrors != '\0') {
        if (!next_mirror(&mirrors, &pair) || strcmp(pair.host, host) != 0)
            continue;
        snprintf(out_mirror, FAAS_IMAGE_REF_MAX, "%s", pair.path);
        return true;
    }
    return false;
}
