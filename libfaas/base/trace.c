#include "base/trace.h"

#include <string.h>

#define VERSION_LEN 2
#define TRACE_AT    3
#define PARENT_AT   36

static bool is_zero(const char *text, size_t len)
{
    return strspn(text, "0") >= len;
}

bool faas_trace_read(const char *text, char out_trace[FAAS_TRACE_TEXT])
{
    static const char shape[FAAS_TRACE_TEXT] =
        "xx-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx-xxxxxxxxxxxxxxxx-xx";
    size_t len = sizeof shape - 1;

    for (size_t i = 0; i < len; i++) {
        if (text[i] == '\0' ||
            (shape[i] == 'x' ? strchr("0123456789abcdef", text[i]) == NULL : text[i] != shape[i]))
            return false;
    }
    if (strncmp(text, "ff", VERSION_LEN) == 0 || is_zero(text + TRACE_AT, FAAS_TRACE_ID - 1) ||
        is_zero(text + PARENT_AT, 16))
        return false;
    if (text[len] != '\0' && (strncmp(text, "00", VERSION_LEN) == 0 || text[len] != '-'))
        return false;
    memmove(out_trace, text, len);
    memcpy(out_trace, "00", VERSION_LEN);
    out_trace[len] = '\0';
    return true;
}

void faas_trace_id(const char *trace, char out_id[FAAS_TRACE_ID])
{
    size_t len = trace[0] != '\0' ? FAAS_TRACE_ID - 1 : 0;

    memcpy(out_id, trace + (len > 0 ? TRACE_AT : 0), len);
    out_id[len] = '\0';
}
