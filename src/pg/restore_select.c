/* One table back, or some: which, and what belongs to them. */
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "pg/archive.h"
#include "pg/conn_private.h"
#include "pg/globals.h"
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

/* `found` has text of quoted names; true: wanted, false: stays for the sake of a partition that is. */
static void
find(json_t *found, const char *schema, const char *table, bool wanted)
{
	char *quoted = quote_name(schema, table), *name = json_name(quoted);

	if (!json_is_true(json_object_get(found, name)))
		json_put_bool(found, name, wanted);
	free(name);
	free(quoted);
}

/* NULL: neither. */
static const json_t *
found_quoted(const struct restore *r, const char *quoted)
{
	char *name = json_name(quoted);
	const json_t *how = json_object_get(r->found, name);

	free(name);
	return how;
}

/* Of names as the server gives them. */
static bool
is_wanted(const struct restore *r, const char *schema, const char *table)
{
	char *quoted = quote_name(schema, table);
	const json_t *how = found_quoted(r, quoted);

	free(quoted);
	return json_is_true(how);
}

bool
restore_wants(const struct restore *r, const char *schema, const char *table)
{
	char *name;
	bool yes;

	if (!restore_selects(r) || restore_selected(r->o.tables, r->o.schemas, schema, table))
		return true;
	name = quote_name(schema, table);
	yes = json_is_true(json_object_get(r->found, name));
	free(name);
	return yes;
}

/* ---- which ---- */

/* Relations that a user made, with the table that an owned sequence belongs to.  Views before what they look at. */
static const char relations_sql[] =
    "SELECT n.nspname, c.relname, CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE'"
    "       WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END, COALESCE(tn.nspname, n.nspname), COALESCE(t.relname, c.relname)"
    "  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    "  LEFT JOIN pg_catalog.pg_depend d ON c.relkind = 'S' AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid"
    "       AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype IN ('a', 'i')"
    "  LEFT JOIN pg_catalog.pg_class t ON t.oid = d.refobjid LEFT JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace"
    " WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.oid >= 16384 AND n.nspname !~ '^pg_(toast|temp)'"
    "   AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend x WHERE x.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND x.objid = c.oid"
    "       AND x.deptype = 'e')"
    " ORDER BY c.relkind IN ('v', 'm') DESC, c.oid DESC";

/* Each partition with each table that it is a partition of, directly or not. */
static const char partitions_sql[] =
    "SELECT n.nspname, c.relname, an.nspname, a.relname"
    "  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace,"
    "       pg_catalog.pg_partition_ancestors(c.oid) x(oid) JOIN pg_catalog.pg_class a ON a.oid = x.oid"
    "       JOIN pg_catalog.pg_namespace an ON an.oid = a.relnamespace"
    " WHERE c.relispartition AND c.relkind IN ('r', 'p', 'f') AND x.oid <> c.oid";

static bool
cells_selected(const struct restore *r, const struct rows *rows, size_t i, size_t column)
{
	char *schema = json_name(conn_cell(rows, i, column)), *table = json_name(conn_cell(rows, i, column + 1));
	bool yes = restore_selected(r->o.tables, r->o.schemas, schema, table);

	free(schema);
	free(table);
	return yes;
}

/* A partition is wanted when the table is that it is a part of, which has no other rows.  A table stays for a partition that
 * is wanted by itself, and so does one between the two. */
static void
find_partitions(struct restore *r, const struct rows *partitions)
{
	for (size_t i = 0; i < conn_rows(partitions); i++)
		if (cells_selected(r, partitions, i, 2))
			find(r->found, conn_cell(partitions, i, 0), conn_cell(partitions, i, 1), true);
	for (size_t i = 0; i < conn_rows(partitions); i++)
		if (is_wanted(r, conn_cell(partitions, i, 0), conn_cell(partitions, i, 1)))
			find(r->found, conn_cell(partitions, i, 2), conn_cell(partitions, i, 3), false);
}

int
restore_find(struct restore *r, struct err *e)
{
	struct conn *c = conn_open(r->o.target, r->o.database, e);
	struct rows *rows = c != NULL ? conn_query(c, relations_sql, NULL, e) : NULL;
	struct rows *partitions = rows != NULL ? conn_query(c, partitions_sql, NULL, e) : NULL;
	int rc = partitions == NULL ? -1 : 0;

	conn_close(c);
	r->found = json_object();
	for (size_t i = 0; rc == 0 && i < conn_rows(rows); i++)
		if (cells_selected(r, rows, i, 0))
			find(r->found, conn_cell(rows, i, 0), conn_cell(rows, i, 1), true);
	if (rc == 0)
		find_partitions(r, partitions);
	/* What a sequence belongs to may have been found only now. */
	for (size_t i = 0; rc == 0 && i < conn_rows(rows); i++)
		if (is_wanted(r, conn_cell(rows, i, 3), conn_cell(rows, i, 4)))
			find(r->found, conn_cell(rows, i, 0), conn_cell(rows, i, 1), true);
	if (rc == 0 && json_object_size(r->found) == 0) {
		rc = err_set(e, ERR_NOT_FOUND, "no table of the backup matches \"%s\"", r->o.tables != NULL ? r->o.tables[0] : r->o.schemas[0]);
		err_hint(e, "Write a table as schema.table, as `holdfast show` lists it.");
	}
	conn_rows_free(rows);
	conn_rows_free(partitions);
	return rc;
}

/* ---- what goes ---- */

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

		if (found_quoted(r, name) == NULL) {
			if (conn_exec(c, sql, &own) == 0) {
				dropped++;
			} else if (conn_is_over(&own)) {
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
restore_prune(struct restore *r, json_t *notes, struct err *e)
{
	struct conn *c = conn_open(r->o.target, r->o.database, e);
	int dropped = -1;

	json_array_extend(notes, r->left_out);
	/* What needed a table may be gone after the round in which that was tried. */
	if (c != NULL)
		do
			dropped = drop_unwanted(r, c, e);
		while (dropped > 0);
	conn_close(c);
	return dropped;
}

/* ---- what of an archive ---- */

/* The table of contents is all that is wanted: what comes behind it need not be read. */
static int
at_the_data(void *ctx, const struct archive_entry *entry, struct err *e)
{
	(void)entry;
	*(bool *)ctx = true;
	return err_set(e, ERR_STOPPED, "the table of contents is read");
}

static int
no_rows(void *ctx, const void *data, size_t bytes, struct err *e)
{
	(void)ctx, (void)data, (void)bytes, (void)e;
	return 0;
}

static int
read_contents(struct archive_digest *digest, const char *archive, struct err *e)
{
	struct sink *reader = archive_reader_new(digest, NULL, sink_null_new());
	bool done = false;
	char *piece = mem_zero(1, 65536);
	FILE *f = fopen(archive, "re");
	size_t bytes;
	int rc = f == NULL ? err_sys(e, "open \"%s\"", archive) : 0;

	digest->counts_only = true;
	archive_reader_tap(reader, &(struct archive_tap){ at_the_data, no_rows, &done });
	while (rc == 0 && (bytes = fread(piece, 1, 65536, f)) > 0)
		rc = sink_write(reader, piece, bytes, e);
	if (rc == 0)
		rc = ferror(f) ? err_sys(e, "read \"%s\"", archive) : sink_finish(reader, e);
	if (done) {
		err_clear(e);
		rc = 0;
	}
	if (f != NULL)
		fclose(f);
	free(piece);
	sink_free(reader);
	return rc;
}

/* "app.orders" at the beginning of *text, quoted anew; *text is behind it. */
static char *
take_table(const char **text)
{
	char *schema = globals_name(*text, text), *table = **text == '.' ? globals_name(*text + 1, text) : mem_strdup("");
	char *name = quote_name(schema, table);

	free(schema);
	free(table);
	return name;
}

/* What follows these words, outside of quoted names; without ONLY. */
static const char *
behind(const char *text, const char *words)
{
	bool quoted = false;

	for (; *text != '\0'; text++) {
		quoted = quoted != (*text == '"');
		if (!quoted && strncmp(text, words, strlen(words)) == 0) {
			text += strlen(words);
			return strncmp(text, "ONLY ", 5) == 0 ? text + 5 : text;
		}
	}
	return NULL;
}

static void
leave_note(struct restore *r, char *sentence)
{
	json_add(r->left_out, json_str(sentence));
	free(sentence);
}

/* A foreign key needs the rows of both tables.  "ALTER TABLE ONLY app.orders ADD CONSTRAINT c FOREIGN KEY (u) REFERENCES app.users(id);" */
static bool
takes_foreign_key(struct restore *r, const struct archive_item *item)
{
	const char *of = behind(item->defn, "ALTER TABLE "), *to = behind(item->defn, " REFERENCES ");
	char *mine, *other;
	bool takes;

	if (of == NULL || to == NULL)
		return true;
	mine = take_table(&of);
	other = take_table(&to);
	takes = found_quoted(r, mine) != NULL && json_is_true(found_quoted(r, other));
	if (found_quoted(r, mine) != NULL && !takes)
		leave_note(r, mem_printf("foreign key \"%s\" was left out: it points to %s, which was not asked for", item->tag, other));
	free(mine);
	free(other);
	return takes;
}

static void
note_publication(struct restore *r, const struct archive_item *item)
{
	const char *table = behind(item->defn, " ADD TABLE ");
	char *name = table != NULL ? take_table(&table) : NULL;

	if (name != NULL && json_is_true(found_quoted(r, name)))
		leave_note(r, mem_printf("%s is in a publication (\"%s\"), which was left out", name, item->tag));
	free(name);
}

/*
 * Post-data is restored whole, on tables that are empty where they were not asked for: only the server knows what belongs to
 * what (pg_dump leaves an index' table out of its list of dependencies), and when the tables go, it takes all of that with
 * them.  Left out is what needs rows that are not there, and what belongs to the database.
 */
static bool
takes(struct restore *r, const struct archive_item *item)
{
	static const char *const whole[] = { "PUBLICATION", "EVENT TRIGGER", "SUBSCRIPTION", "DEFAULT ACL" };

	if (strcmp(item->desc, "FK CONSTRAINT") == 0)
		return takes_foreign_key(r, item);
	if (strcmp(item->desc, "MATERIALIZED VIEW DATA") == 0)
		return is_wanted(r, item->namespace, item->tag);
	if (strcmp(item->desc, "PUBLICATION TABLE") == 0)
		note_publication(r, item);
	for (size_t i = 0; i < sizeof(whole) / sizeof(whole[0]); i++)
		if (strncmp(item->desc, whole[i], strlen(whole[i])) == 0)
			return false;
	return true;
}

struct number {
	int32_t id;
	size_t at;
};

static int
number_order(const void *a, const void *b)
{
	int32_t x = ((const struct number *)a)->id, y = ((const struct number *)b)->id;

	return (x > y) - (x < y);
}

static struct number *
numbers_of(const struct archive_digest *d)
{
	struct number *numbers = mem_zero(d->n_items + 1, sizeof(*numbers));

	for (size_t i = 0; i < d->n_items; i++)
		numbers[i] = (struct number){ d->items[i].id, i };
	qsort(numbers, d->n_items, sizeof(*numbers), number_order);
	return numbers;
}

/* Both ways along the dependencies, up to where nothing changes.  A materialized view that is filled needs those filled that it
 * looks at; what belongs to something that is left out, as its comment does, goes with it. */
static void
follow_dependencies(const struct archive_digest *d, bool *take)
{
	static const char fill[] = "MATERIALIZED VIEW DATA";
	struct number *numbers = numbers_of(d);

	for (int way = 0; way < 2; way++) {
		bool more = true;

		while (more) {
			more = false;
			for (size_t i = 0; i < d->n_items; i++)
				for (size_t k = 0; take[i] && k < d->items[i].n_depends; k++) {
					const struct number key = { d->items[i].depends[k], 0 };
					const struct number *on = bsearch(&key, numbers, d->n_items, sizeof(key), number_order);

					if (on == NULL || take[on->at])
						continue;
					if (way == 0 && strcmp(d->items[i].desc, fill) == 0 && strcmp(d->items[on->at].desc, fill) == 0)
						take[on->at] = more = true;
					else if (way == 1)
						take[i] = !(more = true);
				}
		}
	}
	free(numbers);
}

/* The numbers of what is taken, as members of an object. */
static json_t *
choose(struct restore *r, const struct archive_digest *d, bool post)
{
	bool *take = mem_zero(d->n_items + 1, sizeof(*take));
	json_t *numbers = json_object();
	char id[16];

	for (size_t i = 0; post && i < d->n_items; i++)
		take[i] = takes(r, &d->items[i]);
	follow_dependencies(d, take);
	for (size_t i = 0; i < d->n_items; i++)
		if (take[i]) {
			snprintf(id, sizeof(id), "%d", (int)d->items[i].id);
			json_put_bool(numbers, id, true);
		}
	for (size_t i = 0; i < d->n_entries; i++) {
		const struct archive_entry *entry = &d->entries[i];

		/* All sequences: one that a column's default needs stays, whosoever it is, and has to have its value. */
		if (entry->type == ARCHIVE_SEQUENCE || (entry->type == ARCHIVE_TABLE && json_is_true(found_quoted(r, entry->name)))) {
			snprintf(id, sizeof(id), "%d", (int)entry->id);
			json_put_bool(numbers, id, true);
		}
	}
	free(take);
	return numbers;
}

/* The text of the archive is in the encoding of its database, and is compared with names in that of the target's. */
static int
check_encoding(const struct restore *r, const struct archive_digest *d, struct err *e)
{
	struct conn *c = conn_open(r->o.target, r->o.database, e);
	char *here = NULL, *statement;
	int rc = c != NULL ? conn_value(&here, c, "SELECT pg_catalog.current_setting('server_encoding')", NULL, e) : -1;

	statement = mem_printf("SET client_encoding = '%s';", here != NULL ? here : "");
	for (size_t i = 0; rc == 0 && i < d->n_items; i++)
		if (strcmp(d->items[i].desc, "ENCODING") == 0 && strncmp(d->items[i].defn, statement, strlen(statement)) != 0) {
			rc = err_set(e, ERR_REFUSED, "database \"%s\" has the encoding %s, and the source has another", r->o.database, here);
			err_hint(e, "Parts of a backup are restored into a new database, which gets the source's encoding.");
		}
	free(statement);
	free(here);
	conn_close(c);
	return rc;
}

char *
restore_pick(struct restore *r, const char *listing, const char *archive, bool post, struct err *e)
{
	struct archive_digest digest = ARCHIVE_DIGEST_INIT;
	struct buf out = BUF_INIT;
	json_t *numbers = NULL;
	char *picked = NULL;

	if (read_contents(&digest, archive, e) || check_encoding(r, &digest, e))
		goto out;
	numbers = choose(r, &digest, post);
	buf_addstr(&out, "; selected by holdfast\n");
	for (const char *line = listing; line != NULL && *line != '\0';) {
		const char *eol = strchr(line, '\n');
		size_t bytes = eol != NULL ? (size_t)(eol - line) : strlen(line), digits = strspn(line, "0123456789");
		char *id = mem_strndup(line, digits);

		/* "3242; 1259 16407 INDEX app events_at_idx postgres" */
		if (digits > 0 && line[digits] == ';' && json_object_get(numbers, id) != NULL) {
			buf_add(&out, line, bytes);
			buf_addc(&out, '\n');
		}
		free(id);
		line = eol != NULL ? eol + 1 : NULL;
	}
	picked = buf_take(&out);
out:
	json_decref(numbers);
	archive_digest_free(&digest);
	buf_free(&out);
	return picked;
}
