/* Functions that name a secret: it cannot be removed from under them. */
#include <stdio.h>
#include <string.h>

#include "base/name.h"
#include "registry.h"

#define PAGE  200 /* functions looked through at a time */
#define SHOWN 3   /* of their names in a message */

struct users {       /* functions that name a secret */
    char names[128]; /* the first SHOWN */
    size_t count;
};

static bool names_it(const json_t *function, const char *name)
{
    const json_t *names = json_object_get(function, "secrets");
    json_t *each;
    size_t i;

    json_array_foreach (names, i, each)
        if (strcmp(json_string_value(each), name) == 0)
            return true;
    return false;
}

static void note(struct users *users, const char *function)
{
    size_t used = strlen(users->names);

    if (users->count++ < SHOWN)
        (void)snprintf(users->names + used, sizeof users->names - used, "%s%.30s",
                       used > 0 ? ", " : "", function);
}

static faas_code find_users(struct registry *reg, const struct faas_ctx *caller, const char *name,
                            struct users *users, faas_err *err)
{
    char after[FAAS_FUNCTION_NAME_MAX + 1] = "";
    bool has_more = true;

    FAAS_TRY(follow_check(&reg->follow, caller->deadline_ns, err));
    while (has_more) {
        const struct catalog_query query = {.tenant = caller->tenant,
                                            .after = after,
                                            .part = "",
                                            .limit = PAGE,
                                            .bytes_max = SIZE_MAX};
        FAAS_AUTO(json_t) *items = NULL;
        json_t *function;
        size_t i;

        FAAS_TRY(catalog_page(reg->follow.cat, &query, &items, &has_more, err));
        json_array_foreach (items, i, function) {
            if (names_it(function, name))
                note(users, function_name(function));
            (void)snprintf(after, sizeof after, "%s", function_name(function));
        }
        has_more = has_more && json_array_size(items) > 0;
    }
    return FAAS_OK;
}

faas_code secret_users_check(struct registry *reg, const struct faas_ctx *caller, const char *name,
                             faas_err *err)
{
    struct users users = {.count = 0};

    FAAS_TRY(find_users(reg, caller, name, &users, err));
    if (users.count == 0)
        return FAAS_OK;
    if (users.count > SHOWN)
        return faas_fail(err, FAAS_CONFLICT,
                         "functions name this secret: %s and %zu more; take it out of their list "
                         "first",
                         users.names, users.count - SHOWN);
    return faas_fail(err, FAAS_CONFLICT,
                     "functions name this secret: %s; take it out of their list first",
                     users.names);
}
