#include "base/spill.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/unit.h"

static void add(struct faas_spill *spill, const char *text)
{
    assert_ok(faas_spill_add(spill, text, strlen(text), NULL));
}

static void few_bytes_stay_in_memory(void **state)
{
    struct faas_spill spill;
    char *bytes;
    size_t len;
    int fd;

    (void)state;
    faas_spill_init(&spill, 8, "/nonexistent");
    add(&spill, "abcd");
    add(&spill, "");
    add(&spill, "efgh");
    bytes = faas_spill_steal(&spill, &len, &fd);
    assert_int_equal(len, 8);
    assert_memory_equal(bytes, "abcdefgh", 8);
    assert_int_equal(fd, -1);
    free(bytes);
    assert_int_equal(spill.len, 0);
    faas_spill_done(&spill);
}

static void more_bytes_move_to_a_file_in_order(void **state)
{
    struct faas_spill spill;
    char bytes[16];
    size_t len;
    int fd;

    (void)state;
    faas_spill_init(&spill, 8, "/tmp");
    add(&spill, "abcdefgh");
    add(&spill, "i");
    add(&spill, "jk");
    assert_null(faas_spill_steal(&spill, &len, &fd));
    assert_int_equal(len, 11);
    assert_int_equal(pread(fd, bytes, sizeof bytes, 0), 11);
    assert_memory_equal(bytes, "abcdefghijk", 11);
    close(fd);
    faas_spill_done(&spill);
}

static void no_room_for_the_file_is_unavailable(void **state)
{
    struct faas_spill spill;
    faas_err err = {0};

    (void)state;
    faas_spill_init(&spill, 2, "/nonexistent");
    assert_int_equal(faas_spill_add(&spill, "abc", 3, &err), FAAS_UNAVAILABLE);
    assert_non_null(strstr(err.msg, "no room"));
    assert_non_null(strstr(err.detail, "No such file"));
    faas_spill_done(&spill);
}

static void a_full_disk_is_unavailable(void **state)
{
    struct faas_spill spill;
    faas_err err = {0};
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);

    (void)state;
    assert_true(full >= 0);
    faas_spill_init(&spill, 0, "/tmp");
    add(&spill, "a");
    assert_int_equal(dup2(full, spill.fd), spill.fd);
    close(full);
    assert_int_equal(faas_spill_add(&spill, "b", 1, &err), FAAS_UNAVAILABLE);
    faas_spill_done(&spill);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(few_bytes_stay_in_memory),
        cmocka_unit_test(more_bytes_move_to_a_file_in_order),
        cmocka_unit_test(no_room_for_the_file_is_unavailable),
        cmocka_unit_test(a_full_disk_is_unavailable),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
