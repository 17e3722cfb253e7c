/* doctor_machine.c - a `faas up` of this machine: its processes, NATS servers, disk, runtime. */
#include <string.h>
#include <sys/statvfs.h>

#include "cli/doctor.h"
#include "cli/engine_probe.h"
#include "cli/file.h"
#include "cli/programs.h"

#define DISK_LEAST  (UINT64_C(64) << 20)
#define DISK_LITTLE 5 /* in a hundred */

static const char *text(const json_t *doc, const char *name)
{
    const char *value = json_string_value(json_object_get(doc, name));

    return value != NULL ? value : "";
}

/* ---- processes ---- */

static void look_at_processes(struct doctor *doctor, const json_t *processes)
{
    const json_t *process;
    size_t i, running = 0;

    json_array_foreach (processes, i, process) {
        if (strcmp(text(process, "state"), "running") == 0)
            running++;
        else
            doctor_say(doctor, DOCTOR_WRONG, "process",
                       "read the end of its file in the folder log of the data directory",
                       "%s is %s, its last end was: %s", text(process, "name"),
                       text(process, "state"), text(process, "last_exit"));
    }
    if (running == i)
        doctor_say(doctor, DOCTOR_FINE, "process", NULL, "all %zu processes run", running);
}

/* More than half of the servers must be well, or nothing is written. */
static void look_at_nats(struct doctor *doctor, const json_t *processes)
{
    const json_t *process;
    size_t i, servers = 0, sound = 0;

    json_array_foreach (processes, i, process) {
        if (strcmp(text(process, "service"), "nats") != 0)
            continue;
        servers++;
        sound += strcmp(text(process, "health"), "ok") == 0;
    }
    if (sound == servers)
        doctor_say(doctor, DOCTOR_FINE, "nats", NULL, "all %zu servers are well", servers);
    else
        doctor_say(
            doctor, sound * 2 > servers ? DOCTOR_WARNING : DOCTOR_WRONG, "nats",
            "read log/nats-*.log in the data directory: JetStream ends where the disk is full; "
            "a server that was just started needs some seconds",
            "%zu of %zu servers are well%s", sound, servers,
            sound * 2 > servers ? "" : ": no quorum, so nothing can be written");
}

/* ---- the machine ---- */

static void look_at_disk(struct doctor *doctor, const char *path)
{
    struct statvfs disk;
    uint64_t left, percent;

    if (statvfs(path, &disk) != 0 || disk.f_blocks == 0)
        return;
    left = (uint64_t)disk.f_bavail * disk.f_frsize;
    percent = (uint64_t)disk.f_bavail * 100 / disk.f_blocks;
    if (left >= DISK_LEAST && percent >= DISK_LITTLE)
        doctor_say(doctor, DOCTOR_FINE, "disk", NULL, "%llu MB free at %s",
                   (unsigned long long)(left >> 20), path);
    else
        doctor_say(
            doctor, left < DISK_LEAST ? DOCTOR_WRONG : DOCTOR_WARNING, "disk",
            "make room: `faas image prune`, old files; JetStream takes no writes on a full disk",
            "%llu MB (%llu %%) free at %s", (unsigned long long)(left >> 20),
            (unsigned long long)percent, path);
}

/* What the spawner says when it makes a sandbox and ends it, as `faas up` asks at its start. */
static void look_at_sandboxes(struct doctor *doctor)
{
    FAAS_AUTO(char) *folder = NULL;
    FAAS_AUTO(char) *program = NULL;
    FAAS_AUTO(json_t) *doc = NULL;
    char answer[1024];
    faas_err err = {0};

    if (programs_folder(&folder, &err) != FAAS_OK ||
        programs_ours(folder, "faas-spawner", &program, &err) != FAAS_OK ||
        !programs_ask(program, "check-native", answer, sizeof answer))
        return;
    doc = faas_json_load(answer, strlen(answer), 0);
    if (!json_is_true(json_object_get(doc, "fit")))
        doctor_say(doctor, DOCTOR_FINE, "sandboxes", NULL, "none on this machine: %s",
                   text(doc, "why"));
    else if (text(doc, "lacks")[0] != '\0')
        doctor_say(doctor, DOCTOR_FINE, "sandboxes", NULL,
                   "this machine has no control groups for %s", text(doc, "lacks"));
}

static void look_at_runtime(struct doctor *doctor, const char *runtime)
{
    char where[256];

    if (strcmp(runtime, "docker") != 0)
        return;
    if (engine_answers(where, sizeof where))
        doctor_say(doctor, DOCTOR_FINE, "engine", NULL, "a Docker Engine answers at %s", where);
    else
        doctor_say(doctor, DOCTOR_WRONG, "engine", "start it, or name another one in DOCKER_HOST",
                   "no Docker Engine answers at %s, and functions run in containers", where);
    look_at_sandboxes(doctor);
}

void doctor_machine(struct doctor *doctor, const json_t *state)
{
    const json_t *processes = json_object_get(state, "processes");

    look_at_processes(doctor, processes);
    look_at_nats(doctor, processes);
    look_at_disk(doctor, text(state, "data"));
    look_at_runtime(doctor, text(state, "runtime"));
}
