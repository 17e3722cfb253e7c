#include "config.h"

#include <errno.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/id.h"
#include "base/text.h"
#include "volumes.h"

void image_config_done(struct image_config *config)
{
    json_decref(config->entrypoint);
    json_decref(config->cmd);
    json_decref(config->env);
    json_decref(config->volumes);
    free(config->working_dir);
    free(config->user);
    *config = (struct image_config){.uid = 0};
}

void image_spec_done(struct image_spec *spec)
{
    image_config_done(&spec->config);
    json_decref(spec->layers);
    spec->layers = NULL;
}

bool image_digest_is(const char *text)
{
    return text != NULL && strncmp(text, "sha256:", 7) == 0 &&
           strspn(text + 7, "0123456789abcdef") == 64 && text[71] == '\0';
}

/* ---- platform ---- */

const char *image_architecture(void)
{
    static const char *const names[][2] = {
        {"x86_64", "amd64"},    {"aarch64", "arm64"}, {"ppc64le", "ppc64le"}, {"s390x", "s390x"},
        {"riscv64", "riscv64"}, {"armv7l", "arm"},    {"i686", "386"},
    };
    struct utsname self;

    if (uname(&self) == 0)
        for (size_t i = 0; i < FAAS_ARRAY_LEN(names); i++)
            if (strcmp(self.machine, names[i][0]) == 0)
                return names[i][1];
    return "unknown";
}

static faas_code check_platform(const char *os, const char *architecture, faas_err *err)
{
    if (os == NULL || architecture == NULL)
        return faas_fail(err, FAAS_INVALID, "image: os and architecture: expected strings");
    if (strcmp(os, "linux") != 0 || strcmp(architecture, image_architecture()) != 0)
        return faas_fail(err, FAAS_UNPROCESSABLE,
                         "the image is for %.32s/%.32s, this machine runs linux/%s", os,
                         architecture, image_architecture());
    return FAAS_OK;
}

/* ---- lists ---- */

static faas_code check_word(const char *name, const json_t *word, size_t *total, faas_err *err)
{
    if (!json_is_string(word))
        return faas_fail(err, FAAS_INVALID, "image: %s: expected an array of strings", name);
    if (json_string_length(word) > IMAGE_WORD_BYTES_MAX)
        return faas_fail(err, FAAS_INVALID, "image: %s: a string is longer than %d bytes", name,
                         IMAGE_WORD_BYTES_MAX);
    if (memchr(json_string_value(word), '\0', json_string_length(word)) != NULL)
        return faas_fail(err, FAAS_INVALID, "image: %s: a string holds a NUL byte", name);
    *total += json_string_length(word) + 1;
    return FAAS_OK;
}

/* A copy of the list; NULL in *out_list when it is absent, null or empty. */
static faas_code take_list(const char *name, const json_t *list, json_t **out_list, faas_err *err)
{
    size_t i, total = 0;
    json_t *word;

    if (list == NULL || json_is_null(list))
        return FAAS_OK;
    if (!json_is_array(list))
        return faas_fail(err, FAAS_INVALID, "image: %s: expected an array of strings", name);
    if (json_array_size(list) > IMAGE_WORDS_MAX)
        return faas_fail(err, FAAS_INVALID, "image: %s: more than %d strings", name,
                         IMAGE_WORDS_MAX);
    json_array_foreach (list, i, word)
        FAAS_TRY(check_word(name, word, &total, err));
    if (total > IMAGE_LIST_BYTES_MAX)
        return faas_fail(err, FAAS_INVALID, "image: %s: more than %d bytes", name,
                         IMAGE_LIST_BYTES_MAX);
    if (json_array_size(list) == 0)
        return FAAS_OK;
    *out_list = faas_json_deep_copy(list);
    return *out_list != NULL ? FAAS_OK : faas_fail_sys(err, ENOMEM, "image %s", name);
}

static faas_code take_command(const char *name, const json_t *list, json_t **out_list,
                              faas_err *err)
{
    FAAS_TRY(take_list(name, list, out_list, err));
    if (*out_list != NULL && json_string_length(json_array_get(*out_list, 0)) == 0)
        return faas_fail(err, FAAS_INVALID, "image: %s: begins with an empty string", name);
    return FAAS_OK;
}

static faas_code take_env(const json_t *list, json_t **out_env, faas_err *err)
{
    size_t i;
    json_t *word;

    FAAS_TRY(take_list("env", list, out_env, err));
    if (*out_env == NULL)
        *out_env = json_array();
    if (*out_env == NULL)
        return faas_fail_sys(err, ENOMEM, "image env");
    json_array_foreach (*out_env, i, word) {
        size_t name_len = strcspn(json_string_value(word), "=");

        if (name_len == 0 || name_len == json_string_length(word) ||
            faas_has_control(json_string_value(word), name_len))
            return faas_fail(err, FAAS_INVALID,
                             "image: env: expected NAME=value, the name without control "
                             "characters");
    }
    return FAAS_OK;
}

/* ---- texts ---- */

static faas_code take_text(const char *name, const json_t *value, size_t max, const char **out_text,
                           faas_err *err)
{
    *out_text = "";
    if (value == NULL || json_is_null(value))
        return FAAS_OK;
    if (!json_is_string(value))
        return faas_fail(err, FAAS_INVALID, "image: %s: expected a string", name);
    if (json_string_length(value) > max)
        return faas_fail(err, FAAS_INVALID, "image: %s: longer than %zu bytes", name, max);
    if (faas_has_control(json_string_value(value), json_string_length(value)))
        return faas_fail(err, FAAS_INVALID, "image: %s: holds control characters", name);
    *out_text = json_string_value(value);
    return FAAS_OK;
}

/* "a//b/../c/." -> "/a/c"; nothing climbs above "/". */
static char *clean_path(const char *path)
{
    size_t len = 0;
    char *out = malloc(strlen(path) + 2);

    if (out == NULL)
        return NULL;
    for (const char *at = path; *at != '\0';) {
        size_t part = strcspn(at, "/");

        if (part == 2 && at[0] == '.' && at[1] == '.') {
            while (len > 0 && out[--len] != '/')
                continue;
        } else if (part > 0 && !(part == 1 && at[0] == '.')) {
            out[len++] = '/';
            memcpy(out + len, at, part);
            len += part;
        }
        at += part + (at[part] == '/');
    }
    if (len == 0)
        out[len++] = '/';
    out[len] = '\0';
    return out;
}

struct names { /* of the same facts in the two documents, and in ours */
    const char *entrypoint, *cmd, *env, *working_dir, *user, *volumes;
};
static const struct names docker_names = {"Entrypoint", "Cmd",  "Env",
                                          "WorkingDir", "User", "Volumes"};
static const struct names own_names = {"entrypoint",  "cmd",  "env",
                                       "working_dir", "user", "volumes"};

static faas_code fill_config(const json_t *doc, const struct names *names,
                             struct image_config *config, faas_err *err)
{
    const char *dir, *user;

    if (doc != NULL && !json_is_null(doc) && !json_is_object(doc))
        return faas_fail(err, FAAS_INVALID, "image: config: expected an object");
    FAAS_TRY(take_command("entrypoint", json_object_get(doc, names->entrypoint),
                          &config->entrypoint, err));
    FAAS_TRY(take_command("cmd", json_object_get(doc, names->cmd), &config->cmd, err));
    FAAS_TRY(take_env(json_object_get(doc, names->env), &config->env, err));
    FAAS_TRY(take_text("working directory", json_object_get(doc, names->working_dir),
                       IMAGE_PATH_BYTES_MAX - 1, &dir, err));
    FAAS_TRY(
        take_text("user", json_object_get(doc, names->user), IMAGE_USER_BYTES_MAX, &user, err));
    FAAS_TRY(volumes_read(json_object_get(doc, names->volumes), &config->volumes, err));
    config->working_dir = clean_path(dir);
    config->user = strdup(user);
    if (config->working_dir == NULL || config->user == NULL)
        return faas_fail_sys(err, ENOMEM, "image config");
    return FAAS_OK;
}

/* ---- documents ---- */

static faas_code take_layers(const json_t *list, json_t **out_layers, faas_err *err)
{
    size_t i;
    json_t *layer;

    if (!json_is_array(list) || json_array_size(list) == 0)
        return faas_fail(err, FAAS_INVALID, "image: it has no layers");
    if (json_array_size(list) > IMAGE_LAYERS_MAX)
        return faas_fail(err, FAAS_TOO_LARGE, "image: more than %d layers", IMAGE_LAYERS_MAX);
    json_array_foreach (list, i, layer)
        if (!image_digest_is(json_string_value(layer)))
            return faas_fail(err, FAAS_INVALID, "image: layer %zu: expected sha256:<64 hex digits>",
                             i + 1);
    *out_layers = faas_json_deep_copy(list);
    return *out_layers != NULL ? FAAS_OK : faas_fail_sys(err, ENOMEM, "image layers");
}

static faas_code read_spec(const json_t *config, const json_t *layers, struct image_spec *out_spec,
                           faas_err *err)
{
    faas_code code;

    *out_spec = (struct image_spec){.layers = NULL};
    code = take_layers(layers, &out_spec->layers, err);
    if (code == FAAS_OK)
        code = fill_config(config, &docker_names, &out_spec->config, err);
    if (code != FAAS_OK)
        image_spec_done(out_spec);
    return code;
}

faas_code image_spec_read(const json_t *config, struct image_spec *out_spec, faas_err *err)
{
    *out_spec = (struct image_spec){.layers = NULL};
    FAAS_TRY(check_platform(json_string_value(json_object_get(config, "os")),
                            json_string_value(json_object_get(config, "architecture")), err));
    return read_spec(json_object_get(config, "config"),
                     json_object_get(json_object_get(config, "rootfs"), "diff_ids"), out_spec, err);
}

faas_code image_spec_inspect(const json_t *answer, struct image_spec *out_spec, faas_err *err)
{
    *out_spec = (struct image_spec){.layers = NULL};
    FAAS_TRY(check_platform(json_string_value(json_object_get(answer, "Os")),
                            json_string_value(json_object_get(answer, "Architecture")), err));
    return read_spec(json_object_get(answer, "Config"),
                     json_object_get(json_object_get(answer, "RootFS"), "Layers"), out_spec, err);
}

json_t *image_config_to_json(const struct image_config *config)
{
    return json_pack("{s:O?,s:O?,s:O,s:s,s:s,s:O*}", "cmd", config->cmd, "entrypoint",
                     config->entrypoint, "env", config->env, "user", config->user, "working_dir",
                     config->working_dir, "volumes", config->volumes);
}

faas_code image_config_from_json(const json_t *doc, struct image_config *out_config, faas_err *err)
{
    faas_code code;

    *out_config = (struct image_config){.uid = IMAGE_NOBODY, .gid = IMAGE_NOBODY};
    code = fill_config(doc, &own_names, out_config, err);
    if (code != FAAS_OK)
        image_config_done(out_config);
    return code;
}

faas_code image_spec_id(const struct image_spec *spec, char out_id[IMAGE_ID_TEXT], faas_err *err)
{
    FAAS_AUTO(json_t) *doc = image_config_to_json(&spec->config);
    FAAS_AUTO(char) *text = NULL;
    size_t len;

    if (doc != NULL && json_object_set(doc, "layers", spec->layers) == 0)
        text = faas_json_dump(doc, JSON_COMPACT | JSON_SORT_KEYS, &len);
    if (text == NULL)
        return faas_fail_sys(err, ENOMEM, "image id");
    memcpy(out_id, "sha256:", 7);
    faas_hash_text(text, len, out_id + 7);
    return FAAS_OK;
}
