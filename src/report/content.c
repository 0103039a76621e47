#include "report/content.h"

#include <stdlib.h>
#include <string.h>

#include "report/say.h"
#include "report/tables.h"

/* Bounds that keep a report readable, and a page of any outcome below a few hundred KiB. */
#define MAX_PHASES 24
#define MAX_DATABASES 50
#define MAX_OBJECTS 80
#define MAX_DIFFERENCES 50
#define MAX_CHECKS 100
#define MAX_CAGE 40
#define MAX_BACKUPS 14
#define MAX_ITEMS 40

static const char *
either(const char *text, const char *otherwise)
{
	return text == NULL || *text == '\0' ? otherwise : text;
}

/* ---- verdict ---- */

static const char *
headline(const struct facts *f)
{
	static const char *const words[] = {
		[VERDICT_NO_DRILL] = "No drill yet", [VERDICT_PROVEN] = "Proven", [VERDICT_DIFFERS] = "Differs",
		[VERDICT_FAILED] = "Failed", [VERDICT_UNVERIFIABLE] = "Not verifiable here",
	};

	return f->forged ? "Signature not valid" : words[f->verdict];
}

static char *
sentence_of_proof(const struct facts *f)
{
	if (f->entries < 0)
		return doc_format("This backup was restored, and what came back is what was in the snapshot that was dumped.");
	return doc_format(
	    "This backup was restored, and what came back is, %s for %s, what was in the snapshot that was dumped: "
	    "%s of %s entries are equal.",
	    f->moved > 0 ? "row" : "byte", f->moved > 0 ? "row" : "byte", COUNT(f->equal), COUNT(f->entries));
}

/* Reasons come as sentences and as the phrases of an err; behind a colon both read well. */
static char *
sentence_with_reason(const struct facts *f, const char *what)
{
	size_t length = f->reason == NULL ? 0 : strlen(f->reason);
	char *reason, *sentence;

	if (length == 0)
		return doc_format("%s; no reason was recorded.", what);
	reason = mem_strndup(f->reason, f->reason[length - 1] == '.' ? length - 1 : length);
	sentence = doc_format("%s: %s.", what, reason);
	free(reason);
	return sentence;
}

char *
content_sentence(const struct facts *f)
{
	if (f->forged)
		return doc_format("Somebody other than the signer may have written this report. Do not rely on anything below.");
	if (f->contradicts)
		return doc_format("The stored verdict is \"proven\", but the same outcome lists what does not fit it. It is not "
				  "to be relied on.");
	switch (f->verdict) {
	case VERDICT_PROVEN:
		return sentence_of_proof(f);
	case VERDICT_NO_DRILL:
		return doc_format("No backup shown here has been restored and compared yet. Whether it can be is not known.");
	case VERDICT_DIFFERS:
		return sentence_with_reason(f, f->differences == 0 && f->entries >= 0 && f->equal == f->entries ?
		    "This backup can be restored, and every entry came back equal, but it is not proven" :
		    "This backup can be restored, but what came back is not what was in the snapshot");
	case VERDICT_FAILED:
		return sentence_with_reason(f, "This backup could not be restored and compared");
	case VERDICT_UNVERIFIABLE:
		return sentence_with_reason(f, "Where this drill ran, the backup could be neither proven nor disproven");
	}
	return NULL;
}

static void
figure_restore(struct doc *d, const struct facts *f)
{
	const char *host = json_opt_str(f->drill, "host", "");

	doc_figure(d, TONE_PLAIN, "A restore takes", doc_format("%s", MS(f->rto_ms)),
	    f->rto_ms < 0 ? doc_format("not measured") : doc_format("measured%s%s", *host ? " on " : "", host));
}

static void
figure_loss(struct doc *d, const struct facts *f)
{
	bool proven = f->proven_us >= 0;

	doc_figure(d, proven ? TONE_PLAIN : TONE_BAD, "Would be lost",
	    doc_format("%s", proven ? MS(facts_age_ms(f, f->proven_us)) : "unknown"),
	    proven ? doc_format("since the newest proven snapshot, %s", TIME(f->proven_us)) :
		     doc_format("no proven backup is known"));
}

static void
figure_compared(struct doc *d, const struct facts *f)
{
	if (f->entries >= 0)
		doc_figure(d, f->equal == f->entries ? TONE_PLAIN : TONE_BAD, "Entries equal",
		    doc_format("%s of %s", COUNT(f->equal), COUNT(f->entries)),
		    doc_format("%s rows, %s", COUNT(f->rows), BYTES(f->bytes)));
}

static void
figure_checks(struct doc *d, const struct facts *f)
{
	if (f->checks > 0)
		doc_figure(d, f->checks_passed == f->checks ? TONE_PLAIN : TONE_BAD, "Checks passed",
		    doc_format("%s of %s", COUNT(f->checks_passed), COUNT(f->checks)),
		    doc_format("SQL, in the restored databases"));
}

void
content_verdict(struct doc *d, const struct facts *f)
{
	d->headline = mem_strdup(headline(f));
	d->tone = f->forged ? TONE_BAD : tables_tone(f->verdict);
	d->title = doc_format("Restore drill of %s: %s", either(f->source, "a PostgreSQL server"), headline(f));
	d->subject = f->backup == NULL ? mem_strdup("no backup") :
					 doc_format("%s, backup %s, snapshot of %s", either(f->source, "unnamed source"),
					     either(f->id, "without an id"), TIME(f->snapshot_us));
	figure_restore(d, f);
	figure_loss(d, f);
	figure_compared(d, f);
	figure_checks(d, f);
}

/* ---- sections ---- */

static void
say_databases(struct doc *d, const struct facts *f)
{
	const json_t *databases = json_object_get(f->drill, "databases");

	if (f->entries < 0)
		return;
	doc_say(d, DOC_ITEM, TONE_PLAIN,
	    "%s of %s entries (tables, sequences, large objects) in %s %s have the digest they had when "
	    "they were dumped: SHA-256 over every row, %s rows and %s in all.",
	    COUNT(f->equal), COUNT(f->entries), COUNT((int64_t)json_array_size(databases)),
	    PLURAL(json_array_size(databases), "database", "databases"), COUNT(f->rows), BYTES(f->bytes));
}

static void
say_amcheck(struct doc *d, const struct facts *f, enum block_kind kind)
{
	const json_t *a = json_object_get(f->drill, "amcheck");
	int64_t problems = (int64_t)json_array_size(json_object_get(a, "problems"));

	if (json_is_true(json_object_get(a, "ran")))
		doc_say(d, kind, problems > 0 ? TONE_BAD : TONE_PLAIN, "amcheck read %s %s and found %s.",
		    COUNT(facts_int(a, "indexes")), PLURAL(facts_int(a, "indexes"), "index", "indexes"),
		    problems == 0 ? "nothing wrong" : problems == 1 ? "1 problem" : COUNT(problems));
	else if (json_is_object(a))
		doc_say(d, kind, TONE_WARN, "amcheck did not run: %s.", json_opt_str(a, "why_not", "no reason was recorded"));
}

static void
section_proves(struct doc *d, const struct facts *f)
{
	const json_t *scratch = json_object_get(f->drill, "scratch");

	doc_section(d, "proves", f->verdict == VERDICT_PROVEN ? "What this proves" : "What this drill did");
	if (f->drill == NULL) {
		doc_say(d, DOC_PARAGRAPH, TONE_PLAIN,
		    "Nothing was restored, so nothing is shown. \"holdfast drill latest\" makes the first proof.");
		return;
	}
	if (f->verdict == VERDICT_PROVEN || f->verdict == VERDICT_DIFFERS)
		doc_say(d, DOC_PARAGRAPH, TONE_PLAIN,
		    "The backup was fetched from its store, opened, and restored into a scratch server that "
		    "nothing else uses. What came back was dumped again by the same code and compared with the record made "
		    "during the backup "
		    "itself, so the comparison is with the snapshot, not with the source as it is now.");
	else
		doc_say(d, DOC_PARAGRAPH, TONE_PLAIN,
		    "A drill fetches a backup from its store, restores it into a scratch server that nothing else "
		    "uses, dumps it again and compares the two. This one did not end with a comparison that stands; below is how "
		    "far it got.");
	doc_say(d, DOC_ITEM, TONE_PLAIN, "Backup %s of %s, snapshot of %s, PostgreSQL %s.", either(f->id, "(no id)"),
	    either(f->source, "an unnamed source"), TIME(f->snapshot_us),
	    json_opt_str(f->backup, "server_version", "of unknown version"));
	if (scratch != NULL)
		doc_say(d, DOC_ITEM, TONE_PLAIN, "Scratch server: %s, PostgreSQL %s, on %s.",
		    json_opt_str(scratch, "kind", "a server"), json_opt_str(scratch, "server_version", "of unknown version"),
		    json_opt_str(f->drill, "host", "an unnamed host"));
	say_databases(d, f);
	if (f->checks > 0)
		doc_say(d, DOC_ITEM, f->checks_passed < f->checks ? TONE_BAD : TONE_PLAIN,
		    "%s of %s checks in SQL passed in the restored databases.", COUNT(f->checks_passed), COUNT(f->checks));
	say_amcheck(d, f, DOC_ITEM);
	doc_say(d, DOC_ITEM, TONE_PLAIN, "Started %s, finished %s.", TIME(facts_time(f->drill, "started")), TIME(f->finished_us));
	if (json_opt_str(f->backup, "suspect", NULL) != NULL)
		doc_say(d, DOC_ITEM, TONE_WARN, "The backup was marked suspect when it was made: %s.",
		    json_opt_str(f->backup, "suspect", ""));
}

static void
section_restore(struct doc *d, const struct facts *f)
{
	doc_section(d, "restore", "How long a restore takes");
	if (f->rto_ms >= 0)
		doc_say(d, DOC_PARAGRAPH, TONE_PLAIN,
		    "%s, from the first byte fetched to the databases being usable. This is the measured recovery "
		    "time (RTO) on this host, not an estimate; finding a host and pointing applications at it come on top.",
		    MS(f->rto_ms));
	else
		doc_say(d, DOC_PARAGRAPH, TONE_WARN, "Not measured: no restore was carried to its end.");
	if (f->rto_runs > 1)
		doc_say(d, DOC_PARAGRAPH, TONE_PLAIN, "The slowest of %s measured drills took %s.", COUNT(f->rto_runs),
		    MS(f->rto_worst_ms));
	doc_chart(d, CHART_PHASES);
	doc_table(d, tables_phases(f, MAX_PHASES));
}

char *
content_loss(const struct facts *f)
{
	if (f->proven_us < 0 && f->backups == NULL)
		return doc_format("By this drill nothing is proven, so how much would be lost is not known from it; `holdfast report` looks at all backups.");
	if (f->proven_us < 0)
		return doc_format("No proven backup is known to this report, so how much would be lost is not known either.");
	if (facts_age_ms(f, f->proven_us) < 0)
		return doc_format(
		    "The newest proven snapshot is of %s; the report carries no time to measure its age by.", TIME(f->proven_us));
	return doc_format(
	    "Everything written after %s: %s at the time of this report.", TIME(f->proven_us), MS(facts_age_ms(f, f->proven_us)));
}

static void
section_loss(struct doc *d, const struct facts *f)
{
	doc_section(d, "loss", "How much would be lost");
	doc_put(d, DOC_PARAGRAPH, f->proven_us < 0 ? TONE_BAD : TONE_PLAIN, content_loss(f));
	doc_table(d, tables_losses(f));
	if (f->now_us >= 0)
		doc_say(d, DOC_PARAGRAPH, TONE_MUTED,
		    "The data loss window (RPO) is the age of a snapshot at %s, %s. It grows until the next backup%s%s.",
		    TIME(f->now_us), facts_time(f->outcome, "time") >= 0 ? "when this report was made" : "when the drill ended",
		    f->gap_ms < 0 ? "" : "; the longest time between two backups here was ", f->gap_ms < 0 ? "" : MS(f->gap_ms));
}

static void
say_reordered(struct doc *d, const json_t *database)
{
	const json_t *tables = json_object_get(database, "reordered");
	size_t n = json_array_size(tables);

	if (n > 0)
		doc_say(d, DOC_PARAGRAPH, TONE_MUTED,
		    "In %s, columns of %s inherited %s (%s%s) came back in another physical order, as pg_dump itself "
		    "leaves them; their content was compared in the source's order.",
		    json_opt_str(database, "name", "a database"), COUNT((int64_t)n), PLURAL(n, "table", "tables"),
		    either(json_string_value(json_array_get(tables, 0)), "unnamed"), n > 1 ? " and others" : "");
}

/* A note, and no difference: a table has no order of rows, only a heap that pg_dump reads from its beginning. */
static void
say_row_order(struct doc *d, const json_t *database)
{
	const json_t *tables = json_object_get(database, "row_order");
	size_t n = json_array_size(tables);

	if (n > 0)
		doc_say(d, DOC_PARAGRAPH, TONE_MUTED,
		    "In %s, the rows of %s %s (%s%s) came back in another order. They are the same rows, each as often as before, and a "
		    "table promises no order: it counts as equal.",
		    json_opt_str(database, "name", "a database"), COUNT((int64_t)n), PLURAL(n, "table", "tables"),
		    either(json_string_value(json_array_get(tables, 0)), "unnamed"), n > 1 ? " and others" : "");
}

static void
section_databases(struct doc *d, const struct facts *f)
{
	size_t i;
	const json_t *db;

	if (json_array_size(json_object_get(f->drill, "databases")) == 0)
		return;
	doc_section(d, "databases", "Databases");
	doc_table(d, tables_databases(f, MAX_DATABASES));
	json_array_foreach(json_object_get(f->drill, "databases"), i, db) {
		const char *diff = json_opt_str(db, "schema_diff", "");

		if (i >= MAX_DATABASES)
			break;
		say_reordered(d, db);
		say_row_order(d, db);
		if (*diff == '\0')
			continue;
		doc_say(d, DOC_PARAGRAPH, TONE_PLAIN,
		    "Schema of %s, as dumped (-) and as restored (+):", json_opt_str(db, "name", "a database"));
		doc_verbatim(d, diff);
	}
	doc_table(d, tables_objects(f, false, MAX_OBJECTS));
}

static void
section_differences(struct doc *d, const struct facts *f)
{
	if (f->entries < 0 && f->differences == 0)
		return;
	doc_section(d, "differences", "Differences");
	if (f->differences == 0)
		doc_say(d, DOC_PARAGRAPH, TONE_PLAIN, "None were found.");
	else
		doc_say(d, DOC_PARAGRAPH, TONE_BAD, "%s %s not what was dumped.", COUNT(f->differences),
		    PLURAL(f->differences, "entry is", "entries are"));
	doc_table(d, tables_differences(f, MAX_DIFFERENCES));
}

static void
say_items(struct doc *d, const json_t *list, enum tone tone)
{
	size_t i;
	const json_t *text;

	json_array_foreach(list, i, text)
		if (i < MAX_ITEMS)
			doc_say(d, DOC_ITEM, tone, "%s", either(json_string_value(text), "(not a text)"));
	if (json_array_size(list) > MAX_ITEMS)
		doc_say(d, DOC_ITEM, TONE_MUTED, "and %s more", COUNT((int64_t)json_array_size(list) - MAX_ITEMS));
}

static void
section_checks(struct doc *d, const struct facts *f)
{
	if (f->checks == 0 && !json_is_object(json_object_get(f->drill, "amcheck")))
		return;
	doc_section(d, "checks", "Checks");
	if (f->checks == 0)
		doc_say(d, DOC_PARAGRAPH, TONE_MUTED, "No check in SQL is configured.");
	doc_table(d, tables_checks(f, MAX_CHECKS));
	say_amcheck(d, f, DOC_PARAGRAPH);
	say_items(d, json_object_get(json_object_get(f->drill, "amcheck"), "problems"), TONE_BAD);
}

static void
section_history(struct doc *d, const struct facts *f)
{
	if (json_array_size(f->backups) == 0 && json_array_size(f->history) == 0)
		return;
	doc_section(d, "history", "History");
	doc_chart(d, CHART_STRIP);
	doc_chart(d, CHART_TRENDS);
	doc_table(d, tables_backups(f, MAX_BACKUPS));
}

char *
content_key(const struct facts *f)
{
	const char *holder = json_opt_str(f->drill, "holder", NULL);

	if (holder == NULL)
		return doc_format("Whose key opened the backup is not recorded.");
	return doc_format(
	    "The backup was opened with the key of %s, on %s.", holder, json_opt_str(f->drill, "host", "an unnamed host"));
}

static void
section_cage(struct doc *d, const struct facts *f)
{
	if (f->drill == NULL)
		return;
	doc_section(d, "cage", "Who held the key, and how the scratch server was caged");
	doc_put(d, DOC_PARAGRAPH, TONE_PLAIN, content_key(f));
	if (json_array_size(json_object_get(json_object_get(f->drill, "scratch"), "cage")) > 0)
		doc_say(d, DOC_PARAGRAPH, TONE_PLAIN, "To restore a dump is to run code that the users of the source wrote. "
		    "These measures stood between that code and the host.");
	else
		doc_say(d, DOC_PARAGRAPH, TONE_WARN, "No measure around the scratch server is recorded.");
	doc_table(d, tables_cage(f, MAX_CAGE));
}

static void
section_limits(struct doc *d, const struct facts *f)
{
	const json_t *warnings = json_object_get(f->outcome, "warnings"), *own = json_object_get(f->drill, "warnings");

	doc_section(d, "limits", "What this does not cover");
	say_items(d, json_object_get(f->drill, "not_covered"), TONE_PLAIN);
	doc_say(d, DOC_ITEM, TONE_PLAIN, "Data written after the snapshot, and anything outside the databases listed above.");
	if (json_array_size(warnings) == 0 && (f->drill == f->outcome || json_array_size(own) == 0))
		return;
	doc_section(d, "warnings", "Warnings");
	say_items(d, warnings, TONE_WARN);
	if (f->drill != f->outcome)
		say_items(d, own, TONE_WARN);
}

char *
content_signature(const struct facts *f)
{
	if (f->signature == NULL)
		return doc_format("This copy carries no signature; the signed one lies in the repository, where \"holdfast "
				  "report\" reads and checks it.");
	return doc_format("Report %s was %s with the key %s%s", json_opt_str(f->signature, "report_id", "without an id"),
	    f->forged ? "not signed" : "signed", json_opt_str(f->signature, "signer", "(not recorded)"),
	    f->forged ? ": the signature that it carries is NOT VALID." :
			"; the signature was checked when this copy was made, and is valid.");
}

static void
say_standards(struct doc *d, const struct facts *f)
{
	bool good = f->verdict == VERDICT_PROVEN && !f->forged;
	const char *found = f->drill == NULL ? "no test has been made yet" :
	    good ? "the test was made and met its aim" : "the test was made and did not meet its aim; what was found is above";

	doc_say(
	    d, DOC_ITEM, TONE_PLAIN, "ISO/IEC 27001:2022 A.8.13 (backup copies are maintained and regularly tested): %s.", found);
	doc_say(d, DOC_ITEM, TONE_PLAIN,
	    "SOC 2 A1.2 (data backup processes) and A1.3 (recovery procedures are tested): %s; "
	    "%s %s and %s %s on record.",
	    found, COUNT((int64_t)json_array_size(f->backups)), PLURAL(json_array_size(f->backups), "backup", "backups"),
	    COUNT((int64_t)json_array_size(f->history)), PLURAL(json_array_size(f->history), "drill", "drills"));
}

static void
section_evidence(struct doc *d, const struct facts *f)
{
	doc_section(d, "evidence", "Signature, and what this is evidence for");
	doc_put(d, DOC_PARAGRAPH, f->forged ? TONE_BAD : TONE_PLAIN, content_signature(f));
	say_standards(d, f);
	doc_say(d, DOC_PARAGRAPH, TONE_MUTED, "Evidence for a review, not a certificate.");
}

void
content_write(struct doc *d, const struct facts *f)
{
	content_verdict(d, f);
	section_proves(d, f);
	section_restore(d, f);
	section_loss(d, f);
	section_databases(d, f);
	section_differences(d, f);
	section_checks(d, f);
	section_history(d, f);
	section_cage(d, f);
	section_limits(d, f);
	section_evidence(d, f);
}
