#include "unit/repo/hooked.h"

#include <unistd.h>

#include "base/rand.h"
#include "codec/curve.h"
#include "repo/inner.h"
#include "store/fault.h"

static struct holder
named(struct repo *r, const char *name)
{
	struct err e = ERR_INIT;
	struct holder *holders, found = { .objects = 0 };
	size_t count, foreign;

	must(keys_list(r, &holders, &count, &foreign, &e));
	assert_int_equal(foreign, 0);
	for (size_t i = 0; i < count; i++)
		if (strcmp(holders[i].name, name) == 0)
			found = holders[i];
	free(holders);
	return found;
}

static char *
write_secret(struct world *w, const char *name, const char *text)
{
	struct err e = ERR_INIT;
	char *path = mem_printf("%s/%s", w->dir, name);

	must(file_write_new(path, text, strlen(text), 0600, &e));
	return path;
}

/* Takes a backup of new data with one key and reads it with another. */
static void
sealed_by_is_read_by(struct world *w, const char *writer, const char *reader, unsigned seed, char id[33])
{
	struct err e = ERR_INIT;
	struct repo *from = world_open(w, writer, false, &e), *to;
	uint8_t *data = noise(100000, seed);
	struct buf back = BUF_INIT;

	assert_non_null(from);
	backup_of(from, data, 100000, "2026-11-24T02:15:00Z", id);
	repo_free(from);
	to = world_open(w, reader, false, &e);
	assert_non_null(to);
	must(read_back(to, id, 0, &back, &e));
	assert_memory_equal(back.data, data, 100000);
	repo_free(to);
	buf_free(&back);
	free(data);
}

static void
is_read_by(struct world *w, const char *reader, const char *id)
{
	struct err e = ERR_INIT;
	struct repo *r = world_open(w, reader, false, &e);
	struct buf back = BUF_INIT;

	assert_non_null(r);
	must(read_back(r, id, 0, &back, &e));
	repo_free(r);
	buf_free(&back);
}

static void
a_passphrase_opens_and_another_does_not(void **state)
{
	struct world *w = world_new();
	struct err e = ERR_INIT;
	char *right = write_secret(w, "right", "correct horse battery staple\n"), *wrong = write_secret(w, "wrong", "correct horse battery stapl\n");
	struct repo_options o = { .passphrase_file = right };
	struct repo *r;
	struct buf back = BUF_INIT;
	char id[33], holder[33];

	(void)state;
	backup_of(w->repo, (const uint8_t *)"twelve bytes", 12, "2026-11-24T02:15:00Z", id);
	must(keys_add(w->repo, "offline", KEY_RECOVERY, NULL, "correct horse battery staple", holder, &e));
	r = repo_open(w->store, &o, &e);
	if (r == NULL)
		fail_msg("%s", e.msg);
	assert_string_equal(repo_holder_name(r), "offline");
	must(repo_can_sign(r, &e));
	must(read_back(r, id, 0, &back, &e));
	assert_string_equal((char *)back.data, "twelve bytes");
	repo_free(r);
	o.passphrase_file = wrong;
	assert_null(repo_open(w->store, &o, &e));
	assert_int_equal(e.kind, ERR_KEY);
	buf_free(&back);
	free(right);
	free(wrong);
	world_free(w);
}

static void
an_identity_from_another_machine_is_let_in_by_its_public_key(void **state)
{
	struct world *w = world_new();
	struct err e = ERR_INIT;
	struct identity *i = identity_new("verifier", KEY_RECOVERY);
	char public_key[KEY_PUBLIC_TEXT], *path = mem_printf("%s/verifier.key", w->dir), holder[33], id[33];
	struct repo *r;
	struct buf back = BUF_INIT;

	(void)state;
	must(identity_write(i, path, &e));
	identity_public(i, public_key);
	identity_free(i);
	assert_null(world_open(w, path, false, &e));
	assert_int_equal(e.kind, ERR_KEY);
	err_clear(&e);
	must(keys_add(w->repo, "verifier", KEY_RECOVERY, public_key, NULL, holder, &e));
	assert_int_equal(keys_add(w->repo, "again", KEY_RECOVERY, public_key, NULL, holder, &e), -1);
	assert_int_equal(e.kind, ERR_EXISTS);
	err_clear(&e);
	backup_of(w->repo, (const uint8_t *)"twelve bytes", 12, "2026-11-24T02:15:00Z", id);
	r = world_open(w, path, false, &e);
	assert_non_null(r);
	assert_false(repo_pin_known(r));
	must(read_back(r, id, 0, &back, &e));
	repo_free(r);
	buf_free(&back);
	free(path);
	world_free(w);
}

/* A key in capitals opens like any other, or it counts as a way in that is none. */
static void
a_public_key_may_be_typed_in_capitals(void **state)
{
	struct world *w = world_new();
	struct err e = ERR_INIT;
	struct identity *i = identity_new("offline", KEY_RECOVERY);
	char public_key[KEY_PUBLIC_TEXT], *path = mem_printf("%s/offline.key", w->dir), holder[33], id[33];

	(void)state;
	must(identity_write(i, path, &e));
	identity_public(i, public_key);
	identity_free(i);
	for (char *p = public_key; *p != '\0'; p++)
		*p = (char)(*p >= 'a' ? *p - 'a' + 'A' : *p);
	must(keys_add(w->repo, "offline", KEY_RECOVERY, public_key, NULL, holder, &e));
	assert_int_equal(keys_add(w->repo, "again", KEY_RECOVERY, public_key, NULL, holder, &e), -1);
	assert_int_equal(e.kind, ERR_EXISTS);
	sealed_by_is_read_by(w, path, path, 1, id);
	/* All of it is looked at, the half that proves reports too. */
	err_clear(&e);
	public_key[100] = 'x';
	assert_int_equal(keys_add(w->repo, "typo", KEY_RECOVERY, public_key, NULL, holder, &e), -1);
	free(path);
	world_free(w);
}

/* Its report would be there and never be believed. */
static void
who_was_let_in_with_half_a_key_is_told_that_it_cannot_sign(void **state)
{
	struct world *w = world_new();
	struct err e = ERR_INIT;
	json_t *drill = json_pack("{s:s, s:s}", "verdict", "proven", "finished", "2026-11-24T03:00:00Z");
	struct identity *i = identity_new("verifier", KEY_RECOVERY);
	char public_key[KEY_PUBLIC_TEXT], *path = mem_printf("%s/verifier.key", w->dir), holder[33], id[33];
	struct store_object o;
	struct repo *r;

	(void)state;
	must(identity_write(i, path, &e));
	identity_public(i, public_key);
	for (int half = 1; half >= 0; half--) {
		char *name, *given = mem_printf("%.*s", half ? 64 : 128, public_key);

		must(keys_add(w->repo, "verifier", KEY_RECOVERY, given, NULL, holder, &e));
		free(given);
		r = world_open(w, path, false, &e);
		assert_non_null(r);
		assert_int_equal(repo_can_sign(r, &e), half ? -1 : 0);
		err_clear(&e);
		memset(id, '0', sizeof(id) - 1);
		id[sizeof(id) - 1] = '\0';
		assert_int_equal(repo_put_report(r, drill, id, &e), half ? -1 : 0);
		name = mem_printf("reports/%s", id);
		assert_int_equal(store_stat(w->store, name, &o, &(struct err)ERR_INIT), half ? -1 : 0);
		free(name);
		if (half) {
			assert_int_equal(e.kind, ERR_KEY);
			assert_non_null(strstr(e.hint, "128 digits"));
		}
		err_clear(&e);
		repo_free(r);
		must(keys_remove(w->repo, "verifier", false, &e));
	}
	identity_free(i);
	json_decref(drill);
	free(path);
	world_free(w);
}

/* An agent reads nothing and proves nothing; who stole its key may say otherwise. */
static void
a_report_that_an_agent_signed_counts_for_nothing(void **state)
{
	struct world *w = world_new();
	struct err e = ERR_INIT;
	json_t *drill = json_pack("{s:s, s:s}", "verdict", "proven", "finished", "2026-11-24T03:00:00Z"), *damaged = json_array();
	struct repo *agent = world_open(w, w->agent_key, false, &e);
	struct repo_report *reports;
	size_t count;
	char id[33];

	(void)state;
	assert_int_equal(repo_put_report(agent, drill, id, &e), -1);
	assert_int_equal(e.kind, ERR_KEY);
	err_clear(&e);
	agent->self->role = KEY_RECOVERY;       /* as a program of the thief's own would have it */
	must(repo_put_report(agent, drill, id, &e));
	must(repo_reports(w->repo, &reports, &count, damaged, &e));
	assert_int_equal(count, 1);
	assert_false(reports[0].valid);
	repo_reports_free(reports, count);
	must(repo_put_report(w->repo, drill, id, &e));
	must(repo_reports(w->repo, &reports, &count, damaged, &e));
	assert_int_equal(count, 2);
	assert_int_equal(reports[0].valid + reports[1].valid, 1);
	repo_reports_free(reports, count);
	json_decref(damaged);
	json_decref(drill);
	repo_free(agent);
	world_free(w);
}

/* R29. */
static void
a_holder_whose_object_is_not_what_was_written_is_not_let_in(void **state)
{
	struct world *w = world_new();
	struct err e = ERR_INIT;
	struct identity *i = identity_new("verifier", KEY_RECOVERY);
	char public_key[KEY_PUBLIC_TEXT], holder[33];
	struct store_config config = { .kind = STORE_FOLDER, .path = w->objects };
	struct store_faults faults = { .die_at = 0 };
	struct store *s = store_fault_new(store_open(&config, false, &e), &faults);
	struct repo_options o = { .key_file = w->key, .workers = 2 };
	struct repo *r = repo_open(s, &o, &e);

	(void)state;
	assert_non_null(r);
	identity_public(i, public_key);
	identity_free(i);
	/* Behind the two objects that are there. */
	faults.get_at = faults.calls[STORE_GET] + 3;
	faults.flip = 100;
	assert_int_equal(keys_add(r, "verifier", KEY_RECOVERY, public_key, NULL, holder, &e), -1);
	assert_int_equal(e.kind, ERR_CORRUPT);
	assert_non_null(strstr(e.msg, "read back"));
	repo_free(r);
	store_free(s);
	world_free(w);
}

static void
an_agent_lets_nobody_in_and_rotates_nothing(void **state)
{
	struct world *w = world_new();
	struct err e = ERR_INIT;
	struct repo *agent = world_open(w, w->agent_key, false, &e);
	struct identity *i = identity_new("intruder", KEY_RECOVERY);
	char public_key[KEY_PUBLIC_TEXT], holder[33];
	uint32_t epoch;

	(void)state;
	identity_public(i, public_key);
	assert_int_equal(keys_add(agent, "intruder", KEY_RECOVERY, public_key, NULL, holder, &e), -1);
	assert_int_equal(e.kind, ERR_KEY);
	err_clear(&e);
	assert_int_equal(keys_rotate(agent, &epoch, &e), -1);
	assert_int_equal(e.kind, ERR_KEY);
	err_clear(&e);
	assert_int_equal(keys_add(agent, "second-agent", KEY_AGENT, public_key, NULL, holder, &e), -1);
	assert_int_equal(e.kind, ERR_KEY);
	identity_free(i);
	repo_free(agent);
	world_free(w);
}

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

static void
a_removed_holder_is_out_and_the_last_reader_stays(void **state)
{
	struct world *w = world_new();
	struct err e = ERR_INIT;

	(void)state;
	must(keys_remove(w->repo, "agent", false, &e));
	assert_null(world_open(w, w->agent_key, false, &e));
	assert_int_equal(e.kind, ERR_KEY);
	err_clear(&e);
	assert_int_equal(keys_remove(w->repo, "recovery", true, &e), -1);
	assert_int_equal(e.kind, ERR_REFUSED);
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

/* A second key that reads; its path is owned by the caller. */
static char *
let_in_verifier(struct world *w)
{
	struct err e = ERR_INIT;
	struct identity *i = identity_new("verifier", KEY_RECOVERY);
	char public_key[KEY_PUBLIC_TEXT], *path = mem_printf("%s/verifier.key", w->dir), holder[33];

	must(identity_write(i, path, &e));
	identity_public(i, public_key);
	identity_free(i);
	must(keys_add(w->repo, "verifier", KEY_RECOVERY, public_key, NULL, holder, &e));
	return path;
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

/* What an agent's key and the bucket are enough for: an object with the right catalog key, signed with what an agent has or makes. */
static void
plant(struct world *w, const struct secrets *s, const char *name, enum key_role role, const char *public_key, char object[38])
{
	struct err e = ERR_INIT;
	struct holder *holders;
	size_t count, foreign;
	char holder[RAND_ID_TEXT];
	json_t *all;

	rand_id(holder);
	must(holder_put(w->store, w->repo->uuid, s, holder, name, role, public_key, NULL, &e));
	must(keys_list(w->repo, &holders, &count, &foreign, &e));
	assert_int_equal(foreign, 1);
	assert_int_equal(count, 2);
	free(holders);
	must(keys_foreign(w->repo, &all, &e));
	assert_int_equal(json_array_size(all), 1);
	assert_string_equal(json_opt_str(json_array_get(all, 0), "name", ""), name);
	assert_string_equal(json_opt_str(json_array_get(all, 0), "role", ""), key_role_name(role));
	snprintf(object, 38, "%s", json_opt_str(json_array_get(all, 0), "object", ""));
	json_decref(all);
}

static int
any_name(void *ctx, const struct store_object *o, struct err *e)
{
	(void)e;
	snprintf(ctx, 38, "%s", o->name);
	return 0;
}

static void
a_reader_that_an_agent_plants_gets_no_key_and_counts_for_nothing(void **state)
{
	struct world *w = world_new();
	struct err e = ERR_INIT;
	struct repo *agent = world_open(w, w->agent_key, false, &e);
	struct identity *thief = identity_new("auditor", KEY_RECOVERY);
	char public_key[KEY_PUBLIC_TEXT], *path = mem_printf("%s/thief.key", w->dir), object[38], own[38];
	struct store_object o;
	uint32_t epoch;

	(void)state;
	must(identity_write(thief, path, &e));
	identity_public(thief, public_key);
	must(store_list(w->store, "keys/", any_name, own, &e));
	plant(w, &agent->secrets, "auditor", KEY_RECOVERY, public_key, object);
	/* And who reads is not taken away by an agent, to leave the planted one as the only one. */
	assert_int_equal(keys_remove(agent, "recovery", true, &e), -1);
	assert_int_equal(e.kind, ERR_KEY);
	err_clear(&e);
	must(keys_rotate(w->repo, &epoch, &e));
	assert_null(world_open(w, path, false, &e));
	assert_int_equal(e.kind, ERR_CORRUPT);
	err_clear(&e);
	assert_int_equal(keys_remove(w->repo, "auditor", true, &e), -1);
	assert_int_equal(e.kind, ERR_NOT_FOUND);
	err_clear(&e);
	must(keys_remove(w->repo, object, false, &e));
	assert_int_equal(store_stat(w->store, object, &o, &e), -1);
	assert_int_equal(e.kind, ERR_NOT_FOUND);
	err_clear(&e);
	/* A holder's own object is not taken for a foreign one. */
	assert_int_equal(keys_remove(w->repo, own, true, &e), -1);
	assert_int_equal(e.kind, ERR_NOT_FOUND);
	identity_free(thief);
	repo_free(agent);
	free(path);
	world_free(w);
}

/* The other way round: secrets for us, all as ours but for a newer vault key that the thief can open, and an authority of his own. */
static void
a_vault_key_that_an_agent_plants_is_not_sealed_to(void **state)
{
	static const char *const victims[] = { "recovery", "agent" };

	(void)state;
	for (size_t i = 0; i < 2; i++)
		for (int own_authority = 0; own_authority < 2; own_authority++) {
			struct world *w = world_new();
			struct err e = ERR_INIT;
			struct repo *agent = world_open(w, w->agent_key, false, &e), *victim;
			struct holder h = named(w->repo, victims[i]);
			char object[38];

			secrets_add(&agent->secrets, 99);
			if (own_authority) {
				rand_bytes(agent->secrets.authority, 32);
				curve_ed25519_public(agent->secrets.authority_public, agent->secrets.authority);
			}
			plant(w, &agent->secrets, victims[i], h.role, h.public_key, object);
			victim = world_open(w, i == 0 ? w->key : w->agent_key, false, &e);
			if (victim == NULL)
				fail_msg("%s", e.msg);
			assert_int_equal(victim->secrets.vault_count, 1);
			assert_int_equal(victim->secrets.vaults[0].epoch, 1);
			assert_int_equal(victim->secrets.vaults[0].readable, i == 0);
			repo_free(victim);
			repo_free(agent);
			world_free(w);
		}
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

/* Somebody with the bucket makes a repository of his own, with a vault that he can read, and lets our public key in. */
static void
a_repository_put_in_the_place_of_ours_is_refused(void **state)
{
	struct world *w = world_new(), *thief = world_new();
	struct err e = ERR_INIT;
	struct identity *own = identity_read(w->agent_key, &e);
	struct store_config config = { .kind = STORE_FOLDER, .path = w->objects };
	char public_key[KEY_PUBLIC_TEXT], holder[33], *format = mem_printf("%s/format", w->objects), *command;

	(void)state;
	identity_public(own, public_key);
	identity_free(own);
	must(keys_add(thief->repo, "victim", KEY_AGENT, public_key, NULL, holder, &e));
	command = mem_printf("rm -rf %s && cp -r %s %s", w->objects, thief->objects, w->objects);
	assert_int_equal(system(command), 0);
	free(command);
	store_free(w->store);
	w->store = store_open(&config, false, &e);
	assert_null(world_open(w, w->agent_key, false, &e));
	assert_int_equal(e.kind, ERR_KEY);
	assert_non_null(strstr(e.msg, "repository"));
	free(format);
	world_free(thief);
	world_free(w);
}

static void
key_files_are_private_and_never_overwritten(void **state)
{
	struct world *w = world_new();
	struct err e = ERR_INIT;
	struct identity *i = identity_new("x", KEY_AGENT);

	(void)state;
	assert_int_equal(identity_write(i, w->key, &e), -1);
	assert_int_equal(e.kind, ERR_EXISTS);
	identity_free(i);
	assert_int_equal(chmod(w->key, 0644), 0);
	assert_null(identity_read(w->key, &e));
	assert_int_equal(e.kind, ERR_DENIED);
	world_free(w);
}

static void
init_refuses_a_place_that_is_taken(void **state)
{
	struct world *w = world_new();
	struct err e = ERR_INIT;
	struct identity *i = identity_new("x", KEY_RECOVERY);
	char uuid[37], *format = mem_printf("%s/format", w->objects);

	(void)state;
	assert_int_equal(repo_create(w->store, i, NULL, NULL, NULL, NULL, uuid, &e), -1);
	assert_int_equal(e.kind, ERR_EXISTS);
	/* Nor one that is half made: its keys may be somebody's. */
	assert_int_equal(unlink(format), 0);
	assert_int_equal(repo_create(w->store, i, NULL, NULL, NULL, NULL, uuid, &e), -1);
	assert_int_equal(e.kind, ERR_EXISTS);
	identity_free(i);
	free(format);
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_passphrase_opens_and_another_does_not),
		cmocka_unit_test(an_identity_from_another_machine_is_let_in_by_its_public_key),
		cmocka_unit_test(an_agent_lets_nobody_in_and_rotates_nothing),
		cmocka_unit_test(after_a_rotation_old_and_new_backups_are_read_and_old_keys_go_later),
		cmocka_unit_test(of_two_rotations_at_once_nothing_is_sealed_to_a_key_that_is_lost),
		cmocka_unit_test(an_agent_gets_a_key_last),
		cmocka_unit_test(a_key_that_one_object_alone_has_outlives_every_tidying),
		cmocka_unit_test(a_reader_that_an_agent_plants_gets_no_key_and_counts_for_nothing),
		cmocka_unit_test(a_vault_key_that_an_agent_plants_is_not_sealed_to),
		cmocka_unit_test(an_agent_does_not_go_back_to_an_older_key),
		cmocka_unit_test(a_public_key_may_be_typed_in_capitals),
		cmocka_unit_test(who_was_let_in_with_half_a_key_is_told_that_it_cannot_sign),
		cmocka_unit_test(a_report_that_an_agent_signed_counts_for_nothing),
		cmocka_unit_test(a_holder_whose_object_is_not_what_was_written_is_not_let_in),
		cmocka_unit_test(a_removed_holder_is_out_and_the_last_reader_stays),
		cmocka_unit_test(a_repository_put_in_the_place_of_ours_is_refused),
		cmocka_unit_test(key_files_are_private_and_never_overwritten),
		cmocka_unit_test(init_refuses_a_place_that_is_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
