/* cgroup_v2.h - which group of control groups v2 may have children with controllers.
 * Rule      a group but the root of all has either processes or such children.  Who is in it must
 *           step aside first, into a group below it.
 * Who       we do, when nobody else is there; everybody, where the group was given to be divided:
 *           the top of what a container sees, or one with systemd's mark (Delegate=).
 * Undone    by cgroup_v2_unite, when nobody has a group in it any more.
 * Threads   one; several processes may do this with one group.
 */
#ifndef NATIVE_CGROUP_V2_H
#define NATIVE_CGROUP_V2_H

#include <stdbool.h>

/* The path of a group that was left to step aside instead of the one stepped into. */
void cgroup_v2_whole(char *path);
/* Which of the needed controllers its children have; 0: none, and it is as it was.
 * is_top: of what this process sees. */
unsigned cgroup_v2_divide(const char *path, bool is_top, unsigned needs);
void cgroup_v2_unite(const char *path);
/* The same for a group that has never had processes, by its directory. */
unsigned cgroup_v2_hand_on(int dir, unsigned needs);

#endif
