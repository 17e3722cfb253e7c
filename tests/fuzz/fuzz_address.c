/* A text as what `faas` takes for addresses: --listen, --server, --replicas and the version of a
 * nats-server.  It is refused with a message, or gives an address of this family and a port in
 * bounds; a URL that is its own normal form, without blanks, user or query; a count in bounds. */
#include <arpa/inet.h>

#include "cli/credentials.h"
#include "cli/nats_conf.h"
#include "cli/plan.h"
#include "tests/fuzz/claim.h"

static void claim_listen(const char *text)
{
    struct up_options options = {.port = -1};
    unsigned char bytes[16];
    faas_err err = {0};
    faas_code rc = plan_parse_listen(text, &options, &err);

    claim_outcome(rc, FAAS_INVALID, &err);
    if (rc != FAAS_OK)
        return;
    CLAIM(options.port >= 0 && options.port <= 65535);
    CLAIM(inet_pton(AF_INET, options.address, bytes) == 1 ||
          inet_pton(AF_INET6, options.address, bytes) == 1);
}

static void claim_server(const char *text)
{
    FAAS_AUTO(char) *url = NULL;
    FAAS_AUTO(char) *again = NULL;
    faas_err err = {0};
    faas_code rc = credential_server_url(text, &url, &err);

    claim_outcome(rc, FAAS_INVALID, &err);
    CLAIM((rc == FAAS_OK) == (url != NULL));
    if (rc != FAAS_OK)
        return;
    CLAIM(strncasecmp(url, "http://", 7) == 0 || strncasecmp(url, "https://", 8) == 0);
    CLAIM(strpbrk(url, "@?# \t\r\n\"\\") == NULL && url[strlen(url) - 1] != '/');
    CLAIM(credential_server_url(url, &again, &err) == FAAS_OK && strcmp(url, again) == 0);
}

static void claim_replicas(const char *text)
{
    int counts[ROLE_COUNT] = {1, 1, 1, 1, 1, 1, 1};
    faas_err err = {0};
    faas_code rc = plan_parse_replicas(text, counts, &err);
    int changed = 0;

    claim_outcome(rc, FAAS_INVALID, &err);
    for (int role = 0; role < ROLE_COUNT; role++) {
        CLAIM(counts[role] >= 1 && counts[role] <= plan_roles[role].most);
        changed += counts[role] != 1;
    }
    CLAIM(changed <= (rc == FAAS_OK ? 1 : 0));
}

static void claim_version(const char *text)
{
    int version[3] = {-1, -1, -1};

    if (!nats_version_parse(text, version))
        return;
    CLAIM(version[0] >= 0 && version[1] >= 0 && version[2] >= 0);
    (void)nats_version_is_enough(version);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    FAAS_AUTO(char) *text = strndup(size > 0 ? (const char *)data : "", size);

    CLAIM(text != NULL);
    claim_listen(text);
    claim_server(text);
    claim_replicas(text);
    claim_version(text);
    return 0;
}
