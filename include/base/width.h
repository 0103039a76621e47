#ifndef HF_BASE_WIDTH_H
#define HF_BASE_WIDTH_H

#include <stddef.h>

#include "base/bytes.h"

/*
 * Text as a terminal shows it.  Widths are columns of a terminal: 2 for a wide East Asian character, 0 for a combining one,
 * in whatever locale the program runs.  Names come from a database that somebody else fills, so what would move the cursor
 * or change colours (control characters, ESC) and what is not UTF-8 is shown as U+FFFD and never sent (1 column each).
 */
size_t width_of(const char *text);

/* Appends at most `columns` columns of `text`, made harmless; a text that is cut ends in "…".  Returns the columns added. */
size_t width_add(struct buf *to, const char *text, size_t columns);

/* The same, cut in the middle: of "langfuse/public.observations" both ends say something. */
size_t width_add_middle(struct buf *to, const char *text, size_t columns);

/* The next line of a paragraph: as many whole words of *text as fit in `columns`, or as much of a word that is longer than a
 * line.  Moves *text to what is left, "" after the last line.  Owned by the caller; not made harmless: that is width_add's. */
char *width_line(const char **text, size_t columns);

/* Columns of the terminal behind `fd`; `otherwise` where it is none. */
size_t width_terminal(int fd, size_t otherwise);

#endif
