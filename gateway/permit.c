#include "gateway/permit.h"

#include <stdio.h>
#include <string.h>

#include "gateway/params.h"

/* 0: no verb is enough. */
static unsigned verb_of(enum gw_access access)
{
    switch (access) {
    case GW_INVOKE:
        return FAAS_APIKEY_INVOKE;
    case GW_READ:
        return FAAS_APIKEY_READ;
    case GW_DEPLOY:
        return FAAS_APIKEY_DEPLOY;
    case GW_PERSON:
    case GW_ADMIN:
    case GW_OTHER:
    case GW_PUBLIC:
    case GW_ANY:
        break;
    }
    return 0;
}

static const char *param_of(const struct gw_match *match, const char *name)
{
    for (size_t i = 0; i < match->count; i++) {
        if (strcmp(match->params[i].key, name) == 0)
            return match->params[i].value;
    }
    return NULL;
}

/* "name:live" and "name@3" are about "name". */
static bool allows(const struct gw_key *key, const char *text)
{
    char name[GW_PARAM_MAX + 1];

    (void)snprintf(name, sizeof name, "%.*s", (int)strcspn(text, ":@"), text);
    return strlen(text) <= GW_PARAM_MAX && faas_apikey_allows(&key->scope, name);
}

static faas_code refuse_function(faas_err *err)
{
    return faas_fail(err, FAAS_DENIED,
                     "this API key is for some functions only, and not for what this request is "
                     "about");
}

/* Secrets are the user's, and a function reads those it names: a key that may make some functions
 * could have all of them. */
static faas_code check_secrets(const struct gw_input *in, const json_t *doc, faas_err *err)
{
    const json_t *names = json_object_get(doc, "secrets");

    if (in->match->route->access != GW_DEPLOY || names == NULL ||
        (json_is_array(names) && json_array_size(names) == 0))
        return FAAS_OK;
    return faas_fail(err, FAAS_DENIED,
                     "secrets: this API key is for some functions only, and such a key cannot give "
                     "a function secrets");
}

/* The function as whoever carries the request out will read it. */
static faas_code check_function(const struct gw_key *key, const struct gw_input *in, faas_err *err)
{
    const char *field = in->match->route->function, *name;
    FAAS_AUTO(char) *text = NULL;
    FAAS_AUTO(json_t) *doc = NULL;
    size_t len = 0;

    if (field == NULL)
        return refuse_function(err);
    name = param_of(in->match, field);
    if (name == NULL || in->match->route->access == GW_DEPLOY) {
        FAAS_TRY(gw_request_json(in, &text, &len, err));
        FAAS_TRY(
            faas_json_parse(text != NULL ? (const void *)text : in->body, len, true, &doc, err));
    }
    if (name == NULL)
        name = json_string_value(json_object_get(doc, field));
    if (name == NULL || !allows(key, name))
        return refuse_function(err);
    return check_secrets(in, doc, err);
}

faas_code permit_key(const struct gw_key *key, const struct gw_match *match, const char *query,
                     const void *body, size_t body_len, faas_err *err)
{
    const struct gw_input in = {.match = match, .query = query, .body = body, .body_len = body_len};
    enum gw_access access = match->route->access;
    unsigned verb = verb_of(access);

    if (access == GW_PUBLIC || access == GW_ANY)
        return FAAS_OK;
    if (verb == 0)
        return faas_fail(err, FAAS_DENIED,
                         "no API key can do this: it takes a token from POST /auth/login");
    if ((key->scope.verbs & verb) == 0)
        return faas_fail(err, FAAS_DENIED, "this API key lacks the verb %s",
                         faas_apikey_verb_text((enum faas_apikey_verb)verb));
    if (faas_apikey_allows(&key->scope, NULL))
        return FAAS_OK;
    return check_function(key, &in, err);
}

faas_code permit_check(const http_exchange *x, faas_err *err)
{
    enum gw_access access = x->match.route->access;

    if (x->key == NULL && (access == GW_ADMIN || access == GW_OTHER) && !x->standing.is_admin)
        return faas_fail(err, FAAS_DENIED, "only an administrator of the platform can do this");
    if (x->key == NULL)
        return FAAS_OK;
    return permit_key(x->key, &x->match, x->query, x->body, x->body_len, err);
}
