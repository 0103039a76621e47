/* R28: packs that the index names and the store does not have: nothing new relies on them, and nothing is deleted because of them. */
#include "unit/repo/hooked.h"

#include <pthread.h>

#include "base/rand.h"
#include "repo/index.h"
#include "repo/sweep.h"
#include "repo/verify.h"
#include "store/fault.h"

#define BYTES 3000000

/* A repository that nobody has seen yet, so that nothing is known from before. */
static struct repo *
fresh(struct world *w, bool cached)
{
	struct err e = ERR_INIT;
	struct repo *r = world_open(w, w->key, cached, &e);

	if (r == NULL)
		fail_msg("%s", e.msg);
	return r;
}

static void
lose_all_packs(struct world *w)
{
	char *command = mem_printf("rm %s/packs/*/*", w->objects);

	assert_int_equal(system(command), 0);
	free(command);
}

/* All but those of lists. */
static void
lose_data_packs(struct world *w)
{
	char *command = mem_printf("cd %s && for f in packs/*/*; do test $(od -An -tu1 -j40 -N1 $f) = 2 || rm $f; done", w->objects);

	assert_int_equal(system(command), 0);
	free(command);
}

static void
assert_reads(struct world *w, const char id[33], const uint8_t *data)
{
	struct repo *r = fresh(w, false);
	struct buf back = BUF_INIT;
	struct err e = ERR_INIT;

	must(read_back(r, id, 0, &back, &e));
	assert_int_equal(back.bytes, BYTES);
	assert_memory_equal(back.data, data, BYTES);
	buf_free(&back);
	repo_free(r);
}

static uint64_t
new_bytes_of(struct repo *r, const char id[33])
{
	json_t *summary, *detail;
	struct err e = ERR_INIT;
	uint64_t n;

	must(repo_load(r, id, &summary, &detail, &e));
	n = (uint64_t)json_opt_int(summary, "new_bytes", -1);
	json_decref(summary);
	json_decref(detail);
	return n;
}

static void
a_backup_after_all_packs_were_lost_stores_everything_again(void **state)
{
	struct world *w = world_new();
	uint8_t *data = noise(BYTES, 7);
	char lost[33], again[33];

	(void)state;
	/* From the index objects, and from the map in the cache. */
	for (int cached = 0; cached < 2; cached++) {
		struct repo *r = fresh(w, cached);

		backup_of(r, data, BYTES, "2026-11-24T02:15:00Z", lost);
		lose_all_packs(w);
		repo_free(r);
		r = fresh(w, cached);
		backup_of(r, data, BYTES, "2026-11-25T02:15:00Z", again);
		assert_int_equal(new_bytes_of(r, again), BYTES);
		repo_free(r);
		assert_reads(w, again, data);
		assert_reads(w, lost, data);    /* the same chunks: it is whole again */
	}
	free(data);
	world_free(w);
}

/* The size is in the listing as well: what was cut off is as good as gone. */
static void
a_backup_does_not_rely_on_a_pack_that_was_cut_off(void **state)
{
	struct world *w = world_new();
	uint8_t *data = noise(BYTES, 7);
	char *cut = mem_printf("truncate -s 1000 %s/packs/*/*", w->objects);
	char id[33];

	(void)state;
	backup_of(w->repo, data, BYTES, "2026-11-24T02:15:00Z", id);
	assert_int_equal(system(cut), 0);
	backup_of(w->repo, data, BYTES, "2026-11-25T02:15:00Z", id);
	assert_reads(w, id, data);
	free(cut);
	free(data);
	world_free(w);
}

/* One listing of index/ that lacks an object, the `lack`th. */
struct gap {
	struct hooked h;
	unsigned lists, lack;
	char hidden[64];
};

static void
count_index_listings(void *ctx, const char *verb, const char *name)
{
	struct gap *g = ctx;

	if (strcmp(verb, "list") == 0 && strcmp(name, "index/") == 0)
		g->lists++;             /* one thread lists; several may get */
}

static int
hide_once(void *ctx, const char *prefix, const char *name)
{
	struct gap *g = ctx;

	return strcmp(prefix, "index/") == 0 && g->lists == g->lack && strcmp(name, g->hidden) == 0 ? 0 : 1;
}

static int
note_name(void *ctx, const struct store_object *o, struct err *e)
{
	(void)e;
	snprintf(ctx, 64, "%s", o->name);
	return 0;
}

static void
a_record_that_a_gap_in_a_listing_left_behind_is_not_relied_upon(void **state)
{
	struct world *w = world_new();
	uint8_t *data = noise(BYTES, 7), *other = noise(BYTES, 8);
	struct sweep_result swept;
	struct gap g;
	struct err e = ERR_INIT;
	struct repo *r;
	char first[33], second[33], third[33];

	(void)state;
	memset(&g, 0, sizeof(g));
	hooked_init(&g.h, w);
	g.h.ctx = &g, g.h.before = count_index_listings, g.h.shown = hide_once;
	backup_of(w->repo, data, BYTES, "2026-11-24T02:15:00Z", first);
	must(store_list(w->store, "index/", note_name, g.hidden, &e));
	backup_of(w->repo, other, BYTES, "2026-11-25T02:15:00Z", second);
	must(sweep_forget(w->repo, first, &e));
	must(sweep_run(w->repo, 0, &swept, &e));
	assert_true(swept.condemned_packs > 0);
	r = hooked_open(&g.h, w, NULL);
	g.lack = 2;                     /* the first is that of loading the index, the second that of rewriting it */
	must(sweep_run(r, 0, &swept, &e));
	assert_true(swept.deleted_packs > 0);
	assert_int_equal(g.lists, 2);
	repo_free(r);
	must(store_stat(w->store, g.hidden, &(struct store_object){ 0 }, &e));
	r = fresh(w, false);
	backup_of(r, data, BYTES, "2026-11-26T02:15:00Z", third);
	assert_int_equal(new_bytes_of(r, third), BYTES);
	repo_free(r);
	assert_reads(w, third, data);
	assert_reads(w, second, other);
	hooked_free(&g.h.store);
	free(data);
	free(other);
	world_free(w);
}

static size_t
condemned_in(struct world *w)
{
	json_t *condemned = NULL;
	struct err e = ERR_INIT;
	size_t n;

	must(index_condemned(w->repo, &condemned, &e));
	n = json_object_size(condemned);
	json_decref(condemned);
	return n;
}

static void
expire_deletes_nothing_while_a_pack_in_use_is_missing(void **state)
{
	struct world *w = world_new();
	uint8_t *data = noise(BYTES, 7), *other = noise(BYTES, 8);
	struct sweep_result swept;
	struct err e = ERR_INIT;
	char first[33], second[33];
	struct repo *r;

	(void)state;
	/* The lists of the chunks can be read, and say that all is well. */
	backup_of(w->repo, data, BYTES, "2026-11-24T02:15:00Z", first);
	lose_data_packs(w);
	backup_of(w->repo, other, BYTES, "2026-11-25T02:15:00Z", second);
	must(sweep_forget(w->repo, second, &e));
	r = fresh(w, false);
	assert_int_equal(sweep_run(r, 0, &swept, &e), -1);
	assert_int_equal(e.kind, ERR_CORRUPT);
	assert_non_null(strstr(e.msg, "is missing: nothing is deleted"));
	assert_int_equal(condemned_in(w), 0);
	repo_free(r);
	free(data);
	free(other);
	world_free(w);
}

/* What is missing and what is condemned are two places of one chunk: the second is the last that is left. */
static void
the_last_good_copy_of_a_chunk_is_rescued_though_it_was_condemned(void **state)
{
	struct world *w = world_new();
	uint8_t *data = noise(BYTES, 7);
	struct sweep_result swept;
	struct err e = ERR_INIT;
	char first[33], second[33], *keep, *command;

	(void)state;
	/* Condemned, and in no backup any more; then the same chunks anew, in packs of their own, which get lost. */
	backup_of(w->repo, data, BYTES, "2026-11-24T02:15:00Z", first);
	must(sweep_forget(w->repo, first, &e));
	must(sweep_run(w->repo, 0, &swept, &e));
	keep = mem_printf("%s/old", w->dir);
	command = mem_printf("cp -r %s/packs %s", w->objects, keep);
	assert_int_equal(system(command), 0);
	free(command);
	backup_of(w->repo, data, BYTES, "2026-11-25T02:15:00Z", second);
	command = mem_printf("rm -r %s/packs && cp -r %s %s/packs", w->objects, keep, w->objects);
	assert_int_equal(system(command), 0);
	free(command);
	must(sweep_run(w->repo, 0, &swept, &e));
	assert_int_equal(swept.deleted_packs, 0);
	assert_true(swept.rescued_packs > 0);
	assert_reads(w, second, data);
	free(keep);
	free(data);
	world_free(w);
}

/* R24: a listing that lacks packs that are there costs room, and stops nothing. */
static void
a_gap_in_the_listing_of_packs_costs_room_only(void **state)
{
	struct world *w = world_new();
	uint8_t *data = noise(BYTES, 7);
	struct store_config config = { .kind = STORE_FOLDER, .path = w->objects };
	struct store_faults faults = { .hide = "packs/" };
	struct sweep_result swept;
	struct err e = ERR_INIT;
	struct store *lying = store_fault_new(store_open(&config, false, &e), &faults);
	struct repo *r = repo_open(lying, &(struct repo_options){ .key_file = w->key, .workers = 1 }, &e);
	char first[33], second[33];

	(void)state;
	assert_non_null(r);
	backup_of(w->repo, data, BYTES, "2026-11-24T02:15:00Z", first);
	must(sweep_run(r, 0, &swept, &e));
	assert_int_equal(swept.condemned_packs, 0);
	backup_of(r, data, BYTES, "2026-11-25T02:15:00Z", second);
	assert_int_equal(new_bytes_of(r, second), BYTES);
	assert_reads(w, first, data);
	assert_reads(w, second, data);
	repo_free(r);
	store_free(lying);
	free(data);
	world_free(w);
}

/* Records of packs that nobody has: as many as `count`. */
static void
name_packs(struct repo *r, uint32_t count)
{
	struct buf records = BUF_INIT;
	struct err e = ERR_INIT;

	for (uint32_t i = 0; i < count; i++) {
		struct pack_info info = { .kind = PACK_DATA, .chunks = 1, .bytes = 1000 };
		struct pack_entry entry = { .stored = 16, .plain = 16 };

		rand_bytes(info.id, sizeof(info.id));
		rand_bytes(entry.id, sizeof(entry.id));
		index_record(&records, &info, &entry);
	}
	must(index_put(r, &records, true, &e));
	buf_free(&records);
}

struct asked {
	pthread_mutex_t lock;
	unsigned by_name, lists;
};

static void
count_asked(void *ctx, const char *verb, const char *name)
{
	struct asked *a = ctx;

	pthread_mutex_lock(&a->lock);
	a->by_name += strcmp(verb, "stat") == 0 && strncmp(name, "packs/", 6) == 0;
	a->lists += strcmp(verb, "list") == 0 && strcmp(name, "packs/") == 0;
	pthread_mutex_unlock(&a->lock);
}

/* The number of requests of a backup does not grow with what is there: it asks for the packs that it relies on, unless listing all is cheaper. */
static void
a_backup_asks_for_the_packs_that_it_relies_on(void **state)
{
	static const struct {
		uint32_t others;
		unsigned by_name, lists;
	} cases[] = { { 0, 0, 1 }, { 5000, 2, 0 } };    /* one pack of data, one of lists */

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct world *w = world_new();
		uint8_t *data = noise(BYTES, 7);
		struct asked a = { .lock = PTHREAD_MUTEX_INITIALIZER };
		struct hooked h;
		struct repo *r;
		char first[33], second[33];

		hooked_init(&h, w);
		h.ctx = &a, h.before = count_asked;
		backup_of(w->repo, data, BYTES, "2026-11-24T02:15:00Z", first);
		if (cases[i].others > 0)
			name_packs(w->repo, cases[i].others);
		r = hooked_open(&h, w, NULL);
		backup_of(r, data, BYTES, "2026-11-25T02:15:00Z", second);
		assert_int_equal(new_bytes_of(r, second), 0);
		assert_int_equal(a.by_name, cases[i].by_name);
		assert_int_equal(a.lists, cases[i].lists);
		repo_free(r);
		assert_reads(w, second, data);
		hooked_free(&h.store);
		free(data);
		world_free(w);
	}
}

/* By name, too, a pack that is gone or cut off is found out, and of a chunk's places the one that is left is read. */
static void
among_many_packs_those_that_are_gone_are_found_out(void **state)
{
	static const char *const ways[] = { "rm", "truncate -s 1000" };

	(void)state;
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		struct world *w = world_new();
		uint8_t *data = noise(BYTES, 7);
		char *spoil = mem_printf("%s %s/packs/*/*", ways[i], w->objects);
		char first[33], second[33];
		struct repo *r;

		backup_of(w->repo, data, BYTES, "2026-11-24T02:15:00Z", first);
		name_packs(w->repo, 5000);
		assert_int_equal(system(spoil), 0);
		r = fresh(w, false);
		backup_of(r, data, BYTES, "2026-11-25T02:15:00Z", second);
		assert_int_equal(new_bytes_of(r, second), BYTES);
		repo_free(r);
		assert_reads(w, second, data);
		assert_reads(w, first, data);
		free(spoil);
		free(data);
		world_free(w);
	}
}

/* A line for each backup, and not for each of a million chunks. */
static void
chunks_that_the_rebuilt_index_lacks_are_counted_for_each_backup(void **state)
{
	struct world *w = world_new();
	uint8_t *data = noise(BYTES, 7);
	struct progress *progress = progress_new(true);
	json_t *problems = json_array(), *result = json_object(), *p;
	struct err e = ERR_INIT;
	char first[33], second[33], said[64];
	uint64_t packs;
	unsigned chunks;
	size_t i;

	(void)state;
	backup_of(w->repo, data, BYTES, "2026-11-24T02:15:00Z", first);
	backup_of(w->repo, data, BYTES, "2026-11-25T02:15:00Z", second);
	lose_data_packs(w);
	must(verify_rebuild_index(w->repo, &packs, problems, &e));
	assert_int_equal(json_array_size(problems), 0);
	must(verify_run(w->repo, false, progress, result, &e));
	assert_int_equal(json_array_size(json_object_get(result, "problems")), 2);
	json_array_foreach(json_object_get(result, "problems"), i, p) {
		assert_int_equal(sscanf(json_opt_str(p, "what", ""), "%u chunks %63[^(]", &chunks, said), 2);
		assert_string_equal(said, "cannot be found ");
		assert_true(chunks > 1);
		assert_int_equal(json_array_size(json_object_get(p, "affects")), 1);
	}
	json_decref(problems);
	json_decref(result);
	progress_free(progress);
	free(data);
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_backup_after_all_packs_were_lost_stores_everything_again),
		cmocka_unit_test(a_backup_does_not_rely_on_a_pack_that_was_cut_off),
		cmocka_unit_test(a_record_that_a_gap_in_a_listing_left_behind_is_not_relied_upon),
		cmocka_unit_test(expire_deletes_nothing_while_a_pack_in_use_is_missing),
		cmocka_unit_test(the_last_good_copy_of_a_chunk_is_rescued_though_it_was_condemned),
		cmocka_unit_test(a_gap_in_the_listing_of_packs_costs_room_only),
		cmocka_unit_test(a_backup_asks_for_the_packs_that_it_relies_on),
		cmocka_unit_test(among_many_packs_those_that_are_gone_are_found_out),
		cmocka_unit_test(chunks_that_the_rebuilt_index_lacks_are_counted_for_each_backup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
