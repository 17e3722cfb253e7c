/* Any bytes, cut anywhere, give the same two streams or the same refusal as in one piece; what comes
 * out lies within what came in, and never more of it. */
#include "services/spawner/stream.h"
#include "tests/fuzz/claim.h"

struct got {
    uint8_t *bytes[4];
    size_t len[4];
    const uint8_t *from, *to;
};

static void take(void *arg, enum stream_kind kind, const uint8_t *data, size_t len)
{
    struct got *got = arg;

    CLAIM(len > 0 && kind != STREAM_STDIN && kind <= STREAM_ENGINE);
    CLAIM(data >= got->from && data + len <= got->to);
    memcpy(got->bytes[kind] + got->len[kind], data, len);
    got->len[kind] += len;
}

static faas_code run(const uint8_t *data, size_t size, size_t cut, struct got *got, bool *out_whole)
{
    struct stream stream = {.head_len = 0};
    faas_code rc = FAAS_OK;

    for (size_t at = 0; at < size && rc == FAAS_OK; at += cut) {
        size_t len = size - at < cut ? size - at : cut;
        faas_err err = {0};

        got->from = data + at;
        got->to = data + at + len;
        rc = stream_feed(&stream, data + at, len, take, got, &err);
        claim_outcome(rc, FAAS_INVALID, &err);
    }
    *out_whole = stream_is_whole(&stream);
    CLAIM(rc == FAAS_OK || !*out_whole);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct got one = {.from = NULL}, cut = {.from = NULL};
    bool is_whole = false, is_cut_whole = false;
    size_t piece = size > 0 ? data[size - 1] % 19 + 1 : 1, total = 0;
    faas_code rc;

    for (int i = 0; i < 4; i++) {
        one.bytes[i] = malloc(size + 1);
        cut.bytes[i] = malloc(size + 1);
        CLAIM(one.bytes[i] != NULL && cut.bytes[i] != NULL);
    }
    rc = run(data, size, size + 1, &one, &is_whole);
    CLAIM(rc == run(data, size, piece, &cut, &is_cut_whole));
    CLAIM(is_whole == is_cut_whole);
    for (int i = 0; i < 4; i++) {
        CLAIM(one.len[i] == cut.len[i] && memcmp(one.bytes[i], cut.bytes[i], one.len[i]) == 0);
        total += one.len[i];
        free(one.bytes[i]);
        free(cut.bytes[i]);
    }
    CLAIM(total <= size);
    return 0;
}
