/* docker_overhead.c - what a spawner adds to the bare Engine API sequence for the same container.
 * Both      the same hardened container, in one process, by turns:
 *   bare    create, attach, start, wait, output to its end, remove; connections kept, no library
 *           between; taken twice: to output and exit status, and to the end of the removal
 *   spawner envelope in, frames out, over a real NATS server
 * Prints    p50 at one caller, difference and ratio; calls a second at eight callers and the ratio.
 * Usage     docker_overhead ENGINE_SOCKET NATS_URL SPAWNER_ID IMAGE [rounds]; IMAGE is local, has
 *           an ENTRYPOINT and writes its argument back.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "services/spawner/call_spec.h"
#include "services/spawner/docker_spec.h"
#include "tests/support/caller.h"

#define CALLERS  8
#define ROUNDS   60
#define BATCHES  4
#define ARGUMENT "hello"

static const char *engine_socket, *spawner_id, *image_id;
static struct caller *caller;
static char *create_body;
static json_t *meta;

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "docker_overhead: %s\n", what);
    exit(1);
}

static double now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* ---- the bare sequence ---- */

struct answer {
    int status;
    char text[65536];
    size_t len;
};

static int dial(void)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(to.sun_path, sizeof to.sun_path, "%s", engine_socket);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) != 0)
        die("cannot connect to the engine");
    return fd;
}

static void request(int fd, const char *method, const char *path, const char *body)
{
    char head[1024];
    int n = snprintf(head, sizeof head,
                     "%s /v1.41%s HTTP/1.1\r\nHost: engine\r\nContent-Type: application/json\r\n"
                     "Content-Length: %zu\r\n\r\n",
                     method, path, strlen(body));

    if (write(fd, head, (size_t)n) != n || write(fd, body, strlen(body)) != (ssize_t)strlen(body))
        die("cannot write to the engine");
}

static size_t more(int fd, struct answer *out)
{
    ssize_t n = read(fd, out->text + out->len, sizeof out->text - out->len - 1);

    if (n < 0)
        die("cannot read from the engine");
    out->len += (size_t)n;
    out->text[out->len] = '\0';
    return (size_t)n;
}

/* Reads a head, and a body that says how long it is (or is chunked). */
static const char *response(int fd, struct answer *out)
{
    const char *border, *length;
    bool is_chunked;

    out->len = 0;
    while ((border = memmem(out->text, out->len, "\r\n\r\n", 4)) == NULL)
        if (more(fd, out) == 0)
            die("the engine closed");
    if (sscanf(out->text, "HTTP/1.1 %d", &out->status) != 1)
        die("not HTTP");
    length = strcasestr(out->text, "Content-Length: ");
    is_chunked = strcasestr(out->text, "Transfer-Encoding: chunked") != NULL;
    for (border += 4; is_chunked && strstr(border, "0\r\n\r\n") == NULL;)
        (void)more(fd, out);
    if (length != NULL && length < border)
        while ((size_t)(out->text + out->len - border) < strtoul(length + 16, NULL, 10))
            (void)more(fd, out);
    return border;
}

struct bare { /* kept connections of one caller */
    int fd;
};

static void bare_call(struct bare *b, double *out_answer_ms, double *out_whole_ms)
{
    static _Thread_local struct answer answer;
    char id[80], path[200];
    const char *at;
    double begun = now_ms();
    int attached = dial();

    request(b->fd, "POST", "/containers/create", create_body);
    at = strstr(response(b->fd, &answer), "\"Id\":\"");
    if (answer.status != 201 || at == NULL || sscanf(at, "\"Id\":\"%79[0-9a-f]", id) != 1)
        die(answer.text);
    snprintf(path, sizeof path, "/containers/%s/attach?stream=1&stdout=1&stderr=1", id);
    request(attached, "POST", path, "");
    answer.len = 0;
    while (memmem(answer.text, answer.len, "\r\n\r\n", 4) == NULL)
        (void)more(attached, &answer);
    snprintf(path, sizeof path, "/containers/%s/start", id);
    request(b->fd, "POST", path, "");
    (void)response(b->fd, &answer);
    if (answer.status != 204)
        die(answer.text);
    snprintf(path, sizeof path, "/containers/%s/wait", id);
    request(b->fd, "POST", path, "");
    at = response(b->fd, &answer);
    if (strstr(at, "\"StatusCode\":0") == NULL)
        die(answer.text);
    answer.len = 0;
    while (more(attached, &answer) > 0)
        continue;
    if (answer.len != 8 + strlen(ARGUMENT))
        die("wrong output");
    close(attached);
    *out_answer_ms = now_ms() - begun;
    snprintf(path, sizeof path, "/containers/%s?force=1&v=1", id);
    request(b->fd, "DELETE", path, "");
    (void)response(b->fd, &answer);
    if (answer.status != 204)
        die(answer.text);
    *out_whole_ms = now_ms() - begun;
}

static double spawner_call(void)
{
    const struct caller_order order = {.spawner = spawner_id,
                                       .meta = meta,
                                       .argument = ARGUMENT,
                                       .argument_len = strlen(ARGUMENT)};
    struct caller_result result;
    double ms;

    caller_run(caller, &order, &result);
    if (result.end == NULL || result.out_len != strlen(ARGUMENT))
        die("a call through the spawner failed");
    ms = result.ms;
    caller_result_done(&result);
    return ms;
}

/* ---- figures ---- */

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static double p50(double *values, int count)
{
    qsort(values, (size_t)count, sizeof *values, by_size);
    return values[count / 2];
}

static void latency(int rounds)
{
    double *answer = calloc((size_t)rounds, sizeof *answer);
    double *whole = calloc((size_t)rounds, sizeof *whole);
    double *ours = calloc((size_t)rounds, sizeof *ours);
    struct bare b = {.fd = dial()};
    double a, w, o;

    if (answer == NULL || whole == NULL || ours == NULL)
        die("no memory");
    for (int i = 0; i < rounds; i++) {
        /* The spawner removes behind its answer: pause, so that nobody pays for the other. */
        const struct timespec rest = {.tv_nsec = 60 * 1000 * 1000};

        bare_call(&b, &answer[i], &whole[i]);
        nanosleep(&rest, NULL);
        ours[i] = spawner_call();
        nanosleep(&rest, NULL);
    }
    a = p50(answer, rounds);
    w = p50(whole, rounds);
    o = p50(ours, rounds);
    printf(
        "latency, 1 caller, p50 of %d: bare to the answer %.1f ms, with removal %.1f ms; spawner "
        "%.1f ms: %+.1f ms (ratio %.3f) against the answer, %+.1f ms against the whole\n",
        rounds, a, w, o, o - a, o / a, o - w);
    close(b.fd);
    free(answer);
    free(whole);
    free(ours);
}

static atomic_int left;

static void *bare_caller(void *arg)
{
    struct bare b = {.fd = dial()};
    double a, w;

    while (atomic_fetch_sub(&left, 1) > 0)
        bare_call(&b, &a, &w);
    close(b.fd);
    return arg;
}

static void *spawner_caller(void *arg)
{
    while (atomic_fetch_sub(&left, 1) > 0)
        (void)spawner_call();
    return arg;
}

static double rate(void *(*run)(void *arg), int calls)
{
    pthread_t threads[CALLERS];
    double begun = now_ms();

    atomic_store(&left, calls);
    for (int i = 0; i < CALLERS; i++)
        if (pthread_create(&threads[i], NULL, run, NULL) != 0)
            die("no thread");
    for (int i = 0; i < CALLERS; i++)
        pthread_join(threads[i], NULL);
    return calls / (now_ms() - begun) * 1e3;
}

static void throughput(int rounds)
{
    double bare = 0, ours = 0;

    for (int i = 0; i < BATCHES; i++) {
        bare += rate(bare_caller, rounds);
        ours += rate(spawner_caller, rounds);
    }
    printf("throughput, %d callers, %d x %d calls: bare %.2f/s, spawner %.2f/s: ratio %.3f\n",
           CALLERS, BATCHES, rounds, bare / BATCHES, ours / BATCHES, ours / bare);
}

static void setup(void)
{
    static struct image_info info;
    struct rt_spec call;
    struct docker_spec spec = {.call = &call,
                               .image = image_id,
                               .info = &info,
                               .owner = {"bench", "bench", "bench"},
                               .engine_cpus = 1,
                               .expires_s = 4102444800};
    json_t *body = NULL;
    faas_err err = {0};

    call_spec_defaults(&call);
    call.call_id = "bench";
    call.argument = ARGUMENT;
    call.argument_len = strlen(ARGUMENT);
    if (docker_spec_json(&spec, &body, &err) != FAAS_OK)
        die(err.msg);
    create_body = json_dumps(body, JSON_COMPACT);
    json_decref(body);
    meta = caller_meta("docker.io/library/bench:latest", "docker-id", image_id);
}

int main(int argc, char **argv)
{
    int rounds = argc > 5 ? (int)strtol(argv[5], NULL, 10) : ROUNDS;
    json_t *question, *image, *beat;

    if (argc < 5)
        die("usage: docker_overhead ENGINE_SOCKET NATS_URL SPAWNER_ID IMAGE [rounds]");
    engine_socket = argv[1];
    spawner_id = argv[3];
    caller = caller_open(argv[2], "bench");
    beat = caller_beat(caller, spawner_id, 5000);
    question = json_pack("{s:i,s:s}", "v", 1, "image", argv[4]);
    image = caller_ask(caller, spawner_id, "resolve", question);
    image_id = json_string_value(json_object_get(json_object_get(image, "digest"), "value"));
    if (beat == NULL || image_id == NULL)
        die("no spawner answers, or it has no such image");
    setup();
    (void)spawner_call(); /* both ways warm */
    latency(rounds);
    throughput(rounds);
    json_decref(beat);
    json_decref(question);
    json_decref(image);
    json_decref(meta);
    free(create_body);
    caller_close(caller);
    return 0;
}
