/* faas-auth: accounts and access tokens; the only holder of the private signing keys. */
#include "auth.h"

#include "deletion.h"

#include "base/clock.h"
#include "base/metric.h"
#include "contract.h"
#include "crypto/password.h"
#include "net/feed.h"
#include "service.h"

#include <string.h>

#define HASH_MB       64 /* memory of one argon2id hash */
#define STORE_WAIT_MS 60000
#define SHARE_S       1.0
#define PULSE_S       1.0
#define PULSE_WAIT_MS 5000
#define THREADS       16 /* most of them wait for the store or for their turn to hash */

static struct {
    char *admin, *admin_file;
    char *key_files, *password_policy, *signup;
    int64_t ttl_s, hash_memory_mb, signup_per_address, signup_accounts;
    int64_t apikeys_max, apikey_life_s;
} conf;

static const struct faas_option options[] = {
    FAAS_OPT_STR(
        conf.key_files, "AUTH_KEY_FILES", NULL,
        "signing keys (EC P-256, PEM, mode 0600), comma-separated, newest first; a file put "
        "in the place of one is taken over without a restart"),
    FAAS_OPT_STR(conf.admin_file, "AUTH_ADMIN_FILE", "",
                 "file with the password of the first administrator (mode 0600), who is made at "
                 "the start unless the name is taken; empty: none is made"),
    FAAS_OPT_STR(conf.admin, "AUTH_ADMIN", "admin", "the first administrator's name"),
    FAAS_OPT_INT(conf.ttl_s, "TOKEN_TTL", "43200", 1, 31536000, "life of a token in seconds"),
    FAAS_OPT_INT(conf.apikeys_max, "API_KEYS_PER_USER", "50", 0, 200,
                 "API keys a user may have, expired ones counted; 0: none can be made"),
    FAAS_OPT_INT(conf.apikey_life_s, "API_KEY_TTL_MAX", "31536000", 1, 315360000,
                 "longest life of an API key in seconds; 90 days, or this if it is less, where "
                 "none is asked for"),
    FAAS_OPT_STR(conf.password_policy, "PASSWORD_POLICY", "strict",
                 "strict, or any: passwords of one byte and common ones, for old clients"),
    FAAS_OPT_INT(conf.hash_memory_mb, "AUTH_HASH_MEMORY_MB", "256", HASH_MB, 65536,
                 "memory for password hashes; each needs 64 MiB, so this bounds how many run"),
    FAAS_OPT_STR(conf.signup, "SIGNUP", "open",
                 "who can register: open, everybody; invite, who has an invitation (`faas "
                 "invite`); closed, nobody"),
    FAAS_OPT_INT(conf.signup_per_address, "SIGNUP_PER_ADDRESS", "3600", 0, 1000000,
                 "new accounts an hour from one client address (IPv6: from its /64), at all auth "
                 "services together; 0: no limit (behind a proxy)"),
    FAAS_OPT_INT(conf.signup_accounts, "SIGNUP_ACCOUNTS", "100000", 0, 100000000,
                 "accounts the platform may have; 0: no limit"),
    FAAS_OPT_END,
};

static struct auth auth;

/* Every instance allows its part of what all may. */
static void on_share(struct ev_loop *ev, ev_timer *timer, int events)
{
    struct auth *self = timer->data;

    (void)ev;
    (void)events;
    signup_set_share(self->signup, faas_members_usable(self->members, "auth"));
}

static void begin_share(void *arg)
{
    struct auth *self = arg;

    ev_timer_init(&self->share, on_share, SHARE_S, SHARE_S);
    self->share.data = self;
    ev_timer_start(faas_loop_ev(self->loop), &self->share);
    deletion_watch(self);
}

static void on_heard(void *arg, faas_code code, const struct faas_kv_entry *entry,
                     const faas_err *err)
{
    struct auth *self = arg;

    (void)entry;
    (void)err;
    self->is_asking = false;
    if (code == FAAS_OK)
        self->heard_ns = faas_now_ns();
}

static void on_pulse(struct ev_loop *ev, ev_timer *timer, int events)
{
    struct auth *self = timer->data;

    (void)ev;
    (void)events;
    if (self->is_asking)
        return;
    self->is_asking = true;
    faas_kv_last_async(self->store.users, faas_deadline_in_ms(PULSE_WAIT_MS), on_heard, self);
}

static void begin_pulse(void *arg)
{
    struct auth *self = arg;

    self->heard_ns = faas_now_ns(); /* the buckets were just opened */
    ev_timer_init(&self->pulse, on_pulse, PULSE_S, PULSE_S);
    self->pulse.data = self;
    ev_timer_start(faas_loop_ev(self->loop), &self->pulse);
}

/* Nothing of what this service does goes without the store; an election is waited for. */
static bool is_healthy(void *state)
{
    const struct auth *self = state;

    return faas_now_ns() < self->heard_ns + FAAS_FEED_STALE_MS * FAAS_MS_NS;
}

static faas_code one_of(const char *name, const char *value, const char *yes, const char *no,
                        bool *out_is_yes, faas_err *err)
{
    *out_is_yes = strcmp(value, yes) == 0;
    if (!*out_is_yes && strcmp(value, no) != 0)
        return faas_fail(err, FAAS_INVALID, "%s: %s or %s", name, yes, no);
    return FAAS_OK;
}

static faas_code count_accounts(void *arg, uint64_t deadline_ns, int64_t *out_count, faas_err *err)
{
    const struct auth *self = arg;

    return store_count(&self->store, deadline_ns, out_count, err);
}

static faas_code open_signup(struct auth *self, faas_err *err)
{
    struct signup_conf signup_conf = {.per_address = conf.signup_per_address,
                                      .accounts = conf.signup_accounts,
                                      .count = count_accounts,
                                      .arg = self};

    FAAS_TRY(signup_mode_parse(conf.signup, &signup_conf.mode, err));
    return signup_new(&signup_conf, &self->signup, err);
}

static faas_code start(void *state, const struct faas_runtime *rt, faas_err *err)
{
    struct auth *self = state;

    self->ttl_s = conf.ttl_s;
    self->apikeys_max = conf.apikeys_max;
    self->apikey_life_s = conf.apikey_life_s;
    self->pool = rt->pool;
    FAAS_TRY(one_of("PASSWORD_POLICY", conf.password_policy, "any", "strict",
                    &self->is_any_password, err));
    FAAS_TRY(open_signup(self, err));
    FAAS_TRY(keys_open(conf.key_files, conf.ttl_s, &self->keys, err));
    FAAS_TRY(faas_password_setup((int)(conf.hash_memory_mb / HASH_MB), err));
    FAAS_TRY(faas_kv_open(rt->rpc, FAAS_BUCKET_USERS, rt->replicas,
                          faas_deadline_in_ms(STORE_WAIT_MS), &self->store.users, err));
    FAAS_TRY(faas_kv_open(rt->rpc, FAAS_BUCKET_REVOCATIONS, rt->replicas,
                          faas_deadline_in_ms(STORE_WAIT_MS), &self->store.revocations, err));
    FAAS_TRY(throttle_new(&self->throttle, err));
    self->members = rt->members;
    FAAS_TRY(keys_begin(self->keys, self->store.revocations, rt->members, err));
    keys_watch(self->keys, rt->loop, rt->pool);
    self->loop = rt->loop;
    self->store.rpc = rt->rpc;
    if (conf.admin_file[0] != '\0')
        FAAS_TRY(admin_make_first(self, conf.admin, conf.admin_file,
                                  faas_deadline_in_ms(STORE_WAIT_MS), err));
    faas_loop_post(rt->loop, begin_share, self);
    faas_loop_post(rt->loop, begin_pulse, self);
    return FAAS_OK;
}

static void stop(void *state)
{
    struct auth *self = state;

    if (self->loop != NULL) {
        ev_timer_stop(faas_loop_ev(self->loop), &self->share);
        ev_timer_stop(faas_loop_ev(self->loop), &self->pulse);
        ev_timer_stop(faas_loop_ev(self->loop), &self->leavers);
    }
    signup_free(self->signup);
    keys_close(self->keys);
    throttle_free(self->throttle);
    faas_kv_close(self->store.users);
    faas_kv_close(self->store.revocations);
}

int main(int argc, char **argv)
{
    static const struct faas_service service = {
        .name = "auth",
        .description = "accounts and access tokens",
        .options = options,
        .endpoints = auth_endpoints,
        .state = &auth,
        .threads_default = THREADS,
        .start = start,
        .is_healthy = is_healthy,
        .stop = stop,
    };

    faas_metric_add(&faas_password_hashes);
    return faas_service_main(&service, argc, argv);
}
