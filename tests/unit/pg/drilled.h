/*
 * There and back: a database with everything that PostgreSQL has, dumped, restored into a caged scratch cluster, dumped again and
 * compared; then with faults put in between.
 */
#ifndef TEST_PG_DRILLED_H
#define TEST_PG_DRILLED_H

#include "cluster.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "base/json.h"
#include "base/stop.h"
#include "pg/compare.h"
#include "pg/dump.h"
#include "pg/facts.h"
#include "pg/globals.h"
#include "pg/restore.h"
#include "pg/scratch.h"

/* Not every test of a pair needs all of what follows. */
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wunused-variable"

#define STREAMS_MOST 40

static struct cluster source;
static char base[] = "/tmp/hf-restore-XXXXXX";

/* A dump in memory. */
struct taken {
	size_t n;
	struct { enum dump_kind kind; char *name, *schema, *table; struct buf bytes; } streams[STREAMS_MOST];
	struct buf globals;
	json_t *cluster, *facts;
	json_t *database;               /* of `cluster`, borrowed */
};

/* What a drill holds between its steps. */
struct drilled {
	struct scratch *scratch;
	const char *name;
	struct archive_digest before, after;
	json_t *database, *differences, *notes;
};

static const char everything[] =
    "CREATE EXTENSION hstore; CREATE EXTENSION citext; CREATE EXTENSION btree_gist; CREATE EXTENSION \"uuid-ossp\";"
    "CREATE SCHEMA \"Odd \"\"Schema; x\"; CREATE SCHEMA app AUTHORIZATION app;"
    "CREATE TYPE app.mood AS ENUM ('sad', 'it''s ok', 'ha\\ppy'); CREATE DOMAIN app.positive AS int CHECK (VALUE > 0);"
    "CREATE TYPE app.pair AS (a int, b text); CREATE TYPE app.span AS RANGE (subtype = float8);"
    "CREATE TABLE app.users (id bigserial PRIMARY KEY, name citext NOT NULL UNIQUE, mood app.mood DEFAULT 'sad', extra jsonb, h hstore,"
    "  full_name text GENERATED ALWAYS AS (upper(name::text)) STORED, born date CHECK (born > '1900-01-01'));"
    "INSERT INTO app.users (name, extra, h, born) SELECT 'user ' || i, jsonb_build_object('i', i, 't', repeat(md5(i::text), 3)), hstore('k', i::text),"
    "  '1970-01-01'::date + i FROM generate_series(1, 3000) i;"
    "CREATE TABLE app.orders (id int GENERATED ALWAYS AS IDENTITY, user_id bigint REFERENCES app.users ON DELETE CASCADE, amount app.positive,"
    "  p app.pair, during tstzrange, raw bytea, EXCLUDE USING gist (user_id WITH =, during WITH &&));"
    "INSERT INTO app.orders (user_id, amount, p, during, raw) SELECT i, i, ROW(i, E'tab\\tnew\\nline\\\\ ')::app.pair, tstzrange(now(), now() + '1 h'),"
    "  decode(md5(i::text), 'hex') FROM generate_series(1, 500) i;"
    "CREATE INDEX ON app.orders (amount DESC NULLS LAST) WHERE amount > 10; CREATE INDEX orders_expr ON app.orders ((lower((p).b)));"
    "CREATE TABLE \"Odd \"\"Schema; x\".\"Tab'le \\ \"\"1\"\"\n two\" (\"co l\" text, \"Q\"\"\" int); INSERT INTO \"Odd \"\"Schema; x\".\"Tab'le \\ \"\"1\"\"\n two\""
    "  VALUES (NULL, 1), ('', 2), (E'\\\\N', 3), (E'\\\\.', 4), ('\xc3\xa9\xe2\x82\xac', 5);"
    "CREATE TABLE app.events (at timestamptz NOT NULL, kind text, v float8) PARTITION BY RANGE (at);"
    "CREATE TABLE app.events_2025 PARTITION OF app.events FOR VALUES FROM ('2025-01-01') TO ('2026-01-01') PARTITION BY LIST (kind);"
    "CREATE TABLE app.events_2025_a PARTITION OF app.events_2025 FOR VALUES IN ('a'); CREATE TABLE app.events_2025_x PARTITION OF app.events_2025 DEFAULT;"
    "CREATE TABLE app.events_rest PARTITION OF app.events DEFAULT; CREATE INDEX ON app.events (kind, at);"
    "INSERT INTO app.events SELECT '2025-06-01'::timestamptz + i * interval '1 h', CASE WHEN i % 2 = 0 THEN 'a' ELSE 'b' END, i / 3.0 FROM generate_series(1, 9000) i;"
    "CREATE MATERIALIZED VIEW app.summary AS SELECT kind, count(*) AS n, sum(v) AS total FROM app.events GROUP BY kind; CREATE UNIQUE INDEX ON app.summary (kind);"
    "CREATE MATERIALIZED VIEW app.unfilled AS SELECT 1 AS x WITH NO DATA; CREATE VIEW app.v AS SELECT u.name, o.amount FROM app.users u JOIN app.orders o ON o.user_id = u.id;"
    "CREATE FUNCTION app.touch() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN NEW.extra := '{}'; RETURN NEW; END $f$;"
    "CREATE TRIGGER touch BEFORE UPDATE ON app.users FOR EACH ROW EXECUTE FUNCTION app.touch();"
    "CREATE FUNCTION app.log_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $f$ BEGIN NULL; END $f$;"
    "CREATE EVENT TRIGGER log_ddl ON ddl_command_end EXECUTE FUNCTION app.log_ddl();"
    "ALTER TABLE app.users ENABLE ROW LEVEL SECURITY; CREATE POLICY own ON app.users TO app USING (name = current_user);"
    "CREATE PUBLICATION pub FOR TABLE app.users, app.orders; CREATE STATISTICS app.stx ON kind, v FROM app.events_2025_a;"
    "GRANT SELECT ON app.users TO readers; GRANT UPDATE (mood) ON app.users TO readers; GRANT USAGE ON SCHEMA app TO PUBLIC;"
    "ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT SELECT ON TABLES TO readers; REVOKE EXECUTE ON FUNCTION app.touch() FROM PUBLIC;"
    "COMMENT ON TABLE app.users IS 'it''s; $$ \\ users'; COMMENT ON COLUMN app.users.name IS E'two\\nlines'; COMMENT ON SCHEMA app IS 'x';"
    "CREATE SEQUENCE app.free START 5 INCREMENT 3 MAXVALUE 1000 CYCLE; SELECT nextval('app.free'), nextval('app.free');"
    "CREATE RULE quiet AS ON DELETE TO app.v DO INSTEAD NOTHING; CREATE AGGREGATE app.mul(float8) (SFUNC = float8mul, STYPE = float8, INITCOND = '1');"
    "CREATE UNLOGGED TABLE app.cache (x int); INSERT INTO app.cache VALUES (1);"
    "SELECT lo_from_bytea(0, decode(repeat('00ff5c', 5000), 'hex')), lo_create(0), lo_from_bytea(4242, 'large'); COMMENT ON LARGE OBJECT 4242 IS 'lo';"
    "CREATE TABLE app.parent (a int, b text); CREATE TABLE app.child (c int) INHERITS (app.parent); ALTER TABLE app.parent ADD COLUMN d text DEFAULT 'd';"
    "ALTER TABLE app.child ADD COLUMN e int; ALTER TABLE app.parent ADD COLUMN f int;"
    "INSERT INTO app.child SELECT i, 'b' || i, i * 2, 'd', i, i FROM generate_series(1, 2000) i; ALTER TABLE app.users OWNER TO app;";

static void
take_dump(const char *dbname, uint64_t large, struct taken *t)
{
	const struct dump_options options = { .large_table_bytes = large };
	struct conn *c = cluster_connect(&source, NULL);
	const struct dump_stream *plan;
	struct err e = ERR_INIT;
	struct dump *d;
	bool without;
	struct sink *s;
	json_t *db;
	size_t i;

	memset(t, 0, sizeof(*t));
	t->cluster = facts_cluster(c, &e);
	assert_non_null(t->cluster);
	conn_close(c);
	json_array_foreach(json_object_get(t->cluster, "databases"), i, db)
		if (strcmp(json_opt_str(db, "name", ""), dbname) == 0)
			t->database = db;
	assert_non_null(t->database);
	d = dump_begin(&source.target, dbname, &source.tools, &options, &e);
	if (d == NULL)
		fail_msg("%s", e.msg);
	t->facts = json_incref(dump_facts(d));
	plan = dump_streams(d, &t->n);
	assert_true(t->n >= 3 && t->n <= STREAMS_MOST);
	for (i = 0; i < t->n; i++) {
		t->streams[i].kind = plan[i].kind;
		t->streams[i].name = mem_strdup(plan[i].name);
		t->streams[i].schema = mem_strdup(plan[i].schema);
		t->streams[i].table = mem_strdup(plan[i].table);
		s = sink_buf_new(&t->streams[i].bytes, (size_t)1 << 30);
		assert_good(dump_run(d, i, s, &e), &e);
		sink_free(s);
	}
	assert_good(dump_end(d, &e), &e);
	dump_free(d);
	s = sink_buf_new(&t->globals, 1 << 24);
	assert_good(dump_globals(&source.target, &source.tools, 0, &without, NULL, s, &e), &e);
	sink_free(s);
}

static void
taken_free(struct taken *t)
{
	for (size_t i = 0; i < t->n; i++) {
		free(t->streams[i].name);
		free(t->streams[i].schema);
		free(t->streams[i].table);
		buf_free(&t->streams[i].bytes);
	}
	buf_free(&t->globals);
	json_decref(t->cluster);
	json_decref(t->facts);
}

static struct scratch *
start_scratch(void)
{
	const struct scratch_options o = { .dir = base, .user = "postgres", .major = source.tools.major, .jobs = 2, .need_bytes = 1 };
	struct err e = ERR_INIT;
	struct scratch *s = scratch_start(&o, &e);

	if (s == NULL)
		fail_msg("%s", e.msg);
	return s;
}

static int
restore_one(struct restore *r, enum dump_kind kind, const char *name, const struct buf *bytes, struct archive_digest *all, struct err *e)
{
	struct archive_digest one = ARCHIVE_DIGEST_INIT;
	struct sink *s = restore_stream(r, kind, name, &one, e);
	int rc = -1;

	if (s == NULL)
		return -1;
	/* In pieces, as a repository gives it. */
	for (size_t at = 0, n; at < bytes->bytes; at += n) {
		n = bytes->bytes - at < 100000 ? bytes->bytes - at : 100000;
		rc = sink_write(s, bytes->data + at, n, e);
		if (rc != 0)
			break;
	}
	if (rc == 0)
		rc = sink_finish(s, e);
	sink_free(s);
	archive_digest_merge(all, &one);
	return rc;
}

static struct restore_options
restore_plan(struct drilled *d)
{
	return (struct restore_options){
		.target = scratch_target(d->scratch), .database = d->name, .tools = scratch_tools(d->scratch), .cage = scratch_cage(d->scratch),
		.jobs = 2, .sort_bytes = scratch_sort_bytes(d->scratch),
	};
}

static void
begin_drill(struct drilled *d, const struct taken *t)
{
	struct err e = ERR_INIT;

	memset(d, 0, sizeof(*d));
	d->scratch = start_scratch();
	d->name = scratch_database(d->scratch, json_opt_str(t->database, "name", ""));
	d->notes = json_array();
	assert_good(scratch_preflight(d->scratch, json_object_get(t->facts, "extensions"), &e), &e);
	assert_good(globals_restore(scratch_target(d->scratch), t->globals.data, t->globals.bytes, true, d->notes, &e), &e);
	assert_good(restore_create(scratch_target(d->scratch), d->name, t->database, &e), &e);
	assert_good(restore_check_empty(scratch_target(d->scratch), d->name, &e), &e);
}

static int
restore_all(struct drilled *d, const struct taken *t, struct err *e)
{
	const struct restore_options o = restore_plan(d);
	struct restore *r = restore_new(&o, e);
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < t->n; i++)
		rc = restore_one(r, t->streams[i].kind, t->streams[i].name, &t->streams[i].bytes, &d->before, e);
	if (rc == 0)
		rc = restore_end(r, t->database, d->notes, e);
	restore_free(r);
	return rc;
}

static bool
dump_again(struct drilled *d)
{
	const struct dump_options options = { .large_table_bytes = 0 };
	struct archive_columns *columns = compare_columns(&d->before);
	struct err e = ERR_INIT;
	struct dump *dump = dump_begin(scratch_target(d->scratch), d->name, scratch_tools(d->scratch), &options, &e);
	bool equal;
	size_t n;

	if (dump == NULL)
		fail_msg("%s", e.msg);
	json_decref(d->database);
	json_decref(d->differences);
	archive_digest_free(&d->after);
	dump_streams(dump, &n);
	for (size_t i = 0; i < n; i++) {
		struct archive_digest one = ARCHIVE_DIGEST_INIT;
		struct sink *s = archive_reader_new(&one, columns, sink_null_new());

		assert_good(dump_run(dump, i, s, &e), &e);
		assert_good(sink_finish(s, &e), &e);
		sink_free(s);
		archive_digest_merge(&d->after, &one);
	}
	d->database = json_object();
	d->differences = json_array();
	equal = compare_digests(d->database, d->differences, "app", &d->before, &d->after);
	archive_columns_free(columns);
	dump_free(dump);
	return equal;
}

static void
end_drill(struct drilled *d)
{
	json_decref(d->database);
	json_decref(d->differences);
	json_decref(d->notes);
	archive_digest_free(&d->before);
	archive_digest_free(&d->after);
	scratch_free(d->scratch);
}

static void
show(const json_t *value)
{
	char *text = json_text(value, JSON_INDENT(1));

	print_message("%s\n", text);
	free(text);
}

static void
on_scratch(struct drilled *d, const char *sql)
{
	struct err e = ERR_INIT;
	struct conn *c = conn_open(scratch_target(d->scratch), d->name, &e);

	if (c == NULL || conn_exec(c, sql, &e))
		fail_msg("%s: %s", sql, e.msg);
	conn_close(c);
}

static char *
value_of(struct drilled *d, const char *sql)
{
	struct err e = ERR_INIT;
	struct conn *c = conn_open(scratch_target(d->scratch), d->name, &e);
	char *value = NULL;

	if (c == NULL || conn_value(&value, c, sql, NULL, &e))
		fail_msg("%s: %s", sql, e.msg);
	conn_close(c);
	return value;
}

/* `what` of the entry in differences; "" when it is not there. */
static const char *
difference(struct drilled *d, const char *entry)
{
	json_t *x;
	size_t i;

	json_array_foreach(d->differences, i, x)
		if (strcmp(json_opt_str(x, "entry", ""), entry) == 0)
			return json_opt_str(x, "what", "");
	return "";
}

/* ---- the rows of one large table ---- */

static const char odd_tables[] =
    "CREATE SCHEMA \"Of; \"\"Rows\";"
    /* A column that went, one that is computed, one that counts itself, and rows in an order that none of them has. */
    "CREATE TABLE \"Of; \"\"Rows\".\"Tab'le\n (x)\" (gone text, id int GENERATED ALWAYS AS IDENTITY, \"a, (b\"\")\" text, twice int GENERATED ALWAYS AS (n * 2) STORED, n int);"
    "ALTER TABLE \"Of; \"\"Rows\".\"Tab'le\n (x)\" DROP COLUMN gone;"
    "INSERT INTO \"Of; \"\"Rows\".\"Tab'le\n (x)\" (\"a, (b\"\")\", n) SELECT repeat(md5((i * 7919 % 6000)::text), i % 40), i FROM generate_series(1, 6000) i;"
    "CREATE TABLE public.parent (a int CHECK (a >= 0), t text); CREATE TABLE public.heir (h int) INHERITS (public.parent);"
    "INSERT INTO public.parent SELECT i, repeat('p', 100) FROM generate_series(1, 2000) i; INSERT INTO public.heir SELECT i, repeat('h', 100), i FROM generate_series(1, 2000) i;"
    "CREATE TABLE public.secret (owner text, t text); INSERT INTO public.secret SELECT 'nobody', repeat('s', 100) FROM generate_series(1, 2000);"
    "ALTER TABLE public.secret ENABLE ROW LEVEL SECURITY; ALTER TABLE public.secret FORCE ROW LEVEL SECURITY;"
    "CREATE TABLE public.emptied (t text); INSERT INTO public.emptied SELECT repeat('e', 100) FROM generate_series(1, 2000); DELETE FROM public.emptied;"
    "CREATE TABLE public.columnless (); INSERT INTO public.columnless SELECT FROM generate_series(1, 4000);"
    "CREATE UNLOGGED TABLE public.unlogged (t text); INSERT INTO public.unlogged SELECT repeat('u', 100) FROM generate_series(1, 2000);"
    "CREATE TABLE public.refers (id int PRIMARY KEY, up int REFERENCES public.refers, t text);"
    "INSERT INTO public.refers SELECT i, 2001 - i, repeat('r', 100) FROM generate_series(1, 2000) i;"
    "CREATE TABLE public.parted (k int, t text) PARTITION BY LIST (k); CREATE TABLE public.leaf PARTITION OF public.parted FOR VALUES IN (1);"
    "INSERT INTO public.parted SELECT 1, repeat('l', 100) FROM generate_series(1, 2000);"
    /* A large row does not fit where a small one would: with the free space map in use, small ones fill the gaps later and change places.
     * CREATE TABLE AS uses none, so that the source has the rows as they are numbered. */
    "CREATE TABLE public.mixed AS SELECT repeat('m', CASE WHEN i % 20 = 0 THEN 1950 ELSE 300 END) || i AS t FROM generate_series(1, 3000) i;";

/* The position of the stream of this table in the dump. */
static size_t
stream_of(const struct taken *t, const char *table)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->streams[i].kind == DUMP_TABLE && strcmp(t->streams[i].table, table) == 0)
			return i;
	fail_msg("table %s has no stream of its own", table);
	return 0;
}

static const struct archive_entry *
table_of(const struct archive_digest *d, const char *name)
{
	for (size_t i = 0; i < d->n_entries; i++)
		if (d->entries[i].type == ARCHIVE_TABLE && strcmp(d->entries[i].name, name) == 0)
			return &d->entries[i];
	fail_msg("no data of %s", name);
	return NULL;
}

static int
set_up(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(base));
	chmod(base, 0755);
	cluster_start(&source, NULL);
	cluster_sql(&source, "postgres", "CREATE ROLE app LOGIN PASSWORD 'canary'; CREATE ROLE readers; GRANT readers TO app;");
	cluster_sql(&source, "postgres", "CREATE DATABASE app OWNER app TEMPLATE template0");
	cluster_sql(&source, "app", everything);
	cluster_sql(&source, "postgres", "REVOKE ALL ON DATABASE app FROM PUBLIC; GRANT CONNECT ON DATABASE app TO readers WITH GRANT OPTION;"
	    "ALTER DATABASE app SET search_path = app, \"Odd \"\"Schema; x\"; ALTER DATABASE app SET app.tenant = 'it''s';"
	    "ALTER ROLE app IN DATABASE app SET default_transaction_read_only = on; COMMENT ON DATABASE app IS 'the app''s'");
	return 0;
}

static int
tear_down(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	cluster_stop(&source);
	return file_remove_tree(base, &e);
}

#endif
