#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stop.h"
#include "ops/common.h"
#include "pg/archive.h"
#include "pg/dump.h"
#include "pg/facts.h"
#include "pg/quote.h"

#define LOCK_PAUSE_MS 5000              /* before another try after a lock in the way (R38) */
#define SUSPECT_LOOKS_BACK 7

/* A backup under way. */
struct backup {
	const struct ops *ops;
	const struct settings *settings;
	struct opened opened;
	struct conn *lock;              /* holds the advisory lock while it lives (R27) */
	struct tools tools;
	struct repo_run *run;
	json_t *cluster;                /* facts */
	json_t *databases;              /* facts of each */
	json_t *names;                  /* of the databases */
	json_t *entries, *plan;
	json_t *outcome;
	uint64_t rows;
	int64_t time_us;                /* of the first snapshot */
};

/* ---- one database ---- */

struct database_dump {
	struct backup *backup;
	struct dump *dump;
	const char *name;
	const struct dump_stream *streams;
	size_t count;
	struct archive_digest *digests; /* one a stream */
};

/* "langfuse/pre-data", "langfuse/public.traces": as `cat` takes it. */
static char *
stream_name(const char *database, const struct dump_stream *s)
{
	char *table, *text, *name;

	if (s->kind != DUMP_TABLE)
		return mem_printf("%s/%s", database, s->name);
	table = quote_name(s->schema, s->table);
	text = json_name(table);
	name = mem_printf("%s/%s", database, text);
	free(table);
	free(text);
	return name;
}

static void
put_name(json_t *to, const char *key, const char *name)
{
	char *text = name != NULL ? json_name(name) : NULL;

	json_put_str(to, key, text);
	free(text);
}

static int
dump_one_stream(void *ctx, struct parallel *p, size_t i, struct err *e)
{
	struct database_dump *d = ctx;
	char *name = stream_name(d->name, &d->streams[i]);
	struct sink *sink = repo_write(d->backup->run, name, "dump", d->name);
	int rc = -1;

	sink = progress_sink_new(d->backup->ops->progress, name, false, sink);
	sink = archive_reader_new(&d->digests[i], NULL, parallel_guard(p, sink));
	/* The sink is finished, and the stream with it part of the backup, only behind pg_dump's exit status (R4, R7). */
	if (dump_run(d->dump, i, sink, e) == 0)
		rc = sink_finish(sink, e);
	sink_free(sink);
	if (rc != 0 && e->kind != ERR_STOPPED)
		log_debug("stream \"%s\": %s", name, e->msg);
	free(name);
	return rc;
}

static void
note_plan(struct backup *b, const char *database, const struct dump_stream *s)
{
	static const char *const sections[] = { "pre-data", "table", "rest", "post-data" };
	char *name = stream_name(database, s);
	json_t *o = json_object();

	json_put_str(o, "stream", name);
	json_put_str(o, "section", sections[s->kind]);
	put_name(o, "schema", s->schema);
	put_name(o, "table", s->table);
	json_add(b->plan, o);
	free(name);
}

/* Keeps what was learnt, once all of it is certain. */
static void
keep_database(struct database_dump *d)
{
	struct backup *b = d->backup;
	json_t *facts = json_copy(dump_facts(d->dump));
	char time[CLOCK_TEXT];

	if (b->time_us == 0)
		b->time_us = dump_time_us(d->dump);
	json_put_str(facts, "snapshot_lsn", dump_lsn(d->dump));
	json_put_str(facts, "snapshot_time", clock_format(time, dump_time_us(d->dump)));
	json_add(b->databases, facts);
	for (size_t i = 0; i < d->count; i++) {
		note_plan(b, d->name, &d->streams[i]);
		ops_add_entries(b->entries, d->name, &d->digests[i], &b->rows);
	}
}

static void
report_waiters(struct database_dump *d)
{
	struct err ignored = ERR_INIT;
	json_t *waiters = dump_waiters(d->dump, &ignored), *waiter;
	size_t i;

	json_array_foreach(waiters, i, waiter)
		ops_warn(d->backup->outcome, "database \"%s\": the dump's locks held up a session: %s", d->name, json_string_value(waiter));
	json_decref(waiters);
}

/* A pg_dump that ends well may have left something out: then it says so, and so must the backup. */
static void
report_words(struct database_dump *d)
{
	const json_t *words;
	size_t i;

	json_array_foreach(dump_warnings(d->dump), i, words)
		ops_warn(d->backup->outcome, "database \"%s\": pg_dump says: %s", d->name, json_string_value(words));
}

static int
try_database(struct backup *b, const char *name, struct err *e)
{
	const struct settings *s = b->settings;
	const struct dump_options options = {
		.exclude_table_data = s->exclude_table_data,
		.large_table_bytes = s->backup.large_table_bytes,
		.lock_timeout_ms = s->backup.lock_timeout_ms,
		.idle_timeout_ms = s->backup.idle_timeout_ms,
	};
	struct database_dump d = { .backup = b, .name = name };
	uint64_t expected = 0;
	int rc = -1;

	d.dump = dump_begin(&s->source, name, &b->tools, &options, e);
	if (d.dump == NULL)
		goto out;
	d.streams = dump_streams(d.dump, &d.count);
	d.digests = mem_zero(d.count, sizeof(*d.digests));
	for (size_t i = 0; i < d.count; i++)
		expected += d.streams[i].estimated_bytes;
	progress_phase(b->ops->progress, "backup", expected);
	rc = parallel_run(s->backup.jobs, d.count, dump_one_stream, &d, e);
	if (rc == 0) {
		report_waiters(&d);
		rc = dump_end(d.dump, e);
	}
	if (rc == 0) {
		report_words(&d);
		keep_database(&d);
	}
out:
	for (size_t i = 0; i < d.count; i++)
		archive_digest_free(&d.digests[i]);
	free(d.digests);
	dump_free(d.dump);
	return rc == 0 ? 0 : err_wrap(e, "database \"%s\"", name);
}

/* A lock in the way (R38) is worth another whole try: a migration ends. */
static int
dump_database(struct backup *b, const char *name, struct err *e)
{
	unsigned tries = b->settings->backup.lock_attempts;
	int64_t began = clock_mono_ms();
	int rc = try_database(b, name, e);

	for (unsigned i = 1; rc != 0 && e->kind == ERR_LOCKED && i < tries; i++) {
		log_warning("%s; trying again in %d s (try %u of %u)", e->msg, LOCK_PAUSE_MS / 1000, i + 1, tries);
		err_clear(e);
		if (clock_sleep_ms(LOCK_PAUSE_MS, e))
			return -1;
		repo_forget(b->run, name);
		rc = try_database(b, name, e);
	}
	if (rc == 0) {
		char *phase = mem_printf("dump %s", name);

		ops_phase(b->outcome, phase, began, 0);
		free(phase);
	}
	return rc;
}

static int
dump_the_globals(struct backup *b, struct err *e)
{
	struct sink *sink = repo_write(b->run, "globals", "sql", NULL);
	bool without_passwords = false;
	json_t *said = json_array(), *words;
	size_t i;
	int rc = dump_globals(&b->settings->source, &b->tools, b->settings->backup.idle_timeout_ms, &without_passwords, said, sink, e);

	if (rc == 0)
		rc = sink_finish(sink, e);
	sink_free(sink);
	if (rc == 0 && without_passwords)
		ops_warn(b->outcome, "roles were dumped without their passwords: \"%s\" may not read pg_authid", /* R32 */
		    b->settings->source.user != NULL ? b->settings->source.user : "the role");
	json_array_foreach(said, i, words)
		ops_warn(b->outcome, "globals: pg_dumpall says: %s", json_string_value(words));
	json_decref(said);
	return rc == 0 ? 0 : err_wrap(e, "globals");
}

/* ---- before and after ---- */

/* R27: one run at a time for this source and this repository, held by a session: it ends with us, however we end. */
static int
take_lock(struct backup *b, struct err *e)
{
	const char *const params[] = { repo_uuid(b->opened.repo), NULL };
	char *got = NULL;
	int rc;

	b->lock = conn_open(&b->settings->source, NULL, e);
	if (b->lock == NULL)
		return -1;
	rc = conn_value(&got, b->lock, "SELECT pg_try_advisory_lock(hashtext('holdfast'), hashtext($1))", params, e);
	if (rc == 0 && strcmp(got != NULL ? got : "f", "t") != 0) {
		rc = err_set(e, ERR_LOCKED, "another backup of this server into this repository is under way");
		err_hint(e, "Wait for it; its session in pg_stat_activity has application_name holdfast.");
	}
	free(got);
	return rc;
}

static int
prepare(struct backup *b, const struct backup_request *r, struct err *e)
{
	if (ops_open(&b->opened, b->settings, 0, e) || take_lock(b, e))
		return -1;
	/* R39: a pg_dump that is too old is found before anything is begun. */
	if (tools_find(&b->tools, TOOLS_DUMP, b->settings->source.bin_dir, conn_server_version(b->lock) / 10000, e) ||
	    ops_databases(b->lock, r->databases != NULL ? r->databases : b->settings->databases, &b->names, e))
		return -1;
	ops_warn_floor(b->outcome, &b->tools, "dumped");
	b->cluster = facts_cluster(b->lock, e);
	if (b->cluster == NULL)
		return -1;
	b->run = repo_begin(b->opened.repo, "backup", e);
	return b->run == NULL ? -1 : 0;
}

static int
by_size(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

/* Why `now` is far less than the median of what `n` backups before had, or NULL; owned by the caller. */
static char *
shrank(int64_t *before, size_t n, int64_t now, unsigned percent, const char *what)
{
	int64_t median;

	if (n == 0)
		return NULL;
	qsort(before, n, sizeof(before[0]), by_size);
	median = before[n / 2];
	if ((double)now >= (double)median * (100 - percent) / 100)
		return NULL;
	return n == 1 ? mem_printf("%" PRId64 " %s, where the backup before had %" PRId64, now, what, median) :
			mem_printf("%" PRId64 " %s, where the last %zu backups had %" PRId64 " as their median", now, what, n, median);
}

/* R6: far fewer rows or bytes than the last backups of the same databases had is no reason to fail, and one to look. */
static int
look_for_shrinking(struct backup *b, uint64_t bytes_now, json_t *summary, struct err *e)
{
	int64_t rows[SUSPECT_LOOKS_BACK], bytes[SUSPECT_LOOKS_BACK];
	unsigned percent = b->settings->backup.shrink_percent;
	char *group = backup_group(summary), *why;
	json_t *backups, *backup;
	size_t i, n = 0;

	json_put(summary, "suspect", json_null());
	if (ops_backups(b->opened.repo, false, &backups, e)) {
		free(group);
		return -1;
	}
	json_array_foreach(backups, i, backup) {
		char *other = backup_group(backup);

		if (n < SUSPECT_LOOKS_BACK && strcmp(other, group) == 0 &&
		    (json_opt_str(backup, "suspect", NULL) == NULL || json_opt_str(backup, "proven", NULL) != NULL)) {
			rows[n] = json_opt_int(backup, "rows", 0);
			bytes[n++] = json_opt_int(backup, "bytes", 0);
		}
		free(other);
	}
	json_decref(backups);
	free(group);
	why = shrank(rows, n, (int64_t)b->rows, percent, "rows");
	if (why == NULL)
		why = shrank(bytes, n, (int64_t)bytes_now, percent, "bytes");
	if (why != NULL) {
		json_put_str(summary, "suspect", why);
		ops_warn(b->outcome, "this backup is suspect: %s; nothing older expires until it is explained", why);
	}
	free(why);
	return 0;
}

static json_t *
summary_new(const struct backup *b, const struct backup_request *r, int64_t began_ms)
{
	json_t *summary = json_object();
	char text[CLOCK_TEXT];

	json_put_str(summary, "time", clock_format_s(text, b->time_us != 0 ? b->time_us : clock_wall_us()));
	json_put_str(summary, "finished", clock_format_s(text, clock_wall_us()));
	json_put_str(summary, "source", b->settings->name);
	json_put_str(summary, "system_identifier", json_opt_str(b->cluster, "system_identifier", NULL));
	json_put_str(summary, "server_version", json_opt_str(b->cluster, "server_version", NULL));
	json_put_str(summary, "pg_dump_version", b->tools.version);
	json_put(summary, "databases", json_incref(b->names));
	json_put_str(summary, "label", r->label);
	json_put_int(summary, "rows", (int64_t)b->rows);
	json_put_int(summary, "entries", (int64_t)json_array_size(b->entries));
	json_put_int(summary, "duration_ms", clock_mono_ms() - began_ms);
	return summary;
}

static json_t *
detail_new(const struct backup *b)
{
	json_t *detail = json_object(), *facts = json_object(), *excluded = json_array();

	for (const char *const *x = b->settings->exclude_table_data; x != NULL && *x != NULL; x++)
		json_add(excluded, json_str(*x));
	json_put(facts, "cluster", json_incref(b->cluster));
	json_put(facts, "databases", json_incref(b->databases));
	json_put(facts, "exclude_table_data", excluded);
	json_put(detail, "facts", facts);
	json_put(detail, "entries", json_incref(b->entries));
	json_put(detail, "plan", json_incref(b->plan));
	return detail;
}

/* Streams as the outcome lists them come from the manifest that was just written. */
static int
describe(struct backup *b, const char id[33], struct err *e)
{
	json_t *summary, *detail;

	if (backup_find(b->opened.repo, id, &summary, &detail, e))
		return err_wrap(e, "read the manifest back");
	json_put(b->outcome, "backup", summary);
	json_put(b->outcome, "streams", json_incref(json_object_get(detail, "streams")));
	json_decref(detail);
	return 0;
}

static void
seen(void *ctx, uint64_t bytes, uint64_t known)
{
	progress_add(ctx, bytes);
	progress_known(ctx, known);
}

/* The backup is as good without it, and another one may have run beside it. */
static void
look_at_the_lock(struct backup *b)
{
	struct err e = ERR_INIT;

	if (conn_exec(b->lock, "SELECT 1", &e) != 0)
		ops_warn(b->outcome, "the session that kept other backups away was lost meanwhile: %s", e.msg); /* R27 */
}

/* A rotation of keys that was cut short is noticed by the night, not by who needs the backup. */
static void
look_at_the_readers(struct backup *b)
{
	struct err e = ERR_INIT;
	char *who;

	if (keys_behind(b->opened.repo, &who, &e)) {
		ops_warn(b->outcome, "whether all recovery holders have the newest key could not be looked at: %s", e.msg);
		return;
	}
	if (who != NULL)
		ops_warn(b->outcome, "%s may be unable to read this backup: finish the rotation of keys with `holdfast keys rotate`", who);
	free(who);
}

/*
 * What the manifest says stands in the outcome from the moment that there is one: whatever comes next, somebody has to know the id of a
 * backup that is there.
 */
static int
commit(struct backup *b, json_t *summary, char id[33], struct err *e)
{
	json_t *detail = detail_new(b);
	struct repo_run *run = b->run;
	int64_t since = clock_mono_ms();
	int rc;

	progress_phase(b->ops->progress, "commit", 0);
	b->run = NULL;                  /* commit ends it either way */
	rc = repo_commit(run, json_incref(summary), json_incref(detail), id, e);
	if (rc == 0) {
		json_put_bool(summary, "hold", false);
		json_put(summary, "proven", json_null());
		json_put(summary, "last_verdict", json_null());
		json_put(b->outcome, "backup", json_incref(summary));
		json_put(b->outcome, "streams", json_incref(json_object_get(detail, "streams")));
		ops_phase(b->outcome, "commit", since, 0);
	}
	json_decref(detail);
	return rc;
}

/* The backup is there, and may expire: neither success nor a night without a backup. */
static int
put_on_hold(struct backup *b, const char id[33], struct err *e)
{
	if (repo_hold(b->opened.repo, id, repo_holder_name(b->opened.repo), e) == 0) {
		json_put_bool(json_object_get(b->outcome, "backup"), "hold", true);
		return 0;
	}
	/* A store that is away just now would say "nothing was done" by its exit code. */
	if (e->kind != ERR_STOPPED)
		e->kind = ERR_FAILED;
	err_hint(e, "The backup can be used. `holdfast hold %.12s` puts it on hold; until then it expires as the policy says.", id);
	return err_wrap(e, "backup %.12s of \"%s\" is committed, its hold is not", id, b->settings->name);
}

static int
take_backup(struct backup *b, const struct backup_request *r, int64_t began_ms, struct err *e)
{
	struct err unread = ERR_INIT;
	struct repo_stats stats;
	char id[33], stored[32];
	json_t *name, *summary;
	size_t i;
	int rc;

	repo_run_watch(b->run, seen, b->ops->progress);
	if (dump_the_globals(b, e))
		return -1;
	json_array_foreach(b->names, i, name)
		if (dump_database(b, json_string_value(name), e))
			return -1;
	repo_run_stats(b->run, &stats);
	summary = summary_new(b, r, began_ms);
	rc = look_for_shrinking(b, stats.bytes, summary, e);
	if (rc == 0) {
		look_at_the_lock(b);
		look_at_the_readers(b);
		rc = commit(b, summary, id, e);
	}
	json_decref(summary);
	if (rc != 0)
		return -1;
	log_debug("backup %s committed; %s new", id, bytes_human(stored, stats.new_bytes));
	if (r->hold && put_on_hold(b, id, e))
		return -1;
	if (describe(b, id, &unread))
		ops_warn(b->outcome, "backup %.12s is committed, and could not be looked at again: %s", id, unread.msg);
	return 0;
}

static void
say_what_is_left(struct backup *b, struct err *e)
{
	struct repo_stats stats;
	char human[32];

	repo_run_stats(b->run, &stats);
	repo_abandon(b->run);
	b->run = NULL;
	log_info("nothing was committed%s%s%s", stats.stored_bytes > 0 ? "; " : "", stats.stored_bytes > 0 ? bytes_human(human, stats.stored_bytes) : "",
	    stats.stored_bytes > 0 ? " of stored chunks will be found again by the next run" : "");
	if (e->kind == ERR_DATABASE)
		err_hint(e, "The server's own log says why; `holdfast check` looks at it from here.");
}

int
ops_backup(const struct ops *o, const struct backup_request *r, json_t **outcome, struct err *e)
{
	struct backup b = { .ops = o, .settings = o->settings, .tools = TOOLS_INIT };
	int64_t began = clock_mono_ms();
	int rc;

	b.outcome = ops_outcome("backup");
	b.databases = json_array();
	b.entries = json_array();
	b.plan = json_array();
	stop_set_deadline(o->settings->backup.deadline_ms, "the backup");
	rc = prepare(&b, r, e) || take_backup(&b, r, began, e) ? -1 : 0;
	if (b.run != NULL)
		say_what_is_left(&b, e);
	stop_set_deadline(0, "");
	conn_close(b.lock);
	ops_close(&b.opened);
	tools_free(&b.tools);
	json_decref(b.cluster);
	json_decref(b.databases);
	json_decref(b.names);
	json_decref(b.entries);
	json_decref(b.plan);
	*outcome = b.outcome;
	/* What failed behind the commit has said so. */
	return rc == 0 || json_object_get(b.outcome, "backup") != NULL ? rc : err_wrap(e, "backup of \"%s\" failed", o->settings->name);
}
