/* scrape.h - GET /metrics on a listener of its own: the figures of the whole platform.
 * Page      Prometheus text 0.0.4.  Every instance that heartbeats tell of is asked for its figures
 *           ($SRV.STATS.<service>.<id>), this gateway gives its own, and what the heartbeats themselves
 *           say is added; so it does not matter which gateway is asked.  Labels service and id on each row.
 * Cost      at most one gathering a second, whoever asks; requests meanwhile wait for it or get
 *           the page of that second.
 * Time      an instance has SCRAPE_MS to answer; one that does not has faas_instance_answered 0 and
 *           no figures of its own.  Dead ones are not asked.
 * Access    none is checked: the listener is the operator's, and off unless it is set.  Nothing else is
 *           served on it, and nothing of it on the public one.
 * Threads   scrape_open: any; the rest: the loop's.
 */
#ifndef GATEWAY_SCRAPE_H
#define GATEWAY_SCRAPE_H

#include "gateway/http.h"
#include "service.h"

#define SCRAPE_MS        800
#define SCRAPE_INSTANCES 256 /* asked; more are left out, and logged */

struct scrape;

/* Listening when it returns. */
FAAS_MUST_CHECK faas_code scrape_open(const struct faas_runtime *rt, const char *listen,
                                      struct scrape **out_scrape, faas_err *err);
void scrape_start(struct scrape *scrape); /* NULL is fine, here and below */
/* The loop has stopped and runs once more before scrape_close(): what waits is answered. */
void scrape_stop(struct scrape *scrape);
void scrape_close(struct scrape *scrape); /* nothing waits, the listener is closed */
/* After the bus's last replies, which use it. */
void scrape_free(struct scrape *scrape);

#endif
