#include "agent/grid.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/width.h"

enum { GRID_COLUMNS_MAX = 12, CELL_MAX = 60 };

struct cell {
	char *text;
	enum grid_colour colour;
};

struct grid {
	const struct grid_look *look;
	char *heads[GRID_COLUMNS_MAX];
	bool right[GRID_COLUMNS_MAX], headed;
	size_t columns;
	struct cell *cells;
	size_t count;
};

struct grid *
grid_new(const struct grid_look *look, const char *heads)
{
	struct grid *t = mem_zero(1, sizeof(*t));

	t->look = look;
	for (;;) {
		size_t n;

		t->right[t->columns] = *heads == '>';
		heads += *heads == '>';
		n = strcspn(heads, "|");
		t->headed = t->headed || n > 0;
		t->heads[t->columns++] = mem_strndup(heads, n);
		if (heads[n] == '\0' || t->columns == GRID_COLUMNS_MAX)
			return t;
		heads += n + 1;
	}
}

void
grid_cell(struct grid *t, enum grid_colour colour, const char *text)
{
	if (t->count % 64 == 0)
		t->cells = mem_grow(t->cells, t->count + 64, sizeof(*t->cells));
	t->cells[t->count++] = (struct cell){ mem_strdup(text != NULL ? text : ""), colour };
}

bool
grid_is_empty(const struct grid *t)
{
	return t->count == 0;
}

void
grid_paint(struct buf *to, const struct grid_look *look, enum grid_colour colour, const char *text)
{
	static const char *const codes[] = {
		[GRID_PLAIN] = "", [GRID_BOLD] = "\033[1m", [GRID_GREEN] = "\033[32m", [GRID_YELLOW] = "\033[33m",
		[GRID_RED] = "\033[31m", [GRID_DIM] = "\033[2m",
	};
	bool paint = look->colour && colour != GRID_PLAIN && text[0] != '\0';

	if (paint)
		buf_addstr(to, codes[colour]);
	width_add(to, text, SIZE_MAX);
	if (paint)
		buf_addstr(to, "\033[0m");
}

static void
pad(struct buf *to, size_t columns)
{
	while (columns-- > 0)
		buf_addc(to, ' ');
}

static void
add_cell(const struct grid *t, struct buf *to, size_t column, size_t width, enum grid_colour colour, const char *text)
{
	struct buf cut = BUF_INIT;
	size_t used = width_add(&cut, text, width);

	buf_add(&cut, NULL, 0);
	if (t->right[column])
		pad(to, width - used);
	grid_paint(to, t->look, colour, (char *)cut.data);
	if (!t->right[column])
		pad(to, width - used);
	pad(to, 2);
	buf_free(&cut);
}

/* The widths of all columns; gives the column where the last one begins. */
static size_t
measure(const struct grid *t, size_t *widths)
{
	size_t others = 0, *last = &widths[t->columns - 1];

	for (size_t c = 0; c < t->columns; c++)
		widths[c] = width_of(t->heads[c]);
	for (size_t i = 0; i < t->count; i++) {
		size_t w = width_of(t->cells[i].text), *column = &widths[i % t->columns];

		if (column != last && t->look->columns > 0 && w > CELL_MAX)
			w = CELL_MAX;
		if (w > *column)
			*column = w;
	}
	for (size_t c = 0; c + 1 < t->columns; c++)
		others += widths[c] + 2;
	/* Where nothing sensible is left for it, the last column is written in full, for the terminal to break. */
	if (others + 20 < t->look->columns && others + *last > t->look->columns)
		*last = t->look->columns - others;
	return others;
}

static void
trim(struct buf *to)
{
	while (to->bytes > 0 && to->data[to->bytes - 1] == ' ')
		to->bytes--;
	buf_addc(to, '\n');
}

static void
add_last(const struct grid *t, struct buf *to, size_t at, size_t width, enum grid_colour colour, const char *text)
{
	if (t->right[t->columns - 1] && width_of(text) < width)
		pad(to, width - width_of(text));
	do {
		char *line = width_line(&text, width);

		grid_paint(to, t->look, colour, line);
		trim(to);
		free(line);
		if (*text != '\0')
			pad(to, at);
	} while (*text != '\0');
}

static void
add_row(const struct grid *t, struct buf *to, const size_t *widths, size_t at, const struct cell *cells)
{
	size_t last = t->columns - 1;

	for (size_t c = 0; c < last; c++)
		add_cell(t, to, c, widths[c], cells[c].colour, cells[c].text);
	add_last(t, to, at, widths[last], cells[last].colour, cells[last].text);
}

void
grid_end(struct grid *t, struct buf *to)
{
	size_t widths[GRID_COLUMNS_MAX], at = measure(t, widths);
	struct cell heads[GRID_COLUMNS_MAX];

	for (size_t c = 0; c < t->columns; c++)
		heads[c] = (struct cell){ t->heads[c], GRID_BOLD };
	if (t->headed && t->count > 0)
		add_row(t, to, widths, at, heads);
	for (size_t i = 0; i + t->columns <= t->count; i += t->columns)
		add_row(t, to, widths, at, &t->cells[i]);
	for (size_t i = 0; i < t->count; i++)
		free(t->cells[i].text);
	for (size_t c = 0; c < t->columns; c++)
		free(t->heads[c]);
	free(t->cells);
	free(t);
}
