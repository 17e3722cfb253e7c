/* scale.c - `faas scale`: other numbers of services in containers, by the docker command of the user. */
#include <stdlib.h>
#include <string.h>

#include "cli/child.h"
#include "cli/client.h"
#include "cli/datadir.h"
#include "cli/file.h"
#include "cli/output.h"
#include "cli/scale_plan.h"

#define ASK_MS   30000
#define SCALE_MS 600000

static const char *name = "faas";

const struct cli_option cli_scale_options[] = {
    {"name", CLI_TEXT, &name, "NAME", "stack or Compose project (faas)", 0, 0, NULL},
    CLI_OPTION_END,
};

/* ---- which one runs ---- */

static faas_code ask(const char *const *words, char *out_text, size_t room, faas_err *err)
{
    const struct child child = {
        .argv = words, .timeout_ms = ASK_MS, .out_text = out_text, .out_room = room};

    return child_run(&child, err);
}

/* All lines of text are searched: docker may have put a warning before them. */
static bool has_line(const char *text, const char *line)
{
    size_t len = strlen(line);

    for (; *text != '\0'; text += strcspn(text, "\n"), text += *text == '\n')
        if (strncmp(text, line, len) == 0 && (text[len] == '\n' || text[len] == '\0'))
            return true;
    return false;
}

/* The stack's spawners stand for the stack.  An engine that is no manager of a Swarm has none. */
static bool is_stack(void)
{
    static const char *const words[] = {"docker", "service", "ls", "--format", "{{.Name}}", NULL};
    FAAS_AUTO(char) *wanted = file_path("%s_spawner-service", name);
    char text[16384];
    faas_err err = {0};

    return wanted != NULL && ask(words, text, sizeof text, &err) == FAAS_OK &&
           has_line(text, wanted);
}

struct project {
    char text[8192];
    const char *folder, *files; /* in text */
};

/* Where a project was started, and of which files: labels that Compose gives its containers. */
static faas_code find_project(struct project *project, faas_err *err)
{
    FAAS_AUTO(char) *filter = file_path("label=com.docker.compose.project=%s", name);
    const char *const words[] = {"docker",
                                 "ps",
                                 "--all",
                                 "--filter",
                                 filter,
                                 "--filter",
                                 "label=com.docker.compose.service=spawner-service",
                                 "--format",
                                 "{{.Label \"com.docker.compose.project.working_dir\"}}\t"
                                 "{{.Label \"com.docker.compose.project.config_files\"}}",
                                 NULL};
    char *tab, *line;

    if (filter == NULL)
        return faas_fail(err, FAAS_INTERNAL, "out of memory");
    FAAS_TRY(ask(words, project->text, sizeof project->text, err));
    for (line = project->text; *line != '\0' && *line != '/'; line += *line == '\n')
        line += strcspn(line, "\n");
    tab = strchr(line, '\t');
    if (tab == NULL)
        return faas_fail(err, FAAS_NOT_FOUND, "no stack and no Compose project %s runs", name);
    line[strcspn(line, "\n")] = '\0';
    *tab = '\0';
    project->folder = line;
    project->files = tab + 1;
    return FAAS_OK;
}

/* ---- doing it ---- */

static faas_code run(const struct scale_plan *plan, const char *folder, faas_err *err)
{
    const struct child child = {.argv = plan->words, .folder = folder, .timeout_ms = SCALE_MS};

    return child_run(&child, err);
}

static faas_code scale_project(struct scale_plan *plan, const struct project *project,
                               faas_err *err)
{
    static const char *const plugin[] = {"docker", "compose", NULL};
    static const char *const older[] = {"docker-compose", NULL};
    static const char *const look[] = {"docker", "compose", "version", NULL};
    char text[1024];
    faas_err none = {0};
    bool is_plugin = ask(look, text, sizeof text, &none) == FAAS_OK;

    FAAS_TRY(scale_compose(plan, is_plugin ? plugin : older, project->files, err));
    return run(plan, project->folder, err);
}

static bool runs_up(void)
{
    FAAS_AUTO(char) *path = NULL;
    faas_err err = {0};
    pid_t pid = 0;

    return datadir_path(NULL, &path, &err) == FAAS_OK &&
           datadir_holder(path, &pid, &err) == FAAS_OK && pid != 0;
}

/* No stack, and no project: err already says why. */
static faas_code explain(const struct scale_plan *plan, faas_code code, faas_err *err)
{
    if (runs_up())
        return faas_fail(err, FAAS_NOT_FOUND,
                         "no stack and no Compose project %s runs, but `faas up` does: its numbers "
                         "are given at its start: faas down, then faas up --replicas %s=%lld",
                         name, plan->wanted[0].service, (long long)plan->wanted[0].number);
    if (code == FAAS_NOT_FOUND)
        return faas_fail(err, FAAS_NOT_FOUND,
                         "no stack and no Compose project %s runs at this engine (--name, "
                         "DOCKER_HOST); scripts/run starts one",
                         name);
    return code;
}

static faas_code scale(struct scale_plan *plan, bool *out_is_swarm, faas_err *err)
{
    static struct project project;
    faas_code code;

    *out_is_swarm = is_stack();
    if (*out_is_swarm) {
        FAAS_TRY(scale_swarm(plan, err));
        return run(plan, NULL, err);
    }
    code = find_project(&project, err);
    return code == FAAS_OK ? scale_project(plan, &project, err) : explain(plan, code, err);
}

static void say(const struct scale_plan *plan, bool is_swarm, bool is_json)
{
    FAAS_AUTO(json_t) *doc = json_object();

    for (size_t i = 0; i < plan->count; i++) {
        if (is_json)
            json_object_set_new(doc, plan->wanted[i].service, json_integer(plan->wanted[i].number));
        else
            output_say("%s %s: %s %lld", is_swarm ? "stack" : "project", name,
                       plan->wanted[i].service, (long long)plan->wanted[i].number);
    }
    if (is_json)
        output_json(doc, stdout);
}

int cli_scale(const struct cli_args *args)
{
    static struct scale_plan plan;
    faas_err err = {0};
    bool is_swarm = false;
    faas_code code = scale_read(&args->rest, name, &plan, &err);

    unsetenv("FAAS_TOKEN"); /* nothing that docker needs */
    if (code == FAAS_OK)
        code = scale(&plan, &is_swarm, &err);
    if (code != FAAS_OK) {
        output_error(&err, args->common.is_json, NULL);
        return client_exit(code);
    }
    say(&plan, is_swarm, args->common.is_json);
    return CLI_OK;
}
