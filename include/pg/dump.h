#ifndef HF_PG_DUMP_H
#define HF_PG_DUMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/json.h"
#include "base/sink.h"
#include "pg/conn.h"
#include "pg/tools.h"

/*
 * A logical dump of one database, as several streams of one moment.
 *
 * dump_begin opens the leading connection, which locks every table that pg_dump will read (ACCESS SHARE), *then* takes and
 * exports its snapshot, and holds both until dump_free: a table that is truncated or rewritten in between cannot come out
 * empty.  Where the server has no room for so many locks (struct dump_locks) they are left out, and dump_end looks for such a
 * table instead: where one plain pg_dump works, so does this.  dump_run runs one stream's pg_dump under that snapshot; several threads may run different streams at once.
 * dump_end asks the leader whether it held to the end: nothing may be committed before it returned 0.
 *
 * Together the streams are what one plain pg_dump would write, each entry in exactly one of them: `pre-data`, one for each
 * large table, `rest` for all other data (tables, sequences, large objects), `post-data`.  Each is a whole archive of
 * pg_dump's custom format, uncompressed, that pg_restore reads by itself.
 *
 * Errors as in conn.h; ERR_LOCKED means that another try may well succeed (R38).
 */
struct dump_options {
	const char *const *exclude_table_data;  /* pg_dump patterns, NULL-terminated; NULL: none */
	uint64_t large_table_bytes;             /* a table at least this large has a stream of its own; 0: none has */
	int64_t lock_timeout_ms;                /* for the leader's locks, and again for each pg_dump's; 0: no limit */
	int64_t idle_timeout_ms;                /* a pg_dump silent for so long is killed; 0: no limit */
};

enum dump_kind { DUMP_PRE_DATA, DUMP_TABLE, DUMP_REST, DUMP_POST_DATA };

struct dump_stream {
	char *name;                     /* "pre-data", "table public.traces", "rest", "post-data": unique in this dump */
	enum dump_kind kind;
	uint64_t estimated_bytes;       /* size in the database; 0 where nobody knows */
	char *schema, *table;           /* of a DUMP_TABLE, unquoted */
};

struct dump;

/* What the locks of a dump need of a server's lock table, and what that is sure to hold. */
struct dump_locks {
	uint64_t relations;             /* that one pg_dump of the whole database may lock */
	uint64_t room;                  /* locks of all sessions together */
	bool fit;                       /* so that the leader locks too */
	unsigned wanted;                /* the max_locks_per_transaction with which they fit */
};

int dump_locks(struct dump_locks *l, struct conn *c, struct err *e) MUST_USE;

struct dump *dump_begin(const struct pg_target *target, const char *dbname, const struct tools *tools,
    const struct dump_options *options, struct err *e) MUST_USE;

/* The plan, largest first, `pre-data` before all (a restore wants it first) and `post-data` last.  Valid until freed. */
const struct dump_stream *dump_streams(const struct dump *d, size_t *count);

const char *dump_lsn(const struct dump *d);             /* WAL position of the snapshot: "0/1A2B3C8" */
int64_t dump_time_us(const struct dump *d);             /* the server's clock at the snapshot */
json_t *dump_facts(const struct dump *d);               /* facts_database in the snapshot; borrowed */

/* Runs stream `i` into `out` (borrowed, not finished: the caller finishes it, as its commit).  0 only when pg_dump ended
 * with status 0 after its last byte (R4). */
int dump_run(struct dump *d, size_t i, struct sink *out, struct err *e) MUST_USE;

/* Sessions that wait behind the leader's locks now, as sentences ("pid 4711 (app "prisma") waits 12 s: ALTER TABLE ..."), for
 * the report and the log (R38).  An array of strings, empty when there are none. */
json_t *dump_waiters(struct dump *d, struct err *e) MUST_USE;

/* What the pg_dumps that ended well had to say all the same, as sentences: what they left out because our role may not dump it, and
 * whatever else they found worth a warning.  Each once; borrowed.  Ask when none is running. */
const json_t *dump_warnings(const struct dump *d);

/* Whether the leader still holds snapshot and locks: 0, or the dump is worth nothing: ERR_DATABASE, or ERR_LOCKED with the name of
 * a table that was rewritten or dropped where none could be locked first. */
int dump_end(struct dump *d, struct err *e) MUST_USE;
void dump_free(struct dump *d);                         /* lets go of snapshot and locks; NULL is nothing */

/*
 * Roles, memberships, tablespaces and settings by role: pg_dumpall --globals-only, plain text, into `out` (borrowed, not finished).
 * *without_passwords tells that our role may not read pg_authid, so that the roles came without their passwords: a
 * warning of the backup (R32).  What pg_dumpall says beside success is added to `warnings` (an array; NULL: nobody asks).
 */
int dump_globals(const struct pg_target *target, const struct tools *tools, int64_t idle_timeout_ms, bool *without_passwords,
    json_t *warnings, struct sink *out, struct err *e) MUST_USE;

#endif
