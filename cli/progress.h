/* progress.h - a line on the terminal while something takes its time: a bar where it is one of several
 * things, what is done, and for how long.
 * Shown     on standard error, when that is a terminal and TERM is not "dumb"; taken away again at the
 *           end, so that what is printed then stands in its place.
 * Threads   begin and end: the main thread.  A thread draws in between; it only calls write(2) and
 *           takes no signals.
 */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include <stddef.h>

/* doing: "pulling"; name: of what, data of the user; done of total: such things, total 0: it is the
 * only one. */
struct progress_of {
    const char *doing, *name;
    size_t done, total;
};
struct progress;
/* NULL where nothing is shown, also without memory. */
struct progress *progress_begin(const struct progress_of *of);
void progress_end(struct progress *progress); /* may be NULL */

#endif
