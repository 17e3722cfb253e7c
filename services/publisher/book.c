#include "book.h"

#include "base/clock.h"
#include "contract.h"

#include <errno.h>
#include <search.h>
#include <stdio.h>
#include <string.h>

static int by_id(const void *a, const void *b)
{
    return strcmp(a, b);
}

void book_init(struct book *book)
{
    *book = (struct book){0};
    TAILQ_INIT(&book->live);
    TAILQ_INIT(&book->tombs);
}

static void tomb_remove(struct book *book, struct book_tomb *tomb)
{
    tdelete(tomb, &book->tomb_root, by_id);
    TAILQ_REMOVE(&book->tombs, tomb, link);
    book->tombs_len--;
    free(tomb->inbox);
    free(tomb->frame);
    free(tomb);
}

void book_done(struct book *book)
{
    struct book_tomb *tomb;

    if (book->tombs.tqh_last == NULL) /* zeroed: never initialised */
        return;
    while ((tomb = TAILQ_FIRST(&book->tombs)) != NULL)
        tomb_remove(book, tomb);
}

faas_code book_add(struct book *book, struct book_page *page, faas_err *err)
{
    if (tsearch(page, &book->live_root, by_id) == NULL)
        return faas_fail_sys(err, ENOMEM, "enter a call");
    TAILQ_INSERT_TAIL(&book->live, page, link);
    book->live_len++;
    return FAAS_OK;
}

void book_remove(struct book *book, struct book_page *page)
{
    tdelete(page, &book->live_root, by_id);
    TAILQ_REMOVE(&book->live, page, link);
    book->live_len--;
}

struct book_page *book_find(const struct book *book, const char *id)
{
    void *const *node = tfind(id, &book->live_root, by_id);

    return node != NULL ? *node : NULL;
}

void book_forget_old(struct book *book, uint64_t now_ns)
{
    struct book_tomb *tomb;

    while ((tomb = TAILQ_FIRST(&book->tombs)) != NULL &&
           (tomb->until_ns <= now_ns || book->tombs_len > BOOK_TOMBS_MAX))
        tomb_remove(book, tomb);
}

struct book_tomb *book_tomb_find(struct book *book, const char *id, uint64_t now_ns)
{
    void *const *node;

    book_forget_old(book, now_ns);
    node = tfind(id, &book->tomb_root, by_id);
    return node != NULL ? *node : NULL;
}

static struct book_tomb *tomb_new(struct book *book, const char *id)
{
    struct book_tomb *tomb = calloc(1, sizeof *tomb);

    if (tomb == NULL)
        return NULL;
    snprintf(tomb->id, sizeof tomb->id, "%s", id);
    if (tsearch(tomb, &book->tomb_root, by_id) == NULL) {
        free(tomb);
        return NULL;
    }
    TAILQ_INSERT_TAIL(&book->tombs, tomb, link);
    book->tombs_len++;
    return tomb;
}

struct book_tomb *book_bury(struct book *book, const char *id, uint32_t refuse_to, bool was_placed,
                            uint64_t now_ns)
{
    struct book_tomb *tomb = book_tomb_find(book, id, now_ns);

    if (tomb == NULL)
        tomb = tomb_new(book, id);
    if (tomb == NULL)
        return NULL;
    if (refuse_to > tomb->refuse_to)
        tomb->refuse_to = refuse_to;
    tomb->was_placed = tomb->was_placed || was_placed;
    tomb->until_ns = now_ns + FAAS_FENCE_KEEP_MS * FAAS_MS_NS;
    TAILQ_REMOVE(&book->tombs, tomb, link); /* oldest first stays true */
    TAILQ_INSERT_TAIL(&book->tombs, tomb, link);
    return tomb;
}
