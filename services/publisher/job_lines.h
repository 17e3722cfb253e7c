/* job_lines.h - queued calls that wait for their turn: users take turns, and so do the functions of
 * a user; within a function first come first served.
 * Going     a call that was taken and has found no place yet.  A function has JOB_LINE_GOING of
 *           them, a user JOB_TENANT_GOING; so a function at its cap holds up no other one, and ten
 *           thousand calls of one user delay another's by a few.
 * Cost      a turn looks at the first call of each line only.
 * Ownership items are embedded in the caller's calls; lines live as long as they hold or know some.
 * Threads   pure.
 */
#ifndef PUBLISHER_JOB_LINES_H
#define PUBLISHER_JOB_LINES_H

#include "base/err.h"
#include "base/id.h"
#include "base/name.h"

#include <stdbool.h>
#include <sys/queue.h>

#define JOB_LINE_GOING   4
#define JOB_TENANT_GOING 16

struct job_line;
struct job_item {
    TAILQ_ENTRY(job_item) link;
    struct job_line *line; /* NULL: unknown here */
    bool is_waiting, is_going;
};
TAILQ_HEAD(job_items, job_item);

struct job_user { /* a tenant with queued calls */
    char tenant[FAAS_UUID_TEXT];
    TAILQ_ENTRY(job_user) link;
    TAILQ_HEAD(, job_line) lines; /* the next function's turn is first */
    size_t len;                   /* calls entered: waiting, going and any others */
    size_t waiting, going;
    size_t bytes;   /* of stored arguments; jobs.c keeps it */
    size_t calling; /* callbacks under way; callback.c keeps it */
};
struct job_line {
    char function[FAAS_FUNCTION_NAME_MAX + 1];
    struct job_user *user;
    TAILQ_ENTRY(job_line) link;
    struct job_items items; /* waiting ones */
    size_t len, going;
};
struct job_lines {
    TAILQ_HEAD(, job_user) users; /* the next user's turn is first */
    size_t waiting;
};

void job_lines_init(struct job_lines *lines);
/* Enters a call, which does not wait yet.  Out of memory: INTERNAL. */
FAAS_MUST_CHECK faas_code job_lines_enter(struct job_lines *lines, const char *tenant,
                                          const char *function, struct job_item *item,
                                          faas_err *err);
void job_lines_leave(struct job_lines *lines, struct job_item *item);   /* if it is in */
size_t job_lines_of(const struct job_lines *lines, const char *tenant); /* calls entered */
size_t job_lines_bytes(const struct job_lines *lines, const char *tenant);
void job_lines_wait(struct job_lines *lines, struct job_item *item, bool is_first);
/* The next one whose user may go: it waits no more, and is going; NULL when there is none. */
struct job_item *job_lines_take(struct job_lines *lines,
                                bool (*may_go)(void *arg, const struct job_user *user), void *arg);
void job_lines_settled(struct job_item *item); /* it has found a place, or given up */
void job_lines_rest(struct job_lines *lines, struct job_item *item); /* neither waiting nor going */

#endif
