/* packet.h - what both sides of wire.h use: one packet with descriptors, whole or not at all. */
#ifndef ZYGOTE_PACKET_H
#define ZYGOTE_PACKET_H

#include <stddef.h>
#include <sys/types.h>

/* 0, or -1 with errno. */
int zy_send(int socket, const void *data, size_t len, const int *fds, size_t count);
/* Bytes; 0 when the other side has closed; -1 with errno, also for a packet that did not fit.
 * *count: room in fds, then how many came, close-on-exec. */
ssize_t zy_receive(int socket, void *data, size_t room, int *fds, size_t *count);

const char *zy_step_text(int step); /* for people; never NULL */
/* The next string of a packet, ended by NUL before `end`; NULL when there is none. */
char *zy_take(char **at, const char *end);

#endif
