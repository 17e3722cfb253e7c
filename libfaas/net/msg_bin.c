/* Messages that are no longer needed, on their way back to libnats.
 *
 * libnats frees a message on a thread of its own and wakes that thread for each one: two context
 * switches, more than all else that a message costs.  Handed over in batches one wake-up serves all. */
#include <pthread.h>

#include "net/bus_internal.h"

#define BATCH_MESSAGES 64
#define BATCH_BYTES    (64 * 1024) /* kept at most, so that large messages go at once */

static struct {
    pthread_mutex_t mu;
    natsMsg *messages[BATCH_MESSAGES]; /* guarded by mu */
    size_t count, bytes;               /* guarded by mu */
} bin = {.mu = PTHREAD_MUTEX_INITIALIZER};

/* Takes what is there; the caller destroys it without the lock. */
static size_t empty_locked(natsMsg *out_messages[BATCH_MESSAGES])
{
    size_t count = bin.count;

    for (size_t i = 0; i < count; i++)
        out_messages[i] = bin.messages[i];
    bin.count = 0;
    bin.bytes = 0;
    return count;
}

static void destroy(natsMsg *const *messages, size_t count)
{
    for (size_t i = 0; i < count; i++)
        natsMsg_Destroy(messages[i]);
}

void faas_bus_msg_done(natsMsg *take_nm)
{
    natsMsg *full[BATCH_MESSAGES];
    size_t count = 0;

    if (take_nm == NULL)
        return;
    pthread_mutex_lock(&bin.mu);
    bin.messages[bin.count++] = take_nm;
    bin.bytes += (size_t)natsMsg_GetDataLength(take_nm);
    if (bin.count == BATCH_MESSAGES || bin.bytes > BATCH_BYTES)
        count = empty_locked(full);
    pthread_mutex_unlock(&bin.mu);
    destroy(full, count);
}

void faas_bus_msgs_end(void)
{
    natsMsg *rest[BATCH_MESSAGES];
    size_t count;

    pthread_mutex_lock(&bin.mu);
    count = empty_locked(rest);
    pthread_mutex_unlock(&bin.mu);
    destroy(rest, count);
}
