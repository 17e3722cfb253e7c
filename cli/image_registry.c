#include "cli/image_registry.h"

#include <crypt.h>
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/id.h"
#include "base/text.h"
#include "cli/file.h"
#include "cli/programs.h"

#define USER        "faas"
#define PASSWORD    33 /* with NUL */
#define BCRYPT_COST 4  /* the password is 128 random bits: nobody tries them, however fast */

static faas_code no_memory(faas_err *err)
{
    return faas_fail(err, FAAS_INTERNAL, "out of memory");
}

/* ---- the login ---- */

static faas_code write_login(const char *path, const char *address, const char *password,
                             faas_err *err)
{
    char plain[sizeof USER + PASSWORD], packed[2 * sizeof plain];
    FAAS_AUTO(json_t) *doc = NULL;
    faas_code code;

    snprintf(plain, sizeof plain, USER ":%s", password);
    sodium_bin2base64(packed, sizeof packed, (const unsigned char *)plain, strlen(plain),
                      sodium_base64_VARIANT_ORIGINAL);
    doc = json_pack("{s:{s:{s:s}}}", "auths", address, "auth", packed);
    code = doc != NULL ? file_write_json(path, doc, 0600, err) : no_memory(err);
    sodium_memzero(plain, sizeof plain);
    sodium_memzero(packed, sizeof packed);
    return code;
}

static faas_code write_hash(const char *path, const char *password, faas_err *err)
{
    struct crypt_data *data = calloc(1, sizeof *data);
    char setting[CRYPT_GENSALT_OUTPUT_SIZE], line[sizeof USER + CRYPT_OUTPUT_SIZE + 1];
    const char *hash = NULL;
    faas_code code;

    if (data == NULL)
        return no_memory(err);
    if (crypt_gensalt_rn("$2b$", BCRYPT_COST, NULL, 0, setting, sizeof setting) != NULL)
        hash = crypt_rn(password, setting, data, sizeof *data);
    if (hash != NULL) {
        int len = snprintf(line, sizeof line, USER ":%s\n", hash);

        code = file_write(path, line, (size_t)len, 0600, err);
    } else {
        code = faas_fail_sys(err, errno, "hash the registry's password");
    }
    sodium_memzero(data, sizeof *data);
    free(data);
    return code;
}

/* Both halves at once: a login that is for another address, or lacks its other half, is made anew. */
static faas_code make_login(const char *path, const char *hash_path, const char *address,
                            faas_err *err)
{
    FAAS_AUTO(json_t) *before = NULL;
    FAAS_AUTO(char) *hash = NULL;
    char password[PASSWORD];
    size_t len;
    faas_code code;

    FAAS_TRY(file_read_json(path, &before, err));
    FAAS_TRY(file_read(hash_path, &hash, &len, err));
    if (hash != NULL && json_object_get(json_object_get(before, "auths"), address) != NULL)
        return FAAS_OK;
    faas_random_token(password);
    code = write_hash(hash_path, password, err);
    if (code == FAAS_OK)
        code = write_login(path, address, password, err);
    sodium_memzero(password, sizeof password);
    return code;
}

/* ---- its configuration ---- */

/* In JSON, which YAML includes. */
static json_t *configuration(const char *address, const char *data, const char *hash_path)
{
    char secret[33];

    faas_random_token(secret); /* of uploads under way, which do not outlive it */
    return json_pack("{s:s,s:{s:s,s:s,s:{s:b}},s:{s:{s:s},s:{s:b}},s:{s:s,s:s},s:{s:{s:s,s:s}},"
                     "s:{s:{s:b,s:s,s:i}}}",
                     "version", "0.1", "log", "level", "warn", "formatter", "json", "accesslog",
                     "disabled", 1, "storage", "filesystem", "rootdirectory", data, "delete",
                     "enabled", 1, "http", "addr", address, "secret", secret, "auth", "htpasswd",
                     "realm", "faas", "path", hash_path, "health", "storagedriver", "enabled", 1,
                     "interval", "10s", "threshold", 3);
}

static faas_code write_conf(const char *dir, const struct image_registry *registry, faas_err *err)
{
    FAAS_AUTO(char) *data = file_path("%s/registry/data", dir);
    FAAS_AUTO(char) *hash_path = file_path("%s/registry/htpasswd", dir);
    FAAS_AUTO(json_t) *doc = NULL;

    if (data == NULL || hash_path == NULL)
        return no_memory(err);
    FAAS_TRY(file_make_dirs(data, err));
    FAAS_TRY(make_login(registry->login_path, hash_path, registry->address, err));
    if (!faas_utf8_is(dir, strlen(dir)))
        return faas_fail(err, FAAS_INVALID, "%s: --registry needs a path in UTF-8", dir);
    doc = configuration(registry->address, data, hash_path);
    if (doc == NULL)
        return no_memory(err);
    return file_write_json(registry->conf_path, doc, 0600, err);
}

char *image_registry_login(const char *dir)
{
    return file_path("%s/keys/registry-login.json", dir);
}

faas_code image_registry_make(const char *dir, int port, struct image_registry *out_registry,
                              faas_err *err)
{
    *out_registry = (struct image_registry){
        .address = file_path("127.0.0.1:%d", port),
        .conf_path = file_path("%s/registry/config.json", dir),
        .login_path = image_registry_login(dir),
    };
    if (out_registry->address == NULL || out_registry->conf_path == NULL ||
        out_registry->login_path == NULL)
        return no_memory(err);
    FAAS_TRY(programs_image_registry(&out_registry->program, err));
    return write_conf(dir, out_registry, err);
}

void image_registry_done(struct image_registry *registry)
{
    free(registry->address);
    free(registry->program);
    free(registry->conf_path);
    free(registry->login_path);
    *registry = (struct image_registry){.address = NULL};
}

/* ---- for the command line ---- */

faas_code image_registry_find(const char *dir, char **out_address, faas_err *err)
{
    FAAS_AUTO(char) *path = file_path("%s/state.json", dir);
    FAAS_AUTO(json_t) *state = NULL;
    const json_t *process;
    size_t i;

    if (path == NULL)
        return no_memory(err);
    FAAS_TRY(file_read_json(path, &state, err));
    json_array_foreach (json_object_get(state, "processes"), i, process) {
        const char *service = json_string_value(json_object_get(process, "service"));
        const char *url = json_string_value(json_object_get(process, "url"));

        if (service == NULL || strcmp(service, IMAGE_REGISTRY_NAME) != 0 || url == NULL)
            continue;
        *out_address = strdup(url + strlen("http://"));
        return *out_address != NULL ? FAAS_OK : no_memory(err);
    }
    return faas_fail(err, FAAS_NOT_FOUND,
                     "no registry runs in %s: `faas up --registry` starts one; or name another, "
                     "like localhost:5000/name:tag",
                     dir);
}
