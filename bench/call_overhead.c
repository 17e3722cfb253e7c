/* call_overhead.c - what the platform adds to the bare Engine API sequence for the same container.
 * Rounds of both, interleaved in one process, with the same client library (libcurl):
 *   bare      create, attach, start, wait, attach to its end, remove, over the engine's socket,
 *             connections kept
 *   platform  POST /function/NAME over HTTP, connection kept
 * Output    p50 of each at one caller with their difference; calls a second of each at eight
 *           callers, until the last container is gone, with the ratio of each pair of runs.
 * Usage     call_overhead ENGINE_SOCKET IMAGE BASE_URL TOKEN_FILE FUNCTION [rounds]; the function
 *           runs IMAGE (argument "x" comes back).
 */
#include <curl/curl.h>
#include <jansson.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define BATCH   10 /* calls of one kind before the other's turn */
#define CALLERS 8
#define LOADS   7 /* pairs of runs */

static const char *engine_socket, *image, *base_url, *function_name;
static char auth_header[4200];
static char create_body[2048];
static __thread double answered_ms; /* when the newest bare call had its output and status */

struct text {
    char data[65536];
    size_t len;
};

static double now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static size_t on_data(char *data, size_t size, size_t count, void *arg)
{
    struct text *to = arg;
    size_t len = size * count;

    if (to->len + len >= sizeof to->data)
        return 0;
    memcpy(to->data + to->len, data, len);
    to->len += len;
    to->data[to->len] = '\0';
    return len;
}

static void die(const char *what)
{
    fprintf(stderr, "call_overhead: %s\n", what);
    exit(1);
}

/* One engine request on a kept handle; returns the status. */
static long engine_request(CURL *curl, const char *method, const char *path, const char *body,
                           struct text *out)
{
    char url[512];
    long status = 0;
    static struct curl_slist *json;

    if (json == NULL)
        json =
            curl_slist_append(curl_slist_append(NULL, "Content-Type: application/json"), "Expect:");
    snprintf(url, sizeof url, "http://engine%s", path);
    out->len = 0;
    curl_easy_reset(curl);
    curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, engine_socket);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, json);
    if (strcmp(method, "POST") == 0)
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body == NULL ? "" : body);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, out);
    if (curl_easy_perform(curl) != CURLE_OK)
        die("the engine does not answer");
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

/* A socket on which the engine has begun to stream the container's output. */
static int attach(const char *id)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    char request[512], head[4096];
    size_t len = 0;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(at.sun_path, sizeof at.sun_path, "%s", engine_socket);
    if (fd < 0 || connect(fd, (struct sockaddr *)&at, sizeof at) != 0)
        die("cannot connect to the engine");
    snprintf(request, sizeof request,
             "POST /containers/%s/attach?stream=1&stdout=1&stderr=1 HTTP/1.1\r\nHost: "
             "engine\r\nContent-Length: 0\r\n\r\n",
             id);
    if (write(fd, request, strlen(request)) < 0)
        die("cannot ask the engine");
    while (len < 4 || memcmp(head + len - 4, "\r\n\r\n", 4) != 0) {
        if (len == sizeof head || read(fd, head + len, 1) != 1)
            die("attach failed");
        len++;
    }
    return fd;
}

static void bare_call(CURL *curl)
{
    static __thread struct text out;
    char id[80], path[160], piece[4096];
    json_t *doc;
    size_t got = 0;
    ssize_t n;
    int fd;

    if (engine_request(curl, "POST", "/containers/create", create_body, &out) != 201)
        die(out.data);
    doc = json_loads(out.data, 0, NULL);
    snprintf(id, sizeof id, "%s", json_string_value(json_object_get(doc, "Id")));
    json_decref(doc);
    fd = attach(id);
    snprintf(path, sizeof path, "/containers/%s/start", id);
    if (engine_request(curl, "POST", path, NULL, &out) != 204)
        die(out.data);
    snprintf(path, sizeof path, "/containers/%s/wait", id);
    if (engine_request(curl, "POST", path, NULL, &out) != 200)
        die(out.data);
    while ((n = read(fd, piece, sizeof piece)) > 0)
        got += (size_t)n;
    close(fd);
    answered_ms = now_ms();
    if (got != 8 + 1)
        die("the bare container did not write one byte");
    snprintf(path, sizeof path, "/containers/%s?force=1&v=1", id);
    if (engine_request(curl, "DELETE", path, NULL, &out) != 204)
        die(out.data);
}

static void platform_call(CURL *curl)
{
    static __thread struct text out;
    static __thread struct curl_slist *headers;
    char url[512];
    long status = 0;

    if (headers == NULL)
        headers = curl_slist_append(NULL, auth_header);
    snprintf(url, sizeof url, "%s/function/%s", base_url, function_name);
    out.len = 0;
    curl_easy_reset(curl);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, "x");
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &out);
    if (curl_easy_perform(curl) != CURLE_OK)
        die("the platform does not answer");
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200 || out.len != 1 || out.data[0] != 'x')
        die(out.data);
}

typedef void call_fn(CURL *curl);

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static double median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof *values, by_value);
    return values[count / 2];
}

struct crew {
    call_fn *call;
    int each;
};

static void *work(void *arg)
{
    const struct crew *crew = arg;
    CURL *curl = curl_easy_init();

    for (int i = 0; i < crew->each; i++)
        crew->call(curl);
    curl_easy_cleanup(curl);
    return NULL;
}

/* Until the engine has no container of the image: what is removed behind the answers counts too. */
static void settle(CURL *curl)
{
    static struct text out;
    char path[320];
    char *filter = curl_easy_escape(curl, image, 0);

    snprintf(path, sizeof path,
             "/containers/json?all=1&filters=%%7B%%22ancestor%%22%%3A%%5B%%22%s%%22%%5D%%7D",
             filter);
    curl_free(filter);
    do {
        if (engine_request(curl, "GET", path, NULL, &out) != 200)
            die(out.data);
    } while (strncmp(out.data, "[]", 2) != 0);
}

/* Calls a second with CALLERS at once, the removal of their containers included. */
static double throughput(CURL *engine, call_fn *call, int each)
{
    pthread_t threads[CALLERS];
    struct crew crew = {call, each};
    double begun = now_ms();

    for (int i = 0; i < CALLERS; i++)
        pthread_create(&threads[i], NULL, work, &crew);
    for (int i = 0; i < CALLERS; i++)
        pthread_join(threads[i], NULL);
    settle(engine);
    return CALLERS * each / (now_ms() - begun) * 1e3;
}

static void read_token(const char *file)
{
    FILE *in = fopen(file, "r");
    char token[4096];

    if (in == NULL || fgets(token, sizeof token, in) == NULL)
        die("cannot read the token file");
    fclose(in);
    token[strcspn(token, "\r\n")] = '\0';
    snprintf(auth_header, sizeof auth_header, "Authorization: Bearer %s", token);
}

static void latency(int rounds)
{
    double *bare = calloc((size_t)rounds, sizeof *bare),
           *answer = calloc((size_t)rounds, sizeof *answer);
    double *ours = calloc((size_t)rounds, sizeof *ours), begun;
    CURL *engine = curl_easy_init(), *http = curl_easy_init();

    if (bare == NULL || answer == NULL || ours == NULL)
        die("out of memory");
    bare_call(engine);
    platform_call(http);
    for (int i = 0; i < rounds; i++) {
        bool is_ours = i / BATCH % 2 == 1;

        for (int turn = 0; turn < 2; turn++, is_ours = !is_ours) {
            begun = now_ms();
            if (is_ours) {
                platform_call(http);
                ours[i] = now_ms() - begun;
            } else {
                bare_call(engine);
                bare[i] = now_ms() - begun;
                answer[i] = answered_ms - begun;
            }
        }
    }
    printf("one caller      bare p50 %.1f ms, of it until the answer %.1f ms   platform p50 %.1f "
           "ms   added %+.1f ms, over the answer alone %+.1f ms   (%d of each)\n",
           median(bare, rounds), median(answer, rounds), median(ours, rounds),
           median(ours, rounds) - median(bare, rounds),
           median(ours, rounds) - median(answer, rounds), rounds);
    curl_easy_cleanup(engine);
    curl_easy_cleanup(http);
    free(bare);
    free(answer);
    free(ours);
}

static void load(void)
{
    double bare[LOADS], ours[LOADS], ratio[LOADS];
    CURL *engine = curl_easy_init();

    settle(engine);
    for (int i = 0; i < LOADS; i++) {
        bare[i] = throughput(engine, bare_call, 5);
        ours[i] = throughput(engine, platform_call, 5);
        ratio[i] = ours[i] / bare[i];
    }
    curl_easy_cleanup(engine);
    qsort(ratio, LOADS, sizeof *ratio, by_value);
    printf(
        "eight callers   bare %.2f/s   platform %.2f/s   ratio %.3f (%.3f .. %.3f)   (medians of "
        "%d pairs of %d)\n",
        median(bare, LOADS), median(ours, LOADS), ratio[LOADS / 2], ratio[0], ratio[LOADS - 1],
        LOADS, 5 * CALLERS);
}

int main(int argc, char **argv)
{
    int rounds = argc > 6 ? (int)strtol(argv[6], NULL, 10) : 60;

    if (argc < 6 || rounds < 10) {
        fprintf(stderr, "usage: call_overhead ENGINE_SOCKET IMAGE BASE_URL TOKEN_FILE FUNCTION "
                        "[rounds >= 10]\n");
        return 2;
    }
    engine_socket = argv[1], image = argv[2], base_url = argv[3], function_name = argv[5];
    read_token(argv[4]);
    snprintf(create_body, sizeof create_body,
             "{\"Image\":\"%s\",\"Cmd\":[\"x\"],\"AttachStdout\":true,\"AttachStderr\":true,"
             "\"User\":\"65534:65534\",\"HostConfig\":{\"NetworkMode\":\"none\","
             "\"Memory\":134217728,\"MemorySwap\":134217728,\"NanoCpus\":1000000000,\"PidsLimit\":"
             "128,\"ReadonlyRootfs\":true,\"CapDrop\":[\"ALL\"],"
             "\"SecurityOpt\":[\"no-new-privileges\"],\"LogConfig\":{\"Type\":\"none\"},\"Tmpfs\":{"
             "\"/tmp\":\"size=64m,noexec,nosuid,nodev\"}}}",
             image);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    latency(rounds);
    load();
    return 0;
}
