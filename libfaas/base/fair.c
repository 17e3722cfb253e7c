#include "base/fair.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct faas_fair_line { /* one tenant's; exists while it has items */
    TAILQ_ENTRY(faas_fair_line) link;
    TAILQ_HEAD(, faas_fair_item) items;
    size_t len;
    char tenant[FAAS_UUID_TEXT];
};

void faas_fair_init(struct faas_fair *fair, size_t max, size_t tenant_max)
{
    TAILQ_INIT(&fair->lines);
    fair->len = 0;
    fair->max = max;
    fair->tenant_max = tenant_max;
}

void faas_fair_done(struct faas_fair *fair)
{
    struct faas_fair_line *line;

    if (fair->lines.tqh_last == NULL) /* zeroed: never initialised */
        return;
    while ((line = TAILQ_FIRST(&fair->lines)) != NULL)
        faas_fair_remove(fair, TAILQ_FIRST(&line->items));
}

static struct faas_fair_line *line_find(struct faas_fair *fair, const char *tenant)
{
    struct faas_fair_line *line;

    TAILQ_FOREACH (line, &fair->lines, link)
        if (strcmp(line->tenant, tenant) == 0)
            return line;
    return NULL;
}

static struct faas_fair_line *line_add(struct faas_fair *fair, const char *tenant)
{
    struct faas_fair_line *line = calloc(1, sizeof *line);

    if (line == NULL)
        return NULL;
    snprintf(line->tenant, sizeof line->tenant, "%s", tenant);
    TAILQ_INIT(&line->items);
    TAILQ_INSERT_TAIL(&fair->lines, line, link);
    return line;
}

faas_code faas_fair_push(struct faas_fair *fair, const char *tenant, struct faas_fair_item *item,
                         bool is_back, faas_err *err)
{
    struct faas_fair_line *line = line_find(fair, tenant);

    if (!is_back && fair->len >= fair->max)
        return faas_fail(err, FAAS_BUSY, "%zu calls wait already, the most allowed", fair->max);
    if (!is_back && line != NULL && line->len >= fair->tenant_max)
        return faas_fail(err, FAAS_BUSY, "%zu of your calls wait already, the most allowed",
                         fair->tenant_max);
    if (line == NULL)
        line = line_add(fair, tenant);
    if (line == NULL)
        return faas_fail_sys(err, ENOMEM, "add a line to the fair queue");
    item->line = line;
    if (is_back)
        TAILQ_INSERT_HEAD(&line->items, item, link);
    else
        TAILQ_INSERT_TAIL(&line->items, item, link);
    line->len++;
    fair->len++;
    return FAAS_OK;
}

void faas_fair_remove(struct faas_fair *fair, struct faas_fair_item *item)
{
    struct faas_fair_line *line = item->line;

    if (line == NULL)
        return;
    TAILQ_REMOVE(&line->items, item, link);
    item->line = NULL;
    fair->len--;
    if (--line->len > 0)
        return;
    TAILQ_REMOVE(&fair->lines, line, link);
    free(line);
}

struct faas_fair_item *faas_fair_take(struct faas_fair *fair,
                                      bool (*may_go)(void *arg, struct faas_fair_item *item),
                                      void *arg)
{
    struct faas_fair_line *line;
    struct faas_fair_item *item;

    TAILQ_FOREACH (line, &fair->lines, link)
        TAILQ_FOREACH (item, &line->items, link) {
            if (!may_go(arg, item))
                continue;
            /* Its tenant's next turn comes after everybody else's. */
            TAILQ_REMOVE(&fair->lines, line, link);
            TAILQ_INSERT_TAIL(&fair->lines, line, link);
            faas_fair_remove(fair, item);
            return item;
        }
    return NULL;
}
