#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "repo/inner.h"

/* A new vault key for all holders, and what it supersedes: docs/repository-format.md, section 4. */

struct rotation {
	struct repo *repo;
	const struct vault *vault;      /* the new one, in repo->secrets */
	json_t *holders;                /* the newest object of each: ourselves, then those that can read, then agents */
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

static int
rank(const struct repo *r, const json_t *object)
{
	struct holder h = { .objects = 1 };

	holder_describe(r, object, &h);
	return h.self ? 0 : h.role == KEY_RECOVERY ? 1 : 2;
}

/* Once each, from its newest object. */
static json_t *
holders_in_order(const struct repo *r, const json_t *all)
{
	json_t *seen = json_object(), *holders = json_array(), *object;
	size_t i;

	for (int turn = 0; turn <= 2; turn++)
		json_array_foreach(all, i, object) {
			const char *id = json_opt_str(object, "holder", "");

			if (json_object_get(seen, id) != NULL || rank(r, object) != turn)
				continue;
			json_put_bool(seen, id, true);
			json_add(holders, json_incref(object));
		}
	json_decref(seen);
	return holders;
}

/* What our own key opens at this moment: another rotation may have ended since we were opened. */
static int
open_again(struct repo *r, struct secrets *secrets, struct err *e)
{
	char holder[ID_TEXT];

	if (holder_open(r->store, r->uuid, r->self, NULL, secrets, holder, e))
		return err_wrap(e, "read back our own key");
	return 0;
}

static int
own_key_has_it(const struct rotation *t, struct err *e)
{
	struct secrets again = { .vault_count = 0 };
	bool good;

	if (open_again(t->repo, &again, e))
		return -1;
	good = secrets_have(&again, t->vault);
	holder_secrets_wipe(&again);
	return good ? 0 : err_set(e, ERR_CORRUPT, "our own key, read back, lacks epoch %u", t->vault->epoch);
}

/*
 * An agent that has a vault's public key seals to it at once.  So all that can read have the private key, and nobody else is at the same
 * thing, before the first agent gets it: of two rotations at once the one that looks last sees the other's objects and gives way.
 */
static int
nobody_else(const struct rotation *t, struct err *e)
{
	json_t *all, *object;
	size_t i;
	int rc = 0;

	if (holder_read_ours(t->repo, &all, e))
		return -1;
	json_array_foreach(all, i, object)
		if (rc == 0 && json_opt_int(object, "epoch", 0) >= t->vault->epoch && !has_our_vault(t, object)) {
			rc = err_set(e, ERR_REFUSED, "another rotation was at work meanwhile: \"keys/%s\" has another key of epoch %lld",
			    json_opt_str(object, "id", ""), (long long)json_opt_int(object, "epoch", 0));
			err_hint(e, "Nothing is lost, and no agent seals to the key that was made here. Run `holdfast keys rotate` again when the other has ended.");
		}
	json_decref(all);
	return rc;
}

static int
put_holders(struct rotation *t, bool agents, struct err *e)
{
	struct repo *r = t->repo;
	json_t *object;
	size_t i;

	json_array_foreach(t->holders, i, object) {
		struct holder h = { .objects = 1 };

		holder_describe(r, object, &h);
		if ((h.role == KEY_AGENT) != agents)
			continue;
		if (holder_put(r->store, r->uuid, &r->secrets, h.id, h.name, h.role, h.public_key, json_incref(json_object_get(object, "scrypt")), e))
			return err_wrap(e, "holder \"%s\"", h.name);
		/* Ours first: from here on the new private key is not in this process alone. */
		if (h.self && own_key_has_it(t, e))
			return -1;
		t->kept = t->kept || h.self;
	}
	return 0;
}

/* R29: every holder is there with the new key before anything of it is superseded. */
static int
verify_rotation(const struct rotation *t, struct err *e)
{
	json_t *all, *object, *good = json_object();
	size_t i, count, expected = json_array_size(t->holders);

	if (holder_read_ours(t->repo, &all, e)) {
		json_decref(good);
		return -1;
	}
	json_array_foreach(all, i, object)
		if (has_our_vault(t, object))
			json_put_bool(good, json_opt_str(object, "holder", ""), true);
	count = json_object_size(good);
	json_decref(good);
	json_decref(all);
	if (count < expected)
		return err_set(e, ERR_CORRUPT, "only %zu of %zu holders could be read back with epoch %u", count, expected, t->vault->epoch);
	return own_key_has_it(t, e);
}

int
keys_rotate(struct repo *r, uint32_t *epoch, struct err *e)
{
	struct rotation t = { .repo = r };
	struct secrets newest = { .vault_count = 0 };
	int64_t highest = 0;
	json_t *all;
	int rc = -1;

	if (keys_need_recovery(r, "open a new vault epoch", e) || open_again(r, &newest, e))
		return -1;
	secrets_merge(&r->secrets, &newest);
	if (holder_read_ours(r, &all, e))
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
	rc = put_holders(&t, false, e) || nobody_else(&t, e) || put_holders(&t, true, e) || verify_rotation(&t, e) ? -1 : 0;
	if (!t.kept)
		secrets_drop_last(&r->secrets);
out:
	json_decref(t.holders);
	return rc;
}

/* A newer object of the same holder has every vault key that this one has.  The epoch alone would not do: it may stand for another key. */
static bool
is_superseded(const json_t *all, const json_t *old)
{
	json_t *names = json_object_get(old, "vaults"), *object;
	size_t i;

	json_array_foreach(all, i, object) {
		bool covers = json_opt_int(object, "epoch", 0) > json_opt_int(old, "epoch", 0) &&
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
	size_t i;
	int rc = 0;

	*removed = 0;
	if (holder_read_ours(r, &all, e))
		return -1;
	json_array_foreach(all, i, object) {
		char *name;

		if (rc != 0 || !is_superseded(all, object))
			continue;
		name = mem_printf("keys/%s", json_opt_str(object, "id", ""));
		rc = store_remove(r->store, name, e);
		free(name);
		*removed += rc == 0;
	}
	json_decref(all);
	return rc;
}
