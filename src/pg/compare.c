#include "pg/compare.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "pg/compare_schema.h"
#include "pg/conn_private.h"
#include "pg/quote.h"

struct archive_columns *
compare_columns(const struct archive_digest *source)
{
	struct archive_columns *c = archive_columns_new();

	for (size_t i = 0; i < source->n_entries; i++) {
		const struct archive_entry *entry = &source->entries[i];

		if (entry->columns != NULL)
			archive_columns_add(c, entry->name, (const char *const *)entry->columns, entry->n_columns);
	}
	return c;
}

/* ---- entries ---- */

static int
entry_order(const void *a, const void *b)
{
	const struct archive_entry *x = *(const struct archive_entry *const *)a, *y = *(const struct archive_entry *const *)b;

	return x->type != y->type ? (x->type < y->type ? -1 : 1) : strcmp(x->name, y->name);
}

static const struct archive_entry **
sorted(const struct archive_digest *d)
{
	const struct archive_entry **list = mem_zero(d->n_entries + 1, sizeof(const struct archive_entry *));

	for (size_t i = 0; i < d->n_entries; i++)
		list[i] = &d->entries[i];
	qsort(list, d->n_entries, sizeof(const struct archive_entry *), entry_order);
	return list;
}

static void
add_difference(json_t *list, const char *database, const char *what, const struct archive_entry *source,
    const struct archive_entry *restored)
{
	const struct archive_entry *any = source != NULL ? source : restored;
	json_t *d = json_object();
	char *name = mem_printf("%s %s", archive_type_name(any->type), any->name);

	json_put_str(d, "database", database);
	json_put_str(d, "entry", any->type == ARCHIVE_TABLE ? any->name : name);
	json_put_str(d, "what", what);
	if (source != NULL)
		json_put_int(d, "source_rows", (int64_t)source->rows);
	else
		json_put_str(d, "source_rows", NULL);
	if (restored != NULL)
		json_put_int(d, "restored_rows", (int64_t)restored->rows);
	else
		json_put_str(d, "restored_rows", NULL);
	json_add(list, d);
	free(name);
}

/* NULL when equal.  The same rows in another order are equal: COPY fills gaps that it left in earlier pages with rows that fit, so
 * a restored table need not give its rows back in the order in which it got them. */
static const char *
differing(const struct archive_entry *a, const struct archive_entry *b, bool *moved)
{
	*moved = false;
	if (a->rows != b->rows)
		return "rows";
	if (a->bytes == b->bytes && memcmp(a->sha256, b->sha256, sizeof(a->sha256)) == 0)
		return NULL;
	*moved = a->has_row_set && b->has_row_set && a->type == ARCHIVE_TABLE && a->bytes == b->bytes &&
	    memcmp(a->row_set, b->row_set, sizeof(a->row_set)) == 0;
	return *moved ? NULL : "content";
}

static bool
is_unclear(const struct archive_entry *a, const struct archive_entry *b)
{
	return a->type == ARCHIVE_TABLE && a->rows == b->rows && a->bytes == b->bytes && !(a->has_row_set && b->has_row_set) &&
	    memcmp(a->sha256, b->sha256, sizeof(a->sha256)) != 0;
}

const char **
compare_unclear(const struct archive_digest *source, const struct archive_digest *restored)
{
	const struct archive_entry **a = sorted(source), **b = sorted(restored);
	const char **names = mem_zero(source->n_entries + 1, sizeof(*names));
	size_t n = 0;

	for (size_t i = 0, k = 0; i < source->n_entries && k < restored->n_entries;) {
		int order = entry_order(&a[i], &b[k]);

		if (order == 0 && is_unclear(a[i], b[k]))
			names[n++] = a[i]->name;
		i += order <= 0;
		k += order >= 0;
	}
	free(a);
	free(b);
	if (n > 0)
		return names;
	free(names);
	return NULL;
}

void
compare_settle(struct archive_digest *to, const struct archive_digest *again)
{
	const struct archive_entry **b = sorted(again);

	for (size_t i = 0; i < to->n_entries; i++) {
		struct archive_entry *mine = &to->entries[i];
		const struct archive_entry *const key = mine, **found = bsearch(&key, b, again->n_entries, sizeof(*b), entry_order);

		/* Only of the same bytes: a row set that belongs to something else proves nothing. */
		if (found == NULL || !(*found)->has_row_set || (*found)->bytes != mine->bytes ||
		    memcmp((*found)->sha256, mine->sha256, sizeof(mine->sha256)) != 0)
			continue;
		mine->has_row_set = true;
		memcpy(mine->row_set, (*found)->row_set, sizeof(mine->row_set));
	}
	free(b);
}

bool
compare_digests(json_t *database, json_t *differences, const char *name, const struct archive_digest *source,
    const struct archive_digest *restored)
{
	const struct archive_entry **a = sorted(source), **b = sorted(restored);
	json_t *reordered = json_array(), *moved_rows = json_array();
	uint64_t rows = 0, bytes = 0;
	size_t i = 0, k = 0, equal = 0;
	bool same_schema, moved;

	while (i < source->n_entries || k < restored->n_entries) {
		int order = i == source->n_entries ? 1 : k == restored->n_entries ? -1 : entry_order(&a[i], &b[k]);
		const char *what;

		if (order < 0) {
			add_difference(differences, name, "missing", a[i], NULL);
		} else if (order > 0) {
			add_difference(differences, name, "extra", NULL, b[k]);
		} else if ((what = differing(a[i], b[k], &moved)) != NULL) {
			add_difference(differences, name, what, a[i], b[k]);
		} else {
			equal++;
			if (b[k]->reordered)
				json_add(reordered, json_str(b[k]->name));
			if (moved)
				json_add(moved_rows, json_str(b[k]->name));
		}
		if (order <= 0) {
			rows += a[i]->rows;
			bytes += a[i]->bytes;
			i++;
		}
		k += order >= 0;
	}
	json_put_str(database, "name", name);
	json_put_int(database, "entries", (int64_t)source->n_entries);
	json_put_int(database, "equal", (int64_t)equal);
	json_put_int(database, "rows", (int64_t)rows);
	json_put_int(database, "bytes", (int64_t)bytes);
	same_schema = compare_schema(database, reordered, source, restored);
	json_put(database, "reordered", reordered);
	json_put(database, "row_order", moved_rows);
	free(a);
	free(b);
	return same_schema && equal == source->n_entries && equal == restored->n_entries;
}

bool
compare_objects(json_t *database, const json_t *source, const json_t *restored)
{
	json_t *all = json_object(), *list = json_array(), *ignored;
	const char *class;
	bool same = true;
	void *next;

	json_object_update(all, (json_t *)(uintptr_t)source);
	json_object_update(all, (json_t *)(uintptr_t)restored);
	json_object_foreach_safe(all, next, class, ignored) {
		int64_t was = json_opt_int(source, class, 0), is = json_opt_int(restored, class, 0);
		json_t *o = json_object();

		json_put_str(o, "class", class);
		json_put_int(o, "source", was);
		json_put_int(o, "restored", is);
		json_add(list, o);
		same = same && was == is;
	}
	json_put(database, "objects", list);
	json_decref(all);
	return same;
}

/* ---- sequences ---- */

static const char owned_sql[] =
    "SELECT n.nspname, s.relname, tn.nspname, t.relname, a.attname, q.seqincrement < 0"
    "  FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class s ON s.oid = d.objid JOIN pg_catalog.pg_namespace n ON n.oid = s.relnamespace"
    "  JOIN pg_catalog.pg_sequence q ON q.seqrelid = s.oid JOIN pg_catalog.pg_class t ON t.oid = d.refobjid"
    "  JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace"
    "  JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid"
    " WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass"
    "   AND d.deptype IN ('a', 'i') AND s.relkind = 'S' AND t.relkind IN ('r', 'p') AND NOT q.seqcycle"
    "   AND a.atttypid IN ('int2'::pg_catalog.regtype, 'int4'::pg_catalog.regtype, 'int8'::pg_catalog.regtype) ORDER BY 1, 2";

int
compare_sequences(const struct pg_target *target, const char *dbname, json_t *warnings, struct err *e)
{
	struct conn *c = conn_open(target, dbname, e);
	struct rows *owned = c != NULL ? conn_query(c, owned_sql, NULL, e) : NULL;
	int rc = owned == NULL ? -1 : 0;

	for (size_t i = 0; rc == 0 && i < conn_rows(owned); i++) {
		char *sequence = quote_name(conn_cell(owned, i, 0), conn_cell(owned, i, 1));
		char *table = quote_name(conn_cell(owned, i, 2), conn_cell(owned, i, 3)), *behind = NULL, *sentence;
		bool down = conn_cell_bool(owned, i, 5);
		struct buf sql = BUF_INIT;

		buf_addf(&sql, "SELECT m FROM (SELECT %s(", down ? "min" : "max");
		quote_ident(&sql, conn_cell(owned, i, 4));
		buf_addf(&sql, ") AS m FROM %s) t, %s s WHERE m %s s.last_value OR (m = s.last_value AND NOT s.is_called)", table, sequence,
		    down ? "<" : ">");
		rc = conn_value(&behind, c, (char *)sql.data, NULL, e);
		if (rc == 0 && behind != NULL) {
			sentence = mem_printf("database \"%s\": sequence %s is behind %s, whose column %s has reached %s; it was so when it was dumped",
			    dbname, sequence, table, conn_cell(owned, i, 4), behind);
			json_add(warnings, json_str(sentence));
			free(sentence);
		}
		free(behind);
		buf_free(&sql);
		free(sequence);
		free(table);
	}
	conn_rows_free(owned);
	conn_close(c);
	return rc;
}

/* ---- configured checks ---- */

static bool
is_expected(const char *value, const char *expect)
{
	if (value == NULL)
		return false;
	if (expect == NULL)
		return strcmp(value, "f") != 0;
	/* A boolean comes as one letter, and is written as a word. */
	return strcmp(value, expect) == 0 || (strcmp(value, "t") == 0 && strcmp(expect, "true") == 0) ||
	    (strcmp(value, "f") == 0 && strcmp(expect, "false") == 0);
}

json_t *
compare_check(const struct pg_target *target, const char *dbname, const char *name, const char *sql, const char *expect,
    int64_t timeout_ms, struct err *e)
{
	struct conn *c = conn_open(target, dbname, e);
	char *begin, *value = NULL;
	struct err own = ERR_INIT;
	json_t *check = NULL;
	int rc;

	if (c == NULL)
		return NULL;
	/* With the search path that the application has, as the database or its owner set it. */
	begin = mem_printf("SET search_path TO DEFAULT; SET statement_timeout = %lld; SET default_transaction_read_only = on",
	    (long long)timeout_ms);
	rc = conn_exec(c, begin, &own);
	if (rc == 0)
		rc = conn_value(&value, c, sql, NULL, &own);
	free(begin);
	conn_close(c);
	if (rc != 0 && conn_is_over(&own)) {
		*e = own;
		free(value);
		return NULL;
	}
	check = json_object();
	json_put_str(check, "name", name);
	json_put_str(check, "database", dbname);
	json_put_bool(check, "ok", rc == 0 && is_expected(value, expect));
	json_put_str(check, "value", rc == 0 ? value : own.msg);
	json_put_str(check, "expected", expect);
	free(value);
	return check;
}
