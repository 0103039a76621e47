#ifndef HF_PG_RESTORE_H
#define HF_PG_RESTORE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/json.h"
#include "base/sink.h"
#include "pg/archive.h"
#include "pg/cage.h"
#include "pg/dump.h"
#include "pg/target.h"
#include "pg/tools.h"

/*
 * The streams of one dumped database (dump.h) into one empty database.  The order:
 *
 *	restore_create or restore_check_empty
 *	restore_new
 *	the pre-data stream, alone
 *	tables and the rest, as many at once as there are threads
 *	the post-data stream, alone: indexes, constraints, triggers, `jobs` at a time
 *	restore_end, which gives the database its owner, rights and settings
 *	restore_free, always
 *
 * A large table's rows go in by a COPY of ours, in one transaction that empties the table first: all of them or none, in the
 * order that they had.  Everything else is restored by pg_restore in the cage, which sees neither our keys nor our passwords.
 * Both are given what is authentic by then (R44).  Code that the source's users wrote is in pre-data, rest and post-data; a
 * COPY can make the server call it too (types' input functions, CHECK constraints), and what that may do is a matter of where
 * the server runs: a scratch one in the cage.
 *
 * Any error ends a stream (R10); what was restored so far stays for whoever made the database to drop.
 */
struct restore_options {
	const struct pg_target *target; /* borrowed until freed, as all here */
	const char *database;           /* to restore into */
	const struct tools *tools;
	struct cage *cage;              /* made with `network` when the target is reached by TCP */
	unsigned jobs;                  /* of the post-data */
	uint64_t sort_bytes;            /* maintenance_work_mem of each session; 0: the server's own */
	const char *const *tables;      /* "schema.table", where * and ? match as in a shell; NULL: all */
	const char *const *schemas;     /* likewise; a table that either list matches is restored; both NULL: all */
	bool no_owner;                  /* everything belongs to the user who restores */
	bool no_tablespaces;            /* everything into the database's own */
};

/*
 * Makes `name` as the source's database was (`facts`: its object in facts_cluster's `databases`): encoding, locale, provider.  ERR_EXISTS
 * when the name is taken (R37); ERR_NOT_FOUND when this machine lacks the locale.
 */
int restore_create(const struct pg_target *target, const char *name, const json_t *facts, struct err *e) MUST_USE;

/* R37: ERR_REFUSED, with an example, when the database holds anything that a user made. */
int restore_check_empty(const struct pg_target *target, const char *name, struct err *e) MUST_USE;

struct restore;

struct restore *restore_new(const struct restore_options *o, struct err *e) MUST_USE;
void restore_free(struct restore *r);                   /* NULL is nothing */

/*
 * A sink for one stream; its finish returns 0 when all of it is in the database.  Start, fill and finish it in one thread.  With
 * a selection pre-data and post-data make all objects (but foreign keys to tables whose rows are not there, and what belongs to the whole
 * database: publications, subscriptions, event triggers, default privileges), and restore_end drops the tables that were not selected
 * unless something that was needs them.  Borrows `r`, and `digest`, which gets what archive.h keeps of the stream; NULL: nobody wants it.
 */
struct sink *restore_stream(struct restore *r, enum dump_kind kind, const char *name, struct archive_digest *digest,
    struct err *e) MUST_USE;

/* Whether a selection names this table: by a pattern of `tables` for "schema.table", or one of `schemas`; either may be NULL.  Names
 * here and below are text (json_name), as the manifest and `show` have them. */
bool restore_selected(const char *const *tables, const char *const *schemas, const char *schema, const char *table);

/* Whether a table of its own stream was selected: if not, its stream need not be fetched.  Once pre-data is there it is known that
 * a table is a partition of one that was. */
bool restore_wants(const struct restore *r, const char *schema, const char *table);

/*
 * Owner, rights, settings, comment and connection limit of the database (R32), then one commit that waits for the disk, which makes
 * durable everything before it.  With a selection, before that, the end of what was not selected.  What cannot be set (a role that is
 * missing), and what a selected table has lost (a foreign key), is told in `notes`.
 */
int restore_end(struct restore *r, const json_t *facts, json_t *notes, struct err *e) MUST_USE;

#endif
