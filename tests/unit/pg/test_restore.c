/* There and back: a database with everything that PostgreSQL has. */
#include "drilled.h"

static void
a_database_with_everything_comes_back_equal(void **state)
{
	struct taken t;
	struct drilled d;
	struct err e = ERR_INIT;
	json_t *objects, *check, *amcheck = json_object(), *warnings = json_array();
	struct conn *c;
	char *value;

	(void)state;
	take_dump("app", 65536, &t);
	assert_true(t.n > 4);
	begin_drill(&d, &t);
	assert_good(restore_all(&d, &t, &e), &e);
	if (!dump_again(&d) || json_array_size(d.notes) > 0) {
		show(d.database);
		show(d.differences);
		show(d.notes);
		fail();
	}
	assert_string_equal(json_opt_str(d.database, "schema", ""), "equal but for column order");
	assert_string_equal(json_string_value(json_array_get(json_object_get(d.database, "reordered"), 0)), "app.child");
	assert_int_equal(json_array_size(json_object_get(d.database, "reordered")), 1);

	c = conn_open(scratch_target(d.scratch), d.name, &e);
	objects = facts_objects(c, &e);
	conn_close(c);
	if (!compare_objects(d.database, json_object_get(t.facts, "objects"), objects)) {
		show(d.database);
		fail();
	}
	json_decref(objects);

	/* R32: what pg_dump says nothing about without --create. */
	value = value_of(&d, "SELECT pg_get_userbyid(datdba) || ' ' || datacl::text FROM pg_database WHERE datname = current_database()");
	assert_string_equal(value, "app {app=CTc/app,readers=c*/app}");
	free(value);
	value = value_of(&d, "SELECT string_agg(s, '; ' ORDER BY s) FROM pg_db_role_setting, unnest(setconfig) s WHERE setdatabase > 0");
	assert_string_equal(value, "app.tenant=it's; default_transaction_read_only=on; search_path=app, \"Odd \"\"Schema; x\"");
	free(value);

	assert_good(compare_sequences(scratch_target(d.scratch), d.name, warnings, &e), &e);
	assert_int_equal(json_array_size(warnings), 0);
	check = compare_check(scratch_target(d.scratch), d.name, "users", "SELECT count(*) FROM users", "3000", 10000, &e);
	assert_true(json_is_true(json_object_get(check, "ok")));
	json_decref(check);
	check = compare_check(scratch_target(d.scratch), d.name, "never", "DELETE FROM users", NULL, 10000, &e);
	assert_true(json_is_false(json_object_get(check, "ok")));
	json_decref(check);
	check = compare_check(scratch_target(d.scratch), d.name, "slow", "SELECT pg_sleep(60)", NULL, 100, &e);
	assert_true(json_is_false(json_object_get(check, "ok")));
	json_decref(check);
	on_scratch(&d, "ALTER DATABASE app SET default_transaction_read_only = off");
	assert_good(compare_amcheck(scratch_target(d.scratch), d.name, 2, amcheck, &e), &e);
	assert_true(json_is_true(json_object_get(amcheck, "ran")));
	assert_int_equal(json_array_size(json_object_get(amcheck, "problems")), 0);
	assert_true(json_opt_int(amcheck, "indexes", 0) > 8);
	json_decref(amcheck);
	json_decref(warnings);
	end_drill(&d);
	taken_free(&t);
}

/*
 * R41: an order that changed under an index, as a locale's does with the C library: the rows are all there, and the index is not of
 * use.  The operator class compares the other way round once the restore is over.
 */
static void
an_index_that_is_out_of_order_is_found_and_named(void **state)
{
	static const char crooked[] =
	    "CREATE FUNCTION ordered(a int, b int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT btint4cmp(a, b)';"
	    "CREATE OPERATOR CLASS turned FOR TYPE int USING btree AS OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >,"
	    "  FUNCTION 1 ordered(int, int);"
	    "CREATE TABLE numbers AS SELECT i FROM generate_series(1, 2000) i; CREATE INDEX straight ON numbers (i);"
	    "CREATE INDEX \"Cr\"\"ooked\" ON numbers (i turned);";
	json_t *sound = json_object(), *broken = json_object(), *problems;
	struct taken t;
	struct drilled d;
	struct err e = ERR_INIT;

	(void)state;
	cluster_sql(&source, "postgres", "CREATE DATABASE crooked TEMPLATE template0");
	cluster_sql(&source, "crooked", crooked);
	take_dump("crooked", 0, &t);
	begin_drill(&d, &t);
	assert_good(restore_all(&d, &t, &e), &e);
	assert_good(compare_amcheck(scratch_target(d.scratch), d.name, 2, sound, &e), &e);
	assert_true(json_is_true(json_object_get(sound, "ran")));
	assert_int_equal(json_array_size(json_object_get(sound, "problems")), 0);

	on_scratch(&d, "CREATE OR REPLACE FUNCTION public.ordered(a int, b int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT btint4cmp(b, a)'");
	assert_good(compare_amcheck(scratch_target(d.scratch), d.name, 2, broken, &e), &e);
	assert_true(json_is_true(json_object_get(broken, "ran")));
	problems = json_object_get(broken, "problems");
	assert_int_equal(json_array_size(problems), 1);
	assert_non_null(strstr(json_string_value(json_array_get(problems, 0)), "public.\"Cr\"\"ooked\""));
	assert_non_null(strstr(json_string_value(json_array_get(problems, 0)), "XX002"));
	/* Each of them was looked at, the one that is broken included. */
	assert_int_equal(json_opt_int(broken, "indexes", 0), json_opt_int(sound, "indexes", -1));
	json_decref(sound);
	json_decref(broken);
	end_drill(&d);
	taken_free(&t);
	cluster_sql(&source, "postgres", "DROP DATABASE crooked");
}

/* R41: an index that nobody looked at is not called sound.  Here the user may not install amcheck; one that is not there: test_drill.py. */
static void
amcheck_that_cannot_be_had_is_said(void **state)
{
	struct pg_target modest = source.target;
	json_t *result = json_object();
	struct err e = ERR_INIT;

	(void)state;
	cluster_sql(&source, "postgres", "CREATE DATABASE modest OWNER app TEMPLATE template0");
	modest.user = "app";
	assert_good(compare_amcheck(&modest, "modest", 2, result, &e), &e);
	assert_true(json_is_false(json_object_get(result, "ran")));
	assert_non_null(strstr(json_opt_str(result, "why_not", ""), "amcheck"));
	assert_int_equal(json_array_size(json_object_get(result, "problems")), 0);
	json_decref(result);
	cluster_sql(&source, "postgres", "DROP DATABASE modest");
}

/* The proof is worth what it finds. */
static void
one_row_one_index_one_sequence_are_found_and_named(void **state)
{
	struct taken t;
	struct drilled d;
	struct err e = ERR_INIT;
	json_t *warnings = json_array(), *objects;
	struct conn *c;
	const char *diff;

	(void)state;
	take_dump("app", 0, &t);
	begin_drill(&d, &t);
	assert_good(restore_all(&d, &t, &e), &e);
	on_scratch(&d, "SET default_transaction_read_only = off; ALTER TABLE app.users DISABLE TRIGGER USER;"
	    "UPDATE app.users SET extra = '{\"i\": 18}' WHERE id = 17; ALTER TABLE app.users ENABLE TRIGGER USER; DROP INDEX app.orders_expr;"
	    "SELECT setval('app.free', 11); DELETE FROM app.events_rest WHERE v = (SELECT max(v) FROM app.events_rest);"
	    "SELECT lo_unlink(4242); CREATE TABLE app.more(); UPDATE app.child SET d = 'D' WHERE a = 7; SELECT setval('app.users_id_seq', 5)");
	assert_false(dump_again(&d));
	assert_string_equal(difference(&d, "app.users"), "content");
	assert_string_equal(difference(&d, "app.events_rest"), "rows");
	assert_string_equal(difference(&d, "app.child"), "content");
	assert_string_equal(difference(&d, "sequence app.free"), "content");
	assert_string_equal(difference(&d, "sequence app.users_id_seq"), "content");
	assert_string_equal(difference(&d, "blob 4242"), "missing");
	assert_string_equal(difference(&d, "app.more"), "extra");
	assert_string_equal(difference(&d, "app.orders"), "");
	assert_string_equal(json_opt_str(d.database, "schema", ""), "differs");
	diff = json_opt_str(d.database, "schema_diff", "");
	assert_non_null(strstr(diff, "@@ INDEX app.orders_expr\n"));
	assert_non_null(strstr(diff, "-CREATE INDEX orders_expr ON app.orders"));
	assert_non_null(strstr(diff, "+CREATE TABLE app.more"));
	assert_null(strstr(diff, "app.users"));
	c = conn_open(scratch_target(d.scratch), d.name, &e);
	objects = facts_objects(c, &e);
	conn_close(c);
	assert_false(compare_objects(d.database, json_object_get(t.facts, "objects"), objects));
	json_decref(objects);
	/* R35 */
	assert_good(compare_sequences(scratch_target(d.scratch), d.name, warnings, &e), &e);
	assert_int_equal(json_array_size(warnings), 1);
	assert_non_null(strstr(json_string_value(json_array_get(warnings, 0)), "app.users_id_seq"));
	json_decref(warnings);
	end_drill(&d);
	taken_free(&t);
}

static void
rows_of_tables_of_every_kind_come_back_in_their_order(void **state)
{
	static const char *const tables[] = {
		"Tab'le\n (x)", "parent", "heir", "secret", "emptied", "columnless", "unlogged", "refers", "leaf", "mixed",
	};
	struct taken t;
	struct drilled d;
	struct err e = ERR_INIT;
	char *value;

	(void)state;
	cluster_sql(&source, "postgres", "CREATE DATABASE odd TEMPLATE template0");
	cluster_sql(&source, "odd", odd_tables);
	take_dump("odd", 65536, &t);
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
		stream_of(&t, tables[i]);
	begin_drill(&d, &t);
	assert_good(restore_all(&d, &t, &e), &e);
	if (!dump_again(&d)) {
		show(d.database);
		show(d.differences);
		fail();
	}
	/* Equal whatever their order is one thing, the same bytes another. */
	for (size_t i = 0; i < d.before.n_entries; i++) {
		const struct archive_entry *was = &d.before.entries[i];

		if (was->type == ARCHIVE_TABLE)
			assert_memory_equal(was->sha256, table_of(&d.after, was->name)->sha256, SHA256_BYTES);
	}
	/* Frozen, all pages with rows (16 and later extend by some too many): no vacuum has to write them again. */
	on_scratch(&d, "CREATE EXTENSION pg_visibility SCHEMA public");
	value = value_of(&d, "SELECT all_frozen = (SELECT count(DISTINCT (ctid::text::point)[0]) FROM public.mixed)"
	    " FROM public.pg_visibility_map_summary('public.mixed')");
	assert_string_equal(value, "t");
	free(value);
	end_drill(&d);
	taken_free(&t);
	cluster_sql(&source, "postgres", "DROP DATABASE odd");
}

static void
a_database_that_holds_anything_is_not_restored_into(void **state)
{
	static const char *const things[] = {
		"CREATE TABLE public.t()", "CREATE FUNCTION public.f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "CREATE TYPE public.e AS ENUM ()",
		"CREATE SCHEMA s", "CREATE EXTENSION citext SCHEMA public", "SELECT lo_create(0)", "CREATE PUBLICATION p",
		"CREATE SEQUENCE public.s",
	};
	struct err e = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < sizeof(things) / sizeof(things[0]); i++) {
		cluster_sql(&source, "postgres", "CREATE DATABASE fresh TEMPLATE template0");
		assert_good(restore_check_empty(&source.target, "fresh", &e), &e);
		cluster_sql(&source, "fresh", things[i]);
		assert_int_equal(restore_check_empty(&source.target, "fresh", &e), -1);
		assert_int_equal(e.kind, ERR_REFUSED);
		err_clear(&e);
		cluster_sql(&source, "postgres", "DROP DATABASE fresh");
	}
}

/* R32: a server that knows no such rules must refuse, and not sort in another way. */
static void
rules_of_a_databases_collation_are_part_of_it(void **state)
{
	json_t *facts = json_object(), *cluster;
	struct conn *c;
	struct err e = ERR_INIT;
	bool known;

	(void)state;
	json_put_str(facts, "encoding", "UTF8");
	json_put_str(facts, "collate", "C");
	json_put_str(facts, "ctype", "C");
	json_put_str(facts, "provider", "icu");
	json_put_str(facts, "icu_locale", "und");
	json_put_str(facts, "icu_rules", "&a < g");
	c = conn_open(&source.target, NULL, &e);
	assert_non_null(c);
	known = conn_server_version(c) >= 160000;
	if (known) {
		assert_good(restore_create(&source.target, "ruled", facts, &e), &e);
	} else {
		assert_int_equal(restore_create(&source.target, "ruled", facts, &e), -1);
		assert_non_null(strstr(e.msg, "icu_rules"));
		err_clear(&e);
	}
	cluster = facts_cluster(c, &e);
	conn_close(c);
	assert_non_null(cluster);
	for (size_t i = 0; i < json_array_size(json_object_get(cluster, "databases")); i++) {
		const json_t *one = json_array_get(json_object_get(cluster, "databases"), i);
		bool ruled = strcmp(json_opt_str(one, "name", ""), "ruled") == 0;

		assert_non_null(json_object_get(one, "icu_rules"));
		assert_string_equal(json_opt_str(one, "icu_rules", ""), ruled ? "&a < g" : "");
	}
	if (known)
		cluster_sql(&source, "postgres", "DROP DATABASE ruled");
	json_decref(cluster);
	json_decref(facts);
}

static void
one_table_comes_back_with_what_belongs_to_it(void **state)
{
	static const char *const tables[] = { "app.orders", "app.events*", NULL }, *const none[] = { "app.nothing", NULL };
	struct taken t;
	struct drilled d;
	struct err e = ERR_INIT;
	struct restore_options o;
	struct restore *r;
	char *value;
	int rc = 0;

	(void)state;
	take_dump("app", 65536, &t);
	begin_drill(&d, &t);
	o = restore_plan(&d);
	o.tables = tables;
	r = restore_new(&o, &e);
	assert_true(restore_wants(r, "app", "orders"));
	assert_false(restore_wants(r, "app", "users"));
	for (size_t i = 0; rc == 0 && i < t.n; i++)
		if (t.streams[i].kind != DUMP_TABLE || restore_wants(r, t.streams[i].schema, t.streams[i].table))
			rc = restore_one(r, t.streams[i].kind, t.streams[i].name, &t.streams[i].bytes, &d.before, &e);
	assert_good(rc, &e);
	assert_good(restore_end(r, t.database, d.notes, &e), &e);
	value = value_of(&d, "SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class WHERE relkind IN ('r', 'p', 'm') AND oid >= 16384"
	    " AND relnamespace = 'app'::regnamespace");
	assert_string_equal(value, "events events_2025 events_2025_a events_2025_x events_rest orders");
	free(value);
	value = value_of(&d, "SELECT (SELECT count(*) FROM app.orders) || ' ' || (SELECT count(*) FROM app.events) || ' ' ||"
	    " (SELECT last_value FROM app.orders_id_seq)");
	assert_string_equal(value, "500 9000 500");
	free(value);
	value = value_of(&d, "SELECT string_agg(indexrelid::regclass::text, ' ' ORDER BY 1) FROM (SELECT indexrelid FROM pg_index"
	    " WHERE indrelid = 'app.orders'::regclass ORDER BY indexrelid::regclass::text) i");
	assert_string_equal(value, "app.orders_amount_idx app.orders_expr app.orders_user_id_during_excl");
	free(value);
	restore_free(r);
	end_drill(&d);

	begin_drill(&d, &t);
	o = restore_plan(&d);
	o.tables = none;
	r = restore_new(&o, &e);
	assert_int_equal(restore_one(r, t.streams[0].kind, "pre-data", &t.streams[0].bytes, &d.before, &e), -1);
	assert_int_equal(e.kind, ERR_NOT_FOUND);
	restore_free(r);
	end_drill(&d);
	taken_free(&t);
}

/* A real server asks for a password, which the caged program is given in memory, as the user that it becomes (R49). */
static void
a_restore_to_a_named_server_has_its_password_inside_the_cage(void **state)
{
	const struct scratch_options so = { .dir = base, .user = "nobody", .jobs = 2 };
	char *password = mem_printf("%s/password", base);
	struct pg_target target = source.target;
	struct taken t;
	struct drilled d = { .name = "copy" };
	struct err e = ERR_INIT;

	(void)state;
	cluster_sql(&source, "postgres", "SET password_encryption = 'scram-sha-256'; CREATE ROLE locked_in SUPERUSER LOGIN PASSWORD 'canary:\\x'");
	assert_good(file_write_new(password, "canary:\\x\n", 10, 0600, &e), &e);
	target.user = "locked_in";
	target.password_file = password;
	take_dump("app", 0, &t);
	d.scratch = scratch_reach(&target, &so, &e);
	if (d.scratch == NULL)
		fail_msg("%s", e.msg);
	d.notes = json_array();
	assert_good(restore_create(&target, d.name, t.database, &e), &e);
	assert_good(restore_all(&d, &t, &e), &e);
	assert_true(dump_again(&d));
	assert_int_equal(json_array_size(d.notes), 0);
	end_drill(&d);
	/* It was asked for; a drill's own databases go, this one stays. */
	cluster_sql(&source, "postgres", "DROP DATABASE copy");
	cluster_sql(&source, "postgres", "DROP ROLE locked_in");
	taken_free(&t);
	unlink(password);
	free(password);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_database_with_everything_comes_back_equal),
		cmocka_unit_test(an_index_that_is_out_of_order_is_found_and_named),
		cmocka_unit_test(amcheck_that_cannot_be_had_is_said),
		cmocka_unit_test(one_row_one_index_one_sequence_are_found_and_named),
		cmocka_unit_test(rows_of_tables_of_every_kind_come_back_in_their_order),
		cmocka_unit_test(a_database_that_holds_anything_is_not_restored_into),
		cmocka_unit_test(rules_of_a_databases_collation_are_part_of_it),
		cmocka_unit_test(one_table_comes_back_with_what_belongs_to_it),
		cmocka_unit_test(a_restore_to_a_named_server_has_its_password_inside_the_cage),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
