/* A result on its way in frames, when there is no memory and no room for it; the claims are in
 * fault.h. */
#include "tests/support/fault.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/frames.h"
#include "tests/unit/unit.h"

#define CALL       "0190f3a0-0000-7000-8000-00000000000a"
#define BYTES      (3 * FAAS_FRAME_MAX + 1000)
#define PART       50000
#define MEMORY_MAX (FAAS_FRAME_MAX + 1000) /* what is longer goes to a file */
#define SILENCE_MS 5
#define HANG_MS    20000

struct packet {
    STAILQ_ENTRY(packet) link;
    bool is_credit;
    size_t len;
    char bytes[];
};

struct wire {
    faas_loop *loop;
    faas_frames_out *out;
    faas_frames_in *in;
    STAILQ_HEAD(, packet) packets;
    enum faas_frames_state state;
    int done; /* how often it ran */
    bool is_acknowledged;
};

static char bytes[BYTES];

/* The wire itself loses nothing. */
static void put(struct wire *wire, bool is_credit, const void *msg, size_t len)
{
    bool was_spared = fault_spare(true);
    struct packet *packet = malloc(sizeof *packet + len);

    assert_non_null(packet);
    packet->is_credit = is_credit;
    packet->len = len;
    memcpy(packet->bytes, msg, len);
    STAILQ_INSERT_TAIL(&wire->packets, packet, link);
    fault_spare(was_spared);
}

static void on_send(void *arg, const void *msg, size_t len)
{
    put(arg, false, msg, len);
}

static void on_credit(void *arg, const char *reply, const void *msg, size_t len)
{
    (void)reply;
    put(arg, true, msg, len);
}

static void on_done(void *arg, bool is_acknowledged)
{
    struct wire *wire = arg;

    wire->done++;
    wire->is_acknowledged = is_acknowledged;
}

static void arrive(struct wire *wire, const struct packet *packet)
{
    struct faas_frame frame;
    size_t pos = 0;
    bool more;

    for (;;) {
        assert_ok(faas_frame_next(packet->bytes, packet->len, &pos, &frame, &more, NULL));
        if (!more)
            return;
        if (packet->is_credit)
            faas_frames_out_credit(wire->out, &frame);
        else
            wire->state = faas_frames_in_take(wire->in, &frame, "credit");
    }
}

static void drop_packets(struct wire *wire)
{
    struct packet *packet;

    while ((packet = STAILQ_FIRST(&wire->packets)) != NULL) {
        STAILQ_REMOVE_HEAD(&wire->packets, link);
        free(packet);
    }
}

static void carry(struct wire *wire)
{
    uint64_t deadline = faas_deadline_in_ms(HANG_MS);
    struct packet *packet;

    while (wire->done == 0) {
        if (faas_left_ms(deadline) == 0)
            fail_msg("%s failed, and the sender did not end", fault_met());
        packet = STAILQ_FIRST(&wire->packets);
        if (packet == NULL) {
            ev_run(faas_loop_ev(wire->loop), EVRUN_ONCE); /* silence: it sends again */
            continue;
        }
        STAILQ_REMOVE_HEAD(&wire->packets, link);
        arrive(wire, packet);
        free(packet);
    }
}

static faas_code write_result(struct wire *wire, faas_err *err)
{
    FAAS_AUTO(json_t) *head = json_pack("{s:i}", "status", 200);
    FAAS_AUTO(json_t) *end = json_pack("{s:i}", "exit_code", 0);

    if (head == NULL || end == NULL)
        return faas_fail_sys(err, ENOMEM, "encode");
    FAAS_TRY(faas_frames_out_head(wire->out, head, err));
    for (size_t at = 0; at < BYTES; at += PART)
        FAAS_TRY(faas_frames_out_write(wire->out, FAAS_FRAME_STDOUT, bytes + at,
                                       BYTES - at < PART ? BYTES - at : PART, err));
    faas_frames_out_flush(wire->out);
    return faas_frames_out_end(wire->out, end, err);
}

static void claim_whole(struct wire *wire)
{
    const json_t *end = faas_frames_in_end(wire->in);
    static char got[BYTES];
    size_t len = 0;
    int fd = -1;

    assert_non_null(faas_frames_in_head(wire->in));
    assert_int_equal(json_integer_value(json_object_get(end, "stdout_bytes")), BYTES);
    assert_null(faas_frames_in_steal(wire->in, &len, &fd));
    assert_int_equal(len, BYTES);
    assert_int_equal(pread(fd, got, BYTES, 0), BYTES);
    assert_memory_equal(got, bytes, BYTES);
    close(fd);
}

static faas_code send_result(struct wire *wire, faas_err *err)
{
    const struct faas_frames_out_conf out = {.loop = wire->loop,
                                             .id = CALL,
                                             .send = on_send,
                                             .done = on_done,
                                             .arg = wire,
                                             .give_up_ms = HANG_MS,
                                             .silence_ms = SILENCE_MS};
    const struct faas_frames_in_conf in = {
        .id = CALL, .memory_max = MEMORY_MAX, .credit = on_credit, .arg = wire};

    FAAS_TRY(faas_frames_out_new(&out, &wire->out, err));
    FAAS_TRY(faas_frames_in_new(&in, &wire->in, err));
    FAAS_TRY(write_result(wire, err));
    carry(wire);
    assert_true(wire->done == 1 && wire->is_acknowledged);
    if (wire->state != FAAS_FRAMES_COMPLETE)
        return faas_fail(err, FAAS_UNAVAILABLE, "no room for the result");
    fault_pause(true);
    claim_whole(wire);
    return FAAS_OK;
}

static faas_code deliver(void *state, faas_err *err)
{
    struct wire wire = {.loop = state};
    faas_code rc;

    STAILQ_INIT(&wire.packets);
    rc = send_result(&wire, err);
    drop_packets(&wire);
    faas_frames_out_free(wire.out);
    faas_frames_in_free(wire.in);
    return rc;
}

static void a_result_arrives_whole_or_both_ends_know(void **state)
{
    faas_loop *loop = NULL;

    (void)state;
    for (size_t i = 0; i < BYTES; i++)
        bytes[i] = (char)(i * 31 >> 3);
    assert_ok(faas_loop_new(&loop, NULL));
    fault_each(deliver, loop, 60);
    faas_loop_free(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_result_arrives_whole_or_both_ends_know),
    };

    return run_unit(tests);
}
