#include "repo/keys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rand.h"
#include "codec/curve.h"
#include "repo/inner.h"

/* What an operator does with holders. */

/* Takes out what was not written by somebody with the catalog key. */
static void
drop_foreign(json_t *all, const struct secrets *s)
{
	for (size_t i = json_array_size(all); i-- > 0;)
		if (!holder_authentic(json_array_get(all, i), s))
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
	json_t *all, *object;
	size_t i, n = 0;

	if (holder_read_all(r->store, &all, foreign, e))
		return -1;
	*holders = mem_zero(json_array_size(all), sizeof(**holders));
	json_array_foreach(all, i, object) {
		struct holder h = { .objects = 1 };
		size_t at = 0;

		if (!holder_authentic(object, &r->secrets)) {
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

	if (role == KEY_RECOVERY && need_recovery(r, "let in a recovery holder", e))
		return -1;
	if (keys_list(r, &holders, &count, &foreign, e))
		return -1;
	for (i = 0; i < count; i++)
		there = there || (public_key != NULL && strncmp(holders[i].public_key, public_key, 64) == 0) || strcmp(holders[i].name, name) == 0;
	free(holders);
	if (there)
		return err_set(e, ERR_EXISTS, "a holder with this key or the name \"%s\" is there already", name);
	rand_id(holder_id);
	if (passphrase != NULL)
		return holder_put_passphrase(r->store, r->uuid, &r->secrets, holder_id, name, passphrase, e);
	return holder_put(r->store, r->uuid, &r->secrets, holder_id, name, role, public_key, NULL, e);
}

/* Reads every holder back and counts those that are at `epoch` (R29: verified before anything is superseded). */
static int
verify_epoch(struct repo *r, uint32_t epoch, size_t expected, struct err *e)
{
	struct secrets again = { .vault_count = 0 };
	struct holder *holders;
	char self_holder[ID_TEXT];
	size_t count, foreign, good = 0;

	if (keys_list(r, &holders, &count, &foreign, e))
		return -1;
	for (size_t i = 0; i < count; i++)
		good += holders[i].epoch == epoch;
	free(holders);
	if (good < expected)
		return err_set(e, ERR_CORRUPT, "only %zu of %zu holders could be read back with epoch %u", good, expected, epoch);
	if (holder_open(r->store, r->uuid, r->self, NULL, &again, self_holder, e))
		return err_wrap(e, "read back our own key");
	good = holder_vault(&again, epoch) != NULL;
	holder_secrets_wipe(&again);
	return good ? 0 : err_set(e, ERR_CORRUPT, "our own key, read back, lacks epoch %u", epoch);
}

int
keys_rotate(struct repo *r, uint32_t *epoch, struct err *e)
{
	json_t *all, *object, *done;
	struct vault *added;
	size_t i, holders;
	int rc = 0;

	if (need_recovery(r, "open a new vault epoch", e))
		return -1;
	r->secrets.vaults = mem_grow(r->secrets.vaults, r->secrets.vault_count + 1, sizeof(*r->secrets.vaults));
	added = &r->secrets.vaults[r->secrets.vault_count];
	added->epoch = added[-1].epoch + 1;
	added->readable = true;
	rand_bytes(added->private_key, 32);
	curve_x25519_public(added->public_key, added->private_key);
	r->secrets.vault_count++;
	*epoch = added->epoch;

	if (holder_read_all(r->store, &all, NULL, e))
		return -1;
	drop_foreign(all, &r->secrets);
	holder_sort_by_epoch(all);
	done = json_object();
	json_array_foreach(all, i, object) {
		const char *holder = json_opt_str(object, "holder", "");
		struct holder h = { .objects = 1 };

		/* Once for each holder, from its newest object. */
		if (rc != 0 || json_object_get(done, holder) != NULL)
			continue;
		json_put_bool(done, holder, true);
		to_holder(r, object, &h);
		rc = holder_put(r->store, r->uuid, &r->secrets, h.id, h.name, h.role, h.public_key,
		    json_incref(json_object_get(object, "scrypt")), e);
	}
	holders = json_object_size(done);
	json_decref(done);
	json_decref(all);
	return rc == 0 ? verify_epoch(r, *epoch, holders, e) : -1;
}

static int
remove_objects(struct repo *r, const char *holder_id, uint32_t below_epoch, unsigned *removed, struct err *e)
{
	json_t *all, *object;
	size_t i;
	int rc = 0;

	if (holder_read_all(r->store, &all, NULL, e))
		return -1;
	json_array_foreach(all, i, object) {
		char *name;

		if (rc != 0 || strcmp(json_opt_str(object, "holder", ""), holder_id) != 0 ||
		    (below_epoch != 0 && json_opt_int(object, "epoch", 0) >= below_epoch))
			continue;
		name = mem_printf("keys/%s", json_opt_str(object, "id", ""));
		rc = store_remove(r->store, name, e);
		free(name);
		++*removed;
	}
	json_decref(all);
	return rc;
}

int
keys_remove(struct repo *r, const char *holder_id, bool even_last, struct err *e)
{
	struct holder *holders, *found = NULL;
	size_t count, foreign, recoverers = 0, matches = 0;
	unsigned removed = 0;
	char id[33] = "";
	bool last, self;

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
	memcpy(id, found->id, sizeof(id));
	last = found->role == KEY_RECOVERY && recoverers == 1;
	self = found->self;
	free(holders);
	if (self)
		return err_set(e, ERR_REFUSED, "holder \"%s\" is the one in use: remove it with another holder's key", holder_id);
	if (last && !even_last) {
		err_set(e, ERR_REFUSED, "\"%s\" is the last recovery holder: without it no backup can ever be read again", holder_id);
		return err_hint(e, "Add another recovery holder first (R50).");
	}
	return remove_objects(r, id, 0, &removed, e);
}

int
keys_tidy(struct repo *r, unsigned *removed, struct err *e)
{
	struct holder *holders;
	size_t count, foreign;
	int rc = 0;

	*removed = 0;
	if (keys_list(r, &holders, &count, &foreign, e))
		return -1;
	for (size_t i = 0; i < count && rc == 0; i++)
		if (holders[i].objects > 1)
			rc = remove_objects(r, holders[i].id, holders[i].epoch, removed, e);
	free(holders);
	return rc;
}
