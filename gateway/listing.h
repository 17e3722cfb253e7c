/* listing.h - GET /registry/list: all functions of the caller in one answer, gathered page by page.
 * Pages     one request on the bus each, so no message holds the list; the registry bounds a page
 *           in bytes, we in records.  A page is read on the pool, and its records are kept in
 *           memory up to 1 MiB, beyond that in a file without a name (GATEWAY_SPILL_DIR).
 * Answer    begins once all pages are there, so whatever goes wrong on the way is a problem
 *           document, never half a list.  A change meanwhile is in it or not; no function is in it
 *           twice.
 * Limits    FAAS_LIST_MAX records; FAAS_LIST_BYTES_MAX bytes (TOO_LARGE); of lists that do not fit
 *           one page LISTING_LONG at once, LISTING_LONG_OWN of one caller (BUSY).
 * Threads   listing_begin: libmicrohttpd's or the loop's; the rest: the loop's.
 */
#ifndef GATEWAY_LISTING_H
#define GATEWAY_LISTING_H

#include "gateway/gateway.h"

#define LISTING_LONG     16
#define LISTING_LONG_OWN 4

/* Row GW_LIST. */
void listing_begin(struct gateway *gw, http_exchange *x);
/* Answer what still waits with UNAVAILABLE.  The pool has stopped. */
void listing_stop(struct gateway *gw);

#endif
