/* The first byte cuts and says whether there is input to send; the rest is what an engine answers to
 * an attach, byte for byte.  Whatever it is, the end is told once and last; cut anywhere it means the
 * same; it is ready only after a well-formed head of status 200 or 101, and then exactly the bytes
 * behind that head come out, and all of them. */
#include "services/spawner/attach.h"
#include "tests/fuzz/claim.h"
#include "tests/support/answer.h"

#define INPUT_MAX 65536

static struct answer answer;
static faas_loop *loop;
static engine *eng;
static const uint8_t *input;
static size_t input_len;

struct got {
    int ready, ended;
    bool is_failed;
    size_t len;
    uint8_t data[INPUT_MAX];
};

static const void *route(void *arg, const char *request, size_t *out_len)
{
    (void)arg, (void)request;
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
}

static void on_ready(void *arg)
{
    struct got *got = arg;

    CLAIM(got->ready++ == 0 && got->ended == 0);
}

static void on_data(void *arg, const uint8_t *data, size_t len)
{
    struct got *got = arg;

    CLAIM(got->ready == 1 && got->ended == 0 && len > 0 && got->len + len <= input_len);
    memcpy(got->data + got->len, data, len);
    got->len += len;
}

static void on_end(void *arg, const faas_err *err)
{
    struct got *got = arg;

    CLAIM(got->ended++ == 0);
    got->is_failed = err != NULL;
    if (err != NULL)
        claim_outcome(err->code, FAAS_UNAVAILABLE, err);
}

static void run(size_t piece, bool has_input, struct got *got)
{
    struct attach_conf conf = {.eng = eng,
                               .container = "c",
                               .input = has_input ? "typed" : NULL,
                               .input_len = 5,
                               .ready = on_ready,
                               .data = on_data,
                               .end = on_end,
                               .arg = got};
    attach *at = NULL;

    memset(got, 0, sizeof *got);
    answer.piece = piece;
    CLAIM(attach_open(&conf, &at, NULL) == FAAS_OK);
    while (got->ended == 0)
        ev_run(answer.ev, EVRUN_ONCE);
    attach_close(at);
    while (!LIST_EMPTY(&answer.conns))
        ev_run(answer.ev, EVRUN_ONCE);
}

/* "HTTP/1.<digit> <200|101>", then a blank or the line's end. */
static bool is_accepted(const uint8_t *head, size_t len)
{
    const char *text = (const char *)head;

    return len >= 13 && memcmp(text, "HTTP/1.", 7) == 0 && text[7] >= '0' && text[7] <= '9' &&
           text[8] == ' ' && (memcmp(text + 9, "200", 3) == 0 || memcmp(text + 9, "101", 3) == 0) &&
           (text[12] == ' ' || text[12] == '\r');
}

static void claim_bytes(const struct got *got)
{
    const uint8_t *border = memmem(input, input_len, "\r\n\r\n", 4);
    const uint8_t *zero = memchr(input, '\0', input_len);
    size_t head = border != NULL ? (size_t)(border - input) + 4 : input_len;

    CLAIM(got->ready == (border != NULL && (zero == NULL || zero > border) && head < 16 * 1024 &&
                         is_accepted(input, head)));
    CLAIM(got->is_failed == (got->ready == 0));
    CLAIM(got->len == (got->ready == 1 ? input_len - head : 0));
    CLAIM(memcmp(got->data, input + head, got->len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct got one, cut;

    if (eng == NULL) {
        setup();
        atexit(teardown);
    }
    if (size == 0 || size > INPUT_MAX)
        return 0;
    input = data + 1;
    input_len = size - 1;
    run(0, data[0] % 2 == 1, &one);
    run(data[0] % 61 + 1, data[0] % 2 == 1, &cut);
    claim_bytes(&one);
    claim_bytes(&cut);
    return 0;
}
