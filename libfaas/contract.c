#include "contract.h"

#include <jansson.h>
#include <string.h>

/* ---- who may do what on the bus ---- */

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})

/* Every service beats, probes, listens to its inboxes and can be found through ADR-32. */
#define BASE_PUBLISH(service)                                                                      \
    "faas.hb." service ".*", "faas.seen.*." service ".*", "faas.*.i.*.probe"
#define BASE_SUBSCRIBE(service)                                                                    \
    "faas.hb.>", "faas.seen." service ".>", "_INBOX_" service ".>", "$SRV.>",                      \
        "faas." service ".health", "faas." service ".i.*.probe"

#define BUCKET_OPEN(bucket) "$JS.API.STREAM.CREATE.KV_" bucket
#define BUCKET_READ(bucket) BUCKET_OPEN(bucket), "$JS.API.STREAM.MSG.GET.KV_" bucket
#define BUCKET_PEEK(bucket) "$JS.API.DIRECT.GET.KV_" bucket ".$KV." bucket ".>"
#define BUCKET_FEED(bucket)                                                                        \
    "$JS.API.CONSUMER.CREATE.KV_" bucket ".*", "$JS.API.CONSUMER.MSG.NEXT.KV_" bucket ".*",        \
        "$JS.API.CONSUMER.DELETE.KV_" bucket ".*"
#define BUCKET_WRITE(bucket) "$KV." bucket ".>"
/* Republished changes: nobody but JetStream may publish them. */
#define FEED(bucket) "rp." bucket ".>"

#define STREAM_USE(stream)                                                                         \
    "$JS.API.STREAM.CREATE." stream, "$JS.API.STREAM.MSG.GET." stream,                             \
        "$JS.API.STREAM.MSG.DELETE." stream, "$JS.API.STREAM.PURGE." stream

static const struct faas_bus_user users[] = {
    {
        .service = "gateway",
        .publish = LIST(
            BASE_PUBLISH("gateway"), "faas.auth.*", "faas.registry.*", "faas.*.health",
            "faas.registry.i.*.*", "faas.auth.i.*.register", "faas.auth.i.*.login",
            "faas.auth.i.*.logout", "faas.auth.i.*.password", "faas.auth.i.*.apikey_new",
            "faas.auth.i.*.apikey_end", "faas.auth.i.*.admin_set", "faas.auth.i.*.account_end",
            "faas.auth.i.*.admin_end", "faas.publisher.i.*.call", "faas.publisher.i.*.cancel",
            "faas.publisher.i.*.fence", "faas.publisher.i.*.again", "faas.publisher.i.*.queue",
            "faas.publisher.i.*.redrive", FAAS_SUBJ_PUBLISHER_STATE, FAAS_SUBJ_PUBLISHER_RESULT,
            FAAS_SUBJ_PUBLISHER_QUOTA, "faas.publisher.dead.*", "faas.spawner.i.*.cancel",
            "faas.spawner.i.*.fence", "$SRV.>", "_INBOX_spawner.>", "_INBOX_publisher.>",
            BUCKET_READ(FAAS_BUCKET_REVOCATIONS), BUCKET_FEED(FAAS_BUCKET_REVOCATIONS)),
        .subscribe = LIST(BASE_SUBSCRIBE("gateway"), FEED(FAAS_BUCKET_REVOCATIONS)),
        .allow_responses = true,
    },
    {
        .service = "auth",
        .publish =
            LIST(BASE_PUBLISH("auth"), BUCKET_READ(FAAS_BUCKET_USERS),
                 BUCKET_WRITE(FAAS_BUCKET_USERS), BUCKET_READ(FAAS_BUCKET_REVOCATIONS),
                 BUCKET_WRITE(FAAS_BUCKET_REVOCATIONS), "$JS.API.STREAM.INFO.KV_" FAAS_BUCKET_USERS,
                 "$JS.API.STREAM.PURGE.KV_" FAAS_BUCKET_USERS, FAAS_SUBJ_REGISTRY_PURGE,
                 FAAS_SUBJ_PUBLISHER_PURGE),
        .subscribe =
            LIST(BASE_SUBSCRIBE("auth"), "faas.auth.*", "faas.auth.op.*", "faas.auth.i.*.*"),
        .allow_responses = true,
    },
    {
        .service = "registry",
        .publish = LIST(BASE_PUBLISH("registry"), BUCKET_READ(FAAS_BUCKET_FUNCTIONS),
                        BUCKET_READ(FAAS_BUCKET_RECORDS), BUCKET_FEED(FAAS_BUCKET_RECORDS),
                        BUCKET_WRITE(FAAS_BUCKET_FUNCTIONS), BUCKET_FEED(FAAS_BUCKET_FUNCTIONS),
                        BUCKET_READ(FAAS_BUCKET_SECRETS), BUCKET_WRITE(FAAS_BUCKET_SECRETS),
                        BUCKET_FEED(FAAS_BUCKET_SECRETS), "faas.spawner.i.*.resolve",
                        "faas.spawner.i.*.prepare"),
        .subscribe =
            LIST(BASE_SUBSCRIBE("registry"), "faas.registry.*", "faas.registry.i.*.*",
                 FAAS_SUBJ_REGISTRY_SECRET, FAAS_SUBJ_REGISTRY_PURGE, FEED(FAAS_BUCKET_FUNCTIONS),
                 FEED(FAAS_BUCKET_RECORDS), FEED(FAAS_BUCKET_SECRETS)),
        .allow_responses = true,
    },
    {
        .service = "publisher",
        .publish =
            LIST(BASE_PUBLISH("publisher"), BUCKET_READ(FAAS_BUCKET_FUNCTIONS),
                 BUCKET_PEEK(FAAS_BUCKET_FUNCTIONS), BUCKET_FEED(FAAS_BUCKET_FUNCTIONS),
                 BUCKET_READ(FAAS_BUCKET_REVOCATIONS), BUCKET_FEED(FAAS_BUCKET_REVOCATIONS),
                 BUCKET_READ(FAAS_BUCKET_RECORDS), BUCKET_WRITE(FAAS_BUCKET_RECORDS),
                 "faas.spawner.i.*.call", "faas.spawner.i.*.cancel", "faas.spawner.i.*.fence",
                 "faas.spawner.i.*.prepare", "faas.publisher.i.*.cancel",
                 "faas.publisher.i.*.fence", FAAS_SUBJ_PUBLISHER_USE, FAAS_SUBJ_PUBLISHER_ENDED,
                 "_INBOX_gateway.>", "_INBOX_spawner.>", STREAM_USE(FAAS_STREAM_JOBS), "job.>",
                 STREAM_USE(FAAS_STREAM_RESULTS), "res.>", STREAM_USE(FAAS_STREAM_KEYS), "key.>",
                 STREAM_USE(FAAS_STREAM_DEAD), "dead.>"),
        .subscribe = LIST(BASE_SUBSCRIBE("publisher"), "faas.publisher.>", "faas.call.>",
                          FEED(FAAS_BUCKET_FUNCTIONS), FEED(FAAS_BUCKET_REVOCATIONS)),
        .allow_responses = true,
    },
    {
        .service = "spawner",
        .publish = LIST(BASE_PUBLISH("spawner"), "faas.call.>", FAAS_SUBJ_PUBLISHER_END,
                        "_INBOX_gateway.>", "_INBOX_publisher.>", FAAS_SUBJ_REGISTRY_SECRET,
                        "$JS.API.STREAM.MSG.GET.KV_" FAAS_BUCKET_SECRETS,
                        BUCKET_FEED(FAAS_BUCKET_SECRETS)),
        .subscribe = LIST(BASE_SUBSCRIBE("spawner"), "faas.spawner.i.*.*", FAAS_SUBJ_DIRECT,
                          FEED(FAAS_BUCKET_SECRETS)),
        .allow_responses = true,
    },
    {
        .service = "cli",
        .publish =
            LIST(BUCKET_READ(FAAS_BUCKET_USERS), BUCKET_READ(FAAS_BUCKET_FUNCTIONS),
                 BUCKET_READ(FAAS_BUCKET_REVOCATIONS), BUCKET_READ(FAAS_BUCKET_SECRETS),
                 "$KV." FAAS_BUCKET_SECRETS ".ready.>", "$KV." FAAS_BUCKET_USERS ".ready.>",
                 "$KV." FAAS_BUCKET_FUNCTIONS ".ready.>", "$KV." FAAS_BUCKET_REVOCATIONS ".ready.>",
                 "faas.*.health", "faas.auth.op.*", "faas.auth.i.*.keys", "$SRV.>"),
        .subscribe = LIST("_INBOX_cli.>", "$SRV.>"),
        .allow_responses = true,
    },
};

const struct faas_bus_user *faas_contract_user(size_t idx)
{
    return idx < sizeof users / sizeof users[0] ? &users[idx] : NULL;
}

const struct faas_bus_user *faas_contract_permissions(const char *service)
{
    const struct faas_bus_user *user;

    for (size_t i = 0; (user = faas_contract_user(i)) != NULL; i++) {
        if (strcmp(user->service, service) == 0)
            return user;
    }
    return NULL;
}

static void print_subjects(const char *verb, const char *const *subjects, FILE *to)
{
    (void)fprintf(to, "        %s: { allow: [", verb);
    for (size_t i = 0; subjects[i] != NULL; i++)
        (void)fprintf(to, "%s\"%s\"", i > 0 ? ", " : "", subjects[i]);
    (void)fprintf(to, "] }\n");
}

void faas_contract_authorization(const struct faas_bus_key *keys, FILE *to)
{
    /* A client starved of processor for the server's default of 2 s would be told that its key is
     * wrong, and libnats gives up after hearing that twice. */
    (void)fprintf(to, "authorization {\n  timeout: 10\n  users: [\n");
    for (; keys->service != NULL; keys++) {
        const struct faas_bus_user *user = faas_contract_permissions(keys->service);

        if (user == NULL)
            continue;
        (void)fprintf(to, "    { # %s\n      nkey: \"%s\"\n      permissions: {\n", user->service,
                      keys->public_key);
        print_subjects("publish", user->publish, to);
        print_subjects("subscribe", user->subscribe, to);
        if (user->allow_responses)
            (void)fprintf(to, "        allow_responses: { max: 1, expires: \"5m\" }\n");
        (void)fprintf(to, "      }\n    }\n");
    }
    (void)fprintf(to, "  ]\n}\n");
}

/* ---- subjects ---- */

static bool is_id(const char *id)
{
    return id[0] != '\0' && id[strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                          "0123456789_-")] == '\0';
}

bool faas_subject(char out_subject[FAAS_SUBJECT_MAX], const char *pattern, const char *id)
{
    const char *hole = strstr(pattern, "%s");
    size_t before = hole != NULL ? (size_t)(hole - pattern) : strlen(pattern);
    const char *after = hole != NULL ? hole + 2 : "";
    size_t middle = hole != NULL ? strlen(id) : 0;

    if (hole != NULL && !is_id(id))
        return false;
    if (before + middle + strlen(after) >= FAAS_SUBJECT_MAX)
        return false;
    memcpy(out_subject, pattern, before);
    memcpy(out_subject + before, id, middle);
    memcpy(out_subject + before + middle, after, strlen(after) + 1);
    return true;
}

/* ---- functions ---- */

json_t *faas_function_defaults(void)
{
    return json_pack("{s:s, s:i, s:i, s:i, s:{s:i, s:f, s:i, s:i, s:i}, s:i, s:s, s:{}, s:[], s:s,"
                     " s:s, s:{s:b, s:i, s:i, s:[]}, s:s, s:{}, s:s}",
                     "description", "", "timeout_ms", FAAS_TIMEOUT_MS, "start_timeout_ms",
                     FAAS_START_TIMEOUT_MS, "max_wait_ms", 0, "limits", "memory_mb", 128, "cpus",
                     1.0, "pids", 128, "tmp_mb", 64, "output_mb", FAAS_OUTPUT_MB, "concurrency", 0,
                     "input", "argv", "env", "secrets", "network", "none", "reuse", "fresh",
                     "retry", "idempotent", 0, "attempts", 3, "backoff_ms", 200, "on", "isolation",
                     "docker", "labels", "content_type", "");
}
