/* logins.h - users' logins for image registries: sealed like secrets and kept among them, under the
 * registry's host:port behind FAAS_LOGIN_MARK, which no secret's name begins with.
 * Values    {"username","password"}; they come in and never leave but sealed to a spawner, which asks
 *           for them as for a secret.
 * Errors    of secrets.h; INVALID names the field.
 * Threads   pool threads.
 */
#ifndef REGISTRY_LOGINS_H
#define REGISTRY_LOGINS_H

#include "service.h"

/* Handlers; their state is the registry. */
faas_handler logins_on_list, logins_on_set, logins_on_remove;

#endif
