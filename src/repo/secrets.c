#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/rand.h"
#include "codec/curve.h"
#include "repo/inner.h"

/* What a holder's object wraps, and its text: docs/repository-format.md, section 4. */

void
holder_secrets_new(struct secrets *s)
{
	rand_bytes(s->catalog, sizeof(s->catalog));
	rand_bytes(s->chunk_id, sizeof(s->chunk_id));
	rand_bytes(s->authority, sizeof(s->authority));
	curve_ed25519_public(s->authority_public, s->authority);
	s->vaults = NULL;
	s->vault_count = 0;
	secrets_add(s, 1);
}

void
holder_secrets_wipe(struct secrets *s)
{
	mem_free_secret(s->vaults, s->vault_count * sizeof(*s->vaults));
	mem_wipe(s, sizeof(*s));
	s->vaults = NULL;
	s->vault_count = 0;
}

void
secrets_name(char name[VAULT_NAME_TEXT], const struct vault *v)
{
	uint8_t digest[SHA256_BYTES];

	hash_sha256(digest, v->public_key, sizeof(v->public_key));
	hex_encode(name, digest, VAULT_NAME_TEXT / 2);
}

bool
secrets_named(const json_t *names, const json_t *name)
{
	for (size_t i = 0; i < json_array_size(names); i++)
		if (json_equal(json_array_get(names, i), name))
			return true;
	return false;
}

static struct vault *
find(const struct secrets *s, const struct vault *v)
{
	for (size_t i = 0; i < s->vault_count; i++)
		if (s->vaults[i].epoch == v->epoch && memcmp(s->vaults[i].public_key, v->public_key, sizeof(v->public_key)) == 0)
			return &s->vaults[i];
	return NULL;
}

bool
secrets_have(const struct secrets *s, const struct vault *v)
{
	return find(s, v) != NULL;
}

/* Room for one more, at the end.  Not mem_grow: no freed memory may keep a private key. */
static struct vault *
append(struct secrets *s)
{
	struct vault *more = mem_zero(s->vault_count + 1, sizeof(*more));

	if (s->vault_count > 0)
		memcpy(more, s->vaults, s->vault_count * sizeof(*more));
	mem_free_secret(s->vaults, s->vault_count * sizeof(*more));
	s->vaults = more;
	return &s->vaults[s->vault_count++];
}

struct vault *
secrets_add(struct secrets *s, uint32_t epoch)
{
	struct vault *v = append(s);

	v->epoch = epoch;
	v->readable = true;
	rand_bytes(v->private_key, 32);
	curve_x25519_public(v->public_key, v->private_key);
	return v;
}

void
secrets_drop_last(struct secrets *s)
{
	mem_wipe(&s->vaults[--s->vault_count], sizeof(*s->vaults));
}

static int
oldest_epoch(const void *a, const void *b)
{
	const struct vault *x = a, *y = b;

	return x->epoch != y->epoch ? (x->epoch > y->epoch) - (x->epoch < y->epoch) : memcmp(x->public_key, y->public_key, sizeof(x->public_key));
}

void
secrets_merge(struct secrets *s, struct secrets *from)
{
	bool same = memcmp(s->catalog, from->catalog, 32) == 0 && memcmp(s->chunk_id, from->chunk_id, 32) == 0 &&
	    memcmp(s->authority_public, from->authority_public, 32) == 0;

	/* An object with other secrets was planted: its vaults are not ours. */
	for (size_t i = 0; same && i < from->vault_count; i++)
		if (find(s, &from->vaults[i]) == NULL)
			*append(s) = from->vaults[i];
	qsort(s->vaults, s->vault_count, sizeof(*s->vaults), oldest_epoch);
	holder_secrets_wipe(from);
}

void
secrets_put_hex(json_t *o, const char *key, const void *data, size_t bytes)
{
	char *hex = mem_alloc(2 * bytes + 1);

	hex_encode(hex, data, bytes);
	json_put_str(o, key, hex);
	mem_free_secret(hex, 2 * bytes);
}

bool
secrets_get_hex(const json_t *o, const char *key, void *to, size_t bytes)
{
	const char *hex = json_opt_str(o, key, "");

	if (strlen(hex) != 2 * bytes || strpbrk(hex, "ABCDEF") != NULL)
		return false;           /* one way to write each value, so that no changed byte goes unnoticed */
	return hex_decode(to, bytes, hex);
}

char *
secrets_text(const struct secrets *s, enum key_role role)
{
	json_t *payload = json_object(), *vaults = json_array();
	char *text;

	secrets_put_hex(payload, "catalog", s->catalog, 32);
	secrets_put_hex(payload, "chunk_id", s->chunk_id, 32);
	secrets_put_hex(payload, "authority_public", s->authority_public, 32);
	if (role == KEY_RECOVERY)
		secrets_put_hex(payload, "authority", s->authority, 32);
	for (size_t i = 0; i < s->vault_count; i++) {
		json_t *v = json_object();

		json_put_int(v, "epoch", s->vaults[i].epoch);
		secrets_put_hex(v, "public", s->vaults[i].public_key, 32);
		if (role == KEY_RECOVERY && s->vaults[i].readable)
			secrets_put_hex(v, "private", s->vaults[i].private_key, 32);
		json_add(vaults, v);
	}
	json_put(payload, "vaults", vaults);
	text = json_text(payload, JSON_COMPACT);
	json_decref(payload);
	return text;
}

/* One element of "vaults"; it comes behind the one before it.  Its halves must belong together. */
static bool
read_vault(const json_t *text, const struct vault *before, struct vault *v)
{
	struct err shape = ERR_INIT;
	uint8_t own[32];

	v->epoch = (uint32_t)json_need_int(text, "epoch", 1, UINT32_MAX, &shape);
	v->readable = secrets_get_hex(text, "private", v->private_key, 32);
	if (shape.kind != ERR_NONE || !secrets_get_hex(text, "public", v->public_key, 32) || (before != NULL && oldest_epoch(before, v) >= 0))
		return false;
	if (!v->readable)
		return true;
	curve_x25519_public(own, v->private_key);
	return memcmp(own, v->public_key, sizeof(own)) == 0;
}

/* All but the vaults.  The seed of the authority is there for those that read. */
static bool
read_keys(const json_t *payload, struct secrets *s)
{
	uint8_t own[32];

	if (!secrets_get_hex(payload, "catalog", s->catalog, 32) || !secrets_get_hex(payload, "chunk_id", s->chunk_id, 32) ||
	    !secrets_get_hex(payload, "authority_public", s->authority_public, 32))
		return false;
	if (json_object_get(payload, "authority") == NULL)
		return true;
	if (!secrets_get_hex(payload, "authority", s->authority, 32))
		return false;
	curve_ed25519_public(own, s->authority);
	return memcmp(own, s->authority_public, sizeof(own)) == 0;
}

int
secrets_read(const void *text, size_t bytes, struct secrets *s, struct err *e)
{
	json_t *payload = json_parse(text, bytes, "the wrapped secrets", e), *vaults, *v;
	size_t i;
	int rc = -1;

	if (payload == NULL)
		return -1;
	vaults = json_need_array(payload, "vaults", e);
	if (e->kind != ERR_NONE || !read_keys(payload, s) || json_array_size(vaults) == 0 || json_array_size(vaults) > SECRETS_VAULTS_MAX) {
		err_set(e, ERR_CORRUPT, "the wrapped secrets have another shape than format 1");
		goto out;
	}
	s->vault_count = json_array_size(vaults);
	s->vaults = mem_zero(s->vault_count, sizeof(*s->vaults));
	json_array_foreach(vaults, i, v) {
		if (!read_vault(v, i > 0 ? &s->vaults[i - 1] : NULL, &s->vaults[i])) {
			err_set(e, ERR_CORRUPT, "a vault key among the wrapped secrets is malformed");
			goto out;
		}
	}
	rc = 0;
out:
	json_decref(payload);
	if (rc != 0)
		holder_secrets_wipe(s);
	return rc;
}
