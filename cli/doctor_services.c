/* doctor_services.c - the parts of the platform, by what their heartbeats say. */
#include <stdlib.h>
#include <string.h>

#include "cli/doctor.h"
#include "cli/output.h"

#define SKEW_MS 2000

static const char *text(const json_t *item, const char *name)
{
    const char *value = json_string_value(json_object_get(item, name));

    return value != NULL ? value : "?";
}

static bool is_ready(const json_t *item)
{
    return strcmp(text(item, "state"), "ready") == 0;
}

/* "a is dead (3m), b is silent (4s)" */
static void name_unready(const json_t *items, const char *service, char *out_text, size_t room)
{
    const json_t *item;
    size_t i, used = 0;
    char age[16];

    out_text[0] = '\0';
    json_array_foreach (items, i, item) {
        if (strcmp(text(item, "service"), service) != 0 || is_ready(item) || used + 80 > room)
            continue;
        output_age(json_integer_value(json_object_get(item, "seen_ms")) / 1000, age, sizeof age);
        used += (size_t)snprintf(out_text + used, room - used, "%s%.40s is %.10s (heard %s ago)",
                                 used > 0 ? ", " : "", text(item, "id"), text(item, "state"), age);
    }
}

static void look_at_service(struct doctor *doctor, const json_t *items, const char *service)
{
    const char *next =
        doctor->is_local ? "`faas status` shows why its processes ended, and so do their files in "
                           "the folder log of the data directory"
                         : "look at its state and logs: `docker compose ps -a`, `docker service ps "
                           "faas_SERVICE-service`, `docker compose logs`";
    char unready[600];
    const json_t *item;
    int ready = 0;
    size_t i;

    json_array_foreach (items, i, item)
        ready += strcmp(text(item, "service"), service) == 0 && is_ready(item);
    name_unready(items, service, unready, sizeof unready);
    if (ready == 0)
        doctor_say(doctor, DOCTOR_WRONG, service, next, "no instance is ready: %s",
                   unready[0] != '\0' ? unready : "none was heard of within the last hour");
    else if (unready[0] != '\0')
        doctor_say(doctor, DOCTOR_WARNING, service, next, "%d ready; %s", ready, unready);
    else
        doctor_say(doctor, DOCTOR_FINE, service, NULL, "%d ready", ready);
}

/* ---- spawners: what they lack, and room ---- */

static const char *cure(const json_t *item)
{
    return strcmp(text(item, "isolation"), "docker") == 0
               ? "start the engine of that machine, or let the spawner open its socket "
                 "(DOCKER_HOST, "
                 "SPAWNER_USER); sandboxes need none: SPAWNER_RUNTIME=native"
               : "`faas-spawner check-native` says there what is missing; with an engine "
                 "SPAWNER_RUNTIME=docker does without";
}

static void look_at_spawners(struct doctor *doctor, const json_t *items)
{
    json_int_t slots = 0, free_slots = 0;
    const json_t *item, *troubled = NULL;
    int sound = 0;
    size_t i;

    json_array_foreach (items, i, item) {
        if (strcmp(text(item, "service"), "spawner") != 0 || !is_ready(item))
            continue;
        if (json_object_get(item, "trouble") != NULL) {
            troubled = item;
            continue;
        }
        sound++;
        slots += json_integer_value(json_object_get(item, "slots"));
        free_slots += json_integer_value(json_object_get(item, "free"));
    }
    if (troubled != NULL)
        doctor_say(doctor, sound > 0 ? DOCTOR_WARNING : DOCTOR_WRONG, "runtime", cure(troubled),
                   "spawner %s runs nothing: %s", text(troubled, "id"), text(troubled, "trouble"));
    if (sound > 0 && free_slots <= 0)
        doctor_say(doctor, DOCTOR_WARNING, "room",
                   "more of them: `faas scale spawner=N`, `faas up --replicas spawner=N`, or more "
                   "each: MAX_CONTAINERS",
                   "all %" JSON_INTEGER_FORMAT " places are taken: calls wait as long as their "
                   "function's max_wait_ms, then they are refused with 429",
                   slots);
    else if (sound > 0)
        doctor_say(doctor, DOCTOR_FINE, "room", NULL,
                   "%" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT " places are free",
                   free_slots, slots);
}

/* ---- all of them ---- */

static void look_at_clocks(struct doctor *doctor, const json_t *items)
{
    const json_t *item;
    size_t i;

    json_array_foreach (items, i, item) {
        json_int_t ahead = json_integer_value(json_object_get(item, "clock_ms"));

        if (is_ready(item) && llabs(ahead) >= SKEW_MS)
            doctor_say(doctor, DOCTOR_WRONG, "clock",
                       "let that machine follow a time server (timedatectl set-ntp true)",
                       "the clock of %s %s is %.1f s %s the gateway's: tokens may count as expired "
                       "or not begun",
                       text(item, "service"), text(item, "id"), (double)llabs(ahead) / 1000,
                       ahead > 0 ? "ahead of" : "behind");
    }
}

static const char *version(const json_t *item)
{
    const char *value = json_string_value(json_object_get(item, "version"));

    return value != NULL ? value : "of a release that does not say which";
}

static void look_at_versions(struct doctor *doctor, const json_t *items)
{
    const json_t *item, *first = NULL;
    size_t i;

    json_array_foreach (items, i, item) {
        if (!is_ready(item))
            continue;
        if (first != NULL && strcmp(version(first), version(item)) != 0) {
            doctor_say(
                doctor, DOCTOR_WARNING, "versions",
                "finish the upgrade (docs/OPERATIONS.md); neighbouring versions work side by "
                "side meanwhile",
                "%s %s is %s, %s %s is %s", text(first, "service"), text(first, "id"),
                version(first), text(item, "service"), text(item, "id"), version(item));
            return;
        }
        first = first != NULL ? first : item;
    }
}

static void look_at_bus(struct doctor *doctor, const json_t *missing)
{
    const json_t *name;
    size_t i;

    json_array_foreach (missing, i, name) {
        const char *what = json_string_value(name);

        if (what != NULL && strchr(what, ' ') != NULL) /* no service, which are looked at above */
            doctor_say(doctor, DOCTOR_WRONG, "bus",
                       "look at the NATS servers: more than half of them must run and reach each "
                       "other; an election takes 4 to 9 s, and a full disk ends JetStream",
                       "missing: %s", what);
    }
}

void doctor_services(struct doctor *doctor)
{
    static const char *const services[] = {"auth", "registry", "publisher", "spawner"};
    const json_t *items;

    if (doctor_get(doctor, "services", "/v1/instances", &doctor->instances) == FAAS_NOT_FOUND)
        doctor_say(doctor, DOCTOR_WARNING, "services", "upgrade the gateways",
                   "the gateway is of a release that does not list instances");
    if (doctor->instances == NULL)
        return;
    items = json_object_get(doctor->instances, "items");
    for (size_t i = 0; i < FAAS_ARRAY_LEN(services); i++)
        look_at_service(doctor, items, services[i]);
    look_at_spawners(doctor, items);
    look_at_bus(doctor, json_object_get(doctor->instances, "missing"));
    look_at_clocks(doctor, items);
    look_at_versions(doctor, items);
}
