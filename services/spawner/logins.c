#include "logins.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "ref.h"
#include "registry_auth.h"

struct puller_asking {
    secrets_wait *wait;
    puller_login_done *done;
    void *arg;
    char host[FAAS_LOGIN_HOST_MAX + 1];
};

/* False: no login can be for it. */
static bool host_of(const char *image, char out_host[FAAS_LOGIN_HOST_MAX + 1])
{
    struct image_ref ref;

    if (ref_parse(image, &ref, NULL) != FAAS_OK || strlen(ref.host) > FAAS_LOGIN_HOST_MAX)
        return false;
    (void)snprintf(out_host, FAAS_LOGIN_HOST_MAX + 1, "%.*s", FAAS_LOGIN_HOST_MAX, ref.host);
    return true;
}

static json_t *names_of(const char *host)
{
    char name[FAAS_LOGIN_HOST_MAX + 2];

    (void)snprintf(name, sizeof name, "%c%s", FAAS_LOGIN_MARK, host);
    return json_pack("[s]", name);
}

static char *login_in(const struct secret_set *set, const char *host)
{
    char *text = NULL;
    faas_err err = {0};

    if (registry_auth_user_config(set->values[0]->bytes, set->values[0]->len, host, &text, &err) !=
        FAAS_OK)
        FAAS_LOG(WARN, "a user's login for a registry is not used", FAAS_LSTR("host", host),
                 FAAS_LSTR("why", err.msg));
    return text;
}

static void on_secrets(void *arg, struct secret_set *take_set, const faas_err *err)
{
    struct puller_asking *asking = arg;
    char *login = take_set != NULL ? login_in(take_set, asking->host) : NULL;
    puller_login_done *done = asking->done;
    void *for_whom = asking->arg;

    (void)err;
    secret_set_unref(take_set);
    free(asking);
    done(for_whom, login);
}

static char *kept(void *arg, const struct puller_login_want *want)
{
    char host[FAAS_LOGIN_HOST_MAX + 1];
    FAAS_AUTO(json_t) *names = host_of(want->image, host) ? names_of(host) : NULL;
    const struct secrets_want wanted = {.tenant = want->tenant, .names = names};
    struct secret_set *set = names != NULL ? secrets_kept(arg, &wanted) : NULL;
    char *login = set != NULL ? login_in(set, host) : NULL;

    secret_set_unref(set);
    return login;
}

static struct puller_asking *ask(void *arg, const struct puller_login_want *want)
{
    struct puller_asking *asking = calloc(1, sizeof *asking);
    FAAS_AUTO(json_t) *names = NULL;
    struct secrets_want wanted = {
        .tenant = want->tenant, .time_ms = want->time_ms, .done = on_secrets, .arg = asking};

    if (asking == NULL || !host_of(want->image, asking->host)) {
        free(asking);
        return NULL;
    }
    asking->done = want->done;
    asking->arg = want->arg;
    wanted.names = names = names_of(asking->host);
    asking->wait = names != NULL ? secrets_ask(arg, &wanted) : NULL;
    if (asking->wait != NULL)
        return asking;
    free(asking);
    return NULL;
}

static void cancel(struct puller_asking *asking)
{
    secrets_cancel(asking->wait);
    free(asking);
}

struct puller_logins logins_of(secrets *from)
{
    return (struct puller_logins){.kept = kept, .ask = ask, .cancel = cancel, .arg = from};
}
