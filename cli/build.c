/* build.c - `faas build`: the images of a stack file's functions that have a folder (handler).
 * With a Docker Engine from the folder's Dockerfile; where none answers from its recipe `rootfs`,
 * which fills a folder for `faas image pack`, with the ENTRYPOINT that the Dockerfile names.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/child.h"
#include "cli/engine_probe.h"
#include "cli/file.h"
#include "cli/output.h"
#include "cli/stack.h"
#include "cli/verb.h"

#define WORDS_MAX 32 /* of an ENTRYPOINT */

static const char *file = "stack.yml", *data;
static struct cli_list only;
static bool is_packing;
static int64_t timeout_s = 1800;

const struct cli_option cli_build_options[] = {
    {"f", CLI_TEXT, &file, "FILE", "the same as --file", 0, 0, NULL},
    {"file", CLI_TEXT, &file, "FILE", "the stack file (stack.yml)", 0, 0, NULL},
    {"only", CLI_LIST, &only, "NAME", "this function; may be repeated", 0, 0, NULL},
    {"pack", CLI_FLAG, &is_packing, NULL, "by the recipe rootfs, also where an engine answers", 0,
     0, NULL},
    {"data", CLI_TEXT, &data, "DIR", "for packed images: as given to `faas up`", 0, 0, NULL},
    {"timeout-s", CLI_INT, &timeout_s, "N", "longest build of one image (1800)", 1, 86400, NULL},
    CLI_OPTION_END,
};

struct building {
    struct stack stack;
    char *folder; /* owned; of the file */
    bool has_engine;
    char engine[256]; /* where one was looked for */
    json_t *done;     /* owned; for --json */
};

static faas_code no_memory(faas_err *err)
{
    return faas_fail_sys(err, ENOMEM, "build");
}

static const char *variable(const char *name)
{
    return getenv(name);
}

static faas_code run(struct child child, faas_err *err)
{
    child.timeout_ms = timeout_s * 1000;
    return child_run(&child, err);
}

/* ---- the file ---- */

static faas_code open_stack(struct building *building, faas_err *err)
{
    struct stack_source source = {.file = file, .lookup = variable};
    const char *slash = strrchr(file, '/');
    FAAS_AUTO(char) *text = NULL;

    FAAS_TRY(file_read(file, &text, &source.len, err));
    if (text == NULL)
        return faas_fail(err, FAAS_INVALID, "%s: there is no such file; `faas new` makes one",
                         file);
    source.text = text;
    /* "./" in front, so that no folder's name is taken for an option */
    building->folder = slash == NULL    ? strdup(".")
                       : file[0] == '/' ? file_path("%.*s", (int)(slash - file) + 1, file)
                                        : file_path("./%.*s", (int)(slash - file), file);
    return building->folder != NULL ? stack_read(&source, &building->stack, err) : no_memory(err);
}

static bool is_chosen(const char *name)
{
    for (size_t i = 0; i < only.count; i++)
        if (strcmp(only.items[i], name) == 0)
            return true;
    return only.count == 0;
}

static faas_code check_only(const struct stack *stack, faas_err *err)
{
    size_t found = 0, handlers = 0;

    for (size_t i = 0; i < stack->count; i++) {
        found += only.count > 0 && is_chosen(stack->functions[i].name);
        handlers += stack->functions[i].handler != NULL;
    }
    if (found < only.count)
        return faas_fail(err, FAAS_INVALID, "--only: the file has no such function");
    if (handlers == 0)
        return faas_fail(
            err, FAAS_INVALID,
            "%.60s: no function has a handler, the folder that its image is built from", file);
    return FAAS_OK;
}

/* ---- without an engine ---- */

/* The words of the last ENTRYPOINT ["..."] of a Dockerfile. */
static faas_code read_entrypoint(const char *path, json_t **out_words, faas_err *err)
{
    FAAS_AUTO(char) *text = NULL;
    FAAS_AUTO(json_t) *words = NULL;
    size_t len, i;
    const json_t *word;
    char *rest = NULL;
    bool is_right;

    FAAS_TRY(file_read(path, &text, &len, err));
    for (char *line = text != NULL ? strtok_r(text, "\r\n", &rest) : NULL; line != NULL;
         line = strtok_r(NULL, "\r\n", &rest)) {
        if (strncmp(line, "ENTRYPOINT ", 11) != 0)
            continue;
        json_decref(words);
        words = faas_json_load(line + 11, strlen(line + 11), 0);
    }
    is_right =
        json_is_array(words) && json_array_size(words) > 0 && json_array_size(words) <= WORDS_MAX;
    json_array_foreach (words, i, word)
        is_right = is_right && json_is_string(word);
    if (!is_right)
        return faas_fail(err, FAAS_INVALID,
                         "%s: needs a line ENTRYPOINT [\"/program\", ...], at most %d words", path,
                         WORDS_MAX);
    *out_words = FAAS_STEAL(words);
    return FAAS_OK;
}

/* Where a recipe's files go.  What ends this program waits meanwhile, so that they go away first. */
struct root {
    char *path; /* owned */
    bool is_there;
    int stop_fd;
    sigset_t before;
};

static faas_code root_open(struct root *root, faas_err *err)
{
    static const int ends[] = {SIGINT, SIGTERM, SIGHUP};
    const char *temporary = getenv("TMPDIR");
    struct sigaction now;
    sigset_t held;

    root->path = file_path("%s/faas-build-XXXXXX",
                           temporary != NULL && temporary[0] == '/' ? temporary : "/tmp");
    if (root->path == NULL)
        return no_memory(err);
    sigemptyset(&held);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (sigaction(ends[i], NULL, &now) == 0 && now.sa_handler != SIG_IGN)
            sigaddset(&held, ends[i]);
    root->stop_fd = signalfd(-1, &held, SFD_CLOEXEC);
    if (root->stop_fd < 0)
        return faas_fail_sys(err, errno, "hold signals");
    sigprocmask(SIG_BLOCK, &held, &root->before);
    root->is_there = mkdtemp(root->path) != NULL;
    return root->is_there ? FAAS_OK : file_fail(err, "make the directory", root->path, errno);
}

/* A signal that came meanwhile ends the program here. */
static void root_close(struct root *root)
{
    const char *const away[] = {"rm", "-rf", "--", root->path, NULL};
    faas_err ignored;

    if (root->is_there)
        (void)!run((struct child){.argv = away}, &ignored);
    if (root->stop_fd > 0) {
        close(root->stop_fd);
        sigprocmask(SIG_SETMASK, &root->before, NULL);
    }
    free(root->path);
}

static faas_code pack(const struct stack_function *function, const struct root *root,
                      const json_t *words, faas_err *err)
{
    const char *image = json_string_value(json_object_get(function->body, "payload"));
    const char *argv[WORDS_MAX * 2 + 9] = {"/proc/self/exe", "image", "pack",
                                           root->path,       "--tag", image};
    const json_t *word;
    size_t count = 6, i;

    if (data != NULL) {
        argv[count++] = "--data";
        argv[count++] = data;
    }
    json_array_foreach (words, i, word) {
        argv[count++] = "--entrypoint";
        argv[count++] = json_string_value(word);
    }
    return run((struct child){.argv = argv, .is_quiet = true, .stop_fd = root->stop_fd}, err);
}

static faas_code pack_by_recipe(const struct stack_function *function, const char *folder,
                                faas_err *err)
{
    FAAS_AUTO(char) *dockerfile = file_path("%s/Dockerfile", folder);
    FAAS_AUTO(json_t) *words = NULL;
    struct root root = {.stop_fd = -1};
    faas_code code;

    if (dockerfile == NULL)
        return no_memory(err);
    FAAS_TRY(read_entrypoint(dockerfile, &words, err));
    code = root_open(&root, err);
    if (code == FAAS_OK) {
        const char *const recipe[] = {"sh", "./rootfs", root.path, NULL};

        code = run((struct child){.argv = recipe, .folder = folder, .stop_fd = root.stop_fd}, err);
    }
    if (code == FAAS_OK)
        code = pack(function, &root, words, err);
    root_close(&root);
    return code;
}

/* ---- one function ---- */

static bool has_file(const char *folder, const char *name)
{
    FAAS_AUTO(char) *path = file_path("%s/%s", folder, name);

    return path != NULL && access(path, R_OK) == 0;
}

static faas_code build_one(const struct building *building, const struct stack_function *function,
                           faas_err *err)
{
    const char *image = json_string_value(json_object_get(function->body, "payload"));
    FAAS_AUTO(char) *folder = function->handler[0] == '/'
                                  ? strdup(function->handler)
                                  : file_path("%s/%s", building->folder, function->handler);
    const char *const docker[] = {"docker", "build", "-t", image, folder, NULL};

    if (folder == NULL)
        return no_memory(err);
    if (!has_file(folder, "Dockerfile"))
        return faas_fail(err, FAAS_INVALID, "%s has no Dockerfile: is it the function's folder?",
                         folder);
    if (building->has_engine && !is_packing)
        return run((struct child){.argv = docker}, err);
    if (has_file(folder, "rootfs"))
        return pack_by_recipe(function, folder, err);
    return faas_fail(err, FAAS_UNAVAILABLE,
                     "%.20s needs a Docker Engine%s%.40s%s: build it where one runs, or write "
                     "%.60s/rootfs",
                     function->lang != NULL ? function->lang : "it",
                     is_packing ? "" : ", and none answers at ", is_packing ? "" : building->engine,
                     is_packing ? " (no --pack)" : "", folder);
}

static faas_code note(struct building *building, const struct stack_function *function,
                      const faas_err *failure, faas_err *err)
{
    json_t *doc = json_pack("{s:s,s:O,s:s}", "name", function->name, "image",
                            json_object_get(function->body, "payload"), "outcome",
                            failure->code == FAAS_OK ? "built" : "failed");

    if (failure->code != FAAS_OK)
        json_object_set_new(
            doc, "error",
            json_pack("{s:s,s:s}", "code", faas_code_slug(failure->code), "detail", failure->msg));
    return json_array_append_new(building->done, doc) == 0 ? FAAS_OK : no_memory(err);
}

static int build_all(struct building *building, bool is_json, faas_err *err)
{
    int status = CLI_OK;

    for (size_t i = 0; i < building->stack.count; i++) {
        const struct stack_function *function = &building->stack.functions[i];
        faas_err failure = {0};

        if (function->handler == NULL || !is_chosen(function->name))
            continue;
        if (build_one(building, function, &failure) != FAAS_OK)
            status = CLI_FUNCTION_FAILED;
        if (note(building, function, &failure, err) != FAAS_OK)
            return CLI_UNAVAILABLE;
        if (is_json)
            continue;
        if (failure.code != FAAS_OK)
            output_note("error: %s: %s", function->name, failure.msg);
        else
            output_say("built %s: image %s", function->name,
                       json_string_value(json_object_get(function->body, "payload")));
    }
    return status;
}

static void building_done(struct building *building)
{
    stack_done(&building->stack);
    json_decref(building->done);
    free(building->folder);
}

int cli_build(const struct cli_args *args)
{
    struct building building = {.done = json_array()};
    faas_err err = {0};
    int status = CLI_OK;

    unsetenv("FAAS_TOKEN"); /* nothing that runs here has use for it */
    if (open_stack(&building, &err) == FAAS_OK && check_only(&building.stack, &err) == FAAS_OK) {
        building.has_engine = engine_answers(building.engine, sizeof building.engine);
        status = build_all(&building, args->common.is_json, &err);
    }
    if (err.code == FAAS_OK && args->common.is_json)
        output_json(building.done, stdout);
    if (err.code != FAAS_OK) {
        output_error(&err, args->common.is_json, NULL);
        status = err.code == FAAS_INTERNAL ? CLI_UNAVAILABLE : CLI_USAGE;
    }
    building_done(&building);
    return status;
}
