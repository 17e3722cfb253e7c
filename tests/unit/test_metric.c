#include "tests/unit/unit.h"

#include <dirent.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/metric.h"
#include "version.h"

#define ADDS 50000

static struct faas_metric calls_ok = {
    .name = "faas_t_calls_total{code=\"ok\"}", .help = "calls by outcome", .kind = FAAS_COUNTER};
static struct faas_metric calls_busy = {
    .name = "faas_t_calls_total{code=\"busy\"}", .help = "calls by outcome", .kind = FAAS_COUNTER};
static struct faas_metric slots = {
    .name = "faas_t_slots", .help = "free slots", .kind = FAAS_GAUGE};
static struct faas_metric took = {
    .name = "faas_t_took_seconds", .help = "time a call took", .kind = FAAS_HISTOGRAM};

static int register_all(void **state)
{
    (void)state;
    faas_metric_add(&calls_ok);
    faas_metric_add(&calls_busy);
    faas_metric_add(&slots);
    faas_metric_add(&took);
    return 0;
}

static void *add_many(void *arg)
{
    for (int i = 0; i < ADDS; i++) {
        faas_metric_inc(arg, 1);
        faas_metric_observe_ns(&took, 1000);
    }
    return NULL;
}

static void threads_lose_no_addition(void **state)
{
    pthread_t threads[2];

    (void)state;
    for (int t = 0; t < 2; t++)
        assert_int_equal(pthread_create(&threads[t], NULL, add_many, &calls_busy), 0);
    for (int t = 0; t < 2; t++)
        pthread_join(threads[t], NULL);
    assert_int_equal(atomic_load(&calls_busy.value), 2 * ADDS);
    assert_int_equal(atomic_load(&took.value), 2 * ADDS);
    assert_int_equal(atomic_load(&took.buckets[0]), 2 * ADDS);
}

static void forget_histogram(void)
{
    atomic_store(&took.value, 0);
    atomic_store(&took.sum_ns, 0);
    for (int i = 0; i < FAAS_METRIC_BUCKETS; i++)
        atomic_store(&took.buckets[i], 0);
}

static void a_family_has_one_heading_and_buckets_add_up(void **state)
{
    char *text;

    (void)state;
    forget_histogram();
    faas_metric_inc(&calls_ok, 3);
    faas_metric_set(&slots, 64);
    faas_metric_set(&slots, 63);
    faas_metric_observe_ns(&took, 100000);       /* the bound of the first bucket */
    faas_metric_observe_ns(&took, 100001);       /* the second */
    faas_metric_observe_ns(&took, 100000000000); /* 100 s: beyond all */
    text = faas_metrics_render();
    assert_non_null(text);
    assert_contains(text, "# HELP faas_t_calls_total calls by outcome\n"
                          "# TYPE faas_t_calls_total counter\n"
                          "faas_t_calls_total{code=\"ok\"} 3\n"
                          "faas_t_calls_total{code=\"busy\"} 100000\n"
                          "# HELP faas_t_slots free slots\n"
                          "# TYPE faas_t_slots gauge\n"
                          "faas_t_slots 63\n"
                          "# HELP faas_t_took_seconds time a call took\n"
                          "# TYPE faas_t_took_seconds histogram\n"
                          "faas_t_took_seconds_bucket{le=\"0.0001\"} 1\n"
                          "faas_t_took_seconds_bucket{le=\"0.0002\"} 2\n"
                          "faas_t_took_seconds_bucket{le=\"0.0004\"} 2\n");
    assert_contains(text, "faas_t_took_seconds_bucket{le=\"52.4288\"} 2\n"
                          "faas_t_took_seconds_bucket{le=\"+Inf\"} 3\n"
                          "faas_t_took_seconds_sum 100.000200001\n"
                          "faas_t_took_seconds_count 3\n");
    free(text);
}

static struct faas_metric took_cold = {
    .name = "faas_t_starts_seconds{start=\"cold\"}", .help = "starts", .kind = FAAS_HISTOGRAM};
static struct faas_metric took_warm = {
    .name = "faas_t_starts_seconds{start=\"warm\"}", .help = "starts", .kind = FAAS_HISTOGRAM};

static void a_histogram_has_its_labels_in_each_row(void **state)
{
    char *text;

    (void)state;
    faas_metric_add(&took_cold);
    faas_metric_add(&took_warm);
    faas_metric_observe_ns(&took_warm, 1500000);
    text = faas_metrics_render();
    assert_non_null(text);
    assert_contains(text, "# TYPE faas_t_starts_seconds histogram\n"
                          "faas_t_starts_seconds_bucket{start=\"cold\",le=\"0.0001\"} 0\n");
    assert_contains(text, "faas_t_starts_seconds_bucket{start=\"warm\",le=\"0.0016\"} 1\n");
    assert_contains(text, "faas_t_starts_seconds_sum{start=\"warm\"} 0.001500000\n"
                          "faas_t_starts_seconds_count{start=\"warm\"} 1\n");
    free(text);
}

static void write_some(void *arg, FILE *out)
{
    fprintf(out, "faas_t_some %s\n", (const char *)arg);
}

/* Tools add threads of their own. */
static int entries(const char *path)
{
    DIR *dir = opendir(path);
    const struct dirent *entry;
    int count = 0;

    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL)
        count += entry->d_name[0] != '.' ? 1 : 0;
    closedir(dir);
    return count;
}

static void sources_and_the_process_itself_follow_the_table(void **state)
{
    static char value[] = "17";
    static struct faas_metric_source source = {.write = write_some, .arg = value};
    const char *memory;
    char *text;

    (void)state;
    faas_metric_add_source(&source);
    text = faas_metrics_render();
    assert_non_null(text);
    assert_contains(text, "\nfaas_t_some 17\n");
    assert_contains(text, "# TYPE faas_process_cpu_seconds_total counter\n");
    assert_contains(text, "\nfaas_process_threads ");
    assert_int_equal(
        strtol(strstr(text, "\nfaas_process_threads ") + strlen("\nfaas_process_threads "), NULL,
               10),
        entries("/proc/self/task"));
    assert_contains(text, "\nfaas_build_info{version=\"" FAAS_VERSION "\"} 1\n");
    memory = strstr(text, "\nfaas_process_resident_memory_bytes ");
    assert_non_null(memory);
    assert_true(strtod(strchr(memory, ' '), NULL) > 65536);
    free(text);
}

static long open_files(void)
{
    static const char name[] = "\nfaas_process_open_fds ";
    char *text = faas_metrics_render(), *row;
    long files;

    assert_non_null(text);
    row = strstr(text, name);
    assert_non_null(row);
    files = strtol(row + strlen(name), NULL, 10);
    free(text);
    return files;
}

/* Three more files are three more descriptors, and a look leaves none open. */
static void open_files_are_counted(void **state)
{
    long before = open_files();
    int fds[3];

    (void)state;
    for (int i = 0; i < 3; i++)
        fds[i] = dup(0);
    assert_int_equal(open_files(), before + 3);
    for (int i = 0; i < 3; i++)
        close(fds[i]);
    assert_int_equal(open_files(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_lose_no_addition),
        cmocka_unit_test(a_family_has_one_heading_and_buckets_add_up),
        cmocka_unit_test(a_histogram_has_its_labels_in_each_row),
        cmocka_unit_test(sources_and_the_process_itself_follow_the_table),
        cmocka_unit_test(open_files_are_counted),
    };

    return cmocka_run_group_tests(tests, register_all, NULL);
}
