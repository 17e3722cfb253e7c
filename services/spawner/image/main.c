/* main.c - `faas-image`: the short-lived process that reads what strangers packed.
 * Verbs     decompress  gzip or zstd on descriptor 0 -> its contents on 1
 *           unpack      a tar on 0 -> files in the folder 3; whiteouts are plain files
 *           layer       the same for a layer: whiteouts count; its tarsplit.h record -> 1
 *           assemble    such a record on 0, and the layer's folder 3 -> its tar on 1
 *           pack        the folder 3 -> a tar on 1
 * Then      max. bytes, entries, depth and length of names, in decimal digits.
 * Report    descriptor 4: "O<folder>\0" for each folder that hides lower ones, at the end
 *           "R<JSON>\0": entries, bytes, left_out, or error and code.
 * Source    the other side is child.c.
 */
#include <errno.h>
#include <inttypes.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "confine.h"
#include "decompress.h"
#include "fetch.h"
#include "pack.h"
#include "tarsplit.h"
#include "unpack.h"

enum { IN_FD = 0, OUT_FD = 1, ROOT_FD = 3, REPORT_FD = 4 };
#define REPORT_MAX (16 * 1024 * 1024)

struct work {
    const char *verb;
    int64_t bytes, entries;
    struct entry_bounds names;
    int64_t reported; /* bytes of the report so far */
    struct fetch fetch;
};

static faas_code report(struct work *work, char kind, const char *text, faas_err *err)
{
    size_t len = strlen(text) + 1;

    work->reported += (int64_t)len + 1;
    if (work->reported > REPORT_MAX)
        return faas_fail(err, FAAS_TOO_LARGE, "more opaque folders than can be kept");
    if (write(REPORT_FD, &kind, 1) != 1 || write(REPORT_FD, text, len) != (ssize_t)len)
        return faas_fail_sys(err, errno, "report");
    return FAAS_OK;
}

static faas_code note_opaque(void *arg, const char *folder, faas_err *err)
{
    return report(arg, 'O', folder, err);
}

static faas_code unpack(struct work *work, struct unpack_result *out_result, faas_err *err)
{
    struct unpack_conf conf = {
        .in = IN_FD,
        .root = ROOT_FD,
        .is_layer = strcmp(work->verb, "layer") == 0,
        .record = strcmp(work->verb, "layer") == 0 ? OUT_FD : -1,
        .bytes = work->bytes,
        .entries = work->entries,
        .names = work->names,
        .opaque = note_opaque,
        .arg = work,
    };
    const struct confine confine = {.root = ROOT_FD,
                                    .work = CONFINE_WRITER,
                                    .file_bytes = work->bytes,
                                    .out_has_owners = &conf.keeps_owner};

    FAAS_TRY(confine_self(&confine, err));
    return unpack_stream(&conf, out_result, err);
}

/* A tar is longer than what it holds: headers, and contents filled up to blocks. */
static int64_t stream_bytes(const struct work *work)
{
    return work->bytes + work->entries * 4096 + 1024 * 1024;
}

static faas_code decompress(struct work *work, struct unpack_result *out_result, faas_err *err)
{
    bool has_owners;
    const struct confine confine = {
        .root = ROOT_FD, .file_bytes = REPORT_MAX, .out_has_owners = &has_owners};

    FAAS_TRY(confine_self(&confine, err));
    return decompress_stream(IN_FD, OUT_FD, stream_bytes(work), &out_result->bytes, err);
}

static faas_code assemble(struct work *work, struct unpack_result *out_result, faas_err *err)
{
    bool has_owners;
    const struct confine confine = {.root = ROOT_FD,
                                    .work = CONFINE_READER,
                                    .file_bytes = stream_bytes(work),
                                    .out_has_owners = &has_owners};

    FAAS_TRY(confine_self(&confine, err));
    return tarsplit_assemble(IN_FD, ROOT_FD, OUT_FD, stream_bytes(work), &out_result->bytes, err);
}

static faas_code run(struct work *work, struct unpack_result *out_result, faas_err *err)
{
    if (strcmp(work->verb, "decompress") == 0)
        return decompress(work, out_result, err);
    if (strcmp(work->verb, "assemble") == 0)
        return assemble(work, out_result, err);
    if (work->fetch.image != NULL)
        return fetch_become(&work->fetch, err);
    if (strcmp(work->verb, "pack") == 0) {
        const struct pack_conf conf = {.root = ROOT_FD,
                                       .out = OUT_FD,
                                       .bytes = work->bytes,
                                       .entries = work->entries,
                                       .names = work->names};

        return pack_folder(&conf, &out_result->entries, err);
    }
    return unpack(work, out_result, err);
}

static enum fetch_work work_of(const char *verb)
{
    if (strcmp(verb, "push") == 0)
        return FETCH_PUSH;
    return strcmp(verb, "digest") == 0 ? FETCH_DIGEST : FETCH_COPY;
}

static bool parse_fetch(char **argv, struct work *out_work)
{
    char *end;

    out_work->verb = argv[1];
    out_work->fetch = (struct fetch){.image = argv[5],
                                     .file_bytes = strtoimax(argv[4], &end, 10),
                                     .folder = ROOT_FD,
                                     .out = OUT_FD,
                                     .has_login = strcmp(argv[2], "login") == 0,
                                     .is_plain_http = strcmp(argv[3], "http") == 0,
                                     .work = work_of(argv[1])};
    return *end == '\0' && out_work->fetch.file_bytes > 0;
}

static bool parse(int argc, char **argv, struct work *out_work)
{
    int64_t *const targets[] = {&out_work->bytes, &out_work->entries, &out_work->names.depth,
                                &out_work->names.bytes};

    if (argc != 6)
        return false;
    if (strcmp(argv[1], "fetch") == 0 || strcmp(argv[1], "digest") == 0 ||
        strcmp(argv[1], "push") == 0)
        return parse_fetch(argv, out_work);
    out_work->verb = argv[1];
    for (size_t i = 0; i < FAAS_ARRAY_LEN(targets); i++) {
        char *end;

        errno = 0;
        *targets[i] = strtoimax(argv[2 + i], &end, 10);
        if (errno != 0 || *end != '\0' || *targets[i] < 0)
            return false;
    }
    return strcmp(out_work->verb, "decompress") == 0 || strcmp(out_work->verb, "pack") == 0 ||
           strcmp(out_work->verb, "unpack") == 0 || strcmp(out_work->verb, "layer") == 0 ||
           strcmp(out_work->verb, "assemble") == 0;
}

/* Ends without the C library's farewells: some of them look for files. */
int main(int argc, char **argv)
{
    struct work work = {.verb = NULL};
    struct unpack_result result = {.entries = 0};
    FAAS_AUTO(char) *text = NULL;
    FAAS_AUTO(json_t) *doc = NULL;
    faas_err err = {0};
    faas_code code;

    if (!parse(argc, argv, &work)) {
        fprintf(stderr, "faas-image is started by faas and faas-spawner\n");
        _exit(2);
    }
    setlocale(LC_CTYPE, "C.UTF-8"); /* names are UTF-8: nothing to convert */
    code = run(&work, &result, &err);
    if (code == FAAS_OK)
        doc = json_pack("{s:I,s:I,s:I}", "entries", (json_int_t)result.entries, "bytes",
                        (json_int_t)result.bytes, "left_out", (json_int_t)result.left_out);
    else
        doc = json_pack("{s:s,s:s,s:s}", "error", err.msg, "code", faas_code_slug(code), "detail",
                        err.detail);
    text = faas_json_text(doc, NULL);
    if (text == NULL || report(&work, 'R', text, &err) != FAAS_OK)
        _exit(1);
    _exit(code == FAAS_OK ? 0 : 1);
}
