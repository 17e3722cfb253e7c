#include "kept.h"

#include <stdio.h>
#include <string.h>

void kept_init(struct kept *kept)
{
    pthread_mutex_init(&kept->mu, NULL);
    pthread_cond_init(&kept->ended, NULL);
}

/* mu is held. */
static struct kept_version *find(struct kept *kept, const char *id, int64_t number)
{
    for (size_t i = 0; i < KEPT_MAX; i++)
        if (kept->places[i].number == number && strcmp(kept->places[i].id, id) == 0)
            return &kept->places[i];
    return NULL;
}

bool kept_begin(struct kept *kept, const char *id, int64_t number)
{
    struct kept_version *place;
    bool is_open;

    pthread_mutex_lock(&kept->mu);
    is_open = kept->on_closed == NULL;
    if (is_open) {
        place = &kept->places[kept->next];
        kept->next = (kept->next + 1) % KEPT_MAX;
        kept->writing++;
        (void)snprintf(place->id, sizeof place->id, "%s", id);
        place->number = number;
        place->is_stored = false;
    }
    pthread_mutex_unlock(&kept->mu);
    return is_open;
}

void kept_end(struct kept *kept, const char *id, int64_t number, bool is_stored)
{
    void (*on_closed)(void);
    struct kept_version *place;

    pthread_mutex_lock(&kept->mu);
    place = find(kept, id, number);
    if (place != NULL)
        place->is_stored = is_stored;
    if (place != NULL && !is_stored)
        place->id[0] = '\0';
    kept->writing--;
    on_closed = kept->writing == 0 ? kept->on_closed : NULL;
    pthread_cond_broadcast(&kept->ended);
    pthread_mutex_unlock(&kept->mu);
    if (on_closed != NULL)
        on_closed();
}

bool kept_has(struct kept *kept, const char *id, int64_t number)
{
    const struct kept_version *place;

    pthread_mutex_lock(&kept->mu);
    while ((place = find(kept, id, number)) != NULL && !place->is_stored)
        pthread_cond_wait(&kept->ended, &kept->mu); /* bounded: the writing has a deadline */
    pthread_mutex_unlock(&kept->mu);
    return place != NULL;
}

void kept_close(struct kept *kept, void (*on_closed)(void))
{
    bool is_idle;

    pthread_mutex_lock(&kept->mu);
    kept->on_closed = on_closed;
    is_idle = kept->writing == 0;
    pthread_mutex_unlock(&kept->mu);
    if (is_idle)
        on_closed();
}
