#include "report/chart.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "report/doc.h"
#include "report/say.h"

/* Marks in a chart: more would be thinner than a pixel on a phone. */
#define MOST 90
#define FEWEST 20               /* so that a single backup is a bar and not a wall */
#define STEP 10                 /* width of a mark and its gap, in units of the drawing */
#define MARK 7
#define HIGH 100

static const char *const verdict_class[] = {
	[VERDICT_NO_DRILL] = "none", [VERDICT_PROVEN] = "good", [VERDICT_DIFFERS] = "bad", [VERDICT_FAILED] = "bad",
	[VERDICT_UNVERIFIABLE] = "warn",
};

static void
rect(struct html *h, const char *class, int64_t x, int64_t y, int64_t width, int64_t height)
{
	html_void(
	    h, "rect", "class", class, "x", NUMBER(x), "y", NUMBER(y), "width", NUMBER(width), "height", NUMBER(height), NULL);
}

/* Opens a drawing `width` by HIGH units large that fills its box. */
static void
open_svg(struct html *h, const char *class, int64_t width, const char *title, const char *description)
{
	char *box = mem_printf("0 0 %lld %d", (long long)width, HIGH);
	char *ids = mem_printf("chart-%u-title chart-%u-desc", h->ids + 1, h->ids + 1), *second = strchr(ids, ' ');

	h->ids++;
	html_open(h, "svg", "class", class, "viewBox", box, "preserveAspectRatio", "none", "role", "img", "aria-labelledby", ids,
	    "xmlns", "http://www.w3.org/2000/svg", NULL);
	*second++ = '\0';
	html_leaf(h, "title", title, "id", ids, NULL);
	html_leaf(h, "desc", description, "id", second, NULL);
	free(ids);
	free(box);
}

/* A mark with a word for the pointer that rests on it. */
static void
open_mark(struct html *h, const char *hint, const char *about)
{
	char *text = doc_format("%s: %s", about, hint);

	html_open(h, "g", NULL);
	html_leaf(h, "title", text, NULL);
	free(text);
}

/* ---- phases ---- */

static int64_t
sum_of_phases(const json_t *phases)
{
	int64_t all = 0;
	size_t i;
	const json_t *p;

	json_array_foreach(phases, i, p)
		if (facts_int(p, "ms") > 0 && __builtin_add_overflow(all, facts_int(p, "ms"), &all))
			return INT64_MAX;
	return all;
}

/* Restoring in the accent, checking it in a lighter shade of it, the proof's own work in grey. */
static const char *
phase_class(const json_t *p, size_t i)
{
	static const char *const counted[] = { "p2", "p3", "p4" }, *const other[] = { "q1", "q2", "q3" };

	if (strcmp(json_opt_str(p, "name", ""), "restore") == 0)
		return "p1";
	return facts_phase_counts(p) ? counted[i % 3] : other[i % 3];
}

#define MAX_PHASES 24

static void
phase_legend(struct html *h, const json_t *phases)
{
	size_t i;
	const json_t *p;

	html_open(h, "ul", "class", "legend", NULL);
	json_array_foreach(phases, i, p) {
		char *text = doc_format("%s %s", json_opt_str(p, "name", "unnamed"), MS(facts_int(p, "ms")));

		if (i < MAX_PHASES) {
			char *class = mem_printf("key %s", phase_class(p, i));

			html_open(h, "li", NULL);
			html_leaf(h, "span", NULL, "class", class, NULL);
			html_text(h, text);
			html_close(h);
			free(class);
		}
		free(text);
	}
	html_close(h);
}

void
chart_phases(struct html *h, const struct facts *f)
{
	const json_t *phases = json_object_get(f->drill, "phases"), *p;
	int64_t all = sum_of_phases(phases), x = 0;
	char *description;
	size_t i;

	if (all <= 0)
		return;
	description = doc_format(
	    "%s phases, %s in all; the table below has the numbers.", COUNT((int64_t)json_array_size(phases)), MS(all));
	html_open(h, "figure", NULL);
	open_svg(h, "stack", 1000, "Time of the drill by phase", description);
	json_array_foreach(phases, i, p) {
		int64_t ms = facts_int(p, "ms"), width = (int64_t)((double)ms * 1000 / (double)all);

		if (ms <= 0 || i >= MAX_PHASES)
			continue;
		open_mark(h, MS(ms), json_opt_str(p, "name", "unnamed"));
		/* One unit of air between two, and never nothing for a phase that took time. */
		rect(h, phase_class(p, i), x, 0, width > 3 ? width - 2 : 2, HIGH);
		html_close(h);
		x += width > 3 ? width : 4;
	}
	html_close(h);
	phase_legend(h, phases);
	html_close(h);
	free(description);
}

/* ---- what the drills said ---- */

/* Each verdict has a shape of its own: full, halved, crossed out, hollow, a stub. */
static void
verdict_mark(struct html *h, enum verdict v, int64_t x)
{
	switch (v) {
	case VERDICT_PROVEN:
		rect(h, "good", x, 0, MARK, HIGH);
		break;
	case VERDICT_DIFFERS:
		rect(h, "bad", x, 0, MARK, 42);
		rect(h, "bad", x, 58, MARK, 42);
		break;
	case VERDICT_FAILED:
		for (int64_t y = 0; y < HIGH; y += 28)
			rect(h, "bad", x, y, MARK, 16);
		break;
	case VERDICT_UNVERIFIABLE:
		rect(h, "warn hollow", x + 1, 3, MARK - 2, HIGH - 6);
		break;
	case VERDICT_NO_DRILL:
		rect(h, "none", x, 80, MARK, 20);
		break;
	}
}

static void
verdict_legend(struct html *h, const size_t counts[])
{
	html_open(h, "ul", "class", "legend", NULL);
	for (enum verdict v = VERDICT_NO_DRILL; v <= VERDICT_UNVERIFIABLE; v++) {
		char *text;

		if (counts[v] == 0)
			continue;
		text = doc_format("%s %s", facts_verdict_name(v), COUNT((int64_t)counts[v]));
		html_open(h, "li", NULL);
		html_open(h, "svg", "class", "key", "viewBox", "0 0 7 100", "preserveAspectRatio", "none", "aria-hidden", "true",
		    "xmlns", "http://www.w3.org/2000/svg", NULL);
		verdict_mark(h, v, 0);
		html_close(h);
		html_text(h, text);
		html_close(h);
		free(text);
	}
	html_close(h);
}

static void
dates(struct html *h, const json_t *list, size_t first, const char *note)
{
	size_t n = json_array_size(list);

	html_open(h, "p", "class", "axis", NULL);
	html_leaf(h, "span", DAY(facts_time(json_array_get(list, first), "time")), NULL);
	html_leaf(h, "span", n - first > 1 ? DAY(facts_time(json_array_get(list, n - 1), "time")) : "", NULL);
	if (*note != '\0')
		html_leaf(h, "span", note, "class", "note", NULL);
	html_close(h);
}

static int64_t
columns(size_t shown)
{
	return (int64_t)(shown < FEWEST ? FEWEST : shown) * STEP;
}

void
chart_strip(struct html *h, const struct facts *f)
{
	/* The list of backups shows those without a drill as well; an outcome may have drills alone. */
	bool of_backups = json_array_size(f->backups) > 0;
	const json_t *list = of_backups ? f->backups : f->history;
	size_t n = json_array_size(list), first = n > MOST ? n - MOST : 0, counts[VERDICT_UNVERIFIABLE + 1] = { 0 };
	const char *what = of_backups ? "What the newest drill of each backup said" : "What each drill said";
	char *note;

	if (n == 0)
		return;
	note = first > 0 ? doc_format("newest %s of %s", COUNT(MOST), COUNT((int64_t)n)) : doc_format("%s", "");
	html_open(h, "figure", NULL);
	html_leaf(h, "figcaption", what, NULL);
	open_svg(h, "strip", columns(n - first), what, "A mark for each, oldest first; counted by verdict below.");
	for (size_t i = first; i < n; i++) {
		const json_t *b = json_array_get(list, i);
		enum verdict v = facts_verdict(json_opt_str(b, of_backups ? "last_verdict" : "verdict", NULL));

		counts[v]++;
		open_mark(h, facts_verdict_name(v), TIME(facts_time(b, "time")));
		verdict_mark(h, v, (int64_t)(i - first) * STEP);
		html_close(h);
	}
	html_close(h);
	dates(h, list, first, note);
	verdict_legend(h, counts);
	html_close(h);
	free(note);
}

/* ---- numbers over time ---- */

struct trend {
	const char *title, *member;
	const json_t *list;
	const char *(*say)(char *to, int64_t n);
	bool verdicts;                  /* colour a bar by the drill's verdict */
};

/* The first backup is often fifty times as large as those that follow; drawn to scale it would flatten them.  Where one bar
 * alone stands out like that, it is cut, and says so. */
static void
scale(const struct trend *t, size_t first, int64_t *most, int64_t *full)
{
	int64_t second = 0;

	*most = 0;
	for (size_t i = first; i < json_array_size(t->list); i++) {
		int64_t v = facts_int(json_array_get(t->list, i), t->member);

		if (v > *most) {
			second = *most;
			*most = v;
		} else if (v > second) {
			second = v;
		}
	}
	*full = second > 0 && *most / 5 > second ? second + second / 2 : *most;
}

static void
trend_bar(struct html *h, const char *class, int64_t x, int64_t v, int64_t full)
{
	int64_t height = full <= 0 ? 1 : v >= full ? HIGH : (int64_t)((double)v * HIGH / (double)full);

	if (v > full) {
		rect(h, class, x, 0, MARK, 12);
		rect(h, class, x, 18, MARK, HIGH - 18);
	} else {
		rect(h, class, x, HIGH - (height > 1 ? height : 1), MARK, height > 1 ? height : 1);
	}
}

static void
trend_bars(struct html *h, const struct trend *t, size_t first, int64_t full)
{
	for (size_t i = first; i < json_array_size(t->list); i++) {
		const json_t *o = json_array_get(t->list, i);
		int64_t v = facts_int(o, t->member);
		enum verdict verdict = facts_verdict(json_opt_str(o, "verdict", NULL));
		const char *class = t->verdicts && verdict != VERDICT_PROVEN ? verdict_class[verdict] : "bar";

		if (v < 0)
			continue;
		open_mark(h, t->say((char[SAY_TEXT]){ 0 }, v), TIME(facts_time(o, "time")));
		trend_bar(h, class, (int64_t)(i - first) * STEP, v, full);
		html_close(h);
	}
}

static void
trend(struct html *h, const struct trend *t)
{
	size_t n = json_array_size(t->list), first = n > MOST ? n - MOST : 0;
	int64_t most, full;
	char *highest, *description;

	if (n == 0)
		return;
	scale(t, first, &most, &full);
	highest = doc_format("highest %s%s", t->say((char[SAY_TEXT]){ 0 }, most), full < most ? ", bar cut" : "");
	description = doc_format("%s bars, oldest first, %s, newest %s.", COUNT((int64_t)(n - first)), highest,
	    t->say((char[SAY_TEXT]){ 0 }, facts_int(json_array_get(t->list, n - 1), t->member)));
	html_open(h, "figure", NULL);
	html_open(h, "figcaption", NULL);
	html_text(h, t->title);
	html_leaf(h, "b", t->say((char[SAY_TEXT]){ 0 }, facts_int(json_array_get(t->list, n - 1), t->member)), NULL);
	html_close(h);
	open_svg(h, "bars", columns(n - first), t->title, description);
	trend_bars(h, t, first, full);
	html_close(h);
	dates(h, t->list, first, highest);
	html_close(h);
	free(highest);
	free(description);
}

void
chart_trends(struct html *h, const struct facts *f)
{
	const struct trend trends[] = {
		{ "Data in the backup", "bytes", f->backups, say_bytes, false },
		{ "New since earlier backups", "new_bytes", f->backups, say_bytes, false },
		{ "Stored for it", "stored_bytes", f->backups, say_bytes, false },
		{ "Time the backup took", "duration_ms", f->backups, say_ms, false },
		{ "Rows in the backup", "rows", f->backups, say_count, false },
		{ "Restore time by drill", "rto_ms", f->history, say_ms, true },
	};

	html_open(h, "div", "class", "trends", NULL);
	for (size_t i = 0; i < sizeof(trends) / sizeof(trends[0]); i++)
		trend(h, &trends[i]);
	html_close(h);
}

void
chart_sign(struct html *h, enum verdict verdict)
{
	static const char *const paths[] = {
		[VERDICT_NO_DRILL] = "M12 24h24",
		[VERDICT_PROVEN] = "M13 25l8 8 15-18",
		[VERDICT_DIFFERS] = "M13 19h22M13 29h22M30 11L18 37",
		[VERDICT_FAILED] = "M15 15l18 18M33 15L15 33",
		[VERDICT_UNVERIFIABLE] = "M17 18a7 7 0 1 1 10 6.5c-2 1-3 2-3 4.500M24 36v.5",
	};

	html_open(h, "svg", "class", "sign", "viewBox", "0 0 48 48", "aria-hidden", "true", "xmlns", "http://www.w3.org/2000/svg",
	    NULL);
	html_void(h, "circle", "cx", "24", "cy", "24", "r", "23", NULL);
	html_void(h, "path", "d", paths[verdict], NULL);
	html_close(h);
}
