#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "ops/common.h"

static bool
holds_database(const json_t *summary, const char *database)
{
	json_t *name;
	size_t i;

	json_array_foreach(json_object_get(summary, "databases"), i, name)
		if (json_is_string(name) && strcmp(json_string_value(name), database) == 0)
			return true;
	return false;
}

/* None may be what is so, and may be a name that is mistyped. */
static void
warn_of_name(json_t *outcome, const json_t *backups, const char *database)
{
	struct err names = ERR_INIT;
	json_t *all = json_array(), *backup;
	size_t i;

	json_array_foreach(backups, i, backup)
		json_array_extend(all, json_object_get(backup, "databases"));
	ops_hint_names(&names, "", database, all, "");
	ops_warn(outcome, "no backup holds a database \"%s\": %s", database, names.hint);
	json_decref(all);
}

int
ops_list(const struct ops *o, const char *database, json_t **outcome, struct err *e)
{
	struct opened opened;
	struct repo_totals totals;
	json_t *all = NULL, *backup, *repository = json_object(), *shown = json_array();
	size_t i;
	int rc;

	*outcome = ops_outcome("list");
	json_put(*outcome, "backups", shown);
	json_put(*outcome, "repository", repository);
	if (ops_open(&opened, o->settings, 0, e))
		return -1;
	rc = ops_backups(opened.repo, false, &all, e) || repo_totals(opened.repo, &totals, e) ? -1 : 0;
	if (rc == 0) {
		json_array_foreach(all, i, backup)
			if (database == NULL || holds_database(backup, database))
				json_add(shown, json_incref(backup));
		if (json_array_size(all) > 0 && json_array_size(shown) == 0)
			warn_of_name(*outcome, all, database);
		json_put_str(repository, "id", repo_uuid(opened.repo));
		json_put_str(repository, "label", repo_label(opened.repo));
		json_put_int(repository, "stored_bytes", (int64_t)totals.stored_bytes);
		json_put_int(repository, "packs", (int64_t)totals.packs);
		json_put_int(repository, "chunks", (int64_t)totals.chunks);
	}
	json_decref(all);
	ops_close(&opened);
	return rc;
}

/* Entries by "database type name", for comparing. */
static json_t *
by_key(const json_t *entries)
{
	json_t *map = json_object(), *entry;
	size_t i;

	json_array_foreach(entries, i, entry) {
		char *key = mem_printf("%s %s %s", json_opt_str(entry, "database", ""), json_opt_str(entry, "type", ""), json_opt_str(entry, "name", ""));

		json_object_set(map, key, entry);
		free(key);
	}
	return map;
}

static void
add_change(json_t *changes, const char *change, const json_t *before, const json_t *after)
{
	const json_t *any = after != NULL ? after : before;
	json_t *o = json_object();

	json_put_str(o, "database", json_opt_str(any, "database", ""));
	json_put_str(o, "type", json_opt_str(any, "type", ""));
	json_put_str(o, "name", json_opt_str(any, "name", ""));
	json_put_str(o, "change", change);
	json_put(o, "rows_before", before != NULL ? json_integer(json_opt_int(before, "rows", 0)) : json_null());
	json_put(o, "rows_after", after != NULL ? json_integer(json_opt_int(after, "rows", 0)) : json_null());
	json_add(changes, o);
}

/* What changed from `before` to `after`, by digest. */
static json_t *
changes_between(const json_t *before, const json_t *after)
{
	json_t *old = by_key(before), *new = by_key(after), *changes = json_array(), *entry;
	const char *key;

	json_object_foreach(new, key, entry) {
		json_t *was = json_object_get(old, key);

		if (was == NULL)
			add_change(changes, "added", NULL, entry);
		else if (strcmp(json_opt_str(was, "sha256", ""), json_opt_str(entry, "sha256", "?")) != 0)
			add_change(changes, "changed", was, entry);
	}
	json_object_foreach(old, key, entry)
		if (json_object_get(new, key) == NULL)
			add_change(changes, "removed", entry, NULL);
	json_decref(old);
	json_decref(new);
	return changes;
}

int
ops_show(const struct ops *o, const char *backup, const char *compare_with, json_t **outcome, struct err *e)
{
	struct opened opened;
	json_t *summary = NULL, *detail = NULL, *other_summary = NULL, *other_detail = NULL;
	int rc;

	*outcome = ops_outcome("show");
	if (ops_open(&opened, o->settings, 0, e))
		return -1;
	rc = backup_find(opened.repo, backup, &summary, &detail, e);
	if (rc == 0 && compare_with != NULL)
		rc = backup_find(opened.repo, compare_with, &other_summary, &other_detail, e);
	if (rc == 0) {
		json_put(*outcome, "backup", json_incref(summary));
		json_put(*outcome, "streams", json_incref(json_object_get(detail, "streams")));
		json_put(*outcome, "entries", json_incref(json_object_get(detail, "entries")));
		json_put(*outcome, "facts", json_incref(json_object_get(detail, "facts")));
		if (compare_with != NULL) {
			json_put(*outcome, "compared_with", json_incref(other_summary));
			json_put(*outcome, "changes", changes_between(json_object_get(other_detail, "entries"), json_object_get(detail, "entries")));
		}
	}
	json_decref(summary);
	json_decref(detail);
	json_decref(other_summary);
	json_decref(other_detail);
	ops_close(&opened);
	return rc;
}

int
ops_hold(const struct ops *o, const char *backup, bool hold, json_t **outcome, struct err *e)
{
	struct opened opened;
	json_t *summary = NULL, *detail = NULL;
	const char *id;
	int rc;

	*outcome = ops_outcome("hold");
	if (ops_open(&opened, o->settings, 0, e))
		return -1;
	rc = backup_find(opened.repo, backup, &summary, &detail, e);
	if (rc == 0) {
		id = json_opt_str(summary, "id", "");
		rc = hold ? repo_hold(opened.repo, id, repo_holder_name(opened.repo), e) : repo_release(opened.repo, id, e);
		json_put_bool(summary, "hold", hold);
		json_put(*outcome, "backup", json_incref(summary));
		json_put_bool(*outcome, "hold", hold);
	}
	json_decref(summary);
	json_decref(detail);
	ops_close(&opened);
	return rc;
}

int
ops_cat(const struct ops *o, const char *backup, const char *stream_name, struct sink *out, struct err *e)
{
	struct opened opened;
	json_t *summary = NULL, *detail = NULL, *stream, *found = NULL, *names;
	size_t i;
	int rc;

	if (ops_open(&opened, o->settings, 0, e))
		return -1;
	rc = backup_find(opened.repo, backup, &summary, &detail, e);
	names = json_array();
	json_array_foreach(json_object_get(detail, "streams"), i, stream) {
		json_add(names, json_str(json_opt_str(stream, "name", "")));
		if (strcmp(json_opt_str(stream, "name", ""), stream_name) == 0)
			found = stream;
	}
	if (rc == 0 && found == NULL) {
		rc = err_set(e, ERR_NOT_FOUND, "backup %.12s has no stream \"%s\"", json_opt_str(summary, "id", ""), stream_name);
		ops_hint_names(e, "", stream_name, names, "`holdfast show` lists the streams of a backup.");
	}
	if (rc == 0)
		rc = repo_read(opened.repo, found, out, e);
	json_decref(names);
	json_decref(summary);
	json_decref(detail);
	ops_close(&opened);
	return rc;
}
