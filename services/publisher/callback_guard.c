/* Which addresses a callback may go to. */
#include "callback.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

/* Never without the operator's word: this host, private and link-local networks, shared and test ones,
 * multicast and broadcast (IANA special-purpose registries). */
static const char reserved[] =
    "0.0.0.0/8, 10.0.0.0/8, 100.64.0.0/10, 127.0.0.0/8, 169.254.0.0/16, 172.16.0.0/12, "
    "192.0.0.0/24, 192.0.2.0/24, 192.88.99.0/24, 192.168.0.0/16, 198.18.0.0/15, 198.51.100.0/24, "
    "203.0.113.0/24, 224.0.0.0/4, 240.0.0.0/4, ::/96, ::1/128, 64:ff9b:1::/48, 100::/64, "
    "2001::/23, 2001:db8::/32, 2002::/16, 3fff::/20, 5f00::/16, fc00::/7, fe80::/10, fec0::/10, "
    "ff00::/8";

static bool parse_net(const char *text, struct callback_net *out)
{
    char address[64], *slash, *end;
    int most;

    (void)snprintf(address, sizeof address, "%s", text);
    slash = strchr(address, '/');
    if (slash != NULL)
        *slash = '\0';
    out->family = strchr(address, ':') != NULL ? AF_INET6 : AF_INET;
    most = out->family == AF_INET6 ? 128 : 32;
    if (strlen(text) >= sizeof address || inet_pton(out->family, address, out->bytes) != 1)
        return false;
    out->prefix = most;
    if (slash == NULL)
        return true;
    if (!isdigit((unsigned char)slash[1]))
        return false;
    out->prefix = (int)strtol(slash + 1, &end, 10);
    return *end == '\0' && strlen(slash + 1) <= 3 && out->prefix <= most;
}

faas_code callback_guard_parse(const char *list, struct callback_guard *out_guard, faas_err *err)
{
    char word[64];
    size_t len;

    out_guard->count = 0;
    for (; *list != '\0'; list += len) {
        list += strspn(list, ", ");
        len = strcspn(list, ", ");
        if (len == 0)
            break;
        (void)snprintf(word, sizeof word, "%.*s", (int)(len < 63 ? len : 63), list);
        if (out_guard->count == CALLBACK_NETS)
            return faas_fail(err, FAAS_INVALID, "at most %d networks", CALLBACK_NETS);
        if (len >= sizeof word || !parse_net(word, &out_guard->nets[out_guard->count]))
            return faas_fail(err, FAAS_INVALID, "%s: expected an address or ADDRESS/BITS", word);
        out_guard->count++;
    }
    return FAAS_OK;
}

static bool is_in(const struct callback_net *net, int family, const unsigned char *bytes)
{
    int whole = net->prefix / 8, rest = net->prefix % 8;

    if (net->family != family || memcmp(net->bytes, bytes, (size_t)whole) != 0)
        return false;
    return rest == 0 || (net->bytes[whole] ^ bytes[whole]) >> (8 - rest) == 0;
}

static bool is_in_any(const struct callback_guard *guard, int family, const unsigned char *bytes)
{
    for (size_t i = 0; i < guard->count; i++)
        if (is_in(&guard->nets[i], family, bytes))
            return true;
    return false;
}

bool callback_guard_lets(const struct callback_guard *guard, const struct sockaddr *address)
{
    static const unsigned char mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    static const unsigned char nat64[12] = {0, 0x64, 0xff, 0x9b};
    struct callback_guard never = {.count = 0};
    unsigned char bytes[16] = {0};
    int family = address->sa_family;

    if (family == AF_INET) {
        memcpy(bytes, &((const struct sockaddr_in *)(const void *)address)->sin_addr, 4);
    } else if (family == AF_INET6) {
        memcpy(bytes, &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr, 16);
        /* An IPv4 address in other clothes is judged as what it is. */
        if (memcmp(bytes, mapped, 12) == 0 || memcmp(bytes, nat64, 12) == 0) {
            family = AF_INET;
            memmove(bytes, bytes + 12, 4);
        }
    } else {
        return false;
    }
    if (is_in_any(guard, family, bytes))
        return true;
    if (callback_guard_parse(reserved, &never, NULL) != FAAS_OK)
        return false;
    return !is_in_any(&never, family, bytes);
}
