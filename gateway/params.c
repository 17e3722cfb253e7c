#include "gateway/params.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "contract.h"
#include "crypto/apikey.h"
#include "gateway/openfaas.h"

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool gw_percent_decode(const char *text, size_t len, bool is_query, char *out, size_t room)
{
    size_t used = 0;

    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];

        if (c == '%') {
            if (len - i < 3 || hex(text[i + 1]) < 0 || hex(text[i + 2]) < 0)
                return false;
            c = (unsigned char)(hex(text[i + 1]) * 16 + hex(text[i + 2]));
            i += 2;
        } else if (c == '+' && is_query) {
            c = ' ';
        }
        if (c < 0x20 || c == 0x7f || used + 1 >= room)
            return false;
        out[used++] = (char)c;
    }
    if (used >= room)
        return false;
    out[used] = '\0';
    return true;
}

void gw_path_for_log(const char *path, char *out, size_t room)
{
    char plain[GW_PATH_LOG_MAX], masked[GW_PATH_LOG_MAX];

    (void)snprintf(out, room, "%s", path);
    if (!gw_percent_decode(out, strlen(out), false, plain, sizeof plain))
        (void)snprintf(plain, sizeof plain, "%s", out);
    memcpy(masked, plain, sizeof masked);
    faas_apikey_mask(masked);
    if (strcmp(masked, plain) != 0)
        (void)snprintf(out, room, "%s", masked);
}

/* ---- query ---- */

static faas_code add_pair(json_t *doc, const char *pair, size_t len, faas_err *err)
{
    const char *equals = memchr(pair, '=', len);
    size_t key_len = equals == NULL ? len : (size_t)(equals - pair);
    char key[64];
    FAAS_AUTO(char) *value = malloc(len + 1);

    if (value == NULL)
        return faas_fail_sys(err, ENOMEM, "query value");
    if (!gw_percent_decode(pair, key_len, true, key, sizeof key) || key[0] == '\0' ||
        !faas_utf8_is(key, strlen(key)))
        return faas_fail(err, FAAS_INVALID, "query: a parameter's name is malformed or too long");
    if (equals == NULL)
        return faas_fail(err, FAAS_INVALID, "%s: the query parameter has no value", key);
    if (!gw_percent_decode(equals + 1, len - key_len - 1, true, value, len + 1))
        return faas_fail(err, FAAS_INVALID,
                         "%s: bad percent escape or control character in the query", key);
    if (!faas_utf8_is(value, strlen(value)))
        return faas_fail(err, FAAS_INVALID, "%s: not valid UTF-8", key);
    if (json_object_get(doc, key) != NULL)
        return faas_fail(err, FAAS_INVALID, "%s: given twice in the query", key);
    if (strcmp(key, "current_password") == 0) /* addresses are logged on their way */
        return faas_fail(err, FAAS_INVALID, "%s: goes in the body, never in the query", key);
    if (json_object_set_new(doc, key, json_string(value)) != 0)
        return faas_fail_sys(err, ENOMEM, "query parameter");
    return FAAS_OK;
}

faas_code gw_query_json(const char *query, json_t **out_doc, faas_err *err)
{
    FAAS_AUTO(json_t) *doc = json_object();
    size_t len;

    if (doc == NULL)
        return faas_fail_sys(err, ENOMEM, "query");
    while (query != NULL && *query != '\0') {
        len = strcspn(query, "&");
        FAAS_TRY(add_pair(doc, query, len, err));
        query += len;
        if (*query != '&')
            break;
        query++;
        if (*query == '\0')
            return faas_fail(err, FAAS_INVALID, "query: ends with '&'");
    }
    *out_doc = FAAS_STEAL(doc);
    return FAAS_OK;
}

/* ---- the body of a bus request ---- */

static faas_code add_version(json_t *doc, const struct gw_param *param, faas_err *err)
{
    size_t digits = strspn(param->value, "0123456789");

    if (digits == 0 || digits > 15 || param->value[digits] != '\0')
        return faas_fail(err, FAAS_INVALID, "version: expected a whole number from 1");
    if (json_object_set_new(doc, param->key, json_integer(strtoll(param->value, NULL, 10))) != 0)
        return faas_fail_sys(err, ENOMEM, "path parameter");
    return FAAS_OK;
}

static faas_code add_param(json_t *doc, const struct gw_param *param, faas_err *err)
{
    const json_t *present = json_object_get(doc, param->key);

    if (strcmp(param->key, "version") == 0 && present == NULL)
        return add_version(doc, param, err);
    if (!faas_utf8_is(param->value, strlen(param->value)))
        return faas_fail(err, FAAS_INVALID, "%s: not valid UTF-8", param->key);
    if (present != NULL &&
        (!json_is_string(present) || strcmp(json_string_value(present), param->value) != 0))
        return faas_fail(err, FAAS_INVALID, "%s: differs from the one in the path", param->key);
    if (json_object_set_new(doc, param->key, json_string(param->value)) != 0)
        return faas_fail_sys(err, ENOMEM, "path parameter");
    return FAAS_OK;
}

static bool takes_query(const char *method)
{
    return strcmp(method, "GET") == 0 || strcmp(method, "DELETE") == 0;
}

faas_code gw_request_json(const struct gw_input *in, char **out_text, size_t *out_len,
                          faas_err *err)
{
    FAAS_AUTO(json_t) *doc = NULL;
    bool has_query = in->query != NULL && in->query[0] != '\0';
    faas_code rc = FAAS_OK;

    if (openfaas_speaks(in->match->route))
        return openfaas_request(in, out_text, out_len, err);
    if (has_query && !takes_query(in->match->route->method))
        return faas_fail(err, FAAS_INVALID, "query: parameters of this request go in its body");
    if (has_query && in->body_len > 0)
        return faas_fail(err, FAAS_INVALID,
                         "parameters: in the query or in a JSON body, not in both");
    *out_text = NULL;
    *out_len = in->body_len;
    if (!has_query && in->match->count == 0)
        return FAAS_OK; /* the service decodes what came */
    if (has_query)
        FAAS_TRY(gw_query_json(in->query, &doc, err));
    else
        FAAS_TRY(faas_json_parse(in->body, in->body_len, true, &doc, err));
    for (size_t i = 0; i < in->match->count && rc == FAAS_OK; i++)
        rc = add_param(doc, &in->match->params[i], err);
    if (rc == FAAS_OK)
        *out_text = faas_json_text(doc, out_len);
    faas_json_wipe(doc);
    FAAS_TRY(rc);
    return *out_text != NULL ? FAAS_OK : faas_fail_sys(err, ENOMEM, "encode request");
}

/* ---- headers of a call ---- */

static double unit_ms(const char *text, size_t *out_len)
{
    static const struct {
        const char *name;
        double ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};

    for (size_t i = 0; i < FAAS_ARRAY_LEN(units); i++) {
        *out_len = strlen(units[i].name);
        if (strncmp(text, units[i].name, *out_len) == 0)
            return units[i].ms;
    }
    return 0;
}

/* One "1.5s" at *text, or a bare number at its end; its milliseconds, negative when it is none. */
static double take_duration(const char **text, bool *out_is_bare)
{
    size_t digits = strspn(*text, "0123456789"), more = 0, unit_len;
    double value, unit;

    if (digits == 0 || digits > 12)
        return -1;
    if ((*text)[digits] == '.') {
        more = 1 + strspn(*text + digits + 1, "0123456789");
        if (more == 1 || more > 10)
            return -1;
    }
    value = strtod(*text, NULL);
    *text += digits + more;
    *out_is_bare = **text == '\0' && more == 0;
    if (*out_is_bare)
        return value;
    unit = unit_ms(*text, &unit_len);
    if (unit == 0)
        return -1;
    *text += unit_len;
    return value * unit;
}

faas_code gw_timeout_parse(const char *text, int64_t *out_ms, faas_err *err)
{
    const char *at = text;
    double sum = 0, part;
    bool is_bare;

    do {
        part = take_duration(&at, &is_bare);
        /* A bare number stands alone: "1s500" is a slip, not a duration. */
        if (part < 0 || (is_bare && at != text + strspn(text, "0123456789")))
            return faas_fail(err, FAAS_INVALID,
                             "X-Timeout: expected milliseconds or a duration such as 1500ms, "
                             "10s, 1m30s");
        sum += part;
    } while (*at != '\0');
    if (sum < 1)
        return faas_fail(err, FAAS_INVALID, "X-Timeout: expected at least 1 ms");
    *out_ms = sum < FAAS_TIMEOUT_MS_MAX ? (int64_t)ceil(sum) : FAAS_TIMEOUT_MS_MAX;
    return FAAS_OK;
}

/* One media range, whatever its parameters: whoever would take something else as well gets what
 * everybody gets. */
static bool is_event_stream(const char *accept)
{
    static const char type[] = "text/event-stream";
    const char *at = accept + strspn(accept, " \t");

    if (strncasecmp(at, type, sizeof type - 1) != 0 || strchr(at, ',') != NULL)
        return false;
    at += sizeof type - 1;
    at += strspn(at, " \t");
    return *at == '\0' || *at == ';';
}

faas_code gw_stream_parse(const char *accept, const char *stream, enum gw_stream *out_stream,
                          faas_err *err)
{
    bool is_events = accept != NULL && is_event_stream(accept);

    if (stream != NULL && strcmp(stream, "true") != 0 && strcmp(stream, "false") != 0)
        return faas_fail(err, FAAS_INVALID, "X-Stream: expected true or false");
    if (stream != NULL && strcmp(stream, "false") == 0)
        *out_stream = GW_WHOLE;
    else if (is_events)
        *out_stream = GW_EVENTS;
    else
        *out_stream = stream != NULL ? GW_BYTES : GW_WHOLE;
    return FAAS_OK;
}

faas_code gw_leaving_parse(const char *text, bool *out_goes_on, faas_err *err)
{
    *out_goes_on = text != NULL && strcmp(text, "continue") == 0;
    if (text == NULL || *out_goes_on || strcmp(text, "cancel") == 0)
        return FAAS_OK;
    return faas_fail(err, FAAS_INVALID, "X-On-Disconnect: expected cancel or continue");
}

faas_code gw_label_check(const char *text, faas_err *err)
{
    size_t len = 0;

    while (len <= GW_LABEL_MAX && text[len] >= 0x20 && text[len] <= 0x7e)
        len++;
    if (len == 0 || len > GW_LABEL_MAX || text[len] != '\0')
        return faas_fail(err, FAAS_INVALID,
                         "X-Call-Id: expected 1 to %d printable ASCII characters", GW_LABEL_MAX);
    return FAAS_OK;
}

static bool is_printable(const char *text, size_t most, char from)
{
    size_t len = 0;

    while (len <= most && text[len] >= from && text[len] <= 0x7e)
        len++;
    return len > 0 && len <= most && text[len] == '\0';
}

faas_code gw_key_hash(const char *text, char out_hash[FAAS_HASH_TEXT], faas_err *err)
{
    if (!is_printable(text, GW_KEY_MAX, 0x20))
        return faas_fail(err, FAAS_INVALID,
                         "Idempotency-Key: expected 1 to %d printable ASCII characters",
                         GW_KEY_MAX);
    faas_hash_text(text, strlen(text), out_hash);
    return FAAS_OK;
}

faas_code gw_callback_check(const char *text, faas_err *err)
{
    const char *host = strncmp(text, "https://", 8) == 0  ? text + 8
                       : strncmp(text, "http://", 7) == 0 ? text + 7
                                                          : "";
    size_t len = strcspn(host, "/?#");

    if (!is_printable(text, FAAS_CALLBACK_MAX, 0x21) || len == 0)
        return faas_fail(err, FAAS_INVALID,
                         "X-Callback-Url: expected http:// or https:// and a host, at most %d "
                         "characters",
                         FAAS_CALLBACK_MAX);
    if (memchr(host, '@', len) != NULL)
        return faas_fail(err, FAAS_INVALID,
                         "X-Callback-Url: a user or password in it is not supported");
    return FAAS_OK;
}
