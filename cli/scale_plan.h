/* scale_plan.h - what `faas scale` was asked for, and the words of the docker command that does it.
 * Words     are argv, never a shell's text; services come from a fixed list, names from a checked
 *           alphabet, numbers are formatted anew.
 * Errors    INVALID naming what to write instead; TOO_LARGE: more words than there is room for.
 * Memory    texts live in the plan; words borrow them.
 * Threads   any.
 */
#ifndef CLI_SCALE_PLAN_H
#define CLI_SCALE_PLAN_H

#include "cli/verb.h"

#define SCALE_SERVICES 4
#define SCALE_MOST     1000
#define SCALE_WORDS    64

struct scale_plan {
    const char *name; /* stack or project */
    struct {
        const char *service; /* "spawner" */
        int64_t number;
    } wanted[SCALE_SERVICES];
    size_t count;
    char texts[SCALE_WORDS][256];
    size_t text_count;
    const char *words[SCALE_WORDS + 1]; /* NULL ends */
    size_t word_count;
};

/* items: "spawner=4", "auth-service=2"; each service once.  name: a-z 0-9 _ -, not first - or _. */
FAAS_MUST_CHECK faas_code scale_read(const struct cli_list *items, const char *name,
                                     struct scale_plan *out_plan, faas_err *err);
/* docker service scale --detach NAME_S-service=N ... */
FAAS_MUST_CHECK faas_code scale_swarm(struct scale_plan *plan, faas_err *err);
/* command: "docker", "compose" or "docker-compose", NULL.  files: as the label of a project's
 * containers says them, with commas between. */
FAAS_MUST_CHECK faas_code scale_compose(struct scale_plan *plan, const char *const *command,
                                        const char *files, faas_err *err);

#endif
