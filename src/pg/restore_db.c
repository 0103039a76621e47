/* The database itself: made as the source's was, proven empty, and given its owner, rights and settings at the end (R32, R37). */
#include <locale.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "pg/conn_private.h"
#include "pg/quote.h"
#include "pg/restore_parts.h"

static void
add_option(struct buf *sql, const char *option, const json_t *facts, const char *key)
{
	const char *value = json_opt_str(facts, key, NULL);

	if (value == NULL || value[0] == '\0')
		return;
	buf_addf(sql, " %s ", option);
	quote_literal(sql, value);
}

/* On our own machine the C library can say what it lacks before the server does: that is no fault of the backup. */
static int
check_locale(const struct pg_target *target, const json_t *facts, struct err *e)
{
	static const char *const keys[] = { "collate", "ctype" };

	for (size_t i = 0; target->host != NULL && target->host[0] == '/' && i < 2; i++) {
		const char *name = json_opt_str(facts, keys[i], "C");
		locale_t known = newlocale(LC_ALL_MASK, name, (locale_t)0);

		if (known != (locale_t)0) {
			freelocale(known);
			continue;
		}
		err_set(e, ERR_NOT_FOUND, "the locale \"%s\" of the database is not installed here", name);
		return err_hint(e, "add it with locale-gen or localedef where the restore runs");
	}
	return 0;
}

/* Its own one, where that was made; else the default. */
static int
add_tablespace(struct buf *sql, struct conn *c, const json_t *facts, struct err *e)
{
	const char *const params[] = { json_opt_str(facts, "tablespace", "pg_default"), NULL };
	char *there = NULL;

	if (conn_value(&there, c, "SELECT spcname FROM pg_catalog.pg_tablespace WHERE spcname = $1", params, e))
		return -1;
	if (there != NULL) {
		buf_addstr(sql, " TABLESPACE ");
		quote_ident(sql, there);
	}
	free(there);
	return 0;
}

int
restore_create(const struct pg_target *target, const char *name, const json_t *facts, struct err *e)
{
	const char *provider = json_opt_str(facts, "provider", "c");
	const char *const params[] = { name, NULL };
	struct buf sql = BUF_INIT;
	struct conn *c = NULL;
	char *taken = NULL;
	int rc = -1;

	if (check_locale(target, facts, e) || (c = conn_open(target, NULL, e)) == NULL ||
	    conn_value(&taken, c, "SELECT 'yes' FROM pg_catalog.pg_database WHERE datname = $1", params, e))
		goto out;
	if (taken != NULL) {
		err_set(e, ERR_EXISTS, "database \"%s\" is there already", name);
		err_hint(e, "A restore makes its database: choose another name and rename later, or drop this one if a restore that was killed left it. Into one "
		    "that exists and is empty: --existing.");
		goto out;
	}
	buf_addstr(&sql, "CREATE DATABASE ");
	quote_ident(&sql, name);
	buf_addstr(&sql, " TEMPLATE template0");
	add_option(&sql, "ENCODING", facts, "encoding");
	if (provider[0] == 'i') {
		buf_addstr(&sql, " LOCALE_PROVIDER icu");
		add_option(&sql, "ICU_LOCALE", facts, "icu_locale");
		add_option(&sql, "ICU_RULES", facts, "icu_rules");
	} else if (provider[0] == 'b') {
		buf_addstr(&sql, " LOCALE_PROVIDER builtin");
		add_option(&sql, "BUILTIN_LOCALE", facts, "icu_locale");
	}
	add_option(&sql, "LC_COLLATE", facts, "collate");
	add_option(&sql, "LC_CTYPE", facts, "ctype");
	if (add_tablespace(&sql, c, facts, e))
		goto out;
	rc = conn_exec(c, (char *)sql.data, e);
	if (rc != 0)
		err_wrap(e, "make database \"%s\"", name);
out:
	free(taken);
	buf_free(&sql);
	conn_close(c);
	return rc;
}

/* All that initdb makes has an OID below 16384 (FirstNormalObjectId), and template0 holds nothing else. */
static const char first_object_sql[] =
    "SELECT what FROM ("
    "  SELECT 'relation ' || n.nspname || '.' || c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    "   WHERE c.oid >= 16384 AND n.nspname !~ '^pg_(toast|temp)'"
    "  UNION ALL SELECT 'function ' || proname FROM pg_catalog.pg_proc WHERE oid >= 16384"
    "  UNION ALL SELECT 'type ' || typname FROM pg_catalog.pg_type WHERE oid >= 16384 AND typnamespace <> 'pg_toast'::pg_catalog.regnamespace"
    "  UNION ALL SELECT 'schema ' || nspname FROM pg_catalog.pg_namespace WHERE oid >= 16384 AND nspname !~ '^pg_(toast_)?temp'"
    "  UNION ALL SELECT 'extension ' || extname FROM pg_catalog.pg_extension WHERE oid >= 16384"
    "  UNION ALL SELECT 'large object ' || oid FROM pg_catalog.pg_largeobject_metadata"
    "  UNION ALL SELECT 'event trigger ' || evtname FROM pg_catalog.pg_event_trigger WHERE oid >= 16384"
    "  UNION ALL SELECT 'publication ' || pubname FROM pg_catalog.pg_publication WHERE oid >= 16384"
    "  UNION ALL SELECT 'foreign server ' || srvname FROM pg_catalog.pg_foreign_server WHERE oid >= 16384"
    ") AS all_of_them(what) LIMIT 1";

int
restore_check_empty(const struct pg_target *target, const char *name, struct err *e)
{
	struct conn *c = conn_open(target, name, e);
	char *found = NULL;
	int rc = c == NULL ? -1 : conn_value(&found, c, first_object_sql, NULL, e);

	if (rc == 0 && found != NULL) {
		rc = err_set(e, ERR_REFUSED, "database \"%s\" is not empty: it holds %s", name, found);
		err_hint(e, "a restore never merges with what is there; restore into a new database and rename it");
	}
	free(found);
	conn_close(c);
	return rc;
}

/* ---- the end ---- */

/* Runs one statement; one that fails becomes a note, a lost connection an error. */
static int
try_one(struct conn *c, struct buf *sql, const char *what, json_t *notes, struct err *e)
{
	struct err own = ERR_INIT;
	int rc = conn_exec(c, (char *)sql->data, &own);
	char *sentence;

	buf_free(sql);
	if (rc == 0)
		return 0;
	if (conn_is_over(&own)) {
		*e = own;
		return -1;
	}
	sentence = mem_printf("%s of the database could not be set: %s", what, own.msg);
	json_add(notes, json_str(sentence));
	free(sentence);
	return 0;
}

static int
set_owner(struct conn *c, const char *name, const json_t *facts, json_t *notes, struct err *e)
{
	const char *owner = json_opt_str(facts, "owner", NULL), *comment = json_opt_str(facts, "comment", NULL);
	int64_t limit = json_opt_int(facts, "connection_limit", -1);
	struct buf sql = BUF_INIT;

	if (comment != NULL) {
		buf_addstr(&sql, "COMMENT ON DATABASE ");
		quote_ident(&sql, name);
		buf_addstr(&sql, " IS ");
		quote_literal(&sql, comment);
		if (try_one(c, &sql, "the comment", notes, e))
			return -1;
	}
	if (limit >= 0) {
		buf_addstr(&sql, "ALTER DATABASE ");
		quote_ident(&sql, name);
		buf_addf(&sql, " CONNECTION LIMIT %lld", (long long)limit);
		if (try_one(c, &sql, "the connection limit", notes, e))
			return -1;
	}
	if (owner == NULL)
		return 0;
	buf_addstr(&sql, "ALTER DATABASE ");
	quote_ident(&sql, name);
	buf_addstr(&sql, " OWNER TO ");
	quote_ident(&sql, owner);
	return try_one(c, &sql, "the owner", notes, e);
}

static void
add_grant(struct buf *sql, const char *name, const char *grantee, const char *privilege, bool option)
{
	buf_addf(sql, "GRANT %s ON DATABASE ", privilege);
	quote_ident(sql, name);
	buf_addstr(sql, " TO ");
	if (grantee == NULL)
		buf_addstr(sql, "PUBLIC");
	else
		quote_ident(sql, grantee);
	if (option)
		buf_addstr(sql, " WITH GRANT OPTION");
}

/* An array literal of the server's, from an array of strings. */
static char *
array_literal(const json_t *list)
{
	struct buf text = BUF_INIT;
	const json_t *item;
	size_t i;

	buf_addc(&text, '{');
	json_array_foreach(list, i, item) {
		buf_addstr(&text, i > 0 ? ",\"" : "\"");
		for (const char *p = json_string_value(item); p != NULL && *p != '\0'; p++) {
			if (*p == '"' || *p == '\\')
				buf_addc(&text, '\\');
			buf_addc(&text, *p);
		}
		buf_addc(&text, '"');
	}
	buf_addc(&text, '}');
	return buf_take(&text);
}

/* The list as it was, instead of the default one.  The server itself reads its notation, aclitem[]. */
static int
set_acl(struct conn *c, const char *name, const json_t *list, json_t *notes, struct err *e)
{
	char *acl = array_literal(list);
	const char *const params[] = { acl, NULL };
	struct err own = ERR_INIT;
	struct buf sql = BUF_INIT;
	struct rows *rows;
	char *sentence;
	int rc;

	rows = conn_query(c, "SELECT a.grantee <> 0, r.rolname, a.privilege_type, a.is_grantable"
	    "  FROM pg_catalog.aclexplode($1::pg_catalog.aclitem[]) a LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee", params, &own);
	free(acl);
	if (rows == NULL && conn_is_over(&own)) {
		*e = own;
		return -1;
	}
	if (rows == NULL) {
		sentence = mem_printf("the rights on the database could not be set: %s", own.msg);
		json_add(notes, json_str(sentence));
		free(sentence);
		return 0;
	}
	buf_addstr(&sql, "REVOKE ALL ON DATABASE ");
	quote_ident(&sql, name);
	buf_addstr(&sql, " FROM PUBLIC");
	rc = try_one(c, &sql, "the rights", notes, e);
	for (size_t i = 0; rc == 0 && i < conn_rows(rows); i++) {
		add_grant(&sql, name, conn_cell_bool(rows, i, 0) ? conn_cell(rows, i, 1) : NULL, conn_cell(rows, i, 2), conn_cell_bool(rows, i, 3));
		rc = try_one(c, &sql, "a right", notes, e);
	}
	conn_rows_free(rows);
	return rc;
}

/* These hold lists of names, kept in double quotes where they need them; SET takes each as a literal of its own. */
static bool
is_list(const char *setting)
{
	static const char *const lists[] = {
		"search_path", "temp_tablespaces", "local_preload_libraries", "session_preload_libraries", "shared_preload_libraries",
		"unix_socket_directories", "createrole_self_grant",
	};

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		if (strcmp(lists[i], setting) == 0)
			return true;
	return false;
}

static void
add_value(struct buf *sql, const char *setting, const char *value)
{
	struct buf item = BUF_INIT;
	bool quoted = false, first = true;

	if (!is_list(setting)) {
		quote_literal(sql, value);
		return;
	}
	for (const char *p = value;; p++) {
		if (*p == '"') {
			if (quoted && p[1] == '"')
				buf_addc(&item, *p++);
			else
				quoted = !quoted;
		} else if (*p == '\0' || (*p == ',' && !quoted)) {
			if (!first)
				buf_addstr(sql, ", ");
			quote_literal(sql, item.data != NULL ? (const char *)item.data : "");
			first = false;
			buf_clear(&item);
			if (*p == '\0')
				break;
		} else if (*p != ' ' || quoted) {
			buf_addc(&item, *p);
		}
	}
	buf_free(&item);
}

/* Last of all: default_transaction_read_only, a search_path or a statement_timeout would be in the way before. */
static int
set_settings(struct conn *c, const char *name, const json_t *settings, json_t *notes, struct err *e)
{
	const json_t *s;
	size_t i;

	json_array_foreach(settings, i, s) {
		const char *role = json_opt_str(s, "role", NULL), *text = json_opt_str(s, "setting", "");
		char *setting = mem_strndup(text, strcspn(text, "="));
		const char *value = text[strlen(setting)] == '=' ? text + strlen(setting) + 1 : "";
		struct buf sql = BUF_INIT;
		int rc;

		buf_addstr(&sql, "ALTER ");
		if (role != NULL && role[0] != '\0') {
			buf_addstr(&sql, "ROLE ");
			quote_ident(&sql, role);
			buf_addstr(&sql, " IN ");
		}
		buf_addstr(&sql, "DATABASE ");
		quote_ident(&sql, name);
		buf_addstr(&sql, " SET ");
		for (const char *p = setting; *p != '\0';) {    /* "app.tenant" has two names */
			size_t n = strcspn(p, ".");
			char *part = mem_strndup(p, n);

			quote_ident(&sql, part);
			free(part);
			p += n;
			if (*p == '.')
				buf_addc(&sql, *p++);
		}
		buf_addstr(&sql, " TO ");
		add_value(&sql, setting, value);
		rc = try_one(c, &sql, "a setting", notes, e);
		free(setting);
		if (rc != 0)
			return -1;
	}
	return 0;
}

int
restore_end(struct restore *r, const json_t *facts, json_t *notes, struct err *e)
{
	const json_t *acl = json_object_get(facts, "acl");
	struct conn *c = conn_open(r->o.target, NULL, e);
	int rc = c == NULL ? -1 : 0;

	if (rc == 0 && restore_selects(r))
		rc = restore_prune(r, notes, e);
	if (rc == 0 && !r->o.no_owner)
		rc = set_owner(c, r->o.database, facts, notes, e);
	if (rc == 0 && !r->o.no_owner && json_is_array(acl))
		rc = set_acl(c, r->o.database, acl, notes, e);
	if (rc == 0)
		rc = set_settings(c, r->o.database, json_object_get(facts, "settings"), notes, e);
	/* WAL is flushed in order: one commit that waits for the disk has waited for all that did not.  It waits only when it
	 * wrote something itself, hence the message. */
	if (rc == 0)
		rc = conn_exec(c, "SET synchronous_commit = on", e);
	if (rc == 0)
		rc = conn_exec(c, "SELECT pg_catalog.pg_logical_emit_message(true, 'holdfast', 'restored')", e);
	conn_close(c);
	return rc;
}
