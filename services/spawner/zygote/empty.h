/* empty.h - makes a directory empty, whatever a function left in it.
 * Bounds    two descriptors and no recursion, however deep: what is in a directory moves to the top
 *           before the directory goes.  One mount: nothing else is mounted in there.
 * Rights    those of whoever left it: directories it closed to itself are opened again.
 * Threads   nobody else may use the directory meanwhile.
 */
#ifndef ZYGOTE_EMPTY_H
#define ZYGOTE_EMPTY_H

#include <stdbool.h>

/* top: a directory, read from its beginning.  False: something stays. */
bool zy_empty(int top);

#endif
