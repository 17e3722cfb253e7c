#include "cli/stream.h"

#include <sodium.h>
#include <string.h>
#include <unistd.h>

#include "cli/output.h"

static bool show(bool is_stderr, const char *data, size_t len)
{
    if (is_stderr && isatty(STDERR_FILENO) == 1) {
        FAAS_AUTO(char) *clean = output_clean(data, true); /* NUL ends what is shown */

        return clean != NULL && fputs(clean, stderr) >= 0;
    }
    return fwrite(data, 1, len, is_stderr ? stderr : stdout) == len;
}

static bool show_base64(bool is_stderr, const char *text, size_t len)
{
    FAAS_AUTO(char) *bytes = malloc(len + 1);
    size_t n = 0;

    if (bytes == NULL || sodium_base642bin((unsigned char *)bytes, len, text, len, NULL, &n, NULL,
                                           sodium_base64_VARIANT_ORIGINAL) != 0)
        return false;
    bytes[n] = '\0';
    return show(is_stderr, bytes, n);
}

static bool take_data(struct stream *stream, const char *data, size_t len)
{
    FAAS_AUTO(json_t) *doc = json_loadb(data, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    bool is_stderr = strcmp(stream->event, "stderr") == 0;
    const json_t *text = json_object_get(doc, "text"), *base64 = json_object_get(doc, "base64");

    if (!json_is_object(doc))
        return false;
    if (strcmp(stream->event, "end") == 0) {
        json_decref(stream->end);
        stream->end = json_incref(doc);
        return true;
    }
    if (!is_stderr && strcmp(stream->event, "stdout") != 0)
        return true; /* of a later version */
    if (json_is_string(text))
        return show(is_stderr, json_string_value(text), json_string_length(text));
    return json_is_string(base64) &&
           show_base64(is_stderr, json_string_value(base64), json_string_length(base64));
}

static bool take_line(struct stream *stream)
{
    static const char event[] = "event: ", data[] = "data: ";

    stream->line[stream->len] = '\0';
    if (strncmp(stream->line, event, sizeof event - 1) == 0)
        snprintf(stream->event, sizeof stream->event, "%s", stream->line + sizeof event - 1);
    else if (strncmp(stream->line, data, sizeof data - 1) == 0)
        return take_data(stream, stream->line + sizeof data - 1, stream->len - (sizeof data - 1));
    return true; /* an empty line, a comment, a field of a later version */
}

static bool make_room(struct stream *stream, size_t len)
{
    size_t need = stream->len + len + 1;
    char *line;

    if (need > STREAM_LINE_MAX)
        return false;
    if (need <= stream->room)
        return true;
    line = realloc(stream->line, need * 2);
    if (line == NULL)
        return false;
    stream->line = line;
    stream->room = need * 2;
    return true;
}

static bool take_events(struct stream *stream, const char *data, size_t len)
{
    while (len > 0) {
        const char *end = memchr(data, '\n', len);
        size_t part = end != NULL ? (size_t)(end - data) : len;

        if (!make_room(stream, part))
            return false;
        memcpy(stream->line + stream->len, data, part);
        stream->len += part;
        if (end == NULL)
            return true;
        if (!take_line(stream))
            return false;
        stream->len = 0;
        data += part + 1;
        len -= part + 1;
    }
    return true;
}

bool stream_is_events(const struct client_answer *answer)
{
    return strncmp(answer->type, "text/event-stream", sizeof "text/event-stream" - 1) == 0;
}

bool stream_take(void *arg, const char *data, size_t len)
{
    struct stream *stream = arg;
    bool is_taken =
        stream_is_events(stream->answer) ? take_events(stream, data, len) : show(false, data, len);

    return is_taken && fflush(stdout) == 0;
}

static void learn(const json_t *end, struct client_answer *answer)
{
    const char *start = json_string_value(json_object_get(end, "start"));
    const char *spawner = json_string_value(json_object_get(end, "spawner"));

    if (start != NULL)
        snprintf(answer->start, sizeof answer->start, "%s", start);
    if (spawner != NULL)
        snprintf(answer->served_by, sizeof answer->served_by, "%s", spawner);
    snprintf(answer->duration_ms, sizeof answer->duration_ms, "%.3f",
             json_number_value(json_object_get(end, "duration_ms")));
}

faas_code stream_outcome(const struct stream *stream, struct client_answer *answer, faas_err *err)
{
    json_t *problem = json_object_get(stream->end, "problem");

    if (!stream_is_events(answer))
        return FAAS_OK;
    if (stream->end == NULL)
        return faas_fail(err, FAAS_UNAVAILABLE, "the answer ended before the call did");
    learn(stream->end, answer);
    if (problem == NULL)
        return FAAS_OK;
    json_decref(answer->problem);
    answer->problem = json_incref(problem);
    return client_problem(answer, err);
}

void stream_done(struct stream *stream)
{
    free(stream->line);
    json_decref(stream->end);
}
