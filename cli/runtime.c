#include "cli/runtime.h"

#include <stdio.h>
#include <string.h>

#include "cli/engine_probe.h"
#include "cli/file.h"
#include "cli/programs.h"

#define SPAWNER "faas-spawner"

/* ---- what this machine can do ---- */

/* The check's last line: {"fit":true,"lacks":""} or {"fit":false,"why":"..."} */
static void read_answer(const char *text, struct runtime_facts *facts)
{
    FAAS_AUTO(json_t) *doc = faas_json_load(text, strlen(text), 0);
    const char *lacks = json_string_value(json_object_get(doc, "lacks"));
    const char *why = json_string_value(json_object_get(doc, "why"));

    facts->is_fit = json_is_true(json_object_get(doc, "fit"));
    snprintf(facts->lacks, sizeof facts->lacks, "%s", lacks != NULL ? lacks : "");
    snprintf(facts->why, sizeof facts->why, "%s", why != NULL ? why : "the check ended early");
}

static faas_code check_native(const char *bin_dir, struct runtime_facts *facts, faas_err *err)
{
    FAAS_AUTO(char) *program = NULL;
    char text[1024];

    FAAS_TRY(programs_ours(bin_dir, SPAWNER, &program, err));
    if (!programs_ask(program, "check-native", text, sizeof text))
        return faas_fail(err, FAAS_UNAVAILABLE, "%s does not run", program);
    read_answer(text, facts);
    return FAAS_OK;
}

/* ---- what was chosen before ---- */

static faas_code read_kept(const char *path, bool has_data, char out_name[16], faas_err *err)
{
    FAAS_AUTO(json_t) *doc = NULL;
    const char *name;

    FAAS_TRY(file_read_json(path, &doc, err));
    name = json_string_value(json_object_get(doc, "runtime"));
    if (name == NULL)
        name = has_data ? "docker" : ""; /* releases before this file had nothing else */
    snprintf(out_name, 16, "%s", name);
    return FAAS_OK;
}

static faas_code keep(const char *path, const struct runtime_choice *choice, faas_err *err)
{
    FAAS_AUTO(json_t) *doc = json_pack("{s:i,s:s}", "v", 1, "runtime", choice->name);

    if (doc == NULL)
        return faas_fail(err, FAAS_INTERNAL, "out of memory");
    return file_write_json(path, doc, 0600, err);
}

/* ---- choosing ---- */

static void use_native(const struct runtime_facts *facts, const char *why,
                       struct runtime_choice *out)
{
    out->name = "native";
    if (facts->lacks[0] != '\0')
        snprintf(out->why, sizeof out->why,
                 "this machine has no control groups for %s: those limits are not kept, and one "
                 "user alone is served",
                 facts->lacks);
    else
        snprintf(out->why, sizeof out->why, "%s", why);
}

static void use_docker(const char *why, struct runtime_choice *out)
{
    out->name = "docker";
    snprintf(out->why, sizeof out->why, "%s", why);
}

static faas_code choose_asked_native(const struct runtime_facts *facts, struct runtime_choice *out,
                                     faas_err *err)
{
    if (!facts->is_fit)
        return faas_fail(err, FAAS_UNAVAILABLE, "SPAWNER_RUNTIME is native, but %s", facts->why);
    use_native(facts, "SPAWNER_RUNTIME says so", out);
    return FAAS_OK;
}

faas_code runtime_decide(const struct runtime_facts *facts, const char *before,
                         struct runtime_choice *out, faas_err *err)
{
    bool is_whole = facts->is_fit && facts->lacks[0] == '\0';
    char why[sizeof out->why];

    if (strcmp(before, "docker") == 0 && facts->has_engine) {
        use_docker("the functions in this directory run in containers; SPAWNER_RUNTIME=native and "
                   "an update of each change that",
                   out);
        return FAAS_OK;
    }
    if (is_whole || (facts->is_fit && (!facts->has_engine || strcmp(before, "native") == 0))) {
        use_native(facts, "this machine can; no engine is needed", out);
        return FAAS_OK;
    }
    if (!facts->has_engine)
        return faas_fail(err, FAAS_UNAVAILABLE,
                         "functions can run in nothing here: no sandboxes (%.90s) and no Docker "
                         "Engine at %.60s; DOCKER_HOST names another",
                         facts->why, facts->engine);
    if (facts->is_fit)
        snprintf(why, sizeof why, "no sandboxes: this machine has no control groups for %s",
                 facts->lacks);
    else
        snprintf(why, sizeof why, "no sandboxes: %s", facts->why);
    use_docker(why, out);
    return FAAS_OK;
}

faas_code runtime_choose(const char *bin_dir, const char *kept, bool has_data,
                         struct runtime_choice *out_choice, faas_err *err)
{
    const char *asked = getenv("SPAWNER_RUNTIME");
    struct runtime_facts facts = {.is_fit = false};
    char before[16];

    *out_choice = (struct runtime_choice){.name = NULL};
    if (asked == NULL || asked[0] == '\0')
        asked = "auto";
    FAAS_TRY(read_kept(kept, has_data, before, err));
    if (strcmp(asked, "docker") == 0) {
        use_docker("SPAWNER_RUNTIME says so", out_choice);
    } else if (strcmp(asked, "native") == 0) {
        FAAS_TRY(check_native(bin_dir, &facts, err));
        FAAS_TRY(choose_asked_native(&facts, out_choice, err));
    } else if (strcmp(asked, "auto") == 0) {
        FAAS_TRY(check_native(bin_dir, &facts, err));
        facts.has_engine = engine_answers(facts.engine, sizeof facts.engine);
        FAAS_TRY(runtime_decide(&facts, before, out_choice, err));
    } else {
        return faas_fail(err, FAAS_INVALID, "SPAWNER_RUNTIME: auto, docker or native");
    }
    return strcmp(before, out_choice->name) == 0 ? FAAS_OK : keep(kept, out_choice, err);
}
