/* steps.h - one stage (stage.h) for a test program, and what most of its tests do with it. */
#ifndef FAAS_TEST_STEPS_H
#define FAAS_TEST_STEPS_H

#include "tests/support/stage.h"

extern struct stage stage;

/* Opens the stage with a function "plain"; servers and settings as stage_open(). */
void open_with(int servers, const char *const *settings);
int close_stage(void **state); /* of a group */
int clear(void **state);       /* after a test: each brings its own spawners */

void call_now(const char *function, char id[FAAS_UUID_TEXT]);
/* A FAIL frame with that code comes, and part is in its detail. */
void fails_with(const char *id, const char *code, const char *part);
void wait_placed(int which, int times, int64_t ms); /* the spawner got so many calls */
void wait_state(const char *id, const char *state); /* the publisher says so to a fence */
int which_got_it(void);                             /* the first spawner with a call, -1 */
bool anybody_got_it(void *arg);                     /* for wait_until */

#endif
