/* The spawner's decoding, encoding and memory, and its talk with an engine, while things fail. */
#include "tests/support/fault.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "services/spawner/call_spec.h"
#include "services/spawner/docker_spec.h"
#include "services/spawner/known.h"
#include "services/spawner/ledger.h"
#include "services/spawner/outcome.h"
#include "services/spawner/registry_auth.h"
#include "services/spawner/runtime_docker.h"
#include "tests/support/answer.h"
#include "tests/unit/unit.h"

#define ID "0190c8f6-0000-7000-8000-0000000000f1"
#define CALL                                                                                       \
    "{\"kind\":\"exec\",\"image\":{\"reference\":\"r\",\"digest\":{\"kind\":\"manifest\","         \
    "\"value\":"                                                                                   \
    "\"sha256:0\"},\"command\":[\"/bin/upper\"]},\"env\":{\"KEY\":\"a value of some length\"}}"
#define IMAGE                                                                                      \
    "{\"Id\":\"sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\","         \
    "\"RepoDigests\":[],\"Config\":{\"Entrypoint\":[\"/bin/upper-with-a-long-name\"]},"            \
    "\"Size\":1,\"Architecture\":\"amd64\"}"

/* ---- a call's way in and out ---- */

/* Nothing that hardens a container is ever left out. */
static faas_code describe(void *state, faas_err *err)
{
    static const char *const needed[] = {"CapDrop",     "SecurityOpt", "ReadonlyRootfs",
                                         "Memory",      "MemorySwap",  "PidsLimit",
                                         "NetworkMode", "Tmpfs",       "Ulimits"};
    FAAS_AUTO(json_t) *meta = NULL;
    FAAS_AUTO(json_t) *body = NULL;
    struct faas_envelope env = {.bytes = "argument", .len = 8};
    struct call_spec spec = {.id = ID};
    struct image_info info = {.id = "sha256:x", .user = "1000"};
    struct docker_spec docker = {.image = "i", .info = &info, .owner = {"c", "s", "e"}};
    const json_t *host;

    (void)state;
    FAAS_TRY(faas_json_parse(CALL, strlen(CALL), false, &meta, err));
    env.meta = meta;
    FAAS_TRY(call_spec_body(&env, &spec, err));
    docker.call = &spec.run;
    docker.engine_cpus = 2;
    FAAS_TRY(docker_spec_json(&docker, &body, err));
    host = json_object_get(body, "HostConfig");
    for (size_t i = 0; i < FAAS_ARRAY_LEN(needed); i++)
        assert_non_null(json_object_get(host, needed[i]));
    assert_int_equal(json_array_size(json_object_get(body, "Cmd")), 2);
    assert_string_equal(json_string_value(json_array_get(json_object_get(body, "Env"), 0)),
                        "KEY=a value of some length");
    return FAAS_OK;
}

static faas_code report(void *state, faas_err *err)
{
    struct stderr_tail tail = {.total = 0};
    const struct rt_outcome outcome = {.code = FAAS_FAILED, .exit_code = 137, .may_have_run = true};
    const struct outcome_report what = {
        .outcome = &outcome, .tail = &tail, .tail_max = 100, .spawner = "s1", .place_ms = 1};
    FAAS_AUTO(json_t) *end = NULL;

    (void)state;
    stderr_tail_add(&tail, "a line of some length\n", 22);
    end = outcome_to_json(&what);
    if (end == NULL || tail.size == 0 || outcome_add_record(end, "t", "f", &tail) != 0) {
        stderr_tail_done(&tail);
        return faas_fail_sys(err, ENOMEM, "outcome");
    }
    stderr_tail_done(&tail);
    assert_true(json_is_true(json_object_get(end, "may_have_run")));
    assert_int_equal(json_integer_value(json_object_get(end, "signal")), 9);
    assert_contains(json_string_value(json_object_get(end, "stderr_tail")), "a line of some");
    return FAAS_OK;
}

static void a_container_is_hardened_or_not_made(void **state)
{
    (void)state;
    fault_each(describe, NULL, 60);
}

static void an_outcome_is_whole_or_not_sent(void **state)
{
    (void)state;
    fault_each(report, NULL, 20);
}

/* ---- what is remembered ---- */

static faas_code fence(void *state, faas_err *err)
{
    ledger *book = NULL;
    faas_code rc;

    (void)state;
    FAAS_TRY(ledger_new(&book, err));
    rc = ledger_note_fence(book, ID, 257, err);
    assert_true(ledger_is_refused(book, ID, 257) == (rc == FAAS_OK)); /* noted, or said so */
    if (rc == FAAS_OK)
        rc = ledger_note_done(book, ID, err);
    ledger_free(book);
    return rc;
}

static faas_code recall(void *state, faas_err *err)
{
    struct image_info info = {.id = "sha256:x"};
    known *set = NULL;

    (void)state;
    FAAS_TRY(known_new(&set, err));
    info.volumes = json_object();
    if (info.volumes != NULL)
        known_put(set, "name", &info);
    assert_true(known_count(set) == (known_get(set, "name") != NULL));
    known_free(set);
    return FAAS_OK;
}

static void a_fence_is_noted_or_refused(void **state)
{
    (void)state;
    fault_each(fence, NULL, 2);
    fault_each(recall, NULL, 3);
}

/* Credentials are sent, or the pull fails: without them it would fail with a lie. */
static faas_code find_login(void *state, faas_err *err)
{
    FAAS_AUTO(char) *header = NULL;

    FAAS_TRY(registry_auth_header(state, "registry.example", &header, err));
    assert_non_null(header);
    assert_contains(header, "X-Registry-Auth: eyJ1c2VybmFtZSI6");
    return FAAS_OK;
}

static void a_login_is_found_or_the_pull_fails(void **state)
{
    static const char text[] = "{\"auths\":{\"registry.example\":{\"auth\":\"YWRhOnNlY3JldA==\"}}}";
    char path[] = "/tmp/faas-fault-XXXXXX";
    int fd = mkstemp(path);

    (void)state;
    assert_int_equal(write(fd, text, sizeof text - 1), sizeof text - 1);
    close(fd);
    fault_each(find_login, path, 15);
    unlink(path);
}

/* ---- an engine ---- */

struct talk {
    faas_loop *loop;
    struct answer answer;
};
struct told {
    int times;
    faas_code code;
    faas_err err;
    bool has_entry;
};

static const void *route(void *arg, const char *request, size_t *out_len)
{
    static const char tagged[] = "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n";
    static char text[512];
    const void *usual = answer_engine(request, out_len);

    (void)arg;
    if (usual != NULL)
        return usual;
    if (strstr(request, "/tag?") != NULL) {
        *out_len = sizeof tagged - 1;
        return tagged;
    }
    *out_len =
        (size_t)snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s",
                         strlen(IMAGE), IMAGE);
    return text;
}

static bool always(void *arg)
{
    (void)arg;
    return true;
}

static bool always_spawner(void *arg, const char *spawner)
{
    (void)arg, (void)spawner;
    return true;
}

static void on_resolved(void *arg, faas_code code, const json_t *reply, const faas_err *err)
{
    struct told *told = arg;
    const json_t *list = json_object_get(reply, "entrypoint");

    told->times++;
    told->code = code;
    told->has_entry =
        json_array_size(list) == 1 &&
        strcmp(json_string_value(json_array_get(list, 0)), "/bin/upper-with-a-long-name") == 0;
    if (code != FAAS_OK)
        told->err = *err;
}

/* From nothing to an image's description; every step may fail, and the end comes once. */
static faas_code resolve(void *state, faas_err *err)
{
    struct talk *talk = state;
    struct docker_conf conf = {.loop = talk->loop,
                               .host = talk->answer.host,
                               .auth_file = "",
                               .allowed = "*",
                               .pulls = 1,
                               .pull_timeout_ms = 1000,
                               .owner = {"c", "s", "e"},
                               .is_bus_heard = always,
                               .is_spawner_heard = always_spawner};
    struct told told = {.times = 0};
    struct runtime *rt = NULL;

    FAAS_TRY(runtime_docker_new(&conf, &rt, err));
    runtime_docker_begin(rt, "e");
    while (!runtime_docker_is_settled(rt))
        ev_run(talk->answer.ev, EVRUN_ONCE);
    rt->ops->resolve(rt, &(struct rt_image){.reference = "upper"}, 1000, on_resolved, &told);
    while (told.times == 0)
        ev_run(talk->answer.ev, EVRUN_ONCE);
    fault_pause(true);
    runtime_docker_free(rt);
    while (!LIST_EMPTY(&talk->answer.conns))
        ev_run(talk->answer.ev, EVRUN_ONCE);
    assert_int_equal(told.times, 1);
    if (told.code == FAAS_OK)
        assert_true(told.has_entry);
    else
        *err = told.err;
    return told.code;
}

static void an_engine_is_asked_and_the_end_comes_once(void **state)
{
    struct talk talk = {.loop = NULL};

    (void)state;
    assert_ok(faas_loop_new(&talk.loop, NULL));
    talk.answer = (struct answer){.ev = faas_loop_ev(talk.loop), .route = route};
    answer_open(&talk.answer);
    fault_each(resolve, &talk, 40);
    answer_close(&talk.answer);
    faas_loop_free(talk.loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_container_is_hardened_or_not_made),
        cmocka_unit_test(an_outcome_is_whole_or_not_sent),
        cmocka_unit_test(a_fence_is_noted_or_refused),
        cmocka_unit_test(a_login_is_found_or_the_pull_fails),
        cmocka_unit_test(an_engine_is_asked_and_the_end_comes_once),
    };

    faas_log_setup("fault", "", FAAS_LOG_ERROR);
    return run_unit(tests);
}
