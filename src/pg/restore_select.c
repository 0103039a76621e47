/* One table back, or some: which, and what belongs to them. */
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "pg/archive.h"
#include "pg/quote.h"
#include "pg/restore_parts.h"

bool
restore_selects(const struct restore *r)
{
	return r->o.tables != NULL || r->o.schemas != NULL;
}

/* A name that is written out matches itself, whatever is in it. */
static bool
matches(const char *pattern, const char *name)
{
	return strcmp(pattern, name) == 0 || fnmatch(pattern, name, 0) == 0;
}

bool
restore_selected(const char *const *tables, const char *const *schemas, const char *schema, const char *table)
{
	char *name;
	bool yes = false;

	for (const char *const *p = schemas; p != NULL && *p != NULL && !yes; p++)
		yes = matches(*p, schema);
	name = mem_printf("%s.%s", schema, table);
	for (const char *const *p = tables; p != NULL && *p != NULL && !yes; p++)
		yes = matches(*p, name);
	free(name);
	return yes;
}

bool
restore_wants(const struct restore *r, const char *schema, const char *table)
{
	return !restore_selects(r) || restore_selected(r->o.tables, r->o.schemas, schema, table);
}

/* Relations that a user made, with the table that an owned sequence belongs to.  Views before what they look at. */
static const char relations_sql[] =
    "SELECT n.nspname, c.relname, CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE'"
    "       WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END,"
    "       COALESCE(tn.nspname, n.nspname), COALESCE(t.relname, c.relname), c.relkind = 'p', c.oid"
    "  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    "  LEFT JOIN pg_catalog.pg_depend d ON c.relkind = 'S' AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid"
    "       AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype IN ('a', 'i')"
    "  LEFT JOIN pg_catalog.pg_class t ON t.oid = d.refobjid LEFT JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace"
    " WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.oid >= 16384 AND n.nspname !~ '^pg_(toast|temp)'"
    "   AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend x WHERE x.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND x.objid = c.oid"
    "       AND x.deptype = 'e')"
    " ORDER BY c.relkind IN ('v', 'm') DESC, c.oid DESC";

/* Of names as the server gives them. */
static bool
cells_wanted(const struct restore *r, const struct rows *rows, size_t i, size_t column)
{
	char *schema = json_name(conn_cell(rows, i, column)), *table = json_name(conn_cell(rows, i, column + 1));
	bool yes = restore_wants(r, schema, table);

	free(schema);
	free(table);
	return yes;
}

static bool
wanted(const struct restore *r, const struct rows *rows, size_t i)
{
	return cells_wanted(r, rows, i, 0) || cells_wanted(r, rows, i, 3);
}

/* A partitioned table takes its partitions with it when it is dropped, wanted ones too: it stays for their sake. */
static int
partition_wanted(const struct restore *r, struct conn *c, const char *oid, bool *yes, struct err *e)
{
	const char *const params[] = { oid, NULL };
	struct rows *rows = conn_query(c,
	    "SELECT n.nspname, c.relname FROM pg_catalog.pg_partition_tree($1::pg_catalog.oid::pg_catalog.regclass) t"
	    "  JOIN pg_catalog.pg_class c ON c.oid = t.relid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace", params, e);

	*yes = false;
	for (size_t i = 0; rows != NULL && i < conn_rows(rows) && !*yes; i++)
		*yes = cells_wanted(r, rows, i, 0);
	conn_rows_free(rows);
	return rows == NULL ? -1 : 0;
}

/* Drops each relation that is not wanted and that nothing needs; the number dropped. */
static int
drop_unwanted(struct restore *r, struct conn *c, struct err *e)
{
	struct rows *rows = conn_query(c, relations_sql, NULL, e);
	int dropped = 0;

	for (size_t i = 0; rows != NULL && dropped >= 0 && i < conn_rows(rows); i++) {
		char *name = quote_name(conn_cell(rows, i, 0), conn_cell(rows, i, 1));
		char *sql = mem_printf("DROP %s IF EXISTS %s RESTRICT", conn_cell(rows, i, 2), name);
		struct err own = ERR_INIT;
		bool keep = wanted(r, rows, i);

		if (!keep && conn_cell_bool(rows, i, 5) && partition_wanted(r, c, conn_cell(rows, i, 6), &keep, e) != 0) {
			dropped = -1;
		} else if (!keep) {
			if (conn_exec(c, sql, &own) == 0) {
				dropped++;
			} else if (own.kind == ERR_DATABASE || own.kind == ERR_STOPPED) {
				*e = own;
				dropped = -1;
			}
		}
		free(sql);
		free(name);
	}
	if (rows == NULL)
		dropped = -1;
	conn_rows_free(rows);
	return dropped;
}

int
restore_prune(struct restore *r, struct err *e)
{
	struct conn *c = conn_open(r->o.target, r->o.database, e);
	struct rows *rows;
	bool any = false;
	int dropped;

	if (c == NULL)
		return -1;
	/* What needed a table may be gone after the round in which that was tried. */
	do
		dropped = drop_unwanted(r, c, e);
	while (dropped > 0);
	rows = dropped == 0 ? conn_query(c, relations_sql, NULL, e) : NULL;
	for (size_t i = 0; rows != NULL && i < conn_rows(rows) && !any; i++)
		any = wanted(r, rows, i);
	conn_close(c);
	if (rows == NULL)
		return -1;
	conn_rows_free(rows);
	if (!any) {
		err_set(e, ERR_NOT_FOUND, "no table of the backup matches \"%s\"", r->o.tables != NULL ? r->o.tables[0] : r->o.schemas[0]);
		return err_hint(e, "Write a table as schema.table, as `holdfast show` lists it.");
	}
	return 0;
}

/* A line of pg_restore -l behind its numbers: "TABLE DATA public traces owner"; NULL for a comment. */
static const char *
line_tail(const char *line)
{
	int spaces = 0;

	if (*line < '0' || *line > '9')
		return NULL;
	for (; *line != '\0' && *line != '\n'; line++)
		if (*line == ' ' && ++spaces == 3)
			return line + 1;
	return NULL;
}

static bool
line_begins(const char *tail, size_t bytes, const char *what, const char *schema, const char *name)
{
	char *start = mem_printf("%s %s %s ", what, schema, name);
	bool yes = strlen(start) <= bytes && memcmp(tail, start, strlen(start)) == 0;

	free(start);
	return yes;
}

/* pg_restore -l writes a line break in a name as a space. */
static char *
item_line(const struct archive_item *item)
{
	char *line = mem_printf("%s %s %s %s", item->desc, item->namespace[0] != '\0' ? item->namespace : "-", item->tag, item->owner);

	for (char *p = line; *p != '\0'; p++)
		if (*p == '\n' || *p == '\r')
			*p = ' ';
	return line;
}

static bool
mentions(const char *text, const char *before, const char *name)
{
	size_t n = strlen(name), b = strlen(before);

	for (const char *p = text; (p = strstr(p, before)) != NULL; p++) {
		char after;

		if (strncmp(p + b, name, n) != 0)
			continue;
		after = p[b + n];
		if (after == '\0' || strchr(" \n;(,", after) != NULL)
			return true;
	}
	return false;
}

/* Whether an index, constraint, trigger or policy belongs to this table; a foreign key also needs the table it points to. */
static bool
belongs(const struct restore *r, const struct archive_item *item, const struct rows *rows)
{
	static const char *const before[] = { " ON ", " ON ONLY ", "ALTER TABLE ", "ALTER TABLE ONLY ", "REFRESH MATERIALIZED VIEW ", "ALTER INDEX " };
	bool mine = false, points = strcmp(item->desc, "FK CONSTRAINT") != 0;

	for (size_t i = 0; i < conn_rows(rows); i++) {
		char *name;

		if (!wanted(r, rows, i))
			continue;
		name = quote_name(conn_cell(rows, i, 0), conn_cell(rows, i, 1));
		for (size_t k = 0; k < sizeof(before) / sizeof(before[0]) && !mine; k++)
			mine = mentions(item->defn, before[k], name);
		points = points || mentions(item->defn, "REFERENCES ", name);
		free(name);
	}
	return mine && points;
}

/* Reads the archive's table of contents with our own reader: the listing does not say which table an index belongs to. */
static int
read_items(struct archive_digest *digest, const char *archive, struct err *e)
{
	struct buf bytes = BUF_INIT;
	struct sink *reader = archive_reader_new(digest, NULL, sink_null_new());
	int rc = -1;

	if (file_read(&bytes, archive, (size_t)1 << 30, e) == 0 && sink_write(reader, bytes.data, bytes.bytes, e) == 0)
		rc = sink_finish(reader, e);
	sink_free(reader);
	buf_free(&bytes);
	return rc;
}

static void
pick_line(const struct restore *r, struct buf *out, const char *line, size_t bytes, const struct archive_digest *digest,
    const struct rows *rows)
{
	const char *tail = line_tail(line);
	size_t n;
	bool yes = false;

	if (tail == NULL)
		return;
	n = bytes - (size_t)(tail - line);
	for (size_t i = 0; digest != NULL && i < digest->n_items && !yes; i++) {
		char *text = item_line(&digest->items[i]);

		yes = strlen(text) == n && memcmp(text, tail, n) == 0 && belongs(r, &digest->items[i], rows);
		free(text);
	}
	for (size_t i = 0; digest == NULL && i < conn_rows(rows) && !yes; i++) {
		const char *schema = conn_cell(rows, i, 0), *name = conn_cell(rows, i, 1);

		yes = wanted(r, rows, i) && (line_begins(tail, n, "TABLE DATA", schema, name) || line_begins(tail, n, "SEQUENCE SET", schema, name));
	}
	if (yes) {
		buf_add(out, line, bytes);
		buf_addc(out, '\n');
	}
}

char *
restore_pick(struct restore *r, const char *listing, const char *archive, bool post, struct err *e)
{
	struct archive_digest digest = ARCHIVE_DIGEST_INIT;
	struct conn *c = conn_open(r->o.target, r->o.database, e);
	struct rows *rows = c != NULL ? conn_query(c, relations_sql, NULL, e) : NULL;
	struct buf out = BUF_INIT;
	char *picked = NULL;

	if (rows == NULL || (post && read_items(&digest, archive, e)))
		goto out;
	buf_addstr(&out, "; selected by holdfast\n");
	for (const char *line = listing; line != NULL && *line != '\0';) {
		const char *eol = strchr(line, '\n');
		size_t bytes = eol != NULL ? (size_t)(eol - line) : strlen(line);

		pick_line(r, &out, line, bytes, post ? &digest : NULL, rows);
		line = eol != NULL ? eol + 1 : NULL;
	}
	picked = buf_take(&out);
out:
	conn_rows_free(rows);
	conn_close(c);
	archive_digest_free(&digest);
	buf_free(&out);
	return picked;
}
