#ifndef HF_REPORT_CLEAN_H
#define HF_REPORT_CLEAN_H

#include <stddef.h>

#include "base/bytes.h"

/*
 * Text from outside, made harmless before it enters a report.  A control character becomes its picture (U+241B for escape),
 * a character that reorders or hides text becomes "<U+202E>" in angle quotes, what is no UTF-8 becomes U+FFFD.  So a reader
 * sees that something odd is there, and no terminal, browser or Markdown viewer acts on it.  Quoting for the format comes on
 * top, in its renderer.
 */

/* Appends `text` as one line of at most `limit` characters; a longer one loses its middle.  A right-to-left text is isolated
 * (U+2068, U+2069), so that it cannot pull the words beside it along.  NULL is nothing. */
void clean_line(struct buf *to, const char *text, size_t limit);

/* Appends `text` with its line ends, at most `lines` lines of at most `limit` characters; says how many it left out. */
void clean_lines(struct buf *to, const char *text, size_t lines, size_t limit);

/* Appends clean text without the marks of isolation, for a terminal: few honour them, and base/width.h sends none. */
void clean_without_isolates(struct buf *to, const char *text);

#endif
