#include <poll.h>
#include <stdlib.h>

#include "base/stop.h"
#include "pg/conn_private.h"

#define PIECE ((size_t)1 << 20)         /* as much as libpq is given at once */

int
conn_copy_begin(struct conn *c, const char *sql, struct err *e)
{
	PGresult *result;
	int rc = 0;

	/* Else PQputCopyData waits itself, where no stop could reach it. */
	if (PQsetnonblocking(conn_raw(c), 1) != 0 || PQsendQuery(conn_raw(c), sql) == 0)
		return conn_error(c, NULL, e);
	if (conn_wait_result(c, e))
		return -1;
	result = PQgetResult(conn_raw(c));
	if (PQresultStatus(result) != PGRES_COPY_IN)
		rc = conn_error(c, result, e);
	PQclear(result);
	return rc;
}

/* Until all that libpq holds has gone to the server. */
static int
flush(struct conn *c, struct err *e)
{
	PGconn *pg = conn_raw(c);

	for (;;) {
		int left = PQflush(pg);

		/* libpq keeps silent about a write that failed, in case the server said why before it went. */
		if (left < 0 || PQstatus(pg) == CONNECTION_BAD)
			return conn_error(c, NULL, e);
		if (left == 0)
			return 0;
		if (conn_wait_socket(pg, POLLIN | POLLOUT, 0, e))
			return -1;
		if (PQconsumeInput(pg) == 0)
			return conn_error(c, NULL, e);
	}
}

int
conn_copy_put(struct conn *c, const void *data, size_t bytes, struct err *e)
{
	const char *p = data;

	while (bytes > 0) {
		size_t n = bytes < PIECE ? bytes : PIECE;
		int taken;

		/* One piece is on its way to the server while the next is made, and never more: memory stays bounded. */
		if (stop_check(e) || flush(c, e))
			return -1;
		taken = PQputCopyData(conn_raw(c), p, (int)n);
		if (taken < 0)
			return conn_error(c, NULL, e);
		if (taken == 0)
			continue;
		p += n;
		bytes -= n;
	}
	return 0;
}

int
conn_copy_end(struct conn *c, uint64_t *rows, struct err *e)
{
	PGresult *result = NULL;
	int sent;

	if (flush(c, e))
		return -1;
	while ((sent = PQputCopyEnd(conn_raw(c), NULL)) == 0)
		if (flush(c, e))
			return -1;
	if (sent < 0)
		return conn_error(c, NULL, e);
	if (conn_collect(&result, c, e))
		return -1;
	*rows = strtoull(PQcmdTuples(result), NULL, 10);
	PQclear(result);
	return PQsetnonblocking(conn_raw(c), 0) == 0 ? 0 : conn_error(c, NULL, e);
}
