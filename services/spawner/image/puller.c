#include "puller.h"

#include <errno.h>
#include <string.h>
#include <sys/queue.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/pool.h"
#include "services/spawner/registry_auth.h"

#define TIDY_S    1.0
#define QUEUE_MAX 1024
#define LOGIN_MS  12000 /* for a user's login; without it the pull is everybody's */

struct known {
    struct image *image;
    uint64_t used_ns;
    TAILQ_ENTRY(known) link;
};

/* One image being looked for.  A pool thread fills find, code and err; the rest is the loop's. */
struct search {
    puller *self; /* NULL: freed meanwhile */
    faas_loop *loop;
    char *name, *id;
    char *tenant, *login; /* of a user's own login; NULL: none */
    bool may_pull, is_fetching;
    struct image_find find;
    faas_code code;
    faas_err err;
    TAILQ_HEAD(, puller_wait) waits;
    LIST_ENTRY(search) link;
};

struct puller_wait {
    puller *self;
    struct search *search;        /* NULL: its login is asked for first */
    struct puller_asking *asking; /* while it is */
    struct puller_want want;      /* likewise; its texts are owned */
    puller_done *done;            /* NULL: nobody waits, but a login is asked for */
    void (*drop)(void *arg);
    void *arg;
    ev_timer timer;
    TAILQ_ENTRY(puller_wait) link;
};

struct puller {
    struct puller_conf conf;
    struct ev_loop *ev;
    faas_pool *readers, *fetchers;
    TAILQ_HEAD(known_list, known) known; /* used last first */
    size_t known_count;
    LIST_HEAD(, search) searches;
    struct puller_logins logins;
    TAILQ_HEAD(, puller_wait) asking;
    ev_timer tidy;
};

/* ---- what is in memory ---- */

static void forget(puller *self, struct known *known)
{
    TAILQ_REMOVE(&self->known, known, link);
    self->known_count--;
    image_release(known->image);
    free(known);
}

static struct known *find_known(puller *self, const char *id)
{
    struct known *known;

    TAILQ_FOREACH (known, &self->known, link)
        if (strcmp(known->image->id, id) == 0)
            break;
    return known;
}

static void note_use(puller *self, struct known *known)
{
    known->used_ns = faas_now_ns();
    if (known == TAILQ_FIRST(&self->known))
        return;
    TAILQ_REMOVE(&self->known, known, link);
    TAILQ_INSERT_HEAD(&self->known, known, link);
}

struct image *puller_known(puller *self, const char *id)
{
    struct known *known = find_known(self, id);

    if (known == NULL)
        return NULL;
    note_use(self, known);
    return known->image;
}

/* Without memory it is opened again the next time. */
static void keep(puller *self, struct image *image)
{
    struct known *known = find_known(self, image->id);

    if (known != NULL) {
        note_use(self, known);
        return;
    }
    known = calloc(1, sizeof *known);
    if (known == NULL)
        return;
    known->image = image_ref(image);
    known->used_ns = faas_now_ns();
    TAILQ_INSERT_HEAD(&self->known, known, link);
    if (++self->known_count > PULLER_KNOWN_MAX)
        forget(self, TAILQ_LAST(&self->known, known_list));
}

static void on_tidy(struct ev_loop *ev, ev_timer *timer, int events)
{
    puller *self = timer->data;
    uint64_t now = faas_now_ns(), keep_ns = (uint64_t)self->conf.keep_ms * FAAS_MS_NS;
    struct known *known;

    (void)ev, (void)events;
    while ((known = TAILQ_LAST(&self->known, known_list)) != NULL && now - known->used_ns > keep_ns)
        forget(self, known);
}

/* ---- waiting ---- */

static void want_done(struct puller_want *want)
{
    free((void *)(uintptr_t)want->name);
    free((void *)(uintptr_t)want->id);
    free((void *)(uintptr_t)want->tenant);
    *want = (struct puller_want){.name = NULL};
}

static void wait_free(puller_wait *wait)
{
    ev_timer_stop(wait->self->ev, &wait->timer);
    if (wait->search != NULL)
        TAILQ_REMOVE(&wait->search->waits, wait, link);
    else
        TAILQ_REMOVE(&wait->self->asking, wait, link);
    if (wait->asking != NULL)
        wait->self->logins.cancel(wait->asking);
    want_done(&wait->want);
    free(wait);
}

void puller_cancel(puller_wait *wait)
{
    if (wait != NULL)
        wait_free(wait);
}

static void wait_end(puller_wait *wait, const struct puller_answer *answer)
{
    puller_done *done = wait->done;
    void *arg = wait->arg;

    wait_free(wait);
    done(arg, answer);
}

static void on_timer(struct ev_loop *ev, ev_timer *timer, int events)
{
    faas_err err = {0};
    const struct puller_answer answer = {
        .code = faas_fail(&err, FAAS_TIMEOUT, "the image is not here yet; it is being fetched"),
        .err = &err};

    (void)ev, (void)events;
    wait_end(timer->data, &answer);
}

static faas_code wait_new(puller *self, const struct puller_want *want, puller_wait **out_wait,
                          faas_err *err)
{
    puller_wait *wait = calloc(1, sizeof *wait);

    if (wait == NULL)
        return faas_fail_sys(err, errno, "wait for an image");
    *wait = (puller_wait){.self = self, .done = want->done, .drop = want->drop, .arg = want->arg};
    ev_timer_init(&wait->timer, on_timer, (double)want->timeout_ms / 1000.0, 0.0);
    wait->timer.data = wait;
    if (want->timeout_ms > 0 && want->done != NULL) {
        ev_now_update(self->ev);
        ev_timer_start(self->ev, &wait->timer);
    }
    TAILQ_INSERT_TAIL(&self->asking, wait, link);
    *out_wait = wait;
    return FAAS_OK;
}

/* ---- searching ---- */

static void search_free(struct search *search)
{
    image_find_done(&search->find);
    free(search->name);
    free(search->id);
    free(search->tenant);
    registry_auth_free(search->login);
    free(search);
}

static void search_end(struct search *search)
{
    const struct puller_answer answer = {.code = search->code,
                                         .image = search->find.image,
                                         .reference = search->find.reference,
                                         .err = &search->err};
    puller_wait *wait = NULL;

    if (search->code == FAAS_OK)
        keep(search->self, search->find.image);
    else if (TAILQ_EMPTY(&search->waits) && search->is_fetching)
        FAAS_LOG(WARN, "an image that nobody waits for could not be fetched",
                 FAAS_LSTR("why", search->err.msg));
    LIST_REMOVE(search, link); /* before the answers: they may ask again */
    while ((wait = TAILQ_FIRST(&search->waits)) != NULL)
        wait_end(wait, &answer);
    search_free(search);
}

static void on_found(void *arg);

static void look(void *arg)
{
    struct search *search = arg;

    search->code = image_look(&search->find, &search->err);
    faas_loop_post(search->loop, on_found, search);
}

static void fetch(void *arg)
{
    struct search *search = arg;

    memset(&search->err, 0, sizeof search->err);
    search->code = image_bring(&search->find, &search->err);
    faas_loop_post(search->loop, on_found, search);
}

static bool needs_fetching(const struct search *search)
{
    if (!search->may_pull || search->is_fetching)
        return false;
    return search->code == FAAS_NOT_FOUND || (search->code == FAAS_OK && !search->find.is_settled);
}

/* Back on the loop thread. */
static void on_found(void *arg)
{
    struct search *search = arg;

    if (search->self == NULL) {
        search_free(search);
        return;
    }
    if (needs_fetching(search)) {
        faas_err err = {0};
        faas_code rc;

        search->is_fetching = true;
        rc = faas_pool_submit(search->self->fetchers, fetch, search, &err);
        if (rc == FAAS_OK)
            return; /* not ours any more: its results are being written */
        search->code = rc;
        search->err = err;
    }
    search_end(search);
}

static bool is_same(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* tenant NULL: without a login of a user's. */
static struct search *find_search(const puller *self, const struct puller_want *want,
                                  const char *tenant)
{
    struct search *search;

    LIST_FOREACH (search, &self->searches, link)
        if (search->may_pull == want->may_pull && is_same(search->id, want->id) &&
            is_same(search->name, want->name) && is_same(search->tenant, tenant))
            break;
    return search;
}

static bool copy_text(const char *text, char **out_copy)
{
    *out_copy = text != NULL ? strdup(text) : NULL;
    return text == NULL || *out_copy != NULL;
}

static faas_code search_new(puller *self, const struct puller_want *want, char *take_login,
                            struct search **out_search, faas_err *err)
{
    struct search *search = calloc(1, sizeof *search);
    faas_code code = FAAS_OK;

    if (search == NULL) {
        registry_auth_free(take_login);
        return faas_fail_sys(err, ENOMEM, "look for an image");
    }
    TAILQ_INIT(&search->waits);
    search->self = self;
    search->loop = self->conf.loop;
    search->may_pull = want->may_pull;
    search->login = take_login;
    if (!copy_text(want->name, &search->name) || !copy_text(want->id, &search->id) ||
        !copy_text(take_login != NULL ? want->tenant : NULL, &search->tenant))
        code = faas_fail_sys(err, ENOMEM, "look for an image");
    search->find = (struct image_find){.sources = &self->conf.sources,
                                       .name = search->name,
                                       .id = search->id,
                                       .login = search->login};
    if (code == FAAS_OK)
        code = faas_pool_submit(self->readers, look, search, err);
    if (code != FAAS_OK) {
        search_free(search);
        return code;
    }
    LIST_INSERT_HEAD(&self->searches, search, link);
    *out_search = search;
    return FAAS_OK;
}

/* One that runs already, or a new one. */
static faas_code search_for(puller *self, const struct puller_want *want, char *take_login,
                            struct search **out_search, faas_err *err)
{
    *out_search = find_search(self, want, take_login != NULL ? want->tenant : NULL);
    if (*out_search == NULL)
        return search_new(self, want, take_login, out_search, err);
    registry_auth_free(take_login);
    return FAAS_OK;
}

/* From asking for a login to looking for the image. */
static void wait_join(puller_wait *wait, struct search *search)
{
    TAILQ_REMOVE(&wait->self->asking, wait, link);
    TAILQ_INSERT_TAIL(&search->waits, wait, link);
    wait->search = search;
    want_done(&wait->want);
    if (wait->done == NULL)
        wait_free(wait); /* the search goes on without anybody who waits */
}

static void on_login(void *arg, char *take_login)
{
    puller_wait *wait = arg;
    struct search *search = NULL;
    faas_err err = {0};
    struct puller_answer answer = {.err = &err};

    wait->asking = NULL;
    answer.code = search_for(wait->self, &wait->want, take_login, &search, &err);
    if (answer.code == FAAS_OK)
        wait_join(wait, search);
    else if (wait->done != NULL)
        wait_end(wait, &answer);
    else
        wait_free(wait);
}

/* False: there is nobody's to ask for. */
static bool ask_login(puller_wait *wait, const struct puller_want *want, char **out_login)
{
    const struct puller_logins *logins = &wait->self->logins;
    const struct puller_login_want wanted = {.tenant = want->tenant,
                                             .image = want->name,
                                             .time_ms = LOGIN_MS,
                                             .done = on_login,
                                             .arg = wait};

    *out_login = NULL;
    if (logins->ask == NULL || !want->may_pull || want->name == NULL || want->tenant == NULL ||
        want->tenant[0] == '\0')
        return false;
    *out_login = logins->kept(logins->arg, &wanted);
    if (*out_login != NULL)
        return false;
    wait->want = (struct puller_want){.may_pull = true};
    if (copy_text(want->name, (char **)(uintptr_t)&wait->want.name) &&
        copy_text(want->id, (char **)(uintptr_t)&wait->want.id) &&
        copy_text(want->tenant, (char **)(uintptr_t)&wait->want.tenant))
        wait->asking = logins->ask(logins->arg, &wanted);
    return wait->asking != NULL;
}

faas_code puller_ask(puller *self, const struct puller_want *want, puller_wait **out_wait,
                     faas_err *err)
{
    struct search *search = NULL;
    puller_wait *wait = NULL;
    char *login;
    faas_code code;

    FAAS_TRY(wait_new(self, want, &wait, err));
    if (!ask_login(wait, want, &login)) {
        code = search_for(self, want, login, &search, err);
        if (code != FAAS_OK) {
            wait_free(wait);
            return code;
        }
        wait_join(wait, search);
    }
    if (out_wait != NULL)
        *out_wait = wait;
    return FAAS_OK;
}

/* ---- life ---- */

faas_code puller_new(const struct puller_conf *conf, puller **out_puller, faas_err *err)
{
    puller *self = calloc(1, sizeof *self);
    faas_code code;

    if (self == NULL)
        return faas_fail_sys(err, errno, "puller");
    self->conf = *conf;
    self->ev = faas_loop_ev(conf->loop);
    TAILQ_INIT(&self->known);
    LIST_INIT(&self->searches);
    TAILQ_INIT(&self->asking);
    ev_timer_init(&self->tidy, on_tidy, TIDY_S, TIDY_S);
    self->tidy.data = self;
    code = faas_pool_start(1, QUEUE_MAX, &self->readers, err);
    if (code == FAAS_OK)
        code = faas_pool_start(conf->parallel, QUEUE_MAX, &self->fetchers, err);
    if (code != FAAS_OK) {
        puller_free(self);
        return code;
    }
    ev_timer_start(self->ev, &self->tidy);
    *out_puller = self;
    return FAAS_OK;
}

static void drop_wait(puller_wait *wait)
{
    if (wait->drop != NULL)
        wait->drop(wait->arg);
    wait_free(wait);
}

/* Once no thread runs, each search is on its way back to the loop, which frees it. */
static void orphan(struct search *search)
{
    puller_wait *wait = NULL;

    while ((wait = TAILQ_FIRST(&search->waits)) != NULL)
        drop_wait(wait);
    LIST_REMOVE(search, link);
    search->self = NULL;
}

void puller_use_logins(puller *self, const struct puller_logins *logins)
{
    self->logins = *logins;
}

void puller_free(puller *self)
{
    struct search *search;
    puller_wait *wait = NULL;
    struct known *known;

    if (self == NULL)
        return;
    ev_timer_stop(self->ev, &self->tidy);
    faas_pool_stop(self->readers);
    faas_pool_stop(self->fetchers);
    while ((search = LIST_FIRST(&self->searches)) != NULL)
        orphan(search);
    while ((wait = TAILQ_FIRST(&self->asking)) != NULL)
        drop_wait(wait);
    while ((known = TAILQ_FIRST(&self->known)) != NULL)
        forget(self, known);
    free(self);
}
