/* init.c - `faas init`: what the parts of a deployment in containers must know of each other before
 * the first of them starts.  A data directory's keys without its processes. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/args.h"
#include "cli/datadir.h"
#include "cli/file.h"
#include "cli/keys.h"
#include "cli/nats_conf.h"
#include "cli/output.h"
#include "cli/verb.h"
#include "contract.h"

#define USERS_MAX 16
/* Each server has a network of its own, so these are everybody's. */
#define CLIENT_PORT  4222
#define ROUTE_PORT   6222
#define MONITOR_PORT 8222
#define STORE_DIR    "/data"
#define SECRETS_DIR  "/run/secrets"

static struct cli_list hosts;
static bool is_nats_tls;
static const char *const hosts_default[] = {"nats1", "nats2", "nats3"};

const struct cli_option cli_init_options[] = {
    {"nats-host", CLI_LIST, &hosts, "NAME",
     "host name of a NATS server; for 1, 3 or 5 of them (nats1, nats2, nats3)", 0, 0, NULL},
    {"nats-tls", CLI_FLAG, &is_nats_tls, NULL,
     "the bus by TLS: keys/nats-ca.pem, nats-tls.pem and nats-tls-key.pem are taken, or made", 0, 0,
     NULL},
    CLI_OPTION_END,
};

struct deployment {
    struct datadir dir;
    struct cluster_facts facts;
    const char *const *hosts;
    size_t host_count;
    char public_keys[USERS_MAX][FAAS_NKEY_PUBLIC_TEXT];
    struct faas_bus_key users[USERS_MAX + 1];
};

static faas_code choose_hosts(struct deployment *deployment, faas_err *err)
{
    bool has_own = hosts.count > 0;

    deployment->hosts = has_own ? hosts.items : hosts_default;
    deployment->host_count = has_own ? hosts.count : FAAS_ARRAY_LEN(hosts_default);
    if (deployment->host_count > NATS_SERVERS_MAX || deployment->host_count % 2 == 0)
        return faas_fail(
            err, FAAS_INVALID,
            "--nats-host: for 1, 3 or 5 servers; an even number of them stops with the "
            "first that dies");
    return FAAS_OK;
}

static faas_code make_tls(const struct deployment *deployment, faas_err *err)
{
    struct keys_bus keys = {NULL, NULL, NULL};
    faas_code code =
        keys_bus(deployment->dir.path, deployment->hosts, deployment->host_count, &keys, err);

    keys_bus_done(&keys);
    return code;
}

/* Every user of the permission table gets a seed, also those that come with a later version. */
static faas_code make_keys(struct deployment *deployment, faas_err *err)
{
    FAAS_AUTO(char) *token_key = NULL;
    FAAS_AUTO(char) *secrets_key = NULL;
    FAAS_AUTO(char) *admin = NULL;
    const struct faas_bus_user *user;

    if (is_nats_tls)
        FAAS_TRY(make_tls(deployment, err));
    FAAS_TRY(keys_token(deployment->dir.path, &token_key, err));
    FAAS_TRY(keys_secrets(deployment->dir.path, &secrets_key, err));
    FAAS_TRY(keys_admin(deployment->dir.path, &admin, err));
    for (size_t i = 0; (user = faas_contract_user(i)) != NULL; i++) {
        FAAS_AUTO(char) *seed = NULL;

        if (i == USERS_MAX)
            return faas_fail(err, FAAS_INTERNAL, "the bus has more than %d users", USERS_MAX);
        FAAS_TRY(
            keys_nats(deployment->dir.path, user->service, &seed, deployment->public_keys[i], err));
        deployment->users[i] = (struct faas_bus_key){user->service, deployment->public_keys[i]};
    }
    return FAAS_OK;
}

static faas_code write_conf(const struct deployment *deployment, faas_err *err)
{
    FAAS_AUTO(char) *path = file_path("%s/nats.conf", deployment->dir.path);
    FAAS_AUTO(char) *cluster = file_path("faas-%s", deployment->facts.id);
    FAAS_AUTO(char) *text = NULL;
    struct nats_node nodes[NATS_SERVERS_MAX];
    struct nats_conf conf = {
        .cluster = cluster,
        .store_dir = STORE_DIR,
        .route_password = deployment->facts.route_password,
        .nodes = nodes,
        .hosts = deployment->hosts,
        .node_count = deployment->host_count,
        .keys = deployment->users,
    };

    if (path == NULL || cluster == NULL)
        return faas_fail(err, FAAS_INTERNAL, "out of memory");
    if (is_nats_tls)
        conf.tls = (struct nats_tls){SECRETS_DIR "/nats-ca.pem", SECRETS_DIR "/nats-tls.pem",
                                     SECRETS_DIR "/nats-tls-key.pem"};
    for (size_t i = 0; i < deployment->host_count; i++)
        nodes[i] = (struct nats_node){CLIENT_PORT, ROUTE_PORT, MONITOR_PORT};
    FAAS_TRY(nats_conf_text(&conf, &text, err));
    return file_write(path, text, strlen(text), 0600, err);
}

static faas_code make(const char *given, struct deployment *deployment, faas_err *err)
{
    FAAS_TRY(choose_hosts(deployment, err));
    FAAS_TRY(datadir_open(given, &deployment->dir, err));
    FAAS_TRY(datadir_check_whole(deployment->dir.path, err));
    FAAS_TRY(
        datadir_cluster(&deployment->dir, (int)deployment->host_count, &deployment->facts, err));
    FAAS_TRY(make_keys(deployment, err));
    return write_conf(deployment, err);
}

static int report(const struct deployment *deployment, bool is_json)
{
    FAAS_AUTO(json_t) *doc = NULL;

    if (!is_json) {
        output_say("%s holds the keys of deployment %s and nats.conf for %zu server%s",
                   deployment->dir.path, deployment->facts.id, deployment->host_count,
                   deployment->host_count == 1 ? "" : "s");
        return CLI_OK;
    }
    doc = json_pack("{s:s, s:s, s:i}", "data", deployment->dir.path, "id", deployment->facts.id,
                    "nats", (int)deployment->host_count);
    return doc != NULL && output_json(doc, stdout) ? CLI_OK : CLI_UNAVAILABLE;
}

int cli_init(const struct cli_args *args)
{
    struct deployment deployment = {.dir = {.lock_fd = -1, .nats_fd = -1}};
    faas_err err = {0};
    faas_code code;
    int status;

    umask(077);
    code = make(args->rest.items[0], &deployment, &err);
    if (code == FAAS_OK) {
        status = report(&deployment, args->common.is_json);
    } else {
        output_error(&err, args->common.is_json, NULL);
        status = code == FAAS_CONFLICT  ? CLI_NOT_ALLOWED
                 : code == FAAS_INVALID ? CLI_USAGE
                                        : CLI_UNAVAILABLE;
    }
    datadir_close(&deployment.dir);
    return status;
}
