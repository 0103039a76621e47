#include "pg/scratch_left.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "base/log.h"
#include "pg/quote.h"

#define KEY "('x' || $1)::bit(64)::bigint"

/* Without FORCE: a database that somebody is connected to belongs to a drill that locks elsewhere, in another maintenance database. */
static void
drop(struct conn *c, const char *name)
{
	struct buf sql = BUF_INIT;
	struct err e = ERR_INIT;

	buf_addstr(&sql, "DROP DATABASE IF EXISTS ");
	quote_ident(&sql, name);
	if (conn_exec(c, (char *)sql.data, &e) == 0) {
		log_info("database \"%s\", which a drill that was killed left on the named server, was dropped", name);
	} else {
		err_wrap(&e, "database \"%s\" of an earlier drill stays on the named server", name);
		log_err(LOG_WARNING, &e);
	}
	buf_free(&sql);
}

static int
drop_if_dead(struct conn *c, const char *name, const char *id, struct err *e)
{
	const char *const params[] = { id, NULL };
	char *free_now = NULL, *ignored = NULL;
	int rc = conn_value(&free_now, c, "SELECT pg_catalog.pg_try_advisory_lock(" KEY ")", params, e);

	if (rc == 0 && free_now != NULL && free_now[0] == 't') {
		drop(c, name);
		rc = conn_value(&ignored, c, "SELECT pg_catalog.pg_advisory_unlock(" KEY ")", params, e);
	}
	free(free_now);
	free(ignored);
	return rc;
}

int
scratch_left_begin(struct conn *guard, const char *id, struct err *e)
{
	static const char left[] = "SELECT datname, substr(datname, length('" SCRATCH_LEFT_PREFIX "') + 1, 16) FROM pg_catalog.pg_database"
	    " WHERE datname ~ '^" SCRATCH_LEFT_PREFIX "[0-9a-f]{16}(_[0-9]+)?$'";
	const char *const params[] = { id, NULL };
	char *ignored = NULL;
	struct rows *rows;
	int rc;

	if (conn_value(&ignored, guard, "SELECT pg_catalog.pg_advisory_lock(" KEY ")", params, e))
		return -1;
	free(ignored);
	rows = conn_query(guard, left, NULL, e);
	rc = rows == NULL ? -1 : 0;
	for (size_t i = 0; rc == 0 && i < conn_rows(rows); i++)
		rc = drop_if_dead(guard, conn_cell(rows, i, 0), conn_cell(rows, i, 1), e);
	conn_rows_free(rows);
	return rc;
}
