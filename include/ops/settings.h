#ifndef HF_OPS_SETTINGS_H
#define HF_OPS_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pg/target.h"
#include "store/store.h"

/*
 * All that an operator can set, as the operations want it.  The agent fills it from the configuration file (which knows
 * file names, lines and defaults); the operations only read it.  Strings are owned by whoever filled it and live as long.
 * Lists end with a NULL entry; a NULL list is empty.
 */
struct check_sql {                      /* a statement that must give the expected single value in the restored database */
	const char *name;
	const char *database;           /* NULL: in each */
	const char *sql;
	const char *expect;             /* text of the value; NULL: any non-null, non-false value */
};

struct settings {
	const char *name;               /* of the source in reports ("langfuse") */
	struct store_config store;
	const char *key_file;           /* this machine's key: agent or recovery holder */
	const char *passphrase_file;    /* instead of key_file: opens a passphrase holder */
	const char *cache_dir;          /* ["/var/cache/holdfast"; NULL: no cache] */

	struct pg_target source;
	const char *const *databases;   /* NULL: every database that accepts connections, templates excepted */
	const char *const *exclude_table_data;  /* pg_dump patterns; named in every report */

	struct {
		unsigned jobs;                  /* pg_dump processes at a time [2] */
		unsigned workers;               /* threads that hash, compress and seal [processors] */
		int level;                      /* zstd, 1 to 19 [3] */
		uint64_t large_table_bytes;     /* a table at least this large gets a stream of its own [64 MiB] */
		int64_t lock_timeout_ms;        /* for ACCESS SHARE on all tables (R38) [30 s] */
		unsigned lock_attempts;         /* whole tries before a lock in the way fails the backup [3] */
		int64_t idle_timeout_ms;        /* silence of a pg_dump [15 min] */
		int64_t deadline_ms;            /* the whole run (R12) [12 h] */
		unsigned shrink_percent;        /* a backup that lost more of its rows or bytes than this is "suspect" (R6) [50] */
	} backup;

	struct {
		const char *dir;                /* the throw-away cluster lives in a folder of its own below this ["/var/tmp"] */
		const char *user;               /* unprivileged user that runs it when we are root; NULL: "nobody", and for a restore "postgres" */
		const char *bin_dir;            /* server binaries; NULL: the usual folders by major */
		bool use_server;                /* restore into `server` instead of a throw-away cluster */
		struct pg_target server;        /* must not be the source */
		unsigned jobs;                  /* tables, and later indexes, restored at a time [2] */
		int64_t deadline_ms;            /* the whole drill [12 h] */
		uint64_t min_free_bytes;        /* do not start below this and what will be restored, and stop below this [1 GiB] */
		const struct check_sql *checks; /* ends with a NULL name; NULL: none */
		bool amcheck;                   /* [true] */
	} drill;

	struct {
		unsigned last, daily, weekly, monthly, yearly;  /* [7, 7, 5, 12, 0] */
		int64_t grace_ms;               /* between condemning a pack and deleting it [3 days] */
		unsigned min_proven;            /* never fewer proven backups than this (R5) [1] */
	} keep;
};

#endif
