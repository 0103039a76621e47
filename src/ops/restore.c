#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stop.h"
#include "ops/bring.h"
#include "pg/conn.h"
#include "pg/facts.h"
#include "pg/globals.h"
#include "pg/quote.h"
#include "pg/scratch.h"
#include "pg/tools.h"

struct restoring {
	const struct ops *ops;
	const struct restore_request *request;
	struct opened opened;
	json_t *summary, *detail;
	const char *database;           /* in the backup */
	char *into;
	int server_major;
	struct scratch *scratch;        /* its cage and programs; the server is the operator's */
	bool made;                      /* we created `into` */
	json_t *outcome, *notes;
};

/* Which database of the backup. */
static int
choose_database(struct restoring *s, struct err *e)
{
	json_t *names = json_object_get(s->summary, "databases"), *name;
	size_t i;

	if (s->request->database == NULL) {
		if (json_array_size(names) == 1) {
			s->database = json_string_value(json_array_get(names, 0));
			return 0;
		}
		err_set(e, ERR_USAGE, "the backup holds %zu databases", json_array_size(names));
		return err_hint(e, "Name one with --database; `holdfast show` lists them.");
	}
	json_array_foreach(names, i, name)
		if (strcmp(json_string_value(name), s->request->database) == 0)
			s->database = json_string_value(name);
	if (s->database != NULL)
		return 0;
	err_set(e, ERR_NOT_FOUND, "the backup holds no database \"%s\"", s->request->database);
	return ops_hint_names(e, "", s->request->database, names, "");
}

/* R3: the source itself is restored to only by whoever knows it by its system identifier. */
static int
check_server(struct restoring *s, struct err *e)
{
	const char *source = json_opt_str(s->summary, "system_identifier", ""), *asked = s->request->system_id, *seen;
	struct conn *c = conn_open(&s->request->target, NULL, e);
	json_t *facts;
	int rc = 0;

	if (c == NULL)
		return -1;
	s->server_major = conn_server_version(c) / 10000;
	facts = facts_cluster(c, e);
	conn_close(c);
	if (facts == NULL)
		return -1;
	seen = json_opt_str(facts, "system_identifier", "");
	json_put_str(s->outcome, "server", json_opt_str(facts, "server_version", NULL));
	json_put_str(s->outcome, "system_identifier", seen);
	if (asked != NULL && strcmp(asked, seen) != 0) {
		rc = err_set(e, ERR_REFUSED, "the server's system identifier is %s, not %s as --system-id says", seen, asked);
		err_hint(e, "Nothing was changed. Make sure that this is the server you mean."); /* R3 */
	} else if (asked == NULL && strcmp(source, seen) == 0) {
		rc = err_set(e, ERR_REFUSED, "the server to restore to is the source of this backup");
		err_hint(e, "Nothing was changed. Give --host for another server; or, to make a new database beside the live one, --system-id %s.", seen);
	}
	json_decref(facts);
	return rc;
}

static char *
default_name(const struct restoring *s)
{
	const char *t = json_opt_str(s->summary, "time", "");
	char stamp[16];

	/* 2026-11-24T02:15:00Z to 20261124_021500 */
	if (strlen(t) < 19)
		return mem_printf("%s_restored", s->database);
	snprintf(stamp, sizeof(stamp), "%.4s%.2s%.2s_%.2s%.2s%.2s", t, t + 5, t + 8, t + 11, t + 14, t + 17);
	return mem_printf("%.40s_%s", s->database, stamp);
}

/* A cage for the pg_restores, with programs at least as new as the pg_dump that wrote and the server that takes. */
static int
reach_server(struct restoring *s, struct err *e)
{
	const struct settings *settings = s->ops->settings;
	struct scratch_options options = {
		.dir = settings->drill.dir != NULL ? settings->drill.dir : "/var/tmp",
		.user = settings->drill.user != NULL ? settings->drill.user : getpwnam("postgres") != NULL ? "postgres" : "nobody",
		.bin_dir = s->request->target.bin_dir,
		.major = s->server_major,
		.jobs = s->request->jobs != 0 ? s->request->jobs : settings->drill.jobs,
	};
	int major = 0, minor;
	const char *wrote = json_opt_str(s->summary, "pg_dump_version", "");

	if (tools_parse_version(&major, &minor, wrote) && major > options.major)
		options.major = major;
	s->scratch = scratch_reach(&s->request->target, &options, e);
	if (s->scratch == NULL)
		return -1;
	ops_warn_floor(s->outcome, scratch_tools(s->scratch), "restored");
	if (tools_suit(scratch_tools(s->scratch)->major, s->server_major))
		return 0;
	err_set(e, ERR_FAILED, "pg_restore %s cannot restore into a server of version %d", scratch_tools(s->scratch)->version, s->server_major);
	if (major >= 17)
		err_hint(e, "pg_dump %s wrote this backup, and no older pg_restore reads it: restore into a server of version 17 or newer", wrote);
	else
		err_hint(e, "install postgresql-client-%d, or name its folder as bin_dir", s->server_major);
	return -1;
}

static int
restore_the_globals(struct restoring *s, struct err *e)
{
	struct buf text = BUF_INIT;
	int64_t since = clock_mono_ms();
	int rc = bring_globals(s->opened.repo, s->detail, &text, e);

	if (rc == 0)
		rc = globals_restore(&s->request->target, text.data, text.bytes, false, s->notes, e);
	mem_wipe(text.data, text.bytes);
	buf_free(&text);
	ops_phase(s->outcome, "globals", since, 0);
	return rc;
}

/* Whether a pattern of --table, or of --schema, names anything; if not, what is near it. */
static bool
names_something(const json_t *relations, const char *pattern, bool table, json_t *candidates)
{
	const char *const one[] = { pattern, NULL };
	json_t *x;
	size_t i;

	json_array_foreach(relations, i, x) {
		const char *schema = json_opt_str(x, "schema", ""), *name = json_opt_str(x, "name", "");
		char *full = mem_printf("%s.%s", schema, name);

		json_add(candidates, json_str(table ? full : schema));
		free(full);
		if (restore_selected(table ? one : NULL, table ? NULL : one, schema, name))
			return true;
	}
	return false;
}

/* What is asked for must be in the backup before anything is made. */
static int
check_selection(struct restoring *s, struct err *e)
{
	const char *const *const lists[] = { s->request->tables, s->request->schemas };
	json_t *relations = NULL;
	int rc = 0;

	if (lists[0] == NULL && lists[1] == NULL)
		return 0;
	if (bring_relations(s->opened.repo, s->detail, s->database, &relations, e))
		return -1;
	for (int l = 0; l < 2; l++)
		for (const char *const *p = lists[l]; rc == 0 && p != NULL && *p != NULL; p++) {
			json_t *candidates = json_array();

			if (!names_something(relations, *p, l == 0, candidates)) {
				rc = err_set(e, ERR_NOT_FOUND, "the backup has no %s \"%s\"", l == 0 ? "table" : "schema with tables", *p);
				ops_hint_names(e, "Nothing was changed.", *p, candidates, l == 0 ? "A table is written as schema.table, without quotes." : "");
			}
			json_decref(candidates);
		}
	json_decref(relations);
	return rc;
}

static int
prepare_database(struct restoring *s, struct err *e)
{
	const json_t *facts = bring_cluster_facts(s->detail, s->database);

	if (s->request->existing)
		return restore_check_empty(&s->request->target, s->into, e);
	if (facts == NULL)
		return err_set(e, ERR_CORRUPT, "the manifest lacks the properties of database \"%s\"", s->database);
	if (restore_create(&s->request->target, s->into, facts, e)) {
		if (e->kind == ERR_DENIED)
			err_hint(e, "Give --user with a role that may: ALTER ROLE ... CREATEDB, or a superuser.");
		return -1;
	}
	s->made = true;
	return 0;
}

static int
fill_database(struct restoring *s, struct err *e)
{
	const struct restore_request *r = s->request;
	const struct restore_options options = {
		.target = &r->target,
		.database = s->into,
		.tools = scratch_tools(s->scratch),
		.cage = scratch_cage(s->scratch),
		.jobs = r->jobs != 0 ? r->jobs : s->ops->settings->drill.jobs,
		.tables = r->tables,
		.schemas = r->schemas,
		.no_tablespaces = true,
	};
	const struct bring b = {
		.repo = s->opened.repo,
		.progress = s->ops->progress,
		.detail = s->detail,
		.database = s->database,
		.jobs = options.jobs,
	};
	struct restore *restore = restore_new(&options, e);
	int64_t since = clock_mono_ms();
	int rc;

	if (restore == NULL)
		return -1;
	progress_phase(s->ops->progress, "restore", bring_bytes(s->detail, s->database, restore));
	rc = bring_streams(&b, restore, e);
	if (rc == 0)
		rc = restore_end(restore, bring_cluster_facts(s->detail, s->database), s->notes, e);
	restore_free(restore);
	ops_phase(s->outcome, "restore", since, progress_bytes(s->ops->progress));
	json_put_int(s->outcome, "bytes", (int64_t)progress_bytes(s->ops->progress));
	return rc;
}

/* A database that we made and could not fill is taken away again: half a restore must not be mistaken for one. */
static void
take_back(struct restoring *s)
{
	struct err e = ERR_INIT;
	struct buf sql = BUF_INIT;
	struct conn *c;

	stop_hold_off(true);            /* a signal may be why we are here */
	c = conn_open(&s->request->target, NULL, &e);
	buf_addstr(&sql, "DROP DATABASE IF EXISTS ");
	quote_ident(&sql, s->into);
	buf_addstr(&sql, " WITH (FORCE)");      /* a stopped session of ours may still build an index */
	if (c == NULL || conn_exec(c, (const char *)sql.data, &e) != 0)
		log_warning("database \"%s\" holds half a restore and could not be dropped: %s", s->into, e.msg);
	else
		log_info("database \"%s\", which this restore had made, was taken away again", s->into);
	conn_close(c);
	stop_hold_off(false);
	buf_free(&sql);
}

static int
prepare(struct restoring *s, struct err *e)
{
	if (s->request->existing && s->request->into == NULL) {
		err_set(e, ERR_USAGE, "--existing goes with --into NAME");
		return -1;
	}
	if (ops_open(&s->opened, s->ops->settings, 0, e))
		return -1;
	if (!repo_can_read(s->opened.repo)) {
		err_set(e, ERR_KEY, "the key of \"%s\" is an agent's: it can back up and cannot read", repo_holder_name(s->opened.repo));
		return err_hint(e, "Use the key file of a recovery holder (--key-file) or its passphrase (--passphrase-file).");
	}
	if (backup_find(s->opened.repo, s->request->backup, &s->summary, &s->detail, e) || choose_database(s, e) || check_server(s, e))
		return -1;
	if (check_selection(s, e))
		return -1;
	s->into = s->request->into != NULL ? mem_strdup(s->request->into) : default_name(s);
	return reach_server(s, e);
}

static int
carry_out(struct restoring *s, struct err *e)
{
	/* An existing target is looked at before anything is changed; a new one may need roles to be its owner. */
	if (s->request->existing && restore_check_empty(&s->request->target, s->into, e))
		return -1;
	if (s->request->globals && restore_the_globals(s, e))
		return -1;
	if (prepare_database(s, e))
		return -1;
	if (fill_database(s, e) == 0)
		return 0;
	if (s->made)
		take_back(s);
	else
		err_hint(e, "Database \"%s\" may hold part of the restore: drop it, or empty it, before another try.", s->into);
	return -1;
}

static void
describe(struct restoring *s, bool done, int64_t began)
{
	json_t *note, *entry;
	int64_t rows = 0;
	size_t i;

	json_array_foreach(s->notes, i, note)
		ops_warn(s->outcome, "%s", json_string_value(note));
	json_array_foreach(json_object_get(s->detail, "entries"), i, entry)
		if (s->database != NULL && strcmp(json_opt_str(entry, "database", ""), s->database) == 0)
			rows += json_opt_int(entry, "rows", 0);
	if (done && s->request->tables == NULL && s->request->schemas == NULL)
		json_put_int(s->outcome, "rows", rows);
	json_put_str(s->outcome, "database", s->database);
	json_put_str(s->outcome, "into", s->into);
	if (s->summary != NULL)
		json_put(s->outcome, "backup", json_incref(s->summary));
	json_put_int(s->outcome, "duration_ms", clock_mono_ms() - began);
}

int
ops_restore(const struct ops *o, const struct restore_request *r, json_t **outcome, struct err *e)
{
	struct restoring s = { .ops = o, .request = r };
	int64_t began = clock_mono_ms();
	int rc;

	s.outcome = ops_outcome("restore");
	s.notes = json_array();
	rc = prepare(&s, e) || carry_out(&s, e) ? -1 : 0;
	describe(&s, rc == 0, began);
	scratch_free(s.scratch);
	free(s.into);
	json_decref(s.summary);
	json_decref(s.detail);
	json_decref(s.notes);
	ops_close(&s.opened);
	*outcome = s.outcome;
	if (rc != 0 && e->kind == ERR_CORRUPT && e->hint[0] == '\0')
		err_hint(e, "`holdfast verify` says what is damaged, and which backups it affects; tables that are whole can be had with --table.");
	return rc == 0 ? 0 : err_wrap(e, "restore");
}
