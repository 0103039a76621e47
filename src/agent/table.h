#ifndef HF_AGENT_TABLE_H
#define HF_AGENT_TABLE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"

/* Aligned text for a terminal.  Cells come from outside: they are made harmless and measured in columns (base/width.h). */
enum table_colour { TABLE_PLAIN, TABLE_BOLD, TABLE_GREEN, TABLE_YELLOW, TABLE_RED, TABLE_DIM };

struct table_look {
	bool colour;
	size_t columns;                 /* of the terminal */
};

struct table;

/* `heads` is "ID|TIME (UTC)|>SIZE": a '>' aligns to the right; the last column takes what room is left. */
struct table *table_new(const struct table_look *look, const char *heads);
void table_cell(struct table *t, enum table_colour colour, const char *text);  /* the next cell; copied; NULL is empty */
bool table_is_empty(const struct table *t);

/* Writes the table, with a head unless every head is empty, and frees it; an empty one writes nothing. */
void table_end(struct table *t, struct buf *to);

/* One piece of text in a colour. */
void table_paint(struct buf *to, const struct table_look *look, enum table_colour colour, const char *text);

#endif
