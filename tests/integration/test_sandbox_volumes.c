/* VOLUME of an image in a sandbox: an empty folder for each call, and no way to anywhere else. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "services/spawner/image/volumes.h"
#include "tests/support/sandbox.h"
#include "tests/unit/unit.h"

struct step { /* a shell's words in a function of an image with these volumes */
    const char *volumes, *tenant, *text;
    int64_t tmp_mb, memory_mb;
    bool is_slot;
};

/* volumes as they are kept: nobody looks at them again on their way to the lane. */
static void run(const struct step *step, struct sandbox_call *call)
{
    struct sandbox_order order;

    rig.image->config.volumes = json_loads(step->volumes, 0, NULL);
    assert_non_null(rig.image->config.volumes);
    sandbox_is_slot = step->is_slot;
    sandbox_order(&order, "/bin/sh -c");
    sandbox_is_slot = false;
    assert_int_equal(json_array_append_new(order.command, json_string(step->text)), 0);
    order.spec.tenant = step->tenant; /* a lane of its own: volumes are the lane's */
    if (step->tmp_mb > 0)
        order.spec.tmp_mb = step->tmp_mb;
    if (step->memory_mb > 0)
        order.spec.memory_mb = step->memory_mb;
    sandbox_begin(call, &order.spec);
    sandbox_await(call);
    sandbox_order_done(&order);
    json_decref(rig.image->config.volumes);
    rig.image->config.volumes = NULL;
}

static void expect(const struct step *step, const char *out)
{
    struct sandbox_call call = {0};

    run(step, &call);
    if (call.outcome.code != FAAS_OK || strcmp(call.out, out) != 0)
        fail_msg("%s: %s (%s%s)", step->text, call.out, call.outcome.detail, call.err);
    sandbox_call_done(&call);
}

static void a_volume_is_written_read_and_run_from(void **state)
{
    const struct step steps[] = {
        {.text = "echo kept >/srv/keep/a && cat /srv/keep/a && ls -A /srv"},
        {.text = "cat /bin/busybox >/work/busybox && chmod 755 /work/busybox && "
                 "/work/busybox echo kept && echo keep"},
    };

    (void)state;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(steps); i++) {
        struct step step = steps[i];

        step.volumes = "[\"/srv/keep\", \"/work\"]";
        step.tenant = "tenant-rw";
        expect(&step, "kept\nkeep\n");
    }
}

static void it_is_mounted_like_tmp_but_for_programs(void **state)
{
    struct sandbox_call call = {0};

    (void)state;
    run(&(struct step){"[\"/srv/keep\"]", "tenant-look",
                       "cat /proc/self/mountinfo; stat -c %a /srv/keep /srv; id -u; ls /bin", 4, 0,
                       false},
        &call);
    assert_contains(call.out,
                    " /srv/keep rw,nosuid,nodev,noatime - tmpfs tmpfs rw,size=4096k,nr_inodes=");
    assert_contains(call.out, " / / ro,nosuid,nodev,relatime - overlay image ro,");
    assert_contains(call.out, "\n1777\n755\n65534\n");
    assert_contains(call.out, "busybox\n");
    assert_null(strstr(call.out, rig.dir));
    sandbox_call_done(&call);
}

static void its_size_is_that_of_tmp_and_counts_as_memory(void **state)
{
    struct sandbox_call call = {0};

    (void)state;
    run(&(struct step){"[\"/keep\"]", "tenant-size", "dd if=/dev/zero of=/keep/a bs=1M count=5", 4,
                       0, false},
        &call);
    assert_int_equal(call.outcome.code, FAAS_FAILED);
    assert_contains(call.err, "No space left on device");
    sandbox_call_done(&call);
    run(&(struct step){"[\"/a\", \"/b\"]", "tenant-memory",
                       "dd if=/dev/zero of=/a/a bs=1M count=30 && "
                       "dd if=/dev/zero of=/b/b bs=1M count=30 && echo alive",
                       64, 32, false},
        &call);
    assert_int_equal(call.outcome.code, FAAS_FAILED);
    assert_null(strstr(call.out, "alive"));
    sandbox_call_done(&call);
}

static void no_call_sees_what_another_one_left(void **state)
{
    static const char text[] = "ls -A /keep /srv/a; mkdir -p /keep/d/e /srv/a/f; "
                               "echo secret >/keep/d/e/x; ln -s /etc /srv/a/l; chmod 0 /keep/d";

    (void)state;
    for (int i = 0; i < 8; i++)
        expect(&(struct step){"[\"/keep\", \"/srv/a\"]",
                              i % 2 == 0 ? "tenant-fresh" : "tenant-slot", text, 0, 0, i % 2 == 1},
               "/keep:\n\n/srv/a:\n");
}

static void as_many_as_there_may_be_are_mounted(void **state)
{
    struct sandbox_call call = {0};

    (void)state;
    run(
        &(struct step){
            "[\"/v/1\",\"/v/2\",\"/v/3\",\"/v/4\",\"/v/5\",\"/v/6\",\"/v/7\",\"/v/8\",\"/v/9\","
            "\"/v/a\",\"/v/b\",\"/v/c\",\"/v/d\",\"/v/e\",\"/v/f\",\"/v/g\"]",
            "tenant-many", "for v in /v/*; do echo x >$v/x || exit 1; done; ls /v | wc -l", 0, 0,
            true},
        &call);
    assert_string_equal(call.out, "16\n");
    sandbox_call_done(&call);
}

/* ---- what leads elsewhere ---- */

static void link_to(const char *name, const char *target)
{
    char path[192];

    (void)snprintf(path, sizeof path, "%s/layer/%s", rig.dir, name);
    assert_int_equal(symlink(target, path), 0);
    assert_int_equal(lchown(path, IMAGE_OWNER_BASE, IMAGE_OWNER_BASE), 0);
}

/* Even past the check of an import: neither a host's folder nor another one of the image's. */
static void no_link_no_file_and_no_dots_are_followed(void **state)
{
    static const struct {
        const char *volumes, *why;
    } rows[] = {
        {"[\"/to-work\"]", "VOLUME"},
        {"[\"/to-work/x\"]", "VOLUME"},
        {"[\"/to-host/x\"]", "VOLUME"},
        {"[\"/to-root/etc\"]", "VOLUME"},
        {"[\"/bin/busybox\"]", "VOLUME"},
        {"[\"/of-1000/x\"]", "VOLUME"},
        {"[\"/../outside\"]", "understand"},
        {"[\"/a/../../../outside\"]", "understand"},
        {"[\"/a/..\"]", "understand"},
        {"[\"relative\"]", "understand"},
        {"[\"\"]", "understand"},
    };
    char outside[192];
    struct stat st;

    (void)state;
    (void)snprintf(outside, sizeof outside, "%s/outside", rig.dir);
    assert_int_equal(mkdir(outside, 0777), 0);
    link_to("to-work", "/work");
    link_to("to-root", "/");
    link_to("to-host", outside);
    for (size_t i = 0; i < FAAS_ARRAY_LEN(rows); i++) {
        struct sandbox_call call = {0};

        run(&(struct step){rows[i].volumes, "tenant-bad", "echo ran", 0, 0, false}, &call);
        if (call.outcome.code == FAAS_OK || strstr(call.outcome.detail, rows[i].why) == NULL)
            fail_msg("%s: %s%s", rows[i].volumes, call.out, call.outcome.detail);
        sandbox_call_done(&call);
    }
    assert_int_equal(rmdir(outside), 0); /* nothing was made in it */
    (void)snprintf(outside, sizeof outside, "%s/run/0/outside", rig.dir);
    assert_int_not_equal(lstat(outside, &st), 0);
    (void)snprintf(outside, sizeof outside, "%s/run/outside", rig.dir);
    assert_int_not_equal(lstat(outside, &st), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_volume_is_written_read_and_run_from),
        cmocka_unit_test(it_is_mounted_like_tmp_but_for_programs),
        cmocka_unit_test(its_size_is_that_of_tmp_and_counts_as_memory),
        cmocka_unit_test(no_call_sees_what_another_one_left),
        cmocka_unit_test(as_many_as_there_may_be_are_mounted),
        cmocka_unit_test(no_link_no_file_and_no_dots_are_followed),
    };

    return cmocka_run_group_tests(tests, sandbox_open, sandbox_close);
}
