#include "gateway/about.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/json.h"
#include "gateway/apikeys.h"
#include "gateway/openfaas.h"

/* What a key is for, besides whose it is. */
static bool add_key(const struct gw_key *key, json_t *doc)
{
    FAAS_AUTO(json_t) *about = json_pack("{s:s}", "id", key->id);

    return about != NULL && faas_apikey_scope_write(&key->scope, about) &&
           json_object_set(doc, "key", about) == 0;
}

void about_caller(http_exchange *x)
{
    char expires[FAAS_TIME_TEXT];
    FAAS_AUTO(json_t) *doc = NULL;
    char *text = NULL;
    size_t len = 0;

    faas_time_format(x->caller.expires_at * 1000, expires);
    doc = json_pack("{s:s, s:s, s:s}", "id", x->caller.user, "username", x->caller.username,
                    "expires_at", expires);
    if (doc != NULL && (x->key == NULL || add_key(x->key, doc)))
        text = faas_json_text(doc, &len);
    http_answer_bytes(x, text == NULL ? 500 : 200, "application/json", text, len);
}

void about_platform(http_exchange *x)
{
    size_t len = 0;
    char *text =
        x->match.route->what == GW_SYS_SPACES ? openfaas_spaces(&len) : openfaas_info(&len);

    http_answer_bytes(x, text == NULL ? 500 : 200, "application/json", text, len);
}
