#include "kept.h"

#include <stdio.h>
#include <string.h>

void kept_init(struct kept *kept)
{
    pthread_mutex_init(&kept->mu, NULL);
}

void kept_done(struct kept *kept)
{
    pthread_mutex_destroy(&kept->mu);
}

void kept_add(struct kept *kept, const char *id, int64_t number)
{
    struct kept_version *place;

    pthread_mutex_lock(&kept->mu);
    place = &kept->places[kept->next];
    kept->next = (kept->next + 1) % KEPT_MAX;
    (void)snprintf(place->id, sizeof place->id, "%s", id);
    place->number = number;
    pthread_mutex_unlock(&kept->mu);
}

bool kept_has(struct kept *kept, const char *id, int64_t number)
{
    bool found = false;

    pthread_mutex_lock(&kept->mu);
    for (size_t i = 0; i < KEPT_MAX && !found; i++)
        found = kept->places[i].number == number && strcmp(kept->places[i].id, id) == 0;
    pthread_mutex_unlock(&kept->mu);
    return found;
}
