#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rand.h"
#include "codec/aead.h"
#include "codec/curve.h"
#include "codec/kdf.h"
#include "repo/inner.h"

/* The objects below keys/: docs/repository-format.md, section 4. */
#define KEY_OBJECT_MAX (1u << 20)       /* SECRETS_VAULTS_MAX epochs, and room */

/* What the header says of the vault keys inside: the names of all of them, so that an object of somebody else tells what it opens. */
static json_t *
vault_names(const struct secrets *s)
{
	json_t *names = json_array();
	char name[VAULT_NAME_TEXT];

	for (size_t i = 0; i < s->vault_count; i++) {
		secrets_name(name, &s->vaults[i]);
		json_add(names, json_str(name));
	}
	return names;
}

static int
wrap_key(uint8_t key[32], const uint8_t private_key[32], const uint8_t peer[32], const uint8_t ephemeral[32], const uint8_t receiver[32],
    const uint8_t uuid[16], struct err *e)
{
	uint8_t shared[32], salt[64];

	if (curve_x25519(shared, private_key, peer, e))
		return -1;
	memcpy(salt, ephemeral, 32);
	memcpy(salt + 32, receiver, 32);
	kdf_hkdf(key, shared, sizeof(shared), salt, sizeof(salt), "holdfast 1 wrap", uuid, 16);
	mem_wipe(shared, sizeof(shared));
	return 0;
}

/* What the authority signs: only those that read have its seed, so that an agent (or who stole its key) lets nobody in. */
static const char signed_text[] = "holdfast 1 holder";
#define SIGNED_BYTES (sizeof(signed_text) - 1 + 16 + SHA256_BYTES)

static void
signed_bytes(uint8_t to[SIGNED_BYTES], const uint8_t uuid[16], const char *header, const uint8_t *wrapped, size_t wrapped_bytes)
{
	struct buf in = BUF_INIT;

	buf_addstr(&in, header);
	buf_add(&in, wrapped, wrapped_bytes);
	memcpy(to, signed_text, sizeof(signed_text) - 1);
	memcpy(to + sizeof(signed_text) - 1, uuid, 16);
	hash_sha256(to + sizeof(signed_text) - 1 + 16, in.data, in.bytes);
	buf_free(&in);
}

/* R29: what the store has under this name now, before anything relies on it. */
static int
read_back(struct store *s, const char *name, const char *text, struct err *e)
{
	struct buf back = BUF_INIT;
	int rc = store_get(s, name, 0, 0, &back, e);

	if (rc != 0)
		err_wrap(e, "read back \"%s\"", name);
	else if (back.bytes != strlen(text) || memcmp(back.data, text, back.bytes) != 0)
		rc = err_set(e, ERR_CORRUPT, "\"%s\", read back, is not what was written", name);
	buf_free(&back);
	return rc;
}

/* Writes `object` (without wrapped and signature), completed, below keys/, and reads it back. */
static int
seal_and_put(struct store *s, const uint8_t uuid[16], const struct secrets *secrets, json_t *object, enum key_role role,
    const uint8_t receiver[32], json_t *names, struct err *e)
{
	uint8_t private_key[32], ephemeral[32], key[32], in[SIGNED_BYTES], signature[CURVE_SIGNATURE_BYTES];
	char *header, *payload, *text, *name;
	uint8_t *wrapped;
	struct aead *aead;
	size_t n;
	int rc;

	rand_bytes(private_key, sizeof(private_key));
	curve_x25519_public(ephemeral, private_key);
	secrets_put_hex(object, "ephemeral", ephemeral, 32);
	if (wrap_key(key, private_key, receiver, ephemeral, receiver, uuid, e))
		return -1;
	header = json_text(object, JSON_COMPACT);
	payload = secrets_text(secrets, role);
	n = strlen(payload);
	wrapped = mem_alloc(n + AEAD_TAG_BYTES);
	aead = aead_new(key);
	aead_seal(aead, 0, header, strlen(header), payload, n, wrapped);
	aead_free(aead);
	signed_bytes(in, uuid, header, wrapped, n + AEAD_TAG_BYTES);
	curve_sign(signature, secrets->authority, in, sizeof(in));
	secrets_put_hex(object, "wrapped", wrapped, n + AEAD_TAG_BYTES);
	secrets_put_hex(object, "signature", signature, sizeof(signature));
	text = json_text(object, JSON_COMPACT);
	name = mem_printf("keys/%s", json_opt_str(object, "id", ""));
	json_put_bool(names, name, true);
	rc = store_put(s, name, text, strlen(text), e) || read_back(s, name, text, e) ? -1 : 0;
	mem_free_secret(payload, n);
	mem_wipe(private_key, sizeof(private_key));
	mem_wipe(key, sizeof(key));
	free(name);
	free(text);
	free(wrapped);
	free(header);
	return rc;
}

int
holder_put(struct store *s, const uint8_t uuid[16], const struct secrets *secrets, const char holder_id[ID_TEXT], const char *name,
    enum key_role role, const char *public_hex, json_t *scrypt, json_t *names, struct err *e)
{
	json_t *object = json_object();
	uint8_t receiver[CURVE_KEY_BYTES], identity[2 * CURVE_KEY_BYTES];
	size_t digits = strlen(public_hex);
	char id[RAND_ID_TEXT], now[CLOCK_TEXT], hex[KEY_PUBLIC_TEXT];
	int rc;

	if (secrets->vault_count > SECRETS_VAULTS_MAX) {
		json_decref(object);
		json_decref(scrypt);
		return err_set(e, ERR_REFUSED, "a repository has at most %d vault keys", SECRETS_VAULTS_MAX);
	}
	if ((digits != 64 && digits != 128) || !hex_decode(identity, digits / 2, public_hex)) {
		json_decref(object);
		json_decref(scrypt);
		err_set(e, ERR_USAGE, "a public key has 64 or 128 hexadecimal digits");
		return err_hint(e, "`holdfast keys identity` prints the public key of the identity that it makes.");
	}
	memcpy(receiver, identity, sizeof(receiver));
	hex_encode(hex, identity, digits / 2);  /* in small letters: a holder looks for its key as it writes it */
	rand_id(id);
	json_put_int(object, "holdfast_holder", 1);
	json_put_str(object, "id", id);
	json_put_str(object, "holder", holder_id);
	json_put_str(object, "name", name);
	json_put_str(object, "role", key_role_name(role));
	json_put_str(object, "kind", scrypt != NULL ? "passphrase" : "x25519");
	json_put_str(object, "created", clock_format_s(now, clock_wall_us()));
	json_put_str(object, "public", hex);
	json_put_int(object, "epoch", secrets->vaults[secrets->vault_count - 1].epoch);
	json_put(object, "vaults", vault_names(secrets));
	if (scrypt != NULL)
		json_put(object, "scrypt", scrypt);
	rc = seal_and_put(s, uuid, secrets, object, role, receiver, names, e);
	json_decref(object);
	return rc;
}

/* The seed that a passphrase gives under the costs in `scrypt`, which come from outside and are bounded. */
static int
passphrase_seed(uint8_t seed[32], const char *passphrase, const json_t *scrypt, struct err *e)
{
	uint8_t salt[32];
	struct err shape = ERR_INIT;
	unsigned log_n = (unsigned)json_need_int(scrypt, "log_n", 14, 20, &shape);
	unsigned r = (unsigned)json_need_int(scrypt, "r", 1, 8, &shape), p = (unsigned)json_need_int(scrypt, "p", 1, 4, &shape);

	if (shape.kind != ERR_NONE || !secrets_get_hex(scrypt, "salt", salt, 32))
		return err_set(e, ERR_CORRUPT, "costs or salt of the passphrase are malformed");
	return kdf_scrypt(seed, passphrase, strlen(passphrase), salt, sizeof(salt), log_n, r, p, e);
}

int
holder_put_passphrase(struct store *s, const uint8_t uuid[16], const struct secrets *secrets, const char holder_id[ID_TEXT], const char *name,
    const char *passphrase, json_t *names, struct err *e)
{
	struct identity *i = mem_zero(1, sizeof(*i));
	json_t *scrypt = json_object();
	char public_hex[KEY_PUBLIC_TEXT];
	uint8_t salt[32];
	int rc = -1;

	rand_bytes(salt, sizeof(salt));
	secrets_put_hex(scrypt, "salt", salt, 32);
	json_put_int(scrypt, "log_n", 17);
	json_put_int(scrypt, "r", 8);
	json_put_int(scrypt, "p", 1);
	if (passphrase_seed(i->seed, passphrase, scrypt, e)) {
		json_decref(scrypt);
	} else {
		identity_from_seed(i);
		identity_public(i, public_hex);
		rc = holder_put(s, uuid, secrets, holder_id, name, KEY_RECOVERY, public_hex, scrypt, names, e);
	}
	identity_free(i);
	return rc;
}

int
holder_take_away(struct store *s, const json_t *names, struct err *e)
{
	const char *name;
	json_t *mark;
	int rc = 0;

	json_object_foreach((json_t *)(uintptr_t)names, name, mark) {
		struct err one = ERR_INIT;

		if (store_remove(s, name, &one) != 0 && rc == 0) {
			*e = one;
			rc = -1;
		}
	}
	return rc;
}

/* ---- reading ---- */

struct key_objects {
	struct store *store;
	json_t *all;                    /* array of objects that have the shape of a holder */
	json_t *names;                  /* set of theirs */
	json_t *malformed;              /* names of others; NULL: not wanted */
};

static void
is_malformed(struct key_objects *k, const char *name)
{
	if (k->malformed != NULL)
		json_add(k->malformed, json_str(name));
}

static int
collect(void *ctx, const struct store_object *o, struct err *e)
{
	struct key_objects *k = ctx;
	struct buf text = BUF_INIT;
	struct err shape = ERR_INIT;
	json_t *object = NULL;
	int rc = 0;

	if (o->bytes > KEY_OBJECT_MAX || strlen(o->name) != strlen("keys/") + 32) {
		is_malformed(k, o->name);       /* nothing that we wrote is that large or named so */
		return 0;
	}
	if (store_get(k->store, o->name, 0, 0, &text, e)) {
		/* Removed between the listing and now: a holder that is gone. */
		rc = e->kind == ERR_NOT_FOUND ? 0 : err_wrap(e, "\"%s\"", o->name);
		if (rc == 0)
			err_clear(e);
		goto out;
	}
	object = json_parse(text.data, text.bytes, "key object", &shape);
	if (object != NULL && repo_json_is_canonical(object, &text) && json_opt_int(object, "holdfast_holder", 0) == 1 &&
	    strcmp(json_opt_str(object, "id", ""), o->name + strlen("keys/")) == 0) {
		json_add(k->all, object);
		json_put_bool(k->names, o->name, true);
		object = NULL;
	} else {
		is_malformed(k, o->name);
	}
out:
	json_decref(object);
	buf_free(&text);
	return rc;
}

int
holder_read_all(struct store *s, json_t *names, json_t **all, json_t *malformed, struct err *e)
{
	struct key_objects k = { .store = s, .all = json_array(), .names = json_object(), .malformed = malformed };
	const char *name;
	json_t *mark;
	int rc = store_list(s, "keys/", collect, &k, e);

	/* R24: whom a listing leaves out would be left out of a rotation. */
	json_object_foreach(names, name, mark)
		if (rc == 0 && json_object_get(k.names, name) == NULL)
			rc = collect(&k, &(struct store_object){ .name = name }, e);
	if (rc == 0)
		json_object_update(names, k.names);
	else
		json_decref(k.all);
	*all = rc == 0 ? k.all : NULL;
	json_decref(k.names);
	return rc;
}

/* Splits an object into H, wrapped bytes (owned by the caller) and signature; false when malformed. */
static bool
take_apart(const json_t *object, char **header, struct buf *wrapped, uint8_t signature[CURVE_SIGNATURE_BYTES])
{
	json_t *copy = json_copy((json_t *)(uintptr_t)object);
	const char *hex = json_opt_str(object, "wrapped", "");
	size_t n = strlen(hex) / 2;
	bool good;

	buf_reserve(wrapped, n);
	good = n > AEAD_TAG_BYTES && secrets_get_hex(object, "wrapped", wrapped->data, n) &&
	    secrets_get_hex(object, "signature", signature, CURVE_SIGNATURE_BYTES);
	wrapped->bytes = n;
	json_object_del(copy, "wrapped");
	json_object_del(copy, "signature");
	*header = json_text(copy, JSON_COMPACT);
	json_decref(copy);
	return good;
}

bool
holder_authentic(const json_t *object, const uint8_t uuid[16], const struct secrets *s)
{
	struct buf wrapped = BUF_INIT;
	struct err why = ERR_INIT;
	char *header = NULL;
	uint8_t signature[CURVE_SIGNATURE_BYTES], in[SIGNED_BYTES];
	bool good = take_apart(object, &header, &wrapped, signature);

	if (good) {
		signed_bytes(in, uuid, header, wrapped.data, wrapped.bytes);
		good = curve_verify(signature, s->authority_public, in, sizeof(in), &why) == 0;
	}
	buf_free(&wrapped);
	free(header);
	return good;
}

/* Opens one object with an identity whose public key it carries. */
static int
unwrap(const json_t *object, const uint8_t uuid[16], const struct identity *self, struct secrets *secrets, struct err *e)
{
	struct buf wrapped = BUF_INIT;
	char *header = NULL;
	uint8_t signature[CURVE_SIGNATURE_BYTES], ephemeral[32], key[32];
	struct aead *aead = NULL;
	uint8_t pin[32];
	json_t *names;
	bool same;
	int rc = -1;

	if (!take_apart(object, &header, &wrapped, signature) || !secrets_get_hex(object, "ephemeral", ephemeral, 32)) {
		err_set(e, ERR_CORRUPT, "it is malformed");
		goto out;
	}
	if (wrap_key(key, self->x_private, ephemeral, ephemeral, self->x_public, uuid, e))
		goto out;
	aead = aead_new(key);
	if (aead_open(aead, 0, header, strlen(header), wrapped.data, wrapped.bytes, wrapped.data, e) ||
	    secrets_read(wrapped.data, wrapped.bytes - AEAD_TAG_BYTES, secrets, e))
		goto out;
	names = vault_names(secrets);
	same = json_equal(names, json_object_get(object, "vaults"));
	json_decref(names);
	if (!same || !holder_authentic(object, uuid, secrets)) {
		holder_secrets_wipe(secrets);
		err_set(e, ERR_CORRUPT, "it was not written, or was changed, by somebody who is no recovery holder");
		goto out;
	}
	/* Whoever wraps secrets of his own for us can sign them with an authority of his own: the pin tells. */
	identity_pin(pin, uuid, secrets);
	if (self->pinned && !bytes_equal_secret(pin, self->pin, sizeof(pin))) {
		holder_secrets_wipe(secrets);
		err_set(e, ERR_KEY, "the secrets of this repository are others than the key file is pinned to");
		err_hint(e, "%s", repo_pin_hint);
		goto out;
	}
	rc = 0;
out:
	mem_wipe(wrapped.data, wrapped.bytes);
	mem_wipe(key, sizeof(key));
	aead_free(aead);
	buf_free(&wrapped);
	free(header);
	return rc;
}

static int
newest_epoch(const void *a, const void *b)
{
	const json_t *const *x = a, *const *y = b;
	int64_t m = json_opt_int(*x, "epoch", 0), n = json_opt_int(*y, "epoch", 0);

	return m < n ? 1 : m > n ? -1 : strcmp(json_opt_str(*x, "id", ""), json_opt_str(*y, "id", ""));
}

/* Newest epoch first: as the objects themselves claim, which proves nothing yet. */
void
holder_sort_by_epoch(json_t *all)
{
	size_t n = json_array_size(all);
	json_t **list = mem_zero(n, sizeof(json_t *));

	for (size_t i = 0; i < n; i++)
		list[i] = json_incref(json_array_get(all, i));
	qsort(list, n, sizeof(json_t *), newest_epoch);
	json_array_clear(all);
	for (size_t i = 0; i < n; i++)
		json_add(all, list[i]);
	free(list);
}

static bool
is_ours(const json_t *object, const struct identity *self)
{
	char x[65];

	hex_encode(x, self->x_public, 32);
	return strncmp(json_opt_str(object, "public", ""), x, 64) == 0;
}

/* Whether whoever reads a report of ours finds our signing key here. */
static bool
knows_signature(const json_t *object, const struct identity *self)
{
	char hex[65];

	hex_encode(hex, self->sign_public, 32);
	return strlen(json_opt_str(object, "public", "")) == 128 && strcmp(json_opt_str(object, "public", "") + 64, hex) == 0;
}

/* For a passphrase: fills `self` from the object whose public key follows from it.  Anybody who can write to the store can put an
 * object there that leads nowhere: such a one is passed over. */
static void
find_by_passphrase(const json_t *all, const char *passphrase, struct identity *self, bool *found)
{
	struct err useless = ERR_INIT;
	json_t *object;
	size_t i;

	json_array_foreach(all, i, object) {
		json_t *scrypt = json_object_get(object, "scrypt");

		if (*found || scrypt == NULL)
			continue;
		if (passphrase_seed(self->seed, passphrase, scrypt, &useless)) {
			log_warning("\"keys/%s\" is passed over: %s", json_opt_str(object, "id", ""), useless.msg);
			continue;
		}
		identity_from_seed(self);
		*found = is_ours(object, self);
		if (*found) {
			snprintf(self->name, sizeof(self->name), "%s", json_opt_str(object, "name", "passphrase"));
			self->role = KEY_RECOVERY;
		}
	}
}

static int
no_holder(struct err *e, bool passphrase)
{
	err_set(e, ERR_KEY, "%s opens no key of this repository", passphrase ? "this passphrase" : "this key file");
	if (passphrase)
		return err_hint(e, "Look for a typing error or an empty line in the file, and whether it is that of another repository.");
	return err_hint(e, "`holdfast keys list` with a working key shows who holds one; a new identity is let in by `holdfast keys add`.");
}

/* All of our objects that open, newest first.  One that does not (damaged, or planted) does not keep us from the next; what an older one
 * has and the newest lacks (a rotation that gave way to another had sealed to it) is taken up as well. */
int
holder_open(struct store *s, json_t *names, const uint8_t uuid[16], struct identity *self, const char *passphrase, struct secrets *secrets,
    char holder_id[ID_TEXT], struct err *e)
{
	json_t *all = NULL, *object;
	bool known = passphrase == NULL, ours = false, opened = false;
	size_t i;

	if (holder_read_all(s, names, &all, NULL, e))
		return -1;
	if (passphrase != NULL)
		find_by_passphrase(all, passphrase, self, &known);
	holder_sort_by_epoch(all);
	json_array_foreach(all, i, object) {
		struct secrets one = { .vault_count = 0 };
		struct err useless = ERR_INIT;

		if (!known || !is_ours(object, self))
			continue;
		ours = true;
		if (unwrap(object, uuid, self, &one, &useless)) {
			err_wrap(&useless, "\"keys/%s\"", json_opt_str(object, "id", ""));
			if (!opened)
				*e = useless;
			continue;
		}
		if (opened) {
			secrets_merge(secrets, &one);
			continue;
		}
		*secrets = one;
		opened = true;
		snprintf(holder_id, ID_TEXT, "%s", json_opt_str(object, "holder", ""));
		/* The repository's word counts: a key file may have been made under another name. */
		snprintf(self->name, sizeof(self->name), "%s", json_opt_str(object, "name", "?"));
		self->role = strcmp(json_opt_str(object, "role", ""), "recovery") == 0 ? KEY_RECOVERY : KEY_AGENT;
		self->signs = knows_signature(object, self);
	}
	if (!ours)
		no_holder(e, passphrase != NULL);
	else if (opened)
		err_clear(e);
	json_decref(all);
	return opened ? 0 : -1;
}
