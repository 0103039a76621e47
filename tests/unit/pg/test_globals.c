#include "cluster.h"

#include "base/json.h"
#include "pg/compare.h"
#include "pg/globals.h"

static int
split(struct globals_list *l, const char *text, struct err *e)
{
	err_clear(e);
	return globals_split(l, text, strlen(text), e);
}

static void
statements_are_cut_as_the_server_reads_them(void **state)
{
	struct globals_list l = GLOBALS_LIST_INIT;
	struct err e = ERR_INIT;

	(void)state;
	assert_good(split(&l, "-- a comment; with a semicolon\n\\restrict abc123\n\nSET x = on;\n"
	    "CREATE ROLE \"odd;\"\"name\";\nCOMMENT ON ROLE a IS 'it''s; fine';\n"
	    "COMMENT ON ROLE b IS E'back\\\\slash\\'; still';\nDO $x$ begin; $y$ ; end $x$;\n/* a /* nested; */ one; */ ;;\n"
	    "SELECT $1; SELECT a$b$c;\nCOMMENT ON ROLE c IS 'plain \\';\n\\unrestrict abc123\n", &e), &e);
	assert_int_equal(l.n, 8);
	assert_string_equal(l.statements[0], "SET x = on");
	assert_string_equal(l.statements[1], "CREATE ROLE \"odd;\"\"name\"");
	assert_string_equal(l.statements[2], "COMMENT ON ROLE a IS 'it''s; fine'");
	assert_string_equal(l.statements[3], "COMMENT ON ROLE b IS E'back\\\\slash\\'; still'");
	assert_string_equal(l.statements[4], "DO $x$ begin; $y$ ; end $x$");
	assert_string_equal(l.statements[5], "SELECT $1");
	assert_string_equal(l.statements[6], "SELECT a$b$c");
	assert_string_equal(l.statements[7], "COMMENT ON ROLE c IS 'plain \\'");
	globals_list_free(&l);

	/* R40: where the source's strings had backslashes, they have them here. */
	assert_good(split(&l, "SET standard_conforming_strings = off;\nCOMMENT ON ROLE a IS 'x\\'; y';", &e), &e);
	assert_int_equal(l.n, 2);
	globals_list_free(&l);
	assert_good(split(&l, "", &e), &e);
	assert_int_equal(l.n, 0);
}

/* R43: CVE-2025-8714, and the guard against it that could be lifted from inside. */
static void
commands_of_psql_are_refused(void **state)
{
	static const char *const hostile[] = {
		"\\! touch /tmp/owned\n",
		"SET x = on;\n\\connect other\n",
		"CREATE ROLE a\n\\restrict abc\n;",
		"\\restrict \\! touch\n",
		"\\unrestrict abc; \\! touch /tmp/owned\n",
		"\\restrict\n",
		"SELECT 1 \\gexec\n",
		"CREATE ROLE \"a\n\\! touch\";\n\\! x",
	};
	static const char *const cut[] = { "CREATE ROLE a", "SELECT 'a;", "SELECT \"a;", "SELECT $$a;", "/* a;", "SELECT E'a\\';" };
	struct globals_list l = GLOBALS_LIST_INIT;
	struct err e = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < sizeof(hostile) / sizeof(hostile[0]); i++) {
		assert_int_equal(split(&l, hostile[i], &e), -1);
		assert_int_equal(e.kind, ERR_CORRUPT);
		assert_null(l.statements);
	}
	for (size_t i = 0; i < sizeof(cut) / sizeof(cut[0]); i++) {
		assert_int_equal(split(&l, cut[i], &e), -1);
		assert_int_equal(e.kind, ERR_CORRUPT);
	}
	assert_int_equal(globals_split(&l, "SET a\0b;", 8, &e), -1);
	/* A line break in a name is a line break in a name (CVE-2025-8715). */
	assert_good(split(&l, "CREATE ROLE \"a\n\\! touch /tmp/owned\";\n", &e), &e);
	assert_int_equal(l.n, 1);
	globals_list_free(&l);
}

static void
fill_source(const struct cluster *c)
{
	cluster_sql(c, "postgres",
	    "SET password_encryption = 'scram-sha-256';"
	    "CREATE ROLE app LOGIN PASSWORD 'canary-password' CONNECTION LIMIT 7 VALID UNTIL '2030-01-01';"
	    "CREATE ROLE \"odd \"\"role; x\" NOLOGIN;"
	    "CREATE ROLE readers; GRANT readers TO app WITH ADMIN OPTION; GRANT pg_read_all_data TO readers;"
	    "ALTER ROLE app SET search_path TO app, public; ALTER ROLE app SET work_mem = '7MB';"
	    "ALTER ROLE postgres SET statement_timeout = '90s';"
	    "COMMENT ON ROLE app IS 'it''s \\ the app';");
}

static void
dump_globals_by_hand(const struct cluster *c, struct buf *to)
{
	char *host = mem_printf("PGHOST=%s", c->dir);
	const char *const argv[] = { c->tools.pg_dumpall, "--globals-only", "-U", "postgres", NULL }, *const env[] = { host, NULL };
	struct child_spec spec = { .name = "pg_dumpall", .argv = argv, .env = env };
	struct sink *sink = sink_buf_new(to, 1 << 24);
	struct err e = ERR_INIT;

	assert_good(child_run(&spec, sink, 60000, &e), &e);
	sink_free(sink);
	free(host);
}

/* R32: roles with passwords, memberships, settings. */
static void
roles_come_back_with_passwords_memberships_and_settings(void **state)
{
	static struct cluster source, other;
	struct buf before = BUF_INIT, after = BUF_INIT;
	json_t *notes = json_array();
	struct err e = ERR_INIT;
	char *text;

	(void)state;
	cluster_start(&source, NULL);
	fill_source(&source);
	dump_globals_by_hand(&source, &before);
	cluster_stop(&source);
	cluster_start(&other, NULL);
	assert_good(globals_restore(&other.target, before.data, before.bytes, true, notes, &e), &e);
	text = json_text(notes, 0);
	assert_string_equal(text, "[]");
	free(text);
	dump_globals_by_hand(&other, &after);
	assert_non_null(strstr((char *)after.data, "SCRAM-SHA-256$"));
	assert_non_null(strstr((char *)after.data, "CREATE ROLE \"odd \"\"role; x\""));
	assert_non_null(strstr((char *)after.data, "CONNECTION LIMIT 7"));
	assert_non_null(strstr((char *)after.data, "GRANT readers TO app WITH ADMIN OPTION"));
	assert_non_null(strstr((char *)after.data, "ALTER ROLE app SET search_path TO 'app', 'public'"));
	/* Our own connections must not begin to time out in the middle of a restore. */
	assert_null(strstr((char *)after.data, "statement_timeout"));

	/* Again, onto roles that exist: left alone, said, and without a word of a password. */
	cluster_sql(&other, "postgres", "ALTER ROLE app CONNECTION LIMIT 3");
	assert_good(globals_restore(&other.target, before.data, before.bytes, false, notes, &e), &e);
	text = json_text(notes, 0);
	assert_non_null(strstr(text, "role \\\"app\\\" is there already"));
	assert_null(strstr(text, "SCRAM"));
	free(text);
	buf_clear(&after);
	dump_globals_by_hand(&other, &after);
	assert_non_null(strstr((char *)after.data, "CONNECTION LIMIT 3"));
	json_decref(notes);
	buf_free(&before);
	buf_free(&after);
	cluster_stop(&other);
}

/* The end of the text: a number that is another each time, and not in every version. */
static void
cut_guard(struct buf *text)
{
	char *guard = strstr((char *)text->data, "\\unrestrict");

	if (guard != NULL)
		*guard = '\0';
}

/* Who is a superuser on this server is not for a backup to say. */
static void
a_role_that_was_there_gets_nothing_from_the_backup(void **state)
{
	static const char text[] =
	    "CREATE ROLE app;\nALTER ROLE app WITH SUPERUSER LOGIN PASSWORD 'canary';\nCREATE ROLE boss;\nALTER ROLE boss WITH NOSUPERUSER;\n"
	    "CREATE ROLE fresh;\nALTER ROLE fresh WITH LOGIN;\nCOMMENT ON ROLE app IS 'TO nobody';\nCOMMENT ON ROLE fresh IS 'new';\n"
	    "ALTER ROLE app SET work_mem TO '77MB';\nALTER ROLE fresh SET work_mem TO '77MB';\n"
	    "ALTER ROLE app IN DATABASE postgres SET search_path TO 'canary';\nCREATE ROLE \"a TO fresh\";\n"
	    "GRANT boss TO app WITH ADMIN OPTION GRANTED BY postgres;\nGRANT boss TO fresh GRANTED BY postgres;\n"
	    "GRANT \"a TO fresh\" TO app;\nGRANT fresh TO \"a TO fresh\";\nGRANT app TO PUBLIC;\nGRANT SET ON PARAMETER work_mem TO app;\n"
	    "CREATE TABLESPACE fast OWNER postgres LOCATION '/mnt/nvme';\nALTER TABLESPACE pg_default OWNER TO fresh;\n"
	    "GRANT ALL ON TABLESPACE pg_default TO fresh;\nCOMMENT ON TABLESPACE pg_default IS 'canary';\n";
	static const char *const said[] = {
		"not run was GRANT boss TO app WITH ADMIN OPTION GRANTED BY postgres", "its setting work_mem", "its setting search_path", "its comment",
		"not run was GRANT \\\"a TO fresh\\\" TO app", "not run was GRANT SET ON PARAMETER work_mem TO app",
		"role \\\"app\\\" is there already, and was left as it is", "role \\\"boss\\\" is there already, and was left as it is", "\\\"fast\\\"",
	};
	static struct cluster c;
	struct buf before = BUF_INIT, after = BUF_INIT;
	json_t *notes = json_array();
	struct err e = ERR_INIT;
	char *words;

	(void)state;
	cluster_start(&c, NULL);
	cluster_sql(&c, "postgres", "CREATE ROLE app; CREATE ROLE boss SUPERUSER");
	dump_globals_by_hand(&c, &before);
	assert_good(globals_restore(&c.target, text, sizeof(text) - 1, false, notes, &e), &e);
	words = json_text(notes, 0);
	for (size_t i = 0; i < sizeof(said) / sizeof(said[0]); i++)
		if (strstr(words, said[i]) == NULL)
			fail_msg("\"%s\" is not in %s", said[i], words);
	assert_null(strstr(words, "canary"));
	free(words);
	dump_globals_by_hand(&c, &after);
	assert_non_null(strstr((char *)after.data, "GRANT boss TO fresh GRANTED BY postgres"));
	assert_non_null(strstr((char *)after.data, "ALTER ROLE fresh SET work_mem TO '77MB'"));
	assert_non_null(strstr((char *)after.data, "COMMENT ON ROLE fresh IS 'new'"));
	/* Without what the new ones brought, nothing has changed. */
	cluster_sql(&c, "postgres", "DROP ROLE fresh; DROP ROLE \"a TO fresh\"");
	buf_clear(&after);
	dump_globals_by_hand(&c, &after);
	cut_guard(&before);
	cut_guard(&after);
	assert_string_equal(strstr((char *)after.data, "CREATE ROLE"), strstr((char *)before.data, "CREATE ROLE"));
	json_decref(notes);
	buf_free(&before);
	buf_free(&after);
	cluster_stop(&c);
}

static void
tablespaces_are_made_inside_a_throw_away_cluster_only(void **state)
{
	static const char text[] = "CREATE TABLESPACE fast OWNER postgres LOCATION '/mnt/nvme';\nCREATE ROLE \"x y\" BOGUS PASSWORD 'canary';\n";
	static struct cluster c;
	json_t *notes = json_array();
	struct err e = ERR_INIT;
	char *said;

	(void)state;
	cluster_start(&c, NULL);
	assert_good(globals_restore(&c.target, text, sizeof(text) - 1, false, notes, &e), &e);
	said = json_text(notes, 0);
	assert_non_null(strstr(said, "tablespace \\\"fast\\\" was left out"));
	assert_non_null(strstr(said, "CREATE ROLE x y: "));
	assert_null(strstr(said, "canary"));
	free(said);
	json_array_clear(notes);
	assert_good(globals_restore(&c.target, text, sizeof(text) - 1, true, notes, &e), &e);
	assert_int_equal(json_array_size(notes), 1);
	cluster_sql(&c, "postgres", "CREATE TABLE t() TABLESPACE fast");
	json_decref(notes);
	cluster_stop(&c);
}

/* R32.  What a dump of another server writes in another way is not another thing: encoding, time zone, a grantor that is gone, folders. */
static void
globals_of_a_foreign_server_compare_equal_when_they_came_back(void **state)
{
	static const char text[] = "SET client_encoding = 'LATIN1';\nSET standard_conforming_strings = on;\n"
	    "CREATE ROLE postgres;\nALTER ROLE postgres WITH SUPERUSER NOLOGIN PASSWORD 'SCRAM-SHA-256$canary';\n"
	    "CREATE ROLE \"m\xfcller\";\nALTER ROLE \"m\xfcller\" WITH NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB LOGIN NOREPLICATION NOBYPASSRLS"
	    " VALID UNTIL '2031-05-01 14:30:00+05:30';\nCREATE ROLE readers;\nALTER ROLE readers WITH NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB"
	    " NOLOGIN NOREPLICATION NOBYPASSRLS;\nCOMMENT ON ROLE \"m\xfcller\" IS 'Gr\xfc\xdf''; x';\n",
	    tablespace[] = "CREATE TABLESPACE fast OWNER readers LOCATION '/mnt/nvme';\nALTER TABLESPACE fast SET (random_page_cost=1.1);\n"
	    "GRANT ALL ON TABLESPACE fast TO \"m\xfcller\" WITH GRANT OPTION;\nSET SESSION AUTHORIZATION \"m\xfcller\";\n"
	    "GRANT ALL ON TABLESPACE fast TO PUBLIC;\nRESET SESSION AUTHORIZATION;\nCOMMENT ON TABLESPACE fast IS 'x';\n";
	static struct cluster c;
	json_t *notes = json_array(), *globals = json_object(), *differences = json_array(), *not_covered = json_array();
	struct buf all = BUF_INIT;
	struct err e = ERR_INIT;
	char *said;

	(void)state;
	cluster_start(&c, NULL);
	buf_addf(&all, "%s", text);
	buf_addf(&all, "GRANT readers TO \"m\xfcller\"%s;\n%s", c.tools.major >= 16 ? " WITH INHERIT TRUE GRANTED BY postgres" : "", tablespace);
	assert_good(globals_restore(&c.target, all.data, all.bytes, true, notes, &e), &e);
	assert_int_equal(json_array_size(notes), 0);
	assert_good(compare_globals(globals, differences, not_covered, &c.target, &c.tools, all.data, all.bytes, 60000, &e), &e);
	said = json_text(differences, 0);
	assert_string_equal(said, "[]");
	free(said);
	assert_int_equal(json_opt_int(globals, "statements", 0), 12);
	assert_int_equal(json_opt_int(globals, "equal", 0), 12);
	said = json_text(not_covered, 0);
	assert_non_null(strstr(said, "role \\\"postgres\\\""));
	assert_non_null(strstr(said, "passwords of roles: the backup holds none"));
	assert_non_null(strstr(said, "where tablespaces lie"));
	free(said);

	/* One second and one right less. */
	cluster_sql(&c, "postgres", "ALTER ROLE \"m\xc3\xbcller\" VALID UNTIL '2031-05-01 14:29:59+05:30'; REVOKE ALL ON TABLESPACE fast FROM PUBLIC;"
	    "SET SESSION AUTHORIZATION \"m\xc3\xbcller\"; REVOKE ALL ON TABLESPACE fast FROM PUBLIC");
	json_array_clear(not_covered);
	assert_good(compare_globals(globals, differences, not_covered, &c.target, &c.tools, all.data, all.bytes, 60000, &e), &e);
	said = json_text(differences, 0);
	assert_non_null(strstr(said, "attributes of role \\\"m\xc3\xbcller\\\"\""));
	assert_non_null(strstr(said, "\"rights on tablespace fast\""));
	assert_non_null(strstr(said, "\"rights granted by role \\\"m\xc3\xbcller\\\"\""));
	assert_int_equal(json_array_size(differences), 3);
	free(said);
	buf_free(&all);
	json_decref(notes);
	json_decref(globals);
	json_decref(differences);
	json_decref(not_covered);
	cluster_stop(&c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(statements_are_cut_as_the_server_reads_them),
		cmocka_unit_test(commands_of_psql_are_refused),
		cmocka_unit_test(roles_come_back_with_passwords_memberships_and_settings),
		cmocka_unit_test(a_role_that_was_there_gets_nothing_from_the_backup),
		cmocka_unit_test(tablespaces_are_made_inside_a_throw_away_cluster_only),
		cmocka_unit_test(globals_of_a_foreign_server_compare_equal_when_they_came_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
