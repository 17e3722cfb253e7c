/* http_constant.c - an answer that is the same for everybody, made once a second by each thread that
 * gives it.
 * Threads  libmicrohttpd takes a lock to count the users of a response, and writes the date by
 *          gmtime_r and snprintf for each answer that has none.  A response of the thread's own,
 *          with a date in it, costs neither; it is freed when the thread ends.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "gateway/http_internal.h"

#define DATE_TEXT sizeof "Mon, 30 Nov 2026 13:02:37 GMT"

struct http_constant {
    const char *type;
    char *text;         /* owned */
    pthread_key_t made; /* struct made of this thread */
};
struct made {
    time_t at;
    struct MHD_Response *response; /* NULL: there was no memory for it */
};

static void free_made(void *arg)
{
    struct made *made = arg;

    if (made->response != NULL)
        MHD_destroy_response(made->response);
    free(made);
}

faas_code http_constant_new(const char *type, const char *text, http_constant **out_constant,
                            faas_err *err)
{
    http_constant *constant = calloc(1, sizeof *constant);
    char *copy = strdup(text);
    int rc =
        constant != NULL && copy != NULL ? pthread_key_create(&constant->made, free_made) : ENOMEM;

    if (rc != 0) {
        free(constant);
        free(copy);
        return faas_fail_sys(err, rc, "make a constant answer");
    }
    constant->type = type;
    constant->text = copy;
    *out_constant = constant;
    return FAAS_OK;
}

void http_constant_free(http_constant *constant)
{
    if (constant == NULL)
        return;
    (void)pthread_key_delete(constant->made);
    free(constant->text);
    free(constant);
}

/* RFC 9110, 5.6.7; the C locale is the only one this program has. */
static void format_date(time_t at, char out_text[DATE_TEXT])
{
    struct tm utc;

    gmtime_r(&at, &utc);
    (void)strftime(out_text, DATE_TEXT, "%a, %d %b %Y %H:%M:%S GMT", &utc);
}

/* The response of this second; NULL without memory. */
static struct MHD_Response *make_response(const http_constant *constant, time_t at)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(
        strlen(constant->text), constant->text, MHD_RESPMEM_PERSISTENT);
    char date[DATE_TEXT];

    if (response == NULL)
        return NULL;
    format_date(at, date);
    (void)MHD_add_response_header(response, MHD_HTTP_HEADER_DATE, date);
    http_add_common_headers(response, constant->type);
    return response;
}

static struct made *made_here(const http_constant *constant)
{
    struct made *made = pthread_getspecific(constant->made);

    if (made != NULL)
        return made;
    made = calloc(1, sizeof *made);
    if (made != NULL && pthread_setspecific(constant->made, made) != 0) {
        free(made);
        made = NULL;
    }
    return made;
}

enum MHD_Result http_constant_send(const http_constant *constant, struct MHD_Connection *connection)
{
    struct made *made = made_here(constant);
    time_t now = time(NULL);

    if (made == NULL)
        return MHD_NO;
    if (made->response == NULL || made->at != now) {
        if (made->response != NULL)
            MHD_destroy_response(made->response);
        made->response = make_response(constant, now);
        made->at = now;
    }
    return made->response != NULL ? MHD_queue_response(connection, MHD_HTTP_OK, made->response)
                                  : MHD_NO;
}
