#include "resolvers.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define LIST "/etc/resolv.conf"

static bool add(struct resolvers *to, const char *text)
{
    struct in_addr address;

    if (to->count >= ZY_RESOLVERS_MAX || inet_pton(AF_INET, text, &address) != 1)
        return false;
    to->at[to->count++] = address.s_addr;
    return true;
}

/* Others than IPv4 are left out, and so is what is past the number. */
static void add_machines(struct resolvers *to)
{
    FILE *file = fopen(LIST, "re");
    char line[256], text[64];

    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, " nameserver %63s", text) == 1 && strncmp(text, "127.", 4) != 0)
            (void)add(to, text);
    if (file != NULL)
        (void)fclose(file);
}

faas_code resolvers_read(const char *setting, struct resolvers *out_resolvers, faas_err *err)
{
    struct resolvers found = {.count = 0};
    char copy[256], *save = NULL;

    if (snprintf(copy, sizeof copy, "%s", setting) >= (int)sizeof copy)
        return faas_fail(err, FAAS_INVALID, "SPAWNER_DNS: at most %d addresses", ZY_RESOLVERS_MAX);
    if (setting[0] == '\0')
        add_machines(&found);
    for (char *at = strtok_r(copy, ", ", &save); at != NULL; at = strtok_r(NULL, ", ", &save))
        if (!add(&found, at))
            return faas_fail(err, FAAS_INVALID,
                             "SPAWNER_DNS: %s: expected at most %d IPv4 addresses", at,
                             ZY_RESOLVERS_MAX);
    *out_resolvers = found;
    return FAAS_OK;
}

void resolvers_text(const struct resolvers *resolvers, char out_text[RESOLVERS_TEXT])
{
    size_t used = 0;

    out_text[0] = '\0';
    for (size_t i = 0; i < resolvers->count; i++) {
        char text[INET_ADDRSTRLEN];

        (void)inet_ntop(AF_INET, &resolvers->at[i], text, sizeof text);
        used += (size_t)snprintf(out_text + used, RESOLVERS_TEXT - used, "nameserver %s\n", text);
    }
}
