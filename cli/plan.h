/* plan.h - what one `faas up` runs: from options and data directory to a list of processes.
 * Roles     in the order of starting (all at once); stopping goes the other way round.
 * Settings  the services' own environment variables; what the user has set for them is passed on,
 *           except those that the plan sets itself.
 * Ownership a plan owns everything in it; plan_done() frees it and gives up the locks.
 * Errors    INVALID (usage, damaged files, another number of NATS servers), CONFLICT (directory in
 *           use), UNAVAILABLE (no port, program missing).
 * Threads   the main thread, before any other starts.
 */
#ifndef CLI_PLAN_H
#define CLI_PLAN_H

#include "cli/datadir.h"
#include "cli/image_registry.h"
#include "cli/keys.h"
#include "cli/nats_conf.h"
#include "cli/process.h"
#include "cli/runtime.h"
#include "net/nkey.h"

enum role {
    ROLE_NATS,
    ROLE_IMAGES, /* the registry of images; ROLE_REGISTRY is that of functions */
    ROLE_AUTH,
    ROLE_REGISTRY,
    ROLE_SPAWNER,
    ROLE_PUBLISHER,
    ROLE_GATEWAY,
};
#define ROLE_COUNT         (ROLE_GATEWAY + 1)
#define PLAN_REPLICAS_MOST 16

struct role_facts {
    const char *name, *program;
    int most;        /* replicas */
    int64_t stop_ms; /* between SIGTERM and SIGKILL */
};
extern const struct role_facts plan_roles[ROLE_COUNT];

struct up_options {
    const char *data;         /* NULL: the default */
    char address[64];         /* IPv4 or IPv6, without brackets */
    int port;                 /* of the first gateway, others follow; 0: free ones, kept */
    int replicas[ROLE_COUNT]; /* ROLE_IMAGES: 0 or 1 */
    bool is_tls;              /* HTTPS besides, on a port of its own per gateway */
    bool is_nats_tls;         /* the bus by TLS */
    bool is_restore;          /* NATS servers alone, in a directory that is being filled */
};

struct plan {
    struct datadir dir;
    struct cluster_facts facts;
    struct process_spec *specs;
    enum role *spec_roles; /* beside specs */
    size_t spec_count;
    char address[64];              /* of the gateways */
    int ports[PLAN_REPLICAS_MOST]; /* of the gateways, in order */
    int tls_ports[PLAN_REPLICAS_MOST];
    int images_port;
    struct keys_pair tls;     /* paths; NULL without TLS */
    struct keys_bus nats_tls; /* the same of the bus */
    struct nats_node nodes[NATS_SERVERS_MAX];
    struct runtime_choice runtime; /* of the spawners */
    struct image_registry images;  /* all NULL: none */
    int stream_replicas;
    bool is_new_cluster; /* several NATS servers that hold no data yet */
    char *url;           /* http://ADDRESS:PORT of the first gateway */
    char *tls_url;       /* https://ADDRESS:PORT of the first gateway; NULL: none */
    char *nats_urls;     /* comma-separated */
    char *state_path, *log_dir;
    char *seed_paths[ROLE_COUNT]; /* NATS seeds; ROLE_NATS: the supervisor's own, "cli" */
    char public_keys[ROLE_COUNT][FAAS_NKEY_PUBLIC_TEXT];
    char *token_key_path, *secrets_key_path, *admin_path, *nats_program, *bin_dir;
};

/* "NAME=N"; counts are left alone on failure. */
FAAS_MUST_CHECK faas_code plan_parse_replicas(const char *text, int counts[ROLE_COUNT],
                                              faas_err *err);
/* "ADDR:PORT", "[IPV6]:PORT", ":PORT" (127.0.0.1), "localhost:PORT". */
FAAS_MUST_CHECK faas_code plan_parse_listen(const char *text, struct up_options *options,
                                            faas_err *err);
FAAS_MUST_CHECK faas_code plan_make(const struct up_options *options, struct plan *out_plan,
                                    faas_err *err);
void plan_done(struct plan *plan);

#endif
