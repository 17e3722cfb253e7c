/* updates.c - how many changes of functions a second the platform stores, beside what the bucket takes.
 * Floor     compare-and-set writes of values of a record's size to the same bucket, by as many
 *           writers, each on a key of its own, through one connection.
 * Ours      PUT /registry/update of a description: gateway, NATS, registry (writes head and version
 *           entry, waits until every reader of the bucket has applied the head), and back.  No image
 *           is resolved.
 * Rounds    of both in turn, a second each; the median rates and the median of the rounds' ratios.
 * Usage     updates NATS_URL NKEY_FILE BASE_URL TOKEN_FILE FUNCTION_PREFIX WRITERS [rounds]
 *           writer i changes FUNCTION_PREFIX<i>, which must exist; the key is the registry's.
 */
#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/id.h"
#include "contract.h"
#include "net/kv.h"

#define WRITERS_MAX 64
#define ROUNDS_MAX  100
#define WAIT_MS     20000
#define VALUE_BYTES 800 /* of a small function's record */

struct bench;
struct writer {
    struct bench *bench;
    int number;
    CURL *curl;
    uint64_t revision;
    int count; /* of this round */
};
struct bench {
    const char *base_url, *prefix;
    struct curl_slist *headers;
    faas_kv *kv;
    struct writer writers[WRITERS_MAX];
    int writer_count;
    char run[33]; /* makes keys and values of this run its own */
    uint64_t until_ns;
    double floor[ROUNDS_MAX], ours[ROUNDS_MAX], ratio[ROUNDS_MAX];
};

static void die(const char *what)
{
    fprintf(stderr, "updates: %s\n", what);
    _exit(2); /* other threads are running */
}

/* ---- the floor ---- */

static void *write_raw(void *arg)
{
    struct writer *w = arg;
    char key[80], op[33], value[VALUE_BYTES + 64];
    faas_err err = {0};

    (void)snprintf(key, sizeof key, "bench.%s.%d", w->bench->run, w->number);
    while (faas_now_ns() < w->bench->until_ns) {
        faas_random_token(op);
        (void)snprintf(value, sizeof value, "{\"v\":1,\"op\":\"%s\",\"text\":\"%0*d\"}", op,
                       VALUE_BYTES - 56, 0);
        if (faas_kv_put(w->bench->kv, key, w->revision, value, strlen(value),
                        faas_deadline_in_ms(WAIT_MS), &w->revision, &err) != FAAS_OK)
            die(err.msg);
        w->count++;
    }
    return NULL;
}

/* ---- ours ---- */

static size_t ignore(char *data, size_t size, size_t count, void *arg)
{
    (void)data;
    (void)arg;
    return size * count;
}

static void *update(void *arg)
{
    struct writer *w = arg;
    char body[256], url[256], op[33];
    long status;

    (void)snprintf(url, sizeof url, "%s/registry/update", w->bench->base_url);
    while (faas_now_ns() < w->bench->until_ns) {
        faas_random_token(op);
        (void)snprintf(body, sizeof body, "{\"name\":\"%s%d\",\"description\":\"%s\"}",
                       w->bench->prefix, w->number, op);
        curl_easy_setopt(w->curl, CURLOPT_URL, url);
        curl_easy_setopt(w->curl, CURLOPT_HTTPHEADER, w->bench->headers);
        curl_easy_setopt(w->curl, CURLOPT_POSTFIELDS, body);
        curl_easy_setopt(w->curl, CURLOPT_WRITEFUNCTION, ignore);
        curl_easy_setopt(w->curl, CURLOPT_NOSIGNAL, 1L);
        if (curl_easy_perform(w->curl) != CURLE_OK)
            die("the gateway does not answer");
        curl_easy_getinfo(w->curl, CURLINFO_RESPONSE_CODE, &status);
        if (status != 200)
            die("an update was refused");
        w->count++;
    }
    return NULL;
}

/* ---- both ---- */

/* Operations a second of all writers, for a second. */
static double measure(struct bench *b, void *(*work)(void *))
{
    pthread_t threads[WRITERS_MAX];
    uint64_t begun = faas_now_ns();
    int sum = 0;

    b->until_ns = begun + FAAS_S_NS;
    for (int i = 0; i < b->writer_count; i++) {
        b->writers[i].count = 0;
        if (pthread_create(&threads[i], NULL, work, &b->writers[i]) != 0)
            die("cannot start a thread");
    }
    for (int i = 0; i < b->writer_count; i++) {
        pthread_join(threads[i], NULL);
        sum += b->writers[i].count;
    }
    return sum / ((double)(faas_now_ns() - begun) / (double)FAAS_S_NS);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static double median(double *values, int n)
{
    qsort(values, (size_t)n, sizeof *values, by_value);
    return (values[n / 2] + values[(n - 1) / 2]) / 2;
}

static void *run_loop(void *arg)
{
    faas_loop_run(arg);
    return NULL;
}

static void open_bucket(struct bench *b, const char *url, const char *nkey_file)
{
    struct faas_bus_conf conf = {
        .urls = url, .service = "registry", .id = "bench", .nkey_file = nkey_file};
    struct faas_rpc_conf rpc_conf = {
        .service = "registry", .id = "bench", .version = "0.0.1", .description = "bench"};
    faas_err err = {0};
    faas_loop *loop = NULL;
    faas_bus *bus = NULL;
    faas_rpc *rpc = NULL;
    pthread_t thread;

    if (faas_loop_new(&loop, &err) != FAAS_OK ||
        faas_bus_open(&conf, loop, &bus, &err) != FAAS_OK ||
        faas_rpc_open(bus, &rpc_conf, &rpc, &err) != FAAS_OK)
        die(err.msg);
    if (pthread_create(&thread, NULL, run_loop, loop) != 0)
        die("cannot start a thread");
    if (faas_kv_open(rpc, FAAS_BUCKET_FUNCTIONS, 1, faas_deadline_in_ms(WAIT_MS), &b->kv, &err) !=
        FAAS_OK)
        die(err.msg);
}

static void read_token(struct bench *b, const char *path)
{
    char token[4096] = "", header[4200];
    FILE *from = fopen(path, "r");

    if (from == NULL || fgets(token, sizeof token, from) == NULL)
        die("cannot read the token");
    fclose(from);
    token[strcspn(token, "\n")] = '\0';
    (void)snprintf(header, sizeof header, "Authorization: Bearer %s", token);
    b->headers = curl_slist_append(NULL, header);
    b->headers = curl_slist_append(b->headers, "Content-Type: application/json");
}

int main(int argc, char **argv)
{
    static struct bench b;
    int rounds = argc > 7 ? (int)strtol(argv[7], NULL, 10) : 5;

    if (argc < 7 || rounds < 1 || rounds > ROUNDS_MAX)
        die("usage: updates NATS_URL NKEY_FILE BASE_URL TOKEN_FILE FUNCTION_PREFIX WRITERS "
            "[rounds]");
    b.base_url = argv[3];
    b.prefix = argv[5];
    b.writer_count = (int)strtol(argv[6], NULL, 10);
    if (b.writer_count < 1 || b.writer_count > WRITERS_MAX)
        die("1 to 64 writers");
    faas_random_token(b.run);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    read_token(&b, argv[4]);
    open_bucket(&b, argv[1], argv[2]);
    for (int i = 0; i < b.writer_count; i++)
        b.writers[i] = (struct writer){.bench = &b, .number = i, .curl = curl_easy_init()};
    for (int i = 0; i < rounds; i++) {
        b.floor[i] = measure(&b, write_raw);
        b.ours[i] = measure(&b, update);
        b.ratio[i] = b.ours[i] / b.floor[i];
    }
    printf("updates   %d writers: compare-and-set %.0f/s   function updates %.0f/s   ratio %.2f "
           "(bar 0.3)   (%d rounds)\n",
           b.writer_count, median(b.floor, rounds), median(b.ours, rounds), median(b.ratio, rounds),
           rounds);
    fflush(stdout);
    _exit(0); /* a bench: the process's end closes everything */
}
