/* `faas scale`: what may be asked for, and the words that docker is given. */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <string.h>

#include "cli/scale_plan.h"

static struct scale_plan plan;
static faas_err err;

static faas_code read_one(const char *item, const char *name)
{
    const struct cli_list items = {.items = {item}, .count = 1};

    err = (faas_err){0};
    return scale_read(&items, name, &plan, &err);
}

static void assert_words(const char *expected)
{
    char all[16384] = "";
    size_t used = 0;

    for (size_t i = 0; i < plan.word_count; i++) {
        used += (size_t)snprintf(all + used, sizeof all - used, "%s%s", i > 0 ? "|" : "",
                                 plan.words[i]);
    }
    assert_string_equal(all, expected);
    assert_null(plan.words[plan.word_count]);
}

static void wrong_wishes_are_refused_with_what_to_write(void **state)
{
    static const struct {
        const char *item, *says;
    } wrong[] = {
        {"spawner", "write SERVICE=N, such as spawner=4"},
        {"spawner=", "N is a whole number from 1 to 1000"},
        {"spawner=0", "N is a whole number from 1 to 1000"},
        {"spawner=1001", "N is a whole number from 1 to 1000"},
        {"spawner=-1", "N is a whole number from 1 to 1000"},
        {"spawner=4 --force", "N is a whole number from 1 to 1000"},
        {"=4", "there is no such service"},
        {"-service=4", "there is no such service"},
        {"--help=4", "there is no such service"},
        {"spawner;reboot=4", "there is no such service"},
        {"gateway=2", "it has a port of the machine"},
        {"nats1=2", "each server has data of its own"},
    };

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(wrong); i++) {
        assert_int_equal(read_one(wrong[i].item, "faas"), FAAS_INVALID);
        if (strstr(err.msg, wrong[i].says) == NULL)
            fail_msg("%s: %s", wrong[i].item, err.msg);
    }
}

static void a_name_is_letters_digits_and_no_option(void **state)
{
    static const char *const bad[] = {"",      "-faas", "_faas",   "Faas",
                                      "fa as", "fa/as", "faas;ls", "fa=as"};

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(bad); i++) {
        assert_int_equal(read_one("spawner=4", bad[i]), FAAS_INVALID);
        assert_non_null(strstr(err.msg, "--name"));
    }
    assert_int_equal(read_one("spawner=4", "my-faas_2"), FAAS_OK);
}

static void a_service_is_named_once_with_or_without_its_ending(void **state)
{
    const struct cli_list twice = {.items = {"auth=2", "auth-service=3"}, .count = 2};

    (void)state;
    assert_int_equal(scale_read(&twice, "faas", &plan, &err), FAAS_INVALID);
    assert_string_equal(err.msg, "auth is given twice");
    assert_int_equal(read_one("registry-service=3", "faas"), FAAS_OK);
    assert_string_equal(plan.wanted[0].service, "registry");
    assert_int_equal(plan.wanted[0].number, 3);
}

static void a_swarm_is_told_all_at_once(void **state)
{
    const struct cli_list items = {.items = {"spawner=04", "auth-service=2"}, .count = 2};

    (void)state;
    assert_int_equal(scale_read(&items, "faas", &plan, &err), FAAS_OK);
    assert_int_equal(scale_swarm(&plan, &err), FAAS_OK);
    assert_words("docker|service|scale|--detach|faas_spawner-service=4|faas_auth-service=2");
}

static void compose_gets_the_projects_files_and_leaves_other_services_alone(void **state)
{
    static const char *const plugin[] = {"docker", "compose", NULL};

    (void)state;
    assert_int_equal(read_one("spawner=12", "faas"), FAAS_OK);
    assert_int_equal(scale_compose(&plan, plugin, "/srv/a b.yml,/srv/$(x).yml", &err), FAAS_OK);
    assert_words("docker|compose|--project-name=faas|--file=/srv/a b.yml|--file=/srv/$(x).yml|up|"
                 "--detach|--no-build|--no-deps|--no-recreate|--scale=spawner-service=12|"
                 "spawner-service");
}

static void more_files_than_fit_are_an_error(void **state)
{
    static const char *const older[] = {"docker-compose", NULL};
    char files[SCALE_WORDS * 2 + 3] = "", path[400];

    (void)state;
    for (size_t i = 0; i < SCALE_WORDS; i++)
        memcpy(files + 2 * i, "f,", 3);
    memset(path, 'f', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    assert_int_equal(read_one("spawner=12", "faas"), FAAS_OK);
    assert_int_equal(scale_compose(&plan, older, files, &err), FAAS_TOO_LARGE);
    assert_int_equal(scale_compose(&plan, older, path, &err), FAAS_TOO_LARGE);
    assert_int_equal(scale_compose(&plan, older, "f", &err), FAAS_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_wishes_are_refused_with_what_to_write),
        cmocka_unit_test(a_name_is_letters_digits_and_no_option),
        cmocka_unit_test(a_service_is_named_once_with_or_without_its_ending),
        cmocka_unit_test(a_swarm_is_told_all_at_once),
        cmocka_unit_test(compose_gets_the_projects_files_and_leaves_other_services_alone),
        cmocka_unit_test(more_files_than_fit_are_an_error),
    };

    return run_unit(tests);
}
