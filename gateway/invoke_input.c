/* A large argument on its way to the function: read from its file as the spawner asks for it, so that
 * neither holds more than a few frames of it.  A call that is placed again gets it from the start. */
#include "invoke_internal.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

#define AHEAD_MAX  (512 * 1024) /* bytes that wait for credit */
#define GIVE_UP_MS 60000

struct invoke_input {
    struct invoke *inv;
    faas_frames_out *out;
    uint32_t place;
    char to[FAAS_SUBJECT_MAX];
    int64_t at;
    bool is_ended;
};

static void send_message(void *arg, const void *msg, size_t len)
{
    struct invoke_input *input = arg;
    const struct faas_header headers[] = {{FAAS_H_PROTO, FAAS_PROTO}, {NULL, NULL}};
    const struct faas_out out = {.subject = input->to, .headers = headers, .data = msg, .len = len};
    faas_err err = {0};

    if (faas_bus_publish(input->inv->gw->rt->bus, FAAS_DATA, &out, &err) != FAAS_OK)
        FAAS_LOG(DEBUG, "an argument's frames were not sent", FAAS_LSTR("call", input->inv->x->id),
                 FAAS_LSTR("why", err.msg)); /* they are sent again */
}

static void on_sent(void *arg, bool is_acknowledged)
{
    (void)arg;
    (void)is_acknowledged; /* what becomes of the call is told by its own frames */
}

void invoke_input_free(struct invoke_input *input)
{
    if (input == NULL)
        return;
    faas_frames_out_free(input->out);
    free(input);
}

static faas_code input_new(struct invoke *inv, const struct faas_frame *credit, const char *to,
                           faas_err *err)
{
    struct invoke_input *input = calloc(1, sizeof *input);
    struct faas_frames_out_conf conf = {.loop = inv->gw->rt->loop,
                                        .place = credit->place,
                                        .send = send_message,
                                        .done = on_sent,
                                        .arg = input,
                                        .give_up_ms = GIVE_UP_MS,
                                        .is_eager = true};

    if (input == NULL)
        return faas_fail_sys(err, ENOMEM, "send an argument");
    memcpy(conf.id, inv->x->id, sizeof conf.id);
    input->inv = inv;
    input->place = credit->place;
    (void)snprintf(input->to, sizeof input->to, "%s", to);
    if (faas_frames_out_new(&conf, &input->out, err) != FAAS_OK) {
        free(input);
        return err->code;
    }
    invoke_input_free(inv->input);
    inv->input = input;
    return FAAS_OK;
}

static faas_code send_piece(struct invoke_input *input, faas_err *err)
{
    static uint8_t piece[FAAS_FRAME_MAX]; /* loop thread only */
    const struct invoke *inv = input->inv;
    FAAS_AUTO(json_t) *end = NULL;
    ssize_t got;

    if (input->at < inv->input_bytes) {
        got = pread(inv->x->body_fd, piece, sizeof piece, input->at);
        if (got <= 0)
            return faas_fail_sys(err, got < 0 ? errno : EIO, "read an argument");
        input->at += got;
        return faas_frames_out_write(input->out, FAAS_FRAME_STDOUT, piece, (size_t)got, err);
    }
    input->is_ended = true;
    end = json_pack("{s:i}", "v", 1);
    return faas_frames_out_end(input->out, end, err);
}

void invoke_input_credit(struct invoke *inv, const struct faas_frame *credit, const char *reply)
{
    struct invoke_input *input;
    faas_err err = {0};
    faas_code rc = FAAS_OK;

    if (inv->input_bytes == 0 || reply == NULL ||
        (inv->input != NULL && credit->place < inv->input->place))
        return;
    if (inv->input == NULL || credit->place > inv->input->place)
        rc = input_new(inv, credit, reply, &err);
    input = inv->input;
    if (rc == FAAS_OK)
        faas_frames_out_credit(input->out, credit);
    while (rc == FAAS_OK && !input->is_ended && faas_frames_out_pending(input->out) < AHEAD_MAX)
        rc = send_piece(input, &err);
    if (rc != FAAS_OK) /* the function waits for it, and is ended by its time */
        FAAS_LOG(ERROR, "an argument cannot be sent", FAAS_LSTR("call", inv->x->id),
                 FAAS_LSTR("why", err.msg), FAAS_LSTR("detail", err.detail));
}
