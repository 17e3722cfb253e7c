/* stage_internal.h - what stage.c (gateway, publisher, store) and stage_actor.c (spawners) share.
 */
#ifndef FAAS_TEST_STAGE_INTERNAL_H
#define FAAS_TEST_STAGE_INTERNAL_H

#include "tests/support/stage.h"

void stage_must(faas_code rc, const faas_err *err); /* fails the test unless FAAS_OK */
void stage_publish(struct process *from, const struct faas_out *out);
/* id NULL: without the header */
void stage_publish_json(struct process *from, const char *subject, const json_t *doc,
                        const char *id);
void stage_forget(struct actor *actor); /* its placements and counts */
/* For wait_until, arg a struct actor: the gateway hears what the publisher hears, from the same
 * server at the same time. */
bool stage_is_usable(void *arg);
bool stage_is_beat_heard(void *arg); /* its newest free count */

#endif
