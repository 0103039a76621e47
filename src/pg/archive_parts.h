#ifndef HF_PG_ARCHIVE_PARTS_H
#define HF_PG_ARCHIVE_PARTS_H

#include "base/bytes.h"
#include "base/err.h"
#include "pg/archive.h"

/*
 * What the reader of an archive is put together from (archive.c has the format, archive_rows.c the data of one entry,
 * archive_digest.c what is kept).
 */

/* The columns of "COPY a.b (x, \"y z\") FROM stdin;", unquoted; false when the statement is no such one. */
bool archive_copy_columns(char ***columns, size_t *n, const char *statement);

/* The expected order of this table's columns, or NULL where none is known. */
const char *const *archive_columns_find(const struct archive_columns *c, const char *name, size_t *n);

struct archive_entry *archive_digest_entry(struct archive_digest *d, enum archive_type type);   /* a new one, empty */
struct archive_item *archive_digest_item(struct archive_digest *d);

/*
 * Hashes the data of one entry.  It comes in pieces of a row or less, and is gathered so that hash and memchr get long runs.  The
 * end mark of COPY is held back: what is hashed is what COPY TO STDOUT gives.
 */
struct archive_rows;
struct archive_rows *archive_rows_new(void);
void archive_rows_free(struct archive_rows *r);

struct archive_rows_plan {              /* what it points to is borrowed until the end */
	bool is_copy;
	const size_t *order;            /* field i of a hashed line is field order[i] of the archive's; NULL: as it is */
	size_t n_columns;
	bool as_set;                    /* also hash the rows as a set */
	bool counts_only;               /* hash nothing; no `order` then */
	const struct archive_tap *tap;  /* gets the rows as the archive has them; NULL: nobody does */
};

void archive_rows_begin(struct archive_rows *r, const struct archive_rows_plan *plan);
int archive_rows_add(struct archive_rows *r, const void *data, size_t bytes, struct err *e);

/* Fills rows, bytes and digest.  ERR_CORRUPT when COPY's end mark is missing. */
int archive_rows_end(struct archive_rows *r, struct archive_entry *entry, struct err *e);

#endif
