#include "gateway/guard.h"

#include <string.h>
#include <strings.h>

#define DIGITS_MAX 18 /* of a Content-Length: fits in 64 bits */

/* tchar of RFC 9110 */
static bool is_token(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        bool is_alnum = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');

        if (!is_alnum && (c == '\0' || strchr("!#$%&'*+-.^_`|~", c) == NULL))
            return false;
    }
    return len > 0;
}

static bool has_control(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];

        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return true;
    }
    return false;
}

static bool is(const char *name, size_t len, const char *wanted)
{
    return strlen(wanted) == len && strncasecmp(name, wanted, len) == 0;
}

static void break_rule(struct guard *guard, const char *rule)
{
    if (guard->broken == NULL)
        guard->broken = rule;
}

static void take_length(struct guard *guard, const char *value, size_t len)
{
    int64_t sum = 0;

    guard->lengths++;
    for (size_t i = 0; i < len; i++) {
        if (value[i] < '0' || value[i] > '9' || i == DIGITS_MAX) {
            break_rule(guard, "Content-Length must be a plain number");
            return;
        }
        sum = sum * 10 + (value[i] - '0');
    }
    if (len == 0)
        break_rule(guard, "Content-Length must be a plain number");
    guard->declared = sum;
}

void guard_field(struct guard *guard, const char *name, size_t name_len, const char *value,
                 size_t value_len)
{
    if (!is_token(name, name_len))
        break_rule(guard, "a header name has characters that it must not have");
    if (has_control(value, value_len))
        break_rule(guard, "a header value has control characters");
    if (is(name, name_len, "Host")) {
        guard->hosts++;
    } else if (is(name, name_len, "Authorization")) {
        guard->authorizations++;
    } else if (is(name, name_len, "Content-Length")) {
        take_length(guard, value, value_len);
    } else if (is(name, name_len, "Transfer-Encoding")) {
        guard->encodings++;
        guard->is_chunked = true;
        if (!is(value, value_len, "chunked"))
            break_rule(guard, "the only Transfer-Encoding taken is chunked");
    }
}

static bool is_target(const char *method, const char *target)
{
    if (strcmp(target, "*") == 0)
        return strcmp(method, "OPTIONS") == 0;
    if (target[0] != '/' && strncmp(target, "http://", 7) != 0 &&
        strncmp(target, "https://", 8) != 0)
        return false;
    for (; *target != '\0'; target++) {
        if (*target <= 0x20 || *target > 0x7e || *target == '#')
            return false;
    }
    return true;
}

static const char *broken_rule(const struct guard *guard, const char *method, const char *target,
                               const char *version)
{
    bool is_11 = strcmp(version, "HTTP/1.1") == 0;

    if (!is_11 && strcmp(version, "HTTP/1.0") != 0)
        return "the protocol version must be HTTP/1.0 or HTTP/1.1";
    if (!is_token(method, strlen(method)))
        return "the method is malformed";
    if (!is_target(method, target))
        return "the request target must be a path in visible ASCII";
    if (guard->broken != NULL)
        return guard->broken;
    if (guard->hosts > 1 || (is_11 && guard->hosts == 0))
        return "exactly one Host header is required";
    if (guard->lengths > 1 || guard->encodings > 1 || guard->lengths + guard->encodings > 1)
        return "the body's length must be given once, in one way";
    if (guard->encodings > 0 && !is_11)
        return "HTTP/1.0 has no Transfer-Encoding";
    if (guard->authorizations > 1)
        return "at most one Authorization header is allowed";
    return NULL;
}

faas_code guard_check(const struct guard *guard, const char *method, const char *target,
                      const char *version, faas_err *err)
{
    const char *rule = broken_rule(guard, method, target, version);

    return rule == NULL ? FAAS_OK : faas_fail(err, FAAS_INVALID, "malformed HTTP: %s", rule);
}
