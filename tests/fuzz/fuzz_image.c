/* An engine's words about an image, read as a registration reads them.  The first byte says what the
 * rest is: 'I' the answer's body to an inspection, 'P' the progress lines of a pull.  Whatever it is,
 * there is one end: what PROTOCOL.md section 3 promises, every part of the right type, or an error
 * that can be shown; a pull with an error line is an error with that text. */
#include <jansson.h>

#include "services/spawner/runtime_docker.h"
#include "tests/fuzz/claim.h"
#include "tests/support/answer.h"

#define ANSWER_MAX 65536
#define GOOD                                                                                       \
    "{\"Id\":\"sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\","         \
    "\"RepoDigests\":[],\"Config\":{\"Cmd\":[\"/x\"]},\"Size\":1,\"Architecture\":\"amd64\"}"

static struct answer answer;
static faas_loop *loop;
static struct runtime *rt;
static const char *input;
static size_t input_len;
static bool is_pull, was_pulled;

struct got {
    int done;
    faas_code code;
    char msg[FAAS_ERR_MSG_MAX];
    json_t *reply;
};

static const void *reply_with(int status, const char *body, size_t len, size_t *out_len)
{
    static char text[ANSWER_MAX + 256];
    int head =
        snprintf(text, sizeof text, "HTTP/1.1 %d X\r\nContent-Length: %zu\r\n\r\n", status, len);

    memcpy(text + head, body, len);
    *out_len = (size_t)head + len;
    return text;
}

static const void *route(void *arg, const char *request, size_t *out_len)
{
    const void *usual = answer_engine(request, out_len);

    (void)arg;
    if (usual != NULL)
        return usual;
    if (strstr(request, "/tag?") != NULL)
        return reply_with(201, "", 0, out_len);
    if (strstr(request, "/images/create?") != NULL) {
        was_pulled = true;
        return reply_with(200, input, input_len, out_len);
    }
    if (is_pull && !was_pulled)
        return reply_with(404, "{\"message\":\"no\"}", 16, out_len);
    return is_pull ? reply_with(200, GOOD, strlen(GOOD), out_len)
                   : reply_with(200, input, input_len, out_len);
}

static void teardown(void)
{
    runtime_docker_free(rt);
    answer_close(&answer);
    faas_loop_free(loop);
}

static bool yes(void *arg)
{
    (void)arg;
    return true;
}

static bool yes_spawner(void *arg, const char *spawner)
{
    (void)arg, (void)spawner;
    return true;
}

static void setup(void)
{
    struct docker_conf conf = {.auth_file = "",
                               .allowed = "*",
                               .pulls = 2,
                               .pull_timeout_ms = 10000,
                               .owner = {"cluster", "spawner", "epoch"},
                               .is_bus_heard = yes,
                               .is_spawner_heard = yes_spawner};
    faas_err err = {0};

    CLAIM(faas_loop_new(&loop, NULL) == FAAS_OK);
    answer = (struct answer){.ev = faas_loop_ev(loop), .route = route};
    answer_open(&answer);
    conf.loop = loop;
    conf.host = answer.host;
    CLAIM(runtime_docker_new(&conf, &rt, NULL) == FAAS_OK);
    runtime_docker_begin(rt, "epoch");
    while (rt->ops->usable(rt, &err) != FAAS_OK)
        ev_run(answer.ev, EVRUN_ONCE);
}

static void on_resolved(void *arg, faas_code code, const json_t *reply, const faas_err *err)
{
    struct got *got = arg;

    got->done++;
    got->code = code;
    got->reply = json_deep_copy(reply);
    if (code == FAAS_OK)
        return;
    snprintf(got->msg, sizeof got->msg, "%s", err->msg);
    claim_outcome(code, err->code, err);
}

static const char *text_in(const json_t *doc, const char *name)
{
    const char *text = json_string_value(json_object_get(doc, name));

    CLAIM(text != NULL);
    return text;
}

static void claim_list(const json_t *list)
{
    size_t i;
    json_t *item;

    CLAIM(json_is_null(list) || json_is_array(list));
    json_array_foreach (list, i, item)
        CLAIM(json_is_string(item));
}

static void claim_reply(const json_t *reply)
{
    const json_t *digest = json_object_get(reply, "digest");
    const char *kind = text_in(digest, "kind");

    CLAIM(strcmp(kind, "manifest") == 0 || strcmp(kind, "docker-id") == 0);
    CLAIM(strncmp(text_in(digest, "value"), "sha256:", 7) == 0);
    CLAIM(strlen(text_in(digest, "value")) == 71);
    CLAIM(strcmp(text_in(reply, "reference"), "docker.io/library/upper:latest") == 0);
    CLAIM(text_in(reply, "user") != NULL && text_in(reply, "architecture") != NULL);
    CLAIM(json_is_integer(json_object_get(reply, "size_bytes")));
    CLAIM(json_integer_value(json_object_get(reply, "size_bytes")) >= 0);
    claim_list(json_object_get(reply, "entrypoint"));
    claim_list(json_object_get(reply, "cmd"));
}

/* The last line counts without a line's end, too. */
static bool has_error_line(void)
{
    for (size_t at = 0; at < input_len;) {
        const char *end = memchr(input + at, '\n', input_len - at);
        size_t len = end != NULL ? (size_t)(end - input) - at : input_len - at;
        json_t *doc = json_loadb(input + at, len, 0, NULL);
        bool has = json_is_string(json_object_get(doc, "error"));

        json_decref(doc);
        if (has)
            return true;
        at += len + 1;
    }
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct got got = {.done = 0};

    if (rt == NULL) {
        setup();
        atexit(teardown);
    }
    if (size == 0 || size > ANSWER_MAX)
        return 0;
    input = (const char *)data + 1;
    input_len = size - 1;
    is_pull = data[0] == 'P';
    was_pulled = false;
    rt->ops->resolve(rt, &(struct rt_image){.reference = "upper"}, 10000, on_resolved, &got);
    while (got.done == 0)
        ev_run(answer.ev, EVRUN_ONCE);
    ev_run(answer.ev, EVRUN_NOWAIT);
    CLAIM(got.done == 1);
    CLAIM((got.code == FAAS_OK) == (got.reply != NULL));
    if (got.code == FAAS_OK)
        claim_reply(got.reply);
    if (is_pull && has_error_line())
        CLAIM(got.code == FAAS_UNPROCESSABLE && got.msg[0] != '\0');
    else if (is_pull)
        CLAIM(got.code == FAAS_OK);
    json_decref(got.reply);
    return 0;
}
