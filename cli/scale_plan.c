#include "cli/scale_plan.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/args.h"

static const char *const services[SCALE_SERVICES] = {"auth", "registry", "publisher", "spawner"};
#define SUFFIX "-service"

/* ---- what is wanted ---- */

/* The index of "spawner" or "spawner-service" in services; SCALE_SERVICES: none of them. */
static size_t find_service(const char *text, size_t len)
{
    size_t suffix = strlen(SUFFIX);

    if (len > suffix && memcmp(text + len - suffix, SUFFIX, suffix) == 0)
        len -= suffix;
    for (size_t i = 0; i < SCALE_SERVICES; i++)
        if (strlen(services[i]) == len && memcmp(services[i], text, len) == 0)
            return i;
    return SCALE_SERVICES;
}

static faas_code refuse_service(const char *text, size_t len, faas_err *err)
{
    const char *why = "there is no such service";

    if (len == strlen("gateway") && memcmp(text, "gateway", len) == 0)
        why = "it has a port of the machine, so there is one on each";
    else if (len >= 4 && memcmp(text, "nats", 4) == 0)
        why = "each server has data of its own, so their number is part of the deployment";
    return faas_fail(err, FAAS_INVALID,
                     "%.*s cannot be scaled: %s; SERVICE is auth, registry, publisher or spawner",
                     len < 40 ? (int)len : 40, text, why);
}

static faas_code read_item(const char *item, struct scale_plan *plan, faas_err *err)
{
    size_t len = strcspn(item, "="), at;
    int64_t number;

    if (item[len] == '\0')
        return faas_fail(err, FAAS_INVALID, "%.60s: write SERVICE=N, such as spawner=4", item);
    at = find_service(item, len);
    if (at == SCALE_SERVICES)
        return refuse_service(item, len, err);
    if (!args_int(item + len + 1, 1, SCALE_MOST, &number))
        return faas_fail(err, FAAS_INVALID, "%.60s: N is a whole number from 1 to %d", item,
                         SCALE_MOST);
    for (size_t i = 0; i < plan->count; i++)
        if (plan->wanted[i].service == services[at])
            return faas_fail(err, FAAS_INVALID, "%s is given twice", services[at]);
    plan->wanted[plan->count].service = services[at];
    plan->wanted[plan->count++].number = number;
    return FAAS_OK;
}

faas_code scale_read(const struct cli_list *items, const char *name, struct scale_plan *out_plan,
                     faas_err *err)
{
    static const char set[] = "abcdefghijklmnopqrstuvwxyz0123456789_-";
    size_t len = strlen(name);

    *out_plan = (struct scale_plan){.name = name};
    if (len < 1 || len > 63 || strspn(name, set) != len || name[0] == '-' || name[0] == '_')
        return faas_fail(err, FAAS_INVALID,
                         "--name: 1 to 63 of a-z 0-9 _ -, beginning with a letter or digit");
    for (size_t i = 0; i < items->count; i++)
        FAAS_TRY(read_item(items->items[i], out_plan, err));
    return FAAS_OK;
}

/* ---- words ---- */

static faas_code add(struct scale_plan *plan, const char *word, faas_err *err)
{
    if (plan->word_count == SCALE_WORDS)
        return faas_fail(err, FAAS_TOO_LARGE, "the project has more Compose files than fit");
    plan->words[plan->word_count++] = word;
    plan->words[plan->word_count] = NULL;
    return FAAS_OK;
}

static faas_code addf(struct scale_plan *plan, faas_err *err, const char *fmt, ...)
    FAAS_PRINTF(3, 4);
static faas_code addf(struct scale_plan *plan, faas_err *err, const char *fmt, ...)
{
    char *text = plan->texts[plan->text_count];
    va_list args;
    int len;

    if (plan->text_count == SCALE_WORDS)
        return faas_fail(err, FAAS_TOO_LARGE, "the project has more Compose files than fit");
    va_start(args, fmt);
    len = vsnprintf(text, sizeof plan->texts[0], fmt, args);
    va_end(args);
    if (len < 0 || (size_t)len >= sizeof plan->texts[0])
        return faas_fail(err, FAAS_TOO_LARGE, "the path of a Compose file is too long");
    plan->text_count++;
    return add(plan, text, err);
}

static faas_code add_all(struct scale_plan *plan, const char *const *words, faas_err *err)
{
    for (; *words != NULL; words++)
        FAAS_TRY(add(plan, *words, err));
    return FAAS_OK;
}

faas_code scale_swarm(struct scale_plan *plan, faas_err *err)
{
    static const char *const command[] = {"docker", "service", "scale", "--detach", NULL};

    plan->word_count = plan->text_count = 0;
    FAAS_TRY(add_all(plan, command, err));
    for (size_t i = 0; i < plan->count; i++)
        FAAS_TRY(addf(plan, err, "%s_%s" SUFFIX "=%lld", plan->name, plan->wanted[i].service,
                      (long long)plan->wanted[i].number));
    return FAAS_OK;
}

/* Services that are not named keep their containers: --no-deps, and their names at the end. */
faas_code scale_compose(struct scale_plan *plan, const char *const *command, const char *files,
                        faas_err *err)
{
    static const char *const up[] = {"up",        "--detach",      "--no-build",
                                     "--no-deps", "--no-recreate", NULL};
    size_t len;

    plan->word_count = plan->text_count = 0;
    FAAS_TRY(add_all(plan, command, err));
    FAAS_TRY(addf(plan, err, "--project-name=%s", plan->name));
    for (; *files != '\0'; files += len + (files[len] == ',')) {
        len = strcspn(files, ",");
        FAAS_TRY(addf(plan, err, "--file=%.*s", (int)len, files));
    }
    FAAS_TRY(add_all(plan, up, err));
    for (size_t i = 0; i < plan->count; i++)
        FAAS_TRY(addf(plan, err, "--scale=%s" SUFFIX "=%lld", plan->wanted[i].service,
                      (long long)plan->wanted[i].number));
    for (size_t i = 0; i < plan->count; i++)
        FAAS_TRY(addf(plan, err, "%s" SUFFIX, plan->wanted[i].service));
    return FAAS_OK;
}
