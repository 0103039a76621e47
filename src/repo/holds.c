#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rand.h"
#include "repo/catalog.h"
#include "repo/runs.h"

/* docs/repository-format.md, section 10. */

#define FORGET_WAIT_MS 30000            /* a removal takes as long as a few requests */
#define FORGET_LOOK_MS 250

/*
 * Who removes a manifest puts a marker, reads the holds, removes, and takes the marker away (sweep_forget).  We put the hold, then look
 * for such markers.  If there is none, whoever comes later sees the hold.  If there is one, it may have read the holds before ours: only
 * when it is gone does the manifest tell who was first.
 */
static int
wait_for_removals(struct repo *r, int64_t now_us, struct err *e)
{
	int64_t until = clock_mono_ms() + FORGET_WAIT_MS;
	bool any;

	for (;;) {
		if (runs_forgetting(r, now_us, &any, e))
			return -1;
		if (!any)
			return 0;
		if (clock_mono_ms() >= until) {
			err_set(e, ERR_LOCKED, "an `expire` is about to remove a backup, and does not get done");
			return err_hint(e, "The hold is put and counts from now on. When that `expire` is over, hold the backup again: that tells whether it was in time.");
		}
		if (clock_sleep_ms(FORGET_LOOK_MS, e))
			return -1;
	}
}

/* When an object was put, by the store's clock. */
static int
put_when(struct repo *r, enum catalog_type type, const uint8_t id[ID_BYTES], int64_t *when_us, struct err *e)
{
	char *name = catalog_name(type, id);
	struct store_object o;
	int rc = store_stat(r->store, name, &o, e);

	*when_us = rc == 0 ? o.changed_us : 0;
	free(name);
	return rc;
}

int
repo_hold(struct repo *r, const char id_text[33], const char *by, struct err *e)
{
	struct buf section = BUF_INIT;
	json_t *hold = json_object();
	char now[CLOCK_TEXT], *text;
	uint8_t id[ID_BYTES], backup[ID_BYTES];
	int64_t when_us;
	int rc;

	if (!repo_id_parse(backup, id_text)) {
		json_decref(hold);
		return err_set(e, ERR_USAGE, "\"%s\" is not the id of a backup", id_text);
	}
	json_put_str(hold, "backup", id_text);
	json_put_str(hold, "by", by);
	json_put_str(hold, "time", clock_format_s(now, clock_wall_us()));
	text = json_text(hold, JSON_COMPACT);
	buf_addstr(&section, text);
	rand_bytes(id, sizeof(id));
	rc = catalog_put(r, CATALOG_HOLD, id, &section, 1, e);
	buf_free(&section);
	free(text);
	json_decref(hold);
	if (rc == 0)
		rc = put_when(r, CATALOG_HOLD, id, &when_us, e);
	if (rc == 0)
		rc = wait_for_removals(r, when_us, e);
	/* Is it still there? */
	if (rc == 0)
		rc = put_when(r, CATALOG_MANIFEST, backup, &when_us, e);
	return rc == 0 ? 0 : err_wrap(e, "put backup %s on hold", id_text);
}

/* Calls for each hold: notes the backup in `held` if that is given; removes it if it is one of `release`. */
static int
each_hold(struct repo *r, json_t *held, const char *release, struct err *e)
{
	uint8_t (*ids)[ID_BYTES];
	size_t count;
	int rc = 0;

	if (catalog_list(r, CATALOG_HOLD, &ids, NULL, &count, e))
		return -1;
	for (size_t i = 0; i < count && rc == 0; i++) {
		json_t *hold;
		const char *backup;

		rc = catalog_get_json(r, CATALOG_HOLD, ids[i], &hold, e);
		if (rc != 0 && e->kind == ERR_NOT_FOUND) {
			err_clear(e);           /* released between the listing and now */
			rc = 0;
			continue;
		}
		backup = json_opt_str(hold, "backup", "");
		if (held != NULL && rc == 0)
			json_put_bool(held, backup, true);
		if (release != NULL && rc == 0 && strcmp(backup, release) == 0)
			rc = catalog_remove(r, CATALOG_HOLD, ids[i], e);
		json_decref(hold);
	}
	free(ids);
	return rc;
}

int
repo_release(struct repo *r, const char id[33], struct err *e)
{
	return each_hold(r, NULL, id, e) == 0 ? 0 : err_wrap(e, "release backup %s", id);
}

int
repo_holds(struct repo *r, json_t **held, struct err *e)
{
	*held = json_object();
	if (each_hold(r, *held, NULL, e) == 0)
		return 0;
	json_decref(*held);
	*held = NULL;
	return err_wrap(e, "read the holds");
}
