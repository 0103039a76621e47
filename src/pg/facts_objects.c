#include "pg/facts.h"

/*
 * One query, a row for each class that has any.  Left out: what belongs to an extension, what the system made, and what
 * versions count differently for the same dump (multiranges, triggers cloned to partitions, NOT NULL as a constraint in 18), so that
 * a drill on a newer major compares like with like.
 */
#define USER_SCHEMAS "(SELECT oid FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema')"

/* Catalogs whose every user-made row is one object of one class: OIDs below 16384 are initdb's. */
#define CATALOG(catalog, class) " UNION ALL SELECT '" catalog "'::regclass::oid, oid, '" class "' FROM " catalog " WHERE oid >= 16384"

static const char counts[] =
    "SELECT o.class, count(*) FROM ("
    "SELECT 'pg_class'::regclass::oid AS catalog, oid AS object, CASE relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'partitioned table'"
    "  WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table' WHEN 'S' THEN 'sequence'"
    "  WHEN 'i' THEN 'index' WHEN 'I' THEN 'partitioned index' WHEN 'c' THEN 'composite type' END AS class"
    "  FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'i', 'I', 'c') AND relnamespace IN " USER_SCHEMAS
    " UNION ALL SELECT 'pg_proc'::regclass, oid, CASE prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate'"
    "  WHEN 'w' THEN 'window function' ELSE 'function' END FROM pg_proc p WHERE pronamespace IN " USER_SCHEMAS
    /* A range type brings its constructors along. */
    "  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'i')"
    " UNION ALL SELECT 'pg_type'::regclass, oid, CASE typtype WHEN 'd' THEN 'domain' WHEN 'e' THEN 'enum' WHEN 'r' THEN 'range type'"
    "  ELSE 'base type' END FROM pg_type t WHERE typnamespace IN " USER_SCHEMAS
    "  AND (typtype IN ('d', 'e', 'r') OR typtype = 'b' AND NOT EXISTS (SELECT FROM pg_type a WHERE a.typarray = t.oid))"
    " UNION ALL SELECT 'pg_constraint'::regclass, oid, CASE contype WHEN 'c' THEN 'check constraint' WHEN 'f' THEN 'foreign key'"
    "  WHEN 'p' THEN 'primary key' WHEN 'u' THEN 'unique constraint' ELSE 'exclusion constraint' END FROM pg_constraint"
    "  WHERE contype IN ('c', 'f', 'p', 'u', 'x') AND connamespace IN " USER_SCHEMAS
    " UNION ALL SELECT 'pg_trigger'::regclass, t.oid, 'trigger' FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid"
    "  WHERE NOT t.tgisinternal AND t.tgparentid = 0 AND c.relnamespace IN " USER_SCHEMAS
    " UNION ALL SELECT 'pg_rewrite'::regclass, w.oid, 'rule' FROM pg_rewrite w JOIN pg_class c ON c.oid = w.ev_class"
    "  WHERE w.rulename <> '_RETURN' AND c.relnamespace IN " USER_SCHEMAS
    " UNION ALL SELECT 'pg_attrdef'::regclass, a.oid, 'column default' FROM pg_attrdef a JOIN pg_class c ON c.oid = a.adrelid"
    "  WHERE c.relnamespace IN " USER_SCHEMAS
    " UNION ALL SELECT 'pg_namespace'::regclass, oid, 'schema' FROM pg_namespace WHERE oid IN " USER_SCHEMAS
    " UNION ALL SELECT 'pg_subscription'::regclass, oid, 'subscription' FROM pg_subscription"
    "  WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " UNION ALL SELECT 'pg_user_mapping'::regclass, umid, 'user mapping' FROM pg_user_mappings"
    " UNION ALL SELECT classoid, objoid, 'comment' FROM pg_description WHERE objoid >= 16384"
    " UNION ALL SELECT classoid, objoid, 'security label' FROM pg_seclabel"
    " UNION ALL SELECT 0, inhrelid, 'inheritance' FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
    "  WHERE c.relkind IN ('r', 'p', 'f') AND c.relnamespace IN " USER_SCHEMAS
    CATALOG("pg_policy", "row security policy")
    CATALOG("pg_statistic_ext", "extended statistics")
    CATALOG("pg_event_trigger", "event trigger")
    CATALOG("pg_publication", "publication")
    CATALOG("pg_foreign_server", "foreign server")
    CATALOG("pg_foreign_data_wrapper", "foreign-data wrapper")
    CATALOG("pg_language", "language")
    /* Not the one that a range type brings along. */
    CATALOG("pg_cast", "cast") " AND oid NOT IN (SELECT objid FROM pg_depend WHERE classid = 'pg_cast'::regclass AND deptype = 'i')"
    CATALOG("pg_operator", "operator")
    CATALOG("pg_opclass", "operator class")
    CATALOG("pg_opfamily", "operator family")
    CATALOG("pg_collation", "collation")
    CATALOG("pg_conversion", "conversion")
    CATALOG("pg_ts_config", "text search configuration")
    CATALOG("pg_ts_dict", "text search dictionary")
    CATALOG("pg_ts_parser", "text search parser")
    CATALOG("pg_ts_template", "text search template")
    CATALOG("pg_am", "access method")
    CATALOG("pg_transform", "transform")
    CATALOG("pg_default_acl", "default privileges")
    CATALOG("pg_largeobject_metadata", "large object")
    ") o WHERE NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = o.catalog AND d.objid = o.object AND d.deptype = 'e')"
    " GROUP BY 1"
    " UNION ALL SELECT 'extension', count(*) FROM pg_extension"
    " ORDER BY 1";

json_t *
facts_objects(struct conn *c, struct err *e)
{
	struct rows *r = conn_query(c, counts, NULL, e);
	json_t *objects;

	if (r == NULL) {
		err_wrap(e, "count objects by class");
		return NULL;
	}
	objects = json_object();
	for (size_t i = 0; i < conn_rows(r); i++)
		json_put_int(objects, conn_cell(r, i, 0), conn_cell_int(r, i, 1));
	conn_rows_free(r);
	return objects;
}
