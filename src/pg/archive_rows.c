#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "pg/archive_parts.h"

#define GATHER ((size_t)128 * 1024)

/* What pg_dump writes behind the last row of a table's data, in every version. */
static const char copy_end[] = "\\.\n\n\n";
#define COPY_END (sizeof(copy_end) - 1)

struct archive_rows {
	struct hash *hash;
	uint64_t rows, bytes;
	struct archive_rows_plan plan;
	struct multiset set;
	struct buf line;                /* of a table in another order: the line that is not yet whole */
	size_t *field_at;               /* starts of its fields, and one behind the last */
	size_t held;
	uint8_t gather[GATHER];         /* of which the last COPY_END bytes are kept back */
};

struct archive_rows *
archive_rows_new(void)
{
	struct archive_rows *r = mem_zero(1, sizeof(*r));

	r->hash = hash_sha256_new();
	return r;
}

void
archive_rows_free(struct archive_rows *r)
{
	if (r == NULL)
		return;
	hash_free(r->hash);
	buf_free(&r->line);
	free(r->field_at);
	free(r);
}

void
archive_rows_begin(struct archive_rows *r, const struct archive_rows_plan *plan)
{
	uint8_t none[SHA256_BYTES];

	hash_final(r->hash, none);      /* whatever an entry that failed left behind */
	r->rows = r->bytes = 0;
	r->held = 0;
	r->plan = *plan;
	multiset_begin(&r->set);
	buf_clear(&r->line);
	if (plan->order != NULL)
		r->field_at = mem_grow(r->field_at, plan->n_columns + 1, sizeof(*r->field_at));
}

static uint64_t
count_newlines(const uint8_t *p, size_t bytes)
{
	const uint8_t *end = p + bytes;
	uint64_t n = 0;

	while ((p = memchr(p, '\n', (size_t)(end - p))) != NULL) {
		n++;
		p++;
	}
	return n;
}

static void
hash_both(struct archive_rows *r, const void *data, size_t bytes)
{
	hash_update(r->hash, data, bytes);
	if (r->plan.as_set)
		multiset_part(&r->set, data, bytes);
}

/* Rows one by one into the set; counts those that end here. */
static uint64_t
add_to_set(struct multiset *set, const uint8_t *p, size_t bytes)
{
	const uint8_t *end = p + bytes, *newline;
	uint64_t n = 0;

	for (; (newline = memchr(p, '\n', (size_t)(end - p))) != NULL; p = newline + 1, n++) {
		multiset_part(set, p, (size_t)(newline - p));
		multiset_end_member(set);
	}
	multiset_part(set, p, (size_t)(end - p));
	return n;
}

/* The fields of the whole line in r->line, without its newline, in the wanted order.  COPY's text never holds a bare tab or
 * newline inside a field. */
static int
hash_line(struct archive_rows *r, struct err *e)
{
	const uint8_t *line = r->line.data, *tab;
	size_t n = 0, at = 0;

	for (;;) {
		if (n == r->plan.n_columns)
			return err_set(e, ERR_CORRUPT, "row %llu has more than %zu columns", (unsigned long long)r->rows + 1, r->plan.n_columns);
		r->field_at[n++] = at;
		tab = memchr(line + at, '\t', r->line.bytes - at);
		if (tab == NULL)
			break;
		at = (size_t)(tab - line) + 1;
	}
	if (n != r->plan.n_columns)
		return err_set(e, ERR_CORRUPT, "row %llu has %zu columns instead of %zu", (unsigned long long)r->rows + 1, n, r->plan.n_columns);
	r->field_at[n] = r->line.bytes + 1;     /* as if a tab followed the last */
	for (size_t i = 0; i < n; i++) {
		size_t from = r->field_at[r->plan.order[i]], to = r->field_at[r->plan.order[i] + 1] - 1;

		if (i > 0)
			hash_both(r, "\t", 1);
		hash_both(r, line + from, to - from);
	}
	hash_update(r->hash, "\n", 1);
	if (r->plan.as_set)
		multiset_end_member(&r->set);
	r->rows++;
	buf_clear(&r->line);
	return 0;
}

static int
take_lines(struct archive_rows *r, const uint8_t *p, size_t bytes, struct err *e)
{
	while (bytes > 0) {
		const uint8_t *newline = memchr(p, '\n', bytes);
		size_t n = newline != NULL ? (size_t)(newline - p) : bytes;

		buf_add(&r->line, p, n);
		if (newline == NULL)
			break;
		if (hash_line(r, e))
			return -1;
		p += n + 1;
		bytes -= n + 1;
	}
	return 0;
}

static int
take(struct archive_rows *r, const uint8_t *p, size_t bytes, struct err *e)
{
	const struct archive_tap *tap = r->plan.tap;

	r->bytes += bytes;
	if (tap != NULL && bytes > 0 && tap->rows(tap->ctx, p, bytes, e))
		return -1;
	if (r->plan.order != NULL)
		return take_lines(r, p, bytes, e);
	if (r->plan.is_copy)
		r->rows += r->plan.as_set ? add_to_set(&r->set, p, bytes) : count_newlines(p, bytes);
	if (!r->plan.counts_only)
		hash_update(r->hash, p, bytes);
	return 0;
}

int
archive_rows_add(struct archive_rows *r, const void *data, size_t bytes, struct err *e)
{
	const uint8_t *p = data;
	size_t keep = r->plan.is_copy ? COPY_END : 0;

	while (bytes > 0) {
		size_t n = GATHER - r->held;

		if (n > bytes)
			n = bytes;
		memcpy(r->gather + r->held, p, n);
		r->held += n;
		p += n;
		bytes -= n;
		if (r->held < GATHER)
			break;
		if (take(r, r->gather, GATHER - keep, e))
			return -1;
		memmove(r->gather, r->gather + GATHER - keep, keep);
		r->held = keep;
	}
	return 0;
}

int
archive_rows_end(struct archive_rows *r, struct archive_entry *entry, struct err *e)
{
	size_t keep = r->plan.is_copy ? COPY_END : 0;

	if (r->held < keep || memcmp(r->gather + r->held - keep, copy_end, keep) != 0)
		return err_set(e, ERR_CORRUPT, "rows without their end mark");
	if (take(r, r->gather, r->held - keep, e))
		return -1;
	if (r->line.bytes > 0)
		return err_set(e, ERR_CORRUPT, "last row without its end");
	entry->rows = r->rows;
	entry->bytes = r->bytes;
	if (!r->plan.counts_only)
		hash_final(r->hash, entry->sha256);
	entry->has_row_set = r->plan.as_set;
	multiset_sum(&r->set, entry->row_set);
	return 0;
}
