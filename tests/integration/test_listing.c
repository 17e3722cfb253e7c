/* GET /registry/list gathers pages: a real gateway with a real registry, and with a registry that
 * says what a test tells it. */
#include "tests/support/gate.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "contract.h"
#include "tests/support/program.h"
#include "tests/unit/unit.h"

#define LONG_MS  60000
#define FAT      300 /* records at their limits: over two messages of them */
#define THIN     6000
#define FAT_TEXT (60 * 1024)

static struct gate gate;
static struct reply reply;

static void list(const char *query)
{
    char path[200];

    reply_done(&reply);
    (void)snprintf(path, sizeof path, "/registry/list%s", query);
    gate_ask(&gate, "GET", path, NULL, NULL, &reply);
}

static void assert_problem(int status, const char *text)
{
    assert_int_equal(reply.status, status);
    assert_string_equal(reply_field(&reply, "Content-Type"), "application/problem+json");
    if (strstr(reply.body, text) == NULL)
        fail_msg("\"%s\" is not in %s", text, reply.body);
}

static int calm(void **state)
{
    (void)state;
    reply_done(&reply);
    return 0;
}

/* ---- the real registry ---- */

static struct process writer;
static pid_t registry;

static bool is_listed(void *arg)
{
    size_t *wanted = arg;
    FAAS_AUTO(json_t) *records = NULL;

    list("");
    if (reply.status != 200)
        return false;
    records = json_loadb(reply.body, reply.len, 0, NULL);
    assert_non_null(records);
    return json_array_size(records) == *wanted;
}

static int open_real(void **state)
{
    char urls[256], data[96], log[96];
    const char *const settings[] = {urls, data, "INSTANCE_ID=r1", "REPLICAS=1", NULL};
    size_t none = 0;

    (void)state;
    gate_open(&gate, NULL);
    (void)snprintf(urls, sizeof urls, "NATS_URL=%s", nats_urls(gate.nats));
    (void)snprintf(data, sizeof data, "DATA_DIR=%s/registry", nats_dir(gate.nats));
    (void)snprintf(log, sizeof log, "%s/registry.log", nats_dir(gate.nats));
    registry = program_start("registry", settings, log);
    process_start(&writer, &(struct process_conf){
                               .urls = nats_urls(gate.nats), .service = "registry", .id = "w1"});
    wait_until(is_listed, &none, LONG_MS, "the registry lists");
    return 0;
}

static int close_real(void **state)
{
    (void)state;
    process_stop(&writer, NULL, NULL);
    assert_int_equal(program_stop(registry, SIGTERM, LONG_MS), 0);
    gate_close(&gate);
    return 0;
}

/* Straight into the bucket: registering resolves an image each time. */
static void put_head(int number, const char *description, json_t *env)
{
    char key[160], name[16];
    FAAS_AUTO(json_t) *doc = NULL;
    FAAS_AUTO(char) *text = NULL;
    struct faas_out out = {.subject = key};
    faas_err err = {0};

    (void)snprintf(name, sizeof name, "f%06d", number);
    (void)snprintf(key, sizeof key, "$KV.functions.f.%s.%032x", GATE_TENANT, (unsigned)number);
    doc = json_pack("{s:i, s:s, s:s, s:s, s:s, s:s, s:{s:s, s:s}, s:s, s:[], s:i, s:I, s:I, s:O}",
                    "v", 1, "id", "0190a000-0000-7000-8000-000000000003", "uuid", GATE_USER, "name",
                    name, "description", description, "payload", "good:latest", "digest", "kind",
                    "docker-id", "value", "sha256:00", "reference", "good", "command", "version", 1,
                    "created_at", (json_int_t)1700000000000, "updated_at",
                    (json_int_t)1700000000000, "env", env);
    text = faas_json_text(doc, &out.len);
    assert_non_null(text);
    out.data = text;
    assert_ok(faas_bus_publish(writer.bus, FAAS_DATA, &out, &err));
}

static void assert_in_order(const json_t *records)
{
    const char *last = "", *name;
    size_t i;
    json_t *record;

    json_array_foreach (records, i, record) {
        name = json_string_value(json_object_get(record, "name"));
        assert_non_null(name);
        assert_true(strcmp(last, name) < 0);
        last = name;
    }
}

static void records_at_their_limits_are_listed(void **state)
{
    FAAS_AUTO(char) *text = malloc(FAAS_ENV_BYTES_MAX);
    FAAS_AUTO(json_t) *env = NULL;
    FAAS_AUTO(json_t) *records = NULL;
    size_t wanted = FAT;

    (void)state;
    assert_non_null(text);
    memset(text, '"', FAAS_ENV_BYTES_MAX); /* twice as long in JSON */
    text[FAAS_ENV_BYTES_MAX - 2] = '\0';
    env = json_pack("{s:s}", "E", text);
    text[FAAS_DESCRIPTION_MAX] = '\0';
    for (int i = 0; i < FAT; i++)
        put_head(i, text, env);
    wait_until(is_listed, &wanted, LONG_MS, "all fat records are listed");
    records = json_loadb(reply.body, reply.len, 0, NULL);
    assert_in_order(records);
    for (size_t i = 0; i < FAT; i++)
        assert_true(json_equal(json_object_get(json_array_get(records, i), "env"), env));
}

static void a_list_of_thousands_is_whole(void **state)
{
    FAAS_AUTO(json_t) *env = json_object();
    FAAS_AUTO(json_t) *records = NULL;
    FAAS_AUTO(json_t) *page = NULL;
    size_t wanted = FAT + THIN;

    (void)state;
    for (int i = 0; i < THIN; i++)
        put_head(FAT + i, "", env);
    wait_until(is_listed, &wanted, LONG_MS, "all records are listed");
    records = json_loadb(reply.body, reply.len, 0, NULL);
    assert_in_order(records);
    reply_done(&reply);
    gate_ask(&gate, "GET", "/v1/functions?limit=1&q=f006299", NULL, NULL, &reply);
    page = json_loadb(reply.body, reply.len, 0, NULL);
    assert_true(json_equal(json_array_get(records, wanted - 1),
                           json_array_get(json_object_get(page, "items"), 0)));
    list("?uuid=" GATE_TENANT); /* not the caller's id */
    assert_problem(403, "\"component\":\"registry\"");
}

/* ---- a registry as told ---- */

enum told_mood { ENDS, ENDLESS, LATER_FAILS, EMPTY_WITH_MORE, LATER_SILENT, ALL_FAT };

static struct {
    struct process process;
    _Atomic enum told_mood mood;
    _Atomic int asked, waiting; /* requests; lists that wait for their second page */
    char fat[FAT_TEXT];
    /* loop thread */
    char ids[16][FAAS_UUID_TEXT];
} told;

static void note_waiting(const char *id)
{
    int count = atomic_load(&told.waiting);

    for (int i = 0; i < count; i++)
        if (strcmp(told.ids[i], id) == 0)
            return; /* asked again */
    assert_true(count < 16);
    (void)snprintf(told.ids[count], sizeof told.ids[count], "%s", id);
    atomic_fetch_add(&told.waiting, 1);
}

static json_t *told_page(json_int_t limit, bool has_more)
{
    FAAS_AUTO(json_t) *items = json_array();
    bool is_fat = told.mood == ALL_FAT;

    if (is_fat && limit > 30)
        limit = 30;
    for (json_int_t i = 0; i < limit && told.mood != EMPTY_WITH_MORE; i++)
        (void)json_array_append_new(items,
                                    json_pack("{s:I, s:s}", "n", i, "d", is_fat ? told.fat : ""));
    return json_pack("{s:O, s:s?, s:i}", "items", items, "next_cursor", has_more ? "more" : NULL,
                     "later_field", 1);
}

static void on_told_page(void *arg, faas_msg *take_msg)
{
    FAAS_AUTO(faas_msg) *msg = take_msg;
    FAAS_AUTO(json_t) *body = json_loadb(faas_msg_data(msg), faas_msg_len(msg), 0, NULL);
    FAAS_AUTO(json_t) *page = NULL;
    bool is_first = json_string_length(json_object_get(body, "cursor")) == 0;
    faas_err err = {0};

    (void)arg;
    atomic_fetch_add(&told.asked, 1);
    if (!is_first && told.mood == LATER_SILENT) {
        note_waiting(faas_msg_header(msg, FAAS_H_ID));
        return;
    }
    if (!is_first && told.mood == LATER_FAILS) {
        (void)faas_fail(&err, FAAS_UNAVAILABLE, "as the test says");
        faas_rpc_answer_err(told.process.rpc, msg, &err);
        return;
    }
    page = told_page(json_integer_value(json_object_get(body, "limit")), told.mood != ENDS);
    faas_rpc_answer_json(told.process.rpc, msg, page);
}

static int open_told(void **state)
{
    static const struct faas_endpoint endpoints[] = {
        {.name = "page",
         .subject = FAAS_SUBJ_REGISTRY_PAGE,
         .queue = FAAS_QUEUE,
         .body_max = 65536,
         .on_message = on_told_page},
        {.name = NULL},
    };

    (void)state;
    gate_open(&gate, NULL);
    memset(told.fat, 'x', sizeof told.fat - 1);
    process_start(&told.process, &(struct process_conf){.urls = nats_urls(gate.nats),
                                                        .service = "registry",
                                                        .id = "r1",
                                                        .endpoints = endpoints});
    return 0;
}

static int close_told(void **state)
{
    (void)state;
    process_stop(&told.process, NULL, NULL);
    gate_close(&gate);
    return 0;
}

static void a_page_that_fails_on_the_way_is_the_answer(void **state)
{
    (void)state;
    told.mood = LATER_FAILS;
    list("");
    assert_problem(503, "as the test says");
    assert_problem(503, "\"component\":\"registry\"");
}

static void a_page_that_leads_nowhere_is_an_error(void **state)
{
    (void)state;
    told.mood = EMPTY_WITH_MORE;
    told.asked = 0;
    list("");
    assert_problem(500, "internal");
    assert_int_equal(told.asked, 1);
}

static void a_list_ends_at_its_limit(void **state)
{
    FAAS_AUTO(json_t) *records = NULL;

    (void)state;
    told.mood = ENDLESS;
    list("");
    assert_int_equal(reply.status, 200);
    records = json_loadb(reply.body, reply.len, 0, NULL);
    assert_int_equal(json_array_size(records), FAAS_LIST_MAX);
}

static void a_list_beyond_its_bytes_is_too_large(void **state)
{
    (void)state;
    told.mood = ALL_FAT;
    list("");
    assert_problem(413, "/v1/functions");
}

static void parameters_of_a_page_are_none_of_a_list(void **state)
{
    (void)state;
    told.mood = ENDS;
    list("?limit=3");
    assert_problem(400, "limit: unknown field");
    list("?cursor=x");
    assert_problem(400, "cursor: unknown field");
    list("?uuid=" GATE_USER);
    assert_int_equal(reply.status, 200);
}

/* ---- many at once ---- */

static int begin_list(void)
{
    FAAS_AUTO(char) *token = gate_token(&gate, 0, 600);
    FAAS_AUTO(char) *text = NULL;
    int fd = gate_connect(&gate), len;

    len = asprintf(&text,
                   "GET /registry/list HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
                   "Authorization: Bearer %s\r\n\r\n",
                   token);
    assert_true(fd >= 0 && len > 0);
    assert_int_equal(send(fd, text, (size_t)len, 0), len);
    return fd;
}

static bool is_waiting(void *arg)
{
    const int *wanted = arg;

    return told.waiting == *wanted;
}

static bool is_room(void *arg)
{
    (void)arg;
    list("");
    return reply.status == 200;
}

static void long_lists_at_once_are_bounded(void **state)
{
    int fds[4], all = 4;

    (void)state;
    told.mood = LATER_SILENT;
    for (int i = 0; i < 4; i++)
        fds[i] = begin_list();
    wait_until(is_waiting, &all, LONG_MS, "four lists wait for their second page");
    list("");
    assert_problem(429, "busy");
    assert_true(reply_field(&reply, "Retry-After")[0] != '\0');
    told.mood = ENDS;
    list(""); /* a short one is not refused */
    assert_int_equal(reply.status, 200);
    for (int i = 0; i < 4; i++)
        close(fds[i]);
    told.mood = ENDLESS;
    wait_until(is_room, NULL, LONG_MS, "lists of clients that left make room");
}

#define test(f) cmocka_unit_test_teardown(f, calm)

int main(void)
{
    const struct CMUnitTest real[] = {
        test(records_at_their_limits_are_listed),
        test(a_list_of_thousands_is_whole),
    };
    const struct CMUnitTest as_told[] = {
        test(a_page_that_fails_on_the_way_is_the_answer),
        test(a_page_that_leads_nowhere_is_an_error),
        test(a_list_ends_at_its_limit),
        test(a_list_beyond_its_bytes_is_too_large),
        test(parameters_of_a_page_are_none_of_a_list),
        test(long_lists_at_once_are_bounded),
    };
    int failed = cmocka_run_group_tests_name("real", real, open_real, close_real);

    return failed + cmocka_run_group_tests_name("told", as_told, open_told, close_told);
}
