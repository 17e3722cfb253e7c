/* logins.h - a user's own login for an image registry, asked of the registry service like a secret
 * (secrets.h) and kept as long.
 * Errors    none: who has no login, or whose cannot be had, pulls as everybody does.
 * Threads   loop thread.
 */
#ifndef SPAWNER_LOGINS_H
#define SPAWNER_LOGINS_H

#include "secrets.h"
#include "services/spawner/image/puller.h"

/* For puller_use_logins(); secrets outlive the puller's waits. */
struct puller_logins logins_of(secrets *from);

#endif
