/* Markers of runs: who lives, who died, and what the dead leave to the next. */
#include "unit/repo/hooked.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/stop.h"
#include "repo/catalog.h"
#include "repo/runs.h"
#include "repo/sweep.h"

#define BYTES 60000000                  /* two packs and a part of a third */
#define DAY_MS 86400000LL

static int
count_one(void *ctx, const struct store_object *o, struct err *e)
{
	(void)o, (void)e;
	++*(size_t *)ctx;
	return 0;
}

static size_t
count(struct world *w, const char *prefix)
{
	struct err e = ERR_INIT;
	size_t n = 0;

	must(store_list(w->store, prefix, count_one, &n, &e));
	return n;
}

/* In a process of its own: a backup of `data` that is killed when two packs are in the store. */
static void
backup_that_is_killed(struct world *w, const uint8_t *data)
{
	pid_t child = fork();
	int status;

	assert_true(child >= 0);
	if (child == 0) {
		struct err e = ERR_INIT;
		struct repo *r = world_open(w, w->key, false, &e);
		struct repo_run *run = r == NULL ? NULL : repo_begin(r, "backup", &e);
		struct repo_stats stats = { 0 };
		struct sink *s;

		if (run == NULL)
			_exit(1);
		s = repo_write(run, "d/rest", "dump", "d");
		if (sink_write(s, data, BYTES, &e) != 0)
			_exit(2);
		while (stats.packs < 2 && clock_sleep_ms(10, &e) == 0)
			repo_run_stats(run, &stats);
		raise(SIGKILL);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* What a backup of `data` finds again. */
static uint64_t
resumed_by(struct world *w, const uint8_t *data)
{
	struct err e = ERR_INIT;
	struct repo *r = world_open(w, w->key, false, &e);
	struct repo_run *run = repo_begin(r, "backup", &e);
	struct repo_stats stats;
	struct sink *s;
	char id[33];

	assert_non_null(run);
	s = repo_write(run, "d/rest", "dump", "d");
	must(sink_write(s, data, BYTES, &e));
	must(sink_finish(s, &e));
	sink_free(s);
	repo_run_stats(run, &stats);
	must(repo_commit(run, summary_of("2026-11-26T02:15:00Z"), json_object(), id, &e));
	repo_free(r);
	assert_true(stats.resumed_packs == 0 || stats.new_bytes < BYTES / 2);
	return stats.resumed_packs;
}

static void
the_packs_of_a_killed_run_survive_an_expire_until_the_next_run(void **state)
{
	struct world *w = world_new();
	struct err e = ERR_INIT;
	uint8_t *data = noise(BYTES, 1);
	struct sweep_result swept;

	(void)state;
	backup_that_is_killed(w, data);
	must(sweep_run(w->repo, 0, &swept, &e));
	assert_int_equal(swept.condemned_packs, 0);
	assert_int_equal(count(w, "runs/"), 1);
	assert_true(resumed_by(w, data) >= 2);
	assert_int_equal(count(w, "runs/"), 0);         /* they are in an index now */
	must(sweep_run(w->repo, 0, &swept, &e));
	assert_int_equal(swept.condemned_packs, 0);
	free(data);
	world_free(w);
}

static void
a_killed_run_of_this_host_does_not_hold_up_deletion(void **state)
{
	struct world *w = world_new();
	struct err e = ERR_INIT;
	uint8_t *data = noise(BYTES, 1);
	struct sweep_result swept;
	char id[33];

	(void)state;
	backup_of(w->repo, data, 2000000, "2026-11-24T02:15:00Z", id);
	must(sweep_forget(w->repo, id, &e));
	must(sweep_run(w->repo, 0, &swept, &e));
	assert_true(swept.condemned_packs > 0);
	backup_that_is_killed(w, data);
	must(sweep_run(w->repo, 0, &swept, &e));
	assert_null(swept.held_up);
	assert_true(swept.deleted_packs > 0);
	assert_true(resumed_by(w, data) >= 2);
	free(data);
	world_free(w);
}

static int
age_by_three_days(void *ctx, const struct store_object *o, struct err *e)
{
	struct world *w = ctx;
	char *path = mem_printf("%s/%s", w->objects, o->name);
	const time_t then = (time_t)(clock_wall_us() / 1000000) - 3 * 86400;

	(void)e;
	assert_int_equal(utimensat(AT_FDCWD, path, (const struct timespec[2]){ { .tv_sec = then }, { .tv_sec = then } }, 0), 0);
	free(path);
	return 0;
}

static void
what_a_killed_run_left_is_garbage_after_two_days(void **state)
{
	struct world *w = world_new();
	struct err e = ERR_INIT;
	uint8_t *data = noise(BYTES, 1);
	struct sweep_result swept;

	(void)state;
	backup_that_is_killed(w, data);
	must(store_list(w->store, "runs/", age_by_three_days, w, &e));
	must(sweep_run(w->repo, 4 * DAY_MS, &swept, &e));       /* not while the grace period is longer */
	assert_int_equal(swept.condemned_packs, 0);
	must(sweep_run(w->repo, DAY_MS, &swept, &e));
	assert_true(swept.condemned_packs >= 2);
	assert_int_equal(count(w, "runs/"), 0);
	free(data);
	world_free(w);
}

/* It was not there when this run took up what the dead had left: only the next one does. */
static void
a_run_that_dies_beside_another_one_is_taken_up_by_the_next(void **state)
{
	struct world *w = world_new();
	struct err e = ERR_INIT;
	uint8_t *data = noise(BYTES, 1);
	struct repo_run *run = repo_begin(w->repo, "backup", &e);
	char id[33];

	(void)state;
	assert_non_null(run);
	backup_that_is_killed(w, data);
	must(repo_commit(run, summary_of("2026-11-24T02:15:00Z"), json_object(), id, &e));
	assert_int_equal(count(w, "runs/"), 1);
	assert_true(resumed_by(w, data) >= 2);
	assert_int_equal(count(w, "runs/"), 0);
	free(data);
	world_free(w);
}

/* A marker as this process would write it, with one member changed. */
static enum run_life
life_with(struct world *w, const char *member, json_t *value)
{
	const uint8_t run_id[RUN_ID_BYTES] = { 1 }, forged[ID_BYTES] = { 2 };
	uint8_t id[ID_BYTES] = { 1 };
	struct err e = ERR_INIT;
	struct buf section = BUF_INIT;
	enum run_life life;
	json_t *marker;
	char *text;

	must(runs_begin(w->repo, run_id, "backup", &e));
	must(catalog_get_json(w->repo, CATALOG_RUN, id, &marker, &e));
	must(runs_end(w->repo, run_id, &e));
	if (member != NULL)
		json_object_set_new(marker, member, value);
	text = json_text(marker, JSON_COMPACT);
	buf_addstr(&section, text);
	must(catalog_put(w->repo, CATALOG_RUN, forged, &section, 1, &e));
	life = runs_life(w->repo, forged);
	must(catalog_remove(w->repo, CATALOG_RUN, forged, &e));
	json_decref(marker);
	buf_free(&section);
	free(text);
	return life;
}

static void
a_marker_tells_a_living_process_from_a_dead_one_with_its_number(void **state)
{
	struct world *w = world_new();
	pid_t child = fork();
	siginfo_t seen;

	(void)state;
	if (child == 0)
		_exit(0);
	assert_int_equal(life_with(w, NULL, NULL), RUN_ALIVE);
	/* Another container, or another boot: its numbers say nothing. */
	assert_int_equal(life_with(w, "process_world", json_string("elsewhere")), RUN_UNKNOWN);
	/* A container that was started again gives its process the same number, in a namespace that may have the number of the old one. */
	assert_int_equal(life_with(w, "process_began", json_integer(1)), RUN_DEAD);
	/* A process that has ended, before and after somebody waited for it. */
	assert_int_equal(waitid(P_PID, (id_t)child, &seen, WEXITED | WNOWAIT), 0);
	assert_int_equal(life_with(w, "pid", json_integer(child)), RUN_DEAD);
	assert_int_equal(waitpid(child, NULL, 0), child);
	assert_int_equal(life_with(w, "pid", json_integer(child)), RUN_DEAD);
	world_free(w);
}

static void
stop_at(void *ctx, const char *verb, const char *name)
{
	const char *what = ctx;

	if (strncmp(what, verb, strlen(verb)) == 0 && strcmp(what + strlen(verb) + 1, name) == 0)
		raise(SIGTERM);
}

static void
an_expire_or_a_beginning_backup_that_is_stopped_leaves_no_marker(void **state)
{
	struct world *w = world_new();
	struct sweep_result swept;
	struct err e = ERR_INIT;
	struct hooked h;
	struct repo *r;
	char id[33], forgotten[33], list_packs[] = "list packs/", list_index[] = "list index/", list_holds[] = "list holds/";

	(void)state;
	backup_of(w->repo, (const uint8_t *)"one", 3, "2026-11-24T02:15:00Z", id);
	backup_of(w->repo, (const uint8_t *)"two", 3, "2026-11-25T02:15:00Z", forgotten);
	hooked_init(&h, w);
	r = hooked_open(&h, w, NULL);
	stop_install();
	h.before = stop_at;
	h.ctx = list_packs;
	assert_int_equal(sweep_run(r, 0, &swept, &e), -1);
	assert_int_equal(e.kind, ERR_STOPPED);
	stop_clear();
	assert_int_equal(count(w, "runs/"), 0);
	err_clear(&e);
	h.ctx = list_index;
	assert_null(repo_begin(r, "backup", &e));
	assert_int_equal(e.kind, ERR_STOPPED);
	stop_clear();
	assert_int_equal(count(w, "runs/"), 0);
	err_clear(&e);
	h.ctx = list_holds;
	assert_int_equal(sweep_forget(r, forgotten, &e), -1);
	assert_int_equal(e.kind, ERR_STOPPED);
	stop_clear();
	assert_int_equal(count(w, "runs/"), 0);
	repo_free(r);
	hooked_free(&h.store);
	world_free(w);
}

/* Another expire that ends between our listing of sweeps/ and our reading of one. */
struct finished {
	struct hooked h;
	struct world *w;
	unsigned lists;
};

static void
finish_the_sweep(void *ctx, const char *verb, const char *name)
{
	struct finished *f = ctx;
	struct err e = ERR_INIT;

	f->lists += strcmp(verb, "list") == 0 && strcmp(name, "sweeps/") == 0;
	if (f->lists == 2 && strcmp(verb, "get") == 0 && strncmp(name, "sweeps/", 7) == 0)
		must(store_remove(f->w->store, name, &e));
}

static void
a_sweep_that_another_expire_finished_meanwhile_is_no_failure(void **state)
{
	struct world *w = world_new();
	struct finished f = { .w = w };
	struct sweep_result swept;
	struct err e = ERR_INIT;
	struct repo *r;
	char id[33];

	(void)state;
	hooked_init(&f.h, w);
	f.h.ctx = &f, f.h.before = finish_the_sweep;
	backup_of(w->repo, (const uint8_t *)"one", 3, "2026-11-24T02:15:00Z", id);
	must(sweep_forget(w->repo, id, &e));
	must(sweep_run(w->repo, 0, &swept, &e));
	assert_int_equal(count(w, "sweeps/"), 1);
	r = hooked_open(&f.h, w, NULL);
	must(sweep_run(r, 0, &swept, &e));
	assert_int_equal(f.lists, 2);
	assert_int_equal(swept.deleted_packs, 0);
	repo_free(r);
	hooked_free(&f.h.store);
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_packs_of_a_killed_run_survive_an_expire_until_the_next_run),
		cmocka_unit_test(a_killed_run_of_this_host_does_not_hold_up_deletion),
		cmocka_unit_test(what_a_killed_run_left_is_garbage_after_two_days),
		cmocka_unit_test(a_run_that_dies_beside_another_one_is_taken_up_by_the_next),
		cmocka_unit_test(a_marker_tells_a_living_process_from_a_dead_one_with_its_number),
		cmocka_unit_test(an_expire_or_a_beginning_backup_that_is_stopped_leaves_no_marker),
		cmocka_unit_test(a_sweep_that_another_expire_finished_meanwhile_is_no_failure),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
