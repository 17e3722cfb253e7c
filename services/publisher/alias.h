/* alias.h - which version a call of an alias runs.
 * Stored    in the head: "aliases" {NAME: {"versions": {"3": 90, "4": 10}}} (docs/PROTOCOL.md section
 *           6).  What this release cannot read of it stays known by its name, so that its calls are
 *           refused and never run another version.
 * Choice    by the call's id and the weights: each try of one call runs the same version, and calls
 *           spread as the weights say.  The sum of weights may be any.
 * Threads   pure.
 */
#ifndef PUBLISHER_ALIAS_H
#define PUBLISHER_ALIAS_H

#include "base/json.h"
#include "base/name.h"

#include "contract.h"

struct alias {
    char name[FAAS_ALIAS_NAME_MAX + 1];
    int64_t total; /* of the weights; 0: it cannot be read */
    size_t count;
    struct alias_part {
        int64_t version, weight;
    } parts[FAAS_ALIAS_PARTS_MAX];
};

/* All of a head's; *out_list is the caller's (free), NULL when there are none. */
FAAS_MUST_CHECK faas_code alias_read(const json_t *aliases, struct alias **out_list,
                                     size_t *out_count, faas_err *err);
/* total is above 0. */
int64_t alias_choose(const struct alias *alias, const char *call_id);

#endif
