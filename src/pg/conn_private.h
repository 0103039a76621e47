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

/* The type of a column, as an OID of pg_type. */
unsigned conn_column_type(const struct rows *r, size_t column);

PGconn *conn_raw(struct conn *c);

#endif
