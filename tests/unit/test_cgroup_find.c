#include "tests/unit/unit.h"

#include <string.h>

#include "services/spawner/native/cgroup_find.h"

static struct cgroup_places places;

static void v1_gives_a_hierarchy_per_controller(void **state)
{
    static const char mounts[] =
        "22 1 8:1 / / rw,relatime - ext4 /dev/root rw\n"
        "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime shared:4 - cgroup cgroup rw,cpu,cpuacct\n"
        "34 31 0:31 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
        "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
        "39 31 0:36 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n"
        "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
    static const char membership[] = "8:pids:/user/1\n4:memory:/\n3:cpuset:/x\n2:cpu,cpuacct:/a b\n"
                                     "1:name=systemd:/s\n0::/s\n";

    (void)state;
    cgroup_find(mounts, membership, &places);
    assert_int_equal(places.v1_count, 3);
    assert_int_equal(places.v1[0].controllers, CGROUP_CPU);
    assert_string_equal(places.v1[0].own, "/sys/fs/cgroup/cpu/a b");
    assert_int_equal(places.v1[1].controllers, CGROUP_MEMORY);
    assert_string_equal(places.v1[1].own, "/sys/fs/cgroup/memory");
    assert_string_equal(places.v1[2].own, "/sys/fs/cgroup/pids/user/1");
    assert_string_equal(places.v1[2].top, "/sys/fs/cgroup/pids");
    assert_true(places.has_v2);
    assert_string_equal(places.v2.own, "/sys/fs/cgroup/unified/s");
}

static void v2_gives_one(void **state)
{
    (void)state;
    cgroup_find("26 25 0:23 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n",
                "0::/system.slice/faas.service\n", &places);
    assert_int_equal(places.v1_count, 0);
    assert_true(places.has_v2);
    assert_string_equal(places.v2.top, "/sys/fs/cgroup");
    assert_string_equal(places.v2.own, "/sys/fs/cgroup/system.slice/faas.service");
}

static void what_the_mount_does_not_show_is_not_gone_to(void **state)
{
    static const char *const rows[][3] = {
        /* root of the mount, own path, directory */
        {"/docker/abc", "/docker/abc", "/c"},  {"/docker/abc", "/docker/abc/x", "/c/x"},
        {"/docker/abc", "/docker/abcd", "/c"}, {"/docker/abc", "/elsewhere", "/c"},
        {"/", "/../../other", "/c"},           {"/", "/", "/c"},
    };
    char mounts[256], membership[256];

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(rows); i++) {
        (void)snprintf(mounts, sizeof mounts, "1 2 0:1 %s /c rw - cgroup cgroup rw,memory\n",
                       rows[i][0]);
        (void)snprintf(membership, sizeof membership, "4:memory:%s\n", rows[i][1]);
        cgroup_find(mounts, membership, &places);
        assert_int_equal(places.v1_count, 1);
        assert_string_equal(places.v1[0].own, rows[i][2]);
        assert_string_equal(places.v1[0].top, "/c");
    }
}

static void lines_that_are_not_understood_are_left_out(void **state)
{
    static const char *const mounts[] = {
        "",
        "\n",
        " - ",
        " - cgroup",
        "1 2 3 / /c rw - cgroup cgroup",
        "1 - cgroup cgroup memory",
        "1 2 0:1 / /with\\040space rw - cgroup cgroup rw,memory",
        "1 2 0:1 / /c rw - cgroup cgroup rw,memoryx,xmemory",
    };

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(mounts); i++) {
        cgroup_find(mounts[i], "4:memory:/\n0::/\n", &places);
        assert_int_equal(places.v1_count, 0);
        assert_false(places.has_v2);
    }
    cgroup_find("1 2 0:1 / /c rw - cgroup cgroup rw,memory", "nonsense\n4\n:\n", &places);
    assert_int_equal(places.v1_count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(v1_gives_a_hierarchy_per_controller),
        cmocka_unit_test(v2_gives_one),
        cmocka_unit_test(what_the_mount_does_not_show_is_not_gone_to),
        cmocka_unit_test(lines_that_are_not_understood_are_left_out),
    };

    return run_unit(tests);
}
