/* An index larger than what a reader holds in memory: sorted on disk, merged, found whole, and no worse where no disk is. */
#include "unit/repo/hooked.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/rand.h"
#include "repo/index.h"
#include "repo/map.h"

#define CHUNKS_A_PACK 10000u

/* Chunk `n` of the repository: an id like a MAC's, and back. */
static void
chunk_id(uint8_t id[CHUNK_ID_BYTES], uint32_t n)
{
	uint8_t plain[4];

	bytes_put_u32(plain, n);
	hash_sha256(id, plain, sizeof(plain));
}

/* Index objects for chunks first to end, whose packs do not exist; `n` + 1 is a chunk's plain size. */
static void
fill(struct repo *r, uint32_t first, uint32_t end)
{
	struct pack_entry *entries = mem_zero(CHUNKS_A_PACK, sizeof(*entries));
	struct buf records = BUF_INIT;
	struct err e = ERR_INIT;

	for (uint32_t at = first; at < end; at += CHUNKS_A_PACK) {
		struct pack_info info = { .kind = PACK_DATA, .chunks = CHUNKS_A_PACK, .bytes = 16u << 20 };

		rand_bytes(info.id, sizeof(info.id));
		for (uint32_t i = 0; i < CHUNKS_A_PACK; i++) {
			chunk_id(entries[i].id, at + i);
			entries[i].stored = 16;
			entries[i].plain = at + i + 1;
		}
		index_record(&records, &info, entries);
		must(index_put(r, &records, false, &e));
	}
	must(index_put(r, &records, true, &e));
	buf_free(&records);
	free(entries);
}

static void
assert_whole(struct repo *r, uint32_t chunks)
{
	uint8_t id[CHUNK_ID_BYTES];
	struct place p;
	struct err e = ERR_INIT;

	assert_int_equal(index_chunks(r->index), chunks);
	for (uint32_t n = 0; n < chunks; n += 31) {
		chunk_id(id, n);
		if (index_find(r->index, id, &p, &e))
			fail_msg("chunk %u: %s", n, e.msg);
		if (p.plain != n + 1 || p.stored != 16 || p.offset != PACK_HEAD_BYTES + 16 * (n % CHUNKS_A_PACK))
			fail_msg("chunk %u is said to lie elsewhere", n);
	}
	chunk_id(id, chunks);
	assert_int_equal(index_find(r->index, id, &p, &e), -1);
	assert_int_equal(e.kind, ERR_NOT_FOUND);
}

/* Maps directly in a folder, and what is on its way to be one: others keep what they know there as well. */
static unsigned
files_in(const char *folder)
{
	DIR *d = opendir(folder);
	unsigned n = 0;

	assert_non_null(d);
	for (struct dirent *x; (x = readdir(d)) != NULL;)
		n += x->d_type == DT_REG && (strstr(x->d_name, "index.map") != NULL || strstr(x->d_name, ".tmp-") != NULL);
	closedir(d);
	return n;
}

static void
load_anew(struct world *w, bool cached)
{
	struct err e = ERR_INIT;

	repo_free(w->repo);
	w->repo = world_open(w, w->key, cached, &e);
	if (w->repo == NULL)
		fail_msg("%s", e.msg);
	must(index_load(w->repo, &e));
}

static void
drop_cache(struct world *w)
{
	struct err e = ERR_INIT;

	must(file_remove_tree(w->cache, &e));
}

static void
more_than_memory_may_hold_is_sorted_on_disk_and_found_whole(void **state)
{
	struct world *w = world_new();
	char *folder = mem_printf("%s/%s", w->cache, w->uuid);
	const uint32_t some = 2 * MAP_RUN / CHUNKS_A_PACK * CHUNKS_A_PACK + CHUNKS_A_PACK, more = some + MAP_RUN / CHUNKS_A_PACK * CHUNKS_A_PACK + CHUNKS_A_PACK;

	(void)state;
	fill(w->repo, 0, some);
	drop_cache(w);
	load_anew(w, true);
	assert_true(index_mapped(w->repo->index));
	assert_whole(w->repo, some);
	load_anew(w, true);             /* from the map as it was kept */
	assert_whole(w->repo, some);
	fill(w->repo, some, more);
	load_anew(w, true);             /* merged with what the map has */
	assert_whole(w->repo, more);
	assert_int_equal(files_in(folder), 1);
	free(folder);
	world_free(w);
}

static void
without_a_cache_it_is_sorted_among_temporary_files_and_leaves_none(void **state)
{
	struct world *w = world_new();
	char *folder = mem_printf("%s/tmp", w->dir);
	const uint32_t chunks = MAP_RUN / CHUNKS_A_PACK * CHUNKS_A_PACK + CHUNKS_A_PACK;

	(void)state;
	assert_int_equal(mkdir(folder, S_IRWXU), 0);
	setenv("TMPDIR", folder, 1);
	fill(w->repo, 0, chunks);
	load_anew(w, false);
	assert_true(index_mapped(w->repo->index));
	assert_whole(w->repo, chunks);
	assert_int_equal(files_in(folder), 0);
	/* And where there is no such folder. */
	assert_int_equal(rmdir(folder), 0);
	load_anew(w, false);
	assert_false(index_mapped(w->repo->index));
	assert_whole(w->repo, chunks);
	unsetenv("TMPDIR");
	free(folder);
	world_free(w);
}

/* A file may become no larger than so many bytes: what a full disk does, without filling one. */
static void
limit_files(rlim_t bytes)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = bytes;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void
a_disk_that_is_full_at_any_moment_costs_memory_and_no_chunk(void **state)
{
	struct world *w = world_new();
	char *folder = mem_printf("%s/%s", w->cache, w->uuid);
	const uint32_t chunks = 2 * MAP_RUN / CHUNKS_A_PACK * CHUNKS_A_PACK + CHUNKS_A_PACK;
	/* In the first run; in the second; in what is left over; in the map, which has all that and its head. */
	const rlim_t entry = sizeof(struct map_entry);
	const rlim_t room[] = { 1u << 20, MAP_RUN * entry + 100, 2 * MAP_RUN * entry + 100, chunks * entry + 100 };

	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	fill(w->repo, 0, chunks);
	for (size_t i = 0; i < sizeof(room) / sizeof(room[0]); i++) {
		drop_cache(w);
		limit_files(room[i]);
		load_anew(w, true);
		limit_files(RLIM_INFINITY);
		assert_false(index_mapped(w->repo->index));
		assert_whole(w->repo, chunks);
		assert_int_equal(files_in(folder), 0);
	}
	load_anew(w, true);
	assert_true(index_mapped(w->repo->index));
	assert_whole(w->repo, chunks);
	free(folder);
	world_free(w);
}

static void
a_map_with_one_flipped_bit_is_built_again(void **state)
{
	struct world *w = world_new();
	char *map = mem_printf("%s/%s/index.map", w->cache, w->uuid);
	const uint32_t chunks = 10 * CHUNKS_A_PACK;
	struct stat st;

	(void)state;
	fill(w->repo, 0, chunks);
	load_anew(w, true);
	assert_int_equal(stat(map, &st), 0);
	for (int i = 0; i < 4; i++) {
		const off_t at[] = { 60, st.st_size / 2, st.st_size - 40, st.st_size - 1 };
		FILE *f = fopen(map, "r+");
		int c;

		assert_non_null(f);
		assert_int_equal(fseek(f, at[i], SEEK_SET), 0);
		c = fgetc(f);
		assert_int_equal(fseek(f, at[i], SEEK_SET), 0);
		fputc(c ^ 1, f);
		fclose(f);
		load_anew(w, true);
		assert_true(index_mapped(w->repo->index));
		assert_whole(w->repo, chunks);
	}
	free(map);
	world_free(w);
}

static void
what_a_killed_build_left_is_removed_a_day_later(void **state)
{
	struct world *w = world_new();
	const char *const names[] = { "index.map.tmp-dead", "index.map.tmp-at-work" };
	const struct timespec old[2] = { { .tv_sec = 1000000000 }, { .tv_sec = 1000000000 } };
	struct stat st;

	(void)state;
	fill(w->repo, 0, 7 * CHUNKS_A_PACK);
	for (size_t i = 0; i < 2; i++) {
		char *path = mem_printf("%s/%s/%s", w->cache, w->uuid, names[i]);
		FILE *f = fopen(path, "w");

		assert_non_null(f);
		fclose(f);
		assert_int_equal(i == 0 ? utimensat(AT_FDCWD, path, old, 0) : 0, 0);
		free(path);
	}
	load_anew(w, true);
	assert_true(index_mapped(w->repo->index));
	for (size_t i = 0; i < 2; i++) {
		char *path = mem_printf("%s/%s/%s", w->cache, w->uuid, names[i]);

		assert_int_equal(stat(path, &st), i == 0 ? -1 : 0);
		free(path);
	}
	world_free(w);
}

static int
show_twice(void *ctx, const char *prefix, const char *name)
{
	(void)prefix, (void)name;
	return *(bool *)ctx ? 2 : 1;
}

/* Two index objects, so that one of them could be taken for both; and a map of them, so that it could be kept. */
static void
a_store_that_lists_an_object_twice_makes_no_second_one(void **state)
{
	struct world *w = world_new();
	const uint32_t some = 10 * CHUNKS_A_PACK, more = 20 * CHUNKS_A_PACK;
	struct hooked h;
	bool twice = true;

	(void)state;
	hooked_init(&h, w);
	h.ctx = &twice, h.shown = show_twice;
	fill(w->repo, 0, some);
	drop_cache(w);
	for (int i = 0; i < 3; i++) {
		struct repo *r = hooked_open(&h, w, w->cache);
		struct err e = ERR_INIT;

		must(index_load(r, &e));
		assert_true(index_mapped(r->index));
		assert_whole(r, i == 0 ? some : more);
		repo_free(r);
		if (i == 0)
			fill(w->repo, some, more);
		twice = i == 1;
	}
	hooked_free(&h.store);
	world_free(w);
}

/* A map as it was made of such a listing before that was seen to. */
static void
a_map_that_names_an_index_object_twice_is_built_again(void **state)
{
	struct world *w = world_new();
	const uint32_t chunks = 10 * CHUNKS_A_PACK;
	char *path = mem_printf("%s/%s/index.map", w->cache, w->uuid);
	const uint8_t (*ids)[ID_BYTES];
	uint8_t (*twice)[ID_BYTES];
	struct err e = ERR_INIT;
	struct map map;
	size_t count;

	(void)state;
	fill(w->repo, 0, chunks);
	load_anew(w, true);
	count = index_objects(w->repo->index, &ids);
	assert_true(count >= 1);
	twice = mem_alloc(2 * count * ID_BYTES);
	memcpy(twice, ids, count * ID_BYTES);
	memcpy(twice + count, ids, count * ID_BYTES);
	/* First with more ids than are listed, then with as many, one of which is hidden behind the other. */
	for (int i = 0; i < 2; i++) {
		struct map_runs runs = MAP_RUNS_INIT(path);
		char *folder = mem_strndup(path, strlen(path) - strlen("/index.map"));

		runs.folder = folder;
		memset(&map, 0, sizeof(map));
		map.fd = -1;
		must(map_build(&map, path, w->repo->uuid, (const uint8_t (*)[ID_BYTES])twice, i == 0 ? 2 * count : count + 1, NULL, 0, &runs, &e));
		map_close(&map);
		if (i == 1)
			fill(w->repo, chunks, 2 * chunks);
		load_anew(w, true);
		assert_whole(w->repo, i == 0 ? chunks : 2 * chunks);
		free(folder);
	}
	free(twice);
	free(path);
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(more_than_memory_may_hold_is_sorted_on_disk_and_found_whole),
		cmocka_unit_test(without_a_cache_it_is_sorted_among_temporary_files_and_leaves_none),
		cmocka_unit_test(a_disk_that_is_full_at_any_moment_costs_memory_and_no_chunk),
		cmocka_unit_test(a_map_with_one_flipped_bit_is_built_again),
		cmocka_unit_test(what_a_killed_build_left_is_removed_a_day_later),
		cmocka_unit_test(a_store_that_lists_an_object_twice_makes_no_second_one),
		cmocka_unit_test(a_map_that_names_an_index_object_twice_is_built_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
