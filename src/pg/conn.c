#include "pg/conn.h"

#include <errno.h>
#include <libpq-fe.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/stop.h"
#include "pg/conn_private.h"

#define CONNECT_TIMEOUT_MS 10000

struct conn {
	PGconn *pg;
	struct pg_target target;        /* strings borrowed: for the second connection that names a blocker */
	char *dbname;
	char state[6];                  /* SQLSTATE of the last failure, "" when the server said none */
};

struct rows {
	PGresult *result;
};

static void
forget_environment(void)
{
	extern char **environ;
	char name[64];

	for (char **at = environ; at != NULL && *at != NULL;) {
		size_t n = strcspn(*at, "=");

		if (strncmp(*at, "PG", 2) != 0 || n >= sizeof(name)) {
			at++;
			continue;
		}
		memcpy(name, *at, n);
		name[n] = '\0';
		unsetenv(name);                 /* moves the rest up: look at the same place again */
	}
}

void
conn_forget_environment(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, forget_environment);
}

static bool
is_local(const char *host)
{
	return host == NULL || host[0] == '\0' || host[0] == '/' || host[0] == '@' || strcmp(host, "localhost") == 0 ||
	    strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0;
}

struct conn_ssl
conn_ssl_of(const struct pg_target *t)
{
	static const char bundle[] = "/etc/ssl/certs/ca-certificates.crt";
	struct conn_ssl s = { .mode = t->sslmode, .rootcert = t->sslrootcert };

	if (s.mode == NULL && !is_local(t->host)) {
		s.mode = "verify-full";
		s.implied = true;
	}
	if (s.rootcert == NULL && s.mode != NULL && strncmp(s.mode, "verify-", 7) == 0 && access(bundle, R_OK) == 0)
		s.rootcert = bundle;
	return s;
}

/* Class 08 and the shutdown and crash codes: the connection is or will be gone. */
static bool
is_lost(const PGconn *pg, const char *state)
{
	return PQstatus(pg) == CONNECTION_BAD || strncmp(state, "08", 2) == 0 || strncmp(state, "57P0", 4) == 0;
}

static enum err_kind
kind_of(const PGconn *pg, const char *state)
{
	static const struct {
		const char *state;
		enum err_kind kind;
	} kinds[] = {
		{ "28", ERR_DENIED },           /* authentication failed */
		{ "42501", ERR_DENIED },        /* privilege missing */
		{ "3D000", ERR_NOT_FOUND },     /* no such database */
		{ "55P03", ERR_LOCKED },        /* lock timeout */
		{ "40P01", ERR_LOCKED },        /* deadlock */
		{ "53", ERR_SPACE },            /* disk, memory, connections: the server's, whatever was asked of it */
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strncmp(state, kinds[i].state, strlen(kinds[i].state)) == 0)
			return kinds[i].kind;
	return is_lost(pg, state) ? ERR_DATABASE : ERR_FAILED;
}

/* What a program or a server without SQLSTATE says, in the C locale, where the kernel or the configuration gave it no more. */
static bool
says_no_room(const char *line, size_t bytes)
{
	static const char *const phrases[] = {
		"out of memory", "out of shared memory", "No space left on device", "Disk quota exceeded", "Cannot allocate memory",
		"Too many open files", "could not fork new process", "too many clients already", "remaining connection slots",
	};

	for (size_t i = 0; i < sizeof(phrases) / sizeof(phrases[0]); i++)
		if (memmem(line, bytes, phrases[i], strlen(phrases[i])) != NULL)
			return true;
	return false;
}

bool
conn_wants_room(const char *words)
{
	/* Called "out of memory" too, and it is the row that is too large: on any machine. */
	if (strstr(words, "nlarge string buffer") != NULL)
		return false;
	/* Lines of DETAIL and CONTEXT quote rows, and what stands before the server's own words names tables. */
	for (size_t n; *words != '\0'; words += n + (words[n] != '\0')) {
		const char *own;

		n = strcspn(words, "\n");
		if (strncmp(words, "pg_", 3) != 0)
			continue;
		own = memmem(words, n, "ERROR:  ", 8);
		if (own == NULL)
			own = memmem(words, n, "FATAL:  ", 8);
		if (own == NULL)
			own = words;
		if (says_no_room(own, (size_t)(words + n - own)))
			return true;
	}
	return false;
}

bool
conn_is_over(const struct err *e)
{
	return e->kind == ERR_DATABASE || e->kind == ERR_STOPPED || e->kind == ERR_TIMEOUT || e->kind == ERR_SPACE;
}

/* libpq ends its messages with a newline and may give several lines. */
static char *
one_line(const char *text)
{
	struct buf line = BUF_INIT;
	size_t n = strlen(text);

	buf_addstr(&line, "");
	while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == ' '))
		n--;
	for (size_t i = 0; i < n; i++) {
		if (text[i] == '\n')
			buf_addstr(&line, "; ");
		else if (text[i] != '\t')
			buf_addc(&line, text[i]);
	}
	return buf_take(&line);
}

static int
connect_error(struct conn *c, const struct conn_ssl *ssl, struct err *e)
{
	const char *text = PQerrorMessage(c->pg);
	char *line = one_line(text);
	enum err_kind kind = ERR_DATABASE;

	/* libpq 15 keeps no SQLSTATE of a refused connection; its own client looks at the words too.  LC_MESSAGES of the server
	 * may turn them: then the kind is the general one. */
	if (PQconnectionNeedsPassword(c->pg) || strstr(text, "authentication failed") != NULL || strstr(text, "pg_hba.conf") != NULL ||
	    strstr(text, "permission denied") != NULL)
		kind = ERR_DENIED;
	else if (strstr(text, "database \"") != NULL && strstr(text, "does not exist") != NULL)
		kind = ERR_NOT_FOUND;
	else if (strstr(text, "role \"") != NULL && strstr(text, "does not exist") != NULL)
		kind = ERR_DENIED;
	else if (c->target.cage != NULL && says_no_room(text, strlen(text)))
		kind = ERR_SPACE;               /* a scratch that is there, and lacks something; of others it is their being unreachable that counts */
	err_set(e, kind, "connect to database \"%s\": %s", c->dbname, line);
	if (ssl->implied && (strstr(text, "SSL") != NULL || strstr(text, "certificate") != NULL))
		err_hint(e, "a server over the network must prove who it is unless the configuration says otherwise: name its CA as sslrootcert, "
		    "or set sslmode knowingly");
	/* A server that asks for a password does not tell a wrong role from a wrong password. */
	if (kind == ERR_NOT_FOUND)
		err_hint(e, "`psql --list` shows a server's databases. holdfast connects first to the one that `maintenance_db` names.");
	else if (strstr(text, "role \"") != NULL && kind == ERR_DENIED)
		err_hint(e, "`psql -c '\\du'` shows a server's roles. The role is `source.user`, or --user for a restore; not set, it is called as the user who runs "
		    "holdfast.");
	else if (PQconnectionNeedsPassword(c->pg))
		err_hint(e, "The server asks for a password: name the file that holds it (`source.password_file`, or --password-file for a restore).");
	else if (kind == ERR_DATABASE && (strstr(text, "refused") != NULL || strstr(text, "No such file") != NULL))
		err_hint(e, "Nobody listens there: is the server up, and are host and port (or the folder of its socket) right?");
	else if (strstr(text, "authentication failed") != NULL)
		err_hint(e, "The role's name (`source.user`, or --user for a restore) or its password (`password_file`) is wrong; the server does not say which.");
	free(line);
	return -1;
}

int
conn_wait_socket(PGconn *pg, short events, int64_t until, struct err *e)
{
	for (;;) {
		struct pollfd wait[2] = { { .fd = PQsocket(pg), .events = events }, { .fd = stop_fd(), .events = POLLIN } };
		int n;

		if (stop_check(e))
			return -1;
		if (until > 0 && clock_mono_ms() >= until)
			return err_set(e, ERR_TIMEOUT, "deadline");
		n = poll(wait, 2, 500);
		if (n > 0 && wait[0].revents != 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return err_sys(e, "poll");
	}
}

static int
finish_connecting(struct conn *c, const struct conn_ssl *ssl, int64_t limit_ms, struct err *e)
{
	int64_t until = clock_mono_ms() + limit_ms;
	PostgresPollingStatusType state = PGRES_POLLING_WRITING;

	while (PQstatus(c->pg) != CONNECTION_BAD && state != PGRES_POLLING_OK && state != PGRES_POLLING_FAILED) {
		if (conn_wait_socket(c->pg, state == PGRES_POLLING_READING ? POLLIN : POLLOUT, until, e)) {
			if (e->kind == ERR_TIMEOUT)
				err_set(e, ERR_DATABASE, "connect to database \"%s\": no answer within %lld s", c->dbname, (long long)(limit_ms / 1000));
			return -1;
		}
		state = PQconnectPoll(c->pg);
	}
	return PQstatus(c->pg) == CONNECTION_OK ? 0 : connect_error(c, ssl, e);
}

static void
no_notices(void *arg, const PGresult *result)
{
	(void)arg, (void)result;
}

struct conn *
conn_open(const struct pg_target *t, const char *dbname, struct err *e)
{
	int64_t limit_ms = t->connect_timeout_ms > 0 ? t->connect_timeout_ms : CONNECT_TIMEOUT_MS;
	struct conn_ssl ssl = conn_ssl_of(t);
	struct conn *c = mem_zero(1, sizeof(*c));
	char *password = NULL;
	int rc = -1;

	conn_forget_environment();
	c->target = *t;
	c->dbname = mem_strdup(dbname != NULL ? dbname : t->maintenance_db != NULL ? t->maintenance_db : "postgres");
	if (t->password_file != NULL && (password = file_read_secret(t->password_file, e)) == NULL)
		goto out;

	const struct {
		const char *name, *value;
	} want[] = {
		{ "host", t->host }, { "port", t->port }, { "user", t->user }, { "dbname", c->dbname },
		{ "password", password }, { "passfile", t->passfile != NULL ? t->passfile : CONN_NO_FILE },
		{ "sslmode", ssl.mode }, { "sslrootcert", ssl.rootcert }, { "sslcert", t->sslcert }, { "sslkey", t->sslkey },
		{ "application_name", "holdfast" },
		{ "keepalives", "1" }, { "keepalives_idle", "30" }, { "keepalives_interval", "10" }, { "keepalives_count", "3" },
		{ "tcp_user_timeout", "60000" },
	};
	const char *names[sizeof(want) / sizeof(want[0]) + 1], *values[sizeof(want) / sizeof(want[0]) + 1];
	size_t n = 0;

	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		if (want[i].value == NULL)
			continue;
		names[n] = want[i].name;
		values[n++] = want[i].value;
	}
	names[n] = values[n] = NULL;
	c->pg = PQconnectStartParams(names, values, 0);
	if (c->pg == NULL) {
		err_set(e, ERR_FAILED, "connect to database \"%s\": out of memory", c->dbname);
		goto out;
	}
	PQsetNoticeReceiver(c->pg, no_notices, NULL);
	if (finish_connecting(c, &ssl, limit_ms, e))
		goto out;
	/* Never the search path of whoever owns a schema in it (CVE-2018-1058); no setting of the role may cut us short or
	 * change how a value reads.  By statement and not at connecting, since poolers refuse the latter. */
	rc = conn_exec(c, "SET search_path = ''; SET datestyle = ISO; SET intervalstyle = postgres; SET bytea_output = hex; "
	    "SET extra_float_digits = 3; SET statement_timeout = 0; SET row_security = off; "
	    "SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings "
	    "WHERE name IN ('idle_session_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout')", e);
out:
	mem_free_secret(password, password != NULL ? strlen(password) : 0);
	if (rc != 0) {
		conn_close(c);
		return NULL;
	}
	return c;
}

void
conn_close(struct conn *c)
{
	if (c == NULL)
		return;
	PQfinish(c->pg);
	free(c->dbname);
	free(c);
}

PGconn *
conn_raw(struct conn *c)
{
	return c->pg;
}

const char *
conn_sqlstate(const struct conn *c)
{
	return c->state;
}

int
conn_server_version(const struct conn *c)
{
	return PQserverVersion(c->pg);
}

int
conn_backend_pid(const struct conn *c)
{
	return PQbackendPID(c->pg);
}

const char *
conn_dbname(const struct conn *c)
{
	return c->dbname;
}

bool
conn_in_transaction(const struct conn *c)
{
	return PQtransactionStatus(c->pg) == PQTRANS_INTRANS;
}

/* Who holds, or queues for, a lock that keeps ACCESS SHARE out.  Asked over a second connection, since ours is in a failed
 * transaction and no longer waits, which is when pg_blocking_pids could tell. */
char *
conn_blocker(const struct conn *c)
{
	static const char sql[] =
	    "SELECT CASE WHEN l.pid IS NULL THEN 'a prepared transaction' ELSE 'pid ' || l.pid || ' (user ' || coalesce(a.usename, '?')"
	    " || ', application \"' || coalesce(a.application_name, '') || '\") ' END"
	    " || CASE WHEN l.granted THEN 'has locked ' ELSE 'waits to lock ' END || l.relation::regclass::text"
	    " || coalesce(': ' || substring(left(a.query, 200) from '^[^''$]*'), '')"
	    " FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid"
	    " WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock' AND l.pid IS DISTINCT FROM pg_backend_pid()"
	    " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND l.relation >= 16384"
	    " AND coalesce(a.backend_type, '') <> 'autovacuum worker'"
	    " ORDER BY l.granted DESC, a.xact_start LIMIT 1";
	struct err ignored = ERR_INIT;
	struct conn *second = conn_open(&c->target, c->dbname, &ignored);
	char *text = NULL;

	if (second != NULL && conn_value(&text, second, sql, NULL, &ignored))
		text = NULL;
	conn_close(second);
	return text;
}

int
conn_error(struct conn *c, PGresult *result, struct err *e)
{
	const char *state = result != NULL ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
	const char *primary = result != NULL ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) : NULL;
	const char *detail = result != NULL ? PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL) : NULL;
	const char *hint = result != NULL ? PQresultErrorField(result, PG_DIAG_MESSAGE_HINT) : NULL;
	char *line = one_line(primary != NULL ? primary : PQerrorMessage(c->pg));

	if (state == NULL)
		state = "";
	snprintf(c->state, sizeof(c->state), "%s", state);
	err_set(e, kind_of(c->pg, state), "database \"%s\": %s%s%s%s%s%s", c->dbname, line, detail != NULL ? "; " : "",
	    detail != NULL ? detail : "", state[0] != '\0' ? " (SQLSTATE " : "", state, state[0] != '\0' ? ")" : "");
	if (hint != NULL)
		err_hint(e, "%s", hint);
	if (e->kind == ERR_LOCKED) {
		char *blocker = conn_blocker(c), *flat = one_line(blocker != NULL ? blocker : "");

		if (blocker != NULL)
			err_set(e, ERR_LOCKED, "database \"%s\": %s; %s", c->dbname, line, flat);
		free(blocker);
		free(flat);
	}
	free(line);
	return -1;
}

/* libpq wants its input consumed while output is pending, or both sides could wait for each other. */
int
conn_wait_result(struct conn *c, struct err *e)
{
	for (;;) {
		int left = PQflush(c->pg);

		if (left < 0)
			return conn_error(c, NULL, e);
		if (left == 0 && !PQisBusy(c->pg))
			return 0;
		if (conn_wait_socket(c->pg, left > 0 ? POLLIN | POLLOUT : POLLIN, 0, e))
			return -1;
		if (PQconsumeInput(c->pg) == 0)
			return conn_error(c, NULL, e);
	}
}

int
conn_collect(PGresult **last, struct conn *c, struct err *e)
{
	PGresult *result, *kept = NULL;
	bool failed = false;

	while (conn_wait_result(c, e) == 0) {
		result = PQgetResult(c->pg);
		if (result == NULL) {
			*last = kept;
			if (kept == NULL && !failed)
				return conn_error(c, NULL, e);
			return failed ? -1 : 0;
		}
		if (!failed && PQresultStatus(result) != PGRES_TUPLES_OK && PQresultStatus(result) != PGRES_COMMAND_OK &&
		    PQresultStatus(result) != PGRES_EMPTY_QUERY) {
			failed = true;
			conn_error(c, result, e);
		}
		PQclear(kept);
		kept = NULL;
		if (failed)
			PQclear(result);
		else
			kept = result;
		if (PQstatus(c->pg) == CONNECTION_BAD) {
			PQclear(kept);
			return failed ? -1 : conn_error(c, NULL, e);
		}
	}
	PQclear(kept);
	return -1;
}

int
conn_exec(struct conn *c, const char *sql, struct err *e)
{
	PGresult *result = NULL;

	if (PQsendQuery(c->pg, sql) == 0)
		return conn_error(c, NULL, e);
	if (conn_collect(&result, c, e))
		return -1;
	PQclear(result);
	return 0;
}

struct rows *
conn_query(struct conn *c, const char *sql, const char *const *params, struct err *e)
{
	struct rows *r;
	PGresult *result = NULL;
	int n = 0;

	while (params != NULL && params[n] != NULL)
		n++;
	if (PQsendQueryParams(c->pg, sql, n, NULL, params, NULL, NULL, 0) == 0) {
		conn_error(c, NULL, e);
		return NULL;
	}
	if (conn_collect(&result, c, e))
		return NULL;
	r = mem_zero(1, sizeof(*r));
	r->result = result;
	return r;
}

size_t
conn_rows(const struct rows *r)
{
	return (size_t)PQntuples(r->result);
}

size_t
conn_columns(const struct rows *r)
{
	return (size_t)PQnfields(r->result);
}

const char *
conn_column_name(const struct rows *r, size_t column)
{
	return PQfname(r->result, (int)column);
}

unsigned
conn_column_type(const struct rows *r, size_t column)
{
	return PQftype(r->result, (int)column);
}

const char *
conn_cell(const struct rows *r, size_t row, size_t column)
{
	if (PQgetisnull(r->result, (int)row, (int)column))
		return NULL;
	return PQgetvalue(r->result, (int)row, (int)column);
}

int64_t
conn_cell_int(const struct rows *r, size_t row, size_t column)
{
	const char *text = conn_cell(r, row, column);

	return text != NULL ? strtoll(text, NULL, 10) : 0;
}

bool
conn_cell_bool(const struct rows *r, size_t row, size_t column)
{
	const char *text = conn_cell(r, row, column);

	return text != NULL && text[0] == 't';
}

void
conn_rows_free(struct rows *r)
{
	if (r == NULL)
		return;
	PQclear(r->result);
	free(r);
}

int
conn_value(char **value, struct conn *c, const char *sql, const char *const *params, struct err *e)
{
	struct rows *r = conn_query(c, sql, params, e);

	if (r == NULL)
		return -1;
	*value = conn_rows(r) > 0 && conn_columns(r) > 0 ? mem_strdup(conn_cell(r, 0, 0)) : NULL;
	conn_rows_free(r);
	return 0;
}
