#include "tests/unit/unit.h"

#include <string.h>

#include "services/spawner/call_spec.h"
#include "services/spawner/docker_spec.h"

static faas_err err;
static struct rt_spec call;
static struct image_info info;

static int fresh(void **state)
{
    (void)state;
    call_spec_defaults(&call);
    call.call_id = "id";
    call.argument = "arg";
    call.argument_len = 3;
    memset(&info, 0, sizeof info);
    memset(&err, 0, sizeof err);
    return 0;
}

static json_t *body_of(int cpus)
{
    struct docker_spec spec = {.call = &call,
                               .image = "sha256:1",
                               .info = &info,
                               .owner = {"c", "s", "e"},
                               .engine_cpus = cpus,
                               .expires_s = 99};
    json_t *body = NULL;

    assert_ok(docker_spec_json(&spec, &body, &err));
    return body;
}

static void assert_json(const json_t *at, const char *expected)
{
    FAAS_AUTO(char) *text = json_dumps(at, JSON_COMPACT | JSON_ENCODE_ANY | JSON_SORT_KEYS);

    assert_non_null(text);
    assert_string_equal(text, expected);
}

/* The floor: every container, with nothing asked for. */
static void every_container_is_confined(void **state)
{
    FAAS_AUTO(json_t) *body = body_of(4);

    (void)state;
    assert_json(
        json_object_get(body, "HostConfig"),
        "{\"CapDrop\":[\"ALL\"],\"IpcMode\":\"private\",\"LogConfig\":{\"Type\":\"none\"},"
        "\"Memory\":134217728,\"MemorySwap\":134217728,\"NanoCpus\":1000000000,"
        "\"NetworkMode\":\"none\",\"PidsLimit\":128,\"Privileged\":false,"
        "\"ReadonlyRootfs\":true,\"RestartPolicy\":{\"Name\":\"no\"},"
        "\"SecurityOpt\":[\"no-new-privileges\"],\"ShmSize\":8388608,"
        "\"Tmpfs\":{\"/tmp\":\"rw,noexec,nosuid,nodev,mode=1777,nr_inodes=16384,size=64m\"},"
        "\"Ulimits\":[{\"Hard\":1024,\"Name\":\"nofile\",\"Soft\":1024},"
        "{\"Hard\":0,\"Name\":\"core\",\"Soft\":0}]}");
    assert_json(json_object_get(body, "Labels"),
                "{\"faas.call\":\"id\",\"faas.cluster\":\"c\",\"faas.epoch\":\"e\","
                "\"faas.expires\":\"99\",\"faas.spawner\":\"s\"}");
    assert_json(json_object_get(body, "User"), "\"65534:65534\"");
    assert_json(json_object_get(body, "Hostname"), "\"function\"");
    assert_json(json_object_get(body, "Healthcheck"), "{\"Test\":[\"NONE\"]}");
    assert_json(json_object_get(body, "Tty"), "false");
    assert_json(json_object_get(body, "OpenStdin"), "false");
    assert_json(json_object_get(body, "Cmd"), "[\"arg\"]");
    assert_json(json_object_get(body, "Env"), "[]");
}

static void limits_follow_the_call_within_what_the_engine_has(void **state)
{
    FAAS_AUTO(json_t) *few = NULL, *many = NULL;

    (void)state;
    call.cpus = 16;
    call.memory_mb = 1;
    call.has_network = true;
    few = body_of(2);
    assert_json(json_object_get(json_object_get(few, "HostConfig"), "NanoCpus"), "2000000000");
    assert_json(json_object_get(json_object_get(few, "HostConfig"), "Memory"), "6291456");
    assert_json(json_object_get(json_object_get(few, "HostConfig"), "NetworkMode"), "\"bridge\"");
    call.cpus = 0.25;
    call.memory_mb = 512;
    many = body_of(2);
    assert_json(json_object_get(json_object_get(many, "HostConfig"), "NanoCpus"), "250000000");
    assert_json(json_object_get(json_object_get(many, "HostConfig"), "MemorySwap"), "536870912");
}

static void the_command_comes_before_the_argument_which_stays_one_element(void **state)
{
    FAAS_AUTO(json_t) *command = json_pack("[s,s]", "prog", "-x");
    FAAS_AUTO(json_t) *body = NULL, *empty = NULL;

    (void)state;
    call.command = command;
    call.argument = "--flag \"q\"\n\xc3\xa9";
    call.argument_len = strlen(call.argument);
    body = body_of(1);
    assert_json(json_object_get(body, "Cmd"), "[\"prog\",\"-x\",\"--flag \\\"q\\\"\\n\xc3\xa9\"]");
    call.argument = NULL;
    call.argument_len = 0;
    call.command = NULL;
    empty = body_of(1);
    assert_json(json_object_get(empty, "Cmd"), "[\"\"]");
}

static void an_argument_that_cannot_be_one_does_not_start(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
    } bad[] = {{"a\0b", 3}, {"\xff", 1}, {"\xed\xa0\x80", 3}};

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(bad); i++) {
        struct docker_spec spec = {
            .call = &call, .image = "i", .info = &info, .owner = {"c", "s", "e"}};
        json_t *body = NULL;

        call.argument = bad[i].bytes;
        call.argument_len = bad[i].len;
        assert_int_equal(docker_spec_json(&spec, &body, &err), FAAS_START_FAILED);
        assert_contains(err.msg, "UTF-8");
        assert_null(body);
    }
}

static void stdin_input_opens_stdin_and_leaves_argv_alone(void **state)
{
    FAAS_AUTO(json_t) *body = NULL;

    (void)state;
    call.is_stdin = true;
    call.argument = "\xff\0";
    call.argument_len = 2;
    body = body_of(1);
    assert_null(json_object_get(body, "Cmd"));
    assert_json(json_object_get(body, "OpenStdin"), "true");
    assert_json(json_object_get(body, "StdinOnce"), "true");
    assert_json(json_object_get(body, "AttachStdin"), "true");
}

static void secrets_come_by_stdin_to_a_program_that_becomes_the_images(void **state)
{
    struct secret_value *value = secret_value_new("key", 1, NULL, 5000);
    struct secret_set *set = secret_set_new(&value, 1);
    FAAS_AUTO(json_t) *plain = NULL, *fed = NULL;
    const json_t *tmpfs;

    (void)state;
    info.entrypoint = json_pack("[s,s]", "/bin/sh", "-c");
    info.cmd = json_pack("[s]", "its own");
    call.secrets = set;
    plain = body_of(4);
    assert_json(json_object_get(plain, "Entrypoint"), "[\"/.faas/faas-enter\"]");
    assert_json(json_object_get(plain, "Cmd"), "[\"nothing\",\"/bin/sh\",\"-c\",\"arg\"]");
    assert_json(json_object_get(plain, "OpenStdin"), "true");
    assert_json(json_object_get(plain, "Volumes"), "{\"/.faas\":{}}");
    tmpfs = json_object_get(json_object_get(plain, "HostConfig"), "Tmpfs");
    assert_json(json_object_get(tmpfs, "/run/secrets"),
                "\"rw,noexec,nosuid,nodev,mode=0700,uid=65534,gid=65534,nr_inodes=40,size=12288\"");
    assert_int_equal(json_object_size(tmpfs), 3);
    call.is_stdin = true;
    fed = body_of(4);
    assert_json(json_object_get(fed, "Cmd"), "[\"stdin\",\"/bin/sh\",\"-c\",\"its own\"]");
    json_decref(info.entrypoint);
    json_decref(info.cmd);
    secret_set_unref(set);
    secret_value_unref(value);
}

static void the_environment_is_the_records_only(void **state)
{
    FAAS_AUTO(json_t) *env = json_pack("{s:s,s:s}", "A", "1=2", "B", "");
    FAAS_AUTO(json_t) *body = NULL;

    (void)state;
    call.env = env;
    body = body_of(1);
    assert_json(json_object_get(body, "Env"), "[\"A=1=2\",\"B=\"]");
}

static void declared_volumes_become_small_tmpfs(void **state)
{
    FAAS_AUTO(json_t) *body = NULL;
    const json_t *tmpfs;

    (void)state;
    info.volumes = json_pack("{s:{},s:{}}", "/data/", "/tmp");
    body = body_of(1);
    tmpfs = json_object_get(json_object_get(body, "HostConfig"), "Tmpfs");
    assert_int_equal(json_object_size(tmpfs), 2);
    assert_contains(json_string_value(json_object_get(tmpfs, "/tmp")), "rw,noexec,nosuid,nodev,");
    assert_contains(json_string_value(json_object_get(tmpfs, "/data")), "rw,exec,nosuid,nodev,");
    json_decref(info.volumes);
}

static void a_volume_that_cannot_be_one_is_told(void **state)
{
    struct docker_spec spec = {
        .call = &call, .image = "i", .info = &info, .owner = {"c", "s", "e"}};
    json_t *body = NULL;

    (void)state;
    info.volumes = json_pack("{s:{}}", "relative");
    assert_int_equal(docker_spec_json(&spec, &body, &err), FAAS_START_FAILED);
    assert_contains(err.msg, "VOLUME relative: must be absolute");
    json_decref(info.volumes);
}

static void no_image_user_becomes_root(void **state)
{
    static const char *const rows[][2] = {
        {"", "65534:65534"},
        {"0", "65534:65534"},
        {"root", "65534:65534"},
        {"toor", "65534:65534"},
        {"0:0", "65534:65534"},
        {"00", "65534:65534"},
        {"1000", "1000:65534"},
        {"1000:0", "1000:65534"},
        {"1000:1001", "1000:1001"},
        {"1234:2345", "1234:2345"},
        {"1000:staff", "1000:65534"},
        {"-1", "65534:65534"},
        {"+5", "65534:65534"},
        {" 5", "65534:65534"},
        {"5x", "65534:65534"},
        {"0x10", "65534:65534"},
        {"4294967296", "65534:65534"},
        {"2147483648", "65534:65534"},
        {"2147483647", "2147483647:65534"},
        {"1000:4294967296", "1000:65534"},
        {"99999999999999999999999", "65534:65534"},
    };

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(rows); i++) {
        char user[DOCKER_USER_MAX];

        docker_user(rows[i][0], user);
        assert_string_equal(user, rows[i][1]);
    }
    test_promise(16, "0 of %zu USER lines become root", FAAS_ARRAY_LEN(rows));
}

#define FRESH(test) cmocka_unit_test_setup(test, fresh)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FRESH(every_container_is_confined),
        FRESH(limits_follow_the_call_within_what_the_engine_has),
        FRESH(the_command_comes_before_the_argument_which_stays_one_element),
        FRESH(an_argument_that_cannot_be_one_does_not_start),
        FRESH(stdin_input_opens_stdin_and_leaves_argv_alone),
        FRESH(secrets_come_by_stdin_to_a_program_that_becomes_the_images),
        FRESH(the_environment_is_the_records_only),
        FRESH(declared_volumes_become_small_tmpfs),
        FRESH(a_volume_that_cannot_be_one_is_told),
        FRESH(no_image_user_becomes_root),
    };

    return run_unit(tests);
}
