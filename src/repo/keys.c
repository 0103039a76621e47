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

int
holder_read_ours(struct repo *r, json_t **all, struct err *e)
{
	if (holder_read_all(r->store, all, NULL, e))
		return -1;
	drop_foreign(*all, r);
	holder_sort_by_epoch(*all);
	return 0;
}

void
holder_describe(const struct repo *r, const json_t *object, struct holder *h)
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
		holder_describe(r, object, &h);
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

int
keys_need_recovery(const struct repo *r, const char *what, struct err *e)
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

	if (keys_need_recovery(r, "let in a holder", e))
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

/* Whether an object of another reader has this vault key. */
static bool
another_has(const json_t *all, const char *holder_id, const json_t *name)
{
	json_t *object;
	size_t i;

	json_array_foreach(all, i, object)
		if (strcmp(json_opt_str(object, "holder", ""), holder_id) != 0 && strcmp(json_opt_str(object, "role", ""), "recovery") == 0 &&
		    secrets_named(json_object_get(object, "vaults"), name))
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

	if (holder_read_ours(r, &all, e))
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
	if (found->role == KEY_RECOVERY && keys_need_recovery(r, "take the repository away from who can read it", e)) {
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
