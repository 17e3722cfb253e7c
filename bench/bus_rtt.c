/* bus_rtt.c - what a round trip of our rpc costs beside the bare NATS protocol, and that no plateau
 * of 1 ms (a delayed flush) is in it. Floor     two plain sockets speak the NATS text protocol to
 * each other through the server: PUB with a reply subject, PUB back. Ours      faas_rpc_call to a
 * loop endpoint of a second member in the same process, one request in flight. Rounds interleaved,
 * 10 of each; p50 and p99 of both and the ratio are printed.  Exit 1 when more than one in ten of
 * our round trips lies within 0.9 to 1.2 ms while the floor's p50 is under 0.5 ms: that is the
 * plateau. Usage     bus_rtt HOST PORT [rounds]
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/rpc.h"

#define SUBJECT "bench.echo"

struct bench {
    faas_loop *loop;
    faas_rpc *client, *server;
    int asker, answerer;  /* sockets of the floor */
    double *floor, *ours; /* microseconds */
    int rounds, at;
    uint64_t begun_ns;
};

static void die(const char *what)
{
    fprintf(stderr, "bus_rtt: %s\n", what);
    _exit(2); /* other threads are running */
}

/* ---- the floor: the NATS protocol by hand ---- */

static void tell(int fd, const char *text)
{
    if (write(fd, text, strlen(text)) != (ssize_t)strlen(text))
        die("write");
}

/* Read until `text` ends what arrived. */
static void read_until(int fd, const char *text)
{
    char got[8192];
    size_t len = 0, want = strlen(text);

    while (len < want || memcmp(got + len - want, text, want) != 0) {
        ssize_t n = len == sizeof got ? 0 : read(fd, got + len, sizeof got - len);

        if (n <= 0)
            die("the server closed the connection");
        len += (size_t)n;
    }
}

static int plain_connection(const char *host, int port, const char *subscription)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;

    if (fd < 0 || inet_pton(AF_INET, host, &at.sin_addr) != 1 ||
        connect(fd, (struct sockaddr *)&at, sizeof at) != 0)
        die("cannot connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    read_until(fd, "\r\n");
    tell(fd, "CONNECT {\"verbose\":false,\"pedantic\":false}\r\n");
    tell(fd, subscription);
    tell(fd, "PING\r\n");
    read_until(fd, "PONG\r\n");
    return fd;
}

static double floor_us(struct bench *b)
{
    uint64_t begun = faas_now_ns();

    tell(b->asker, "PUB floor.ask floor.answer 1\r\nx\r\n");
    read_until(b->answerer, "x\r\n");
    tell(b->answerer, "PUB floor.answer 1\r\ny\r\n");
    read_until(b->asker, "y\r\n");
    return (double)(faas_now_ns() - begun) / 1e3;
}

/* ---- ours ---- */

static void on_request(void *arg, faas_msg *take_msg)
{
    struct bench *b = arg;

    faas_rpc_answer(b->server, take_msg, "y", 1);
    faas_msg_free(take_msg);
}

static void next_round(struct bench *b);

static void on_reply(void *arg, const struct faas_rpc_reply *reply)
{
    struct bench *b = arg;

    if (reply->code != FAAS_OK)
        die(reply->err->msg);
    b->ours[b->at++] = (double)(faas_now_ns() - b->begun_ns) / 1e3;
    next_round(b);
}

static void next_round(struct bench *b)
{
    struct faas_ctx ctx = {.deadline_ns = faas_deadline_in_ms(5000)};
    struct faas_rpc_request req = {.subject = SUBJECT, .ctx = &ctx, .data = "x", .len = 1};

    if (b->at == b->rounds) {
        faas_loop_stop(b->loop);
        return;
    }
    if (b->at % 10 == 0) {
        for (int i = b->at; i < b->at + 10 && i < b->rounds; i++)
            b->floor[i] = floor_us(b);
    }
    b->begun_ns = faas_now_ns();
    faas_rpc_call(b->client, &req, on_reply, b);
}

static void start(void *arg)
{
    next_round(arg);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static faas_rpc *member(struct bench *b, const char *url, const char *id)
{
    struct faas_bus_conf conf = {.urls = url, .service = "bench", .id = id};
    struct faas_rpc_conf rpc_conf = {
        .service = "bench", .id = id, .version = "0.0.1", .description = "bench"};
    faas_err err = {0};
    faas_bus *bus = NULL;
    faas_rpc *rpc = NULL;

    if (faas_bus_open(&conf, b->loop, &bus, &err) != FAAS_OK ||
        faas_rpc_open(bus, &rpc_conf, &rpc, &err) != FAAS_OK)
        die(err.msg);
    while (!faas_bus_is_connected(bus))
        usleep(1000);
    return rpc;
}

static int report(struct bench *b)
{
    int n = b->rounds, plateau = 0;

    for (int i = 0; i < n; i++)
        plateau += b->ours[i] > 900 && b->ours[i] < 1200;
    qsort(b->floor, (size_t)n, sizeof *b->floor, by_value);
    qsort(b->ours, (size_t)n, sizeof *b->ours, by_value);
    printf("bus round trip   floor p50 %.0f us p99 %.0f us   rpc p50 %.0f us p99 %.0f us   ratio "
           "%.2f   within 0.9..1.2 ms %.1f %%   (%d of each)\n",
           b->floor[n / 2], b->floor[n * 99 / 100], b->ours[n / 2], b->ours[n * 99 / 100],
           b->ours[n / 2] / b->floor[n / 2], 100.0 * plateau / n, n);
    fflush(stdout);
    return b->floor[n / 2] < 500 && plateau * 10 > n;
}

int main(int argc, char **argv)
{
    static const struct faas_endpoint endpoints[] = {{.name = "echo",
                                                      .subject = SUBJECT,
                                                      .queue = "q",
                                                      .body_max = 1024,
                                                      .on_message = on_request},
                                                     {.name = NULL}};
    struct bench b = {.rounds = argc > 3 ? (int)strtol(argv[3], NULL, 10) : 2000};
    char url[128];
    faas_err err = {0};

    if (argc < 3 || b.rounds < 100) {
        fprintf(stderr, "usage: bus_rtt HOST PORT [rounds >= 100]\n");
        return 2;
    }
    snprintf(url, sizeof url, "nats://%s:%s", argv[1], argv[2]);
    b.floor = calloc((size_t)b.rounds, sizeof *b.floor);
    b.ours = calloc((size_t)b.rounds, sizeof *b.ours);
    if (b.floor == NULL || b.ours == NULL || faas_loop_new(&b.loop, &err) != FAAS_OK)
        die("out of memory");
    b.asker = plain_connection(argv[1], (int)strtol(argv[2], NULL, 10), "SUB floor.answer 1\r\n");
    b.answerer = plain_connection(argv[1], (int)strtol(argv[2], NULL, 10), "SUB floor.ask 1\r\n");
    b.client = member(&b, url, "client");
    b.server = member(&b, url, "server");
    if (faas_rpc_serve(b.server, endpoints, &b, &err) != FAAS_OK)
        die(err.msg);
    usleep(200000); /* the subscription's way through the server; the bench measures what follows */
    faas_loop_post(b.loop, start, &b);
    faas_loop_run(b.loop);
    _exit(report(&b)); /* a bench: the process's end closes everything */
}
