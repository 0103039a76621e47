#ifndef HF_OPS_BRING_H
#define HF_OPS_BRING_H

#include "ops/common.h"
#include "pg/archive.h"
#include "pg/restore.h"

/* Brings the streams of one database of a backup into a database: what a restore and a drill have in common. */
struct bring {
	struct repo *repo;
	struct progress *progress;
	const json_t *detail;           /* of the backup's manifest */
	const char *database;           /* in the backup */
	unsigned jobs;
	struct archive_digest *source;  /* NULL, or filled with what the archives hold, read as they pass */
};

/* Row sets (archive.h), where `source` wants them, are kept of the tables in "rest" alone: a large one's rows keep their order. */
int bring_streams(const struct bring *b, struct restore *restore, struct err *e) MUST_USE;

/* Reads once more, and restores nowhere, the streams that hold these tables (quoted names, NULL-terminated), for their row sets.  Adds to
 * `again` whatever these streams hold. */
int bring_again(const struct bring *b, const char *const *tables, struct archive_digest *again, struct err *e) MUST_USE;

/* Whether the list (NULL-terminated, quoted) has the table. */
bool bring_named(const char *const *tables, const char *schema, const char *table);

/* Plain bytes of the streams of a database that are brought into `restore`; NULL: of all. */
uint64_t bring_bytes(const json_t *detail, const char *database, const struct restore *restore);

/* What a selection can name: an array of `schema`, `name` of the tables, views and sequences, as the backup's own schema has them. */
int bring_relations(struct repo *r, const json_t *detail, const char *database, json_t **relations, struct err *e) MUST_USE;

/* The text of the globals (a small stream, read into memory). */
int bring_globals(struct repo *r, const json_t *detail, struct buf *text, struct err *e) MUST_USE;

/* Members of the manifest's facts: of one database, as facts_database and as facts_cluster have it; NULL when missing. */
const json_t *bring_facts(const json_t *detail, const char *database);
const json_t *bring_cluster_facts(const json_t *detail, const char *database);

#endif
