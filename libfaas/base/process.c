#include "base/process.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "version.h"

struct stat_line { /* proc_pid_stat(5) */
    unsigned long user_ticks, system_ticks;
    long threads;
    unsigned long long start_ticks;
    unsigned long virtual_bytes;
    long resident_pages;
};

static void write_row(FILE *out, const char *name, const char *kind, const char *help, double value)
{
    (void)fprintf(out, "# HELP %s %s\n# TYPE %s %s\n%s %.15g\n", name, help, name, kind, name,
                  value);
}

/* The program's name, field 2, is in parentheses and may hold anything, these included. */
static bool read_stat(struct stat_line *line)
{
    FILE *file = fopen("/proc/self/stat", "re");
    char text[1024];
    size_t len = file != NULL ? fread(text, 1, sizeof text - 1, file) : 0;
    const char *rest;

    if (file != NULL)
        (void)fclose(file);
    text[len] = '\0';
    rest = strrchr(text, ')');
    return rest != NULL &&
           sscanf(rest + 1,
                  " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %*d %*d %*d %*d %ld %*d "
                  "%llu %lu %ld",
                  &line->user_ticks, &line->system_ticks, &line->threads, &line->start_ticks,
                  &line->virtual_bytes, &line->resident_pages) == 6;
}

static int count_files(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int count = -3; /* ".", ".." and the descriptor of this look */

    if (dir == NULL)
        return -1;
    while (readdir(dir) != NULL)
        count++;
    (void)closedir(dir);
    return count;
}

/* Since the epoch, in seconds; 0: unknown. */
static unsigned long long booted_at(void)
{
    FILE *file = fopen("/proc/stat", "re");
    unsigned long long at = 0;
    char line[256];

    while (at == 0 && file != NULL && fgets(line, sizeof line, file) != NULL)
        (void)sscanf(line, "btime %llu", &at);
    if (file != NULL)
        (void)fclose(file);
    return at;
}

static void write_stat(FILE *out)
{
    double ticks = (double)sysconf(_SC_CLK_TCK);
    struct stat_line line = {0};
    unsigned long long booted = booted_at();

    if (!read_stat(&line))
        return;
    write_row(out, "faas_process_cpu_seconds_total", "counter",
              "processor time of the process, in user and system mode",
              (double)(line.user_ticks + line.system_ticks) / ticks);
    write_row(out, "faas_process_resident_memory_bytes", "gauge", "memory of the process in RAM",
              (double)line.resident_pages * (double)sysconf(_SC_PAGESIZE));
    write_row(out, "faas_process_virtual_memory_bytes", "gauge", "address space of the process",
              (double)line.virtual_bytes);
    write_row(out, "faas_process_threads", "gauge", "threads of the process", (double)line.threads);
    if (booted != 0)
        write_row(out, "faas_process_start_time_seconds", "gauge",
                  "when the process started, in seconds since the epoch",
                  (double)booted + (double)line.start_ticks / ticks);
}

void faas_process_write(FILE *out)
{
    struct rlimit limit;
    int files = count_files();

    write_stat(out);
    if (files >= 0)
        write_row(out, "faas_process_open_fds", "gauge", "open file descriptors", files);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
        write_row(out, "faas_process_max_fds", "gauge", "file descriptors that may be open",
                  (double)limit.rlim_cur);
    (void)fprintf(out,
                  "# HELP faas_build_info the release of the program; always 1\n"
                  "# TYPE faas_build_info gauge\nfaas_build_info{version=\"%s\"} 1\n",
                  FAAS_VERSION);
}
