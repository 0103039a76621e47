#include "unit/repo/hooked.h"
#include "unit/repo/keyring.h"

#include "repo/inner.h"
#include "store/fault.h"

static void
after_a_rotation_old_and_new_backups_are_read_and_old_keys_go_later(void **state)
{
	struct world *w = world_new();
	struct err e = ERR_INIT;
	struct repo *agent;
	struct buf back = BUF_INIT;
	char before[33], after[33];
	unsigned removed;
	uint32_t epoch;

	(void)state;
	backup_of(w->repo, (const uint8_t *)"old", 3, "2026-11-24T02:15:00Z", before);
	must(keys_rotate(w->repo, &epoch, &e));
	assert_int_equal(epoch, 2);
	assert_int_equal(named(w->repo, "recovery").epoch, 2);
	assert_int_equal(named(w->repo, "agent").epoch, 2);
	assert_int_equal(named(w->repo, "agent").objects, 2);   /* R29: nothing is deleted in the same run */
	agent = world_open(w, w->agent_key, false, &e);
	assert_non_null(agent);
	backup_of(agent, (const uint8_t *)"new", 3, "2026-11-25T02:15:00Z", after);
	repo_free(agent);
	repo_free(w->repo);
	w->repo = world_open(w, w->key, true, &e);
	must(read_back(w->repo, before, 0, &back, &e));
	must(read_back(w->repo, after, 0, &back, &e));
	assert_string_equal((char *)back.data, "oldnew");
	must(keys_tidy(w->repo, &removed, &e));
	assert_int_equal(removed, 2);
	assert_int_equal(named(w->repo, "agent").objects, 1);
	repo_free(w->repo);
	w->repo = world_open(w, w->key, true, &e);
	buf_clear(&back);
	must(read_back(w->repo, before, 0, &back, &e));
	buf_free(&back);
	world_free(w);
}

/* Another rotation runs from beginning to end before our n-th put. */
struct meddler {
	struct repo *other;
	unsigned puts, at;
};

static void
meddle(void *ctx, const char *verb, const char *name)
{
	struct meddler *m = ctx;
	struct err e = ERR_INIT;
	uint32_t epoch;

	(void)name;
	if (strcmp(verb, "put") == 0 && ++m->puts == m->at && keys_rotate(m->other, &epoch, &e) != 0)
		fail_msg("the other rotation: %s", e.msg);
}

/* Holders: two that read, an agent.  The other rotation comes before our own object, another's, the agent's, and not at all. */
static void
of_two_rotations_at_once_nothing_is_sealed_to_a_key_that_is_lost(void **state)
{
	(void)state;
	for (unsigned at = 1; at <= 4; at++) {
		struct world *w = world_new();
		struct err e = ERR_INIT;
		char *verifier = let_in_verifier(w), by_agent[33], by_us[33], by_verifier[33];
		struct meddler m = { .at = at };
		struct hooked h;
		struct repo *ours;
		unsigned removed, seed = 10 * at;
		uint32_t epoch;
		int rc;

		hooked_init(&h, w);
		h.before = meddle;
		h.ctx = &m;
		ours = hooked_open(&h, w, NULL);
		m.other = world_open(w, verifier, false, &e);
		assert_non_null(m.other);
		rc = keys_rotate(ours, &epoch, &e);
		assert_int_equal(rc, at <= 2 ? -1 : 0);
		if (rc != 0)
			assert_int_equal(e.kind, ERR_REFUSED);
		err_clear(&e);
		m.at = 0;
		sealed_by_is_read_by(w, w->agent_key, w->key, seed, by_agent);
		is_read_by(w, verifier, by_agent);
		sealed_by_is_read_by(w, verifier, verifier, seed + 1, by_verifier);
		/* It may have taken the key that was given up. */
		sealed_by_is_read_by(w, w->key, w->key, seed + 2, by_us);
		/* And whoever rotates next, with what was opened long ago: all is read, whatever is tidied. */
		for (int turn = 0; turn < 3; turn++) {
			must(keys_tidy(m.other, &removed, &e));
			must(keys_rotate(m.other, &epoch, &e));
			is_read_by(w, w->key, by_us);
			is_read_by(w, w->key, by_verifier);
			is_read_by(w, verifier, by_verifier);
			is_read_by(w, verifier, by_agent);
		}
		must(keys_rotate(ours, &epoch, &e));
		must(keys_tidy(ours, &removed, &e));
		is_read_by(w, verifier, by_us);
		/* With all keys in one object again, nothing is kept for nothing. */
		assert_int_equal(named(w->repo, "recovery").objects, 1);
		assert_int_equal(named(w->repo, "recovery").epoch, epoch);
		repo_free(m.other);
		repo_free(ours);
		hooked_free(&h.store);
		free(verifier);
		world_free(w);
	}
}

/* Rotates with the first key; the store fails from the n-th put on. */
static int
rotate_until_put(struct world *w, unsigned n)
{
	struct err e = ERR_INIT;
	struct store_config config = { .kind = STORE_FOLDER, .path = w->objects };
	struct store_faults faults = { .die_at = 0 };
	struct store *s = store_fault_new(store_open(&config, false, &e), &faults);
	struct repo_options o = { .key_file = w->key, .workers = 2 };
	struct repo *r = repo_open(s, &o, &e);
	uint32_t epoch;
	int rc;

	assert_non_null(r);
	faults.verb[STORE_PUT].fail_at = n;
	faults.verb[STORE_PUT].kind = ERR_STOPPED;
	faults.verb[STORE_PUT].times = 99;
	rc = keys_rotate(r, &epoch, &e);
	repo_free(r);
	store_free(s);
	return rc;
}

/* R29: the process that made a key dies before the agent has it, or after; what the agent seals from then on is read. */
static void
an_agent_gets_a_key_last(void **state)
{
	struct world *w = world_new();
	char *verifier = let_in_verifier(w), id[33];

	(void)state;
	for (unsigned n = 1; n <= 4; n++) {
		uint32_t agent;

		assert_int_equal(rotate_until_put(w, n), n == 4 ? 0 : -1);
		agent = named(w->repo, "agent").epoch;
		assert_true(agent <= named(w->repo, "recovery").epoch && agent <= named(w->repo, "verifier").epoch);
		assert_int_equal(agent == named(w->repo, "recovery").epoch, n == 1 || n == 4);
		sealed_by_is_read_by(w, w->agent_key, w->key, n, id);
		is_read_by(w, verifier, id);
	}
	free(verifier);
	world_free(w);
}

/* A rotation died when our own object had the key; we seal to it, and somebody else rotates who never saw it. */
static void
a_key_that_one_object_alone_has_outlives_every_tidying(void **state)
{
	struct world *w = world_new();
	struct err e = ERR_INIT;
	char *verifier = let_in_verifier(w), id[33];
	struct repo *other;
	unsigned removed;
	uint32_t epoch;

	(void)state;
	assert_int_equal(rotate_until_put(w, 2), -1);
	sealed_by_is_read_by(w, w->key, w->key, 1, id);
	other = world_open(w, verifier, false, &e);
	assert_non_null(other);
	must(keys_rotate(other, &epoch, &e));
	assert_int_equal(epoch, 3);
	must(keys_tidy(other, &removed, &e));
	is_read_by(w, w->key, id);
	/* Nor can we be removed before it is given to all. */
	assert_int_equal(keys_remove(other, "recovery", false, &e), -1);
	assert_int_equal(e.kind, ERR_REFUSED);
	assert_non_null(strstr(e.hint, "keys rotate"));
	err_clear(&e);
	/* Our next rotation gives it to all, and what is superseded then is superseded. */
	must(keys_rotate(w->repo, &epoch, &e));
	must(keys_tidy(w->repo, &removed, &e));
	is_read_by(w, verifier, id);
	assert_int_equal(named(w->repo, "recovery").objects, 1);
	must(keys_remove(other, "recovery", false, &e));
	repo_free(other);
	free(verifier);
	world_free(w);
}

struct named_epoch {
	struct store *store;
	const char *name;
	unsigned epoch;
};

static int
remove_that_epoch(void *ctx, const struct store_object *o, struct err *e)
{
	struct named_epoch *n = ctx;
	struct buf text = BUF_INIT;
	json_t *object;
	bool it;

	must_at(store_get(n->store, o->name, 0, 0, &text, e), e, o->name, __LINE__);
	object = json_parse(text.data, text.bytes, "key object", e);
	it = strcmp(json_opt_str(object, "name", ""), n->name) == 0 && json_opt_int(object, "epoch", 0) == n->epoch;
	json_decref(object);
	buf_free(&text);
	return it ? store_remove(n->store, o->name, e) : 0;
}

/* Who writes the bucket needs no key for this: the older object is genuine. */
static void
an_agent_does_not_go_back_to_an_older_key(void **state)
{
	struct world *w = world_new();
	struct err e = ERR_INIT;
	struct named_epoch newest = { w->store, "agent", 2 };
	struct repo *r;
	char *command;
	uint32_t epoch;

	(void)state;
	repo_free(world_open(w, w->agent_key, true, &e));
	must(keys_rotate(w->repo, &epoch, &e));
	/* It has not seen the new key yet in this cache, only we have: each holder remembers its own. */
	repo_free(w->repo);
	w->repo = world_open(w, w->key, true, &e);
	r = world_open(w, w->agent_key, true, &e);
	assert_non_null(r);
	assert_int_equal(r->secrets.vaults[r->secrets.vault_count - 1].epoch, 2);
	repo_free(r);
	must(store_list(w->store, "keys/", remove_that_epoch, &newest, &e));
	assert_null(world_open(w, w->agent_key, true, &e));
	assert_int_equal(e.kind, ERR_KEY);
	assert_non_null(strstr(e.msg, "gone back to vault epoch 1"));
	assert_non_null(strstr(e.hint, "keys rotate"));
	err_clear(&e);
	repo_free(w->repo);
	w->repo = world_open(w, w->key, true, &e);
	assert_non_null(w->repo);
	/* What the hint says mends it. */
	must(keys_rotate(w->repo, &epoch, &e));
	r = world_open(w, w->agent_key, true, &e);
	assert_non_null(r);
	repo_free(r);
	/* It is in the cache, which may be damaged at any time. */
	command = mem_printf("for f in %s/%s/newest-*; do echo scribble > $f || exit; done", w->cache, w->uuid);
	assert_int_equal(system(command), 0);
	free(command);
	r = world_open(w, w->agent_key, true, &e);
	assert_non_null(r);
	repo_free(r);
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(after_a_rotation_old_and_new_backups_are_read_and_old_keys_go_later),
		cmocka_unit_test(of_two_rotations_at_once_nothing_is_sealed_to_a_key_that_is_lost),
		cmocka_unit_test(an_agent_gets_a_key_last),
		cmocka_unit_test(a_key_that_one_object_alone_has_outlives_every_tidying),
		cmocka_unit_test(an_agent_does_not_go_back_to_an_older_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
