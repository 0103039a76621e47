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
	/* Nor in one beside it. */
	must(keys_tidy(w->repo, &removed, &e));
	assert_int_equal(removed, 0);
	must(keys_rotate(w->repo, &epoch, &e));
	must(keys_tidy(w->repo, &removed, &e));
	assert_int_equal(removed, 2);
	assert_int_equal(named(w->repo, "agent").objects, 2);
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
		must(keys_rotate(ours, &epoch, &e));
		must(keys_tidy(ours, &removed, &e));
		is_read_by(w, verifier, by_us);
		/* With all keys in one object again, nothing is kept for nothing. */
		assert_int_equal(named(w->repo, "recovery").objects, 2);
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

static void
nobody_is_behind(struct repo *r, const char *but)
{
	struct err e = ERR_INIT;
	char *who;

	must(keys_behind(r, &who, &e));
	if (but == NULL)
		assert_null(who);
	else if (who == NULL)
		fail_msg("nobody is behind, and %s should be", but);
	else
		assert_string_equal(who, but);
	free(who);
}

/* R29: the process that made a key dies before one or the other has it; what anybody seals from then on is read by all that read. */
static void
who_seals_gets_a_key_after_who_reads(void **state)
{
	static const char *const behind[] = {
		NULL, "\"recovery\", \"verifier\"", "\"recovery\"", NULL, NULL,
	};
	struct world *w = world_new();
	struct err e = ERR_INIT;
	char *verifier = let_in_verifier(w), id[33];

	(void)state;
	must(keys_add(w->repo, "offline", KEY_RECOVERY, NULL, "correct horse battery staple", id, &e));
	for (unsigned n = 1; n <= 5; n++) {
		uint32_t agent, ours;

		assert_int_equal(rotate_until_put(w, n), n == 5 ? 0 : -1);
		agent = named(w->repo, "agent").epoch;
		ours = named(w->repo, "recovery").epoch;
		assert_true(agent <= ours && ours <= named(w->repo, "verifier").epoch && named(w->repo, "verifier").epoch <= named(w->repo, "offline").epoch);
		assert_int_equal(agent == named(w->repo, "offline").epoch, n == 1 || n == 5);
		nobody_is_behind(w->repo, behind[n - 1]);
		sealed_by_is_read_by(w, w->agent_key, w->key, 2 * n, id);
		is_read_by(w, verifier, id);
		sealed_by_is_read_by(w, w->key, w->key, 2 * n + 1, id);
		is_read_by(w, verifier, id);
	}
	free(verifier);
	world_free(w);
}

/* A rotation died when another reader's object had the key; it seals to it, and somebody else rotates who never saw it. */
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
	sealed_by_is_read_by(w, verifier, verifier, 1, id);
	must(keys_rotate(w->repo, &epoch, &e));
	assert_int_equal(epoch, 3);
	must(keys_tidy(w->repo, &removed, &e));
	is_read_by(w, verifier, id);
	/* Nor can it be removed before that is given to all. */
	assert_int_equal(keys_remove(w->repo, "verifier", false, &e), -1);
	assert_int_equal(e.kind, ERR_REFUSED);
	assert_non_null(strstr(e.hint, "keys rotate"));
	err_clear(&e);
	/* Its next rotation gives it to all, and what is superseded then is superseded. */
	other = world_open(w, verifier, false, &e);
	assert_non_null(other);
	must(keys_rotate(other, &epoch, &e));
	must(keys_rotate(other, &epoch, &e));
	must(keys_tidy(other, &removed, &e));
	is_read_by(w, w->key, id);
	assert_int_equal(named(w->repo, "verifier").objects, 2);
	must(keys_remove(w->repo, "verifier", false, &e));
	repo_free(other);
	free(verifier);
	world_free(w);
}

/* What somebody else does right before our n-th call of a verb. */
struct meanwhile {
	struct world *w;
	struct repo *other;
	const char *verb;
	unsigned n, calls, puts;
	void (*what)(struct meanwhile *m);
	char *late;                     /* path of the key of "late", once it is let in */
	int rc;
	struct err e;
};

static void
at_that_call(void *ctx, const char *verb, const char *name)
{
	struct meanwhile *m = ctx;

	(void)name;
	m->puts += strcmp(verb, "put") == 0;
	if (m->verb != NULL && strcmp(verb, m->verb) == 0 && ++m->calls == m->n)
		m->what(m);
}

static struct repo *
open_with_meanwhile(struct hooked *h, struct world *w, struct meanwhile *m)
{
	hooked_init(h, w);
	h->before = at_that_call;
	h->ctx = m;
	return hooked_open(h, w, NULL);
}

/* Returns the path of its key. */
static char *
let_in_late(struct repo *by, struct world *w, int *rc, struct err *e)
{
	struct identity *i = identity_new("late", KEY_RECOVERY);
	char public_key[KEY_PUBLIC_TEXT], *path = mem_printf("%s/late.key", w->dir), holder[33];

	must_at(identity_write(i, path, e), e, "write", __LINE__);
	identity_public(i, public_key);
	identity_free(i);
	*rc = keys_add(by, "late", KEY_RECOVERY, public_key, NULL, holder, e);
	return path;
}

static void
add_late(struct meanwhile *m)
{
	m->late = let_in_late(m->other, m->w, &m->rc, &m->e);
}

static void
who_was_opened_before_a_rotation_lets_in_with_its_key(void **state)
{
	struct world *w = world_new();
	struct err e = ERR_INIT;
	struct repo *adder = world_open(w, w->key, false, &e);
	char *late, id[33];
	uint32_t epoch;
	int rc;

	(void)state;
	must(keys_rotate(w->repo, &epoch, &e));
	late = let_in_late(adder, w, &rc, &e);
	must(rc);
	assert_int_equal(named(w->repo, "late").epoch, 2);
	sealed_by_is_read_by(w, w->agent_key, w->key, 1, id);
	is_read_by(w, late, id);
	repo_free(adder);
	free(late);
	world_free(w);
}

/* Before the other reader gets the key, before we do, before the agent does. */
static void
a_rotation_sees_who_is_let_in_meanwhile(void **state)
{
	(void)state;
	for (unsigned n = 1; n <= 3; n++) {
		struct world *w = world_new();
		struct err e = ERR_INIT;
		char *verifier = let_in_verifier(w), id[33];
		struct meanwhile m = { .w = w, .other = world_open(w, w->key, false, &e), .verb = "put", .n = n, .what = add_late };
		struct hooked h;
		struct repo *ours = open_with_meanwhile(&h, w, &m);
		uint32_t epoch;
		int rc = keys_rotate(ours, &epoch, &e);

		assert_int_equal(m.rc, 0);
		assert_int_equal(rc, n < 3 ? -1 : 0);
		if (rc != 0) {
			assert_int_equal(e.kind, ERR_REFUSED);
			assert_non_null(strstr(e.msg, "\"late\""));
			assert_non_null(strstr(e.hint, "keys rotate"));
			assert_int_equal(named(w->repo, "agent").epoch, 1);
			/* Before we get it is early enough not to seal to it either. */
			assert_int_equal(named(w->repo, "recovery").epoch, n);
		}
		err_clear(&e);
		sealed_by_is_read_by(w, w->agent_key, w->key, 1, id);
		is_read_by(w, m.late, id);
		must(keys_rotate(ours, &epoch, &e));
		nobody_is_behind(w->repo, NULL);
		sealed_by_is_read_by(w, w->agent_key, m.late, 2, id);
		repo_free(m.other);
		repo_free(ours);
		hooked_free(&h.store);
		free(m.late);
		free(verifier);
		world_free(w);
	}
}

static void
rotate_it(struct meanwhile *m)
{
	uint32_t epoch;

	m->verb = NULL;
	m->rc = keys_rotate(m->other, &epoch, &m->e);
}

/* The other way round: the rotation begins and ends while we let somebody in, between what we read and what we write. */
static void
who_lets_in_sees_a_rotation_that_ended_meanwhile(void **state)
{
	struct world *w = world_new();
	struct err e = ERR_INIT;
	struct meanwhile m = { .w = w, .other = world_open(w, w->key, false, &e), .verb = "put", .n = 1, .what = rotate_it };
	struct hooked h;
	struct repo *ours = open_with_meanwhile(&h, w, &m);
	char *late, id[33];
	uint32_t epoch;
	int rc;

	(void)state;
	late = let_in_late(ours, w, &rc, &e);
	assert_int_equal(m.rc, 0);
	assert_int_equal(rc, -1);
	assert_int_equal(e.kind, ERR_REFUSED);
	assert_non_null(strstr(e.hint, "keys rotate"));
	err_clear(&e);
	nobody_is_behind(w->repo, "\"late\"");
	must(keys_rotate(ours, &epoch, &e));
	nobody_is_behind(w->repo, NULL);
	sealed_by_is_read_by(w, w->agent_key, late, 1, id);
	repo_free(m.other);
	repo_free(ours);
	hooked_free(&h.store);
	free(late);
	world_free(w);
}

struct gap {
	struct store *store;
	char name[64];                  /* the object that listings leave out */
};

static int
find_verifier(void *ctx, const struct store_object *o, struct err *e)
{
	struct gap *gap = ctx;
	struct buf text = BUF_INIT;

	must_at(store_get(gap->store, o->name, 0, 0, &text, e), e, o->name, __LINE__);
	if (strstr((char *)text.data, "\"name\":\"verifier\"") != NULL)
		snprintf(gap->name, sizeof(gap->name), "%s", o->name);
	buf_free(&text);
	return 0;
}

static int
not_in_the_gap(void *ctx, const char *prefix, const char *name)
{
	struct gap *gap = ctx;

	(void)prefix;
	return strcmp(name, gap->name) != 0;
}

/* R24. */
static void
who_is_left_out_of_a_listing_is_not_left_out_of_a_rotation(void **state)
{
	struct world *w = world_new();
	struct err e = ERR_INIT;
	char *verifier = let_in_verifier(w), id[33];
	struct gap gap = { .store = w->store };
	struct hooked h;
	struct repo *ours;
	uint32_t epoch;

	(void)state;
	must(store_list(w->store, "keys/", find_verifier, &gap, &e));
	hooked_init(&h, w);
	h.shown = not_in_the_gap;
	h.ctx = &gap;
	ours = hooked_open(&h, w, NULL);
	must(keys_rotate(ours, &epoch, &e));
	repo_free(ours);
	/* It was never shown: that is told as soon as it is. */
	nobody_is_behind(w->repo, "\"verifier\"");
	h.shown = NULL;
	ours = hooked_open(&h, w, NULL);
	h.shown = not_in_the_gap;
	must(keys_rotate(ours, &epoch, &e));
	nobody_is_behind(w->repo, NULL);
	sealed_by_is_read_by(w, w->agent_key, w->key, 1, id);
	is_read_by(w, verifier, id);
	repo_free(ours);
	hooked_free(&h.store);
	free(verifier);
	world_free(w);
}

static void
remove_verifier(struct meanwhile *m)
{
	m->rc = keys_remove(m->other, "verifier", true, &m->e);
}

/* Before it is looked whether he is there, before his new object is put, and before it is looked again. */
static void
a_removed_holder_does_not_come_back_by_a_rotation(void **state)
{
	static const struct meanwhile when[] = { { .verb = "stat", .n = 1 }, { .verb = "put", .n = 1 }, { .verb = "stat", .n = 2 } };

	(void)state;
	for (size_t i = 0; i < sizeof(when) / sizeof(when[0]); i++) {
		struct world *w = world_new();
		struct err e = ERR_INIT;
		char *verifier = let_in_verifier(w), id[33];
		struct meanwhile m = { .w = w, .other = world_open(w, w->key, false, &e), .n = when[i].n, .what = remove_verifier };
		struct hooked h;
		struct repo *ours = open_with_meanwhile(&h, w, &m);
		uint32_t epoch;

		m.verb = when[i].verb;
		must(keys_rotate(ours, &epoch, &e));
		assert_true(m.calls >= m.n);
		assert_int_equal(m.rc, 0);
		/* Who is known to be gone is not even given it for a moment, which we may not live to end. */
		assert_int_equal(m.puts, i == 0 ? 2 : 3);
		sealed_by_is_read_by(w, w->agent_key, w->key, 1, id);
		assert_null(world_open(w, verifier, false, &e));
		assert_int_equal(e.kind, ERR_KEY);
		repo_free(m.other);
		repo_free(ours);
		hooked_free(&h.store);
		free(verifier);
		world_free(w);
	}
}

static void
tidy_it(struct meanwhile *m)
{
	unsigned removed;

	m->rc = keys_tidy(m->other, &removed, &m->e);
}

/* Nobody's older object goes while a rotation is at work, or he would look removed. */
static void
a_tidying_beside_a_rotation_is_no_removal(void **state)
{
	bool through = false;

	(void)state;
	for (unsigned n = 1; !through; n++) {
		struct world *w = world_new();
		struct err e = ERR_INIT;
		char *verifier = let_in_verifier(w), id[33];
		struct meanwhile m = { .w = w, .other = world_open(w, w->key, false, &e), .n = n, .what = tidy_it };
		struct hooked h;
		struct repo *ours = open_with_meanwhile(&h, w, &m);
		uint32_t epoch;

		must(keys_rotate(w->repo, &epoch, &e));
		m.verb = "stat";
		must(keys_rotate(ours, &epoch, &e));
		assert_int_equal(m.rc, 0);
		through = m.calls < n;
		sealed_by_is_read_by(w, w->agent_key, w->key, 1, id);
		is_read_by(w, verifier, id);
		assert_int_equal(named(w->repo, "agent").epoch, 3);
		repo_free(m.other);
		repo_free(ours);
		hooked_free(&h.store);
		free(verifier);
		world_free(w);
	}
}

static void
remove_us(struct meanwhile *m)
{
	m->rc = keys_remove(m->other, "recovery", false, &m->e);
}

static void
two_that_remove_each_other_do_not_leave_nobody(void **state)
{
	struct world *w = world_new();
	struct err e = ERR_INIT;
	char *verifier = let_in_verifier(w), id[33];
	struct meanwhile m = { .w = w, .other = world_open(w, verifier, false, &e), .verb = "remove", .n = 1, .what = remove_us };
	struct hooked h;
	struct repo *ours = open_with_meanwhile(&h, w, &m);

	(void)state;
	backup_of(w->repo, (const uint8_t *)"twelve bytes", 12, "2026-11-24T02:15:00Z", id);
	assert_int_equal(keys_remove(ours, "verifier", false, &e), -1);
	assert_int_equal(m.rc, 0);
	assert_int_equal(e.kind, ERR_REFUSED);
	assert_non_null(strstr(e.msg, "put back"));
	is_read_by(w, w->key, id);
	repo_free(m.other);
	repo_free(ours);
	hooked_free(&h.store);
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
		cmocka_unit_test(who_seals_gets_a_key_after_who_reads),
		cmocka_unit_test(a_key_that_one_object_alone_has_outlives_every_tidying),
		cmocka_unit_test(who_was_opened_before_a_rotation_lets_in_with_its_key),
		cmocka_unit_test(a_rotation_sees_who_is_let_in_meanwhile),
		cmocka_unit_test(who_lets_in_sees_a_rotation_that_ended_meanwhile),
		cmocka_unit_test(who_is_left_out_of_a_listing_is_not_left_out_of_a_rotation),
		cmocka_unit_test(a_removed_holder_does_not_come_back_by_a_rotation),
		cmocka_unit_test(a_tidying_beside_a_rotation_is_no_removal),
		cmocka_unit_test(two_that_remove_each_other_do_not_leave_nobody),
		cmocka_unit_test(an_agent_does_not_go_back_to_an_older_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
