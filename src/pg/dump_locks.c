#include "pg/dump_locks.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "pg/conn_private.h"

#define LOCK_BATCH 200

#define OF_USERS " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace" \
	" WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"

/* Every table that pg_dump locks. */
#define LOCKED_TABLES OF_USERS " AND c.relkind IN ('r', 'p')"

/*
 * A server is sure of max_locks_per_transaction * (max_connections + max_prepared_transactions) locks; it holds some more, which
 * are left to others, as a tenth is.  Beside its tables a pg_dump locks the sequences that it reads and what views name.  Of one
 * relation two sessions' locks have room as one has.
 */
int
dump_locks(struct dump_locks *l, struct conn *c, struct err *e)
{
	struct rows *r = conn_query(c, "SELECT count(*), current_setting('max_locks_per_transaction'), current_setting('max_connections')::bigint"
	    " + current_setting('max_prepared_transactions')::bigint" OF_USERS " AND c.relkind IN ('r', 'p', 'S', 'v', 'm', 'f')", NULL, e);
	uint64_t sessions, wanted;

	if (r == NULL)
		return err_wrap(e, "count what a dump locks");
	*l = (struct dump_locks){ .relations = (uint64_t)conn_cell_int(r, 0, 0) };
	sessions = (uint64_t)conn_cell_int(r, 0, 2);
	l->room = (uint64_t)conn_cell_int(r, 0, 1) * sessions;
	l->fit = l->relations <= l->room - l->room / 10;
	/* A power of two reads like what it is, a round number with some room to grow. */
	for (wanted = 64; wanted < ((uint64_t)1 << 30) && wanted * sessions / 10 * 9 < l->relations; wanted *= 2)
		;
	l->wanted = (unsigned)wanted;
	conn_rows_free(r);
	return 0;
}

static enum locked
judge_state(const char *state)
{
	static const char *const gone[] = { "42P01", "3F000", "42809" };        /* undefined_table, invalid_schema_name, wrong_object_type */

	for (size_t i = 0; i < sizeof(gone) / sizeof(gone[0]); i++)
		if (strcmp(state, gone[i]) == 0)
			return LOCKED_GONE;
	return strcmp(state, "53200") == 0 ? LOCKED_NO_ROOM : LOCKED_NOT;
}

enum locked
dump_lock_tables(struct conn *leader, bool lock, struct err *e)
{
	struct rows *r = lock ? conn_query(leader, "SELECT format('%I.%I', n.nspname, c.relname)" LOCKED_TABLES " ORDER BY c.oid", NULL, e) : NULL;
	struct buf sql = BUF_INIT;
	enum locked locked = LOCKED_NOT;

	if ((lock && r == NULL) || conn_exec(leader, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", e))
		goto out;
	for (size_t i = 0; lock && i < conn_rows(r); i++) {
		bool last = i + 1 == conn_rows(r) || (i + 1) % LOCK_BATCH == 0;

		buf_addf(&sql, "%s ONLY %s", sql.bytes == 0 ? "LOCK TABLE" : ",", conn_cell(r, i, 0));
		if (!last)
			continue;
		buf_addstr(&sql, " IN ACCESS SHARE MODE");
		if (conn_exec(leader, (const char *)sql.data, e)) {
			locked = judge_state(conn_sqlstate(leader));
			err_wrap(e, "lock the tables");
			goto out;
		}
		buf_clear(&sql);
	}
	locked = LOCKED_ALL;
out:
	buf_free(&sql);
	conn_rows_free(r);
	return locked;
}

int
dump_find_unlocked(char **name, struct conn *leader, struct err *e)
{
	return conn_value(name, leader, "SELECT format('%I.%I', n.nspname, c.relname)" LOCKED_TABLES
	    " AND c.oid NOT IN (SELECT relation FROM pg_locks WHERE locktype = 'relation' AND pid = pg_backend_pid() AND granted"
	    " AND mode = 'AccessShareLock' AND relation IS NOT NULL) LIMIT 1", NULL, e);
}

int
dump_find_changed(char **name, struct conn *leader, const struct pg_target *target, const char *dbname, struct err *e)
{
	struct rows *r = conn_query(leader, "SELECT array_agg(c.oid), array_agg(c.relfilenode), array_agg(format('%I.%I', n.nspname, c.relname))"
	    LOCKED_TABLES, NULL, e);
	struct conn *now = NULL;
	int rc = -1;

	if (r != NULL)
		now = conn_open(target, dbname, e);
	if (now != NULL) {
		const char *const params[] = { conn_cell(r, 0, 0), conn_cell(r, 0, 1), conn_cell(r, 0, 2), NULL };

		/* The catalog as it is now, which only a session without the snapshot sees. */
		rc = params[0] == NULL ? 0 : conn_value(name, now, "SELECT s.name FROM unnest($1::oid[], $2::oid[], $3::text[]) s(oid, file, name)"
		    " LEFT JOIN pg_class c ON c.oid = s.oid LEFT JOIN pg_namespace n ON n.oid = c.relnamespace"
		    " WHERE c.relfilenode IS DISTINCT FROM s.file OR format('%I.%I', n.nspname, c.relname) IS DISTINCT FROM s.name LIMIT 1",
		    params, e);
	}
	conn_close(now);
	conn_rows_free(r);
	return rc == 0 ? 0 : err_wrap(e, "look for tables that were changed meanwhile");
}
