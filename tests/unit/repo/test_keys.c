#include "unit/repo/hooked.h"
#include "unit/repo/keyring.h"

#include <unistd.h>

#include "base/rand.h"
#include "codec/curve.h"
#include "repo/inner.h"
#include "store/fault.h"

static char *
write_secret(struct world *w, const char *name, const char *text)
{
	struct err e = ERR_INIT;
	char *path = mem_printf("%s/%s", w->dir, name);

	must(file_write_new(path, text, strlen(text), 0600, &e));
	return path;
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
	/* Behind the two objects that are there, read twice: what our own key opens now, and who is there. */
	faults.get_at = faults.calls[STORE_GET] + 5;
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
	must(holder_put(w->store, w->repo->uuid, s, holder, name, role, public_key, NULL, w->repo->key_objects, &e));
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

/* A place of its own, with nothing in it. */
static struct store *
empty_place(const struct world *w, struct store_faults *faults)
{
	struct err e = ERR_INIT;
	char *path = mem_printf("%s/second", w->dir);
	struct store_config config = { .kind = STORE_FOLDER, .path = path };
	struct store *s = store_open(&config, true, &e);

	assert_non_null(s);
	free(path);
	return faults != NULL ? store_fault_new(s, faults) : s;
}

static int
count_one(void *ctx, const struct store_object *o, struct err *e)
{
	(void)o;
	(void)e;
	++*(unsigned *)ctx;
	return 0;
}

static unsigned
objects_in(struct store *s)
{
	struct err e = ERR_INIT;
	unsigned n = 0;

	must(store_list(s, "", count_one, &n, &e));
	return n;
}

/* Any of its puts fails, done or not: what can be is taken away, and the next init goes through; where `format` may be there, its keys stay. */
static void
an_init_that_fails_leaves_nothing_in_the_way_of_the_next(void **state)
{
	struct world *w = world_new();
	struct identity *first = identity_new("first", KEY_RECOVERY), *agent = identity_new("agent", KEY_AGENT);

	(void)state;
	for (unsigned n = 1; n <= 3; n++)
		for (int done = 0; done < 2; done++) {
			struct err e = ERR_INIT;
			struct store_faults faults = { .die_at = 0 };
			struct store *s = empty_place(w, &faults);
			char uuid[37], *path = mem_printf("%s/second", w->dir);
			int rc;

			faults.verb[STORE_PUT].fail_at = n;
			faults.verb[STORE_PUT].kind = ERR_STORE;
			faults.verb[STORE_PUT].after = done;
			assert_int_equal(repo_create(s, first, agent, NULL, NULL, NULL, uuid, &e), -1);
			assert_int_equal(e.kind, ERR_STORE);
			err_clear(&e);
			assert_int_equal(objects_in(s), n < 3 ? 0 : 2 + done);
			rc = repo_create(s, first, agent, NULL, NULL, NULL, uuid, &e);
			assert_int_equal(rc, n < 3 ? 0 : -1);
			err_clear(&e);
			store_free(s);
			must(file_remove_tree(path, &e));
			free(path);
		}
	identity_free(first);
	identity_free(agent);
	world_free(w);
}

struct second_init {
	struct store *inner;
	struct identity *identity;
	bool done;
};

static void
init_meanwhile(void *ctx, const char *verb, const char *name)
{
	struct second_init *second = ctx;
	struct err e = ERR_INIT;
	char uuid[37];

	(void)name;
	if (second->done || strcmp(verb, "put") != 0)
		return;
	second->done = true;
	must(repo_create(second->inner, second->identity, NULL, NULL, NULL, NULL, uuid, &e));
}

static int
keep_fails(void *ctx, struct err *e)
{
	(void)ctx;
	return err_set(e, ERR_SPACE, "no room for a key file");
}

/* Both found the place empty; one gets it, with its keys. */
static void
of_two_inits_at_once_the_one_that_fails_takes_nothing_of_the_other(void **state)
{
	(void)state;
	for (int kept = 0; kept < 2; kept++) {
		struct world *w = world_new();
		struct err e = ERR_INIT;
		struct identity *ours = identity_new("ours", KEY_RECOVERY), *theirs = identity_new("theirs", KEY_RECOVERY);
		struct store *s = empty_place(w, NULL);
		struct second_init second = { .inner = s, .identity = theirs };
		struct hooked h;
		struct repo *r;
		char uuid[37], *path = mem_printf("%s/theirs.key", w->dir);

		hooked_init(&h, w);
		h.inner = s;
		h.before = init_meanwhile;
		h.ctx = &second;
		assert_int_equal(repo_create(&h.store, ours, NULL, NULL, kept ? NULL : keep_fails, NULL, uuid, &e), -1);
		assert_int_equal(e.kind, kept ? ERR_EXISTS : ERR_SPACE);
		err_clear(&e);
		assert_true(second.done);
		assert_int_equal(objects_in(s), 2);
		must(identity_write(theirs, path, &e));
		r = repo_open(s, &(struct repo_options){ .key_file = path }, &e);
		if (r == NULL)
			fail_msg("%s", e.msg);
		repo_free(r);
		store_free(s);
		hooked_free(&h.store);
		identity_free(ours);
		identity_free(theirs);
		free(path);
		world_free(w);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_passphrase_opens_and_another_does_not),
		cmocka_unit_test(an_identity_from_another_machine_is_let_in_by_its_public_key),
		cmocka_unit_test(an_agent_lets_nobody_in_and_rotates_nothing),
		cmocka_unit_test(a_reader_that_an_agent_plants_gets_no_key_and_counts_for_nothing),
		cmocka_unit_test(a_vault_key_that_an_agent_plants_is_not_sealed_to),
		cmocka_unit_test(a_public_key_may_be_typed_in_capitals),
		cmocka_unit_test(who_was_let_in_with_half_a_key_is_told_that_it_cannot_sign),
		cmocka_unit_test(a_report_that_an_agent_signed_counts_for_nothing),
		cmocka_unit_test(a_holder_whose_object_is_not_what_was_written_is_not_let_in),
		cmocka_unit_test(a_removed_holder_is_out_and_the_last_reader_stays),
		cmocka_unit_test(a_repository_put_in_the_place_of_ours_is_refused),
		cmocka_unit_test(key_files_are_private_and_never_overwritten),
		cmocka_unit_test(init_refuses_a_place_that_is_taken),
		cmocka_unit_test(an_init_that_fails_leaves_nothing_in_the_way_of_the_next),
		cmocka_unit_test(of_two_inits_at_once_the_one_that_fails_takes_nothing_of_the_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
