/* scripted_engine.c - a Docker Engine that runs nothing: every container writes its last argument
 * to stdout and exits with 0, at once; one whose argument is "sleep" runs until it is killed.  For
 * many calls, one after the other or at once: Docker starts a few a second, and what is looked at
 * are the gateway, the publisher and the spawner.  Never where an outcome of a container is the
 * claim.
 * Usage     scripted-engine SOCKET; listens until SIGTERM.
 * API       what services/spawner asks for, on kept connections: ping, version, info, images,
 *           create, attach, wait, start, kill, remove, list.
 * Limits    requests up to REQUEST_MAX bytes, CONTAINERS_MAX containers at once; past them it ends.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <ev.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define REQUEST_MAX    (512 * 1024)
#define CONTAINERS_MAX 8192

struct conn {
    int fd;
    ev_io io;
    char *data;
    size_t len;
};
struct container {
    char *argument; /* NULL: the place is free */
    bool is_running;
    struct conn *attach, *wait;
};

static struct container containers[CONTAINERS_MAX];

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "scripted engine: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* ---- sending ---- */

static void put(const struct conn *conn, const void *data, size_t len)
{
    const char *at = data;

    while (conn != NULL && len > 0) {
        ssize_t n = send(conn->fd, at, len, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return; /* the reader is gone; its connection ends by itself */
        at += n;
        len -= (size_t)n;
    }
}

static void reply(const struct conn *conn, const char *status, const char *body)
{
    char head[512];
    int n = snprintf(head, sizeof head,
                     "HTTP/1.1 %s\r\nApi-Version: 1.41\r\nContent-Type: application/json\r\n"
                     "Content-Length: %zu\r\n\r\n",
                     status, strlen(body));

    put(conn, head, (size_t)n);
    put(conn, body, strlen(body));
}

/* ---- containers ---- */

static void forget(const struct conn *conn)
{
    for (size_t i = 0; i < CONTAINERS_MAX; i++) {
        if (containers[i].attach == conn)
            containers[i].attach = NULL;
        if (containers[i].wait == conn)
            containers[i].wait = NULL;
    }
}

static void close_conn(struct ev_loop *ev, struct conn *conn)
{
    forget(conn);
    ev_io_stop(ev, &conn->io);
    close(conn->fd);
    free(conn->data);
    free(conn);
}

static void create(const struct conn *conn, const char *body)
{
    json_t *doc = json_loads(body, 0, NULL);
    const json_t *cmd = json_object_get(doc, "Cmd");
    const char *last = json_string_value(json_array_get(cmd, json_array_size(cmd) - 1));
    char answer[128];
    size_t i = 0;

    while (i < CONTAINERS_MAX && containers[i].argument != NULL)
        i++;
    if (i == CONTAINERS_MAX)
        die("too many containers");
    containers[i] = (struct container){.argument = strdup(last != NULL ? last : "")};
    json_decref(doc);
    (void)snprintf(answer, sizeof answer, "{\"Id\":\"%064zx\",\"Warnings\":[]}", i);
    reply(conn, "201 Created", answer);
}

static void end(struct ev_loop *ev, struct container *container, int status)
{
    char exited[64], body[32];
    int len = snprintf(body, sizeof body, "{\"StatusCode\":%d}", status);

    container->is_running = false;
    if (container->attach != NULL)
        close_conn(ev, container->attach);
    (void)snprintf(exited, sizeof exited, "%x\r\n%s\r\n0\r\n\r\n", len, body);
    put(container->wait, exited, strlen(exited));
    container->wait = NULL;
}

static void start(struct ev_loop *ev, const struct conn *conn, struct container *container)
{
    uint32_t len = (uint32_t)strlen(container->argument), size = htonl(len);
    static const char to_stdout[4] = {1};

    reply(conn, "204 No Content", "");
    container->is_running = true;
    if (strcmp(container->argument, "sleep") == 0)
        return;
    if (len > 0) {
        put(container->attach, to_stdout, sizeof to_stdout);
        put(container->attach, &size, sizeof size);
        put(container->attach, container->argument, len);
    }
    end(ev, container, 0);
}

static void list(const struct conn *conn)
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    const char *comma = "";

    if (out == NULL)
        die("memory");
    fputc('[', out);
    for (size_t i = 0; i < CONTAINERS_MAX; i++)
        if (containers[i].is_running) {
            fprintf(out, "%s{\"Id\":\"%064zx\",\"State\":\"running\"}", comma, i);
            comma = ",";
        }
    fputc(']', out);
    if (fclose(out) != 0)
        die("memory");
    reply(conn, "200 OK", text);
    free(text);
}

static void drop(struct container *container)
{
    free(container->argument);
    *container = (struct container){.argument = NULL};
}

/* ---- requests ---- */

static bool ends_with(const char *path, const char *end)
{
    size_t len = strcspn(path, "?"), end_len = strlen(end);

    return len >= end_len && strncmp(path + len - end_len, end, end_len) == 0;
}

static struct container *find(const char *path)
{
    const char *at = strstr(path, "/containers/");
    size_t i = at != NULL ? strtoul(at + 12, NULL, 16) : CONTAINERS_MAX;

    return i < CONTAINERS_MAX && containers[i].argument != NULL ? &containers[i] : NULL;
}

static void serve_container(struct ev_loop *ev, struct conn *conn, const char *method,
                            const char *path)
{
    struct container *container = find(path);

    if (container == NULL) {
        reply(conn, "404 Not Found", "{\"message\":\"no such container\"}");
    } else if (strcmp(method, "DELETE") == 0) {
        end(ev, container, 137);
        drop(container);
        reply(conn, "204 No Content", "");
    } else if (ends_with(path, "/attach")) {
        static const char head[] = "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\n"
                                   "Upgrade: tcp\r\n\r\n";

        container->attach = conn;
        put(conn, head, sizeof head - 1);
    } else if (ends_with(path, "/wait")) {
        static const char head[] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

        container->wait = conn;
        put(conn, head, sizeof head - 1);
    } else if (ends_with(path, "/start")) {
        start(ev, conn, container);
    } else if (ends_with(path, "/kill")) {
        end(ev, container, 137);
        reply(conn, "204 No Content", "");
    } else {
        reply(conn, "204 No Content", "");
    }
}

static void serve(struct ev_loop *ev, struct conn *conn, const char *method, const char *path,
                  const char *body)
{
    if (strstr(path, "/_ping") != NULL) /* a command line asks with HEAD */
        reply(conn, "200 OK", strcmp(method, "HEAD") == 0 ? "" : "OK");
    else if (ends_with(path, "/version"))
        reply(conn, "200 OK", "{\"Version\":\"scripted\",\"Arch\":\"amd64\"}");
    else if (ends_with(path, "/info"))
        reply(conn, "200 OK", "{\"NCPU\":2}");
    else if (strstr(path, "/images/") != NULL && strcmp(method, "GET") == 0)
        reply(conn, "200 OK",
              "{\"Id\":\"sha256:"
              "0000000000000000000000000000000000000000000000000000000000000001\","
              "\"Architecture\":\"amd64\",\"Size\":1,\"Config\":{\"Entrypoint\":[\"/echo\"]}}");
    else if (strstr(path, "/images/") != NULL)
        reply(conn, "201 Created", "");
    else if (ends_with(path, "/containers/json"))
        list(conn);
    else if (ends_with(path, "/containers/create"))
        create(conn, body);
    else
        serve_container(ev, conn, method, path);
}

/* Serves the first request in the buffer; false when it is not complete yet. */
static bool serve_one(struct ev_loop *ev, struct conn *conn)
{
    char method[16], path[1024], *end, *length, *body;
    size_t head, body_len;

    conn->data[conn->len] = '\0';
    end = strstr(conn->data, "\r\n\r\n");
    if (end == NULL)
        return false;
    head = (size_t)(end + 4 - conn->data);
    length = strcasestr(conn->data, "\r\nContent-Length:");
    body_len = length != NULL && length < end ? strtoul(length + 17, NULL, 10) : 0;
    if (conn->len < head + body_len)
        return false;
    if (sscanf(conn->data, "%15s %1023s", method, path) != 2)
        die("a request that is none");
    body = strndup(conn->data + head, body_len);
    if (body == NULL)
        die("memory");
    conn->len -= head + body_len;
    memmove(conn->data, conn->data + head + body_len, conn->len);
    serve(ev, conn, method, path, body);
    free(body);
    return true;
}

static void on_readable(struct ev_loop *ev, ev_io *io, int events)
{
    struct conn *conn = io->data;
    ssize_t n = recv(conn->fd, conn->data + conn->len, REQUEST_MAX - conn->len, 0);

    (void)events;
    if (n < 0 && errno == EINTR)
        return;
    if (n <= 0) {
        close_conn(ev, conn);
        return;
    }
    conn->len += (size_t)n;
    while (serve_one(ev, conn))
        continue;
    if (conn->len == REQUEST_MAX)
        die("a request is too long");
}

static void on_connection(struct ev_loop *ev, ev_io *io, int events)
{
    struct conn *conn = calloc(1, sizeof *conn);

    (void)events;
    if (conn == NULL || (conn->data = malloc(REQUEST_MAX + 1)) == NULL)
        die("memory");
    conn->fd = accept(io->fd, NULL, NULL);
    if (conn->fd < 0)
        die("accept");
    ev_io_init(&conn->io, on_readable, conn->fd, EV_READ);
    conn->io.data = conn;
    ev_io_start(ev, &conn->io);
}

int main(int argc, char **argv)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    struct ev_loop *ev = ev_default_loop(0);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ev_io listening;

    if (argc != 2 || strlen(argv[1]) >= sizeof at.sun_path) {
        fprintf(stderr, "usage: scripted-engine SOCKET\n");
        return 2;
    }
    (void)snprintf(at.sun_path, sizeof at.sun_path, "%s", argv[1]);
    if (ev == NULL || fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) != 0 ||
        listen(fd, 512) != 0)
        die(argv[1]);
    ev_io_init(&listening, on_connection, fd, EV_READ);
    ev_io_start(ev, &listening);
    ev_run(ev, 0);
    return 0;
}
