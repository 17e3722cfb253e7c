/* about.h - answers that the gateway knows by itself: who the caller is, what this platform is.
 * Threads   any.
 */
#ifndef GATEWAY_ABOUT_H
#define GATEWAY_ABOUT_H

#include "gateway/http.h"

void about_caller(http_exchange *x);   /* row GW_VALIDATE */
void about_platform(http_exchange *x); /* row GW_SYS_INFO */

#endif
