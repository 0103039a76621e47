#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "repo/catalog.h"

static json_t *
section_json(const struct buf *section, const char *what, struct err *e)
{
	json_t *value = json_parse(section->data, section->bytes, what, e);

	if (value != NULL && !json_is_object(value)) {
		json_decref(value);
		value = NULL;
		err_set(e, ERR_CORRUPT, "%s is not an object", what);
	}
	return value;
}

/* A summary must have what ordering and retention decide on. */
static int
check_summary(const json_t *summary, const uint8_t id[ID_BYTES], struct err *e)
{
	char hex[ID_TEXT];
	int64_t time;

	hex_encode(hex, id, ID_BYTES);
	if (strcmp(json_need_str(summary, "id", e), hex) != 0 && e->kind == ERR_NONE)
		return err_set(e, ERR_CORRUPT, "the summary belongs to another backup");
	json_need_int(summary, "bytes", 0, INT64_MAX, e);
	json_need_array(summary, "databases", e);
	if (e->kind != ERR_NONE)
		return -1;
	if (clock_parse(&time, json_need_str(summary, "time", e), e)) {
		e->kind = ERR_CORRUPT;
		return -1;
	}
	return 0;
}

struct dated {
	int64_t time;                   /* of the snapshot, by the server's clock; then the one that orders */
	json_t *summary;
	bool settled;
};

static int
newest_first(const void *a, const void *b)
{
	const struct dated *x = a, *y = b;

	return x->time < y->time ? 1 : x->time > y->time ? -1 : 0;
}

/*
 * A clock that was set back must not make the newest backup look old, to "latest" or to retention: a backup comes after the one
 * that its writer knew as the newest, whatever the clocks said (R22).  The chain is followed back to what is settled, then forth.
 */
static void
settle(struct dated *all, size_t count, json_t *by_id)
{
	size_t *chain = mem_zero(count + 1, sizeof(*chain));

	for (size_t i = 0; i < count; i++) {
		size_t length = 0, at = i;
		int64_t before = INT64_MIN;

		/* Each is settled once, so that a chain is never longer than there are backups, even if it bit its tail. */
		while (!all[at].settled && length < count) {
			const json_t *previous = json_object_get(by_id, json_opt_str(all[at].summary, "previous", ""));

			chain[length++] = at;
			all[at].settled = true;
			if (previous == NULL)
				break;
			at = (size_t)json_integer_value(previous);
			if (all[at].settled)
				before = all[at].time;
		}
		while (length-- > 0) {
			struct dated *d = &all[chain[length]];
			char text[CLOCK_TEXT];

			if (d->time <= before)
				d->time = before + 1;
			before = d->time;
			json_put_str(d->summary, "order_time", clock_format(text, d->time));
		}
	}
	free(chain);
}

static int
load_summary(struct repo *r, const uint8_t id[ID_BYTES], struct dated *d, struct err *e)
{
	struct buf section = BUF_INIT;
	char *name;

	d->summary = NULL;
	if (catalog_get(r, CATALOG_MANIFEST, id, &section, 1, e) == 0) {
		d->summary = section_json(&section, "the summary", e);
		if (d->summary != NULL && check_summary(d->summary, id, e) != 0) {
			json_decref(d->summary);
			d->summary = NULL;
		}
		if (d->summary == NULL) {
			name = catalog_name(CATALOG_MANIFEST, id);
			err_wrap(e, "\"%s\"", name);
			free(name);
		}
	}
	buf_free(&section);
	if (d->summary == NULL)
		return -1;
	return clock_parse(&d->time, json_opt_str(d->summary, "time", ""), e);
}

static int
list(struct repo *r, bool whole, json_t **backups, struct err *e)
{
	uint8_t (*ids)[ID_BYTES];
	struct dated *all;
	json_t *by_id;
	size_t count, n = 0;
	int rc = 0;

	if (catalog_list(r, CATALOG_MANIFEST, &ids, NULL, &count, e))
		return -1;
	all = mem_zero(count, sizeof(*all));
	for (size_t i = 0; i < count && rc == 0; i++) {
		rc = load_summary(r, ids[i], &all[n], e);
		if (rc == 0) {
			n++;
		} else if (e->kind == ERR_NOT_FOUND) {
			err_clear(e);           /* expired between the listing and now */
			rc = 0;
		} else if (e->kind == ERR_CORRUPT && !whole) {
			log_warning("%s: it is passed over; `holdfast verify` says more", e->msg);
			err_clear(e);
			rc = 0;
		}
	}
	by_id = json_object();
	for (size_t i = 0; i < n; i++)
		json_put_int(by_id, json_opt_str(all[i].summary, "id", ""), (int64_t)i);
	settle(all, n, by_id);
	json_decref(by_id);
	qsort(all, n, sizeof(*all), newest_first);
	*backups = json_array();
	for (size_t i = 0; i < n; i++)
		json_add(*backups, all[i].summary);
	if (rc != 0) {
		json_decref(*backups);
		*backups = NULL;
	}
	free(all);
	free(ids);
	return rc;
}

int
repo_list(struct repo *r, json_t **backups, struct err *e)
{
	return list(r, true, backups, e);
}

int
repo_list_readable(struct repo *r, json_t **backups, struct err *e)
{
	return list(r, false, backups, e);
}

static int
no_such_backup(const struct repo *r, const char *name, struct err *e)
{
	err_set(e, ERR_NOT_FOUND, "no backup \"%s\" in %s", name, store_label(r->store));
	return err_hint(e, "`holdfast list` shows the backups; name one by its id, by the first digits of it (four or more), or as \"latest\".");
}

int
repo_resolve(struct repo *r, const char *name, char id[33], struct err *e)
{
	uint8_t (*ids)[ID_BYTES];
	size_t count, found = 0, length = strlen(name);

	if (strcmp(name, "latest") == 0) {
		json_t *backups;

		if (repo_list(r, &backups, e)) {
			if (e->kind == ERR_CORRUPT)
				err_hint(e, "Whether it is the latest cannot be known: `holdfast list` shows those that can be read; name one by its id.");
			return -1;
		}
		snprintf(id, 33, "%s", json_opt_str(json_array_get(backups, 0), "id", ""));
		json_decref(backups);
		if (id[0] != '\0')
			return 0;
		err_set(e, ERR_NOT_FOUND, "there is no backup yet in %s", store_label(r->store));
		return err_hint(e, "`holdfast backup` makes one.");
	}
	if (length < 4 || length > 32)
		return no_such_backup(r, name, e);
	if (catalog_list(r, CATALOG_MANIFEST, &ids, NULL, &count, e))
		return -1;
	for (size_t i = 0; i < count; i++) {
		char hex[ID_TEXT];

		hex_encode(hex, ids[i], ID_BYTES);
		if (strncasecmp(hex, name, length) == 0) {
			memcpy(id, hex, 33);
			found++;
		}
	}
	free(ids);
	if (found == 1)
		return 0;
	if (found == 0)
		return no_such_backup(r, name, e);
	return err_set(e, ERR_USAGE, "%zu backups have ids that begin with \"%s\": give more digits", found, name);
}

int
repo_load(struct repo *r, const char id_text[33], json_t **summary, json_t **detail, struct err *e)
{
	struct buf sections[2] = { BUF_INIT, BUF_INIT };
	uint8_t id[ID_BYTES];
	int rc = -1;

	*summary = *detail = NULL;
	if (!repo_id_parse(id, id_text))
		return no_such_backup(r, id_text, e);
	if (catalog_get(r, CATALOG_MANIFEST, id, sections, 2, e)) {
		if (e->kind == ERR_NOT_FOUND)
			no_such_backup(r, id_text, e);
		goto out;
	}
	*summary = section_json(&sections[0], "the summary", e);
	*detail = *summary == NULL ? NULL : section_json(&sections[1], "the detail", e);
	if (*detail == NULL || check_summary(*summary, id, e) != 0 || json_need_array(*detail, "streams", e) == NULL) {
		err_wrap(e, "backup %s", id_text);
		json_decref(*summary);
		json_decref(*detail);
		*summary = *detail = NULL;
		goto out;
	}
	rc = 0;
out:
	buf_free(&sections[0]);
	buf_free(&sections[1]);
	return rc;
}
