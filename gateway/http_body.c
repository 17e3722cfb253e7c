/* http_body.c - a request's body as it comes: in memory, and beyond FAAS_BODY_MAX in a file without a
 * name, so that large ones cost no memory. */
#include "gateway/http_internal.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/spill.h"
#include "contract.h"

#define BODY_MIN     4096
#define READ_BYTE_NS 60000 /* more time for each byte: 16 KiB a second */

static bool make_room(http_exchange *x, size_t len)
{
    size_t room = x->own->room, need = x->body_len + len;
    uint8_t *grown;

    if (need <= room)
        return true;
    if (room == 0)
        room = x->guard.declared > 0 ? (size_t)x->guard.declared : BODY_MIN;
    else
        room *= 2;
    if (room > x->body_max || room > FAAS_BODY_MAX)
        room = x->body_max < FAAS_BODY_MAX ? x->body_max : FAAS_BODY_MAX;
    if (room < need)
        room = need;
    grown = realloc(x->body, room);
    if (grown == NULL)
        return false;
    x->body = grown;
    x->own->room = room;
    return true;
}

static void drop(http_exchange *x)
{
    if (x->body != NULL)
        explicit_bzero(x->body, x->body_len); /* perhaps a part of a secret */
    free(x->body);
    x->body = NULL;
    x->body_len = 0;
    http_body_close(x);
}

void http_body_close(http_exchange *x)
{
    if (x->body_fd >= 0)
        close(x->body_fd);
    x->body_fd = -1;
    if (x->own != NULL && x->own->filed > 0) {
        atomic_fetch_sub(&x->own->server->filed, x->own->filed);
        atomic_fetch_sub(&x->own->server->filed_by[x->own->share], x->own->filed);
        x->own->filed = 0;
    }
}

/* ---- in a file ---- */

/* What is in memory so far moves there; 0, or an errno. */
static int begin_file(http_exchange *x)
{
    int errnum;

    x->body_fd = faas_spill_open(x->own->server->conf.body_dir);
    if (x->body_fd < 0)
        return errno;
    errnum = faas_spill_write(x->body_fd, x->body, x->body_len);
    if (errnum != 0)
        return errnum;
    free(x->body);
    x->body = NULL;
    return 0;
}

static size_t share_of(const http_exchange *x)
{
    const char *user = x->caller.user;
    uint64_t hash;

    crypto_shorthash((unsigned char *)&hash, (const unsigned char *)user, strlen(user),
                     x->own->server->share_key);
    return hash % HTTP_SHARES;
}

/* Room for all bodies together is taken as they come; a user has half of it at most, perhaps with
 * others whose ids hash alike. */
static bool take_room(http_exchange *x, size_t len)
{
    http_server *server = x->own->server;
    size_t more = x->body_len + len - x->own->filed, most = (size_t)server->conf.bodies_max;
    size_t all, own;

    if (x->own->filed == 0)
        x->own->share = share_of(x);
    x->own->filed += more;
    /* Both are counted, whatever the first says: http_body_close() takes both back. */
    all = atomic_fetch_add(&server->filed, more) + more;
    own = atomic_fetch_add(&server->filed_by[x->own->share], more) + more;
    return all <= most && own <= most / 2;
}

static bool file(http_exchange *x, const char *data, size_t len)
{
    int errnum = 0;

    if (!take_room(x, len))
        return false;
    if (x->body_fd < 0)
        errnum = begin_file(x);
    if (errnum == 0)
        errnum = faas_spill_write(x->body_fd, data, len);
    if (errnum != 0) {
        FAAS_LOG(ERROR, "a large body cannot be kept", FAAS_LSTR("request", x->id),
                 FAAS_LSTR("detail", strerror(errnum)));
        return false;
    }
    x->body_len += len;
    http_conn_set_deadline(x->own->conn, x->began_ns +
                                             (uint64_t)x->own->server->conf.read_ms * FAAS_MS_NS +
                                             x->body_len * READ_BYTE_NS);
    return true;
}

/* ---- as it comes ---- */

static bool keep(http_exchange *x, const char *data, size_t len)
{
    if (!make_room(x, len))
        return false;
    memcpy(x->body + x->body_len, data, len);
    x->body_len += len;
    return true;
}

/* Answered by answer(); what follows of the body is read and dropped. */
static void refuse(http_exchange *x, void (*answer)(void *arg, http_exchange *x))
{
    answer(x->own->server->conf.arg, x);
    http_conn_set_deadline(x->own->conn, faas_deadline_in_ms(HTTP_DROP_MS));
    drop(x);
}

enum MHD_Result http_take_body(http_exchange *x, const char *data, size_t len)
{
    const struct http_conf *conf = &x->own->server->conf;

    if (!x->own->is_answered && len > x->body_max - x->body_len)
        refuse(x, conf->on_too_large);
    if (x->own->is_answered) {
        x->own->dropped += len;
        return x->own->dropped <= HTTP_DROP_MAX ? MHD_YES : MHD_NO;
    }
    if (x->body_len + len <= FAAS_BODY_MAX || x->body_max <= FAAS_BODY_MAX)
        return keep(x, data, len) ? MHD_YES : MHD_NO;
    if (!file(x, data, len))
        refuse(x, conf->on_no_room);
    return MHD_YES;
}
