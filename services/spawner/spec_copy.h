/* spec_copy.h - what of an rt_spec a call still needs when it starts later than it came.
 * Copied    argument, command, env, secrets and the numbers; the texts that say whose call it is and which
 *           image it wants are NULL in the copy.
 * Threads   that of the reference counts of its JSON: the loop's.
 */
#ifndef SPAWNER_SPEC_COPY_H
#define SPAWNER_SPEC_COPY_H

#include "runtime.h"

struct rt_spec *spec_copy(const struct rt_spec *spec); /* NULL only without memory */
void spec_copy_free(struct rt_spec *copy);             /* NULL is fine */

#endif
