#include "cluster.h"

#include <pthread.h>
#include <sys/wait.h>

#include "base/stop.h"
#include "pg/childenv.h"
#include "pg/conn_private.h"

static struct cluster cluster;

static int
start(void **state)
{
	(void)state;
	stop_install();
	cluster_start(&cluster, NULL);
	cluster_sql(&cluster, "postgres", "CREATE ROLE locked_in LOGIN PASSWORD 'canary:in\\the mine'; CREATE ROLE plain_user LOGIN;"
	    "CREATE TABLE t (a int, b text); INSERT INTO t VALUES (1, 'x'), (2, NULL); REVOKE ALL ON SCHEMA public FROM public");
	cluster_sql(&cluster, "postgres", "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0");
	return 0;
}

static int
stop(void **state)
{
	(void)state;
	cluster_stop(&cluster);
	return 0;
}

static void
rows_come_as_text_and_null_as_null(void **state)
{
	const char *const params[] = { "2", NULL };
	struct conn *c = cluster_connect(&cluster, NULL);
	struct err e = ERR_INIT;
	struct rows *r = conn_query(c, "SELECT a, b, a > 1 AS more FROM public.t ORDER BY a", NULL, &e);
	char *value = NULL;

	(void)state;
	assert_non_null(r);
	assert_int_equal(conn_rows(r), 2);
	assert_int_equal(conn_columns(r), 3);
	assert_string_equal(conn_column_name(r, 2), "more");
	assert_string_equal(conn_cell(r, 0, 1), "x");
	assert_null(conn_cell(r, 1, 1));
	assert_int_equal(conn_cell_int(r, 1, 0), 2);
	assert_false(conn_cell_bool(r, 0, 2));
	assert_true(conn_cell_bool(r, 1, 2));
	conn_rows_free(r);
	assert_good(conn_value(&value, c, "SELECT a::text || '!' FROM public.t WHERE a = $1::int", params, &e), &e);
	assert_string_equal(value, "2!");
	free(value);
	assert_good(conn_value(&value, c, "SELECT 1 WHERE false", NULL, &e), &e);
	assert_null(value);
	assert_string_equal(conn_dbname(c), "postgres");
	assert_true(conn_server_version(c) >= 130000);
	conn_close(c);
}

static void
what_the_server_refuses_has_the_kind_that_callers_decide_on(void **state)
{
	static const struct {
		const char *sql, *words;
		enum err_kind kind;
	} cases[] = {
		{ "SELECT nonsense", "(SQLSTATE 42703)", ERR_FAILED },
		{ "SET ROLE plain_user; SELECT * FROM public.t", "permission denied", ERR_DENIED },
		{ "RESET ROLE; SELECT 1; SELECT 1/0; SELECT 2", "division by zero", ERR_FAILED },
		{ "DO $$ BEGIN RAISE 'canary' USING ERRCODE = '53100'; END $$", "(SQLSTATE 53100)", ERR_SPACE },
		{ "DO $$ BEGIN RAISE 'canary' USING ERRCODE = '53300'; END $$", "(SQLSTATE 53300)", ERR_SPACE },
		{ "DO $$ BEGIN RAISE 'canary' USING ERRCODE = '57P01'; END $$", "(SQLSTATE 57P01)", ERR_DATABASE },
		/* A row that is too large for any server is. */
		{ "DO $$ BEGIN RAISE 'canary' USING ERRCODE = '54000'; END $$", "(SQLSTATE 54000)", ERR_FAILED },
	};
	struct conn *c = cluster_connect(&cluster, NULL);

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct err e = ERR_INIT;

		assert_int_equal(conn_exec(c, cases[i].sql, &e), -1);
		assert_int_equal(e.kind, cases[i].kind);
		assert_non_null(strstr(e.msg, cases[i].words));
		assert_non_null(strstr(e.msg, "database \"postgres\""));
	}
	conn_close(c);
}

/* R10: a server that lacks memory says nothing about what it was asked for. */
static void
a_server_without_memory_wants_room(void **state)
{
	struct conn *c = cluster_connect(&cluster, NULL);
	struct err e = ERR_INIT;

	(void)state;
	/* By a program of the session's own user, whose parent is the session. */
	assert_good(conn_exec(c, "COPY (SELECT 1) TO PROGRAM 'prlimit --pid $PPID --as=500000000:'", &e), &e);
	assert_int_equal(conn_exec(c, "SELECT length(repeat('x', 500000000))", &e), -1);
	assert_non_null(strstr(e.msg, "53200"));
	assert_int_equal(e.kind, ERR_SPACE);
	conn_close(c);
}

/* The programs beside us give no SQLSTATE; rows and names that they quote must not speak for the server. */
static void
words_tell_a_want_of_room_from_a_fault_of_the_dump(void **state)
{
	static const struct {
		const char *words;
		bool room;
	} cases[] = {
		{ "pg_restore: error: could not execute query: ERROR:  out of memory\nDETAIL:  Failed on request of size 12.\n", true },
		{ "pg_restore: while PROCESSING TOC:\npg_restore: error: COPY failed for table \"t\": ERROR:  could not extend file \"base/5/6\": "
		    "No space left on device\nHINT:  Check free disk space.\n", true },
		{ "pg_restore: error: connection to server on socket \"/x\" failed: FATAL:  sorry, too many clients already\n", true },
		{ "pg_dump: error: out of memory\n", true },
		{ "pg_restore: error: could not execute query: ERROR:  division by zero\nCONTEXT:  \"out of memory\"\n", false },
		{ "pg_restore: error: COPY failed for table \"out of memory\": ERROR:  duplicate key\nDETAIL:  Key (a)=(No space left on device).\n", false },
		{ "pg_dump: error: Dumping the contents of table \"t\" failed: PQgetResult() failed.\npg_dump: detail: Error message from server: ERROR:  out of memory\n"
		    "DETAIL:  Cannot enlarge string buffer containing 600000010 bytes by 600000000 more bytes.\n", false },
		{ "", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (conn_wants_room(cases[i].words) != cases[i].room)
			fail_msg("%s", cases[i].words);
}

static void
what_cannot_be_connected_to_says_why(void **state)
{
	struct pg_target wrong_socket = cluster.target, no_password = cluster.target, wrong_password = cluster.target, no_answer = cluster.target;
	char *secret = mem_printf("%s/wrong", cluster.dir);
	const struct {
		const struct pg_target *target;
		const char *dbname;
		enum err_kind kind;
		const char *words;
	} cases[] = {
		{ &wrong_socket, NULL, ERR_DATABASE, "connect to database \"postgres\"" },
		{ &cluster.target, "missing", ERR_NOT_FOUND, "does not exist" },
		{ &no_password, NULL, ERR_DENIED, "password" },
		{ &wrong_password, NULL, ERR_DENIED, "password authentication failed" },
		{ &no_answer, NULL, ERR_DATABASE, "no answer within 1 s" },
	};
	struct err e = ERR_INIT;

	(void)state;
	wrong_socket.host = "/nonexistent";
	no_password.user = wrong_password.user = "locked_in";
	cluster_write(&cluster, "wrong", "not it");
	assert_int_equal(chmod(secret, 0640), 0);
	wrong_password.password_file = secret;
	/* TEST-NET-1 (RFC 5737): nobody answers there, or there is no way to it at all. */
	no_answer.host = "192.0.2.1";
	no_answer.connect_timeout_ms = 1000;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int64_t from = clock_mono_ms();

		err_clear(&e);
		assert_null(conn_open(cases[i].target, cases[i].dbname, &e));
		assert_true(clock_mono_ms() - from < 5000);
		assert_int_equal(e.kind, cases[i].kind);
		if (cases[i].target != &no_answer && strstr(e.msg, cases[i].words) == NULL)
			fail_msg("\"%s\" is not in: %s", cases[i].words, e.msg);
	}
	free(secret);
}

/* R49: the password of a file that others can read is not used. */
static void
a_password_file_that_all_can_read_is_refused(void **state)
{
	struct pg_target target = cluster.target;
	char *secret = mem_printf("%s/open", cluster.dir);
	struct err e = ERR_INIT;

	(void)state;
	cluster_write(&cluster, "open", "canary:in\\the mine");
	target.user = "locked_in";
	target.password_file = secret;
	assert_null(conn_open(&target, NULL, &e));
	assert_int_equal(e.kind, ERR_DENIED);
	err_clear(&e);
	assert_int_equal(chmod(secret, 0600), 0);
	conn_close(conn_open(&target, NULL, &e));
	assert_string_equal(e.msg, "");
	free(secret);
}

/* R49.  In a process of its own, since ours has forgotten its environment already. */
static void
the_environment_and_service_files_have_no_say(void **state)
{
	char *service = mem_printf("%s/services", cluster.dir), *text = mem_printf("[prod]\nhost=/nonexistent\nuser=nobody\n");
	pid_t pid;
	int status = 0;

	(void)state;
	cluster_write(&cluster, "services", text);
	setenv("HF_TEST_HOST", cluster.dir, 1);
	pid = fork();
	if (pid == 0) {
		setenv("PGSERVICEFILE", service, 1);
		setenv("PGSERVICE", "prod", 1);
		setenv("PGOPTIONS", "-c nonsense=1", 1);
		setenv("PGHOST", "/nonexistent", 1);
		execl("/proc/self/exe", "test_conn", "--connect", (char *)NULL);
		_exit(99);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WEXITSTATUS(status), 0);
	free(service);
	free(text);
}

static void *
terminate_soon(void *arg)
{
	usleep(300000);
	kill(getpid(), *(int *)arg);
	return NULL;
}

static void
a_request_to_stop_ends_a_query_at_once(void **state)
{
	struct conn *c = cluster_connect(&cluster, NULL);
	struct err e = ERR_INIT;
	int64_t from = clock_mono_ms();
	int signo = SIGTERM;
	pthread_t thread;

	(void)state;
	pthread_create(&thread, NULL, terminate_soon, &signo);
	assert_int_equal(conn_exec(c, "SELECT pg_sleep(30)", &e), -1);
	pthread_join(thread, NULL);
	assert_int_equal(e.kind, ERR_STOPPED);
	assert_int_equal(e.sys, SIGTERM);
	assert_true(clock_mono_ms() - from < 3000);
	conn_close(c);
	stop_clear();
}

static void
a_connection_that_the_server_ends_is_a_lost_database(void **state)
{
	struct conn *c = cluster_connect(&cluster, NULL);
	char *sql = mem_printf("SELECT pg_terminate_backend(%d)", conn_backend_pid(c));
	struct err e = ERR_INIT;

	(void)state;
	cluster_sql(&cluster, "postgres", sql);
	usleep(200000);
	assert_int_equal(conn_exec(c, "SELECT 1", &e), -1);
	assert_int_equal(e.kind, ERR_DATABASE);
	conn_close(c);
	free(sql);
}

/* R12, CVE-2018-1058: what a role's own settings would do to us. */
static void
settings_of_the_role_do_not_reach_our_session(void **state)
{
	struct pg_target target = cluster.target;
	struct err e = ERR_INIT;
	struct conn *c;
	char *value = NULL;

	(void)state;
	cluster_sql(&cluster, "postgres", "ALTER ROLE plain_user SET statement_timeout = '1ms'; ALTER ROLE plain_user SET search_path = public;"
	    "ALTER ROLE plain_user SET row_security = on; ALTER ROLE plain_user SET datestyle = 'German'");
	target.user = "plain_user";
	c = conn_open(&target, NULL, &e);
	if (c == NULL)
		fail_msg("%s", e.msg);
	assert_good(conn_exec(c, "SELECT pg_sleep(0.1)", &e), &e);
	assert_good(conn_value(&value, c, "SELECT concat_ws(',', current_setting('search_path'), current_setting('row_security'),"
	    " current_setting('datestyle'))", NULL, &e), &e);
	assert_string_equal(value, "\"\",off,ISO, DMY");
	free(value);
	conn_close(c);
}

static void
names_come_in_the_encoding_of_their_database(void **state)
{
	struct conn *c = cluster_connect(&cluster, "latin");
	struct err e = ERR_INIT;
	char *value = NULL;

	(void)state;
	assert_good(conn_exec(c, "CREATE TABLE public.\"\xfc\" (a int)", &e), &e);
	assert_good(conn_value(&value, c, "SELECT relname FROM pg_class WHERE oid = 'public.\"\xfc\"'::regclass", NULL, &e), &e);
	assert_string_equal(value, "\xfc");
	free(value);
	conn_close(c);
}

static const char *
value_of(const struct childenv *env, const char *name)
{
	size_t n = strlen(name);

	for (const char *const *at = childenv_list(env); *at != NULL; at++)
		if (strncmp(*at, name, n) == 0 && (*at)[n] == '=')
			return *at + n + 1;
	return NULL;
}

/* R49. */
static void
a_server_over_the_network_must_prove_who_it_is(void **state)
{
	static const struct {
		const char *host, *sslmode, *expect;
	} cases[] = {
		{ "db.example.org", NULL, "verify-full" }, { "10.0.0.7", NULL, "verify-full" }, { "db.example.org", "disable", "disable" },
		{ "localhost", NULL, NULL }, { "127.0.0.1", NULL, NULL }, { "/run/postgresql", NULL, NULL }, { NULL, NULL, NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct pg_target target = { .host = cases[i].host, .sslmode = cases[i].sslmode };
		struct err e = ERR_INIT;
		struct childenv *env = childenv_new(&target, "d", "-c a=b", &e);

		assert_non_null(env);
		if (cases[i].expect == NULL)
			assert_null(value_of(env, "PGSSLMODE"));
		else
			assert_string_equal(value_of(env, "PGSSLMODE"), cases[i].expect);
		assert_string_equal(value_of(env, "PGPASSFILE"), "/dev/null/none");
		assert_string_equal(value_of(env, "PGDATABASE"), "d");
		assert_string_equal(value_of(env, "PGOPTIONS"), "-c a=b");
		childenv_set(env, "PGDATABASE", "other");
		assert_string_equal(value_of(env, "PGDATABASE"), "other");
		childenv_free(env);
	}
}

/* Started anew by a test above, with an environment that would lead libpq astray. */
static int
only_connect(void)
{
	struct pg_target target = { .host = getenv("HF_TEST_HOST"), .user = "postgres" };
	struct err e = ERR_INIT;
	struct conn *c = conn_open(&target, "postgres", &e);
	int rc = c != NULL && getenv("PGOPTIONS") == NULL && getenv("HF_TEST_HOST") != NULL ? 0 : 1;

	if (c == NULL)
		print_error("%s\n", e.msg);
	conn_close(c);
	return rc;
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows_come_as_text_and_null_as_null),
		cmocka_unit_test(what_the_server_refuses_has_the_kind_that_callers_decide_on),
		cmocka_unit_test(a_server_without_memory_wants_room),
		cmocka_unit_test(words_tell_a_want_of_room_from_a_fault_of_the_dump),
		cmocka_unit_test(what_cannot_be_connected_to_says_why),
		cmocka_unit_test(a_password_file_that_all_can_read_is_refused),
		cmocka_unit_test(the_environment_and_service_files_have_no_say),
		cmocka_unit_test(a_request_to_stop_ends_a_query_at_once),
		cmocka_unit_test(a_connection_that_the_server_ends_is_a_lost_database),
		cmocka_unit_test(settings_of_the_role_do_not_reach_our_session),
		cmocka_unit_test(names_come_in_the_encoding_of_their_database),
		cmocka_unit_test(a_server_over_the_network_must_prove_who_it_is),
	};

	if (argc > 1 && strcmp(argv[1], "--connect") == 0)
		return only_connect();
	return cmocka_run_group_tests(tests, start, stop);
}
