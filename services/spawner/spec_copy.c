#include "spec_copy.h"

#include <string.h>

struct copy {
    struct rt_spec spec; /* first: what others see */
    json_t *command, *env;
    char argument[];
};

/* The message's documents are not changed by anybody: another reference is as good as a copy. */
static json_t *hold(const json_t *doc)
{
    return json_incref((json_t *)(uintptr_t)doc);
}

struct rt_spec *spec_copy(const struct rt_spec *spec)
{
    struct copy *copy = malloc(sizeof *copy + spec->argument_len + 1);

    if (copy == NULL)
        return NULL;
    copy->spec = *spec;
    copy->spec.call_id = copy->spec.tenant = copy->spec.function = NULL;
    copy->spec.image = (struct rt_image){.reference = NULL};
    copy->spec.command = copy->command = hold(spec->command);
    copy->spec.env = copy->env = hold(spec->env);
    copy->spec.secrets = secret_set_ref(spec->secrets);
    if (spec->argument_len > 0)
        memcpy(copy->argument, spec->argument, spec->argument_len);
    copy->spec.argument = copy->argument;
    return &copy->spec;
}

void spec_copy_free(struct rt_spec *spec)
{
    struct copy *copy = (struct copy *)spec;

    if (copy == NULL)
        return;
    json_decref(copy->command);
    json_decref(copy->env);
    secret_set_unref(copy->spec.secrets);
    free(copy);
}
