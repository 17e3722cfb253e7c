/* auto.h - owned locals that clean up after themselves.
 * FAAS_DEFINE_AUTO(type, fn)  once per type: fn(type *) runs when the variable leaves its scope;
 *                             NULL is skipped.
 * FAAS_AUTO(type) *p          an owning local; must be initialised (NULL is fine).
 * FAAS_STEAL(p)               the value of p, which is NULL afterwards: ownership moves on.  Not for an
 *                             argument of sys/queue.h's macros, which take it several times.
 */
#ifndef FAAS_AUTO_H
#define FAAS_AUTO_H

#include "base/ban.h"

#include <stdlib.h>

#define FAAS_DEFINE_AUTO(type, fn)                                                                 \
    __attribute__((unused)) static inline void faas_auto_##type(type **p)                          \
    {                                                                                              \
        if (*p != NULL)                                                                            \
            fn(*p);                                                                                \
    }
#define FAAS_AUTO(type) __attribute__((cleanup(faas_auto_##type), unused)) type
#define FAAS_STEAL(p)                                                                              \
    ({                                                                                             \
        __typeof__(p) stolen_ = (p);                                                               \
        (p) = NULL;                                                                                \
        stolen_;                                                                                   \
    })

#define FAAS_MUST_CHECK   __attribute__((warn_unused_result))
#define FAAS_PRINTF(f, a) __attribute__((format(printf, f, a)))
#define FAAS_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

FAAS_DEFINE_AUTO(char, free)
FAAS_DEFINE_AUTO(void, free)

#endif
