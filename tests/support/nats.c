#include "tests/support/nats.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

#define PORT_MIN  10000
#define PORT_MAX  32000
#define READY_MS  30000
#define PATH_TEXT 512
#define REPLY_MAX (4 * 1024 * 1024)

struct server {
    pid_t pid; /* 0: not running */
    int client_port, cluster_port, http_port;
    char url[64];
};

struct nats {
    int count;
    char dir[64];
    char urls[256];
    struct server servers[NATS_MAX];
};

static void die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
static void die(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    (void)fprintf(stderr, "nats: ");
    (void)vfprintf(stderr, fmt, args);
    (void)fprintf(stderr, "\n");
    va_end(args);
    _exit(1);
}

static void pause_ms(long ms)
{
    struct timespec time = {.tv_nsec = ms * 1000000};

    nanosleep(&time, NULL);
}

/* ---- ports ---- */

static bool is_free(int port)
{
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_port = htons((uint16_t)port),
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    bool is_ok;

    if (fd < 0)
        die("socket: %s", strerror(errno));
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    is_ok = bind(fd, (struct sockaddr *)&addr, sizeof addr) == 0;
    close(fd);
    return is_ok;
}

/* Never the same one twice in a process; test programs that run side by side start apart. */
static int next_port(void)
{
    static int port;

    if (port == 0)
        port = PORT_MIN + (int)((unsigned)getpid() * 61 % (PORT_MAX - PORT_MIN));
    for (int tries = 0; tries < PORT_MAX - PORT_MIN; tries++) {
        port = port + 1 < PORT_MAX ? port + 1 : PORT_MIN;
        if (is_free(port))
            return port;
    }
    die("no free port");
}

/* ---- processes ---- */

static const char *program(void)
{
    const char *named = getenv("NATS_SERVER");

    if (named != NULL && named[0] != '\0')
        return named;
    return access("build/deps/bin/nats-server", X_OK) == 0 ? "build/deps/bin/nats-server"
                                                           : "nats-server";
}

static void write_config(const struct nats *nats, int which, const char *extra)
{
    const struct server *server = &nats->servers[which];
    char path[PATH_TEXT];
    FILE *file;

    (void)snprintf(path, sizeof path, "%s/%d.conf", nats->dir, which);
    file = fopen(path, "we");
    if (file == NULL)
        die("%s: %s", path, strerror(errno));
    (void)fprintf(file,
                  "server_name: n%d\nlisten: \"127.0.0.1:%d\"\nhttp: \"127.0.0.1:%d\"\n"
                  "max_payload: 2MB\nlog_file: \"%s/%d.log\"\n"
                  "jetstream { store_dir: \"%s/%d\", max_mem: 64MB, max_file: 512MB }\n",
                  which, server->client_port, server->http_port, nats->dir, which, nats->dir,
                  which);
    if (nats->count > 1) {
        (void)fprintf(file, "cluster { name: t, listen: \"127.0.0.1:%d\", routes: [",
                      server->cluster_port);
        for (int i = 0; i < nats->count; i++)
            (void)fprintf(file, "%s\"nats://127.0.0.1:%d\"", i > 0 ? ", " : "",
                          nats->servers[i].cluster_port);
        (void)fprintf(file, "] }\n");
    }
    (void)fprintf(file, "%s\n", extra != NULL ? extra : "");
    if (fclose(file) != 0)
        die("%s: %s", path, strerror(errno));
}

void nats_launch(struct nats *nats, int which)
{
    struct server *server = &nats->servers[which];
    char path[PATH_TEXT];
    pid_t parent = getpid();

    (void)snprintf(path, sizeof path, "%s/%d.conf", nats->dir, which);
    server->pid = fork();
    if (server->pid < 0)
        die("fork: %s", strerror(errno));
    if (server->pid > 0)
        return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    execlp(program(), "nats-server", "-c", path, (char *)NULL);
    _exit(127);
}

/* ---- monitoring ---- */

static int dial(int port)
{
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_port = htons((uint16_t)port),
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval limit = {.tv_sec = 2};

    if (fd < 0)
        die("socket: %s", strerror(errno));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (connect(fd, (struct sockaddr *)&addr, sizeof addr) == 0)
        return fd;
    close(fd);
    return -1;
}

static char *read_all(int fd)
{
    char *text = NULL;
    size_t len = 0, room = 0;
    FILE *to = open_memstream(&text, &room);
    char part[4096];
    ssize_t n;

    if (to == NULL)
        die("no memory");
    while ((n = read(fd, part, sizeof part)) > 0 && (len += (size_t)n) < REPLY_MAX)
        (void)fwrite(part, 1, (size_t)n, to);
    (void)fclose(to);
    return text;
}

char *nats_get(const struct nats *nats, int which, const char *path)
{
    int fd = dial(nats->servers[which].http_port);
    char *text, *body, *copy;

    if (fd < 0)
        return NULL;
    (void)dprintf(fd, "GET %s HTTP/1.0\r\n\r\n", path);
    text = read_all(fd);
    close(fd);
    body = text != NULL ? strstr(text, "\r\n\r\n") : NULL;
    copy = body != NULL && strncmp(text + sizeof "HTTP/1.0" - 1, " 200", 4) == 0 ? strdup(body + 4)
                                                                                 : NULL;
    free(text);
    return copy;
}

static bool is_up(const struct nats *nats, int which, const char *path)
{
    char *body = nats_get(nats, which, path);
    bool is_ok = body != NULL;

    free(body);
    return is_ok;
}

static void wait_up(const struct nats *nats, int which)
{
    uint64_t deadline = faas_deadline_in_ms(READY_MS);

    while (!is_up(nats, which, "/healthz")) {
        if (waitpid(nats->servers[which].pid, NULL, WNOHANG) != 0)
            die("server %d ended; see %s/%d.log", which, nats->dir, which);
        if (faas_left_ms(deadline) == 0)
            die("server %d is not ready; see %s/%d.log", which, nats->dir, which);
        pause_ms(20);
    }
}

static bool has_meta_leader(const struct nats *nats)
{
    char *body = nats_get(nats, 0, "/jsz");
    json_t *doc = body != NULL ? json_loads(body, 0, NULL) : NULL;
    const char *leader =
        json_string_value(json_object_get(json_object_get(doc, "meta_cluster"), "leader"));
    bool is_ok = leader != NULL && leader[0] != '\0';

    json_decref(doc);
    free(body);
    return is_ok;
}

/* ---- questions ---- */

static bool connz_names(const char *body, const char *client_name)
{
    json_t *doc = json_loads(body, 0, NULL), *connection;
    size_t i;
    bool is_there = false;

    json_array_foreach (json_object_get(doc, "connections"), i, connection) {
        const char *name = json_string_value(json_object_get(connection, "name"));

        is_there = is_there || (name != NULL && strcmp(name, client_name) == 0);
    }
    json_decref(doc);
    return is_there;
}

int nats_server_of(const struct nats *nats, const char *client_name)
{
    for (int i = 0; i < nats->count; i++) {
        char *body = nats->servers[i].pid != 0 ? nats_get(nats, i, "/connz") : NULL;
        bool is_there = body != NULL && connz_names(body, client_name);

        free(body);
        if (is_there)
            return i;
    }
    return -1;
}

/* The "leader" of one stream in a /jsz?streams=1 page, as "n<index>". */
static int leader_in(const char *body, const char *stream)
{
    /* As reals: "unlimited" is written as 2^64 - 1. */
    json_t *doc = json_loads(body, JSON_DECODE_INT_AS_REAL, NULL), *account, *detail;
    size_t i, k;
    int found = -1;

    json_array_foreach (json_object_get(doc, "account_details"), i, account) {
        json_array_foreach (json_object_get(account, "stream_detail"), k, detail) {
            const char *name = json_string_value(json_object_get(detail, "name"));
            const char *leader =
                json_string_value(json_object_get(json_object_get(detail, "cluster"), "leader"));

            if (name != NULL && strcmp(name, stream) == 0 && leader != NULL && leader[0] == 'n')
                found = (int)strtol(leader + 1, NULL, 10);
        }
    }
    json_decref(doc);
    return found;
}

int nats_leader_of(const struct nats *nats, const char *stream)
{
    int found = -1;

    for (int i = 0; i < nats->count && found < 0; i++) {
        char *body = nats->servers[i].pid != 0
                         ? nats_get(nats, i, "/jsz?accounts=1&streams=1&config=0")
                         : NULL;

        if (body != NULL)
            found = leader_in(body, stream);
        free(body);
        if (found >= 0 && nats->servers[found].pid == 0)
            found = -1;
    }
    return found;
}

/* {"<account>/<stream>": "messages first last"} of one /jsz?streams=1 page. */
static json_t *states_in(const char *body)
{
    json_t *doc = json_loads(body, JSON_DECODE_INT_AS_REAL, NULL), *account, *detail;
    json_t *states = json_object();
    size_t i, k;

    json_array_foreach (json_object_get(doc, "account_details"), i, account) {
        json_array_foreach (json_object_get(account, "stream_detail"), k, detail) {
            const json_t *state = json_object_get(detail, "state");

            json_object_set_new(
                states, json_string_value(json_object_get(detail, "name")),
                json_sprintf("%.0f messages, %.0f to %.0f",
                             json_number_value(json_object_get(state, "messages")),
                             json_number_value(json_object_get(state, "first_seq")),
                             json_number_value(json_object_get(state, "last_seq"))));
        }
    }
    json_decref(doc);
    return states;
}

bool nats_streams_agree(const struct nats *nats)
{
    json_t *first = NULL;
    bool is_same = true;

    for (int i = 0; i < nats->count; i++) {
        char *body = nats_get(nats, i, "/jsz?accounts=1&streams=1");
        json_t *states = body != NULL ? states_in(body) : json_object();

        if (first == NULL)
            first = json_incref(states);
        is_same =
            is_same && body != NULL && json_object_size(states) > 0 && json_equal(first, states);
        json_decref(states);
        free(body);
    }
    json_decref(first);
    return is_same;
}

const char *nats_urls(const struct nats *nats)
{
    return nats->urls;
}

const char *nats_url(const struct nats *nats, int which)
{
    return nats->servers[which].url;
}

const char *nats_dir(const struct nats *nats)
{
    return nats->dir;
}

/* ---- starting and stopping ---- */

struct nats *nats_start(int count, const char *extra)
{
    struct nats *nats = calloc(1, sizeof *nats);
    uint64_t deadline = faas_deadline_in_ms(READY_MS);
    size_t len = 0;

    if (nats == NULL)
        die("no memory");
    nats->count = count;
    (void)snprintf(nats->dir, sizeof nats->dir, "/tmp/faas-test-nats-XXXXXX");
    if (mkdtemp(nats->dir) == NULL)
        die("%s: %s", nats->dir, strerror(errno));
    for (int i = 0; i < count; i++) {
        struct server *server = &nats->servers[i];

        server->client_port = next_port();
        server->cluster_port = next_port();
        server->http_port = next_port();
        (void)snprintf(server->url, sizeof server->url, "nats://127.0.0.1:%d", server->client_port);
        len += (size_t)snprintf(nats->urls + len, sizeof nats->urls - len, "%s%s", i > 0 ? "," : "",
                                server->url);
    }
    for (int i = 0; i < count; i++) {
        write_config(nats, i, extra);
        nats_launch(nats, i);
    }
    for (int i = 0; i < count; i++)
        wait_up(nats, i);
    while (count > 1 && !has_meta_leader(nats)) {
        if (faas_left_ms(deadline) == 0)
            die("no JetStream leader; see %s", nats->dir);
        pause_ms(50);
    }
    return nats;
}

void nats_kill(struct nats *nats, int which)
{
    struct server *server = &nats->servers[which];

    if (server->pid == 0)
        return;
    kill(server->pid, SIGKILL);
    waitpid(server->pid, NULL, 0);
    server->pid = 0;
}

void nats_pause(struct nats *nats, int which)
{
    if (nats->servers[which].pid != 0)
        kill(nats->servers[which].pid, SIGSTOP);
}

void nats_resume(struct nats *nats, int which)
{
    if (nats->servers[which].pid != 0)
        kill(nats->servers[which].pid, SIGCONT);
}

void nats_restart(struct nats *nats, int which)
{
    nats_kill(nats, which);
    nats_launch(nats, which);
    wait_up(nats, which);
}

void nats_stop(struct nats *nats)
{
    pid_t child;

    if (nats == NULL)
        return;
    for (int i = 0; i < nats->count; i++)
        nats_kill(nats, i);
    child = fork();
    if (child == 0) {
        execlp("rm", "rm", "-rf", "--", nats->dir, (char *)NULL);
        _exit(127);
    }
    if (child > 0)
        waitpid(child, NULL, 0);
    free(nats);
}
