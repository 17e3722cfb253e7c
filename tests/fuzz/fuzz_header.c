/* A text as the headers X-Timeout, X-Call-Id and traceparent and as a part of a path.  A timeout is
 * refused with a message or is within its bounds and the same when it is written as milliseconds; a
 * label that passes is printable ASCII of bounded length; a trace is exactly of its shape; and what a
 * path's text decodes to has no control characters and, escaped again, decodes to the same. */
#include "contract.h"
#include "base/trace.h"
#include "gateway/params.h"
#include "tests/fuzz/claim.h"

static void claim_timeout(const char *text)
{
    char plain[32];
    int64_t ms = 0, again = 0;
    faas_err err = {0};
    faas_code rc = gw_timeout_parse(text, &ms, &err);

    claim_outcome(rc, FAAS_INVALID, &err);
    if (rc != FAAS_OK)
        return;
    CLAIM(ms >= 1 && ms <= FAAS_TIMEOUT_MS_MAX);
    CLAIM(strspn(text, "0123456789.smh") == strlen(text));
    snprintf(plain, sizeof plain, "%lldms", (long long)ms);
    CLAIM(gw_timeout_parse(plain, &again, &err) == FAAS_OK && again == ms);
}

static void claim_label(const char *text)
{
    faas_err err = {0};
    faas_code rc = gw_label_check(text, &err);
    size_t len = strlen(text), printable = 0;

    claim_outcome(rc, FAAS_INVALID, &err);
    while (text[printable] >= ' ' && text[printable] <= '~')
        printable++;
    CLAIM((rc == FAAS_OK) == (len >= 1 && len <= GW_LABEL_MAX && printable == len));
}

static void claim_trace(const char *text)
{
    char trace[FAAS_TRACE_TEXT], again[FAAS_TRACE_TEXT];

    if (!faas_trace_read(text, trace))
        return;
    CLAIM(strlen(trace) == 55 && strspn(trace, "0123456789abcdef-") == 55);
    CLAIM(trace[2] == '-' && trace[35] == '-' && trace[52] == '-' && strncmp(trace, "00", 2) == 0);
    CLAIM(strncmp(text + 2, trace + 2, 53) == 0);
    CLAIM(faas_trace_read(trace, again) && strcmp(trace, again) == 0);
}

static void claim_path(const char *text, size_t len)
{
    char out[128], escaped[3 * sizeof out + 1], again[sizeof out];
    size_t used;

    memset(out, 'x', sizeof out);
    if (!gw_percent_decode(text, len, false, out, sizeof out))
        return;
    used = strnlen(out, sizeof out);
    CLAIM(used < sizeof out && used <= len);
    for (size_t i = 0; i < used; i++) {
        CLAIM((unsigned char)out[i] >= ' ' && out[i] != 0x7F);
        snprintf(escaped + 3 * i, 4, "%%%02x", (unsigned char)out[i]);
    }
    CLAIM(gw_percent_decode(escaped, 3 * used, false, again, sizeof again));
    CLAIM(strcmp(again, out) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    FAAS_AUTO(char) *text = strndup(size > 0 ? (const char *)data : "", size);

    CLAIM(text != NULL);
    claim_timeout(text);
    claim_label(text);
    claim_trace(text);
    claim_path((const char *)data, size);
    return 0;
}
