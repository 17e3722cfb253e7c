/* Outputs as server-sent events: the bytes come back, text stays text, an event is never two. */
#include "gateway/sse.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "tests/unit/unit.h"

static struct sse sse;
static char out[SSE_ROOM + 1];
static char got[SSE_STREAMS][4 * SSE_PIECE]; /* what events say was written */
static size_t got_len[SSE_STREAMS], texts, base64s;

static int clear(void **state)
{
    (void)state;
    memset(&sse, 0, sizeof sse);
    memset(got_len, 0, sizeof got_len);
    texts = base64s = 0;
    return 0;
}

static void read_data(int stream, const char *line)
{
    FAAS_AUTO(json_t) *doc = json_loads(line, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    const json_t *text = json_object_get(doc, "text"), *base64 = json_object_get(doc, "base64");
    char *to = got[stream] + got_len[stream];
    size_t n;

    assert_int_equal(json_object_size(doc), 1);
    if (text != NULL) {
        n = json_string_length(text);
        memcpy(to, json_string_value(text), n);
        texts++;
    } else {
        assert_int_equal(sodium_base642bin((unsigned char *)to, sizeof got[0] - got_len[stream],
                                           json_string_value(base64), json_string_length(base64),
                                           NULL, &n, NULL, sodium_base64_VARIANT_ORIGINAL),
                         0);
        base64s++;
    }
    got_len[stream] += n;
}

/* Events as their readers read them: three lines each. */
static void read_events(size_t len)
{
    char *at = out;

    assert_true(len <= SSE_ROOM);
    out[len] = '\0';
    while (*at != '\0') {
        char *data = strstr(at, "\ndata: "), *end = data != NULL ? strstr(data, "\n\n") : NULL;

        assert_non_null(end);
        *data = *end = '\0';
        assert_null(strpbrk(data + 1, "\r\n"));
        assert_true(strcmp(at, "event: stdout") == 0 || strcmp(at, "event: stderr") == 0);
        read_data(strcmp(at, "event: stderr") == 0, data + 7);
        at = end + 2;
    }
}

static void put(enum sse_stream stream, const void *data, size_t len)
{
    read_events(sse_write(&sse, stream, data, len, out));
}

static void a_line_is_an_event(void **state)
{
    size_t len = sse_write(&sse, SSE_STDOUT, "a \"line\"\\\r\n\t\x1b", 13 - 1, out);

    (void)state;
    out[len] = '\0';
    assert_string_equal(out, "event: stdout\ndata: {\"text\":\"a \\\"line\\\"\\\\\\r\\n\\t\"}\n\n");
}

static void bytes_that_are_no_text_are_base64(void **state)
{
    size_t len = sse_write(&sse, SSE_STDERR, "\xff\x00z", 3, out);

    (void)state;
    out[len] = '\0';
    assert_string_equal(out, "event: stderr\ndata: {\"base64\":\"/wB6\"}\n\n");
}

static void a_cut_character_waits_for_its_rest_in_its_own_stream(void **state)
{
    (void)state;
    put(SSE_STDOUT, "a\xf0\x9f", 3);
    put(SSE_STDERR, "e\xc3", 2);
    put(SSE_STDOUT, "\x99", 1);
    put(SSE_STDERR, "\xa4", 1);
    put(SSE_STDOUT, "\x82z", 2);
    read_events(sse_flush(&sse, out));
    assert_int_equal(base64s, 0);
    assert_memory_equal(got[0], "a\xf0\x9f\x99\x82z", 6);
    assert_memory_equal(got[1], "e\xc3\xa4", 3);
}

static void what_never_comes_whole_is_given_at_the_end(void **state)
{
    (void)state;
    assert_int_equal(sse_write(&sse, SSE_STDOUT, "\xe6\xbc", 2, out), 0);
    assert_int_equal(sse_write(&sse, SSE_STDERR, "\xc3", 1, out), 0);
    read_events(sse_flush(&sse, out));
    assert_memory_equal(got[0], "\xe6\xbc", 2);
    assert_memory_equal(got[1], "\xc3", 1);
    assert_int_equal(sse_flush(&sse, out), 0);
}

static void the_longest_pieces_fit(void **state)
{
    static char piece[SSE_PIECE];

    (void)state;
    put(SSE_STDOUT, "\xf0\x9f\x99", 3);
    memset(piece, '"', sizeof piece);
    put(SSE_STDOUT, piece, sizeof piece);
    memset(piece, 0, sizeof piece);
    put(SSE_STDOUT, piece, sizeof piece);
    assert_int_equal(got_len[0], 3 + 2 * SSE_PIECE);
}

/* Any bytes, cut anywhere, come back as they were. */
static void any_bytes_come_back(void **state)
{
    static uint8_t bytes[2 * SSE_PIECE];
    uint32_t x = 2463534242u;
    size_t at = 0;

    (void)state;
    for (size_t i = 0; i < sizeof bytes; i++) {
        x ^= x << 13, x ^= x >> 17, x ^= x << 5;
        bytes[i] = i % 4096 < 2048 ? (uint8_t)("\xc3\xa4\xe6\xbc\xa2z\n"[i % 7]) : (uint8_t)x;
    }
    while (at < sizeof bytes) {
        size_t n = 1 + (x = x * 1103515245u + 12345u) % 700;

        n = n < sizeof bytes - at ? n : sizeof bytes - at;
        put(SSE_STDOUT, bytes + at, n);
        at += n;
    }
    read_events(sse_flush(&sse, out));
    assert_true(texts > 0 && base64s > 0);
    assert_int_equal(got_len[0], sizeof bytes);
    assert_memory_equal(got[0], bytes, sizeof bytes);
}

static void the_end_is_an_event_of_its_own(void **state)
{
    size_t len = 0;
    FAAS_AUTO(char) *text = sse_end("{\"code\":\"ok\"}", &len);

    (void)state;
    assert_string_equal(text, "event: end\ndata: {\"code\":\"ok\"}\n\n");
    assert_int_equal(len, strlen(text));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup(name, clear)
        T(a_line_is_an_event),
        T(bytes_that_are_no_text_are_base64),
        T(a_cut_character_waits_for_its_rest_in_its_own_stream),
        T(what_never_comes_whole_is_given_at_the_end),
        T(the_longest_pieces_fit),
        T(any_bytes_come_back),
        T(the_end_is_an_event_of_its_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
