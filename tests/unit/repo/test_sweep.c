#include "unit/repo/hooked.h"

#include <pthread.h>

#include "repo/catalog.h"
#include "repo/index.h"
#include "repo/runs.h"
#include "repo/sweep.h"
#include "repo/verify.h"
#include "store/fault.h"

static int
count_one(void *ctx, const struct store_object *o, struct err *e)
{
	(void)o, (void)e;
	++*(size_t *)ctx;
	return 0;
}

static size_t
count(struct store *s, const char *prefix)
{
	struct err e = ERR_INIT;
	size_t n = 0;

	must(store_list(s, prefix, count_one, &n, &e));
	return n;
}

static void
reopen(struct world *w)
{
	struct err e = ERR_INIT;

	repo_free(w->repo);
	w->repo = world_open(w, w->key, true, &e);
	assert_non_null(w->repo);
}

static void
what_nobody_needs_goes_after_the_grace_period_and_not_before(void **state)
{
	struct world *w = world_new();
	struct err e = ERR_INIT;
	uint8_t *a = noise(2000000, 1), *b = noise(2000000, 2);
	struct sweep_result swept;
	struct buf back = BUF_INIT;
	char first[33], second[33];
	size_t packs;

	(void)state;
	backup_of(w->repo, a, 2000000, "2026-11-24T02:15:00Z", first);
	backup_of(w->repo, b, 2000000, "2026-11-25T02:15:00Z", second);
	packs = count(w->store, "packs/");
	must(sweep_forget(w->repo, first, &e));
	must(sweep_run(w->repo, 3600000, &swept, &e));
	assert_int_equal(swept.condemned_packs, 2);
	assert_int_equal(swept.deleted_packs, 0);
	must(sweep_run(w->repo, 3600000, &swept, &e));
	assert_int_equal(swept.condemned_packs, 0);
	assert_int_equal(swept.waiting_packs, 2);
	assert_int_equal(count(w->store, "packs/"), packs);
	must(sweep_run(w->repo, 0, &swept, &e));
	assert_int_equal(swept.deleted_packs, 2);
	assert_int_equal(count(w->store, "packs/"), packs - 2);
	assert_int_equal(count(w->store, "sweeps/"), 0);
	assert_int_equal(count(w->store, "runs/"), 0);
	reopen(w);
	must(read_back(w->repo, second, 0, &back, &e));
	assert_memory_equal(back.data, b, 2000000);
	buf_free(&back);
	free(a);
	free(b);
	world_free(w);
}

/* R28: what is condemned is not relied upon by anything new; it is stored again. */
static void
a_backup_does_not_rely_on_condemned_packs(void **state)
{
	struct world *w = world_new();
	struct err e = ERR_INIT;
	uint8_t *a = noise(2000000, 1);
	struct sweep_result swept;
	struct buf back = BUF_INIT;
	json_t *summary, *detail;
	char first[33], again[33];

	(void)state;
	backup_of(w->repo, a, 2000000, "2026-11-24T02:15:00Z", first);
	must(sweep_forget(w->repo, first, &e));
	must(sweep_run(w->repo, 3600000, &swept, &e));
	reopen(w);
	backup_of(w->repo, a, 2000000, "2026-11-25T02:15:00Z", again);
	must(repo_load(w->repo, again, &summary, &detail, &e));
	assert_int_equal(json_opt_int(summary, "new_bytes", 0), 2000000);
	json_decref(summary);
	json_decref(detail);
	must(sweep_run(w->repo, 0, &swept, &e));
	assert_int_equal(swept.deleted_packs, 2);
	reopen(w);
	must(read_back(w->repo, again, 0, &back, &e));
	assert_memory_equal(back.data, a, 2000000);
	buf_free(&back);
	free(a);
	world_free(w);
}

/* R28: a backup that began before the sweep relies on packs that were fine then; they stay while it runs, and are rescued by it. */
static void
a_running_backup_holds_deletion_up_and_rescues_what_it_uses(void **state)
{
	struct world *w = world_new();
	struct err e = ERR_INIT;
	struct repo *other = world_open(w, w->agent_key, false, &e);
	uint8_t *a = noise(2000000, 1);
	struct sweep_result swept;
	struct repo_run *run;
	struct sink *s;
	struct buf back = BUF_INIT;
	char first[33], second[33];

	(void)state;
	backup_of(w->repo, a, 2000000, "2026-11-24T02:15:00Z", first);
	run = repo_begin(other, "backup", &e);
	assert_non_null(run);
	must(sweep_forget(w->repo, first, &e));
	must(sweep_run(w->repo, 0, &swept, &e));
	assert_int_equal(swept.condemned_packs, 2);
	must(sweep_run(w->repo, 0, &swept, &e));
	assert_int_equal(swept.deleted_packs, 0);
	assert_non_null(swept.held_up);
	s = repo_write(run, "d/rest", "dump", "d");
	must(sink_write(s, a, 2000000, &e));
	must(sink_finish(s, &e));
	sink_free(s);
	must(repo_commit(run, summary_of("2026-11-25T02:15:00Z"), json_object(), second, &e));
	must(sweep_run(w->repo, 0, &swept, &e));
	assert_int_equal(swept.deleted_packs, 0);
	assert_int_equal(swept.rescued_packs, 2);
	reopen(w);
	must(read_back(w->repo, second, 0, &back, &e));
	assert_memory_equal(back.data, a, 2000000);
	buf_free(&back);
	free(a);
	repo_free(other);
	world_free(w);
}

/* R28 again: if somebody deleted a pack behind a running backup's back, the backup fails instead of lying. */
static void
a_backup_whose_packs_were_swept_is_not_committed(void **state)
{
	struct world *w = world_new();
	struct err e = ERR_INIT;
	struct repo *other = world_open(w, w->agent_key, false, &e);
	uint8_t *a = noise(2000000, 1), run_id[8];
	struct sweep_result swept;
	struct repo_run *run;
	struct sink *s;
	json_t *backups;
	char first[33], second[33], hex[17], *marker;
	uint8_t (*ids)[ID_BYTES];
	size_t n;

	(void)state;
	backup_of(w->repo, a, 2000000, "2026-11-24T02:15:00Z", first);
	run = repo_begin(other, "backup", &e);
	must(sweep_forget(w->repo, first, &e));
	/* Somebody takes its marker away, as if it were of a run long dead. */
	must(catalog_list(w->repo, CATALOG_RUN, &ids, NULL, &n, &e));
	assert_int_equal(n, 1);
	memcpy(run_id, ids[0], 8);
	free(ids);
	hex_encode(hex, run_id, 8);
	marker = mem_printf("runs/%s", hex);
	must(store_remove(w->store, marker, &e));
	free(marker);
	must(sweep_run(w->repo, 0, &swept, &e));
	must(sweep_run(w->repo, 0, &swept, &e));
	assert_int_equal(swept.deleted_packs, 2);
	s = repo_write(run, "d/rest", "dump", "d");
	must(sink_write(s, a, 2000000, &e));
	must(sink_finish(s, &e));
	sink_free(s);
	assert_int_equal(repo_commit(run, summary_of("2026-11-25T02:15:00Z"), json_object(), second, &e), -1);
	assert_non_null(strstr(e.msg, "marker"));
	err_clear(&e);
	must(repo_list(w->repo, &backups, &e));
	assert_int_equal(json_array_size(backups), 0);
	json_decref(backups);
	free(a);
	repo_free(other);
	world_free(w);
}

/* R24: a listing that lacks a backup which another one names must not cost that backup its packs. */
/* R24: also a backup that is no other one's predecessor any more, since those in between have gone. */
static void
an_incomplete_listing_stops_the_sweep(void **state)
{
	struct world *w = world_new();
	struct err e = ERR_INIT;
	uint8_t *data[3] = { noise(2000000, 1), noise(2000000, 2), noise(2000000, 3) };
	struct store_config config = { .kind = STORE_FOLDER, .path = w->objects };
	struct store_faults faults = { .die_at = 0 };
	struct sweep_result swept;
	struct store *lying;
	struct repo *r;
	char ids[3][33], time[32];

	(void)state;
	for (int i = 0; i < 3; i++) {
		snprintf(time, sizeof(time), "2026-11-2%dT02:15:00Z", 4 + i);
		backup_of(w->repo, data[i], 2000000, time, ids[i]);
	}
	lying = store_fault_new(store_open(&config, false, &e), &faults);
	r = repo_open(lying, &(struct repo_options){ .key_file = w->key, .workers = 1 }, &e);
	assert_non_null(r);
	faults.hide = ids[0];
	for (int i = 0; i < 2; i++) {
		assert_int_equal(sweep_run(r, 0, &swept, &e), -1);
		assert_non_null(strstr(e.msg, ids[0]));
		assert_int_equal(count(w->store, "sweeps/"), 0);
		err_clear(&e);
		if (i == 0)
			must(sweep_forget(w->repo, ids[1], &e));
	}
	/* What was really removed stops nobody. */
	faults.hide = NULL;
	must(sweep_run(r, 0, &swept, &e));
	assert_true(swept.condemned_packs > 0);
	repo_free(r);
	store_free(lying);
	for (int i = 0; i < 3; i++)
		free(data[i]);
	world_free(w);
}

/*
 * A backup relies on a pack that is condemned while it runs; the next one stores the same chunks again, and expire deletes the first
 * pack, since a better place is known.  Who loaded the index before that looks for what has gone.
 */
struct beside {
	struct hooked h;
	struct world *w;
	const uint8_t *data;
	const char *at;
	pthread_mutex_t lock;           /* of the rest: several threads read */
	unsigned skip;                  /* so many calls like `at` before it */
	bool done;
};

static bool
is_now(struct beside *b, const char *verb, const char *name)
{
	size_t n = strlen(verb);
	bool now;

	if (strncmp(b->at, verb, n) != 0 || strncmp(b->at + n + 1, name, strlen(b->at) - n - 1) != 0)
		return false;
	pthread_mutex_lock(&b->lock);
	now = !b->done && b->skip == 0;
	b->done = b->done || now;
	b->skip -= b->skip > 0;
	pthread_mutex_unlock(&b->lock);
	return now;
}

static void
store_again_and_expire(void *ctx, const char *verb, const char *name)
{
	struct beside *b = ctx;
	struct sweep_result swept;
	struct err e = ERR_INIT;
	struct repo *r;
	char id[33];

	if (!is_now(b, verb, name))
		return;
	r = world_open(b->w, b->w->key, false, &e);
	backup_of(r, b->data, 2000000, "2026-11-26T02:15:00Z", id);
	must(sweep_run(r, 0, &swept, &e));
	assert_true(swept.deleted_packs > 0);
	repo_free(r);
}

/* A world whose backup `id` relies on a condemned pack. */
static struct world *
world_with_condemned(const uint8_t *data, char id[33])
{
	struct world *w = world_new();
	struct sweep_result swept;
	struct err e = ERR_INIT;
	struct repo *r = world_open(w, w->key, false, &e);
	struct repo_run *run;
	struct sink *s;
	char first[33];

	assert_non_null(r);
	backup_of(w->repo, data, 2000000, "2026-11-24T02:15:00Z", first);
	run = repo_begin(r, "backup", &e);
	assert_non_null(run);
	must(sweep_forget(w->repo, first, &e));
	must(sweep_run(w->repo, 3600000, &swept, &e));
	assert_true(swept.condemned_packs > 0);
	s = repo_write(run, "d/rest", "dump", "d");
	must(sink_write(s, data, 2000000, &e));
	must(sink_finish(s, &e));
	sink_free(s);
	must(repo_commit(run, summary_of("2026-11-25T02:15:00Z"), json_object(), id, &e));
	repo_free(r);
	return w;
}

static void
a_reader_under_way_finds_what_expire_left_in_another_pack(void **state)
{
	/* A list's pack is gone; that of data, after its list was read; the index that was listed. */
	static const struct {
		const char *at;
		unsigned skip;
	} moments[] = { { "get packs/", 0 }, { "get packs/", 2 }, { "get index/", 0 } };
	uint8_t *data = noise(2000000, 1);

	(void)state;
	for (size_t i = 0; i < sizeof(moments) / sizeof(moments[0]); i++) {
		struct beside b = { .data = data, .at = moments[i].at, .skip = moments[i].skip, .lock = PTHREAD_MUTEX_INITIALIZER };
		struct err e = ERR_INIT;
		struct buf back = BUF_INIT;
		char id[33];
		struct repo *r;

		b.w = world_with_condemned(data, id);
		hooked_init(&b.h, b.w);
		b.h.ctx = &b, b.h.before = store_again_and_expire;
		r = hooked_open(&b.h, b.w, NULL);
		must(read_back(r, id, 0, &back, &e));
		assert_true(b.done);
		assert_int_equal(back.bytes, 2000000);
		assert_memory_equal(back.data, data, 2000000);
		buf_free(&back);
		repo_free(r);
		hooked_free(&b.h.store);
		world_free(b.w);
	}
	free(data);
}

static void
a_verify_under_way_calls_nothing_damage_that_went_for_a_better_place(void **state)
{
	/* The pack of a list, before it was read; all packs, when the backup was followed. */
	static const char *const moments[] = { "get packs/", "list reports/" };
	uint8_t *data = noise(2000000, 1);

	(void)state;
	for (size_t i = 0; i < sizeof(moments) / sizeof(moments[0]); i++) {
		struct beside b = { .data = data, .at = moments[i], .lock = PTHREAD_MUTEX_INITIALIZER };
		struct progress *progress = progress_new(true);
		json_t *result = json_object();
		struct err e = ERR_INIT;
		struct repo *r;
		char id[33];

		b.w = world_with_condemned(data, id);
		hooked_init(&b.h, b.w);
		b.h.ctx = &b, b.h.before = store_again_and_expire;
		r = hooked_open(&b.h, b.w, NULL);
		must(verify_run(r, false, progress, result, &e));
		assert_true(b.done);
		assert_int_equal(json_array_size(json_object_get(result, "problems")), 0);
		json_decref(result);
		progress_free(progress);
		repo_free(r);
		hooked_free(&b.h.store);
		world_free(b.w);
	}
	free(data);
}

static void
packs_of_a_dead_run_that_nobody_took_up_are_swept(void **state)
{
	struct world *w = world_new();
	struct err e = ERR_INIT;
	uint8_t *a = noise(40000000, 1);
	struct repo_run *run = repo_begin(w->repo, "backup", &e);
	struct sink *s = repo_write(run, "d/rest", "dump", "d");
	struct sweep_result swept;
	uint8_t (*ids)[ID_BYTES];
	size_t n;
	char *name;

	(void)state;
	must(sink_write(s, a, 40000000, &e));
	sink_free(s);
	repo_abandon(run);
	assert_true(count(w->store, "packs/") >= 2);
	must(sweep_run(w->repo, 0, &swept, &e));
	assert_int_equal(swept.condemned_packs, 0);     /* its marker protects them */
	must(catalog_list(w->repo, CATALOG_RUN, &ids, NULL, &n, &e));
	assert_int_equal(n, 1);
	name = catalog_name(CATALOG_RUN, ids[0]);
	must(store_remove(w->store, name, &e));
	free(name);
	free(ids);
	must(sweep_run(w->repo, 0, &swept, &e));
	assert_true(swept.condemned_packs >= 2);
	must(sweep_run(w->repo, 0, &swept, &e));
	assert_int_equal(count(w->store, "packs/"), 0);
	free(a);
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_nobody_needs_goes_after_the_grace_period_and_not_before),
		cmocka_unit_test(a_backup_does_not_rely_on_condemned_packs),
		cmocka_unit_test(a_running_backup_holds_deletion_up_and_rescues_what_it_uses),
		cmocka_unit_test(a_backup_whose_packs_were_swept_is_not_committed),
		cmocka_unit_test(an_incomplete_listing_stops_the_sweep),
		cmocka_unit_test(a_reader_under_way_finds_what_expire_left_in_another_pack),
		cmocka_unit_test(a_verify_under_way_calls_nothing_damage_that_went_for_a_better_place),
		cmocka_unit_test(packs_of_a_dead_run_that_nobody_took_up_are_swept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
