/* One barrier alone: the same attempts as in test_sandbox_attacks.c, with the lane's filter of
 * system calls switched off.  What is refused then is refused by namespaces and their limits, ids,
 * capabilities and mounts; what is not, the filter alone stands before. */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "services/spawner/native/filter.h"
#include "tests/support/sandbox.h"
#include "tests/unit/unit.h"

/* In place of native/filter.c: everything is allowed. */
faas_code native_filter_fd(uint64_t pass, int *out_fd, faas_err *err)
{
    static const struct sock_filter all[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    int fd = memfd_create("all", MFD_CLOEXEC);

    (void)pass;
    if (fd < 0 || write(fd, all, sizeof all) != (ssize_t)sizeof all)
        return faas_fail_sys(err, errno, "memfd");
    *out_fd = fd;
    return FAAS_OK;
}

static bool is_possible(const char *name)
{
    struct sandbox_call call = {0};
    struct sandbox_order order;
    char command[128];
    bool is_done;

    (void)snprintf(command, sizeof command, "/bin/inside attack %s", name);
    sandbox_order(&order, command);
    sandbox_begin(&call, &order.spec);
    sandbox_await(&call);
    is_done = strcmp(call.out, "DONE\n") == 0;
    sandbox_call_done(&call);
    sandbox_order_done(&order);
    return is_done;
}

/* None of these leaves the sandbox by itself: they reach into the kernel, or give rights over what
 * is new and empty.  Some kernels refuse some of
 * them anyway, or were built without them. */
static const char only_the_list[] =
    " i386 x32 trace-me add-key keyctl personality socket-vsock socket-netlink socket-alg"
    " socket-high-half io-uring userfaultfd ";

static void without_the_list_nothing_outside_can_be_reached(void **state)
{
    struct sandbox_call list = {0};
    char *save = NULL, name[64];
    size_t possible = 0, refused = 0;

    (void)state;
    sandbox_shell(&list, "/bin/inside attacks");
    for (char *one = strtok_r(list.out, "\n", &save); one != NULL;
         one = strtok_r(NULL, "\n", &save)) {
        if (strcmp(one, "reach-host") == 0 || strcmp(one, "reach-abstract-socket") == 0)
            continue; /* need somebody who listens: test_sandbox_attacks.c */
        (void)snprintf(name, sizeof name, " %s ", one);
        if (!is_possible(one))
            refused++;
        else if (strstr(only_the_list, name) != NULL)
            possible++;
        else
            fail_msg("%s is possible without the list", one);
    }
    print_message("without the list %zu attempts are refused, %zu are not\n", refused, possible);
    assert_true(possible >= 5 && refused >= 90); /* the list was off */
    sandbox_call_done(&list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_the_list_nothing_outside_can_be_reached),
    };

    return cmocka_run_group_tests(tests, sandbox_open, sandbox_close);
}
