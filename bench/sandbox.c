/* sandbox.c - what a call in a sandbox costs, through the spawner's own code, beside the least that
 * starting the same program costs: posix_spawn, a pipe, waitpid, no isolation.
 * Variants  cold (a lane, no sandbox made in advance), parked (one made in advance), warm (one that
 *           is kept: reuse slot), floor.
 * Rounds    10 of each in turn; a pause before each call, so that what is parked is ready.
 * Output    per program: p50 and p99 of each variant; median over the rounds of the ratio to the
 *           floor's round; calls a second with 8 at once, three runs of each in turn, and the
 *           processor's time of each call.
 * Usage     sandbox STORE_DIR RUN_DIR ZYGOTE IMAGE PROGRAM [rounds]; IMAGE runs PROGRAM's like.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench/rig.h"

#define BATCH   10
#define MOST    200 /* rounds */
#define CALLERS 8
#define RUNS    3
#define LOAD_S  1.5
#define PAUSE_S 0.0015

enum variant { FLOOR, COLD, PARKED, WARM, VARIANTS };
static const char *const names[] = {"floor", "cold", "parked", "warm"};
static struct rig rigs[VARIANTS];
static const char *program;
static double took_us[VARIANTS][MOST * BATCH];
static double ratios[VARIANTS][MOST];

static void run_floor(void)
{
    char *argv[] = {(char *)(uintptr_t)program, (char *)(uintptr_t) "x", NULL};

    rig_spawn(argv, 'x');
}

/* ---- one call at a time ---- */

static double one(enum variant which)
{
    double from;

    rig_rest(PAUSE_S);
    from = rig_now_us();
    if (which == FLOOR)
        run_floor();
    else
        rig_call(&rigs[which]);
    return rig_now_us() - from;
}

static void latency(size_t rounds)
{
    double median[VARIANTS];

    for (size_t r = 0; r < rounds; r++) {
        for (int v = 0; v < VARIANTS; v++) {
            double batch[BATCH];

            for (size_t i = 0; i < BATCH; i++)
                batch[i] = took_us[v][r * BATCH + i] = one((enum variant)v);
            median[v] = rig_part(batch, BATCH, 0.5);
        }
        for (int v = 0; v < VARIANTS; v++)
            ratios[v][r] = median[v] / median[FLOOR];
    }
    for (int v = 0; v < VARIANTS; v++) {
        size_t count = rounds * BATCH;
        double p99_floor = rig_part(took_us[FLOOR], count, 0.99),
               p99 = rig_part(took_us[v], count, 0.99);

        printf("  %-7s p50 %7.0f us  p99 %7.0f us  %4.2fx of the floor (rounds from %.2f to %.2f), "
               "p99 %4.2fx\n",
               names[v], rig_part(took_us[v], count, 0.5), p99, rig_part(ratios[v], rounds, 0.5),
               rig_part(ratios[v], rounds, 0.1), rig_part(ratios[v], rounds, 0.9), p99 / p99_floor);
    }
}

/* ---- eight at once ---- */

static void *floor_thread(void *arg)
{
    double until = rig_now_us() + LOAD_S * 1e6;
    size_t *count = arg;

    for (; rig_now_us() < until; ++*count)
        run_floor();
    return NULL;
}

static size_t load_floor(void)
{
    pthread_t threads[CALLERS];
    size_t counts[CALLERS] = {0}, sum = 0;

    for (int i = 0; i < CALLERS; i++)
        if (pthread_create(&threads[i], NULL, floor_thread, &counts[i]) != 0)
            rig_die("thread", "cannot be made");
    for (int i = 0; i < CALLERS; i++) {
        pthread_join(threads[i], NULL);
        sum += counts[i];
    }
    return sum;
}

/* All processors' busy time: what a call costs the machine, in its own processes and in the kernel. */
static double busy_us(void)
{
    FILE *file = fopen("/proc/stat", "re");
    double user, nice, system, idle, wait, irq, soft;
    int got = file != NULL ? fscanf(file, "cpu %lf %lf %lf %lf %lf %lf %lf", &user, &nice, &system,
                                    &idle, &wait, &irq, &soft)
                           : 0;

    if (file != NULL)
        (void)fclose(file);
    if (got != 7)
        rig_die("/proc/stat", "not as expected");
    return (user + nice + system + irq + soft) * 1e6 / (double)sysconf(_SC_CLK_TCK);
}

static void throughput(void)
{
    double rates[VARIANTS][RUNS], costs[VARIANTS][RUNS], ratio[RUNS];

    for (int v = COLD; v < VARIANTS; v++)
        (void)rig_load(&rigs[v], CALLERS, LOAD_S, SIZE_MAX); /* lanes are there then */
    for (int r = 0; r < RUNS; r++)
        for (int v = 0; v < VARIANTS; v++) {
            double from = rig_now_us(), busy = busy_us();
            double count =
                (double)(v == FLOOR ? load_floor() : rig_load(&rigs[v], CALLERS, LOAD_S, SIZE_MAX));

            rates[v][r] = count * 1e6 / (rig_now_us() - from);
            costs[v][r] = (busy_us() - busy) / count;
        }
    for (int v = 0; v < VARIANTS; v++) {
        for (int r = 0; r < RUNS; r++)
            ratio[r] = rates[v][r] / rates[FLOOR][r];
        printf("  %-7s %6.0f calls/s with %d at once, %.2f of the floor; %4.0f us of the "
               "processors' time each\n",
               names[v], rig_part(rates[v], RUNS, 0.5), CALLERS, rig_part(ratio, RUNS, 0.5),
               rig_part(costs[v], RUNS, 0.5));
    }
}

int main(int argc, char **argv)
{
    size_t rounds = argc > 6 ? strtoul(argv[6], NULL, 10) : 40;

    if (argc < 6 || rounds < 3 || rounds > MOST)
        rig_die("usage", "sandbox STORE_DIR RUN_DIR ZYGOTE IMAGE PROGRAM [rounds, 3 to 200]");
    rig_begin(&(struct rig_place){argv[1], argv[2], argv[3]});
    program = argv[5];
    for (int v = COLD; v < VARIANTS; v++) {
        rig_open(&rigs[v], argv[4], 'x', v == PARKED);
        rigs[v].is_slot = v == WARM;
        for (int i = 0; i < 3 * BATCH; i++)
            rig_call(&rigs[v]);
    }
    printf("%s\n", argv[4]);
    latency(rounds);
    throughput();
    for (int v = COLD; v < VARIANTS; v++)
        rig_close(&rigs[v]);
    rig_end();
    return 0;
}
