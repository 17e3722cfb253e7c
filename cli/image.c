/* image.c - `faas image ...`: the images this machine runs without an engine. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "cli/datadir.h"
#include "cli/file.h"
#include "cli/image_registry.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/verb.h"
#include "services/spawner/image/import.h"
#include "services/spawner/image/limits.h"

typedef struct image_store image_store;
FAAS_DEFINE_AUTO(image_store, image_store_close)

static const char *data, *tag, *working_dir, *user, *auth_file;
static struct cli_list entrypoint, command, environment;
static bool is_from_engine;
static int64_t unused_hours = 168, keep_mb = -1;

#define DATA_ROW                                                                                   \
    {                                                                                              \
        "data", CLI_TEXT, &data, "DIR", "as given to `faas up` (~/.local/share/faas)", 0, 0, NULL  \
    }
#define TAG_ROW                                                                                    \
    {                                                                                              \
        "tag", CLI_TEXT, &tag, "NAME[:TAG]", "the image's name", 0, 0, NULL                        \
    }

const struct cli_option cli_image_options[] = {DATA_ROW, CLI_OPTION_END};
const struct cli_option cli_image_import_options[] = {DATA_ROW, TAG_ROW, CLI_OPTION_END};
#define AUTH_FILE_ROW                                                                              \
    {                                                                                              \
        "auth-file", CLI_TEXT, &auth_file, "FILE",                                                 \
            "logins, as docker's config.json has them (else REGISTRY_AUTH_FILE)", 0, 0, NULL       \
    }

const struct cli_option cli_image_pull_options[] = {
    DATA_ROW,
    TAG_ROW,
    {"engine", CLI_FLAG, &is_from_engine, NULL,
     "from the Docker Engine at DOCKER_HOST, not from a registry", 0, 0, NULL},
    AUTH_FILE_ROW,
    CLI_OPTION_END,
};
const struct cli_option cli_image_push_options[] = {DATA_ROW, AUTH_FILE_ROW, CLI_OPTION_END};
const struct cli_option cli_image_pack_options[] = {
    DATA_ROW,
    TAG_ROW,
    {"entrypoint", CLI_LIST, &entrypoint, "WORD", "program, then its arguments: once for each", 0,
     0, NULL},
    {"cmd", CLI_LIST, &command, "WORD", "what runs without an entrypoint: once for each word", 0, 0,
     NULL},
    {"env", CLI_LIST, &environment, "NAME=VALUE", "environment variable; may be repeated", 0, 0,
     NULL},
    {"workdir", CLI_TEXT, &working_dir, "DIR", "working directory (/)", 0, 0, NULL},
    {"user", CLI_TEXT, &user, "USER[:GROUP]", "who it runs as (nobody)", 0, 0, NULL},
    CLI_OPTION_END,
};
const struct cli_option cli_image_prune_options[] = {
    DATA_ROW,
    {"unused-hours", CLI_INT, &unused_hours, "HOURS", "images nobody used for so long (168)", 0,
     1e6, NULL},
    {"keep-mb", CLI_INT, &keep_mb, "MB", "and more, longest unused first, until all fits", 0, 1e9,
     NULL},
    CLI_OPTION_END,
};

/* ---- what all share ---- */

static faas_code load_limits(faas_err *err)
{
    const struct faas_option *const tables[] = {image_limit_options, NULL};
    char name[] = "faas", *argv[] = {name, NULL};
    bool is_exit;

    return faas_options_load(tables, 1, argv, &is_exit, err);
}

void cli_image_settings(FILE *to)
{
    fputs("\nWhat an image may be, from the environment:\n", to);
    for (const struct faas_option *row = image_limit_options; row->name != NULL; row++)
        if (row->kind == FAAS_OPTION_INT)
            fprintf(to, "  %-20s %s (%lld to %lld, default %s)\n", row->name, row->help,
                    (long long)row->min, (long long)row->max, row->def);
}

/* DIR/images of the data directory; is_maker: an import, which may be the first one. */
static faas_code open_store(bool is_maker, struct image_store **out_store, faas_err *err)
{
    FAAS_AUTO(char) *dir = NULL, *path = NULL;

    FAAS_TRY(load_limits(err));
    FAAS_TRY(datadir_path(data, &dir, err));
    if (is_maker)
        FAAS_TRY(file_make_dirs(dir, err));
    path = file_path("%s/images", dir);
    if (path == NULL)
        return faas_fail_sys(err, ENOMEM, "image store");
    if (!is_maker) {
        struct stat info;

        if (stat(path, &info) != 0)
            return faas_fail(err, FAAS_NOT_FOUND, "there are no images in %s yet", path);
    }
    return image_store_open(out_store, path, err);
}

/* Paths and reasons are the caller's own: the log's half of an error helps them, too. */
static int fail(const struct cli_args *args, faas_err *err)
{
    if (err->code == FAAS_INTERNAL && err->detail[0] != '\0')
        (void)faas_fail(err, FAAS_INTERNAL, "%s", err->detail);
    output_error(err, args->common.is_json, NULL);
    switch (err->code) {
    case FAAS_NOT_FOUND:
        return CLI_NOT_FOUND;
    case FAAS_INVALID:
    case FAAS_TOO_LARGE:
    case FAAS_UNPROCESSABLE:
    case FAAS_DENIED:
    case FAAS_CONFLICT:
        return CLI_USAGE;
    default:
        return CLI_UNAVAILABLE;
    }
}

static const char *text_of(const json_t *doc, const char *name)
{
    const char *text = json_string_value(json_object_get(doc, name));

    return text != NULL ? text : "";
}

/* As people write it: "docker.io/library/upper:latest" is "upper:latest". */
static const char *short_name(const char *full)
{
    static const char *const hosts[] = {"docker.io/library/", "docker.io/"};

    for (size_t i = 0; i < FAAS_ARRAY_LEN(hosts); i++)
        if (strncmp(full, hosts[i], strlen(hosts[i])) == 0)
            return full + strlen(hosts[i]);
    return full;
}

/* ---- import, push, pack ---- */

static void say_made(const json_t *image)
{
    const json_t *names = json_object_get(image, "references"), *name;
    json_int_t left_out = json_integer_value(json_object_get(image, "left_out"));
    size_t i;

    json_array_foreach (names, i, name)
        output_say("%s %s", text_of(image, "id"), short_name(json_string_value(name)));
    if (json_array_size(names) == 0) {
        output_say("%s", text_of(image, "id"));
        output_note("this image has no name: --tag NAME gives it one; without one "
                    "`faas image prune` removes it when it is not used");
    }
    if (left_out > 0)
        output_note("%" JSON_INTEGER_FORMAT " devices, pipes or sockets in it were left out",
                    left_out);
}

static int say_all(const struct cli_args *args, const json_t *images)
{
    const json_t *image;
    size_t i;

    if (args->common.is_json) {
        output_json(images, stdout);
        return CLI_OK;
    }
    json_array_foreach (images, i, image)
        say_made(image);
    return CLI_OK;
}

int cli_image_import(const struct cli_args *args)
{
    FAAS_AUTO(image_store) *store = NULL;
    FAAS_AUTO(json_t) *images = NULL;
    const struct progress_of of = {.doing = "importing", .name = args->rest.items[0]};
    struct progress *progress;
    faas_err err = {0};
    faas_code code;

    if (open_store(true, &store, &err) != FAAS_OK)
        return fail(args, &err);
    progress = progress_begin(&of);
    code = image_import(store, args->rest.items[0], tag, &images, &err);
    progress_end(progress);
    return code == FAAS_OK ? say_all(args, images) : fail(args, &err);
}

/* The user's, then the one of the registry that `faas up --registry` runs in DIR. */
static faas_code login_files(char **out_files, faas_err *err)
{
    const char *given = auth_file != NULL ? auth_file : getenv("REGISTRY_AUTH_FILE");
    FAAS_AUTO(char) *dir = NULL, *own = NULL;
    bool has_given = given != NULL && given[0] != '\0', has_own;

    FAAS_TRY(datadir_path(data, &dir, err));
    own = image_registry_login(dir);
    has_own = own != NULL && access(own, F_OK) == 0;
    *out_files = own == NULL ? NULL
                             : file_path("%s%s%s", has_given ? given : "",
                                         has_given && has_own ? ":" : "", has_own ? own : "");
    return *out_files != NULL ? FAAS_OK : faas_fail_sys(err, ENOMEM, "logins");
}

static faas_code pull(struct image_store *store, const char *name, json_t **out_images,
                      faas_err *err)
{
    FAAS_AUTO(char) *logins = NULL;
    struct image_pull from = {.name = name, .tag = tag};

    if (is_from_engine)
        return image_import_engine(store, getenv("DOCKER_HOST"), name, tag, out_images, err);
    FAAS_TRY(login_files(&logins, err));
    from.auth_file = logins;
    return image_pull(store, &from, out_images, err);
}

int cli_image_pull(const struct cli_args *args)
{
    FAAS_AUTO(image_store) *store = NULL;
    FAAS_AUTO(json_t) *images = NULL;
    const struct progress_of of = {.doing = "pulling", .name = args->rest.items[0]};
    struct progress *progress;
    faas_err err = {0};
    faas_code code;

    if (open_store(true, &store, &err) != FAAS_OK)
        return fail(args, &err);
    progress = progress_begin(&of);
    code = pull(store, args->rest.items[0], &images, &err);
    progress_end(progress);
    return code == FAAS_OK ? say_all(args, images) : fail(args, &err);
}

/* The image's name in the registry that runs in DIR: that registry in place of its own. */
static faas_code own_reference(const char *name, char **out_reference, faas_err *err)
{
    FAAS_AUTO(char) *dir = NULL, *address = NULL;

    FAAS_TRY(datadir_path(data, &dir, err));
    FAAS_TRY(image_registry_find(dir, &address, err));
    return image_push_name(name, address, out_reference, err);
}

static faas_code push(const struct cli_args *args, json_t **out_image, faas_err *err)
{
    struct image_push to = {.name = args->rest.items[0], .allowed = getenv("ALLOWED_REGISTRIES")};
    FAAS_AUTO(image_store) *store = NULL;
    FAAS_AUTO(char) *logins = NULL, *own = NULL;

    FAAS_TRY(open_store(false, &store, err));
    FAAS_TRY(login_files(&logins, err));
    if (args->rest.count < 2)
        FAAS_TRY(own_reference(to.name, &own, err));
    to.reference = args->rest.count < 2 ? own : args->rest.items[1];
    to.auth_file = logins;
    return image_push(store, &to, out_image, err);
}

int cli_image_push(const struct cli_args *args)
{
    const struct progress_of of = {.doing = "pushing", .name = args->rest.items[0]};
    struct progress *progress = progress_begin(&of);
    FAAS_AUTO(json_t) *image = NULL;
    faas_err err = {0};
    faas_code code = push(args, &image, &err);

    progress_end(progress);
    if (code != FAAS_OK)
        return fail(args, &err);
    if (args->common.is_json)
        output_json(image, stdout);
    else
        output_say("%s %s", text_of(image, "id"), short_name(text_of(image, "reference")));
    return CLI_OK;
}

/* NULL for an empty list. */
static faas_code words(const char *option, const struct cli_list *list, json_t **out_words,
                       faas_err *err)
{
    FAAS_AUTO(json_t) *to = list->count > 0 ? json_array() : NULL;

    for (size_t i = 0; i < list->count; i++) {
        if (!faas_utf8_is(list->items[i], strlen(list->items[i])))
            return faas_fail(err, FAAS_INVALID, "--%s: must be UTF-8", option);
        if (json_array_append_new(to, json_string(list->items[i])) != 0)
            return faas_fail_sys(err, ENOMEM, "--%s", option);
    }
    *out_words = FAAS_STEAL(to);
    return FAAS_OK;
}

static faas_code pack(const char *folder, struct image_store *store, json_t **out_images,
                      faas_err *err)
{
    FAAS_AUTO(json_t) *entry_words = NULL, *command_words = NULL, *env_words = NULL;
    struct image_pack conf = {
        .folder = folder, .tag = tag, .working_dir = working_dir, .user = user};

    FAAS_TRY(words("entrypoint", &entrypoint, &entry_words, err));
    FAAS_TRY(words("cmd", &command, &command_words, err));
    FAAS_TRY(words("env", &environment, &env_words, err));
    if (entry_words == NULL && command_words == NULL)
        return faas_fail(err, FAAS_INVALID,
                         "--entrypoint is missing: the program to run, by its path in the image");
    conf.entrypoint = entry_words;
    conf.cmd = command_words;
    conf.env = env_words;
    return image_pack(store, &conf, out_images, err);
}

int cli_image_pack(const struct cli_args *args)
{
    FAAS_AUTO(image_store) *store = NULL;
    FAAS_AUTO(json_t) *images = NULL;
    faas_err err = {0};

    if (open_store(true, &store, &err) != FAAS_OK ||
        pack(args->rest.items[0], store, &images, &err) != FAAS_OK)
        return fail(args, &err);
    return say_all(args, images);
}

/* ---- list, inspect ---- */

static void add_row(output_table *table, const json_t *image, const char *name)
{
    output_table_add(table, name);
    output_table_addf(table, "%.19s", text_of(image, "id"));
    output_table_addf(table, "%" JSON_INTEGER_FORMAT,
                      json_integer_value(json_object_get(image, "layers")));
    output_table_addf(table, "%.1fMB",
                      (double)json_integer_value(json_object_get(image, "bytes")) / 1e6);
    output_table_add(table, text_of(image, "used_at"));
}

static faas_code print_images(const json_t *images, faas_err *err)
{
    static const struct output_column columns[] = {
        {"IMAGE", true, false}, {"ID", false, false},  {"LAYERS", false, true},
        {"SIZE", false, true},  {"USED", true, false},
    };
    FAAS_AUTO(output_table) *table = output_table_new(columns, FAAS_ARRAY_LEN(columns));
    const json_t *image, *name;
    size_t i, j;

    if (table == NULL)
        return faas_fail_sys(err, ENOMEM, "list");
    json_array_foreach (images, i, image) {
        const json_t *names = json_object_get(image, "references");

        json_array_foreach (names, j, name)
            add_row(table, image, short_name(json_string_value(name)));
        if (json_array_size(names) == 0)
            add_row(table, image, NULL);
    }
    return output_table_print(table, output_width(stdout), output_is_coloured(stdout), stdout, err);
}

int cli_image_list(const struct cli_args *args)
{
    FAAS_AUTO(image_store) *store = NULL;
    FAAS_AUTO(json_t) *images = NULL;
    faas_err err = {0};
    faas_code code = open_store(false, &store, &err);

    if (code == FAAS_NOT_FOUND)
        images = json_array();
    else if (code == FAAS_OK)
        code = image_list(store, &images, &err);
    if (code != FAAS_OK && code != FAAS_NOT_FOUND)
        return fail(args, &err);
    if (args->common.is_json)
        output_json(images, stdout);
    else if (json_array_size(images) == 0)
        output_note("no images yet; faas image import FILE brings one");
    else if (print_images(images, &err) != FAAS_OK)
        return fail(args, &err);
    return CLI_OK;
}

int cli_image_inspect(const struct cli_args *args)
{
    FAAS_AUTO(image_store) *store = NULL;
    FAAS_AUTO(json_t) *image = NULL;
    faas_err err = {0};

    if (open_store(false, &store, &err) != FAAS_OK ||
        image_inspect(store, args->rest.items[0], &image, &err) != FAAS_OK)
        return fail(args, &err);
    output_json(image, stdout);
    return CLI_OK;
}

/* ---- remove, prune ---- */

static void say_freed(const struct cli_args *args, const struct image_freed *freed)
{
    FAAS_AUTO(json_t) *doc =
        json_pack("{s:O,s:I,s:I}", "images", freed->images, "layers", (json_int_t)freed->layers,
                  "bytes", (json_int_t)freed->bytes);
    const json_t *id;
    size_t i;

    if (args->common.is_json) {
        output_json(doc, stdout);
        return;
    }
    json_array_foreach (freed->images, i, id)
        output_say("removed %s", json_string_value(id));
    output_say("freed %.1f MB in %lld layers", (double)freed->bytes / 1e6,
               (long long)freed->layers);
}

int cli_image_remove(const struct cli_args *args)
{
    FAAS_AUTO(image_store) *store = NULL;
    int status = CLI_OK;
    faas_err err = {0};

    if (open_store(false, &store, &err) != FAAS_OK)
        return fail(args, &err);
    for (size_t i = 0; i < args->rest.count; i++) {
        struct image_freed freed;

        if (image_remove(store, args->rest.items[i], &freed, &err) != FAAS_OK) {
            status = fail(args, &err);
            continue;
        }
        say_freed(args, &freed);
        json_decref(freed.images);
    }
    return status;
}

int cli_image_prune(const struct cli_args *args)
{
    const struct image_prune prune = {.unused_s = unused_hours * 3600,
                                      .keep_bytes = keep_mb < 0 ? -1 : keep_mb * 1000000};
    FAAS_AUTO(image_store) *store = NULL;
    struct image_freed freed;
    faas_err err = {0};

    if (open_store(false, &store, &err) != FAAS_OK ||
        image_prune(store, &prune, &freed, &err) != FAAS_OK)
        return fail(args, &err);
    say_freed(args, &freed);
    json_decref(freed.images);
    return CLI_OK;
}
