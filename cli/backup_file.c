#include "cli/backup_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/file.h"
#include "contract.h"

#define MAGIC_NAME "faas backup "
#define HEADER_MAX 4096

static const char magic[] = MAGIC_NAME "1\n"; /* BACKUP_VERSION */
#define MAGIC_LEN (sizeof magic - 1)

const char *const backup_files[] = {"keys/token-1.pem",
                                    "keys/tls-key.pem",
                                    "keys/tls.pem",
                                    "runtime.json",
                                    "keys/secrets.key",
                                    "keys/admin.password",
                                    NULL};
/* Each is read after the one before: a function's owner is there, and so are the revocation that
 * belongs to a new password and the secrets that a function names. */
const char *const backup_buckets[] = {FAAS_BUCKET_FUNCTIONS, FAAS_BUCKET_USERS,
                                      FAAS_BUCKET_REVOCATIONS, FAAS_BUCKET_SECRETS, NULL};

#define BUCKETS_LEAST 3 /* a release without secrets wrote no fourth */

static void hash_start(crypto_generichash_state *hash)
{
    (void)crypto_generichash_init(hash, NULL, 0, BACKUP_HASH);
}

/* ---- writing ---- */

static faas_code fail_write(const struct backup_out *out, int errnum, faas_err *err)
{
    char reason[128];

    return faas_fail(err, FAAS_UNAVAILABLE, "%s: cannot write the backup: %s",
                     out->path != NULL ? out->path : "standard output",
                     strerror_r(errnum, reason, sizeof reason));
}

static faas_code create_stdout(struct backup_out *out, faas_err *err)
{
    int fd;

    if (isatty(STDOUT_FILENO))
        return faas_fail(err, FAAS_INVALID,
                         "a backup holds keys and is not text: not written to a terminal");
    fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    out->to = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (out->to != NULL)
        return FAAS_OK;
    if (fd >= 0)
        close(fd);
    return fail_write(out, errno, err);
}

/* The name itself is replaced, never what a link of that name leads to. */
static faas_code create_file(const char *path, struct backup_out *out, faas_err *err)
{
    struct stat st;
    int fd;

    if (lstat(path, &st) == 0 && !S_ISREG(st.st_mode))
        return faas_fail(err, FAAS_INVALID, "%s: there is something that is not a plain file",
                         path);
    out->path = strdup(path);
    out->temporary = file_path("%s.XXXXXX", path);
    if (out->path == NULL || out->temporary == NULL)
        return faas_fail_sys(err, ENOMEM, "backup");
    fd = mkostemp(out->temporary, O_CLOEXEC); /* 0600 */
    out->to = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (out->to != NULL)
        return FAAS_OK;
    if (fd < 0) { /* nothing of ours to remove */
        free(out->temporary);
        out->temporary = NULL;
    } else {
        close(fd);
    }
    return fail_write(out, errno, err);
}

faas_code backup_create(const char *path, struct backup_out *out, faas_err *err)
{
    *out = (struct backup_out){.to = NULL};
    if (path[0] == '\0')
        return faas_fail(err, FAAS_INVALID, "backup needs a file name");
    return strcmp(path, "-") == 0 ? create_stdout(out, err) : create_file(path, out, err);
}

static faas_code put_bytes(struct backup_out *out, const void *data, size_t len, faas_err *err)
{
    if (len == 0)
        return FAAS_OK;
    if (fwrite(data, 1, len, out->to) != len)
        return fail_write(out, errno, err);
    (void)crypto_generichash_update(&out->hash, data, len);
    out->bytes += len;
    return FAAS_OK;
}

faas_code backup_begin(struct backup_out *out, faas_err *err)
{
    hash_start(&out->hash);
    return put_bytes(out, magic, MAGIC_LEN, err);
}

static void encode_head(enum backup_kind kind, size_t name_len, size_t len,
                        unsigned char out_head[BACKUP_HEAD])
{
    const unsigned char head[BACKUP_HEAD] = {
        (unsigned char)kind,
        0,
        (unsigned char)(name_len >> 8),
        (unsigned char)name_len,
        (unsigned char)(len >> 24),
        (unsigned char)(len >> 16),
        (unsigned char)(len >> 8),
        (unsigned char)len,
    };

    memcpy(out_head, head, sizeof head);
}

faas_code backup_put(struct backup_out *out, enum backup_kind kind, const char *name,
                     const void *value, size_t len, faas_err *err)
{
    unsigned char head[BACKUP_HEAD];
    size_t name_len = strlen(name);

    if (name_len > BACKUP_NAME_MAX || len > BACKUP_VALUE_MAX)
        return faas_fail(err, FAAS_TOO_LARGE, "%.80s is too large for a backup", name);
    encode_head(kind, name_len, len, head);
    FAAS_TRY(put_bytes(out, head, sizeof head, err));
    FAAS_TRY(put_bytes(out, name, name_len, err));
    return put_bytes(out, value, len, err);
}

static faas_code sync_folder(const char *path, faas_err *err)
{
    const char *slash = strrchr(path, '/');
    FAAS_AUTO(char) *folder = NULL;
    faas_code code = FAAS_OK;
    int fd;

    if (slash == NULL)
        folder = strdup(".");
    else
        folder = slash == path ? strdup("/") : file_path("%.*s", (int)(slash - path), path);
    if (folder == NULL)
        return faas_fail_sys(err, ENOMEM, "backup");
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0)
        code = file_fail(err, "write", folder, errno);
    if (fd >= 0)
        close(fd);
    return code;
}

static faas_code keep(struct backup_out *out, faas_err *err)
{
    if (fsync(fileno(out->to)) != 0 || rename(out->temporary, out->path) != 0)
        return fail_write(out, errno, err);
    free(out->temporary);
    out->temporary = NULL;
    return sync_folder(out->path, err);
}

faas_code backup_finish(struct backup_out *out, faas_err *err)
{
    unsigned char head[BACKUP_HEAD], hash[BACKUP_HASH];

    encode_head(BACKUP_END, 0, BACKUP_HASH, head);
    FAAS_TRY(put_bytes(out, head, sizeof head, err));
    (void)crypto_generichash_final(&out->hash, hash, sizeof hash);
    FAAS_TRY(put_bytes(out, hash, sizeof hash, err));
    if (fflush(out->to) != 0)
        return fail_write(out, errno, err);
    return out->path != NULL ? keep(out, err) : FAAS_OK;
}

void backup_out_done(struct backup_out *out)
{
    if (out->to != NULL)
        (void)fclose(out->to); /* what mattered was flushed */
    if (out->temporary != NULL)
        (void)unlink(out->temporary);
    free(out->temporary);
    free(out->path);
    *out = (struct backup_out){.to = NULL};
}

/* ---- reading ---- */

static faas_code refuse(const struct backup_in *in, const char *why, faas_err *err)
{
    return faas_fail(err, FAAS_INVALID, "%s: not restored: %s", in->path, why);
}

static faas_code take_bytes(struct backup_in *in, void *out, size_t len, faas_err *err)
{
    if (fread(out, 1, len, in->from) == len)
        return FAAS_OK;
    if (ferror(in->from))
        return file_fail(err, "read", in->path, errno);
    return refuse(in, "the file is cut off", err);
}

static faas_code take_hashed(struct backup_in *in, void *out, size_t len, faas_err *err)
{
    FAAS_TRY(take_bytes(in, out, len, err));
    (void)crypto_generichash_update(&in->hash, out, len);
    return FAAS_OK;
}

static faas_code take_magic(struct backup_in *in, faas_err *err)
{
    char text[MAGIC_LEN];

    hash_start(&in->hash);
    if (take_hashed(in, text, sizeof text, err) != FAAS_OK)
        return refuse(in, "it is no backup", err);
    if (memcmp(text, magic, MAGIC_LEN) == 0)
        return FAAS_OK;
    if (memcmp(text, MAGIC_NAME, sizeof MAGIC_NAME - 1) == 0)
        return refuse(in, "it is a backup of another version; this program reads version 1", err);
    return refuse(in, "it is no backup", err);
}

faas_code backup_read(FILE *take_from, const char *path, struct backup_in *in, faas_err *err)
{
    *in = (struct backup_in){.from = take_from, .path = path};
    in->value = malloc(BACKUP_VALUE_MAX + 1);
    if (in->value == NULL)
        return faas_fail_sys(err, errno, "read %s", path);
    return take_magic(in, err);
}

faas_code backup_rewind(struct backup_in *in, faas_err *err)
{
    rewind(in->from);
    in->last = BACKUP_NOTHING;
    in->buckets = in->files = 0;
    return take_magic(in, err);
}

faas_code backup_open(const char *path, struct backup_in *in, faas_err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe without a writer */
    struct stat st;
    FILE *from;

    *in = (struct backup_in){.from = NULL};
    if (fd < 0)
        return file_fail(err, "read", path, errno);
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return faas_fail(err, FAAS_INVALID, "%s: not a plain file", path);
    }
    from = fdopen(fd, "r");
    if (from == NULL) {
        close(fd);
        return faas_fail_sys(err, ENOMEM, "read %s", path);
    }
    return backup_read(from, path, in, err);
}

/* Which kinds may come before a kind; 0 stands for the beginning. */
static const struct {
    enum backup_kind kind;
    const char *after;
    size_t len_min, len_max;
    bool has_name;
} orders[] = {
    {BACKUP_HEADER, "", 2, HEADER_MAX, false},
    {BACKUP_FILE, "HF", 1, BACKUP_VALUE_MAX, true},
    {BACKUP_BUCKET, "HFBPUD", 0, 0, true},
    {BACKUP_ENTRY, "BP", 0, BACKUP_VALUE_MAX, true},
    {BACKUP_CHANGED, "BPUD", 0, BACKUP_VALUE_MAX, true},
    {BACKUP_DELETED, "BPUD", 0, 0, true},
    {BACKUP_IMAGE, "BPUDC", 2, BACKUP_VALUE_MAX, false},
    {BACKUP_BLOB, "IC", 0, 0, true},
    {BACKUP_DATA, "OC", 1, BACKUP_VALUE_MAX, false},
    {BACKUP_END, "BPUDC", BACKUP_HASH, BACKUP_HASH, false},
};

static bool may_follow(enum backup_kind last, const char *after)
{
    return last == BACKUP_NOTHING ? after[0] == '\0' : strchr(after, (char)last) != NULL;
}

static faas_code check_head(const struct backup_in *in, const struct backup_record *record,
                            size_t name_len, faas_err *err)
{
    for (size_t i = 0; i < FAAS_ARRAY_LEN(orders); i++) {
        if (orders[i].kind != record->kind)
            continue;
        if (!may_follow(in->last, orders[i].after))
            return refuse(in, "its parts are out of order", err);
        if ((name_len > 0) != orders[i].has_name || name_len > BACKUP_NAME_MAX ||
            record->len < orders[i].len_min || record->len > orders[i].len_max)
            return refuse(in, "a part of it has an impossible length", err);
        return FAAS_OK;
    }
    return refuse(in, "it has a part that is unknown", err);
}

static faas_code take_head(struct backup_in *in, struct backup_record *record, size_t *out_name_len,
                           faas_err *err)
{
    unsigned char head[BACKUP_HEAD];

    FAAS_TRY(take_hashed(in, head, sizeof head, err));
    record->kind = (enum backup_kind)head[0];
    *out_name_len = (size_t)head[2] << 8 | head[3];
    record->len = (size_t)head[4] << 24 | (size_t)head[5] << 16 | (size_t)head[6] << 8 | head[7];
    if (head[1] != 0)
        return refuse(in, "it has a part that is unknown", err);
    return check_head(in, record, *out_name_len, err);
}

/* As net/kv.h has them. */
static bool is_key(const char *key)
{
    size_t len = strlen(key);

    return key[0] != '.' && key[len - 1] != '.' && strstr(key, "..") == NULL &&
           key[strspn(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                           "-/_=.")] == '\0';
}

static bool is_blob(const char *name)
{
    static const char folder[] = "blobs/sha256/";
    const char *hash = name + sizeof folder - 1;

    if (strcmp(name, "oci-layout") == 0 || strcmp(name, "index.json") == 0)
        return true;
    return strncmp(name, folder, sizeof folder - 1) == 0 && strlen(hash) == 64 &&
           strspn(hash, "0123456789abcdef") == 64;
}

/* Each name at most once, in the order of the table. */
static bool is_next(const char *const *names, const char *name, size_t *at)
{
    for (size_t i = *at; names[i] != NULL; i++) {
        if (strcmp(names[i], name) == 0) {
            *at = i + 1;
            return true;
        }
    }
    return false;
}

static bool is_name(struct backup_in *in, const struct backup_record *record)
{
    switch (record->kind) {
    case BACKUP_FILE:
        return is_next(backup_files, record->name, &in->files);
    case BACKUP_BUCKET: /* none is left out */
        return backup_buckets[in->buckets] != NULL &&
               strcmp(backup_buckets[in->buckets++], record->name) == 0;
    case BACKUP_ENTRY:
    case BACKUP_CHANGED:
    case BACKUP_DELETED:
        return is_key(record->name);
    case BACKUP_BLOB:
        return is_blob(record->name);
    default:
        return true;
    }
}

static faas_code take_end(struct backup_in *in, faas_err *err)
{
    unsigned char hash[BACKUP_HASH], said[BACKUP_HASH];

    (void)crypto_generichash_final(&in->hash, hash, sizeof hash);
    FAAS_TRY(take_bytes(in, said, sizeof said, err));
    if (memcmp(hash, said, sizeof hash) != 0)
        return refuse(in, "the file is damaged (its checksum is another)", err);
    if (fgetc(in->from) != EOF)
        return refuse(in, "something follows its end", err);
    if (in->buckets < BUCKETS_LEAST)
        return refuse(in, "a part of it is missing", err);
    return FAAS_OK;
}

faas_code backup_next(struct backup_in *in, struct backup_record *out_record, faas_err *err)
{
    size_t name_len;

    FAAS_TRY(take_head(in, out_record, &name_len, err));
    out_record->value = NULL;
    if (out_record->kind == BACKUP_END) {
        out_record->name[0] = '\0';
        FAAS_TRY(take_end(in, err));
    } else {
        FAAS_TRY(take_hashed(in, out_record->name, name_len, err));
        out_record->name[name_len] = '\0';
        if (strlen(out_record->name) != name_len || !is_name(in, out_record))
            return refuse(in, "it names something that does not belong into a backup", err);
        FAAS_TRY(take_hashed(in, in->value, out_record->len, err));
        in->value[out_record->len] = '\0';
        out_record->value = in->value;
    }
    in->last = out_record->kind;
    return FAAS_OK;
}

void backup_in_done(struct backup_in *in)
{
    if (in->from != NULL)
        (void)fclose(in->from);
    if (in->value != NULL)
        sodium_memzero(in->value, BACKUP_VALUE_MAX);
    free(in->value);
    *in = (struct backup_in){.from = NULL};
}
