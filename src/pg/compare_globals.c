/*
 * Roles and what belongs to the whole server, as two texts of pg_dumpall: statement by statement, whatever their order.  A
 * statement is told by a label ("membership of app in readers"), never by its text, which can be a password's verifier.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "pg/compare.h"
#include "pg/conn.h"
#include "pg/dump.h"
#include "pg/globals.h"

#define GLOBALS_MOST (64u << 20)
#define GRANTED_BY " GRANTED BY "

struct item {
	char *label;                    /* what it is about, and all that a report says of it */
	char *text;                     /* what must be equal; secret */
	bool membership;
};

struct items {
	struct item *list;
	size_t n, room;
	const char *self;               /* the bootstrap superuser, left out */
	bool tablespaces;               /* compare them */
	struct conn *conn;
	size_t passwords, has_tablespaces;
};

static void
add(struct items *l, char *label, char *text, bool membership)
{
	if (l->n == l->room) {
		l->room = l->room == 0 ? 64 : 2 * l->room;
		l->list = mem_grow(l->list, l->room, sizeof(*l->list));
	}
	l->list[l->n++] = (struct item){ .label = label, .text = text, .membership = membership };
}

static void
items_free(struct items *l)
{
	for (size_t i = 0; i < l->n; i++) {
		free(l->list[i].label);
		mem_free_secret(l->list[i].text, strlen(l->list[i].text));
	}
	free(l->list);
}

static bool
begins(const char **at, const char *words)
{
	size_t n = strlen(words);

	if (strncmp(*at, words, n) != 0)
		return false;
	*at += n;
	return true;
}

/* The name at *at as it is written, quotes and all; *at is behind it. */
static char *
name_as_written(const char **at)
{
	const char *from = *at;

	free(globals_name(from, at));
	return mem_strndup(from, (size_t)(*at - from));
}

/* ---- roles ---- */

/* A moment is written in the server's time zone, which is not the source's here: as seconds it is the same. */
static int
plain_moment(struct items *l, struct buf *text, const char *attributes, struct err *e)
{
	static const char words[] = " VALID UNTIL '";
	const char *from = strstr(attributes, words), *to = from != NULL ? strchr(from + sizeof(words) - 1, '\'') : NULL;
	const char *params[] = { NULL, NULL };
	char *moment, *seconds = NULL;
	int rc;

	if (to == NULL) {
		buf_addstr(text, attributes);
		return 0;
	}
	moment = mem_strndup(from + sizeof(words) - 1, (size_t)(to - from) - (sizeof(words) - 1));
	params[0] = moment;
	rc = conn_value(&seconds, l->conn, "SELECT extract(epoch FROM $1::pg_catalog.timestamptz)", params, e);
	buf_add(text, attributes, (size_t)(from - attributes));
	buf_addf(text, "%s%s%s", words, seconds != NULL ? seconds : "", to);
	free(moment);
	free(seconds);
	return rc;
}

/* "WITH SUPERUSER ... CONNECTION LIMIT 7 PASSWORD 'SCRAM-SHA-256$...' VALID UNTIL '...'": the password is an item of its own. */
static int
add_attributes(struct items *l, const char *role, const char *with, struct err *e)
{
	static const char words[] = " PASSWORD '";
	const char *from = strstr(with, words), *to = from != NULL ? strchr(from + sizeof(words) - 1, '\'') : NULL;
	struct buf rest = BUF_INIT, text = BUF_INIT;
	int rc;

	buf_add(&rest, with, to != NULL ? (size_t)(from - with) : strlen(with));
	if (to != NULL) {
		buf_addstr(&rest, to + 1);
		add(l, mem_printf("password of role %s", role), mem_strndup(from, (size_t)(to - from)), false);
		l->passwords++;
	}
	rc = plain_moment(l, &text, (const char *)rest.data, e);
	add(l, mem_printf("attributes of role %s", role), buf_take(&text), false);
	mem_wipe(rest.data, rest.bytes);
	buf_free(&rest);
	return rc;
}

static int
add_role(struct items *l, bool create, const char *at, struct err *e)
{
	const char *after = at;
	char *plain = globals_name(at, &after), *role = mem_strndup(at, (size_t)(after - at)), *setting;
	int rc = 0;

	if (strcmp(plain, l->self) == 0) {
		;       /* it was made with the cluster, and its own rights are not taken away from it */
	} else if (create) {
		add(l, mem_printf("role %s", role), mem_strdup(after), false);
	} else if (begins(&after, " WITH ")) {
		rc = add_attributes(l, role, after, e);
	} else if (begins(&after, " SET ")) {
		setting = name_as_written(&after);
		add(l, mem_printf("setting %s of role %s", setting, role), mem_strdup(after), false);
		free(setting);
	} else {
		add(l, mem_printf("role %s", role), mem_strdup(after), false);
	}
	free(plain);
	free(role);
	return rc;
}

/* ---- grants, tablespaces, the rest ---- */

/* "GRANT a TO b WITH ADMIN OPTION GRANTED BY c", or rights "ON TABLESPACE x", "ON PARAMETER y". */
static void
add_grant(struct items *l, const char *statement, const char *at)
{
	char *role = name_as_written(&at), *member;
	const char *on;

	if (begins(&at, " TO ")) {
		member = name_as_written(&at);
		add(l, mem_printf("membership of %s in %s", member, role), mem_strdup(at), true);
		free(member);
	} else if ((on = strstr(at, " ON TABLESPACE ")) != NULL) {
		on += strlen(" ON TABLESPACE ");
		member = name_as_written(&on);
		if (l->tablespaces)
			add(l, mem_printf("rights on tablespace %s", member), mem_strdup(statement), false);
		free(member);
	} else {
		on = strstr(at, " ON PARAMETER ");
		on = on != NULL ? on + strlen(" ON PARAMETER ") : "";
		member = name_as_written(&on);
		add(l, mem_printf("rights on parameter %s", member), mem_strdup(statement), false);
		free(member);
	}
	free(role);
}

/* Where it lies is a matter of the machine. */
static void
add_tablespace(struct items *l, const char *what, const char *at)
{
	char *name = name_as_written(&at);
	const char *location = strstr(at, " LOCATION '");

	l->has_tablespaces++;
	if (l->tablespaces)
		add(l, mem_printf("%stablespace %s", what, name), mem_strndup(at, location != NULL ? (size_t)(location - at) : strlen(at)), false);
	free(name);
}

static int
add_statement(struct items *l, const char *statement, struct err *e)
{
	const char *at = statement;
	char *name;

	if (begins(&at, "CREATE ROLE "))
		return add_role(l, true, at, e);
	if (begins(&at, "ALTER ROLE "))
		return add_role(l, false, at, e);
	if (begins(&at, "GRANT ") || begins(&at, "REVOKE ")) {
		add_grant(l, statement, at);
	} else if (begins(&at, "CREATE TABLESPACE ")) {
		add_tablespace(l, "", at);
	} else if (begins(&at, "ALTER TABLESPACE ")) {
		add_tablespace(l, "settings of ", at);
	} else if (begins(&at, "COMMENT ON TABLESPACE ")) {
		add_tablespace(l, "comment on ", at);
	} else if (begins(&at, "COMMENT ON ROLE ")) {
		name = name_as_written(&at);
		add(l, mem_printf("comment on role %s", name), mem_strdup(at), false);
		free(name);
	} else if (begins(&at, "SECURITY LABEL ")) {
		add(l, mem_strdup("security label"), mem_strdup(statement), false);
	} else if (begins(&at, "SET SESSION AUTHORIZATION ")) {
		if (l->tablespaces)
			add(l, mem_printf("rights granted by role %s", at), mem_strdup(""), false);
	} else if (!begins(&at, "SET ") && !begins(&at, "RESET ")) {
		add(l, mem_strdup("a statement that pg_dumpall does not write"), mem_strdup(statement), false);
	}
	return 0;
}

/* ---- the comparison ---- */

static int
item_order(const void *a, const void *b)
{
	const struct item *x = a, *y = b;
	int order = strcmp(x->label, y->label);

	return order != 0 ? order : strcmp(x->text, y->text);
}

static void
sort(struct items *l)
{
	if (l->n > 0)
		qsort(l->list, l->n, sizeof(*l->list), item_order);
}

static int
label_order(const void *key, const void *item)
{
	return strcmp(key, ((const struct item *)item)->label);
}

/* A membership whose grantor is gone is dumped without one (before PostgreSQL 16), and comes back as granted by who restored it. */
static void
forget_new_grantors(struct items *restored, const struct items *source)
{
	for (size_t i = 0; i < restored->n && source->n > 0; i++) {
		struct item *item = &restored->list[i];
		char *by = item->membership ? strstr(item->text, GRANTED_BY) : NULL;
		const struct item *was = by != NULL ? bsearch(item->label, source->list, source->n, sizeof(*item), label_order) : NULL;

		if (was != NULL && strstr(was->text, GRANTED_BY) == NULL)
			*by = '\0';
	}
}

static void
add_difference(json_t *differences, const char *label, bool lost, bool new)
{
	json_t *d = json_object();

	json_put_str(d, "database", NULL);
	json_put_str(d, "entry", label);
	json_put_str(d, "what", lost && new ? "content" : lost ? "missing" : "extra");
	json_put_str(d, "source_rows", NULL);
	json_put_str(d, "restored_rows", NULL);
	json_add(differences, d);
}

/* One difference for each label, however many statements bear it.  The number of statements that are equal. */
static size_t
compare_items(json_t *differences, const struct items *a, const struct items *b)
{
	size_t i = 0, k = 0, equal = 0;

	while (i < a->n || k < b->n) {
		const char *label = k == b->n || (i < a->n && strcmp(a->list[i].label, b->list[k].label) <= 0) ? a->list[i].label : b->list[k].label;
		bool lost = false, new = false;

		for (;;) {
			bool in_a = i < a->n && strcmp(a->list[i].label, label) == 0, in_b = k < b->n && strcmp(b->list[k].label, label) == 0;
			int order = in_a && in_b ? strcmp(a->list[i].text, b->list[k].text) : in_a ? -1 : 1;

			if (!in_a && !in_b)
				break;
			equal += order == 0;
			lost = lost || order < 0;
			new = new || order > 0;
			i += order <= 0;
			k += order >= 0;
		}
		if (lost || new)
			add_difference(differences, label, lost, new);
	}
	return equal;
}

/* Names and comments of a source in another encoding, in ours. */
static int
in_utf8(char **text, struct conn *c, const void *bytes, size_t n, struct err *e)
{
	static const char words[] = "SET client_encoding = '";
	const char *at = memmem(bytes, n, words, sizeof(words) - 1), *end = (const char *)bytes + n, *to;
	bool ascii = true;
	int rc;

	for (size_t i = 0; i < n && ascii; i++)
		ascii = ((const uint8_t *)bytes)[i] < 0x80;
	to = at != NULL ? memchr(at + sizeof(words) - 1, '\'', (size_t)(end - at) - (sizeof(words) - 1)) : NULL;
	*text = NULL;
	if (!ascii && to != NULL) {
		char *encoding = mem_strndup(at + sizeof(words) - 1, (size_t)(to - at) - (sizeof(words) - 1)), *hex = mem_alloc(2 * n + 1);
		const char *const params[] = { hex, encoding, NULL };

		hex_encode(hex, bytes, n);
		rc = strcmp(encoding, "UTF8") == 0 || strcmp(encoding, "SQL_ASCII") == 0 ? 0 :
		    conn_value(text, c, "SELECT pg_catalog.convert_from(pg_catalog.decode($1, 'hex'), $2)", params, e);
		mem_free_secret(hex, 2 * n);
		free(encoding);
		if (rc != 0)
			return -1;
	}
	if (*text == NULL)
		*text = mem_strndup(bytes, n);
	return 0;
}

static int
read_items(struct items *l, const void *bytes, size_t n, struct err *e)
{
	struct globals_list statements = GLOBALS_LIST_INIT;
	char *text = NULL;
	int rc = in_utf8(&text, l->conn, bytes, n, e);

	if (rc == 0)
		rc = globals_split(&statements, text, strlen(text), e);
	for (size_t i = 0; rc == 0 && i < statements.n; i++)
		rc = add_statement(l, statements.statements[i], e);
	sort(l);
	globals_list_free(&statements);
	if (text != NULL)
		mem_free_secret(text, strlen(text));
	return rc;
}

static void
say_what_was_left_out(json_t *not_covered, const struct items *source)
{
	char *text = mem_printf("attributes, password and settings of role \"%s\": it is the scratch cluster's own superuser", source->self);

	json_add(not_covered, json_str(text));
	free(text);
	if (source->passwords == 0)
		json_add(not_covered, json_str("passwords of roles: the backup holds none"));
	if (source->has_tablespaces > 0)
		json_add(not_covered, json_str(source->tablespaces ? "where tablespaces lie: here they are folders of the scratch cluster" :
		    "tablespaces: this version of PostgreSQL cannot keep one in the scratch cluster's own folder"));
}

int
compare_globals(json_t *globals, json_t *differences, json_t *not_covered, const struct pg_target *target, const struct tools *tools,
    const void *source, size_t bytes, int64_t idle_timeout_ms, struct err *e)
{
	struct conn *c = conn_open(target, NULL, e);
	struct items a = { .conn = c }, b = { .conn = c };
	struct sink *sink = NULL;
	struct buf text = BUF_INIT;
	struct rows *here = c == NULL ? NULL : conn_query(c, "SELECT current_user, pg_catalog.current_setting('allow_in_place_tablespaces', true)"
	    " IS NOT NULL", NULL, e);
	bool without_passwords;
	int rc = -1;

	if (here == NULL)
		goto out;
	a.self = b.self = conn_cell(here, 0, 0);
	a.tablespaces = b.tablespaces = conn_cell_bool(here, 0, 1);
	sink = sink_buf_new(&text, GLOBALS_MOST);
	if (dump_globals(target, tools, idle_timeout_ms, &without_passwords, NULL, sink, e) || sink_finish(sink, e) ||
	    read_items(&a, source, bytes, e) || read_items(&b, text.data, text.bytes, e))
		goto out;
	forget_new_grantors(&b, &a);
	sort(&b);
	json_put_int(globals, "statements", (int64_t)a.n);
	json_put_int(globals, "equal", (int64_t)compare_items(differences, &a, &b));
	say_what_was_left_out(not_covered, &a);
	rc = 0;
out:
	sink_free(sink);
	if (text.data != NULL)
		mem_wipe(text.data, text.bytes);
	buf_free(&text);
	items_free(&a);
	items_free(&b);
	conn_rows_free(here);
	conn_close(c);
	return rc;
}
