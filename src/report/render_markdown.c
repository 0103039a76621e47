#include "report/render.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "report/content.h"
#include "report/say.h"

/*
 * Escapes what GitHub-flavoured Markdown would act on.  Angle brackets and ampersands become entities, since some viewers
 * take HTML however it is escaped; an underscore inside a word is left, as Markdown leaves it, and keeps names readable.
 */
static void
escape(struct buf *out, const char *text)
{
	for (const char *p = text; *p != '\0'; p++) {
		bool in_word = p > text && isalnum((unsigned char)p[-1]) && isalnum((unsigned char)p[1]);

		if (*p == '<')
			buf_addstr(out, "&lt;");
		else if (*p == '>')
			buf_addstr(out, "&gt;");
		else if (*p == '&')
			buf_addstr(out, "&amp;");
		else if (strchr("\\`|*[]~$#!", *p) != NULL || (*p == '_' && !in_word) || (*p == ':' && strncmp(p, "://", 3) == 0))
			buf_addf(out, "\\%c", *p);
		else
			buf_addc(out, *p);
	}
}

/* At the start of a line some more would begin a list, a rule or a heading. */
static void
escape_line(struct buf *out, const char *text)
{
	size_t digits = strspn(text, "0123456789");

	if (digits > 0 && (text[digits] == '.' || text[digits] == ')')) {
		buf_add(out, text, digits);
		buf_addf(out, "\\%c", text[digits]);
		text += digits + 1;
	} else if (*text == '-' || *text == '+' || *text == '=') {
		buf_addf(out, "\\%c", *text++);
	}
	escape(out, text);
}

static void
line(struct buf *out, const char *before, const char *text, const char *after)
{
	buf_addstr(out, before);
	escape_line(out, text);
	buf_addstr(out, after);
}

static void
table(struct buf *out, const struct table *t)
{
	for (size_t c = 0; c < t->columns; c++)
		line(out, c == 0 ? "| " : " ", t->column[c].title, " |");
	buf_addstr(out, "\n|");
	for (size_t c = 0; c < t->columns; c++)
		buf_addstr(out, t->column[c].kind == COLUMN_NUMBER ? " ---: |" : " --- |");
	buf_addstr(out, "\n");
	for (size_t r = 0; r < table_rows(t); r++) {
		for (size_t c = 0; c < t->columns; c++) {
			const struct cell *cell = table_at(t, r, c);
			/* Colour is not to be had here; what went wrong stands out by weight. */
			bool strong = (cell->tone == TONE_BAD || cell->tone == TONE_WARN) && *cell->text != '\0';

			buf_addf(out, "%s%s", c == 0 ? "| " : " ", strong ? "**" : "");
			escape(out, cell->text);
			buf_addstr(out, strong ? "** |" : " |");
		}
		buf_addstr(out, "\n");
	}
	if (t->left_out > 0)
		buf_addf(out, "\nand %s more\n", COUNT((int64_t)t->left_out));
	buf_addstr(out, "\n");
}

/* A fence that is longer than any run of backticks inside cannot be closed from inside. */
static void
verbatim(struct buf *out, const char *text)
{
	size_t longest = 2;

	for (const char *p = text; *p != '\0'; p += *p != '\0') {
		size_t run = strspn(p, "`");

		longest = run > longest ? run : longest;
		p += run;
	}
	for (size_t i = 0; i <= longest; i++)
		buf_addc(out, '`');
	buf_addf(out, "diff\n%s", text);
	for (size_t i = 0; i <= longest; i++)
		buf_addc(out, '`');
	buf_addstr(out, "\n\n");
}

static void
verdict(struct buf *out, const struct doc *d, const struct facts *f)
{
	char *sentence = content_sentence(f);

	line(out, "# ", d->title, "\n\n");
	line(out, "**", d->headline, ".** ");
	escape(out, sentence);
	line(out, "\n\nSubject: ", d->subject, ".\n\n");
	buf_addstr(out, "| Figure | Value | Note |\n| --- | --- | --- |\n");
	for (size_t i = 0; i < d->figures; i++) {
		line(out, "| ", d->figure[i].label, " | **");
		escape(out, d->figure[i].value);
		line(out, "** | ", d->figure[i].note, " |\n");
	}
	buf_addstr(out, "\n");
	free(sentence);
}

static void
block(struct buf *out, const struct block *b, bool after_item)
{
	if (after_item && b->kind != DOC_ITEM)
		buf_addstr(out, "\n");
	switch (b->kind) {
	case DOC_SECTION: line(out, "## ", b->text, "\n\n"); break;
	case DOC_PARAGRAPH: line(out, "", b->text, "\n\n"); break;
	case DOC_ITEM: line(out, "- ", b->text, "\n"); break;
	case DOC_TABLE: table(out, b->table); break;
	case DOC_VERBATIM: verbatim(out, b->text); break;
	case DOC_CHART: break;          /* the table beside it has the numbers */
	}
}

char *
report_markdown(const json_t *outcome)
{
	struct buf out = BUF_INIT;
	struct doc d = { 0 };
	struct facts f;

	facts_read(&f, outcome);
	content_write(&d, &f);
	verdict(&out, &d, &f);
	for (size_t i = 0; i < d.used; i++)
		block(&out, &d.blocks[i], i > 0 && d.blocks[i - 1].kind == DOC_ITEM);
	doc_free(&d);
	return buf_take(&out);
}
