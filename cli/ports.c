#include "cli/ports.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sodium.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/file.h"

#define TRIES 1000

faas_code port_book_load(const char *path, struct port_book *out_book, faas_err *err)
{
    json_t *doc;

    FAAS_TRY(file_read_json(path, &doc, err));
    if (doc != NULL && !json_is_object(json_object_get(doc, "ports"))) {
        json_decref(doc);
        return faas_fail(err, FAAS_INVALID, "%s: no \"ports\" in it; remove the file", path);
    }
    if (doc == NULL)
        doc = json_pack("{s:i,s:{}}", "v", 1, "ports");
    if (doc == NULL)
        return faas_fail(err, FAAS_INTERNAL, "out of memory");
    out_book->doc = doc;
    return FAAS_OK;
}

faas_code port_book_save(const struct port_book *book, const char *path, faas_err *err)
{
    return file_write_json(path, book->doc, 0600, err);
}

void port_book_done(struct port_book *book)
{
    json_decref(book->doc);
    book->doc = NULL;
}

static socklen_t make_address(const char *address, int port, struct sockaddr_storage *out)
{
    struct sockaddr_in *in4 = (struct sockaddr_in *)out;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;

    memset(out, 0, sizeof *out);
    if (inet_pton(AF_INET, address, &in4->sin_addr) == 1) {
        in4->sin_family = AF_INET;
        in4->sin_port = htons((uint16_t)port);
        return sizeof *in4;
    }
    if (inet_pton(AF_INET6, address, &in6->sin6_addr) == 1) {
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons((uint16_t)port);
        return sizeof *in6;
    }
    return 0;
}

bool port_is_free(const char *address, int port)
{
    struct sockaddr_storage name;
    socklen_t len = make_address(address, port, &name);
    int one = 1, fd;
    bool is_free;

    if (len == 0)
        return false;
    fd = socket(name.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    /* As servers do it: connections of the last run that linger do not count. */
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    is_free = bind(fd, (struct sockaddr *)&name, len) == 0 && listen(fd, 1) == 0;
    close(fd);
    return is_free;
}

/* Names taken in this book must differ from each other, also before anybody listens. */
static bool is_taken(const struct port_book *book, const char *name, int port)
{
    const char *other;
    json_t *value;

    json_object_foreach (json_object_get(book->doc, "ports"), other, value) {
        if (strcmp(other, name) != 0 && json_integer_value(value) == port)
            return true;
    }
    return false;
}

int port_book_kept(const struct port_book *book, const char *name)
{
    return (int)json_integer_value(json_object_get(json_object_get(book->doc, "ports"), name));
}

faas_code port_book_take(struct port_book *book, const char *name, int *out_port, faas_err *err)
{
    json_t *ports = json_object_get(book->doc, "ports");
    int port = port_book_kept(book, name);

    for (int i = 0; i < TRIES; i++) {
        if (port >= PORT_LEAST && port <= PORT_MOST && !is_taken(book, name, port) &&
            port_is_free("127.0.0.1", port)) {
            if (json_object_set_new(ports, name, json_integer(port)) != 0)
                return faas_fail(err, FAAS_INTERNAL, "out of memory");
            *out_port = port;
            return FAAS_OK;
        }
        port = PORT_LEAST + (int)randombytes_uniform(PORT_MOST - PORT_LEAST + 1);
    }
    return faas_fail(err, FAAS_UNAVAILABLE, "no free port from %d to %d on 127.0.0.1", PORT_LEAST,
                     PORT_MOST);
}

char *ports_url(const char *scheme, const char *address, int port)
{
    const char *shown = address;

    if (strcmp(address, "0.0.0.0") == 0)
        shown = "127.0.0.1";
    else if (strcmp(address, "::") == 0)
        shown = "::1";
    return strchr(shown, ':') != NULL ? file_path("%s://[%s]:%d", scheme, shown, port)
                                      : file_path("%s://%s:%d", scheme, shown, port);
}

char *ports_listen(const char *address, int port)
{
    return strchr(address, ':') != NULL ? file_path("[%s]:%d", address, port)
                                        : file_path("%s:%d", address, port);
}
