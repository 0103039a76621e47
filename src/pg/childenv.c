#include "pg/childenv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/file.h"
#include "base/mem.h"
#include "pg/cage.h"
#include "pg/conn_private.h"

#define MOST 48

struct childenv {
	char *list[MOST + 1];
	size_t n;
	int secret;                     /* memfd in pgpass format, -1 when there is none */
	struct cage *cage;              /* to enter; NULL: none */
};

void
childenv_set(struct childenv *env, const char *name, const char *value)
{
	size_t n = strlen(name), i = 0;

	while (i < env->n && (strncmp(env->list[i], name, n) != 0 || env->list[i][n] != '='))
		i++;
	if (i == MOST)
		abort();                /* the callers are all ours */
	free(env->list[i]);
	env->list[i] = mem_printf("%s=%s", name, value);
	if (i == env->n)
		env->list[++env->n] = NULL;
}

static void
set_if(struct childenv *env, const char *name, const char *value)
{
	if (value != NULL)
		childenv_set(env, name, value);
}

/* One line that matches any server, since the child is told of one only; ':' and '\' are escaped in this format. */
static int
write_secret(struct childenv *env, const char *password, struct err *e)
{
	struct buf line = BUF_INIT;
	int rc = -1;

	buf_reserve(&line, 2 * strlen(password) + 16);          /* so that no copy of it is left behind by growing */
	buf_addstr(&line, "*:*:*:*:");
	for (const char *p = password; *p != '\0'; p++) {
		if (*p == ':' || *p == '\\')
			buf_addc(&line, '\\');
		buf_addc(&line, *p);
	}
	buf_addc(&line, '\n');
	env->secret = memfd_create("pgpass", MFD_CLOEXEC);
	if (env->secret < 0)
		err_sys(e, "keep the database password in memory");
	else if (fchmod(env->secret, 0600) != 0)
		err_sys(e, "keep the database password in memory");
	else
		rc = file_write_all(env->secret, line.data, line.bytes, "database password", e);
	mem_wipe(line.data, line.bytes);
	buf_free(&line);
	return rc;
}

static int
set_password(struct childenv *env, const struct pg_target *t, struct err *e)
{
	char path[64], *password;
	int rc;

	childenv_set(env, "PGPASSFILE", t->passfile != NULL ? t->passfile : CONN_NO_FILE);
	if (t->password_file == NULL)
		return 0;
	password = file_read_secret(t->password_file, e);
	if (password == NULL)
		return -1;
	rc = write_secret(env, password, e);
	mem_free_secret(password, strlen(password));
	snprintf(path, sizeof(path), "/dev/fd/%d", env->secret);
	childenv_set(env, "PGPASSFILE", path);
	return rc;
}

/* What differs inside a cage: a home of ours is not to be seen, a socket that is shown has another name, and a password another reader. */
static int
move_in(struct childenv *env, const struct pg_target *t, struct err *e)
{
	env->cage = t->cage;
	childenv_set(env, "HOME", cage_folder_inside(t->cage));
	if (t->host != NULL && strcmp(t->host, cage_shown(t->cage)) == 0)
		childenv_set(env, "PGHOST", cage_shown_inside(t->cage));
	return env->secret >= 0 ? cage_give(t->cage, env->secret, e) : 0;
}

struct childenv *
childenv_new(const struct pg_target *t, const char *dbname, const char *options, struct err *e)
{
	struct childenv *env = mem_zero(1, sizeof(*env));
	struct conn_ssl ssl = conn_ssl_of(t);
	char seconds[24];

	env->secret = -1;
	/* Whole seconds, and libpq takes fewer than 2 for 2. */
	snprintf(seconds, sizeof(seconds), "%lld", (long long)((t->connect_timeout_ms > 0 ? t->connect_timeout_ms : 10000) + 999) / 1000);
	childenv_set(env, "LC_ALL", "C");               /* messages that the error's reader, and ours, can match */
	childenv_set(env, "TZ", "UTC");
	childenv_set(env, "PATH", "/nonexistent");      /* nothing is started by name */
	set_if(env, "HOME", getenv("HOME"));            /* ~/.postgresql holds libpq's default certificates */
	childenv_set(env, "PGSERVICEFILE", CONN_NO_FILE);
	childenv_set(env, "PGSYSCONFDIR", CONN_NO_FILE);
	childenv_set(env, "PGAPPNAME", "holdfast");
	childenv_set(env, "PGCONNECT_TIMEOUT", seconds);
	set_if(env, "PGHOST", t->host);
	set_if(env, "PGPORT", t->port);
	set_if(env, "PGUSER", t->user);
	set_if(env, "PGDATABASE", dbname);
	set_if(env, "PGSSLMODE", ssl.mode);
	set_if(env, "PGSSLROOTCERT", ssl.rootcert);
	set_if(env, "PGSSLCERT", t->sslcert);
	set_if(env, "PGSSLKEY", t->sslkey);
	set_if(env, "PGOPTIONS", options);
	if (set_password(env, t, e) || (t->cage != NULL && move_in(env, t, e))) {
		childenv_free(env);
		return NULL;
	}
	return env;
}

const char *const *
childenv_list(const struct childenv *env)
{
	return (const char *const *)env->list;
}

/* Between fork and exec.  Into the cage first, which closes what it was not given: then the descriptor keeps its number and its
 * name, /dev/fd/N, in the child and in what that starts. */
int
childenv_prepare(void *ctx)
{
	const struct childenv *env = ctx;
	int rc = env->cage != NULL ? cage_prepare(env->cage) : 0;

	if (rc != 0)
		return rc;
	if (env->secret >= 0 && fcntl(env->secret, F_SETFD, 0) != 0)
		return errno;
	return 0;
}

void
childenv_free(struct childenv *env)
{
	if (env == NULL)
		return;
	for (size_t i = 0; i < env->n; i++)
		free(env->list[i]);
	file_close(&env->secret);
	free(env);
}
