/* login_time.c - does the time of a refused login tell whether the name exists?
 * Pairs     a wrong password for a name that exists, and one for a name that does not, in an order
 *           chosen at random, over the bus as a gateway asks; every try comes from another address,
 *           and an account gets fewer tries than the throttle counts, so none is slowed down.
 * Output    p50 of both, their ratio, and the p-value of the Mann-Whitney test that both come from
 *           one distribution: small (under 0.01) would mean that they differ.
 * Usage     login_time NATS_URL SEED_FILE [pairs]; SEED_FILE: of the bus's user "gateway".
 */
#include <math.h>
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "contract.h"
#include "net/rpc.h"

#define PAIRS_MAX   2000
#define TRIES       5 /* of one account */
#define PASSWORD    "correct horse 77"
#define DEADLINE_MS 30000

struct timed {
    double ms;
    bool is_known;
};

static faas_rpc *rpc;
static unsigned tries;

static void die(const char *what, const faas_err *err)
{
    fprintf(stderr, "login_time: %s%s%s\n", what, err != NULL ? ": " : "",
            err != NULL ? err->msg : "");
    _exit(2); /* other threads are running */
}

static faas_code ask(const char *subject, const char *name, const char *password, faas_err *err)
{
    char body[200], address[32];
    const struct faas_header headers[] = {{FAAS_H_CLIENT, address}, {NULL, NULL}};
    const struct faas_ctx ctx = {.deadline_ns = faas_deadline_in_ms(DEADLINE_MS)};
    struct faas_rpc_request req = {
        .subject = subject, .headers = headers, .ctx = &ctx, .data = body, .retry = FAAS_RPC_ONCE};
    FAAS_AUTO(faas_msg) *msg = NULL;

    tries++;
    snprintf(address, sizeof address, "10.%u.%u.%u", tries >> 16 & 255, tries >> 8 & 255,
             tries & 255);
    req.len = (size_t)snprintf(body, sizeof body, "{\"username\":\"%s\",\"password\":\"%s\"}", name,
                               password);
    return faas_rpc_wait(rpc, &req, &msg, err);
}

static struct timed time_login(const char *name, bool is_known)
{
    uint64_t begin = faas_now_ns();
    faas_err err = {0};

    if (ask(FAAS_SUBJ_AUTH_LOGIN, name, "not the password", &err) != FAAS_UNAUTHENTICATED)
        die("a wrong login was not refused as one", &err);
    return (struct timed){(double)(faas_now_ns() - begin) / 1e6, is_known};
}

static void measure(struct timed *out, int pairs)
{
    char run[9], known[32] = "", unknown[32];
    faas_err err = {0};

    snprintf(run, sizeof run, "%08x", randombytes_random());
    for (int i = 0; i < pairs; i++) {
        bool is_known_first = randombytes_uniform(2) == 1;

        if (i % TRIES == 0) {
            snprintf(known, sizeof known, "k%s-%d", run, i);
            if (ask(FAAS_SUBJ_AUTH_REGISTER, known, PASSWORD, &err) != FAAS_OK)
                die("register", &err);
        }
        snprintf(unknown, sizeof unknown, "u%s-%d", run, i);
        out[2 * i] = time_login(is_known_first ? known : unknown, is_known_first);
        out[2 * i + 1] = time_login(is_known_first ? unknown : known, !is_known_first);
    }
}

/* ---- figures ---- */

static int by_ms(const void *a, const void *b)
{
    double x = ((const struct timed *)a)->ms, y = ((const struct timed *)b)->ms;

    return x < y ? -1 : x > y;
}

static double median(const struct timed *sorted, int pairs, bool is_known)
{
    int seen = 0;

    for (int i = 0; i < 2 * pairs; i++) {
        seen += sorted[i].is_known == is_known;
        if (seen > pairs / 2)
            return sorted[i].ms;
    }
    return 0;
}

/* Two-sided, by the normal approximation; times to the nanosecond have no ties to speak of. */
static double p_value(const struct timed *sorted, int pairs)
{
    double n = pairs, ranks = 0, u;

    for (int i = 0; i < 2 * pairs; i++)
        if (sorted[i].is_known)
            ranks += i + 1;
    u = ranks - n * (n + 1) / 2;
    return erfc(fabs((u - n * n / 2) / sqrt(n * n * (2 * n + 1) / 12)) / sqrt(2));
}

static void *run_loop(void *arg)
{
    faas_loop_run(arg);
    return NULL;
}

int main(int argc, char **argv)
{
    static struct timed times[2 * PAIRS_MAX];
    const struct faas_rpc_conf rpc_conf = {"gateway", "logintime", "0.1.0", "a measurement", NULL};
    struct faas_bus_conf bus_conf = {.service = "gateway", .id = "logintime"};
    int pairs = argc > 3 ? (int)strtol(argv[3], NULL, 10) : 100;
    faas_loop *loop = NULL;
    faas_bus *bus = NULL;
    pthread_t thread;
    faas_err err = {0};

    if (argc < 3 || pairs < 8 || pairs > PAIRS_MAX || sodium_init() < 0)
        die("NATS_URL SEED_FILE [pairs, 8 to 2000]", NULL);
    faas_log_setup("bench", "login_time", FAAS_LOG_ERROR);
    bus_conf.urls = argv[1];
    bus_conf.nkey_file = argv[2];
    if (faas_loop_new(&loop, &err) != FAAS_OK ||
        faas_bus_open(&bus_conf, loop, &bus, &err) != FAAS_OK ||
        faas_rpc_open(bus, &rpc_conf, &rpc, &err) != FAAS_OK ||
        pthread_create(&thread, NULL, run_loop, loop) != 0)
        die("connect", &err);
    measure(times, pairs);
    qsort(times, (size_t)(2 * pairs), sizeof times[0], by_ms);
    printf(
        "login_time: refused logins, %d pairs: known name p50 %.2f ms, unknown name p50 %.2f ms, "
        "x%.3f, p-value of a difference %.3f\n",
        pairs, median(times, pairs, true), median(times, pairs, false),
        median(times, pairs, true) / median(times, pairs, false), p_value(times, pairs));
    faas_loop_stop(loop);
    pthread_join(thread, NULL);
    faas_rpc_close(rpc);
    faas_bus_close(bus, 200);
    faas_loop_free(loop);
    return 0;
}
