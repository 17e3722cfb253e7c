/* HTTPS at a real gateway: the certificate verified by the client, and replaced under connections.
 */
#include "tests/support/gate.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/cert.h"
#include "tests/support/program.h"
#include "tests/unit/unit.h"

#define RENEWED_MS 20000 /* a bound, far above what it takes */
#define RENEWALS   40

static struct gate gate;
static char dir[] = "/tmp/faas-tls-XXXXXX";
static char cert_path[64], key_path[64], url[64];

/* The gateway's files, and a copy of the certificate for clients to trust. */
static void make_pair(int number, char out_trust[64])
{
    (void)snprintf(out_trust, 64, "%s/trust-%d.pem", dir, number);
    cert_make(number, cert_path, key_path, out_trust);
}

/* ---- the client ---- */

static size_t drop(char *data, size_t size, size_t count, void *arg)
{
    (void)data, (void)arg;
    return size * count;
}

static CURL *client(const char *trust)
{
    CURL *curl = curl_easy_init();

    assert_non_null(curl);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_CAINFO, trust);
    curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, 20000L);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, drop);
    return curl;
}

/* The answer's status; 0: no connection that the client trusts. */
static long ask(CURL *curl, long *out_new_connections)
{
    long status = 0;

    if (curl_easy_perform(curl) != CURLE_OK)
        return 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(curl, CURLINFO_NUM_CONNECTS, out_new_connections);
    return status;
}

static long ask_once(const char *trust)
{
    CURL *curl = client(trust);
    long connections, status = ask(curl, &connections);

    curl_easy_cleanup(curl);
    return status;
}

static bool is_trusted(void *arg)
{
    return ask_once(arg) == 401;
}

/* ---- the tests ---- */

/* Below the ephemeral range, so that no outgoing connection takes it meanwhile. */
static int free_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), port = 10000 + getpid() % 9000;

    assert_true(fd >= 0);
    do {
        assert_true(++port < 20000);
        at.sin_port = htons((uint16_t)port);
    } while (bind(fd, (struct sockaddr *)&at, sizeof at) != 0);
    close(fd);
    return port;
}

static char first[64];

static int open_tls(void **state)
{
    char listen[64], cert[96], key[96];
    const char *const settings[] = {
        listen, cert, key, "GATEWAY_IDLE_S=3600", "GATEWAY_READ_MS=600000", NULL};
    int port = free_port();

    (void)state;
    assert_non_null(mkdtemp(dir));
    (void)snprintf(cert_path, sizeof cert_path, "%s/cert.pem", dir);
    (void)snprintf(key_path, sizeof key_path, "%s/key.pem", dir);
    (void)snprintf(url, sizeof url, "https://127.0.0.1:%d/auth/validate", port);
    (void)snprintf(listen, sizeof listen, "LISTEN_TLS=127.0.0.1:%d", port);
    (void)snprintf(cert, sizeof cert, "TLS_CERT_FILE=%s", cert_path);
    (void)snprintf(key, sizeof key, "TLS_KEY_FILE=%s", key_path);
    make_pair(1, first);
    gate_open(&gate, settings);
    return 0;
}

static int close_tls(void **state)
{
    static const char *const files[] = {"cert.pem",    "key.pem",     "trust-1.pem",
                                        "trust-2.pem", "trust-3.pem", "trust-4.pem"};
    char path[96];

    (void)state;
    gate_close(&gate);
    for (size_t i = 0; i < FAAS_ARRAY_LEN(files); i++) {
        (void)snprintf(path, sizeof path, "%s/%s", dir, files[i]);
        (void)unlink(path);
    }
    return rmdir(dir);
}

static void requests_come_over_a_verified_connection(void **state)
{
    CURL *curl = client(first);
    long connections = 0;

    (void)state;
    assert_int_equal(ask(curl, &connections), 401); /* no token: the gateway has spoken */
    assert_int_equal(connections, 1);
    assert_int_equal(ask(curl, &connections), 401);
    assert_int_equal(connections, 0);
    curl_easy_cleanup(curl);
    assert_int_equal(ask_once("/dev/null"), 0);
}

static void a_new_certificate_comes_without_losing_a_connection(void **state)
{
    CURL *kept = client(first);
    long connections = 0;
    char second[64];

    (void)state;
    assert_int_equal(ask(kept, &connections), 401);
    make_pair(2, second);
    assert_int_equal(ask_once(second), 0);
    assert_int_equal(kill(gate.gateway, SIGHUP), 0);
    wait_until(is_trusted, second, RENEWED_MS, "the new certificate is there");
    assert_int_equal(ask_once(first), 0);
    assert_int_equal(ask(kept, &connections), 401);
    assert_int_equal(connections, 0); /* the connection of before lives on */
    curl_easy_cleanup(kept);
}

static bool says(const char *file, const char *word)
{
    char path[96], line[4096];
    FILE *in;
    bool has = false;

    (void)snprintf(path, sizeof path, "%s/%s", gate.dir, file);
    in = fopen(path, "r");
    assert_non_null(in);
    while (fgets(line, sizeof line, in) != NULL)
        has |= strstr(line, word) != NULL;
    fclose(in);
    return has;
}

static bool has_refused(void *arg)
{
    return says("gateway.log", arg);
}

static void files_that_do_not_fit_change_nothing(void **state)
{
    char third[64], other[64];

    (void)state;
    make_pair(3, third);
    assert_int_equal(kill(gate.gateway, SIGHUP), 0);
    wait_until(is_trusted, third, RENEWED_MS, "the third certificate is there");
    assert_int_equal(chmod(key_path, 0640), 0);
    assert_int_equal(kill(gate.gateway, SIGHUP), 0);
    wait_until(has_refused, (char[]){"others may reach this secret"}, RENEWED_MS,
               "an open key is refused");
    (void)snprintf(other, sizeof other, "%s/other.pem", dir);
    cert_make(4, other, key_path, other); /* the key alone is the gateway's */
    assert_int_equal(kill(gate.gateway, SIGHUP), 0);
    wait_until(has_refused, (char[]){"not the key of TLS_CERT_FILE"}, RENEWED_MS, "another's key");
    assert_int_equal(ask_once(third), 401);
    (void)unlink(other);
}

/* Each with the connections of all the certificates before it still open. */
static void renewals_have_no_end(void **state)
{
    CURL *kept[RENEWALS];
    long connections = 0;
    char trust[64];

    (void)state;
    for (int i = 0; i < RENEWALS; i++) {
        make_pair(3, trust);
        assert_int_equal(kill(gate.gateway, SIGHUP), 0);
        wait_until(is_trusted, trust, RENEWED_MS, "the next certificate is there");
        kept[i] = client(trust);
        assert_int_equal(ask(kept[i], &connections), 401);
    }
    for (int i = 0; i < RENEWALS; i++) {
        assert_int_equal(ask(kept[i], &connections), 401);
        assert_int_equal(connections, 0);
        curl_easy_cleanup(kept[i]);
    }
}

/* ---- starts that are refused ---- */

static void assert_refused(const char *cert, const char *key, const char *word)
{
    char cert_setting[96], key_setting[96], urls[256], log[96];
    const char *const settings[] = {
        urls, "LISTEN_ADDR=127.0.0.1:0", "LISTEN_TLS=127.0.0.1:0", cert_setting, key_setting, NULL};

    (void)snprintf(urls, sizeof urls, "NATS_URL=%s", nats_urls(gate.nats));
    (void)snprintf(cert_setting, sizeof cert_setting, "TLS_CERT_FILE=%s", cert);
    (void)snprintf(key_setting, sizeof key_setting, "TLS_KEY_FILE=%s", key);
    (void)snprintf(log, sizeof log, "%s/refused.log", gate.dir);
    assert_int_equal(program_wait(program_start("gateway", settings, log), 20000), 1);
    assert_true(says("refused.log", "cannot start"));
    assert_true(says("refused.log", word));
}

static void a_gateway_without_a_good_pair_does_not_start(void **state)
{
    char trust[64];

    (void)state;
    assert_refused("", key_path, "TLS_CERT_FILE: LISTEN_TLS needs it");
    assert_refused(cert_path, "", "TLS_KEY_FILE: LISTEN_TLS needs it");
    assert_refused("/no/such/file", key_path, "TLS_CERT_FILE: /no/such/file: No such file");
    assert_refused(key_path, key_path, "TLS_CERT_FILE: no chain of 1 to 16 certificates");
    make_pair(4, trust);
    assert_refused(cert_path, cert_path, "run chmod 0600 on it");
    assert_int_equal(chmod(cert_path, 0600), 0);
    assert_refused(cert_path, cert_path, "TLS_KEY_FILE: no unencrypted private key");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_come_over_a_verified_connection),
        cmocka_unit_test(a_new_certificate_comes_without_losing_a_connection),
        cmocka_unit_test(files_that_do_not_fit_change_nothing),
        cmocka_unit_test(renewals_have_no_end),
        cmocka_unit_test(a_gateway_without_a_good_pair_does_not_start),
    };

    curl_global_init(CURL_GLOBAL_DEFAULT);
    return cmocka_run_group_tests(tests, open_tls, close_tls);
}
