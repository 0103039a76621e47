#ifndef HF_PG_DUMP_LOCKS_H
#define HF_PG_DUMP_LOCKS_H

#include "pg/dump.h"

/* The leader's locks on the tables that pg_dump will read. */
enum locked {
	LOCKED_ALL,
	LOCKED_GONE,            /* a table went away meanwhile; `e` says which */
	LOCKED_NO_ROOM,         /* the server's lock table is full */
	LOCKED_NOT,             /* any other error */
};

/* Opens the leader's transaction, without a snapshot yet, and locks every table in it if `lock` says so. */
enum locked dump_lock_tables(struct conn *leader, bool lock, struct err *e);

/* A table of the snapshot that is not locked: one that came between the list and the snapshot.  NULL when there is none. */
int dump_find_unlocked(char **name, struct conn *leader, struct err *e) MUST_USE;

/* A table of the snapshot whose file is another by now, or gone: TRUNCATE, DROP and what else rewrites a table; or whose name is
 * another, its schema's too: pg_dump finds tables by name, and reads whatever bears it by then.  NULL when there is none. */
int dump_find_changed(char **name, struct conn *leader, const struct pg_target *target, const char *dbname, struct err *e) MUST_USE;

#endif
