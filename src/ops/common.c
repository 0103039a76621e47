#include "ops/common.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/near.h"
#include "base/width.h"
#include "pg/archive.h"
#include "pg/conn.h"
#include "pg/facts.h"
#include "pg/tools.h"

enum { NAMED_MOST = 5 };                /* in a hint */

int
ops_open(struct opened *o, const struct settings *s, int flags, struct err *e)
{
	struct repo_options options = {
		.cache_dir = (flags & OPEN_UNCACHED) != 0 ? NULL : s->cache_dir,
		.key_file = s->key_file,
		.passphrase_file = s->passphrase_file,
		.workers = s->backup.workers,
		.level = s->backup.level,
	};

	o->repo = NULL;
	o->store = store_open(&s->store, false, e);
	if (o->store == NULL)
		return -1;
	o->repo = repo_open(o->store, &options, e);
	if (o->repo == NULL) {
		/* A machine that is new, or that lost more than its database. */
		if (s->key_file != NULL && access(s->key_file, F_OK) != 0 && errno == ENOENT)
			err_hint(e, "Name another key with --key-file FILE, or open the repository with a passphrase: --passphrase-file FILE.");
		ops_close(o);
		return -1;
	}
	return 0;
}

void
ops_close(struct opened *o)
{
	repo_free(o->repo);
	store_free(o->store);
	o->repo = NULL;
	o->store = NULL;
}

json_t *
ops_outcome(const char *command)
{
	json_t *outcome = json_object();

	json_put_str(outcome, "command", command);
	json_put(outcome, "warnings", json_array());
	return outcome;
}

void
ops_warn(json_t *outcome, const char *format, ...)
{
	char text[2048];
	va_list args;

	va_start(args, format);
	if (vsnprintf(text, sizeof(text), format, args) >= 0)
		json_add(json_object_get(outcome, "warnings"), json_str(text));
	va_end(args);
}

void
ops_warn_floor(json_t *outcome, const struct tools *t, const char *did)
{
	const char *problem = tools_floor_problem(t->major, t->minor);

	if (problem != NULL)
		ops_warn(outcome, "PostgreSQL %s, which %s this: %s", t->version, did, problem);
}

void
ops_phase(json_t *outcome, const char *name, int64_t since_ms, uint64_t bytes)
{
	json_t *phases = json_object_get(outcome, "phases"), *phase = json_object();

	if (phases == NULL) {
		phases = json_array();
		json_put(outcome, "phases", phases);
	}
	json_put_str(phase, "name", name);
	json_put_int(phase, "ms", clock_mono_ms() - since_ms);
	if (bytes > 0)
		json_put_int(phase, "bytes", (int64_t)bytes);
	json_add(phases, phase);
}

int
ops_hint_names(struct err *e, const char *before, const char *wanted, const json_t *names, const char *after)
{
	struct near near = { .wanted = wanted };
	struct buf hint = BUF_INIT;
	json_t *seen = json_object(), *name;
	size_t i, count;

	json_array_foreach(names, i, name) {
		const char *text = json_string_value(name), *dot = strchr(text, '.');

		/* "traces" alone stands for "app.traces". */
		if (dot != NULL && strcmp(dot + 1, wanted) == 0)
			near = (struct near){ wanted, text, 0 };
		else
			near_offer(&near, text);
		json_put_bool(seen, text, true);
	}
	count = json_object_size(seen);
	buf_addf(&hint, "%s%s", before, before[0] != '\0' ? " " : "");
	if (near.best != NULL) {
		buf_addstr(&hint, "Is \"");
		width_add(&hint, near.best, 130);
		buf_addstr(&hint, "\" meant?");
	} else if (count == 0) {
		buf_addstr(&hint, "There is none.");
	} else {
		const char *key;
		size_t n = 0;

		buf_addstr(&hint, count == 1 ? "There is " : "There are ");
		json_object_foreach(seen, key, name) {
			if (n == NAMED_MOST)
				break;
			buf_addstr(&hint, n == 0 ? "\"" : ", \"");
			width_add(&hint, key, 40);
			buf_addc(&hint, '"');
			n++;
		}
		if (count > n)
			buf_addf(&hint, " and %zu more", count - n);
		buf_addc(&hint, '.');
	}
	buf_addf(&hint, "%s%s", after[0] != '\0' ? " " : "", after);
	buf_add(&hint, NULL, 0);
	err_hint(e, "%s", (const char *)hint.data);
	buf_free(&hint);
	json_decref(seen);
	return -1;
}

int
ops_databases(struct conn *c, const char *const *asked, json_t **names, struct err *e)
{
	json_t *all = facts_databases(c, e);

	*names = NULL;
	if (all == NULL)
		return -1;
	if (asked == NULL) {
		*names = all;
		return 0;
	}
	*names = json_array();
	for (; *asked != NULL && e->kind == ERR_NONE; asked++) {
		const char *const params[] = { *asked, NULL };
		char *there = NULL;

		/* One that is in no list of ours, as a template, may be backed up by its name. */
		if (conn_value(&there, c, "SELECT count(*) FROM pg_catalog.pg_database WHERE datname = $1", params, e) == 0 && strcmp(there, "0") == 0) {
			err_set(e, ERR_NOT_FOUND, "the server has no database \"%s\"", *asked);
			ops_hint_names(e, "", *asked, all, "It is named by `source.databases`, or by --database.");
		}
		free(there);
		json_add(*names, json_str(*asked));
	}
	json_decref(all);
	if (e->kind == ERR_NONE)
		return 0;
	json_decref(*names);
	*names = NULL;
	return -1;
}

int
ops_reports(struct repo *r, bool whole, struct repo_report **reports, size_t *count, struct err *e)
{
	json_t *damaged = json_array(), *d;
	size_t i;
	int rc = repo_reports(r, reports, count, damaged, e);

	json_array_foreach(damaged, i, d) {
		const char *what = json_opt_str(d, "what", "");

		if (rc == 0 && whole) {
			repo_reports_free(*reports, *count);
			*reports = NULL;
			*count = 0;
			rc = err_set(e, ERR_CORRUPT, "%s", what);
		} else if (rc == 0) {
			log_warning("%s: that report is passed over; `holdfast verify` says more", what);
		}
	}
	json_decref(damaged);
	return rc;
}

/* Puts what the reports say into the summaries: reports come oldest first, so the newest has the last word. */
static int
judge(struct repo *r, bool whole, json_t *backups, struct err *e)
{
	struct repo_report *reports;
	json_t *by_id = json_object(), *backup;
	size_t count, i;

	json_array_foreach(backups, i, backup)
		json_object_set(by_id, json_opt_str(backup, "id", ""), backup);
	if (ops_reports(r, whole, &reports, &count, e)) {
		json_decref(by_id);
		return -1;
	}
	for (size_t k = 0; k < count; k++) {
		const json_t *outcome = reports[k].outcome;
		const char *verdict = json_opt_str(outcome, "verdict", "");

		backup = json_object_get(by_id, json_opt_str(json_object_get(outcome, "backup"), "id", ""));
		if (backup == NULL || !reports[k].valid)
			continue;
		json_put_str(backup, "last_verdict", verdict);
		if (strcmp(verdict, "proven") == 0)
			json_put_str(backup, "proven", json_opt_str(outcome, "finished", NULL));
		else if (strcmp(verdict, "not verifiable here") != 0)
			json_put(backup, "proven", json_null());        /* what failed later is no longer proven */
	}
	repo_reports_free(reports, count);
	json_decref(by_id);
	return 0;
}

int
ops_backups(struct repo *r, bool whole, json_t **backups, struct err *e)
{
	json_t *held = NULL, *backup;
	size_t i;
	int rc = -1;

	*backups = NULL;
	if (whole ? repo_list(r, backups, e) : repo_list_readable(r, backups, e))
		return -1;
	if (repo_holds(r, &held, e)) {
		if (whole || e->kind != ERR_CORRUPT)
			goto out;
		log_warning("%s: legal holds are not shown", e->msg);
		err_clear(e);
	}
	json_array_foreach(*backups, i, backup) {
		json_put_bool(backup, "hold", json_object_get(held, json_opt_str(backup, "id", "")) != NULL);
		json_put(backup, "proven", json_null());
		json_put(backup, "last_verdict", json_null());
	}
	rc = judge(r, whole, *backups, e);
out:
	json_decref(held);
	if (rc != 0) {
		json_decref(*backups);
		*backups = NULL;                /* callers free what they have */
	}
	return rc;
}

int
backup_find(struct repo *r, const char *name, json_t **summary, json_t **detail, struct err *e)
{
	json_t *backups, *backup, *plain;
	char id[33];
	size_t i;

	*summary = *detail = NULL;
	if (repo_resolve(r, name, id, e) || repo_load(r, id, &plain, detail, e))
		return -1;
	if (ops_backups(r, false, &backups, e)) {
		json_decref(plain);
		json_decref(*detail);
		*detail = NULL;
		return -1;
	}
	json_array_foreach(backups, i, backup)
		if (strcmp(json_opt_str(backup, "id", ""), id) == 0)
			*summary = json_incref(backup);
	if (*summary == NULL)
		*summary = json_incref(plain);
	json_decref(plain);
	json_decref(backups);
	return 0;
}

static int
by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

char *
backup_group(const json_t *summary)
{
	const json_t *databases = json_object_get(summary, "databases");
	size_t n = json_array_size(databases);
	const char **names = mem_zero(n, sizeof(*names));
	struct buf group = BUF_INIT;

	for (size_t i = 0; i < n; i++)
		names[i] = json_is_string(json_array_get(databases, i)) ? json_string_value(json_array_get(databases, i)) : "";
	qsort(names, n, sizeof(*names), by_text);
	buf_addstr(&group, json_opt_str(summary, "source", ""));
	for (size_t i = 0; i < n; i++) {
		buf_addc(&group, '\n');
		buf_addstr(&group, names[i]);
	}
	free(names);
	return buf_take(&group);
}

void
ops_add_entries(json_t *entries, const char *database, const struct archive_digest *d, uint64_t *rows)
{
	for (size_t i = 0; i < d->n_entries; i++) {
		const struct archive_entry *x = &d->entries[i];
		char sha256[SHA256_HEX], *name = json_name(x->name);
		json_t *o = json_object();

		hex_encode(sha256, x->sha256, sizeof(x->sha256));
		json_put_str(o, "database", database);
		json_put_str(o, "type", archive_type_name(x->type));
		json_put_str(o, "name", name);
		json_put_int(o, "rows", (int64_t)x->rows);
		json_put_int(o, "bytes", (int64_t)x->bytes);
		json_put_str(o, "sha256", sha256);
		json_add(entries, o);
		*rows += x->rows;
		free(name);
	}
}
