#include "cluster.h"

#include <inttypes.h>
#include <pthread.h>

#include "base/hash.h"
#include "base/json.h"
#include "base/sink.h"
#include "pg/archive.h"
#include "pg/dump.h"

static struct cluster cluster;

/* Everything that has ever been hard about which entry belongs to which stream. */
static const char content[] =
    "CREATE SCHEMA \"od.d \"\"sch\"\"ema\";"
    "CREATE TABLE plain (id bigserial PRIMARY KEY, t text); INSERT INTO plain (t) SELECT repeat(md5(i::text), 20) FROM generate_series(1, 2000) i;"
    "CREATE TABLE ident (id int GENERATED ALWAYS AS IDENTITY, t text); INSERT INTO ident (t) VALUES ('a'), ('b');"
    "CREATE TABLE \"od.d \"\"sch\"\"ema\".\"new\nline, \"\"quoted\"\" ünï.*|?$\" (\"a,\nb\" serial, \"from\" text);"
    "INSERT INTO \"od.d \"\"sch\"\"ema\".\"new\nline, \"\"quoted\"\" ünï.*|?$\" (\"from\") VALUES ('one'), ('two');"
    "CREATE TABLE \"Upper\" (a int); INSERT INTO \"Upper\" VALUES (1); CREATE TABLE \"upper\" (a int); INSERT INTO \"upper\" VALUES (2), (3);"
    "CREATE TABLE \"a.b\" (a int); INSERT INTO \"a.b\" VALUES (7); CREATE TABLE a (b int); CREATE TABLE \"a*\" (a int); INSERT INTO \"a*\" VALUES (8);"
    "CREATE TABLE sixty_three_bytes_long_which_is_the_most_that_a_name_may_be_____ (a int);"
    "INSERT INTO sixty_three_bytes_long_which_is_the_most_that_a_name_may_be_____ VALUES (63);"
    "CREATE TABLE parent (a int); CREATE TABLE child (b int) INHERITS (parent); INSERT INTO parent VALUES (1); INSERT INTO child VALUES (2, 3);"
    "CREATE TABLE parted (at date, v int) PARTITION BY RANGE (at);"
    "CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');"
    "CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM ('2026-02-01') TO ('2026-03-01') PARTITION BY LIST (v);"
    "CREATE TABLE parted_2_1 PARTITION OF parted_2 DEFAULT;"
    "INSERT INTO parted VALUES ('2026-01-05', 1), ('2026-02-05', 2), ('2026-02-06', 3);"
    "CREATE UNLOGGED TABLE unlogged (a int); INSERT INTO unlogged VALUES (1);"
    "CREATE TABLE empty (a int);"
    "CREATE MATERIALIZED VIEW mv AS SELECT count(*) FROM plain; CREATE VIEW v AS SELECT * FROM plain;"
    "CREATE SEQUENCE alone START 42; SELECT nextval('alone');"
    "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; CREATE TRIGGER t BEFORE INSERT ON plain EXECUTE FUNCTION f();"
    "CREATE TABLE \"_prisma_migrations\" (id text, migration_name varchar(255), started_at timestamptz, finished_at timestamptz);"
    "INSERT INTO \"_prisma_migrations\" VALUES ('1', '2026_first', '2026-01-01Z', '2026-01-01Z'), ('2', '2026_second', '2026-02-01Z', '2026-02-01Z');"
    "SELECT lo_from_bytea(70001, 'a large object');";

static int
start(void **state)
{
	(void)state;
	cluster_start(&cluster, NULL);
	cluster_sql(&cluster, "postgres", "CREATE DATABASE source");
	cluster_sql(&cluster, "source", content);
	cluster_sql(&cluster, "postgres", "CREATE DATABASE \"odd=name dbname=x\"");
	cluster_sql(&cluster, "odd=name dbname=x", "CREATE TABLE t (a int); INSERT INTO t VALUES (1)");
	cluster_sql(&cluster, "postgres", "CREATE ROLE locked_in LOGIN PASSWORD 'canary:in\\the mine' ROLE postgres; GRANT pg_read_all_data TO locked_in;"
	    "CREATE ROLE nobody_much LOGIN; COMMENT ON DATABASE source IS 'the source'; ALTER DATABASE source SET work_mem = '5MB'");
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
begin(const char *dbname, const struct dump_options *options)
{
	struct err e = ERR_INIT;
	struct dump *d = dump_begin(&cluster.target, dbname, &cluster.tools, options, &e);

	if (d == NULL)
		fail_msg("%s", e.msg);
	return d;
}

static int
run(struct dump *d, size_t i, struct archive_digest *out, struct err *e)
{
	struct sink *s = archive_reader_new(out, NULL, sink_null_new());
	int rc = dump_run(d, i, s, e);

	if (rc == 0)
		rc = sink_finish(s, e);
	sink_free(s);
	return rc;
}

static size_t
stream_of(struct dump *d, const char *name)
{
	size_t n;
	const struct dump_stream *s = dump_streams(d, &n);

	for (size_t i = 0; i < n; i++)
		if (strcmp(s[i].name, name) == 0)
			return i;
	fail_msg("no stream %s", name);
	return 0;
}

static void
run_all(struct dump *d, struct archive_digest *all)
{
	size_t n;

	dump_streams(d, &n);
	for (size_t i = 0; i < n; i++) {
		struct archive_digest one = ARCHIVE_DIGEST_INIT;
		struct err e = ERR_INIT;

		assert_good(run(d, i, &one, &e), &e);
		archive_digest_merge(all, &one);
	}
}

static int
entry_order(const void *a, const void *b)
{
	const struct archive_entry *x = a, *y = b;

	return x->type != y->type ? (int)x->type - (int)y->type : strcmp(x->name, y->name);
}

static int
item_order(const void *a, const void *b)
{
	const struct archive_item *x = a, *y = b;
	int order = strcmp(x->desc, y->desc);

	if (order == 0)
		order = strcmp(x->namespace, y->namespace);
	return order != 0 ? order : strcmp(x->tag, y->tag);
}

static void
sort(struct archive_digest *d)
{
	qsort(d->entries, d->n_entries, sizeof(*d->entries), entry_order);
	qsort(d->items, d->n_items, sizeof(*d->items), item_order);
}

/* One pg_dump by hand, as the measure. */
static void
whole(const char *dbname, struct archive_digest *d)
{
	static const char *const options[] = { "-Fc", "-Z0", NULL };
	struct buf archive = BUF_INIT;
	struct sink *s = archive_reader_new(d, NULL, sink_null_new());
	struct err e = ERR_INIT;

	cluster_dump(&cluster, dbname, options, &archive);
	assert_good(sink_write(s, archive.data, archive.bytes, &e), &e);
	assert_good(sink_finish(s, &e), &e);
	sink_free(s);
	buf_free(&archive);
}

static void
assert_same(struct archive_digest *a, struct archive_digest *b)
{
	sort(a);
	sort(b);
	for (size_t i = 0; i < a->n_entries && i < b->n_entries; i++) {
		assert_string_equal(a->entries[i].name, b->entries[i].name);
		assert_int_equal(a->entries[i].rows, b->entries[i].rows);
		assert_memory_equal(a->entries[i].sha256, b->entries[i].sha256, SHA256_BYTES);
	}
	assert_int_equal(a->n_entries, b->n_entries);
	for (size_t i = 0; i < a->n_items && i < b->n_items; i++) {
		assert_string_equal(a->items[i].desc, b->items[i].desc);
		assert_string_equal(a->items[i].tag, b->items[i].tag);
		assert_string_equal(a->items[i].defn, b->items[i].defn);
	}
	assert_int_equal(a->n_items, b->n_items);
}

/* The proof that cutting a dump into streams loses nothing and doubles nothing, whatever is large. */
static void
the_streams_together_are_one_plain_dump(void **state)
{
	static const uint64_t large[] = { 0, 1, 1 << 20 };

	(void)state;
	for (size_t i = 0; i < sizeof(large) / sizeof(large[0]); i++) {
		struct dump_options options = { .large_table_bytes = large[i], .lock_timeout_ms = 10000 };
		struct archive_digest streams = ARCHIVE_DIGEST_INIT, plain = ARCHIVE_DIGEST_INIT;
		struct dump *d = begin("source", &options);
		struct err e = ERR_INIT;
		size_t n;

		dump_streams(d, &n);
		if (large[i] == 0)
			assert_int_equal(n, 3);
		if (large[i] == 1)
			assert_true(n > 12);
		if (large[i] == 1 << 20)
			assert_int_equal(n, 4);
		run_all(d, &streams);
		assert_good(dump_end(d, &e), &e);
		whole("source", &plain);
		assert_true(plain.n_entries > 20);
		assert_same(&streams, &plain);
		archive_digest_free(&streams);
		archive_digest_free(&plain);
		dump_free(d);
	}
}

struct runner {
	struct dump *d;
	size_t first;
	struct archive_digest all;
	struct err e;
};

static void *
run_every_second(void *arg)
{
	struct runner *r = arg;
	size_t n;

	dump_streams(r->d, &n);
	for (size_t i = r->first; i < n; i += 2) {
		struct archive_digest one = ARCHIVE_DIGEST_INIT;

		if (run(r->d, i, &one, &r->e))
			return r;
		archive_digest_merge(&r->all, &one);
	}
	return NULL;
}

static void
streams_run_side_by_side(void **state)
{
	struct dump_options options = { .large_table_bytes = 1, .lock_timeout_ms = 10000 };
	struct archive_digest plain = ARCHIVE_DIGEST_INIT;
	struct dump *d = begin("source", &options);
	struct runner two[2] = { { .d = d, .first = 0 }, { .d = d, .first = 1 } };
	pthread_t threads[2];
	struct err e = ERR_INIT;

	(void)state;
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, run_every_second, &two[i]), 0);
	for (int i = 0; i < 2; i++) {
		void *failed;

		pthread_join(threads[i], &failed);
		if (failed != NULL)
			fail_msg("%s", two[i].e.msg);
	}
	assert_good(dump_end(d, &e), &e);
	archive_digest_merge(&two[0].all, &two[1].all);
	whole("source", &plain);
	assert_same(&two[0].all, &plain);
	archive_digest_free(&two[0].all);
	archive_digest_free(&plain);
	dump_free(d);
}

static void
each_large_table_is_alone_in_its_stream(void **state)
{
	struct dump_options options = { .large_table_bytes = 1, .lock_timeout_ms = 10000 };
	struct dump *d = begin("source", &options);
	const struct dump_stream *s;
	size_t n, tables = 0;

	(void)state;
	s = dump_streams(d, &n);
	assert_int_equal(s[0].kind, DUMP_PRE_DATA);
	assert_int_equal(s[n - 1].kind, DUMP_POST_DATA);
	for (size_t i = 0; i < n; i++) {
		struct archive_digest one = ARCHIVE_DIGEST_INIT;
		struct err e = ERR_INIT;

		if (i > 1 && i < n - 1)
			assert_true(s[i].estimated_bytes <= s[i - 1].estimated_bytes);
		if (s[i].kind != DUMP_TABLE)
			continue;
		tables++;
		assert_good(run(d, i, &one, &e), &e);
		assert_int_equal(one.n_entries, 1);
		assert_string_equal(one.entries[0].name, s[i].name + strlen("table "));
		archive_digest_free(&one);
	}
	assert_true(tables >= 14);
	dump_free(d);
}

static void
a_database_with_a_name_like_a_connection_string_is_dumped(void **state)
{
	struct dump_options options = { .large_table_bytes = 1, .lock_timeout_ms = 10000 };
	struct archive_digest all = ARCHIVE_DIGEST_INIT;
	struct dump *d = begin("odd=name dbname=x", &options);

	(void)state;
	run_all(d, &all);
	assert_int_equal(all.n_entries, 1);
	assert_int_equal(all.entries[0].rows, 1);
	archive_digest_free(&all);
	dump_free(d);
}

static void
what_is_written_after_the_snapshot_is_in_no_stream(void **state)
{
	struct dump_options options = { .large_table_bytes = 1, .lock_timeout_ms = 10000 };
	struct archive_digest before = ARCHIVE_DIGEST_INIT, after = ARCHIVE_DIGEST_INIT, later = ARCHIVE_DIGEST_INIT;
	struct dump *d;
	struct err e = ERR_INIT;

	(void)state;
	whole("source", &before);
	d = begin("source", &options);
	cluster_sql(&cluster, "source", "BEGIN; INSERT INTO \"Upper\" SELECT a FROM \"upper\"; DELETE FROM \"upper\"; UPDATE plain SET t = 'new' WHERE id < 10;"
	    " SELECT lo_unlink(70001); INSERT INTO empty VALUES (1); CREATE TABLE newer (a int); INSERT INTO newer VALUES (1); COMMIT");
	run_all(d, &after);
	assert_good(dump_end(d, &e), &e);
	dump_free(d);
	assert_same(&before, &after);
	whole("source", &later);
	assert_true(later.n_entries == before.n_entries);       /* one table more, one large object less */
	cluster_sql(&cluster, "source", "DROP TABLE newer; INSERT INTO \"upper\" SELECT a FROM \"Upper\" WHERE a > 1; DELETE FROM \"Upper\" WHERE a > 1;"
	    " DELETE FROM empty; SELECT lo_from_bytea(70001, 'a large object')");
	archive_digest_free(&before);
	archive_digest_free(&after);
	archive_digest_free(&later);
}

static void *
truncate_upper(void *arg)
{
	struct conn *c = arg;
	struct err e = ERR_INIT;

	(void)!conn_exec(c, "TRUNCATE public.\"upper\"", &e);
	return NULL;
}

/* The trap that the leader's locks are for: without them this table is dumped as empty, and pg_dump exits with 0. */
static void
a_truncate_waits_for_the_dump_and_is_named_when_it_is_in_the_way(void **state)
{
	struct dump_options options = { .large_table_bytes = 1, .lock_timeout_ms = 700 };
	struct archive_digest one = ARCHIVE_DIGEST_INIT, two = ARCHIVE_DIGEST_INIT;
	struct conn *c = cluster_connect(&cluster, "source");
	struct dump *d = begin("source", &options);
	struct err e = ERR_INIT;
	pthread_t thread;
	json_t *waiters = NULL;
	char *pid;

	(void)state;
	assert_good(run(d, stream_of(d, "table public.upper"), &one, &e), &e);
	assert_int_equal(one.entries[0].rows, 2);
	pthread_create(&thread, NULL, truncate_upper, c);
	for (int i = 0; i < 50 && (waiters == NULL || json_array_size(waiters) == 0); i++) {
		json_decref(waiters);
		usleep(100000);
		waiters = dump_waiters(d, &e);
		assert_non_null(waiters);
	}
	assert_int_equal(json_array_size(waiters), 1);
	assert_non_null(strstr(json_string_value(json_array_get(waiters, 0)), "TRUNCATE public.\"upper\""));
	json_decref(waiters);

	assert_int_equal(run(d, stream_of(d, "table public.upper"), &two, &e), -1);
	assert_int_equal(e.kind, ERR_LOCKED);
	pid = mem_printf("pid %d ", conn_backend_pid(c));
	assert_non_null(strstr(e.msg, pid));
	assert_non_null(strstr(e.msg, "TRUNCATE"));
	assert_non_null(strstr(e.msg, "public.upper"));
	free(pid);
	err_clear(&e);
	assert_good(dump_end(d, &e), &e);
	dump_free(d);           /* now the TRUNCATE may go on */
	pthread_join(thread, NULL);
	conn_close(c);
	cluster_sql(&cluster, "source", "INSERT INTO \"upper\" VALUES (2), (3)");
	archive_digest_free(&one);
	archive_digest_free(&two);
}

static void
a_lock_that_cannot_be_had_names_who_has_it(void **state)
{
	struct dump_options options = { .large_table_bytes = 1, .lock_timeout_ms = 300 };
	struct conn *c = cluster_connect(&cluster, "source");
	struct err e = ERR_INIT;
	char *pid = mem_printf("pid %d ", conn_backend_pid(c));

	(void)state;
	assert_good(conn_exec(c, "BEGIN; LOCK TABLE public.plain IN ACCESS EXCLUSIVE MODE", &e), &e);
	assert_null(dump_begin(&cluster.target, "source", &cluster.tools, &options, &e));
	assert_int_equal(e.kind, ERR_LOCKED);
	assert_non_null(strstr(e.msg, pid));
	assert_non_null(strstr(e.msg, "LOCK TABLE public.plain"));
	conn_close(c);
	free(pid);
}

static volatile bool churning;

static void *
churn(void *arg)
{
	struct conn *c = arg;
	struct err e = ERR_INIT;

	while (churning)
		(void)!conn_exec(c, "CREATE TABLE public.passing (a int); INSERT INTO public.passing VALUES (1); DROP TABLE public.passing; SELECT pg_sleep(0.002)", &e);
	return NULL;
}

static void
tables_that_come_and_go_do_not_fail_the_beginning(void **state)
{
	struct dump_options options = { .large_table_bytes = 1, .lock_timeout_ms = 5000 };
	struct conn *c = cluster_connect(&cluster, "source");
	pthread_t thread;

	(void)state;
	churning = true;
	pthread_create(&thread, NULL, churn, c);
	for (int i = 0; i < 20; i++)
		dump_free(begin("source", &options));
	churning = false;
	pthread_join(thread, NULL);
	conn_close(c);
}

static void
excluded_data_is_in_no_stream_even_when_the_table_is_large(void **state)
{
	static const char *const exclude[] = { "public.plain", "\"od.d \"\"sch\"\"ema\".*", "mv", NULL };
	struct dump_options options = { .large_table_bytes = 1, .lock_timeout_ms = 5000, .exclude_table_data = exclude };
	struct archive_digest all = ARCHIVE_DIGEST_INIT;
	struct dump *d = begin("source", &options);
	bool ident = false;

	(void)state;
	run_all(d, &all);
	for (size_t i = 0; i < all.n_entries; i++) {
		assert_string_not_equal(all.entries[i].name, "public.plain");
		ident |= strcmp(all.entries[i].name, "public.ident") == 0;
	}
	assert_true(ident);
	for (size_t i = 0; i < all.n_items; i++)
		assert_string_not_equal(all.items[i].desc, "MATERIALIZED VIEW DATA");
	archive_digest_free(&all);
	dump_free(d);
}

/* A pg_dump of ours that runs the real one, and then misbehaves. */
static char *
wrapper(const char *name, const char *body)
{
	char *path = mem_printf("%s/%s", cluster.dir, name), *text = mem_printf("#!/bin/sh\nreal='%s'\n%s\n", cluster.tools.pg_dump, body);

	cluster_write(&cluster, name, text);
	assert_int_equal(chmod(path, 0755), 0);
	free(text);
	return path;
}

static void
a_pg_dump_that_ends_badly_is_a_failed_stream(void **state)
{
	static const struct {
		const char *body, *words;
	} cases[] = {
		{ "\"$real\" \"$@\"; echo gone wrong >&2; exit 1", "status 1: gone wrong" },
		{ "\"$real\" \"$@\" | /usr/bin/head -c 300; kill -9 $$", "signal 9" },
		{ "exit 3", "status 3" },
	};
	struct dump_options options = { .large_table_bytes = 1, .lock_timeout_ms = 5000 };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *path = wrapper("bad_pg_dump", cases[i].body);
		struct tools tools = cluster.tools;
		struct archive_digest one = ARCHIVE_DIGEST_INIT;
		struct err e = ERR_INIT;
		struct dump *d;

		tools.pg_dump = path;
		d = dump_begin(&cluster.target, "source", &tools, &options, &e);
		assert_non_null(d);
		assert_int_equal(run(d, stream_of(d, "table public.plain"), &one, &e), -1);
		assert_int_equal(e.kind, ERR_FAILED);
		assert_non_null(strstr(e.msg, "pg_dump of public.plain"));
		assert_non_null(strstr(e.msg, cases[i].words));
		archive_digest_free(&one);
		dump_free(d);
		free(path);
	}
}

/* R39. */
static void
a_pg_dump_older_than_the_server_is_refused_at_once(void **state)
{
	struct dump_options options = { .large_table_bytes = 1, .lock_timeout_ms = 5000 };
	struct tools tools = cluster.tools;
	struct err e = ERR_INIT;

	(void)state;
	tools.major--;
	assert_null(dump_begin(&cluster.target, "source", &tools, &options, &e));
	assert_non_null(strstr(e.msg, "cannot dump a server of version"));
	assert_non_null(strstr(e.hint, "postgresql-client-"));
}

/* R49. */
static void
the_password_reaches_pg_dump_and_nothing_else_does(void **state)
{
	char *seen = mem_printf("%s/seen", cluster.dir), *secret = mem_printf("%s/secret", cluster.dir);
	char *body = mem_printf("(/usr/bin/env; echo \"$@\") >> '%s'; exec \"$real\" \"$@\"", seen), *path = wrapper("spying_pg_dump", body);
	struct dump_options options = { .large_table_bytes = 1, .lock_timeout_ms = 5000 };
	struct pg_target target = cluster.target;
	struct tools tools = cluster.tools;
	struct buf text = BUF_INIT;
	struct archive_digest one = ARCHIVE_DIGEST_INIT;
	struct err e = ERR_INIT;
	struct dump *d;

	(void)state;
	cluster_write(&cluster, "secret", "canary:in\\the mine\n");
	assert_int_equal(chmod(secret, 0600), 0);
	target.user = "locked_in";
	setenv("CANARY", "of our environment", 1);
	tools.pg_dump = path;
	assert_null(dump_begin(&target, "source", &tools, &options, &e));
	assert_int_equal(e.kind, ERR_DENIED);
	err_clear(&e);
	target.password_file = secret;
	d = dump_begin(&target, "source", &tools, &options, &e);
	if (d == NULL)
		fail_msg("%s", e.msg);
	assert_good(run(d, stream_of(d, "table public.upper"), &one, &e), &e);
	assert_int_equal(one.entries[0].rows, 2);
	assert_good(file_read(&text, seen, 1 << 20, &e), &e);
	assert_non_null(strstr((char *)text.data, "PGUSER=locked_in"));
	assert_null(strstr((char *)text.data, "canary"));
	assert_null(strstr((char *)text.data, "CANARY"));
	unsetenv("CANARY");
	archive_digest_free(&one);
	dump_free(d);
	buf_free(&text);
	free(path), free(body), free(secret), free(seen);
}

static void
roles_come_with_their_passwords_where_we_may_read_them(void **state)
{
	struct buf text = BUF_INIT;
	struct sink *s = sink_buf_new(&text, 1 << 20);
	struct err e = ERR_INIT;
	bool without = true;

	(void)state;
	assert_good(dump_globals(&cluster.target, &cluster.tools, 60000, &without, NULL, s, &e), &e);
	assert_false(without);
	assert_non_null(strstr((char *)text.data, "CREATE ROLE nobody_much"));
	assert_non_null(strstr((char *)text.data, "SCRAM-SHA-256$"));
	sink_free(s);
	buf_free(&text);
}

/* R32. */
static void
roles_come_without_passwords_where_we_may_not(void **state)
{
	struct pg_target target = cluster.target;
	struct buf text = BUF_INIT;
	struct sink *s = sink_buf_new(&text, 1 << 20);
	struct err e = ERR_INIT;
	bool without = false;

	(void)state;
	target.user = "nobody_much";
	assert_good(dump_globals(&target, &cluster.tools, 60000, &without, NULL, s, &e), &e);
	assert_true(without);
	assert_non_null(strstr((char *)text.data, "CREATE ROLE locked_in"));
	assert_null(strstr((char *)text.data, "SCRAM-SHA-256$"));
	sink_free(s);
	buf_free(&text);
}

static void
a_table_that_our_role_may_not_read_is_denied(void **state)
{
	struct dump_options options = { .large_table_bytes = 1, .lock_timeout_ms = 5000 };
	struct pg_target target = cluster.target;
	struct err e = ERR_INIT;

	(void)state;
	target.user = "nobody_much";
	assert_null(dump_begin(&target, "source", &cluster.tools, &options, &e));
	assert_int_equal(e.kind, ERR_DENIED);
	assert_non_null(strstr(e.msg, "permission denied"));
}

static void
a_dump_whose_leader_was_ended_is_worth_nothing(void **state)
{
	struct dump_options options = { .large_table_bytes = 1, .lock_timeout_ms = 5000 };
	struct archive_digest one = ARCHIVE_DIGEST_INIT;
	struct dump *d = begin("source", &options);
	struct err e = ERR_INIT;

	(void)state;
	cluster_sql(&cluster, "postgres", "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = 'source' AND state = 'idle in transaction'");
	assert_int_equal(run(d, stream_of(d, "rest"), &one, &e), -1);
	assert_int_equal(e.kind, ERR_DATABASE);
	err_clear(&e);
	assert_int_equal(dump_end(d, &e), -1);
	assert_int_equal(e.kind, ERR_DATABASE);
	archive_digest_free(&one);
	dump_free(d);
}

static void
facts_of_the_snapshot_come_with_the_dump(void **state)
{
	struct dump_options options = { .large_table_bytes = 1, .lock_timeout_ms = 5000 };
	struct dump *d = begin("source", &options);
	json_t *facts = dump_facts(d), *objects = json_object_get(facts, "objects");

	(void)state;
	assert_int_equal(json_integer_value(json_object_get(facts, "large_objects")), 1);
	assert_int_equal(json_integer_value(json_object_get(objects, "large object")), 1);
	assert_int_equal(json_integer_value(json_object_get(objects, "materialized view")), 1);
	assert_int_equal(json_integer_value(json_object_get(objects, "partitioned table")), 2);
	assert_int_equal(json_integer_value(json_object_get(objects, "trigger")), 1);
	assert_string_equal(json_string_value(json_object_get(json_object_get(facts, "prisma_migration"), "name")), "2026_second");
	assert_string_equal(json_string_value(json_array_get(json_object_get(facts, "unlogged_tables"), 0)), "public.unlogged");
	assert_non_null(strchr(dump_lsn(d), '/'));
	assert_true(llabs(dump_time_us(d) - clock_wall_us()) < 60 * 1000000LL);
	dump_free(d);
}

/* Last, since it takes the server away. */
static void
a_server_that_goes_down_is_a_lost_database(void **state)
{
	struct dump_options options = { .large_table_bytes = 1, .lock_timeout_ms = 5000 };
	struct archive_digest one = ARCHIVE_DIGEST_INIT;
	struct dump *d = begin("source", &options);
	struct err e = ERR_INIT;

	(void)state;
	cluster_halt(&cluster, SIGQUIT);
	assert_int_equal(run(d, stream_of(d, "rest"), &one, &e), -1);
	assert_int_equal(e.kind, ERR_DATABASE);
	err_clear(&e);
	assert_int_equal(dump_end(d, &e), -1);
	assert_int_equal(e.kind, ERR_DATABASE);
	archive_digest_free(&one);
	dump_free(d);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_streams_together_are_one_plain_dump),
		cmocka_unit_test(streams_run_side_by_side),
		cmocka_unit_test(each_large_table_is_alone_in_its_stream),
		cmocka_unit_test(a_database_with_a_name_like_a_connection_string_is_dumped),
		cmocka_unit_test(what_is_written_after_the_snapshot_is_in_no_stream),
		cmocka_unit_test(a_truncate_waits_for_the_dump_and_is_named_when_it_is_in_the_way),
		cmocka_unit_test(a_lock_that_cannot_be_had_names_who_has_it),
		cmocka_unit_test(tables_that_come_and_go_do_not_fail_the_beginning),
		cmocka_unit_test(excluded_data_is_in_no_stream_even_when_the_table_is_large),
		cmocka_unit_test(a_pg_dump_that_ends_badly_is_a_failed_stream),
		cmocka_unit_test(a_pg_dump_older_than_the_server_is_refused_at_once),
		cmocka_unit_test(the_password_reaches_pg_dump_and_nothing_else_does),
		cmocka_unit_test(roles_come_with_their_passwords_where_we_may_read_them),
		cmocka_unit_test(roles_come_without_passwords_where_we_may_not),
		cmocka_unit_test(a_table_that_our_role_may_not_read_is_denied),
		cmocka_unit_test(a_dump_whose_leader_was_ended_is_worth_nothing),
		cmocka_unit_test(facts_of_the_snapshot_come_with_the_dump),
		cmocka_unit_test(a_server_that_goes_down_is_a_lost_database),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
