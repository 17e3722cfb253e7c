/* Opening and closing of rpc.h, and its inboxes. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "net/rpc_internal.h"

/* ---- inboxes ---- */

faas_code faas_inbox_open(faas_rpc *rpc, faas_msg_handler *handler, void *arg,
                          faas_inbox **out_inbox, faas_err *err)
{
    faas_inbox *inbox = calloc(1, sizeof *inbox);

    if (inbox == NULL)
        return faas_fail_sys(err, ENOMEM, "open an inbox");
    inbox->slot.is_inbox = true;
    inbox->rpc = rpc;
    faas_random_token(inbox->slot.token);
    (void)snprintf(inbox->subject, sizeof inbox->subject, "%s.%s", rpc->inbox[FAAS_DATA],
                   inbox->slot.token);
    inbox->handler = handler;
    inbox->arg = arg;
    faas_rpc_slot_add(rpc, &inbox->slot);
    *out_inbox = inbox;
    return FAAS_OK;
}

const char *faas_inbox_subject(const faas_inbox *inbox)
{
    return inbox->subject;
}

/* Before the token, which stays last: faas_rpc_on_inbox() finds the inbox by it. */
void faas_inbox_labelled(const faas_inbox *inbox, const char *label,
                         char out_subject[FAAS_INBOX_SUBJECT])
{
    (void)snprintf(out_subject, FAAS_INBOX_SUBJECT, "%s.%s.%s", inbox->rpc->inbox[FAAS_DATA], label,
                   inbox->slot.token);
}

void faas_inbox_label(const faas_inbox *inbox, const faas_msg *msg,
                      char out_label[FAAS_INBOX_LABEL])
{
    const char *label = faas_msg_subject(msg) + strlen(inbox->rpc->inbox[FAAS_DATA]) + 1;
    size_t len = strcspn(label, ".");

    out_label[0] = '\0';
    if (label[len] == '.' && len < FAAS_INBOX_LABEL)
        (void)snprintf(out_label, FAAS_INBOX_LABEL, "%.*s", (int)len, label);
}

void faas_inbox_close(faas_inbox *inbox)
{
    if (inbox == NULL)
        return;
    LIST_REMOVE(&inbox->slot, link);
    free(inbox);
}

/* ---- opening and closing ---- */

static void data_is_back(void *arg)
{
    faas_rpc_resend(arg, FAAS_DATA);
}

static void control_is_back(void *arg)
{
    faas_rpc_resend(arg, FAAS_CONTROL);
}

static faas_code open_inboxes(faas_rpc *rpc, faas_err *err)
{
    static faas_task *const tasks[FAAS_LANES] = {data_is_back, control_is_back};
    static const char *const suffixes[FAAS_LANES] = {"", "c"};

    for (int lane = 0; lane < FAAS_LANES; lane++) {
        char subject[128];

        (void)snprintf(rpc->inbox[lane], sizeof rpc->inbox[lane], "%s%s", faas_bus_inbox(rpc->bus),
                       suffixes[lane]);
        (void)snprintf(subject, sizeof subject, "%s.>", rpc->inbox[lane]);
        FAAS_TRY(faas_bus_subscribe(rpc->bus, (enum faas_lane)lane, subject, NULL,
                                    faas_rpc_on_inbox, rpc, &rpc->inbox_sub[lane], err));
        rpc->watch[lane] =
            (struct faas_bus_watch){.lane = (enum faas_lane)lane, .task = tasks[lane], .arg = rpc};
        faas_bus_watch_add(rpc->bus, &rpc->watch[lane]);
    }
    return FAAS_OK;
}

faas_code faas_rpc_open(faas_bus *bus, const struct faas_rpc_conf *conf, faas_rpc **out_rpc,
                        faas_err *err)
{
    faas_rpc *rpc = calloc(1, sizeof *rpc);
    faas_code rc;

    if (rpc == NULL)
        return faas_fail_sys(err, ENOMEM, "open rpc");
    rpc->bus = bus;
    rpc->loop = faas_bus_loop(bus);
    rpc->conf = *conf;
    atomic_init(&rpc->refs, 1);
    for (size_t i = 0; i < FAAS_RPC_BUCKETS; i++)
        LIST_INIT(&rpc->slots[i]);
    TAILQ_INIT(&rpc->ends);
    rpc->once = faas_rpc_once_new();
    if (rpc->once == NULL) {
        free(rpc);
        return faas_fail_sys(err, ENOMEM, "open rpc");
    }
    faas_gather_init(&rpc->receipts, bus);
    rpc->next_token = faas_now_ns();
    rpc->random = faas_now_ns() | 1;
    faas_time_format(faas_wall_ms(), rpc->started);
    rc = open_inboxes(rpc, err);
    if (rc == FAAS_OK)
        rc = faas_rpc_srv_open(rpc, err);
    if (rc != FAAS_OK) {
        faas_rpc_close(rpc);
        return rc;
    }
    *out_rpc = rpc;
    return FAAS_OK;
}

void faas_rpc_close(faas_rpc *rpc)
{
    if (rpc == NULL)
        return;
    faas_rpc_conclude_all(rpc);
    faas_rpc_serve_close(rpc);
    for (int lane = 0; lane < FAAS_LANES; lane++) {
        faas_bus_watch_remove(&rpc->watch[lane]);
        faas_sub_free(rpc->inbox_sub[lane]);
    }
    faas_rpc_unref(rpc);
}

faas_bus *faas_rpc_bus(const faas_rpc *rpc)
{
    return rpc->bus;
}
