#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "native.h"

#define ROOM_MIN (64 * 1024)

faas_code input_take(struct rt_call *call, const struct rt_spec *spec, faas_err *err)
{
    if (!spec->is_stdin)
        return FAAS_OK;
    call->is_fed = spec->is_fed;
    call->input_room = spec->argument_len + 1;
    call->input = malloc(call->input_room);
    if (call->input == NULL)
        return faas_fail_sys(err, ENOMEM, "call");
    if (spec->argument_len > 0)
        memcpy(call->input, spec->argument, spec->argument_len);
    call->input_len = spec->argument_len;
    return FAAS_OK;
}

/* All that there is has been written. */
static void on_empty(struct rt_call *call)
{
    bool has_more = call->is_fed && !call->is_all_fed;

    if (!has_more) {
        call_stop_io(call, &call->in_io, &call->in);
        return;
    }
    ev_io_stop(call->nt->ev, &call->in_io);
    call->input_len = call->input_at = 0;
    call->sink.fed(call->sink.arg);
}

/* A function that does not read its input is no error. */
void input_write(struct ev_loop *ev, ev_io *io, int events)
{
    struct rt_call *call = io->data;
    ssize_t len = write(call->in, (const char *)call->input + call->input_at,
                        call->input_len - call->input_at);

    (void)ev, (void)events;
    if (len < 0 && errno == EAGAIN)
        return;
    if (len > 0)
        call->input_at += (size_t)len;
    if (len < 0) {
        call_stop_io(call, &call->in_io, &call->in);
        if (call->is_fed)
            call->sink.fed(call->sink.arg); /* what comes is dropped */
    } else if (call->input_at == call->input_len) {
        on_empty(call);
    }
}

static bool make_room(struct rt_call *call, size_t len)
{
    size_t need = call->input_len + len, room = need > ROOM_MIN ? need : ROOM_MIN;
    void *grown;

    if (need <= call->input_room)
        return true;
    grown = realloc(call->input, room);
    if (grown == NULL)
        return false;
    call->input = grown;
    call->input_room = room;
    return true;
}

bool native_feed(struct rt_call *call, const void *data, size_t len)
{
    if (call->in < 0 || call->facts.stop != STOP_NONE)
        return false;
    if (len > 0 && !make_room(call, len)) {
        native_cancel(call);
        return false;
    }
    if (len > 0)
        memcpy((char *)call->input + call->input_len, data, len);
    call->input_len += len;
    call->is_all_fed = len == 0;
    ev_io_start(call->nt->ev, &call->in_io);
    return true;
}
