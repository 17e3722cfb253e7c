/* Any message either fails as INVALID and gives nothing, or opens into an object and bytes that lie
 * within it and that pack into a message which opens as the same.  A length beyond the message is
 * refused as such: jansson, which no sanitizer watches, never reads there. */
#include "base/envelope.h"
#include "tests/fuzz/claim.h"

static void claim_round_trip(const struct faas_envelope *env)
{
    struct faas_envelope again = {0};
    FAAS_AUTO(void) *msg = NULL;
    size_t len = 0;
    faas_err err = {0};
    faas_code rc = faas_envelope_pack(env->meta, env->bytes, env->len, &msg, &len, &err);

    /* Escapes may be longer when written than they were when read. */
    claim_outcome(rc, FAAS_TOO_LARGE, &err);
    if (rc != FAAS_OK)
        return;
    CLAIM(faas_envelope_open(msg, len, &again, &err) == FAAS_OK);
    CLAIM(json_equal(env->meta, again.meta) && env->len == again.len);
    CLAIM(env->len == 0 || memcmp(env->bytes, again.bytes, env->len) == 0);
    faas_envelope_done(&again);
}

static bool is_length_a_lie(const uint8_t *data, size_t size)
{
    uint32_t claimed = 0;

    for (size_t i = 0; i < 4 && i < size; i++)
        claimed = claimed << 8 | data[i];
    return size < 4 || claimed > size - 4;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct faas_envelope env = {0};
    faas_err err = {0};
    faas_code rc = faas_envelope_open(data, size, &env, &err);

    claim_outcome(rc, FAAS_INVALID, &err);
    CLAIM((rc == FAAS_OK) == (env.meta != NULL));
    if (is_length_a_lie(data, size))
        CLAIM(strncmp(err.msg, "envelope: ", 10) == 0);
    if (rc != FAAS_OK)
        return 0;
    CLAIM(json_is_object(env.meta));
    CLAIM((const uint8_t *)env.bytes >= data + 6 &&
          (const uint8_t *)env.bytes + env.len == data + size);
    claim_round_trip(&env);
    faas_envelope_done(&env);
    return 0;
}
