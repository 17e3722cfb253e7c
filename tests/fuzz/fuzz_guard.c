/* The input is a request's head: "METHOD TARGET VERSION", then "name:value" lines, split at line
 * feeds.  A head that passes has a body length that no reader can see differently, and the order of
 * its fields does not matter. */
#include "gateway/guard.h"
#include "tests/fuzz/claim.h"

#include <strings.h>

#define FIELDS_MAX 32

struct part {
    const char *at;
    size_t len;
};
struct head {
    char method[64], target[512], version[16];
    struct part names[FIELDS_MAX], values[FIELDS_MAX];
    size_t count;
};

/* Up to the separator, or all of it; *pos moves behind. */
static struct part next(const char *text, size_t size, size_t *pos, char separator)
{
    struct part part = {text + *pos, 0};
    const char *end = memchr(part.at, separator, size - *pos);

    part.len = end != NULL ? (size_t)(end - part.at) : size - *pos;
    *pos += part.len + (end != NULL ? 1 : 0);
    return part;
}

static void copy(char *out, size_t room, struct part part)
{
    snprintf(out, room, "%.*s", (int)(part.len < room ? part.len : room - 1), part.at);
}

static void read_head(const char *text, size_t size, struct head *out)
{
    size_t pos = 0, at = 0;
    struct part line = next(text, size, &pos, '\n');

    copy(out->method, sizeof out->method, next(line.at, line.len, &at, ' '));
    copy(out->target, sizeof out->target, next(line.at, line.len, &at, ' '));
    copy(out->version, sizeof out->version, next(line.at, line.len, &at, ' '));
    for (out->count = 0; pos < size && out->count < FIELDS_MAX; out->count++) {
        line = next(text, size, &pos, '\n');
        at = 0;
        out->names[out->count] = next(line.at, line.len, &at, ':');
        out->values[out->count] = (struct part){line.at + at, line.len - at};
    }
}

static faas_code judge(const struct head *head, bool is_backwards, struct guard *out_guard,
                       faas_err *err)
{
    memset(out_guard, 0, sizeof *out_guard);
    for (size_t i = 0; i < head->count; i++) {
        size_t at = is_backwards ? head->count - 1 - i : i;

        guard_field(out_guard, head->names[at].at, head->names[at].len, head->values[at].at,
                    head->values[at].len);
    }
    return guard_check(out_guard, head->method, head->target, head->version, err);
}

static size_t count_of(const struct head *head, const char *name)
{
    size_t count = 0;

    for (size_t i = 0; i < head->count; i++)
        count += head->names[i].len == strlen(name) &&
                 strncasecmp(head->names[i].at, name, strlen(name)) == 0;
    return count;
}

static void claim_one_framing(const struct head *head, const struct guard *guard)
{
    bool is_11 = strcmp(head->version, "HTTP/1.1") == 0;
    size_t lengths = count_of(head, "content-length"),
           codings = count_of(head, "transfer-encoding");

    CLAIM(is_11 || strcmp(head->version, "HTTP/1.0") == 0);
    CLAIM(lengths + codings <= 1);
    CLAIM(guard->is_chunked == (codings == 1) && (codings == 0 || is_11));
    CLAIM(guard->declared >= 0 && guard->declared <= INT64_C(999999999999999999));
    CLAIM(lengths == 1 || guard->declared == 0);
    CLAIM(count_of(head, "host") == 1 || (!is_11 && count_of(head, "host") == 0));
    CLAIM(count_of(head, "authorization") <= 1);
}

static void claim_clean(const struct head *head)
{
    for (size_t i = 0; i < head->count; i++) {
        CLAIM(head->names[i].len > 0);
        CLAIM(memchr(head->names[i].at, ' ', head->names[i].len) == NULL);
        CLAIM(memchr(head->names[i].at, '\0', head->names[i].len) == NULL);
        CLAIM(memchr(head->values[i].at, '\0', head->values[i].len) == NULL);
        CLAIM(memchr(head->values[i].at, '\r', head->values[i].len) == NULL);
    }
    CLAIM(strchr(head->target, '#') == NULL && head->method[0] != '\0');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct head head = {.count = 0};
    struct guard guard, other;
    faas_err err = {0}, other_err = {0};
    faas_code rc;

    read_head((const char *)data, size, &head);
    rc = judge(&head, false, &guard, &err);
    claim_outcome(rc, FAAS_INVALID, &err);
    CLAIM(judge(&head, true, &other, &other_err) == rc);
    if (rc == FAAS_OK) {
        CLAIM(guard.declared == other.declared && guard.is_chunked == other.is_chunked);
        claim_one_framing(&head, &guard);
        claim_clean(&head);
    }
    return 0;
}
