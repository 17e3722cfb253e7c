#include "order.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "services/spawner/zygote/wire.h"

#define ARGUMENT_MAX 131071 /* the kernel's bound for one argument */

struct writer {
    FILE *out;
    uint32_t count;
};

static void put(struct writer *to, const char *text)
{
    (void)fwrite(text, 1, strlen(text) + 1, to->out);
    to->count++;
}

static void put_all(struct writer *to, const json_t *list)
{
    size_t i;
    json_t *item;

    json_array_foreach (list, i, item) {
        put(to, json_string_value(item));
    }
}

static faas_code check_argument(const struct rt_spec *spec, faas_err *err)
{
    if (spec->argument_len == 0)
        return FAAS_OK;
    if (spec->argument_len > ARGUMENT_MAX)
        return faas_fail(err, FAAS_START_FAILED,
                         "the argument is over %d bytes; input \"stdin\" takes more", ARGUMENT_MAX);
    if (memchr(spec->argument, '\0', spec->argument_len) != NULL ||
        !faas_utf8_is(spec->argument, spec->argument_len))
        return faas_fail(err, FAAS_START_FAILED,
                         "the argument must be UTF-8 without NUL bytes; input \"stdin\" takes any");
    return FAAS_OK;
}

static faas_code put_arguments(struct writer *to, const struct rt_spec *spec,
                               const struct image_config *config, faas_err *err)
{
    bool has_command = json_array_size(spec->command) > 0;

    put_all(to, config->entrypoint);
    if (has_command)
        put_all(to, spec->command);
    else if (spec->is_stdin || to->count == 0)
        put_all(to, config->cmd);
    if (to->count == 0)
        return faas_fail(err, FAAS_START_FAILED,
                         "the image has neither ENTRYPOINT nor CMD; give it one");
    if (spec->is_stdin)
        return FAAS_OK;
    FAAS_TRY(check_argument(spec, err));
    if (spec->argument_len > 0)
        (void)fwrite(spec->argument, 1, spec->argument_len, to->out);
    put(to, "");
    return FAAS_OK;
}

/* NAME -> value, later ones over earlier ones. */
static json_t *variables(const struct rt_spec *spec, const struct image_config *config)
{
    FAAS_AUTO(json_t) *all = json_pack(
        "{s:s,s:s,s:s}", "PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOSTNAME", "function", "HOME", "/");
    size_t i;
    json_t *item;

    if (all == NULL)
        return NULL;
    json_array_foreach (config->env, i, item) {
        const char *text = json_string_value(item), *equals = strchr(text, '=');

        if (equals != NULL && equals != text &&
            json_object_setn_new(all, text, (size_t)(equals - text), json_string(equals + 1)) != 0)
            return NULL;
    }
    if (spec->env != NULL && json_object_update(all, (json_t *)(uintptr_t)spec->env) != 0)
        return NULL;
    return FAAS_STEAL(all);
}

static faas_code put_variables(struct writer *to, const struct rt_spec *spec,
                               const struct image_config *config, faas_err *err)
{
    FAAS_AUTO(json_t) *all = variables(spec, config);
    const char *name;
    json_t *value;

    if (all == NULL)
        return faas_fail_sys(err, ENOMEM, "environment");
    json_object_foreach (all, name, value) {
        (void)fputs(name, to->out);
        (void)fputc('=', to->out);
        put(to, json_string_value(value));
    }
    return FAAS_OK;
}

static faas_code fill(FILE *out, const struct rt_spec *spec, const struct image_config *config,
                      struct zy_call_req *head, faas_err *err)
{
    struct writer to = {.out = out};

    (void)fwrite(head, sizeof *head, 1, out);
    put(&to, config->working_dir);
    to.count = 0;
    FAAS_TRY(put_arguments(&to, spec, config, err));
    head->argc = to.count;
    to.count = 0;
    FAAS_TRY(put_variables(&to, spec, config, err));
    head->envc = to.count;
    return FAAS_OK;
}

faas_code order_build(const struct rt_spec *spec, const struct image_config *config,
                      struct order *out_order, faas_err *err)
{
    struct zy_call_req head = {0};
    FAAS_AUTO(char) *data = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&data, &len);
    faas_code rc =
        out != NULL ? fill(out, spec, config, &head, err) : faas_fail_sys(err, ENOMEM, "order");
    bool is_whole = out != NULL && !ferror(out);

    if (out != NULL && fclose(out) != 0)
        is_whole = false;
    if (rc != FAAS_OK)
        return rc;
    if (!is_whole)
        return faas_fail_sys(err, ENOMEM, "order");
    if (len > ZY_PACKET_MAX || head.argc > ZY_STRINGS_MAX || head.envc > ZY_STRINGS_MAX)
        return faas_fail(err, FAAS_START_FAILED,
                         "arguments and environment together are over %d bytes or %d of a kind",
                         ZY_PACKET_MAX, ZY_STRINGS_MAX);
    memcpy(data, &head, sizeof head);
    *out_order = (struct order){.data = FAAS_STEAL(data), .len = len};
    return FAAS_OK;
}

const char *order_directory(const struct order *order)
{
    return order->data + sizeof(struct zy_call_req);
}

const char *order_program(const struct order *order)
{
    const char *directory = order_directory(order);

    return directory + strlen(directory) + 1;
}
