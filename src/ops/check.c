#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/rand.h"
#include "ops/common.h"
#include "pg/conn.h"
#include "pg/dump.h"
#include "pg/facts.h"
#include "pg/scratch.h"
#include "pg/tools.h"

/*
 * Everything that a night's backup and a drill will need, looked at by trying it.  Each finding is a line; a problem never ends
 * the check, since the next one is worth knowing too.
 */
struct check {
	const struct settings *settings;
	struct progress *progress;
	json_t *outcome, *lines;
	struct err worst;               /* of the first line that is an error */
	struct opened opened;
	json_t *cluster;
	json_t *databases;              /* facts of each that a backup would take */
	int server_major;
	bool caches;                    /* cache_dir can be written to */
	bool first;                     /* there is no backup yet */
	uint64_t last_bytes;            /* what the newest backup added to the store */
	size_t warnings;
};

enum state { OK, WARNING, ERROR, SKIPPED };

#define SMALL_OBJECTS (1 << 20)         /* what every run writes, even where nothing has changed: its manifest, markers, reports */

static void
line(struct check *c, const char *area, const char *what, enum state state, const char *fix, const char *format, ...) PRINTF_LIKE(6, 7);

static void
line(struct check *c, const char *area, const char *what, enum state state, const char *fix, const char *format, ...)
{
	static const char *const words[] = { "ok", "warning", "error", "skipped" };
	json_t *o = json_object();
	char detail[1500];
	va_list args;

	va_start(args, format);
	if (vsnprintf(detail, sizeof(detail), format, args) < 0)
		detail[0] = '\0';
	va_end(args);
	json_put_str(o, "area", area);
	json_put_str(o, "what", what);
	json_put_str(o, "state", words[state]);
	json_put_str(o, "detail", detail);
	json_put_str(o, "fix", state == OK ? NULL : fix);
	json_add(c->lines, o);
	c->warnings += state == WARNING;
	if (state == ERROR && c->worst.kind == ERR_NONE)
		err_set(&c->worst, ERR_FAILED, "%s: %s: %s", area, what, detail);
}

/* A line from an error, whose kind decides the exit code when it is the first. */
static void
line_err(struct check *c, const char *area, const char *what, const struct err *e)
{
	bool first = c->worst.kind == ERR_NONE;

	line(c, area, what, ERROR, e->hint[0] != '\0' ? e->hint : NULL, "%s", e->msg);
	if (first)
		c->worst.kind = e->kind;
}

/* What an error before it has made impossible to look at: one fault is one error, not five. */
static void
skip(struct check *c, const char *area, const char *what, const char *because)
{
	line(c, area, what, SKIPPED, NULL, "not looked at, because %s", because);
}

/* ---- store ---- */

static void
skip_repository(struct check *c, const char *because)
{
	skip(c, "repository", "backups", because);
	skip(c, "keys", "holders", because);
	skip(c, "store", "write and read", because);
}

/* The first request that every command makes.  Whether there is a repository is not asked here; whatever else is wrong is the store's. */
static bool
reach_store(struct check *c)
{
	const struct store_config *config = &c->settings->store;
	struct buf format = BUF_INIT;
	struct err e = ERR_INIT;
	const char *what = "settings";

	c->opened.store = store_open(config, false, &e);
	if (c->opened.store != NULL && store_get(c->opened.store, "format", 0, 0, &format, &e) != 0) {
		what = e.kind == ERR_DENIED ? "credentials" : e.kind == ERR_USAGE ? "bucket" : "endpoint";
		if (e.kind == ERR_NOT_FOUND)
			err_clear(&e);
	}
	buf_free(&format);
	if (e.kind == ERR_NONE)
		return true;
	line_err(c, "store", config->kind == STORE_FOLDER ? "folder" : what, &e);
	skip(c, "repository", "open", "the store cannot be used");
	skip_repository(c, "the store cannot be used");
	return false;
}

struct probe_seen {
	const char *name;
	bool seen;
};

static int
look_for_probe(void *ctx, const struct store_object *o, struct err *e)
{
	struct probe_seen *p = ctx;

	(void)e;
	p->seen = p->seen || strcmp(o->name, p->name) == 0;
	return 0;
}

/* Puts, reads, lists and removes an object of its own below probe/. */
static void
check_store(struct check *c, struct store *s)
{
	char id[RAND_ID_TEXT], *name, data[256];
	struct probe_seen seen;
	struct buf back = BUF_INIT;
	struct err e = ERR_INIT;
	int64_t since = clock_mono_ms();
	char took[32];

	rand_id(id);
	rand_bytes(data, sizeof(data));
	name = mem_printf("probe/%s", id);
	seen = (struct probe_seen){ name, false };
	if (store_put(s, name, data, sizeof(data), &e)) {
		line_err(c, "store", "write an object", &e);
		goto out;
	}
	if (store_get(s, name, 16, 100, &back, &e))
		line_err(c, "store", "read a range", &e);
	else if (memcmp(back.data, data + 16, 100) != 0)
		line(c, "store", "read a range", ERROR, "Do not use this store.", "it gave other bytes than were put");
	else
		line(c, "store", "write and read", OK, NULL, "%s, %s", store_label(s), clock_human(took, clock_mono_ms() - since));
	if (store_list(s, "probe/", look_for_probe, &seen, &e))
		line_err(c, "store", "list objects", &e);
	else if (!seen.seen)
		line(c, "store", "list objects", WARNING, "Backups are safe all the same; deletions will wait.",
		    "an object that was just put is not in the listing");
	data[0] = (char)~data[0];       /* the same bytes again would be a success */
	if (store_put(s, name, data, sizeof(data), &e) == 0)
		line(c, "store", "refuse to overwrite", OK, NULL, "this store overwrites without a word; holdfast's names are unique and do not depend on it");
	else if (e.kind == ERR_EXISTS)
		line(c, "store", "refuse to overwrite", OK, NULL, "the store keeps what is there");
	else
		line_err(c, "store", "refuse to overwrite", &e);
	err_clear(&e);
	if (store_remove(s, name, &e))
		line(c, "store", "remove an object", WARNING, "`expire` needs this right; a key that may not delete is a good thing for `backup` alone.", "%s", e.msg);
out:
	buf_free(&back);
	free(name);
}

/* ---- repository ---- */

static void
check_rotation(struct check *c)
{
	struct err e = ERR_INIT;
	char *who;

	if (keys_behind(c->opened.repo, &who, &e)) {
		line_err(c, "keys", "rotation", &e);
		return;
	}
	if (who != NULL)
		line(c, "keys", "rotation", WARNING, "Finish it: `holdfast keys rotate` with a key that can read.",
		    "%s: without the newest key, and may be unable to read the next backup", who);
	free(who);
}

static void
check_holders(struct check *c)
{
	struct holder *holders;
	struct err e = ERR_INIT;
	size_t count, foreign, readers = 0;

	if (keys_list(c->opened.repo, &holders, &count, &foreign, &e)) {
		line_err(c, "keys", "holders", &e);
		return;
	}
	for (size_t i = 0; i < count; i++)
		readers += holders[i].role == KEY_RECOVERY;
	free(holders);
	if (readers < 2)
		line(c, "keys", "holders", WARNING, "`holdfast keys add offline --new-passphrase-file FILE` lets in a second one.", /* R50 */
		    "%zu of %zu holders can read the backups: if that key is lost, so are they", readers, count);
	else
		line(c, "keys", "holders", OK, NULL, "%zu, of which %zu can read the backups", count, readers);
	if (foreign > 0)
		line(c, "keys", "foreign objects", ERROR, "Find out who wrote to the store; `holdfast verify` says more.",
		    "%zu objects under keys/ were not written by a holder, or are damaged", foreign);
	if (!repo_pin_known(c->opened.repo))
		line(c, "keys", "pin", WARNING, "Add to it the members of `key_file` that `holdfast keys list --json` shows to a key that has them.",
		    "the key file carries no pin: a repository put in this one's place would be noticed only on this machine");
	if (repo_can_read(c->opened.repo))
		line(c, "keys", "this key", OK, NULL, "\"%s\" can back up and read: who has this machine's root has every backup",
		    repo_holder_name(c->opened.repo));
	else
		line(c, "keys", "this key", OK, NULL, "\"%s\" can back up and cannot read; drills need another key", repo_holder_name(c->opened.repo));
	check_rotation(c);
}

static void
check_backups(struct check *c)
{
	json_t *backups, *backup, *proven = NULL;
	struct err e = ERR_INIT;
	int64_t time = 0;
	size_t i;

	if (ops_backups(c->opened.repo, true, &backups, &e)) {
		line_err(c, "repository", "backups", &e);
		return;
	}
	json_array_foreach(backups, i, backup)
		if (proven == NULL && json_opt_str(backup, "proven", NULL) != NULL)
			proven = backup;
	backup = json_array_get(backups, 0);
	c->first = backup == NULL;
	c->last_bytes = (uint64_t)json_opt_int(backup, "stored_bytes", 0);
	if (backup == NULL)
		line(c, "repository", "backups", WARNING, "`holdfast backup` takes one.", "there is none yet");
	else if (clock_parse(&time, json_opt_str(backup, "time", ""), &e) == 0 && clock_wall_us() - time > 2 * 86400 * (int64_t)1000000)
		line(c, "repository", "backups", WARNING, "See why no newer one came: the timer, its log, this check's other lines.", "the newest of %zu is of %s",
		    json_array_size(backups), json_opt_str(backup, "time", ""));
	else
		line(c, "repository", "backups", OK, NULL, "%zu, the newest of %s", json_array_size(backups), json_opt_str(backup, "time", ""));
	if (backup != NULL && proven == NULL)
		line(c, "repository", "proof", WARNING, "`holdfast drill` proves the newest.", "none of them is proven");
	else if (proven != NULL)
		line(c, "repository", "proof", OK, NULL, "the newest that is proven is of %s", json_opt_str(proven, "time", ""));
	json_decref(backups);
}

static void
check_repository(struct check *c)
{
	struct err e = ERR_INIT;
	struct stat st;
	char *reached;

	if (c->settings->cache_dir == NULL)
		line(c, "repository", "cache", WARNING, "Set `repository.cache_dir`.", "there is none: every run fetches the whole index");
	else if (file_mkdirs(c->settings->cache_dir, S_IRWXU, &e) != 0 || access(c->settings->cache_dir, W_OK) != 0)
		line(c, "repository", "cache", WARNING, "Make the folder writable, or set `repository.cache_dir` to another.", "\"%s\" cannot be written to",
		    c->settings->cache_dir);
	else
		c->caches = true;
	err_clear(&e);
	if (c->settings->key_file != NULL && stat(c->settings->key_file, &st) == 0 && (st.st_mode & S_IRWXG) != 0)
		line(c, "keys", "key file", WARNING, "chmod 0600, unless Kubernetes sets it so.", "\"%s\" can be read by its group", c->settings->key_file);
	if (!reach_store(c))
		return;
	reached = mem_strdup(store_label(c->opened.store));
	ops_close(&c->opened);
	if (ops_open(&c->opened, c->settings, 0, &e)) {
		line(c, "store", "reach", OK, NULL, "%s", reached);
		line_err(c, "repository", "open", &e);
		skip_repository(c, "the repository was not opened");
		free(reached);
		return;
	}
	free(reached);
	check_store(c, c->opened.store);
	line(c, "repository", "open", OK, NULL, "%s in %s", repo_uuid(c->opened.repo), repo_label(c->opened.repo));
	check_holders(c);
	check_backups(c);
}

/* ---- source ---- */

static void
check_rights(struct check *c, struct conn *conn)
{
	struct err e = ERR_INIT;
	char *reads = NULL;
	bool super = json_is_true(json_object_get(c->cluster, "role_superuser"));
	const char *role = json_opt_str(c->cluster, "role", "the role");

	if (super)
		line(c, "source", "rights", WARNING, "CREATE ROLE holdfast LOGIN IN ROLE pg_read_all_data; and use it as `source.user`.", /* R42 */
		    "\"%s\" is a superuser: a dump needs less", role);
	else if (conn_value(&reads, conn, "SELECT pg_catalog.pg_has_role(current_user, 'pg_read_all_data', 'usage') FROM pg_catalog.pg_roles "
		     "WHERE rolname = 'pg_read_all_data'", NULL, &e) == 0 && (reads == NULL || strcmp(reads, "t") != 0))
		line(c, "source", "rights", WARNING, "GRANT pg_read_all_data TO the role.", "\"%s\" is no member of pg_read_all_data: it may lack rights on some table",
		    role);
	else if (e.kind != ERR_NONE)
		line_err(c, "source", "rights", &e);
	else
		line(c, "source", "rights", OK, NULL, "\"%s\" is a member of pg_read_all_data", role);
	free(reads);
	if (!json_is_true(json_object_get(c->cluster, "can_read_passwords")))
		line(c, "source", "passwords of roles", WARNING, "GRANT pg_read_all_data TO the role, or SELECT ON pg_authid; or set them anew after a restore.",
		    "\"%s\" may not read pg_authid: roles are backed up without their passwords", role);
	if (json_is_true(json_object_get(c->cluster, "in_recovery")))
		line(c, "source", "standby", WARNING, "Set hot_standby_feedback = on, or dump the primary.",
		    "the server is a standby: a long dump can be canceled by replay");
}

static void
check_tools(struct check *c)
{
	struct tools t = TOOLS_INIT;
	struct err e = ERR_INIT;
	const char *problem;

	if (tools_find(&t, TOOLS_DUMP, c->settings->source.bin_dir, c->server_major, &e)) {
		line_err(c, "source", "pg_dump", &e);
		return;
	}
	problem = tools_floor_problem(t.major, t.minor);
	if (problem != NULL)
		line(c, "source", "pg_dump", WARNING, "Update the PostgreSQL client packages.", "%s: %s", t.version, problem); /* R43, R44 */
	else if (!tools_suit(t.major, c->server_major))
		line(c, "source", "pg_dump", WARNING, "Install the client package of the server's own major; it is taken where it is there.",
		    "%s in %s: what it writes cannot be restored into a server before 17, as this one is", t.version, t.dir);
	else
		line(c, "source", "pg_dump", OK, NULL, "%s in %s, for a server of major %d", t.version, t.dir, c->server_major);
	tools_free(&t);
}

static void
check_locks(struct check *c, struct conn *conn, const char *what)
{
	struct err e = ERR_INIT;
	struct dump_locks locks;
	char *fix;

	if (dump_locks(&locks, conn, &e)) {
		line_err(c, "source", what, &e);
		return;
	}
	fix = mem_printf("Set max_locks_per_transaction = %u on the server, which takes a restart of it.", locks.wanted);
	if (!locks.fit)
		line(c, "source", what, WARNING, fix, "%llu relations, and the server is sure of room for %llu locks: the dump cannot lock its tables ahead, and a "
		    "table that is rewritten or dropped meanwhile costs another try", (unsigned long long)locks.relations, (unsigned long long)locks.room);
	free(fix);
}

/* pg_dump passes over them with a word and status 0. */
static void
check_subscriptions(struct check *c, struct conn *conn, const char *what)
{
	struct err e = ERR_INIT;
	char *count = NULL;

	if (json_is_true(json_object_get(c->cluster, "role_superuser")))
		return;
	if (conn_value(&count, conn, "SELECT pg_catalog.count(*) FROM pg_catalog.pg_subscription s JOIN pg_catalog.pg_database d ON d.oid = s.subdbid"
		    " WHERE d.datname = pg_catalog.current_database()", NULL, &e) != 0)
		line_err(c, "source", what, &e);
	else if (count != NULL && strcmp(count, "0") != 0)
		line(c, "source", what, WARNING, "Dump as a superuser, or write down how they are made: `psql -c '\\dRs+'`.",
		    "%s subscriptions: only a superuser can dump them, so they are not in the backup", count);
	free(count);
}

/* R34: the commonest case, an upgrade of the C library under the default collation, shows nowhere else. */
static void
check_collation(struct check *c, const char *name, const char *what)
{
	json_t *database;
	const char *was, *is;
	size_t i;

	json_array_foreach(json_object_get(c->cluster, "databases"), i, database) {
		was = json_opt_str(database, "collation_version", NULL);
		is = json_opt_str(database, "collation_version_now", "none");
		if (was != NULL && strcmp(json_opt_str(database, "name", ""), name) == 0 && strcmp(was, is) != 0)
			line(c, "source", what, WARNING, "REINDEX DATABASE, then ALTER DATABASE ... REFRESH COLLATION VERSION.",
			    "its own collation changed from version %s to %s under existing indexes", was, is);
	}
}

static void
check_database(struct check *c, const char *name, const json_t *all)
{
	struct err e = ERR_INIT;
	struct conn *conn = conn_open(&c->settings->source, name, &e);
	json_t *facts = conn != NULL ? facts_database(conn, &e) : NULL;
	char *what = mem_printf("database %s", name), size[32];
	size_t hidden;

	if (facts == NULL) {
		if (e.kind == ERR_NOT_FOUND) {
			e.hint[0] = '\0';
			ops_hint_names(&e, "", name, all, "Correct `source.databases`.");
		}
		line_err(c, "source", what, &e);
	} else {
		hidden = json_array_size(json_object_get(facts, "row_security"));
		if (hidden > 0)
			line(c, "source", what, ERROR, "ALTER ROLE ... BYPASSRLS for the role that dumps.", /* R36 */
			    "row security would hide rows of %zu tables; pg_dump will refuse", hidden);
		else
			line(c, "source", what, OK, NULL, "%s", bytes_human(size, (uint64_t)json_opt_int(facts, "bytes", 0)));
		check_collation(c, name, what);
		if (json_array_size(json_object_get(facts, "collations")) > 0)
			line(c, "source", what, WARNING, "REINDEX what depends on them, then ALTER ... REFRESH COLLATION VERSION.", /* R34 */
			    "%zu collations changed their version under existing indexes", json_array_size(json_object_get(facts, "collations")));
		if (json_opt_int(facts, "large_objects", 0) > 0 && !json_is_true(json_object_get(c->cluster, "role_superuser")))
			line(c, "source", what, WARNING, "GRANT SELECT ON LARGE OBJECT ... for each, or dump as a superuser.",
			    "%lld large objects: pg_read_all_data does not cover them, and pg_dump fails on one that it may not read",
			    (long long)json_opt_int(facts, "large_objects", 0));
		json_add(c->databases, facts);
		check_subscriptions(c, conn, what);
		check_locks(c, conn, what);
	}
	conn_close(conn);
	free(what);
}

static void
check_source(struct check *c)
{
	struct err e = ERR_INIT;
	struct conn *conn = conn_open(&c->settings->source, NULL, &e);
	json_t *names, *all, *name;
	size_t i;

	if (conn == NULL) {
		line_err(c, "source", "connect", &e);
		skip(c, "source", "rights, pg_dump, databases", "there is no connection to the source");
		return;
	}
	c->server_major = conn_server_version(conn) / 10000;
	c->cluster = facts_cluster(conn, &e);
	if (c->cluster == NULL) {
		line_err(c, "source", "facts", &e);
		conn_close(conn);
		return;
	}
	line(c, "source", "connect", OK, NULL, "PostgreSQL %s, system identifier %s", json_opt_str(c->cluster, "server_version", "?"),
	    json_opt_str(c->cluster, "system_identifier", "?"));
	check_rights(c, conn);
	check_tools(c);
	all = facts_databases(conn, &e);
	if (all == NULL)
		line_err(c, "source", "databases", &e);
	names = c->settings->databases == NULL ? json_incref(all) : json_array();
	for (const char *const *d = c->settings->databases; d != NULL && *d != NULL; d++)
		json_add(names, json_str(*d));
	json_array_foreach(names, i, name)
		check_database(c, json_string_value(name), all);
	json_decref(names);
	json_decref(all);
	conn_close(conn);
}

/* ---- free space of this machine ---- */

static uint64_t
databases_bytes(const struct check *c)
{
	uint64_t sum = 0;
	json_t *facts;
	size_t i;

	json_array_foreach(c->databases, i, facts)
		sum += (uint64_t)json_opt_int(facts, "bytes", 0);
	return sum;
}

static void
check_room(struct check *c, const char *what, const char *dir, uint64_t need, const char *fix)
{
	struct err e = ERR_INIT;
	char have[32], want[32];
	uint64_t room;

	need += SMALL_OBJECTS;
	if (file_space(&room, dir, &e) != 0)
		line_err(c, "repository", what, &e);
	else
		line(c, "repository", what, room < need ? WARNING : OK, fix, "%s free in \"%s\", %s is about what the next backup may take", bytes_human(have, room),
		    dir, bytes_human(want, need));
}

static int
add_size(void *ctx, const struct store_object *o, struct err *e)
{
	uint64_t *sum = ctx;

	(void)e;
	*sum += o->bytes;
	return 0;
}

/* A night adds about what the last one did; the first one takes everything.  The cache holds the index alone: a copy of its objects,
 * what they sort into, and the room to sort them in. */
static void
check_space(struct check *c)
{
	struct err e = ERR_INIT;
	uint64_t all = databases_bytes(c), index = 0;

	if (c->opened.repo == NULL || (c->first && all == 0))
		return;
	if (c->settings->store.kind == STORE_FOLDER)
		check_room(c, "free space", c->settings->store.path, c->first ? all : c->last_bytes,
		    "Make the file system larger, or see what the policy would free: `holdfast expire --plan`.");
	if (!c->caches)
		return;
	if (store_list(c->opened.store, "index/", add_size, &index, &e) != 0)
		line_err(c, "repository", "cache", &e);
	else
		check_room(c, "cache", c->settings->cache_dir, c->first ? all / 100 : 3 * index,
		    "Make room there, or set `repository.cache_dir` to a folder that has some: without it every run fetches the whole index.");
}

/* ---- drill ---- */

static bool
check_scratch_tools(struct check *c)
{
	struct tools t = TOOLS_INIT;
	struct err e = ERR_INIT;
	const char *problem;

	if (tools_find(&t, TOOLS_RESTORE, c->settings->drill.bin_dir, c->server_major, &e)) {
		line_err(c, "drill", "pg_restore", &e);
		return false;
	}
	problem = tools_floor_problem(t.major, t.minor);
	if (problem != NULL)
		line(c, "drill", "pg_restore", WARNING, "Update the PostgreSQL packages.", "%s: %s", t.version, problem); /* R44, R45 */
	tools_free(&t);
	return true;
}

static void
check_cage(struct check *c, struct scratch *s)
{
	json_t *scratch = scratch_describe(s), *measure;
	size_t i, off = 0;

	json_array_foreach(json_object_get(scratch, "cage"), i, measure)
		if (!json_is_true(json_object_get(measure, "enforced"))) {
			line(c, "drill", "cage", WARNING, "Run drills as root, or where user namespaces are allowed; the report says it each time.", "not enforced here: %s%s%s",
			    json_opt_str(measure, "measure", "?"), json_opt_str(measure, "note", NULL) != NULL ? ": " : "", json_opt_str(measure, "note", ""));
			off++;
		}
	if (off == 0 && json_array_size(json_object_get(scratch, "cage")) > 0)
		line(c, "drill", "cage", OK, NULL, "all %zu measures are enforced here", json_array_size(json_object_get(scratch, "cage")));
	json_decref(scratch);
}

/* Starts a real scratch cluster: nothing else shows that one starts here, and what it can install (R33). */
static void
check_scratch(struct check *c)
{
	const struct settings *s = c->settings;
	const char *dir = s->drill.dir != NULL ? s->drill.dir : "/var/tmp";
	struct scratch_options options = {
		.dir = dir,
		.user = s->drill.user,
		.source = &s->source,
		.bin_dir = s->drill.bin_dir,
		.major = c->server_major,
		.jobs = s->drill.jobs,
	};
	struct scratch *scratch;
	struct err e = ERR_INIT;
	uint64_t room, need = databases_bytes(c);
	json_t *facts;
	char have[32], want[32];
	size_t i;

	need += need / 2 + s->drill.min_free_bytes;
	/* A folder that is not there is the next line's, which knows what to do. */
	if (!s->drill.use_server && file_space(&room, dir, &e) == 0)
		line(c, "drill", "free space", room < need ? ERROR : OK, "Set `drill.dir` to a larger file system.", "%s free in \"%s\", about %s needed",
		    bytes_human(have, room), dir, bytes_human(want, need));
	err_clear(&e);
	options.preload = json_opt_str(json_object_get(c->cluster, "settings"), "shared_preload_libraries", NULL);
	scratch = s->drill.use_server ? scratch_attach(&s->drill.server, json_opt_str(c->cluster, "system_identifier", ""), &options, &e) :
					scratch_start(&options, &e);
	if (scratch == NULL) {
		line_err(c, "drill", "scratch", &e);
		return;
	}
	line(c, "drill", "scratch", OK, NULL, "%s", s->drill.use_server ? "the named server answers and is not the source" : "a throw-away cluster starts here");
	check_cage(c, scratch);
	json_array_foreach(c->databases, i, facts) {
		char *what = mem_printf("extensions of %s", json_opt_str(facts, "name", "?"));

		if (scratch_preflight(scratch, json_object_get(facts, "extensions"), &e) != 0)
			line_err(c, "drill", what, &e);
		else
			line(c, "drill", what, OK, NULL, "can be installed in the scratch (%zu)", json_array_size(json_object_get(facts, "extensions")));
		err_clear(&e);
		free(what);
	}
	scratch_free(scratch);
}

int
ops_check(const struct ops *o, json_t **outcome, struct err *e)
{
	struct check c = { .settings = o->settings, .progress = o->progress };

	c.outcome = *outcome = ops_outcome("check");
	json_put(c.outcome, "lines", c.lines = json_array());
	c.databases = json_array();
	progress_phase(o->progress, "store and repository", 0);
	check_repository(&c);
	progress_phase(o->progress, "source", 0);
	check_source(&c);
	check_space(&c);
	if (c.server_major != 0) {
		progress_phase(o->progress, "drill", 0);
		if (check_scratch_tools(&c))
			check_scratch(&c);
		else
			skip(&c, "drill", "scratch", "there is no pg_restore for it");
	} else {
		skip(&c, "drill", "scratch", "the source's version and extensions are not known");
	}
	json_decref(c.cluster);
	json_decref(c.databases);
	ops_close(&c.opened);
	if (c.warnings > 0)
		ops_warn(c.outcome, "%zu finding%s above to look at", c.warnings, c.warnings == 1 ? "" : "s");
	if (c.worst.kind == ERR_NONE)
		return 0;
	*e = c.worst;
	return err_wrap(e, "check");
}
