/* resolvers.h - the name servers of functions that have a network.
 * Setting   IPv4 addresses, comma-separated; "": those of this machine's /etc/resolv.conf, but for
 *           the ones on loopback, which no function can reach.
 * Errors    INVALID, with the address.
 */
#ifndef NATIVE_RESOLVERS_H
#define NATIVE_RESOLVERS_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "services/spawner/zygote/wire.h"

#define RESOLVERS_TEXT 128

struct resolvers {
    size_t count;
    uint32_t at[ZY_RESOLVERS_MAX]; /* struct in_addr */
};
FAAS_MUST_CHECK faas_code resolvers_read(const char *setting, struct resolvers *out_resolvers,
                                         faas_err *err);
/* As resolv.conf has them. */
void resolvers_text(const struct resolvers *resolvers, char out_text[RESOLVERS_TEXT]);

#endif
