#include "cgroup_find.h"

#include <stdio.h>
#include <string.h>

#define TEXT_MAX    1024
#define MOUNT_ROOT  3 /* fields of a mountinfo line, from 0 */
#define MOUNT_POINT 4

static const struct {
    const char *name;
    enum cgroup_controller which;
} controllers[] = {{"memory", CGROUP_MEMORY}, {"pids", CGROUP_PIDS}, {"cpu", CGROUP_CPU}};

const char *cgroup_controller_name(enum cgroup_controller which)
{
    for (size_t i = 0; i < sizeof controllers / sizeof controllers[0]; i++)
        if (controllers[i].which == which)
            return controllers[i].name;
    return "?";
}

/* Which of ours are in a list with commas. */
static unsigned listed(const char *list, size_t len)
{
    unsigned found = 0;

    while (len > 0) {
        const char *comma = memchr(list, ',', len);
        size_t part = comma != NULL ? (size_t)(comma - list) : len;

        for (size_t i = 0; i < sizeof controllers / sizeof controllers[0]; i++)
            if (strlen(controllers[i].name) == part && memcmp(controllers[i].name, list, part) == 0)
                found |= controllers[i].which;
        if (comma == NULL)
            break;
        list += part + 1;
        len -= part + 1;
    }
    return found;
}

/* The next line into `out`, without its end; false at the end.  Longer ones are cut: none of ours. */
static bool next_line(const char **at, char out[TEXT_MAX])
{
    size_t len = strcspn(*at, "\n");

    if (**at == '\0')
        return false;
    (void)snprintf(out, TEXT_MAX, "%.*s", (int)(len < TEXT_MAX ? len : TEXT_MAX - 1), *at);
    *at += len;
    *at += **at == '\n' ? 1 : 0;
    return true;
}

/* The process's own path in the hierarchy with one of these controllers; 0: v2's. */
static bool own_path(const char *membership, unsigned wanted, char out[CGROUP_PATH_MAX])
{
    char line[TEXT_MAX];

    while (next_line(&membership, line)) {
        const char *list = strchr(line, ':');
        const char *path = list != NULL ? strchr(list + 1, ':') : NULL;
        size_t len = path != NULL ? (size_t)(path - list) - 1 : 0;

        if (path == NULL || (wanted == 0 ? len > 0 : (listed(list + 1, len) & wanted) == 0))
            continue;
        return snprintf(out, CGROUP_PATH_MAX, "%s", path + 1) < CGROUP_PATH_MAX;
    }
    return false;
}

/* root: what of the hierarchy is mounted at `point`. */
static bool place(struct cgroup_place *out, const char *root, const char *point, const char *own)
{
    size_t len = strcmp(root, "/") == 0 ? 0 : strlen(root);
    bool is_inside = strncmp(own, root, len) == 0 && (own[len] == '/' || own[len] == '\0') &&
                     strstr(own, "/..") == NULL;
    const char *rest = is_inside ? own + len : "";

    if (strcmp(rest, "/") == 0)
        rest = "";
    return snprintf(out->top, CGROUP_PATH_MAX, "%s", point) < CGROUP_PATH_MAX &&
           snprintf(out->own, CGROUP_PATH_MAX, "%s%s", point, rest) < CGROUP_PATH_MAX;
}

struct mount {
    char *root, *point, *type, *options; /* of the file system */
};

/* "ID PARENT DEV ROOT POINT FLAGS [TAGS ...] - TYPE SOURCE OPTIONS"; cuts the line up. */
static bool read_mount(char *line, struct mount *out)
{
    char *tail = strstr(line, " - "), *save = NULL, *word;

    if (tail == NULL)
        return false;
    *tail = '\0';
    *out = (struct mount){.root = NULL};
    word = strtok_r(line, " ", &save);
    for (int i = 0; word != NULL; word = strtok_r(NULL, " ", &save), i++) {
        if (i == MOUNT_ROOT)
            out->root = word;
        if (i == MOUNT_POINT)
            out->point = word;
    }
    out->type = strtok_r(tail + 3, " ", &save);
    (void)strtok_r(NULL, " ", &save);
    out->options = strtok_r(NULL, " ", &save);
    /* Written with escapes: a place nobody mounts control groups at. */
    return out->options != NULL && out->point != NULL && strchr(out->point, '\\') == NULL;
}

void cgroup_find(const char *mountinfo, const char *membership, struct cgroup_places *out)
{
    unsigned found = 0;
    char line[TEXT_MAX], own[CGROUP_PATH_MAX];
    struct mount mount;

    memset(out, 0, sizeof *out);
    while (next_line(&mountinfo, line)) {
        unsigned here;

        if (!read_mount(line, &mount))
            continue;
        if (strcmp(mount.type, "cgroup2") == 0 && !out->has_v2) {
            out->has_v2 =
                own_path(membership, 0, own) && place(&out->v2, mount.root, mount.point, own);
            continue;
        }
        here = strcmp(mount.type, "cgroup") == 0
                   ? listed(mount.options, strlen(mount.options)) & ~found
                   : 0;
        if (here == 0 || out->v1_count == CGROUP_V1_MAX || !own_path(membership, here, own) ||
            !place(&out->v1[out->v1_count], mount.root, mount.point, own))
            continue;
        out->v1[out->v1_count++].controllers = here;
        found |= here;
    }
}
