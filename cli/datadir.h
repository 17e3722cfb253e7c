/* datadir.h - the directory of one `faas up`: who uses it, what is kept in it.
 *   lock           flock held by the running supervisor; its process id is the text
 *   nats.lock      shared flock held by every nats-server through an inherited descriptor: when it
 *                  can be had alone, none of an earlier run lives any more and writes to a store
 *   cluster.json   {"v":1,"id","nats":n,"route_password"}, 0600, made once
 *   ports.json     inner ports                keys/   signing key and NATS seeds, 0600, made once
 *   nats/          configuration files, nats/<n>/ stores      services/   DATA_DIR of the services
 *   log/           one file per process       state.json  what runs, rewritten on each change
 *   registry/      of --registry: image_registry.h
 *   restore.json   empty, while `faas restore` fills the directory; removed when all is there
 *   runtime.json   {"v":1,"runtime"} what its functions were registered with       images/
 * Errors    INVALID (paths and reasons), CONFLICT (another supervisor runs here).
 * Threads   the main thread.
 */
#ifndef CLI_DATADIR_H
#define CLI_DATADIR_H

#include <sys/types.h>

#include "base/json.h"

struct datadir {
    char *path; /* absolute, no trailing slash */
    int lock_fd, nats_fd;
};

/* given NULL: $XDG_DATA_HOME/faas or ~/.local/share/faas.  The caller frees *out_path. */
FAAS_MUST_CHECK faas_code datadir_path(const char *given, char **out_path, faas_err *err);
/* Makes the directory and takes both locks.  CONFLICT names the running process. */
FAAS_MUST_CHECK faas_code datadir_open(const char *given, struct datadir *out_dir, faas_err *err);
void datadir_close(struct datadir *dir);
#define DATADIR_RESTORE "restore.json"
/* INVALID and what to do when a restore into it was never finished. */
FAAS_MUST_CHECK faas_code datadir_check_whole(const char *path, faas_err *err);
/* Writes the caller's process id into the lock file (again after a fork). */
FAAS_MUST_CHECK faas_code datadir_claim(const struct datadir *dir, faas_err *err);
/* The process that holds the lock of the directory; 0 when none does. */
FAAS_MUST_CHECK faas_code datadir_holder(const char *path, pid_t *out_pid, faas_err *err);

struct cluster_facts {
    char id[17];             /* random, names the NATS cluster */
    char route_password[33]; /* hex */
    int nats;                /* number of servers this data was made for */
};
/* Reads cluster.json, or makes it for `nats` servers.  Another number is INVALID and says why. */
FAAS_MUST_CHECK faas_code datadir_cluster(const struct datadir *dir, int nats,
                                          struct cluster_facts *out_facts, faas_err *err);

#endif
