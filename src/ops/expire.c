#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "ops/common.h"
#include "repo/retain.h"
#include "repo/sweep.h"

/* One row of the plan. */
static json_t *
plan_row(const struct retain_item *it, const json_t *backup)
{
	json_t *row = json_object(), *why = json_array();

	json_put_str(row, "backup", it->id);
	json_put_str(row, "time", json_opt_str(backup, "time", ""));
	json_put(row, "databases", json_incref(json_object_get(backup, "databases")));
	json_put_str(row, "action", it->keep != 0 ? "keep" : "delete");
	for (unsigned bit = 1; bit <= RETAIN_FROZEN; bit *= 2)
		if ((it->keep & bit) != 0)
			json_add(why, json_str(retain_word((enum retain_reason)bit)));
	json_put(row, "why", why);
	return row;
}

static int
make_plan(const json_t *backups, const struct settings *s, struct retain_item *items, struct err *e)
{
	const struct retain_rule rule = {
		.last = s->keep.last, .daily = s->keep.daily, .weekly = s->keep.weekly, .monthly = s->keep.monthly, .yearly = s->keep.yearly,
		.min_proven = s->keep.min_proven,
	};
	json_t *backup;
	size_t i;

	json_array_foreach(backups, i, backup) {
		struct retain_item *it = &items[i];

		it->id = json_opt_str(backup, "id", "");
		it->group = backup_group(backup);
		it->hold = json_is_true(json_object_get(backup, "hold"));
		it->proven = json_opt_str(backup, "proven", NULL) != NULL;
		/* A drill that proves it is the answer to the suspicion. */
		it->suspect = json_opt_str(backup, "suspect", NULL) != NULL && !it->proven;
		if (clock_parse(&it->time_us, json_opt_str(backup, "time", ""), e) ||
		    clock_parse(&it->order_us, json_opt_str(backup, "order_time", ""), e))
			return -1;
	}
	retain_apply(items, json_array_size(backups), &rule);
	return 0;
}

static void
put_sweep(json_t *outcome, const struct sweep_result *s)
{
	json_put_int(outcome, "condemned_packs", (int64_t)s->condemned_packs);
	json_put_int(outcome, "condemned_bytes", (int64_t)s->condemned_bytes);
	json_put_int(outcome, "deleted_packs", (int64_t)s->deleted_packs);
	json_put_int(outcome, "deleted_bytes", (int64_t)s->deleted_bytes);
	json_put_int(outcome, "rescued_packs", (int64_t)s->rescued_packs);
	json_put_int(outcome, "waiting_packs", (int64_t)s->waiting_packs);
	json_put_str(outcome, "held_up", s->held_up);
}

static const json_t *
find_backup(const json_t *backups, const char *id)
{
	json_t *backup;
	size_t i;

	json_array_foreach(backups, i, backup)
		if (strcmp(json_opt_str(backup, "id", ""), id) == 0)
			return backup;
	return NULL;
}

static int
carry_out(struct repo *r, const struct retain_item *items, size_t count, int64_t grace_ms, json_t *outcome, struct err *e)
{
	struct sweep_result swept;
	int64_t deleted = 0;

	for (size_t i = 0; i < count; i++) {
		if (items[i].keep != 0)
			continue;
		if (sweep_forget(r, items[i].id, e) == 0) {
			json_put_int(outcome, "deleted_backups", ++deleted);
		} else if (e->kind == ERR_LOCKED) {
			log_info("%s: it is kept", e->msg);     /* since the plan was made */
			err_clear(e);
		} else {
			return err_wrap(e, "delete backup %s", items[i].id);
		}
	}
	if (sweep_run(r, grace_ms, &swept, e))
		return -1;
	put_sweep(outcome, &swept);
	return 0;
}

int
ops_expire(const struct ops *o, bool plan_only, json_t **outcome, struct err *e)
{
	struct opened opened;
	struct retain_item *items = NULL;
	json_t *backups = NULL, *plan = json_array();
	size_t count = 0, frozen = 0;
	int rc = -1;

	*outcome = ops_outcome("expire");
	json_put(*outcome, "plan", plan);
	json_put(*outcome, "frozen", json_null());
	json_put_int(*outcome, "deleted_backups", 0);
	if (ops_open(&opened, o->settings, 0, e))
		return -1;
	if (ops_backups(opened.repo, true, &backups, e))
		goto out;
	count = json_array_size(backups);
	items = mem_zero(count, sizeof(*items));
	if (make_plan(backups, o->settings, items, e))
		goto out;
	for (size_t i = 0; i < count; i++) {
		json_add(plan, plan_row(&items[i], find_backup(backups, items[i].id)));
		frozen += (items[i].keep & RETAIN_FROZEN) != 0;
	}
	if (frozen > 0) {
		json_put_str(*outcome, "frozen", "the newest backup of a database is suspect: nothing of it is deleted"); /* R6 */
		ops_warn(*outcome, "the newest backup of a database is suspect: nothing of it is deleted until a good one follows");
	}
	rc = plan_only ? 0 : carry_out(opened.repo, items, count, o->settings->keep.grace_ms, *outcome, e);
out:
	for (size_t i = 0; i < count; i++)
		free((void *)(uintptr_t)items[i].group);
	free(items);
	json_decref(backups);
	ops_close(&opened);
	return rc;
}
