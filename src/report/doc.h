#ifndef HF_REPORT_DOC_H
#define HF_REPORT_DOC_H

#include <stdbool.h>
#include <stddef.h>

#include "base/mem.h"

/*
 * A report before it has a format: a verdict, a few figures, then sections of paragraphs, items, tables and places for
 * charts.  content.c writes it once; the Markdown and the HTML renderer each walk it, so that both say the same.
 *
 * Every text is cleaned (clean.h) on its way in: a renderer only quotes for its format.
 */
enum tone { TONE_PLAIN, TONE_GOOD, TONE_BAD, TONE_WARN, TONE_MUTED };

enum column_kind { COLUMN_TEXT, COLUMN_NAME, COLUMN_NUMBER, COLUMN_TIME };       /* a name is set in a fixed-width face */

#define TABLE_COLUMNS 8

struct cell {
	char *text;
	enum tone tone;
};

struct table {
	char *title;
	struct {
		const char *title;
		enum column_kind kind;
	} column[TABLE_COLUMNS];
	size_t columns;
	struct cell *cells;             /* row by row */
	size_t used, room;
	size_t left_out;                /* rows that there were no room for: "and N more" */
};

/* `title` is ours; column titles are literals.  A row is `columns` calls of table_cell. */
struct table *table_new(const char *title);
void table_column(struct table *t, const char *title, enum column_kind kind);
void table_cell(struct table *t, enum tone tone, const char *text);     /* cleaned and bounded; NULL reads "" */
size_t table_rows(const struct table *t);
const struct cell *table_at(const struct table *t, size_t row, size_t column);
void table_free(struct table *t);       /* NULL is nothing */

enum block_kind { DOC_SECTION, DOC_PARAGRAPH, DOC_ITEM, DOC_TABLE, DOC_VERBATIM, DOC_CHART };

enum chart { CHART_PHASES, CHART_STRIP, CHART_TRENDS };

struct block {
	enum block_kind kind;
	enum tone tone;
	enum chart chart;
	const char *anchor;             /* of a section, a literal */
	char *text;
	struct table *table;
};

struct figure {
	const char *label;              /* a literal */
	char *value, *note;
	enum tone tone;
};

#define DOC_FIGURES 4

struct doc {
	char *title;                    /* of the page */
	char *headline;                 /* the verdict in a word or three */
	char *subject;                  /* which backup */
	enum tone tone;
	struct figure figure[DOC_FIGURES];
	size_t figures;
	struct block *blocks;
	size_t used, room;
};

/*
 * A sentence: `format` holds nothing but text of ours and "%s", and each argument is cleaned on its way in, so that no name
 * gets into a report as it came.  doc_format gives such a text alone.
 */
char *doc_format(const char *format, ...) PRINTF_LIKE(1, 2);
void doc_say(struct doc *d, enum block_kind kind, enum tone tone, const char *format, ...) PRINTF_LIKE(4, 5);

/* Takes a text that doc_format made: cleaning it again would show the marks of the first time. */
void doc_put(struct doc *d, enum block_kind kind, enum tone tone, char *text);

void doc_section(struct doc *d, const char *anchor, const char *title);
void doc_table(struct doc *d, struct table *t);         /* takes `t`; a table without rows is left out */
void doc_verbatim(struct doc *d, const char *text);
void doc_chart(struct doc *d, enum chart chart);
void doc_figure(struct doc *d, enum tone tone, const char *label, char *value, char *note);        /* takes both, as doc_put */
void doc_free(struct doc *d);

#endif
