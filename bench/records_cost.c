/* records_cost.c - what keeping a record costs a call: two platforms side by side, one of which
 * keeps none (PUBLISHER_RECORDS_MB=0), called in turn by the same client (libcurl, connections kept).
 * Rounds    20 calls of each in turn at one caller; runs of two seconds in turn at eight.
 * Output    p50 of each and the median of the rounds' ratios (with / without); calls a second.
 * Usage     records_cost URL_WITHOUT TOKEN_FILE URL_WITH TOKEN_FILE FUNCTION [rounds]; the argument
 *           "x" comes back.
 */
#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/rig.h"

#define BATCH   20
#define MOST    400
#define CALLERS 8
#define RUNS    5
#define LOAD_S  2.0

static char urls[2][512], auth[2][4200];
static double took_us[2][MOST * BATCH], ratios[MOST], rates[2][RUNS], rate_ratios[RUNS];

static size_t on_data(char *data, size_t size, size_t count, void *arg)
{
    char *first = arg;

    if (size * count > 0)
        *first = data[0];
    return size * count;
}

static void set_up(int which, const char *url, const char *function, const char *token_file)
{
    FILE *in = fopen(token_file, "re");
    char token[4096];

    if (in == NULL || fgets(token, sizeof token, in) == NULL)
        rig_die("token", token_file);
    (void)fclose(in);
    token[strcspn(token, "\r\n")] = '\0';
    (void)snprintf(auth[which], sizeof auth[which], "Authorization: Bearer %s", token);
    (void)snprintf(urls[which], sizeof urls[which], "%s/function/%s", url, function);
}

static CURL *open_one(int which, char *first, struct curl_slist **out_headers)
{
    CURL *curl = curl_easy_init();

    *out_headers = curl_slist_append(NULL, auth[which]);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_URL, urls[which]);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, *out_headers);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, "x");
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, first);
    return curl;
}

static double call_us(CURL *curl, const char *first)
{
    double began = rig_now_us();
    long status = 0;

    if (curl_easy_perform(curl) != CURLE_OK)
        rig_die("call", "no answer");
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200 || *first != 'x')
        rig_die("call", "another answer than x");
    return rig_now_us() - began;
}

struct caller {
    pthread_t thread;
    int which;
    double until_us;
    size_t calls;
};

static void *run(void *arg)
{
    struct caller *caller = arg;
    struct curl_slist *headers;
    char first = 0;
    CURL *curl = open_one(caller->which, &first, &headers);

    for (; rig_now_us() < caller->until_us; caller->calls++)
        (void)call_us(curl, &first);
    curl_easy_cleanup(curl);
    curl_slist_free_all(headers);
    return NULL;
}

static double load(int which)
{
    struct caller callers[CALLERS];
    double began = rig_now_us();
    size_t calls = 0;

    for (int i = 0; i < CALLERS; i++) {
        callers[i] = (struct caller){.which = which, .until_us = began + LOAD_S * 1e6};
        if (pthread_create(&callers[i].thread, NULL, run, &callers[i]) != 0)
            rig_die("thread", "cannot be made");
    }
    for (int i = 0; i < CALLERS; i++) {
        (void)pthread_join(callers[i].thread, NULL);
        calls += callers[i].calls;
    }
    return (double)calls * 1e6 / (rig_now_us() - began);
}

static void in_turn(int rounds)
{
    struct curl_slist *headers[2];
    CURL *curls[2];
    char first = 0;

    for (int w = 0; w < 2; w++)
        curls[w] = open_one(w, &first, &headers[w]);
    for (int round = 0; round < rounds; round++) {
        double p50[2];

        for (int k = 0; k < 2; k++) {
            int w = (k + round) % 2; /* who goes first changes */
            double *values = took_us[w] + (size_t)round * BATCH, sorted[BATCH];

            for (int i = 0; i < BATCH; i++)
                values[i] = call_us(curls[w], &first);
            memcpy(sorted, values, sizeof sorted);
            p50[w] = rig_part(sorted, BATCH, 0.5);
        }
        ratios[round] = p50[1] / p50[0];
    }
    for (int w = 0; w < 2; w++) {
        curl_easy_cleanup(curls[w]);
        curl_slist_free_all(headers[w]);
    }
}

int main(int argc, char **argv)
{
    int rounds = argc > 6 ? (int)strtol(argv[6], NULL, 10) : 100;
    size_t count;

    if (argc < 6)
        rig_die("usage", "records_cost URL_WITHOUT TOKEN URL_WITH TOKEN FUNCTION [rounds]");
    if (rounds < 1 || rounds > MOST)
        rig_die("rounds", "1 to 400");
    count = (size_t)rounds * BATCH;
    set_up(0, argv[1], argv[5], argv[2]);
    set_up(1, argv[3], argv[5], argv[4]);
    in_turn(1); /* warm */
    in_turn(rounds);
    printf("a call's record, 1 caller: without %.0f us, with %.0f us (p50 of %zu), ratio of rounds "
           "%.3f\n",
           rig_part(took_us[0], count, 0.5), rig_part(took_us[1], count, 0.5), count,
           rig_part(ratios, (size_t)rounds, 0.5));
    for (int i = 0; i < RUNS; i++) {
        for (int w = 0; w < 2; w++)
            rates[w][i] = load(w);
        rate_ratios[i] = rates[1][i] / rates[0][i];
    }
    printf("a call's record, %d callers: without %.0f/s, with %.0f/s, ratio of runs %.3f\n",
           CALLERS, rig_part(rates[0], RUNS, 0.5), rig_part(rates[1], RUNS, 0.5),
           rig_part(rate_ratios, RUNS, 0.5));
    return 0;
}
