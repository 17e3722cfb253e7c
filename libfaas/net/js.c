#include "net/js.h"

#include <inttypes.h>
#include <sodium.h>
#include <string.h>

bool faas_js_parse(const faas_msg *msg, struct faas_js_reply *out_reply, faas_err *trouble)
{
    const json_t *error;
    const char *text;

    *out_reply = (struct faas_js_reply){0};
    if (faas_json_parse(faas_msg_data(msg), faas_msg_len(msg), false, &out_reply->doc, trouble) !=
        FAAS_OK)
        return false;
    error = json_object_get(out_reply->doc, "error");
    if (error == NULL)
        return true;
    out_reply->error = json_integer_value(json_object_get(error, "err_code"));
    out_reply->status = json_integer_value(json_object_get(error, "code"));
    if (out_reply->error == 0)
        out_reply->error = out_reply->status != 0 ? out_reply->status : -1;
    text = json_string_value(json_object_get(error, "description"));
    faas_err_detail(trouble, "%" PRId64 " %s", out_reply->error, text != NULL ? text : "");
    return true;
}

bool faas_js_may_pass(const struct faas_js_reply *reply)
{
    return reply->status == 503 || reply->status == 500 || reply->status == 408 ||
           reply->status == 429 || reply->error == FAAS_JS_NO_PEERS;
}

bool faas_js_decode(const json_t *text, void **out_bytes, size_t *out_len)
{
    const char *base64 = json_string_value(text);
    size_t room = json_string_length(text) / 4 * 3 + 4;
    unsigned char *bytes = malloc(room);

    *out_len = 0;
    if (bytes == NULL)
        return false;
    if (base64 != NULL && sodium_base642bin(bytes, room - 1, base64, json_string_length(text), NULL,
                                            out_len, NULL, sodium_base64_VARIANT_ORIGINAL) != 0) {
        free(bytes);
        return false;
    }
    bytes[*out_len] = '\0';
    *out_bytes = bytes;
    return true;
}

void faas_js_header(const char *block, const char *name, char *out_value, size_t room)
{
    size_t name_len = strlen(name), len;

    out_value[0] = '\0';
    for (const char *line = strstr(block, "\r\n"); line != NULL; line = strstr(line, "\r\n")) {
        line += 2;
        if (strncasecmp(line, name, name_len) != 0 || line[name_len] != ':')
            continue;
        line += name_len + 1;
        line += strspn(line, " ");
        len = strcspn(line, "\r\n");
        if (len < room) {
            memcpy(out_value, line, len);
            out_value[len] = '\0';
        }
        return;
    }
}
