#include "base/envelope.h"

#include <errno.h>
#include <string.h>

#define PREFIX_BYTES 4

faas_code faas_envelope_join(const struct faas_envelope_parts *parts, void **out_msg,
                             size_t *out_len, faas_err *err)
{
    size_t json_len = parts->json_len, len = parts->len;
    unsigned char *msg;

    if (json_len > FAAS_ENVELOPE_JSON_MAX)
        return faas_fail(err, FAAS_TOO_LARGE, "envelope: at most %d bytes of JSON, got %zu",
                         FAAS_ENVELOPE_JSON_MAX, json_len);
    if (len > SIZE_MAX - PREFIX_BYTES - json_len)
        return faas_fail(err, FAAS_TOO_LARGE, "envelope: %zu bytes do not fit", len);
    msg = malloc(PREFIX_BYTES + json_len + len);
    if (msg == NULL)
        return faas_fail_sys(err, ENOMEM, "allocate envelope");
    for (int i = 0; i < PREFIX_BYTES; i++)
        msg[i] = (unsigned char)(json_len >> (24 - 8 * i));
    memcpy(msg + PREFIX_BYTES, parts->json, json_len);
    if (len > 0)
        memcpy(msg + PREFIX_BYTES + json_len, parts->bytes, len);
    *out_msg = msg;
    *out_len = PREFIX_BYTES + json_len + len;
    return FAAS_OK;
}

faas_code faas_envelope_pack(const json_t *meta, const void *bytes, size_t len, void **out_msg,
                             size_t *out_len, faas_err *err)
{
    struct faas_envelope_parts parts = {.bytes = bytes, .len = len};
    FAAS_AUTO(char) *text = faas_json_text(meta, &parts.json_len);

    if (text == NULL)
        return faas_fail_sys(err, ENOMEM, "encode envelope");
    parts.json = text;
    return faas_envelope_join(&parts, out_msg, out_len, err);
}

faas_code faas_envelope_open(const void *msg, size_t msg_len, struct faas_envelope *out_env,
                             faas_err *err)
{
    const unsigned char *bytes = msg;
    size_t json_len = 0;
    json_t *meta;

    if (msg_len < PREFIX_BYTES)
        return faas_fail(err, FAAS_INVALID, "envelope: %zu bytes, too short for its length",
                         msg_len);
    for (int i = 0; i < PREFIX_BYTES; i++)
        json_len = json_len << 8 | bytes[i];
    if (json_len > FAAS_ENVELOPE_JSON_MAX || json_len > msg_len - PREFIX_BYTES)
        return faas_fail(err, FAAS_INVALID, "envelope: claims %zu bytes of JSON, has room for %zu",
                         json_len, msg_len - PREFIX_BYTES);
    FAAS_TRY(faas_json_parse(bytes + PREFIX_BYTES, json_len, false, &meta, err));
    out_env->meta = meta;
    out_env->bytes = bytes + PREFIX_BYTES + json_len;
    out_env->len = msg_len - PREFIX_BYTES - json_len;
    return FAAS_OK;
}

void faas_envelope_done(struct faas_envelope *env)
{
    if (env == NULL)
        return;
    json_decref(env->meta);
    *env = (struct faas_envelope){0};
}
