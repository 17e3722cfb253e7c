/* secret.c - set, list, remove: secrets of functions.  A value comes from standard input, a file or
 * the terminal; never from an argument, and nothing here can show one. */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <unistd.h>

#include "cli/client.h"
#include "cli/file.h"
#include "cli/output.h"
#include "cli/prompt.h"
#include "contract.h"

#define TYPED_MAX 4000 /* bytes; a terminal's line ends before 4096 */

static const char *from_file;

const struct cli_option cli_secret_options[] = {
    {"from-file", CLI_TEXT, &from_file, "FILE", "the value is what FILE holds, byte for byte", 0, 0,
     NULL},
    CLI_OPTION_END,
};

struct value { /* wiped with value_done() */
    char bytes[FAAS_SECRET_MAX + 1];
    size_t len;
};

/* ---- where it comes from ---- */

static faas_code read_all(int fd, const char *name, struct value *value, faas_err *err)
{
    while (value->len < sizeof value->bytes) {
        ssize_t got = read(fd, value->bytes + value->len, sizeof value->bytes - value->len);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return file_fail(err, "read", name, errno);
        if (got == 0)
            return FAAS_OK;
        value->len += (size_t)got;
    }
    return faas_fail(err, FAAS_INVALID, "%s: a secret is at most %d bytes", name, FAAS_SECRET_MAX);
}

static faas_code read_value(struct value *value, faas_err *err)
{
    const struct prompt prompt = {.what = "value",
                                  .question = "Value of the secret",
                                  .instead = "use --from-file or standard input",
                                  .max = TYPED_MAX};
    faas_code code;
    int fd;

    if (from_file == NULL && isatty(STDIN_FILENO)) {
        FAAS_TRY(prompt_terminal(&prompt, value->bytes, err));
        value->len = strlen(value->bytes);
        return FAAS_OK;
    }
    if (from_file == NULL)
        return read_all(STDIN_FILENO, "standard input", value, err);
    fd = open(from_file, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return file_fail(err, "open", from_file, errno);
    code = read_all(fd, from_file, value, err);
    close(fd);
    return code;
}

static faas_code make_body(const struct value *value, json_t **out_doc, faas_err *err)
{
    size_t room = sodium_base64_ENCODED_LEN(value->len, sodium_base64_VARIANT_ORIGINAL);
    char *text = malloc(room);

    if (text == NULL)
        return faas_fail(err, FAAS_INTERNAL, "out of memory");
    (void)sodium_bin2base64(text, room, (const unsigned char *)value->bytes, value->len,
                            sodium_base64_VARIANT_ORIGINAL);
    *out_doc = json_pack("{s:s}", "value_base64", text);
    sodium_memzero(text, room);
    free(text);
    return *out_doc != NULL ? FAAS_OK : faas_fail(err, FAAS_INTERNAL, "out of memory");
}

/* ---- set ---- */

static faas_code set(const struct cli_args *args, struct client_answer *answer, json_t **out_record,
                     faas_err *err)
{
    FAAS_AUTO(cli_client) *client = NULL;
    FAAS_AUTO(json_t) *doc = NULL;
    FAAS_AUTO(char) *path = client_path("/v1/secrets/", args->rest.items[0]);
    struct client_request request = {.method = "PUT", .path = path};
    static struct value value;
    faas_code code;

    if (path == NULL)
        return faas_fail(err, FAAS_INTERNAL, "out of memory");
    FAAS_TRY(client_open(&args->common, &client, err));
    FAAS_TRY(client_require_login(client, err)); /* before anybody types a value in vain */
    code = read_value(&value, err);
    if (code == FAAS_OK)
        code = make_body(&value, &doc, err);
    sodium_memzero(&value, sizeof value);
    if (code == FAAS_OK)
        code = client_exchange(client, &request, doc, answer, out_record, err);
    faas_json_wipe(doc);
    return code;
}

int cli_secret_set(const struct cli_args *args)
{
    FAAS_AUTO(json_t) *record = NULL;
    struct client_answer answer = {0};
    faas_err err = {0};
    int status = CLI_OK;

    if (set(args, &answer, &record, &err) != FAAS_OK)
        status = client_report(&err, &answer, &args->common);
    else if (args->common.is_json)
        output_json(record, stdout);
    else
        output_say("%s %s, %" JSON_INTEGER_FORMAT " bytes",
                   json_is_true(json_object_get(record, "replaced")) ? "replaced" : "set",
                   args->rest.items[0], json_integer_value(json_object_get(record, "size")));
    client_answer_done(&answer);
    return status;
}

/* ---- list ---- */

static faas_code fetch(cli_client *client, json_t *items, struct client_answer *answer,
                       faas_err *err)
{
    return client_items(client, "/v1/secrets", items, answer, err);
}

static void add_row(output_table *table, const json_t *item)
{
    output_table_add(table, json_string_value(json_object_get(item, "name")));
    output_table_addf(table, "%" JSON_INTEGER_FORMAT,
                      json_integer_value(json_object_get(item, "size")));
    output_table_add(table, json_string_value(json_object_get(item, "created_at")));
    output_table_add(table, json_string_value(json_object_get(item, "updated_at")));
}

static faas_code print(const json_t *items, faas_err *err)
{
    static const struct output_column columns[] = {{"NAME", true, false},
                                                   {"BYTES", false, true},
                                                   {"CREATED", false, false},
                                                   {"UPDATED", false, false}};

    return output_items(columns, FAAS_ARRAY_LEN(columns), items, add_row, err);
}

int cli_secret_list(const struct cli_args *args)
{
    return client_list(args, fetch, print, "no secrets yet; faas secret set NAME makes one");
}

/* ---- remove ---- */

int cli_secret_remove(const struct cli_args *args)
{
    return client_remove(args, "/v1/secrets/");
}
