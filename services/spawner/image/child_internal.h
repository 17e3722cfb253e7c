/* child_internal.h - one run of faas-image, for child.c and child_fetch.c; nobody else includes it. */
#ifndef SPAWNER_IMAGE_CHILD_INTERNAL_H
#define SPAWNER_IMAGE_CHILD_INTERNAL_H

#include <sys/types.h>

#include "child.h"

#define PROGRAM    "faas-image"
#define LOOK_MS    500    /* how often a wait looks around */
#define SILENCE_MS 600000 /* a child that neither reads, writes nor ends for so long is killed */

struct child {
    pid_t pid;
    int report;
};
struct ends { /* what a child is given; -1: /dev/null */
    int in, out, root;
};

FAAS_MUST_CHECK faas_code child_start(char *const argv[], const struct ends *ends,
                                      struct child *out_child, faas_err *err);
/* The child has ended; its status (-1: not known) and what it reported, which child_report reads. */
FAAS_MUST_CHECK faas_code child_wait(struct child *child, int *out_status, char **out_text,
                                     size_t *out_len, faas_err *err);
FAAS_MUST_CHECK faas_code child_report(const char *text, size_t len, struct child_result *result,
                                       faas_err *err);

#endif
