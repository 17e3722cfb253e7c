/* Any JSON object read as an image's configuration is refused with a reason, or what comes of it is
 * bounded, reads back the same, and has an id; any user resolves below the limit and never to 0. */
#include "tests/fuzz/claim.h"

#include "services/spawner/image/config.h"
#include "services/spawner/image/user.h"
#include "services/spawner/image/volumes.h"

static void claim_list(const json_t *list, size_t least)
{
    size_t i, total = 0;
    const json_t *word;

    CLAIM(list == NULL ||
          (json_array_size(list) >= least && json_array_size(list) <= IMAGE_WORDS_MAX));
    json_array_foreach (list, i, word) {
        CLAIM(json_is_string(word) && json_string_length(word) <= IMAGE_WORD_BYTES_MAX);
        CLAIM(strlen(json_string_value(word)) == json_string_length(word));
        total += json_string_length(word);
    }
    CLAIM(total <= IMAGE_LIST_BYTES_MAX);
}

static void claim_path(const char *path)
{
    CLAIM(path[0] == '/' && strlen(path) <= IMAGE_PATH_BYTES_MAX);
    for (const char *at = path; path[1] != '\0' && (at = strchr(at, '/')) != NULL; at++) {
        size_t part = strcspn(at + 1, "/");

        CLAIM(part > 0 && !(part == 1 && at[1] == '.') &&
              !(part == 2 && at[1] == '.' && at[2] == '.'));
    }
}

/* Each is somewhere of its own: not the root, not above or below another one. */
static void claim_volumes(const json_t *volumes)
{
    const json_t *one, *other;
    size_t i, j;

    CLAIM(volumes == NULL || json_array_size(volumes) > 0);
    CLAIM(json_array_size(volumes) <= VOLUMES_MAX);
    json_array_foreach (volumes, i, one) {
        const char *path = json_string_value(one);
        size_t len = json_string_length(one);

        CLAIM(len > 1 && len <= VOLUME_BYTES_MAX && path[len - 1] != '/');
        claim_path(path);
        json_array_foreach (volumes, j, other)
            CLAIM(i == j || strncmp(json_string_value(other), path, len) != 0 ||
                  (json_string_value(other)[len] != '/' && json_string_value(other)[len] != '\0'));
    }
}

static void claim_config(const struct image_config *config)
{
    struct image_config again;
    json_t *doc = image_config_to_json(config), *doc_again;

    claim_list(config->entrypoint, 1);
    claim_list(config->cmd, 1);
    claim_list(config->env, 0);
    CLAIM(config->env != NULL && strlen(config->user) <= IMAGE_USER_BYTES_MAX);
    claim_path(config->working_dir);
    claim_volumes(config->volumes);
    CLAIM(image_config_from_json(doc, &again, NULL) == FAAS_OK);
    doc_again = image_config_to_json(&again);
    CLAIM(json_equal(doc, doc_again));
    image_config_done(&again);
    json_decref(doc);
    json_decref(doc_again);
}

/* The whole input is also the image's passwd and group file. */
static void claim_user(const char *user, const char *text, size_t len)
{
    const struct image_accounts accounts = {text, len, text, len};
    uint32_t uid = 0, gid = 0;
    faas_err err = {0};
    faas_code code = image_user_resolve(user, &accounts, &uid, &gid, &err);

    if (code == FAAS_OK)
        CLAIM(uid > 0 && uid < IMAGE_OWNER_COUNT && gid > 0 && gid < IMAGE_OWNER_COUNT);
    else
        claim_outcome(code, code == FAAS_UNPROCESSABLE ? code : FAAS_INVALID, &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *doc = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);
    struct image_spec spec;
    char id[IMAGE_ID_TEXT];
    faas_err err = {0};
    faas_code code;
    char user[65];

    snprintf(user, sizeof user, "%.*s", (int)(size < 64 ? size : 64), (const char *)data);
    claim_user(user, (const char *)data, size);
    if (json_is_object(doc)) /* any machine's image */
        json_object_set_new(doc, "architecture", json_string(image_architecture()));
    code = image_spec_read(doc, &spec, &err);
    claim_outcome(code, err.code, &err);
    CLAIM(code == FAAS_OK || code == FAAS_INVALID || code == FAAS_UNPROCESSABLE ||
          code == FAAS_TOO_LARGE);
    if (code == FAAS_OK) {
        claim_config(&spec.config);
        CLAIM(image_spec_id(&spec, id, &err) == FAAS_OK && image_digest_is(id));
        image_spec_done(&spec);
    }
    json_decref(doc);
    return 0;
}
