#include "cli/nats_conf.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const int version_floor[3] = {2, 10, 27};

bool nats_version_parse(const char *text, int out_version[3])
{
    const char *v = strstr(text, " v");

    return v != NULL &&
           sscanf(v, " v%4d.%4d.%4d", &out_version[0], &out_version[1], &out_version[2]) == 3 &&
           out_version[0] >= 0 && out_version[1] >= 0 && out_version[2] >= 0;
}

bool nats_version_is_enough(const int version[3])
{
    for (int i = 0; i < 3; i++) {
        if (version[i] != version_floor[i])
            return version[i] > version_floor[i];
    }
    return true;
}

static bool is_quotable(const char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < ' ' || *text == '"' || *text == '\\' || *text == 0x7f)
            return false;
    }
    return true;
}

static bool is_host(const char *text)
{
    size_t len = strlen(text);

    return len > 0 && len < 254 && text[0] != '-' &&
           strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") == len;
}

static faas_code check(const struct nats_conf *conf, faas_err *err)
{
    if (!is_quotable(conf->store_dir))
        return faas_fail(err, FAAS_INVALID,
                         "%s: a data directory has no quotes, backslashes or control characters",
                         conf->store_dir);
    if (!is_quotable(conf->cluster) || !is_quotable(conf->route_password))
        return faas_fail(err, FAAS_INVALID, "NATS cluster name and password are plain text");
    if (conf->tls.cert != NULL &&
        (!is_quotable(conf->tls.ca) || !is_quotable(conf->tls.cert) || !is_quotable(conf->tls.key)))
        return faas_fail(err, FAAS_INVALID, "paths of the bus's certificates are plain text");
    for (size_t i = 0; conf->hosts != NULL && i < conf->node_count; i++) {
        if (!is_host(conf->hosts[i]))
            return faas_fail(err, FAAS_INVALID, "%.100s is no host name of a server",
                             conf->hosts[i]);
    }
    for (const struct faas_bus_key *key = conf->keys; key->service != NULL; key++) {
        if (!is_quotable(key->public_key))
            return faas_fail(err, FAAS_INVALID, "NATS key of %s is not plain text", key->service);
    }
    return FAAS_OK;
}

static const char *listen_address(const struct nats_conf *conf)
{
    return conf->hosts != NULL ? "0.0.0.0" : "127.0.0.1";
}

static void write_listeners(const struct nats_conf *conf, FILE *to)
{
    const struct nats_node *own = &conf->nodes[conf->own];

    if (conf->hosts == NULL)
        fprintf(to, "server_name: \"%s-n%zu\"\n", conf->cluster, conf->own + 1);
    fprintf(to, "listen: \"%s:%d\"\n", listen_address(conf), own->client_port);
    fprintf(to, "http: \"127.0.0.1:%d\"\n", own->monitor_port);
    fputs("max_payload: 2MB\n"
          "ping_interval: \"1s\"\n"
          "ping_max: 3\n"
          "write_deadline: \"2s\"\n"
          "lame_duck_duration: \"30s\"\n"
          "lame_duck_grace_period: \"1s\"\n",
          to);
    /* Without a number a server takes what is free at its start for all it may ever have: one that
     * starts on a full disk would say that it is well, and never store anything again. */
    fprintf(to,
            "jetstream {\n  store_dir: \"%s\"\n  max_file_store: 1TB\n  sync_interval: always\n}\n",
            conf->store_dir);
}

/* Routes take and show certificates both ways. */
static void write_tls(const struct nats_conf *conf, const char *indent, FILE *to)
{
    if (conf->tls.cert != NULL)
        fprintf(to, "%stls { cert_file: \"%s\", key_file: \"%s\", ca_file: \"%s\", timeout: 5 }\n",
                indent, conf->tls.cert, conf->tls.key, conf->tls.ca);
}

/* All nodes are listed, the own one too: JetStream takes the cluster's size from the list. */
static void write_cluster(const struct nats_conf *conf, FILE *to)
{
    fprintf(to, "cluster {\n  name: \"%s\"\n  listen: \"%s:%d\"\n  no_advertise: true\n",
            conf->cluster, listen_address(conf), conf->nodes[conf->own].route_port);
    write_tls(conf, "  ", to);
    fprintf(to, "  authorization { user: \"route\", password: \"%s\", timeout: 2 }\n  routes: [\n",
            conf->route_password);
    for (size_t i = 0; i < conf->node_count; i++)
        fprintf(to, "    \"nats-route://route:%s@%s:%d\"\n", conf->route_password,
                conf->hosts != NULL ? conf->hosts[i] : "127.0.0.1", conf->nodes[i].route_port);
    fputs("  ]\n}\n", to);
}

faas_code nats_conf_text(const struct nats_conf *conf, char **out_text, faas_err *err)
{
    char *text = NULL;
    size_t len;
    bool is_whole;
    FILE *to;

    FAAS_TRY(check(conf, err));
    to = open_memstream(&text, &len);
    if (to == NULL)
        return faas_fail_sys(err, errno, "nats-server configuration");
    fprintf(to, "# Written by `faas %s`; changes here are lost.\n",
            conf->hosts != NULL ? "init" : "up");
    write_listeners(conf, to);
    write_tls(conf, "", to);
    if (conf->node_count > 1)
        write_cluster(conf, to);
    faas_contract_authorization(conf->keys, to);
    is_whole = ferror(to) == 0;
    if (fclose(to) != 0 || !is_whole) {
        free(text);
        return faas_fail_sys(err, errno, "nats-server configuration");
    }
    *out_text = text;
    return FAAS_OK;
}
