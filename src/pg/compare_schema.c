/*
 * The schema, as the text of every entry of the table of contents.  Order and numbers of entries are pg_dump's affair; what must
 * be equal is the set of definitions with their owners.
 */
#include "pg/compare_schema.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "pg/quote.h"

#define DIFF_MOST 32768                 /* bytes of text in a report; who wants all has two dumps */
#define DIFF_LINES_MOST 40              /* of one entry */

static int
key_order(const struct archive_item *x, const struct archive_item *y)
{
	int order = strcmp(x->desc, y->desc);

	if (order == 0)
		order = strcmp(x->namespace, y->namespace);
	return order != 0 ? order : strcmp(x->tag, y->tag);
}

static int
item_order(const void *a, const void *b)
{
	const struct archive_item *x = *(const struct archive_item *const *)a, *y = *(const struct archive_item *const *)b;
	int order = key_order(x, y);

	/* Operators and casts may share a tag. */
	return order != 0 ? order : strcmp(x->defn, y->defn);
}

/* Every stream begins with these, and the number of streams depends on sizes. */
static bool
is_preamble(const struct archive_item *item)
{
	return strcmp(item->desc, "ENCODING") == 0 || strcmp(item->desc, "STDSTRINGS") == 0 || strcmp(item->desc, "SEARCHPATH") == 0;
}

/* Says what the database itself is like: its locale, rights, settings, under its name. */
static bool
is_of_database(const struct archive_item *item)
{
	return strncmp(item->desc, "DATABASE", 8) == 0 || (item->namespace[0] == '\0' && strncmp(item->tag, "DATABASE ", 9) == 0);
}

static const char *
database_name(const struct archive_digest *d)
{
	for (size_t i = 0; i < d->n_items; i++)
		if (strcmp(d->items[i].desc, "DATABASE") == 0)
			return d->items[i].tag;
	return "";
}

static const struct archive_item **
sorted(const struct archive_digest *d, bool same_name, size_t *n)
{
	const struct archive_item **list = mem_zero(d->n_items + 1, sizeof(const struct archive_item *));
	size_t all = 0, kept = 0;

	for (size_t i = 0; i < d->n_items; i++)
		if (same_name || !is_of_database(&d->items[i]))
			list[all++] = &d->items[i];
	qsort(list, all, sizeof(const struct archive_item *), item_order);
	for (size_t i = 0; i < all; i++)
		if (kept == 0 || !is_preamble(list[i]) || item_order(&list[kept - 1], &list[i]) != 0)
			list[kept++] = list[i];
	*n = kept;
	return list;
}

static bool
equal_but_text(const struct archive_item *a, const struct archive_item *b)
{
	return strcmp(a->owner, b->owner) == 0 && strcmp(a->tablespace, b->tablespace) == 0 && strcmp(a->tableam, b->tableam) == 0;
}

struct lines {
	char *text;
	char **at;
	size_t n;
};

/* Cuts a copy of `text`.  `loose`: without the comma at the end that tells the last column from the others. */
static struct lines
cut_lines(const char *text, bool loose)
{
	struct lines l = { .text = mem_strdup(text) };

	for (char *p = l.text; p != NULL && *p != '\0';) {
		char *eol = strchr(p, '\n');

		l.at = mem_grow(l.at, l.n + 1, sizeof(*l.at));
		l.at[l.n++] = p;
		if (eol != NULL)
			*eol = '\0';
		if (loose && *p != '\0' && p[strlen(p) - 1] == ',')
			p[strlen(p) - 1] = '\0';
		p = eol != NULL ? eol + 1 : NULL;
	}
	return l;
}

static void
free_lines(struct lines *l)
{
	free(l->at);
	free(l->text);
}

static int
line_order(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The same lines in another order. */
static bool
same_lines(const struct archive_item *a, const struct archive_item *b, bool loose)
{
	struct lines x = cut_lines(a->defn, loose), y = cut_lines(b->defn, loose);
	bool same = x.n == y.n;

	if (same && x.n > 0) {
		qsort(x.at, x.n, sizeof(*x.at), line_order);
		qsort(y.at, y.n, sizeof(*y.at), line_order);
	}
	for (size_t i = 0; same && i < x.n; i++)
		same = strcmp(x.at[i], y.at[i]) == 0;
	free_lines(&x);
	free_lines(&y);
	return same;
}

/* CREATE TABLE writes a column a line. */
static bool
same_columns(const struct archive_item *a, const struct archive_item *b)
{
	return (strcmp(a->desc, "TABLE") == 0 || strcmp(a->desc, "FOREIGN TABLE") == 0) && same_lines(a, b, true);
}

/* Settings of a database are a set; their order tells when each was made. */
static bool
same_settings(const struct archive_item *a, const struct archive_item *b)
{
	return strcmp(a->desc, "DATABASE PROPERTIES") == 0 && same_lines(a, b, false);
}

static void
add_lines(struct buf *diff, char sign, const struct lines *l, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++) {
		if (i - from == DIFF_LINES_MOST) {
			buf_addf(diff, "%c... %zu more lines\n", sign, to - i);
			return;
		}
		buf_addf(diff, "%c%.400s\n", sign, l->at[i]);
	}
}

/* What lies between the lines that both begin and end with. */
static void
add_text_diff(struct buf *diff, const char *source, const char *restored)
{
	struct lines a = cut_lines(source, false), b = cut_lines(restored, false);
	size_t head = 0, tail = 0;

	while (head < a.n && head < b.n && strcmp(a.at[head], b.at[head]) == 0)
		head++;
	while (tail < a.n - head && tail < b.n - head && strcmp(a.at[a.n - 1 - tail], b.at[b.n - 1 - tail]) == 0)
		tail++;
	if (head > 0)
		buf_addf(diff, " %.400s\n", a.at[head - 1]);
	add_lines(diff, '-', &a, head, a.n - tail);
	add_lines(diff, '+', &b, head, b.n - tail);
	free_lines(&a);
	free_lines(&b);
}

static void
add_diff(struct buf *diff, const struct archive_item *source, const struct archive_item *restored)
{
	const struct archive_item *any = source != NULL ? source : restored;
	char *name;

	if (diff->bytes > DIFF_MOST)
		return;
	name = quote_name(any->namespace, any->tag);
	buf_addf(diff, "@@ %s %s\n", any->desc, name);
	free(name);
	if (source != NULL && restored != NULL && !equal_but_text(source, restored)) {
		buf_addf(diff, "-owner %s, tablespace %s, access method %s\n", source->owner, source->tablespace, source->tableam);
		buf_addf(diff, "+owner %s, tablespace %s, access method %s\n", restored->owner, restored->tablespace, restored->tableam);
	}
	add_text_diff(diff, source != NULL ? source->defn : "", restored != NULL ? restored->defn : "");
	if (diff->bytes > DIFF_MOST)
		buf_addstr(diff, "... and more; the text ends here\n");
}

static void
note_reordered(json_t *list, const struct archive_item *item)
{
	char *name = quote_name(item->namespace, item->tag);
	const json_t *known;
	bool there = false;
	size_t i;

	json_array_foreach(list, i, known)
		there = there || strcmp(json_string_value(known), name) == 0;
	if (!there)
		json_add(list, json_str(name));
	free(name);
}

bool
compare_schema(json_t *database, json_t *reordered, const struct archive_digest *source, const struct archive_digest *restored)
{
	bool same_name = strcmp(database_name(source), database_name(restored)) == 0;
	size_t n, m, i = 0, k = 0;
	const struct archive_item **a = sorted(source, same_name, &n), **b = sorted(restored, same_name, &m);
	bool same = true, loose = json_array_size(reordered) > 0;
	struct buf diff = BUF_INIT;

	while (i < n || k < m) {
		int order = i == n ? 1 : k == m ? -1 : key_order(a[i], b[k]);

		if (order == 0 && equal_but_text(a[i], b[k])) {
			if (strcmp(a[i]->defn, b[k]->defn) == 0 || same_settings(a[i], b[k])) {
				/* nothing to say */
			} else if (same_columns(a[i], b[k])) {
				note_reordered(reordered, a[i]);
				loose = true;
			} else {
				add_diff(&diff, a[i], b[k]);
				same = false;
			}
		} else {
			add_diff(&diff, order <= 0 ? a[i] : NULL, order >= 0 ? b[k] : NULL);
			same = false;
		}
		i += order <= 0;
		k += order >= 0;
	}
	json_put_str(database, "schema", !same ? "differs" : loose ? "equal but for column order" : "equal");
	json_put_str(database, "schema_diff", same ? NULL : (const char *)diff.data);
	buf_free(&diff);
	free(a);
	free(b);
	return same;
}
