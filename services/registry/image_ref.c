#include "image_ref.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define DEFAULT_HOST "docker.io"
#define OLD_HOST     "index.docker.io"
#define OFFICIAL     "library/"
#define LOCALHOST    "localhost"

/* Locale-free classes: the grammar is ASCII. */
static bool is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

static bool is_upper(char c)
{
    return c >= 'A' && c <= 'Z';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return is_lower(c) || is_upper(c);
}

static bool is_lower_hex(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f');
}

static bool is_hex(char c)
{
    return is_lower_hex(c) || (c >= 'A' && c <= 'F');
}

static bool part_is(struct image_part part, const char *text)
{
    return part.len == strlen(text) && memcmp(part.at, text, part.len) == 0;
}

static bool part_all(struct image_part part, bool (*is_allowed)(char))
{
    for (size_t i = 0; i < part.len; i++)
        if (!is_allowed(part.at[i]))
            return false;
    return true;
}

/* Splits at the first `c`; without one, head is everything and tail is empty. */
static bool part_cut(struct image_part whole, char c, struct image_part *out_head,
                     struct image_part *out_tail)
{
    const char *at = whole.len == 0 ? NULL : memchr(whole.at, c, whole.len);
    size_t head = at == NULL ? whole.len : (size_t)(at - whole.at);

    *out_head = (struct image_part){whole.at, head};
    *out_tail = at == NULL ? (struct image_part){whole.at + whole.len, 0}
                           : (struct image_part){at + 1, whole.len - head - 1};
    return at != NULL;
}

/* One label of a domain name: letters, digits and inner dashes. */
static bool is_domain_label(struct image_part label)
{
    for (size_t i = 0; i < label.len; i++) {
        bool is_edge = i == 0 || i + 1 == label.len;
        char c = label.at[i];

        if (!is_letter(c) && !is_digit(c) && (c != '-' || is_edge))
            return false;
    }
    return label.len > 0;
}

static bool is_domain_name(struct image_part name)
{
    struct image_part label, rest = name;
    bool is_more = true;

    while (is_more) {
        is_more = part_cut(rest, '.', &label, &rest);
        if (!is_domain_label(label))
            return false;
    }
    return true;
}

static bool is_port(struct image_part port)
{
    return port.len > 0 && part_all(port, is_digit);
}

/* "[" hex digits and colons "]" [":" port]; what is inside is not checked further. */
static bool is_bracketed_host(struct image_part host)
{
    size_t i = 1;

    while (i < host.len && (is_hex(host.at[i]) || host.at[i] == ':'))
        i++;
    if (i == 1 || i == host.len || host.at[i] != ']')
        return false;
    i++;
    if (i == host.len)
        return true;
    return host.at[i] == ':' && is_port((struct image_part){host.at + i + 1, host.len - i - 1});
}

static bool is_host(struct image_part host)
{
    struct image_part name, port;

    if (host.len > 0 && host.at[0] == '[')
        return is_bracketed_host(host);
    if (part_cut(host, ':', &name, &port) && !is_port(port))
        return false;
    return is_domain_name(name);
}

/* Length of the separator at the start of text: one of "." "_" "__" or any number of dashes. */
static size_t separator_len(struct image_part text)
{
    size_t n = 0;

    if (text.len == 0)
        return 0;
    if (text.at[0] == '.')
        return 1;
    if (text.at[0] == '_')
        return text.len > 1 && text.at[1] == '_' ? 2 : 1;
    while (n < text.len && text.at[n] == '-')
        n++;
    return n;
}

/* Words of lower-case letters and digits with single separators between them. */
static bool is_path_component(struct image_part text)
{
    for (;;) {
        size_t word = 0, gap;

        while (word < text.len && (is_lower(text.at[word]) || is_digit(text.at[word])))
            word++;
        if (word == 0)
            return false;
        text = (struct image_part){text.at + word, text.len - word};
        if (text.len == 0)
            return true;
        gap = separator_len(text);
        if (gap == 0)
            return false;
        text = (struct image_part){text.at + gap, text.len - gap};
    }
}

static bool is_path(struct image_part path)
{
    struct image_part component, rest = path;
    bool is_more = true;

    while (is_more) {
        is_more = part_cut(rest, '/', &component, &rest);
        if (!is_path_component(component))
            return false;
    }
    return true;
}

static bool is_tag(struct image_part tag)
{
    for (size_t i = 0; i < tag.len; i++) {
        char c = tag.at[i];

        if (!is_letter(c) && !is_digit(c) && c != '_' && (i == 0 || (c != '.' && c != '-')))
            return false;
    }
    return tag.len > 0 && tag.len <= IMAGE_TAG_MAX;
}

static bool is_digest(struct image_part digest)
{
    static const struct {
        const char *name;
        size_t hex;
    } algorithms[] = {{"sha256", 64}, {"sha384", 96}, {"sha512", 128}};
    struct image_part name, value;

    part_cut(digest, ':', &name, &value);
    for (size_t i = 0; i < FAAS_ARRAY_LEN(algorithms); i++)
        if (part_is(name, algorithms[i].name))
            return value.len == algorithms[i].hex && part_all(value, is_lower_hex);
    return false;
}

static faas_code refuse(faas_err *err, const char *why)
{
    return faas_fail(err, FAAS_INVALID,
                     "payload: not an image reference ([host[:port]/]path[:tag][@digest]): %s",
                     why);
}

/* The first word is a host only if it looks like one; see the header for what that means. */
static bool looks_like_host(struct image_part word)
{
    if (part_is(word, LOCALHOST))
        return true;
    for (size_t i = 0; i < word.len; i++)
        if (word.at[i] == '.' || word.at[i] == ':' || is_upper(word.at[i]))
            return true;
    return false;
}

/* "upper" -> "docker.io/library/upper"; the rest of the text, valid or not, is kept as it is. */
static char *with_host(struct image_part text)
{
    struct image_part first, rest, host = {DEFAULT_HOST, strlen(DEFAULT_HOST)}, name = text;
    const char *prefix = "";
    char *out;

    if (part_cut(text, '/', &first, &rest) && looks_like_host(first)) {
        if (!part_is(first, OLD_HOST))
            host = first;
        name = rest;
    }
    if (part_is(host, DEFAULT_HOST) && (name.len == 0 || memchr(name.at, '/', name.len) == NULL))
        prefix = OFFICIAL;
    if (asprintf(&out, "%.*s/%s%.*s", (int)host.len, host.at, prefix, (int)name.len, name.at) < 0)
        return NULL;
    return out;
}

/* Finds the colon of the tag: the last one behind every slash. */
static void cut_tag(struct image_part whole, struct image_part *out_name,
                    struct image_part *out_tag, bool *out_has_tag)
{
    const char *slash = memrchr(whole.at, '/', whole.len);
    struct image_part last =
        slash == NULL ? whole
                      : (struct image_part){slash + 1, whole.len - (size_t)(slash + 1 - whole.at)};
    struct image_part word;

    *out_has_tag = part_cut(last, ':', &word, out_tag);
    *out_name = (struct image_part){whole.at, (size_t)(word.at + word.len - whole.at)};
}

static faas_code split_name(struct image_part name, struct image_ref *ref, faas_err *err)
{
    struct image_part first, rest;

    if (part_cut(name, '/', &first, &rest) && is_host(first) && is_path(rest)) {
        ref->host = first;
        ref->path = rest;
    } else if (is_path(name)) {
        ref->host = (struct image_part){name.at, 0};
        ref->path = name;
    } else {
        return refuse(err, "the name is made of lower-case words, digits and single . _ -");
    }
    if (ref->path.len > IMAGE_PATH_MAX)
        return refuse(err, "the path is longer than 255 bytes");
    return FAAS_OK;
}

/* Checks ref->text against the grammar and finds the parts. */
static faas_code split(struct image_ref *ref, faas_err *err)
{
    struct image_part whole = {ref->text, strlen(ref->text)}, front, name;
    bool has_tag, has_digest = part_cut(whole, '@', &front, &ref->digest);

    cut_tag(front, &name, &ref->tag, &has_tag);
    FAAS_TRY(split_name(name, ref, err));
    if (has_tag && !is_tag(ref->tag))
        return refuse(err, "a tag is 1 to 128 letters, digits, _ . -");
    if (has_digest && !is_digest(ref->digest))
        return refuse(err, "a digest is sha256:, sha384: or sha512: and lower-case hex");
    return FAAS_OK;
}

static bool is_bare_id(struct image_part text)
{
    return text.len == 64 && part_all(text, is_lower_hex);
}

static char *with_tag(const char *text)
{
    char *out;

    return asprintf(&out, "%s:latest", text) < 0 ? NULL : out;
}

static faas_code parse(struct image_part text, struct image_ref *ref, faas_err *err)
{
    ref->text = with_host(text);
    if (ref->text == NULL)
        return faas_fail_sys(err, ENOMEM, "image reference");
    FAAS_TRY(split(ref, err));
    if (ref->tag.len > 0 || ref->digest.len > 0)
        return FAAS_OK;
    FAAS_AUTO(char) *bare = ref->text;
    ref->text = with_tag(bare);
    if (ref->text == NULL)
        return faas_fail_sys(err, ENOMEM, "image reference");
    return split(ref, err);
}

faas_code image_ref_parse(const char *text, struct image_ref *out_ref, faas_err *err)
{
    struct image_part whole = {text, strlen(text)};
    struct image_ref ref = {0};
    faas_code rc;

    if (whole.len == 0)
        return refuse(err, "it is empty");
    if (is_bare_id(whole))
        return refuse(err, "64 hex digits name an image id; give a name, or name@sha256:...");
    rc = parse(whole, &ref, err);
    if (rc != FAAS_OK) {
        image_ref_done(&ref);
        return rc;
    }
    *out_ref = ref;
    return FAAS_OK;
}

void image_ref_done(struct image_ref *ref)
{
    if (ref == NULL)
        return;
    free(ref->text);
    *ref = (struct image_ref){0};
}
