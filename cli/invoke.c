/* invoke.c - `faas invoke`: one call; standard output is the function's, byte for byte. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "cli/client.h"
#include "cli/output.h"
#include "cli/queued.h"
#include "cli/stream.h"

#define STDIN_MAX         (256 * 1024 * 1024) /* above the platform's usual limit, which answers 413 */
#define SILENCE_MS        3000
#define CALL_TIMEOUT_S    4000 /* longest run, start and a margin */
#define CALL_TIMEOUT_TEXT "longest wait for the answer (4000); the call is cancelled after it"

static int64_t timeout_s = CALL_TIMEOUT_S;
static const char *content_type, *callback_url, *idempotency_key;
static bool is_async, is_follow, is_stream;

const struct cli_option cli_invoke_options[] = {
    {"timeout-s", CLI_INT, &timeout_s, "N", CALL_TIMEOUT_TEXT, 1, 100000, NULL},
    {"content-type", CLI_TEXT, &content_type, "TYPE", "of the argument (application/octet-stream)",
     0, 0, NULL},
    {"stream", CLI_FLAG, &is_stream, NULL,
     "show what the function writes, standard error too, as it writes it", 0, 0, NULL},
    {"async", CLI_FLAG, &is_async, NULL, "queue the call, print its id", 0, 0, NULL},
    {"follow", CLI_FLAG, &is_follow, NULL,
     "queue the call, say its id on standard error, wait and print what it wrote", 0, 0, NULL},
    {"callback", CLI_TEXT, &callback_url, "URL",
     "with --async or --follow: where the platform posts the result once the call has ended", 0, 0,
     NULL},
    {"idempotency-key", CLI_TEXT, &idempotency_key, "KEY",
     "calls of one key within 24 hours are one call", 0, 0, NULL},
    CLI_OPTION_END,
};

struct bytes {
    char *data; /* owned */
    size_t len, room;
};

static faas_code read_stdin(struct bytes *out, faas_err *err)
{
    for (;;) {
        ssize_t n;

        if (out->len == out->room) {
            size_t room = out->room > 0 ? out->room * 2 : 65536;
            char *data = realloc(out->data, room);

            if (data == NULL)
                return faas_fail_sys(err, errno, "argument");
            out->data = data;
            out->room = room;
        }
        n = read(STDIN_FILENO, out->data + out->len, out->room - out->len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return faas_fail(err, FAAS_INVALID, "standard input cannot be read");
        if (n == 0)
            return FAAS_OK;
        out->len += (size_t)n;
        if (out->len > STDIN_MAX)
            return faas_fail(err, FAAS_TOO_LARGE, "standard input is larger than %d bytes",
                             STDIN_MAX);
    }
}

/* A pipe that nobody writes to looks like a hanging call: say what is waited for. */
static void tell_if_silent(void)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};

    if (poll(&input, 1, SILENCE_MS) == 0)
        output_note("waiting for the argument on standard input; give an ARGUMENT, or </dev/null "
                    "for an empty one");
}

/* The argument as given, standard input for "-" or where nothing was given and input is not a
 * terminal, else nothing. */
static faas_code get_argument(const struct cli_args *args, struct bytes *out, faas_err *err)
{
    const char *given = args->rest.count > 1 ? args->rest.items[1] : NULL;

    if (given != NULL && strcmp(given, "-") != 0) {
        out->data = strdup(given);
        out->len = strlen(given);
        return out->data != NULL ? FAAS_OK : faas_fail_sys(err, errno, "argument");
    }
    if (given == NULL && isatty(STDIN_FILENO) == 1) {
        out->data = strdup("");
        return out->data != NULL ? FAAS_OK : faas_fail_sys(err, errno, "argument");
    }
    tell_if_silent();
    return read_stdin(out, err);
}

static faas_code call(cli_client *client, const struct cli_args *args, struct client_answer *answer,
                      faas_err *err)
{
    FAAS_AUTO(char) *path =
        client_path(is_async || is_follow ? "/async-function/" : "/function/", args->rest.items[0]);
    struct bytes argument = {0};
    struct stream stream = {.answer = answer};
    struct client_request request = {
        .method = "POST",
        .path = path,
        .content_type = content_type != NULL ? content_type : "application/octet-stream",
        .timeout_ms = timeout_s * 1000,
        .sink = is_async || is_follow ? NULL : stdout,
        .take = is_stream ? stream_take : NULL,
        .take_arg = &stream,
        .callback_url = callback_url,
        .idempotency_key = idempotency_key,
    };
    faas_code code;

    if (path == NULL)
        return faas_fail(err, FAAS_INTERNAL, "out of memory");
    if (is_stream && (is_async || is_follow || idempotency_key != NULL))
        return faas_fail(err, FAAS_INVALID,
                         "--stream: not with --async, --follow or --idempotency-key, whose result "
                         "is kept before anybody gets it");
    if (is_async && is_follow)
        return faas_fail(err, FAAS_INVALID,
                         "--async prints the id and ends, --follow waits for the result: give one");
    FAAS_TRY(client_require_login(client, err)); /* before standard input is read */
    code = get_argument(args, &argument, err);
    request.body = argument.data;
    request.body_len = argument.len;
    if (code == FAAS_OK)
        code = client_send(client, &request, answer, err);
    if (code == FAAS_OK && is_stream)
        code = stream_outcome(&stream, answer, err);
    stream_done(&stream);
    free(argument.data);
    return code;
}

/* answer is that of the queueing, then of the result. */
static faas_code follow(cli_client *client, struct client_answer *answer, faas_err *err)
{
    char id[sizeof answer->call_id];

    memcpy(id, answer->call_id, sizeof id);
    output_note("call %s is queued; `faas cancel %s` ends it", id, id);
    return queued_result(client, id, timeout_s, answer, err);
}

static void show_stderr_tail(const json_t *problem)
{
    const char *tail = json_string_value(json_object_get(problem, "stderr"));
    FAAS_AUTO(char) *clean = NULL;
    size_t len;

    if (tail == NULL)
        tail = json_string_value(json_object_get(problem, "stderr_tail"));
    if (tail == NULL || tail[0] == '\0')
        return;
    clean = output_clean(tail, true);
    len = clean != NULL ? strlen(clean) : 0;
    if (len > 0)
        fprintf(stderr, "last lines of the function's standard error:\n%s%s", clean,
                clean[len - 1] != '\n' ? "\n" : "");
}

static void print_id(const struct client_answer *answer, bool is_json)
{
    FAAS_AUTO(json_t) *doc = json_pack("{s:s}", "call_id", answer->call_id);

    if (is_json && doc != NULL)
        output_json(doc, stdout);
    else
        printf("%s\n", answer->call_id);
}

int cli_invoke(const struct cli_args *args)
{
    FAAS_AUTO(cli_client) *client = NULL;
    struct client_answer answer = {0};
    faas_err err = {0};
    faas_code code = client_open(&args->common, &client, &err);
    int status = CLI_OK;

    if (code == FAAS_OK)
        code = call(client, args, &answer, &err);
    if (code == FAAS_OK && is_follow)
        code = follow(client, &answer, &err);
    if (code == FAAS_OK && !output_flush())
        code = faas_fail(&err, FAAS_INTERNAL, "standard output cannot be written");
    if (code == FAAS_OK && is_async)
        print_id(&answer, args->common.is_json);
    if (code != FAAS_OK) {
        status = client_report(&err, &answer, &args->common);
        if (!args->common.is_json && !stream_is_events(&answer)) /* it was shown */
            show_stderr_tail(answer.problem);
    } else if (args->common.is_verbose) {
        output_note("call %s: %s start, %s ms, by %s", answer.call_id, answer.start,
                    answer.duration_ms, answer.served_by);
    }
    client_answer_done(&answer);
    return status;
}
