#include "base/text.h"

static bool is_tail(const char *text, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        if (((unsigned char)text[i] & 0xC0) != 0x80)
            return false;
    return true;
}

size_t faas_utf8_decode(const char *text, size_t len, uint32_t *out_point)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000}; /* shortest form, by length */
    unsigned char lead = len > 0 ? (unsigned char)text[0] : 0xFF;
    size_t n = lead < 0x80 ? 1 : lead < 0xC0 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    uint32_t point;

    if (n == 0 || lead > 0xF4 || n > len || !is_tail(text, 1, n))
        return 0;
    point = n == 1 ? lead : lead & (0x7Fu >> n);
    for (size_t i = 1; i < n; i++)
        point = point << 6 | ((unsigned char)text[i] & 0x3F);
    if (point < least[n] || point > 0x10FFFF || (point >= 0xD800 && point <= 0xDFFF))
        return 0;
    if (out_point != NULL)
        *out_point = point;
    return n;
}

bool faas_utf8_is(const char *text, size_t len)
{
    size_t at = 0;

    while (at < len) {
        size_t n = faas_utf8_decode(text + at, len - at, NULL);

        if (n == 0)
            return false;
        at += n;
    }
    return true;
}

size_t faas_utf8_cut(const char *text, size_t len, size_t max)
{
    size_t end = max;

    if (len <= max)
        return len;
    /* A sequence has at most three tail bytes; more of them is not UTF-8 and may be cut anywhere.
     */
    while (end > 0 && max - end < 3 && ((unsigned char)text[end] & 0xC0) == 0x80)
        end--;
    return ((unsigned char)text[end] & 0xC0) == 0x80 ? max : end;
}

bool faas_is_control(uint32_t point)
{
    return point < 0x20 || (point >= 0x7F && point <= 0x9F);
}

bool faas_is_display_control(uint32_t point)
{
    return point == 0x061C || point == 0x200E || point == 0x200F ||
           (point >= 0x2028 && point <= 0x202E) || (point >= 0x2066 && point <= 0x2069);
}

bool faas_has_control(const char *text, size_t len)
{
    for (size_t at = 0; at < len;) {
        uint32_t point;
        size_t step = faas_utf8_decode(text + at, len - at, &point);

        if (step == 0 || faas_is_control(point))
            return true;
        at += step;
    }
    return false;
}
