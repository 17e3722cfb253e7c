/* doctor_function.c - one function: is it there, may it run, can a spawner run it, how did it go. */
#include <stdio.h>
#include <string.h>

#include "cli/doctor.h"
#include "cli/file.h"

static const char check[] = "function";

static const char *text(const json_t *doc, const char *name)
{
    const char *value = json_string_value(json_object_get(doc, name));

    return value != NULL ? value : "";
}

/* ---- who could run it ---- */

static void look_at_isolation(struct doctor *doctor, const char *wanted)
{
    const json_t *item;
    bool is_there = false;
    size_t i, spawners = 0;

    json_array_foreach (json_object_get(doctor->instances, "items"), i, item) {
        if (strcmp(text(item, "service"), "spawner") != 0 ||
            strcmp(text(item, "state"), "ready") != 0)
            continue;
        spawners++;
        is_there = is_there || text(item, "isolation")[0] == '\0' ||
                   strcmp(text(item, "isolation"), wanted) == 0;
    }
    if (spawners > 0 && !is_there)
        doctor_say(
            doctor, DOCTOR_WRONG, check,
            "register it anew (`faas deploy NAME --image IMAGE`), or start a spawner with the "
            "other SPAWNER_RUNTIME",
            "it was registered for isolation %s, which no spawner offers", wanted);
}

/* ---- secrets ---- */

static bool has_secret(const json_t *items, const char *name)
{
    const json_t *item;
    size_t i;

    json_array_foreach (items, i, item)
        if (strcmp(text(item, "name"), name) == 0)
            return true;
    return false;
}

static void look_at_secrets(struct doctor *doctor, const json_t *names)
{
    FAAS_AUTO(json_t) *doc = NULL;
    const json_t *name;
    size_t i;

    if (json_array_size(names) == 0 || doctor_get(doctor, check, "/v1/secrets", &doc) != FAAS_OK)
        return;
    json_array_foreach (names, i, name)
        if (!has_secret(json_object_get(doc, "items"), json_string_value(name)))
            doctor_say(doctor, DOCTOR_WRONG, check, "`faas secret set NAME`",
                       "it names the secret %s, which is not there", json_string_value(name));
}

/* ---- the version that is meant ---- */

static void look_at_version(struct doctor *doctor, const json_t *record)
{
    look_at_isolation(doctor, text(record, "isolation"));
    look_at_secrets(doctor, json_object_get(record, "secrets"));
}

/* FAAS_OK: out_doc is a version or an alias of the function. */
static faas_code get_part(struct doctor *doctor, const char *name, bool is_version,
                          const char *part, json_t **out_doc)
{
    FAAS_AUTO(char) *base = client_path("/v1/functions/", name);
    FAAS_AUTO(char) *path =
        base != NULL ? client_path(is_version ? "/versions/" : "/aliases/", part) : NULL;
    FAAS_AUTO(char) *whole = path != NULL ? file_path("%s%s", base, path) : NULL;
    faas_code code = FAAS_INTERNAL;

    if (whole == NULL)
        doctor->is_short = true;
    else
        code = doctor_get(doctor, check, whole, out_doc);
    if (code == FAAS_NOT_FOUND)
        doctor_say(doctor, DOCTOR_WRONG, check,
                   is_version ? "`faas versions NAME` lists them" : "`faas alias list NAME`",
                   "%s has no %s %s", name, is_version ? "version" : "alias", part);
    return code;
}

static void look_at_number(struct doctor *doctor, const char *name, const char *number)
{
    FAAS_AUTO(json_t) *version = NULL;

    if (get_part(doctor, name, true, number, &version) == FAAS_OK)
        look_at_version(doctor, version);
}

/* NAME@N and NAME:ALIAS: what is behind the name has to be there, too, and what that needs. */
static void look_at_reference(struct doctor *doctor, const char *name, const char *part)
{
    FAAS_AUTO(json_t) *alias = NULL;
    const char *number;
    json_t *weight;

    if (part[0] == '@')
        look_at_number(doctor, name, part + 1);
    else if (get_part(doctor, name, false, part + 1, &alias) == FAAS_OK)
        json_object_foreach (json_object_get(alias, "versions"), number, weight)
            look_at_number(doctor, name, number);
}

/* ---- how it went the last time ---- */

/* What calls before it ended with is the best word on an image that is gone, or does not start. */
static void look_at_last_call(struct doctor *doctor, const char *name)
{
    FAAS_AUTO(char) *path = client_path("/v1/calls?limit=1&function=", name);
    FAAS_AUTO(json_t) *doc = NULL;
    const json_t *call;
    const char *code;

    if (path == NULL) {
        doctor->is_short = true;
        return;
    }
    if (doctor_get(doctor, check, path, &doc) != FAAS_OK)
        return;
    call = json_array_get(json_object_get(doc, "items"), 0);
    code = text(call, "code");
    if (code[0] == '\0')
        return;
    doctor_say(doctor, DOCTOR_WARNING, "last call",
               strcmp(code, "function_failed") == 0
                   ? "`faas logs ID` prints what it wrote to standard error"
                   : "`faas call ID` shows its record; `faas deploy NAME --image IMAGE` looks for "
                     "the image again",
               "%s ended as %s: %s", text(call, "id"), code, text(call, "detail"));
}

/* ---- all of it ---- */

static void look_at_record(struct doctor *doctor, const char *name, const json_t *record)
{
    if (json_is_true(json_object_get(record, "disabled")))
        doctor_say(doctor, DOCTOR_WRONG, check, "`faas enable NAME`",
                   "%s is disabled: calls are refused, queued ones wait", name);
    else
        doctor_say(doctor, DOCTOR_FINE, check, NULL,
                   "%s is there, version %" JSON_INTEGER_FORMAT ", image %s", name,
                   json_integer_value(json_object_get(record, "version")), text(record, "payload"));
}

void doctor_function(struct doctor *doctor, const char *reference)
{
    size_t len = strcspn(reference, ":@");
    FAAS_AUTO(char) *name = file_path("%.*s", (int)len, reference);
    FAAS_AUTO(char) *path = name != NULL ? client_path("/v1/functions/", name) : NULL;
    FAAS_AUTO(json_t) *record = NULL;
    faas_code code;

    if (path == NULL) {
        doctor->is_short = true;
        return;
    }
    code = doctor_get(doctor, check, path, &record);
    if (code == FAAS_NOT_FOUND)
        doctor_say(doctor, DOCTOR_WRONG, check,
                   "`faas list` shows yours; `faas deploy NAME --image IMAGE` makes one",
                   "you have no function %s", name);
    if (code != FAAS_OK)
        return;
    look_at_record(doctor, name, record);
    if (reference[len] != '\0')
        look_at_reference(doctor, name, reference + len);
    else
        look_at_version(doctor, record);
    look_at_last_call(doctor, name);
}
