/* The first byte cuts; the rest is an engine's answer to a request, byte for byte.  Whatever it is,
 * the request ends once, with a message that can be shown; the body handed on in pieces is the body
 * kept; no more comes out than came in; and of a well-formed chunked body, decoded here once more,
 * exactly the chunks come out wherever it is cut, and it is complete if its last chunk is there.
 * Nothing is claimed of what libcurl may read in two ways, by where its reads end: other heads, a
 * NUL, trailers, bytes after the end. */
#include <strings.h>

#include "services/spawner/engine.h"
#include "tests/fuzz/claim.h"
#include "tests/support/answer.h"

#define CHUNKED  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
#define BODY_MAX 65536

static struct answer answer;
static faas_loop *loop;
static engine *eng;
static const uint8_t *input;
static size_t input_len;

struct got {
    int done, status;
    bool is_complete;
    size_t len, streamed_len;
    uint8_t body[BODY_MAX], streamed[BODY_MAX];
};

static const void *route(void *arg, const char *request, size_t *out_len)
{
    (void)arg;
    if (strstr(request, "/fuzzed ") == NULL)
        return answer_engine(request, out_len);
    *out_len = input_len;
    return input;
}

static void teardown(void)
{
    engine_free(eng);
    answer_close(&answer);
    faas_loop_free(loop);
}

static void setup(void)
{
    CLAIM(faas_loop_new(&loop, NULL) == FAAS_OK);
    answer = (struct answer){.ev = faas_loop_ev(loop), .route = route};
    answer_open(&answer);
    CLAIM(engine_new(&(struct engine_conf){.loop = loop, .host = answer.host}, &eng, NULL) ==
          FAAS_OK);
    engine_begin(eng);
    while (engine_state(eng) == ENGINE_UNKNOWN)
        ev_run(answer.ev, EVRUN_ONCE);
    CLAIM(engine_state(eng) == ENGINE_UP);
}

static void on_chunk(void *arg, const char *data, size_t len)
{
    struct got *got = arg;

    CLAIM(got->streamed_len + len <= input_len);
    memcpy(got->streamed + got->streamed_len, data, len);
    got->streamed_len += len;
}

static void on_done(void *arg, const struct engine_reply *reply)
{
    struct got *got = arg;
    char text[FAAS_ERR_MSG_MAX];

    got->done++;
    got->status = reply->status;
    got->is_complete = reply->is_complete;
    got->len = reply->len;
    CLAIM(reply->len <= input_len && reply->body[reply->len] == '\0');
    memcpy(got->body, reply->body, reply->len);
    engine_reply_text(reply, text);
    CLAIM(text[0] != '\0' && faas_utf8_is(text, strlen(text)));
    CLAIM(reply->status >= 0 && reply->status <= 999);
    /* libcurl takes it in any case of letters. */
    CLAIM(!reply->is_complete ||
          (input_len > 5 && strncasecmp((const char *)input, "HTTP/", 5) == 0));
    json_decref(engine_reply_json(reply));
}

static void run(size_t piece, bool is_streamed, struct got *got)
{
    struct engine_call call = {.method = "GET",
                               .path = "/fuzzed",
                               .chunk = is_streamed ? on_chunk : NULL,
                               .done = on_done,
                               .arg = got};

    memset(got, 0, sizeof *got);
    answer.piece = piece;
    CLAIM(engine_send(eng, &call, NULL, NULL) == FAAS_OK);
    while (got->done == 0)
        ev_run(answer.ev, EVRUN_ONCE);
    ev_run(answer.ev, EVRUN_NOWAIT);
    CLAIM(got->done == 1);
    while (engine_state(eng) != ENGINE_UP)
        ev_run(answer.ev, EVRUN_ONCE);
}

enum chunks { WHOLE, SHORT, OTHER };

/* Lengths in hex without extensions, no trailers, nothing after them; *out_len bytes at out. */
static enum chunks unchunk(const uint8_t *data, size_t len, uint8_t *out, size_t *out_len)
{
    static const char digits[] = "0123456789abcdef";

    *out_len = 0;
    for (;;) {
        size_t size = 0, count = 0;

        for (; len > 0 && *data != '\r' && count < 6; data++, len--, count++) {
            const char *at = *data != '\0' ? strchr(digits, *data) : NULL;

            if (at == NULL)
                return OTHER;
            size = size * 16 + (size_t)(at - digits);
        }
        if (len < 2)
            return SHORT;
        if (count == 0 || memcmp(data, "\r\n", 2) != 0)
            return OTHER;
        data += 2, len -= 2;
        if (len < size + 2)
            return size > 0 ? SHORT : OTHER; /* libcurl may let a last line without its end pass */
        if (memcmp(data + size, "\r\n", 2) != 0)
            return OTHER;
        memcpy(out + *out_len, data, size);
        *out_len += size;
        data += size + 2, len -= size + 2;
        if (size == 0)
            return len == 0 ? WHOLE : OTHER;
    }
}

static bool is_same(const struct got *a, const struct got *b)
{
    return a->status == b->status && a->is_complete == b->is_complete && a->len == b->len &&
           memcmp(a->body, b->body, a->len) == 0;
}

static void claim_chunks(const struct got *one, const struct got *cut, const struct got *streamed)
{
    static uint8_t body[BODY_MAX];
    size_t head = strlen(CHUNKED), len = 0;
    enum chunks kind;

    if (input_len < head || memcmp(input, CHUNKED, head) != 0)
        return;
    kind = unchunk(input + head, input_len - head, body, &len);
    if (kind == OTHER)
        return;
    CLAIM(one->is_complete == (kind == WHOLE));
    CLAIM(!one->is_complete || (one->len == len && memcmp(one->body, body, len) == 0));
    CLAIM(is_same(one, cut));
    CLAIM(streamed->status == one->status && streamed->is_complete == one->is_complete);
    CLAIM(streamed->streamed_len == one->len);
    CLAIM(memcmp(streamed->streamed, one->body, one->len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct got one, cut, streamed;

    if (eng == NULL) {
        setup();
        atexit(teardown);
    }
    if (size == 0 || size > BODY_MAX)
        return 0;
    input = data + 1;
    input_len = size - 1;
    run(0, false, &one);
    run(data[0] % 61 + 1, false, &cut);
    run(0, true, &streamed);
    claim_chunks(&one, &cut, &streamed);
    return 0;
}
