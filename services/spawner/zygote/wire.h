/* wire.h - what the spawner, the nursery and the zygotes say to each other: packets of SEQPACKET
 * sockets between processes of one build, so plain structs.  Nobody else holds such a socket.
 * Nursery   zy_lane_req and its strings, with descriptors [control, filter, cgroup.procs ...], and
 *           last the network namespace where has_network
 *           and a mount for ZY_SECRETS_PATH where has_secrets;
 *           answer zy_reply with the zygote's pidfd.  One answer per request, in order.
 * Outbound  zy_network_req; answer zy_reply with a network namespace in place of a pidfd.
 * Zygote    ZY_CLEAN (one byte), between sandboxes: what the last one left in /tmp and the like goes,
 *           as it would before the next one.  ZY_MAKE (one byte) with descriptors [stdout, stderr]: a sandbox is made and waits.  Then
 *           zy_call_req and its strings, with descriptor [stdin] or none: it runs.  Answer, once
 *           the program runs or cannot: zy_reply with the sandbox's pidfd.  Both packets may be
 *           sent at once.  One sandbox at a time; the next ZY_MAKE follows the end of the last.
 * Slot      a lane with is_slot makes its sandbox at once and says ZY_MADE, with its pidfd; the sandbox's
 *           own first process says ZY_READY, in either order.  Then a zy_call_req with descriptors
 *           [stdout, stderr] or [stdout, stderr, stdin], one at a time: ZY_BEGAN, and, where that
 *           went well, ZY_ENDED once nothing of the call is left.  The zygote ends with its slot.
 * Children  zygotes and sandboxes are children of the spawner (CLONE_PARENT), which reaps them.
 * End       a closed socket ends a zygote, and a sandbox that still waits.
 */
#ifndef ZYGOTE_WIRE_H
#define ZYGOTE_WIRE_H

#include <stdint.h>

#define ZY_PACKET_MAX    (192 * 1024)
#define ZY_LAYERS_MAX    128         /* of an image, the skeleton included */
#define ZY_GROUPS_MAX    3           /* control groups a lane lives in */
#define ZY_IDS           65536       /* user and group ids of a lane */
#define ZY_OWNER_BASE    0x70000000U /* on disk, user u of an image owns files as this + u */
#define ZY_STRINGS_MAX   4096        /* arguments; also variables */
#define ZY_SHM_MB        8
#define ZY_VOLUMES_MAX   16   /* of an image */
#define ZY_VOLUME_BYTES  255  /* of a volume's path */
#define ZY_NETWORKS      1024 /* of one spawner */
#define ZY_RESOLVERS_MAX 3
#define ZY_SECRETS_PATH  "/run/secrets"
#define ZY_SECRETS_ALIAS "/var/openfaas/secrets" /* where it can be, too */
#define ZY_MAKE          'm'
#define ZY_CLEAN         'c'
#define ZY_FAILED        125 /* exit status of what did not come to its program */

struct zy_lane_req {
    uint64_t pass;     /* sixth argument of the zygote's own system calls: native/allowed.h */
    uint32_t groups;   /* descriptors of cgroup.procs files */
    uint32_t first_id; /* on the host; ZY_IDS of them */
    uint32_t layers;
    uint32_t uid, gid; /* of the calls, inside: below ZY_IDS */
    uint32_t pids, files, tmp_mb;
    uint32_t is_slot, has_network, has_secrets;
    uint32_t volumes;
    /* Then, each ended by NUL: an empty directory to mount on; the layers, highest first;
     * the first is the skeleton, whose files are root's; the volumes, absolute paths. */
};

struct zy_network_req {
    uint32_t number; /* of the share: names what is made on this machine */
    uint32_t index;  /* of the lane, below ZY_NETWORKS; what an earlier one has left goes first */
    uint32_t resolver_count;
    uint32_t resolvers[ZY_RESOLVERS_MAX]; /* struct in_addr */
};

struct zy_call_req {
    uint32_t argc, envc;
    /* Then, each ended by NUL: working directory, argc arguments, envc variables. */
};

/* Where it went wrong.  Up to ZY_STEP_LAST_OF_LANE the lane is of no more use. */
#define ZY_STEPS(X)                                                                                \
    X(REQUEST, "an order the zygote does not understand")                                          \
    X(CLONE, "no new process")                                                                     \
    X(NAMESPACE, "no new namespace")                                                               \
    X(OWNERS,                                                                                      \
      "the owners of the image's files cannot be mapped: this needs Linux 5.19 and a file "        \
      "system that can (ext4, xfs, btrfs)")                                                        \
    X(ROOT, "the image's layers cannot be mounted")                                                \
    X(VOLUME, "a VOLUME path of the image is no plain folder in it")                               \
    X(SECRETS, "the image's " ZY_SECRETS_PATH " is no plain folder, so secrets cannot be mounted") \
    X(DEV, "no /dev")                                                                              \
    X(PROC, "no /proc")                                                                            \
    X(PIVOT, "the root cannot be changed")                                                         \
    X(IPC, "the lane's limits of System V objects and message queues cannot be set")               \
    X(NETWORK, "no loopback device")                                                               \
    X(FORWARDING, "this machine forwards no packets; set net.ipv4.ip_forward to 1")                \
    X(RULES, "rules of nftables cannot be set")                                                    \
    X(DEVICES, "no pair of network devices; this needs the program ip of iproute2, and veth")      \
    X(GROUP, "the control group cannot be entered")                                                \
    X(IDS, "no user ids of its own")                                                               \
    X(TMP, "no /tmp")                                                                              \
    X(LIMITS, "limits cannot be set")                                                              \
    X(CAPS, "capabilities cannot be dropped")                                                      \
    X(FILTER, "the system call filter cannot be loaded")                                           \
    X(ORDER, "the order did not arrive")                                                           \
    X(STDIO, "no standard output")                                                                 \
    X(CWD, "the working directory cannot be entered")                                              \
    X(EXEC, "the program cannot be started")
#define X(name, text) ZY_STEP_##name,
enum zy_step { ZY_STEP_NONE, ZY_STEPS(X) ZY_STEP_END };
#undef X
#define ZY_STEP_LAST_OF_LANE ZY_STEP_STDIO

enum zy_word { ZY_MADE, ZY_READY, ZY_BEGAN, ZY_ENDED };
struct zy_reply {
    int32_t pid;    /* in the spawner's pid namespace; 0: there is none */
    int32_t step;   /* enum zy_step; NONE: it runs; with ZY_ENDED: nothing hinders the next call */
    int32_t error;  /* errno */
    int32_t word;   /* enum zy_word; of a slot alone */
    int32_t status; /* as wait() has it; of ZY_ENDED */
};

#endif
