/* watchdog.c - the least that can be behind HTTP: one process for each request, without isolation, as
 * OpenFaaS's classic watchdog does it.  The request's body is the program's argument; its output is
 * the answer.  A thread for each connection.
 * Usage     watchdog PORT PROGRAM; ends with standard input
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define BODY_MAX   4096
#define OUTPUT_MAX 65536

extern char **environ;

static char *program;

struct request {
    char body[BODY_MAX + 1];
    size_t len;
};

/* Its output; *out_len < 0: it failed. */
static void run(char *argument, char *output, ssize_t *out_len)
{
    char *argv[] = {program, argument, NULL};
    posix_spawn_file_actions_t actions;
    int pair[2], status = 0;
    size_t used = 0;
    ssize_t got;
    pid_t pid;

    *out_len = -1;
    if (pipe2(pair, O_CLOEXEC) != 0)
        return;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, pair[1], 1);
    if (posix_spawn(&pid, program, &actions, NULL, argv, environ) != 0)
        pid = -1;
    posix_spawn_file_actions_destroy(&actions);
    close(pair[1]);
    while (used < OUTPUT_MAX && (got = read(pair[0], output + used, OUTPUT_MAX - used)) > 0)
        used += (size_t)got;
    close(pair[0]);
    if (pid > 0 && waitpid(pid, &status, 0) == pid && status == 0)
        *out_len = (ssize_t)used;
}

static enum MHD_Result answer(struct MHD_Connection *connection, struct request *request)
{
    char output[OUTPUT_MAX];
    struct MHD_Response *response;
    enum MHD_Result rc;
    ssize_t len;

    request->body[request->len] = '\0';
    run(request->body, output, &len);
    response =
        MHD_create_response_from_buffer(len < 0 ? 0 : (size_t)len, output, MHD_RESPMEM_MUST_COPY);
    rc = MHD_queue_response(connection, len < 0 ? MHD_HTTP_INTERNAL_SERVER_ERROR : MHD_HTTP_OK,
                            response);
    MHD_destroy_response(response);
    return rc;
}

/* First without a body, then with each piece of it, then with none. */
static enum MHD_Result on_request(void *unused, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *data_len, void **state)
{
    struct request *request = *state;

    (void)unused, (void)url, (void)method, (void)version;
    if (request == NULL) {
        *state = request = calloc(1, sizeof *request);
        return request != NULL ? MHD_YES : MHD_NO;
    }
    if (*data_len == 0)
        return answer(connection, request);
    if (*data_len > BODY_MAX - request->len)
        return MHD_NO;
    memcpy(request->body + request->len, data, *data_len);
    request->len += *data_len;
    *data_len = 0;
    return MHD_YES;
}

static void on_done(void *unused, struct MHD_Connection *connection, void **state,
                    enum MHD_RequestTerminationCode code)
{
    (void)unused, (void)connection, (void)code;
    free(*state);
}

int main(int argc, char **argv)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct MHD_Daemon *daemon;
    char byte;

    if (argc != 3) {
        fputs("usage: watchdog PORT PROGRAM\n", stderr);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    program = argv[2];
    at.sin_port = htons((uint16_t)strtoul(argv[1], NULL, 10));
    daemon = MHD_start_daemon(MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD, 0,
                              NULL, NULL, on_request, NULL, MHD_OPTION_SOCK_ADDR, &at,
                              MHD_OPTION_NOTIFY_COMPLETED, on_done, NULL, MHD_OPTION_END);
    if (daemon == NULL) {
        fputs("watchdog: cannot listen\n", stderr);
        return 1;
    }
    while (read(0, &byte, 1) > 0)
        ;
    MHD_stop_daemon(daemon);
    return 0;
}
