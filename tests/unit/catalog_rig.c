#include "tests/unit/catalog_rig.h"

#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

char rig_dir[] = "/tmp/faas-catalog-XXXXXX";

int rig_make_dir(void **state)
{
    (void)state;
    memcpy(rig_dir + sizeof rig_dir - 7, "XXXXXX", 6);
    return mkdtemp(rig_dir) == NULL;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

int rig_remove_dir(void **state)
{
    (void)state;
    return nftw(rig_dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

catalog *rig_open(const char *instance, uint64_t bucket_last)
{
    const struct catalog_conf conf = {
        .dir = rig_dir, .instance = instance, .bucket_last = bucket_last};
    catalog *cat = NULL;
    faas_err err = {0};

    if (catalog_open(&conf, &cat, &err) != FAAS_OK)
        fail_msg("open: %s (%s)", err.msg, err.detail);
    return cat;
}

void rig_apply(catalog *cat, const char *key, const char *value)
{
    const struct catalog_change change = {
        .key = key,
        .is_delete = value == NULL,
        .value = value,
        .len = value == NULL ? 0 : strlen(value),
    };
    faas_err err = {0};

    if (catalog_apply(cat, &change, &err) != FAAS_OK)
        fail_msg("apply %s: %s (%s)", key, err.msg, err.detail);
}

void rig_commit(catalog *cat, uint64_t seq)
{
    faas_err err = {0};

    if (catalog_commit(cat, seq, &err) != FAAS_OK)
        fail_msg("commit: %s", err.detail);
}

void rig_record(char *out, size_t size, const char *name, int version, const char *about)
{
    snprintf(out, size,
             "{\"v\":1,\"op\":\"x\",\"id\":\"" FUNC "\",\"uuid\":\"" ANN "\",\"name\":\"%s\","
             "\"payload\":\"u\",\"description\":\"%s\",\"digest\":{\"kind\":\"k\",\"value\":\"v\"},"
             "\"command\":[],\"version\":%d,\"created_at\":1,\"updated_at\":2}",
             name, about, version);
}

void rig_put(catalog *cat, const char *tenant, const char *name, const char *about)
{
    char key[100], value[600];

    snprintf(key, sizeof key, "f.%s.hash-of-%s", tenant, name);
    rig_record(value, sizeof value, name, 1, about);
    rig_apply(cat, key, value);
}

/* The names of a page, joined by spaces; '+' at its end: there is more. */
void rig_page_is(catalog *cat, const struct catalog_query *query, const char *want)
{
    FAAS_AUTO(json_t) *items = NULL;
    char got[2000] = "";
    bool has_more;
    faas_err err = {0};

    if (catalog_page(cat, query, &items, &has_more, &err) != FAAS_OK)
        fail_msg("page: %s (%s)", err.msg, err.detail);
    for (size_t i = 0; i < json_array_size(items); i++) {
        size_t len = strlen(got);

        snprintf(got + len, sizeof got - len, "%s%s", i > 0 ? " " : "",
                 json_string_value(json_object_get(json_array_get(items, i), "name")));
    }
    if (has_more)
        snprintf(got + strlen(got), sizeof got - strlen(got), "+");
    assert_string_equal(got, want);
}

struct catalog_query rig_all_of(const char *tenant)
{
    return (struct catalog_query){
        .tenant = tenant, .after = "", .part = "", .limit = 100, .bytes_max = 1 << 20};
}
