#include "unit/repo/world.h"

#include <unistd.h>

#include "repo/index.h"
#include "repo/runs.h"

static void
what_was_written_comes_back_byte_for_byte(void **state)
{
	struct world *w = world_new();
	struct err e = ERR_INIT;
	static const size_t sizes[] = { 0, 1, 131072, 131073, 2097152, 2097153, 20000000 };
	char id[33];

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint8_t *data = noise(sizes[i], i);
		struct buf back = BUF_INIT;

		backup_of(w->repo, data, sizes[i], "2026-11-24T02:15:00Z", id);
		must(read_back(w->repo, id, 0, &back, &e));
		assert_int_equal(back.bytes, sizes[i]);
		assert_true(sizes[i] == 0 || memcmp(back.data, data, sizes[i]) == 0);
		buf_free(&back);
		free(data);
	}
	world_free(w);
}

/* Every chunk authentic, the length right, and still not the stream: what a fault in keeping lists would look like. */
static void
authentic_chunks_of_another_stream_are_refused_before_the_end(void **state)
{
	struct world *w = world_new();
	struct err e = ERR_INIT;
	uint8_t *data = noise(1000000, 1), *other = noise(1000000, 2);
	struct buf back = BUF_INIT;
	struct sink *to = sink_buf_new(&back, 1 << 30);
	json_t *summary, *detail, *summary2, *detail2, *stream;
	char id[33], id2[33];

	(void)state;
	backup_of(w->repo, data, 1000000, "2026-11-24T02:15:00Z", id);
	backup_of(w->repo, other, 1000000, "2026-11-25T02:15:00Z", id2);
	must(repo_load(w->repo, id, &summary, &detail, &e));
	must(repo_load(w->repo, id2, &summary2, &detail2, &e));
	stream = json_array_get(json_object_get(detail, "streams"), 0);
	json_object_set(stream, "lists", json_object_get(json_array_get(json_object_get(detail2, "streams"), 0), "lists"));
	assert_int_equal(repo_read(w->repo, stream, to, &e), -1);
	assert_int_equal(e.kind, ERR_CORRUPT);
	assert_non_null(strstr(e.msg, "other content"));
	sink_free(to);
	buf_free(&back);
	json_decref(summary);
	json_decref(detail);
	json_decref(summary2);
	json_decref(detail2);
	free(data);
	free(other);
	world_free(w);
}

static void
the_second_night_stores_only_what_changed(void **state)
{
	struct world *w = world_new();
	struct err e = ERR_INIT;
	size_t bytes = 24000000, more = bytes + 1000;
	uint8_t *data = noise(bytes, 1), *changed = mem_alloc(more);
	json_t *summary, *detail;
	char id[33];

	(void)state;
	backup_of(w->repo, data, bytes, "2026-11-24T02:15:00Z", id);
	/* A thousand bytes go in at a third of the way: all behind them moves. */
	memcpy(changed, data, bytes / 3);
	memset(changed + bytes / 3, 'x', 1000);
	memcpy(changed + bytes / 3 + 1000, data + bytes / 3, bytes - bytes / 3);
	backup_of(w->repo, changed, more, "2026-11-25T02:15:00Z", id);
	must(repo_load(w->repo, id, &summary, &detail, &e));
	assert_true(json_opt_int(summary, "new_bytes", -1) > 0);
	assert_true(json_opt_int(summary, "new_bytes", -1) < 5000000);
	assert_int_equal(json_opt_int(summary, "bytes", -1), more);
	json_decref(summary);
	json_decref(detail);
	free(data);
	free(changed);
	world_free(w);
}

static void
a_run_that_was_abandoned_is_no_backup_and_is_found_again(void **state)
{
	struct world *w = world_new();
	struct err e = ERR_INIT;
	uint8_t *data = noise(40000000, 5);
	json_t *backups, *summary, *detail;
	struct repo_run *run = repo_begin(w->repo, "backup", &e);
	struct sink *s = repo_write(run, "d/rest", "dump", "d");
	char id[33];

	(void)state;
	must(sink_write(s, data, 40000000, &e));
	sink_free(s);           /* no finish: the producer died */
	repo_abandon(run);
	must(repo_list(w->repo, &backups, &e));
	assert_int_equal(json_array_size(backups), 0);
	json_decref(backups);

	repo_free(w->repo);
	w->repo = world_open(w, w->key, true, &e);
	backup_of(w->repo, data, 40000000, "2026-11-24T02:15:00Z", id);
	must(repo_load(w->repo, id, &summary, &detail, &e));
	/* Two packs of 16 MiB were complete when it was abandoned. */
	assert_true(json_opt_int(summary, "new_bytes", -1) < 12000000);
	json_decref(summary);
	json_decref(detail);
	free(data);
	world_free(w);
}

/* R7: a stream that was begun and not completed keeps the run from being committed. */
static void
a_stream_without_finish_prevents_the_commit(void **state)
{
	struct world *w = world_new();
	struct err e = ERR_INIT;
	struct repo_run *run = repo_begin(w->repo, "backup", &e);
	struct sink *s = repo_write(run, "d/rest", "dump", "d");
	char id[33];

	(void)state;
	must(sink_write(s, "half", 4, &e));
	sink_free(s);
	assert_int_equal(repo_commit(run, summary_of("2026-11-24T02:15:00Z"), json_object(), id, &e), -1);
	assert_non_null(strstr(e.msg, "d/rest"));
	world_free(w);
}

/* R6: what a try read that was given up is no part of what a backup is compared by. */
static void
bytes_of_a_try_that_was_forgotten_do_not_count(void **state)
{
	const size_t bytes = 6000000;
	struct world *w = world_new();
	struct err e = ERR_INIT;
	uint8_t *data = noise(bytes, 7);
	struct repo_run *run = repo_begin(w->repo, "backup", &e);
	struct repo_stats stats;
	struct sink *s;
	json_t *summary, *detail;
	char id[33];

	(void)state;
	assert_non_null(run);
	for (int tries = 0; tries < 3; tries++) {
		const char *const names[] = { "d/rest", tries == 0 ? "d/t" : "d/u" };

		for (int i = 0; i < 2; i++) {
			s = repo_write(run, names[i], "dump", "d");
			must(sink_write(s, data, bytes, &e));
			/* The first try loses its last stream, the second is whole; the third begins anew without being told to forget. */
			if (tries > 0 || i == 0)
				must(sink_finish(s, &e));
			sink_free(s);
		}
		repo_run_stats(run, &stats);
		assert_int_equal(stats.bytes, tries == 0 ? bytes : 2 * bytes);
		if (tries == 0)
			repo_forget(run, "d");
	}
	must(repo_commit(run, summary_of("2026-11-24T02:15:00Z"), json_object(), id, &e));
	must(repo_load(w->repo, id, &summary, &detail, &e));
	assert_int_equal(json_opt_int(summary, "bytes", -1), 2 * bytes);
	assert_int_equal(json_array_size(json_object_get(detail, "streams")), 2);
	json_decref(summary);
	json_decref(detail);
	free(data);
	world_free(w);
}

static void
an_agent_backs_up_and_lists_and_cannot_read(void **state)
{
	struct world *w = world_new();
	struct err e = ERR_INIT;
	struct repo *agent = world_open(w, w->agent_key, false, &e);
	struct buf back = BUF_INIT;
	json_t *backups;
	char id[33];

	(void)state;
	assert_non_null(agent);
	assert_false(repo_can_read(agent));
	backup_of(agent, (const uint8_t *)"twelve bytes", 12, "2026-11-24T02:15:00Z", id);
	must(repo_list(agent, &backups, &e));
	assert_int_equal(json_array_size(backups), 1);
	json_decref(backups);
	assert_int_equal(read_back(agent, id, 0, &back, &e), -1);
	assert_int_equal(e.kind, ERR_KEY);
	assert_int_equal(back.bytes, 0);
	err_clear(&e);
	must(read_back(w->repo, id, 0, &back, &e));
	assert_string_equal((char *)back.data, "twelve bytes");
	buf_free(&back);
	repo_free(agent);
	world_free(w);
}

static void
two_runs_at_once_do_each_other_no_harm(void **state)
{
	struct world *w = world_new();
	struct err e = ERR_INIT;
	struct repo *other = world_open(w, w->agent_key, true, &e);
	uint8_t *data = noise(3000000, 9);
	struct repo_run *a = repo_begin(w->repo, "a", &e), *b = repo_begin(other, "b", &e);
	struct sink *sa = repo_write(a, "d/rest", "dump", "d"), *sb = repo_write(b, "d/rest", "dump", "d");
	struct buf back = BUF_INIT;
	char ida[33], idb[33];

	(void)state;
	for (size_t at = 0; at < 3000000; at += 500000) {
		must(sink_write(sa, data + at, 500000, &e));
		must(sink_write(sb, data + at, 500000, &e));
	}
	must(sink_finish(sa, &e));
	must(sink_finish(sb, &e));
	sink_free(sa);
	sink_free(sb);
	must(repo_commit(a, summary_of("2026-11-24T02:15:00Z"), json_object(), ida, &e));
	must(repo_commit(b, summary_of("2026-11-24T02:15:01Z"), json_object(), idb, &e));
	must(index_load(w->repo, &e));
	must(read_back(w->repo, idb, 0, &back, &e));
	assert_int_equal(back.bytes, 3000000);
	assert_memory_equal(back.data, data, 3000000);
	buf_free(&back);
	free(data);
	repo_free(other);
	world_free(w);
}

static void
a_lost_damaged_or_foreign_cache_is_noticed_and_costs_nothing_but_time(void **state)
{
	struct world *w = world_new();
	struct err e = ERR_INIT;
	uint8_t *data = noise(2000000, 3);
	char id[33], *folder = mem_printf("%s/%s", w->cache, w->uuid), *map = mem_printf("%s/index.map", folder);
	struct repo_totals t;

	(void)state;
	backup_of(w->repo, data, 2000000, "2026-11-24T02:15:00Z", id);
	for (int damage = 0; damage < 4; damage++) {
		struct buf back = BUF_INIT;
		char *command;

		repo_free(w->repo);
		command = damage == 0 ? mem_printf("rm -rf %s", folder) :
		    damage == 1       ? mem_printf("for f in %s/index/* %s/backups/*; do printf x >> $f; done", folder, folder) :
		    damage == 2       ? mem_printf("for f in %s/index/* %s/backups/*; do truncate -s -4 $f; printf junk >> $f; done", folder, folder) :
					mem_printf("echo junk > %s", map);
		assert_int_equal(system(command), 0);
		free(command);
		w->repo = world_open(w, w->key, true, &e);
		assert_non_null(w->repo);
		must(repo_totals(w->repo, &t, &e));
		assert_true(t.chunks > 0);
		must(read_back(w->repo, id, 0, &back, &e));
		assert_memory_equal(back.data, data, 2000000);
		buf_free(&back);
	}
	free(folder);
	free(map);
	free(data);
	world_free(w);
}

/* Format 1 allows such sizes: then a list is larger than any chunk of data. */
static void
small_chunks_make_long_lists_and_come_back(void **state)
{
	const size_t bytes = 40000000;
	struct world *w = world_new();
	struct err e = ERR_INIT;
	struct buf back = BUF_INIT;
	uint8_t *data = noise(bytes, 3);
	char id[33];

	(void)state;
	w->repo->chunk_min = 256;
	w->repo->chunk_avg = 1024;
	w->repo->chunk_max = 4096;
	cut_rule_init(&w->repo->cuts, w->repo->secrets.chunk_id, w->repo->chunk_min, w->repo->chunk_avg, w->repo->chunk_max);
	backup_of(w->repo, data, bytes, "2026-11-24T02:15:00Z", id);
	must(read_back(w->repo, id, 0, &back, &e));
	assert_int_equal(back.bytes, bytes);
	assert_memory_equal(back.data, data, bytes);
	buf_free(&back);
	free(data);
	world_free(w);
}

/* R22: a clock that was set back must not make the newest backup look like an old one. */
static void
a_clock_that_was_set_back_does_not_change_the_order(void **state)
{
	struct world *w = world_new();
	struct err e = ERR_INIT;
	char ids[4][33], latest[33];
	static const char *const times[] = { "2026-11-24T02:15:00Z", "2026-11-25T02:15:00Z", "2025-11-26T02:15:00Z", "2025-11-27T02:15:00Z" };
	json_t *backups;

	(void)state;
	for (int i = 0; i < 4; i++)
		backup_of(w->repo, (const uint8_t *)times[i], 20, times[i], ids[i]);
	must(repo_list(w->repo, &backups, &e));
	for (size_t i = 0; i < 4; i++)
		assert_string_equal(json_opt_str(json_array_get(backups, i), "id", ""), ids[3 - i]);
	json_decref(backups);
	must(repo_resolve(w->repo, "latest", latest, &e));
	assert_string_equal(latest, ids[3]);
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_written_comes_back_byte_for_byte),
		cmocka_unit_test(authentic_chunks_of_another_stream_are_refused_before_the_end),
		cmocka_unit_test(the_second_night_stores_only_what_changed),
		cmocka_unit_test(a_run_that_was_abandoned_is_no_backup_and_is_found_again),
		cmocka_unit_test(a_stream_without_finish_prevents_the_commit),
		cmocka_unit_test(bytes_of_a_try_that_was_forgotten_do_not_count),
		cmocka_unit_test(an_agent_backs_up_and_lists_and_cannot_read),
		cmocka_unit_test(small_chunks_make_long_lists_and_come_back),
		cmocka_unit_test(two_runs_at_once_do_each_other_no_harm),
		cmocka_unit_test(a_clock_that_was_set_back_does_not_change_the_order),
		cmocka_unit_test(a_lost_damaged_or_foreign_cache_is_noticed_and_costs_nothing_but_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
