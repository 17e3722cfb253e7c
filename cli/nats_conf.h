/* nats_conf.h - the configuration file of one nats-server, as text.
 * Contents  listeners for clients, routes and monitoring, on loopback or, of a server with a host
 *           name of its own, on every address (monitoring stays on loopback); JetStream with an
 *           fsync per write; TLS, where there are certificates; routes with a password; one nkey user per service with the allow-lists
 *           of contract.h.
 * Hosts     servers that have host names of their own share one text, which names none of them:
 *           each is started with --name.
 * Text      values are quoted; a value with a quote, backslash or control character is refused, so
 *           nothing can end its string early.
 * Ownership conf borrows everything; the text is the caller's.
 * Threads   any; no input or output.
 * Errors    INVALID naming the value.
 * Spec      BUS.md sections 0 and 7; nats-server 2.10.27 and later.
 */
#ifndef CLI_NATS_CONF_H
#define CLI_NATS_CONF_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "contract.h"

#define NATS_SERVERS_MAX 5

struct nats_node {
    int client_port, route_port, monitor_port;
};

struct nats_tls { /* paths, all or none */
    const char *ca, *cert, *key;
};

struct nats_conf {
    const char *cluster;        /* unique per data directory */
    const char *store_dir;      /* of this server */
    const char *route_password; /* letters and digits */
    const struct nats_node *nodes;
    const char *const *hosts;        /* beside nodes: their host names; NULL: all on this machine */
    size_t node_count, own;          /* own: index of this server; not used with hosts */
    struct nats_tls tls;             /* of clients' connections and of routes */
    const struct faas_bus_key *keys; /* the users and their public halves; "cli" must be there */
};

FAAS_MUST_CHECK faas_code nats_conf_text(const struct nats_conf *conf, char **out_text,
                                         faas_err *err);
/* "2.10.27" of "nats-server: v2.10.27"; false when there is none in it. */
bool nats_version_parse(const char *text, int out_version[3]);
bool nats_version_is_enough(const int version[3]); /* the floor, BUS.md section 0 */

#endif
