#include "report/doc.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "report/clean.h"

/* A PostgreSQL name has at most 63 bytes; two of them, a dot and quotes fit well.  A message may be longer. */
#define CELL_CHARS 160
#define SENTENCE_CHARS 600
#define VERBATIM_LINES 120
#define VERBATIM_CHARS 200

struct table *
table_new(const char *title)
{
	struct table *t = mem_zero(1, sizeof(*t));

	t->title = mem_strdup(title);
	return t;
}

void
table_column(struct table *t, const char *title, enum column_kind kind)
{
	if (t->columns == TABLE_COLUMNS)
		abort();
	t->column[t->columns].title = title;
	t->column[t->columns++].kind = kind;
}

static char *
taken(struct buf *b)
{
	buf_add(b, "", 0);
	return buf_take(b);
}

void
table_cell(struct table *t, enum tone tone, const char *text)
{
	struct buf clean = BUF_INIT;

	clean_line(&clean, text, CELL_CHARS);
	if (t->used == t->room) {
		t->room = t->room == 0 ? 64 : t->room * 2;
		t->cells = mem_grow(t->cells, t->room, sizeof(*t->cells));
	}
	t->cells[t->used++] = (struct cell){ .text = taken(&clean), .tone = tone };
}

size_t
table_rows(const struct table *t)
{
	return t->used / t->columns;
}

const struct cell *
table_at(const struct table *t, size_t row, size_t column)
{
	return &t->cells[row * t->columns + column];
}

void
table_free(struct table *t)
{
	if (t == NULL)
		return;
	for (size_t i = 0; i < t->used; i++)
		free(t->cells[i].text);
	free(t->cells);
	free(t->title);
	free(t);
}

static char *
format_clean(const char *format, va_list args)
{
	struct buf out = BUF_INIT;

	for (const char *p = format; *p != '\0'; p++) {
		if (*p != '%') {
			buf_addc(&out, *p);
			continue;
		}
		/* Nothing else is needed here, and nothing else is cleaned. */
		if (*++p == 's')
			clean_line(&out, va_arg(args, const char *), SENTENCE_CHARS);
		else if (*p == '%')
			buf_addc(&out, '%');
		else
			abort();
	}
	return taken(&out);
}

char *
doc_format(const char *format, ...)
{
	va_list args;
	char *text;

	va_start(args, format);
	text = format_clean(format, args);
	va_end(args);
	return text;
}

static struct block *
add(struct doc *d, enum block_kind kind)
{
	if (d->used == d->room) {
		d->room = d->room == 0 ? 64 : d->room * 2;
		d->blocks = mem_grow(d->blocks, d->room, sizeof(*d->blocks));
	}
	d->blocks[d->used] = (struct block){ .kind = kind };
	return &d->blocks[d->used++];
}

void
doc_say(struct doc *d, enum block_kind kind, enum tone tone, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	doc_put(d, kind, tone, format_clean(format, args));
	va_end(args);
}

void
doc_put(struct doc *d, enum block_kind kind, enum tone tone, char *text)
{
	struct block *b = add(d, kind);

	b->text = text;
	b->tone = tone;
}

void
doc_section(struct doc *d, const char *anchor, const char *title)
{
	struct block *b = add(d, DOC_SECTION);

	b->anchor = anchor;
	b->text = mem_strdup(title);
}

void
doc_table(struct doc *d, struct table *t)
{
	if (table_rows(t) == 0)
		table_free(t);
	else
		add(d, DOC_TABLE)->table = t;
}

void
doc_verbatim(struct doc *d, const char *text)
{
	struct buf clean = BUF_INIT;

	clean_lines(&clean, text, VERBATIM_LINES, VERBATIM_CHARS);
	add(d, DOC_VERBATIM)->text = taken(&clean);
}

void
doc_chart(struct doc *d, enum chart chart)
{
	add(d, DOC_CHART)->chart = chart;
}

void
doc_figure(struct doc *d, enum tone tone, const char *label, char *value, char *note)
{
	if (d->figures == DOC_FIGURES)
		abort();
	d->figure[d->figures++] = (struct figure){ .label = label, .value = value, .note = note, .tone = tone };
}

void
doc_free(struct doc *d)
{
	for (size_t i = 0; i < d->used; i++) {
		free(d->blocks[i].text);
		table_free(d->blocks[i].table);
	}
	for (size_t i = 0; i < d->figures; i++) {
		free(d->figure[i].value);
		free(d->figure[i].note);
	}
	free(d->blocks);
	free(d->title);
	free(d->headline);
	free(d->subject);
	*d = (struct doc){ 0 };
}
