/* faas-registry: functions, their versions, and everything that is listed of them. */
#include "registry.h"

#include "base/clock.h"
#include "contract.h"
#include "service.h"

#include <errno.h>
#include <sodium.h>

#define STORE_WAIT_MS 60000
#define THREADS       32          /* up to RESOLVER_MAX of them wait for spawners */
#define REPLY_SPARE   (64 * 1024) /* of a message, for what stands around the records */

static struct {
    int64_t versions, functions, secrets;
    char *secrets_key;
    int64_t stream_mb, stream_h, calls, tenant_calls, logs_mb;
} conf;

static const struct faas_option options[] = {
    FAAS_OPT_INT(conf.versions, "REGISTRY_VERSIONS", "1000", 1, 1000000,
                 "versions a function may have"),
    FAAS_OPT_INT(conf.functions, "REGISTRY_FUNCTIONS", "10000", 1, 1000000,
                 "functions a user may have"),
    FAAS_OPT_INT(conf.secrets, "REGISTRY_SECRETS", "100", 0, 1000, "secrets a user may have"),
    FAAS_OPT_STR(conf.secrets_key, "REGISTRY_SECRETS_KEY_FILE", "",
                 "file with the key that secrets are sealed to, 64 hex digits, mode 0600; without "
                 "one none can be set or used"),
    FAAS_OPT_INT(conf.calls, "REGISTRY_CALLS", "1000000", 1, 1000000000,
                 "records of calls that can be listed; the oldest go first"),
    FAAS_OPT_INT(conf.tenant_calls, "REGISTRY_CALLS_TENANT", "200000", 1, 1000000000,
                 "of them: of one user"),
    FAAS_OPT_INT(conf.logs_mb, "REGISTRY_LOGS_MB", "256", 1, 1048576,
                 "standard error of calls that can be shown, in MB; the oldest goes first"),
    FAAS_OPT_INT(conf.stream_mb, "RECORDS_MB", "256", 1, 1048576,
                 "records of calls that the store keeps, in MB; counts when they are first kept"),
    FAAS_OPT_INT(conf.stream_h, "RECORDS_HOURS", "168", 1, 87600,
                 "how long calls are kept, in hours; of the store likewise"),
    FAAS_OPT_END,
};

static struct registry registry;

static faas_code start_calls(struct registry *reg, const struct faas_runtime *rt, faas_err *err)
{
    const struct records_follow_conf calls = {.rt = rt,
                                              .stream_mb = conf.stream_mb,
                                              .age_h = conf.stream_h,
                                              .rows_max = conf.calls,
                                              .tenant_rows_max = conf.tenant_calls,
                                              .logs_mb = conf.logs_mb};

    return records_follow_start(&calls, &reg->calls, err);
}

static faas_code start_secrets(struct registry *reg, const struct faas_runtime *rt, faas_err *err)
{
    const struct secrets_conf secrets = {
        .rt = rt, .key_file = conf.secrets_key, .max = conf.secrets};

    return secrets_start(&reg->secrets, &secrets, err);
}

static faas_code start(void *state, const struct faas_runtime *rt, faas_err *err)
{
    struct registry *reg = state;
    size_t payload;

    if (sodium_init() < 0)
        return faas_fail_sys(err, EIO, "libsodium");
    kept_init(&reg->kept);
    reg->members = rt->members;
    reg->is_attached = true;
    reg->versions_max = conf.versions;
    reg->functions_max = conf.functions;
    reg->resolver = (struct resolver){.loop = rt->loop, .rpc = rt->rpc, .members = rt->members};
    FAAS_TRY(faas_kv_open(rt->rpc, FAAS_BUCKET_FUNCTIONS, rt->replicas,
                          faas_deadline_in_ms(STORE_WAIT_MS), &reg->functions, err));
    payload = faas_bus_max_payload(rt->bus);
    reg->reply_max = payload > 2 * REPLY_SPARE ? payload - REPLY_SPARE : payload / 2;
    FAAS_TRY(start_calls(reg, rt, err));
    FAAS_TRY(start_secrets(reg, rt, err));
    reg->follow.loop = rt->loop;
    reg->follow.kv = reg->functions;
    reg->follow.members = rt->members;
    return follow_start(&reg->follow, rt->data_dir, rt->id, err);
}

static bool is_ready(void *state)
{
    struct registry *reg = state;

    return follow_is_ready(&reg->follow);
}

/* Beats do not depend on it: what needs no leader is answered without one. */
static bool is_healthy(void *state)
{
    struct registry *reg = state;

    return follow_is_led(&reg->follow);
}

static int64_t lowest_level(const faas_members *members)
{
    const struct faas_member *publisher;
    int64_t lowest = FAAS_LEVEL;

    for (size_t i = 0; (publisher = faas_members_at(members, "publisher", i)) != NULL; i++)
        if (!publisher->is_dead && publisher->level < lowest)
            lowest = publisher->level;
    return lowest;
}

static void fill(void *state, struct faas_beat *beat)
{
    struct registry *reg = state;

    follow_fill(&reg->follow, beat);
    if (reg->is_attached) /* beats begin before the start has ended */
        reg->publishers_level = lowest_level(reg->members);
    secrets_fill(&reg->secrets, beat);
}

static void stop(void *state)
{
    struct registry *reg = state;

    follow_stop(&reg->follow);
    records_follow_stop(reg->calls);
    secrets_stop(&reg->secrets);
    reg->calls = NULL;
    faas_kv_close(reg->functions);
}

/* Version entries are written behind the answers to their changes. */
static void drain(void *state)
{
    struct registry *reg = state;

    kept_close(&reg->kept, faas_service_drained);
}

int main(int argc, char **argv)
{
    static const struct faas_service service = {
        .name = "registry",
        .description = "functions and their versions",
        .options = options,
        .endpoints = registry_endpoints,
        .state = &registry,
        .threads_default = THREADS,
        .start = start,
        .is_ready = is_ready,
        .is_healthy = is_healthy,
        .fill = fill,
        .drain = drain,
        .stop = stop,
    };

    return faas_service_main(&service, argc, argv);
}
