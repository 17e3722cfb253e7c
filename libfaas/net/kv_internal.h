/* kv_internal.h - what kv.c and feed.c share beyond kv.h. */
#ifndef FAAS_KV_INTERNAL_H
#define FAAS_KV_INTERNAL_H

#include "net/kv.h"

faas_rpc *faas_kv_rpc(const faas_kv *kv);
/* Does this KV-Operation header (or NULL) take the key away? */
bool faas_kv_is_delete(const char *operation);

#endif
