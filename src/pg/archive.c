#include "pg/archive.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "pg/archive_parts.h"
#include "pg/quote.h"

/*
 * The format, as pg_backup_archiver.c and pg_backup_custom.c of PostgreSQL write it:
 *
 *	"PGDMP", version (3 bytes), size of an integer, size of an offset, format (1: custom)
 *	compression, when it was made (7 integers), database, version of server, version of pg_dump
 *	number of entries, then each entry's fields (see `steps`)
 *	for each entry that has data, in any order: a block
 *
 * An integer is a sign byte and then its bytes, the low one first.  A string is its length and its bytes; length -1 is no
 * string.  A block is a type (1: data, 3: large objects), its entry's number, and chunks, each with its length, up to one of length 0; for
 * large objects an OID and chunks, up to an OID of 0.
 */
#define INT_BYTES 4
#define STRING_LIMIT (1 << 30)          /* no text in PostgreSQL is longer; memory is taken only as bytes arrive */
#define BLOCK_DATA 1
#define BLOCK_BLOBS 3

/* An entry of the table of contents that a data block belongs to. */
struct pending {
	int32_t id;
	bool is_blobs, seen;
	size_t entry;                   /* in the digest */
	size_t *order;                  /* of its columns; NULL as they are */
};

struct reader {
	struct sink sink;
	struct archive_digest *out;
	const struct archive_columns *expect;

	size_t step;                    /* what comes next */
	uint8_t small[16];              /* a number, or the length of a string, as far as it is here */
	size_t n_small;
	struct buf text;                /* a string, as far as it is here */
	size_t text_left;
	bool in_text;
	uint8_t offset_bytes;

	int64_t ignored, level, count, id, has_data, oid, chunk;
	char *server_version, *dump_version;
	struct {
		char *tag, *desc, *defn, *copy, *namespace, *tablespace, *tableam, *owner, *dependency;
	} te;
	int32_t *depends;               /* of this entry */
	size_t n_depends, room_depends;

	int64_t read;                   /* entries so far */
	struct pending *pending;
	size_t n_pending, room_pending, n_seen;
	struct pending *block;          /* the one whose data comes now */
	struct archive_rows *rows;
	struct archive_tap tap;         /* without functions: nobody wants the rows */
	uint64_t chunk_left;
};

static int on_head(struct reader *r, struct err *e);
static int on_compression(struct reader *r, struct err *e);
static int on_level(struct reader *r, struct err *e);
static int on_count(struct reader *r, struct err *e);
static int on_dependency(struct reader *r, struct err *e);
static int on_entry(struct reader *r, struct err *e);
static int on_block_type(struct reader *r, struct err *e);
static int on_block(struct reader *r, struct err *e);
static int on_oid(struct reader *r, struct err *e);
static int on_chunk(struct reader *r, struct err *e);

enum step_kind { BYTES, INT, STR, OFFSET };     /* BYTES: `into` is how many, and they stay in `small` for `then` */

#define INTO(field) offsetof(struct reader, field)

static const struct step {
	enum step_kind kind;
	size_t into;                    /* 0: read and forgotten; else an int64_t (INT) or a char * (STR) */
	int (*then)(struct reader *r, struct err *e);
	int first_minor, last_minor;    /* of format 1.x; 0 is no bound */
} steps[] = {
	{ BYTES, 11, on_head, 0, 0 },
	{ BYTES, 1, on_compression, 15, 0 },
	{ INT, INTO(level), on_level, 0, 14 },
	/* When it was made: seconds, minutes, hours, day, month, year, daylight saving. */
	{ INT, 0, NULL, 0, 0 }, { INT, 0, NULL, 0, 0 }, { INT, 0, NULL, 0, 0 }, { INT, 0, NULL, 0, 0 }, { INT, 0, NULL, 0, 0 },
	{ INT, 0, NULL, 0, 0 }, { INT, 0, NULL, 0, 0 },
	{ STR, 0, NULL, 0, 0 },                                 /* database */
	{ STR, INTO(server_version), NULL, 0, 0 },
	{ STR, INTO(dump_version), NULL, 0, 0 },
	{ INT, INTO(count), on_count, 0, 0 },
#define STEP_ENTRY 14
	{ INT, INTO(id), NULL, 0, 0 },
	{ INT, INTO(has_data), NULL, 0, 0 },
	{ STR, 0, NULL, 0, 0 }, { STR, 0, NULL, 0, 0 },         /* OIDs of catalog and object: another in each database */
	{ STR, INTO(te.tag), NULL, 0, 0 },
	{ STR, INTO(te.desc), NULL, 0, 0 },
	{ INT, 0, NULL, 0, 0 },                                 /* section */
	{ STR, INTO(te.defn), NULL, 0, 0 },
	{ STR, 0, NULL, 0, 0 },                                 /* how to drop it */
	{ STR, INTO(te.copy), NULL, 0, 0 },
	{ STR, INTO(te.namespace), NULL, 0, 0 },
	{ STR, INTO(te.tablespace), NULL, 0, 0 },
	{ STR, INTO(te.tableam), NULL, 0, 0 },
	{ INT, 0, NULL, 16, 0 },                                /* relkind */
	{ STR, INTO(te.owner), NULL, 0, 0 },
	{ STR, 0, NULL, 0, 0 },                                 /* "false", once WITH OIDS */
#define STEP_DEPENDENCY 30
	{ STR, INTO(te.dependency), on_dependency, 0, 0 },
	{ OFFSET, 0, on_entry, 0, 0 },
#define STEP_BLOCK 32
	{ BYTES, 1, on_block_type, 0, 0 },
	{ INT, INTO(id), on_block, 0, 0 },
#define STEP_OID 34
	{ INT, INTO(oid), on_oid, 0, 0 },
#define STEP_CHUNK 35
	{ INT, INTO(chunk), on_chunk, 0, 0 },
#define STEP_DATA 36                                            /* no step: bytes of a chunk */
#define STEP_END 37
};

_Static_assert(sizeof(steps) / sizeof(steps[0]) == STEP_DATA, "the numbers of steps are those of the table");

static int
corrupt(struct err *e, const char *what)
{
	return err_set(e, ERR_CORRUPT, "archive of pg_dump: %s", what);
}

static int
on_head(struct reader *r, struct err *e)
{
	const uint8_t *h = r->small;

	if (memcmp(h, "PGDMP", 5) != 0)
		return corrupt(e, "does not begin as one");
	if (h[5] != 1 || h[6] < 14 || h[6] > 16)
		return err_set(e, ERR_CORRUPT, "archive of pg_dump: format %d.%d is none of 1.14 to 1.16 (pg_dump 12 to 18)", h[5], h[6]);
	r->out->format_minor = h[6];
	r->offset_bytes = h[9];
	if (h[8] != INT_BYTES || (r->offset_bytes != 4 && r->offset_bytes != 8))
		return corrupt(e, "numbers of an unknown size");
	if (h[10] != 1)
		return corrupt(e, "is not of the custom format");
	return 0;
}

static int
compressed(struct err *e)
{
	corrupt(e, "is compressed, and so cannot be compared");
	return err_hint(e, "make it with pg_dump -Fc -Z0");
}

static int
on_compression(struct reader *r, struct err *e)
{
	return r->small[0] == 0 ? 0 : compressed(e);
}

static int
on_level(struct reader *r, struct err *e)
{
	return r->level == 0 ? 0 : compressed(e);
}

static int
by_id(const void *a, const void *b)
{
	int32_t x = ((const struct pending *)a)->id, y = ((const struct pending *)b)->id;

	return (x > y) - (x < y);
}

/* The table of contents is read; now come the blocks of those entries that have data. */
static int
begin_data(struct reader *r, struct err *e)
{
	if (r->n_pending > 1)
		qsort(r->pending, r->n_pending, sizeof(*r->pending), by_id);
	for (size_t i = 1; i < r->n_pending; i++)
		if (r->pending[i].id == r->pending[i - 1].id)
			return corrupt(e, "two entries with one number");
	r->step = r->n_pending > 0 ? STEP_BLOCK : STEP_END;
	return 0;
}

static int
on_count(struct reader *r, struct err *e)
{
	if (r->count < 0)
		return corrupt(e, "negative number of entries");
	r->out->server_version = r->server_version;
	r->out->dump_version = r->dump_version;
	r->server_version = r->dump_version = NULL;
	return r->count == 0 ? begin_data(r, e) : 0;
}

static int
on_dependency(struct reader *r, struct err *e)
{
	const char *text = r->te.dependency;

	if (text == NULL)
		return 0;
	if (strspn(text, "0123456789") != strlen(text) || text[0] == '\0' || strlen(text) > 9)
		return corrupt(e, "dependency that is no number");
	if (r->n_depends == r->room_depends) {
		r->room_depends = r->room_depends == 0 ? 16 : 2 * r->room_depends;
		r->depends = mem_grow(r->depends, r->room_depends, sizeof(*r->depends));
	}
	r->depends[r->n_depends++] = (int32_t)strtol(text, NULL, 10);
	free(r->te.dependency);
	r->te.dependency = NULL;
	r->step = STEP_DEPENDENCY;      /* once more, up to the one that is no string */
	return 0;
}

static void
free_te(struct reader *r)
{
	char **all = (char **)&r->te;

	for (size_t i = 0; i < sizeof(r->te) / sizeof(*all); i++) {
		free(all[i]);
		all[i] = NULL;
	}
}

/* order[i]: which column of the archive stands at place i of the source.  NULL when the order is the same, or when these are not
 * the same columns: then there is a difference that a digest shall show. */
static size_t *
order_of(const struct archive_columns *expect, const struct archive_entry *entry)
{
	size_t n = 0, moved = 0;
	const char *const *want = archive_columns_find(expect, entry->name, &n);
	size_t *order;

	if (want == NULL || n != entry->n_columns)
		return NULL;
	order = mem_zero(n + 1, sizeof(*order));
	for (size_t i = 0; i < n; i++) {
		size_t at = 0;

		while (at < n && strcmp(want[i], entry->columns[at]) != 0)
			at++;
		if (at == n) {
			free(order);
			return NULL;
		}
		order[i] = at;
		moved += at != i;
	}
	if (moved == 0) {
		free(order);
		return NULL;
	}
	return order;
}

static struct pending *
new_pending(struct reader *r)
{
	struct pending *p;

	if (r->n_pending == r->room_pending) {
		r->room_pending = r->room_pending == 0 ? 16 : 2 * r->room_pending;
		r->pending = mem_grow(r->pending, r->room_pending, sizeof(*r->pending));
	}
	p = &r->pending[r->n_pending++];
	memset(p, 0, sizeof(*p));
	p->id = (int32_t)r->id;
	return p;
}

static int
take_data_entry(struct reader *r, struct err *e)
{
	struct pending *p = new_pending(r);
	struct archive_entry *entry;

	if (strcmp(r->te.desc, "BLOBS") == 0) {
		p->is_blobs = true;
		return 0;
	}
	if (strcmp(r->te.desc, "TABLE DATA") != 0)
		return err_set(e, ERR_CORRUPT, "archive of pg_dump: data of an unknown kind, \"%s\"", r->te.desc);
	p->entry = r->out->n_entries;
	entry = archive_digest_entry(r->out, ARCHIVE_TABLE);
	entry->id = (int32_t)r->id;
	entry->name = quote_name(r->te.namespace, r->te.tag);
	if (r->te.copy == NULL || !archive_copy_columns(&entry->columns, &entry->n_columns, r->te.copy))
		return err_set(e, ERR_CORRUPT, "archive of pg_dump: data of %s without a COPY statement", entry->name);
	p->order = order_of(r->expect, entry);
	entry->reordered = p->order != NULL;
	return 0;
}

static char *
hand_over(char **s)
{
	char *text = *s != NULL ? *s : mem_strdup("");

	*s = NULL;
	return text;
}

/* From 17 on one entry makes up to a thousand large objects, its defn being their OIDs, one a line; until 16 each had its own.
 * Told apart again, the two can be compared. */
static int
take_blob_metadata(struct reader *r, struct err *e)
{
	const char *at = r->te.defn;

	while (at != NULL && *at != '\0') {
		size_t n = strspn(at, "0123456789");
		struct archive_item *item;

		if (n == 0 || n > 10 || (at[n] != '\n' && at[n] != '\0'))
			return corrupt(e, "list of large objects that is none");
		item = archive_digest_item(r->out);
		item->desc = mem_strdup("BLOB");
		item->tag = mem_strndup(at, n);
		item->namespace = mem_strdup("");
		item->owner = mem_strdup(r->te.owner != NULL ? r->te.owner : "");
		item->tablespace = mem_strdup("");
		item->tableam = mem_strdup("");
		item->defn = mem_printf("SELECT pg_catalog.lo_create('%s');\n", item->tag);
		at += n + (at[n] == '\n');
	}
	return 0;
}

static void
take_sequence(struct reader *r)
{
	struct archive_entry *entry = archive_digest_entry(r->out, ARCHIVE_SEQUENCE);
	const char *defn = r->te.defn != NULL ? r->te.defn : "";

	entry->id = (int32_t)r->id;
	entry->name = quote_name(r->te.namespace, r->te.tag);
	entry->bytes = strlen(defn);
	hash_sha256(entry->sha256, defn, strlen(defn));
}

static void
take_item(struct reader *r)
{
	struct archive_item *item = archive_digest_item(r->out);

	item->id = (int32_t)r->id;
	item->n_depends = r->n_depends;
	if (r->n_depends > 0) {
		item->depends = mem_zero(r->n_depends, sizeof(*item->depends));
		memcpy(item->depends, r->depends, r->n_depends * sizeof(*item->depends));
	}
	item->desc = hand_over(&r->te.desc);
	item->namespace = hand_over(&r->te.namespace);
	item->tag = hand_over(&r->te.tag);
	item->owner = hand_over(&r->te.owner);
	item->tablespace = hand_over(&r->te.tablespace);
	item->tableam = hand_over(&r->te.tableam);
	item->defn = hand_over(&r->te.defn);
}

static int
on_entry(struct reader *r, struct err *e)
{
	int rc = 0;

	if (r->te.desc == NULL || r->te.tag == NULL)
		return corrupt(e, "entry without a name");
	if (r->has_data != 0)
		rc = take_data_entry(r, e);
	else if (strcmp(r->te.desc, "SEQUENCE SET") == 0)
		take_sequence(r);
	else if (strcmp(r->te.desc, "BLOB METADATA") == 0)
		rc = take_blob_metadata(r, e);
	else
		take_item(r);
	free_te(r);
	r->n_depends = 0;
	if (rc != 0)
		return -1;
	if (++r->read == r->count)
		return begin_data(r, e);
	r->step = STEP_ENTRY;
	return 0;
}

static int
on_block_type(struct reader *r, struct err *e)
{
	r->ignored = r->small[0];
	if (r->ignored != BLOCK_DATA && r->ignored != BLOCK_BLOBS)
		return err_set(e, ERR_CORRUPT, "archive of pg_dump: unknown block type %d", r->small[0]);
	return 0;
}

static int
begin_table(struct reader *r, struct err *e)
{
	struct archive_entry *entry = &r->out->entries[r->block->entry];
	const struct archive_rows_plan plan = {
		.is_copy = true, .order = r->block->order, .n_columns = entry->n_columns, .as_set = r->out->row_sets,
		.counts_only = r->out->counts_only, .tap = r->tap.rows != NULL ? &r->tap : NULL,
	};

	archive_rows_begin(r->rows, &plan);
	r->step = STEP_CHUNK;
	return plan.tap != NULL ? plan.tap->begin(plan.tap->ctx, entry, e) : 0;
}

static int
on_block(struct reader *r, struct err *e)
{
	struct pending key = { .id = (int32_t)r->id };
	bool is_blobs = r->ignored == BLOCK_BLOBS;

	r->block = bsearch(&key, r->pending, r->n_pending, sizeof(key), by_id);
	if (r->block == NULL || r->block->is_blobs != is_blobs)
		return err_set(e, ERR_CORRUPT, "archive of pg_dump: block of entry %" PRId64 ", which has none", r->id);
	if (r->block->seen)
		return err_set(e, ERR_CORRUPT, "archive of pg_dump: second block of entry %" PRId64, r->id);
	r->block->seen = true;
	if (is_blobs) {
		r->step = STEP_OID;
		return 0;
	}
	return begin_table(r, e);
}

static int
end_block(struct reader *r)
{
	r->block = NULL;
	r->step = ++r->n_seen == r->n_pending ? STEP_END : STEP_BLOCK;
	return 0;
}

static int
on_oid(struct reader *r, struct err *e)
{
	static const struct archive_rows_plan plan = { .is_copy = false };

	(void)e;
	if (r->oid == 0)
		return end_block(r);
	archive_rows_begin(r->rows, &plan);
	return 0;
}

/* What the tap says is about something else than the archive. */
static int
bad_rows(const struct archive_entry *entry, struct err *e)
{
	return e->kind == ERR_CORRUPT ? err_wrap(e, "archive of pg_dump: data of %s", entry->name) : -1;
}

static int
end_of_chunks(struct reader *r, struct err *e)
{
	struct archive_entry *entry;

	if (!r->block->is_blobs) {
		entry = &r->out->entries[r->block->entry];
		if (archive_rows_end(r->rows, entry, e))
			return bad_rows(entry, e);
		return end_block(r);
	}
	entry = archive_digest_entry(r->out, ARCHIVE_BLOB);
	/* An OID is unsigned; the format's integer is not. */
	entry->name = mem_printf("%" PRIu32, (uint32_t)r->oid);
	r->step = STEP_OID;
	return archive_rows_end(r->rows, entry, e);
}

static int
on_chunk(struct reader *r, struct err *e)
{
	if (r->chunk < 0)
		return corrupt(e, "chunk of negative length");
	if (r->chunk == 0)
		return end_of_chunks(r, e);
	r->chunk_left = (uint64_t)r->chunk;
	r->step = STEP_DATA;
	return 0;
}

static int64_t
int_of(const uint8_t *p)
{
	int64_t v = bytes_get_u32(p + 1);

	return p[0] != 0 ? -v : v;
}

/* Collects up to `need` bytes in r->small; true when they are there. */
static bool
collect_small(struct reader *r, size_t need, const uint8_t **at, size_t *left)
{
	size_t n = need - r->n_small < *left ? need - r->n_small : *left;

	memcpy(r->small + r->n_small, *at, n);
	r->n_small += n;
	*at += n;
	*left -= n;
	if (r->n_small < need)
		return false;
	r->n_small = 0;
	return true;
}

/* A string into r->text: 1 when it is whole, 2 when it is no string, 0 when more must come. */
static int
collect_string(struct reader *r, const uint8_t **at, size_t *left, struct err *e)
{
	size_t n;

	if (!r->in_text) {
		int64_t length;

		if (!collect_small(r, 1 + INT_BYTES, at, left))
			return 0;
		length = int_of(r->small);
		if (length < -1 || length > STRING_LIMIT)
			return err_set(e, ERR_CORRUPT, "archive of pg_dump: text of %" PRId64 " bytes", length);
		if (length < 0)
			return 2;
		buf_clear(&r->text);
		buf_addstr(&r->text, "");
		r->text_left = (size_t)length;
		r->in_text = true;
	}
	n = r->text_left < *left ? r->text_left : *left;
	buf_add(&r->text, *at, n);
	r->text_left -= n;
	*at += n;
	*left -= n;
	if (r->text_left > 0)
		return 0;
	r->in_text = false;
	if (memchr(r->text.data, '\0', r->text.bytes) != NULL)
		return corrupt(e, "text with a zero byte in it");
	return 1;
}

/* Reads what this step wants: 1 when it was all there, 0 when more must come. */
static int
read_step(struct reader *r, const struct step *s, const uint8_t **at, size_t *left, struct err *e)
{
	int got;

	switch (s->kind) {
	case BYTES:
		return collect_small(r, s->into, at, left);
	case OFFSET:
		return collect_small(r, 1 + (size_t)r->offset_bytes, at, left);
	case INT:
		if (!collect_small(r, 1 + INT_BYTES, at, left))
			return 0;
		if (s->into != 0)
			*(int64_t *)(void *)((char *)r + s->into) = int_of(r->small);
		return 1;
	case STR:
		got = collect_string(r, at, left, e);
		if (got > 0 && s->into != 0) {
			char **to = (char **)(void *)((char *)r + s->into);

			free(*to);
			*to = got == 1 ? mem_strndup((const char *)r->text.data, r->text.bytes) : NULL;
		}
		return got == 2 ? 1 : got;
	}
	return 0;
}

static bool
applies(const struct reader *r, size_t step)
{
	int minor = r->out->format_minor;

	if (step >= STEP_DATA)
		return true;
	return (steps[step].first_minor == 0 || minor >= steps[step].first_minor) &&
	    (steps[step].last_minor == 0 || minor <= steps[step].last_minor);
}

static int
reader_parse(struct reader *r, const uint8_t *at, size_t left, struct err *e)
{
	while (left > 0) {
		size_t now = r->step;

		if (now == STEP_END)
			return corrupt(e, "goes on behind its end");
		if (now == STEP_DATA) {
			size_t n = r->chunk_left < left ? (size_t)r->chunk_left : left;

			if (archive_rows_add(r->rows, at, n, e))
				return bad_rows(&r->out->entries[r->block->entry], e);
			at += n;
			left -= n;
			r->chunk_left -= n;
			if (r->chunk_left == 0)
				r->step = STEP_CHUNK;
			continue;
		}
		switch (read_step(r, &steps[now], &at, &left, e)) {
		case 0:
			return 0;
		case 1:
			break;
		default:
			return -1;
		}
		/* The next in the table, unless the step's own function goes elsewhere. */
		r->step++;
		if (steps[now].then != NULL && steps[now].then(r, e))
			return -1;
		while (!applies(r, r->step))
			r->step++;
	}
	return 0;
}

static int
reader_write(struct sink *s, const void *data, size_t bytes, struct err *e)
{
	if (reader_parse((struct reader *)s, data, bytes, e))
		return -1;
	return sink_write(s->next, data, bytes, e);
}

static int
reader_finish(struct sink *s, struct err *e)
{
	struct reader *r = (struct reader *)s;

	if (r->step < STEP_BLOCK)
		return corrupt(e, "ends in its table of contents");
	if (r->step != STEP_END)
		return err_set(e, ERR_CORRUPT, "archive of pg_dump: ends after the data of %zu of %zu entries", r->n_seen, r->n_pending);
	return sink_finish(s->next, e);
}

static void
reader_free(struct sink *s)
{
	struct reader *r = (struct reader *)s;

	free_te(r);
	free(r->depends);
	free(r->server_version);
	free(r->dump_version);
	for (size_t i = 0; i < r->n_pending; i++)
		free(r->pending[i].order);
	free(r->pending);
	archive_rows_free(r->rows);
	buf_free(&r->text);
	free(r);
}

struct sink *
archive_reader_new(struct archive_digest *out, const struct archive_columns *expect, struct sink *next)
{
	static const struct sink_ops ops = { reader_write, reader_finish, reader_free };
	struct reader *r = mem_zero(1, sizeof(*r));

	r->sink.ops = &ops;
	r->sink.next = next;
	r->out = out;
	r->expect = expect;
	r->rows = archive_rows_new();
	return &r->sink;
}

void
archive_reader_tap(struct sink *reader, const struct archive_tap *tap)
{
	((struct reader *)reader)->tap = *tap;
}
