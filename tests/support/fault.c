#include "tests/support/fault.h"

#include <dirent.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "tests/unit/unit.h"

#define RUNS_MAX 5000 /* a scenario that never comes to an end is a fault, too */
#define LATE_MS  5000 /* a library's thread may close its descriptor a little later */
#define SAMPLE   10   /* of a library's allocations: the next one is a tenth further on */

int __lsan_do_recoverable_leak_check(void) __attribute__((weak));

static atomic_bool is_armed, is_paused_now;
static atomic_uint left; /* calls until the one that fails; 0: it has failed */
static _Thread_local bool is_spared_here;
static _Atomic enum fault_kind kind_now;
static struct {
    const char *_Atomic call;
    _Atomic int errnum;
} met;

/* Counts a call, of whatever thread. */
static bool is_last(void)
{
    unsigned before = atomic_load(&left);

    while (before > 0 && !atomic_compare_exchange_weak(&left, &before, before - 1))
        ;
    return before == 1;
}

bool fault_is_due(enum fault_kind kind, const char *call, int errnum)
{
    if (!atomic_load(&is_armed) || atomic_load(&is_paused_now) || is_spared_here ||
        kind != kind_now || !is_last())
        return false;
    met.call = call;
    met.errnum = errnum;
    errno = errnum;
    return true;
}

bool fault_pause(bool is_paused)
{
    return atomic_exchange(&is_paused_now, is_paused);
}

bool fault_spare(bool is_spared)
{
    bool was_spared = is_spared_here;

    is_spared_here = is_spared;
    return was_spared;
}

const char *fault_met(void)
{
    return met.call;
}

static unsigned descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned count = 0;

    assert_non_null(dir);
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

/* As many as before, or fewer: the last one that was closed late was counted then. */
static void claim_descriptors(unsigned *before, unsigned nth)
{
    const struct timespec nap = {.tv_nsec = 500000};
    uint64_t deadline = faas_deadline_in_ms(LATE_MS);
    unsigned after;

    while ((after = descriptors()) > *before && faas_left_ms(deadline) > 0)
        nanosleep(&nap, NULL);
    if (after > *before)
        fail_msg("fault %u, %s: %u descriptors before, %u after", nth, met.call, *before, after);
    *before = after;
}

static bool is_fair(faas_code rc, const faas_err *err)
{
    if (rc == FAAS_INTERNAL || rc == FAAS_UNAVAILABLE || rc == FAAS_TIMEOUT)
        return true;
    return strstr(err->msg, strerror(met.errnum)) != NULL;
}

static void claim_told(faas_code rc, const faas_err *err, unsigned nth)
{
    if (getenv("FAULT_SHOW") != NULL)
        print_message("%u: %s: %s \"%s\" (%s)\n", nth, met.call, faas_code_slug(rc), err->msg,
                      err->detail);
    if (rc == FAAS_OK)
        return;
    if (err->code != rc || err->msg[0] == '\0' || !is_fair(rc, err))
        fail_msg("fault %u, %s: %s is told as %s \"%s\"", nth, met.call, strerror(met.errnum),
                 faas_code_slug(rc), err->msg);
}

static faas_code run_once(fault_scenario *run, void *state, faas_err *err)
{
    faas_code rc;

    memset(err, 0, sizeof *err);
    atomic_store(&is_paused_now, false);
    rc = run(state, err);
    atomic_store(&is_armed, false);
    return rc;
}

static void claim_works(fault_scenario *run, void *state, const char *when)
{
    faas_err err;

    if (run_once(run, state, &err) != FAAS_OK)
        fail_msg("%s, without a fault: %s (%s)", when, err.msg, err.detail);
}

/* True when the run met its fault. */
static bool try_nth(enum fault_kind kind, fault_scenario *run, void *state, unsigned nth,
                    unsigned *files)
{
    char when[80];
    faas_err err;
    faas_code rc;

    kind_now = kind;
    met.call = "none";
    atomic_store(&left, nth);
    atomic_store(&is_armed, true);
    rc = run_once(run, state, &err);
    if (atomic_load(&left) > 0) {
        if (rc != FAAS_OK)
            fail_msg("no fault after %u: %s (%s)", nth - 1, err.msg, err.detail);
        return false;
    }
    claim_told(rc, &err, nth);
    snprintf(when, sizeof when, "after fault %u, %s", nth, met.call);
    claim_works(run, state, when);
    claim_descriptors(files, nth);
    return true;
}

void fault_each(fault_scenario *run, void *state, unsigned least)
{
    unsigned met_in_all = 0, files;

    claim_works(run, state, "at first"); /* what libraries keep for good is made here */
    files = descriptors();
    for (int kind = FAULT_MEMORY; kind <= FAULT_LIBRARY; kind++) {
        unsigned runs = 0, nth = 1;

        for (; try_nth((enum fault_kind)kind, run, state, nth, &files);
             nth += kind == FAULT_LIBRARY ? 1 + nth / SAMPLE : 1)
            if (++runs > RUNS_MAX)
                fail_msg("still faults after %u runs", RUNS_MAX);
        met_in_all += runs;
    }
    if (met_in_all < least)
        fail_msg("%u faults met, expected at least %u", met_in_all, least);
    if (__lsan_do_recoverable_leak_check != NULL && __lsan_do_recoverable_leak_check() != 0)
        fail_msg("a fault leaks memory; see the report above");
}

/* ---- libcrypto ---- */

/* malloc() here would be a call of ours and count again. */
void *__real_malloc(size_t size);
void *__real_realloc(void *block, size_t size);

static void *crypto_malloc(size_t size, const char *file, int line)
{
    bool is_due = size > 0 && fault_is_due(FAULT_LIBRARY, "malloc of libcrypto", ENOMEM);

    (void)file, (void)line;
    return size == 0 || is_due ? NULL : __real_malloc(size);
}

static void *crypto_realloc(void *block, size_t size, const char *file, int line)
{
    (void)file, (void)line;
    return fault_is_due(FAULT_LIBRARY, "realloc of libcrypto", ENOMEM)
               ? NULL
               : __real_realloc(block, size);
}

static void crypto_free(void *block, const char *file, int line)
{
    (void)file, (void)line;
    free(block);
}

void fault_crypto(void)
{
    assert_int_equal(CRYPTO_set_mem_functions(crypto_malloc, crypto_realloc, crypto_free), 1);
}
