#include "ops/bring.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "pg/quote.h"

#define GLOBALS_MAX (64u << 20)

struct piece {                          /* one stream to bring */
	const json_t *stream;
	enum dump_kind kind;
	struct archive_digest digest;
};

struct bringing {
	const struct bring *b;
	struct restore *restore;
	struct piece *pieces;
};

static const json_t *
stream_of(const json_t *detail, const char *name)
{
	json_t *stream;
	size_t i;

	json_array_foreach(json_object_get(detail, "streams"), i, stream)
		if (strcmp(json_opt_str(stream, "name", ""), name) == 0)
			return stream;
	return NULL;
}

static int
section_kind(const char *section)
{
	static const char *const names[] = { "pre-data", "table", "rest", "post-data" };

	for (int k = DUMP_PRE_DATA; k <= DUMP_POST_DATA; k++)
		if (strcmp(section, names[k]) == 0)
			return k;
	return -1;
}

static int
bring_one(void *ctx, struct parallel *p, size_t i, struct err *e)
{
	struct bringing *g = ctx;
	struct piece *piece = &g->pieces[i];
	const char *name = json_opt_str(piece->stream, "name", "");
	struct sink *sink = restore_stream(g->restore, piece->kind, name, g->b->source != NULL ? &piece->digest : NULL, e);
	int rc;

	if (sink == NULL)
		return -1;
	/* Post-data is a few lines of text and, when all of them have come, most of the work. */
	sink = progress_sink_new(g->b->progress, piece->kind == DUMP_POST_DATA ? "indexes and constraints" : name, true, sink);
	sink = parallel_guard(p, sink);
	rc = repo_read(g->b->repo, piece->stream, sink, e);
	sink_free(sink);
	return rc;
}

/* The streams of one kind, or of the two that hold data. */
static size_t
choose(const struct bring *b, const struct restore *restore, bool data, enum dump_kind kind, struct piece *pieces, struct err *e)
{
	json_t *row;
	size_t i, n = 0;

	json_array_foreach(json_object_get(b->detail, "plan"), i, row) {
		const char *name = json_opt_str(row, "stream", "");
		const json_t *stream = stream_of(b->detail, name);
		int k = section_kind(json_opt_str(row, "section", ""));

		if (stream == NULL) {
			err_set(e, ERR_CORRUPT, "the manifest's plan names a stream \"%s\" that it does not have", name);
			return 0;
		}
		if (strcmp(json_opt_str(stream, "kind", ""), "dump") != 0) {
			err_set(e, ERR_CORRUPT, "the manifest's plan names a stream \"%s\" that is no dump", name);
			return 0;
		}
		if (strcmp(json_opt_str(stream, "database", ""), b->database) != 0)
			continue;
		if (data ? k != DUMP_TABLE && k != DUMP_REST : k != (int)kind)
			continue;
		if (k == DUMP_TABLE && !restore_wants(restore, json_opt_str(row, "schema", ""), json_opt_str(row, "table", "")))
			continue;
		pieces[n].digest.row_sets = b->source != NULL && b->source->row_sets && k != DUMP_TABLE;
		pieces[n].stream = stream;
		pieces[n].kind = (enum dump_kind)k;
		n++;
	}
	return n;
}

static int
bring_kind(const struct bring *b, struct restore *restore, bool data, enum dump_kind kind, struct err *e)
{
	struct piece *pieces = mem_zero(json_array_size(json_object_get(b->detail, "plan")), sizeof(*pieces));
	struct bringing g = { .b = b, .restore = restore, .pieces = pieces };
	size_t count = choose(b, restore, data, kind, pieces, e);
	int rc = e->kind != ERR_NONE ? -1 : parallel_run(data ? b->jobs : 1, count, bring_one, &g, e);

	if (rc == 0 && !data && count != 1)
		rc = err_set(e, ERR_CORRUPT, "the backup has %zu %s streams for database \"%s\" where one belongs", count,
		    kind == DUMP_PRE_DATA ? "pre-data" : "post-data", b->database);
	for (size_t i = 0; i < count; i++) {
		if (b->source != NULL && rc == 0)
			archive_digest_merge(b->source, &pieces[i].digest);
		archive_digest_free(&pieces[i].digest);
	}
	free(pieces);
	return rc;
}

/* Before all else: of what is not known nobody can say whether the backup is whole without it. */
static int
check_kinds(const struct bring *b, struct err *e)
{
	json_t *stream, *row;
	size_t i;

	json_array_foreach(json_object_get(b->detail, "streams"), i, stream) {
		const char *kind = json_opt_str(stream, "kind", "");

		if (strcmp(kind, "dump") != 0 && strcmp(kind, "sql") != 0) {
			err_set(e, ERR_FAILED, "stream \"%s\" is of a kind that this holdfast does not know: \"%s\"", json_opt_str(stream, "name", "?"), kind);
			return err_hint(e, "The backup was made by a newer holdfast: restore it with that one.");
		}
	}
	json_array_foreach(json_object_get(b->detail, "plan"), i, row) {
		const char *section = json_opt_str(row, "section", "");

		if (section_kind(section) < 0) {
			err_set(e, ERR_FAILED, "stream \"%s\" is for a section that this holdfast does not know: \"%s\"", json_opt_str(row, "stream", "?"), section);
			return err_hint(e, "The backup was made by a newer holdfast: restore it with that one.");
		}
	}
	return 0;
}

/* Every dump stream of the database stands in the plan once, and one of them is the rest: what the plan forgot would be missed by nobody,
 * since both sides of a comparison follow it. */
static int
check_plan(const struct bring *b, struct err *e)
{
	json_t *stream, *row;
	size_t i, k, rests = 0;

	json_array_foreach(json_object_get(b->detail, "streams"), i, stream) {
		size_t named = 0;

		if (strcmp(json_opt_str(stream, "database", ""), b->database) != 0)
			continue;
		json_array_foreach(json_object_get(b->detail, "plan"), k, row) {
			bool this = strcmp(json_opt_str(row, "stream", ""), json_opt_str(stream, "name", "?")) == 0;

			named += this;
			rests += this && section_kind(json_opt_str(row, "section", "")) == DUMP_REST;
		}
		if (named != 1)
			return err_set(e, ERR_CORRUPT, "stream \"%s\" stands %zu times in the manifest's plan", json_opt_str(stream, "name", "?"), named);
	}
	if (rests != 1)
		return err_set(e, ERR_CORRUPT, "the manifest has %zu streams \"rest\" for database \"%s\" where one belongs", rests, b->database);
	return 0;
}

int
bring_streams(const struct bring *b, struct restore *restore, struct err *e)
{
	if (check_kinds(b, e) || check_plan(b, e) || bring_kind(b, restore, false, DUMP_PRE_DATA, e) || bring_kind(b, restore, true, DUMP_REST, e))
		return -1;
	return bring_kind(b, restore, false, DUMP_POST_DATA, e);
}

bool
bring_named(const char *const *tables, const char *schema, const char *table)
{
	char *name = quote_name(schema, table);
	bool found = false;

	for (; *tables != NULL && !found; tables++)
		found = strcmp(*tables, name) == 0;
	free(name);
	return found;
}

/* The same of names as the plan has them. */
static bool
plan_named(const char *const *tables, const json_t *row)
{
	char *name = quote_name(json_opt_str(row, "schema", ""), json_opt_str(row, "table", ""));
	bool found = false;

	for (; *tables != NULL && !found; tables++) {
		char *text = json_name(*tables);

		found = strcmp(text, name) == 0;
		free(text);
	}
	free(name);
	return found;
}

int
bring_again(const struct bring *b, const char *const *tables, struct archive_digest *again, struct err *e)
{
	json_t *row;
	size_t i;
	int rc = 0;

	json_array_foreach(json_object_get(b->detail, "plan"), i, row) {
		struct archive_digest one = { .row_sets = true };
		const json_t *stream = stream_of(b->detail, json_opt_str(row, "stream", ""));
		int k = section_kind(json_opt_str(row, "section", ""));
		struct sink *sink;

		/* The rest is read whenever: which tables are in it the plan does not say. */
		if (stream == NULL || strcmp(json_opt_str(stream, "database", ""), b->database) != 0 || (k != DUMP_REST &&
		    (k != DUMP_TABLE || !plan_named(tables, row))))
			continue;
		sink = progress_sink_new(b->progress, json_opt_str(stream, "name", ""), true, sink_null_new());
		sink = archive_reader_new(&one, NULL, sink);
		rc = repo_read(b->repo, stream, sink, e);
		sink_free(sink);
		archive_digest_merge(again, &one);
		if (rc != 0)
			return -1;
	}
	return 0;
}

uint64_t
bring_bytes(const json_t *detail, const char *database, const struct restore *restore)
{
	json_t *row;
	uint64_t bytes = 0;
	size_t i;

	json_array_foreach(json_object_get(detail, "plan"), i, row) {
		const json_t *stream = stream_of(detail, json_opt_str(row, "stream", ""));

		if (strcmp(json_opt_str(stream, "database", ""), database) != 0)
			continue;
		if (restore == NULL || section_kind(json_opt_str(row, "section", "")) != DUMP_TABLE ||
		    restore_wants(restore, json_opt_str(row, "schema", ""), json_opt_str(row, "table", "")))
			bytes += (uint64_t)json_opt_int(stream, "bytes", 0);
	}
	return bytes;
}

/* Tables, and what else a selection can name. */
static bool
is_relation(const char *desc)
{
	static const char *const kinds[] = { "TABLE", "VIEW", "MATERIALIZED VIEW", "FOREIGN TABLE", "SEQUENCE" };

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strcmp(desc, kinds[i]) == 0)
			return true;
	return false;
}

int
bring_relations(struct repo *r, const json_t *detail, const char *database, json_t **relations, struct err *e)
{
	struct archive_digest digest = ARCHIVE_DIGEST_INIT;
	const json_t *stream = NULL;
	struct sink *reader;
	json_t *row;
	size_t i;
	int rc;

	json_array_foreach(json_object_get(detail, "plan"), i, row) {
		const json_t *of = stream_of(detail, json_opt_str(row, "stream", ""));

		if (section_kind(json_opt_str(row, "section", "")) == DUMP_PRE_DATA && strcmp(json_opt_str(of, "database", ""), database) == 0)
			stream = of;
	}
	if (stream == NULL)
		return err_set(e, ERR_CORRUPT, "the backup has no pre-data stream for database \"%s\"", database);
	reader = archive_reader_new(&digest, NULL, sink_null_new());
	rc = repo_read(r, stream, reader, e);
	sink_free(reader);
	*relations = rc == 0 ? json_array() : NULL;
	for (size_t k = 0; rc == 0 && k < digest.n_items; k++) {
		const struct archive_item *item = &digest.items[k];
		char *schema, *name;
		json_t *o;

		if (!is_relation(item->desc))
			continue;
		o = json_object();
		schema = json_name(item->namespace);
		name = json_name(item->tag);
		json_put_str(o, "schema", schema);
		json_put_str(o, "name", name);
		json_add(*relations, o);
		free(schema);
		free(name);
	}
	archive_digest_free(&digest);
	return rc;
}

int
bring_globals(struct repo *r, const json_t *detail, struct buf *text, struct err *e)
{
	const json_t *stream = stream_of(detail, "globals");
	struct sink *sink;
	int rc;

	if (stream == NULL)
		return err_set(e, ERR_CORRUPT, "the backup holds no globals");
	sink = sink_buf_new(text, GLOBALS_MAX);
	rc = repo_read(r, stream, sink, e);
	sink_free(sink);
	return rc;
}

static const json_t *
named(const json_t *array, const char *name)
{
	json_t *o;
	size_t i;

	json_array_foreach(array, i, o)
		if (strcmp(json_opt_str(o, "name", ""), name) == 0)
			return o;
	return NULL;
}

const json_t *
bring_facts(const json_t *detail, const char *database)
{
	return named(json_object_get(json_object_get(detail, "facts"), "databases"), database);
}

const json_t *
bring_cluster_facts(const json_t *detail, const char *database)
{
	return named(json_object_get(json_object_get(json_object_get(detail, "facts"), "cluster"), "databases"), database);
}
