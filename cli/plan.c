#include "cli/plan.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/args.h"
#include "cli/file.h"
#include "cli/keys.h"
#include "cli/plan_nats.h"
#include "cli/ports.h"
#include "cli/programs.h"

#define FEW             2        /* processors */
#define NATS_SLACK_NS   1000000L /* Go looks at its threads every 20 us while any of them runs */
#define SERVICE_STOP_MS 35000    /* their own DRAIN_MS default, and a margin */
#define NATS_STOP_MS    10000
#define STREAM_REPLICAS 3
#define OLD_GATEWAY_MS  500
#define IMAGES_PORT     IMAGE_REGISTRY_NAME "-1"

static const char *const nats_hosts[] = {"127.0.0.1"};

const struct role_facts plan_roles[ROLE_COUNT] = {
    [ROLE_NATS] = {"nats", NULL, NATS_SERVERS_MAX, NATS_STOP_MS},
    [ROLE_IMAGES] = {IMAGE_REGISTRY_NAME, NULL, 1, NATS_STOP_MS},
    [ROLE_AUTH] = {"auth", "faas-auth", PLAN_REPLICAS_MOST, SERVICE_STOP_MS},
    [ROLE_REGISTRY] = {"registry", "faas-registry", PLAN_REPLICAS_MOST, SERVICE_STOP_MS},
    [ROLE_SPAWNER] = {"spawner", "faas-spawner", PLAN_REPLICAS_MOST, SERVICE_STOP_MS},
    [ROLE_PUBLISHER] = {"publisher", "faas-publisher", PLAN_REPLICAS_MOST, SERVICE_STOP_MS},
    [ROLE_GATEWAY] = {"gateway", "faas-gateway", PLAN_REPLICAS_MOST, SERVICE_STOP_MS},
};

/* ---- options ---- */

static faas_code unknown_role(const char *name, faas_err *err)
{
    const char *nearest = NULL;
    size_t best = SIZE_MAX, distance;

    for (int role = 0; role < ROLE_COUNT; role++) {
        if (role != ROLE_IMAGES && args_is_near(name, plan_roles[role].name, &distance) &&
            distance < best) {
            best = distance;
            nearest = plan_roles[role].name;
        }
    }
    return faas_fail(err, FAAS_INVALID,
                     "--replicas: no part is called %s%s%s; the parts are auth, registry, "
                     "publisher, spawner, gateway, nats",
                     name, nearest != NULL ? ", did you mean " : "", nearest ? nearest : "");
}

faas_code plan_parse_replicas(const char *text, int counts[ROLE_COUNT], faas_err *err)
{
    const char *equals = strchr(text, '=');
    char name[32];
    int64_t count = 0;
    int role = 0;

    if (equals == NULL || equals - text >= (ptrdiff_t)sizeof name)
        return faas_fail(err, FAAS_INVALID, "--replicas takes NAME=N, like nats=3");
    snprintf(name, sizeof name, "%.*s", (int)(equals - text), text);
    while (role < ROLE_COUNT && strcmp(plan_roles[role].name, name) != 0)
        role++;
    if (role == ROLE_COUNT || role == ROLE_IMAGES) /* which --registry asks for */
        return unknown_role(name, err);
    if (!args_int(equals + 1, 1, plan_roles[role].most, &count))
        return faas_fail(err, FAAS_INVALID, "--replicas %s: a number from 1 to %d", name,
                         plan_roles[role].most);
    if (role == ROLE_NATS && count % 2 == 0)
        return faas_fail(err, FAAS_INVALID,
                         "--replicas nats: 1, 3 or 5; an even number of servers stops with the "
                         "first that dies");
    counts[role] = (int)count;
    return FAAS_OK;
}

faas_code plan_parse_listen(const char *text, struct up_options *options, faas_err *err)
{
    const char *colon = strrchr(text, ':');
    size_t len = colon != NULL ? (size_t)(colon - text) : 0;
    unsigned char bytes[sizeof(struct in6_addr)];
    char address[sizeof options->address];
    int64_t port;

    if (colon == NULL || !args_int(colon + 1, 0, 65535, &port))
        return faas_fail(err, FAAS_INVALID, "--listen takes ADDRESS:PORT, like 127.0.0.1:8080");
    if (len > 1 && text[0] == '[' && text[len - 1] == ']') {
        text++;
        len -= 2;
    }
    if (len >= sizeof address)
        return faas_fail(err, FAAS_INVALID, "--listen takes an IPv4 or IPv6 address, not a name");
    snprintf(address, sizeof address, "%.*s", (int)len, text);
    if (len == 0 || strcmp(address, "localhost") == 0)
        snprintf(address, sizeof address, "127.0.0.1");
    if (inet_pton(strchr(address, ':') != NULL ? AF_INET6 : AF_INET, address, bytes) != 1)
        return faas_fail(err, FAAS_INVALID, "--listen takes an IPv4 or IPv6 address, not a name");
    snprintf(options->address, sizeof options->address, "%s", address);
    options->port = (int)port;
    return FAAS_OK;
}

/* ---- directory, keys, ports ---- */

static faas_code in_dir(const struct plan *plan, const char *name, char **out_path, faas_err *err)
{
    *out_path = file_path("%s/%s", plan->dir.path, name);
    return *out_path != NULL ? FAAS_OK : faas_fail(err, FAAS_INTERNAL, "out of memory");
}

static faas_code make_keys(struct plan *plan, faas_err *err)
{
    FAAS_TRY(keys_token(plan->dir.path, &plan->token_key_path, err));
    FAAS_TRY(keys_secrets(plan->dir.path, &plan->secrets_key_path, err));
    FAAS_TRY(keys_admin(plan->dir.path, &plan->admin_path, err));
    for (int role = 0; role < ROLE_COUNT; role++) {
        const char *user = plan_bus_user(role);

        if (user != NULL)
            FAAS_TRY(keys_nats(plan->dir.path, user, &plan->seed_paths[role],
                               plan->public_keys[role], err));
    }
    return FAAS_OK;
}

static faas_code take_port(struct port_book *book, const char *what, int number, int *out_port,
                           faas_err *err)
{
    char name[32];

    snprintf(name, sizeof name, "%s-%d", what, number);
    return port_book_take(book, name, out_port, err);
}

/* A gateway of a supervisor that was just killed may hold its port for another moment. */
static bool becomes_free(const char *address, int port)
{
    uint64_t deadline_ns = faas_deadline_in_ms(OLD_GATEWAY_MS);

    while (!port_is_free(address, port)) {
        if (faas_left_ms(deadline_ns) == 0)
            return false;
        poll(NULL, 0, 10);
    }
    return true;
}

/* The registry's port is in the names of its images: it is not exchanged for another one. */
static faas_code take_images_port(struct port_book *book, int *out_port, faas_err *err)
{
    int kept = port_book_kept(book, IMAGES_PORT);

    if (kept > 0 && !becomes_free("127.0.0.1", kept))
        return faas_fail(err, FAAS_UNAVAILABLE,
                         "port %d of the image registry is in use by another program, and images "
                         "are named by it; end that program, or remove \"" IMAGES_PORT
                         "\" from ports.json and refresh the functions",
                         kept);
    return port_book_take(book, IMAGES_PORT, out_port, err);
}

static faas_code take_ports(struct plan *plan, const struct up_options *options,
                            struct port_book *book, faas_err *err)
{
    if (options->replicas[ROLE_IMAGES] > 0)
        FAAS_TRY(take_images_port(book, &plan->images_port, err));
    for (int i = 0; i < plan->facts.nats; i++) {
        FAAS_TRY(take_port(book, "nats", i + 1, &plan->nodes[i].client_port, err));
        FAAS_TRY(take_port(book, "nats-route", i + 1, &plan->nodes[i].route_port, err));
        FAAS_TRY(take_port(book, "nats-monitor", i + 1, &plan->nodes[i].monitor_port, err));
    }
    for (int i = 0; i < options->replicas[ROLE_GATEWAY]; i++) {
        plan->ports[i] = options->port + i;
        if (options->port == 0)
            FAAS_TRY(take_port(book, "gateway", i + 1, &plan->ports[i], err));
        if (options->is_tls)
            FAAS_TRY(take_port(book, "gateway-tls", i + 1, &plan->tls_ports[i], err));
    }
    return FAAS_OK;
}

static faas_code find_ports(struct plan *plan, const struct up_options *options, faas_err *err)
{
    struct port_book book = {NULL};
    FAAS_AUTO(char) *path = NULL;
    faas_code code;

    FAAS_TRY(in_dir(plan, "ports.json", &path, err));
    FAAS_TRY(port_book_load(path, &book, err));
    code = take_ports(plan, options, &book, err);
    if (code == FAAS_OK)
        code = port_book_save(&book, path, err);
    port_book_done(&book);
    return code;
}

static faas_code check_listen(const struct plan *plan, const struct up_options *options,
                              faas_err *err)
{
    for (int i = 0; i < options->replicas[ROLE_GATEWAY]; i++) {
        int port = plan->ports[i];

        if (port > 65535 || !becomes_free(options->address, port))
            return faas_fail(err, FAAS_UNAVAILABLE,
                             "%s port %d cannot be listened on: in use, not allowed, or not an "
                             "address of this machine; choose another --listen",
                             options->address, port);
    }
    return FAAS_OK;
}

/* ---- the registry of images ---- */

/* Its own environment says nothing of ours: it takes REGISTRY_... for settings of its own. */
static char **images_env(void)
{
    char **env = calloc(2, sizeof *env);

    if (env != NULL)
        env[0] = strdup("PATH=/usr/local/bin:/usr/bin:/bin");
    return env != NULL && env[0] != NULL ? env : NULL;
}

/* ---- processes ---- */

struct setting {
    const char *name;
    const char *value; /* NULL: removed */
};

static bool is_set_by(const struct setting *settings, const char *entry)
{
    size_t len = strcspn(entry, "=");

    for (; settings->name != NULL; settings++) {
        size_t name_len = strlen(settings->name);

        /* NAME_FILE would win over NAME */
        if (strncmp(entry, settings->name, name_len) == 0 &&
            (len == name_len ||
             (len == name_len + 5 && strncmp(entry + name_len, "_FILE", 5) == 0)))
            return true;
    }
    return false;
}

extern char **environ;

/* A copy of our environment with the settings in place of what was there of them. */
static char **make_env(const struct setting *settings)
{
    size_t room = 1, count = 0;
    char **env;

    for (char **p = environ; *p != NULL; p++)
        room++;
    for (const struct setting *s = settings; s->name != NULL; s++)
        room++;
    env = calloc(room, sizeof *env);
    for (char **p = environ; env != NULL && *p != NULL; p++) {
        if (!is_set_by(settings, *p) && (env[count++] = strdup(*p)) == NULL)
            return NULL;
    }
    for (const struct setting *s = settings; env != NULL && s->name != NULL; s++) {
        if (s->value != NULL && (env[count++] = file_path("%s=%s", s->name, s->value)) == NULL)
            return NULL;
    }
    return env;
}

/* The logins of spawners: the operator's, and the one of our own registry.  NULL: as they are. */
static faas_code login_files(const struct plan *plan, char **out_files, faas_err *err)
{
    const char *given = getenv("REGISTRY_AUTH_FILE");
    bool has_given = given != NULL && given[0] != '\0';

    *out_files = NULL;
    if (plan->images.login_path == NULL)
        return FAAS_OK;
    *out_files =
        file_path("%s%s%s", has_given ? given : "", has_given ? ":" : "", plan->images.login_path);
    return *out_files != NULL ? FAAS_OK : faas_fail(err, FAAS_INTERNAL, "out of memory");
}

static char **make_argv(const char *program, const char *flag, const char *value)
{
    char **argv = calloc(4, sizeof *argv);

    if (argv == NULL)
        return NULL;
    argv[0] = strdup(program);
    if (flag != NULL) {
        argv[1] = strdup(flag);
        argv[2] = strdup(value);
    }
    return argv[0] != NULL && (flag == NULL || (argv[1] != NULL && argv[2] != NULL)) ? argv : NULL;
}

static faas_code complete(const struct plan *plan, struct process_spec *spec, enum role role,
                          int number, faas_err *err)
{
    spec->service = plan_roles[role].name;
    spec->number = number;
    spec->name = file_path("%s-%d", spec->service, number);
    spec->log_path = file_path("%s/%s-%d.log", plan->log_dir, spec->service, number);
    if (spec->argv == NULL || spec->env == NULL || spec->name == NULL || spec->log_path == NULL)
        return faas_fail(err, FAAS_INTERNAL, "out of memory");
    return FAAS_OK;
}

/* On one or two processors, a second thread of the server's that runs at once takes one from the
 * programs that it serves.  NULL: as many as there are. */
static const char *go_processors(void)
{
    const char *given = getenv("GOMAXPROCS");
    cpu_set_t usable;

    if (given != NULL)
        return given;
    return sched_getaffinity(0, sizeof usable, &usable) == 0 && CPU_COUNT(&usable) <= FEW ? "1"
                                                                                          : NULL;
}

static faas_code add_nats(const struct plan *plan, struct process_spec *spec, int number,
                          faas_err *err)
{
    const struct setting settings[] = {{"GOMAXPROCS", go_processors()}, {NULL, NULL}};
    FAAS_AUTO(char) *path = file_path("%s/nats/%d.conf", plan->dir.path, number);

    if (path == NULL)
        return faas_fail(err, FAAS_INTERNAL, "out of memory");
    FAAS_TRY(plan_nats_conf(plan, number - 1, path, err));
    spec->argv = make_argv(plan->nats_program, "-c", path);
    spec->env = make_env(settings);
    spec->timer_slack_ns = NATS_SLACK_NS;
    spec->monitor_port = plan->nodes[number - 1].monitor_port;
    return complete(plan, spec, ROLE_NATS, number, err);
}

static faas_code add_images(const struct plan *plan, struct process_spec *spec, faas_err *err)
{
    spec->argv = make_argv(plan->images.program, "serve", plan->images.conf_path);
    spec->env = images_env();
    spec->url = file_path("http://%s", plan->images.address);
    spec->health_path = "/";
    if (spec->url == NULL)
        return faas_fail(err, FAAS_INTERNAL, "out of memory");
    return complete(plan, spec, ROLE_IMAGES, 1, err);
}

static faas_code add_service(const struct plan *plan, struct process_spec *spec, enum role role,
                             int number, const char *logins, faas_err *err)
{
    FAAS_AUTO(char) *program = NULL;
    FAAS_AUTO(char) *data_dir = file_path("%s/services", plan->dir.path);
    FAAS_AUTO(char) *images = file_path("%s/images", plan->dir.path);
    FAAS_AUTO(char) *listen = NULL;
    FAAS_AUTO(char) *listen_tls = NULL;
    bool is_tls = role == ROLE_GATEWAY && plan->tls.cert_path != NULL;
    char id[32], replicas[16];
    struct setting settings[] = {
        {"NATS_URL", plan->nats_urls},
        {"NATS1_URL", NULL},
        {"NATS2_URL", NULL},
        {"NATS3_URL", NULL},
        {"NATS_CA_FILE", plan->nats_tls.ca_path},
        {"NATS_CERT_FILE", NULL},
        {"NATS_KEY_FILE", NULL},
        {"NATS_NKEY_FILE", plan->seed_paths[role]},
        {"INSTANCE_ID", id},
        {"DATA_DIR", data_dir},
        {"REPLICAS", replicas},
        {"CLUSTER", role == ROLE_SPAWNER ? plan->facts.id : NULL}, /* one engine, two platforms */
        {"SPAWNER_IMAGES", role == ROLE_SPAWNER ? images : NULL},
        {"SPAWNER_RUNTIME", role == ROLE_SPAWNER ? plan->runtime.name : NULL},
        {logins != NULL ? "REGISTRY_AUTH_FILE" : "NATS1_URL", logins}, /* else as it is */
        {role == ROLE_GATEWAY && number > 1 ? "GATEWAY_METRICS_LISTEN" : "NATS1_URL",
         NULL}, /* one address for one of them, whose page tells of all */
        {"AUTH_KEY_FILES", role == ROLE_AUTH ? plan->token_key_path : NULL},
        {role == ROLE_AUTH ? "AUTH_ADMIN_FILE" : "NATS1_URL",
         role == ROLE_AUTH ? plan->admin_path : NULL},
        {"REGISTRY_SECRETS_KEY_FILE", role == ROLE_REGISTRY ? plan->secrets_key_path : NULL},
        {"LISTEN_ADDR", NULL},
        {is_tls ? "LISTEN_TLS" : NULL, NULL},
        {"TLS_CERT_FILE", plan->tls.cert_path},
        {"TLS_KEY_FILE", plan->tls.key_path},
        {NULL, NULL},
    };

    snprintf(id, sizeof id, "%s%d", plan_roles[role].name, number);
    snprintf(replicas, sizeof replicas, "%d", plan->stream_replicas);
    if (role == ROLE_GATEWAY) {
        int port = plan->ports[number - 1];

        listen = ports_listen(plan->address, port);
        listen_tls = ports_listen(plan->address, plan->tls_ports[number - 1]);
        spec->url = ports_url("http", plan->address, port);
        if (listen == NULL || listen_tls == NULL || spec->url == NULL)
            return faas_fail(err, FAAS_INTERNAL, "out of memory");
        settings[FAAS_ARRAY_LEN(settings) - 5].value = listen;
        settings[FAAS_ARRAY_LEN(settings) - 4].value = listen_tls;
    }
    if (data_dir == NULL || images == NULL)
        return faas_fail(err, FAAS_INTERNAL, "out of memory");
    FAAS_TRY(file_make_dirs(data_dir, err));
    FAAS_TRY(programs_ours(plan->bin_dir, plan_roles[role].program, &program, err));
    spec->argv = make_argv(program, NULL, NULL);
    spec->env = make_env(settings);
    return complete(plan, spec, role, number, err);
}

static faas_code add_one(const struct plan *plan, struct process_spec *spec, enum role role,
                         int number, faas_err *err)
{
    FAAS_AUTO(char) *logins = NULL;

    if (role == ROLE_NATS)
        return add_nats(plan, spec, number, err);
    if (role == ROLE_IMAGES)
        return add_images(plan, spec, err);
    if (role == ROLE_SPAWNER)
        FAAS_TRY(login_files(plan, &logins, err));
    return add_service(plan, spec, role, number, logins, err);
}

static faas_code add_all(struct plan *plan, const struct up_options *options, faas_err *err)
{
    size_t total = 0;

    for (int role = 0; role < ROLE_COUNT; role++)
        total += (size_t)options->replicas[role];
    plan->specs = calloc(total, sizeof *plan->specs);
    plan->spec_roles = calloc(total, sizeof *plan->spec_roles);
    if (plan->specs == NULL || plan->spec_roles == NULL)
        return faas_fail_sys(err, errno, "process list");
    for (int role = 0; role < ROLE_COUNT; role++) {
        for (int number = 1; number <= options->replicas[role]; number++) {
            struct process_spec *spec = &plan->specs[plan->spec_count];

            plan->spec_roles[plan->spec_count++] = (enum role)role;
            FAAS_TRY(add_one(plan, spec, (enum role)role, number, err));
        }
    }
    return FAAS_OK;
}

/* ---- all of it ---- */

static faas_code choose_runtime(struct plan *plan, faas_err *err)
{
    FAAS_AUTO(char) *kept = NULL;

    FAAS_TRY(in_dir(plan, "runtime.json", &kept, err));
    return runtime_choose(plan->bin_dir, kept, plan_has_store(plan), &plan->runtime, err);
}

static faas_code make(struct plan *plan, const struct up_options *options, faas_err *err)
{
    int nats = options->replicas[ROLE_NATS];

    FAAS_TRY(programs_folder(&plan->bin_dir, err));
    FAAS_TRY(datadir_open(options->data, &plan->dir, err));
    if (!options->is_restore)
        FAAS_TRY(datadir_check_whole(plan->dir.path, err));
    FAAS_TRY(datadir_cluster(&plan->dir, nats, &plan->facts, err));
    FAAS_TRY(programs_nats(plan->bin_dir, &plan->nats_program, err));
    FAAS_TRY(in_dir(plan, "state.json", &plan->state_path, err));
    FAAS_TRY(in_dir(plan, "log", &plan->log_dir, err));
    FAAS_TRY(file_make_dirs(plan->log_dir, err));
    plan->runtime.name = "none";
    if (options->replicas[ROLE_SPAWNER] > 0)
        FAAS_TRY(choose_runtime(plan, err));
    FAAS_TRY(make_keys(plan, err));
    if (options->is_tls)
        FAAS_TRY(keys_tls(plan->dir.path, options->address, &plan->tls, err));
    if (options->is_nats_tls)
        FAAS_TRY(
            keys_bus(plan->dir.path, nats_hosts, FAAS_ARRAY_LEN(nats_hosts), &plan->nats_tls, err));
    FAAS_TRY(find_ports(plan, options, err));
    if (options->replicas[ROLE_IMAGES] > 0)
        FAAS_TRY(image_registry_make(plan->dir.path, plan->images_port, &plan->images, err));
    FAAS_TRY(check_listen(plan, options, err));
    FAAS_TRY(plan_nats_urls(plan, err));
    plan->is_new_cluster = nats > 1 && !plan_has_store(plan);
    plan->stream_replicas = nats < STREAM_REPLICAS ? nats : STREAM_REPLICAS;
    snprintf(plan->address, sizeof plan->address, "%s", options->address);
    plan->url = ports_url("http", options->address, plan->ports[0]);
    if (options->is_tls)
        plan->tls_url = ports_url("https", options->address, plan->tls_ports[0]);
    if (plan->url == NULL || (options->is_tls && plan->tls_url == NULL))
        return faas_fail(err, FAAS_INTERNAL, "out of memory");
    return add_all(plan, options, err);
}

faas_code plan_make(const struct up_options *options, struct plan *out_plan, faas_err *err)
{
    faas_code code;

    *out_plan = (struct plan){.dir = {.lock_fd = -1, .nats_fd = -1}};
    code = make(out_plan, options, err);
    if (code != FAAS_OK)
        plan_done(out_plan);
    return code;
}

void plan_done(struct plan *plan)
{
    for (size_t i = 0; i < plan->spec_count; i++)
        process_spec_done(&plan->specs[i]);
    for (int role = 0; role < ROLE_COUNT; role++)
        free(plan->seed_paths[role]);
    image_registry_done(&plan->images);
    free(plan->specs);
    free(plan->spec_roles);
    free(plan->url);
    free(plan->tls_url);
    free(plan->tls.cert_path);
    free(plan->tls.key_path);
    keys_bus_done(&plan->nats_tls);
    free(plan->nats_urls);
    free(plan->state_path);
    free(plan->log_dir);
    free(plan->token_key_path);
    free(plan->secrets_key_path);
    free(plan->admin_path);
    free(plan->nats_program);
    free(plan->bin_dir);
    datadir_close(&plan->dir);
    *plan = (struct plan){.dir = {.lock_fd = -1, .nats_fd = -1}};
}
