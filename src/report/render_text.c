#include "report/render.h"

#include <stdlib.h>
#include <string.h>

#include "base/width.h"
#include "report/clean.h"
#include "report/content.h"
#include "report/say.h"
#include "report/tables.h"

/* A terminal shows the verdict and what led to it; the long lists are for Markdown and HTML. */
#define MAX_ROWS 10
#define MAX_NAMES 5
#define LABEL 15                /* columns of "  Not covered  " */

struct page {
	struct buf out;
	size_t width;
	bool colour;
};

static const char *
code(const struct page *p, enum tone tone)
{
	static const char *const codes[] = {
		[TONE_PLAIN] = "",
		[TONE_GOOD] = "\033[32m",
		[TONE_BAD] = "\033[31m",
		[TONE_WARN] = "\033[33m",
		[TONE_MUTED] = "\033[2m",
	};

	return p->colour ? codes[tone] : "";
}

static const char *
end(const struct page *p, enum tone tone)
{
	return p->colour && tone != TONE_PLAIN ? "\033[0m" : "";
}

static void
spaces(struct page *p, size_t n)
{
	while (n-- > 0)
		buf_addc(&p->out, ' ');
}

/* Ends a line without the blanks that its last field may have left. */
static void
end_line(struct page *p)
{
	while (p->out.bytes > 0 && p->out.data[p->out.bytes - 1] == ' ')
		p->out.bytes--;
	buf_addc(&p->out, '\n');
}

/* Text cut to `columns` columns, padded on one side to fill them. */
static void
field(struct page *p, enum tone tone, const char *text, size_t columns, bool right)
{
	struct buf plain = BUF_INIT, cut = BUF_INIT;
	size_t used;

	clean_without_isolates(&plain, text);
	buf_add(&plain, "", 0);
	used = width_add(&cut, (const char *)plain.data, columns);
	if (right)
		spaces(p, columns - used);
	buf_addstr(&p->out, code(p, tone));
	buf_add(&p->out, cut.data, cut.bytes);
	buf_addstr(&p->out, end(p, tone));
	if (!right)
		spaces(p, columns - used);
	buf_free(&plain);
	buf_free(&cut);
}

/* ---- the verdict's box ---- */

static void
rule(struct page *p, enum tone tone, const char *left, const char *right)
{
	buf_addf(&p->out, "%s%s", code(p, tone), left);
	for (size_t i = 2; i < p->width; i++)
		buf_addstr(&p->out, "─");
	buf_addf(&p->out, "%s%s\n", right, end(p, tone));
}

static void
boxed(struct page *p, enum tone frame, enum tone tone, const char *text)
{
	buf_addf(&p->out, "%s│%s  ", code(p, frame), end(p, frame));
	field(p, tone, text, p->width - 6, false);
	buf_addf(&p->out, "  %s│%s\n", code(p, frame), end(p, frame));
}

static void
boxed_words(struct page *p, enum tone frame, enum tone tone, const char *text)
{
	while (*text != '\0') {
		char *part = width_line(&text, p->width - 6);

		boxed(p, frame, tone, part);
		free(part);
	}
}

static void
box(struct page *p, const struct doc *d, const struct facts *f)
{
	static const char *const signs[] = {
		[VERDICT_NO_DRILL] = "–",
		[VERDICT_PROVEN] = "✔",
		[VERDICT_DIFFERS] = "≠",
		[VERDICT_FAILED] = "✘",
		[VERDICT_UNVERIFIABLE] = "?",
	};
	char *sentence = content_sentence(f), *head = mem_printf("%s %s", f->forged ? "✘" : signs[f->verdict], d->headline);

	for (char *c = head; *c != '\0'; c++)
		if (*c >= 'a' && *c <= 'z')
			*c = (char)(*c - 'a' + 'A');
	rule(p, d->tone, "┌", "┐");
	boxed(p, d->tone, d->tone, head);
	boxed_words(p, d->tone, TONE_PLAIN, sentence);
	boxed_words(p, d->tone, TONE_MUTED, d->subject);
	rule(p, d->tone, "└", "┘");
	free(sentence);
	free(head);
}

/* ---- lines with a label ---- */

/* Takes `text`, which doc_format made. */
static void
labelled(struct page *p, const char *label, enum tone tone, char *text)
{
	const char *rest = text;

	for (bool first = true; first || *rest != '\0'; first = false) {
		char *part = width_line(&rest, p->width - LABEL);

		buf_addstr(&p->out, "  ");
		field(p, TONE_MUTED, first ? label : "", LABEL - 2, false);
		field(p, tone, part, width_of(part) < p->width - LABEL ? width_of(part) : p->width - LABEL, false);
		buf_addc(&p->out, '\n');
		free(part);
	}
	free(text);
}

/* "a, b, c and 4 more" of an array of texts. */
static char *
listing(const json_t *list)
{
	struct buf out = BUF_INIT;
	size_t i, n = json_array_size(list);
	const json_t *name;

	json_array_foreach(list, i, name) {
		if (i == MAX_NAMES)
			break;
		buf_addstr(&out, i == 0 ? "" : "; ");
		clean_line(&out, json_string_value(name), 200);
		/* Sentences in a list of phrases lose their full stop. */
		if (out.bytes > 0 && out.data[out.bytes - 1] == '.')
			out.bytes--;
	}
	if (n > MAX_NAMES)
		buf_addf(&out, "; and %s more", COUNT((int64_t)(n - MAX_NAMES)));
	buf_add(&out, "", 0);
	return buf_take(&out);
}

static void
cage(struct page *p, const struct facts *f)
{
	const json_t *cage = json_object_get(json_object_get(f->drill, "scratch"), "cage"), *m;
	json_t *open = json_array();
	size_t i, n = json_array_size(cage), missing;
	char *names;

	json_array_foreach(cage, i, m)
		if (!json_is_true(json_object_get(m, "enforced")))
			json_add(open, json_str(json_opt_str(m, "measure", "unnamed")));
	missing = json_array_size(open);
	names = listing(open);
	if (n > 0)
		labelled(p, "Cage", missing > 0 ? TONE_WARN : TONE_PLAIN,
		    mem_printf("%zu of %zu measures enforced%s%s", n - missing, n, missing > 0 ? "; not: " : "", names));
	free(names);
	json_decref(open);
}

static void
schemas(struct page *p, const struct facts *f)
{
	const json_t *d;
	size_t i;

	json_array_foreach(json_object_get(f->drill, "databases"), i, d)
		if (i < MAX_NAMES && strcmp(json_opt_str(d, "schema", ""), "differs") == 0)
			labelled(p, "Schema", TONE_BAD, doc_format("that of %s differs; \"holdfast report --format md\" shows where",
			    json_opt_str(d, "name", "a database")));
}

static void
summary(struct page *p, const struct facts *f)
{
	const json_t *problems = json_object_get(json_object_get(f->drill, "amcheck"), "problems");

	labelled(p, "Restore", TONE_PLAIN, f->rto_ms < 0 ? doc_format("not measured") :
	    doc_format("%s, measured on %s", MS(f->rto_ms), json_opt_str(f->drill, "host", "an unnamed host")));
	labelled(p, "Loss", f->proven_us < 0 ? TONE_BAD : TONE_PLAIN, content_loss(f));
	if (f->checks > 0)
		labelled(p, "Checks", f->checks_passed < f->checks ? TONE_BAD : TONE_PLAIN,
		    doc_format("%s of %s passed", COUNT(f->checks_passed), COUNT(f->checks)));
	if (json_array_size(problems) > 0)
		labelled(p, "Indexes", TONE_BAD, listing(problems));
	if (f->drill == NULL)
		return;
	schemas(p, f);
	if (f->moved > 0)
		labelled(p, "Row order", TONE_PLAIN, doc_format("%s %s came back with the same rows in another order, which counts as equal",
		    COUNT(f->moved), PLURAL(f->moved, "table", "tables")));
	labelled(p, "Key", TONE_PLAIN, content_key(f));
	cage(p, f);
	if (json_array_size(json_object_get(f->drill, "not_covered")) > 0)
		labelled(p, "Not covered", TONE_PLAIN, listing(json_object_get(f->drill, "not_covered")));
	/* Those of a drill that was read back; the outcome's own are said by whoever prints this. */
	if (f->drill != f->outcome && json_array_size(json_object_get(f->drill, "warnings")) > 0)
		labelled(p, "Warnings", TONE_WARN, listing(json_object_get(f->drill, "warnings")));
	if (f->signature != NULL)
		labelled(p, "Signature", f->forged ? TONE_BAD : TONE_PLAIN, content_signature(f));
}

/* ---- phases ---- */

/* A bar of eighths: `part` of `whole` over `columns`. */
static size_t
bar(struct buf *out, int64_t part, int64_t whole, size_t columns)
{
	static const char *const eighths[] = { "", "▏", "▎", "▍", "▌", "▋", "▊", "▉" };
	size_t steps = whole <= 0 ? 0 : (size_t)((double)part / (double)whole * (double)columns * 8);

	steps = steps == 0 && part > 0 ? 1 : steps;
	for (size_t i = 0; i < steps / 8; i++)
		buf_addstr(out, "█");
	buf_addstr(out, eighths[steps % 8]);
	return (steps + 7) / 8;
}

static void
phases(struct page *p, const struct facts *f)
{
	const json_t *list = json_object_get(f->drill, "phases"), *ph;
	const size_t name = 14, time = 13, room = p->width - name - time - 4;
	int64_t longest = 0;
	size_t i;

	json_array_foreach(list, i, ph)
		if (facts_int(ph, "ms") > longest)
			longest = facts_int(ph, "ms");
	if (json_array_size(list) > 0)
		buf_addc(&p->out, '\n');
	json_array_foreach(list, i, ph) {
		char *label = doc_format("%s", json_opt_str(ph, "name", "unnamed"));
		int64_t ms = facts_int(ph, "ms");
		enum tone tone = facts_phase_counts(ph) ? TONE_PLAIN : TONE_MUTED;

		if (i < 2 * MAX_ROWS) {
			buf_addstr(&p->out, "  ");
			field(p, tone, label, name, false);
			buf_addstr(&p->out, code(p, tone));
			spaces(p, room - bar(&p->out, ms < 0 ? 0 : ms, longest, room));
			buf_addstr(&p->out, end(p, tone));
			field(p, tone, MS(ms), time, true);
			buf_addc(&p->out, '\n');
		}
		free(label);
	}
}

/* ---- tables ---- */

/* The width of each column: what its widest cell needs; then the widest gives way until the line fits. */
static void
widths(size_t width[], const struct table *t, size_t room)
{
	size_t all = 0;

	for (size_t c = 0; c < t->columns; c++) {
		width[c] = width_of(t->column[c].title);
		for (size_t r = 0; r < table_rows(t); r++)
			if (width_of(table_at(t, r, c)->text) > width[c])
				width[c] = width_of(table_at(t, r, c)->text);
		all += width[c] + 2;
	}
	while (all > room) {
		size_t widest = 0;

		for (size_t c = 1; c < t->columns; c++)
			if (width[c] > width[widest])
				widest = c;
		if (width[widest] <= 3)
			break;
		width[widest]--;
		all--;
	}
}

/* Takes `t`. */
static void
table(struct page *p, struct table *t)
{
	size_t width[TABLE_COLUMNS];

	if (table_rows(t) > 0) {
		widths(width, t, p->width - 2);
		buf_addstr(&p->out, "\n");
		for (size_t r = 0; r <= table_rows(t); r++) {
			buf_addstr(&p->out, "  ");
			for (size_t c = 0; c < t->columns; c++) {
				const struct cell head = { .tone = TONE_MUTED }, *cell = r == 0 ? &head : table_at(t, r - 1, c);

				field(p, cell->tone, r == 0 ? t->column[c].title : cell->text, width[c],
				    t->column[c].kind == COLUMN_NUMBER);
				buf_addstr(&p->out, "  ");
			}
			end_line(p);
		}
		if (t->left_out > 0)
			buf_addf(&p->out, "  and %s more\n", COUNT((int64_t)t->left_out));
	}
	table_free(t);
}

char *
report_text(const json_t *outcome, bool colour, unsigned width)
{
	unsigned columns = width == 0 ? 80 : width < 48 ? 48 : width > 132 ? 132 : width;
	struct page p = { .out = BUF_INIT, .width = columns, .colour = colour };
	struct doc d = { 0 };
	struct facts f;

	facts_read(&f, outcome);
	content_verdict(&d, &f);
	box(&p, &d, &f);
	summary(&p, &f);
	phases(&p, &f);
	table(&p, tables_databases(&f, MAX_ROWS));
	table(&p, tables_differences(&f, MAX_ROWS));
	table(&p, tables_objects(&f, true, MAX_ROWS));
	if (f.checks_passed < f.checks)
		table(&p, tables_checks(&f, MAX_ROWS));
	doc_free(&d);
	return buf_take(&p.out);
}
