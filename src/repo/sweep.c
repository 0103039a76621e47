#include "repo/sweep.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rand.h"
#include "repo/catalog.h"
#include "repo/mark.h"
#include "repo/runs.h"

#define STALE_RUN_MS (2 * 86400000LL)           /* a marker older than this, and than the grace period, is of no living run unless we see it live */
#define SMALL_INDEX (1u << 20)
#define SMALL_INDEX_MANY 50                     /* so many small index objects are put together */

struct sweep {
	struct repo *repo;
	struct sweep_result *result;
	int64_t grace_us, now_us;                       /* now: of the store's clock */
	uint8_t own_run[RUN_ID_BYTES];
	uint8_t (*runs)[ID_BYTES];                      /* other runs, whose packs stay: under way, or dead and not taken up yet */
	size_t run_count, at_work;
	struct mark mark;
	json_t *condemned;                              /* hex ids that older sweep objects hold already */
	json_t *orphans;                                /* packs in no index, of no run: hex id to bytes */
};

int
sweep_forget(struct repo *r, const char id_text[33], struct err *e)
{
	uint8_t id[ID_BYTES], run_id[RUN_ID_BYTES];
	struct err late = ERR_INIT;
	int64_t began = clock_mono_ms();
	json_t *held = NULL;
	int rc;

	if (!repo_id_parse(id, id_text))
		return err_set(e, ERR_USAGE, "\"%s\" is not the id of a backup", id_text);
	/* The marker before the holds are read: who puts one later sees it, and waits for what comes of this (holds.c). */
	rand_bytes(run_id, sizeof(run_id));
	if (runs_begin(r, run_id, RUN_FORGETS, e))
		return -1;
	rc = repo_holds(r, &held, e);
	if (rc == 0 && json_object_get(held, id_text) != NULL)
		rc = err_set(e, ERR_LOCKED, "backup %s is on hold", id_text);
	/* Who puts a hold takes an older marker for that of a dead run. */
	if (rc == 0 && clock_mono_ms() - began > RUN_FORGETS_MAX_MS / 2)
		rc = err_set(e, ERR_TIMEOUT, "reading the holds took too long to remove backup %s by what they say", id_text);
	if (rc == 0)
		rc = catalog_remove(r, CATALOG_MANIFEST, id, e);
	if (runs_end(r, run_id, &late) != 0)
		log_warning("the marker of this run could not be removed: %s", late.msg);
	json_decref(held);
	return rc;
}

/* The store's own time, from a marker that was just put: clocks of hosts are set back, and differ. */
static int
store_now(struct sweep *s, struct err *e)
{
	uint8_t id[ID_BYTES] = { 0 };
	struct store_object o;
	char *name;
	int rc;

	memcpy(id, s->own_run, RUN_ID_BYTES);
	name = catalog_name(CATALOG_RUN, id);
	rc = store_stat(s->repo->store, name, &o, e);
	if (rc == 0)
		s->now_us = o.changed_us != 0 ? o.changed_us : clock_wall_us();
	free(name);
	return rc;
}

/*
 * Collects the other runs; markers that are older than any run can be are taken away.  A run that is known to be dead keeps its packs for
 * the next one, which goes on where it died, but holds nothing up: it relies on nothing any more.
 */
static int
look_for_runs(struct sweep *s, struct err *e)
{
	uint8_t (*ids)[ID_BYTES];
	int64_t *changed, stale = STALE_RUN_MS * 1000 > s->grace_us ? STALE_RUN_MS * 1000 : s->grace_us;
	size_t count;
	int rc = 0;

	if (runs_bury(s->repo, s->own_run, e) || catalog_list(s->repo, CATALOG_RUN, &ids, &changed, &count, e))
		return -1;
	s->runs = mem_zero(count, ID_BYTES);
	for (size_t i = 0; i < count && rc == 0; i++) {
		enum run_life life;

		if (memcmp(ids[i], s->own_run, RUN_ID_BYTES) == 0)
			continue;
		life = runs_life(s->repo, ids[i]);
		if (changed[i] != 0 && changed[i] < s->now_us - stale && life != RUN_ALIVE) {
			rc = catalog_remove(s->repo, CATALOG_RUN, ids[i], e);
			continue;
		}
		memcpy(s->runs[s->run_count++], ids[i], ID_BYTES);
		s->at_work += life != RUN_DEAD;
	}
	free(ids);
	free(changed);
	return rc;
}

/* Whether a pack is of one of those runs. */
static bool
of_run(const struct sweep *s, const uint8_t *pack_id)
{
	for (size_t i = 0; i < s->run_count; i++)
		if (memcmp(s->runs[i], pack_id, RUN_ID_BYTES) == 0)
			return true;
	return false;
}

static int
lost(void *ctx, const char *backup, const char *what, struct err *e)
{
	(void)ctx;
	err_set(e, ERR_CORRUPT, "backup %s is damaged: %.400s: nothing is deleted", backup, what);
	return err_hint(e, "Run `holdfast verify` first.");
}

/* R24: a backup that another one knew and that the listing lacks must really be gone. */
static int
check_known(struct repo *r, const json_t *backups, json_t *known, struct err *e)
{
	const char *id;
	json_t *backup, *unused;
	size_t i;
	int rc;

	json_array_foreach(backups, i, backup)
		json_object_del(known, json_opt_str(backup, "id", ""));
	json_object_foreach(known, id, unused) {
		char *name = mem_printf("backups/%s", id);
		struct store_object o;

		(void)unused;
		rc = store_stat(r->store, name, &o, e);
		free(name);
		if (rc == 0) {
			err_set(e, ERR_STORE, "the store's listing lacks backup %s, which is there: nothing is deleted", id);
			return err_hint(e, "The store lists incompletely. Try again; if it stays, look at the store's health.");
		}
		if (e->kind != ERR_NOT_FOUND)
			return -1;
		err_clear(e);
	}
	return 0;
}

/*
 * A pack in use that the listing lacked: its name tells whether that was a gap (R24).  If it is gone, what is condemned may be all that
 * is left of a backup.
 */
static int
check_absent(struct sweep *s, struct err *e)
{
	int rc = 0;

	for (uint32_t i = 0; i < s->mark.pack_count && rc == 0; i++) {
		struct pack_info info = index_pack(s->repo->index, i);
		struct store_object o;
		char *name;

		if (info.seen != PACK_ABSENT || !mark_has(&s->mark, i))
			continue;
		name = pack_name(info.id);
		rc = store_stat(s->repo->store, name, &o, e);
		if (rc == 0 ? o.bytes != info.bytes : e->kind == ERR_NOT_FOUND) {
			rc = err_set(e, ERR_CORRUPT, "\"%s\", which backups need, %s: nothing is deleted", name,
			    rc == 0 ? "has another size than the index says" : "is missing");
			err_hint(e, "Run `holdfast verify`: it says which backups are damaged.");
		}
		free(name);
	}
	return rc;
}

static int
mark_one(struct sweep *s, const char *id, json_t *known, struct err *e)
{
	json_t *summary, *detail, *other;
	size_t i;
	int rc;

	if (repo_load(s->repo, id, &summary, &detail, e))
		return -1;
	json_array_foreach(json_object_get(detail, "known"), i, other)
		if (json_is_string(other))
			json_put_bool(known, json_string_value(other), true);
	rc = mark_backup(&s->mark, id, detail, e);
	json_decref(summary);
	json_decref(detail);
	return rc;
}

static int
mark_all(struct sweep *s, struct err *e)
{
	json_t *backups, *backup, *known;
	size_t i;
	int rc;

	/* Backups before the index, which holds what a backup needs before the backup is there: one may come this very moment. */
	if (repo_list(s->repo, &backups, e))
		return -1;
	rc = index_load(s->repo, e) || index_ask_for_packs(s->repo->index, e) ? -1 : 0;
	s->mark.lost = lost;
	if (rc == 0)
		mark_begin(&s->mark, s->repo);
	known = json_object();
	json_array_foreach(backups, i, backup)
		if (rc == 0)
			rc = mark_one(s, json_opt_str(backup, "id", ""), known, e);
	if (rc == 0)
		rc = check_known(s->repo, backups, known, e) || check_absent(s, e) ? -1 : 0;
	json_decref(known);
	json_decref(backups);
	return rc;
}

static int
note_orphan(void *ctx, const struct store_object *o, struct err *e)
{
	struct sweep *s = ctx;
	uint8_t id[ID_BYTES];
	char hex[ID_TEXT];
	uint32_t number;

	(void)e;
	if (!pack_id_of(o->name, id) || index_find_pack(s->repo->index, id, &number) || of_run(s, id))
		return 0;
	hex_encode(hex, id, ID_BYTES);
	json_put_int(s->orphans, hex, (int64_t)o->bytes);
	return 0;
}

/* Writes one sweep object with all that is unused and not condemned yet. */
static int
condemn(struct sweep *s, struct err *e)
{
	struct buf section = BUF_INIT;
	json_t *sweep = json_object(), *packs = json_array(), *bytes;
	char now[CLOCK_TEXT], *text;
	const char *key;
	uint8_t id[ID_BYTES];
	int rc = 0;

	for (uint32_t i = 0; i < s->mark.pack_count; i++) {
		struct pack_info info = index_pack(s->repo->index, i);
		char hex[ID_TEXT];

		hex_encode(hex, info.id, ID_BYTES);
		if (mark_has(&s->mark, i) || of_run(s, info.id) || json_object_get(s->condemned, hex) != NULL)
			continue;
		json_add(packs, json_string(hex));
		s->result->condemned_bytes += info.bytes;
	}
	json_object_foreach(s->orphans, key, bytes) {
		if (json_object_get(s->condemned, key) != NULL)
			continue;
		json_add(packs, json_string(key));
		s->result->condemned_bytes += (uint64_t)json_integer_value(bytes);
	}
	s->result->condemned_packs = json_array_size(packs);
	if (s->result->condemned_packs > 0) {
		json_put_str(sweep, "condemned", clock_format_s(now, clock_wall_us()));
		json_put(sweep, "packs", json_incref(packs));
		text = json_text(sweep, JSON_COMPACT);
		buf_addstr(&section, text);
		free(text);
		rand_bytes(id, sizeof(id));
		rc = catalog_put(s->repo, CATALOG_SWEEP, id, &section, 1, e);
		buf_free(&section);
	}
	json_decref(packs);
	json_decref(sweep);
	return rc == 0 ? 0 : err_wrap(e, "condemn unused packs");
}

/* ---- the second phase ---- */

struct rewrite {
	struct repo *repo;
	json_t *gone;                   /* hex ids of packs to be forgotten */
	struct buf *records;            /* of packs that stay, on their way into new index objects */
	bool touched;
};

static bool
is_gone(const struct rewrite *w, const struct pack_info *info)
{
	char hex[ID_TEXT];

	hex_encode(hex, info->id, ID_BYTES);
	return json_object_get(w->gone, hex) != NULL;
}

static int
look_at_record(void *ctx, const struct pack_info *info, const struct pack_entry *entries, struct err *e)
{
	struct rewrite *w = ctx;

	(void)entries, (void)e;
	w->touched = w->touched || is_gone(w, info);
	return 0;
}

static int
keep_record(void *ctx, const struct pack_info *info, const struct pack_entry *entries, struct err *e)
{
	struct rewrite *w = ctx;

	if (is_gone(w, info))
		return 0;
	index_record(w->records, info, entries);
	return index_put(w->repo, w->records, false, e);
}

/* New index objects first, then the old ones go: at no moment is a pack that stays without an index. */
static int
forget_in_index(struct sweep *s, json_t *gone, struct err *e)
{
	uint8_t (*ids)[ID_BYTES], (*old)[ID_BYTES];
	struct buf records = BUF_INIT;
	size_t count, old_count = 0, small = 0;
	int rc = 0;

	if (catalog_list(s->repo, CATALOG_INDEX, &ids, NULL, &count, e))
		return -1;
	old = mem_alloc(count * ID_BYTES);
	small = count > SMALL_INDEX_MANY ? SMALL_INDEX : 0;
	for (size_t i = 0; i < count && rc == 0; i++) {
		struct buf section = BUF_INIT;
		struct rewrite w = { .repo = s->repo, .gone = gone, .records = &records };

		rc = catalog_get(s->repo, CATALOG_INDEX, ids[i], &section, 1, e);
		if (rc == 0)
			rc = index_parse(&section, look_at_record, &w, e);
		if (rc == 0 && (w.touched || section.bytes < small)) {
			memcpy(old[old_count++], ids[i], ID_BYTES);
			rc = index_parse(&section, keep_record, &w, e);
		}
		buf_free(&section);
	}
	if (rc == 0)
		rc = index_put(s->repo, &records, true, e);
	for (size_t i = 0; i < old_count && rc == 0; i++)
		rc = catalog_remove(s->repo, CATALOG_INDEX, old[i], e);
	buf_free(&records);
	free(old);
	free(ids);
	return rc;
}

/* Sorts the packs of one sweep object into those that go and those that are in use again. */
static void
judge_packs(struct sweep *s, const json_t *packs, json_t *gone)
{
	json_t *pack;
	size_t i;

	json_array_foreach(packs, i, pack) {
		const char *hex = json_is_string(pack) ? json_string_value(pack) : "";
		uint8_t id[ID_BYTES];
		uint32_t number;

		if (!repo_id_parse(id, hex))
			continue;
		if (index_find_pack(s->repo->index, id, &number) && mark_has(&s->mark, number))
			s->result->rescued_packs++;
		else
			json_put(gone, hex, json_true());
	}
}

static int
delete_packs(struct sweep *s, json_t *gone, struct err *e)
{
	const char *hex;
	json_t *unused;

	json_object_foreach(gone, hex, unused) {
		struct store_object o;
		uint8_t id[ID_BYTES];
		char *name;
		int rc;

		(void)unused;
		if (!repo_id_parse(id, hex))
			continue;
		name = pack_name(id);
		rc = store_stat(s->repo->store, name, &o, e);
		if (rc == 0) {
			s->result->deleted_packs++;
			s->result->deleted_bytes += o.bytes;
			rc = store_remove(s->repo->store, name, e);
		} else if (e->kind == ERR_NOT_FOUND) {
			err_clear(e);           /* gone in an earlier try */
			rc = 0;
		}
		free(name);
		if (rc != 0)
			return -1;
	}
	return 0;
}

/* Reads the sweep objects; the packs of those that are due go to `gone`, their ids to `due`. */
static int
read_sweeps(struct sweep *s, json_t *gone, uint8_t (**due)[ID_BYTES], size_t *due_count, struct err *e)
{
	uint8_t (*ids)[ID_BYTES];
	int64_t *changed;
	size_t count, k;
	json_t *pack;
	int rc = 0;

	if (catalog_list(s->repo, CATALOG_SWEEP, &ids, &changed, &count, e))
		return -1;
	*due = mem_zero(count, ID_BYTES);
	for (size_t i = 0; i < count && rc == 0; i++) {
		json_t *sweep, *packs;

		rc = catalog_get_json(s->repo, CATALOG_SWEEP, ids[i], &sweep, e);
		if (rc != 0 && e->kind == ERR_NOT_FOUND) {
			err_clear(e);   /* finished and removed since the listing */
			rc = 0;
			continue;
		}
		packs = json_object_get(sweep, "packs");
		json_array_foreach(packs, k, pack)
			json_put(s->condemned, json_is_string(pack) ? json_string_value(pack) : "", json_true());
		/* A store that does not tell the time cannot tell that the grace period is over. */
		if (rc == 0 && changed[i] != 0 && changed[i] + s->grace_us <= s->now_us) {
			judge_packs(s, packs, gone);
			memcpy((*due)[(*due_count)++], ids[i], ID_BYTES);
		} else {
			s->result->waiting_packs += json_array_size(packs);
		}
		json_decref(sweep);
	}
	free(ids);
	free(changed);
	return rc;
}

static int
second_phase(struct sweep *s, struct err *e)
{
	uint8_t (*due)[ID_BYTES] = NULL;
	size_t due_count = 0;
	json_t *gone = json_object();
	int rc = read_sweeps(s, gone, &due, &due_count, e);

	if (rc == 0 && due_count > 0 && s->at_work > 0) {
		/* R28: it may have begun before the packs were condemned, and rely on them. */
		s->result->held_up = "another run is under way";
		s->result->waiting_packs += json_object_size(gone);
	} else if (rc == 0 && due_count > 0) {
		rc = forget_in_index(s, gone, e);
		if (rc == 0)
			rc = delete_packs(s, gone, e);
		for (size_t i = 0; i < due_count && rc == 0; i++)
			rc = catalog_remove(s->repo, CATALOG_SWEEP, due[i], e);
	}
	json_decref(gone);
	free(due);
	return rc == 0 ? 0 : err_wrap(e, "delete condemned packs");
}

int
sweep_run(struct repo *r, int64_t grace_ms, struct sweep_result *result, struct err *e)
{
	struct sweep s = { .repo = r, .result = result, .grace_us = grace_ms * 1000 };
	struct err late = ERR_INIT;
	int rc;

	memset(result, 0, sizeof(*result));
	rand_bytes(s.own_run, sizeof(s.own_run));
	s.condemned = json_object();
	s.orphans = json_object();
	rc = runs_begin(r, s.own_run, "expire", e);
	if (rc == 0) {
		rc = store_now(&s, e) || look_for_runs(&s, e) || mark_all(&s, e) ||
		    store_list(r->store, "packs/", note_orphan, &s, e) || second_phase(&s, e) || condemn(&s, e) ? -1 : 0;
		if (runs_end(r, s.own_run, &late) != 0)
			log_warning("the marker of this run could not be removed: %s", late.msg);
	}
	mark_end(&s.mark);
	json_decref(s.condemned);
	json_decref(s.orphans);
	free(s.runs);
	return rc;
}
