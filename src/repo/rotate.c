#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "repo/inner.h"

/* A new vault key for all holders, and what it supersedes: docs/repository-format.md, section 4. */

/* In which order holders get a new key.  Who seals to it as soon as he has it comes behind those that shall read what he seals. */
enum turn { PASSPHRASES, OTHER_READERS, OURSELVES, AGENTS };

struct rotation {
	struct repo *repo;
	const struct vault *vault;      /* the new one, in repo->secrets */
	json_t *holders;                /* the newest object of each, by turn */
	bool kept;                      /* our own object has it, read back and opened */
};

/* Whether the newest vault key in this object is the one that we made: the number alone may be another rotation's too. */
static bool
has_our_vault(const struct rotation *t, const json_t *object)
{
	char text[VAULT_NAME_TEXT];
	json_t *name;
	bool has;

	secrets_name(text, t->vault);
	name = json_str(text);
	has = secrets_named(json_object_get(object, "vaults"), name) && json_opt_int(object, "epoch", 0) == t->vault->epoch;
	json_decref(name);
	return has;
}

static enum turn
turn_of(const struct repo *r, const json_t *object)
{
	struct holder h = { .objects = 1 };

	holder_describe(r, object, &h);
	return h.self ? OURSELVES : h.role == KEY_AGENT ? AGENTS : h.passphrase ? PASSPHRASES : OTHER_READERS;
}

/* Once each, from its newest object. */
static json_t *
holders_in_order(const struct repo *r, const json_t *all)
{
	json_t *seen = json_object(), *holders = json_array(), *object;
	size_t i;

	for (enum turn turn = PASSPHRASES; turn <= AGENTS; turn++)
		json_array_foreach(all, i, object) {
			const char *id = json_opt_str(object, "holder", "");

			if (json_object_get(seen, id) != NULL || turn_of(r, object) != turn)
				continue;
			json_put_bool(seen, id, true);
			json_add(holders, json_incref(object));
		}
	json_decref(seen);
	return holders;
}

static int
own_key_has_it(const struct rotation *t, struct err *e)
{
	struct secrets again = { .vault_count = 0 };
	char holder[ID_TEXT];
	bool good;

	if (holder_open(t->repo->store, t->repo->key_objects, t->repo->uuid, t->repo->self, NULL, &again, holder, e))
		return err_wrap(e, "read back our own key");
	good = secrets_have(&again, t->vault);
	holder_secrets_wipe(&again);
	return good ? 0 : err_set(e, ERR_CORRUPT, "our own key, read back, lacks epoch %u", t->vault->epoch);
}

/* Whether the holder has an object that we did not put just now: who has none was removed since we listed him. */
static int
still_there(const struct rotation *t, const json_t *object, bool *there, struct err *e)
{
	char *name = mem_printf("keys/%s", json_opt_str(object, "id", ""));
	struct store_object o;
	json_t *all, *other;
	size_t i;
	int rc = store_stat(t->repo->store, name, &o, e);

	free(name);
	*there = rc == 0;
	if (rc == 0 || e->kind != ERR_NOT_FOUND)
		return rc;
	err_clear(e);
	/* Or another rotation has given him a newer one, and that was tidied. */
	if (holder_read_ours(t->repo, &all, e))
		return -1;
	json_array_foreach(all, i, other)
		*there = *there || (json_equal(json_object_get(other, "holder"), json_object_get(object, "holder")) && !has_our_vault(t, other));
	json_decref(all);
	return 0;
}

static int
put_holder(struct rotation *t, const json_t *object, struct err *e)
{
	struct repo *r = t->repo;
	json_t *names = json_object();
	bool self = turn_of(r, object) == OURSELVES, there;
	int rc = -1;

	if (still_there(t, object, &there, e))
		goto out;
	if (there && (holder_renew(r, object, names, e) || still_there(t, object, &there, e)))
		goto out;
	if (there) {
		t->kept = t->kept || self;
		rc = self ? own_key_has_it(t, e) : 0;
	} else {
		/* A holder who was removed does not come back through us, with a new key. */
		rc = holder_take_away(r->store, names, e);
		if (rc == 0 && self)
			rc = err_set(e, ERR_REFUSED, "this key was removed meanwhile");
	}
out:
	json_object_update(r->key_objects, names);
	json_decref(names);
	return rc;
}

static int
put_holders(struct rotation *t, enum turn from, enum turn to, struct err *e)
{
	json_t *object;
	size_t i;

	json_array_foreach(t->holders, i, object) {
		enum turn turn = turn_of(t->repo, object);

		if (turn >= from && turn <= to && put_holder(t, object, e))
			return -1;
	}
	return 0;
}

/*
 * R29: whoever has a vault's public key seals to it at once.  So before we get it, and again before agents do, a new listing must show that all
 * that had their turn have it, whoever let them in meanwhile, and that nobody else is at the same thing: of two rotations at once the one
 * that looks last sees the other's objects and gives way.
 */
static int
look_around(const struct rotation *t, enum turn up_to, struct err *e)
{
	json_t *all, *object, *have = json_object();
	size_t i;
	int rc = 0;

	if (holder_read_ours(t->repo, &all, e)) {
		json_decref(have);
		return -1;
	}
	json_array_foreach(all, i, object)
		if (has_our_vault(t, object))
			json_put_bool(have, json_opt_str(object, "holder", ""), true);
	json_array_foreach(all, i, object) {
		if (rc == 0 && up_to < AGENTS && json_opt_int(object, "epoch", 0) >= t->vault->epoch && !has_our_vault(t, object)) {
			rc = err_set(e, ERR_REFUSED, "another rotation was at work meanwhile: \"keys/%s\" has another key of epoch %lld",
			    json_opt_str(object, "id", ""), (long long)json_opt_int(object, "epoch", 0));
			err_hint(e, "Nothing is lost, and no agent seals to the key that was made here. Run `holdfast keys rotate` again when the other has ended.");
		} else if (rc == 0 && turn_of(t->repo, object) <= up_to && json_object_get(have, json_opt_str(object, "holder", "")) == NULL) {
			rc = err_set(e, ERR_REFUSED, "\"%s\" was let in meanwhile, and lacks the new key", json_opt_str(object, "name", ""));
			err_hint(e, "Run `holdfast keys rotate` again: it gives all keys to all.");
		}
	}
	json_decref(have);
	json_decref(all);
	return rc;
}

int
keys_rotate(struct repo *r, uint32_t *epoch, struct err *e)
{
	struct rotation t = { .repo = r };
	int64_t highest = 0;
	json_t *all;
	bool news;
	int rc = -1;

	if (keys_need_recovery(r, "open a new vault epoch", e) || keys_catch_up(r, &news, e) || holder_read_ours(r, &all, e))
		return -1;
	/* Not ours alone: another's rotation may have died before it came to us. */
	for (size_t i = 0; i < json_array_size(all); i++)
		if (json_opt_int(json_array_get(all, i), "epoch", 0) > highest)
			highest = json_opt_int(json_array_get(all, i), "epoch", 0);
	t.holders = holders_in_order(r, all);
	json_decref(all);
	if (highest >= UINT32_MAX) {
		err_set(e, ERR_REFUSED, "there is no epoch after %lld", (long long)highest);
		goto out;
	}
	*epoch = (uint32_t)highest + 1;
	t.vault = secrets_add(&r->secrets, *epoch);
	rc = put_holders(&t, PASSPHRASES, OTHER_READERS, e) || look_around(&t, OTHER_READERS, e) || put_holders(&t, OURSELVES, OURSELVES, e) ||
	    look_around(&t, OURSELVES, e) || put_holders(&t, AGENTS, AGENTS, e) || look_around(&t, AGENTS, e) || own_key_has_it(&t, e) ? -1 : 0;
	if (!t.kept)
		secrets_drop_last(&r->secrets);
out:
	json_decref(t.holders);
	return rc;
}

/* Whether any object of this holder names the vault. */
static bool
holder_has(const json_t *all, const json_t *holder, const json_t *name)
{
	json_t *object;
	size_t i;

	json_array_foreach(all, i, object)
		if (json_equal(json_object_get(object, "holder"), holder) && secrets_named(json_object_get(object, "vaults"), name))
			return true;
	return false;
}

/* The names of the vaults that somebody seals to, or soon will: ours, and the newest of the highest epoch. */
static json_t *
newest_vaults(const struct repo *r, const json_t *all)
{
	char own[VAULT_NAME_TEXT];
	json_t *newest = json_array(), *object;
	size_t i;

	secrets_name(own, &r->secrets.vaults[r->secrets.vault_count - 1]);
	json_add(newest, json_str(own));
	json_array_foreach(all, i, object) {
		json_t *names = json_object_get(object, "vaults");

		if (json_equal(json_object_get(object, "epoch"), json_object_get(json_array_get(all, 0), "epoch")) && json_array_size(names) > 0)
			json_add(newest, json_incref(json_array_get(names, json_array_size(names) - 1)));
	}
	return newest;
}

static int
by_text(const void *a, const void *b)
{
	const char *const *x = a, *const *y = b;

	return strcmp(*x, *y);
}

int
keys_behind(struct repo *r, char **who, struct err *e)
{
	json_t *all, *newest, *object, *name, *seen = json_object();
	const char **behind;
	struct buf text = BUF_INIT;
	size_t i, k, n = 0;

	if (holder_read_ours(r, &all, e)) {
		json_decref(seen);
		return -1;
	}
	newest = newest_vaults(r, all);
	behind = mem_zero(json_array_size(all), sizeof(*behind));
	json_array_foreach(all, i, object) {
		const char *holder = json_opt_str(object, "holder", "");
		bool lacks = false;

		if (strcmp(json_opt_str(object, "role", ""), "recovery") != 0 || json_object_get(seen, holder) != NULL)
			continue;
		json_put_bool(seen, holder, true);
		json_array_foreach(newest, k, name)
			lacks = lacks || !holder_has(all, json_object_get(object, "holder"), name);
		if (lacks)
			behind[n++] = json_opt_str(object, "name", "?");
	}
	qsort(behind, n, sizeof(*behind), by_text);
	for (i = 0; i < n; i++)
		buf_addf(&text, "%s\"%s\"", i > 0 ? ", " : "", behind[i]);
	*who = n > 0 ? mem_strdup((char *)text.data) : NULL;
	buf_free(&text);
	free(behind);
	json_decref(seen);
	json_decref(newest);
	json_decref(all);
	return 0;
}

/* A newer object of the same holder has every vault key that this one has.  The epoch alone would not do: it may stand for another key.  One of the
 * newest epoch does not count: it may be of a rotation that is at work, which takes it back from whom has nothing else. */
static bool
is_superseded(const json_t *all, const json_t *old, int64_t newest)
{
	json_t *names = json_object_get(old, "vaults"), *object;
	size_t i;

	json_array_foreach(all, i, object) {
		int64_t epoch = json_opt_int(object, "epoch", 0);
		bool covers = epoch > json_opt_int(old, "epoch", 0) && epoch < newest &&
		    json_equal(json_object_get(object, "holder"), json_object_get(old, "holder")) &&
		    json_equal(json_object_get(object, "public"), json_object_get(old, "public"));

		for (size_t k = 0; k < json_array_size(names) && covers; k++)
			covers = secrets_named(json_object_get(object, "vaults"), json_array_get(names, k));
		if (covers)
			return true;
	}
	return false;
}

int
keys_tidy(struct repo *r, unsigned *removed, struct err *e)
{
	json_t *all, *object;
	int64_t newest;
	size_t i;
	int rc = 0;

	*removed = 0;
	if (holder_read_ours(r, &all, e))
		return -1;
	newest = json_opt_int(json_array_get(all, 0), "epoch", 0);
	json_array_foreach(all, i, object) {
		char *name;

		if (rc != 0 || !is_superseded(all, object, newest))
			continue;
		name = mem_printf("keys/%s", json_opt_str(object, "id", ""));
		rc = store_remove(r->store, name, e);
		free(name);
		*removed += rc == 0;
	}
	json_decref(all);
	return rc;
}
