/* history_text.h - a call's note as one line of JSON.
 * Line      an object without line breaks, '\n' at its end; fields that are not known are left out.
 *           docs/PROTOCOL.md section 8 names them.
 * Memory    the line is added to a growing text of the caller's; without memory nothing is added.
 * Threads   pure.
 */
#ifndef PUBLISHER_HISTORY_TEXT_H
#define PUBLISHER_HISTORY_TEXT_H

#include "history.h"

struct history_text { /* zeroed: empty */
    char *data;       /* owned */
    size_t len, room;
};
/* False: without memory, or id or tenant is missing. */
bool history_text_add(struct history_text *text, const struct history_note *note);
void history_text_done(struct history_text *text);

/* Of two notes of one call the one with the higher order counts. */
int64_t history_order(int64_t attempt, enum history_event event);

#endif
