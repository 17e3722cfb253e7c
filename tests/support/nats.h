/* nats.h - real nats-server processes for a test: one, or a cluster of three, on loopback.
 * Program   $NATS_SERVER, build/deps/bin/nats-server below the working directory, or PATH.
 * Ports     free ones below 32768 (above lie the kernel's own choices, which would be lost between
 *           a kill and a restart); each server keeps its ports and its data over a restart.
 * Files     configuration, log and JetStream data below a fresh directory in /tmp, removed by stop.
 * Ownership processes are children of the caller and are ended by pid; they die with it, too.
 * Errors    what goes wrong here ends the test program with a message.
 * Threads   one.
 */
#ifndef FAAS_TEST_NATS_H
#define FAAS_TEST_NATS_H

#include <stdbool.h>

#define NATS_MAX 3

struct nats;

/* count is 1 or 3.  extra (or NULL) is added to each configuration file.  Returns once every
 * server answers and JetStream has a leader. */
struct nats *nats_start(int count, const char *extra);
void nats_stop(struct nats *nats);
const char *nats_urls(const struct nats *nats);           /* all, comma-separated */
const char *nats_url(const struct nats *nats, int which); /* from 0 */
const char *nats_dir(const struct nats *nats);
/* Index of the server that a connection of this name ("auth-a1-data") uses, -1 for none. */
int nats_server_of(const struct nats *nats, const char *client_name);
/* Index of the server that leads the stream, -1 while there is none. */
int nats_leader_of(const struct nats *nats, const char *stream);
/* Every server holds the same of every stream: messages, first and last sequence. */
bool nats_streams_agree(const struct nats *nats);
void nats_kill(struct nats *nats, int which); /* SIGKILL, waited for */
void nats_restart(struct nats *nats,
                  int which);                   /* starts a killed one; waits until it is healthy */
void nats_launch(struct nats *nats, int which); /* the same without waiting */
void nats_pause(struct nats *nats, int which);  /* SIGSTOP: alive, and answers nothing */
void nats_resume(struct nats *nats, int which);
/* GET path from a server's monitoring port.  The body is the caller's; NULL when there is none or
 * the status is not 200. */
char *nats_get(const struct nats *nats, int which, const char *path);

#endif
