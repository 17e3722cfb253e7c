#include "base/err.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

static const struct code_row {
    int status;
    const char *slug, *title;
} rows[] = {[FAAS_OK] = {200, "ok", "OK"},
#define X(name, status, slug, title) [FAAS_##name] = {(status), (slug), (title)},
            FAAS_CODES(X)
#undef X
};

static const struct code_row *row_of(faas_code code)
{
    if ((unsigned)code >= FAAS_ARRAY_LEN(rows))
        code = FAAS_INTERNAL;
    return &rows[code];
}

/* Copies text so that any terminal, log or JSON string can carry it; both are MSG_MAX big. */
static void copy_clean(char *out, const char *text, size_t len)
{
    size_t at = 0;

    while (at < len) {
        uint32_t point;
        size_t n = faas_utf8_decode(text + at, len - at, &point);
        char clean = n == 0 || faas_is_control(point) ? '?' : '\0';

        if (clean != '\0') {
            *out++ = clean;
            at += n == 0 ? 1 : n;
        } else {
            memcpy(out, text + at, n);
            out += n;
            at += n;
        }
    }
    *out = '\0';
}

/* Formats through a buffer of its own: the arguments may point into the target. */
FAAS_PRINTF(2, 0)
static void fill(char out_text[FAAS_ERR_MSG_MAX], const char *fmt, va_list args)
{
    static const char more[] = "...";
    char buf[FAAS_ERR_MSG_MAX];
    int written = vsnprintf(buf, sizeof buf, fmt, args);
    size_t len = written < 0 ? 0 : (size_t)written;

    if (len >= sizeof buf) {
        len = faas_utf8_cut(buf, sizeof buf - 1, sizeof buf - sizeof more);
        memcpy(buf + len, more, sizeof more);
        len += sizeof more - 1;
    }
    copy_clean(out_text, buf, len);
}

faas_code faas_fail(faas_err *err, faas_code code, const char *fmt, ...)
{
    va_list args;

    if (err == NULL)
        return code;
    va_start(args, fmt);
    fill(err->msg, fmt, args);
    va_end(args);
    err->code = code;
    err->detail[0] = '\0';
    err->retry_after_s = 0;
    return code;
}

faas_code faas_fail_busy(faas_err *err, int retry_after_s, const char *fmt, ...)
{
    char text[FAAS_ERR_MSG_MAX];
    va_list args;

    if (err == NULL)
        return FAAS_BUSY;
    va_start(args, fmt);
    fill(text, fmt, args);
    va_end(args);
    (void)faas_fail(err, FAAS_BUSY, "%s", text);
    err->retry_after_s = retry_after_s;
    return FAAS_BUSY;
}

faas_code faas_fail_sys(faas_err *err, int errnum, const char *fmt, ...)
{
    char what[FAAS_ERR_MSG_MAX], reason[128];
    va_list args;

    if (err == NULL)
        return FAAS_INTERNAL;
    va_start(args, fmt);
    fill(what, fmt, args);
    va_end(args);
    (void)faas_fail(err, FAAS_INTERNAL, "internal error");
    return faas_err_detail(err, "%.380s: %s", what, strerror_r(errnum, reason, sizeof reason));
}

faas_code faas_err_detail(faas_err *err, const char *fmt, ...)
{
    va_list args;

    if (err == NULL)
        return FAAS_INTERNAL;
    va_start(args, fmt);
    fill(err->detail, fmt, args);
    va_end(args);
    return err->code;
}

int faas_code_status(faas_code code)
{
    return row_of(code)->status;
}

const char *faas_code_slug(faas_code code)
{
    return row_of(code)->slug;
}

const char *faas_code_title(faas_code code)
{
    return row_of(code)->title;
}

faas_code faas_code_from_slug(const char *slug)
{
    for (size_t i = 0; slug != NULL && i < FAAS_ARRAY_LEN(rows); i++)
        if (strcmp(rows[i].slug, slug) == 0)
            return (faas_code)i;
    return FAAS_INTERNAL;
}
