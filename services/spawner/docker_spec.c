#include "docker_spec.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "enter.h"
#include "services/spawner/image/volumes.h"

#define NOBODY     65534
#define ID_MAX     2147483647L       /* above it, engines of the past wrapped to 0 */
#define MEMORY_MIN (6 * 1024 * 1024) /* less, and less CPU, the engine refuses */
#define CPUS_MIN   0.01
#define SHM_BYTES  (8 * 1024 * 1024)
#define INODES_MAX 16384
#define FILES_MAX  1024
#define MIB        (1024 * 1024)
#define PAGE       4096

/* Digits alone, 1..ID_MAX, ended by `stop` or NUL; 0 otherwise. */
static long read_id(const char *text, char stop)
{
    char *end;
    long id;

    if (text[0] < '0' || text[0] > '9' || strlen(text) > 21)
        return 0;
    errno = 0;
    id = strtol(text, &end, 10);
    return errno == 0 && (*end == stop || *end == '\0') && id >= 1 && id <= ID_MAX ? id : 0;
}

void docker_user(const char *image_user, char out_user[DOCKER_USER_MAX])
{
    const char *colon = strchr(image_user, ':');
    long uid = read_id(image_user, ':');
    long gid = colon != NULL ? read_id(colon + 1, '\0') : 0;

    snprintf(out_user, DOCKER_USER_MAX, "%ld:%ld", uid > 0 ? uid : NOBODY,
             uid > 0 && gid > 0 ? gid : (long)NOBODY);
}

/* Appends all of a list; NULL: nothing. */
static bool extend(json_t *list, const json_t *more)
{
    return json_array_size(more) == 0 || json_array_extend(list, (json_t *)(uintptr_t)more) == 0;
}

/* *out_cmd: what stands in place of the image's command; NULL: that, whole. */
static faas_code own_cmd(const struct rt_spec *call, json_t **out_cmd, faas_err *err)
{
    const char *text = call->argument_len > 0 ? call->argument : "";
    FAAS_AUTO(json_t) *cmd = NULL;

    *out_cmd = NULL;
    if (call->is_stdin && json_array_size(call->command) == 0)
        return FAAS_OK;
    cmd = json_array();
    if (cmd == NULL || !extend(cmd, call->command))
        return faas_fail_sys(err, ENOMEM, "container argv");
    if (!call->is_stdin &&
        (memchr(text, '\0', call->argument_len) != NULL || !faas_utf8_is(text, call->argument_len)))
        return faas_fail(err, FAAS_START_FAILED,
                         "the argument must be UTF-8 without NUL bytes; input \"stdin\" takes any");
    if (!call->is_stdin && json_array_append_new(cmd, json_stringn(text, call->argument_len)) != 0)
        return faas_fail_sys(err, ENOMEM, "container argv");
    *out_cmd = FAAS_STEAL(cmd);
    return FAAS_OK;
}

/* With secrets the image's entrypoint is what faas-enter becomes. */
static faas_code add_argv(const struct docker_spec *spec, json_t *body, faas_err *err)
{
    FAAS_AUTO(json_t) *own = NULL, *all = NULL;
    const json_t *cmd;
    int rc;

    FAAS_TRY(own_cmd(spec->call, &own, err));
    if (spec->call->secrets == NULL) {
        rc = own != NULL ? json_object_set(body, "Cmd", own) : 0;
        return rc == 0 ? FAAS_OK : faas_fail_sys(err, ENOMEM, "container argv");
    }
    cmd = own != NULL ? own : spec->info->cmd;
    if (json_array_size(spec->info->entrypoint) + json_array_size(cmd) == 0)
        return faas_fail(err, FAAS_START_FAILED,
                         "the image has neither ENTRYPOINT nor CMD: there is nothing to run");
    all = json_pack("[s]", spec->call->is_stdin ? ENTER_STDIN : ENTER_NOTHING);
    if (all == NULL || !extend(all, spec->info->entrypoint) || !extend(all, cmd) ||
        json_object_set(body, "Cmd", all) != 0 ||
        json_object_set_new(body, "Entrypoint", json_pack("[s]", ENTER_PLACE "/" ENTER_NAME)) != 0)
        return faas_fail_sys(err, ENOMEM, "container argv");
    return FAAS_OK;
}

static faas_code add_env(const struct rt_spec *call, json_t *body, faas_err *err)
{
    json_t *list = json_array(), *value;
    const char *key;

    if (json_object_set_new(body, "Env", list) != 0)
        return faas_fail_sys(err, ENOMEM, "container environment");
    json_object_foreach ((json_t *)(uintptr_t)call->env, key, value) {
        json_t *entry = json_sprintf("%s=%s", key, json_string_value(value));

        if (entry == NULL || json_array_append_new(list, entry) != 0)
            return faas_fail_sys(err, ENOMEM, "container environment");
    }
    return FAAS_OK;
}

static faas_code add_labels(const struct docker_spec *spec, json_t *body, faas_err *err)
{
    char expires[24];
    json_t *labels;

    snprintf(expires, sizeof expires, "%lld", (long long)spec->expires_s);
    labels = json_pack("{s:s,s:s,s:s,s:s,s:s}", LABEL_CLUSTER, spec->owner.cluster, LABEL_SPAWNER,
                       spec->owner.spawner, LABEL_EPOCH, spec->owner.epoch, LABEL_CALL,
                       spec->call->call_id, LABEL_EXPIRES, expires);
    if (labels == NULL || json_object_set_new(body, "Labels", labels) != 0)
        return faas_fail_sys(err, ENOMEM, "container labels");
    return FAAS_OK;
}

static bool set_tmpfs(json_t *mounts, const char *path, const char *flags, int64_t mb)
{
    char options[128];

    snprintf(options, sizeof options, "rw,%snosuid,nodev,mode=1777,nr_inodes=%d,size=%lldm", flags,
             INODES_MAX, (long long)mb);
    return json_object_set_new(mounts, path, json_string(options)) == 0;
}

static bool set_secrets(json_t *mounts, const struct docker_spec *spec)
{
    static const char *const places[] = {ENTER_PATH, ENTER_ALIAS};
    char user[DOCKER_USER_MAX], options[160];

    docker_user(spec->info->user, user);
    *strchr(user, ':') = '\0';
    snprintf(options, sizeof options,
             "rw,noexec,nosuid,nodev,mode=0700,uid=%s,gid=%s,nr_inodes=%d,size=%zu", user,
             user + strlen(user) + 1, FAAS_SECRETS_MAX + 8,
             secret_set_bytes(spec->call->secrets) + PAGE);
    for (size_t i = 0; i < FAAS_ARRAY_LEN(places); i++)
        if (json_object_set_new(mounts, places[i], json_string(options)) != 0)
            return false;
    return true;
}

/* /tmp, in place of each volume the image declares, and where secrets are. */
static faas_code tmpfs_of(const struct docker_spec *spec, json_t **out_mounts, faas_err *err)
{
    FAAS_AUTO(json_t) *mounts = json_object(), *volumes = NULL;
    const json_t *path;
    faas_err why = {0};
    faas_code code = volumes_read(spec->info->volumes, &volumes, &why);
    size_t i;

    if (code != FAAS_OK)
        return faas_fail(err, code == FAAS_INVALID ? FAAS_START_FAILED : code, "%s", why.msg);
    if (!set_tmpfs(mounts, "/tmp", "noexec,", spec->call->tmp_mb))
        return faas_fail_sys(err, ENOMEM, "container limits");
    json_array_foreach (volumes, i, path)
        if (!set_tmpfs(mounts, json_string_value(path), "exec,", spec->call->tmp_mb))
            return faas_fail_sys(err, ENOMEM, "container limits");
    if (spec->call->secrets != NULL && !set_secrets(mounts, spec))
        return faas_fail_sys(err, ENOMEM, "container limits");
    *out_mounts = FAAS_STEAL(mounts);
    return FAAS_OK;
}

static json_t *limits_of(const struct docker_spec *spec)
{
    const struct rt_spec *call = spec->call;
    double most = call->cpus < spec->engine_cpus ? call->cpus : spec->engine_cpus;
    double cpus = most > CPUS_MIN ? most : CPUS_MIN;
    json_int_t memory = (json_int_t)call->memory_mb * MIB;

    if (memory < MEMORY_MIN)
        memory = MEMORY_MIN;
    return json_pack("{s:I,s:I,s:I,s:I,s:I,s:[{s:s,s:i,s:i},{s:s,s:i,s:i}]}", "Memory", memory,
                     "MemorySwap", memory, "NanoCpus", (json_int_t)(cpus * 1e9), "PidsLimit",
                     (json_int_t)call->pids, "ShmSize", (json_int_t)SHM_BYTES, "Ulimits", "Name",
                     "nofile", "Soft", FILES_MAX, "Hard", FILES_MAX, "Name", "core", "Soft", 0,
                     "Hard", 0);
}

static faas_code add_host(const struct docker_spec *spec, json_t *body, faas_err *err)
{
    json_t *host, *tmpfs, *rest;
    int rc;

    FAAS_TRY(tmpfs_of(spec, &tmpfs, err));
    host = limits_of(spec);
    rest =
        json_pack("{s:b,s:[s],s:[s],s:b,s:s,s:s,s:{s:s},s:{s:s}}", "ReadonlyRootfs", 1, "CapDrop",
                  "ALL", "SecurityOpt", "no-new-privileges", "Privileged", 0, "IpcMode", "private",
                  "NetworkMode", spec->call->has_network ? "bridge" : "none", "LogConfig", "Type",
                  "none", "RestartPolicy", "Name", "no");
    rc = host != NULL && rest != NULL ? json_object_update(host, rest) : -1;
    json_decref(rest);
    if (rc == 0)
        rc = json_object_set(host, "Tmpfs", tmpfs);
    if (rc == 0)
        rc = json_object_set(body, "HostConfig", host);
    json_decref(tmpfs);
    json_decref(host);
    return rc == 0 ? FAAS_OK : faas_fail_sys(err, ENOMEM, "container limits");
}

faas_code docker_spec_json(const struct docker_spec *spec, json_t **out_body, faas_err *err)
{
    FAAS_AUTO(json_t) *body = NULL;
    bool has_secrets = spec->call->secrets != NULL;
    bool is_stdin = spec->call->is_stdin || has_secrets;
    char user[DOCKER_USER_MAX];

    docker_user(spec->info->user, user);
    body = json_pack("{s:s,s:s,s:s,s:b,s:b,s:b,s:b,s:b,s:b,s:{s:[s]}}", "Image", spec->image,
                     "User", user, "Hostname", "function", "Tty", 0, "AttachStdin", is_stdin,
                     "OpenStdin", is_stdin, "StdinOnce", is_stdin, "AttachStdout", 1,
                     "AttachStderr", 1, "Healthcheck", "Test", "NONE");
    if (body == NULL)
        return faas_fail_sys(err, ENOMEM, "container");
    if (has_secrets && json_object_set_new(body, "Volumes", json_pack("{s:{}}", ENTER_PLACE)) != 0)
        return faas_fail_sys(err, ENOMEM, "container");
    FAAS_TRY(add_argv(spec, body, err));
    FAAS_TRY(add_env(spec->call, body, err));
    FAAS_TRY(add_labels(spec, body, err));
    FAAS_TRY(add_host(spec, body, err));
    *out_body = FAAS_STEAL(body);
    return FAAS_OK;
}
