#include "report/tables.h"

#include <stdlib.h>
#include <string.h>

#include "report/say.h"

#define ID_CHARS 12

enum tone
tables_tone(enum verdict verdict)
{
	static const enum tone tones[] = {
		[VERDICT_NO_DRILL] = TONE_MUTED, [VERDICT_PROVEN] = TONE_GOOD, [VERDICT_DIFFERS] = TONE_BAD,
		[VERDICT_FAILED] = TONE_BAD, [VERDICT_UNVERIFIABLE] = TONE_WARN,
	};

	return tones[verdict];
}

/* True while there is room for another row; counts the others. */
static bool
room(struct table *t, size_t limit)
{
	if (table_rows(t) < limit)
		return true;
	t->left_out++;
	return false;
}

static void
member(struct table *t, const json_t *object, const char *key)
{
	table_cell(t, TONE_PLAIN, json_opt_str(object, key, ""));
}

/* As much of an id as the command line needs to find it again; the whole of it stands under the verdict. */
static void
id_cell(struct table *t, const char *id)
{
	char *start = mem_strndup(id, strnlen(id, ID_CHARS));

	table_cell(t, TONE_PLAIN, start);
	free(start);
}

/* A value may be text, a number or a truth: whatever the check's SQL gave. */
static void
scalar(struct table *t, enum tone tone, const json_t *value)
{
	char *text = json_is_string(value) || json_is_null(value) || value == NULL ? NULL : json_text(value, JSON_COMPACT);

	table_cell(t, tone, text != NULL ? text : json_string_value(value));
	free(text);
}

struct table *
tables_phases(const struct facts *f, size_t limit)
{
	struct table *t = table_new("Phases of the drill");
	bool measured = false;
	int64_t all = 0;
	size_t i;
	const json_t *p, *phases = json_object_get(f->drill, "phases");

	table_column(t, "Phase", COLUMN_TEXT);
	table_column(t, "Time", COLUMN_NUMBER);
	table_column(t, "Share", COLUMN_NUMBER);
	json_array_foreach(phases, i, p) {
		measured = measured || facts_int(p, "bytes") >= 0;
		if (facts_int(p, "ms") > 0 && __builtin_add_overflow(all, facts_int(p, "ms"), &all))
			all = INT64_MAX;
	}
	if (measured)
		table_column(t, "Data", COLUMN_NUMBER);
	table_column(t, "Part of", COLUMN_TEXT);
	json_array_foreach(phases, i, p) {
		bool counts = facts_phase_counts(p);
		int64_t bytes = facts_int(p, "bytes");

		if (!room(t, limit))
			continue;
		member(t, p, "name");
		table_cell(t, TONE_PLAIN, MS(facts_int(p, "ms")));
		table_cell(t, TONE_PLAIN, PERCENT(facts_int(p, "ms"), all));
		if (measured)
			table_cell(t, TONE_PLAIN, bytes < 0 ? "" : BYTES(bytes));
		table_cell(t, counts ? TONE_PLAIN : TONE_MUTED, counts ? "the restore" : "the proof only");
	}
	return t;
}

static void
loss(struct table *t, const struct facts *f, const char *what, const char *id, int64_t us)
{
	table_cell(t, TONE_PLAIN, what);
	id_cell(t, us < 0 ? "none" : id);
	table_cell(t, TONE_PLAIN, us < 0 ? "" : TIME(us));
	table_cell(t, us < 0 ? TONE_BAD : TONE_PLAIN, us < 0 ? "not known" : MS(facts_age_ms(f, us)));
}

struct table *
tables_losses(const struct facts *f)
{
	struct table *t = table_new("Data loss window");

	table_column(t, "Restored from", COLUMN_TEXT);
	table_column(t, "Backup", COLUMN_NAME);
	table_column(t, "Its snapshot", COLUMN_TIME);
	table_column(t, "Lost", COLUMN_NUMBER);
	/* The outcome of a drill alone knows of no other backup. */
	if (json_array_size(f->backups) == 0) {
		loss(t, f, "the backup of this drill", f->id, f->snapshot_us);
		return t;
	}
	loss(t, f, "the newest proven backup", f->proven_id, f->proven_us);
	loss(t, f, "the newest backup", f->newest_id, f->newest_us);
	return t;
}

struct table *
tables_databases(const struct facts *f, size_t limit)
{
	struct table *t = table_new("Databases compared");
	size_t i;
	const json_t *d;

	table_column(t, "Database", COLUMN_NAME);
	table_column(t, "Entries", COLUMN_NUMBER);
	table_column(t, "Equal", COLUMN_NUMBER);
	table_column(t, "Rows", COLUMN_NUMBER);
	table_column(t, "Data", COLUMN_NUMBER);
	table_column(t, "Schema", COLUMN_TEXT);
	json_array_foreach(json_object_get(f->drill, "databases"), i, d) {
		int64_t entries = facts_int(d, "entries"), equal = facts_int(d, "equal");
		const char *schema = json_opt_str(d, "schema", "unknown");

		if (!room(t, limit))
			continue;
		member(t, d, "name");
		table_cell(t, TONE_PLAIN, COUNT(entries));
		table_cell(t, entries >= 0 && equal == entries ? TONE_GOOD : TONE_BAD, COUNT(equal));
		table_cell(t, TONE_PLAIN, COUNT(facts_int(d, "rows")));
		table_cell(t, TONE_PLAIN, BYTES(facts_int(d, "bytes")));
		table_cell(t, strncmp(schema, "equal", 5) == 0 ? TONE_GOOD : TONE_BAD, schema);
	}
	return t;
}

static void
object_row(struct table *t, const json_t *database, const json_t *o)
{
	const json_t *source = json_object_get(o, "source"), *restored = json_object_get(o, "restored");
	bool equal = json_equal(source, restored);

	member(t, database, "name");
	member(t, o, "class");
	table_cell(t, TONE_PLAIN, COUNT(facts_int(o, "source")));
	table_cell(t, equal ? TONE_PLAIN : TONE_BAD, COUNT(facts_int(o, "restored")));
	table_cell(t, equal ? TONE_GOOD : TONE_BAD, equal ? "equal" : "differs");
}

struct table *
tables_objects(const struct facts *f, bool differing, size_t limit)
{
	struct table *t = table_new("Objects counted by class, in the source and in what was restored");
	size_t i, k;
	const json_t *d, *o;

	table_column(t, "Database", COLUMN_NAME);
	table_column(t, "Class", COLUMN_TEXT);
	table_column(t, "Source", COLUMN_NUMBER);
	table_column(t, "Restored", COLUMN_NUMBER);
	table_column(t, "Result", COLUMN_TEXT);
	json_array_foreach(json_object_get(f->drill, "databases"), i, d)
		json_array_foreach(json_object_get(d, "objects"), k, o)
			if ((!differing || !json_equal(json_object_get(o, "source"), json_object_get(o, "restored"))) && room(t, limit))
				object_row(t, d, o);
	return t;
}

struct table *
tables_differences(const struct facts *f, size_t limit)
{
	struct table *t = table_new("Differences");
	size_t i;
	const json_t *d;

	table_column(t, "Database", COLUMN_NAME);
	table_column(t, "Entry", COLUMN_NAME);
	table_column(t, "What", COLUMN_TEXT);
	table_column(t, "Rows in the source", COLUMN_NUMBER);
	table_column(t, "Rows restored", COLUMN_NUMBER);
	json_array_foreach(json_object_get(f->drill, "differences"), i, d) {
		int64_t source = facts_int(d, "source_rows"), restored = facts_int(d, "restored_rows");

		if (!room(t, limit))
			continue;
		member(t, d, "database");
		member(t, d, "entry");
		table_cell(t, TONE_BAD, json_opt_str(d, "what", ""));
		table_cell(t, TONE_PLAIN, source < 0 ? "" : COUNT(source));
		table_cell(t, TONE_PLAIN, restored < 0 ? "" : COUNT(restored));
	}
	return t;
}

struct table *
tables_checks(const struct facts *f, size_t limit)
{
	struct table *t = table_new("Checks in SQL");
	size_t i;
	const json_t *c;

	table_column(t, "Check", COLUMN_TEXT);
	table_column(t, "Database", COLUMN_NAME);
	table_column(t, "Value", COLUMN_NAME);
	table_column(t, "Expected", COLUMN_NAME);
	table_column(t, "Result", COLUMN_TEXT);
	json_array_foreach(json_object_get(f->drill, "checks"), i, c) {
		bool ok = json_is_true(json_object_get(c, "ok"));

		if (!room(t, limit))
			continue;
		member(t, c, "name");
		member(t, c, "database");
		scalar(t, ok ? TONE_PLAIN : TONE_BAD, json_object_get(c, "value"));
		scalar(t, TONE_PLAIN, json_object_get(c, "expected"));
		table_cell(t, ok ? TONE_GOOD : TONE_BAD, ok ? "passed" : "failed");
	}
	return t;
}

struct table *
tables_cage(const struct facts *f, size_t limit)
{
	struct table *t = table_new("Measures around the scratch server");
	size_t i;
	const json_t *m;

	table_column(t, "Measure", COLUMN_TEXT);
	table_column(t, "Enforced", COLUMN_TEXT);
	table_column(t, "Note", COLUMN_TEXT);
	json_array_foreach(json_object_get(json_object_get(f->drill, "scratch"), "cage"), i, m) {
		bool enforced = json_is_true(json_object_get(m, "enforced"));

		if (!room(t, limit))
			continue;
		member(t, m, "measure");
		table_cell(t, enforced ? TONE_GOOD : TONE_WARN, enforced ? "yes" : "no");
		member(t, m, "note");
	}
	return t;
}

static void
backup_row(struct table *t, const json_t *b)
{
	enum verdict verdict = facts_verdict(json_opt_str(b, "last_verdict", NULL));
	bool suspect = json_opt_str(b, "suspect", NULL) != NULL;

	table_cell(t, TONE_PLAIN, TIME(facts_time(b, "time")));
	id_cell(t, json_opt_str(b, "id", ""));
	table_cell(t, TONE_PLAIN, BYTES(facts_int(b, "bytes")));
	table_cell(t, TONE_PLAIN, BYTES(facts_int(b, "new_bytes")));
	table_cell(t, TONE_PLAIN, BYTES(facts_int(b, "stored_bytes")));
	table_cell(t, TONE_PLAIN, MS(facts_int(b, "duration_ms")));
	table_cell(t, suspect ? TONE_WARN : tables_tone(verdict), facts_verdict_name(verdict));
}

struct table *
tables_backups(const struct facts *f, size_t limit)
{
	struct table *t = table_new("Newest backups");
	size_t n = json_array_size(f->backups);

	table_column(t, "Snapshot", COLUMN_TIME);
	table_column(t, "Backup", COLUMN_NAME);
	table_column(t, "Data", COLUMN_NUMBER);
	table_column(t, "New", COLUMN_NUMBER);
	table_column(t, "Stored", COLUMN_NUMBER);
	table_column(t, "Took", COLUMN_NUMBER);
	table_column(t, "Newest drill", COLUMN_TEXT);
	for (size_t i = n; i-- > 0;)
		if (room(t, limit))
			backup_row(t, json_array_get(f->backups, i));
	return t;
}
