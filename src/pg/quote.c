#include "pg/quote.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Words that PostgreSQL 18 does not take bare as the name of a table or column, sorted for bsearch.  A word that an older
 * server would take is quoted all the same: the text must not depend on the version. */
static const char *const reserved[] = {
	"all", "analyse", "analyze", "and", "any", "array", "as", "asc", "asymmetric", "authorization", "between", "bigint", "binary",
	"bit", "boolean", "both", "case", "cast", "char", "character", "check", "coalesce", "collate", "collation", "column",
	"concurrently", "constraint", "create", "cross", "current_catalog", "current_date", "current_role", "current_schema",
	"current_time", "current_timestamp", "current_user", "dec", "decimal", "default", "deferrable", "desc", "distinct", "do", "else",
	"end", "except", "exists", "extract", "false", "fetch", "float", "for", "foreign", "freeze", "from", "full", "grant", "greatest",
	"group", "grouping", "having", "ilike", "in", "initially", "inner", "inout", "int", "integer", "intersect", "interval", "into",
	"is", "isnull", "join", "json", "json_array", "json_arrayagg", "json_exists", "json_object", "json_objectagg", "json_query",
	"json_scalar", "json_serialize", "json_table", "json_value", "lateral", "leading", "least", "left", "like", "limit", "localtime",
	"localtimestamp", "merge_action", "national", "natural", "nchar", "none", "normalize", "not", "notnull", "null", "nullif",
	"numeric", "offset", "on", "only", "or", "order", "out", "outer", "overlaps", "overlay", "placing", "position", "precision",
	"primary", "real", "references", "returning", "right", "row", "select", "session_user", "setof", "similar", "smallint", "some",
	"substring", "symmetric", "system_user", "table", "tablesample", "then", "time", "timestamp", "to", "trailing", "treat", "trim",
	"true", "union", "unique", "user", "using", "values", "varchar", "variadic", "verbose", "when", "where", "window", "with",
	"xmlattributes", "xmlconcat", "xmlelement", "xmlexists", "xmlforest", "xmlnamespaces", "xmlparse", "xmlpi", "xmlroot",
	"xmlserialize", "xmltable",
};

static int
word_order(const void *key, const void *entry)
{
	return strcmp(key, *(const char *const *)entry);
}

static bool
is_bare(const char *name)
{
	size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_");

	return n > 0 && name[n] == '\0' && (name[0] < '0' || name[0] > '9') &&
	    bsearch(name, reserved, sizeof(reserved) / sizeof(reserved[0]), sizeof(reserved[0]), word_order) == NULL;
}

static void
in_quotes(struct buf *to, const char *name)
{
	buf_addc(to, '"');
	for (; *name != '\0'; name++) {
		if (*name == '"')
			buf_addc(to, '"');
		buf_addc(to, *name);
	}
	buf_addc(to, '"');
}

void
quote_ident(struct buf *to, const char *name)
{
	if (is_bare(name))
		buf_addstr(to, name);
	else
		in_quotes(to, name);
}

char *
quote_name(const char *schema, const char *name)
{
	struct buf text = BUF_INIT;

	if (schema != NULL && schema[0] != '\0') {
		quote_ident(&text, schema);
		buf_addc(&text, '.');
	}
	quote_ident(&text, name);
	return buf_take(&text);
}

char *
quote_pattern(const char *schema, const char *name)
{
	struct buf text = BUF_INIT;

	in_quotes(&text, schema);
	buf_addc(&text, '.');
	in_quotes(&text, name);
	return buf_take(&text);
}

void
quote_literal(struct buf *to, const char *text)
{
	/* E'' says by itself that a backslash escapes, whatever standard_conforming_strings is. */
	if (strchr(text, '\\') != NULL)
		buf_addc(to, 'E');
	buf_addc(to, '\'');
	for (; *text != '\0'; text++) {
		if (*text == '\'' || *text == '\\')
			buf_addc(to, *text);
		buf_addc(to, *text);
	}
	buf_addc(to, '\'');
}
