#ifndef HF_AGENT_GRID_H
#define HF_AGENT_GRID_H

#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"

/* Aligned text for a terminal.  Cells come from outside: they are made harmless and measured in columns (base/width.h). */
enum grid_colour { GRID_PLAIN, GRID_BOLD, GRID_GREEN, GRID_YELLOW, GRID_RED, GRID_DIM };

struct grid_look {
	bool colour;
	size_t columns;                 /* of the terminal; 0: there is none, and nothing is cut or broken */
};

struct grid;

/* `heads` is "ID|TIME (UTC)|>SIZE": a '>' aligns to the right; the last column takes what room is left, and
 * goes on below itself. */
struct grid *grid_new(const struct grid_look *look, const char *heads);
void grid_cell(struct grid *t, enum grid_colour colour, const char *text);  /* the next cell; copied; NULL is empty */
bool grid_is_empty(const struct grid *t);

/* Writes the table, with a head unless every head is empty, and frees it; an empty one writes nothing. */
void grid_end(struct grid *t, struct buf *to);

/* One piece of text in a colour. */
void grid_paint(struct buf *to, const struct grid_look *look, enum grid_colour colour, const char *text);

#endif
