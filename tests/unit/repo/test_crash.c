#include "unit/repo/world.h"

#include "base/progress.h"
#include "repo/sweep.h"
#include "repo/verify.h"
#include "store/fault.h"

/*
 * The store dies at the n-th call, for n = 1, 2, 3, ... until the work gets through.  After each: nothing that is there is
 * wrong, the list tells the truth, and the next run succeeds.
 */
struct faulty {
	struct store_faults faults;
	struct store *store;
	struct repo *repo;              /* NULL: it died while opening */
};

static void
faulty_open(struct faulty *f, struct world *w, unsigned die_at, struct err *e)
{
	struct store_config config = { .kind = STORE_FOLDER, .path = w->objects };
	struct repo_options o = { .key_file = w->key, .workers = 2 };

	memset(f, 0, sizeof(*f));
	f->faults.die_at = die_at;
	f->store = store_fault_new(store_open(&config, false, e), &f->faults);
	f->repo = repo_open(f->store, &o, e);
}

static void
faulty_close(struct faulty *f)
{
	repo_free(f->repo);
	store_free(f->store);
}

static int
try_backup(struct repo *r, const uint8_t *data, size_t bytes, const char *time, char id[33], struct err *e)
{
	struct repo_run *run = repo_begin(r, "backup", e);
	struct sink *s;
	int rc;

	if (run == NULL)
		return -1;
	s = repo_write(run, "d/rest", "dump", "d");
	rc = sink_write(s, data, bytes, e);
	if (rc == 0)
		rc = sink_finish(s, e);
	sink_free(s);
	if (rc != 0) {
		repo_abandon(run);
		return -1;
	}
	return repo_commit(run, summary_of(time), json_object(), id, e);
}

static size_t
problems_in(struct world *w)
{
	struct err e = ERR_INIT;
	struct repo *r = world_open(w, w->key, false, &e);
	struct progress *progress = progress_new(true);
	json_t *result = json_object();
	size_t n;

	assert_non_null(r);
	must(verify_run(r, true, progress, result, &e));
	n = json_array_size(json_object_get(result, "problems"));
	json_decref(result);
	progress_free(progress);
	repo_free(r);
	return n;
}

static size_t
backups_in(struct world *w)
{
	struct err e = ERR_INIT;
	struct repo *r = world_open(w, w->key, false, &e);
	json_t *backups;
	size_t n;

	must(repo_list(r, &backups, &e));
	n = json_array_size(backups);
	json_decref(backups);
	repo_free(r);
	return n;
}

static void
a_backup_that_dies_at_any_call_leaves_no_lie(void **state)
{
	uint8_t *data = noise(1000000, 1);
	bool through = false;

	(void)state;
	for (unsigned n = 1; !through; n++) {
		struct world *w = world_new();
		struct err e = ERR_INIT;
		struct faulty f;
		char id[33];
		int rc;

		backup_of(w->repo, data, 900000, "2026-11-23T02:15:00Z", id);
		faulty_open(&f, w, n, &e);
		rc = f.repo == NULL ? -1 : try_backup(f.repo, data, 1000000, "2026-11-24T02:15:00Z", id, &e);
		through = f.faults.all_calls < n;
		faulty_close(&f);
		assert_int_equal(problems_in(w), 0);
		/* Never a success that is none.  (A backup that was put and could not be read back is denied, and is there.) */
		assert_true(rc == 0 ? backups_in(w) == 2 : backups_in(w) <= 2);
		/* And the next run gets through, whatever was left behind. */
		backup_of(w->repo, data, 1000000, "2026-11-25T02:15:00Z", id);
		assert_int_equal(problems_in(w), 0);
		world_free(w);
		assert_true(n < 200);
	}
	free(data);
}

static void
an_expiry_that_dies_at_any_call_loses_nothing_that_is_kept(void **state)
{
	uint8_t *kept = noise(500000, 1), *gone = noise(500000, 2);
	bool through = false;

	(void)state;
	for (unsigned n = 1; !through; n++) {
		struct world *w = world_new();
		struct sweep_result swept;
		struct err e = ERR_INIT;
		struct faulty f;
		struct buf back = BUF_INIT;
		char id_kept[33], id_gone[33];

		backup_of(w->repo, kept, 500000, "2026-11-24T02:15:00Z", id_kept);
		backup_of(w->repo, gone, 500000, "2026-11-25T02:15:00Z", id_gone);
		faulty_open(&f, w, n, &e);
		/* The second one deletes what the first condemned. */
		if (f.repo != NULL && sweep_forget(f.repo, id_gone, &e) == 0 && sweep_run(f.repo, 0, &swept, &e) == 0)
			through = sweep_run(f.repo, 0, &swept, &e) == 0 && f.faults.all_calls < n;
		faulty_close(&f);
		assert_int_equal(problems_in(w), 0);
		err_clear(&e);
		repo_free(w->repo);
		w->repo = world_open(w, w->key, true, &e);
		must(read_back(w->repo, id_kept, 0, &back, &e));
		assert_memory_equal(back.data, kept, 500000);
		buf_free(&back);
		world_free(w);
		assert_true(n < 200);
	}
	free(kept);
	free(gone);
}

/* R29: a rotation that dies anywhere locks nobody out, and nobody seals to a key that died with it: new data each time, or nothing new is sealed. */
static void
a_rotation_that_dies_at_any_call_locks_nobody_out(void **state)
{
	struct world *w = world_new();
	uint8_t *data = noise(100000, 0);
	char id[33];
	bool through = false;

	(void)state;
	backup_of(w->repo, data, 100000, "2026-11-24T02:15:00Z", id);
	for (unsigned n = 1; !through; n++) {
		struct err e = ERR_INIT;
		struct faulty f;
		struct repo *r, *agent;
		struct buf back = BUF_INIT;
		unsigned removed;
		uint32_t epoch;

		faulty_open(&f, w, n, &e);
		through = f.repo != NULL && keys_tidy(f.repo, &removed, &e) == 0 && keys_rotate(f.repo, &epoch, &e) == 0 && f.faults.all_calls < n;
		faulty_close(&f);
		err_clear(&e);
		r = world_open(w, w->key, false, &e);
		agent = world_open(w, w->agent_key, false, &e);
		if (r == NULL || agent == NULL)
			fail_msg("after call %u: %s", n, e.msg);
		must(read_back(r, id, 0, &back, &e));
		assert_memory_equal(back.data, data, 100000);
		free(data);
		data = noise(100000, n);
		backup_of(agent, data, 100000, "2026-11-24T02:15:00Z", id);
		repo_free(r);
		r = world_open(w, w->key, false, &e);
		buf_clear(&back);
		must(read_back(r, id, 0, &back, &e));
		assert_memory_equal(back.data, data, 100000);
		buf_free(&back);
		repo_free(agent);
		repo_free(r);
		assert_true(n < 200);
	}
	free(data);
	assert_int_equal(problems_in(w), 0);
	world_free(w);
}

/* A store that lies in one get: the bytes are refused wherever they are needed. */
static void
a_store_that_flips_a_bit_or_cuts_an_answer_is_caught(void **state)
{
	struct world *w = world_new();
	uint8_t *data = noise(2000000, 1);
	char id[33];

	(void)state;
	backup_of(w->repo, data, 2000000, "2026-11-24T02:15:00Z", id);
	for (int cut = 0; cut < 2; cut++)
		for (unsigned n = 1;; n++) {
			struct err e = ERR_INIT;
			struct faulty f;
			struct buf back = BUF_INIT;
			unsigned gets;
			int rc = -1;

			faulty_open(&f, w, 0, &e);
			repo_free(f.repo);
			memset(&f.faults, 0, sizeof(f.faults));
			f.faults.get_at = n;
			f.faults.flip = cut ? -1 : 100;
			f.faults.cut = cut ? 1 : 0;
			f.repo = repo_open(f.store, &(struct repo_options){ .key_file = w->key, .workers = 2 }, &e);
			if (f.repo != NULL)
				rc = read_back(f.repo, id, 0, &back, &e);
			gets = f.faults.calls[STORE_GET];
			/* The other holder's key object is read as well, and does not matter to us. */
			if (rc == 0) {
				assert_int_equal(back.bytes, 2000000);
				assert_memory_equal(back.data, data, 2000000);
			}
			buf_free(&back);
			faulty_close(&f);
			if (gets < n)
				break;
		}
	free(data);
	world_free(w);
}

/*
 * R1: a store that took the manifest, and gives other bytes back.  Each get of a commit lies once; whichever it is, there is a backup
 * where the commit succeeded, and none where it failed.
 */
static void
a_backup_whose_manifest_comes_back_changed_is_no_success_and_not_listed(void **state)
{
	uint8_t *data = noise(1000000, 1);

	(void)state;
	for (int cut = 0; cut < 2; cut++) {
		unsigned denied = 0, gets, before;

		for (unsigned n = 1;; n++) {
			struct world *w = world_new();
			struct err e = ERR_INIT;
			struct repo_run *run;
			struct faulty f;
			struct sink *s;
			char id[33];
			int rc;

			faulty_open(&f, w, 0, &e);
			run = repo_begin(f.repo, "backup", &e);
			assert_non_null(run);
			s = repo_write(run, "d/rest", "dump", "d");
			must(sink_write(s, data, 1000000, &e));
			must(sink_finish(s, &e));
			sink_free(s);
			before = f.faults.calls[STORE_GET];
			f.faults.get_at = before + n;
			f.faults.flip = cut ? -1 : 100;
			f.faults.cut = cut ? 1 : 0;
			rc = repo_commit(run, summary_of("2026-11-24T02:15:00Z"), json_object(), id, &e);
			gets = f.faults.calls[STORE_GET];
			faulty_close(&f);
			if (rc != 0 && e.kind == ERR_CORRUPT && strstr(e.msg, "read \"backups/") != NULL)
				denied++;
			assert_int_equal(backups_in(w), rc == 0 ? 1 : 0);
			assert_int_equal(problems_in(w), 0);
			world_free(w);
			if (gets < before + n)
				break;
		}
		assert_int_equal(denied, 1);
	}
	free(data);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_backup_that_dies_at_any_call_leaves_no_lie),
		cmocka_unit_test(a_backup_whose_manifest_comes_back_changed_is_no_success_and_not_listed),
		cmocka_unit_test(an_expiry_that_dies_at_any_call_loses_nothing_that_is_kept),
		cmocka_unit_test(a_rotation_that_dies_at_any_call_locks_nobody_out),
		cmocka_unit_test(a_store_that_flips_a_bit_or_cuts_an_answer_is_caught),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
