/* lane.h - a lane: one zygote in its own control groups, mount, network and user namespace, with the
 * image as its read-only root.  What can be done once is done here, so that a call pays for little.
 * Order     a new process; namespaces; the root (overlay of skeleton and image, its /dev without
 *           nodev, a /proc that shows nobody); loopback up; control groups; limits; user namespace,
 *           whose map the nursery writes; no capability to gain; filter.
 * Owners    each layer is mounted with an id map of its own, from the ids it has on disk to those of
 *           the lane; without it nobody inside could be the owner of a file.
 * Volumes   folders for them are made in a layer of ours below the image's, so that they show where it
 *           has none and change nothing where it has; each must then be reached without a link.  The
 *           root is read-only, so what a path leads to stays that.
 * Secrets   likewise: a folder below the image's layers, reached without a link, and a mount that the
 *           spawner made put on it.
 * Names     layers get short names on a small tmpfs first, so that no mount table shows a host path.
 */
#ifndef ZYGOTE_LANE_H
#define ZYGOTE_LANE_H

#include <stddef.h>

#include "wire.h"

struct zy_lane {
    struct zy_lane_req req;
    const char *scratch;
    const char *layers[ZY_LAYERS_MAX];
    const char *volumes[ZY_VOLUMES_MAX];
    int owners;  /* user namespace: whose the files of layers are */
    int control; /* to the spawner */
    int filter;  /* program of struct sock_filter */
    int groups[ZY_GROUPS_MAX];
    int secrets; /* a mount for ZY_SECRETS_PATH; -1: none */
    int network; /* namespace to enter; -1: a new one, with nothing but loopback */
};

/* Nursery's side.  *out_pidfd is set as soon as there is a process, which may have failed. */
void zy_lane_start(struct zy_lane *lane, struct zy_reply *out_reply, int *out_pidfd);

#endif
