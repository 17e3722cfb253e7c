/* ports.h - inner ports of `faas up`: free ones, kept in DIR/ports.json, the same at the next
 * start. Range     10240..32767: below the ephemeral range, so that no outgoing connection of this
 * machine takes one between two starts. Kept      a port that is still free is used again; one that
 * something else took is replaced. Ownership the book owns its document; port_book_done() frees it.
 * Errors    INVALID (file unreadable), UNAVAILABLE (no free port found).
 * Threads   the main thread, before children start.
 */
#ifndef CLI_PORTS_H
#define CLI_PORTS_H

#include <stdbool.h>

#include "base/json.h"

#define PORT_LEAST 10240
#define PORT_MOST  32767

struct port_book {
    json_t *doc; /* {"v":1,"ports":{name:port}} */
};

FAAS_MUST_CHECK faas_code port_book_load(const char *path, struct port_book *out_book,
                                         faas_err *err);
FAAS_MUST_CHECK faas_code port_book_save(const struct port_book *book, const char *path,
                                         faas_err *err);
void port_book_done(struct port_book *book);
/* The port of that name on 127.0.0.1: the kept one if it is free, else a new one. */
FAAS_MUST_CHECK faas_code port_book_take(struct port_book *book, const char *name, int *out_port,
                                         faas_err *err);
/* The port that is kept under that name; 0: none. */
int port_book_kept(const struct port_book *book, const char *name);
/* Whether a server could listen on address:port now. */
bool port_is_free(const char *address, int port);
/* "http://ADDRESS:PORT" for whoever is on this machine; ADDRESS:PORT to listen on.  The caller
 * frees; NULL without memory. */
char *ports_url(const char *scheme, const char *address, int port);
char *ports_listen(const char *address, int port);

#endif
