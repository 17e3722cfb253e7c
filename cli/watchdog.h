/* watchdog.h - kills nothing itself, but knows which nats-servers have stopped answering.
 * Why       a frozen server is worse than a dead one: its peers keep routing requests into it
 *           (BUS.md section 1).
 * Probe     GET /healthz?js-enabled-only=true of each server every 250 ms, all at once, 250 ms
 * each; 4 misses in a row make it frozen.  A miss counts only after the server answered once since
 * its last start (or WATCHDOG_START_MS passed, or it says that its JetStream is off: one that starts
 * on a full disk stays so), and only if this process itself was not late: a machine out of breath is
 * not a frozen server. Threads   one of its own; the functions here may be
 * called from any.
 */
#ifndef CLI_WATCHDOG_H
#define CLI_WATCHDOG_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

#define WATCHDOG_PERIOD_MS 250
#define WATCHDOG_MISSES    4
#define WATCHDOG_START_MS  30000
#define WATCHDOG_MOST      5

struct watchdog;

FAAS_MUST_CHECK faas_code watchdog_start(const int *monitor_ports, size_t count,
                                         struct watchdog **out_watchdog, faas_err *err);
void watchdog_stop(struct watchdog *watchdog); /* joins the thread, frees */
/* The server was started (again): forget what was counted. */
void watchdog_reset(struct watchdog *watchdog, size_t index);
bool watchdog_is_frozen(struct watchdog *watchdog, size_t index);

#endif
