#include "gateway/problem.h"

#include <stdio.h>
#include <string.h>

#include "base/json.h"

static int status_of(const struct problem *problem)
{
    return problem->status != 0 ? problem->status : faas_code_status(problem->code);
}

json_t *problem_document(const http_exchange *x, const struct problem *problem)
{
    const char *slug = faas_code_slug(problem->code);
    const char *detail = problem->detail != NULL && problem->detail[0] != '\0'
                             ? problem->detail
                             : faas_code_title(problem->code);
    FAAS_AUTO(json_t) *doc = NULL;
    char type[64];

    (void)snprintf(type, sizeof type, "urn:faas:problem:%s", slug);
    doc = json_pack("{s:s, s:s, s:i, s:s, s:s, s:s, s:s}", "type", type, "title",
                    faas_code_title(problem->code), "status", status_of(problem), "detail", detail,
                    "code", slug, "component",
                    problem->component != NULL ? problem->component : "gateway", "call_id", x->id);
    if (doc == NULL ||
        (problem->reason != NULL &&
         json_object_set_new(doc, "reason", json_string(problem->reason)) != 0) ||
        (problem->extra != NULL && json_object_update_missing(doc, problem->extra) != 0))
        return NULL;
    return FAAS_STEAL(doc);
}

static void add_headers(http_exchange *x, const struct problem *problem)
{
    const char *reason = problem->reason;
    int64_t wait_s = problem->retry_after_s;

    if (faas_code_status(problem->code) == 429 && wait_s <= 0)
        wait_s = 1;
    if (wait_s > 0)
        http_header(x, "Retry-After", "%lld", (long long)wait_s);
    if (problem->code != FAAS_UNAUTHENTICATED)
        return;
    if (reason == NULL || strcmp(reason, "missing") == 0)
        http_header(x, "WWW-Authenticate", "Bearer realm=\"faas\"%s",
                    reason == NULL ? "" : ", reason=\"missing\"");
    else
        http_header(x, "WWW-Authenticate",
                    "Bearer realm=\"faas\", error=\"invalid_token\", error_description=\"%s\"",
                    reason);
}

void problem_answer(http_exchange *x, const struct problem *problem)
{
    FAAS_AUTO(json_t) *doc = problem_document(x, problem);
    char *text = NULL;
    size_t len = 0;

    if (doc != NULL)
        text = faas_json_text(doc, &len);
    if (text == NULL) /* no memory: the status still tells */
        len = 0;
    x->code = faas_code_slug(problem->code);
    add_headers(x, problem);
    http_answer_bytes(x, status_of(problem), "application/problem+json", text, len);
}

void problem_from_err(http_exchange *x, const faas_err *err, const char *component)
{
    const struct problem problem = {.code = err->code,
                                    .detail = err->msg,
                                    .component = component,
                                    .retry_after_s = err->retry_after_s};

    problem_answer(x, &problem);
}
