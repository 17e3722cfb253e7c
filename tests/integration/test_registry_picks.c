/* Aliases, the way back and disabling: three registry programs on three real NATS servers. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/id.h"
#include "contract.h"
#include "tests/support/shop.h"
#include "tests/unit/unit.h"

#define SETTERS 12

static json_t *member(const json_t *doc, const char *key)
{
    return json_object_get(doc, key);
}

static void shows(const json_t *doc, const char *key, const char *want)
{
    FAAS_AUTO(char) *text = json_dumps(member(doc, key), JSON_ENCODE_ANY | JSON_COMPACT);

    assert_string_equal(text != NULL ? text : "absent", want);
}

static void an_alias_is_seen_everywhere_and_makes_no_version(void **state)
{
    FAAS_AUTO(json_t) *made = shop_must("register", "{\"name\":\"al\",\"payload\":\"good\"}");
    FAAS_AUTO(json_t) *next = shop_must("update", "{\"name\":\"al\",\"timeout_ms\":500}");
    FAAS_AUTO(json_t) *set =
        shop_must("alias", "{\"name\":\"al\",\"alias\":\"live\",\"versions\":{\"2\":10,\"1\":90}}");
    int asked = shop_asked();

    (void)state;
    shows(set, "alias", "\"live\"");
    shows(set, "versions", "{\"1\":90,\"2\":10}");
    for (int i = 0; i < 6; i++) { /* whichever replica answers */
        FAAS_AUTO(json_t) *head = shop_must("retrieve", "{\"name\":\"al\"}");
        FAAS_AUTO(json_t) *one = shop_must("aliases", "{\"name\":\"al\",\"alias\":\"live\"}");

        assert_int_equal(shop_number(head, "version"), 2);
        assert_string_equal(shop_text(head, "updated_at"), shop_text(next, "updated_at"));
        shows(head, "aliases", "{\"live\":{\"1\":90,\"2\":10}}");
        assert_true(json_equal(one, set));
    }
    json_decref(shop_must("replace", "{\"name\":\"al\",\"payload\":\"good\"}"));
    json_decref(shop_must("update", "{\"name\":\"al\",\"payload\":\"good\"}"));
    json_decref(shop_must("rollback", "{\"name\":\"al\",\"version\":1}"));
    json_decref(made);
    made = shop_must("retrieve", "{\"name\":\"al\"}");
    shows(made, "aliases", "{\"live\":{\"1\":90,\"2\":10}}");
    assert_int_equal(shop_number(made, "version"), 5);
    assert_int_equal(shop_asked(), asked + 2); /* going back resolves nothing */
    shop_refuses("alias", "{\"name\":\"al\",\"alias\":\"live\",\"version\":6}", FAAS_NOT_FOUND,
                 "no version 6");
    shop_refuses("alias", "{\"name\":\"nobody\",\"alias\":\"live\",\"version\":1}", FAAS_NOT_FOUND,
                 "no function");
    shop_refuses("unalias", "{\"name\":\"al\",\"alias\":\"gone\"}", FAAS_NOT_FOUND, "no alias");
    shop_refuses("unalias", "{\"name\":\"al\",\"alias\":\"latest\"}", FAAS_INVALID, "newest");
}

static void going_back_is_a_new_version_with_the_old_image(void **state)
{
    FAAS_AUTO(json_t) *first = shop_must("register", "{\"name\":\"back\",\"payload\":\"good\","
                                                     "\"env\":{\"A\":\"1\"},\"timeout_ms\":700}");
    FAAS_AUTO(json_t) *second = NULL;
    FAAS_AUTO(json_t) *back = NULL;
    FAAS_AUTO(json_t) *entry = NULL;
    FAAS_AUTO(json_t) *same = NULL;
    static const char *const kept[] = {"digest",     "payload",    "env",
                                       "timeout_ms", "created_at", "id"};

    (void)state;
    shop_build++; /* the tag has moved */
    second = shop_must("update", "{\"name\":\"back\",\"payload\":\"good\",\"env\":{\"A\":\"2\"}}");
    assert_false(json_equal(member(first, "digest"), member(second, "digest")));
    back = shop_must("rollback", "{\"name\":\"back\",\"version\":1}");
    assert_int_equal(shop_number(back, "version"), 3);
    for (size_t i = 0; i < FAAS_ARRAY_LEN(kept); i++)
        assert_true(json_equal(member(back, kept[i]), member(first, kept[i])));
    json_decref(shop_must("update", "{\"name\":\"back\",\"timeout_ms\":900}"));
    entry = shop_must("versions", "{\"name\":\"back\",\"version\":3}"); /* it is kept like any */
    assert_true(json_equal(member(entry, "digest"), member(first, "digest")));
    same = shop_must("rollback", "{\"name\":\"back\",\"version\":4}");
    assert_int_equal(shop_number(same, "version"), 4);
    shop_refuses("rollback", "{\"name\":\"back\",\"version\":5}", FAAS_NOT_FOUND, "no version 5");
    shop_refuses("rollback", "{\"name\":\"back\",\"version\":0}", FAAS_INVALID, "1 to 2147483647");
    shop_refuses("rollback", "{\"name\":\"back\"}", FAAS_INVALID, "version: required");
}

/* ---- races ---- */

static void *set_one(void *arg)
{
    FAAS_AUTO(json_t) *reply = NULL;
    char body[128];
    faas_err err = {0};

    (void)snprintf(body, sizeof body, "{\"name\":\"racy\",\"alias\":\"a%d\",\"version\":1}",
                   *(int *)arg);
    if (shop_ask(SHOP_ANN, "alias", body, &reply, &err) == FAAS_OK)
        *(int *)arg = -1;
    return NULL;
}

static void aliases_set_at_the_same_time_all_stay(void **state)
{
    FAAS_AUTO(json_t) *made = shop_must("register", "{\"name\":\"racy\",\"payload\":\"good\"}");
    FAAS_AUTO(json_t) *head = NULL;
    pthread_t threads[SETTERS];
    int which[SETTERS];
    size_t set = 0;

    (void)state;
    for (int i = 0; i < SETTERS; i++) {
        which[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, set_one, &which[i]), 0);
    }
    json_decref(shop_must("update", "{\"name\":\"racy\",\"timeout_ms\":500}"));
    for (int i = 0; i < SETTERS; i++) {
        pthread_join(threads[i], NULL);
        set += which[i] < 0;
    }
    head = shop_must("retrieve", "{\"name\":\"racy\"}");
    assert_true(set > 0);
    assert_int_equal(json_object_size(member(head, "aliases")), set);
    assert_int_equal(shop_number(head, "version"), 2);
    assert_int_equal(shop_number(head, "timeout_ms"), 500);
}

/* ---- disabling, and a publisher that would not heed it ---- */

struct beat {
    const char *state;
    int level;
};

static void beat(void *arg)
{
    static int number;
    const struct beat *say = arg;
    char text[256];
    struct faas_out out = {.subject = "faas.hb.publisher.old1", .data = text};
    faas_err err = {0};

    out.len =
        (size_t)snprintf(text, sizeof text,
                         "{\"v\":1,\"epoch\":\"0123456789abcdef0123456789abcdef\",\"beat\":%d,"
                         "\"state\":\"%s\",\"free\":0,\"slots\":0,\"running\":0,"
                         "\"running_seq\":0,\"level\":%d%s}",
                         ++number, say->state, say->level,
                         strcmp(say->state, "draining") == 0 ? ",\"bye\":true" : "");
    if (faas_bus_publish(shop.gateway.bus, FAAS_CONTROL, &out, &err) != FAAS_OK)
        abort();
}

static faas_code disable(faas_err *err)
{
    FAAS_AUTO(json_t) *reply = NULL;

    return shop_ask(SHOP_ANN, "update", "{\"name\":\"off\",\"disabled\":true}", &reply, err);
}

/* Each replica has heard of it when it is refused so often in a row. */
static bool is_refused(void *arg)
{
    faas_err err = {0};

    (void)arg;
    process_on_loop(&shop.gateway, beat, &(struct beat){"ready", FAAS_LEVEL_VERSIONS - 1});
    for (int i = 0; i < 12; i++)
        if (disable(&err) != FAAS_UNAVAILABLE)
            return false;
    assert_contains(err.msg, "an older release");
    return true;
}

static bool is_disabled(void *arg)
{
    faas_err err = {0};

    (void)arg;
    return disable(&err) == FAAS_OK;
}

static void nothing_is_disabled_while_an_older_publisher_would_call_it(void **state)
{
    FAAS_AUTO(json_t) *made = shop_must("register", "{\"name\":\"off\",\"payload\":\"good\"}");
    FAAS_AUTO(json_t) *head = NULL;

    (void)state;
    wait_until(is_refused, NULL, SHOP_LONG_MS, "an older publisher is heard");
    json_decref(shop_must("update", "{\"name\":\"off\",\"disabled\":false,\"timeout_ms\":500}"));
    process_on_loop(&shop.gateway, beat, &(struct beat){"draining", 1});
    wait_until(is_disabled, NULL, SHOP_LONG_MS, "it is gone");
    head = shop_must("retrieve", "{\"name\":\"off\"}");
    shows(head, "disabled", "true");
    assert_int_equal(shop_number(head, "version"), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_alias_is_seen_everywhere_and_makes_no_version),
        cmocka_unit_test(going_back_is_a_new_version_with_the_old_image),
        cmocka_unit_test(aliases_set_at_the_same_time_all_stay),
        cmocka_unit_test(nothing_is_disabled_while_an_older_publisher_would_call_it),
    };

    return cmocka_run_group_tests(tests, shop_open, shop_close);
}
