/* The NATS servers of a plan: their users, configuration and addresses. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/file.h"
#include "cli/plan_nats.h"

const char *plan_bus_user(int role)
{
    if (role == ROLE_IMAGES)
        return NULL;
    return role == ROLE_NATS ? "cli" : plan_roles[role].name;
}

faas_code plan_nats_conf(const struct plan *plan, int index, const char *path, faas_err *err)
{
    FAAS_AUTO(char) *store = file_path("%s/nats/%d", plan->dir.path, index + 1);
    FAAS_AUTO(char) *cluster = file_path("faas-%s", plan->facts.id);
    FAAS_AUTO(char) *text = NULL;
    struct faas_bus_key keys[ROLE_COUNT + 1] = {{NULL, NULL}};
    struct nats_conf conf = {
        .cluster = cluster,
        .store_dir = store,
        .route_password = plan->facts.route_password,
        .nodes = plan->nodes,
        .node_count = (size_t)plan->facts.nats,
        .own = (size_t)index,
        .keys = keys,
        .tls = {plan->nats_tls.ca_path, plan->nats_tls.cert_path, plan->nats_tls.key_path},
    };

    if (store == NULL || cluster == NULL)
        return faas_fail(err, FAAS_INTERNAL, "out of memory");
    for (int role = 0, at = 0; role < ROLE_COUNT; role++)
        if (plan_bus_user(role) != NULL)
            keys[at++] = (struct faas_bus_key){plan_bus_user(role), plan->public_keys[role]};
    FAAS_TRY(file_make_dirs(store, err));
    FAAS_TRY(nats_conf_text(&conf, &text, err));
    return file_write(path, text, strlen(text), 0600, err);
}

bool plan_has_store(const struct plan *plan)
{
    FAAS_AUTO(char) *path = file_path("%s/nats/1/jetstream", plan->dir.path);

    return path == NULL || access(path, F_OK) == 0;
}

faas_code plan_nats_urls(struct plan *plan, faas_err *err)
{
    char text[NATS_SERVERS_MAX * 32] = "";
    size_t at = 0;

    for (int i = 0; i < plan->facts.nats; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%snats://127.0.0.1:%d",
                               i > 0 ? "," : "", plan->nodes[i].client_port);
    plan->nats_urls = strdup(text);
    return plan->nats_urls != NULL ? FAAS_OK : faas_fail_sys(err, errno, "NATS addresses");
}
