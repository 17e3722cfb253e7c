#include "tests/unit/unit.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/option.h"
#include "version.h"

static struct {
    char *url, *secret, *key_file, *key;
    int64_t threads, offset;
    bool is_direct;
} conf;

static const struct faas_option bus_rows[] = {
    FAAS_OPT_GROUP("Bus"),
    FAAS_OPT_STR(conf.url, "T_NATS_URL", "nats://127.0.0.1:4222", "servers"),
    FAAS_OPT_SECRET(conf.secret, "T_PASSWORD", "", "bus password"),
    FAAS_OPT_STR(conf.key_file, "T_KEY_FILE", "", "path of a key"),
    FAAS_OPT_STR(conf.key, "T_KEY", "", "a key's name"),
    FAAS_OPT_END,
};
static const struct faas_option work_rows[] = {
    FAAS_OPT_INT(conf.threads, "T_POOL_THREADS", "4", 1, 64, "worker threads"),
    FAAS_OPT_INT(conf.offset, "T_OFFSET", "0", -5, 5, "offset"),
    FAAS_OPT_BOOL(conf.is_direct, "T_DIRECT", "no", "serve directly"),
    FAAS_OPT_END,
};
static const struct faas_option *const tables[] = {bus_rows, work_rows, NULL};

static const struct faas_option required_rows[] = {
    FAAS_OPT_STR(conf.url, "T_NATS_URL", NULL, "servers"),
    FAAS_OPT_INT(conf.threads, "T_POOL_THREADS", NULL, 1, 64, "worker threads"),
    FAAS_OPT_END,
};
static const struct faas_option *const required_tables[] = {required_rows, NULL};

static faas_err err;

/* Loads with the arguments given as one NULL-terminated list. */
static faas_code load(const struct faas_option *const *which, ...)
{
    char *argv[16] = {(char[]){"test"}};
    bool is_exit = true;
    va_list args;
    int argc = 1;
    faas_code rc;

    va_start(args, which);
    while (argc < 15 && (argv[argc] = va_arg(args, char *)) != NULL)
        argc++;
    va_end(args);
    err = (faas_err){0};
    rc = faas_options_load(which, argc, argv, &is_exit, &err);
    assert_false(is_exit);
    return rc;
}

static int clean(void **state)
{
    static const char *const names[] = {
        "T_NATS_URL", "T_NATS_URL_FILE", "T_PASSWORD",     "T_PASSWORD_FILE",     "T_KEY",
        "T_KEY_FILE", "T_KEY_FILE_FILE", "T_POOL_THREADS", "T_POOL_THREADS_FILE", "T_DIRECT",
        "T_OFFSET",
    };

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(names); i++)
        unsetenv(names[i]);
    faas_options_free(tables);
    memset(&conf, 0, sizeof conf);
    return 0;
}

/* A new file that holds len bytes; the path is good until the next call. */
static const char *file_with(const char *text, size_t len)
{
    static char path[64];
    int fd;

    snprintf(path, sizeof path, "/tmp/faas-option-XXXXXX");
    fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, len), len);
    close(fd);
    return path;
}

static void defaults_hold_without_anything_else(void **state)
{
    (void)state;
    assert_ok(load(tables, NULL));
    assert_string_equal(conf.url, "nats://127.0.0.1:4222");
    assert_string_equal(conf.secret, "");
    assert_int_equal(conf.threads, 4);
    assert_false(conf.is_direct);
}

static void file_beats_variable_and_argument_beats_file(void **state)
{
    const char *path = file_with("from file\n", 10);

    (void)state;
    setenv("T_NATS_URL", "from variable", 1);
    assert_ok(load(tables, NULL));
    assert_string_equal(conf.url, "from variable");
    faas_options_free(tables);
    setenv("T_NATS_URL_FILE", path, 1);
    assert_ok(load(tables, NULL));
    assert_string_equal(conf.url, "from file");
    faas_options_free(tables);
    assert_ok(load(tables, "--t-nats-url", "from argument", NULL));
    assert_string_equal(conf.url, "from argument");
    unlink(path);
}

static void arguments_come_with_equals_or_as_two_words(void **state)
{
    (void)state;
    assert_ok(load(tables, "--t-pool-threads=7", "--t-offset", "-5", "--t-direct", NULL));
    assert_int_equal(conf.threads, 7);
    assert_int_equal(conf.offset, -5);
    assert_true(conf.is_direct);
    faas_options_free(tables);
    assert_ok(load(tables, "--t-direct=off", "--t-pool-threads=7", "--t-pool-threads=8",
                   "--t-nats-url=", NULL));
    assert_false(conf.is_direct);
    assert_int_equal(conf.threads, 8);
    assert_string_equal(conf.url, "");
}

static void files_lose_one_newline_only(void **state)
{
    const char *path = file_with("a\n\n", 3);

    (void)state;
    setenv("T_PASSWORD_FILE", path, 1);
    assert_ok(load(tables, NULL));
    assert_string_equal(conf.secret, "a\n");
    unlink(path);
}

static void a_file_that_cannot_be_read_is_named(void **state)
{
    (void)state;
    setenv("T_PASSWORD_FILE", "/nonexistent/secret", 1);
    assert_int_equal(load(tables, NULL), FAAS_INVALID);
    assert_string_equal(err.msg,
                        "T_PASSWORD_FILE: cannot read /nonexistent/secret: No such file or "
                        "directory");
}

static void a_file_with_a_nul_byte_is_refused(void **state)
{
    const char *path = file_with("a\0b", 3);

    (void)state;
    setenv("T_PASSWORD_FILE", path, 1);
    assert_int_equal(load(tables, NULL), FAAS_INVALID);
    assert_contains(err.msg, "the file is over 1 MiB or holds a NUL byte");
    unlink(path);
}

static void an_endless_file_is_refused(void **state)
{
    (void)state;
    setenv("T_NATS_URL_FILE", "/dev/zero", 1);
    assert_int_equal(load(tables, NULL), FAAS_INVALID);
    assert_contains(err.msg, "T_NATS_URL_FILE: cannot read /dev/zero: the file is over 1 MiB");
}

/* T_KEY_FILE is a path to keep, not the place of T_KEY. */
static void a_setting_whose_name_ends_in_file_is_its_own(void **state)
{
    (void)state;
    setenv("T_KEY_FILE", "/etc/key", 1);
    assert_ok(load(tables, NULL));
    assert_string_equal(conf.key_file, "/etc/key");
    assert_string_equal(conf.key, "");
}

static void numbers_are_checked_whole(void **state)
{
    static const char *const bad[] = {"",   "x",   "4x",  " 4",   "+4",  "4 ", "0x4",
                                      "4.", "1e1", "--1", "four", "\n4", "4\n"};

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(bad); i++) {
        setenv("T_POOL_THREADS", bad[i], 1);
        assert_int_equal(load(tables, NULL), FAAS_INVALID);
        assert_contains(err.msg, "T_POOL_THREADS: not a whole number: \"");
        assert_contains(err.msg, "\", allowed 1 to 64");
        faas_options_free(tables);
    }
}

static void numbers_out_of_bounds_name_the_bounds(void **state)
{
    static const char *const bad[] = {"0", "65", "-1", "99999999999999999999"};

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(bad); i++) {
        setenv("T_POOL_THREADS", bad[i], 1);
        assert_int_equal(load(tables, NULL), FAAS_INVALID);
        assert_contains(err.msg, "T_POOL_THREADS: ");
        assert_contains(err.msg, " is out of bounds, allowed 1 to 64");
        faas_options_free(tables);
    }
    setenv("T_POOL_THREADS", "65", 1);
    assert_ok(load(tables, "--t-pool-threads=64", NULL));
    assert_int_equal(conf.threads, 64);
}

static void booleans_take_eight_words(void **state)
{
    static const char *const yes[] = {"1", "true", "yes", "on"};
    static const char *const no[] = {"0", "false", "no", "off"};

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        setenv("T_DIRECT", yes[i], 1);
        assert_ok(load(tables, NULL));
        assert_true(conf.is_direct);
        faas_options_free(tables);
        setenv("T_DIRECT", no[i], 1);
        assert_ok(load(tables, NULL));
        assert_false(conf.is_direct);
        faas_options_free(tables);
    }
    setenv("T_DIRECT", "maybe", 1);
    assert_int_equal(load(tables, NULL), FAAS_INVALID);
    assert_string_equal(err.msg, "T_DIRECT: not a yes or no: \"maybe\", allowed 1, true, yes, on, "
                                 "0, false, no, off");
}

static void a_mistyped_argument_names_the_nearest(void **state)
{
    (void)state;
    assert_int_equal(load(tables, "--t-pol-threads=4", NULL), FAAS_INVALID);
    assert_string_equal(err.msg,
                        "--t-pol-threads: unknown argument; did you mean --t-pool-threads?");
    assert_int_equal(load(tables, "--colour=red", NULL), FAAS_INVALID);
    assert_string_equal(err.msg, "--colour: unknown argument; --help lists the known ones");
    assert_int_equal(load(tables, "start", NULL), FAAS_INVALID);
    assert_string_equal(err.msg, "start: unknown argument; --help lists the known ones");
    assert_int_equal(load(tables, "--T-DIRECT", NULL), FAAS_INVALID);
}

static void a_very_long_argument_is_cut_in_the_message(void **state)
{
    char arg[5000];

    (void)state;
    memset(arg, 'x', sizeof arg - 1);
    arg[sizeof arg - 1] = '\0';
    assert_int_equal(load(tables, arg, NULL), FAAS_INVALID);
    assert_contains(err.msg, "x: unknown argument; --help lists the known ones");
    assert_true(strlen(err.msg) < 128);
}

static void an_argument_without_its_value_says_so(void **state)
{
    (void)state;
    assert_int_equal(load(tables, "--t-nats-url", NULL), FAAS_INVALID);
    assert_string_equal(err.msg, "T_NATS_URL: --t-nats-url needs a value");
}

static void a_secret_has_no_argument(void **state)
{
    (void)state;
    assert_int_equal(load(tables, "--t-password=hunter2", NULL), FAAS_INVALID);
    assert_contains(err.msg, "T_PASSWORD: a secret cannot be an argument");
    assert_null(strstr(err.msg, "hunter2"));
}

static void a_secret_leaves_the_environment(void **state)
{
    char *value;

    (void)state;
    setenv("T_PASSWORD", "hunter2", 1);
    value = getenv("T_PASSWORD");
    assert_ok(load(tables, NULL));
    assert_string_equal(conf.secret, "hunter2");
    assert_null(getenv("T_PASSWORD"));
    assert_memory_equal(value, "\0\0\0\0\0\0\0", 7);
}

static void required_settings_are_asked_for(void **state)
{
    (void)state;
    assert_int_equal(load(required_tables, NULL), FAAS_INVALID);
    assert_string_equal(err.msg, "T_NATS_URL: required; set it, or T_NATS_URL_FILE");
    assert_int_equal(load(required_tables, "--t-nats-url=x", NULL), FAAS_INVALID);
    assert_string_equal(err.msg, "T_POOL_THREADS: required; set it, or T_POOL_THREADS_FILE");
    faas_options_free(required_tables);
    assert_ok(load(required_tables, "--t-nats-url=x", "--t-pool-threads=2", NULL));
    faas_options_free(required_tables);
}

static void free_may_run_twice(void **state)
{
    (void)state;
    assert_ok(load(tables, NULL));
    faas_options_free(tables);
    assert_null(conf.url);
    faas_options_free(tables);
}

static void help_is_grouped_and_aligned(void **state)
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);

    (void)state;
    assert_non_null(out);
    faas_options_help(tables, "auth", out);
    assert_int_equal(fclose(out), 0);
    assert_contains(text, "usage: auth [--NAME=VALUE | --NAME VALUE]...\n");
    assert_contains(text, "\nBus\n"
                          "  --t-nats-url TEXT   servers (T_NATS_URL, default "
                          "nats://127.0.0.1:4222)\n"
                          "  T_PASSWORD_FILE     bus password (T_PASSWORD, secret)\n"
                          "  --t-key-file TEXT   path of a key (T_KEY_FILE)\n"
                          "  --t-key TEXT        a key's name (T_KEY)\n"
                          "\n"
                          "  --t-pool-threads N  worker threads (T_POOL_THREADS, 1 to 64, default "
                          "4)\n"
                          "  --t-offset N        offset (T_OFFSET, -5 to 5, default 0)\n"
                          "  --t-direct          serve directly (T_DIRECT, default no)\n"
                          "\n"
                          "  --help              this text\n"
                          "  --version           the version\n");
    free(text);
}

/* Also with a setting that is wrong: whoever asks for help needs it most then. */
static void version_is_printed_and_ends_the_program(void **state)
{
    char *argv[] = {(char[]){"/usr/bin/auth"}, (char[]){"--nonsense"}, (char[]){"--version"}, NULL};
    bool is_exit = false;
    char text[64] = "";
    int saved, fd = memfd_create("stdout", MFD_CLOEXEC);
    faas_code rc;

    (void)state;
    fflush(stdout);
    saved = dup(STDOUT_FILENO);
    assert_true(saved >= 0 && fd >= 0 && dup2(fd, STDOUT_FILENO) >= 0);
    rc = faas_options_load(tables, 3, argv, &is_exit, &err);
    fflush(stdout);
    assert_true(dup2(saved, STDOUT_FILENO) >= 0);
    assert_true(pread(fd, text, sizeof text - 1, 0) > 0);
    close(saved);
    close(fd);
    assert_int_equal(rc, FAAS_OK);
    assert_true(is_exit);
    assert_string_equal(faas_version, FAAS_VERSION);
    assert_string_equal(text, "auth " FAAS_VERSION "\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(defaults_hold_without_anything_else, clean),
        cmocka_unit_test_teardown(file_beats_variable_and_argument_beats_file, clean),
        cmocka_unit_test_teardown(arguments_come_with_equals_or_as_two_words, clean),
        cmocka_unit_test_teardown(files_lose_one_newline_only, clean),
        cmocka_unit_test_teardown(a_file_that_cannot_be_read_is_named, clean),
        cmocka_unit_test_teardown(a_file_with_a_nul_byte_is_refused, clean),
        cmocka_unit_test_teardown(an_endless_file_is_refused, clean),
        cmocka_unit_test_teardown(a_setting_whose_name_ends_in_file_is_its_own, clean),
        cmocka_unit_test_teardown(numbers_are_checked_whole, clean),
        cmocka_unit_test_teardown(numbers_out_of_bounds_name_the_bounds, clean),
        cmocka_unit_test_teardown(booleans_take_eight_words, clean),
        cmocka_unit_test_teardown(a_mistyped_argument_names_the_nearest, clean),
        cmocka_unit_test_teardown(a_very_long_argument_is_cut_in_the_message, clean),
        cmocka_unit_test_teardown(an_argument_without_its_value_says_so, clean),
        cmocka_unit_test_teardown(a_secret_has_no_argument, clean),
        cmocka_unit_test_teardown(a_secret_leaves_the_environment, clean),
        cmocka_unit_test_teardown(required_settings_are_asked_for, clean),
        cmocka_unit_test_teardown(free_may_run_twice, clean),
        cmocka_unit_test_teardown(help_is_grouped_and_aligned, clean),
        cmocka_unit_test_teardown(version_is_printed_and_ends_the_program, clean),
    };

    return run_unit(tests);
}
