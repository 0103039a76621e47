#ifndef HF_PG_ARCHIVE_H
#define HF_PG_ARCHIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/multiset.h"
#include "base/sink.h"

/*
 * Follows an archive of pg_dump's custom format as it passes, and keeps what two dumps can be compared by: a digest for
 * each table's data, large object and sequence, and the text of every other entry.  The bytes go to `next` unchanged.
 * Knows formats 1.14 to 1.16 (pg_dump 12 to 18), uncompressed.  Memory grows with the table of contents, never with the
 * data, but for one line of a table whose columns are put in another order.
 */
enum archive_type { ARCHIVE_TABLE, ARCHIVE_BLOB, ARCHIVE_SEQUENCE };

struct archive_entry {
	enum archive_type type;
	int32_t id;                     /* its number in the archive, as in a list of pg_restore; 0 for a large object */
	char *name;                     /* quoted as in quote.h: "public.traces"; the OID of a large object */
	char **columns;                 /* of a table, unquoted, in the archive's order; NULL for others */
	size_t n_columns;
	uint64_t rows;                  /* of a table; else 0 */
	uint64_t bytes;                 /* of COPY text without its end mark, of a large object, of the setval statement */
	uint8_t sha256[SHA256_BYTES];   /* of those bytes, the fields in `expect`'s order where it differs */
	bool reordered;                 /* hashed in another column order than the archive's */
	bool has_row_set;               /* else row_set means nothing */
	uint8_t row_set[MULTISET_BYTES];        /* of a table's rows whatever their order, where `row_sets` asks for it */
};

/*
 * One entry of the table of contents that is no data: schema text.  Absent strings are "".  `depends` has what pg_dump left of the
 * numbers it depends on: entries of the same archive, so that an index of post-data does not tell its table.
 */
struct archive_item {
	int32_t id;                     /* as above; 0 for a large object that shares its entry with others */
	int32_t *depends;
	size_t n_depends;
	char *desc, *namespace, *tag, *owner, *tablespace, *tableam, *defn;
};

struct archive_digest {
	int format_minor;               /* 14 for format 1.14 */
	char *server_version, *dump_version;    /* as the archive's header says */
	struct archive_entry *entries;
	size_t n_entries;
	struct archive_item *items;     /* in the archive's order, which is no matter of content */
	size_t n_items;
	size_t room_entries, room_items;
	bool row_sets;                  /* set before reading: also keep row_set; costs about as much as the SHA-256 */
	bool counts_only;               /* set before reading: count rows and bytes of tables, and hash neither */
};

#define ARCHIVE_DIGEST_INIT { .format_minor = 0 }

void archive_digest_free(struct archive_digest *d);             /* and empties it */

/* Moves all of `from` behind what `to` has: one digest of all streams of a database.  The few items that pg_dump writes into every
 * archive (ENCODING, DATABASE, ...) are kept once.  `from` is empty afterwards. */
void archive_digest_merge(struct archive_digest *to, struct archive_digest *from);

/* "table", "blob", "sequence". */
const char *archive_type_name(enum archive_type type);

/*
 * The column order of tables at the source, by quoted name.  A table of the archive that has the same columns in another
 * order is hashed in this order, so that its digest equals the source's; one with other columns is hashed as it is.
 */
struct archive_columns;
struct archive_columns *archive_columns_new(void);
void archive_columns_add(struct archive_columns *c, const char *name, const char *const *columns, size_t n);   /* copied */
void archive_columns_free(struct archive_columns *c);

/*
 * Fills `out` (borrowed, empty at first), which is complete when finish returned 0.  finish fails with ERR_CORRUPT when
 * the archive is not whole: every entry of the table of contents that has data was seen once and ended as it must, and
 * nothing came after (R4).  `expect` (borrowed) may be NULL.  Takes `next`.
 */
struct sink *archive_reader_new(struct archive_digest *out, const struct archive_columns *expect, struct sink *next);

/*
 * For whoever wants the rows themselves.  By `begin` the table of contents is in `out`, and `entry` (for the call alone) has
 * name and columns; then `rows` gets the table's COPY text, without its end mark, in pieces that end anywhere.  What a tap has
 * been given may turn out to be part of an archive that is not whole: only finish tells.  Set before the first byte; copied.
 */
struct archive_tap {
	int (*begin)(void *ctx, const struct archive_entry *entry, struct err *e);
	int (*rows)(void *ctx, const void *data, size_t bytes, struct err *e);
	void *ctx;
};

void archive_reader_tap(struct sink *reader, const struct archive_tap *tap);

#endif
