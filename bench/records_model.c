/* records_model.c - the registry's read model of calls with many of them: filling, finding, paging.
 * Output    records a second and bytes of a record while filling; p50 and p99 of finding one by its
 *           id, of a page of 50 from any place, of a page by function and status, of a page of 200,
 *           each of a user who has a tenth of all.
 * Usage     records_model DIR [calls, 1000000]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/id.h"
#include "services/registry/records.h"

#define TENANTS   10
#define FUNCTIONS 20
#define LINES     64
#define LOOKS     2000
#define EVERY_MS  10 /* between two calls */

static const char *const statuses[] = {"succeeded", "succeeded", "succeeded", "failed", "refused"};
static records *recs;
static int64_t begun_ms, total;
static double took_us[LOOKS];
static unsigned seed = 1;

static void die(const char *what, const char *why)
{
    fprintf(stderr, "records_model: %s: %s\n", what, why);
    exit(1);
}

static double now_us(void)
{
    return (double)faas_now_ns() / 1e3;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static void must(faas_code code, const faas_err *err)
{
    if (code != FAAS_OK)
        die(err->msg, err->detail);
}

static void id_of(int64_t n, char out_id[FAAS_UUID_TEXT])
{
    uint8_t bytes[16] = {0};
    int64_t ms = begun_ms + n * EVERY_MS;

    for (int i = 0; i < 6; i++)
        bytes[i] = (uint8_t)(ms >> (40 - 8 * i));
    bytes[6] = 0x70;
    bytes[8] = 0x80;
    for (int i = 0; i < 4; i++)
        bytes[12 + i] = (uint8_t)(n >> (24 - 8 * i));
    faas_uuid_from_bytes(bytes, out_id);
}

static void tenant_of(int64_t n, char out_id[FAAS_UUID_TEXT])
{
    (void)snprintf(out_id, FAAS_UUID_TEXT, "0190a000-0000-7000-8000-%012lld",
                   (long long)(n % TENANTS));
}

/* As a publisher writes it. */
static int line_of(int64_t n, char *out, size_t room)
{
    char id[FAAS_UUID_TEXT], tenant[FAAS_UUID_TEXT];
    int64_t ms = begun_ms + n * EVERY_MS;

    id_of(n, id);
    tenant_of(n, tenant);
    return snprintf(
        out, room,
        "{\"v\":1,\"id\":\"%s\",\"tenant\":\"%s\",\"order\":13,\"status\":\"%s\",\"user\":\"%s\","
        "\"function\":\"function-%lld\",\"function_id\":\"%s\",\"version\":3,\"attempt\":1,"
        "\"tries\":1,\"publisher\":\"publisher1\",\"spawner\":\"spawner2\",\"start\":\"prewarmed\","
        "\"queued_at\":%lld,\"placed_at\":%lld,\"started_at\":%lld,\"ended_at\":%lld,\"times_ms\":"
        "{\"place\":0.100,\"start\":1.234,\"run\":5.678},\"code\":\"ok\",\"exit_code\":0,"
        "\"argument_bytes\":100,\"result_bytes\":2000,\"stderr_bytes\":0,\"result_hash\":"
        "\"0123456789abcdef0123456789abcdef\"}\n",
        id, tenant, statuses[n / 7 % 5], tenant, (long long)(n / TENANTS % FUNCTIONS), tenant,
        (long long)ms, (long long)ms, (long long)ms, (long long)ms);
}

static void fill(const char *dir)
{
    static char lines[LINES * 1024];
    double began = now_us(), took;
    struct stat st;
    char path[512];
    faas_err err = {0};

    for (int64_t n = 0; n < total;) {
        size_t used = 0, skipped;

        for (int i = 0; i < LINES && n < total; i++, n++)
            used += (size_t)line_of(n, lines + used, sizeof lines - used);
        must(records_apply(recs, lines, used, &skipped, &err), &err);
        must(records_commit(recs, (uint64_t)n, &err), &err);
    }
    took = now_us() - began;
    (void)snprintf(path, sizeof path, "%s/bench.db", dir);
    printf("read model: %lld records, %.0f/s in batches of %d, %lld bytes each on disk\n",
           (long long)total, (double)total * 1e6 / took, LINES,
           stat(path, &st) == 0 ? (long long)(st.st_size / total) : -1);
}

static int64_t any(void)
{
    return (int64_t)(((uint64_t)rand_r(&seed) << 16 ^ (uint64_t)rand_r(&seed)) % (uint64_t)total);
}

static void get(int64_t n)
{
    char id[FAAS_UUID_TEXT], tenant[FAAS_UUID_TEXT];
    const struct records_id call = {tenant, id};
    json_t *doc = NULL;
    faas_err err = {0};

    id_of(n, id);
    tenant_of(n, tenant);
    must(records_get(recs, &call, &doc, &err), &err);
    json_decref(doc);
}

static void page_of(int64_t n, const char *function, const char *status, int64_t limit)
{
    char id[FAAS_UUID_TEXT], tenant[FAAS_UUID_TEXT];
    struct records_query query = {.tenant = tenant,
                                  .function = function,
                                  .status = status,
                                  .before = id,
                                  .limit = limit,
                                  .bytes_max = 1 << 20};
    json_t *items = NULL;
    bool has_more;
    faas_err err = {0};

    id_of(n, id);
    tenant_of(n, tenant);
    must(records_page(recs, &query, &items, &has_more, &err), &err);
    json_decref(items);
}

static void page(int64_t n)
{
    page_of(n, "", "", 50);
}

static void page_by_both(int64_t n)
{
    page_of(n, "function-7", "failed", 50);
}

static void page_of_200(int64_t n)
{
    page_of(n, "", "", 200);
}

static void look(const char *what, void (*does)(int64_t n))
{
    for (int i = 0; i < LOOKS; i++) {
        double began = now_us();

        does(any());
        took_us[i] = now_us() - began;
    }
    qsort(took_us, LOOKS, sizeof *took_us, by_value);
    printf("read model: %s: p50 %.3f ms, p99 %.3f ms\n", what, took_us[LOOKS / 2] / 1e3,
           took_us[LOOKS * 99 / 100] / 1e3);
}

int main(int argc, char **argv)
{
    struct records_conf conf = {.instance = "bench",
                                .log_last = UINT64_MAX / 2,
                                .rows_max = INT64_C(1) << 40,
                                .tenant_rows_max = INT64_C(1) << 40,
                                .logs_bytes_max = INT64_C(1) << 40,
                                .age_ms = INT64_C(365) * 86400000};
    faas_err err = {0};

    if (argc < 2)
        die("usage", "records_model DIR [calls]");
    total = argc > 2 ? strtoll(argv[2], NULL, 10) : 1000000;
    if (total < 1)
        die("calls", "at least 1");
    begun_ms = faas_wall_ms() - total * EVERY_MS;
    conf.dir = argv[1];
    must(records_open(&conf, &recs, &err), &err);
    fill(argv[1]);
    look("one call by its id", get);
    look("a page of 50", page);
    look("a page of 50 of one function and status", page_by_both);
    look("a page of 200", page_of_200);
    records_close(recs);
    return 0;
}
