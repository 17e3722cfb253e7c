/* bench.c - `faas bench`: calls of one function, many at a time, and how long they took.
 * With --rate a call's time begins when it was due, not when a place was free for it: waiting is what
 * a caller would have done, too.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "cli/client.h"
#include "cli/histogram.h"
#include "cli/output.h"

#define PLACES_MAX      64
#define CALLS_MAX       1000000 /* times kept */
#define WIDTH_ELSEWHERE 80      /* columns, where no terminal is */

static int64_t concurrency = 4, duration_s = 10, timeout_s = 60;
static double rate;

const struct cli_option cli_bench_options[] = {
    {"concurrency", CLI_INT, &concurrency, "N", "calls at a time, at most (4)", 1, PLACES_MAX,
     NULL},
    {"rate", CLI_REAL, &rate, "N", "calls a second; 0 is as fast as they are answered (0)", 0, 1e5,
     NULL},
    {"duration-s", CLI_INT, &duration_s, "N", "no call begins after that (10)", 1, 3600, NULL},
    {"timeout-s", CLI_INT, &timeout_s, "N", "longest wait for one answer (60)", 1, 4000, NULL},
    CLI_OPTION_END,
};

static volatile sig_atomic_t is_interrupted;

struct bench {
    pthread_mutex_t mu;
    const char *path, *argument;
    uint64_t begin_ns, end_ns;
    uint64_t started; /* guarded by mu, as what follows */
    bool is_over;     /* no further call would do better: why says it */
    uint64_t *times;  /* of calls that succeeded; room for CALLS_MAX */
    size_t count;
    size_t errors[FAAS_CODE_END];
    size_t failed;
    faas_err why; /* the first failure */
};

struct place {
    struct bench *bench;
    cli_client *client; /* owned */
    pthread_t thread;
    bool is_running;
};

static void on_interrupt(int number)
{
    (void)number;
    is_interrupted = 1;
}

/* ---- one place ---- */

/* When the next call begins; false: there is none. */
static bool take_turn(struct bench *bench, uint64_t *out_due_ns)
{
    uint64_t now = faas_now_ns();
    bool is_due;

    pthread_mutex_lock(&bench->mu);
    *out_due_ns =
        rate > 0 ? bench->begin_ns + (uint64_t)((double)bench->started * 1e9 / rate) : now;
    is_due = !bench->is_over && !is_interrupted && now < bench->end_ns &&
             *out_due_ns < bench->end_ns && bench->started < CALLS_MAX;
    bench->started += is_due;
    pthread_mutex_unlock(&bench->mu);
    return is_due;
}

static void wait_until(uint64_t due_ns)
{
    const struct timespec due = {(time_t)(due_ns / 1000000000), (long)(due_ns % 1000000000)};

    while (!is_interrupted && clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL) == EINTR)
        ;
}

/* Nothing about these changes from call to call. */
static bool is_hopeless(faas_code code)
{
    return code == FAAS_NOT_FOUND || code == FAAS_DENIED || code == FAAS_UNAUTHENTICATED ||
           code == FAAS_INVALID || code == FAAS_TOO_LARGE;
}

static void call(struct place *place, uint64_t due_ns)
{
    struct bench *bench = place->bench;
    struct client_request request = {
        .method = "POST",
        .path = bench->path,
        .content_type = "application/octet-stream",
        .body = bench->argument,
        .body_len = strlen(bench->argument),
        .timeout_ms = timeout_s * 1000,
    };
    struct client_answer answer = {0};
    faas_err err = {0};
    faas_code code = client_send(place->client, &request, &answer, &err);
    uint64_t took_ns = faas_now_ns() - due_ns;

    client_answer_done(&answer);
    pthread_mutex_lock(&bench->mu);
    if (code == FAAS_OK) {
        bench->times[bench->count++] = took_ns;
    } else {
        if (bench->failed++ == 0)
            bench->why = err;
        bench->errors[code < FAAS_CODE_END ? code : FAAS_INTERNAL]++;
        bench->is_over = bench->is_over || is_hopeless(code);
    }
    pthread_mutex_unlock(&bench->mu);
}

static void *work(void *arg)
{
    struct place *place = arg;
    uint64_t due_ns;

    while (take_turn(place->bench, &due_ns)) {
        wait_until(due_ns);
        if (!is_interrupted)
            call(place, due_ns);
    }
    return NULL;
}

/* ---- all of them ---- */

static faas_code start(struct place *place, struct bench *bench, const struct cli_common *common,
                       faas_err *err)
{
    place->bench = bench;
    FAAS_TRY(client_open(common, &place->client, err));
    return client_require_login(place->client, err);
}

static faas_code run(struct bench *bench, const struct cli_common *common, faas_err *err)
{
    struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND};
    struct place places[PLACES_MAX] = {0};
    faas_code code = FAAS_OK;

    for (int64_t i = 0; i < concurrency && code == FAAS_OK; i++)
        code = start(&places[i], bench, common, err);
    sigaction(SIGINT, &action, NULL); /* the second one ends the program */
    bench->begin_ns = faas_now_ns();
    bench->end_ns = bench->begin_ns + (uint64_t)duration_s * 1000000000;
    for (int64_t i = 0; i < concurrency && code == FAAS_OK; i++) {
        int rc = pthread_create(&places[i].thread, NULL, work, &places[i]);

        places[i].is_running = rc == 0;
        if (rc != 0) {
            code = faas_fail(err, FAAS_UNAVAILABLE, "this machine gives no further thread");
            is_interrupted = 1;
        }
    }
    for (int64_t i = 0; i < concurrency; i++) {
        if (places[i].is_running)
            pthread_join(places[i].thread, NULL);
        client_close(places[i].client);
    }
    bench->end_ns = faas_now_ns();
    return code;
}

/* ---- what came of it ---- */

static double seconds_of(const struct bench *bench)
{
    return (double)(bench->end_ns - bench->begin_ns) / 1e9;
}

static void print_errors(const struct bench *bench)
{
    for (size_t code = 1; code < FAAS_CODE_END; code++)
        if (bench->errors[code] > 0)
            output_say("failed %s: %zu", faas_code_slug((faas_code)code), bench->errors[code]);
    if (bench->failed > 0)
        output_note("the first failure: %s", bench->why.msg);
}

static const struct quantile {
    const char *name;
    double percent; /* 0: the least, 100: the greatest */
} quantiles[] = {{"min", 0}, {"p50", 50}, {"p90", 90}, {"p99", 99}, {"max", 100}};

static void print_report(const struct bench *bench)
{
    size_t width = output_width(stdout);

    output_say("%zu calls in %.1f s: %.1f a second, %lld at a time; %zu failed",
               bench->count + bench->failed, seconds_of(bench),
               (double)(bench->count + bench->failed) / seconds_of(bench), (long long)concurrency,
               bench->failed);
    print_errors(bench);
    if (bench->count == 0)
        return;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(quantiles); i++) {
        char text[32];

        histogram_text(histogram_percentile(bench->times, bench->count, quantiles[i].percent),
                       text);
        printf("%s%s %s", i > 0 ? "  " : "", quantiles[i].name, text);
    }
    printf("\n");
    histogram_draw(bench->times, bench->count, width > 0 ? width : WIDTH_ELSEWHERE, stdout);
}

static void print_json(const struct bench *bench)
{
    FAAS_AUTO(json_t) *doc = json_pack(
        "{s:I,s:I,s:I,s:I,s:{},s:{}}", "calls", (json_int_t)(bench->count + bench->failed),
        "failed", (json_int_t)bench->failed, "concurrency", (json_int_t)concurrency, "duration_ms",
        (json_int_t)((bench->end_ns - bench->begin_ns) / FAAS_MS_NS), "errors", "latency_us");

    for (size_t code = 1; code < FAAS_CODE_END; code++)
        if (bench->errors[code] > 0)
            json_object_set_new(json_object_get(doc, "errors"), faas_code_slug((faas_code)code),
                                json_integer((json_int_t)bench->errors[code]));
    for (size_t i = 0; i < FAAS_ARRAY_LEN(quantiles) && bench->count > 0; i++) {
        uint64_t ns = histogram_percentile(bench->times, bench->count, quantiles[i].percent);

        json_object_set_new(json_object_get(doc, "latency_us"), quantiles[i].name,
                            json_integer((json_int_t)(ns / 1000)));
    }
    output_json(doc, stdout);
}

int cli_bench(const struct cli_args *args)
{
    FAAS_AUTO(char) *path = client_path("/function/", args->rest.items[0]);
    struct bench bench = {
        .mu = PTHREAD_MUTEX_INITIALIZER,
        .path = path,
        .argument = args->rest.count > 1 ? args->rest.items[1] : "",
        .times = malloc(CALLS_MAX * sizeof *bench.times),
    };
    const struct client_answer none = {0};
    faas_err err = {0};
    int status;

    if (path == NULL || bench.times == NULL)
        (void)faas_fail(&err, FAAS_INTERNAL, "out of memory");
    else if (run(&bench, &args->common, &err) == FAAS_OK && bench.is_over)
        err = bench.why;
    if (err.code != FAAS_OK) {
        free(bench.times);
        return client_report(&err, &none, &args->common);
    }
    histogram_sort(bench.times, bench.count);
    (args->common.is_json ? print_json : print_report)(&bench);
    status = bench.failed > 0 ? CLI_FUNCTION_FAILED : CLI_OK;
    free(bench.times);
    return status;
}
