#ifndef HF_SRC_PG_RESTORE_PARTS_H
#define HF_SRC_PG_RESTORE_PARTS_H

#include <pthread.h>

#include "pg/conn.h"
#include "pg/restore.h"

struct restore {
	struct restore_options o;
	char *options;                  /* PGOPTIONS */
	char *conninfo;                 /* "dbname='...'" for -d */
	json_t *found;                  /* of a selection, once pre-data is there: the tables that are restored */
	json_t *left_out;               /* sentences: what of these was not */
};

/* The sink for the stream of one table; `digest` as in restore_stream. */
struct sink *restore_copy_new(struct restore *r, const char *name, struct archive_digest *digest, struct err *e) MUST_USE;

bool restore_selects(const struct restore *r);          /* whether there is a selection */

/* Finds the tables that were selected; after pre-data. */
int restore_find(struct restore *r, struct err *e);

/* Drops what was not selected, and notes what the rest lacks; after post-data. */
int restore_prune(struct restore *r, json_t *notes, struct err *e);

/*
 * The list for pg_restore -L: of `listing` (what pg_restore -l says of `archive`) the lines of what is restored.  `post` tells the
 * two kinds of archive apart.  Owned by the caller.
 */
char *restore_pick(struct restore *r, const char *listing, const char *archive, bool post, struct err *e);

#endif
