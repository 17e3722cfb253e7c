#include "cli/client.h"

#include <curl/curl.h>
#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "cli/file.h"
#include "crypto/apikey.h"
#include "cli/output.h"

#define PAGE_MAX 200 /* items of an answer, as the gateway takes it */

struct cli_client {
    CURL *curl;
    struct credential credential;
    bool is_verbose;
    char reason[CURL_ERROR_SIZE]; /* of the last failure, libcurl's */
};

struct transfer {
    struct client_answer *answer;
    CURL *curl;
    const struct client_request *request;
    size_t room;
    bool is_too_large, has_sink_failed;
};

/* ---- opening ---- */

/* The file is kept with a login, so its path must hold in every directory. */
static faas_code choose_ca_file(const struct cli_common *common, struct credential *credential,
                                faas_err *err)
{
    const char *asked = common->ca_file != NULL ? common->ca_file : getenv("FAAS_CA_FILE");
    char path[PATH_MAX];

    if (asked == NULL || asked[0] == '\0')
        return FAAS_OK;
    if (realpath(asked, path) == NULL)
        return faas_fail(err, FAAS_INVALID, "%s %s: %s",
                         common->ca_file != NULL ? "--ca-file" : "FAAS_CA_FILE", asked,
                         strerror(errno));
    free(credential->ca_file);
    credential->ca_file = strdup(path);
    return credential->ca_file != NULL ? FAAS_OK : faas_fail_sys(err, errno, "CA file");
}

faas_code client_open(const struct cli_common *common, cli_client **out_client, faas_err *err)
{
    FAAS_AUTO(cli_client) *client = calloc(1, sizeof *client);

    if (client == NULL)
        return faas_fail_sys(err, errno, "client");
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return faas_fail(err, FAAS_INTERNAL, "libcurl does not start");
    client->curl = curl_easy_init();
    if (client->curl == NULL)
        return faas_fail_sys(err, ENOMEM, "curl handle");
    client->is_verbose = common->is_verbose;
    FAAS_TRY(credential_load(common->server, &client->credential, err));
    FAAS_TRY(choose_ca_file(common, &client->credential, err));
    *out_client = FAAS_STEAL(client);
    return FAAS_OK;
}

void client_close(cli_client *client)
{
    if (client == NULL)
        return;
    curl_easy_cleanup(client->curl);
    credential_done(&client->credential);
    free(client);
}

const struct credential *client_credential(const cli_client *client)
{
    return &client->credential;
}

faas_code client_require_login(const cli_client *client, faas_err *err)
{
    if (client->credential.token != NULL)
        return FAAS_OK;
    return faas_fail(err, FAAS_UNAUTHENTICATED, "not logged in to %s, run `faas login`",
                     client->credential.server);
}

void client_answer_done(struct client_answer *answer)
{
    free(answer->body);
    json_decref(answer->problem);
    *answer = (struct client_answer){0};
}

char *client_path(const char *prefix, const char *name)
{
    char *encoded = curl_easy_escape(NULL, name, 0);
    char *path = encoded != NULL ? file_path("%s%s", prefix, encoded) : NULL;

    curl_free(encoded);
    return path;
}

/* ---- receiving ---- */

static bool keep(struct transfer *transfer, const char *data, size_t len)
{
    struct client_answer *answer = transfer->answer;

    if (answer->len + len > CLIENT_BODY_MAX) {
        transfer->is_too_large = true;
        return false;
    }
    if (answer->len + len + 1 > transfer->room) {
        size_t room = (answer->len + len + 1) * 2;
        char *body = realloc(answer->body, room);

        if (body == NULL)
            return false;
        answer->body = body;
        transfer->room = room;
    }
    memcpy(answer->body + answer->len, data, len);
    answer->len += len;
    answer->body[answer->len] = '\0';
    return true;
}

static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
    struct transfer *transfer = arg;
    const struct client_request *request = transfer->request;
    size_t len = size * count;
    long status = 0;

    curl_easy_getinfo(transfer->curl, CURLINFO_RESPONSE_CODE, &status);
    if ((request->sink == NULL && request->take == NULL) || status < 200 || status > 299)
        return keep(transfer, data, len) ? len : 0;
    if (request->take != NULL ? !request->take(request->take_arg, data, len)
                              : fwrite(data, 1, len, request->sink) != len) {
        transfer->has_sink_failed = true;
        return 0;
    }
    return len;
}

static void keep_header(const char *line, size_t len, const char *name, char *out, size_t room)
{
    size_t at = strlen(name);

    if (len <= at || strncasecmp(line, name, at) != 0 || line[at] != ':')
        return;
    for (at++; at < len && (line[at] == ' ' || line[at] == '\t'); at++) {
    }
    while (len > at && (line[len - 1] == '\r' || line[len - 1] == '\n' || line[len - 1] == ' '))
        len--;
    snprintf(out, room, "%.*s", (int)(len - at), line + at);
}

static size_t on_header(char *line, size_t size, size_t count, void *arg)
{
    struct client_answer *answer = ((struct transfer *)arg)->answer;
    size_t len = size * count;

    keep_header(line, len, "X-Call-Id", answer->call_id, sizeof answer->call_id);
    keep_header(line, len, "Content-Type", answer->type, sizeof answer->type);
    keep_header(line, len, "X-Start", answer->start, sizeof answer->start);
    keep_header(line, len, "X-Duration-Ms", answer->duration_ms, sizeof answer->duration_ms);
    keep_header(line, len, "Date", answer->date, sizeof answer->date);
    keep_header(line, len, "X-Served-By", answer->served_by, sizeof answer->served_by);
    return len;
}

/* ---- sending ---- */

static bool is_loopback(const char *server)
{
    const char *host = strstr(server, "://");

    if (host == NULL)
        return false;
    host += 3;
    return strncmp(host, "127.", 4) == 0 || strncmp(host, "localhost", 9) == 0 ||
           strncmp(host, "[::1]", 5) == 0;
}

static bool add_header(struct curl_slist **list, const char *name, const char *value)
{
    char *line = file_path("%s: %s", name, value);
    struct curl_slist *longer = line != NULL ? curl_slist_append(*list, line) : NULL;

    if (line != NULL)
        sodium_memzero(line, strlen(line));
    free(line);
    if (longer == NULL)
        return false;
    *list = longer;
    return true;
}

static bool make_headers(const cli_client *client, const struct client_request *request,
                         struct curl_slist **out_list)
{
    const char *type = request->content_type != NULL ? request->content_type : "application/json";
    FAAS_AUTO(char) *bearer = NULL;
    bool is_made;

    if (request->body != NULL && !add_header(out_list, "Content-Type", type))
        return false;
    if (request->take != NULL && !add_header(out_list, "Accept", "text/event-stream"))
        return false;
    if ((request->callback_url != NULL &&
         !add_header(out_list, "X-Callback-Url", request->callback_url)) ||
        (request->idempotency_key != NULL &&
         !add_header(out_list, "Idempotency-Key", request->idempotency_key)))
        return false;
    if (request->is_public || client->credential.token == NULL)
        return true;
    bearer = file_path("Bearer %s", client->credential.token);
    if (bearer == NULL)
        return false;
    is_made = add_header(out_list, "Authorization", bearer);
    sodium_memzero(bearer, strlen(bearer));
    return is_made;
}

static void set_options(cli_client *client, const struct client_request *request,
                        struct transfer *transfer)
{
    CURL *curl = client->curl;
    int64_t timeout_ms = request->timeout_ms > 0 ? request->timeout_ms : CLIENT_TIMEOUT_MS;

    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request->method);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, 5000L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, transfer);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, transfer);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "faas");
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, client->reason);
    if (client->credential.ca_file != NULL) {
        curl_easy_setopt(curl, CURLOPT_CAINFO, client->credential.ca_file);
        curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
    }
    if (is_loopback(client->credential.server))
        curl_easy_setopt(curl, CURLOPT_PROXY, "");
    if (request->body != NULL) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_len);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request->body);
    }
}

static faas_code explain_tls(const cli_client *client, CURLcode rc, faas_err *err)
{
    const char *server = client->credential.server, *ca_file = client->credential.ca_file;

    if (rc == CURLE_SSL_CACERT_BADFILE)
        return faas_fail(err, FAAS_INVALID, "%s holds no certificate that can be used", ca_file);
    if (rc == CURLE_PEER_FAILED_VERIFICATION)
        return faas_fail(err, FAAS_UNAVAILABLE,
                         "the certificate of %s is not trusted (%s); name the file to trust with "
                         "--ca-file or FAAS_CA_FILE: `faas up --tls` prints its own",
                         server, client->reason);
    return faas_fail(err, FAAS_UNAVAILABLE, "%s does not speak TLS as asked (%s); is it http://?",
                     server, client->reason);
}

static bool is_tls_failure(CURLcode rc)
{
    return rc == CURLE_SSL_CACERT_BADFILE || rc == CURLE_PEER_FAILED_VERIFICATION ||
           rc == CURLE_SSL_CONNECT_ERROR;
}

static faas_code explain(const cli_client *client, const struct transfer *transfer, CURLcode rc,
                         faas_err *err)
{
    const char *server = client->credential.server;

    if (transfer->is_too_large)
        return faas_fail(err, FAAS_TOO_LARGE, "the answer of %s is larger than %d bytes", server,
                         CLIENT_BODY_MAX);
    if (transfer->has_sink_failed)
        return faas_fail(err, FAAS_INTERNAL, "standard output cannot be written");
    if (is_tls_failure(rc))
        return explain_tls(client, rc, err);
    if (rc == CURLE_OPERATION_TIMEDOUT && transfer->answer->status == 0)
        return faas_fail(err, FAAS_TIMEOUT, "%s gave no answer in time", server);
    if (rc == CURLE_COULDNT_CONNECT || rc == CURLE_COULDNT_RESOLVE_HOST)
        return faas_fail(
            err, FAAS_UNAVAILABLE,
            "%s cannot be reached (%s); is it running there? `faas up` starts one here", server,
            curl_easy_strerror(rc));
    if (transfer->answer->status != 0)
        return faas_fail(err, FAAS_UNAVAILABLE, "%s: the answer was cut short (%s)", server,
                         curl_easy_strerror(rc));
    return faas_fail(err, FAAS_UNAVAILABLE, "%s: %s%s", server, curl_easy_strerror(rc),
                     strncmp(server, "http://", 7) == 0 ? "; is it https://?" : "");
}

/* ---- failures the platform reported ---- */

static faas_code code_of_status(long status)
{
    for (faas_code code = FAAS_OK + 1; code < FAAS_CODE_END; code++) {
        if (faas_code_status(code) == status)
            return code;
    }
    return status >= 500 ? FAAS_UNAVAILABLE : FAAS_INVALID;
}

static faas_code fail_unauthenticated(const cli_client *client, const json_t *problem,
                                      faas_err *err)
{
    const char *reason = json_string_value(json_object_get(problem, "reason"));
    const char *detail = json_string_value(json_object_get(problem, "detail"));
    int64_t expires_at_ms = client->credential.expires_at_ms;
    char when[FAAS_TIME_TEXT] = "";
    bool is_expired = reason != NULL ? strcmp(reason, "expired") == 0
                                     : expires_at_ms > 0 && expires_at_ms <= faas_wall_ms();

    if (client->credential.token != NULL && faas_apikey_is_meant(client->credential.token))
        return faas_fail(err, FAAS_UNAUTHENTICATED, "%s, or `faas apikey create`",
                         detail != NULL ? detail : "the API key was refused");
    if (!is_expired)
        return faas_fail(err, FAAS_UNAUTHENTICATED, "%s; run `faas login`",
                         detail != NULL ? detail : "the token was refused");
    if (expires_at_ms > 0)
        faas_time_format(expires_at_ms, when);
    return faas_fail(err, FAAS_UNAUTHENTICATED, "token expired%s%s, run `faas login`",
                     when[0] != '\0' ? " at " : "", when);
}

faas_code client_problem(const struct client_answer *answer, faas_err *err)
{
    const json_t *problem = answer->problem;
    const char *slug = json_string_value(json_object_get(problem, "code"));
    const char *detail = json_string_value(json_object_get(problem, "detail"));
    const char *component = json_string_value(json_object_get(problem, "component"));
    faas_code code = slug != NULL ? faas_code_from_slug(slug) : FAAS_INTERNAL;

    return faas_fail(err, code, "%s (%s, %s%s%s)", detail != NULL ? detail : faas_code_title(code),
                     faas_code_slug(code), component != NULL ? component : "platform",
                     answer->call_id[0] != '\0' ? ", " : "", answer->call_id);
}

static faas_code fail_from_answer(const cli_client *client, const struct client_request *request,
                                  struct client_answer *answer, faas_err *err)
{
    const json_t *problem;
    const char *slug;
    faas_code code;

    if (answer->body != NULL)
        answer->problem = faas_json_load(answer->body, answer->len, JSON_REJECT_DUPLICATES);
    problem = answer->problem;
    slug = json_string_value(json_object_get(problem, "code"));
    code = slug != NULL ? faas_code_from_slug(slug) : code_of_status(answer->status);
    if (code == FAAS_UNAUTHENTICATED && !request->is_public)
        return fail_unauthenticated(client, problem, err);
    if (slug == NULL)
        return faas_fail(err, code, "HTTP status %ld from %s, without the platform's explanation",
                         answer->status, client->credential.server);
    return client_problem(answer, err);
}

/* ---- the exchange ---- */

static faas_code perform(cli_client *client, const struct client_request *request,
                         struct transfer *transfer, faas_err *err)
{
    FAAS_AUTO(char) *url = file_path("%s%s", client->credential.server, request->path);
    struct curl_slist *headers = NULL;
    CURLcode rc = CURLE_OUT_OF_MEMORY;

    if (url == NULL)
        return faas_fail_sys(err, ENOMEM, "request URL");
    curl_easy_reset(client->curl);
    set_options(client, request, transfer);
    if (make_headers(client, request, &headers) &&
        curl_easy_setopt(client->curl, CURLOPT_URL, url) == CURLE_OK) {
        curl_easy_setopt(client->curl, CURLOPT_HTTPHEADER, headers);
        rc = curl_easy_perform(client->curl);
    }
    curl_slist_free_all(headers);
    curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &transfer->answer->status);
    return rc == CURLE_OK ? FAAS_OK : explain(client, transfer, rc, err);
}

faas_code client_send(cli_client *client, const struct client_request *request,
                      struct client_answer *out_answer, faas_err *err)
{
    struct transfer transfer = {.answer = out_answer, .curl = client->curl, .request = request};
    uint64_t begin_ns = faas_now_ns();
    faas_code code;

    *out_answer = (struct client_answer){0};
    if (!request->is_public)
        FAAS_TRY(client_require_login(client, err));
    code = perform(client, request, &transfer, err);
    if (client->is_verbose)
        output_note("%s %s%s: status %ld, call %s, %" PRIu64 " ms", request->method,
                    client->credential.server, request->path, out_answer->status,
                    out_answer->call_id[0] != '\0' ? out_answer->call_id : "-",
                    (faas_now_ns() - begin_ns) / FAAS_MS_NS);
    if (code != FAAS_OK)
        return code;
    if (out_answer->status < 200 || out_answer->status > 299)
        return fail_from_answer(client, request, out_answer, err);
    return FAAS_OK;
}

faas_code client_exchange(cli_client *client, struct client_request *request, const json_t *doc,
                          struct client_answer *answer, json_t **out_doc, faas_err *err)
{
    FAAS_AUTO(char) *text = NULL;
    faas_code code;

    if (doc != NULL) {
        text = faas_json_text(doc, NULL);
        if (text == NULL)
            return faas_fail_sys(err, ENOMEM, "encode request");
        request->body = text;
        request->body_len = strlen(text);
    }
    code = client_send(client, request, answer, err);
    if (text != NULL) {
        sodium_memzero(text, strlen(text)); /* a password may be in it */
        request->body = NULL;
    }
    if (code != FAAS_OK || out_doc == NULL)
        return code;
    *out_doc = NULL;
    if (answer->len == 0)
        return FAAS_OK;
    *out_doc = faas_json_load(answer->body, answer->len, JSON_REJECT_DUPLICATES);
    if (*out_doc == NULL)
        return faas_fail(err, FAAS_INTERNAL, "%s answered with something that is not JSON",
                         client->credential.server);
    return FAAS_OK;
}

/* ---- outcomes ---- */

int client_exit(faas_code code)
{
    switch (code) {
    case FAAS_OK:
        return CLI_OK;
    case FAAS_FAILED:
    case FAAS_START_FAILED:
    case FAAS_OUTPUT_TOO_LARGE:
        return CLI_FUNCTION_FAILED;
    case FAAS_INVALID:
    case FAAS_METHOD:
    case FAAS_CONFLICT:
    case FAAS_TOO_LARGE:
    case FAAS_UNSUPPORTED:
    case FAAS_UNPROCESSABLE:
        return CLI_USAGE;
    case FAAS_UNAUTHENTICATED:
        return CLI_NOT_ALLOWED;
    case FAAS_DENIED:
    case FAAS_NOT_FOUND:
        return CLI_NOT_FOUND;
    default: /* BUSY, CLIENT_GONE, INTERNAL, LOST, UNAVAILABLE, TIMEOUT */
        return CLI_UNAVAILABLE;
    }
}

int client_report(const faas_err *err, const struct client_answer *answer,
                  const struct cli_common *common)
{
    output_error(err, common->is_json, answer->problem);
    return client_exit(err->code);
}

struct pages {
    cli_client *client;
    const char *path, *query, *what;
    char *cursor; /* owned; NULL: from the first, or after the last */
};

static faas_code take_page(struct pages *pages, int most, json_t *items,
                           struct client_answer *answer, faas_err *err)
{
    FAAS_AUTO(char) *from = client_path(pages->cursor != NULL ? "&cursor=" : "",
                                        pages->cursor != NULL ? pages->cursor : "");
    FAAS_AUTO(char) *path = NULL;
    FAAS_AUTO(json_t) *page = NULL;
    struct client_request request = {.method = "GET"};
    const json_t *next;

    if (from != NULL)
        path = file_path("%s?limit=%d%s%s", pages->path, most, pages->query, from);
    if (path == NULL)
        return faas_fail(err, FAAS_INTERNAL, "out of memory");
    request.path = path;
    FAAS_TRY(client_exchange(pages->client, &request, NULL, answer, &page, err));
    if (json_array_extend(items, json_object_get(page, "items")) != 0)
        return faas_fail(err, FAAS_INTERNAL, "the answer holds no list of %s", pages->what);
    next = json_object_get(page, "next_cursor");
    free(pages->cursor);
    pages->cursor = json_is_string(next) ? strdup(json_string_value(next)) : NULL;
    return FAAS_OK;
}

faas_code client_pages(cli_client *client, const char *path, const char *query, int64_t limit,
                       const char *what, json_t *items, struct client_answer *answer, faas_err *err)
{
    struct pages pages = {.client = client, .path = path, .query = query, .what = what};
    faas_code code;
    int64_t left;

    do {
        client_answer_done(answer);
        left = limit - (int64_t)json_array_size(items);
        code = take_page(&pages, left < PAGE_MAX ? (int)left : PAGE_MAX, items, answer, err);
    } while (code == FAAS_OK && pages.cursor != NULL && (int64_t)json_array_size(items) < limit);
    free(pages.cursor);
    return code;
}

faas_code client_items(cli_client *client, const char *path, json_t *items,
                       struct client_answer *answer, faas_err *err)
{
    struct client_request request = {.method = "GET", .path = path};
    FAAS_AUTO(json_t) *doc = NULL;

    FAAS_TRY(client_exchange(client, &request, NULL, answer, &doc, err));
    if (json_array_extend(items, json_object_get(doc, "items")) == 0)
        return FAAS_OK;
    return faas_fail(err, FAAS_INTERNAL, "the platform answered without items");
}

int client_list(const struct cli_args *args, client_fetch *fetch, client_print *print,
                const char *none)
{
    FAAS_AUTO(cli_client) *client = NULL;
    FAAS_AUTO(json_t) *items = json_array();
    struct client_answer answer = {0};
    faas_err err = {0};
    faas_code code = client_open(&args->common, &client, &err);
    int status = CLI_OK;

    if (code == FAAS_OK)
        code = fetch(client, items, &answer, &err);
    if (code == FAAS_OK && args->common.is_json)
        output_json(items, stdout);
    else if (code == FAAS_OK && json_array_size(items) == 0)
        output_note("%s", none);
    else if (code == FAAS_OK)
        code = print(items, &err);
    if (code != FAAS_OK)
        status = client_report(&err, &answer, &args->common);
    client_answer_done(&answer);
    return status;
}

/* ---- removing ---- */

static faas_code remove_one(cli_client *client, const char *prefix, const char *name,
                            struct client_answer *answer, faas_err *err)
{
    FAAS_AUTO(char) *path = client_path(prefix, name);
    struct client_request request = {.method = "DELETE", .path = path};

    if (path == NULL)
        return faas_fail(err, FAAS_INTERNAL, "out of memory");
    return client_send(client, &request, answer, err);
}

int client_remove(const struct cli_args *args, const char *prefix)
{
    FAAS_AUTO(cli_client) *client = NULL;
    struct client_answer answer = {0};
    faas_err err = {0};
    int status = CLI_OK;

    if (client_open(&args->common, &client, &err) != FAAS_OK)
        return client_report(&err, &answer, &args->common);
    for (size_t i = 0; i < args->rest.count; i++) {
        const char *name = args->rest.items[i];

        if (remove_one(client, prefix, name, &answer, &err) != FAAS_OK)
            status = client_report(&err, &answer, &args->common);
        else if (args->common.is_json)
            printf("{\"removed\":true}\n");
        else
            output_say("removed %s", name);
        client_answer_done(&answer);
    }
    return status;
}
