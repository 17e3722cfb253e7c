/* The backup's file: what is written is read again, and nothing else is. */
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/backup_file.h"
#include "cli/file.h"

#define LEN_AT 4 /* of the value's length in a record's head */

static char folder[] = "/tmp/faas-backup-test.XXXXXX";
static char *path;

static const struct part {
    enum backup_kind kind;
    const char *name, *value;
} whole[] = {
    {BACKUP_HEADER, "", "{\"v\":1}"},
    {BACKUP_FILE, "keys/token-1.pem", "a key"},
    {BACKUP_BUCKET, "functions", ""},
    {BACKUP_ENTRY, "f.1.2", "{\"op\":\"a\"}"},
    {BACKUP_ENTRY, "v.1.2.1", ""},
    {BACKUP_CHANGED, "f.1.2", "{\"op\":\"b\"}"},
    {BACKUP_DELETED, "f.1.2", ""},
    {BACKUP_BUCKET, "users", ""},
    {BACKUP_BUCKET, "revocations", ""},
    {BACKUP_ENTRY, "keys", "{}"},
    {BACKUP_IMAGE, "", "[\"one:1\"]"},
    {BACKUP_BLOB, "oci-layout", ""},
    {BACKUP_DATA, "", "{}"},
    {BACKUP_DATA, "", "more"},
    {BACKUP_BLOB, "blobs/sha256/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
     ""},
    {BACKUP_DATA, "", "bytes"},
};
#define WHOLE FAAS_ARRAY_LEN(whole)

static int set_up(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL)
        return -1;
    path = file_path("%s/one.bak", folder);
    return path != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(path);
    free(path);
    return rmdir(folder); /* fails when anything was left behind */
}

static void write_parts(const struct part *parts, size_t count)
{
    struct backup_out out;
    faas_err err = {0};

    assert_ok(backup_create(path, &out, &err));
    assert_ok(backup_begin(&out, &err));
    for (size_t i = 0; i < count; i++)
        assert_ok(backup_put(&out, parts[i].kind, parts[i].name, parts[i].value,
                             strlen(parts[i].value), &err));
    assert_ok(backup_finish(&out, &err));
    backup_out_done(&out);
}

/* To the end, or to what is wrong. */
static faas_code read_stream(FILE *from, size_t *out_count, faas_err *err)
{
    struct backup_record record = {.kind = BACKUP_NOTHING};
    struct backup_in in;
    faas_code code = backup_read(from, "F", &in, err);

    for (*out_count = 0; code == FAAS_OK && record.kind != BACKUP_END; ++*out_count)
        code = backup_next(&in, &record, err);
    backup_in_done(&in);
    return code;
}

static void assert_refused(const char *data, size_t len, const char *why)
{
    FILE *from = fmemopen((void *)(uintptr_t)data, len, "r");
    faas_err err = {0};
    size_t count;

    assert_non_null(from);
    assert_int_equal(read_stream(from, &count, &err), FAAS_INVALID);
    if (strstr(err.msg, why) == NULL)
        fail_msg("%s, not: %s", err.msg, why);
}

static char *load(size_t *out_len)
{
    faas_err err = {0};
    char *text;

    assert_ok(file_read(path, &text, out_len, &err));
    return text;
}

static void refuses(const struct part *parts, size_t count, const char *why)
{
    FAAS_AUTO(char) *text = NULL;
    size_t len;

    write_parts(parts, count);
    text = load(&len);
    assert_refused(text, len, why);
}

/* ---- reading ---- */

static void what_was_written_is_read(void **state)
{
    struct backup_record record;
    struct backup_in in;
    faas_err err = {0};

    (void)state;
    write_parts(whole, WHOLE);
    assert_ok(backup_open(path, &in, &err));
    for (int turn = 0; turn < 2; turn++) {
        for (size_t i = 0; i < WHOLE; i++) {
            assert_ok(backup_next(&in, &record, &err));
            assert_int_equal(record.kind, whole[i].kind);
            assert_string_equal(record.name, whole[i].name);
            assert_int_equal(record.len, strlen(whole[i].value));
            assert_memory_equal(record.value, whole[i].value, record.len);
        }
        assert_ok(backup_next(&in, &record, &err));
        assert_int_equal(record.kind, BACKUP_END);
        assert_ok(backup_rewind(&in, &err));
    }
    backup_in_done(&in);
}

static void a_file_cut_off_anywhere_is_refused(void **state)
{
    FAAS_AUTO(char) *text = NULL;
    size_t len;

    (void)state;
    write_parts(whole, WHOLE);
    text = load(&len);
    for (size_t cut = 1; cut < len; cut++)
        assert_refused(text, cut, cut < 14 ? "it is no backup" : "the file is cut off");
}

static void a_flipped_bit_anywhere_is_refused(void **state)
{
    FAAS_AUTO(char) *text = NULL;
    size_t len;

    (void)state;
    write_parts(whole, WHOLE);
    text = load(&len);
    for (size_t i = 0; i < len * 8; i++) {
        text[i / 8] ^= (char)(1 << i % 8);
        assert_refused(text, len, "F: not restored: ");
        text[i / 8] ^= (char)(1 << i % 8);
    }
}

static void a_value_that_is_another_is_told_by_the_checksum(void **state)
{
    FAAS_AUTO(char) *text = NULL;
    char *at;
    size_t len;

    (void)state;
    write_parts(whole, WHOLE);
    text = load(&len);
    at = memmem(text, len, "a key", 5);
    assert_non_null(at);
    at[0] = 'b';
    assert_refused(text, len, "the file is damaged");
}

static void another_version_is_refused_as_such(void **state)
{
    (void)state;
    assert_refused("faas backup 2\nwhatever", 22, "reads version 1");
    assert_refused("faas backup 12\nmore", 19, "reads version 1");
    assert_refused("#!/bin/sh\nexit 1\n", 17, "it is no backup");
}

static void a_length_beyond_the_limit_is_refused_before_it_is_read(void **state)
{
    static const char text[] = "faas backup 1\nH\0\0\0\xff\xff\xff\xff{}";
    static const char name[] = "faas backup 1\nH\0\0\0\0\0\0\2{}F\0\xff\xff\0\0\0\1";

    (void)state;
    assert_refused(text, sizeof text - 1, "impossible length");
    assert_refused(name, sizeof name - 1, "impossible length");
}

static void names_that_lead_elsewhere_are_refused(void **state)
{
    static const struct part files[] = {{BACKUP_HEADER, "", "{}"},
                                        {BACKUP_FILE, "../../etc/cron.d/x", "x"}};
    static const struct part twice[] = {{BACKUP_HEADER, "", "{}"},
                                        {BACKUP_FILE, "keys/token-1.pem", "x"},
                                        {BACKUP_FILE, "keys/token-1.pem", "y"}};
    static const struct part bucket[] = {{BACKUP_HEADER, "", "{}"}, {BACKUP_BUCKET, "other", ""}};
    struct part parts[WHOLE];

    (void)state;
    refuses(files, FAAS_ARRAY_LEN(files), "does not belong into a backup");
    refuses(twice, FAAS_ARRAY_LEN(twice), "does not belong into a backup");
    refuses(bucket, FAAS_ARRAY_LEN(bucket), "does not belong into a backup");
    memcpy(parts, whole, sizeof whole);
    parts[3].name = "f.*.>";
    refuses(parts, WHOLE, "does not belong into a backup");
    memcpy(parts, whole, sizeof whole);
    parts[14].name = "blobs/sha256/../../../keys/nats-auth.seed";
    refuses(parts, WHOLE, "does not belong into a backup");
}

static void parts_out_of_order_or_missing_are_refused(void **state)
{
    static const struct part headless[] = {{BACKUP_BUCKET, "functions", ""}};
    static const struct part late[] = {{BACKUP_HEADER, "", "{}"},
                                       {BACKUP_BUCKET, "functions", ""},
                                       {BACKUP_CHANGED, "f.1.2", "{}"},
                                       {BACKUP_ENTRY, "f.1.3", "{}"}};
    static const struct part strange[] = {{BACKUP_HEADER, "", "{}"},
                                          {(enum backup_kind)'X', "", ""}};

    (void)state;
    refuses(headless, FAAS_ARRAY_LEN(headless), "out of order");
    refuses(late, FAAS_ARRAY_LEN(late), "out of order");
    refuses(strange, FAAS_ARRAY_LEN(strange), "unknown");
    refuses(whole, 7, "a part of it is missing");
}

static void what_follows_the_end_is_refused(void **state)
{
    FAAS_AUTO(char) *text = NULL;
    size_t len;

    (void)state;
    write_parts(whole, WHOLE);
    text = load(&len); /* its NUL is the byte too many */
    assert_refused(text, len + 1, "something follows its end");
}

/* ---- writing ---- */

static void a_backup_takes_its_name_when_it_is_complete(void **state)
{
    struct backup_out out;
    struct stat before, after;
    faas_err err = {0};

    (void)state;
    write_parts(whole, WHOLE);
    assert_int_equal(stat(path, &before), 0);
    assert_int_equal(before.st_mode & 07777, 0600);
    assert_ok(backup_create(path, &out, &err));
    assert_ok(backup_begin(&out, &err));
    assert_ok(backup_put(&out, BACKUP_HEADER, "", "{}", 2, &err));
    backup_out_done(&out); /* given up: tear_down finds nothing but the file before */
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(after.st_ino, before.st_ino);
    assert_int_equal(after.st_size, before.st_size);
}

static void links_and_devices_are_not_written_through(void **state)
{
    FAAS_AUTO(char) *link = file_path("%s/link", folder);
    struct backup_out out;
    faas_err err = {0};

    (void)state;
    assert_int_equal(symlink(path, link), 0);
    assert_int_equal(backup_create(link, &out, &err), FAAS_INVALID);
    assert_non_null(strstr(err.msg, "not a plain file"));
    backup_out_done(&out);
    assert_int_equal(backup_create("/dev/full", &out, &err), FAAS_INVALID);
    backup_out_done(&out);
    unlink(link);
}

static void pipes_and_folders_are_not_read(void **state)
{
    FAAS_AUTO(char) *fifo = file_path("%s/fifo", folder);
    struct backup_in in;
    faas_err err = {0};

    (void)state;
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_int_equal(backup_open(fifo, &in, &err), FAAS_INVALID);
    backup_in_done(&in);
    assert_int_equal(backup_open(folder, &in, &err), FAAS_INVALID);
    backup_in_done(&in);
    unlink(fifo);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_is_read),
        cmocka_unit_test(a_file_cut_off_anywhere_is_refused),
        cmocka_unit_test(a_flipped_bit_anywhere_is_refused),
        cmocka_unit_test(a_value_that_is_another_is_told_by_the_checksum),
        cmocka_unit_test(another_version_is_refused_as_such),
        cmocka_unit_test(a_length_beyond_the_limit_is_refused_before_it_is_read),
        cmocka_unit_test(names_that_lead_elsewhere_are_refused),
        cmocka_unit_test(parts_out_of_order_or_missing_are_refused),
        cmocka_unit_test(what_follows_the_end_is_refused),
        cmocka_unit_test(a_backup_takes_its_name_when_it_is_complete),
        cmocka_unit_test(links_and_devices_are_not_written_through),
        cmocka_unit_test(pipes_and_folders_are_not_read),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
