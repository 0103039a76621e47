#include "ops/drill.h"

#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stop.h"
#include "pg/compare.h"
#include "pg/globals.h"

/*
 * A drill: restore a backup into a place that is thrown away, dump it again through the same code, compare.  What goes wrong with the
 * backup is a verdict; what keeps us from looking (the store, a signal, the wrong key) is an error and no verdict.
 */
void
drill_spent(struct drill *d, int phase, int64_t since)
{
	d->phase_ms[phase] += clock_mono_ms() - since;
}

/* ---- the place ---- */

/* The bootstrap superuser of the source: whoever owns template1. */
static const char *
superuser_of(const json_t *detail)
{
	const json_t *facts = bring_cluster_facts(detail, "template1");

	if (facts == NULL)
		facts = bring_cluster_facts(detail, "postgres");
	return json_opt_str(facts, "owner", NULL);
}

static int
server_major(const json_t *detail)
{
	const json_t *cluster = json_object_get(json_object_get(detail, "facts"), "cluster");

	return (int)(json_opt_int(cluster, "server_version_num", 0) / 10000);
}

/* What the databases took at the source. */
static uint64_t
recorded_bytes(const struct drill *d)
{
	json_t *name;
	uint64_t bytes = 0;
	size_t i;

	json_array_foreach(json_object_get(d->summary, "databases"), i, name)
		bytes += (uint64_t)json_opt_int(bring_cluster_facts(d->detail, json_string_value(name)), "bytes", 0);
	return bytes;
}

static int
start_scratch(struct drill *d, struct err *e)
{
	const json_t *cluster = json_object_get(json_object_get(d->detail, "facts"), "cluster");
	const json_t *settings = json_object_get(cluster, "settings");
	const char *dir = d->settings->drill.dir != NULL ? d->settings->drill.dir : "/var/tmp";
	uint64_t bytes = (uint64_t)json_opt_int(d->summary, "bytes", 0), floor = d->settings->drill.min_free_bytes;
	struct err missing = ERR_INIT;
	/* The dump of what was restored comes from the same pg_dump as the backup's, where it is there.  A server that is not is told first. */
	int found = tools_find(&d->dump_tools, TOOLS_DUMP, d->settings->source.bin_dir, server_major(d->detail), &missing);
	const struct scratch_options options = {
		.dir = dir,
		.user = d->settings->drill.user,
		.source = &d->settings->source,
		.bin_dir = d->settings->drill.bin_dir,
		.programs = d->dump_tools.dir,
		.major = server_major(d->detail),
		.superuser = superuser_of(d->detail),
		.preload = json_opt_str(settings, "shared_preload_libraries", NULL),
		.bytea_output = json_opt_str(settings, "bytea_output", NULL),
		.need_bytes = bytes + bytes / 2 + floor,
		.floor_bytes = floor,
		.expect_bytes = bytes > recorded_bytes(d) ? bytes : recorded_bytes(d),
		.jobs = d->settings->drill.jobs,
	};
	int64_t since = clock_mono_ms();
	int swept = scratch_sweep(dir, e);

	if (swept < 0) {
		log_warning("what an earlier drill left could not be removed: %s", e->msg);
		err_clear(e);
	}
	progress_phase(d->ops->progress, "scratch cluster", 0);
	d->scratch = d->settings->drill.use_server ?
	    scratch_attach(&d->settings->drill.server, json_opt_str(d->summary, "system_identifier", ""), &options, e) :
	    scratch_start(&options, e);
	drill_spent(d, SCRATCH, since);
	if (d->scratch == NULL) {
		if (e->kind == ERR_NOT_FOUND)
			d->unverifiable = "scratch";
		return -1;
	}
	json_put(d->outcome, "scratch", scratch_describe(d->scratch));
	ops_warn_floor(d->outcome, scratch_tools(d->scratch), "restored");
	if (found != 0)
		*e = missing;
	return found;
}

static int
restore_globals(struct drill *d, struct err *e)
{
	int64_t since = clock_mono_ms();
	int rc = bring_globals(d->opened.repo, d->detail, &d->globals, e);

	if (rc == 0)
		rc = globals_restore(scratch_target(d->scratch), d->globals.data, d->globals.bytes, !d->settings->drill.use_server, d->notes, e);
	drill_spent(d, GLOBALS, since);
	return rc == 0 ? 0 : err_wrap(e, "globals");
}

/* R32.  Behind all databases: none of them may have taken a role's right away again.  A named server has roles of its own. */
static int
check_globals(struct drill *d, struct err *e)
{
	size_t before = json_array_size(d->differences);
	int64_t since = clock_mono_ms();
	json_t *globals;
	int rc;

	if (d->settings->drill.use_server) {
		json_add(d->not_covered, json_str("roles, their memberships and tablespaces: they were restored where they were missing (each statement "
		    "that failed is a warning), and not compared with the source, since the server has others"));
		return 0;
	}
	json_put(d->outcome, "globals", globals = json_object());
	rc = compare_globals(globals, d->differences, d->not_covered, scratch_target(d->scratch), &d->dump_tools, d->globals.data, d->globals.bytes,
	    d->settings->backup.idle_timeout_ms, e);
	d->differs = d->differs || json_array_size(d->differences) > before;
	drill_spent(d, COMPARE, since);
	return rc == 0 ? 0 : err_wrap(e, "globals");
}

/* R10: a check that named a database which is not in the backup has not passed. */
static void
add_checks_that_never_ran(struct drill *d)
{
	for (const struct check_sql *c = d->settings->drill.checks; c != NULL && c->name != NULL; c++) {
		json_t *names = json_object_get(d->summary, "databases"), *name, *result;
		bool there = c->database == NULL;
		size_t i;

		json_array_foreach(names, i, name)
			there = there || strcmp(json_string_value(name), c->database) == 0;
		if (there)
			continue;
		result = json_object();
		json_put_str(result, "name", c->name);
		json_put_str(result, "database", c->database);
		json_put_bool(result, "ok", false);
		json_put_str(result, "value", "not run: the backup has no such database");
		json_put_str(result, "expected", c->expect);
		json_add(d->checks, result);
		d->differs = true;
	}
}

static int
steps(struct drill *d, struct err *e)
{
	json_t *names = json_object_get(d->summary, "databases"), *name;
	size_t i;

	if (start_scratch(d, e))
		return -1;
	d->looked = true;
	if (restore_globals(d, e))
		return -1;
	json_array_foreach(names, i, name)
		if (drill_database(d, json_string_value(name), e))
			return -1;
	if (check_globals(d, e))
		return -1;
	add_checks_that_never_ran(d);
	return 0;
}

/* Where the scratch cluster was killed, that is the reason, and not the lost connection that came of it. */
static int
run(struct drill *d, struct err *e)
{
	struct err why = ERR_INIT;
	int rc = steps(d, e);

	if (rc != 0 && d->scratch != NULL && scratch_room(d->scratch, &why))
		*e = why;
	return rc;
}

static int
prepare(struct drill *d, const char *backup, struct err *e)
{
	/* Without the cache: it is what a bare machine would find in the store that is judged. */
	if (ops_open(&d->opened, d->settings, OPEN_UNCACHED, e))
		return -1;
	if (!repo_can_read(d->opened.repo)) {
		err_set(e, ERR_KEY, "the key of \"%s\" is an agent's: it can back up and cannot read", repo_holder_name(d->opened.repo));
		return err_hint(e, "Run the drill where a recovery key is (--key-file, --passphrase-file), or let in a verifier with `holdfast keys add`.");
	}
	/* Before the work, not behind it: what such a holder proves, nobody would believe. */
	if (repo_can_sign(d->opened.repo, e))
		return -1;
	return backup_find(d->opened.repo, backup != NULL ? backup : "latest", &d->summary, &d->detail, e);
}

/* Ends the scratch, gives the verdict, stores the report. */
static int
conclude(struct drill *d, int rc, struct err *e)
{
	char text[CLOCK_TEXT], host[256] = "", id[33];
	struct err late = ERR_INIT;
	const char *verdict;

	verdict = drill_judge(d, rc, e);
	if (verdict == NULL)
		return -1;
	/* What was found before a signal or the deadline came is told all the same.  A second signal still ends us. */
	stop_set_deadline(0, "");
	stop_hold_off(true);
	if (gethostname(host, sizeof(host) - 1) != 0)
		host[0] = '\0';
	json_put_str(d->outcome, "finished", clock_format_s(text, clock_wall_us()));
	json_put_str(d->outcome, "host", host);
	json_put_str(d->outcome, "holder", repo_holder_name(d->opened.repo));
	if (repo_put_report(d->opened.repo, d->outcome, id, &late) == 0)
		json_put_str(d->outcome, "report_id", id);
	stop_hold_off(false);
	if (strcmp(verdict, "proven") == 0) {
		if (late.kind == ERR_NONE)
			return 0;
		*e = late;
		return err_wrap(e, "all is as it was, and the report that says so could not be stored");
	}
	if (rc != 0 && e->kind == ERR_STOPPED) {
		if (late.kind != ERR_NONE)
			log_err(LOG_WARNING, &late);
		return -1;
	}
	if (rc == 0 || d->differs)
		err_set(e, ERR_NOT_PROVEN, "%s", json_opt_str(d->outcome, "reason", ""));
	e->kind = ERR_NOT_PROVEN;
	err_wrap(e, "backup %.12s is not proven (%s)", json_opt_str(d->summary, "id", ""), verdict);
	if (late.kind != ERR_NONE) {
		err_wrap(&late, "nobody else will hear of this verdict: the report could not be stored");
		log_err(LOG_WARNING, &late);
		e->hint[0] = '\0';
		err_hint(e, "Mend the store and drill again: until then `holdfast list` says what it said before.");
	}
	err_hint(e, "`holdfast report` shows what was found; the backup itself was not changed.");
	return -1;
}

int
ops_drill(const struct ops *o, const char *backup, json_t **outcome, struct err *e)
{
	struct drill d = { .ops = o, .settings = o->settings, .dump_tools = TOOLS_INIT, .globals = BUF_INIT };
	char text[CLOCK_TEXT];
	int rc;

	d.outcome = *outcome = ops_outcome("drill");
	json_put(d.outcome, "databases", d.databases = json_array());
	json_put(d.outcome, "differences", d.differences = json_array());
	json_put(d.outcome, "checks", d.checks = json_array());
	json_put(d.outcome, "amcheck", d.amcheck = json_object());
	json_put(d.outcome, "not_covered", d.not_covered = json_array());
	json_put_str(d.outcome, "started", clock_format_s(text, clock_wall_us()));
	d.notes = json_array();
	if (!o->settings->drill.amcheck) {
		json_put_bool(d.amcheck, "ran", false);
		json_put_str(d.amcheck, "why_not", "turned off in the configuration");
	}
	stop_set_deadline(o->settings->drill.deadline_ms, "the drill");
	rc = prepare(&d, backup, e);
	if (rc == 0) {
		json_put(d.outcome, "backup", json_incref(d.summary));
		rc = conclude(&d, run(&d, e), e);
	}
	stop_set_deadline(0, "");
	stop_hold_off(true);            /* databases on a named server are dropped also behind a signal */
	scratch_free(d.scratch);
	stop_hold_off(false);
	tools_free(&d.dump_tools);
	if (d.globals.data != NULL)
		mem_wipe(d.globals.data, d.globals.bytes);
	buf_free(&d.globals);
	json_decref(d.summary);
	json_decref(d.detail);
	json_decref(d.notes);
	ops_close(&d.opened);
	return rc;
}
