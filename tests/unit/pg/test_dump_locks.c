#include "cluster.h"

#include "base/json.h"
#include "base/sink.h"
#include "pg/archive.h"
#include "pg/dump.h"

/* A server that is sure of 500 locks, so that a database of more relations gets none of ours. */
static struct cluster cluster;

static const char create_tables[] =
    "DO $$ BEGIN FOR n IN 1..%d LOOP EXECUTE format('CREATE TABLE t%%s AS SELECT 1 AS a', n); IF n %% 100 = 0 THEN COMMIT; END IF; END LOOP; END $$";

static void
create_database(const char *name, int tables)
{
	char *create = mem_printf("CREATE DATABASE %s", name), *fill = mem_printf(create_tables, tables);

	cluster_sql(&cluster, "postgres", create);
	cluster_sql(&cluster, name, fill);
	free(create);
	free(fill);
}

static int
start(void **state)
{
	(void)state;
	cluster_start(&cluster, "max_locks_per_transaction = 10\nmax_connections = 50");
	create_database("few", 400);
	create_database("many", 700);
	create_database("far_too_many", 8000);
	return 0;
}

static int
stop(void **state)
{
	(void)state;
	cluster_stop(&cluster);
	return 0;
}

static struct dump *
begin(const char *dbname)
{
	const struct dump_options options = { .lock_timeout_ms = 500 };
	struct err e = ERR_INIT;
	struct dump *d = dump_begin(&cluster.target, dbname, &cluster.tools, &options, &e);

	if (d == NULL)
		fail_msg("%s", e.msg);
	return d;
}

static int
run(struct dump *d, enum dump_kind kind, struct archive_digest *out, struct err *e)
{
	struct sink *s = archive_reader_new(out, NULL, sink_null_new());
	const struct dump_stream *streams;
	size_t n, i = 0;
	int rc;

	streams = dump_streams(d, &n);
	while (i < n && streams[i].kind != kind)
		i++;
	rc = dump_run(d, i, s, e);
	if (rc == 0)
		rc = sink_finish(s, e);
	sink_free(s);
	return rc;
}

static int
try_sql(const char *dbname, const char *sql)
{
	struct conn *c = cluster_connect(&cluster, dbname);
	struct err e = ERR_INIT;
	int rc = conn_exec(c, "SET lock_timeout = '200ms'; SET default_transaction_read_only = off", &e) == 0 ? conn_exec(c, sql, &e) : -1;

	if (rc != 0)
		print_message("%s\n", e.msg);
	conn_close(c);
	return rc;
}

static void
a_server_tells_what_it_has_room_for(void **state)
{
	struct dump_locks l;
	struct conn *c = cluster_connect(&cluster, "few");
	struct err e = ERR_INIT;

	(void)state;
	assert_good(dump_locks(&l, c, &e), &e);
	assert_int_equal(l.relations, 400);
	assert_int_equal(l.room, 500);
	assert_true(l.fit);
	conn_close(c);
	c = cluster_connect(&cluster, "far_too_many");
	assert_good(dump_locks(&l, c, &e), &e);
	assert_int_equal(l.relations, 8000);
	assert_false(l.fit);
	assert_int_equal(l.wanted, 256);        /* 128 * 50 are not enough */
	conn_close(c);
}

/* R38 */
static void
tables_that_fit_are_locked_before_the_snapshot(void **state)
{
	struct dump *d = begin("few");
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(try_sql("few", "TRUNCATE public.t7"), -1);
	assert_good(dump_end(d, &e), &e);
	dump_free(d);
	assert_int_equal(try_sql("few", "TRUNCATE public.t7"), 0);
}

static void
tables_that_do_not_fit_twice_are_dumped_all_the_same(void **state)
{
	struct archive_digest pre = ARCHIVE_DIGEST_INIT, rest = ARCHIVE_DIGEST_INIT, post = ARCHIVE_DIGEST_INIT;
	struct dump *d = begin("many");
	struct err e = ERR_INIT;

	(void)state;
	assert_good(run(d, DUMP_PRE_DATA, &pre, &e), &e);
	assert_good(run(d, DUMP_REST, &rest, &e), &e);
	assert_good(run(d, DUMP_POST_DATA, &post, &e), &e);
	assert_int_equal(rest.n_entries, 700);
	for (size_t i = 0; i < rest.n_entries; i++)
		assert_int_equal(rest.entries[i].rows, 1);
	assert_good(dump_end(d, &e), &e);
	dump_free(d);
	archive_digest_free(&pre);
	archive_digest_free(&rest);
	archive_digest_free(&post);
}

/* R38: a table that comes out empty with exit status 0 must not be taken for one that is empty. */
static void
a_table_that_was_truncated_behind_the_snapshot_fails_the_dump_by_name(void **state)
{
	struct archive_digest rest = ARCHIVE_DIGEST_INIT;
	struct dump *d = begin("many");
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(try_sql("many", "TRUNCATE public.t7"), 0);
	assert_good(run(d, DUMP_REST, &rest, &e), &e);
	assert_int_equal(dump_end(d, &e), -1);
	assert_int_equal(e.kind, ERR_LOCKED);           /* another try will do */
	assert_non_null(strstr(e.msg, "public.t7 "));
	assert_non_null(strstr(e.hint, "max_locks_per_transaction = 64 "));
	dump_free(d);
	archive_digest_free(&rest);
}

static void
a_table_that_was_dropped_behind_the_snapshot_fails_the_dump_by_name(void **state)
{
	struct archive_digest rest = ARCHIVE_DIGEST_INIT;
	struct dump *d = begin("many");
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(try_sql("many", "DROP TABLE public.t9"), 0);
	assert_int_equal(run(d, DUMP_REST, &rest, &e), -1);
	assert_non_null(strstr(e.msg, "public.t9"));
	err_clear(&e);
	assert_int_equal(dump_end(d, &e), -1);
	assert_int_equal(e.kind, ERR_LOCKED);
	assert_non_null(strstr(e.msg, "public.t9 "));
	dump_free(d);
	archive_digest_free(&rest);
}

static void
a_server_with_no_room_for_one_pg_dump_is_told_what_it_needs(void **state)
{
	struct archive_digest rest = ARCHIVE_DIGEST_INIT;
	struct dump *d = begin("far_too_many");
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(run(d, DUMP_REST, &rest, &e), -1);
	assert_int_equal(e.kind, ERR_LOCKED);
	assert_non_null(strstr(e.msg, "8000 relations"));
	assert_non_null(strstr(e.hint, "max_locks_per_transaction = 256 "));
	dump_free(d);
	archive_digest_free(&rest);
}

/* The usual online swap of a table: pg_dump finds the new one by its name, and under the old snapshot it is empty. */
static void
a_table_that_was_swapped_by_renaming_fails_the_dump_by_name(void **state)
{
	struct dump *d = begin("many");
	struct archive_digest rest = ARCHIVE_DIGEST_INIT;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(try_sql("many", "CREATE TABLE public.t8_new AS SELECT 5 AS a"), 0);
	assert_int_equal(try_sql("many", "BEGIN; ALTER TABLE public.t8 RENAME TO t8_old; ALTER TABLE public.t8_new RENAME TO t8; COMMIT"), 0);
	assert_good(run(d, DUMP_REST, &rest, &e), &e);
	assert_int_equal(dump_end(d, &e), -1);
	assert_int_equal(e.kind, ERR_LOCKED);
	assert_non_null(strstr(e.msg, "public.t8 was renamed"));
	archive_digest_free(&rest);
	dump_free(d);
	cluster_sql(&cluster, "many", "DROP TABLE public.t8_old");
}

/* A lock of a table does not keep its schema's name. */
static void
a_schema_that_was_swapped_by_renaming_fails_the_dump_by_name(void **state)
{
	struct archive_digest rest = ARCHIVE_DIGEST_INIT;
	struct err e = ERR_INIT;
	struct dump *d;

	(void)state;
	cluster_sql(&cluster, "few", "CREATE SCHEMA live CREATE TABLE t (a int)");
	cluster_sql(&cluster, "few", "CREATE SCHEMA fresh CREATE TABLE t (a int)");
	d = begin("few");
	assert_int_equal(try_sql("few", "ALTER SCHEMA live RENAME TO old; ALTER SCHEMA fresh RENAME TO live"), 0);
	(void)run(d, DUMP_REST, &rest, &e);
	err_clear(&e);
	assert_int_equal(dump_end(d, &e), -1);
	assert_int_equal(e.kind, ERR_LOCKED);
	assert_non_null(strstr(e.msg, "live.t was renamed"));
	archive_digest_free(&rest);
	dump_free(d);
	cluster_sql(&cluster, "few", "DROP SCHEMA live CASCADE; DROP SCHEMA old CASCADE");
}

/* From 16 on it locks many tables by one query and shows all of it; before 15 it says so in other words. */
static void
a_pg_dump_whose_lock_timed_out_is_understood_whatever_its_version(void **state)
{
	static const char *const scripts[] = {
		"#!/bin/sh\necho 'pg_dump: error: query failed: ERROR:  canceling statement due to statement timeout' >&2;"
		" echo 'pg_dump: error: query was: LOCK TABLE public.a IN ACCESS SHARE MODE' >&2; exit 1\n",
		"#!/bin/sh\necho 'pg_dump: error: query failed: ERROR:  canceling statement due to statement timeout' >&2;"
		" echo \"pg_dump: detail: Query was: LOCK TABLE public.a$(printf ', public.%0200d' $(/usr/bin/seq 1000)) IN ACCESS SHARE MODE\" >&2; exit 1\n",
	};
	const struct dump_options options = { .lock_timeout_ms = 700 };
	char *path = mem_printf("%s/wordy_pg_dump", cluster.dir);

	(void)state;
	for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++) {
		struct tools tools = cluster.tools;
		struct archive_digest one = ARCHIVE_DIGEST_INIT;
		struct err e = ERR_INIT;
		struct dump *d;

		cluster_write(&cluster, "wordy_pg_dump", scripts[i]);
		assert_int_equal(chmod(path, 0755), 0);
		tools.pg_dump = path;
		d = dump_begin(&cluster.target, "few", &tools, &options, &e);
		assert_non_null(d);
		assert_int_equal(run(d, DUMP_REST, &one, &e), -1);
		assert_int_equal(e.kind, ERR_LOCKED);
		archive_digest_free(&one);
		dump_free(d);
	}
	free(path);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_server_tells_what_it_has_room_for),
		cmocka_unit_test(tables_that_fit_are_locked_before_the_snapshot),
		cmocka_unit_test(tables_that_do_not_fit_twice_are_dumped_all_the_same),
		cmocka_unit_test(a_table_that_was_truncated_behind_the_snapshot_fails_the_dump_by_name),
		cmocka_unit_test(a_table_that_was_dropped_behind_the_snapshot_fails_the_dump_by_name),
		cmocka_unit_test(a_table_that_was_swapped_by_renaming_fails_the_dump_by_name),
		cmocka_unit_test(a_schema_that_was_swapped_by_renaming_fails_the_dump_by_name),
		cmocka_unit_test(a_server_with_no_room_for_one_pg_dump_is_told_what_it_needs),
		cmocka_unit_test(a_pg_dump_whose_lock_timed_out_is_understood_whatever_its_version),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
