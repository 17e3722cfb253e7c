/* Which answers of a server's monitor, and how many, make it one to be restarted. */
#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/watchdog.h"
#include "tests/unit/unit.h"

#define PROBES 5 /* one more than it takes */

/* A monitor that gives one answer to everybody. */
static struct {
    int listener, port;
    pthread_t thread;
    const char *_Atomic answer;
    atomic_int answered;
} monitor;

#define ANSWER(status, body) "HTTP/1.1 " status "\r\nConnection: close\r\n\r\n" body

static const char well[] = ANSWER("200 OK", "{\"status\":\"ok\"}");
static const char starting[] = ANSWER(
    "503 Service Unavailable",
    "{\"status\":\"unavailable\",\"error\":\"failed to be ready for connections after 1ms\"}");
static const char off[] =
    ANSWER("503 Service Unavailable",
           "{\"status\":\"unavailable\",\"error\":\"JetStream not enabled (10076)\"}");

static void *serve(void *arg)
{
    int fd;

    while ((fd = accept(monitor.listener, NULL, NULL)) >= 0) {
        const char *answer = monitor.answer;
        char request[1024];

        if (recv(fd, request, sizeof request, 0) > 0 &&
            send(fd, answer, strlen(answer), MSG_NOSIGNAL) > 0)
            atomic_fetch_add(&monitor.answered, 1);
        close(fd);
    }
    return arg;
}

static int start(void **state)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof address;

    (void)state;
    monitor.listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(monitor.listener, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(monitor.listener, 16), 0);
    assert_int_equal(getsockname(monitor.listener, (struct sockaddr *)&address, &len), 0);
    monitor.port = ntohs(address.sin_port);
    monitor.answer = well;
    return pthread_create(&monitor.thread, NULL, serve, NULL);
}

static int stop(void **state)
{
    (void)state;
    shutdown(monitor.listener, SHUT_RDWR);
    pthread_join(monitor.thread, NULL);
    close(monitor.listener);
    return 0;
}

/* The answer is given to PROBES probes, after has_been_well to as many others: is it frozen then? */
static bool becomes_frozen(const char *answer, bool has_been_well)
{
    struct watchdog *watchdog = NULL;
    faas_err err = {0};
    bool is_frozen;

    atomic_store(&monitor.answered, 0);
    monitor.answer = has_been_well ? well : answer;
    assert_int_equal(watchdog_start(&monitor.port, 1, &watchdog, &err), FAAS_OK);
    while (has_been_well && atomic_load(&monitor.answered) < 2)
        usleep(1000); /* the pace of looking */
    atomic_store(&monitor.answered, 0);
    monitor.answer = answer;
    while (atomic_load(&monitor.answered) < PROBES)
        usleep(1000);
    is_frozen = watchdog_is_frozen(watchdog, 0);
    watchdog_stop(watchdog);
    return is_frozen;
}

static void a_server_that_is_well_is_not_frozen(void **state)
{
    (void)state;
    assert_false(becomes_frozen(well, true));
}

static void one_that_is_starting_is_not_frozen(void **state)
{
    (void)state;
    assert_false(becomes_frozen(starting, false));
}

static void one_that_was_well_and_is_no_more_is_frozen(void **state)
{
    (void)state;
    assert_true(becomes_frozen(starting, true));
}

static void one_that_started_without_its_store_is_frozen(void **state)
{
    (void)state;
    assert_true(becomes_frozen(off, false));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_server_that_is_well_is_not_frozen),
        cmocka_unit_test(one_that_is_starting_is_not_frozen),
        cmocka_unit_test(one_that_was_well_and_is_no_more_is_frozen),
        cmocka_unit_test(one_that_started_without_its_store_is_frozen),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
