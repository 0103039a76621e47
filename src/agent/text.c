#include "agent/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/width.h"
#include "pg/quote.h"
#include "report/render.h"

void
text_size(struct grid *t, const json_t *object, const char *key)
{
	char human[32];
	int64_t v = json_opt_int(object, key, -1);

	grid_cell(t, GRID_PLAIN, v < 0 ? "" : bytes_human(human, (uint64_t)v));
}

void
text_duration(struct grid *t, const json_t *object, const char *key)
{
	char human[32];
	int64_t v = json_opt_int(object, key, -1);

	grid_cell(t, GRID_PLAIN, v < 0 ? "" : clock_human(human, v));
}

/* 1,234,567 */
static void
add_number(struct buf *to, int64_t v)
{
	char digits[24];
	size_t n = (size_t)snprintf(digits, sizeof(digits), "%" PRId64, v);

	for (size_t i = 0; i < n; i++) {
		if (i > 0 && (n - i) % 3 == 0)
			buf_addc(to, ',');
		buf_addc(to, digits[i]);
	}
}

void
text_number(struct grid *t, const json_t *object, const char *key)
{
	struct buf number = BUF_INIT;
	int64_t v = json_opt_int(object, key, -1);

	buf_add(&number, NULL, 0);
	if (v >= 0)
		add_number(&number, v);
	grid_cell(t, GRID_PLAIN, (char *)number.data);
	buf_free(&number);
}

void
text_count(struct buf *to, int64_t n, const char *one, const char *many)
{
	add_number(to, n);
	buf_addf(to, " %s", n == 1 ? one : many);
}

void
text_time(struct grid *t, const json_t *object, const char *key)
{
	char text[17];
	const char *time = json_opt_str(object, key, "");

	snprintf(text, sizeof(text), "%s", time);
	if (strlen(text) > 10)
		text[10] = ' ';
	grid_cell(t, GRID_PLAIN, text);
}

/* A line of facts, "name  value", for whoever set them apart by grid_new(look, "|"). */
static void
fact(struct grid *t, const char *name, const char *value)
{
	if (value == NULL || value[0] == '\0')
		return;
	grid_cell(t, GRID_DIM, name);
	grid_cell(t, GRID_PLAIN, value);
}

static void
fact_joined(struct grid *t, const char *name, const json_t *array)
{
	struct buf all = BUF_INIT;
	json_t *one;
	size_t i;

	json_array_foreach(array, i, one)
		buf_addf(&all, "%s%s", i > 0 ? ", " : "", json_string_value(one) != NULL ? json_string_value(one) : "?");
	buf_add(&all, NULL, 0);
	fact(t, name, (char *)all.data);
	buf_free(&all);
}

static void
fact_sizes(struct grid *t, const json_t *b)
{
	char all[32], fresh[32], stored[32], line[128];

	if (json_opt_int(b, "bytes", -1) < 0)
		return;
	snprintf(line, sizeof(line), "%s, of which %s were new and take %s of the store", bytes_human(all, (uint64_t)json_opt_int(b, "bytes", 0)),
		bytes_human(fresh, (uint64_t)json_opt_int(b, "new_bytes", 0)), bytes_human(stored, (uint64_t)json_opt_int(b, "stored_bytes", 0)));
	fact(t, "size", line);
}

/* "2.1 s: dump langfuse 1.9 s, commit 104 ms"; one phase alone says nothing that the whole does not.  What a manifest has of itself
 * ends before its commit: then the sum of the phases is the longer, and the truth. */
static void
fact_took(struct grid *t, const json_t *object, const json_t *phases)
{
	struct buf line = BUF_INIT;
	int64_t whole = json_opt_int(object, "duration_ms", -1), sum = 0;
	char human[32];
	json_t *p;
	size_t i;

	if (whole < 0)
		return;
	json_array_foreach(phases, i, p)
		sum += json_opt_int(p, "ms", 0);
	buf_addstr(&line, clock_human(human, whole > sum ? whole : sum));
	json_array_foreach(phases, i, p)
		if (json_array_size(phases) > 1)
			buf_addf(&line, "%s%s %s", i == 0 ? ": " : ", ", json_opt_str(p, "name", "?"), clock_human(human, json_opt_int(p, "ms", 0)));
	buf_add(&line, NULL, 0);
	fact(t, "took", (char *)line.data);
	buf_free(&line);
}

static void
facts_of_backup(struct buf *to, const json_t *b, const json_t *phases, const struct grid_look *look)
{
	struct grid *t = grid_new(look, "|");
	const json_t *databases = json_object_get(b, "databases");
	const char *only = json_array_size(databases) == 1 ? json_string_value(json_array_get(databases, 0)) : NULL;
	struct buf rows = BUF_INIT;

	fact(t, "backup", json_opt_str(b, "id", NULL));
	if (only == NULL || strcmp(only, json_opt_str(b, "source", "")) != 0)
		fact(t, "source", json_opt_str(b, "source", NULL));
	fact(t, "snapshot", json_opt_str(b, "time", NULL));
	fact_joined(t, only != NULL ? "database" : "databases", databases);
	fact(t, "server", json_opt_str(b, "server_version", NULL));
	fact(t, "label", json_opt_str(b, "label", NULL));
	fact_sizes(t, b);
	if (json_opt_int(b, "rows", -1) >= 0) {
		add_number(&rows, json_opt_int(b, "rows", 0));
		buf_addstr(&rows, " in ");
		text_count(&rows, json_opt_int(b, "entries", 0), "entry", "entries");
		fact(t, "rows", (char *)rows.data);
		buf_free(&rows);
	}
	fact_took(t, b, phases);
	if (json_is_true(json_object_get(b, "hold")))
		fact(t, "hold", "kept until it is released");
	if (json_opt_str(b, "proven", NULL) != NULL) {
		fact(t, "proven", json_opt_str(b, "proven", NULL));
	} else {
		grid_cell(t, GRID_DIM, "proven");
		grid_cell(t, json_opt_str(b, "last_verdict", NULL) != NULL ? GRID_RED : GRID_PLAIN, json_opt_str(b, "last_verdict", "not yet: holdfast drill"));
	}
	if (json_opt_str(b, "suspect", NULL) != NULL) {
		grid_cell(t, GRID_YELLOW, "suspect");
		grid_cell(t, GRID_YELLOW, json_opt_str(b, "suspect", ""));
	}
	grid_end(t, to);
}

static void
text_backup(struct buf *to, const json_t *o, const struct grid_look *look)
{
	facts_of_backup(to, json_object_get(o, "backup"), json_object_get(o, "phases"), look);
}

static void
text_list(struct buf *to, const json_t *o, const struct grid_look *look)
{
	struct grid *t = grid_new(look, "BACKUP|TIME (UTC)|>SIZE|>STORED|>TOOK|PROVEN (UTC)|DATABASES, NOTES");
	const json_t *repository = json_object_get(o, "repository");
	char id[13], human[32];
	json_t *b, *d;
	size_t i, j;

	json_array_foreach(json_object_get(o, "backups"), i, b) {
		struct buf notes = BUF_INIT;
		const char *verdict = json_opt_str(b, "last_verdict", NULL);

		snprintf(id, sizeof(id), "%s", json_opt_str(b, "id", "?"));
		grid_cell(t, GRID_PLAIN, id);
		text_time(t, b, "time");
		text_size(t, b, "bytes");
		text_size(t, b, "stored_bytes");
		text_duration(t, b, "duration_ms");
		if (json_opt_str(b, "proven", NULL) != NULL)
			text_time(t, b, "proven");
		else
			grid_cell(t, verdict != NULL ? GRID_RED : GRID_DIM, verdict != NULL ? verdict : "not yet");
		json_array_foreach(json_object_get(b, "databases"), j, d)
			buf_addf(&notes, "%s%s", j > 0 ? ", " : "", json_string_value(d) != NULL ? json_string_value(d) : "?");
		if (json_is_true(json_object_get(b, "hold")))
			buf_addstr(&notes, ", on hold");
		/* Why is a sentence, and `show` has it. */
		if (json_opt_str(b, "suspect", NULL) != NULL)
			buf_addstr(&notes, ", suspect");
		if (json_opt_str(b, "label", NULL) != NULL)
			buf_addf(&notes, ", \"%s\"", json_opt_str(b, "label", ""));
		buf_add(&notes, NULL, 0);
		grid_cell(t, json_opt_str(b, "suspect", NULL) != NULL ? GRID_YELLOW : GRID_PLAIN, (char *)notes.data);
		buf_free(&notes);
	}
	/* Where a database was asked for that no backup holds, a warning says so. */
	if (grid_is_empty(t) && json_array_size(json_object_get(o, "warnings")) == 0)
		buf_addstr(to, "There is no backup yet: holdfast backup takes one, holdfast check says first whether it can.\n");
	grid_end(t, to);
	if (json_opt_int(repository, "stored_bytes", -1) >= 0) {
		buf_addstr(to, to->bytes > 0 ? "\nrepository " : "repository ");
		width_add(to, json_opt_str(repository, "label", json_opt_str(repository, "id", "")), 200);
		buf_addf(to, ": %s in ", bytes_human(human, (uint64_t)json_opt_int(repository, "stored_bytes", 0)));
		text_count(to, json_opt_int(repository, "packs", 0), "pack", "packs");
		buf_addc(to, '\n');
	}
}

static bool
has_several_databases(const json_t *rows)
{
	const char *first = json_opt_str(json_array_get(rows, 0), "database", "");
	json_t *x;
	size_t i;

	json_array_foreach(rows, i, x)
		if (strcmp(json_opt_str(x, "database", ""), first) != 0)
			return true;
	return false;
}

/* Rows are counted in tables; that a sequence or a large object has none is no news. */
static void
rows_cell(struct grid *t, const json_t *row, const char *key)
{
	if (strcmp(json_opt_str(row, "type", "table"), "table") == 0)
		text_number(t, row, key);
	else
		grid_cell(t, GRID_PLAIN, "");
}

static void
show_changes(struct buf *to, const json_t *o, const struct grid_look *look)
{
	const json_t *changes = json_object_get(o, "changes"), *other = json_object_get(o, "compared_with");
	bool several = has_several_databases(changes);
	struct grid *t = grid_new(look, several ? "CHANGE|>ROWS BEFORE|>ROWS AFTER|DATABASE|NAME" : "CHANGE|>ROWS BEFORE|>ROWS AFTER|NAME");
	json_t *c;
	size_t i;

	json_array_foreach(changes, i, c) {
		const char *change = json_opt_str(c, "change", "?");

		grid_cell(t, strcmp(change, "removed") == 0 ? GRID_RED : strcmp(change, "added") == 0 ? GRID_GREEN : GRID_PLAIN, change);
		rows_cell(t, c, "rows_before");
		rows_cell(t, c, "rows_after");
		if (several)
			grid_cell(t, GRID_PLAIN, json_opt_str(c, "database", ""));
		grid_cell(t, GRID_PLAIN, json_opt_str(c, "name", "?"));
	}
	buf_addstr(to, grid_is_empty(t) ? "\nNothing changed since backup " : "\nChanged since backup ");
	width_add(to, json_opt_str(other, "id", "?"), 13);
	buf_addstr(to, " of ");
	width_add(to, json_opt_str(other, "time", "?"), 40);
	buf_addstr(to, grid_is_empty(t) ? ".\n" : ":\n\n");
	grid_end(t, to);
}

static void
show_streams(struct buf *to, const json_t *streams, const struct grid_look *look)
{
	struct grid *t = grid_new(look, "STREAM|KIND|DATABASE|>SIZE");
	json_t *x;
	size_t i;

	json_array_foreach(streams, i, x) {
		grid_cell(t, GRID_PLAIN, json_opt_str(x, "name", "?"));
		grid_cell(t, GRID_PLAIN, json_opt_str(x, "kind", ""));
		grid_cell(t, GRID_PLAIN, json_opt_str(x, "database", ""));
		text_size(t, x, "bytes");
	}
	buf_addc(to, '\n');
	grid_end(t, to);
}

static void
show_entries(struct buf *to, const json_t *entries, const struct grid_look *look)
{
	bool several = has_several_databases(entries);
	struct grid *t = grid_new(look, several ? "TYPE|>ROWS|>SIZE|DATABASE|NAME" : "TYPE|>ROWS|>SIZE|NAME");
	json_t *x;
	size_t i;

	json_array_foreach(entries, i, x) {
		grid_cell(t, GRID_PLAIN, json_opt_str(x, "type", ""));
		rows_cell(t, x, "rows");
		text_size(t, x, "bytes");
		if (several)
			grid_cell(t, GRID_PLAIN, json_opt_str(x, "database", ""));
		grid_cell(t, GRID_PLAIN, json_opt_str(x, "name", "?"));
	}
	buf_addc(to, '\n');
	grid_end(t, to);
}

static void
text_show(struct buf *to, const json_t *o, const struct grid_look *look)
{
	facts_of_backup(to, json_object_get(o, "backup"), NULL, look);
	if (json_is_array(json_object_get(o, "changes"))) {
		show_changes(to, o, look);
		return;
	}
	show_streams(to, json_object_get(o, "streams"), look);
	show_entries(to, json_object_get(o, "entries"), look);
}

static void
text_restore(struct buf *to, const json_t *o, const struct grid_look *look)
{
	struct grid *t = grid_new(look, "|");
	struct buf rows = BUF_INIT, next = BUF_INIT;
	bool whole = json_opt_int(o, "rows", -1) >= 0;          /* of a choice of tables it is not known */
	char human[32];

	fact(t, "restored", json_opt_str(o, "database", NULL));
	fact(t, "into", json_opt_str(o, "into", NULL));
	fact(t, "server", json_opt_str(o, "server", NULL));
	fact(t, "backup", json_opt_str(json_object_get(o, "backup"), "id", NULL));
	fact(t, "snapshot", json_opt_str(json_object_get(o, "backup"), "time", NULL));
	if (whole) {
		add_number(&rows, json_opt_int(o, "rows", 0));
		fact(t, "rows", (char *)rows.data);
		buf_free(&rows);
	}
	if (json_opt_int(o, "bytes", -1) >= 0)
		fact(t, "read", bytes_human(human, (uint64_t)json_opt_int(o, "bytes", 0)));
	fact_took(t, o, json_object_get(o, "phases"));
	/* Nothing else says at that hour how the new database takes the old one's place. */
	if (whole && strcmp(json_opt_str(o, "into", ""), json_opt_str(o, "database", "")) != 0) {
		buf_addstr(&next, "look at it, move the old one aside, then: ALTER DATABASE ");
		quote_ident(&next, json_opt_str(o, "into", ""));
		buf_addstr(&next, " RENAME TO ");
		quote_ident(&next, json_opt_str(o, "database", ""));
		fact(t, "next", (char *)next.data);
		buf_free(&next);
	}
	grid_end(t, to);
}

static void
text_hold(struct buf *to, const json_t *o, const struct grid_look *look)
{
	const json_t *b = json_object_get(o, "backup");

	(void)look;
	buf_addstr(to, "backup ");
	width_add(to, json_is_string(b) ? json_string_value(b) : json_opt_str(b, "id", "?"), 80);
	buf_addstr(to, json_is_true(json_object_get(json_is_object(b) ? b : o, "hold")) ? " is on hold: it will not expire\n" : " is no longer on hold\n");
}

static void
text_report(struct buf *to, const json_t *o, const struct grid_look *look)
{
	char *text = report_text(o, look->colour, (unsigned)look->columns);

	buf_addstr(to, text);
	free(text);
	if (strcmp(json_opt_str(o, "command", ""), "report") != 0 || json_is_object(json_object_get(o, "drill")))
		return;
	buf_addstr(to, json_array_size(json_object_get(o, "backups")) > 0 ? "\nholdfast drill makes the first proof, from the newest backup.\n" :
		"\nThere is no backup yet: holdfast backup takes one, holdfast drill proves it.\n");
}

char *
text_render(const char *command, const json_t *outcome, bool failed, const struct grid_look *look)
{
	static const struct {
		const char *command;
		void (*render)(struct buf *to, const json_t *o, const struct grid_look *look);
		const char *findings;           /* the member that is worth its text when the command failed, or NULL */
	} renderers[] = {
		{ "init", text_keys, NULL }, { "keys", text_keys, NULL }, { "backup", text_backup, NULL }, { "list", text_list, NULL },
		{ "show", text_show, NULL }, { "hold", text_hold, NULL }, { "restore", text_restore, NULL }, { "drill", text_report, "verdict" },
		{ "report", text_report, NULL }, { "verify", text_verify, "problems" }, { "check", text_check, "lines" },
		{ "expire", text_expire, NULL },
	};
	size_t n = strcspn(command, " ");
	struct buf text = BUF_INIT;

	for (size_t i = 0; i < sizeof(renderers) / sizeof(renderers[0]); i++) {
		if (strncmp(command, renderers[i].command, n) != 0 || renderers[i].command[n] != '\0')
			continue;
		if (!failed || (renderers[i].findings != NULL && json_object_get(outcome, renderers[i].findings) != NULL))
			renderers[i].render(&text, outcome, look);
	}
	return buf_take(&text);
}
