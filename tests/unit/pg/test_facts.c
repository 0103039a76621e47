#include "cluster.h"

#include "base/json.h"
#include "pg/facts.h"

static struct cluster cluster;

static const char content[] =
    "CREATE EXTENSION pg_trgm; CREATE EXTENSION hstore; CREATE SCHEMA s;"
    "CREATE TABLE t (a serial PRIMARY KEY, b text UNIQUE, c int CHECK (c > 0) REFERENCES t); CREATE INDEX ON t (c); INSERT INTO t (b) VALUES ('x');"
    "CREATE TABLE parted (a int, b text NOT NULL) PARTITION BY LIST (a); CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);"
    "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; CREATE TRIGGER tr BEFORE INSERT ON parted FOR EACH ROW EXECUTE FUNCTION f();"
    "CREATE PROCEDURE p() LANGUAGE sql AS ''; CREATE AGGREGATE agg (int) (SFUNC = int4pl, STYPE = int);"
    "CREATE VIEW v AS SELECT 1 AS a; CREATE RULE r AS ON INSERT TO v DO INSTEAD NOTHING; CREATE MATERIALIZED VIEW s.mv AS SELECT 2 AS a;"
    "CREATE TYPE e AS ENUM ('a'); CREATE DOMAIN d AS int CHECK (value > 0); CREATE TYPE c AS (a int); CREATE TYPE rng AS RANGE (subtype = float8);"
    "CREATE UNLOGGED TABLE u (a int); ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY pol ON t USING (a > 0);"
    "COMMENT ON TABLE t IS 'a table'; COMMENT ON COLUMN t.a IS 'a column'; CREATE PUBLICATION pub FOR TABLE t; CREATE STATISTICS st ON a, b FROM t;"
    "CREATE EVENT TRIGGER et ON ddl_command_end EXECUTE FUNCTION s_et(); CREATE SEQUENCE sq; SELECT lo_create(0), lo_create(0);"
    "CREATE FOREIGN DATA WRAPPER fdw; CREATE SERVER srv FOREIGN DATA WRAPPER fdw; CREATE FOREIGN TABLE ft (a int) SERVER srv;"
    "CREATE USER MAPPING FOR public SERVER srv OPTIONS (password 'canary');"
    "CREATE COLLATION coll (locale = 'C'); CREATE CAST (c AS e) WITH INOUT; ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO public;";

static int
start(void **state)
{
	(void)state;
	cluster_start(&cluster, "wal_level = logical");
	cluster_sql(&cluster, "postgres", "CREATE DATABASE source");
	cluster_sql(&cluster, "postgres", "CREATE ROLE reader LOGIN; GRANT pg_read_all_data TO reader; CREATE ROLE owner");
	cluster_sql(&cluster, "postgres", "CREATE DATABASE \"Odd \"\"one\" OWNER owner TEMPLATE template0 LC_COLLATE 'C' CONNECTION LIMIT 7");
	cluster_sql(&cluster, "postgres", "ALTER DATABASE source SET work_mem = '5MB'; ALTER ROLE reader IN DATABASE source SET jit = off;"
	    "ALTER DATABASE source SET standard_conforming_strings = on; GRANT CONNECT ON DATABASE source TO reader; COMMENT ON DATABASE source IS 'why';"
	    "ALTER DATABASE template1 SET search_path = public");
	cluster_sql(&cluster, "source", "CREATE FUNCTION s_et() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'");
	cluster_sql(&cluster, "source", content);
	cluster_sql(&cluster, "postgres", "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0");
	cluster_sql(&cluster, "latin", "CREATE UNLOGGED TABLE \"\xfc\" (a int)");
	return 0;
}

static int
stop(void **state)
{
	(void)state;
	cluster_stop(&cluster);
	return 0;
}

static json_t *
named(json_t *array, const char *name)
{
	size_t i;
	json_t *one;

	json_array_foreach(array, i, one)
		if (strcmp(json_string_value(json_object_get(one, "name")), name) == 0)
			return one;
	fail_msg("no \"%s\"", name);
	return NULL;
}

static int
number(json_t *object, const char *key)
{
	assert_true(json_is_integer(json_object_get(object, key)));
	return (int)json_integer_value(json_object_get(object, key));
}

static const char *
text(json_t *object, const char *key)
{
	assert_true(json_is_string(json_object_get(object, key)));
	return json_string_value(json_object_get(object, key));
}

static void
the_server_and_its_databases_are_described(void **state)
{
	struct conn *c = cluster_connect(&cluster, NULL);
	struct err e = ERR_INIT;
	json_t *facts = facts_cluster(c, &e), *databases, *one;

	(void)state;
	if (facts == NULL)
		fail_msg("%s", e.msg);
	assert_true(strlen(text(facts, "system_identifier")) > 15);
	assert_int_equal(number(facts, "server_version_num"), conn_server_version(c));
	assert_int_equal(number(facts, "timeline"), 1);
	assert_int_equal(number(facts, "wal_segment_bytes"), 16 << 20);
	assert_true(json_is_false(json_object_get(facts, "in_recovery")));
	assert_true(json_is_true(json_object_get(facts, "role_superuser")));
	assert_true(json_is_true(json_object_get(facts, "can_read_passwords")));
	assert_string_equal(text(json_object_get(facts, "settings"), "standard_conforming_strings"), "on");
	/* Our own session has it otherwise. */
	assert_string_equal(text(json_object_get(facts, "settings"), "row_security"), "on");

	databases = json_object_get(facts, "databases");
	one = named(databases, "Odd \"one");
	assert_string_equal(text(one, "owner"), "owner");
	assert_string_equal(text(one, "encoding"), "UTF8");
	assert_string_equal(text(one, "collate"), "C");
	assert_string_equal(text(one, "ctype"), "C.UTF-8");
	assert_string_equal(text(one, "provider"), "libc");
	assert_int_equal(number(one, "connection_limit"), 7);
	one = named(databases, "source");
	assert_string_equal(text(one, "comment"), "why");
	assert_true(number(one, "bytes") > 1 << 20);
	assert_int_equal(json_array_size(json_object_get(one, "settings")), 3);
	assert_string_equal(text(json_array_get(json_object_get(one, "settings"), 1), "setting"), "work_mem=5MB");
	assert_string_equal(text(json_array_get(json_object_get(one, "settings"), 2), "role"), "reader");
	assert_true(json_array_size(json_object_get(one, "acl")) >= 2);
	json_decref(facts);

	facts = facts_databases(c, &e);
	assert_int_equal(json_array_size(facts), 4);
	json_decref(facts);
	conn_close(c);
}

/* R36: what a restored database must have as many of. */
static void
objects_are_counted_by_class(void **state)
{
	static const struct {
		const char *class;
		int count;
	} expect[] = {
		{ "table", 3 }, { "partitioned table", 1 }, { "index", 3 }, { "sequence", 2 }, { "view", 1 }, { "materialized view", 1 },
		{ "foreign table", 1 }, { "composite type", 1 }, { "enum", 1 }, { "domain", 1 }, { "range type", 1 }, { "function", 2 },
		{ "procedure", 1 }, { "aggregate", 1 }, { "trigger", 1 }, { "rule", 1 }, { "primary key", 1 }, { "unique constraint", 1 },
		{ "check constraint", 2 }, { "foreign key", 1 }, { "row security policy", 1 }, { "publication", 1 }, { "event trigger", 1 },
		{ "extended statistics", 1 }, { "foreign server", 1 }, { "foreign-data wrapper", 1 }, { "user mapping", 1 }, { "collation", 1 },
		{ "cast", 1 }, { "default privileges", 1 }, { "large object", 2 }, { "extension", 3 }, { "schema", 2 }, { "inheritance", 1 },
		{ "column default", 1 }, { "comment", 4 },      /* two of ours, two of the extensions */
	};
	struct conn *c = cluster_connect(&cluster, "source");
	struct err e = ERR_INIT;
	json_t *objects = facts_objects(c, &e);

	(void)state;
	if (objects == NULL)
		fail_msg("%s", e.msg);
	for (size_t i = 0; i < sizeof(expect) / sizeof(expect[0]); i++)
		if (json_integer_value(json_object_get(objects, expect[i].class)) != expect[i].count)
			fail_msg("%d %s instead of %d", (int)json_integer_value(json_object_get(objects, expect[i].class)), expect[i].class, expect[i].count);
	/* Nothing of hstore's and pg_trgm's many functions, types and operators. */
	assert_int_equal(json_object_size(objects), sizeof(expect) / sizeof(expect[0]));
	json_decref(objects);
	conn_close(c);
}

static void
a_restored_database_counts_the_same(void **state)
{
	char *restore = cluster.tools.pg_restore, *host = mem_printf("PGHOST=%s", cluster.dir), *file = mem_printf("%s/archive", cluster.dir);
	static const char *const options[] = { "-Fc", "-Z0", NULL };
	const char *const argv[] = { restore, "-U", "postgres", "-d", "again", "--exit-on-error", file, NULL }, *const env[] = { host, NULL };
	struct child_spec spec = { .name = "pg_restore", .argv = argv, .env = env };
	struct conn *source = cluster_connect(&cluster, "source"), *again;
	struct buf archive = BUF_INIT;
	struct err e = ERR_INIT;
	json_t *before, *after;

	(void)state;
	cluster_dump(&cluster, "source", options, &archive);
	assert_good(file_write_replace(file, archive.data, archive.bytes, 0644, &e), &e);
	cluster_sql(&cluster, "postgres", "CREATE DATABASE again TEMPLATE template0");
	assert_good(child_run(&spec, NULL, 60000, &e), &e);
	again = cluster_connect(&cluster, "again");
	before = facts_objects(source, &e);
	after = facts_objects(again, &e);
	assert_true(json_equal(before, after));
	json_decref(before);
	json_decref(after);
	conn_close(source);
	conn_close(again);
	buf_free(&archive);
	free(host);
	free(file);
}

static void
hazards_of_a_database_are_named(void **state)
{
	struct pg_target target = cluster.target;
	struct conn *super = cluster_connect(&cluster, "source"), *reader;
	struct err e = ERR_INIT;
	json_t *facts;

	(void)state;
	facts = facts_database(super, &e);
	if (facts == NULL)
		fail_msg("%s", e.msg);
	assert_string_equal(text(facts, "name"), "source");
	assert_int_equal(json_array_size(json_object_get(facts, "row_security")), 0);
	assert_string_equal(json_string_value(json_array_get(json_object_get(facts, "unlogged_tables"), 0)), "public.u");
	assert_string_equal(json_string_value(json_array_get(json_object_get(facts, "foreign_tables"), 0)), "public.ft");
	assert_string_equal(text(named(json_object_get(facts, "extensions"), "hstore"), "schema"), "public");
	assert_int_equal(number(facts, "large_objects"), 2);
	assert_true(json_is_null(json_object_get(facts, "prisma_migration")));
	json_decref(facts);
	conn_close(super);

	target.user = "reader";
	reader = conn_open(&target, "source", &e);
	if (reader == NULL)
		fail_msg("%s", e.msg);
	facts = facts_database(reader, &e);
	if (facts == NULL)
		fail_msg("%s", e.msg);
	assert_string_equal(json_string_value(json_array_get(json_object_get(facts, "row_security"), 0)), "public.t");
	json_decref(facts);
	facts = facts_cluster(reader, &e);
	if (facts == NULL)
		fail_msg("%s", e.msg);
	assert_true(json_is_false(json_object_get(facts, "role_superuser")));
	/* pg_read_all_data reads that catalog too, so that such a role dumps roles with their passwords. */
	assert_true(json_is_true(json_object_get(facts, "can_read_passwords")));
	json_decref(facts);
	conn_close(reader);
}

static void
a_name_that_is_no_utf8_does_not_lose_the_facts(void **state)
{
	struct conn *c = cluster_connect(&cluster, "latin");
	struct err e = ERR_INIT;
	json_t *facts = facts_database(c, &e);

	(void)state;
	assert_non_null(facts);
	assert_string_equal(json_string_value(json_array_get(json_object_get(facts, "unlogged_tables"), 0)), "public.\"\xef\xbf\xbd\"");
	json_decref(facts);
	conn_close(c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_server_and_its_databases_are_described),
		cmocka_unit_test(objects_are_counted_by_class),
		cmocka_unit_test(a_restored_database_counts_the_same),
		cmocka_unit_test(hazards_of_a_database_are_named),
		cmocka_unit_test(a_name_that_is_no_utf8_does_not_lose_the_facts),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
