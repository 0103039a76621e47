#ifndef HF_PG_CONN_H
#define HF_PG_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "pg/target.h"

/*
 * A connection to one database.  Nothing here waits without end: connecting has a deadline, a dead peer is found by TCP
 * keepalive and TCP_USER_TIMEOUT (R12), and a request to stop ends any wait at once with ERR_STOPPED.  A connection is
 * used by one thread at a time.  It speaks in the database's own encoding, as pg_dump does, so that a name is the same
 * bytes here and there.
 *
 * Errors: ERR_DATABASE unreachable, or the connection was lost; ERR_DENIED password, pg_hba or a missing privilege;
 * ERR_LOCKED a lock could not be had in time (the message names who holds it); ERR_NOT_FOUND no such database;
 * ERR_FAILED everything else the server says, with its SQLSTATE.  The server's own hint is passed on.
 */
struct conn;

/* `dbname` NULL is the target's maintenance database. */
struct conn *conn_open(const struct pg_target *target, const char *dbname, struct err *e) MUST_USE;
void conn_close(struct conn *c);                /* NULL is nothing; a transaction that is open is rolled back */

/* Takes every PG* variable out of our environment, since libpq would obey it (R49).  conn_open does it the first time; a
 * program with threads calls it once before they start. */
void conn_forget_environment(void);

int conn_server_version(const struct conn *c);  /* as server_version_num: 150020 */
int conn_backend_pid(const struct conn *c);
const char *conn_dbname(const struct conn *c);
bool conn_in_transaction(const struct conn *c); /* open and not failed, by what the server said last */

/* Runs one or more statements without parameters; results are thrown away. */
int conn_exec(struct conn *c, const char *sql, struct err *e) MUST_USE;

/* A whole result, in memory, as text.  For catalogs, not for data. */
struct rows;

/* One statement; `params` are $1, $2 ... as text and end with NULL (NULL itself: none). */
struct rows *conn_query(struct conn *c, const char *sql, const char *const *params, struct err *e) MUST_USE;
size_t conn_rows(const struct rows *r);
size_t conn_columns(const struct rows *r);
const char *conn_column_name(const struct rows *r, size_t column);
const char *conn_cell(const struct rows *r, size_t row, size_t column);         /* NULL for SQL's null; valid until freed */
int64_t conn_cell_int(const struct rows *r, size_t row, size_t column);         /* 0 for null */
bool conn_cell_bool(const struct rows *r, size_t row, size_t column);
void conn_rows_free(struct rows *r);            /* NULL is nothing */

/* The first column of the first row, owned by the caller; NULL for SQL's null and for no row at all. */
int conn_value(char **value, struct conn *c, const char *sql, const char *const *params, struct err *e) MUST_USE;

#endif
