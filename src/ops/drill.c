#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stop.h"
#include "ops/bring.h"
#include "pg/compare.h"
#include "pg/conn.h"
#include "pg/dump.h"
#include "pg/facts.h"
#include "pg/globals.h"
#include "pg/scratch.h"

/*
 * A drill: restore a backup into a place that is thrown away, dump it again through the same code, compare.  What goes wrong with the
 * backup is a verdict; what keeps us from looking (the store, a signal, the wrong key) is an error and no verdict.
 */
#define CHECK_TIMEOUT_MS 600000

struct drill {
	const struct ops *ops;
	const struct settings *settings;
	struct opened opened;
	json_t *summary, *detail;
	struct scratch *scratch;
	struct tools dump_tools;
	json_t *outcome, *databases, *differences, *checks, *amcheck, *not_covered, *notes;
	int64_t phase_ms[8];            /* summed over databases, by phase */
	bool differs, looked;           /* looked: the backup itself was asked for */
	const char *unverifiable;       /* not NULL: why; its text is in the error */
};

enum { SCRATCH, GLOBALS, RESTORE, DUMP_AGAIN, COMPARE, AMCHECK, CHECKS };
static const struct {
	const char *name;
	bool rto;                       /* a real restore has it too */
} phases[] = {
	[SCRATCH] = { "scratch", false }, [GLOBALS] = { "globals", true }, [RESTORE] = { "restore", true },
	[DUMP_AGAIN] = { "dump again", false }, [COMPARE] = { "compare", false }, [AMCHECK] = { "amcheck", true }, [CHECKS] = { "checks", true },
};

static void
spent(struct drill *d, int phase, int64_t since)
{
	d->phase_ms[phase] += clock_mono_ms() - since;
}

/* ---- the place ---- */

/* The bootstrap superuser of the source: whoever owns template1. */
static const char *
superuser_of(const json_t *detail)
{
	const json_t *facts = bring_cluster_facts(detail, "template1");

	if (facts == NULL)
		facts = bring_cluster_facts(detail, "postgres");
	return json_opt_str(facts, "owner", NULL);
}

static int
server_major(const json_t *detail)
{
	const json_t *cluster = json_object_get(json_object_get(detail, "facts"), "cluster");

	return (int)(json_opt_int(cluster, "server_version_num", 0) / 10000);
}

static const char *
default_user(void)
{
	return getpwnam("postgres") != NULL ? "postgres" : "nobody";
}

static int
start_scratch(struct drill *d, struct err *e)
{
	const json_t *cluster = json_object_get(json_object_get(d->detail, "facts"), "cluster");
	const char *dir = d->settings->drill.dir != NULL ? d->settings->drill.dir : "/var/tmp";
	uint64_t bytes = (uint64_t)json_opt_int(d->summary, "bytes", 0);
	const struct scratch_options options = {
		.dir = dir,
		.user = d->settings->drill.user != NULL ? d->settings->drill.user : default_user(),
		.bin_dir = d->settings->drill.bin_dir,
		.major = server_major(d->detail),
		.superuser = superuser_of(d->detail),
		.preload = json_opt_str(json_object_get(cluster, "settings"), "shared_preload_libraries", NULL),
		.need_bytes = bytes + bytes / 2 > d->settings->drill.min_free_bytes ? bytes + bytes / 2 : d->settings->drill.min_free_bytes,
		.jobs = d->settings->drill.jobs,
	};
	int64_t since = clock_mono_ms();
	int swept = scratch_sweep(dir, e);

	if (swept < 0) {
		log_warning("what an earlier drill left could not be removed: %s", e->msg);
		err_clear(e);
	}
	progress_phase(d->ops->progress, "scratch cluster", 0);
	d->scratch = d->settings->drill.use_server ?
	    scratch_attach(&d->settings->drill.server, json_opt_str(d->summary, "system_identifier", ""), &options, e) :
	    scratch_start(&options, e);
	spent(d, SCRATCH, since);
	if (d->scratch == NULL) {
		if (e->kind == ERR_NOT_FOUND)
			d->unverifiable = "scratch";
		return -1;
	}
	json_put(d->outcome, "scratch", scratch_describe(d->scratch));
	/* The dump of what was restored comes from the same pg_dump as the backup's, where it is there. */
	return tools_find(&d->dump_tools, TOOLS_DUMP, d->settings->source.bin_dir, options.major, e);
}

static int
restore_globals(struct drill *d, struct err *e)
{
	struct buf text = BUF_INIT;
	int64_t since = clock_mono_ms();
	int rc = bring_globals(d->opened.repo, d->detail, &text, e);

	if (rc == 0)
		rc = globals_restore(scratch_target(d->scratch), text.data, text.bytes, !d->settings->drill.use_server, d->notes, e);
	mem_wipe(text.data, text.bytes);
	buf_free(&text);
	spent(d, GLOBALS, since);
	return rc == 0 ? 0 : err_wrap(e, "globals");
}

/* ---- one database ---- */

struct drilled {
	struct drill *drill;
	const char *name, *scratch_name;
	const json_t *facts, *cluster_facts;
	struct archive_digest source, restored;
	json_t *row;                    /* in the outcome's `databases` */
};

static int
restore_it(struct drilled *x, struct err *e)
{
	struct drill *d = x->drill;
	const struct restore_options options = {
		.target = scratch_target(d->scratch),
		.database = x->scratch_name,
		.tools = scratch_tools(d->scratch),
		.cage = scratch_cage(d->scratch),
		.jobs = d->settings->drill.jobs,
		.sort_bytes = scratch_sort_bytes(d->scratch),
	};
	const struct bring b = {
		.repo = d->opened.repo,
		.progress = d->ops->progress,
		.detail = d->detail,
		.database = x->name,
		.jobs = d->settings->drill.jobs,
		.source = &x->source,
	};
	struct restore *restore;
	int rc;

	if (scratch_preflight(d->scratch, json_object_get(x->facts, "extensions"), e) ||
	    restore_create(options.target, x->scratch_name, x->cluster_facts, e)) {
		if (e->kind == ERR_NOT_FOUND)
			d->unverifiable = "database";
		return -1;
	}
	restore = restore_new(&options, e);
	if (restore == NULL)
		return -1;
	progress_phase(d->ops->progress, "restore", bring_bytes(d->detail, x->name, NULL));
	rc = bring_streams(&b, restore, e);
	if (rc == 0)
		rc = restore_end(restore, x->cluster_facts, d->notes, e);
	restore_free(restore);
	return rc;
}

struct redump {
	struct drilled *x;
	struct dump *dump;
	const struct dump_stream *streams;
	struct archive_columns *columns;
	struct archive_digest *digests;
};

static int
redump_stream(void *ctx, struct parallel *p, size_t i, struct err *e)
{
	struct redump *r = ctx;
	struct sink *sink = archive_reader_new(&r->digests[i], r->columns, parallel_guard(p, sink_null_new()));
	int rc = dump_run(r->dump, i, sink, e);

	if (rc == 0)
		rc = sink_finish(sink, e);
	sink_free(sink);
	progress_add(r->x->drill->ops->progress, r->streams[i].estimated_bytes);
	return rc;
}

/* NULL-terminated patterns of the manifest: what the backup left out must be left out here. */
static const char **
excluded_of(const json_t *detail)
{
	const json_t *array = json_object_get(json_object_get(detail, "facts"), "exclude_table_data");
	size_t n = json_array_size(array);
	const char **list = mem_zero(n + 1, sizeof(*list));

	for (size_t i = 0; i < n; i++)
		list[i] = json_is_string(json_array_get(array, i)) ? json_string_value(json_array_get(array, i)) : "";
	return list;
}

static int
dump_again(struct drilled *x, struct err *e)
{
	struct drill *d = x->drill;
	const char **excluded = excluded_of(d->detail);
	const struct dump_options options = {
		.exclude_table_data = excluded,
		.large_table_bytes = d->settings->backup.large_table_bytes,
		.lock_timeout_ms = d->settings->backup.lock_timeout_ms,
		.idle_timeout_ms = d->settings->backup.idle_timeout_ms,
	};
	struct redump r = { .x = x };
	size_t count = 0;
	uint64_t expected = 0;
	int rc = -1;

	r.dump = dump_begin(scratch_target(d->scratch), x->scratch_name, &d->dump_tools, &options, e);
	if (r.dump == NULL)
		goto out;
	r.streams = dump_streams(r.dump, &count);
	r.digests = mem_zero(count, sizeof(*r.digests));
	r.columns = compare_columns(&x->source);
	for (size_t i = 0; i < count; i++) {
		r.digests[i].row_sets = true;
		expected += r.streams[i].estimated_bytes;
	}
	progress_phase(d->ops->progress, "dump again", expected);
	rc = parallel_run(d->settings->drill.jobs, count, redump_stream, &r, e);
	if (rc == 0)
		rc = dump_end(r.dump, e);
	for (size_t i = 0; i < count; i++) {
		if (rc == 0)
			archive_digest_merge(&x->restored, &r.digests[i]);
		archive_digest_free(&r.digests[i]);
	}
out:
	archive_columns_free(r.columns);
	free(r.digests);
	free(excluded);
	dump_free(r.dump);
	return rc == 0 ? 0 : err_wrap(e, "dump it again");
}

/* What the archives hold is what was recorded when they were dumped. */
static int
check_entries(struct drilled *x, struct err *e)
{
	json_t *recorded = json_object(), *entry;
	size_t i, seen = 0;
	int rc = 0;

	json_array_foreach(json_object_get(x->drill->detail, "entries"), i, entry) {
		char *key;

		if (strcmp(json_opt_str(entry, "database", ""), x->name) != 0)
			continue;
		key = mem_printf("%s %s", json_opt_str(entry, "type", ""), json_opt_str(entry, "name", ""));
		json_put_str(recorded, key, json_opt_str(entry, "sha256", ""));
		free(key);
	}
	for (i = 0; i < x->source.n_entries && rc == 0; i++) {
		const struct archive_entry *a = &x->source.entries[i];
		json_t *name = json_str(a->name);       /* as the manifest has it, in UTF-8 */
		char *key = mem_printf("%s %s", archive_type_name(a->type), json_string_value(name)), sha256[SHA256_HEX];

		hex_encode(sha256, a->sha256, sizeof(a->sha256));
		if (strcmp(json_opt_str(recorded, key, ""), sha256) == 0)
			seen++;
		else
			rc = err_set(e, ERR_CORRUPT, "entry \"%.200s\" of the archives is not what the manifest recorded", key);
		free(key);
		json_decref(name);
	}
	if (rc == 0 && seen < json_object_size(recorded))
		rc = err_set(e, ERR_CORRUPT, "the archives hold %zu entries, the manifest recorded %zu", seen, json_object_size(recorded));
	json_decref(recorded);
	return rc;
}

static int
compare_it(struct drilled *x, struct err *e)
{
	struct drill *d = x->drill;
	struct conn *c = conn_open(scratch_target(d->scratch), x->scratch_name, e);
	json_t *objects = c != NULL ? facts_objects(c, e) : NULL;
	bool same;

	conn_close(c);
	if (objects != NULL && check_entries(x, e)) {
		json_decref(objects);
		return -1;
	}
	if (objects == NULL)
		return err_wrap(e, "count objects");
	same = compare_digests(x->row, d->differences, x->name, &x->source, &x->restored);
	same = compare_objects(x->row, json_object_get(x->facts, "objects"), objects) && same;
	json_decref(objects);
	d->differs = d->differs || !same;
	return compare_sequences(scratch_target(d->scratch), x->scratch_name, json_object_get(d->outcome, "warnings"), e);
}

static int
check_it(struct drilled *x, struct err *e)
{
	struct drill *d = x->drill;

	for (const struct check_sql *c = d->settings->drill.checks; c != NULL && c->name != NULL; c++) {
		json_t *result;

		if (c->database != NULL && strcmp(c->database, x->name) != 0)
			continue;
		result = compare_check(scratch_target(d->scratch), x->scratch_name, c->name, c->sql, c->expect, CHECK_TIMEOUT_MS, e);
		if (result == NULL)
			return -1;
		json_put_str(result, "database", x->name);
		if (!json_is_true(json_object_get(result, "ok")))
			d->differs = true;
		json_add(d->checks, result);
	}
	return 0;
}

static int
amcheck_it(struct drilled *x, struct err *e)
{
	struct drill *d = x->drill;

	if (!d->settings->drill.amcheck)
		return 0;
	if (compare_amcheck(scratch_target(d->scratch), x->scratch_name, d->settings->drill.jobs, d->amcheck, e))
		return -1;
	if (json_array_size(json_object_get(d->amcheck, "problems")) > 0)
		d->differs = true;
	return 0;
}

static int
drill_database(struct drill *d, const char *name, struct err *e)
{
	static const struct {
		int phase;
		int (*run)(struct drilled *x, struct err *e);
	} steps[] = {
		{ RESTORE, restore_it }, { DUMP_AGAIN, dump_again }, { COMPARE, compare_it }, { CHECKS, check_it }, { AMCHECK, amcheck_it },
	};
	struct drilled x = { .drill = d, .name = name, .facts = bring_facts(d->detail, name), .cluster_facts = bring_cluster_facts(d->detail, name) };
	int rc = 0;

	if (x.facts == NULL || x.cluster_facts == NULL)
		return err_set(e, ERR_CORRUPT, "the manifest lacks the facts of database \"%s\"", name);
	x.source.row_sets = x.restored.row_sets = true;
	x.scratch_name = scratch_database(d->scratch, name);
	x.row = json_object();
	json_put_str(x.row, "name", name);
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]) && rc == 0; i++) {
		int64_t since = clock_mono_ms();

		if (steps[i].phase >= COMPARE)
			progress_phase(d->ops->progress, phases[steps[i].phase].name, 0);
		rc = steps[i].run(&x, e);
		spent(d, steps[i].phase, since);
	}
	json_add(d->databases, x.row);
	archive_digest_free(&x.source);
	archive_digest_free(&x.restored);
	return rc == 0 ? 0 : err_wrap(e, "database \"%s\"", name);
}

/* R10: a check that named a database which is not in the backup has not passed. */
static void
add_checks_that_never_ran(struct drill *d)
{
	for (const struct check_sql *c = d->settings->drill.checks; c != NULL && c->name != NULL; c++) {
		json_t *names = json_object_get(d->summary, "databases"), *name, *result;
		bool there = c->database == NULL;
		size_t i;

		json_array_foreach(names, i, name)
			there = there || strcmp(json_string_value(name), c->database) == 0;
		if (there)
			continue;
		result = json_object();
		json_put_str(result, "name", c->name);
		json_put_str(result, "database", c->database);
		json_put_bool(result, "ok", false);
		json_put_str(result, "value", "not run: the backup has no such database");
		json_put_str(result, "expected", c->expect);
		json_add(d->checks, result);
		d->differs = true;
	}
}

/* ---- the verdict ---- */

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

	json_add(d->not_covered, json_str("roles, their memberships and tablespaces: they were restored (each statement that failed is a warning), and not "
	    "compared with the source"));

	json_array_foreach(json_object_get(facts, "exclude_table_data"), i, pattern) {
		char *text = mem_printf("data of tables that match \"%s\": left out of the backup by the configuration", json_string_value(pattern));

		json_add(d->not_covered, json_str(text));
		free(text);
	}
	json_array_foreach(json_object_get(facts, "databases"), i, database) {
		const char *name = json_opt_str(database, "name", "");
		char *text = NULL;

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

static void
put_phases(struct drill *d)
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
	json_put_int(d->outcome, "rto_ms", rto);
}

/* What kept us from looking is no verdict about the backup: nothing is said of it before its first byte was asked for, nor because of the
 * store, the disk, a right, or the clock (R10: such a thing is an error, which is neither a pass nor a failure of the backup). */
static bool
is_no_verdict(const struct drill *d, enum err_kind kind)
{
	if (d->unverifiable != NULL && kind == ERR_NOT_FOUND)
		return false;
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
static void
put_reason(struct drill *d, const char *message)
{
	static const char *const quoting[] = { "CONTEXT:", "DETAIL:", "LINE " };
	size_t end = strlen(message);
	char *reason;

	for (size_t i = 0; i < sizeof(quoting) / sizeof(quoting[0]); i++) {
		const char *at = strstr(message, quoting[i]);

		if (at != NULL && (size_t)(at - message) < end)
			end = (size_t)(at - message);
	}
	reason = mem_printf("%.*s%s", (int)end, message, message[end] != '\0' ? "(the rest could quote rows, and is left out here)" : "");
	json_put_str(d->outcome, "reason", reason);
	free(reason);
}

static const char *
judge(struct drill *d, int rc, const struct err *e)
{
	json_t *note;
	size_t i;

	json_array_foreach(d->notes, i, note)
		ops_warn(d->outcome, "%s", json_string_value(note));
	if (rc != 0) {
		put_reason(d, e->msg);
		return d->unverifiable != NULL && e->kind == ERR_NOT_FOUND ? "not verifiable here" : "failed";
	}
	if (d->differs) {
		char *reason = what_differs(d);

		json_put_str(d->outcome, "reason", reason);
		free(reason);
		return "differs";
	}
	json_put(d->outcome, "reason", json_null());
	return "proven";
}

static int
run(struct drill *d, struct err *e)
{
	json_t *names = json_object_get(d->summary, "databases"), *name;
	size_t i;

	if (start_scratch(d, e))
		return -1;
	d->looked = true;
	if (restore_globals(d, e))
		return -1;
	json_array_foreach(names, i, name)
		if (drill_database(d, json_string_value(name), e))
			return -1;
	add_checks_that_never_ran(d);
	return 0;
}

static int
prepare(struct drill *d, const char *backup, struct err *e)
{
	/* Without the cache: it is what a bare machine would find in the store that is judged. */
	if (ops_open(&d->opened, d->settings, OPEN_UNCACHED, e))
		return -1;
	if (!repo_can_read(d->opened.repo)) {
		err_set(e, ERR_KEY, "the key of \"%s\" is an agent's: it can back up and cannot read", repo_holder_name(d->opened.repo));
		return err_hint(e, "Run the drill where a recovery key is (--key-file, --passphrase-file), or let in a verifier with `holdfast keys add`.");
	}
	return backup_find(d->opened.repo, backup != NULL ? backup : "latest", &d->summary, &d->detail, e);
}

/* Ends the scratch, gives the verdict, stores the report. */
static int
conclude(struct drill *d, int rc, struct err *e)
{
	char text[CLOCK_TEXT], host[256] = "", id[33];
	const char *verdict;

	if (rc != 0 && is_no_verdict(d, e->kind))
		return -1;
	verdict = judge(d, rc, e);
	if (gethostname(host, sizeof(host) - 1) != 0)
		host[0] = '\0';
	json_put_str(d->outcome, "verdict", verdict);
	json_put_str(d->outcome, "finished", clock_format_s(text, clock_wall_us()));
	json_put_str(d->outcome, "host", host);
	json_put_str(d->outcome, "holder", repo_holder_name(d->opened.repo));
	put_phases(d);
	say_what_is_not_covered(d);
	if (repo_put_report(d->opened.repo, d->outcome, id, rc == 0 ? e : &(struct err)ERR_INIT))
		return rc == 0 ? -1 : rc;
	json_put_str(d->outcome, "report_id", id);
	if (strcmp(verdict, "proven") == 0)
		return 0;
	if (rc == 0)
		err_set(e, ERR_NOT_PROVEN, "%s", json_opt_str(d->outcome, "reason", ""));
	e->kind = ERR_NOT_PROVEN;
	err_wrap(e, "backup %.12s is not proven (%s)", json_opt_str(d->summary, "id", ""), verdict);
	err_hint(e, "`holdfast report` shows what was found; the backup itself was not changed.");
	return -1;
}

int
ops_drill(const struct ops *o, const char *backup, json_t **outcome, struct err *e)
{
	struct drill d = { .ops = o, .settings = o->settings, .dump_tools = TOOLS_INIT };
	char text[CLOCK_TEXT];
	int rc;

	d.outcome = *outcome = ops_outcome("drill");
	json_put(d.outcome, "databases", d.databases = json_array());
	json_put(d.outcome, "differences", d.differences = json_array());
	json_put(d.outcome, "checks", d.checks = json_array());
	json_put(d.outcome, "amcheck", d.amcheck = json_object());
	json_put(d.outcome, "not_covered", d.not_covered = json_array());
	json_put_str(d.outcome, "started", clock_format_s(text, clock_wall_us()));
	d.notes = json_array();
	if (!o->settings->drill.amcheck) {
		json_put_bool(d.amcheck, "ran", false);
		json_put_str(d.amcheck, "why_not", "turned off in the configuration");
	}
	stop_set_deadline(o->settings->drill.deadline_ms, "the drill");
	rc = prepare(&d, backup, e);
	if (rc == 0) {
		json_put(d.outcome, "backup", json_incref(d.summary));
		rc = conclude(&d, run(&d, e), e);
	}
	stop_set_deadline(0, "");
	stop_hold_off(true);            /* databases on a named server are dropped also behind a signal */
	scratch_free(d.scratch);
	stop_hold_off(false);
	tools_free(&d.dump_tools);
	json_decref(d.summary);
	json_decref(d.detail);
	json_decref(d.notes);
	ops_close(&d.opened);
	return rc;
}
