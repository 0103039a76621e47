#include "pg/dump_plan.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "pg/quote.h"

/* More streams of their own would make the command line of `rest` too long for some kernels, and gain nothing. */
#define MOST_TABLES "500"

static void
add_option(char ***options, const char *option, const char *value)
{
	size_t n = 0;

	while (*options != NULL && (*options)[n] != NULL)
		n++;
	*options = mem_grow(*options, n + 2, sizeof(**options));
	(*options)[n] = mem_printf("%s%s", option, value);
	(*options)[n + 1] = NULL;
}

static struct dump_stream *
add_stream(struct dump_plan *p, enum dump_kind kind, char *name, uint64_t bytes)
{
	p->streams = mem_grow(p->streams, p->n + 1, sizeof(*p->streams));
	p->options = mem_grow(p->options, p->n + 1, sizeof(*p->options));
	p->streams[p->n] = (struct dump_stream){ .name = name, .kind = kind, .estimated_bytes = bytes };
	p->options[p->n] = NULL;
	return &p->streams[p->n++];
}

void
dump_plan_free(struct dump_plan *p)
{
	for (size_t i = 0; i < p->n; i++) {
		free(p->streams[i].name);
		free(p->streams[i].schema);
		free(p->streams[i].table);
		for (char **o = p->options[i]; o != NULL && *o != NULL; o++)
			free(*o);
		free(p->options[i]);
	}
	free(p->streams);
	free(p->options);
	*p = (struct dump_plan){ .n = 0 };
}

/*
 * Ordinary tables alone: a partitioned root holds no rows, a materialized view is filled by REFRESH in post-data.  Members
 * of extensions stay in `rest`, where pg_dump applies the extension's own rule of which rows are configuration.  Unlogged tables
 * have no rows on a standby.
 */
static const char large_tables[] =
    "SELECT c.oid, n.nspname, c.relname, t.bytes FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace,"
    " LATERAL (SELECT pg_table_size(c.oid) AS bytes) t"
    " WHERE c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
    " AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')"
    " AND NOT (c.relpersistence = 'u' AND pg_is_in_recovery())"
    " AND t.bytes >= $1::bigint ORDER BY t.bytes DESC, n.nspname, c.relname LIMIT " MOST_TABLES;

static const char owned_sequences[] =
    "SELECT n.nspname, s.relname FROM pg_depend d JOIN pg_class s ON s.oid = d.objid JOIN pg_namespace n ON n.oid = s.relnamespace"
    " WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = $1::oid"
    " AND d.deptype IN ('a', 'i') AND s.relkind = 'S'";

static const char all_bytes[] =
    "SELECT coalesce(sum(pg_table_size(c.oid)), 0)::bigint FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' OR c.oid = 'pg_largeobject'::regclass";

static int
leave_out_sequences(char ***options, struct conn *leader, const char *oid, struct err *e)
{
	const char *const params[] = { oid, NULL };
	struct rows *r = conn_query(leader, owned_sequences, params, e);

	for (size_t i = 0; r != NULL && i < conn_rows(r); i++) {
		char *pattern = quote_pattern(conn_cell(r, i, 0), conn_cell(r, i, 1));

		add_option(options, "--exclude-table-data=", pattern);
		free(pattern);
	}
	conn_rows_free(r);
	return r != NULL ? 0 : -1;
}

static int
add_tables(struct dump_plan *p, char ***rest, uint64_t *sum, struct conn *leader, uint64_t large, struct err *e)
{
	char *bound = mem_printf("%llu", (unsigned long long)(large <= INT64_MAX ? large : INT64_MAX));
	const char *const params[] = { bound, NULL };
	struct rows *r = conn_query(leader, large_tables, params, e);
	int rc = r != NULL ? 0 : -1;

	for (size_t i = 0; rc == 0 && i < conn_rows(r); i++) {
		const char *schema = conn_cell(r, i, 1), *table = conn_cell(r, i, 2);
		char *pattern = quote_pattern(schema, table), *name = quote_name(schema, table);
		struct dump_stream *s = add_stream(p, DUMP_TABLE, mem_printf("table %s", name), (uint64_t)conn_cell_int(r, i, 3));

		s->schema = mem_strdup(schema);
		s->table = mem_strdup(table);
		*sum += s->estimated_bytes;
		add_option(&p->options[p->n - 1], "--section=", "data");
		add_option(&p->options[p->n - 1], "--table=", pattern);
		add_option(rest, "--exclude-table-data=", pattern);
		rc = leave_out_sequences(&p->options[p->n - 1], leader, conn_cell(r, i, 0), e);
		free(pattern);
		free(name);
	}
	conn_rows_free(r);
	free(bound);
	return rc;
}

/* `rest` was put behind the tables; it goes to where its size belongs. */
static void
move_rest(struct dump_plan *p)
{
	for (size_t i = p->n - 1; i > 1 && p->streams[i - 1].estimated_bytes < p->streams[i].estimated_bytes; i--) {
		struct dump_stream s = p->streams[i];
		char **o = p->options[i];

		p->streams[i] = p->streams[i - 1];
		p->options[i] = p->options[i - 1];
		p->streams[i - 1] = s;
		p->options[i - 1] = o;
	}
}

int
dump_plan_make(struct dump_plan *p, struct conn *leader, uint64_t large_table_bytes, struct err *e)
{
	char **rest = NULL, *all = NULL;
	uint64_t in_tables = 0, bytes;
	int rc = -1;

	*p = (struct dump_plan){ .n = 0 };
	add_stream(p, DUMP_PRE_DATA, mem_strdup("pre-data"), 0);
	add_option(&p->options[0], "--section=", "pre-data");
	add_option(&rest, "--section=", "data");
	if (large_table_bytes > 0 && add_tables(p, &rest, &in_tables, leader, large_table_bytes, e))
		goto out;
	if (conn_value(&all, leader, all_bytes, NULL, e))
		goto out;
	bytes = strtoull(all, NULL, 10);
	add_stream(p, DUMP_REST, mem_strdup("rest"), bytes > in_tables ? bytes - in_tables : 0);
	p->options[p->n - 1] = rest;
	rest = NULL;
	move_rest(p);
	add_stream(p, DUMP_POST_DATA, mem_strdup("post-data"), 0);
	add_option(&p->options[p->n - 1], "--section=", "post-data");
	rc = 0;
out:
	for (char **o = rest; o != NULL && *o != NULL; o++)
		free(*o);
	free(rest);
	free(all);
	if (rc != 0)
		dump_plan_free(p);
	return rc;
}
