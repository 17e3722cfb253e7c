#include "job_lines.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

void job_lines_init(struct job_lines *lines)
{
    TAILQ_INIT(&lines->users);
    lines->waiting = 0;
}

static struct job_user *find_user(const struct job_lines *lines, const char *tenant)
{
    struct job_user *user;

    TAILQ_FOREACH (user, &lines->users, link)
        if (strcmp(user->tenant, tenant) == 0)
            return user;
    return NULL;
}

static struct job_line *find_line(const struct job_user *user, const char *function)
{
    struct job_line *line;

    TAILQ_FOREACH (line, &user->lines, link)
        if (strcmp(line->function, function) == 0)
            return line;
    return NULL;
}

static struct job_user *add_user(struct job_lines *lines, const char *tenant)
{
    struct job_user *user = calloc(1, sizeof *user);

    if (user == NULL)
        return NULL;
    (void)snprintf(user->tenant, sizeof user->tenant, "%s", tenant);
    TAILQ_INIT(&user->lines);
    TAILQ_INSERT_TAIL(&lines->users, user, link);
    return user;
}

static struct job_line *add_line(struct job_user *user, const char *function)
{
    struct job_line *line = calloc(1, sizeof *line);

    if (line == NULL)
        return NULL;
    (void)snprintf(line->function, sizeof line->function, "%s", function);
    line->user = user;
    TAILQ_INIT(&line->items);
    TAILQ_INSERT_TAIL(&user->lines, line, link);
    return line;
}

static void drop_user_if_empty(struct job_lines *lines, struct job_user *user)
{
    if (!TAILQ_EMPTY(&user->lines))
        return;
    TAILQ_REMOVE(&lines->users, user, link);
    free(user);
}

faas_code job_lines_enter(struct job_lines *lines, const char *tenant, const char *function,
                          struct job_item *item, faas_err *err)
{
    struct job_user *user = find_user(lines, tenant);
    struct job_line *line;

    if (user == NULL)
        user = add_user(lines, tenant);
    if (user == NULL)
        return faas_fail_sys(err, ENOMEM, "queue a call");
    line = find_line(user, function);
    if (line == NULL)
        line = add_line(user, function);
    if (line == NULL) {
        drop_user_if_empty(lines, user);
        return faas_fail_sys(err, ENOMEM, "queue a call");
    }
    *item = (struct job_item){.line = line};
    line->len++;
    user->len++;
    return FAAS_OK;
}

static void stop_waiting(struct job_lines *lines, struct job_item *item)
{
    if (!item->is_waiting)
        return;
    TAILQ_REMOVE(&item->line->items, item, link);
    item->is_waiting = false;
    item->line->user->waiting--;
    lines->waiting--;
}

void job_lines_settled(struct job_item *item)
{
    if (!item->is_going)
        return;
    item->is_going = false;
    item->line->going--;
    item->line->user->going--;
}

void job_lines_rest(struct job_lines *lines, struct job_item *item)
{
    stop_waiting(lines, item);
    job_lines_settled(item);
}

void job_lines_leave(struct job_lines *lines, struct job_item *item)
{
    struct job_line *line = item->line;
    struct job_user *user;

    if (line == NULL)
        return;
    user = line->user;
    stop_waiting(lines, item);
    job_lines_settled(item);
    item->line = NULL;
    user->len--;
    if (--line->len > 0)
        return;
    TAILQ_REMOVE(&user->lines, line, link);
    free(line);
    drop_user_if_empty(lines, user);
}

size_t job_lines_of(const struct job_lines *lines, const char *tenant)
{
    const struct job_user *user = find_user(lines, tenant);

    return user != NULL ? user->len : 0;
}

size_t job_lines_bytes(const struct job_lines *lines, const char *tenant)
{
    const struct job_user *user = find_user(lines, tenant);

    return user != NULL ? user->bytes : 0;
}

void job_lines_wait(struct job_lines *lines, struct job_item *item, bool is_first)
{
    if (item->is_waiting)
        return;
    job_lines_settled(item);
    if (is_first)
        TAILQ_INSERT_HEAD(&item->line->items, item, link);
    else
        TAILQ_INSERT_TAIL(&item->line->items, item, link);
    item->is_waiting = true;
    item->line->user->waiting++;
    lines->waiting++;
}

static struct job_line *next_line(const struct job_user *user)
{
    struct job_line *line;

    TAILQ_FOREACH (line, &user->lines, link)
        if (!TAILQ_EMPTY(&line->items) && line->going < JOB_LINE_GOING)
            return line;
    return NULL;
}

struct job_item *job_lines_take(struct job_lines *lines,
                                bool (*may_go)(void *arg, const struct job_user *user), void *arg)
{
    struct job_user *user;
    struct job_line *line;
    struct job_item *item;

    TAILQ_FOREACH (user, &lines->users, link) {
        line = NULL;
        if (user->waiting > 0 && user->going < JOB_TENANT_GOING && may_go(arg, user))
            line = next_line(user);
        if (line == NULL)
            continue;
        item = TAILQ_FIRST(&line->items);
        stop_waiting(lines, item);
        item->is_going = true;
        line->going++;
        user->going++;
        /* The next turn of both comes after everybody else's. */
        TAILQ_REMOVE(&user->lines, line, link);
        TAILQ_INSERT_TAIL(&user->lines, line, link);
        TAILQ_REMOVE(&lines->users, user, link);
        TAILQ_INSERT_TAIL(&lines->users, user, link);
        return item;
    }
    return NULL;
}
