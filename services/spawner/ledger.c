#include "ledger.h"

#include <errno.h>
#include <string.h>
#include <sys/queue.h>

#include "base/clock.h"

#define BUCKETS 8192

struct note {
    uint8_t id[16];
    bool is_done;
    uint32_t fence; /* numbers up to this one are refused; 0: none */
    uint64_t until_ns;
    LIST_ENTRY(note) chain;
    TAILQ_ENTRY(note) age; /* oldest first: all are kept equally long */
};
struct ledger {
    LIST_HEAD(, note) buckets[BUCKETS];
    TAILQ_HEAD(, note) ages;
    size_t count;
};

/* The last bytes of a UUIDv7 are random. */
static size_t bucket_of(const uint8_t id[16])
{
    return ((size_t)id[14] << 8 | id[15]) % BUCKETS;
}

static void drop(ledger *book, struct note *note)
{
    LIST_REMOVE(note, chain);
    TAILQ_REMOVE(&book->ages, note, age);
    book->count--;
    free(note);
}

void ledger_forget_old(ledger *book)
{
    uint64_t now = faas_now_ns();
    struct note *note;

    while ((note = TAILQ_FIRST(&book->ages)) != NULL &&
           (note->until_ns <= now || book->count > LEDGER_MAX))
        drop(book, note);
}

static struct note *find(ledger *book, const char *call_id)
{
    uint8_t id[16];
    struct note *note;

    ledger_forget_old(book);
    if (!faas_uuid_is(call_id))
        return NULL;
    faas_uuid_to_bytes(call_id, id);
    LIST_FOREACH (note, &book->buckets[bucket_of(id)], chain)
        if (memcmp(note->id, id, sizeof id) == 0)
            return note;
    return NULL;
}

static faas_code find_or_add(ledger *book, const char *call_id, struct note **out_note,
                             faas_err *err)
{
    struct note *note = find(book, call_id);

    if (note == NULL) {
        if (!faas_uuid_is(call_id))
            return faas_fail(err, FAAS_INVALID, "id: expected a UUID");
        note = calloc(1, sizeof *note);
        if (note == NULL)
            return faas_fail_sys(err, ENOMEM, "note of a call");
        faas_uuid_to_bytes(call_id, note->id);
        LIST_INSERT_HEAD(&book->buckets[bucket_of(note->id)], note, chain);
        book->count++;
    } else {
        TAILQ_REMOVE(&book->ages, note, age);
    }
    note->until_ns = faas_deadline_in_ms(LEDGER_KEEP_MS);
    TAILQ_INSERT_TAIL(&book->ages, note, age);
    *out_note = note;
    return FAAS_OK;
}

faas_code ledger_new(ledger **out_ledger, faas_err *err)
{
    ledger *book = calloc(1, sizeof *book);

    if (book == NULL)
        return faas_fail_sys(err, ENOMEM, "ledger");
    TAILQ_INIT(&book->ages);
    *out_ledger = book;
    return FAAS_OK;
}

void ledger_free(ledger *book)
{
    struct note *note;

    if (book == NULL)
        return;
    while ((note = TAILQ_FIRST(&book->ages)) != NULL)
        drop(book, note);
    free(book);
}

faas_code ledger_note_done(ledger *book, const char *call_id, faas_err *err)
{
    struct note *note = NULL;

    FAAS_TRY(find_or_add(book, call_id, &note, err));
    note->is_done = true;
    return FAAS_OK;
}

faas_code ledger_note_fence(ledger *book, const char *call_id, uint32_t place, faas_err *err)
{
    struct note *note = NULL;

    FAAS_TRY(find_or_add(book, call_id, &note, err));
    if (place > note->fence)
        note->fence = place;
    return FAAS_OK;
}

bool ledger_is_done(ledger *book, const char *call_id)
{
    struct note *note = find(book, call_id);

    return note != NULL && note->is_done;
}

bool ledger_is_refused(ledger *book, const char *call_id, uint32_t place)
{
    struct note *note = find(book, call_id);

    return note != NULL && (note->is_done || place <= note->fence);
}

size_t ledger_count(const ledger *book)
{
    return book->count;
}
