/* book.h - every call this publisher knows: the live ones, and for a minute those it may not take
 * again.
 * Live      by id, and in order of arrival.
 * Tombs     an id with a number: a call of that id is refused when attempt x 256 + 255 is at or
 *           below it.  Left by ended calls, by fences and by cancels of unknown calls;
 *           FAAS_FENCE_KEEP_MS, at most BOOK_TOMBS_MAX (the oldest goes first).
 * Threads   the loop thread.
 */
#ifndef PUBLISHER_BOOK_H
#define PUBLISHER_BOOK_H

#include "base/err.h"
#include "base/id.h"

#include <stdbool.h>
#include <sys/queue.h>

#define BOOK_TOMBS_MAX 200000

struct book_page { /* embedded in a live call, as its first member */
    char id[FAAS_UUID_TEXT];
    TAILQ_ENTRY(book_page) link;
};
struct book_tomb {
    char id[FAAS_UUID_TEXT]; /* first: the tree compares whole nodes as texts */
    TAILQ_ENTRY(book_tomb) link;
    uint64_t until_ns;
    uint32_t refuse_to; /* numbers at or below are refused */
    bool was_placed;    /* it ended after a spawner may have had it */
    /* What its caller was told last, if that was a failure; a fence sends it again. */
    char *inbox;
    void *frame;
    size_t frame_len;
};
struct book {
    void *live_root, *tomb_root; /* tsearch(3) trees */
    TAILQ_HEAD(book_pages, book_page) live;
    TAILQ_HEAD(book_tombs, book_tomb) tombs; /* oldest first */
    size_t live_len, tombs_len;
};
void book_init(struct book *book);
void book_done(struct book *book); /* live calls are the caller's to remove first */
FAAS_MUST_CHECK faas_code book_add(struct book *book, struct book_page *page, faas_err *err);
void book_remove(struct book *book, struct book_page *page);
struct book_page *book_find(const struct book *book, const char *id);
/* Looking for a tomb does it, too; but who is not asked must not keep them either. */
void book_forget_old(struct book *book, uint64_t now_ns);
struct book_tomb *book_tomb_find(struct book *book, const char *id, uint64_t now_ns);
/* Adds or raises; was_placed stays once set.  NULL without memory. */
struct book_tomb *book_bury(struct book *book, const char *id, uint32_t refuse_to, bool was_placed,
                            uint64_t now_ns);

#endif
