#include "tally.h"

#include "base/id.h"

#include <errno.h>
#include <search.h>
#include <stdio.h>
#include <string.h>

struct count {
    char key[FAAS_UUID_TEXT]; /* first: the tree compares whole nodes as texts */
    int64_t n;
};

static int by_key(const void *a, const void *b)
{
    return strcmp(a, b);
}

static struct count *find(const struct tally *tally, const char *key)
{
    void *const *node = tfind(key, &tally->root, by_key);

    return node != NULL ? *node : NULL;
}

faas_code tally_add(struct tally *tally, const char *key, faas_err *err)
{
    struct count *count = find(tally, key);

    if (count != NULL) {
        count->n++;
        return FAAS_OK;
    }
    count = calloc(1, sizeof *count);
    if (count == NULL)
        return faas_fail_sys(err, ENOMEM, "count a call");
    snprintf(count->key, sizeof count->key, "%s", key);
    count->n = 1;
    if (tsearch(count, &tally->root, by_key) == NULL) {
        free(count);
        return faas_fail_sys(err, ENOMEM, "count a call");
    }
    return FAAS_OK;
}

void tally_drop(struct tally *tally, const char *key)
{
    struct count *count = find(tally, key);

    if (count == NULL || --count->n > 0)
        return;
    tdelete(count, &tally->root, by_key);
    free(count);
}

int64_t tally_of(const struct tally *tally, const char *key)
{
    const struct count *count = find(tally, key);

    return count != NULL ? count->n : 0;
}

void tally_done(struct tally *tally)
{
    tdestroy(tally->root, free);
    tally->root = NULL;
}
