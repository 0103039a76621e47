#include "report/render.h"

#include <stdlib.h>

#include "report/chart.h"
#include "report/content.h"
#include "report/html.h"
#include "report/say.h"
#include "report/style.h"

static const char *
tone_class(enum tone tone)
{
	static const char *const classes[] = {
		[TONE_PLAIN] = NULL, [TONE_GOOD] = "good", [TONE_BAD] = "bad", [TONE_WARN] = "warn", [TONE_MUTED] = "muted",
	};

	return classes[tone];
}

static void
head(struct html *h, const struct doc *d)
{
	html_open(h, "head", NULL);
	html_void(h, "meta", "charset", "utf-8", NULL);
	/* Escaping already keeps scripts out; should it ever fail, the reader's browser runs none and fetches nothing. */
	html_void(h, "meta", "http-equiv", "Content-Security-Policy", "content",
	    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'", NULL);
	html_void(h, "meta", "name", "viewport", "content", "width=device-width, initial-scale=1", NULL);
	html_void(h, "meta", "name", "color-scheme", "content", "light dark", NULL);
	html_void(h, "meta", "name", "referrer", "content", "no-referrer", NULL);
	html_void(h, "meta", "name", "generator", "content", "holdfast " HOLDFAST_VERSION, NULL);
	html_leaf(h, "title", d->title, NULL);
	html_open(h, "style", NULL);
	buf_addstr(&h->out, style_sheet);       /* ours, not text: the only thing that goes in unescaped */
	html_close(h);
	html_close(h);
}

static void
figures(struct html *h, const struct doc *d)
{
	html_open(h, "dl", "class", "figures", NULL);
	for (size_t i = 0; i < d->figures; i++) {
		html_open(h, "div", NULL);
		html_leaf(h, "dt", d->figure[i].label, NULL);
		html_open(h, "dd", NULL);
		html_leaf(h, "span", d->figure[i].value, "class", d->figure[i].tone == TONE_BAD ? "value bad" : "value", NULL);
		html_leaf(h, "small", d->figure[i].note, NULL);
		html_close(h);
		html_close(h);
	}
	html_close(h);
}

static void
verdict(struct html *h, const struct doc *d, const struct facts *f)
{
	char *class = mem_printf("verdict %s", tone_class(d->tone)), *sentence = content_sentence(f);

	html_open(h, "p", "class", "brand", NULL);
	html_leaf(h, "b", "holdfast restore drill", NULL);
	html_leaf(h, "span", TIME(f->now_us), NULL);
	html_close(h);
	html_open(h, "header", "class", class, NULL);
	html_open(h, "div", "class", "call", NULL);
	chart_sign(h, f->forged ? VERDICT_FAILED : f->verdict);
	html_leaf(h, "h1", d->headline, NULL);
	html_close(h);
	html_leaf(h, "p", sentence, "class", "sentence", NULL);
	html_leaf(h, "p", d->subject, "class", "subject", NULL);
	figures(h, d);
	html_close(h);
	free(sentence);
	free(class);
}

static const char *
column_class(enum column_kind kind)
{
	static const char *const classes[] = {
		[COLUMN_TEXT] = "text", [COLUMN_NAME] = "name", [COLUMN_NUMBER] = "number", [COLUMN_TIME] = "time",
	};

	return classes[kind];
}

static void
row(struct html *h, const struct table *t, size_t r)
{
	html_open(h, "tr", NULL);
	for (size_t c = 0; c < t->columns; c++) {
		const struct cell *cell = table_at(t, r, c);
		const char *tone = tone_class(cell->tone), *kind = column_class(t->column[c].kind);
		char *class = tone == NULL ? mem_strdup(kind) : mem_printf("%s %s", kind, tone);

		/* The first column names its row. */
		html_leaf(h, c == 0 ? "th" : "td", cell->text, "class", class, "scope", c == 0 ? "row" : NULL, NULL);
		free(class);
	}
	html_close(h);
}

static void
table(struct html *h, const struct table *t)
{
	unsigned depth = h->depth;

	html_open(h, "div", "class", "scroll", "role", "region", "tabindex", "0", "aria-label", t->title, NULL);
	html_open(h, "table", NULL);
	html_leaf(h, "caption", t->title, NULL);
	html_open(h, "thead", NULL);
	html_open(h, "tr", NULL);
	for (size_t c = 0; c < t->columns; c++)
		html_leaf(h, "th", t->column[c].title, "scope", "col", "class", column_class(t->column[c].kind), NULL);
	html_close_to(h, depth + 2);
	html_open(h, "tbody", NULL);
	for (size_t r = 0; r < table_rows(t); r++)
		row(h, t, r);
	html_close(h);
	if (t->left_out > 0) {
		char *more = doc_format("and %s more", COUNT((int64_t)t->left_out));

		html_open(h, "tfoot", NULL);
		html_open(h, "tr", NULL);
		html_leaf(h, "td", more, "colspan", NUMBER((int64_t)t->columns), NULL);
		free(more);
	}
	html_close_to(h, depth);
}

static void
chart(struct html *h, enum chart which, const struct facts *f)
{
	switch (which) {
	case CHART_PHASES: chart_phases(h, f); break;
	case CHART_STRIP: chart_strip(h, f); break;
	case CHART_TRENDS: chart_trends(h, f); break;
	}
}

/* Items that follow each other are one list; everything else ends it, and a section ends the one before. */
static void
block(struct html *h, const struct block *b, const struct facts *f, unsigned outside)
{
	bool listing = h->depth > outside + 1;

	if (b->kind == DOC_ITEM && !listing)
		html_open(h, "ul", "class", "items", NULL);
	else if (b->kind != DOC_ITEM && listing)
		html_close(h);
	switch (b->kind) {
	case DOC_SECTION:
		html_close_to(h, outside);
		html_open(h, "section", "id", b->anchor, NULL);
		html_leaf(h, "h2", b->text, NULL);
		break;
	case DOC_PARAGRAPH: html_leaf(h, "p", b->text, "class", tone_class(b->tone), NULL); break;
	case DOC_ITEM: html_leaf(h, "li", b->text, "class", tone_class(b->tone), NULL); break;
	case DOC_TABLE: table(h, b->table); break;
	case DOC_VERBATIM: html_leaf(h, "pre", b->text, "tabindex", "0", NULL); break;
	case DOC_CHART: chart(h, b->chart, f); break;
	}
}

char *
report_html(const json_t *outcome)
{
	struct html h = { .out = BUF_INIT };
	struct doc d = { 0 };
	struct facts f;
	unsigned outside;

	facts_read(&f, outcome);
	content_write(&d, &f);
	buf_addstr(&h.out, "<!DOCTYPE html>\n");
	html_open(&h, "html", "lang", "en", "xmlns", "http://www.w3.org/1999/xhtml", NULL);
	head(&h, &d);
	html_open(&h, "body", NULL);
	html_open(&h, "main", NULL);
	verdict(&h, &d, &f);
	outside = h.depth;
	for (size_t i = 0; i < d.used; i++)
		block(&h, &d.blocks[i], &f, outside);
	html_close_to(&h, outside);
	html_leaf(&h, "footer",
	    "Written by holdfast " HOLDFAST_VERSION ". This page needs nothing from the network and runs no script.", NULL);
	html_close_to(&h, 0);
	doc_free(&d);
	return buf_take(&h.out);
}
