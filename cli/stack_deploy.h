/* stack_deploy.h - `faas deploy -f FILE`: makes the functions of a stack file be what it says.
 * Order     everything is read and compared before anything is changed; then one function after the
 *           other, each with its own outcome.  A change is for the version that was compared: who
 *           changed the function meanwhile is not overwritten.
 * Exit      0 all is as the file says; 1 a function failed; --dry-run: 0 no difference, 1 there is
 *           one, more than 1 an error.
 * Threads   the main thread only.
 */
#ifndef CLI_STACK_DEPLOY_H
#define CLI_STACK_DEPLOY_H

#include "cli/verb.h"

struct stack_options {
    const char *file, *name;
    struct cli_list only;
    bool prune, dry_run;
};

int stack_deploy(const struct cli_args *args, const struct stack_options *options);

#endif
