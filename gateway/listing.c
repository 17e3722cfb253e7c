#include "gateway/listing.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/spill.h"
#include "contract.h"
#include "gateway/forward.h"
#include "gateway/openfaas.h"
#include "gateway/params.h"
#include "gateway/problem.h"

#define MEMORY_MAX    (1024 * 1024)
#define PAGE_RECORDS  200
#define PAGE_MS       15000 /* for one page, within the time of the whole */
#define READ_AGAIN_MS 1000  /* silence before a page is asked for again */

struct listing {
    TAILQ_ENTRY(listing) link;
    struct gateway *gw;
    http_exchange *x; /* NULL: answered already, while a page was under way */
    struct faas_ctx ctx;
    bool is_long, is_openfaas;

    /* Of the pool while it reads a page, else of the loop. */
    json_t *ask; /* body of the next request: the caller's fields, limit, cursor */
    struct faas_spill text;
    size_t count; /* records in text */
    char *page;   /* a reply */
    size_t page_len;
    bool is_complete;
    faas_err err; /* what reading the page came to */
};

static void listing_free(struct listing *l)
{
    if (l == NULL)
        return;
    json_decref(l->ask);
    faas_spill_done(&l->text);
    free(l->page);
    free(l);
}
typedef struct listing listing;
FAAS_DEFINE_AUTO(listing, listing_free)

/* ---- a page: pool thread ---- */

struct page {
    json_t *items;
    const char *next_cursor;
};

static faas_code ask_from(struct listing *l, const char *cursor, faas_err *err)
{
    size_t left = FAAS_LIST_MAX - l->count;
    size_t limit = left < PAGE_RECORDS ? left : PAGE_RECORDS;

    if (json_object_set_new(l->ask, "limit", json_integer((json_int_t)limit)) != 0 ||
        json_object_set_new(l->ask, "cursor", json_string(cursor)) != 0)
        return faas_fail_sys(err, ENOMEM, "ask for a page");
    return FAAS_OK;
}

static faas_code add_records(struct listing *l, const json_t *items, faas_err *err)
{
    size_t len;
    FAAS_AUTO(char) *text = faas_json_text(items, &len); /* "[...]" */

    if (text == NULL)
        return faas_fail_sys(err, ENOMEM, "encode a page");
    if (len > FAAS_LIST_BYTES_MAX - l->text.len)
        return faas_fail(err, FAAS_TOO_LARGE,
                         "the list is longer than %d bytes, the most that one answer may have; "
                         "read it in pages from /v1/functions",
                         FAAS_LIST_BYTES_MAX);
    if (json_array_size(items) == 0)
        return FAAS_OK;
    if (l->count > 0)
        text[0] = ',';
    l->count += json_array_size(items);
    return faas_spill_add(&l->text, text, len - 1, err);
}

static faas_code read_page(struct listing *l, faas_err *err)
{
    static const struct faas_json_field fields[] = {
        FAAS_FIELD(ANY, struct page, items, "items", 0, 0, true),
        FAAS_FIELD(STR, struct page, next_cursor, "next_cursor", 0, 0, false),
        FAAS_FIELD_END,
    };
    FAAS_AUTO(json_t) *doc = NULL;
    FAAS_AUTO(json_t) *items = NULL;
    struct page page = {0};
    faas_err why = {0};

    if (faas_json_parse(l->page, l->page_len, false, &doc, &why) != FAAS_OK ||
        faas_json_decode(doc, fields, FAAS_JSON_TOLERANT, &page, &why) != FAAS_OK)
        return faas_fail_sys(err, EPROTO, "page of a list: %s", why.msg);
    if (!json_is_array(page.items) || json_array_size(page.items) > FAAS_LIST_MAX - l->count ||
        (page.next_cursor != NULL && json_array_size(page.items) == 0))
        return faas_fail_sys(err, EPROTO, "page of a list: bad items");
    items = l->is_openfaas ? openfaas_functions(page.items) : json_incref(page.items);
    if (items == NULL)
        return faas_fail_sys(err, ENOMEM, "page of a list");
    FAAS_TRY(add_records(l, items, err));
    l->is_complete = page.next_cursor == NULL || l->count == FAAS_LIST_MAX;
    if (!l->is_complete)
        return ask_from(l, page.next_cursor, err);
    return faas_spill_add(&l->text, l->count == 0 ? "[]" : "]", l->count == 0 ? 2 : 1, err);
}

static void on_read(void *arg);

static void read_job(void *arg)
{
    struct listing *l = arg;

    if (read_page(l, &l->err) == FAAS_OK)
        l->err.code = FAAS_OK;
    free(l->page);
    l->page = NULL;
    faas_loop_post(l->gw->rt->loop, on_read, l);
}

/* ---- the list: loop thread ---- */

static void fail(struct listing *l, const faas_err *err)
{
    http_exchange *x = l->x;

    if (err->detail[0] != '\0')
        FAAS_LOG(ERROR, "list failed", FAAS_LSTR("request", x->id),
                 FAAS_LSTR("code", faas_code_slug(err->code)), FAAS_LSTR("detail", err->detail));
    TAILQ_REMOVE(&l->gw->listings, l, link);
    l->x = NULL;
    problem_from_err(x, err, NULL);
}

/* A page is under way: whoever brings it frees. */
static void on_gone(http_exchange *x)
{
    faas_err err = {0};

    (void)faas_fail(&err, FAAS_CLIENT_GONE, "the client closed its side before the answer");
    fail(x->state, &err);
}

static void end_badly(struct listing *l, const faas_err *err)
{
    fail(l, err);
    listing_free(l);
}

static void end_well(struct listing *l)
{
    static const char type[] = "application/json";
    int status = l->x->match.route->status, fd;
    size_t len;
    void *bytes = faas_spill_steal(&l->text, &len, &fd);

    TAILQ_REMOVE(&l->gw->listings, l, link);
    if (fd >= 0)
        http_answer_file(l->x, status, type, fd, len);
    else
        http_answer_bytes(l->x, status, type, bytes, len);
    listing_free(l);
}

static faas_code take_page(struct listing *l, const faas_msg *msg, faas_err *err)
{
    l->page_len = faas_msg_len(msg);
    l->page = malloc(l->page_len + 1);
    if (l->page == NULL)
        return faas_fail_sys(err, ENOMEM, "keep a page");
    memcpy(l->page, faas_msg_data(msg), l->page_len);
    return faas_pool_submit(l->gw->rt->pool, read_job, l, err);
}

static void on_page(void *arg, const struct faas_rpc_reply *reply)
{
    struct listing *l = arg;
    faas_err err = {0};

    if (l->x == NULL) {
        listing_free(l);
    } else if (reply->code != FAAS_OK) {
        TAILQ_REMOVE(&l->gw->listings, l, link);
        forward_answer_failure(l->x, reply);
        listing_free(l);
    } else if (take_page(l, reply->msg, &err) != FAAS_OK) {
        end_badly(l, &err);
    }
}

static faas_code ask(struct listing *l, faas_err *err)
{
    struct faas_ctx ctx = l->ctx;
    uint64_t page_ns = faas_deadline_in_ms(PAGE_MS);
    size_t len;
    FAAS_AUTO(char) *text = faas_json_text(l->ask, &len);
    const struct faas_rpc_request req = {.subject = l->x->match.route->subject,
                                         .ctx = &ctx,
                                         .data = text,
                                         .len = text == NULL ? 0 : len,
                                         .retry = FAAS_RPC_SAFE,
                                         .attempt_ms = READ_AGAIN_MS};

    if (text == NULL)
        return faas_fail_sys(err, ENOMEM, "ask for a page");
    if (ctx.deadline_ns > page_ns)
        ctx.deadline_ns = page_ns;
    faas_rpc_call(l->gw->rt->rpc, &req, on_page, l);
    return FAAS_OK;
}

/* The list does not fit one page. */
static faas_code become_long(struct listing *l, faas_err *err)
{
    struct listing *other;
    int all = 0, own = 0;

    TAILQ_FOREACH (other, &l->gw->listings, link) {
        all += other->is_long;
        own += other->is_long && strcmp(other->ctx.tenant, l->ctx.tenant) == 0;
    }
    if (all >= LISTING_LONG || own >= LISTING_LONG_OWN)
        return faas_fail(err, FAAS_BUSY,
                         "%d long lists at once are gathered already, the most that %s may have",
                         own >= LISTING_LONG_OWN ? LISTING_LONG_OWN : LISTING_LONG,
                         own >= LISTING_LONG_OWN ? "one user" : "all users");
    l->is_long = true;
    http_watch(l->x, on_gone);
    return FAAS_OK;
}

static void on_read(void *arg)
{
    struct listing *l = arg;
    faas_err err = {0};

    if (l->x == NULL)
        listing_free(l);
    else if (l->err.code != FAAS_OK)
        end_badly(l, &l->err);
    else if (l->is_complete)
        end_well(l);
    else if ((!l->is_long && become_long(l, &err) != FAAS_OK) || ask(l, &err) != FAAS_OK)
        end_badly(l, &err);
}

/* ---- life ---- */

static void start(http_exchange *x)
{
    struct listing *l = x->state;
    faas_err err = {0};

    TAILQ_INSERT_TAIL(&l->gw->listings, l, link);
    if (l->gw->is_stopped)
        (void)faas_fail(&err, FAAS_UNAVAILABLE, "the gateway is shutting down");
    if (l->gw->is_stopped || ask(l, &err) != FAAS_OK)
        end_badly(l, &err);
}

struct owner {
    const char *uuid, *uui;
};

/* The registry compares the owner with the caller; other fields are refused here, since the
 * registry would take them for those of a page. */
static faas_code read_body(const http_exchange *x, json_t **out_doc, faas_err *err)
{
    static const struct faas_json_field fields[] = {
        FAAS_FIELD(STR, struct owner, uuid, "uuid", 0, 0, false),
        FAAS_FIELD(STR, struct owner, uui, "uui", 0, 0, false),
        FAAS_FIELD_END,
    };
    const struct gw_input input = {
        .match = &x->match, .query = x->query, .body = x->body, .body_len = x->body_len};
    FAAS_AUTO(char) *text = NULL;
    FAAS_AUTO(json_t) *doc = NULL;
    struct owner owner;
    size_t len;

    FAAS_TRY(gw_request_json(&input, &text, &len, err));
    FAAS_TRY(faas_json_parse(text != NULL ? (const void *)text : x->body, len, true, &doc, err));
    FAAS_TRY(faas_json_decode(doc, fields, FAAS_JSON_STRICT, &owner, err));
    *out_doc = FAAS_STEAL(doc);
    return FAAS_OK;
}

static faas_code begin(struct gateway *gw, http_exchange *x, faas_err *err)
{
    FAAS_AUTO(listing) *l = calloc(1, sizeof *l);

    if (l == NULL)
        return faas_fail_sys(err, errno, "allocate a list");
    faas_spill_init(&l->text, MEMORY_MAX, gw->conf.spill_dir);
    l->gw = gw;
    l->x = x;
    l->is_openfaas = openfaas_speaks(x->match.route);
    forward_fill_ctx(&l->ctx, x);
    FAAS_TRY(read_body(x, &l->ask, err));
    FAAS_TRY(ask_from(l, "", err));
    x->state = l;
    if (!http_defer(x, start))
        return faas_fail(err, FAAS_UNAVAILABLE, "the gateway is shutting down");
    (void)FAAS_STEAL(l);
    return FAAS_OK;
}

void listing_begin(struct gateway *gw, http_exchange *x)
{
    faas_err err = {0};

    if (begin(gw, x, &err) != FAAS_OK)
        problem_from_err(x, &err, NULL);
}

void listing_stop(struct gateway *gw)
{
    struct listing *l;
    faas_err err = {0};

    (void)faas_fail(&err, FAAS_UNAVAILABLE, "the gateway is shutting down");
    while ((l = TAILQ_FIRST(&gw->listings)) != NULL)
        fail(l, &err);
}
