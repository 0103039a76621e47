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
	if (holder_read_all(r->store, r->key_objects, all, NULL, e))
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
holder_renew(struct repo *r, const json_t *object, json_t *names, struct err *e)
{
	struct holder h = { .objects = 1 };

	holder_describe(r, object, &h);
	if (holder_put(r->store, r->uuid, &r->secrets, h.id, h.name, h.role, h.public_key, json_incref(json_object_get(object, "scrypt")), names, e))
		return err_wrap(e, "holder \"%s\"", h.name);
	return 0;
}

int
keys_catch_up(struct repo *r, bool *news, struct err *e)
{
	struct secrets now = { .vault_count = 0 };
	char holder[ID_TEXT];
	size_t before = r->secrets.vault_count;

	if (holder_open(r->store, r->key_objects, r->uuid, r->self, NULL, &now, holder, e))
		return err_wrap(e, "read back our own key");
	secrets_merge(&r->secrets, &now);
	*news = r->secrets.vault_count > before;
	return 0;
}

int
keys_list(struct repo *r, struct holder **holders, size_t *count, size_t *foreign, struct err *e)
{
	json_t *all, *object, *malformed = json_array();
	size_t i, n = 0;

	if (holder_read_all(r->store, r->key_objects, &all, malformed, e)) {
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

	if (holder_read_all(r->store, r->key_objects, &all, malformed, e)) {
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
	bool there = false, news;
	int rc;

	if (keys_need_recovery(r, "let in a holder", e) || keys_catch_up(r, &news, e))
		return -1;
	if (keys_list(r, &holders, &count, &foreign, e))
		return -1;
	for (i = 0; i < count; i++)
		there = there || (public_key != NULL && strncasecmp(holders[i].public_key, public_key, 64) == 0) || strcmp(holders[i].name, name) == 0;
	free(holders);
	if (there)
		return err_set(e, ERR_EXISTS, "a holder with this key or the name \"%s\" is there already", name);
	rand_id(holder_id);
	rc = passphrase != NULL ? holder_put_passphrase(r->store, r->uuid, &r->secrets, holder_id, name, passphrase, r->key_objects, e) :
	    holder_put(r->store, r->uuid, &r->secrets, holder_id, name, role, public_key, NULL, r->key_objects, e);
	/* A rotation gives its key to us last of those that read, and looks around after that: one of the two sees the other. */
	if (rc == 0)
		rc = keys_catch_up(r, &news, e);
	if (rc == 0 && news) {
		rc = err_set(e, ERR_REFUSED, "\"%s\" is let in without the key of a rotation that ended meanwhile", name);
		err_hint(e, "`holdfast keys rotate` gives all keys to all.");
	}
	if (rc != 0 && e->hint[0] == '\0')
		err_hint(e, "`holdfast keys list` shows whether it is there all the same: remove it then, and add it again.");
	return rc;
}

/* *found: how many there were. */
static int
remove_objects(struct repo *r, const char *holder_id, unsigned *found, struct err *e)
{
	json_t *all, *object;
	size_t i;
	int rc = 0;

	*found = 0;
	if (holder_read_all(r->store, r->key_objects, &all, NULL, e))
		return -1;
	json_array_foreach(all, i, object) {
		char *name;

		if (rc != 0 || strcmp(json_opt_str(object, "holder", ""), holder_id) != 0)
			continue;
		name = mem_printf("keys/%s", json_opt_str(object, "id", ""));
		rc = store_remove(r->store, name, e);
		free(name);
		++*found;
	}
	json_decref(all);
	return rc;
}

/* A rotation that is at work puts a new object for whom it has listed before: so until there is none. */
static int
remove_holder(struct repo *r, const char *holder_id, const char *name, struct err *e)
{
	unsigned found = 1;

	for (int turn = 0; turn < 5 && found > 0; turn++)
		if (remove_objects(r, holder_id, &found, e))
			return -1;
	if (found == 0)
		return 0;
	err_set(e, ERR_REFUSED, "the key objects of \"%s\" come back as they are removed", name);
	return err_hint(e, "A rotation is at work: remove the holder again when it has ended, and rotate again.");
}

/* Two that read and remove each other at once would leave none: whoever looks last sees that, and still has all that an object says. */
static int
leave_a_reader(struct repo *r, const json_t *own, const char *name, struct err *e)
{
	json_t *all, *object;
	bool left = false;
	size_t i;
	int rc = 0;

	if (holder_read_ours(r, &all, e))
		return -1;
	json_array_foreach(all, i, object)
		left = left || strcmp(json_opt_str(object, "role", ""), "recovery") == 0;
	json_decref(all);
	if (left)
		return 0;
	rc = holder_renew(r, own, r->key_objects, e);
	if (rc == 0) {
		err_set(e, ERR_REFUSED, "\"%s\" is removed, and this key was removed meanwhile: it was put back, as the last that can read", name);
		rc = err_hint(e, "Let in who should be there with `holdfast keys add`; then remove again who should not.");
	}
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

/* The one that is called so, by its name, its id or the beginning of that. */
static int
find_holder(struct repo *r, const char *called, struct holder *found, size_t *recoverers, struct err *e)
{
	struct holder *holders;
	size_t count, foreign, matches = 0;

	*recoverers = 0;
	if (keys_list(r, &holders, &count, &foreign, e))
		return -1;
	for (size_t i = 0; i < count; i++) {
		*recoverers += holders[i].role == KEY_RECOVERY;
		if (strcmp(holders[i].name, called) == 0 || (strlen(called) >= 4 && strncmp(holders[i].id, called, strlen(called)) == 0)) {
			*found = holders[i];
			matches++;
		}
	}
	free(holders);
	if (matches > 1)
		return err_set(e, ERR_USAGE, "%zu holders have the name or an id that begins with \"%s\"", matches, called);
	if (matches == 1)
		return 0;
	err_set(e, ERR_NOT_FOUND, "no holder \"%s\"", called);
	return err_hint(e, "`holdfast keys list` shows the holders.");
}

/* What takes a reader away, and leaves one. */
static int
remove_reader(struct repo *r, const struct holder *h, const char *called, bool even_last, struct err *e)
{
	json_t *all, *object, *own = NULL;
	bool news;
	size_t i;
	int rc;

	if (keys_catch_up(r, &news, e) || (!even_last && refuse_if_alone(r, h->id, called, e)) || holder_read_ours(r, &all, e))
		return -1;
	json_array_foreach(all, i, object)
		if (own == NULL && strcmp(json_opt_str(object, "holder", ""), r->self_holder) == 0)
			own = object;
	if (own == NULL)
		rc = err_set(e, ERR_REFUSED, "this key is no holder's any more");
	else
		rc = remove_holder(r, h->id, called, e) || leave_a_reader(r, own, called, e) ? -1 : 0;
	json_decref(all);
	return rc;
}

int
keys_remove(struct repo *r, const char *holder_id, bool even_last, struct err *e)
{
	struct holder found;
	size_t recoverers;

	if (strncmp(holder_id, "keys/", strlen("keys/")) == 0)
		return remove_foreign(r, holder_id, e);
	if (find_holder(r, holder_id, &found, &recoverers, e))
		return -1;
	if (found.role == KEY_RECOVERY && keys_need_recovery(r, "take the repository away from who can read it", e))
		return -1;
	if (found.self)
		return err_set(e, ERR_REFUSED, "holder \"%s\" is the one in use: remove it with another holder's key", holder_id);
	if (found.role == KEY_RECOVERY && recoverers == 1 && !even_last) {
		err_set(e, ERR_REFUSED, "\"%s\" is the last recovery holder: without it no backup can ever be read again", holder_id);
		return err_hint(e, "Add another recovery holder first."); /* R50 */
	}
	return found.role == KEY_RECOVERY ? remove_reader(r, &found, holder_id, even_last, e) : remove_holder(r, found.id, holder_id, e);
}
