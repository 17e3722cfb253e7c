/* http_path.c - a call from HTTP to HTTP through the whole platform, beside the floor of starting the
 * same program, and beside a server that starts one process for each request (watchdog.c), with the
 * same client (libcurl, connections kept).
 * Rounds    10 of each in turn at one caller; three runs of each in turn at eight.
 * Output    p50 of each, median over the rounds of the ratio to the floor's round; calls a second.
 * Usage     http_path BASE_URL TOKEN_FILE FUNCTION WATCHDOG_URL PROGRAM [rounds]; the argument "x"
 *           comes back from all.
 */
#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/rig.h"

#define BATCH   10
#define MOST    200
#define CALLERS 8
#define RUNS    3
#define LOAD_S  2.0
#define PAUSE_S 0.0015

enum way { FLOOR, WATCHDOG, PLATFORM, WAYS };
static const char *const names[] = {"floor", "watchdog", "platform"};
static char urls[WAYS][512];
static char auth[4200];
static char *program;
static double took_us[WAYS][MOST * BATCH], ratios[WAYS][MOST];

struct text {
    char data[1024];
    size_t len;
};

static size_t on_data(char *data, size_t size, size_t count, void *arg)
{
    struct text *to = arg;
    size_t len = size * count;

    if (len >= sizeof to->data - to->len)
        return 0;
    memcpy(to->data + to->len, data, len);
    to->len += len;
    to->data[to->len] = '\0';
    return len;
}

static void read_token(const char *file)
{
    FILE *in = fopen(file, "re");
    char token[4096];

    if (in == NULL || fgets(token, sizeof token, in) == NULL)
        rig_die("token", file);
    (void)fclose(in);
    token[strcspn(token, "\r\n")] = '\0';
    (void)snprintf(auth, sizeof auth, "Authorization: Bearer %s", token);
}

struct client {
    enum way way;
    CURL *curl;
    struct curl_slist *headers;
    struct text out;
    size_t count;
};

static void open_client(struct client *client, enum way way)
{
    *client = (struct client){.way = way};
    if (way == FLOOR)
        return;
    client->curl = curl_easy_init();
    if (way == PLATFORM)
        client->headers = curl_slist_append(NULL, auth);
    curl_easy_setopt(client->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(client->curl, CURLOPT_URL, urls[way]);
    curl_easy_setopt(client->curl, CURLOPT_HTTPHEADER, client->headers);
    curl_easy_setopt(client->curl, CURLOPT_POSTFIELDS, "x");
    curl_easy_setopt(client->curl, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(client->curl, CURLOPT_WRITEDATA, &client->out);
}

static void close_client(struct client *client)
{
    curl_easy_cleanup(client->curl);
    curl_slist_free_all(client->headers);
}

static void call(struct client *client)
{
    char *argv[] = {program, (char *)(uintptr_t) "x", NULL};
    long status = 0;

    if (client->way == FLOOR) {
        rig_spawn(argv, 'x');
        return;
    }
    client->out.len = 0;
    if (curl_easy_perform(client->curl) != CURLE_OK)
        rig_die(names[client->way], "does not answer");
    curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200 || client->out.data[0] != 'x')
        rig_die(names[client->way], client->out.data);
}

static void latency(size_t rounds)
{
    struct client clients[WAYS];
    double median[WAYS];

    for (int w = 0; w < WAYS; w++) {
        open_client(&clients[w], (enum way)w);
        for (int i = 0; i < BATCH; i++)
            call(&clients[w]);
    }
    for (size_t r = 0; r < rounds; r++)
        for (int w = 0; w < WAYS; w++) {
            double batch[BATCH];

            for (size_t i = 0; i < BATCH; i++) {
                double from;

                usleep((useconds_t)(PAUSE_S * 1e6));
                from = rig_now_us();
                call(&clients[w]);
                batch[i] = took_us[w][r * BATCH + i] = rig_now_us() - from;
            }
            median[w] = rig_part(batch, BATCH, 0.5);
            ratios[w][r] = median[w] / median[FLOOR];
        }
    for (int w = 0; w < WAYS; w++) {
        printf("  %-8s p50 %7.0f us  p99 %7.0f us  %4.2fx of the floor (rounds from %.2f to "
               "%.2f)\n",
               names[w], rig_part(took_us[w], rounds * BATCH, 0.5),
               rig_part(took_us[w], rounds * BATCH, 0.99), rig_part(ratios[w], rounds, 0.5),
               rig_part(ratios[w], rounds, 0.1), rig_part(ratios[w], rounds, 0.9));
        close_client(&clients[w]);
    }
}

static void *work(void *arg)
{
    struct client *client = arg;
    double until = rig_now_us() + LOAD_S * 1e6;

    for (; rig_now_us() < until; client->count++)
        call(client);
    return NULL;
}

static double load(enum way way)
{
    struct client clients[CALLERS];
    pthread_t threads[CALLERS];
    double from = rig_now_us(), sum = 0;

    for (int i = 0; i < CALLERS; i++) {
        open_client(&clients[i], way);
        if (pthread_create(&threads[i], NULL, work, &clients[i]) != 0)
            rig_die("thread", "cannot be made");
    }
    for (int i = 0; i < CALLERS; i++) {
        pthread_join(threads[i], NULL);
        sum += (double)clients[i].count;
        close_client(&clients[i]);
    }
    return sum * 1e6 / (rig_now_us() - from);
}

static void throughput(void)
{
    double rates[WAYS][RUNS], parts[WAYS][RUNS];

    (void)load(PLATFORM); /* lanes are there then */
    for (int r = 0; r < RUNS; r++)
        for (int w = WATCHDOG; w < WAYS; w++) {
            rates[w][r] = load((enum way)w);
            parts[w][r] = rates[w][r] / rates[WATCHDOG][r];
        }
    for (int w = WATCHDOG; w < WAYS; w++)
        printf("  %-8s %6.0f calls/s with %d at once, %.2f of the watchdog's\n", names[w],
               rig_part(rates[w], RUNS, 0.5), CALLERS, rig_part(parts[w], RUNS, 0.5));
}

int main(int argc, char **argv)
{
    size_t rounds = argc > 6 ? strtoul(argv[6], NULL, 10) : 40;

    if (argc < 6 || rounds < 3 || rounds > MOST)
        rig_die("usage",
                "http_path BASE_URL TOKEN_FILE FUNCTION WATCHDOG_URL PROGRAM [rounds, 3 to 200]");
    (void)snprintf(urls[PLATFORM], sizeof urls[PLATFORM], "%s/function/%s", argv[1], argv[3]);
    (void)snprintf(urls[WATCHDOG], sizeof urls[WATCHDOG], "%s", argv[4]);
    program = argv[5];
    read_token(argv[2]);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    printf("HTTP to HTTP, %s\n", argv[3]);
    latency(rounds);
    throughput();
    return 0;
}
