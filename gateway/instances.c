#include "gateway/instances.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "gateway/gateway.h"
#include "gateway/problem.h"

static const char *const services[] = {"gateway", "auth", "registry", "publisher", "spawner"};

static const char *state_of(const struct faas_member *member)
{
    if (member->is_dead)
        return "dead";
    if (faas_member_is_usable(member))
        return "ready";
    return faas_now_ns() > member->seen_ns + FAAS_BEAT_FRESH_MS * FAAS_MS_NS ? "silent"
                                                                             : "not_ready";
}

static bool add_text(json_t *doc, const char *name, const char *text)
{
    return text[0] == '\0' || json_object_set_new(doc, name, json_string(text)) == 0;
}

/* What an older release does not say is left out. */
static json_t *describe(const struct faas_member *member)
{
    FAAS_AUTO(json_t) *doc = json_pack("{s:s, s:s, s:s, s:I, s:I}", "service", member->service,
                                       "id", member->id, "state", state_of(member), "seen_ms",
                                       (json_int_t)((faas_now_ns() - member->seen_ns) / FAAS_MS_NS),
                                       "running", (json_int_t)member->running);

    if (doc == NULL || !add_text(doc, "version", member->version) ||
        !add_text(doc, "isolation", member->isolation) ||
        !add_text(doc, "trouble", member->trouble))
        return NULL;
    if (member->version[0] != '\0' &&
        (json_object_set_new(doc, "up_s", json_integer(member->up_s)) != 0 ||
         json_object_set_new(doc, "clock_ms", json_integer(member->skew_ms)) != 0))
        return NULL;
    if (strcmp(member->service, "spawner") == 0 &&
        (json_object_set_new(doc, "slots", json_integer(member->slots)) != 0 ||
         json_object_set_new(doc, "free", json_integer(member->free)) != 0))
        return NULL;
    return FAAS_STEAL(doc);
}

static json_t *list(const faas_members *members)
{
    FAAS_AUTO(json_t) *items = json_array();
    const struct faas_member *member;

    for (size_t s = 0; s < FAAS_ARRAY_LEN(services); s++)
        for (size_t i = 0; (member = faas_members_at(members, services[s], i)) != NULL; i++)
            if (!member->has_left && json_array_append_new(items, describe(member)) != 0)
                return NULL;
    return FAAS_STEAL(items);
}

/* Loop thread. */
static void answer(http_exchange *x)
{
    struct gateway *gw = http_arg(x);
    FAAS_AUTO(json_t) *doc = json_object();
    char at[FAAS_TIME_TEXT], *text = NULL;
    faas_err err = {0};
    size_t len = 0;

    faas_time_format(faas_wall_ms(), at);
    if (json_object_set_new(doc, "items", list(gw->rt->members)) == 0 &&
        json_object_set_new(doc, "missing", status_missing(&gw->status)) == 0 &&
        json_object_set_new(doc, "at", json_string(at)) == 0)
        text = faas_json_text(doc, &len);
    if (text != NULL) {
        http_answer_bytes(x, 200, "application/json", text, len);
        return;
    }
    (void)faas_fail_sys(&err, ENOMEM, "list the instances");
    problem_from_err(x, &err, NULL);
}

void instances_begin(http_exchange *x)
{
    const struct problem stopping = {.code = FAAS_UNAVAILABLE,
                                     .detail = "the gateway is shutting down"};

    if (!http_defer(x, answer))
        problem_answer(x, &stopping);
}
