#include "outcome.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

#define SIGNAL_LAST 64
#define RING_MIN    1024

int outcome_signal(int exit_code)
{
    int n = exit_code - OUTCOME_SIGNAL_BASE;

    return n >= 1 && n <= SIGNAL_LAST ? n : 0;
}

static void say(struct rt_outcome *out, faas_code code, const char *text)
{
    out->code = code;
    snprintf(out->detail, sizeof out->detail, "%s", text);
}

static void decide_stopped(const struct run_facts *f, struct rt_outcome *out)
{
    char text[160];

    switch (f->stop) {
    case STOP_TIMEOUT:
        snprintf(text, sizeof text, "killed after %lld ms, the function's timeout_ms",
                 (long long)f->timeout_ms);
        say(out, FAAS_TIMEOUT, text);
        break;
    case STOP_OUTPUT:
        snprintf(text, sizeof text,
                 f->is_stream
                     ? "killed: more than %lld bytes on stdout, the most this platform streams"
                     : "killed: more than %lld bytes on stdout; raise limits.output_mb (1..64)",
                 (long long)f->output_bytes);
        say(out, FAAS_OUTPUT_TOO_LARGE, text);
        break;
    case STOP_CANCEL:
        say(out, FAAS_CLIENT_GONE, "cancelled");
        break;
    default:
        snprintf(text, sizeof text, "not started within %lld ms, the function's start_timeout_ms",
                 (long long)f->start_timeout_ms);
        say(out, FAAS_START_FAILED, text);
        out->may_have_run = f->has_started; /* the engine was late, and it was killed then */
    }
}

static void decide_lost(struct rt_outcome *out, const char *text)
{
    say(out, FAAS_LOST, text);
    out->may_have_run = true;
}

static void decide_exit(const struct run_facts *f, struct rt_outcome *out)
{
    int sig = outcome_signal(f->exit_code);
    char text[160];

    out->exit_code = f->exit_code;
    if (f->exit_code == 0) {
        out->code = FAAS_OK;
        return;
    }
    out->is_oom = f->was_oom_killed;
    if (out->is_oom)
        snprintf(text, sizeof text, "out of memory: the limit is %lld MiB (limits.memory_mb)",
                 (long long)f->memory_mb);
    else if (sig > 0)
        snprintf(text, sizeof text, "killed by signal %d (exit status %d)", sig, f->exit_code);
    else
        snprintf(text, sizeof text, "exit status %d", f->exit_code);
    say(out, FAAS_FAILED, text);
}

void outcome_decide(const struct run_facts *facts, struct rt_outcome *out)
{
    out->exit_code = -1;
    out->is_oom = false;
    out->may_have_run = false;
    out->detail[0] = '\0';
    if (facts->is_lost) {
        decide_lost(out, "the engine went away while the call ran");
    } else if (facts->stop == STOP_BROKEN) {
        decide_lost(out, "killed: the engine's output stream broke");
    } else if (facts->stop != STOP_NONE) {
        decide_stopped(facts, out);
    } else if (facts->failure != NULL) {
        say(out, facts->failure->code, facts->failure->msg);
    } else if (facts->exit_code == 0 && facts->is_output_broken) {
        decide_lost(out, "the function ended, but its output could not be read to the end");
    } else {
        decide_exit(facts, out);
    }
}

void stderr_tail_done(struct stderr_tail *tail)
{
    free(tail->ring);
    *tail = (struct stderr_tail){.total = 0};
}

/* Room for so many bytes more, where there may be; a ring that has begun to turn stays as it is. */
static void grow(struct stderr_tail *tail, size_t len)
{
    size_t size = tail->size > 0 ? tail->size : RING_MIN;
    char *grown;

    if (tail->total > tail->size)
        return;
    while (size < tail->total + len && size < FAAS_STDERR_KEPT)
        size *= 2;
    if (size == tail->size)
        return;
    grown = realloc(tail->ring, size);
    if (grown == NULL)
        return;
    tail->ring = grown;
    tail->size = size;
}

void stderr_tail_add(struct stderr_tail *tail, const void *data, size_t len)
{
    const char *at = data;
    size_t size;

    grow(tail, len);
    size = tail->size;
    if (size == 0) {
        tail->total += len; /* then it is only counted */
        return;
    }
    if (len > size) { /* only the newest matter, but the count is of all */
        tail->total += len - size;
        at += len - size;
        len = size;
    }
    while (len > 0) {
        size_t pos = (size_t)(tail->total % size);
        size_t take = size - pos < len ? size - pos : len;

        memcpy(tail->ring + pos, at, take);
        tail->total += take;
        at += take;
        len -= take;
    }
}

/* At most max newest bytes; how many. */
static size_t newest(const struct stderr_tail *tail, size_t max, char *out_bytes)
{
    size_t len = tail->total < tail->size ? (size_t)tail->total : tail->size;

    if (len > max)
        len = max;
    for (size_t k = 0; k < len; k++)
        out_bytes[k] = tail->ring[(tail->total - len + k) % tail->size];
    return len;
}

int outcome_add_record(json_t *event, const char *tenant, const char *function,
                       const struct stderr_tail *tail)
{
    const int variant = sodium_base64_VARIANT_ORIGINAL;
    size_t len, room = sodium_base64_ENCODED_LEN(FAAS_STDERR_KEPT, variant);
    char *bytes, *text;
    int rc = json_object_set_new(event, "tenant", json_string(tenant));

    rc |= json_object_set_new(event, "function", json_string(function));
    if (tail->total == 0 || tail->size == 0)
        return rc;
    bytes = malloc(tail->size);
    text = malloc(room);
    if (bytes != NULL && text != NULL) {
        len = newest(tail, tail->size, bytes);
        sodium_bin2base64(text, room, (const unsigned char *)bytes, len, variant);
        rc |= json_object_set_new(event, "stderr", json_string(text));
        rc |= json_object_set_new(event, "stderr_kept", json_integer((json_int_t)len));
    } else {
        rc = -1;
    }
    free(bytes);
    free(text);
    return rc;
}

char *stderr_tail_text(const struct stderr_tail *tail, size_t max)
{
    static const char bad[] = "\xEF\xBF\xBD";
    char raw[FAAS_STDERR_TAIL];
    char *text;
    size_t i = 0, used = 0, len;

    len = newest(tail, max < sizeof raw ? max : sizeof raw, raw);
    text = malloc(len * 3 + 1);
    if (text == NULL)
        return NULL;
    if (len < tail->total) /* the cut may have hit a sequence: drop what is left of it */
        while (i < len && i < 3 && (raw[i] & 0xC0) == 0x80)
            i++;
    while (i < len) {
        size_t n = raw[i] == '\0' ? 0 : faas_utf8_decode(raw + i, len - i, NULL);

        memcpy(text + used, n > 0 ? raw + i : bad, n > 0 ? n : 3);
        used += n > 0 ? n : 3;
        i += n > 0 ? n : 1;
    }
    text[used] = '\0';
    return text;
}

static int add_status(json_t *end, const struct rt_outcome *o)
{
    int rc = 0, sig = outcome_signal(o->exit_code);

    if (o->exit_code >= 0)
        rc |= json_object_set_new(end, "exit_code", json_integer(o->exit_code));
    if (o->code == FAAS_FAILED && sig > 0)
        rc |= json_object_set_new(end, "signal", json_integer(sig));
    if (o->is_oom)
        rc |= json_object_set_new(end, "oom", json_true());
    if (o->may_have_run)
        rc |= json_object_set_new(end, "may_have_run", json_true());
    return rc;
}

json_t *outcome_to_json(const struct outcome_report *report)
{
    const struct rt_outcome *o = report->outcome;
    FAAS_AUTO(char) *tail = stderr_tail_text(report->tail, report->tail_max);
    FAAS_AUTO(json_t) *end = NULL;
    json_t *times;

    if (tail == NULL)
        return NULL;
    end =
        json_pack("{s:i,s:s,s:s,s:s,s:I,s:s,s:{s:f,s:f},s:s}", "v", 1, "code",
                  faas_code_slug(o->code), "detail", o->detail, "stderr_tail", tail, "stderr_bytes",
                  (json_int_t)report->tail->total, "start", o->start != NULL ? o->start : "cold",
                  "times_ms", "start", o->start_ms, "run", o->run_ms, "spawner", report->spawner);
    if (end == NULL || add_status(end, o) != 0)
        return NULL;
    times = json_object_get(end, "times_ms");
    if (report->place_ms >= 0 &&
        json_object_set_new(times, "place", json_real(report->place_ms)) != 0)
        return NULL;
    if (report->content_type != NULL && report->content_type[0] != '\0' &&
        json_object_set_new(end, "content_type", json_string(report->content_type)) != 0)
        return NULL;
    return FAAS_STEAL(end);
}
