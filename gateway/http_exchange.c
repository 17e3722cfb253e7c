#include "gateway/http_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

#define SEND_MS      60000 /* to take an answer, and ... */
#define SEND_BYTE_NS 60000 /* ... this much more per byte: 16 KiB a second */

/* ---- exchanges ---- */

void http_exchange_free(http_exchange *x)
{
    if (x == NULL)
        return;
    if (x->own != NULL) {
        free(x->own->answer.body);
        if (x->own->answer.fd >= 0)
            close(x->own->answer.fd);
    }
    if (x->own != NULL)
        http_stream_free(x->own->stream);
    for (size_t i = 0; i < HTTP_FIELDS; i++)
        free(x->fields[i]);
    http_body_close(x);
    free(x->key);
    free(x->other);
    free(x->own);
    free(x->path);
    if (x->body != NULL && x->match.route != NULL &&
        (x->match.route->what == GW_SET || x->match.route->what == GW_SYS_SECRET))
        explicit_bzero(x->body, x->body_len);
    free(x->body);
    free(x);
}
FAAS_DEFINE_AUTO(http_exchange, http_exchange_free)

/* "http://host/path" is the same as "/path"; "*" is no path. */
static const char *origin_form(const char *target)
{
    const char *slash;

    if (target[0] == '/' || strcmp(target, "*") == 0)
        return target;
    slash = strstr(target, "://");
    slash = slash == NULL ? NULL : strchr(slash + 3, '/');
    return slash == NULL ? "/" : slash;
}

static bool set_target(http_exchange *x, const char *target)
{
    char *question;

    x->path = strdup(origin_form(target));
    if (x->path == NULL)
        return false;
    question = strchr(x->path, '?');
    if (question != NULL) {
        *question = '\0';
        x->query = question + 1;
    }
    return true;
}

/* Whoever has one IPv6 address has its /64 network; IPv4 is the same with and without mapping. */
static void set_client(http_exchange *x)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(x->own->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    struct sockaddr_in four;
    struct sockaddr_in6 six;

    if (info == NULL || info->client_addr == NULL)
        return;
    if (info->client_addr->sa_family == AF_INET) {
        memcpy(&four, info->client_addr, sizeof four);
        (void)inet_ntop(AF_INET, &four.sin_addr, x->client, sizeof x->client);
        return;
    }
    if (info->client_addr->sa_family != AF_INET6)
        return;
    memcpy(&six, info->client_addr, sizeof six);
    if (IN6_IS_ADDR_V4MAPPED(&six.sin6_addr)) {
        (void)inet_ntop(AF_INET, &six.sin6_addr.s6_addr[12], x->client, sizeof x->client);
        return;
    }
    memset(&six.sin6_addr.s6_addr[8], 0, 8);
    (void)inet_ntop(AF_INET6, &six.sin6_addr, x->client, sizeof x->client);
}

http_exchange *http_exchange_new(http_server *server, struct MHD_Connection *connection,
                                 const char *method)
{
    FAAS_AUTO(http_exchange) *x = calloc(1, sizeof *x);

    if (x == NULL)
        return NULL;
    x->body_fd = -1;
    x->own = calloc(1, sizeof *x->own);
    if (x->own == NULL)
        return NULL;
    x->own->answer.fd = -1;
    x->own->x = x;
    x->own->server = server;
    x->own->connection = connection;
    x->own->conn = http_conn_of(connection);
    x->began_ns = faas_now_ns();
    set_client(x);
    x->code = "ok";
    faas_uuid_new(x->id);
    (void)snprintf(x->method, sizeof x->method, "%s", method);
    if (x->own->conn == NULL || x->own->conn->target == NULL ||
        !set_target(x, x->own->conn->target))
        return NULL;
    return FAAS_STEAL(x);
}

void *http_arg(const http_exchange *x)
{
    return x->own->server->conf.arg;
}

size_t http_address(const http_exchange *x, uint8_t out_address[HTTP_ADDRESS_MAX])
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(x->own->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *at = info == NULL ? NULL : info->client_addr;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;

    if (at != NULL && at->sa_family == AF_INET) {
        memcpy(&v4, at, sizeof v4);
        memcpy(out_address, &v4.sin_addr, sizeof v4.sin_addr);
        return sizeof v4.sin_addr;
    }
    if (at == NULL || at->sa_family != AF_INET6)
        return 0;
    memcpy(&v6, at, sizeof v6);
    if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
        memcpy(out_address, v6.sin6_addr.s6_addr + 12, sizeof v4.sin_addr);
        return sizeof v4.sin_addr;
    }
    memcpy(out_address, v6.sin6_addr.s6_addr, HTTP_ADDRESS_MAX);
    return HTTP_ADDRESS_MAX;
}

int http_status(const http_exchange *x)
{
    return x->own->answer.status;
}

size_t http_answer_len(const http_exchange *x)
{
    return x->own->answer.len;
}

bool http_is_sent(const http_exchange *x)
{
    return x->own->is_sent;
}

bool http_is_answered(const http_exchange *x)
{
    return x->own->is_answered;
}

/* ---- answering ---- */

void http_header(http_exchange *x, const char *name, const char *fmt, ...)
{
    struct http_reply *answer = &x->own->answer;
    char *value = answer->headers[answer->count < HTTP_HEADERS_MAX ? answer->count : 0].value;
    va_list args;
    int len;

    if (answer->count == HTTP_HEADERS_MAX) {
        FAAS_LOG(ERROR, "too many response headers", FAAS_LSTR("name", name));
        return;
    }
    va_start(args, fmt);
    len = vsnprintf(value, HTTP_HEADER_MAX, fmt, args);
    va_end(args);
    if (len < 0 || len >= HTTP_HEADER_MAX)
        return;
    for (int i = 0; i < len; i++) {
        if ((unsigned char)value[i] < 0x20 || value[i] == 0x7f)
            return;
    }
    answer->headers[answer->count++].name = name;
}

/* From here on x belongs to libmicrohttpd's thread again: nothing of it is touched after. */
static void hand_back(http_exchange *x)
{
    struct http_private *own = x->own;

    own->is_answered = true;
    if (own->is_deferred) {
        (void)http_watch_remove(&own->server->conns, &own->watch);
        MHD_resume_connection(own->connection);
    }
}

void http_answer_bytes(http_exchange *x, int status, const char *type, void *take_body, size_t len)
{
    struct http_reply *answer = &x->own->answer;

    answer->status = status;
    answer->type = type;
    answer->body = take_body;
    answer->len = len;
    hand_back(x);
}

void http_answer_file(http_exchange *x, int status, const char *type, int take_fd, size_t len)
{
    struct http_reply *answer = &x->own->answer;

    answer->status = status;
    answer->type = type;
    answer->fd = take_fd;
    answer->len = len;
    hand_back(x);
}

static struct MHD_Response *make_response(struct http_reply *answer)
{
    struct MHD_Response *response;

    if (answer->fd >= 0) {
        response = MHD_create_response_from_fd64(answer->len, answer->fd);
        if (response != NULL)
            answer->fd = -1; /* closed with the response */
        return response;
    }
    response = MHD_create_response_from_buffer(
        answer->len, answer->body != NULL ? answer->body : "",
        answer->body != NULL ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
    if (response != NULL)
        answer->body = NULL;
    return response;
}

void http_add_common_headers(struct MHD_Response *response, const char *type)
{
    (void)MHD_add_response_header(response, "Cache-Control", "no-store");
    (void)MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    if (type != NULL)
        (void)MHD_add_response_header(response, "Content-Type", type);
}

static void add_headers(struct MHD_Response *response, const http_exchange *x)
{
    const struct http_reply *answer = &x->own->answer;

    (void)MHD_add_response_header(response, "X-Call-Id", x->id);
    http_add_common_headers(response, answer->type);
    for (size_t i = 0; i < answer->count; i++)
        (void)MHD_add_response_header(response, answer->headers[i].name, answer->headers[i].value);
    if (x->own->is_closing || atomic_load(&x->own->server->is_draining))
        (void)MHD_add_response_header(response, "Connection", "close");
}

uint64_t http_send_ns(size_t len)
{
    return SEND_MS * FAAS_MS_NS + len * SEND_BYTE_NS;
}

enum MHD_Result http_send(http_exchange *x)
{
    uint64_t send_ns = http_send_ns(x->own->answer.len);
    struct MHD_Response *response =
        x->own->stream != NULL ? http_stream_response(x) : make_response(&x->own->answer);
    enum MHD_Result result;

    if (response == NULL)
        return MHD_NO; /* without memory the connection is closed */
    add_headers(response, x);
    http_conn_set_deadline(x->own->conn, faas_now_ns() + send_ns);
    result = MHD_queue_response(x->own->connection, (unsigned)x->own->answer.status, response);
    MHD_destroy_response(response);
    return result;
}
