#include "cgroup_v2.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/auto.h"
#include "cgroup_files.h"
#include "cgroup_find.h"

#define ASIDE  "faas-aside"
#define ROUNDS 100 /* processes that fork while they are moved are met in the next one */

static const enum cgroup_controller each[] = {CGROUP_MEMORY, CGROUP_PIDS, CGROUP_CPU};

/* Those of ours in a file with a list of controllers. */
static unsigned controllers_in(int dir, const char *name)
{
    char text[256];
    unsigned found = 0;

    if (cgroup_read(dir, name, text, sizeof text) < 0)
        return 0;
    for (char *save = NULL, *at = strtok_r(text, " \n", &save); at != NULL;
         at = strtok_r(NULL, " \n", &save))
        for (size_t i = 0; i < FAAS_ARRAY_LEN(each); i++)
            if (strcmp(at, cgroup_controller_name(each[i])) == 0)
                found |= each[i];
    return found;
}

/* In one write: pids and cpu alone would be taken also while processes are there, and make the
 * group one whose children can have none. */
static int set_children(int dir, char sign, unsigned which)
{
    char text[64];
    size_t len = 0;

    text[0] = '\0';
    for (size_t i = 0; i < FAAS_ARRAY_LEN(each); i++)
        if ((which & each[i]) != 0)
            len += (size_t)snprintf(text + len, sizeof text - len, "%c%s ", sign,
                                    cgroup_controller_name(each[i]));
    return cgroup_write(dir, "cgroup.subtree_control", text);
}

unsigned cgroup_v2_hand_on(int dir, unsigned needs)
{
    (void)set_children(dir, '+', needs & controllers_in(dir, "cgroup.controllers"));
    return needs & controllers_in(dir, "cgroup.subtree_control");
}

/* ---- stepping aside ---- */

static bool is_empty(int dir)
{
    FAAS_AUTO(char) *text = cgroup_list(dir);

    return text != NULL && text[0] == '\0';
}

/* false: some stay, such as those of another pid namespace, which are listed as 0. */
static bool move_all(int from, int to)
{
    for (int round = 0; round < ROUNDS && !is_empty(from); round++) {
        FAAS_AUTO(char) *text = cgroup_list(from);
        char number[16];
        pid_t pid;

        for (const char *at = text; at != NULL && (pid = cgroup_next(&at)) >= 0;) {
            (void)snprintf(number, sizeof number, "%d", (int)pid);
            if (pid > 0)
                (void)cgroup_write(to, "cgroup.procs", number);
        }
    }
    return is_empty(from);
}

/* Those who stepped aside; the group is one that has processes again. */
static void step_back(int dir)
{
    int aside = cgroup_dir(dir, ASIDE);

    if (aside < 0)
        return;
    (void)move_all(aside, dir);
    close(aside);
    (void)unlinkat(dir, ASIDE, AT_REMOVEDIR);
}

static bool step_aside(int dir, bool is_all)
{
    int aside = mkdirat(dir, ASIDE, 0755) == 0 || errno == EEXIST ? cgroup_dir(dir, ASIDE) : -1;
    bool is_clear;

    if (aside < 0)
        return false;
    is_clear = is_all ? move_all(dir, aside)
                      : cgroup_write(aside, "cgroup.procs", "0") == 0 && is_empty(dir);
    close(aside);
    return is_clear;
}

/* ---- the group ---- */

static bool is_root_of_all(int dir)
{
    return faccessat(dir, "cgroup.type", F_OK, 0) != 0;
}

static bool is_handed_over(int dir)
{
    char mark = '0';

    return (fgetxattr(dir, "trusted.delegate", &mark, 1) == 1 ||
            fgetxattr(dir, "user.delegate", &mark, 1) == 1) &&
           mark == '1';
}

static unsigned divide(int dir, bool is_top, unsigned needs)
{
    unsigned can = needs & controllers_in(dir, "cgroup.controllers"), has;

    if (can == 0 || (controllers_in(dir, "cgroup.subtree_control") & needs) == can)
        return can;
    if (is_root_of_all(dir))
        return cgroup_v2_hand_on(dir, needs);
    has = is_empty(dir) || step_aside(dir, is_top || is_handed_over(dir))
              ? cgroup_v2_hand_on(dir, needs)
              : 0;
    if (has == 0)
        step_back(dir);
    return has;
}

unsigned cgroup_v2_divide(const char *path, bool is_top, unsigned needs)
{
    int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    unsigned has = dir >= 0 ? divide(dir, is_top, needs) : 0;

    if (dir >= 0)
        close(dir);
    return has;
}

void cgroup_v2_unite(const char *path)
{
    int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (dir < 0)
        return;
    if (faccessat(dir, ASIDE, F_OK, 0) == 0 && set_children(dir, '-', CGROUP_ALL) == 0)
        step_back(dir);
    close(dir);
}

void cgroup_v2_whole(char *path)
{
    char *last = strrchr(path, '/');

    if (last != NULL && strcmp(last + 1, ASIDE) == 0)
        *last = '\0';
}
