#include "invoke_internal.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/name.h"
#include "gateway/problem.h"

static const char *text_in(const json_t *doc, const char *key)
{
    const char *text = json_string_value(json_object_get(doc, key));

    return text != NULL ? text : "";
}

/* ---- headers of an invocation ---- */

static double ms_in(const json_t *times, const char *key)
{
    const json_t *value = json_object_get(times, key);

    return json_is_number(value) && json_number_value(value) > 0 ? json_number_value(value) : 0;
}

/* For the log. */
static void note_times(struct invoke *inv, const json_t *end)
{
    const json_t *times = json_object_get(end, "times_ms");

    inv->x->place_us = (int64_t)(ms_in(times, "place") * 1e3);
    inv->x->start_us = (int64_t)(ms_in(times, "start") * 1e3);
    inv->x->run_us = (int64_t)(ms_in(times, "run") * 1e3);
}

static void add_timing(struct invoke *inv, const json_t *end)
{
    const json_t *times = json_object_get(end, "times_ms");
    double place = ms_in(times, "place"), start = ms_in(times, "start"), run = ms_in(times, "run");
    double queue = -place;

    /* From the first sending until a spawner accepted, which a quick call's spawner does not say,
     * less what the spawner itself took for it. */
    if (inv->accepted_ns >= inv->sent_ns)
        queue += (double)(inv->accepted_ns - inv->sent_ns) / (double)FAAS_MS_NS;
    else
        queue += (double)(faas_now_ns() - inv->sent_ns) / (double)FAAS_MS_NS - start - run;
    http_header(inv->x, "X-Duration-Ms", "%.3f", run);
    http_header(inv->x, "Server-Timing",
                "queue;dur=%.3f, place;dur=%.3f, start;dur=%.3f, run;dur=%.3f",
                queue > 0 ? queue : 0, place, start, run);
    note_times(inv, end);
}

static void add_headers(struct invoke *inv, const json_t *end)
{
    const json_t *exit_code = json_object_get(end, "exit_code");
    const json_t *signal = json_object_get(end, "signal");
    const json_t *head = faas_frames_in_head(inv->in);
    const char *start = text_in(end, "start");

    if (start[0] == '\0')
        start = text_in(head, "start");
    if (start[0] != '\0')
        http_header(inv->x, "X-Start", "%s", start);
    add_timing(inv, end);
    if (json_is_integer(exit_code))
        http_header(inv->x, "X-Exit-Code", "%lld", (long long)json_integer_value(exit_code));
    else if (json_is_integer(signal)) /* as a shell shows it */
        http_header(inv->x, "X-Exit-Code", "%lld", 128 + (long long)json_integer_value(signal));
    if (text_in(end, "spawner")[0] != '\0')
        http_header(inv->x, "X-Served-By", "%s", text_in(end, "spawner"));
}

/* ---- outcomes ---- */

bool invoke_answer_type(struct invoke *inv, const json_t *said)
{
    const char *type = text_in(said, "content_type");

    if (faas_media_type_check(type, NULL) != FAAS_OK)
        return false;
    http_header(inv->x, "Content-Type", "%s", type);
    /* A function's HTML is nothing that a browser may run as a page of this platform. */
    http_header(inv->x, "Content-Security-Policy", "sandbox");
    return true;
}

static void answer_result(struct invoke *inv)
{
    const char *type = invoke_answer_type(inv, faas_frames_in_end(inv->in)) ? NULL
                       : faas_frames_in_is_text(inv->in) ? "text/plain; charset=utf-8"
                                                         : "application/octet-stream";
    size_t len;
    int fd;
    void *bytes = faas_frames_in_steal(inv->in, &len, &fd);

    if (fd >= 0)
        http_answer_file(inv->x, inv->x->match.route->status, type, fd, len);
    else
        http_answer_bytes(inv->x, inv->x->match.route->status, type, bytes, len);
}

/* Who failed: the function by what it did, or the spawner. */
static const char *component_of(faas_code code)
{
    switch (code) {
    case FAAS_FAILED:
    case FAAS_TIMEOUT:
    case FAAS_OUTPUT_TOO_LARGE:
        return "function";
    default:
        return "spawner";
    }
}

/* Copy a member of END under the problem's name for it. */
static void copy(json_t *extra, const char *name, const json_t *end, const char *key)
{
    json_t *value = json_object_get(end, key);

    if (value != NULL && !json_is_null(value))
        (void)json_object_set(extra, name, value);
}

static void give_problem(struct invoke *inv, const json_t *end, const struct problem *problem)
{
    if (!invoke_stream_close(inv, end, problem))
        problem_answer(inv->x, problem);
}

static void answer_problem(struct invoke *inv, const json_t *end, faas_code code)
{
    FAAS_AUTO(json_t) *extra = json_object();
    const struct problem problem = {.code = code,
                                    .detail = text_in(end, "detail"),
                                    .component = component_of(code),
                                    .extra = extra};

    copy(extra, "exit_code", end, "exit_code");
    copy(extra, "signal", end, "signal");
    if (json_is_true(json_object_get(end, "oom")))
        copy(extra, "oom", end, "oom");
    if (text_in(end, "stderr_tail")[0] != '\0' || code == FAAS_FAILED)
        copy(extra, "stderr", end, "stderr_tail");
    give_problem(inv, end, &problem);
}

void invoke_answer_end(struct invoke *inv)
{
    const json_t *end = faas_frames_in_end(inv->in);
    const char *slug = text_in(end, "code");

    if (inv->has_begun) /* its headers have left */
        note_times(inv, end);
    else
        add_headers(inv, end);
    if (strcmp(slug, "ok") != 0)
        answer_problem(inv, end, faas_code_from_slug(slug));
    else if (!invoke_stream_close(inv, end, NULL))
        answer_result(inv);
}

/* The publisher's last word. */
void invoke_answer_fail(struct invoke *inv, const struct faas_frame *frame)
{
    static const char *const own[] = {"v", "code", "detail", "component", "retry_after_s"};
    FAAS_AUTO(json_t) *doc = NULL;
    faas_err err = {0};
    struct problem problem;

    if (faas_json_parse(frame->payload, frame->len, false, &doc, &err) != FAAS_OK) {
        (void)faas_fail(&err, FAAS_INTERNAL, "internal error");
        invoke_answer_err(inv, &err, false);
        return;
    }
    problem = (struct problem){
        .code = faas_code_from_slug(text_in(doc, "code")),
        .retry_after_s = json_integer_value(json_object_get(doc, "retry_after_s")),
        .extra = faas_json_copy(doc),
    };
    problem.detail = text_in(doc, "detail");
    problem.component =
        text_in(doc, "component")[0] != '\0' ? text_in(doc, "component") : "publisher";
    for (size_t i = 0; problem.extra != NULL && i < FAAS_ARRAY_LEN(own); i++)
        (void)json_object_del(problem.extra, own[i]);
    give_problem(inv, NULL, &problem);
    json_decref(problem.extra);
}

void invoke_answer_err(struct invoke *inv, const faas_err *err, bool may_have_run)
{
    FAAS_AUTO(json_t) *extra = may_have_run ? json_pack("{s:b}", "may_have_run", 1) : NULL;
    const struct problem problem = {.code = err->code, .detail = err->msg, .extra = extra};

    if (err->detail[0] != '\0')
        FAAS_LOG(ERROR, "call failed", FAAS_LSTR("call", inv->x->id),
                 FAAS_LSTR("code", faas_code_slug(err->code)), FAAS_LSTR("detail", err->detail));
    give_problem(inv, NULL, &problem);
}
