#include "engine_save.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ref.h"

#define CONNECT_MS  2000
#define ANSWER_MAX  4096              /* of a failure's text */
#define DETAIL_MAX  (4 * 1024 * 1024) /* of a description */
#define USUAL_PLACE "/var/run/docker.sock"

typedef void curl;
FAAS_DEFINE_AUTO(curl, curl_easy_cleanup)

struct transfer {
    const struct engine_save *save;
    const char *what; /* of the image: "get", "json" */
    CURL *easy;
    int64_t bytes;
    char answer[ANSWER_MAX];
    size_t answer_len;
    int write_errno;
    bool is_too_large;
    char why[CURL_ERROR_SIZE];
};

static void keep_answer(struct transfer *transfer, const char *data, size_t len)
{
    size_t room = sizeof transfer->answer - 1 - transfer->answer_len;

    if (len > room)
        len = room;
    memcpy(transfer->answer + transfer->answer_len, data, len);
    transfer->answer_len += len;
}

static size_t on_data(char *data, size_t one, size_t count, void *arg)
{
    struct transfer *transfer = arg;
    size_t len = one * count, left = len;
    long status = 0;

    curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200) {
        keep_answer(transfer, data, len);
        return len;
    }
    transfer->bytes += (int64_t)len;
    transfer->is_too_large = transfer->bytes > transfer->save->max_bytes;
    if (transfer->is_too_large)
        return 0;
    while (left > 0) {
        ssize_t put = write(transfer->save->out, data, left);

        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0) {
            transfer->write_errno = errno;
            return 0;
        }
        data += put;
        left -= (size_t)put;
    }
    return len;
}

/* unix:///PATH or tcp://HOST[:PORT], as engine.h has it. */
static faas_code set_address(struct transfer *transfer, faas_err *err)
{
    const char *host = transfer->save->host;
    FAAS_AUTO(char) *name = ref_url_encode(transfer->save->name), *url = NULL;
    CURLcode rc = CURLE_OK;

    if (host == NULL || host[0] == '\0')
        host = "unix://" USUAL_PLACE;
    if (strncmp(host, "unix:///", 8) == 0) {
        rc = curl_easy_setopt(transfer->easy, CURLOPT_UNIX_SOCKET_PATH, host + 7);
        host = "tcp://engine:80";
    } else if (strncmp(host, "tcp://", 6) != 0 || host[6] == '\0' ||
               strpbrk(host + 6, "/?#@ %") != NULL) {
        return faas_fail(err, FAAS_INVALID,
                         "DOCKER_HOST: expected unix:///PATH or tcp://HOST[:PORT]");
    }
    if (name == NULL ||
        asprintf(&url, "http://%s%s/images/%s/%s", host + 6,
                 strrchr(host + 6, ':') == NULL ? ":2375" : "", name, transfer->what) < 0) {
        url = NULL;
        return faas_fail_sys(err, ENOMEM, "engine url");
    }
    if (rc != CURLE_OK || curl_easy_setopt(transfer->easy, CURLOPT_URL, url) != CURLE_OK)
        return faas_fail_sys(err, ENOMEM, "engine url");
    return FAAS_OK;
}

static int on_progress(void *arg, curl_off_t total, curl_off_t now, curl_off_t to, curl_off_t up)
{
    const struct transfer *transfer = arg;

    (void)total, (void)now, (void)to, (void)up;
    return transfer->save->stops != NULL && transfer->save->stops();
}

static void set_options(struct transfer *transfer)
{
    CURL *easy = transfer->easy;

    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->why);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http");
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, (long)ENGINE_SAVE_IDLE_S);
    curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(easy, CURLOPT_XFERINFODATA, transfer);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
}

static faas_code judge(const struct transfer *transfer, CURLcode rc, faas_err *err)
{
    FAAS_AUTO(json_t) *doc = NULL;
    const char *message;
    long status = 0;

    if (transfer->is_too_large)
        return faas_fail(err, FAAS_TOO_LARGE, "the image is larger than allowed (IMAGE_MAX_MB)");
    if (transfer->write_errno != 0)
        return faas_fail_sys(err, transfer->write_errno, "write the engine's archive");
    if (rc == CURLE_ABORTED_BY_CALLBACK)
        return faas_fail(err, FAAS_UNAVAILABLE, "this program is about to stop");
    if (rc != CURLE_OK)
        return faas_fail(err, FAAS_UNAVAILABLE, "no image from the Docker Engine at %s: %s",
                         transfer->save->host != NULL && transfer->save->host[0] != '\0'
                             ? transfer->save->host
                             : "unix://" USUAL_PLACE,
                         transfer->why[0] != '\0' ? transfer->why : curl_easy_strerror(rc));
    curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status == 200)
        return FAAS_OK;
    doc = faas_json_load(transfer->answer, transfer->answer_len, 0);
    message = json_string_value(json_object_get(doc, "message"));
    return faas_fail(err, status == 404 ? FAAS_NOT_FOUND : FAAS_UNAVAILABLE,
                     "the Docker Engine answered %ld: %s", status,
                     message != NULL ? message : "no reason given");
}

static faas_code get(const struct engine_save *save, const char *what, faas_err *err)
{
    FAAS_AUTO(curl) *easy = curl_easy_init();
    struct transfer transfer = {.save = save, .what = what, .easy = easy};

    if (easy == NULL)
        return faas_fail_sys(err, ENOMEM, "libcurl");
    FAAS_TRY(set_address(&transfer, err));
    set_options(&transfer);
    return judge(&transfer, curl_easy_perform(easy), err);
}

faas_code engine_save(const struct engine_save *save, faas_err *err)
{
    return get(save, "get", err);
}

static faas_code read_answer(int fd, json_t **out_doc, faas_err *err)
{
    off_t len = lseek(fd, 0, SEEK_END);
    FAAS_AUTO(char) *text = malloc((size_t)len + 1);

    if (text == NULL || pread(fd, text, (size_t)len, 0) != len)
        return faas_fail_sys(err, errno, "read what the engine says");
    *out_doc = faas_json_load(text, (size_t)len, 0);
    return json_is_object(*out_doc) ? FAAS_OK
                                    : faas_fail(err, FAAS_UNAVAILABLE,
                                                "the Docker Engine's description of an image "
                                                "cannot be read");
}

faas_code engine_describe(const struct engine_save *save, json_t **out_doc, faas_err *err)
{
    struct engine_save ask = *save;
    faas_code code;

    *out_doc = NULL;
    ask.max_bytes = DETAIL_MAX;
    ask.out = memfd_create("engine-image", MFD_CLOEXEC);
    if (ask.out < 0)
        return faas_fail_sys(err, errno, "ask the engine");
    code = get(&ask, "json", err);
    if (code == FAAS_OK)
        code = read_answer(ask.out, out_doc, err);
    close(ask.out);
    if (code != FAAS_OK) {
        json_decref(*out_doc);
        *out_doc = NULL;
    }
    return code;
}
