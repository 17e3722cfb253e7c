/* names.h - the function names of one user, sorted, searched by a part of them in any case.
 * Shape     all names in one run of bytes, each ended by a NUL, beside a copy in lower case: a
 *           search is one pass over that copy, whatever is looked for and however often it occurs.
 *           10,000 names of 20 bytes are 200 kB, read in well under a tenth of a millisecond.
 * Case      A to Z and a to z are the same; names hold no other letters (base/name.h).
 * Order     by bytes, as strcmp(3).
 * Threads   the caller serialises.
 */
#ifndef REGISTRY_NAMES_H
#define REGISTRY_NAMES_H

#include <stddef.h>

#include "base/err.h"

struct names { /* zeroed: none */
    char *text, *folded;
    size_t len, size; /* bytes used and allocated, of each of the two */
};

void names_done(struct names *names);
/* Fine when it is there already. */
FAAS_MUST_CHECK faas_code names_add(struct names *names, const char *name, faas_err *err);
void names_remove(struct names *names, const char *name); /* fine when it is not there */
/* The first name behind `after` ("": from the start) that holds part; borrowed until the next
 * change.  NULL: there is none. */
const char *names_find(const struct names *names, const char *after, const char *part);

#endif
