#include "pg/dump.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/child.h"
#include "base/log.h"
#include "base/mem.h"
#include "pg/cage.h"
#include "pg/conn_private.h"
#include "pg/dump_locks.h"
#include "pg/dump_plan.h"
#include "pg/childenv.h"
#include "pg/facts.h"

#define LOCK_ROUNDS 10

struct dump {
	struct pg_target target;        /* strings borrowed, as the options' and the tools' are */
	const struct tools *tools;
	struct dump_options options;
	struct conn *leader;
	char *dbname, *encoding, *snapshot, *lsn;
	int64_t time_us;
	json_t *facts;
	struct dump_plan plan;
	struct dump_locks locks;
	bool ahead;                     /* the leader holds a lock of every table */
	pthread_mutex_t all_tables;     /* held while a pg_dump runs that locks every table: see dump_run */
	pthread_mutex_t saying;         /* for `said` */
	json_t *said;                   /* what pg_dumps that ended well wrote to stderr */
};

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

/*
 * TRUNCATE and a rewriting ALTER TABLE are not MVCC-safe: a table that is rewritten between a snapshot and its pg_dump's lock
 * reads as empty, with exit status 0.  So the locks come first, and then the snapshot; LOCK takes none.  Where the server has
 * not room for both our locks and a pg_dump's, ours are left out, and dump_end looks for such a table instead.
 */
static int
lock_and_snapshot(struct dump *d, struct err *e)
{
	char *unlocked = NULL;

	if (dump_locks(&d->locks, d->leader, e))
		return -1;
	d->ahead = d->locks.fit;
	for (int round = 0; round < LOCK_ROUNDS; round++) {
		enum locked locked = dump_lock_tables(d->leader, d->ahead, e);

		free(unlocked);
		unlocked = NULL;
		if (locked == LOCKED_NOT)
			return -1;
		if (locked == LOCKED_ALL) {
			if (take_snapshot(d, e) || (d->ahead && dump_find_unlocked(&unlocked, d->leader, e)))
				return -1;
			if (unlocked == NULL)
				return 0;
		}
		d->ahead = d->ahead && locked != LOCKED_NO_ROOM;
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
	pthread_mutex_init(&d->all_tables, NULL);
	pthread_mutex_init(&d->saying, NULL);
	d->said = json_array();
	d->leader = conn_open(target, dbname, e);
	if (d->leader == NULL)
		goto failed;
	major = conn_server_version(d->leader) / 10000;
	if (tools->major < major) {
		err_set(e, ERR_FAILED, "pg_dump %s cannot dump a server of version %d", tools->version, major);
		err_hint(e, "install postgresql-client-%d, or name its folder as bin_dir", major);
		goto failed;
	}
	if (settle_session(d, e) || conn_value(&d->encoding, d->leader, "SELECT pg_catalog.getdatabaseencoding()", NULL, e) ||
	    lock_and_snapshot(d, e) ||
	    dump_plan_make(&d->plan, d->leader, options->large_table_bytes, e) || (d->facts = facts_database(d->leader, e)) == NULL)
		goto failed;
	if (!d->ahead)
		log_info("database \"%s\": the server has no room for the locks of %" PRIu64 " relations twice; tables are not locked ahead of pg_dump",
		    dbname, d->locks.relations);
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
	/* "Query was", and before version 15 "query was". */
	if (strstr(words, "uery was: LOCK TABLE") != NULL && strstr(words, "timeout") != NULL) {
		blocker = conn_blocker(d->leader);
		err_set(e, ERR_LOCKED, "%s could not get its lock within %lld ms: %s", name, (long long)d->options.lock_timeout_ms,
		    blocker != NULL ? blocker : "whoever was in the way is gone");
		free(blocker);
	} else if (strstr(words, "out of shared memory") != NULL) {
		/* Others' locks count too, and go: another try is worth it. */
		err_set(e, ERR_LOCKED, "%s: the server has no room for the locks of %" PRIu64 " relations", name, d->locks.relations);
		err_hint(e, "Set max_locks_per_transaction = %u on the server, which takes a restart of it.", d->locks.wanted);
	} else if (strstr(words, "server closed the connection") != NULL || strstr(words, "connection to server") != NULL ||
	    strstr(words, "terminating connection") != NULL || strstr(words, "no connection to the server") != NULL) {
		e->kind = ERR_DATABASE;
	} else if (strstr(words, "snapshot") != NULL && strstr(words, "SET TRANSACTION SNAPSHOT") != NULL) {
		e->kind = ERR_DATABASE;
		err_wrap(e, "the leading connection, which held the snapshot, is gone");
	} else if (strstr(words, "permission denied") != NULL) {
		e->kind = ERR_DENIED;
	} else if (conn_wants_room(words)) {
		e->kind = ERR_SPACE;
	} else if (strstr(words, "invalid memory alloc request size") != NULL || strstr(words, "nlarge string buffer") != NULL) {
		err_hint(e, "A row has more than 1 GB as text, twice the bytes of a bytea: PostgreSQL keeps it and gives it to no COPY. Part the value, or leave "
		    "that table's rows out (source.exclude_table_data) and keep them by other means.");
	}
}

/* Behind "pg_dump: " or "pg_dumpall: ", and "warning: ". */
static const char *
without_prefix(const char *line)
{
	const char *colon = strstr(line, ": ");

	if (strncmp(line, "pg_dump", 7) == 0 && colon != NULL && strcspn(line, " ") == (size_t)(colon - line) + 1)
		line = colon + 2;
	return strncmp(line, "warning: ", 9) == 0 ? line + 9 : line;
}

/* "pg_dump: detail: ...", and the server's own "DETAIL:  ..." belong to the line before. */
static bool
goes_on(const char *line)
{
	static const char *const words[] = { "detail: ", "hint: ", "DETAIL: ", "HINT: ", "CONTEXT: " };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strncmp(line, words[i], strlen(words[i])) == 0)
			return true;
	return false;
}

static void
add_sentence(json_t *to, struct buf *sentence)
{
	char *text = buf_take(sentence);
	json_t *one = json_str(text), *known;
	bool there = false;
	size_t i;

	json_array_foreach(to, i, known)
		there = there || json_equal(known, one);
	if (there)
		json_decref(one);
	else
		json_add(to, one);
	free(text);
}

/* Every pg_dump of a database says the same of it. */
static void
add_words(json_t *to, const char *words)
{
	struct buf sentence = BUF_INIT;

	while (*words != '\0') {
		size_t n = strcspn(words, "\n");
		char *line = mem_strndup(words, n);
		const char *text = without_prefix(line);

		if (!goes_on(text) && sentence.bytes > 0)
			add_sentence(to, &sentence);
		if (text[0] != '\0')
			buf_addf(&sentence, "%s%s", sentence.bytes > 0 ? "; " : "", text);
		free(line);
		words += n + (words[n] == '\n');
	}
	if (sentence.bytes > 0)
		add_sentence(to, &sentence);
}

/* What chooses the stream's content comes from the plan; this is what all streams have in common. */
static const char **
dump_argv(const struct dump *d, size_t i, char *shared[3])
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
	/* The database's own, and not what the role's settings ask for: no byte of it is converted. */
	argv[n++] = shared[2] = mem_printf("--encoding=%s", d->encoding);
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

static int
run_pg_dump(struct dump *d, size_t i, struct sink *out, struct err *e)
{
	const struct dump_stream *s = &d->plan.streams[i];
	const char *what = s->kind == DUMP_TABLE ? s->name + strlen("table ") : s->name;
	char *name = mem_printf("pg_dump of %s", what), *shared[3] = { NULL, NULL, NULL };
	const char **argv = dump_argv(d, i, shared);
	struct childenv *env = childenv_new(&d->target, d->dbname, NULL, e);
	struct child *child = NULL;
	int rc = -1;

	if (env != NULL) {
		/* pg_dump settles dates and floats, and not this: moments read the same wherever the server thinks it is. */
		childenv_set(env, "PGTZ", "UTC");

		struct child_spec spec = { .name = name, .argv = argv, .env = childenv_list(env), .pipe_out = true,
			.batch = true, .prepare = childenv_prepare, .prepare_ctx = env, .prepare_what = d->target.cage != NULL ? CAGE_WHAT : NULL };

		child = child_start(&spec, e);
	}
	if (child != NULL) {
		rc = child_pump(child, out, d->options.idle_timeout_ms, e);
		if (rc != 0)
			judge_words(d, name, child_stderr(child), e);
		pthread_mutex_lock(&d->saying);
		if (rc == 0)
			add_words(d->said, child_stderr(child));
		pthread_mutex_unlock(&d->saying);
	}
	child_free(child);
	childenv_free(env);
	free(argv);
	for (size_t k = 0; k < sizeof(shared) / sizeof(shared[0]); k++)
		free(shared[k]);
	free(name);
	return rc;
}

/*
 * A pg_dump of one table locks that table alone, any other every table of the database.  Of these one runs at a time: with
 * ours that makes two locks a table, and without ours what a plain pg_dump needs.  It costs little, since of the three only
 * `rest` takes long.
 */
int
dump_run(struct dump *d, size_t i, struct sink *out, struct err *e)
{
	bool all = d->plan.streams[i].kind != DUMP_TABLE;
	int rc;

	if (all)
		pthread_mutex_lock(&d->all_tables);
	rc = run_pg_dump(d, i, out, e);
	if (all)
		pthread_mutex_unlock(&d->all_tables);
	return rc;
}

const json_t *
dump_warnings(const struct dump *d)
{
	return d->said;
}

json_t *
dump_waiters(struct dump *d, struct err *e)
{
	static const char sql[] =
	    "SELECT 'pid ' || pid || ' (user ' || coalesce(usename, '?') || ', application \"' || coalesce(application_name, '') || '\") waits '"
	    " || round(extract(epoch FROM clock_timestamp() - coalesce(query_start, xact_start, backend_start))) || ' s: ' || substring(left(query, 200) from '^[^''$]*')"
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
	char *value = NULL, *lost = NULL;

	/* Idle in transaction until now; a statement within it is the proof that the transaction still is. */
	if (conn_value(&value, d->leader, "SELECT 1", NULL, e))
		return err_wrap(e, "the leading connection of the dump was lost");
	free(value);
	if (!conn_in_transaction(d->leader))
		return err_set(e, ERR_DATABASE, "the transaction that held the dump's snapshot has ended");
	/* Locks ahead of the dump leave one way: they do not stop a schema from being renamed. */
	if (dump_find_changed(&lost, d->leader, &d->target, d->dbname, e))
		return -1;
	if (lost == NULL)
		return 0;
	err_set(e, ERR_LOCKED, "table %s was renamed, rewritten or dropped while the dump ran", lost);
	if (!d->ahead)
		err_hint(e, "Set max_locks_per_transaction = %u on the server: then the dump locks its tables first, and such a change waits.",
		    d->locks.wanted);
	free(lost);
	return -1;
}

void
dump_free(struct dump *d)
{
	if (d == NULL)
		return;
	conn_close(d->leader);
	pthread_mutex_destroy(&d->all_tables);
	pthread_mutex_destroy(&d->saying);
	json_decref(d->said);
	dump_plan_free(&d->plan);
	json_decref(d->facts);
	free(d->dbname);
	free(d->encoding);
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
    json_t *warnings, struct sink *out, struct err *e)
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
	/* VALID UNTIL must be read by any server as it was meant; pg_dumpall settles neither. */
	childenv_set(env, "PGTZ", "UTC");
	childenv_set(env, "PGDATESTYLE", "ISO");

	struct child_spec spec = { .name = "pg_dumpall of roles and tablespaces", .argv = argv, .env = childenv_list(env), .pipe_out = true,
		.prepare = childenv_prepare, .prepare_ctx = env, .prepare_what = target->cage != NULL ? CAGE_WHAT : NULL };

	child = child_start(&spec, e);
	if (child != NULL)
		rc = child_pump(child, out, idle_timeout_ms, e);
	if (rc != 0 && child != NULL && e->kind == ERR_FAILED && strstr(child_stderr(child), "connection to server") != NULL)
		e->kind = ERR_DATABASE;
	else if (rc != 0 && child != NULL && e->kind == ERR_FAILED && conn_wants_room(child_stderr(child)))
		e->kind = ERR_SPACE;
	if (rc == 0 && warnings != NULL)
		add_words(warnings, child_stderr(child));
	child_free(child);
	childenv_free(env);
	return rc;
}
