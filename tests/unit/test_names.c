/* Function names of one user, searched by a part of them: services/registry/names.c. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/registry/names.h"
#include "tests/unit/unit.h"

static void add(struct names *names, const char *name)
{
    faas_err err = {0};

    assert_int_equal(names_add(names, name, &err), FAAS_OK);
}

/* All names that hold part, joined by spaces. */
static void found_are(const struct names *names, const char *part, const char *want)
{
    char got[1000] = "";
    const char *name = "";

    while ((name = names_find(names, name, part)) != NULL)
        snprintf(got + strlen(got), sizeof got - strlen(got), "%s%s", got[0] == '\0' ? "" : " ",
                 name);
    assert_string_equal(got, want);
}

static void names_come_in_the_order_of_their_bytes(void **state)
{
    struct names names = {0};

    (void)state;
    found_are(&names, "", "");
    found_are(&names, "a", "");
    add(&names, "b");
    add(&names, "a");
    add(&names, "B");
    add(&names, "a-b");
    add(&names, "ab");
    add(&names, "a"); /* again */
    found_are(&names, "", "B a a-b ab b");
    names_done(&names);
}

static void a_part_is_found_anywhere_in_any_case(void **state)
{
    struct names names = {0};

    (void)state;
    add(&names, "SendMail");
    add(&names, "mail");
    add(&names, "resend_2");
    add(&names, "x");
    found_are(&names, "send", "SendMail resend_2");
    found_are(&names, "SEND", "SendMail resend_2");
    found_are(&names, "mail", "SendMail mail");
    found_are(&names, "lm", "");
    found_are(&names, "d_2", "resend_2");
    found_are(&names, "dm", "SendMail");
    found_are(&names, "x", "x");
    found_are(&names, "2", "resend_2");
    found_are(&names, "SendMail", "SendMail");
    found_are(&names, "SendMailx", "");
    names_done(&names);
}

static void nothing_in_a_part_has_a_meaning_of_its_own(void **state)
{
    static const char *const parts[] = {"%",  "_%",       "*",    ".*",    "\"",        "'",  "a b",
                                        "a*", "a OR b",   "^a",   "{a}",   "NEAR(a b)", "\n", "-\"",
                                        "?1", "\xc3\x84", "\xff", "[a-z]", "a\\",       "\t"};
    struct names names = {0};

    (void)state;
    add(&names, "a-b");
    add(&names, "OR");
    add(&names, "near");
    for (size_t i = 0; i < FAAS_ARRAY_LEN(parts); i++)
        found_are(&names, parts[i], "");
    found_are(&names, "or", "OR");
    found_are(&names, "NEAR", "near");
    found_are(&names, "-", "a-b");
    names_done(&names);
}

static void a_part_longer_than_any_name_is_in_none(void **state)
{
    struct names names = {0};
    char longest[64], longer[300];

    (void)state;
    memset(longest, 'a', sizeof longest);
    longest[63] = '\0';
    memset(longer, 'a', sizeof longer);
    longer[299] = '\0';
    add(&names, longest);
    add(&names, "aa");
    found_are(&names, longest, longest);
    found_are(&names, longer, "");
    names_done(&names);
}

static void removed_names_are_gone_and_their_neighbours_stay(void **state)
{
    struct names names = {0};

    (void)state;
    names_remove(&names, "never-was");
    add(&names, "one");
    add(&names, "three");
    add(&names, "two");
    names_remove(&names, "three");
    names_remove(&names, "thre");
    found_are(&names, "", "one two");
    names_remove(&names, "two");
    names_remove(&names, "one");
    found_are(&names, "", "");
    assert_int_equal(names.len, 0);
    add(&names, "one");
    found_are(&names, "n", "one");
    names_done(&names);
}

static void a_search_goes_on_behind_a_name_that_is_gone(void **state)
{
    struct names names = {0};

    (void)state;
    add(&names, "a1");
    add(&names, "a3");
    add(&names, "a5");
    assert_string_equal(names_find(&names, "a1", "a"), "a3");
    assert_string_equal(names_find(&names, "a2", "a"), "a3");
    assert_string_equal(names_find(&names, "A", "a"), "a1");
    assert_null(names_find(&names, "a5", "a"));
    assert_null(names_find(&names, "zz", "a"));
    names_done(&names);
}

/* The same changes to a plain array, searched by the C library. */
static bool holds(char set[][8], size_t len, const char *name, size_t *out_at)
{
    for (*out_at = 0; *out_at < len; ++*out_at)
        if (strcmp(set[*out_at], name) == 0)
            return true;
    return false;
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void they_are_what_a_plain_set_of_names_is(void **state)
{
    static char set[600][8];
    size_t len = 0, at;
    unsigned seed = 7;
    struct names names = {0};

    (void)state;
    for (int step = 0; step < 4000; step++) {
        char name[8], want[4000] = "";

        snprintf(name, sizeof name, "%s%x", rand_r(&seed) % 2 == 0 ? "a" : "B",
                 (unsigned)rand_r(&seed) % 300);
        if (rand_r(&seed) % 3 == 0) {
            names_remove(&names, name);
            if (holds(set, len, name, &at))
                memcpy(set[at], set[--len], sizeof set[0]);
        } else {
            add(&names, name);
            if (!holds(set, len, name, &at))
                memcpy(set[len++], name, sizeof name);
        }
        if (step % 100 != 0)
            continue;
        qsort(set, len, sizeof set[0], by_bytes);
        for (at = 0; at < len; at++)
            if (strcasestr(set[at], "b1") != NULL)
                snprintf(want + strlen(want), sizeof want - strlen(want), "%s%.7s",
                         want[0] == '\0' ? "" : " ", set[at]);
        found_are(&names, "b1", want);
    }
    names_done(&names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_come_in_the_order_of_their_bytes),
        cmocka_unit_test(a_part_is_found_anywhere_in_any_case),
        cmocka_unit_test(nothing_in_a_part_has_a_meaning_of_its_own),
        cmocka_unit_test(a_part_longer_than_any_name_is_in_none),
        cmocka_unit_test(removed_names_are_gone_and_their_neighbours_stay),
        cmocka_unit_test(a_search_goes_on_behind_a_name_that_is_gone),
        cmocka_unit_test(they_are_what_a_plain_set_of_names_is),
    };

    return run_unit(tests);
}
