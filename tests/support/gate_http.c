/* The client's side of gate.h. */
#include "tests/support/gate.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/unit.h"

static void must(faas_code rc, const faas_err *err)
{
    if (rc != FAAS_OK)
        fail_msg("%s: %s (%s)", faas_code_slug(rc), err->msg, err->detail);
}

char *gate_token(struct gate *gate, int key, int64_t ttl_s)
{
    struct faas_token_claims claims = {
        .user = GATE_USER, .tenant = GATE_TENANT, .username = "alice"};
    faas_token_signer *signer = NULL;
    char *token = NULL;
    faas_err err = {0};

    must(faas_token_signer_open(gate->keys[key].private_file, &signer, &err), &err);
    must(faas_token_sign(signer, &claims, ttl_s, &token, &err), &err);
    faas_token_signer_free(signer);
    return token;
}

int gate_connect(struct gate *gate)
{
    return gate_connect_from(gate, "127.0.0.1");
}

int gate_connect_from(struct gate *gate, const char *address)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)gate->port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in from = {.sin_family = AF_INET};
    const struct timeval bound = {.tv_sec = 60};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &bound, sizeof bound); /* fails, not hangs */
    (void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    assert_int_equal(inet_pton(AF_INET, address, &from.sin_addr), 1);
    assert_int_equal(bind(fd, (struct sockaddr *)&from, sizeof from), 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&at, sizeof at) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

void gate_put(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

bool gate_take(int fd, char *out_head, size_t room)
{
    size_t used = 0, body;
    char byte, *length;

    while (used + 1 < room && recv(fd, &byte, 1, 0) == 1) {
        out_head[used++] = byte;
        out_head[used] = '\0';
        if (used >= 4 && strcmp(out_head + used - 4, "\r\n\r\n") == 0) {
            length = strcasestr(out_head, "\r\nContent-Length: ");
            assert_non_null(length);
            body = strtoul(length + 18, NULL, 10);
            while (body > 0 && recv(fd, &byte, 1, 0) == 1)
                body--;
            return body == 0;
        }
    }
    return false;
}

void gate_read(int fd, struct reply *out_reply)
{
    size_t room = 65536, used = 0;
    char *text = malloc(room + 1), *end;
    ssize_t got;

    memset(out_reply, 0, sizeof *out_reply);
    assert_non_null(text);
    while ((got = recv(fd, text + used, room - used, 0)) > 0) {
        used += (size_t)got;
        if (used == room) {
            room *= 2;
            text = realloc(text, room + 1);
            assert_non_null(text);
        }
    }
    close(fd);
    text[used] = '\0';
    end = strstr(text, "\r\n\r\n");
    if (end != NULL && (size_t)(end - text) < sizeof out_reply->head &&
        strncmp(text, "HTTP/1.1 ", 9) == 0) {
        memcpy(out_reply->head, text, (size_t)(end - text) + 2);
        out_reply->status = (int)strtol(text + 9, NULL, 10);
        out_reply->len = used - (size_t)(end + 4 - text);
        memmove(text, end + 4, out_reply->len + 1);
    }
    out_reply->body = text;
}

void reply_done(struct reply *reply)
{
    free(reply->body);
    reply->body = NULL;
}

const char *reply_field(const struct reply *reply, const char *name)
{
    static char value[512];
    const char *line = strstr(reply->head, "\r\n");

    for (; line != NULL; line = strstr(line + 2, "\r\n")) {
        size_t len = strlen(name);

        if (strncasecmp(line + 2, name, len) != 0 || line[2 + len] != ':')
            continue;
        (void)snprintf(value, sizeof value, "%.*s", (int)strcspn(line + 4 + len, "\r"),
                       line + 4 + len);
        return value;
    }
    return "";
}

void gate_ask(struct gate *gate, const char *method, const char *path, const char *fields,
              const char *body, struct reply *out_reply)
{
    bool has_token = fields != NULL && strstr(fields, "Authorization:") != NULL;
    FAAS_AUTO(char) *token = gate_token(gate, atomic_load(&gate->key), 3600);
    FAAS_AUTO(char) *text = NULL;
    int fd = gate_connect(gate), len;

    assert_true(fd >= 0);
    len = asprintf(&text,
                   "%s %s HTTP/1.1\r\nHost: test\r\nConnection: close\r\n%s%s%s%s"
                   "Content-Length: %zu\r\n\r\n%s",
                   method, path, has_token ? "" : "Authorization: Bearer ", has_token ? "" : token,
                   has_token ? "" : "\r\n", fields != NULL ? fields : "",
                   body != NULL ? strlen(body) : 0, body != NULL ? body : "");
    assert_true(len > 0);
    assert_int_equal(send(fd, text, (size_t)len, MSG_NOSIGNAL), len);
    gate_read(fd, out_reply);
}

void gate_call(struct gate *gate, const char *fields, struct reply *out_reply)
{
    char name[16], path[32];

    gate_name(0, name);
    (void)snprintf(path, sizeof path, "/function/%s", name);
    gate_ask(gate, "POST", path, fields, "argument", out_reply);
}

void reply_assert_problem(const struct reply *reply, int status, const char *code)
{
    FAAS_AUTO(json_t) *doc = json_loads(reply->body, 0, NULL);

    assert_int_equal(reply->status, status);
    assert_string_equal(reply_field(reply, "Content-Type"), "application/problem+json");
    assert_non_null(doc);
    assert_string_equal(json_string_value(json_object_get(doc, "code")), code);
    assert_int_equal(json_integer_value(json_object_get(doc, "status")), status);
    assert_string_equal(json_string_value(json_object_get(doc, "call_id")),
                        reply_field(reply, "X-Call-Id"));
}
