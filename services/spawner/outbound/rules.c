#include "rules.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <nftables/libnftables.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#define FLOWS_MAX 1024 /* connections of one lane at once: each takes memory of the kernel */

/* This network, private ones, those of providers, loopback, link-local (metadata), protocol
 * assignments, benchmarks (and so all lanes), multicast, reserved. */
static const char reserved[] = "0.0.0.0/8, 10.0.0.0/8, 100.64.0.0/10, 127.0.0.0/8, 169.254.0.0/16, "
                               "172.16.0.0/12, 192.0.0.0/24, 192.168.0.0/16, 198.18.0.0/15, "
                               "224.0.0.0/4, 240.0.0.0/4";

/* The networks this machine is part of, private or not. */
static void put_own_networks(FILE *out)
{
    struct ifaddrs *all = NULL;

    if (getifaddrs(&all) != 0)
        return;
    for (const struct ifaddrs *at = all; at != NULL; at = at->ifa_next) {
        struct in_addr address, mask;
        char text[INET_ADDRSTRLEN];

        if (at->ifa_addr == NULL || at->ifa_netmask == NULL || at->ifa_addr->sa_family != AF_INET)
            continue;
        address = ((const struct sockaddr_in *)(const void *)at->ifa_addr)->sin_addr;
        mask = ((const struct sockaddr_in *)(const void *)at->ifa_netmask)->sin_addr;
        address.s_addr &= mask.s_addr;
        (void)fprintf(out, ", %s/%d", inet_ntop(AF_INET, &address, text, sizeof text),
                      __builtin_popcount(mask.s_addr));
    }
    freeifaddrs(all);
}

static void put_resolvers(FILE *out, const struct zy_network_req *req)
{
    char text[INET_ADDRSTRLEN];

    for (uint32_t i = 0; i < req->resolver_count; i++)
        (void)fprintf(out, "    ip daddr %s meta l4proto { tcp, udp } th dport 53 accept\n",
                      inet_ntop(AF_INET, &req->resolvers[i], text, sizeof text));
}

/* What comes from a lane is judged before anything else can give it another destination. */
static void put_table(FILE *out, const struct zy_network_req *req)
{
    unsigned n = req->number;
    struct in_addr first = {.s_addr = htonl(RULES_FIRST + n * ZY_NETWORKS)};
    char text[INET_ADDRSTRLEN];

    (void)fprintf(out,
                  "table inet faas_outbound_%u {\n"
                  "  set closed { type ipv4_addr; flags interval; auto-merge; elements = { %s",
                  n, reserved);
    put_own_networks(out);
    (void)fprintf(out,
                  " } }\n"
                  "  set flows { type ipv4_addr; flags dynamic; size %d; }\n"
                  "  chain from { type filter hook prerouting priority raw;\n"
                  "    iifname != \"faas%u-*\" accept\n"
                  "    meta nfproto != ipv4 drop\n"
                  "    fib saddr . iif oif missing drop\n"
                  "    fib daddr type != unicast reject with icmpx admin-prohibited\n",
                  ZY_NETWORKS, n);
    put_resolvers(out, req);
    (void)fprintf(
        out,
        "    ip daddr @closed reject with icmpx admin-prohibited\n  }\n"
        "  chain in { type filter hook input priority filter; iifname \"faas%u-*\" drop; }\n"
        "  chain through { type filter hook forward priority filter;\n"
        "    oifname \"faas%u-*\" ct state != { established, related } drop\n"
        "    iifname \"faas%u-*\" ct state new add @flows { ip saddr ct count over %d } drop\n"
        "  }\n"
        "  chain to { type nat hook postrouting priority srcnat;\n"
        "    ip saddr %s/22 oifname != \"faas%u-*\" masquerade\n  }\n}\n",
        n, n, n, FLOWS_MAX, inet_ntop(AF_INET, &first, text, sizeof text), n);
}

/* One transaction. */
static bool run(const char *text)
{
    struct nft_ctx *nft = nft_ctx_new(NFT_CTX_DEFAULT);
    bool is_done;

    if (nft == NULL) {
        errno = ENOMEM;
        return false;
    }
    is_done = nft_ctx_buffer_error(nft) == 0 && nft_ctx_buffer_output(nft) == 0 &&
              nft_run_cmd_from_buffer(nft, text) == 0;
    nft_ctx_free(nft);
    errno = ENOTSUP;
    return is_done;
}

static void put_removal(FILE *out, unsigned number)
{
    /* Added first: what is not there cannot be removed. */
    (void)fprintf(out, "add table inet faas_outbound_%u\ndelete table inet faas_outbound_%u\n",
                  number, number);
}

static bool run_written(unsigned number, const struct zy_network_req *req)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    bool is_done = false;

    if (out == NULL)
        return false;
    put_removal(out, number);
    if (req != NULL)
        put_table(out, req);
    if (fclose(out) == 0)
        is_done = run(text);
    free(text);
    return is_done;
}

bool rules_set(const struct zy_network_req *req)
{
    return run_written(req->number, req);
}

bool rules_remove(unsigned number)
{
    return run_written(number, NULL);
}
