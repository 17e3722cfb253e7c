/* Placements that nobody heard.  The reply subject of a placement is ours and names it, and NATS tells
 * the sender of a message there that the message was delivered to nobody.  That is said once, of that
 * message, by the server that did not pass it on; so the call is not there and will not be, also when
 * the spawner listens again or was only not known to that server yet. */
#include "publisher.h"

#include "base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ID_LEN (FAAS_UUID_TEXT - 1)

void unheard_subject(const struct live *call, char out_subject[FAAS_INBOX_SUBJECT])
{
    char label[FAAS_INBOX_LABEL];

    (void)snprintf(label, sizeof label, "%s-%" PRIu32, call->page.id, call->place);
    faas_inbox_labelled(call->pub->unheard, label, out_subject);
}

static struct live *find(const struct publisher *pub, const faas_msg *msg)
{
    char label[FAAS_INBOX_LABEL];
    struct live *call;

    faas_inbox_label(pub->unheard, msg, label);
    if (strlen(label) <= ID_LEN || label[ID_LEN] != '-')
        return NULL;
    label[ID_LEN] = '\0';
    call = (struct live *)book_find(&pub->book, label);
    /* Of an earlier placement it says nothing about this one. */
    if (call == NULL || strtoul(label + ID_LEN + 1, NULL, 10) != call->place)
        return NULL;
    return call;
}

static void on_unheard(void *arg, faas_msg *take_msg)
{
    FAAS_AUTO(faas_msg) *msg = take_msg;
    struct publisher *pub = arg;
    struct live *call = faas_msg_is_no_responders(msg) ? find(pub, msg) : NULL;

    drive_check_late(pub);
    if (call == NULL) {
        metric_count(M_STRANGE);
        return;
    }
    metric_count(M_UNHEARD);
    FAAS_LOG(DEBUG, "nobody heard a placement", FAAS_LSTR("call", call->page.id),
             FAAS_LSTR("spawner", call->at.id), FAAS_LINT("place", call->place));
    ask_never(call);
}

faas_code unheard_open(struct publisher *pub, faas_err *err)
{
    return faas_inbox_open(pub->rt->rpc, on_unheard, pub, &pub->unheard, err);
}
