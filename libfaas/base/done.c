#include "base/done.h"

#include <errno.h>
#include <string.h>

#define DONE "done"

static const char *id_of(const json_t *note)
{
    const char *id = json_string_value(json_object_get(note, "id"));

    return id != NULL ? id : "";
}

bool faas_done_has(const json_t *doc, const char *id, int64_t *out_n)
{
    const json_t *list = json_object_get(doc, DONE);
    const json_t *note;
    size_t i;

    json_array_foreach (list, i, note) {
        if (id[0] != '\0' && strcmp(id_of(note), id) == 0) {
            *out_n = json_integer_value(json_object_get(note, "n"));
            return true;
        }
    }
    return false;
}

/* All that are left came later: there may have been more. */
static bool may_be_forgotten(const json_t *doc, const char *id)
{
    const json_t *list = json_object_get(doc, DONE);
    const json_t *note;
    size_t i;

    json_array_foreach (list, i, note)
        if (strcmp(id_of(note), id) < 0)
            return false;
    return json_array_size(list) >= FAAS_DONE_MAX;
}

faas_code faas_done_unsure(faas_err *err)
{
    return faas_fail(err, FAAS_TIMEOUT,
                     "the instance that had the request is gone, and others have changed the same "
                     "since; a change may have been made: look before trying again");
}

faas_code faas_done_find(const json_t *doc, const struct faas_ctx *caller, bool *out_is_done,
                         int64_t *out_n, faas_err *err)
{
    *out_is_done = faas_done_has(doc, caller->id, out_n);
    return caller->is_again && !*out_is_done && may_be_forgotten(doc, caller->id)
               ? faas_done_unsure(err)
               : FAAS_OK;
}

faas_code faas_done_note(json_t *doc, const json_t *before, const char *id, int64_t n,
                         faas_err *err)
{
    FAAS_AUTO(json_t) *list = json_array();
    const json_t *old = json_object_get(before, DONE);
    size_t count = json_array_size(old);

    for (size_t i = count >= FAAS_DONE_MAX ? count - FAAS_DONE_MAX + 1 : 0; i < count; i++)
        if (json_array_append(list, json_array_get(old, i)) != 0)
            return faas_fail_sys(err, ENOMEM, "a record");
    if (id[0] != '\0' &&
        json_array_append_new(list, json_pack("{s:s, s:I}", "id", id, "n", (json_int_t)n)) != 0)
        return faas_fail_sys(err, ENOMEM, "a record");
    if (json_array_size(list) > 0 && json_object_set(doc, DONE, list) != 0)
        return faas_fail_sys(err, ENOMEM, "a record");
    return FAAS_OK;
}
