#include "pg/facts.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "pg/conn_private.h"

/* OIDs of pg_type that never change. */
enum { TYPE_BOOL = 16, TYPE_INT8 = 20, TYPE_INT2 = 21, TYPE_INT4 = 23, TYPE_OID = 26, TYPE_JSON = 114 };

static json_t *
cell_json(const struct rows *r, size_t row, size_t column)
{
	const char *text = conn_cell(r, row, column);
	struct err ignored = ERR_INIT;
	json_t *value;

	if (text == NULL)
		return json_null();
	switch (conn_column_type(r, column)) {
	case TYPE_BOOL:
		return json_boolean(text[0] == 't');
	case TYPE_INT8:
	case TYPE_INT4:
	case TYPE_INT2:
	case TYPE_OID:
		return json_integer(strtoll(text, NULL, 10));
	case TYPE_JSON:
		value = json_parse(text, strlen(text), "a fact", &ignored);
		if (value != NULL)
			return value;
		break;          /* a name that is no UTF-8: as text then */
	default:
		break;
	}
	return json_str(text);
}

/*
 * The rows of a query as an array of objects: columns become members, by their names; boolean, integer and json columns are
 * what they are, all else is text.  Text comes in the database's encoding, and what is no UTF-8 is repaired.
 */
static json_t *
list_rows(struct conn *c, const char *sql, const char *const *params, struct err *e)
{
	struct rows *r = conn_query(c, sql, params, e);
	json_t *list;

	if (r == NULL)
		return NULL;
	list = json_array();
	for (size_t i = 0; i < conn_rows(r); i++) {
		json_t *object = json_object();

		for (size_t k = 0; k < conn_columns(r); k++)
			json_put(object, conn_column_name(r, k), cell_json(r, i, k));
		json_add(list, object);
	}
	conn_rows_free(r);
	return list;
}

/* The first column alone, as an array. */
static json_t *
facts_list(struct conn *c, const char *sql, struct err *e)
{
	struct rows *r = conn_query(c, sql, NULL, e);
	json_t *list;

	if (r == NULL)
		return NULL;
	list = json_array();
	for (size_t i = 0; i < conn_rows(r); i++)
		json_add(list, cell_json(r, i, 0));
	conn_rows_free(r);
	return list;
}

static int
put_rows(json_t *to, const char *key, struct conn *c, const char *sql, struct err *e)
{
	json_t *list = list_rows(c, sql, NULL, e);

	if (list == NULL)
		return -1;
	json_put(to, key, list);
	return 0;
}

static int
put_list(json_t *to, const char *key, struct conn *c, const char *sql, struct err *e)
{
	json_t *list = facts_list(c, sql, e);

	if (list == NULL)
		return -1;
	json_put(to, key, list);
	return 0;
}

/* All members of the one row of `sql`. */
static int
put_row(json_t *to, struct conn *c, const char *sql, struct err *e)
{
	json_t *list = list_rows(c, sql, NULL, e);
	int rc = list == NULL ? -1 : 0;

	if (list != NULL && json_array_size(list) > 0)
		json_object_update(to, json_array_get(list, 0));
	json_decref(list);
	return rc;
}

static const char cluster_row[] =
    "SELECT (SELECT system_identifier::text FROM pg_control_system()) AS system_identifier, current_setting('server_version') AS server_version,"
    " current_setting('server_version_num')::int AS server_version_num, pg_is_in_recovery() AS in_recovery,"
    " (SELECT timeline_id FROM pg_control_checkpoint()) AS timeline, current_setting('data_checksums') = 'on' AS data_checksums,"
    " (SELECT setting::bigint FROM pg_settings WHERE name = 'wal_segment_size') AS wal_segment_bytes, current_user::text AS role,"
    " (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS role_superuser,"
    " (SELECT rolbypassrls FROM pg_roles WHERE rolname = current_user) AS role_bypassrls,"
    " has_table_privilege('pg_catalog.pg_authid', 'SELECT') AS can_read_passwords";

/* R40; reset_val, since our own session has set some of them for itself. */
static const char cluster_settings[] =
    "SELECT name, reset_val AS value FROM pg_settings WHERE name IN ('standard_conforming_strings', 'escape_string_warning',"
    " 'backslash_quote', 'bytea_output', 'extra_float_digits', 'DateStyle', 'IntervalStyle', 'TimeZone', 'lc_messages', 'xmlbinary', 'xmloption',"
    " 'array_nulls', 'quote_all_identifiers', 'default_table_access_method', 'default_tablespace', 'default_toast_compression',"
    " 'server_encoding', 'shared_preload_libraries', 'session_preload_libraries', 'local_preload_libraries', 'wal_level',"
    " 'password_encryption', 'block_size', 'max_identifier_length', 'max_locks_per_transaction', 'row_security',"
    " 'restrict_nonsystem_relation_kind', 'old_snapshot_threshold', 'max_slot_wal_keep_size') ORDER BY name";

static const char tablespaces[] =
    "SELECT spcname AS name, pg_get_userbyid(spcowner) AS owner, pg_tablespace_location(oid) AS location, to_json(spcoptions) AS options,"
    " to_json(spcacl::text[]) AS acl FROM pg_tablespace WHERE spcname NOT IN ('pg_default', 'pg_global') ORDER BY 1";

/* What pg_database has for locales moved with 15, and was renamed with 17. */
static char *
databases_sql(int version)
{
	struct buf sql = BUF_INIT;

	buf_addstr(&sql, "SELECT d.datname AS name, pg_get_userbyid(d.datdba) AS owner, pg_encoding_to_char(d.encoding) AS encoding,"
	    " d.datcollate AS collate, d.datctype AS ctype, ");
	if (version >= 150000)
		buf_addf(&sql, "CASE d.datlocprovider WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin' ELSE 'libc' END AS provider,"
		    " d.%s AS icu_locale, d.datcollversion AS collation_version,"
		    " pg_database_collation_actual_version(d.oid) AS collation_version_now, ",
		    version >= 170000 ? "datlocale" : "daticulocale");
	else
		buf_addstr(&sql, "'libc' AS provider, NULL AS icu_locale, NULL AS collation_version, NULL AS collation_version_now, ");
	buf_addf(&sql, "%s AS icu_rules, ", version >= 160000 ? "d.daticurules" : "NULL");
	buf_addstr(&sql, "d.datallowconn AS allow_connections, d.datistemplate AS template, d.datconnlimit AS connection_limit,"
	    " t.spcname AS tablespace, to_json(d.datacl::text[]) AS acl,"
	    " (SELECT coalesce(json_agg(json_build_object('role', r.rolname, 'setting', v.setting) ORDER BY r.rolname NULLS FIRST, v.setting),"
	    " '[]'::json) FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole, unnest(s.setconfig) v(setting)"
	    " WHERE s.setdatabase = d.oid) AS settings,"
	    " CASE WHEN has_database_privilege(d.oid, 'CONNECT') THEN pg_database_size(d.oid) END AS bytes,"
	    " shobj_description(d.oid, 'pg_database') AS comment"
	    " FROM pg_database d JOIN pg_tablespace t ON t.oid = d.dattablespace ORDER BY 1");
	return buf_take(&sql);
}

static int
put_settings(json_t *to, struct conn *c, struct err *e)
{
	struct rows *r = conn_query(c, cluster_settings, NULL, e);
	json_t *settings;

	if (r == NULL)
		return -1;
	settings = json_object();
	for (size_t i = 0; i < conn_rows(r); i++)
		json_put_str(settings, conn_cell(r, i, 0), conn_cell(r, i, 1));
	json_put(to, "settings", settings);
	conn_rows_free(r);
	return 0;
}

json_t *
facts_cluster(struct conn *c, struct err *e)
{
	json_t *facts = json_object();
	char *databases = databases_sql(conn_server_version(c));

	if (put_row(facts, c, cluster_row, e) || put_settings(facts, c, e) || put_rows(facts, "tablespaces", c, tablespaces, e) ||
	    put_rows(facts, "databases", c, databases, e)) {
		err_wrap(e, "facts of the server");
		json_decref(facts);
		facts = NULL;
	}
	free(databases);
	return facts;
}

json_t *
facts_databases(struct conn *c, struct err *e)
{
	/* -2 marks a database whose DROP was cut short: nobody can connect to it. */
	return facts_list(c, "SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate AND datconnlimit <> -2 ORDER BY 1", e);
}

static const char extensions[] =
    "SELECT x.extname AS name, x.extversion AS version, n.nspname AS schema FROM pg_extension x JOIN pg_namespace n ON n.oid = x.extnamespace"
    " ORDER BY 1";

#define USER_TABLES " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace" \
	" WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"

static const char unlogged[] = "SELECT format('%I.%I', n.nspname, c.relname)" USER_TABLES
    " AND c.relkind IN ('r', 'p') AND c.relpersistence = 'u' ORDER BY 1";

static const char foreign_tables[] = "SELECT format('%I.%I', n.nspname, c.relname)" USER_TABLES " AND c.relkind = 'f' ORDER BY 1";

/* R36: with row_security off pg_dump fails at such a table rather than leave rows out; better known beforehand. */
static const char hidden_rows[] = "SELECT format('%I.%I', n.nspname, c.relname)" USER_TABLES
    " AND c.relkind IN ('r', 'p') AND c.relrowsecurity"
    " AND NOT (SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user)"
    " AND (c.relforcerowsecurity OR NOT pg_has_role(c.relowner, 'USAGE')) ORDER BY 1";

static const char largest[] = "SELECT format('%I.%I', n.nspname, c.relname) AS name, pg_table_size(c.oid) AS bytes,"
    " c.reltuples::bigint AS estimated_rows" USER_TABLES " AND c.relkind = 'r' ORDER BY 2 DESC, 1 LIMIT 20";

static const char stale_collations[] =
    "SELECT format('%I.%I', n.nspname, l.collname) AS name, l.collversion AS version, pg_collation_actual_version(l.oid) AS version_now"
    " FROM pg_collation l JOIN pg_namespace n ON n.oid = l.collnamespace"
    " WHERE l.collversion IS NOT NULL AND l.collversion IS DISTINCT FROM pg_collation_actual_version(l.oid)"
    " AND (n.nspname <> 'pg_catalog' OR EXISTS (SELECT FROM pg_attribute a WHERE a.attcollation = l.oid AND a.attrelid >= 16384)) ORDER BY 1";

static const char database_row[] =
    "SELECT current_database()::text AS name, (SELECT count(*) FROM pg_largeobject_metadata) AS large_objects,"
    " pg_database_size(current_database()) AS bytes";

/* A table by this name alone, with these columns, that we may read: never a view, whose body would run. */
static const char prisma_table[] =
    "SELECT format('%I.%I', n.nspname, c.relname)" USER_TABLES
    " AND c.relname = '_prisma_migrations' AND c.relkind = 'r' AND NOT c.relrowsecurity AND has_schema_privilege(n.oid, 'USAGE')"
    " AND has_table_privilege(c.oid, 'SELECT')"
    " AND 3 = (SELECT count(*) FROM pg_attribute a WHERE a.attrelid = c.oid AND NOT a.attisdropped AND a.attnum > 0"
    "  AND (a.attname = 'migration_name' AND a.atttypid IN ('text'::regtype, 'varchar'::regtype)"
    "  OR a.attname IN ('started_at', 'finished_at') AND a.atttypid = 'timestamptz'::regtype))"
    " ORDER BY n.nspname = 'public' DESC, n.nspname LIMIT 1";

static int
put_prisma(json_t *to, struct conn *c, struct err *e)
{
	char *table = NULL, *sql;
	json_t *list;

	if (conn_value(&table, c, prisma_table, NULL, e))
		return -1;
	if (table == NULL) {
		json_put(to, "prisma_migration", json_null());
		return 0;
	}
	sql = mem_printf("SELECT migration_name::text AS name, started_at::text AS started, finished_at::text AS finished,"
	    " (SELECT count(*) FROM %s) AS migrations FROM %s ORDER BY started_at DESC NULLS LAST LIMIT 1", table, table);
	list = list_rows(c, sql, NULL, e);
	if (list != NULL)
		json_put(to, "prisma_migration", json_array_size(list) > 0 ? json_incref(json_array_get(list, 0)) : json_null());
	json_decref(list);
	free(sql);
	free(table);
	return list != NULL ? 0 : -1;
}

json_t *
facts_database(struct conn *c, struct err *e)
{
	static const struct {
		const char *key, *sql;
		int (*put)(json_t *to, const char *key, struct conn *c, const char *sql, struct err *e);
	} parts[] = {
		{ "extensions", extensions, put_rows },
		{ "unlogged_tables", unlogged, put_list },
		{ "foreign_tables", foreign_tables, put_list },
		{ "row_security", hidden_rows, put_list },
		{ "collations", stale_collations, put_rows },
		{ "largest_tables", largest, put_rows },
	};
	json_t *facts = json_object(), *objects;
	bool good = put_row(facts, c, database_row, e) == 0;

	for (size_t i = 0; good && i < sizeof(parts) / sizeof(parts[0]); i++)
		good = parts[i].put(facts, parts[i].key, c, parts[i].sql, e) == 0;
	good = good && put_prisma(facts, c, e) == 0;
	objects = good ? facts_objects(c, e) : NULL;
	if (objects == NULL) {
		err_wrap(e, "facts of the database");
		json_decref(facts);
		return NULL;
	}
	json_put(facts, "objects", objects);
	return facts;
}
