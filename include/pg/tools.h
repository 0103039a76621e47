#ifndef HF_PG_TOOLS_H
#define HF_PG_TOOLS_H

#include <stdbool.h>

#include "base/err.h"

/*
 * PostgreSQL's own programs on this machine.  A pg_dump must be of the server's major or a newer one (R39); of several
 * that fit, the one nearest to the server is taken.  All programs of one `struct tools` lie in one folder and are of one
 * version.  Debian's /usr/bin/pg_dump, a script that chooses for itself, is never taken.
 */
enum {
	TOOLS_DUMP = 1,                 /* pg_dump, pg_dumpall */
	TOOLS_RESTORE = 2,              /* pg_restore */
	TOOLS_SERVER = 4,               /* initdb, postgres */
};

struct tools {
	int major, minor;
	char *version;                  /* as `--version` says it: "15.20 (Debian 15.20-0+deb12u1)" */
	char *dir;
	char *pg_dump, *pg_dumpall, *pg_restore, *initdb, *postgres;    /* paths; NULL where not asked for */
};

#define TOOLS_INIT { .major = 0 }

/*
 * Looks in `bin_dir` alone when it is given, else in PATH and /usr/lib/postgresql/N/bin.  `server_major` 0: the newest
 * there is.  ERR_FAILED names what was wanted and what was found, with a hint.
 */
int tools_find(struct tools *t, unsigned need, const char *bin_dir, int server_major, struct err *e) MUST_USE;
void tools_free(struct tools *t);               /* and empties it */

/*
 * What is known to be unsafe in this minor version of pg_dump, psql or pg_restore (R43, R44, R45), as a phrase with the
 * version that mends it; NULL when nothing is.  `check`, and every backup, restore and drill, say it as a warning
 * and go on: what pg_restore can be made to run there, the dump runs in the same cage by right.
 */
const char *tools_floor_problem(int major, int minor);

/* Whether what these programs write can be restored into a server of that major: a pg_restore of 17 or newer sets
 * transaction_timeout, which no server before 17 knows, and no older pg_restore reads what a pg_dump of 17 or newer wrote. */
bool tools_suit(int tools_major, int server_major);

/* "15.20 (Debian ...)", "17beta1": to numbers; false when it is no version. */
bool tools_parse_version(int *major, int *minor, const char *text);

#endif
