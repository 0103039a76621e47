/* A large table's rows, by a COPY of ours in the transaction that empties the table. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "pg/archive.h"
#include "pg/conn_private.h"
#include "pg/quote.h"
#include "pg/restore_parts.h"

/*
 * Why not pg_restore, as for all else: it empties the table first only when it reads from a file.  Without that, PostgreSQL
 * logs every row in the WAL even where wal_level would spare it, and looks for room in pages that it filled already, so that
 * rows come back in another order.
 *
 * The archive's own text is never run.  Its reader (archive.h) takes names out of it, and the statements are made anew from
 * these.
 */
struct copy {
	struct sink sink;               /* behind the reader: finish is called when the archive is whole (R4) */
	struct conn *conn;
	struct archive_digest own;      /* where the caller wants none */
	struct archive_digest *digest;
	char *title;                    /* "COPY of table app.users", for messages */
	bool begun;
};

/* "SET client_encoding = 'UTF8';" and the like, which pg_dump writes into every archive: what stands in quotes; NULL without. */
static char *
header_value(const struct archive_digest *d, const char *desc)
{
	for (size_t i = 0; i < d->n_items; i++) {
		const char *from, *to;

		if (strcmp(d->items[i].desc, desc) != 0)
			continue;
		from = strchr(d->items[i].defn, '\'');
		to = from != NULL ? strchr(from + 1, '\'') : NULL;
		return to != NULL ? mem_strndup(from + 1, (size_t)(to - from - 1)) : NULL;
	}
	return NULL;
}

static void
add_setting(struct buf *sql, const char *name, const char *value)
{
	if (value == NULL)
		return;
	buf_addf(sql, "SET %s = ", name);
	quote_literal(sql, value);
	buf_addstr(sql, ";");
}

/* The session that pg_restore would make: conn_open's, and what is in the archive's header.  No timeout of the role or the
 * server: they are for applications.  No commit waits for the disk: restore_end does, for all. */
static int
prepare_session(struct copy *c, struct err *e)
{
	char *encoding = header_value(c->digest, "ENCODING"), *strings = header_value(c->digest, "STDSTRINGS");
	struct buf sql = BUF_INIT;
	int rc;

	buf_addstr(&sql, "SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0; SET synchronous_commit = off;"
	    "SET xmloption = content; SET check_function_bodies = off; SET client_min_messages = warning;");
	if (conn_server_version(c->conn) >= 170000)
		buf_addstr(&sql, "SET transaction_timeout = 0;");
	add_setting(&sql, "client_encoding", encoding);
	add_setting(&sql, "standard_conforming_strings", strings);
	rc = conn_exec(c->conn, (const char *)sql.data, e);
	buf_free(&sql);
	free(encoding);
	free(strings);
	return rc;
}

/* FREEZE spares the table a vacuum that would write all of it once more.  It is for tables that hold their rows themselves. */
static int
may_freeze(struct copy *c, const char *table, bool *yes, struct err *e)
{
	const char *const params[] = { table, NULL };
	char *kind = NULL;
	int rc = conn_value(&kind, c->conn, "SELECT relkind FROM pg_catalog.pg_class WHERE oid = $1::pg_catalog.regclass", params, e);

	*yes = kind != NULL && kind[0] == 'r';
	free(kind);
	return rc;
}

static void
add_copy(struct buf *sql, const struct archive_entry *entry, bool freeze)
{
	/* The name of an entry is quoted. */
	buf_addf(sql, "COPY %s", entry->name);
	for (size_t i = 0; i < entry->n_columns; i++) {
		buf_addstr(sql, i == 0 ? " (" : ", ");
		quote_ident(sql, entry->columns[i]);
	}
	buf_addf(sql, "%s FROM STDIN%s", entry->n_columns > 0 ? ")" : "", freeze ? " WITH (FREEZE)" : "");
}

static int
copy_begin(void *ctx, const struct archive_entry *entry, struct err *e)
{
	struct copy *c = ctx;
	struct buf sql = BUF_INIT;
	bool plain = false;
	int rc = -1;

	if (c->digest->n_entries != 1)
		return err_set(e, ERR_CORRUPT, "%s: the archive holds more than the rows of one table", c->title);
	/* ONLY: tables that inherit from it have streams of their own. */
	buf_addf(&sql, "TRUNCATE TABLE ONLY %s", entry->name);
	if (prepare_session(c, e) || may_freeze(c, entry->name, &plain, e) ||
	    conn_exec(c->conn, "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE", e))
		goto out;
	if (plain && conn_exec(c->conn, (const char *)sql.data, e)) {
		err_wrap(e, "empty the table before its rows come");
		goto out;
	}
	buf_clear(&sql);
	add_copy(&sql, entry, plain);
	rc = conn_copy_begin(c->conn, (const char *)sql.data, e);
	c->begun = rc == 0;
out:
	buf_free(&sql);
	return rc != 0 ? err_wrap(e, "%s", c->title) : 0;
}

static int
copy_rows(void *ctx, const void *data, size_t bytes, struct err *e)
{
	struct copy *c = ctx;

	return conn_copy_put(c->conn, data, bytes, e) ? err_wrap(e, "%s", c->title) : 0;
}

/* The bytes of the archive are of no use here: the tap has what is in them. */
static int
copy_write(struct sink *s, const void *data, size_t bytes, struct err *e)
{
	(void)s, (void)data, (void)bytes, (void)e;
	return 0;
}

static int
copy_finish(struct sink *s, struct err *e)
{
	struct copy *c = (struct copy *)s;
	uint64_t rows = 0, held;

	if (!c->begun || c->digest->n_entries != 1)
		return err_set(e, ERR_CORRUPT, "%s: the archive does not hold the rows of one table", c->title);
	held = c->digest->entries[0].rows;
	if (conn_copy_end(c->conn, &rows, e))
		return err_wrap(e, "%s", c->title);
	if (rows != held)
		return err_set(e, ERR_FAILED, "%s: the server took %llu rows of %llu", c->title, (unsigned long long)rows,
		    (unsigned long long)held);
	return conn_exec(c->conn, "COMMIT", e) ? err_wrap(e, "%s", c->title) : 0;
}

static void
copy_free(struct sink *s)
{
	struct copy *c = (struct copy *)s;

	conn_close(c->conn);
	archive_digest_free(&c->own);
	free(c->title);
	free(c);
}

struct sink *
restore_copy_new(struct restore *r, const char *name, struct archive_digest *digest, struct err *e)
{
	static const struct sink_ops ops = { copy_write, copy_finish, copy_free };
	struct conn *conn = conn_open(r->o.target, r->o.database, e);
	struct copy *c;
	struct sink *reader;

	if (conn == NULL)
		return NULL;
	c = mem_zero(1, sizeof(*c));
	c->sink.ops = &ops;
	c->conn = conn;
	c->title = mem_printf("COPY of %s", name);
	c->own.counts_only = true;
	c->digest = digest != NULL ? digest : &c->own;
	reader = archive_reader_new(c->digest, NULL, &c->sink);
	archive_reader_tap(reader, &(struct archive_tap){ copy_begin, copy_rows, c });
	return reader;
}
