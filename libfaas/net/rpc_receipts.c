/* Receipts: answers that say nothing but that a request came.  Who asks for many gets several in one
 * message: the last tokens of the requests' reply subjects, one in a line. */
#include <stdio.h>
#include <string.h>

#include "net/rpc_internal.h"

#define WORD "many"

static void answer_alone(faas_rpc *rpc, const faas_msg *msg)
{
    static const char text[] = "{\"v\":1,\"ok\":true}";

    faas_rpc_answer(rpc, msg, text, sizeof text - 1);
}

void faas_rpc_answer_receipt(faas_rpc *rpc, const faas_msg *msg)
{
    const char *reply = faas_msg_reply(msg);
    const char *dot = reply != NULL ? strrchr(reply, '.') : NULL;
    char subject[FAAS_SUBJECT_MAX], line[FAAS_RPC_TOKEN + 1];
    int n, len;

    if (dot == NULL || faas_msg_header(msg, FAAS_H_RECEIPTS) == NULL) {
        answer_alone(rpc, msg);
        return;
    }
    n = snprintf(subject, sizeof subject, "%.*s." WORD, (int)(dot - reply), reply);
    len = snprintf(line, sizeof line, "%s\n", dot + 1);
    if (n >= (int)sizeof subject || len >= (int)sizeof line) {
        answer_alone(rpc, msg); /* not one of our tokens */
        return;
    }
    faas_rpc_count(msg);
    faas_gather_add(&rpc->receipts, faas_rpc_lane_of(msg), subject, line, (size_t)len);
}

bool faas_rpc_receipts_are(const char *token)
{
    return strcmp(token, WORD) == 0;
}

void faas_rpc_receipts_take(faas_rpc *rpc, faas_msg *msg)
{
    const char *at = faas_msg_data(msg), *end = at + faas_msg_len(msg);

    while (at < end) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        size_t len = (size_t)((line_end != NULL ? line_end : end) - at);
        char token[FAAS_RPC_TOKEN];

        if (len > 0 && len < sizeof token) {
            memcpy(token, at, len);
            token[len] = '\0';
            faas_rpc_receipt(rpc, token, msg);
        }
        at += len + 1;
    }
}
