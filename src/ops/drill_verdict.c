/* What a drill says in the end. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "ops/drill.h"

static const struct {
	const char *name;
	bool rto;                       /* a real restore has it too */
} phases[] = {
	[SCRATCH] = { "scratch", false }, [GLOBALS] = { "globals", true }, [RESTORE] = { "restore", true },
	[DUMP_AGAIN] = { "dump again", false }, [COMPARE] = { "compare", false }, [AMCHECK] = { "amcheck", true }, [CHECKS] = { "checks", true },
};

static void
put_phases(struct drill *d, bool to_the_end)
{
	json_t *array = json_array();
	int64_t rto = 0;

	for (int i = SCRATCH; i <= CHECKS; i++) {
		json_t *phase = json_object();

		json_put_str(phase, "name", phases[i].name);
		json_put_int(phase, "ms", d->phase_ms[i]);
		json_put_bool(phase, "rto", phases[i].rto);
		json_add(array, phase);
		if (phases[i].rto)
			rto += d->phase_ms[i];
	}
	json_put(d->outcome, "phases", array);
	/* Half a restore has no time that a whole one could be told from. */
	json_put(d->outcome, "rto_ms", to_the_end ? json_integer(rto) : json_null());
}

/* By its own tables: the table of migrations can be empty. */
static bool
looks_like_langfuse(const struct drill *d, const char *database)
{
	json_t *entry;
	size_t i, seen = 0;

	json_array_foreach(json_object_get(d->detail, "entries"), i, entry) {
		const char *name = json_opt_str(entry, "name", "");

		seen += strcmp(json_opt_str(entry, "database", ""), database) == 0 &&
		    (strcmp(name, "public.observations") == 0 || strcmp(name, "public.traces") == 0 || strcmp(name, "public._prisma_migrations") == 0);
	}
	return seen >= 2;
}

static void
say_what_is_not_covered(struct drill *d)
{
	const json_t *facts = json_object_get(d->detail, "facts");
	json_t *database, *pattern;
	size_t i;

	json_array_foreach(json_object_get(facts, "exclude_table_data"), i, pattern) {
		char *text = mem_printf("data of tables that match \"%s\": left out of the backup by the configuration", json_string_value(pattern));

		json_add(d->not_covered, json_str(text));
		free(text);
	}
	json_array_foreach(json_object_get(facts, "databases"), i, database) {
		const char *name = json_opt_str(database, "name", "");
		char *text = NULL;

		if (d->settings->drill.use_server || strcmp(name, "postgres") == 0) {
			text = mem_printf("owner, rights, settings and comment of the database \"%s\" itself: it was restored under another name", name);
			json_add(d->not_covered, json_str(text));
			free(text);
		}
		if (json_array_size(json_object_get(database, "foreign_tables")) > 0) {
			text = mem_printf("rows behind the foreign tables of \"%s\": they live on another server", name);
			json_add(d->not_covered, json_str(text));
			free(text);
		}
		if (json_is_object(json_object_get(database, "prisma_migration")) || looks_like_langfuse(d, name))
			json_add(d->not_covered, json_str("what Langfuse keeps outside PostgreSQL: ClickHouse (version 3 and later), uploaded media and events in "
			    "object storage, and the secrets ENCRYPTION_KEY, SALT and NEXTAUTH_SECRET"));
	}
}

/* What kept us from looking is no verdict about the backup: nothing is said of it before its first byte was asked for, nor because of the
 * store, the disk, memory, a right, or the clock (R10: such a thing is an error, which is neither a pass nor a failure of the backup). */
static bool
is_no_verdict(const struct drill *d, enum err_kind kind)
{
	if (d->unverifiable != NULL && kind == ERR_NOT_FOUND)
		return false;
	/* A named server is somebody's, and may be restarted; only our own has nobody but the backup to end it. */
	if (kind == ERR_DATABASE && d->settings->drill.use_server)
		return true;
	return !d->looked || kind == ERR_STORE || kind == ERR_STOPPED || kind == ERR_KEY || kind == ERR_USAGE || kind == ERR_REFUSED ||
	    kind == ERR_SPACE || kind == ERR_TIMEOUT || kind == ERR_DENIED || kind == ERR_LOCKED;
}

/* "3 entries differ (first: public.traces), 1 check failed (row count)": the reason behind a colon of those that tell what it is the reason for. */
static char *
what_differs(const struct drill *d)
{
	static const char *const words[][2] = {
		{ "entry differs", "entries differ" }, { "schema differs", "schemas differ" },
		{ "count of objects differs", "counts of objects differ" }, { "check failed", "checks failed" },
		{ "problem was found by amcheck", "problems were found by amcheck" },
	};
	size_t counts[5] = { json_array_size(d->differences), 0, 0, 0, json_array_size(json_object_get(d->amcheck, "problems")) }, i, k;
	const char *first[5] = { json_opt_str(json_array_get(d->differences, 0), "entry", NULL), NULL, NULL, NULL, NULL };
	struct buf text = BUF_INIT;
	json_t *x, *o;

	json_array_foreach(d->databases, i, x) {
		counts[1] += strcmp(json_opt_str(x, "schema", ""), "differs") == 0;
		json_array_foreach(json_object_get(x, "objects"), k, o)
			counts[2] += !json_equal(json_object_get(o, "source"), json_object_get(o, "restored"));
	}
	json_array_foreach(d->checks, i, x)
		if (!json_is_true(json_object_get(x, "ok")) && counts[3]++ == 0)
			first[3] = json_opt_str(x, "name", NULL);
	for (i = 0; i < 5; i++) {
		if (counts[i] == 0)
			continue;
		buf_addf(&text, "%s%zu %s", text.bytes > 0 ? ", " : "", counts[i], words[i][counts[i] != 1]);
		if (first[i] != NULL)
			buf_addf(&text, " (%s%s)", counts[i] > 1 ? "first: " : "", first[i]);
	}
	return buf_take(&text);
}

/* A server's CONTEXT and DETAIL quote rows: what a report says must not leave the vault. */
static char *
without_rows(const char *message)
{
	static const char *const quoting[] = { "CONTEXT:", "DETAIL:", "LINE " };
	size_t end = strlen(message);

	for (size_t i = 0; i < sizeof(quoting) / sizeof(quoting[0]); i++) {
		const char *at = strstr(message, quoting[i]);

		if (at != NULL && (size_t)(at - message) < end)
			end = (size_t)(at - message);
	}
	return mem_printf("%.*s%s", (int)end, message, message[end] != '\0' ? "(the rest could quote rows, and is left out here)" : "");
}

/* What was found stays found, whatever ended the drill behind it. */
static const char *
verdict_of(struct drill *d, int rc, const struct err *e)
{
	char *end = rc != 0 ? without_rows(e->msg) : NULL, *found = d->differs ? what_differs(d) : NULL, *both = NULL;
	const char *verdict = "proven";

	if (found != NULL && end != NULL)
		both = mem_printf("%s; then the drill ended early: %s", found, end);
	json_put_str(d->outcome, "reason", both != NULL ? both : found != NULL ? found : end);
	if (found != NULL)
		verdict = "differs";
	else if (rc != 0)
		verdict = d->unverifiable != NULL && e->kind == ERR_NOT_FOUND ? "not verifiable here" : "failed";
	free(both);
	free(found);
	free(end);
	return verdict;
}

const char *
drill_judge(struct drill *d, int rc, const struct err *e)
{
	const char *verdict;
	json_t *note;
	size_t i;

	if (rc != 0 && !d->differs && is_no_verdict(d, e->kind))
		return NULL;
	json_array_foreach(d->notes, i, note)
		ops_warn(d->outcome, "%s", json_string_value(note));
	verdict = verdict_of(d, rc, e);
	json_put_str(d->outcome, "verdict", verdict);
	if (json_object_get(d->amcheck, "ran") == NULL) {
		json_put_bool(d->amcheck, "ran", false);
		json_put_str(d->amcheck, "why_not", json_array_size(json_object_get(d->amcheck, "problems")) > 0 ?
		    "the drill ended before every index was looked at" : "the drill ended before it");
	}
	put_phases(d, rc == 0);
	say_what_is_not_covered(d);
	return verdict;
}
