#include "cli/state.h"

#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/file.h"

static json_t *optional_int(int64_t value)
{
    return value > 0 ? json_integer(value) : json_null();
}

static json_t *describe(const struct process *process)
{
    static const char *const names[] = {
        [PROCESS_STOPPED] = "stopped",
        [PROCESS_RUNNING] = "running",
        [PROCESS_WAITING] = "restarting",
    };
    char since[FAAS_TIME_TEXT], last[64];

    faas_time_format(process->since_ms, since);
    process_status_text(process->last_status, last, sizeof last);
    return json_pack(
        "{s:s,s:s,s:i,s:o,s:s,s:i,s:s,s:o,s:o,s:s*,s:o}", "name", process->spec->name, "service",
        process->spec->service, "number", process->spec->number, "pid", optional_int(process->pid),
        "state", names[process->state], "restarts", process->restarts, "since", since, "last_exit",
        process->last_status != -1 ? json_string(last) : json_null(), "url",
        process->spec->url != NULL ? json_string(process->spec->url) : json_null(), "health_path",
        process->spec->health_path, "monitor_port", optional_int(process->spec->monitor_port));
}

faas_code state_write(const struct plan *plan, const struct process *processes, bool is_ready,
                      int64_t started_ms, faas_err *err)
{
    FAAS_AUTO(json_t) *list = json_array();
    FAAS_AUTO(json_t) *doc = NULL;
    FAAS_AUTO(char) *text = NULL;
    char started_at[FAAS_TIME_TEXT];

    for (size_t i = 0; i < plan->spec_count; i++) {
        if (json_array_append_new(list, describe(&processes[i])) != 0)
            return faas_fail(err, FAAS_INTERNAL, "out of memory");
    }
    faas_time_format(started_ms, started_at);
    doc = json_pack("{s:i,s:i,s:s,s:s,s:b,s:s,s:i,s:s,s:s*,s:O}", "v", 1, "pid", (int)getpid(),
                    "url", plan->url, "data", plan->dir.path, "ready", (int)is_ready, "started_at",
                    started_at, "nats_servers", plan->facts.nats, "runtime", plan->runtime.name,
                    "nats_ca_file", plan->nats_tls.ca_path, "processes", list);
    text = faas_json_dump(doc, JSON_INDENT(2), NULL);
    if (text == NULL)
        return faas_fail(err, FAAS_INTERNAL, "%s: a path that is not UTF-8, or no memory",
                         plan->state_path);
    return file_write_quick(plan->state_path, text, strlen(text), err);
}
