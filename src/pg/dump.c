#include "pg/dump.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/child.h"
#include "base/mem.h"
#include "pg/conn_private.h"
#include "pg/dump_plan.h"
#include "pg/childenv.h"
#include "pg/facts.h"

#define LOCK_BATCH 200
#define LOCK_ROUNDS 10

struct dump {
	struct pg_target target;        /* strings borrowed, as the options' and the tools' are */
	const struct tools *tools;
	struct dump_options options;
	struct conn *leader;
	char *dbname, *snapshot, *lsn;
	int64_t time_us;
	json_t *facts;
	struct dump_plan plan;
};

/* Every table that pg_dump locks. */
#define LOCKED_TABLES \
	" FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace" \
	" WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"

/* R38, R42: nothing of the role's settings may end this session while the pg_dumps run; nothing outside the catalogs may be
 * swapped for a view under us.  Names that a server does not know are passed over. */
static int
settle_session(struct dump *d, struct err *e)
{
	static const char settings[] =
	    "SELECT set_config(s.name, s.setting, false) FROM (VALUES ('lock_timeout', $1), ('idle_in_transaction_session_timeout', '0'),"
	    " ('idle_session_timeout', '0'), ('transaction_timeout', '0'), ('restrict_nonsystem_relation_kind', 'view,foreign-table'))"
	    " s(name, setting) WHERE EXISTS (SELECT FROM pg_settings p WHERE p.name = s.name)";
	char *timeout = mem_printf("%" PRId64, d->options.lock_timeout_ms);
	const char *const params[] = { timeout, NULL };
	struct rows *r = conn_query(d->leader, settings, params, e);
	struct err ignored = ERR_INIT;

	/* So that a server notices when we are gone in the middle of a wait; not on every platform. */
	if (r != NULL && conn_server_version(d->leader) >= 140000)
		(void)!conn_exec(d->leader, "SET client_connection_check_interval = '2s'", &ignored);
	conn_rows_free(r);
	free(timeout);
	return r != NULL ? 0 : -1;
}

/* Opens the transaction and locks all tables there are.  1 when one of them went away meanwhile. */
static int
lock_tables(struct dump *d, struct err *e)
{
	struct rows *r = conn_query(d->leader, "SELECT format('%I.%I', n.nspname, c.relname)" LOCKED_TABLES " ORDER BY c.oid", NULL, e);
	struct buf sql = BUF_INIT;
	int rc = -1;

	if (r == NULL || conn_exec(d->leader, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", e))
		goto out;
	for (size_t i = 0; i < conn_rows(r); i++) {
		bool last = i + 1 == conn_rows(r) || (i + 1) % LOCK_BATCH == 0;

		buf_addf(&sql, "%s ONLY %s", sql.bytes == 0 ? "LOCK TABLE" : ",", conn_cell(r, i, 0));
		if (!last)
			continue;
		buf_addstr(&sql, " IN ACCESS SHARE MODE");
		if (conn_exec(d->leader, (const char *)sql.data, e)) {
			/* undefined_table, invalid_schema_name, wrong_object_type */
			if (strcmp(conn_sqlstate(d->leader), "42P01") == 0 || strcmp(conn_sqlstate(d->leader), "3F000") == 0 ||
			    strcmp(conn_sqlstate(d->leader), "42809") == 0)
				rc = 1;
			else
				err_wrap(e, "lock the tables");
			goto out;
		}
		buf_clear(&sql);
	}
	rc = 0;
out:
	buf_free(&sql);
	conn_rows_free(r);
	return rc;
}

/* The first query of the transaction: the snapshot is taken here, behind the locks. */
static int
take_snapshot(struct dump *d, struct err *e)
{
	struct rows *r = conn_query(d->leader, "SELECT pg_export_snapshot(), CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()"
	    " ELSE pg_current_wal_lsn() END, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint", NULL, e);

	if (r == NULL)
		return err_wrap(e, "export a snapshot");
	free(d->snapshot);
	free(d->lsn);
	d->snapshot = mem_strdup(conn_cell(r, 0, 0));
	d->lsn = mem_strdup(conn_cell(r, 0, 1) != NULL ? conn_cell(r, 0, 1) : "0/0");
	d->time_us = conn_cell_int(r, 0, 2);
	conn_rows_free(r);
	return 0;
}

/* A table of the snapshot that we have not locked: one that came between the list and the snapshot.  NULL when there is none. */
static int
find_unlocked(char **name, struct dump *d, struct err *e)
{
	return conn_value(name, d->leader, "SELECT format('%I.%I', n.nspname, c.relname)" LOCKED_TABLES
	    " AND c.oid NOT IN (SELECT relation FROM pg_locks WHERE locktype = 'relation' AND pid = pg_backend_pid() AND granted"
	    " AND mode = 'AccessShareLock' AND relation IS NOT NULL) LIMIT 1", NULL, e);
}

/*
 * TRUNCATE and a rewriting ALTER TABLE are not MVCC-safe: a table that is rewritten between a snapshot and its pg_dump's lock
 * reads as empty, with exit status 0.  So the locks come first, and then the snapshot; LOCK takes none.
 */
static int
lock_and_snapshot(struct dump *d, struct err *e)
{
	char *unlocked = NULL;

	for (int round = 0; round < LOCK_ROUNDS; round++) {
		int rc = lock_tables(d, e);

		free(unlocked);
		unlocked = NULL;
		if (rc == 0 && (take_snapshot(d, e) || find_unlocked(&unlocked, d, e)))
			rc = -1;
		if (rc < 0) {
			free(unlocked);
			return -1;
		}
		if (rc == 0 && unlocked == NULL)
			return 0;
		err_clear(e);
		if (conn_exec(d->leader, "ROLLBACK", e)) {
			free(unlocked);
			return -1;
		}
	}
	err_set(e, ERR_LOCKED, "tables come and go faster than they can be locked%s%s", unlocked != NULL ? ": " : "", unlocked != NULL ? unlocked : "");
	free(unlocked);
	return -1;
}

struct dump *
dump_begin(const struct pg_target *target, const char *dbname, const struct tools *tools, const struct dump_options *options,
    struct err *e)
{
	struct dump *d = mem_zero(1, sizeof(*d));
	int major;

	d->target = *target;
	d->tools = tools;
	d->options = *options;
	d->dbname = mem_strdup(dbname);
	d->leader = conn_open(target, dbname, e);
	if (d->leader == NULL)
		goto failed;
	major = conn_server_version(d->leader) / 10000;
	if (tools->major < major) {
		err_set(e, ERR_FAILED, "pg_dump %s cannot dump a server of version %d", tools->version, major);
		err_hint(e, "install postgresql-client-%d, or name its folder as bin_dir", major);
		goto failed;
	}
	if (settle_session(d, e) || lock_and_snapshot(d, e) ||
	    dump_plan_make(&d->plan, d->leader, options->large_table_bytes, e) || (d->facts = facts_database(d->leader, e)) == NULL)
		goto failed;
	return d;
failed:
	dump_free(d);
	return NULL;
}

const struct dump_stream *
dump_streams(const struct dump *d, size_t *count)
{
	*count = d->plan.n;
	return d->plan.streams;
}

const char *
dump_lsn(const struct dump *d)
{
	return d->lsn;
}

int64_t
dump_time_us(const struct dump *d)
{
	return d->time_us;
}

json_t *
dump_facts(const struct dump *d)
{
	return d->facts;
}

/* pg_dump says everything with status 1; its words tell what kind it was.  LC_ALL is C there, and the server's own part of
 * these, a timeout's or a shutdown's, is recognised by what pg_dump adds where lc_messages may be another. */
static void
judge_words(struct dump *d, const char *name, const char *words, struct err *e)
{
	char *blocker;

	if (e->kind != ERR_FAILED)
		return;
	if (strstr(words, "Query was: LOCK TABLE") != NULL && strstr(words, "timeout") != NULL) {
		blocker = conn_blocker(d->leader);
		err_set(e, ERR_LOCKED, "%s could not get its lock within %lld ms: %s", name, (long long)d->options.lock_timeout_ms,
		    blocker != NULL ? blocker : "whoever was in the way is gone");
		free(blocker);
	} else if (strstr(words, "server closed the connection") != NULL || strstr(words, "connection to server") != NULL ||
	    strstr(words, "terminating connection") != NULL || strstr(words, "no connection to the server") != NULL) {
		e->kind = ERR_DATABASE;
	} else if (strstr(words, "snapshot") != NULL && strstr(words, "SET TRANSACTION SNAPSHOT") != NULL) {
		e->kind = ERR_DATABASE;
		err_wrap(e, "the leading connection, which held the snapshot, is gone");
	} else if (strstr(words, "permission denied") != NULL) {
		e->kind = ERR_DENIED;
	}
}

/* What chooses the stream's content comes from the plan; this is what all streams have in common. */
static const char **
dump_argv(const struct dump *d, size_t i, char *shared[2])
{
	static const char *const always[] = { "--format=custom", "--compress=0", "--no-password" };
	const char *const *exclude = d->options.exclude_table_data;
	const char **argv;
	size_t n = 0, room = 16;

	for (size_t k = 0; exclude != NULL && exclude[k] != NULL; k++)
		room += 2;
	for (char **o = d->plan.options[i]; *o != NULL; o++)
		room++;
	argv = mem_zero(room, sizeof(*argv));
	argv[n++] = d->tools->pg_dump;
	for (size_t k = 0; k < sizeof(always) / sizeof(always[0]); k++)
		argv[n++] = always[k];
	argv[n++] = shared[0] = mem_printf("--snapshot=%s", d->snapshot);
	if (d->options.lock_timeout_ms > 0)
		argv[n++] = shared[1] = mem_printf("--lock-wait-timeout=%" PRId64, d->options.lock_timeout_ms);
	/* R45: planner statistics are no data, and restoring them has had a hole. */
	if (d->tools->major >= 18)
		argv[n++] = "--no-statistics";
	for (char **o = d->plan.options[i]; *o != NULL; o++)
		argv[n++] = *o;
	for (size_t k = 0; exclude != NULL && exclude[k] != NULL; k++) {
		argv[n++] = "--exclude-table-data";
		argv[n++] = exclude[k];
	}
	return argv;
}

int
dump_run(struct dump *d, size_t i, struct sink *out, struct err *e)
{
	const struct dump_stream *s = &d->plan.streams[i];
	const char *what = s->kind == DUMP_TABLE ? s->name + strlen("table ") : s->name;
	char *name = mem_printf("pg_dump of %s", what), *shared[2] = { NULL, NULL };
	const char **argv = dump_argv(d, i, shared);
	struct childenv *env = childenv_new(&d->target, d->dbname, NULL, e);
	struct child *child = NULL;
	int rc = -1;

	if (env != NULL) {
		struct child_spec spec = { .name = name, .argv = argv, .env = childenv_list(env), .pipe_out = true,
			.batch = true, .prepare = childenv_prepare, .prepare_ctx = env };

		child = child_start(&spec, e);
	}
	if (child != NULL) {
		rc = child_pump(child, out, d->options.idle_timeout_ms, e);
		if (rc != 0)
			judge_words(d, name, child_stderr(child), e);
	}
	child_free(child);
	childenv_free(env);
	free(argv);
	free(shared[0]);
	free(shared[1]);
	free(name);
	return rc;
}

json_t *
dump_waiters(struct dump *d, struct err *e)
{
	static const char sql[] =
	    "SELECT 'pid ' || pid || ' (user ' || coalesce(usename, '?') || ', application \"' || coalesce(application_name, '') || '\") waits '"
	    " || round(extract(epoch FROM clock_timestamp() - coalesce(query_start, xact_start, backend_start))) || ' s: ' || regexp_replace(left(query, 200), '''[^'']*(''|$)', '''?''', 'g')"
	    " FROM pg_stat_activity WHERE $1::int = ANY (pg_blocking_pids(pid)) ORDER BY query_start";
	char *pid = mem_printf("%d", conn_backend_pid(d->leader));
	const char *const params[] = { pid, NULL };
	struct conn *second = conn_open(&d->target, d->dbname, e);
	struct rows *r = second != NULL ? conn_query(second, sql, params, e) : NULL;
	json_t *list = r != NULL ? json_array() : NULL;

	for (size_t i = 0; r != NULL && i < conn_rows(r); i++)
		json_add(list, json_str(conn_cell(r, i, 0)));
	conn_rows_free(r);
	conn_close(second);
	free(pid);
	return list;
}

int
dump_end(struct dump *d, struct err *e)
{
	char *value = NULL;

	/* Idle in transaction until now; a statement within it is the proof that the transaction still is. */
	if (conn_value(&value, d->leader, "SELECT 1", NULL, e))
		return err_wrap(e, "the leading connection of the dump was lost");
	free(value);
	if (!conn_in_transaction(d->leader))
		return err_set(e, ERR_DATABASE, "the transaction that held the dump's snapshot has ended");
	return 0;
}

void
dump_free(struct dump *d)
{
	if (d == NULL)
		return;
	conn_close(d->leader);
	dump_plan_free(&d->plan);
	json_decref(d->facts);
	free(d->dbname);
	free(d->snapshot);
	free(d->lsn);
	free(d);
}

static int
may_read_passwords(bool *may, const struct pg_target *target, struct err *e)
{
	struct conn *c = conn_open(target, NULL, e);
	char *value = NULL;
	int rc = c == NULL ? -1 : conn_value(&value, c, "SELECT has_table_privilege('pg_catalog.pg_authid', 'SELECT')", NULL, e);

	*may = value != NULL && value[0] == 't';
	free(value);
	conn_close(c);
	return rc;
}

int
dump_globals(const struct pg_target *target, const struct tools *tools, int64_t idle_timeout_ms, bool *without_passwords,
    struct sink *out, struct err *e)
{
	const char *argv[8] = { tools->pg_dumpall, "--globals-only", "--no-password", NULL };
	struct childenv *env = NULL;
	struct child *child = NULL;
	size_t n = 3;
	bool may = false;
	int rc = -1;

	if (may_read_passwords(&may, target, e))
		return err_wrap(e, "dump of roles and tablespaces");
	*without_passwords = !may;
	if (!may)
		argv[n++] = "--no-role-passwords";
	if (target->maintenance_db != NULL) {
		argv[n++] = "--database";
		argv[n++] = target->maintenance_db;
	}
	env = childenv_new(target, NULL, NULL, e);
	if (env == NULL)
		return -1;
	/* pg_dumpall asks the pg_dump beside it for its version, through a shell. */
	childenv_set(env, "PATH", "/usr/bin:/bin");

	struct child_spec spec = { .name = "pg_dumpall of roles and tablespaces", .argv = argv, .env = childenv_list(env), .pipe_out = true,
		.prepare = childenv_prepare, .prepare_ctx = env };

	child = child_start(&spec, e);
	if (child != NULL)
		rc = child_pump(child, out, idle_timeout_ms, e);
	if (rc != 0 && child != NULL && e->kind == ERR_FAILED && strstr(child_stderr(child), "connection to server") != NULL)
		e->kind = ERR_DATABASE;
	child_free(child);
	childenv_free(env);
	return rc;
}
