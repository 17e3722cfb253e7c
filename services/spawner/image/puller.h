/* puller.h - images for a runtime without an engine: opened off the loop thread, and fetched when
 * the store lacks them (find.h).
 * Known     images asked for lately are held in memory, at most PULLER_KNOWN_MAX, for keep_ms after
 *           their last use.
 * Logins    before something is fetched for a user, that user's login for its registry is asked for.
 *           Questions of users with one are merged with nobody else's.
 * Merging   of several questions for one image the work is done once; it goes on when nobody waits
 *           for it any more.  `parallel` images are fetched at once; what only reads the store does
 *           not wait behind them.
 * Answers   done runs once, on the loop thread, after puller_ask returned.  The image is borrowed.
 * Errors    of find.h; TIMEOUT; BUSY when too much is waiting.
 * Threads   loop thread; new and free while the loop does not run.  Free waits for what is under
 *           way, which child_stop_all() ends.
 */
#ifndef SPAWNER_IMAGE_PULLER_H
#define SPAWNER_IMAGE_PULLER_H

#include "base/loop.h"
#include "find.h"

#define PULLER_KNOWN_MAX 256

typedef struct puller puller;
typedef struct puller_wait puller_wait;

/* Where users' own logins for registries come from: texts as find.h has them, NULL for none. */
typedef void puller_login_done(void *arg, char *take_login); /* for registry_auth_free() */
struct puller_asking;
struct puller_login_want {
    const char *tenant, *image; /* whose; reference */
    int64_t time_ms;
    puller_login_done *done;
    void *arg;
};
struct puller_logins {
    char *(*kept)(void *arg, const struct puller_login_want *want); /* from memory; NULL: ask */
    /* done runs once, later, unless it is cancelled; NULL: there is none to be had. */
    struct puller_asking *(*ask)(void *arg, const struct puller_login_want *want);
    void (*cancel)(struct puller_asking *asking);
    void *arg;
};

struct puller_conf {
    faas_loop *loop;
    struct image_sources sources; /* its texts outlive the puller */
    int parallel;
    int64_t keep_ms;
};
FAAS_MUST_CHECK faas_code puller_new(const struct puller_conf *conf, puller **out_puller,
                                     faas_err *err);
/* Before the loop runs; without it no user has a login. */
void puller_use_logins(puller *self, const struct puller_logins *logins);
void puller_free(puller *self); /* waits end without their callbacks */

/* NULL: not in memory.  Valid until the loop runs on. */
struct image *puller_known(puller *self, const char *id);

struct puller_answer {
    faas_code code;
    struct image *image;   /* with FAAS_OK */
    const char *reference; /* of a name: what another machine finds it by */
    const faas_err *err;
};
typedef void puller_done(void *arg, const struct puller_answer *answer);
struct puller_want {
    const char *name, *id; /* of find.h; copied */
    const char *tenant;    /* whose login may be used; NULL or "": nobody's */
    bool may_pull;
    int64_t timeout_ms;      /* 0: until it is done */
    puller_done *done;       /* NULL: nobody waits */
    void (*drop)(void *arg); /* instead of done, when the puller ends before; may be NULL */
    void *arg;
};
/* out_wait may be NULL: never cancelled. */
FAAS_MUST_CHECK faas_code puller_ask(puller *self, const struct puller_want *want,
                                     puller_wait **out_wait, faas_err *err);
void puller_cancel(puller_wait *wait); /* NULL is fine; done does not run */

#endif
