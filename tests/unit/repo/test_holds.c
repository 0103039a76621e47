/* R5: a hold that succeeded keeps the backup, whatever an expire does at the same moment. */
#include "unit/repo/hooked.h"

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "repo/catalog.h"
#include "repo/runs.h"
#include "repo/sweep.h"

/* Somebody who puts a hold beside a removal, at the moment of the call `at`. */
struct rival {
	struct hooked h;
	struct world *w;
	const char *at;
	char id[33];
	struct repo *repo;
	pthread_t thread;
	bool begun;
	int rc;
	struct err e;
};

static void *
hold_it(void *arg)
{
	struct rival *v = arg;

	v->rc = repo_hold(v->repo, v->id, "legal", &v->e);
	return NULL;
}

static int
count_one(void *ctx, const struct store_object *o, struct err *e)
{
	(void)o, (void)e;
	++*(size_t *)ctx;
	return 0;
}

static size_t
holds_in(struct world *w)
{
	struct err e = ERR_INIT;
	size_t n = 0;

	must(store_list(w->store, "holds/", count_one, &n, &e));
	return n;
}

/* Goes on when the hold is in the store, and its owner had the time to look about. */
static void
let_the_rival_hold(void *ctx, const char *verb, const char *name)
{
	struct rival *v = ctx;
	struct err e = ERR_INIT;

	if (v->begun || strncmp(v->at, verb, strlen(verb)) != 0 || strncmp(name, v->at + strlen(verb) + 1, strlen(v->at) - strlen(verb) - 1) != 0)
		return;
	v->begun = true;
	assert_int_equal(pthread_create(&v->thread, NULL, hold_it, v), 0);
	while (holds_in(v->w) == 0)
		must(clock_sleep_ms(5, &e));
	must(clock_sleep_ms(100, &e));
}

/* Removes the backup while a hold is put at the call `at`: 0 or -1 of each, and whether the backup is there afterwards. */
static bool
race(const char *at, int *removed, int *held)
{
	struct world *w = world_new();
	struct rival *v = mem_zero(1, sizeof(*v));
	struct err e = ERR_INIT;
	struct repo *r;
	struct buf back = BUF_INIT;
	bool there;

	hooked_init(&v->h, w);
	v->h.ctx = v, v->h.before = let_the_rival_hold;
	v->w = w, v->at = at;
	backup_of(w->repo, (const uint8_t *)"evidence", 8, "2026-11-24T02:15:00Z", v->id);
	v->repo = world_open(w, w->key, false, &e);
	if (v->repo == NULL)
		fail_msg("%s", e.msg);
	r = hooked_open(&v->h, w, NULL);
	*removed = sweep_forget(r, v->id, &e);
	if (*removed != 0)
		assert_int_equal(e.kind, ERR_LOCKED);
	assert_true(v->begun);
	assert_int_equal(pthread_join(v->thread, NULL), 0);
	*held = v->rc;
	if (v->rc != 0)
		assert_int_equal(v->e.kind, ERR_NOT_FOUND);
	repo_free(r);
	err_clear(&e);
	r = world_open(w, w->key, false, &e);
	there = read_back(r, v->id, 0, &back, &e) == 0;
	buf_free(&back);
	repo_free(r);
	repo_free(v->repo);
	hooked_free(&v->h.store);
	free(v);
	world_free(w);
	return there;
}

static void
a_hold_and_a_removal_at_once_never_both_succeed(void **state)
{
	int removed, held;

	(void)state;
	/* The hold comes when the holds were read already: it waits, and is told that it came too late. */
	assert_false(race("remove backups/", &removed, &held));
	assert_int_equal(removed, 0);
	assert_int_equal(held, -1);
	/* It comes before: the removal sees it. */
	assert_true(race("list holds/", &removed, &held));
	assert_int_equal(removed, -1);
	assert_int_equal(held, 0);
	assert_true(race("put runs/", &removed, &held));
	assert_int_equal(removed, -1);
	assert_int_equal(held, 0);
}

/* A marker as a pod leaves it that was killed: nobody here can ask after its process. */
static void
a_removal_that_died_elsewhere_stands_in_the_way_of_no_hold_after_an_hour(void **state)
{
	static const char *const markers[] = { "{\"command\":\"forget\",\"pid\":7,\"process_began\":1,\"process_world\":\"elsewhere\"}", "no JSON" };

	(void)state;
	for (size_t i = 0; i < sizeof(markers) / sizeof(markers[0]); i++) {
		struct world *w = world_new();
		const uint8_t run_id[ID_BYTES] = { 1 };
		struct buf section = BUF_INIT;
		struct err e = ERR_INIT;
		char id[33], *age;
		bool any;

		backup_of(w->repo, (const uint8_t *)"evidence", 8, "2026-11-24T02:15:00Z", id);
		buf_addstr(&section, markers[i]);
		must(catalog_put(w->repo, CATALOG_RUN, run_id, &section, 1, &e));
		must(runs_forgetting(w->repo, clock_wall_us(), &any, &e));
		assert_true(any);
		age = mem_printf("touch -d '2 hours ago' %s/runs/*", w->objects);
		assert_int_equal(system(age), 0);
		must(repo_hold(w->repo, id, "legal", &e));
		free(age);
		buf_free(&section);
		world_free(w);
	}
}

static void
a_removal_that_was_killed_on_this_host_stands_in_the_way_of_no_hold(void **state)
{
	struct world *w = world_new();
	const uint8_t run_id[RUN_ID_BYTES] = { 1 };
	struct err e = ERR_INIT;
	int64_t began;
	pid_t child;
	char id[33];

	(void)state;
	backup_of(w->repo, (const uint8_t *)"evidence", 8, "2026-11-24T02:15:00Z", id);
	child = fork();
	if (child == 0)
		_exit(runs_begin(w->repo, run_id, RUN_FORGETS, &e) != 0);
	assert_int_equal(waitpid(child, NULL, 0), child);
	must(runs_stands(w->repo, run_id, &e));
	began = clock_mono_ms();
	must(repo_hold(w->repo, id, "legal", &e));
	assert_true(clock_mono_ms() - began < 20000);
	assert_int_equal(sweep_forget(w->repo, id, &e), -1);
	assert_int_equal(e.kind, ERR_LOCKED);
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_hold_and_a_removal_at_once_never_both_succeed),
		cmocka_unit_test(a_removal_that_died_elsewhere_stands_in_the_way_of_no_hold_after_an_hour),
		cmocka_unit_test(a_removal_that_was_killed_on_this_host_stands_in_the_way_of_no_hold),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
