/* One database of a drill. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/mem.h"
#include "ops/drill.h"
#include "pg/compare.h"
#include "pg/conn.h"
#include "pg/dump.h"
#include "pg/facts.h"

#define CHECK_TIMEOUT_MS 600000

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
	const char **tables;            /* dump what holds these; NULL: all */
};

static bool
is_wanted(const struct redump *r, const struct dump_stream *s)
{
	return r->tables == NULL || s->kind == DUMP_REST || (s->kind == DUMP_TABLE && bring_named(r->tables, s->schema, s->table));
}

static int
redump_stream(void *ctx, struct parallel *p, size_t i, struct err *e)
{
	struct redump *r = ctx;
	const struct dump_stream *stream = &r->streams[i];
	struct sink *sink;
	int rc;

	if (!is_wanted(r, stream))
		return 0;
	sink = archive_reader_new(&r->digests[i], r->columns, parallel_guard(p, sink_null_new()));
	sink = progress_sink_new(r->x->drill->ops->progress, stream->kind == DUMP_TABLE ? stream->table : stream->name, true, sink);
	rc = dump_run(r->dump, i, sink, e);
	if (rc == 0)
		rc = sink_finish(sink, e);
	sink_free(sink);
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

/* Row sets are kept of the rest alone, where COPY need not keep the order of rows, or of all that `tables` asks for. */
static int
run_dump(struct drilled *x, const char **tables, struct archive_digest *all, struct err *e)
{
	struct drill *d = x->drill;
	const char **excluded = excluded_of(d->detail);
	const struct dump_options options = {
		.exclude_table_data = excluded,
		.large_table_bytes = d->settings->backup.large_table_bytes,
		.lock_timeout_ms = d->settings->backup.lock_timeout_ms,
		.idle_timeout_ms = d->settings->backup.idle_timeout_ms,
	};
	struct redump r = { .x = x, .tables = tables };
	size_t count = 0;
	int rc = -1;

	r.dump = dump_begin(scratch_target(d->scratch), x->scratch_name, &d->dump_tools, &options, e);
	if (r.dump == NULL)
		goto out;
	r.streams = dump_streams(r.dump, &count);
	r.digests = mem_zero(count, sizeof(*r.digests));
	r.columns = compare_columns(&x->source);
	for (size_t i = 0; i < count; i++)
		r.digests[i].row_sets = tables != NULL || r.streams[i].kind != DUMP_TABLE;
	rc = parallel_run(d->settings->drill.jobs, count, redump_stream, &r, e);
	if (rc == 0)
		rc = dump_end(r.dump, e);
	for (size_t i = 0; i < count; i++) {
		if (rc == 0)
			archive_digest_merge(all, &r.digests[i]);
		archive_digest_free(&r.digests[i]);
	}
out:
	archive_columns_free(r.columns);
	free(r.digests);
	free(excluded);
	dump_free(r.dump);
	return rc == 0 ? 0 : err_wrap(e, "dump it again");
}

/* Rows that came back in another order are the same rows: both sides are read once more, as sets. */
static int
settle(struct drilled *x, const char **tables, struct err *e)
{
	struct archive_digest source = ARCHIVE_DIGEST_INIT, restored = ARCHIVE_DIGEST_INIT;
	const struct bring b = { .repo = x->drill->opened.repo, .progress = x->drill->ops->progress, .detail = x->drill->detail, .database = x->name };
	int rc = bring_again(&b, tables, &source, e);

	if (rc == 0)
		rc = run_dump(x, tables, &restored, e);
	if (rc == 0) {
		compare_settle(&x->source, &source);
		compare_settle(&x->restored, &restored);
	}
	archive_digest_free(&source);
	archive_digest_free(&restored);
	return rc;
}

static int
dump_again(struct drilled *x, struct err *e)
{
	const char **unclear;
	int rc;

	/* What comes out is what went in, but for the length of some names. */
	progress_phase(x->drill->ops->progress, "dump again", bring_bytes(x->drill->detail, x->name, NULL));
	rc = run_dump(x, NULL, &x->restored, e);
	if (rc == 0 && (unclear = compare_unclear(&x->source, &x->restored)) != NULL) {
		progress_phase(x->drill->ops->progress, "rows in another order", 0);
		rc = settle(x, unclear, e);
		free(unclear);
	}
	return rc;
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
		char *name = json_name(a->name), *key = mem_printf("%s %s", archive_type_name(a->type), name), sha256[SHA256_HEX];

		hex_encode(sha256, a->sha256, sizeof(a->sha256));
		if (strcmp(json_opt_str(recorded, key, ""), sha256) == 0)
			seen++;
		else
			rc = err_set(e, ERR_CORRUPT, "entry \"%.200s\" of the archives is not what the manifest recorded", key);
		free(key);
		free(name);
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
	int rc;

	if (!d->settings->drill.amcheck)
		return 0;
	rc = compare_amcheck(scratch_target(d->scratch), x->scratch_name, d->settings->drill.jobs, d->amcheck, e);
	if (json_array_size(json_object_get(d->amcheck, "problems")) > 0)
		d->differs = true;
	return rc;
}

int
drill_database(struct drill *d, const char *name, struct err *e)
{
	static const struct {
		int phase;
		const char *name;               /* NULL: it tells its progress itself */
		int (*run)(struct drilled *x, struct err *e);
	} steps[] = {
		{ RESTORE, NULL, restore_it }, { DUMP_AGAIN, NULL, dump_again }, { COMPARE, "compare", compare_it }, { CHECKS, "checks", check_it },
		{ AMCHECK, "amcheck", amcheck_it },
	};
	struct drilled x = { .drill = d, .name = name, .facts = bring_facts(d->detail, name), .cluster_facts = bring_cluster_facts(d->detail, name) };
	int rc = 0;

	if (x.facts == NULL || x.cluster_facts == NULL)
		return err_set(e, ERR_CORRUPT, "the manifest lacks the facts of database \"%s\"", name);
	x.source.row_sets = true;
	x.scratch_name = scratch_database(d->scratch, name);
	x.row = json_object();
	json_put_str(x.row, "name", name);
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]) && rc == 0; i++) {
		int64_t since = clock_mono_ms();

		if (steps[i].name != NULL)
			progress_phase(d->ops->progress, steps[i].name, 0);
		rc = steps[i].run(&x, e);
		drill_spent(d, steps[i].phase, since);
	}
	json_add(d->databases, x.row);
	archive_digest_free(&x.source);
	archive_digest_free(&x.restored);
	return rc == 0 ? 0 : err_wrap(e, "database \"%s\"", name);
}
