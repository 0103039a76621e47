#ifndef HF_TESTS_CLUSTER_H
#define HF_TESTS_CLUSTER_H

/*
 * A throw-away PostgreSQL for tests: initdb in a temporary folder, a unix socket and no network, trust for everybody but the role
 * "locked_in", who needs a password.  It runs as user postgres when we are root.  It ends with the test program, however that ends.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/child.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "pg/conn.h"
#include "pg/tools.h"

#define UNUSED_OK __attribute__((unused))

struct cluster {
	char dir[64];                   /* holds data/ and the socket */
	struct pg_target target;
	struct tools tools;
	struct child *postgres;
	uid_t uid;
	gid_t gid;
};

/* Says the error of ours that a test did not want. */
#define assert_good(call, e) \
	do { \
		if ((call) != 0) \
			fail_msg("%s: %s%s%s", #call, (e)->msg, (e)->hint[0] != '\0' ? " / " : "", (e)->hint); \
	} while (0)

static int
cluster_become(void *ctx)
{
	const struct cluster *c = ctx;

	if (geteuid() == 0 && (setgroups(0, NULL) != 0 || setgid(c->gid) != 0 || setuid(c->uid) != 0))
		return errno;
	/* setuid took back what child_start asked for; SIGQUIT is postgres' immediate shutdown. */
	prctl(PR_SET_PDEATHSIG, SIGQUIT);
	return 0;
}

UNUSED_OK static void
cluster_write(const struct cluster *c, const char *name, const char *text)
{
	char *path = mem_printf("%s/%s", c->dir, name);
	struct err e = ERR_INIT;

	assert_good(file_write_replace(path, text, strlen(text), 0644, &e), &e);
	free(path);
}

static void
cluster_boot(struct cluster *c)
{
	char *data = mem_printf("%s/data", c->dir);
	const char *const argv[] = { c->tools.postgres, "-D", data, NULL }, *const env[] = { "LC_ALL=C", "TZ=UTC", NULL };
	struct child_spec spec = { .name = "postgres", .argv = argv, .env = env, .prepare = cluster_become, .prepare_ctx = c };
	struct err e = ERR_INIT;

	c->postgres = child_start(&spec, &e);
	if (c->postgres == NULL)
		fail_msg("%s", e.msg);
	for (int i = 0; i < 300; i++) {
		struct conn *conn = conn_open(&c->target, "postgres", &e);

		conn_close(conn);
		if (conn != NULL || !child_running(c->postgres))
			break;
		usleep(100000);
	}
	if (!child_running(c->postgres))
		fail_msg("postgres ended: %s", child_stderr(c->postgres));
	free(data);
}

static void cluster_stop(struct cluster *c);
static struct cluster *cluster_at_exit;

/* A set-up that failed calls no tear-down. */
static void
cluster_stop_at_exit(void)
{
	if (cluster_at_exit != NULL)
		cluster_stop(cluster_at_exit);
}

UNUSED_OK static void
cluster_start(struct cluster *c, const char *more_settings)
{
	struct passwd *user = getpwnam("postgres");
	struct err e = ERR_INIT;
	char *data, *conf;

	memset(c, 0, sizeof(*c));
	if (cluster_at_exit == NULL)
		atexit(cluster_stop_at_exit);
	cluster_at_exit = c;
	assert_good(tools_find(&c->tools, TOOLS_DUMP | TOOLS_RESTORE | TOOLS_SERVER, getenv("HOLDFAST_TEST_PG_BIN"), 0, &e), &e);
	snprintf(c->dir, sizeof(c->dir), "/tmp/hf-cluster-XXXXXX");
	assert_non_null(mkdtemp(c->dir));
	if (geteuid() == 0) {
		assert_non_null(user);
		c->uid = user->pw_uid;
		c->gid = user->pw_gid;
		assert_int_equal(chown(c->dir, c->uid, c->gid), 0);
	}
	c->target = (struct pg_target){ .host = c->dir, .user = "postgres", .bin_dir = c->tools.dir };
	data = mem_printf("%s/data", c->dir);

	const char *const argv[] = { c->tools.initdb, "-D", data, "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8",
		"--locale=C.UTF-8", NULL };
	const char *const env[] = { "LC_ALL=C", "TZ=UTC", NULL };
	struct child_spec spec = { .name = "initdb", .argv = argv, .env = env, .prepare = cluster_become, .prepare_ctx = c };

	assert_good(child_run(&spec, NULL, 120000, &e), &e);
	conf = mem_printf("listen_addresses = ''\nunix_socket_directories = '%s'\nfsync = off\nshared_buffers = 16MB\nmax_connections = 40\n"
	    "log_timezone = UTC\ntimezone = UTC\n%s\n", c->dir, more_settings != NULL ? more_settings : "");
	cluster_write(c, "data/postgresql.auto.conf", conf);
	cluster_write(c, "data/pg_hba.conf", "local all locked_in scram-sha-256\nlocal all all trust\nlocal replication all trust\n");
	free(conf);
	free(data);
	cluster_boot(c);
}

/* Ends it the way `signo` does: SIGINT fast, SIGQUIT as a crash. */
UNUSED_OK static void
cluster_halt(struct cluster *c, int signo)
{
	struct err e = ERR_INIT;

	if (c->postgres == NULL)
		return;
	child_signal(c->postgres, signo);
	if (child_wait(c->postgres, 30000, &e) && signo == SIGINT)
		print_error("%s\n", e.msg);
	child_free(c->postgres);
	c->postgres = NULL;
}

UNUSED_OK static void
cluster_stop(struct cluster *c)
{
	struct err e = ERR_INIT;

	cluster_at_exit = NULL;
	cluster_halt(c, SIGINT);
	if (c->dir[0] != '\0' && file_remove_tree(c->dir, &e))
		print_error("%s\n", e.msg);
	tools_free(&c->tools);
	c->dir[0] = '\0';
}

UNUSED_OK static struct conn *
cluster_connect(const struct cluster *c, const char *dbname)
{
	struct err e = ERR_INIT;
	struct conn *conn = conn_open(&c->target, dbname, &e);

	if (conn == NULL)
		fail_msg("%s", e.msg);
	return conn;
}

UNUSED_OK static void
cluster_sql(const struct cluster *c, const char *dbname, const char *sql)
{
	struct conn *conn = cluster_connect(c, dbname);
	struct err e = ERR_INIT;

	assert_good(conn_exec(conn, "SET search_path = public", &e), &e);
	if (conn_exec(conn, sql, &e))
		fail_msg("%s: %.200s", e.msg, sql);
	conn_close(conn);
}

/* pg_dump by hand, as a test's measure of truth: its output, or a failed test. */
UNUSED_OK static void
cluster_dump(const struct cluster *c, const char *dbname, const char *const *options, struct buf *to)
{
	char *host = mem_printf("PGHOST=%s", c->dir);
	const char *argv[40] = { c->tools.pg_dump, "-U", "postgres", "-d", dbname, "-w", NULL }, *const env[] = { host, "LC_ALL=C", NULL };
	struct child_spec spec = { .name = "pg_dump", .argv = argv, .env = env };
	struct sink *sink = sink_buf_new(to, (size_t)1 << 30);
	struct err e = ERR_INIT;

	for (size_t i = 0; options[i] != NULL; i++) {
		argv[6 + i] = options[i];
		argv[7 + i] = NULL;
	}
	assert_good(child_run(&spec, sink, 60000, &e), &e);
	sink_free(sink);
	free(host);
}

#endif
