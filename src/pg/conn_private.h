#ifndef HF_PG_CONN_PRIVATE_H
#define HF_PG_CONN_PRIVATE_H

#include <libpq-fe.h>

#include "pg/conn.h"

/* What a target means to libpq once our defaults are filled in: see target.h. */
struct conn_ssl {
	const char *mode, *rootcert;            /* NULL: libpq's own */
	bool implied;                           /* `mode` is our choice, not the operator's */
};
struct conn_ssl conn_ssl_of(const struct pg_target *target);

/* A name that no file can have: libpq finds nothing there, and does not warn as it does of /dev/null. */
#define CONN_NO_FILE "/dev/null/none"

/* Who keeps ACCESS SHARE from being had in this database now, as a phrase; NULL when nobody is seen.  Opens a connection of its own. */
char *conn_blocker(const struct conn *c);

/* SQLSTATE of the last statement that failed; "" when the connection did. */
const char *conn_sqlstate(const struct conn *c);

/* Whether words of pg_dump, pg_dumpall or pg_restore tell of a want of disk, memory or connections, as class 53 of SQLSTATE does. */
bool conn_wants_room(const char *words);

/* Where one failed statement of several is no more than a note: whether this failure is one of them all, so that it must be told as what it
 * is.  Want of room, too: what could not be done for it says nothing about what was to be done (R10). */
bool conn_is_over(const struct err *e);

/* The type of a column, as an OID of pg_type. */
unsigned conn_column_type(const struct rows *r, size_t column);

PGconn *conn_raw(struct conn *c);

/* Waits until libpq's socket is ready for `events` of poll; `until` 0 is no deadline, else one of clock_mono_ms. */
int conn_wait_socket(PGconn *pg, short events, int64_t until, struct err *e);

/* Flushes what was sent and waits until a result can be taken without waiting. */
int conn_wait_result(struct conn *c, struct err *e);

/* The last result of what was sent (PQclear it); the first failed one wins.  After ERR_STOPPED the connection is good for
 * conn_close only. */
int conn_collect(PGresult **last, struct conn *c, struct err *e);

/* What the server, or libpq (`result` NULL), says of a failure.  Returns -1. */
int conn_error(struct conn *c, PGresult *result, struct err *e);

/*
 * Rows into one table: begin with a COPY ... FROM STDIN, put its text in pieces of any kind, and end.  Waiting for the server
 * never stands in the way of a stop.  libpq shows what the server says only at the end: a row that it refuses is an error of
 * end, and all rows behind it are thrown away there.  After a failure, or without end, only conn_close is allowed: it takes
 * the rows back.
 */
int conn_copy_begin(struct conn *c, const char *sql, struct err *e) MUST_USE;
int conn_copy_put(struct conn *c, const void *data, size_t bytes, struct err *e) MUST_USE;
int conn_copy_end(struct conn *c, uint64_t *rows, struct err *e) MUST_USE;     /* `rows`: as the server counted them */

#endif
