/* Any envelope's metadata is either refused, with a message that names what is wrong, or becomes a
 * call within its bounds; and whatever was accepted becomes a container that is hardened, whatever
 * the call says: no capability, no new privilege, no root user, a memory limit without swap, bounded
 * processes, and a network only when "outbound" was asked for. */
#include "base/envelope.h"
#include "contract.h"
#include "services/spawner/call_spec.h"
#include "services/spawner/docker_spec.h"
#include "tests/fuzz/claim.h"

#define ID "0190c8f6-0000-7000-8000-000000000001"

static const json_t *in(const json_t *doc, const char *name)
{
    const json_t *value = json_object_get(doc, name);

    CLAIM(value != NULL);
    return value;
}

static void claim_bounds(const struct rt_spec *run)
{
    CLAIM(run->cpus >= 0.001 && run->cpus <= 1024);
    CLAIM(run->memory_mb >= 1 && run->memory_mb <= 1024 * 1024);
    CLAIM(run->pids >= 1 && run->pids <= 32768 && run->tmp_mb >= 1);
    CLAIM(run->timeout_ms >= 1 && run->timeout_ms <= FAAS_TIMEOUT_MS_MAX);
    CLAIM(run->start_timeout_ms >= 1 && run->start_timeout_ms <= FAAS_TIMEOUT_MS_MAX);
    CLAIM(run->output_bytes >= 1 && run->output_bytes <= (int64_t)FAAS_OUTPUT_MB_MAX << 20);
    CLAIM(run->image.reference != NULL && run->image.value != NULL);
    CLAIM(json_object_size(run->env) <= FAAS_ENV_MAX);
}

static void claim_hardened(const struct rt_spec *run, const json_t *body)
{
    const json_t *host = in(body, "HostConfig");
    const char *user = json_string_value(in(body, "User"));
    const json_t *drop = in(host, "CapDrop"), *safe = in(host, "SecurityOpt");
    bool has_none = strcmp(json_string_value(in(host, "NetworkMode")), "none") == 0;

    CLAIM(json_array_size(drop) == 1 &&
          strcmp(json_string_value(json_array_get(drop, 0)), "ALL") == 0);
    CLAIM(strncmp(json_string_value(json_array_get(safe, 0)), "no-new-privileges", 17) == 0);
    CLAIM(json_is_true(in(host, "ReadonlyRootfs")) &&
          !json_is_true(json_object_get(host, "Privileged")));
    CLAIM(json_integer_value(in(host, "Memory")) >= run->memory_mb << 20);
    CLAIM(json_equal(in(host, "Memory"), in(host, "MemorySwap")));
    CLAIM(json_integer_value(in(host, "PidsLimit")) == run->pids);
    CLAIM(json_object_get(host, "Binds") == NULL && json_object_get(host, "Mounts") == NULL);
    CLAIM(user[0] >= '1' && user[0] <= '9' && strstr(user, ":0") == NULL);
    CLAIM(has_none == !run->has_network);
}

static void claim_container(const struct rt_spec *run, const struct image_info *info)
{
    const struct docker_spec spec = {.call = run,
                                     .image = "sha256:x",
                                     .info = info,
                                     .owner = {"c", "s", "e"},
                                     .engine_cpus = 2,
                                     .expires_s = 1};
    FAAS_AUTO(json_t) *body = NULL;
    faas_err err = {0};
    faas_code rc = docker_spec_json(&spec, &body, &err);

    claim_outcome(rc, FAAS_START_FAILED, &err);
    if (rc == FAAS_OK)
        claim_hardened(run, body);
}

/* The first byte n: the last n bytes are the image's user, and the argument before that is the same. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct faas_envelope env = {.meta = NULL};
    struct call_spec spec = {.id = ID};
    struct image_info info = {.id = "sha256:x"};
    size_t user = size > 0 ? data[0] % 24 : 0;
    faas_err err = {0};
    faas_code rc;

    if (size < 1 + user ||
        faas_json_parse(data + 1, size - 1 - user, false, &env.meta, NULL) != FAAS_OK)
        return 0;
    env.bytes = data + size - user;
    env.len = user;
    snprintf(info.user, sizeof info.user, "%.*s", (int)user, (const char *)data + size - user);
    rc = call_spec_body(&env, &spec, &err);
    CLAIM(rc == FAAS_OK || rc == FAAS_INVALID || rc == FAAS_UNSUPPORTED);
    claim_outcome(rc, rc, &err);
    if (rc == FAAS_OK) {
        claim_bounds(&spec.run);
        claim_container(&spec.run, &info);
    }
    json_decref(env.meta);
    return 0;
}
