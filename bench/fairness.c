/* fairness.c - what a quiet user sees of another one who asks for ten times what there is.
 * Capacity  calls a second of the noisy user alone, with as many callers as there are places.
 * Rounds    interleaved: the quiet user alone, then beside the noisy one, who offers ten times the
 *           capacity at an even pace, answers of any kind counted and not waited for.
 * Quiet     one call after the other, with a pause between.
 * Output    success, p50 and p99 of the quiet user's calls without and with, and their ratio; what
 *           became of the noisy user's.
 * Usage     fairness BASE_URL QUIET_TOKEN_FILE NOISY_TOKEN_FILE FUNCTION ARGUMENT PLACES [rounds];
 *           both users have the FUNCTION.
 */
#include <curl/curl.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TIMES      10 /* of the capacity */
#define CALLS      40 /* of the quiet user in each half of a round */
#define PAUSE_MS   30 /* between them */
#define PROBE_MS   4000
#define SETTLE_MS  1000 /* of noise before the quiet user's calls count */
#define THREADS    64   /* that carry the noise */
#define ROUNDS_MAX 50

static char url[512];
static const char *argument;
static char quiet_auth[4200], noisy_auth[4200];

static double now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void wait_ms(double ms)
{
    struct timespec t = {.tv_sec = (time_t)(ms / 1e3), .tv_nsec = (long)(fmod(ms, 1e3) * 1e6)};

    if (ms > 0)
        nanosleep(&t, NULL);
}

static void die(const char *what)
{
    fprintf(stderr, "fairness: %s\n", what);
    exit(2);
}

/* ---- one caller ---- */

struct caller {
    CURL *curl;
    struct curl_slist *headers;
};

static size_t discard(char *data, size_t size, size_t count, void *arg)
{
    (void)data;
    (void)arg;
    return size * count;
}

static void caller_open(struct caller *caller, const char *auth)
{
    caller->curl = curl_easy_init();
    caller->headers = curl_slist_append(NULL, auth);
    if (caller->curl == NULL || caller->headers == NULL)
        die("no memory");
    curl_easy_setopt(caller->curl, CURLOPT_URL, url);
    curl_easy_setopt(caller->curl, CURLOPT_HTTPHEADER, caller->headers);
    curl_easy_setopt(caller->curl, CURLOPT_POSTFIELDS, argument);
    curl_easy_setopt(caller->curl, CURLOPT_WRITEFUNCTION, discard);
    curl_easy_setopt(caller->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(caller->curl, CURLOPT_PROXY, "");
    curl_easy_setopt(caller->curl, CURLOPT_TIMEOUT_MS, 60000L);
}

static void caller_close(struct caller *caller)
{
    curl_easy_cleanup(caller->curl);
    curl_slist_free_all(caller->headers);
}

/* The status; 0: no answer. */
static long call(struct caller *caller)
{
    long status = 0;

    if (curl_easy_perform(caller->curl) == CURLE_OK)
        curl_easy_getinfo(caller->curl, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

/* ---- the noisy user ---- */

struct noise {
    double step_ms;          /* between two calls of all threads together; 0: as fast as answered */
    _Atomic long turn;       /* the next call's number */
    double begin_ms, end_ms; /* end: set by stop */
    _Atomic bool is_over;
    _Atomic long sent, ok, busy, other;
    pthread_t threads[THREADS];
    int count;
};

static void *make_noise(void *arg)
{
    struct noise *noise = arg;
    struct caller caller;

    caller_open(&caller, noisy_auth);
    while (!atomic_load(&noise->is_over)) {
        long status, turn = atomic_fetch_add(&noise->turn, 1);

        wait_ms(noise->begin_ms + noise->step_ms * (double)turn - now_ms());
        if (atomic_load(&noise->is_over))
            break;
        atomic_fetch_add(&noise->sent, 1);
        status = call(&caller);
        atomic_fetch_add(status == 200   ? &noise->ok
                         : status == 429 ? &noise->busy
                                         : &noise->other,
                         1);
    }
    caller_close(&caller);
    return NULL;
}

static void noise_start(struct noise *noise, double step_ms, int threads)
{
    noise->step_ms = step_ms;
    noise->turn = 0;
    noise->is_over = false;
    noise->begin_ms = now_ms();
    noise->count = threads;
    for (int i = 0; i < threads; i++)
        if (pthread_create(&noise->threads[i], NULL, make_noise, noise) != 0)
            die("no thread");
}

/* Returns when the last of its calls was answered; gives back how long it lasted. */
static double noise_stop(struct noise *noise)
{
    atomic_store(&noise->is_over, true);
    for (int i = 0; i < noise->count; i++)
        pthread_join(noise->threads[i], NULL);
    return now_ms() - noise->begin_ms;
}

/* Calls a second that the platform gives one user. */
static double capacity(int places)
{
    struct noise noise = {0};
    double lasted;

    noise_start(&noise, 0, places < THREADS ? places : THREADS);
    wait_ms(PROBE_MS);
    lasted = noise_stop(&noise);
    if (noise.ok == 0)
        die("no call of the noisy user succeeds");
    return (double)noise.ok * 1e3 / lasted;
}

/* ---- the quiet user ---- */

struct sample {
    double ms[ROUNDS_MAX * CALLS];
    int len, ok;
};

static void measure(struct caller *quiet, struct sample *sample)
{
    for (int i = 0; i < CALLS; i++) {
        double begin = now_ms();

        sample->ok += call(quiet) == 200;
        sample->ms[sample->len++] = now_ms() - begin;
        wait_ms(PAUSE_MS);
    }
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static double percentile(struct sample *sample, double part)
{
    qsort(sample->ms, (size_t)sample->len, sizeof sample->ms[0], by_value);
    return sample->ms[(int)(part * (double)(sample->len - 1))];
}

static void read_token(const char *path, char *out_header, size_t room)
{
    FILE *file = fopen(path, "r");
    char token[4096] = "";

    if (file == NULL || fgets(token, sizeof token, file) == NULL)
        die("token file");
    fclose(file);
    token[strcspn(token, "\n")] = '\0';
    snprintf(out_header, room, "Authorization: Bearer %s", token);
}

static void report(const char *what, struct sample *sample)
{
    printf("fairness: quiet user %s: %d of %d calls succeed, p50 %.1f ms, p99 %.1f ms\n", what,
           sample->ok, sample->len, percentile(sample, 0.5), percentile(sample, 0.99));
}

int main(int argc, char **argv)
{
    static struct sample alone, beside;
    static struct noise noise;
    struct caller quiet;
    double rate, seconds = 0;
    int rounds = argc > 7 ? (int)strtol(argv[7], NULL, 10) : 5;

    if (argc < 7 || rounds < 1 || rounds > ROUNDS_MAX)
        die("BASE_URL QUIET_TOKEN_FILE NOISY_TOKEN_FILE FUNCTION ARGUMENT PLACES [rounds]");
    curl_global_init(CURL_GLOBAL_DEFAULT);
    snprintf(url, sizeof url, "%s/function/%s", argv[1], argv[4]);
    argument = argv[5];
    read_token(argv[2], quiet_auth, sizeof quiet_auth);
    read_token(argv[3], noisy_auth, sizeof noisy_auth);
    caller_open(&quiet, quiet_auth);
    rate = capacity((int)strtol(argv[6], NULL, 10));
    for (int i = 0; i < rounds; i++) {
        measure(&quiet, &alone);
        noise_start(&noise, 1e3 / (rate * TIMES), THREADS);
        wait_ms(SETTLE_MS);
        measure(&quiet, &beside);
        seconds += noise_stop(&noise) / 1e3;
    }
    caller_close(&quiet);
    printf("fairness: %s, %s places, capacity %.1f calls/s; the noisy user offered %.1f/s (x%.1f): "
           "%ld ok, %ld busy, %ld other\n",
           argv[4], argv[6], rate, (double)noise.sent / seconds,
           (double)noise.sent / seconds / rate, noise.ok, noise.busy, noise.other);
    report("alone", &alone);
    report("beside the noisy one", &beside);
    printf("fairness: success %.3f of alone, p99 x%.2f, p50 x%.2f\n",
           (double)beside.ok / (double)alone.ok,
           percentile(&beside, 0.99) / percentile(&alone, 0.99),
           percentile(&beside, 0.5) / percentile(&alone, 0.5));
    return 0;
}
