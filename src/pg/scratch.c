#include "pg/scratch.h"

#include <errno.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/child.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rand.h"
#include "pg/conn.h"
#include "pg/home.h"
#include "pg/quote.h"
#include "pg/scratch_left.h"
#include "pg/scratch_watch.h"

#define START_MS (2 * 60 * 1000)
#define STOP_MS 10000
#define MIB (UINT64_C(1) << 20)
#define SOCKET ".s.PGSQL.5432"

struct scratch {
	struct home home;
	struct cage *cage;
	struct tools tools;
	struct child *server;           /* NULL on a named server */
	struct scratch_watch *watch;    /* of its disk; NULL: nobody asked for it */
	uint64_t floor_bytes, most_bytes;
	struct conn *guard;             /* on a named server: while it is open, our databases there are known to be somebody's */
	char id[17];                    /* in the names of these */
	struct pg_target target;
	char *superuser;
	char *version;
	uint64_t sort_bytes, buffer_bytes;
	struct { char *source, *name; } *databases;
	size_t n_databases;
};

/* What this process may use of the machine: what is free, or what its control group leaves of that. */
static uint64_t
memory_available(void)
{
	static const char *const limits[] = { "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes" };
	uint64_t bytes = 1024 * MIB;
	struct err quiet = ERR_INIT;
	struct buf text = BUF_INIT;
	const char *at;

	if (file_read(&text, "/proc/meminfo", 65536, &quiet) == 0 && (at = strstr((char *)text.data, "MemAvailable:")) != NULL)
		bytes = strtoull(at + strlen("MemAvailable:"), NULL, 10) * 1024;
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		uint64_t limit;

		buf_clear(&text);
		if (file_read(&text, limits[i], 64, &quiet) == 0 && text.bytes > 0 && (limit = strtoull((char *)text.data, NULL, 10)) > 0 &&
		    limit < bytes)
			bytes = limit;
	}
	buf_free(&text);
	return bytes;
}

static uint64_t
clamp(uint64_t value, uint64_t low, uint64_t high)
{
	return value < low ? low : value > high ? high : value;
}

static void
plan_memory(struct scratch *s, unsigned jobs)
{
	uint64_t available = memory_available();

	s->buffer_bytes = clamp(available / 8, 32 * MIB, 1024 * MIB);
	s->sort_bytes = clamp(available / 8 / (jobs > 0 ? jobs : 1), 16 * MIB, 1024 * MIB);
}

static int
run_initdb(struct scratch *s, int64_t limit_ms, struct err *e)
{
	char *data = mem_printf("%s/data", cage_folder_inside(s->cage));
	char **env = cage_env(s->cage, NULL);
	const char *const argv[] = {
		s->tools.initdb, "-D", data, "-U", s->superuser, "--auth=trust", "--no-sync", "--no-instructions", "--encoding=UTF8",
		"--locale=C", NULL,
	};
	const struct child_spec spec = {
		.name = "initdb of the scratch cluster",
		.argv = argv,
		.env = (const char *const *)env,
		.prepare = cage_prepare,
		.prepare_ctx = s->cage,
		.prepare_what = CAGE_WHAT,
	};
	int rc = child_run(&spec, NULL, limit_ms, e);

	cage_env_free(env);
	free(data);
	return rc;
}

/*
 * Nothing here weakens the proof: what is switched off guards against a power cut, and a drill that meets one is run again.
 * Autovacuum would compete with the restore, and JIT with small checks.
 */
static struct child *
launch(struct scratch *s, const struct scratch_options *o, struct err *e)
{
	static const char *const fixed[] = {
		"listen_addresses=", "unix_socket_permissions=0700", "fsync=off", "full_page_writes=off", "synchronous_commit=off",
		"wal_level=minimal", "max_wal_senders=0", "archive_mode=off", "autovacuum=off", "jit=off", "max_wal_size=16GB",
		"checkpoint_timeout=1h", "wal_buffers=64MB", "wal_init_zero=off", "max_locks_per_transaction=1024",
		"max_prepared_transactions=0", "logging_collector=off", "log_destination=stderr", "log_min_messages=warning", "log_min_error_statement=panic",
		"max_worker_processes=8", "huge_pages=off", "ssl=off", "restart_after_crash=off",
	};
	enum { FIXED = sizeof(fixed) / sizeof(fixed[0]) };
	const char *const folder = cage_folder_inside(s->cage);
	char *own[6] = { NULL }, **env = cage_env(s->cage, NULL);
	const char *argv[3 + 2 * (FIXED + 6) + 1];
	size_t n = 0, n_own = 0;
	struct child_spec spec = {
		.name = "the scratch cluster",
		.env = (const char *const *)env,
		.prepare = cage_prepare,
		.prepare_ctx = s->cage,
		.prepare_what = CAGE_WHAT,
	};
	struct child *c;
	char *data = mem_printf("%s/data", folder);

	own[n_own++] = mem_printf("unix_socket_directories=%s", folder);
	own[n_own++] = mem_printf("shared_buffers=%lluMB", (unsigned long long)(s->buffer_bytes / MIB));
	own[n_own++] = mem_printf("max_connections=%u", 60 + 2 * o->jobs);
	own[n_own++] = mem_printf("maintenance_work_mem=%lluMB", (unsigned long long)(s->sort_bytes / MIB));
	if (o->bytea_output != NULL)
		own[n_own++] = mem_printf("bytea_output=%s", o->bytea_output);
	own[n_own++] = mem_printf("shared_preload_libraries=%s", o->preload != NULL ? o->preload : "");
	argv[n++] = s->tools.postgres;
	argv[n++] = "-D";
	argv[n++] = data;
	for (size_t i = 0; i < FIXED; i++) {
		argv[n++] = "-c";
		argv[n++] = fixed[i];
	}
	for (size_t i = 0; i < n_own; i++) {
		argv[n++] = "-c";
		argv[n++] = own[i];
	}
	argv[n] = NULL;
	spec.argv = argv;
	c = child_start(&spec, e);
	for (size_t i = 0; i < n_own; i++)
		free(own[i]);
	free(data);
	cage_env_free(env);
	return c;
}

/* The server's last words, for an error. */
static int
quote_log(struct scratch *s, enum err_kind kind, const char *what, struct err *e)
{
	char *words = mem_strdup(child_stderr(s->server));
	size_t n = strlen(words);
	const char *from = n > 700 ? words + n - 700 : words;

	while (n > 0 && words[n - 1] == '\n')
		words[--n] = '\0';
	/* A library of the source that this machine lacks says nothing about the backup. */
	if (strstr(words, "could not access file") != NULL || strstr(words, "could not load library") != NULL)
		kind = ERR_NOT_FOUND;
	err_set(e, kind, "%s; its log says: %s", what, from[0] != '\0' ? from : "(nothing)");
	free(words);
	return -1;
}

/* R48: by a name of its socket that nothing in the dump can exchange, taken before the first byte of it ran. */
static struct conn *
first_connection(struct scratch *s, bool *shown, struct err *e)
{
	if (!*shown && cage_show_socket(s->cage, SOCKET, e)) {
		if (e->kind != ERR_NOT_FOUND)
			err_hint(e, "drill.dir must lie on a file system that knows hard links of sockets, and root needs CAP_FOWNER for one");
		return NULL;
	}
	*shown = true;
	return conn_open(&s->target, NULL, e);
}

static int
await(struct scratch *s, int64_t limit_ms, struct err *e)
{
	int64_t until = clock_mono_ms() + limit_ms, nap = 10;
	struct err last = ERR_INIT;
	struct conn *c;
	bool shown = false;
	int rc;

	for (;;) {
		err_clear(&last);
		c = first_connection(s, &shown, &last);
		if (c != NULL) {
			rc = conn_value(&s->version, c, "SELECT pg_catalog.current_setting('server_version')", NULL, e);
			conn_close(c);
			return rc;
		}
		if (last.kind == ERR_STOPPED || (!shown && last.kind != ERR_NOT_FOUND)) {
			*e = last;
			return -1;
		}
		if (!child_running(s->server))
			return quote_log(s, ERR_FAILED, "the scratch cluster did not start", e);
		if (clock_mono_ms() > until)
			return quote_log(s, ERR_TIMEOUT, "the scratch cluster did not accept connections in time", e);
		if (clock_sleep_ms(nap, e))
			return -1;
		nap = nap < 200 ? nap * 2 : 200;
	}
}

/* What is written in the configuration and not there is its mistake; another machine's lack, ERR_NOT_FOUND, would be a verdict. */
static int
check_dir(const char *dir, struct err *e)
{
	struct stat st = { .st_mode = 0 };

	if (stat(dir, &st) != 0 && errno != ENOENT && errno != ENOTDIR)
		return err_sys(e, "drill.dir \"%s\"", dir);
	if (S_ISDIR(st.st_mode))
		return 0;
	err_set(e, ERR_USAGE, "drill.dir: there is no folder \"%s\"", dir);
	return err_hint(e, "Make it, or set drill.dir to a folder with room for the restored database.");
}

static int
check_space(const char *dir, uint64_t need, struct err *e)
{
	uint64_t free_bytes;
	char has[32], wants[32];

	if (file_space(&free_bytes, dir, e))
		return -1;
	if (free_bytes >= need)
		return 0;
	err_set(e, ERR_SPACE, "\"%s\" has %s free, and restoring there needs about %s", dir, bytes_human(has, free_bytes),
	    bytes_human(wants, need));
	return err_hint(e, "set drill.dir to a folder on a larger disk, or lower drill.min_free, which is part of what is needed");
}

/* The server's unix socket, and nothing else of its folder; NULL when it is reached by TCP. */
static char *
socket_of(const struct pg_target *server)
{
	static const char *const usual[] = { "/var/run/postgresql", "/tmp" };
	const char *port = server->port != NULL ? server->port : "5432";
	char *path;

	if (server->host != NULL)
		return server->host[0] == '/' ? mem_printf("%s/.s.PGSQL.%s", server->host, port) : NULL;
	for (size_t i = 0; i < 2; i++) {
		path = mem_printf("%s/.s.PGSQL.%s", usual[i], port);
		if (access(path, F_OK) == 0)
			return path;
		free(path);
	}
	return NULL;
}

/*
 * R48.  Without namespaces it is its user that holds the dump's code back; and the user of a server owns its files, may signal it, and
 * is let in by `peer` as its superuser.  Who named the user has decided.
 */
static int
check_user(const struct scratch *s, const struct scratch_options *o, struct err *e)
{
	char *socket = o->source != NULL ? socket_of(o->source) : NULL;
	const struct passwd *user;
	struct stat st;
	uid_t uid;
	bool risky = false;

	if (cage_is_bare(s->cage, &uid) && o->user == NULL) {
		user = getpwuid(uid);
		risky = (user != NULL && strcmp(user->pw_name, "postgres") == 0) || (socket != NULL && stat(socket, &st) == 0 && st.st_uid == uid);
		if (risky) {
			err_set(e, ERR_REFUSED, "this host allows no namespaces, and the dump's code would run as \"%s\", the user of a PostgreSQL server",
			    user != NULL ? user->pw_name : "?");
			err_hint(e, "Run drills as root or as another user, or where user namespaces are allowed; with drill.user = \"%s\" you take the risk.",
			    user != NULL ? user->pw_name : "?");
		}
	}
	free(socket);
	return risky ? -1 : 0;
}

static struct scratch *
make(void)
{
	struct scratch *s = mem_zero(1, sizeof(*s));
	char id[RAND_ID_TEXT];

	rand_id(id);
	snprintf(s->id, sizeof(s->id), "%.16s", id);
	s->home = (struct home)HOME_INIT;
	return s;
}

/* Of an installation outside /usr: what lies beside its bin, too.  NULL when that is seen anyhow. */
static char *
beside_of(const char *dir)
{
	char *above = dir != NULL && strncmp(dir, "/usr/", 5) != 0 ? mem_printf("%s/..", dir) : NULL;
	char *beside = above != NULL ? realpath(above, NULL) : NULL;

	free(above);
	return beside;
}

/* Folder, programs and cage: what all kinds of scratch need.  `server` is the one to reach, NULL for a cluster of our own. */
static int
set_up(struct scratch *s, const struct scratch_options *o, unsigned programs, int major, const struct pg_target *server, bool network,
    struct err *e)
{
	const char *see[8] = { NULL };
	struct cage_options options = { .user = o->user, .network = network, .see = see };
	char *beside[2] = { NULL, NULL }, *socket = NULL;
	size_t n = 0;

	if (tools_find(&s->tools, programs, o->bin_dir, major, e)) {
		/* That nothing of this major is installed says nothing about the backup. */
		if (e->kind == ERR_FAILED)
			e->kind = ERR_NOT_FOUND;
		return -1;
	}
	if (home_make(&s->home, o->dir, e))
		return -1;
	beside[0] = beside_of(s->tools.dir);
	beside[1] = beside_of(o->programs);
	for (size_t i = 0; i < 2; i++)
		if (beside[i] != NULL && (n == 0 || strcmp(see[0], beside[i]) != 0))
			see[n++] = beside[i];
	if (server != NULL) {
		const char *const needed[] = { socket = socket_of(server), server->sslrootcert, server->sslcert, server->sslkey, server->passfile };

		for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
			if (needed[i] != NULL && needed[i][0] == '/')
				see[n++] = needed[i];
	}
	options.home = s->home.path;
	s->cage = s->target.cage = cage_new(&options, e);
	free(beside[0]);
	free(beside[1]);
	free(socket);
	return s->cage == NULL ? -1 : 0;
}

struct scratch *
scratch_start(const struct scratch_options *o, struct err *e)
{
	struct scratch *s = make();
	int64_t limit_ms = o->start_timeout_ms > 0 ? o->start_timeout_ms : START_MS;

	s->superuser = mem_strdup(o->superuser != NULL ? o->superuser : "postgres");
	if (check_dir(o->dir, e) || check_space(o->dir, o->need_bytes, e) ||
	    set_up(s, o, TOOLS_SERVER | TOOLS_RESTORE | TOOLS_DUMP, o->major, NULL, false, e) || check_user(s, o, e))
		goto fail;
	/* tools_find takes a newer major when it must; a drill is of the same major or of none. */
	if (s->tools.major != o->major) {
		err_set(e, ERR_NOT_FOUND, "PostgreSQL %d is not installed here (found %s)", o->major, s->tools.version);
		err_hint(e, "install the server package of major %d, or set drill.bin_dir", o->major);
		goto fail;
	}
	plan_memory(s, o->jobs);
	s->target = (struct pg_target){
		.host = cage_shown(s->cage), .port = "5432", .user = s->superuser, .maintenance_db = "postgres", .connect_timeout_ms = 10000,
		.bin_dir = s->tools.dir, .cage = s->cage,
	};
	if (run_initdb(s, limit_ms, e) || (s->server = launch(s, o, e)) == NULL || await(s, limit_ms, e))
		goto fail;
	s->floor_bytes = o->floor_bytes;
	/* Twice: sorts and the log of changes take room beside the rows.  And what an empty cluster holds. */
	s->most_bytes = 2 * o->expect_bytes + 128 * MIB;
	if (o->floor_bytes > 0 && (s->watch = scratch_watch_new(s->home.path, o->floor_bytes, s->server, e)) == NULL)
		goto fail;
	return s;
fail:
	scratch_free(s);
	return NULL;
}

/* The certificates that a connection needs are the only files of the host's that are seen beside programs. */
static struct scratch *
reach(const struct pg_target *server, const char *forbidden_id, bool check_id, const struct scratch_options *o, struct err *e)
{
	struct scratch *s = make();
	bool socket = server->host == NULL || server->host[0] == '/';
	struct conn *c = NULL;
	char *id = NULL;
	int rc = -1;

	s->target = *server;
	plan_memory(s, o->jobs);
	if (check_dir(o->dir, e) || (c = conn_open(server, NULL, e)) == NULL ||
	    conn_value(&s->version, c, "SELECT pg_catalog.current_setting('server_version')", NULL, e) ||
	    (check_id && conn_value(&id, c, "SELECT system_identifier FROM pg_catalog.pg_control_system()", NULL, e)))
		goto out;
	if (check_id && (id == NULL || forbidden_id == NULL || strcmp(id, forbidden_id) == 0)) {
		err_set(e, ERR_REFUSED, "the server named for drills is the source itself (system identifier %s)", id != NULL ? id : "?");
		err_hint(e, "restoring runs code of the dump, and must not run beside the database it came from; take another server, or none");
		goto out;
	}
	rc = set_up(s, o, TOOLS_RESTORE | TOOLS_DUMP, conn_server_version(c) / 10000, server, !socket, e);
	if (rc == 0 && check_id) {
		s->guard = c;
		c = NULL;
		rc = scratch_left_begin(s->guard, s->id, e);
	}
out:
	conn_close(c);
	free(id);
	if (rc == 0)
		return s;
	scratch_free(s);
	return NULL;
}

struct scratch *
scratch_attach(const struct pg_target *server, const char *source_system_identifier, const struct scratch_options *o, struct err *e)
{
	return reach(server, source_system_identifier, true, o, e);
}

struct scratch *
scratch_reach(const struct pg_target *server, const struct scratch_options *o, struct err *e)
{
	return reach(server, NULL, false, o, e);
}

/* Stops at once: nothing in it is worth a checkpoint. */
static void
stop_server(struct scratch *s)
{
	static const struct timespec nap = { .tv_nsec = 20 * 1000 * 1000 };
	int64_t until = clock_mono_ms() + STOP_MS;

	if (s->server == NULL)
		return;
	child_signal(s->server, SIGQUIT);
	/* Not clock_sleep_ms: a request to stop is just what may have brought us here. */
	while (child_running(s->server) && clock_mono_ms() < until)
		nanosleep(&nap, NULL);
	child_free(s->server);
}

static void
drop_databases(struct scratch *s)
{
	struct err e = ERR_INIT;
	struct conn *c;

	if (s->n_databases == 0 || (c = conn_open(&s->target, NULL, &e)) == NULL) {
		if (e.kind != ERR_NONE) {
			err_wrap(&e, "databases of the drill stay on the named server");
			log_err(LOG_WARNING, &e);
		}
		return;
	}
	for (size_t i = 0; i < s->n_databases; i++) {
		struct buf sql = BUF_INIT;

		buf_addstr(&sql, "DROP DATABASE IF EXISTS ");
		quote_ident(&sql, s->databases[i].name);
		buf_addstr(&sql, " WITH (FORCE)");
		if (conn_exec(c, (char *)sql.data, &e)) {
			err_wrap(&e, "database \"%s\" of the drill stays on the named server", s->databases[i].name);
			log_err(LOG_WARNING, &e);
			err_clear(&e);
		}
		buf_free(&sql);
	}
	conn_close(c);
}

void
scratch_free(struct scratch *s)
{
	if (s == NULL)
		return;
	if (s->superuser == NULL)
		drop_databases(s);
	scratch_watch_free(s->watch);
	conn_close(s->guard);           /* behind the databases */
	stop_server(s);
	cage_free(s->cage);
	home_remove(&s->home);
	tools_free(&s->tools);
	for (size_t i = 0; i < s->n_databases; i++) {
		free(s->databases[i].source);
		free(s->databases[i].name);
	}
	free(s->databases);
	free(s->superuser);
	free(s->version);
	free(s);
}

int
scratch_sweep(const char *dir, struct err *e)
{
	return home_sweep(dir, e);
}

const struct pg_target *
scratch_target(const struct scratch *s)
{
	return &s->target;
}

struct cage *
scratch_cage(const struct scratch *s)
{
	return s->cage;
}

const struct tools *
scratch_tools(const struct scratch *s)
{
	return &s->tools;
}

uint64_t
scratch_sort_bytes(const struct scratch *s)
{
	return s->sort_bytes;
}

const char *
scratch_database(struct scratch *s, const char *database)
{
	bool own = s->superuser != NULL && strcmp(database, "postgres") != 0 && strncmp(database, "template", 8) != 0;
	size_t i = s->n_databases;

	for (size_t k = 0; k < i; k++)
		if (strcmp(s->databases[k].source, database) == 0)
			return s->databases[k].name;
	s->databases = mem_grow(s->databases, i + 1, sizeof(*s->databases));
	s->databases[i].source = mem_strdup(database);
	s->databases[i].name = own ? mem_strdup(database) : i == 0 ? mem_printf(SCRATCH_LEFT_PREFIX "%s", s->id) :
	    mem_printf(SCRATCH_LEFT_PREFIX "%s_%zu", s->id, i + 1);
	s->n_databases++;
	return s->databases[i].name;
}

json_t *
scratch_describe(const struct scratch *s)
{
	json_t *d = json_object();

	json_put_str(d, "kind", s->superuser != NULL ? "throw-away cluster" : "server");
	json_put_str(d, "server_version", s->version);
	json_put(d, "cage", cage_measures(s->cage));
	return d;
}

int
scratch_preflight(struct scratch *s, const json_t *extensions, struct err *e)
{
	struct conn *c = conn_open(&s->target, NULL, e);
	int rc = c == NULL ? -1 : 0;
	size_t i;
	json_t *x;

	json_array_foreach(extensions, i, x) {
		const char *name = json_opt_str(x, "name", ""), *version = json_opt_str(x, "version", "");
		const char *const params[] = { name, NULL };
		struct rows *found = NULL;
		bool here = false;

		if (rc != 0 || (found = conn_query(c, "SELECT version FROM pg_catalog.pg_available_extension_versions WHERE name = $1 ORDER BY 1",
		    params, e)) == NULL) {
			rc = -1;
			break;
		}
		/* pg_dump writes no version: another one would be restored without a word. */
		for (size_t k = 0; k < conn_rows(found); k++)
			here |= strcmp(conn_cell(found, k, 0), version) == 0;
		if (!here) {
			rc = err_set(e, ERR_NOT_FOUND, "extension \"%s\" %s is not installed here%s%s", name, version,
			    conn_rows(found) > 0 ? ", but other versions are: " : "", conn_rows(found) > 0 ? conn_cell(found, 0, 0) : "");
			err_hint(e, "install the extension's package for this PostgreSQL where drills run");
		}
		conn_rows_free(found);
		if (!here)
			break;
	}
	conn_close(c);
	return rc;
}

int
scratch_room(const struct scratch *s, struct err *e)
{
	char left[32], held[32], floor[32], most[32];
	uint64_t free_bytes, held_bytes;

	if (s->watch == NULL || !scratch_watch_struck(s->watch, &free_bytes, &held_bytes))
		return 0;
	bytes_human(left, free_bytes);
	bytes_human(held, held_bytes);
	bytes_human(floor, s->floor_bytes);
	if (held_bytes > s->most_bytes)
		return err_set(e, ERR_FAILED, "what was restored fills the disk: the scratch cluster held %s, where less than %s was to be expected, "
		    "when free space fell to %s, and was stopped", held, bytes_human(most, s->most_bytes), left);
	err_set(e, ERR_SPACE, "free space in \"%s\" fell to %s, below the %s that a drill leaves free, and the scratch cluster, which held %s, "
	    "was stopped", s->home.path, left, floor, held);
	return err_hint(e, "set drill.dir to a folder on a larger disk");
}
