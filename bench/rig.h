/* rig.h - the native runtime as a bench drives it, and what its calls are measured beside.
 * Calls     through the spawner's own code, one loop; argument "x"; the answer's first byte is
 *           checked, as is the outcome.
 * Floor     posix_spawn, a pipe read to its end, waitpid: no isolation.
 * Errors    end the program with a line that says what.
 */
#ifndef BENCH_RIG_H
#define BENCH_RIG_H

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>

#include "services/spawner/native/runtime_native.h"

struct rig {
    struct runtime *rt;
    const char *image; /* reference */
    char image_id[128];
    char expect; /* first byte of the answer */
    bool is_slot;
};
struct rig_place {
    const char *store_dir, *run_dir, *zygote;
};

void rig_die(const char *what, const char *why) __attribute__((noreturn));

/* Once in a process, before the rest. */
void rig_begin(const struct rig_place *place);
void rig_end(void);

void rig_open(struct rig *rig, const char *image, char expect, bool is_parked);
void rig_close(struct rig *rig);
void rig_call(struct rig *rig);
/* That many at once, until no more begin; how many ended. */
size_t rig_load(struct rig *rig, int callers, double seconds, size_t most);
void rig_rest(double seconds); /* the loop goes on */

void rig_spawn(char *const argv[], char expect);

double rig_now_us(void);
/* The value below which that part of them is; sorts them. */
double rig_part(double *values, size_t count, double part);

#endif
