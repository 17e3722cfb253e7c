/* kept.h - the version entries that this process has stored lately, or is about to have stored.
 * Why       a change is answered before its version entry is stored, and no head is replaced before
 *           its own entry is there: the next change asks here whether it is, and waits for one that
 *           is on its way.  The read model may not show it yet.
 * Bound     the newest KEPT_MAX; of an older one the read model knows.
 * Threads   any; kept_end() and kept_close() on one thread.
 */
#ifndef REGISTRY_KEPT_H
#define REGISTRY_KEPT_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/id.h"

#define KEPT_MAX 256

struct kept {
    pthread_mutex_t mu;
    pthread_cond_t ended; /* with mu: a writing */
    struct kept_version {
        char id[FAAS_UUID_TEXT]; /* of the function; "" in a place that is not in use */
        int64_t number;
        bool is_stored;
    } places[KEPT_MAX];      /* guarded by mu; a ring */
    size_t next;             /* guarded by mu, like what follows */
    int writing;             /* entries on their way */
    void (*on_closed)(void); /* asked for by kept_close() */
};

void kept_init(struct kept *kept); /* zeroed before */
/* The entry is about to be written; kept_end() must follow.  False once closed: then it is the
 * caller's to see it stored. */
bool kept_begin(struct kept *kept, const char *id, int64_t number);
void kept_end(struct kept *kept, const char *id, int64_t number, bool is_stored);
/* Waits for one that is on its way. */
bool kept_has(struct kept *kept, const char *id, int64_t number);
/* Nothing begins any more; on_closed is called once, when what is on its way has ended. */
void kept_close(struct kept *kept, void (*on_closed)(void));

#endif
