/* filter.h - the short filter each call's process puts on top of its lane's. */
#ifndef ZYGOTE_FILTER_H
#define ZYGOTE_FILTER_H

#include <linux/filter.h>

extern const struct sock_fprog zy_call_filter;

#endif
