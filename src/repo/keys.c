#include "repo/keys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/rand.h"
#include "repo/inner.h"

/* What an operator does with holders. */

/* Takes out what was not written by a recovery holder. */
static void
drop_foreign(json_t *all, const struct repo *r)
{
	for (size_t i = json_array_size(all); i-- > 0;)
		if (!holder_authentic(json_array_get(all, i), r->uuid, &r->secrets))
			json_array_remove(all, i);
}

static void
to_holder(const struct repo *r, const json_t *object, struct holder *h)
{
	snprintf(h->id, sizeof(h->id), "%s", json_opt_str(object, "holder", ""));
	snprintf(h->name, sizeof(h->name), "%s", json_opt_str(object, "name", ""));
	snprintf(h->public_key, sizeof(h->public_key), "%s", json_opt_str(object, "public", ""));
	snprintf(h->created, sizeof(h->created), "%s", json_opt_str(object, "created", ""));
	h->role = strcmp(json_opt_str(object, "role", ""), "recovery") == 0 ? KEY_RECOVERY : KEY_AGENT;
	h->passphrase = json_object_get(object, "scrypt") != NULL;
	h->epoch = (uint32_t)json_opt_int(object, "epoch", 0);
	h->self = strcmp(h->id, r->self_holder) == 0;
}

int
keys_list(struct repo *r, struct holder **holders, size_t *count, size_t *foreign, struct err *e)
{
	json_t *all, *object, *malformed = json_array();
	size_t i, n = 0;

	if (holder_read_all(r->store, &all, malformed, e)) {
		json_decref(malformed);
		return -1;
	}
	*foreign = json_array_size(malformed);
	json_decref(malformed);
	*holders = mem_zero(json_array_size(all), sizeof(**holders));
	json_array_foreach(all, i, object) {
		struct holder h = { .objects = 1 };
		size_t at = 0;

		if (!holder_authentic(object, r->uuid, &r->secrets)) {
			++*foreign;
			continue;
		}
		to_holder(r, object, &h);
		while (at < n && strcmp((*holders)[at].id, h.id) != 0)
			at++;
		if (at < n) {
			h.objects += (*holders)[at].objects;
			if (h.epoch < (*holders)[at].epoch) {
				(*holders)[at].objects = h.objects;
				continue;
			}
		} else {
			n++;
		}
		(*holders)[at] = h;
	}
	*count = n;
	json_decref(all);
	return 0;
}

/* `o` (or NULL) is an object that nobody with our authority wrote. */
static json_t *
foreign_json(const char *name, const json_t *o)
{
	json_t *f = json_object();

	json_put_str(f, "object", name);
	json_put_str(f, "name", json_opt_str(o, "name", NULL));
	json_put_str(f, "role", json_opt_str(o, "role", NULL));
	json_put_str(f, "public_key", json_opt_str(o, "public", NULL));
	return f;
}

int
keys_foreign(struct repo *r, json_t **foreign, struct err *e)
{
	json_t *all, *object, *malformed = json_array();
	size_t i;

	if (holder_read_all(r->store, &all, malformed, e)) {
		json_decref(malformed);
		return -1;
	}
	*foreign = json_array();
	json_array_foreach(malformed, i, object)
		json_add(*foreign, foreign_json(json_string_value(object), NULL));
	json_array_foreach(all, i, object) {
		char *name = mem_printf("keys/%s", json_opt_str(object, "id", ""));

		if (!holder_authentic(object, r->uuid, &r->secrets))
			json_add(*foreign, foreign_json(name, object));
		free(name);
	}
	json_decref(malformed);
	json_decref(all);
	return 0;
}

static int
need_recovery(const struct repo *r, const char *what, struct err *e)
{
	if (r->self->role == KEY_RECOVERY)
		return 0;
	err_set(e, ERR_KEY, "an agent's key cannot %s", what);
	return err_hint(e, "Name a recovery holder's key file with --key-file, or its passphrase with --passphrase-file.");
}

int
keys_add(struct repo *r, const char *name, enum key_role role, const char *public_key, const char *passphrase, char holder_id[33], struct err *e)
{
	struct holder *holders;
	size_t count, foreign, i;
	bool there = false;
	int rc;

	if (need_recovery(r, "let in a holder", e))
		return -1;
	if (keys_list(r, &holders, &count, &foreign, e))
		return -1;
	for (i = 0; i < count; i++)
		there = there || (public_key != NULL && strncasecmp(holders[i].public_key, public_key, 64) == 0) || strcmp(holders[i].name, name) == 0;
	free(holders);
	if (there)
		return err_set(e, ERR_EXISTS, "a holder with this key or the name \"%s\" is there already", name);
	rand_id(holder_id);
	rc = passphrase != NULL ? holder_put_passphrase(r->store, r->uuid, &r->secrets, holder_id, name, passphrase, e) :
	    holder_put(r->store, r->uuid, &r->secrets, holder_id, name, role, public_key, NULL, e);
	if (rc != 0 && e->hint[0] == '\0')
		err_hint(e, "`holdfast keys list` shows whether it is there all the same: remove it then, and add it again.");
	return rc;
}

/* ---- rotation ---- */

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
	const json_t *names = json_object_get(object, "vaults");
	char name[VAULT_NAME_TEXT];

	vault_name(name, t->vault);
	for (size_t i = 0; i < json_array_size(names); i++)
		if (strcmp(json_string_value(json_array_get(names, i)), name) == 0)
			return json_opt_int(object, "epoch", 0) == t->vault->epoch;
	return false;
}

/* All objects of holders, newest first. */
static int
authentic(struct repo *r, json_t **all, struct err *e)
{
	if (holder_read_all(r->store, all, NULL, e))
		return -1;
	drop_foreign(*all, r);
	holder_sort_by_epoch(*all);
	return 0;
}

static int
rank(const struct repo *r, const json_t *object)
{
	struct holder h = { .objects = 1 };

	to_holder(r, object, &h);
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

	if (authentic(t->repo, &all, e))
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

		to_holder(r, object, &h);
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

	if (authentic(t->repo, &all, e)) {
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

	if (need_recovery(r, "open a new vault epoch", e) || open_again(r, &newest, e))
		return -1;
	secrets_merge(&r->secrets, &newest);
	if (authentic(r, &all, e))
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

static int
remove_objects(struct repo *r, const char *holder_id, struct err *e)
{
	json_t *all, *object;
	size_t i;
	int rc = 0;

	if (holder_read_all(r->store, &all, NULL, e))
		return -1;
	json_array_foreach(all, i, object) {
		char *name;

		if (rc != 0 || strcmp(json_opt_str(object, "holder", ""), holder_id) != 0)
			continue;
		name = mem_printf("keys/%s", json_opt_str(object, "id", ""));
		rc = store_remove(r->store, name, e);
		free(name);
	}
	json_decref(all);
	return rc;
}

static bool
is_in(const json_t *names, const json_t *name)
{
	for (size_t i = 0; i < json_array_size(names); i++)
		if (json_equal(json_array_get(names, i), name))
			return true;
	return false;
}

/* Whether an object of another reader has this vault key. */
static bool
another_has(const json_t *all, const char *holder_id, const json_t *name)
{
	json_t *object;
	size_t i;

	json_array_foreach(all, i, object)
		if (strcmp(json_opt_str(object, "holder", ""), holder_id) != 0 && strcmp(json_opt_str(object, "role", ""), "recovery") == 0 &&
		    is_in(json_object_get(object, "vaults"), name))
			return true;
	return false;
}

/* A rotation that died may have left a vault key with one reader alone, who sealed to it since: with him it would be lost. */
static int
refuse_if_alone(struct repo *r, const char *holder_id, const char *name, struct err *e)
{
	json_t *all, *object, *vault;
	size_t i, k;
	int rc = 0;

	if (authentic(r, &all, e))
		return -1;
	json_array_foreach(all, i, object) {
		if (strcmp(json_opt_str(object, "holder", ""), holder_id) != 0 || strcmp(json_opt_str(object, "role", ""), "recovery") != 0)
			continue;
		json_array_foreach(json_object_get(object, "vaults"), k, vault)
			if (rc == 0 && !another_has(all, holder_id, vault)) {
				rc = err_set(e, ERR_REFUSED, "\"%s\" alone has a vault key, from a rotation that did not end", name);
				err_hint(e, "What it backed up since then is sealed to that key: run `holdfast keys rotate` with its key first, or give --yes.");
			}
	}
	json_decref(all);
	return rc;
}

/* "keys/<id>" names an object that is no holder's. */
static int
remove_foreign(struct repo *r, const char *name, struct err *e)
{
	json_t *foreign, *object;
	size_t i;
	int rc;

	if (keys_foreign(r, &foreign, e))
		return -1;
	err_set(e, ERR_NOT_FOUND, "no foreign object \"%s\"", name);
	rc = err_hint(e, "`holdfast keys list` shows the foreign ones; a holder is removed by its name or id.");
	json_array_foreach(foreign, i, object)
		if (rc != 0 && strcmp(json_opt_str(object, "object", ""), name) == 0) {
			err_clear(e);
			rc = store_remove(r->store, name, e);
			break;
		}
	json_decref(foreign);
	return rc;
}

int
keys_remove(struct repo *r, const char *holder_id, bool even_last, struct err *e)
{
	struct holder *holders, *found = NULL;
	size_t count, foreign, recoverers = 0, matches = 0;
	char id[33] = "";
	bool last, self;

	if (strncmp(holder_id, "keys/", strlen("keys/")) == 0)
		return remove_foreign(r, holder_id, e);
	if (keys_list(r, &holders, &count, &foreign, e))
		return -1;
	for (size_t i = 0; i < count; i++) {
		recoverers += holders[i].role == KEY_RECOVERY;
		if (strcmp(holders[i].name, holder_id) == 0 ||
		    (strlen(holder_id) >= 4 && strncmp(holders[i].id, holder_id, strlen(holder_id)) == 0)) {
			found = &holders[i];
			matches++;
		}
	}
	if (matches > 1) {
		free(holders);
		return err_set(e, ERR_USAGE, "%zu holders have the name or an id that begins with \"%s\"", matches, holder_id);
	}
	if (found == NULL) {
		free(holders);
		err_set(e, ERR_NOT_FOUND, "no holder \"%s\"", holder_id);
		return err_hint(e, "`holdfast keys list` shows the holders.");
	}
	if (found->role == KEY_RECOVERY && need_recovery(r, "take the repository away from who can read it", e)) {
		free(holders);
		return -1;
	}
	memcpy(id, found->id, sizeof(id));
	last = found->role == KEY_RECOVERY && recoverers == 1;
	self = found->self;
	free(holders);
	if (self)
		return err_set(e, ERR_REFUSED, "holder \"%s\" is the one in use: remove it with another holder's key", holder_id);
	if (last && !even_last) {
		err_set(e, ERR_REFUSED, "\"%s\" is the last recovery holder: without it no backup can ever be read again", holder_id);
		return err_hint(e, "Add another recovery holder first."); /* R50 */
	}
	if (!even_last && refuse_if_alone(r, id, holder_id, e))
		return -1;
	return remove_objects(r, id, e);
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
			covers = is_in(json_object_get(object, "vaults"), json_array_get(names, k));
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
	if (authentic(r, &all, e))
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
