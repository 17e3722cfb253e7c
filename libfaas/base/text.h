/* text.h - the little that is done to UTF-8 by hand.
 * Shapes    pointer and length; nothing is allocated.  Well-formed means RFC 3629: shortest form,
 *           no surrogates, nothing above U+10FFFF.
 * Threads   pure functions; any.
 */
#ifndef FAAS_TEXT_H
#define FAAS_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes (1..4) of the well-formed sequence that begins at text, 0 when there is none.
 * out_point may be NULL. */
size_t faas_utf8_decode(const char *text, size_t len, uint32_t *out_point);
bool faas_utf8_is(const char *text, size_t len);
/* The longest prefix of at most max bytes that does not end inside a sequence. */
size_t faas_utf8_cut(const char *text, size_t len, size_t max);
/* C0, DEL and C1 controls. */
bool faas_is_control(uint32_t point);
/* Any of those, or bytes that are not UTF-8. */
bool faas_has_control(const char *text, size_t len);
/* Marks that reorder or break displayed text: bidi controls, line and paragraph separators. */
bool faas_is_display_control(uint32_t point);

#endif
