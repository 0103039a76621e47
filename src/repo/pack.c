#include "repo/pack.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/rand.h"
#include "codec/curve.h"
#include "codec/kdf.h"
#include "codec/zst.h"

static const uint8_t head_magic[8] = { 'H', 'F', 'p', 'a', 'c', 'k', 0, 1 };
static const uint8_t foot_magic[8] = { 'H', 'F', 'e', 'n', 'd', 0, 0, 1 };

#define AT_REPOSITORY 8
#define AT_ID 24
#define AT_KIND 40
#define AT_EPOCH 44
#define AT_EPHEMERAL 48
#define AT_WRAPPED 80
#define PACK_CHUNK_ROOM (4u << 20)       /* the last chunk and the directory */
#define NAMED_BYTES 48                  /* what the key of a pack is bound to */

_Static_assert(AT_WRAPPED + AEAD_KEY_BYTES + AEAD_TAG_BYTES == PACK_HEAD_BYTES, "the wrapped key ends the header");

char *
pack_name(const uint8_t id[ID_BYTES])
{
	char hex[ID_TEXT];

	hex_encode(hex, id, ID_BYTES);
	return mem_printf("packs/%.2s/%s", hex, hex);
}

bool
pack_id_of(const char *name, uint8_t id[ID_BYTES])
{
	return strlen(name) == strlen("packs/ab/") + 32 && strncmp(name, "packs/", 6) == 0 && name[8] == '/' &&
	    strncmp(name + 6, name + 9, 2) == 0 && hex_decode(id, ID_BYTES, name + 9);
}

void
pack_chunk_id(uint8_t id[CHUNK_ID_BYTES], const struct repo *r, enum pack_kind kind, const void *plain, size_t bytes)
{
	if (kind == PACK_DATA) {
		hash_hmac(id, r->secrets.chunk_id, 32, plain, bytes);
	} else {
		uint8_t *text = mem_alloc(4 + bytes);

		memcpy(text, "list", 4);
		memcpy(text + 4, plain, bytes);
		hash_hmac(id, r->secrets.chunk_id, 32, text, 4 + bytes);
		free(text);
	}
}

/* The key that wraps the pack's own: from the vault (either half of it with either half of the ephemeral), or the catalog. */
static int
vault_kek(uint8_t kek[32], const uint8_t *head, const uint8_t private_key[32], const uint8_t peer[32], const uint8_t vault_public[32], struct err *e)
{
	uint8_t shared[32], salt[64];

	if (curve_x25519(shared, private_key, peer, e))
		return -1;
	memcpy(salt, head + AT_EPHEMERAL, 32);
	memcpy(salt + 32, vault_public, 32);
	kdf_hkdf(kek, shared, sizeof(shared), salt, sizeof(salt), "holdfast 1 pack", head, NAMED_BYTES);
	mem_wipe(shared, sizeof(shared));
	return 0;
}

static void
lists_kek(uint8_t kek[32], const uint8_t *head, const uint8_t catalog_key[32])
{
	kdf_hkdf(kek, catalog_key, 32, head + AT_EPHEMERAL, 32, "holdfast 1 lists", head, NAMED_BYTES);
}

static struct aead *
directory_aead(const uint8_t uuid[16], const uint8_t catalog_key[32], const uint8_t id[ID_BYTES])
{
	uint8_t key[32];
	struct aead *aead;

	kdf_hkdf(key, catalog_key, 32, id, ID_BYTES, "holdfast 1 directory", uuid, 16);
	aead = aead_new(key);
	mem_wipe(key, sizeof(key));
	return aead;
}

int
pack_begin(struct pack *p, const struct repo *r, const uint8_t run_id[8], enum pack_kind kind, struct err *e)
{
	const struct vault *vault = &r->secrets.vaults[r->secrets.vault_count - 1];
	uint8_t head[PACK_HEAD_BYTES], key[32], kek[32], private_key[32];
	struct aead *wrap;

	memset(p, 0, sizeof(*p));
	p->kind = kind;
	memcpy(p->id, run_id, 8);
	rand_bytes(p->id + 8, 8);
	memcpy(head, head_magic, 8);
	memcpy(head + AT_REPOSITORY, r->uuid, 16);
	memcpy(head + AT_ID, p->id, ID_BYTES);
	bytes_put_u32(head + AT_KIND, kind);
	bytes_put_u32(head + AT_EPOCH, kind == PACK_DATA ? vault->epoch : 0);
	if (kind == PACK_DATA) {
		rand_bytes(private_key, sizeof(private_key));
		curve_x25519_public(head + AT_EPHEMERAL, private_key);
		if (vault_kek(kek, head, private_key, vault->public_key, vault->public_key, e))
			return err_wrap(e, "seal to vault epoch %u", vault->epoch);
		mem_wipe(private_key, sizeof(private_key));
	} else {
		rand_bytes(head + AT_EPHEMERAL, 32);
		lists_kek(kek, head, r->secrets.catalog);
	}
	rand_bytes(key, sizeof(key));
	wrap = aead_new(kek);
	aead_seal(wrap, 0, head, AT_WRAPPED, key, sizeof(key), head + AT_WRAPPED);
	aead_free(wrap);
	p->aead = aead_new(key);
	mem_wipe(key, sizeof(key));
	mem_wipe(kek, sizeof(kek));
	/* At once, so that a growing pack is never copied; pages that are not written to cost nothing. */
	buf_reserve(&p->bytes, PACK_TARGET + PACK_CHUNK_ROOM);
	buf_add(&p->bytes, head, sizeof(head));
	return 0;
}

static void
chunk_aad(uint8_t aad[PACK_HEAD_BYTES + 4], const uint8_t *head, uint32_t offset)
{
	memcpy(aad, head, PACK_HEAD_BYTES);
	bytes_put_u32(aad + PACK_HEAD_BYTES, offset);
}

void
pack_add(struct pack *p, const uint8_t id[CHUNK_ID_BYTES], int packing, const void *data, size_t bytes, size_t plain_bytes)
{
	uint8_t aad[PACK_HEAD_BYTES + 4], *at;
	uint32_t offset = (uint32_t)p->bytes.bytes;

	assert(p->count < PACK_CHUNKS_MAX);
	if ((p->count & (p->count - 1)) == 0)
		p->entries = mem_grow(p->entries, p->count == 0 ? 1 : 2 * (size_t)p->count, sizeof(*p->entries));
	memcpy(p->entries[p->count].id, id, CHUNK_ID_BYTES);
	p->entries[p->count].stored = (uint32_t)(bytes + PACK_CHUNK_OVERHEAD);
	p->entries[p->count].plain = (uint32_t)plain_bytes;

	buf_reserve(&p->bytes, bytes + PACK_CHUNK_OVERHEAD);
	chunk_aad(aad, p->bytes.data, offset);
	at = p->bytes.data + offset;
	at[0] = (uint8_t)packing;
	memcpy(at + 1, data, bytes);
	aead_seal(p->aead, offset, aad, sizeof(aad), at, bytes + 1, at);
	p->bytes.bytes += bytes + PACK_CHUNK_OVERHEAD;
	p->count++;
}

size_t
pack_size_with(const struct pack *p, size_t bytes)
{
	return p->bytes.bytes + bytes + PACK_CHUNK_OVERHEAD + ((size_t)p->count + 1) * PACK_ENTRY_BYTES + AEAD_TAG_BYTES + PACK_FOOT_BYTES;
}

void
pack_close(struct pack *p, const struct repo *r)
{
	struct buf directory = BUF_INIT;
	uint8_t aad[PACK_HEAD_BYTES + PACK_FOOT_BYTES], *foot = aad + PACK_HEAD_BYTES;
	struct aead *aead = directory_aead(r->uuid, r->secrets.catalog, p->id);

	for (uint32_t i = 0; i < p->count; i++) {
		buf_add(&directory, p->entries[i].id, CHUNK_ID_BYTES);
		buf_u32(&directory, p->entries[i].stored);
		buf_u32(&directory, p->entries[i].plain);
	}
	memcpy(aad, p->bytes.data, PACK_HEAD_BYTES);
	bytes_put_u32(foot, (uint32_t)(directory.bytes + AEAD_TAG_BYTES));
	bytes_put_u32(foot + 4, p->count);
	memcpy(foot + 8, foot_magic, 8);
	buf_reserve(&p->bytes, directory.bytes + AEAD_TAG_BYTES);
	aead_seal(aead, 0, aad, sizeof(aad), directory.data, directory.bytes, p->bytes.data + p->bytes.bytes);
	p->bytes.bytes += directory.bytes + AEAD_TAG_BYTES;
	buf_add(&p->bytes, foot, PACK_FOOT_BYTES);
	hash_sha256(p->sha256, p->bytes.data, p->bytes.bytes);
	aead_free(aead);
	aead_free(p->aead);
	p->aead = NULL;
	buf_free(&directory);
}

void
pack_free(struct pack *p)
{
	aead_free(p->aead);
	buf_free(&p->bytes);
	free(p->entries);
	memset(p, 0, sizeof(*p));
}

int
pack_read_foot(const uint8_t foot[PACK_FOOT_BYTES], size_t object_bytes, uint32_t *directory_bytes, uint32_t *count, struct err *e)
{
	*directory_bytes = bytes_get_u32(foot);
	*count = bytes_get_u32(foot + 4);
	if (memcmp(foot + 8, foot_magic, 8) != 0)
		return err_set(e, ERR_CORRUPT, "it does not end like a pack: truncated, or another object");
	if (*count > PACK_CHUNKS_MAX || *directory_bytes != (uint64_t)*count * PACK_ENTRY_BYTES + AEAD_TAG_BYTES ||
	    (uint64_t)*directory_bytes + PACK_HEAD_BYTES + PACK_FOOT_BYTES > object_bytes)
		return err_set(e, ERR_CORRUPT, "the lengths in its footer are impossible");
	return 0;
}

int
pack_read_head(const uint8_t head[PACK_HEAD_BYTES], const uint8_t uuid[16], const uint8_t id[ID_BYTES], enum pack_kind *kind, uint32_t *epoch,
    struct err *e)
{
	uint32_t k = bytes_get_u32(head + AT_KIND);

	if (memcmp(head, head_magic, 8) != 0)
		return err_set(e, ERR_CORRUPT, "it does not begin like a pack");
	if (memcmp(head + AT_REPOSITORY, uuid, 16) != 0)
		return err_set(e, ERR_CORRUPT, "it belongs to another repository");
	if (memcmp(head + AT_ID, id, ID_BYTES) != 0)
		return err_set(e, ERR_CORRUPT, "it is another pack than its name says");
	if (k != PACK_DATA && k != PACK_LISTS)
		return err_set(e, ERR_CORRUPT, "it is of an unknown kind");
	*kind = k == PACK_DATA ? PACK_DATA : PACK_LISTS;
	*epoch = bytes_get_u32(head + AT_EPOCH);
	return 0;
}

int
pack_open_directory(const uint8_t uuid[16], const uint8_t catalog_key[32], const uint8_t head[PACK_HEAD_BYTES], const uint8_t *directory,
    size_t directory_bytes, const uint8_t foot[PACK_FOOT_BYTES], size_t object_bytes, struct pack_entry **entries, uint32_t *count, struct err *e)
{
	uint8_t aad[PACK_HEAD_BYTES + PACK_FOOT_BYTES], *plain;
	uint32_t expected, empty = 0;
	uint64_t total = PACK_HEAD_BYTES + directory_bytes + PACK_FOOT_BYTES;
	struct aead *aead;
	struct cursor c;
	int rc;

	if (pack_read_foot(foot, object_bytes, &expected, count, e))
		return -1;
	if (expected != directory_bytes)
		return err_set(e, ERR_CORRUPT, "its directory has another length than its footer says");
	memcpy(aad, head, PACK_HEAD_BYTES);
	memcpy(aad + PACK_HEAD_BYTES, foot, PACK_FOOT_BYTES);
	plain = mem_alloc(directory_bytes);
	aead = directory_aead(uuid, catalog_key, head + AT_ID);
	rc = aead_open(aead, 0, aad, sizeof(aad), directory, directory_bytes, plain, e);
	aead_free(aead);
	if (rc != 0) {
		free(plain);
		return err_wrap(e, "its directory");
	}
	*entries = mem_alloc(*count * sizeof(**entries));
	c = cursor_over(plain, directory_bytes - AEAD_TAG_BYTES);
	for (uint32_t i = 0; i < *count; i++) {
		struct pack_entry *x = &(*entries)[i];

		memcpy(x->id, cursor_take(&c, CHUNK_ID_BYTES), CHUNK_ID_BYTES);
		x->stored = cursor_u32(&c);
		x->plain = cursor_u32(&c);
		total += x->stored;
		empty += x->plain == 0;
	}
	free(plain);
	if (total == object_bytes && empty == 0)
		return 0;
	free(*entries);
	*entries = NULL;
	if (total != object_bytes)
		return err_set(e, ERR_CORRUPT, "its chunks add up to %llu bytes, it has %zu", (unsigned long long)total, object_bytes);
	/* Nobody makes them, and the index refuses them: a record of this pack would make its index object unreadable. */
	return err_set(e, ERR_CORRUPT, "%u of its chunks are empty", empty);
}

/* Tries one key on the pack's own. */
static struct aead *
unwrap_with(const uint8_t kek[32], const uint8_t head[PACK_HEAD_BYTES], struct err *e)
{
	uint8_t key[32 + AEAD_TAG_BYTES];
	struct aead *wrap = aead_new(kek), *aead = NULL;

	if (aead_open(wrap, 0, head, AT_WRAPPED, head + AT_WRAPPED, AEAD_KEY_BYTES + AEAD_TAG_BYTES, key, e) == 0)
		aead = aead_new(key);
	else
		err_wrap(e, "its header");
	aead_free(wrap);
	mem_wipe(key, sizeof(key));
	return aead;
}

/* Two rotations at once may have made two keys of one epoch, of which one was given up: each is tried. */
static struct aead *
unwrap_data(const uint8_t head[PACK_HEAD_BYTES], const struct repo *r, struct err *e)
{
	uint32_t epoch = bytes_get_u32(head + AT_EPOCH);
	const struct secrets *s = &r->secrets;
	struct aead *aead = NULL;
	bool known = false, readable = false;

	for (size_t i = 0; i < s->vault_count && aead == NULL; i++) {
		const struct vault *vault = &s->vaults[i];
		uint8_t kek[32];

		known = known || vault->epoch == epoch;
		if (vault->epoch != epoch || !vault->readable)
			continue;
		readable = true;
		err_clear(e);
		if (vault_kek(kek, head, vault->private_key, head + AT_EPHEMERAL, vault->public_key, e) == 0)
			aead = unwrap_with(kek, head, e);
		mem_wipe(kek, sizeof(kek));
	}
	if (!readable) {
		err_set(e, ERR_KEY, known ? "an agent's key cannot read it (vault epoch %u)" :
		    "it is sealed to vault epoch %u, which this key does not know", epoch);
		err_hint(e, "Use the key file of a recovery holder (--key-file) or its passphrase (--passphrase-file).");
	} else if (aead != NULL) {
		err_clear(e);
	}
	return aead;
}

struct aead *
pack_unwrap(const uint8_t head[PACK_HEAD_BYTES], const struct repo *r, struct err *e)
{
	uint8_t kek[32];
	struct aead *aead;

	if (bytes_get_u32(head + AT_KIND) != PACK_LISTS)
		return unwrap_data(head, r, e);
	lists_kek(kek, head, r->secrets.catalog);
	aead = unwrap_with(kek, head, e);
	mem_wipe(kek, sizeof(kek));
	return aead;
}

int
pack_open_chunk(struct aead *aead, struct zst *z, const uint8_t head[PACK_HEAD_BYTES], uint32_t offset, const uint8_t *sealed, size_t stored,
    uint8_t *scratch, uint8_t *plain, size_t plain_bytes, const uint8_t id[CHUNK_ID_BYTES], const struct repo *r, struct err *e)
{
	uint8_t aad[PACK_HEAD_BYTES + 4], seen[CHUNK_ID_BYTES];
	size_t data_bytes = stored - PACK_CHUNK_OVERHEAD;
	enum pack_kind kind = bytes_get_u32(head + AT_KIND) == PACK_LISTS ? PACK_LISTS : PACK_DATA;

	if (stored <= PACK_CHUNK_OVERHEAD)
		return err_set(e, ERR_CORRUPT, "a chunk of %zu bytes is too short", stored);
	chunk_aad(aad, head, offset);
	if (aead_open(aead, offset, aad, sizeof(aad), sealed, stored, scratch, e))
		return err_wrap(e, "chunk at %u", offset);
	if (scratch[0] == PACKING_ZSTD) {
		if (zst_unpack(z, scratch + 1, data_bytes, plain, plain_bytes, e))
			return err_wrap(e, "chunk at %u", offset);
	} else if (scratch[0] == PACKING_NONE && data_bytes == plain_bytes) {
		memcpy(plain, scratch + 1, plain_bytes);
	} else {
		return err_set(e, ERR_CORRUPT, "chunk at %u is packed in an unknown way", offset);
	}
	pack_chunk_id(seen, r, kind, plain, plain_bytes);
	if (!bytes_equal_secret(seen, id, CHUNK_ID_BYTES))
		return err_set(e, ERR_CORRUPT, "chunk at %u has other content than its id says", offset);
	return 0;
}
