#include "pg/globals.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "pg/conn_private.h"

/* ---- the cutting (PostgreSQL's lexical rules, "SQL Syntax") ---- */

struct scan {
	const char *at, *end;
	struct buf statement;
	bool backslashes;               /* in '...' too: standard_conforming_strings is off in this text */
};

static bool
is_word(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '$' || (unsigned char)c >= 0x80;
}

static size_t
left(const struct scan *s)
{
	return (size_t)(s->end - s->at);
}

/* The character before, in the statement; 0 at its beginning. */
static char
before(const struct scan *s, size_t back)
{
	return s->statement.bytes > back ? (char)s->statement.data[s->statement.bytes - 1 - back] : '\0';
}

static int
take_quoted(struct scan *s, struct err *e)
{
	const char quote = *s->at, *p = s->at + 1;
	bool escapes = quote == '\'' && (s->backslashes || ((before(s, 0) == 'E' || before(s, 0) == 'e') && !is_word(before(s, 1))));

	for (; p < s->end; p++) {
		if (*p == quote && (p + 1 == s->end || p[1] != quote))
			break;
		if ((*p == quote || (escapes && *p == '\\')) && p + 1 < s->end)
			p++;            /* a doubled quote, or whatever the backslash protects */
	}
	if (p >= s->end)
		return err_set(e, ERR_CORRUPT, "globals end inside a quoted text");
	buf_add(&s->statement, s->at, (size_t)(p + 1 - s->at));
	s->at = p + 1;
	return 0;
}

/* $tag$ ... $tag$; 0 when it was none, 1 when it was taken. */
static int
take_dollar(struct scan *s, struct err *e)
{
	const char *p = s->at + 1, *close;
	size_t tag;

	if (is_word(before(s, 0)) || p >= s->end || isdigit((unsigned char)*p))
		return 0;
	while (p < s->end && *p != '$' && is_word(*p))
		p++;
	if (p >= s->end || *p != '$')
		return 0;
	tag = (size_t)(p + 1 - s->at);
	close = memmem(p + 1, (size_t)(s->end - p - 1), s->at, tag);
	if (close == NULL)
		return err_set(e, ERR_CORRUPT, "globals end inside a dollar-quoted text");
	buf_add(&s->statement, s->at, (size_t)(close + tag - s->at));
	s->at = close + tag;
	return 1;
}

static int
skip_comment(struct scan *s, struct err *e)
{
	int depth = 0;

	if (*s->at == '-') {
		while (s->at < s->end && *s->at != '\n')
			s->at++;
		return 0;
	}
	do {
		if (left(s) < 2)
			return err_set(e, ERR_CORRUPT, "globals end inside a comment");
		if (s->at[0] == '/' && s->at[1] == '*')
			depth++, s->at += 2;
		else if (s->at[0] == '*' && s->at[1] == '/')
			depth--, s->at += 2;
		else
			s->at++;
	} while (depth > 0);
	buf_addc(&s->statement, ' ');
	return 0;
}

/* pg_dumpall brackets its output so that psql refuses commands of others; to us the lines say nothing. */
static int
skip_restrict(struct scan *s, struct err *e)
{
	static const char *const known[] = { "\\restrict ", "\\unrestrict " };
	const char *eol = memchr(s->at, '\n', left(s));
	size_t line = eol != NULL ? (size_t)(eol - s->at) : left(s);

	for (size_t i = 0; s->statement.bytes == 0 && i < 2; i++) {
		size_t n = strlen(known[i]);
		bool plain = line > n && memcmp(s->at, known[i], n) == 0;

		for (size_t k = n; plain && k < line; k++)
			plain = isalnum((unsigned char)s->at[k]) || s->at[k] == '\r';
		if (plain) {
			s->at += line;
			return 0;
		}
	}
	return err_set(e, ERR_CORRUPT, "globals hold a backslash command, which pg_dumpall never writes"); /* R43 */
}

static void
end_statement(struct scan *s, struct globals_list *out)
{
	size_t n = s->statement.bytes;

	while (n > 0 && isspace(s->statement.data[n - 1]))
		s->statement.data[--n] = '\0';
	s->statement.bytes = n;
	if (n == 0)
		return;
	out->statements = mem_grow(out->statements, out->n + 1, sizeof(*out->statements));
	out->statements[out->n++] = buf_take(&s->statement);
	/* The rest is read as the session will read it (R40). */
	if (strncasecmp(out->statements[out->n - 1], "SET standard_conforming_strings = ", 34) == 0)
		s->backslashes = strncasecmp(out->statements[out->n - 1] + 34, "off", 3) == 0;
}

static int
step(struct scan *s, struct globals_list *out, struct err *e)
{
	char c = *s->at;
	int taken;

	if (c == '\'' || c == '"')
		return take_quoted(s, e);
	if ((c == '-' && left(s) > 1 && s->at[1] == '-') || (c == '/' && left(s) > 1 && s->at[1] == '*'))
		return skip_comment(s, e);
	if (c == '\\')
		return skip_restrict(s, e);
	if (c == '$' && (taken = take_dollar(s, e)) != 0)
		return taken < 0 ? -1 : 0;
	if (c == ';')
		end_statement(s, out);
	else if (!isspace((unsigned char)c) || s->statement.bytes > 0)
		buf_addc(&s->statement, c);
	s->at++;
	return 0;
}

int
globals_split(struct globals_list *out, const void *text, size_t bytes, struct err *e)
{
	struct scan s = { .at = text, .end = (const char *)text + bytes, .statement = BUF_INIT };
	int rc = 0;

	/* The server would see the statement up to here, and we would have judged all of it. */
	if (memchr(text, '\0', bytes) != NULL)
		rc = err_set(e, ERR_CORRUPT, "globals hold a 0 byte");
	while (rc == 0 && s.at < s.end)
		rc = step(&s, out, e);
	if (rc == 0) {
		const size_t n = out->n;

		end_statement(&s, out);
		/* Cut off in the middle: R4. */
		if (out->n > n)
			rc = err_set(e, ERR_CORRUPT, "globals end inside a statement");
	}
	buf_free(&s.statement);
	if (rc != 0)
		globals_list_free(out);
	return rc;
}

void
globals_list_free(struct globals_list *l)
{
	for (size_t i = 0; i < l->n; i++) {
		/* ALTER ROLE holds password verifiers. */
		mem_free_secret(l->statements[i], strlen(l->statements[i]));
	}
	free(l->statements);
	*l = (struct globals_list)GLOBALS_LIST_INIT;
}

/* ---- the running ---- */

struct run {
	struct conn *conn;
	const char *self;
	bool throw_away;
	json_t *notes;
	char **there;                   /* roles that were there before */
	size_t n_there;
};

/* Whether the statement begins with these words; *rest is what follows. */
static bool
begins(const char *statement, const char *words, const char **rest)
{
	size_t n = strlen(words);

	if (strncasecmp(statement, words, n) != 0)
		return false;
	*rest = statement + n;
	return true;
}

char *
globals_name(const char *text, const char **after)
{
	struct buf name = BUF_INIT;

	if (*text != '"') {
		while (is_word(*text))
			buf_addc(&name, *text++);
	} else {
		for (text++; *text != '\0' && (*text != '"' || text[1] == '"'); text++) {
			if (*text == '"')
				text++;
			buf_addc(&name, *text);
		}
		text += *text == '"';
	}
	*after = text;
	if (name.data == NULL)
		buf_addstr(&name, "");
	return buf_take(&name);
}

static bool
was_there(const struct run *r, const char *role)
{
	for (size_t i = 0; i < r->n_there; i++)
		if (strcmp(r->there[i], role) == 0)
			return true;
	return false;
}

static int
list_roles(struct run *r, struct err *e)
{
	struct rows *rows = conn_query(r->conn, "SELECT rolname FROM pg_catalog.pg_roles", NULL, e);

	if (rows == NULL)
		return -1;
	r->n_there = conn_rows(rows);
	r->there = mem_zero(r->n_there + 1, sizeof(*r->there));
	for (size_t i = 0; i < r->n_there; i++)
		r->there[i] = mem_strdup(conn_cell(rows, i, 0));
	conn_rows_free(rows);
	return 0;
}

static void
note(struct run *r, char *sentence)
{
	json_add(r->notes, json_str(sentence));
	free(sentence);
}

/* One statement to the server.  What failed is told by its first words and the server's answer, never by its text. */
static int
run_one(struct run *r, const char *sql, const char *what, const char *name, struct err *e)
{
	struct err own = ERR_INIT;

	if (conn_exec(r->conn, sql, &own) == 0)
		return 0;
	if (conn_is_over(&own)) {
		*e = own;
		return err_wrap(e, "restore of roles and tablespaces");
	}
	note(r, mem_printf("%s%s%s: %s", what, name[0] != '\0' ? " " : "", name, own.msg));
	return 0;
}

static int
run_tablespace(struct run *r, const char *rest, struct err *e)
{
	const char *after, *location = strstr(rest, " LOCATION ");
	char *name = globals_name(rest, &after), *sql;
	int rc = 0;

	if (!r->throw_away || location == NULL) {
		note(r, mem_printf("tablespace \"%s\" was left out: its folder is a matter of the server", name));
	} else {
		/* Inside the cluster's own folder; the map of the source's disks does not exist here. */
		sql = mem_printf("CREATE TABLESPACE %.*s LOCATION ''", (int)(location - rest), rest);
		rc = conn_exec(r->conn, "SET allow_in_place_tablespaces = on", e);
		if (rc == 0)
			rc = run_one(r, sql, "CREATE TABLESPACE", name, e);
		else
			note(r, mem_printf("tablespace \"%s\" was left out: this version of PostgreSQL cannot keep one in its own folder", name));
		if (rc != 0 && !conn_is_over(e)) {
			err_clear(e);
			rc = 0;
		}
		free(sql);
	}
	free(name);
	return rc;
}

/* What follows these words, outside of names and texts in quotes; NULL when they do not occur. */
static const char *
behind(const char *sql, const char *words)
{
	char quote = '\0';

	for (; *sql != '\0'; sql++) {
		if (quote == '\0' && strncasecmp(sql, words, strlen(words)) == 0)
			return sql + strlen(words);
		if (*sql == quote)
			quote = '\0';
		else if (quote == '\0' && (*sql == '"' || *sql == '\''))
			quote = *sql;
	}
	return NULL;
}

/* The role that the statement changes, owned by the caller, or NULL. */
static char *
role_changed(const char *sql)
{
	static const struct {
		const char *begin, *before;
	} places[] = {
		{ "ALTER ROLE ", "ALTER ROLE " }, { "COMMENT ON ROLE ", " ON ROLE " }, { "SECURITY LABEL ", " ON ROLE " }, { "GRANT ", " TO " },
		{ "REVOKE ", " FROM " },
	};
	const char *rest, *name;

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		if (begins(sql, places[i].begin, &rest) && (name = behind(sql, places[i].before)) != NULL)
			return globals_name(name, &rest);
	return NULL;
}

/* Only on a server that somebody uses, where what a role may do is the business of whoever made it there.  Its attributes are
 * left out without a word, since that of CREATE ROLE is for them too. */
static bool
leaves_alone(struct run *r, const char *sql)
{
	char *role = role_changed(sql);
	const char *rest;
	bool there = role != NULL && (was_there(r, role) || strcasecmp(role, "public") == 0);

	if (begins(sql, "ALTER TABLESPACE ", &rest) || behind(sql, " ON TABLESPACE ") != NULL) {
		there = true;           /* it was left out itself, which was said; another of its name is none of ours */
	} else if (there && (begins(sql, "GRANT ", &rest) || begins(sql, "REVOKE ", &rest))) {
		note(r, mem_printf("role \"%s\" is there already, and was left as it is: not run was %s", role, sql));
	} else if (there && begins(sql, "ALTER ROLE ", &rest) && (rest = behind(sql, " SET ")) != NULL) {
		note(r, mem_printf("role \"%s\" is there already, and was left as it is: its setting %.*s", role, (int)strcspn(rest, " "), rest));
	} else if (there && !begins(sql, "ALTER ROLE ", &rest)) {
		note(r, mem_printf("role \"%s\" is there already, and was left as it is: its %s", role,
		    begins(sql, "COMMENT ", &rest) ? "comment" : "security label"));
	}
	free(role);
	return there;
}

static int
run_statement(struct run *r, const char *sql, struct err *e)
{
	static const char *const kinds[] = {
		"CREATE ROLE ", "ALTER ROLE ", "COMMENT ON ROLE ", "ALTER TABLESPACE ", "COMMENT ON TABLESPACE ", "GRANT ", "REVOKE ", "SET ",
		"SECURITY LABEL ", "ALTER DATABASE ", "RESET SESSION AUTHORIZATION",
	};
	const char *rest, *after;
	char *name, *what;
	int rc = 0;

	if (begins(sql, "CREATE TABLESPACE ", &rest))
		return run_tablespace(r, rest, e);
	if (!r->throw_away && leaves_alone(r, sql))
		return 0;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (!begins(sql, kinds[i], &rest))
			continue;
		name = globals_name(rest, &after);
		what = mem_strndup(kinds[i], strlen(kinds[i]) - 1);
		if (i < 2 && strcmp(name, r->self) == 0) {
			;       /* taking our own rights away would end the restore; it is there, or we were not */
		} else if (i < 2 && was_there(r, name)) {
			if (i == 0)
				note(r, mem_printf("role \"%s\" is there already, and was left as it is", name));
		} else {
			rc = run_one(r, sql, what, name, e);
		}
		free(name);
		free(what);
		return rc;
	}
	note(r, mem_strdup("a statement that pg_dumpall does not write was left out"));
	return 0;
}

int
globals_restore(const struct pg_target *target, const void *text, size_t bytes, bool throw_away, json_t *notes, struct err *e)
{
	struct globals_list list = GLOBALS_LIST_INIT;
	struct run r = { .throw_away = throw_away, .notes = notes };
	char *self = NULL;
	int rc = -1;

	if (globals_split(&list, text, bytes, e) || (r.conn = conn_open(target, NULL, e)) == NULL ||
	    conn_value(&self, r.conn, "SELECT current_user", NULL, e) || list_roles(&r, e))
		goto out;
	r.self = self != NULL ? self : "";
	rc = 0;
	for (size_t i = 0; rc == 0 && i < list.n; i++)
		rc = run_statement(&r, list.statements[i], e);
out:
	for (size_t i = 0; i < r.n_there; i++)
		free(r.there[i]);
	free(r.there);
	conn_close(r.conn);
	globals_list_free(&list);
	free(self);
	return rc;
}
