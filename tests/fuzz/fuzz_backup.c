/* The input is what lies between a backup's first line and its checksum, which is put right here: a
 * forger can do so, too.  Whatever it is, it is refused as INVALID with a message, or every name in
 * it is one that may be written and all of it, written again, gives the same bytes. */
#include <unistd.h>

#include "cli/backup_file.h"
#include "tests/fuzz/claim.h"

#define INPUT_MAX 65536

static const char magic[] = "faas backup 1\n";
#define MAGIC_LEN (sizeof magic - 1)

static unsigned char file[MAGIC_LEN + INPUT_MAX + BACKUP_HEAD + BACKUP_HASH];

static size_t build(const uint8_t *data, size_t size)
{
    static const unsigned char end[BACKUP_HEAD] = {'E', 0, 0, 0, 0, 0, 0, BACKUP_HASH};
    size_t len = MAGIC_LEN + size + sizeof end;

    memcpy(file, magic, MAGIC_LEN);
    memcpy(file + MAGIC_LEN, data, size);
    memcpy(file + MAGIC_LEN + size, end, sizeof end);
    CLAIM(crypto_generichash(file + len, BACKUP_HASH, file, len, NULL, 0) == 0);
    return len + BACKUP_HASH;
}

static bool is_listed(const char *const *names, const char *name)
{
    while (*names != NULL && strcmp(*names, name) != 0)
        names++;
    return *names != NULL;
}

static void claim_name(const struct backup_record *record)
{
    CLAIM(strstr(record->name, "..") == NULL && strpbrk(record->name, "*> \r\n") == NULL);
    if (record->kind == BACKUP_FILE)
        CLAIM(is_listed(backup_files, record->name));
    if (record->kind == BACKUP_BUCKET)
        CLAIM(is_listed(backup_buckets, record->name));
    if (record->kind == BACKUP_BLOB)
        CLAIM(strchr(record->name, '/') == NULL ||
              (strlen(record->name) == 77 && memcmp(record->name, "blobs/sha256/", 13) == 0));
    CLAIM(record->len <= BACKUP_VALUE_MAX);
    CLAIM(record->kind == BACKUP_END || ((const char *)record->value)[record->len] == '\0');
}

/* Into *out, which is a stream in memory. */
static faas_code copy(struct backup_in *in, struct backup_out *out, faas_err *err)
{
    struct backup_record record;

    for (;;) {
        FAAS_TRY(backup_next(in, &record, err));
        claim_name(&record);
        if (record.kind == BACKUP_END)
            return FAAS_OK;
        CLAIM(backup_put(out, record.kind, record.name, record.value, record.len, err) == FAAS_OK);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct backup_out out = {.to = NULL};
    struct backup_in in;
    faas_err err = {0};
    char *again = NULL;
    size_t len, again_len = 0;
    faas_code rc;

    if (size > INPUT_MAX)
        return 0;
    len = build(data, size);
    out.to = open_memstream(&again, &again_len);
    CLAIM(out.to != NULL && backup_begin(&out, &err) == FAAS_OK);
    CLAIM(backup_read(fmemopen(file, len, "r"), "F", &in, &err) == FAAS_OK);
    rc = copy(&in, &out, &err);
    claim_outcome(rc, FAAS_INVALID, &err);
    if (rc == FAAS_OK) {
        CLAIM(fflush(out.to) == 0);
        CLAIM(again_len + BACKUP_HEAD + BACKUP_HASH == len);
        CLAIM(memcmp(again, file, again_len) == 0);
    }
    backup_in_done(&in);
    backup_out_done(&out);
    free(again);
    return 0;
}
