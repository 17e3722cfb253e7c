/* answer.h - a listener on a UNIX socket that answers each HTTP request with bytes of the test's
 * choice, good or not: the other end of a client whose parsers are tried.
 * Answers   route() gives the bytes for a request's head; they are sent in pieces, one a turn of
 *           the loop, then the sending side is closed.  NULL: the connection is closed at once.
 * Threads   the loop's own.
 */
#ifndef FAAS_ANSWER_H
#define FAAS_ANSWER_H

#include <ev.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

struct answer_conn;
struct answer {
    struct ev_loop *ev;
    /* Borrowed bytes, good until the next call. */
    const void *(*route)(void *arg, const char *request, size_t *out_len);
    void *arg;
    size_t piece;            /* bytes sent at once; 0: all */
    char path[64], host[80]; /* of the socket; as a DOCKER_HOST */
    int fd;
    ev_io accepting;
    LIST_HEAD(, answer_conn) conns;
};

/* ev, route and arg are set.  Ends the program when there is no socket to be had. */
void answer_open(struct answer *answer);
void answer_close(struct answer *answer);

#define ANSWER_OK(type, len)                                                                       \
    "HTTP/1.1 200 OK\r\nContent-Type: " type "\r\nContent-Length: " len "\r\n"
/* What a Docker Engine says to "/_ping", "/version", "/info" and a list of containers; NULL for
 * other requests. */
const void *answer_engine(const char *request, size_t *out_len);

#endif
