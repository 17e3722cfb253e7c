/* The bus by TLS: whom it refuses and what it says then, and that neither half a record nor a server that
 * does not read ever stops the loop. */
#include <arpa/inet.h>
#include <errno.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/bus.h"
#include "tests/support/cert.h"
#include "tests/support/nats.h"
#include "tests/support/process.h"
#include "tests/unit/unit.h"

#define LONG_MS 20000
#define SUBJECT "faas.test.bus"
#define LARGE   (256 * 1024)
#define HOUR_S  3600

static struct {
    char dir[32];
    char cert[64], key[64], trust[64], other_cert[64], other_key[64], other_trust[64];
} files;
static struct nats *nats;

/* ---- setting up ---- */

static char *in_dir(char *out, size_t room, const char *name)
{
    (void)snprintf(out, room, "%s/%s", files.dir, name);
    return out;
}

static int make_files(void **state)
{
    (void)state;
    (void)snprintf(files.dir, sizeof files.dir, "/tmp/faas-tls-XXXXXX");
    assert_non_null(mkdtemp(files.dir));
    in_dir(files.cert, sizeof files.cert, "cert.pem");
    in_dir(files.key, sizeof files.key, "key.pem");
    in_dir(files.trust, sizeof files.trust, "trust.pem");
    in_dir(files.other_cert, sizeof files.other_cert, "other.pem");
    in_dir(files.other_key, sizeof files.other_key, "other-key.pem");
    in_dir(files.other_trust, sizeof files.other_trust, "other-trust.pem");
    cert_make_as("IP:127.0.0.1", HOUR_S, files.other_cert, files.other_key, files.other_trust);
    return 0;
}

static int remove_files(void **state)
{
    const char *const all[] = {files.cert,       files.key,       files.trust,
                               files.other_cert, files.other_key, files.other_trust};

    (void)state;
    if (nats != NULL)
        nats_stop(nats);
    nats = NULL;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        unlink(all[i]);
    rmdir(files.dir);
    return 0;
}

/* A server whose certificate is for these names; more: of its tls block. */
static void start(const char *names, long seconds, const char *more)
{
    char extra[512];

    cert_make_as(names, seconds, files.cert, files.key, files.trust);
    (void)snprintf(extra, sizeof extra, "tls { cert_file: \"%s\", key_file: \"%s\" %s }\n",
                   files.cert, files.key, more);
    nats = nats_start(1, extra);
}

static faas_code try_to_open(const struct faas_bus_conf *wanted, faas_err *err)
{
    struct faas_bus_conf conf = *wanted;
    faas_loop *loop = NULL;
    faas_bus *bus = NULL;
    faas_code rc;

    conf.urls = nats_urls(nats);
    conf.service = "tester";
    conf.id = "t1";
    assert_int_equal(faas_loop_new(&loop, err), FAAS_OK);
    rc = faas_bus_open(&conf, loop, &bus, err);
    if (rc == FAAS_OK)
        assert_true(faas_bus_is_connected(bus));
    faas_bus_close(bus, 0);
    faas_loop_free(loop);
    return rc;
}

static void assert_refused(const struct faas_bus_conf *conf, const char *words)
{
    faas_err err = {0};

    assert_int_equal(try_to_open(conf, &err), FAAS_INVALID);
    if (strstr(err.msg, words) == NULL)
        fail_msg("\"%s\" is not said: %s", words, err.msg);
}

/* ---- who is refused ---- */

static void a_server_of_another_authority_is_refused(void **state)
{
    (void)state;
    start("IP:127.0.0.1", HOUR_S, "");
    assert_refused(&(struct faas_bus_conf){.ca_file = files.other_trust},
                   "not signed by an authority in NATS_CA_FILE");
    assert_refused(&(struct faas_bus_conf){.ca_file = NULL}, "not signed by an authority");
}

static void a_server_with_an_expired_certificate_is_refused(void **state)
{
    (void)state;
    start("IP:127.0.0.1", -HOUR_S, "");
    assert_refused(&(struct faas_bus_conf){.ca_file = files.trust}, "has expired");
}

static void a_server_of_another_name_is_refused(void **state)
{
    (void)state;
    start("IP:127.0.0.2,DNS:nats1", HOUR_S, "");
    assert_refused(&(struct faas_bus_conf){.ca_file = files.trust}, "other names than NATS_URL");
}

static void a_server_without_tls_is_refused(void **state)
{
    (void)state;
    nats = nats_start(1, NULL);
    assert_refused(&(struct faas_bus_conf){.ca_file = files.other_trust}, "speaks no TLS");
}

static void a_client_is_asked_for_its_certificate(void **state)
{
    char more[128];
    faas_err err = {0};

    (void)state;
    (void)snprintf(more, sizeof more, ", ca_file: \"%s\", verify: true", files.other_trust);
    start("IP:127.0.0.1", HOUR_S, more);
    assert_refused(&(struct faas_bus_conf){.ca_file = files.trust}, "NATS_CERT_FILE");
    assert_int_equal(try_to_open(&(struct faas_bus_conf){.ca_file = files.trust,
                                                         .cert_file = files.other_cert,
                                                         .key_file = files.other_key},
                                 &err),
                     FAAS_OK);
}

static void settings_that_do_not_fit_are_named(void **state)
{
    (void)state;
    nats = nats_start(1, NULL);
    assert_refused(&(struct faas_bus_conf){.ca_file = "/nowhere.pem"},
                   "NATS_CA_FILE: /nowhere.pem");
    assert_refused(&(struct faas_bus_conf){.ca_file = files.other_key}, "holds no certificate");
    assert_refused(&(struct faas_bus_conf){.cert_file = files.other_cert}, "need NATS_CA_FILE");
    assert_refused(
        &(struct faas_bus_conf){.ca_file = files.other_trust, .cert_file = files.other_cert},
        "belong together");
    assert_refused(&(struct faas_bus_conf){.ca_file = files.other_trust,
                                           .cert_file = files.other_cert,
                                           .key_file = files.other_cert},
                   "others may reach");
}

/* ---- a way in between that can be held up ---- */

static struct {
    int listener, port;
    _Atomic bool is_held; /* of what the server says only half is passed on */
    _Atomic bool has_held;
    _Atomic bool must_end;
    pthread_t thread;
} way;

struct half {
    int from, to;
    char kept[65536];
    size_t len;
};

static bool pass(struct half *half, bool is_held)
{
    ssize_t got =
        half->len == sizeof half->kept
            ? 0
            : recv(half->from, half->kept + half->len, sizeof half->kept - half->len, MSG_DONTWAIT);
    size_t out;

    if (got == 0 && half->len < sizeof half->kept)
        return false;
    if (got > 0)
        half->len += (size_t)got;
    out = is_held ? (got > 0 ? (size_t)got / 2 : 0) : half->len;
    if (is_held && got > 1)
        atomic_store(&way.has_held, true);
    if (out > 0 && send(half->to, half->kept, out, MSG_NOSIGNAL) != (ssize_t)out)
        return false;
    half->len -= out;
    memmove(half->kept, half->kept + out, half->len);
    return got >= 0 || errno == EAGAIN;
}

static void *serve_one(void *arg)
{
    static const struct half none = {.len = 0};
    struct half *up = malloc(sizeof *up), *down = malloc(sizeof *down);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)way.port)};
    int client = (int)(intptr_t)arg, server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    inet_pton(AF_INET, "127.0.0.1", &at.sin_addr);
    *up = *down = none;
    up->from = down->to = client;
    up->to = down->from = server;
    if (connect(server, (struct sockaddr *)&at, sizeof at) == 0) {
        struct pollfd fds[] = {{.fd = client, .events = POLLIN}, {.fd = server, .events = POLLIN}};

        do
            (void)poll(fds, 2, 5);
        while (!atomic_load(&way.must_end) && pass(up, false) &&
               pass(down, atomic_load(&way.is_held)));
    }
    close(client);
    close(server);
    free(up);
    free(down);
    return NULL;
}

static void *serve_all(void *arg)
{
    pthread_t threads[64];
    int count = 0, client;

    (void)arg;
    while (count < 64 && (client = accept(way.listener, NULL, NULL)) >= 0 &&
           !atomic_load(&way.must_end))
        pthread_create(&threads[count++], NULL, serve_one, (void *)(intptr_t)client);
    for (int i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    return NULL;
}

/* Its own URL, to the server at url. */
static void open_way(const char *url, char *out_url, size_t room)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t len = sizeof at;

    way.port = (int)strtol(strrchr(url, ':') + 1, NULL, 10);
    way.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    inet_pton(AF_INET, "127.0.0.1", &at.sin_addr);
    assert_int_equal(bind(way.listener, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(way.listener, 16), 0);
    assert_int_equal(getsockname(way.listener, (struct sockaddr *)&at, &len), 0);
    (void)snprintf(out_url, room, "nats://127.0.0.1:%d", ntohs(at.sin_port));
    assert_int_equal(pthread_create(&way.thread, NULL, serve_all, NULL), 0);
}

static void close_way(void)
{
    atomic_store(&way.must_end, true);
    shutdown(way.listener, SHUT_RDWR);
    pthread_join(way.thread, NULL);
    close(way.listener);
}

/* ---- the loop goes on ---- */

static _Atomic int heard, turns;

static void on_message(void *arg, faas_msg *take_msg)
{
    (void)arg;
    atomic_fetch_add(&heard, 1);
    faas_msg_free(take_msg);
}

static void on_turn(void *arg)
{
    (void)arg;
    atomic_fetch_add(&turns, 1);
}

static bool has_turned(void *arg)
{
    return atomic_load(&turns) >= *(int *)arg;
}

static bool has_heard(void *arg)
{
    return atomic_load(&heard) >= *(int *)arg;
}

static bool is_holding(void *arg)
{
    (void)arg;
    return atomic_load(&way.has_held);
}

static void say(struct process *from, size_t len)
{
    static char text[LARGE];
    struct faas_out out = {.subject = SUBJECT, .data = text, .len = len};
    faas_err err = {0};

    faas_code rc = faas_bus_publish(from->bus, FAAS_DATA, &out, &err);

    assert_true(rc == FAAS_OK || rc == FAAS_UNAVAILABLE); /* too much waits: as it is wanted */
}

static void assert_loop_turns(struct process *process)
{
    int target = atomic_load(&turns) + 1;

    faas_loop_post(process->loop, on_turn, NULL);
    wait_until(has_turned, &target, LONG_MS, "the loop turns");
}

static void assert_is_heard(struct process *from)
{
    uint64_t deadline = faas_deadline_in_ms(LONG_MS);
    int target = atomic_load(&heard) + 1;

    while (!has_heard(&target)) {
        assert_true(faas_left_ms(deadline) > 0);
        say(from, 8);
        usleep(10000);
    }
}

static void leave_sub(void *arg)
{
    faas_sub_free(arg);
}

static void half_a_record_does_not_stop_the_loop(void **state)
{
    char url[64];
    struct process process;
    faas_sub *sub;
    faas_err err = {0};

    (void)state;
    start("IP:127.0.0.1", HOUR_S, "");
    open_way(nats_urls(nats), url, sizeof url);
    process_start(&process,
                  &(struct process_conf){
                      .urls = url, .service = "tester", .id = "t1", .ca_file = files.trust});
    assert_int_equal(
        faas_bus_subscribe(process.bus, FAAS_DATA, SUBJECT, NULL, on_message, NULL, &sub, &err),
        FAAS_OK);
    assert_is_heard(&process);
    atomic_store(&way.is_held, true);
    say(&process, 1000);
    wait_until(is_holding, NULL, LONG_MS, "half a record is passed on");
    assert_loop_turns(&process);
    atomic_store(&way.is_held, false);
    assert_is_heard(&process);
    process_stop(&process, leave_sub, sub);
    close_way();
}

static void a_server_that_does_not_read_does_not_stop_the_loop(void **state)
{
    struct process process;
    faas_sub *sub;
    faas_err err = {0};

    (void)state;
    start("IP:127.0.0.1", HOUR_S, "");
    process_start(&process, &(struct process_conf){.urls = nats_urls(nats),
                                                   .service = "tester",
                                                   .id = "t1",
                                                   .ca_file = files.trust});
    assert_int_equal(
        faas_bus_subscribe(process.bus, FAAS_DATA, SUBJECT, NULL, on_message, NULL, &sub, &err),
        FAAS_OK);
    assert_is_heard(&process);
    nats_pause(nats, 0);
    for (int i = 0; i < 200; i++) {
        say(&process, LARGE);
        assert_loop_turns(&process);
    }
    nats_resume(nats, 0);
    assert_is_heard(&process);
    process_stop(&process, leave_sub, sub);
}

/* ---- a server that falls silent while it is connected to ---- */

#define TRIES 3 /* the lanes' first, and one more */

static struct {
    int listener;
    SSL_CTX *tls; /* NULL: it says nothing after its INFO */
    _Atomic int asked;
    pthread_t thread;
} mute;

/* Whose talk with a client is over. */
static void *fall_silent(void *arg)
{
    static const char info[] =
        "INFO {\"server_id\":\"mute\",\"version\":\"2.10.0\",\"proto\":1,"
        "\"headers\":true,\"tls_required\":true,\"max_payload\":1048576}\r\n";
    struct {
        int fd;
        SSL *ssl;
    } clients[64];
    int count = 0, fd;

    (void)arg;
    while (count < 64 && (fd = accept(mute.listener, NULL, NULL)) >= 0) {
        SSL *ssl = mute.tls != NULL ? SSL_new(mute.tls) : NULL;

        (void)send(fd, info, sizeof info - 1, MSG_NOSIGNAL);
        if (ssl == NULL || (SSL_set_fd(ssl, fd) == 1 && SSL_accept(ssl) == 1))
            atomic_fetch_add(&mute.asked, 1);
        clients[count].fd = fd;
        clients[count++].ssl = ssl;
    }
    while (count-- > 0) {
        SSL_free(clients[count].ssl);
        close(clients[count].fd);
    }
    return NULL;
}

static void start_mute(bool has_handshake, char *out_url, size_t room)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t len = sizeof at;

    signal(SIGPIPE, SIG_IGN);
    cert_make_as("IP:127.0.0.1", HOUR_S, files.cert, files.key, files.trust);
    atomic_store(&mute.asked, 0);
    mute.tls = has_handshake ? SSL_CTX_new(TLS_server_method()) : NULL;
    if (has_handshake) {
        assert_int_equal(SSL_CTX_use_certificate_chain_file(mute.tls, files.cert), 1);
        assert_int_equal(SSL_CTX_use_PrivateKey_file(mute.tls, files.key, SSL_FILETYPE_PEM), 1);
    }
    mute.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    inet_pton(AF_INET, "127.0.0.1", &at.sin_addr);
    assert_int_equal(bind(mute.listener, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(mute.listener, 16), 0);
    assert_int_equal(getsockname(mute.listener, (struct sockaddr *)&at, &len), 0);
    (void)snprintf(out_url, room, "nats://127.0.0.1:%d", ntohs(at.sin_port));
    assert_int_equal(pthread_create(&mute.thread, NULL, fall_silent, NULL), 0);
}

static void stop_mute(void)
{
    shutdown(mute.listener, SHUT_RDWR);
    pthread_join(mute.thread, NULL);
    close(mute.listener);
    SSL_CTX_free(mute.tls);
}

static bool is_asked(void *arg)
{
    return atomic_load(&mute.asked) >= *(int *)arg;
}

static _Atomic bool is_closed;

static void *close_bus(void *arg)
{
    faas_bus_close(arg, 0);
    atomic_store(&is_closed, true);
    return NULL;
}

static bool has_closed(void *arg)
{
    (void)arg;
    return atomic_load(&is_closed);
}

/* Nor keeps it the bus from closing. */
static void assert_is_left(bool has_handshake)
{
    char url[64];
    struct faas_bus_conf conf = {
        .urls = url, .service = "tester", .id = "t1", .ca_file = files.trust};
    faas_loop *loop;
    faas_bus *bus;
    faas_err err = {0};
    pthread_t closing;
    int tries = TRIES;

    start_mute(has_handshake, url, sizeof url);
    assert_int_equal(faas_loop_new(&loop, &err), FAAS_OK);
    assert_int_equal(faas_bus_open(&conf, loop, &bus, &err), FAAS_OK);
    assert_false(faas_bus_is_connected(bus));
    wait_until(is_asked, &tries, LONG_MS, "a server that is silent is left for the next");
    atomic_store(&is_closed, false);
    assert_int_equal(pthread_create(&closing, NULL, close_bus, bus), 0);
    wait_until(has_closed, NULL, LONG_MS, "a bus whose server is silent closes");
    pthread_join(closing, NULL);
    faas_loop_free(loop);
    stop_mute();
}

static void a_server_that_is_silent_instead_of_a_handshake_is_left(void **state)
{
    (void)state;
    assert_is_left(false);
}

static void a_server_that_is_silent_after_the_handshake_is_left(void **state)
{
    (void)state;
    assert_is_left(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_server_of_another_authority_is_refused, make_files,
                                        remove_files),
        cmocka_unit_test_setup_teardown(a_server_with_an_expired_certificate_is_refused, make_files,
                                        remove_files),
        cmocka_unit_test_setup_teardown(a_server_of_another_name_is_refused, make_files,
                                        remove_files),
        cmocka_unit_test_setup_teardown(a_server_without_tls_is_refused, make_files, remove_files),
        cmocka_unit_test_setup_teardown(a_client_is_asked_for_its_certificate, make_files,
                                        remove_files),
        cmocka_unit_test_setup_teardown(settings_that_do_not_fit_are_named, make_files,
                                        remove_files),
        cmocka_unit_test_setup_teardown(half_a_record_does_not_stop_the_loop, make_files,
                                        remove_files),
        cmocka_unit_test_setup_teardown(a_server_that_does_not_read_does_not_stop_the_loop,
                                        make_files, remove_files),
        cmocka_unit_test_setup_teardown(a_server_that_is_silent_instead_of_a_handshake_is_left,
                                        make_files, remove_files),
        cmocka_unit_test_setup_teardown(a_server_that_is_silent_after_the_handshake_is_left,
                                        make_files, remove_files),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
