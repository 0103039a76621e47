#ifndef HF_REPO_PACK_H
#define HF_REPO_PACK_H

#include "base/bytes.h"
#include "codec/aead.h"
#include "repo/inner.h"

/*
 * Packs: sealed chunks, one behind the other, with a sealed directory.  docs/repository-format.md, section 6.
 * This file is bytes only; nothing here talks to a store.
 */
enum pack_kind { PACK_DATA = 1, PACK_LISTS = 2 };

#define PACK_HEAD_BYTES 128
#define PACK_FOOT_BYTES 16
#define PACK_TARGET (16u << 20)                 /* closed at about this size; the limit is STORE_OBJECT_MAX */
#define PACK_CHUNK_OVERHEAD (1 + AEAD_TAG_BYTES)
#define PACK_ENTRY_BYTES (CHUNK_ID_BYTES + 8)
#define PACK_CHUNKS_MAX 65536

enum { PACKING_NONE = 0, PACKING_ZSTD = 1 };

struct pack_entry {
	uint8_t id[CHUNK_ID_BYTES];
	uint32_t stored, plain;
};

/* A pack that is being filled, by one thread at a time. */
struct pack {
	uint8_t id[ID_BYTES];
	enum pack_kind kind;
	struct buf bytes;               /* header and sealed chunks so far; the whole object after pack_close */
	struct pack_entry *entries;
	uint32_t count;
	struct aead *aead;
	uint8_t sha256[32];             /* of the whole object, after pack_close */
};

/* Begins a pack of the run: its id is run id ‖ random.  Data packs are sealed to the newest vault. */
int pack_begin(struct pack *p, const struct repo *r, const uint8_t run_id[8], enum pack_kind kind, struct err *e) MUST_USE;

/* Seals `data` (already packed as `packing` says) as the next chunk.  The place of it is (offset before, stored). */
void pack_add(struct pack *p, const uint8_t id[CHUNK_ID_BYTES], int packing, const void *data, size_t bytes, size_t plain_bytes);

/* Bytes that the object would have if it were closed now and `bytes` more were added first. */
size_t pack_size_with(const struct pack *p, size_t bytes);

/* Adds directory and footer, computes the digest. */
void pack_close(struct pack *p, const struct repo *r);
void pack_free(struct pack *p);

/* Reading. */

/* The lengths in a footer (PACK_FOOT_BYTES): bounds checked against the object's size. */
int pack_read_foot(const uint8_t foot[PACK_FOOT_BYTES], size_t object_bytes, uint32_t *directory_bytes, uint32_t *count, struct err *e) MUST_USE;

/* Checks a header's form and that it is this pack of this repository. */
int pack_read_head(const uint8_t head[PACK_HEAD_BYTES], const uint8_t uuid[16], const uint8_t id[ID_BYTES], enum pack_kind *kind, uint32_t *epoch,
    struct err *e) MUST_USE;

/* Opens the directory; *entries is owned by the caller.  The sum of its lengths is checked against the object's size. */
int pack_open_directory(const uint8_t uuid[16], const uint8_t catalog_key[32], const uint8_t head[PACK_HEAD_BYTES], const uint8_t *directory,
    size_t directory_bytes, const uint8_t foot[PACK_FOOT_BYTES], size_t object_bytes, struct pack_entry **entries, uint32_t *count,
    struct err *e) MUST_USE;

/* The key of a pack's chunks, from its header.  ERR_KEY for an agent and a data pack. */
struct aead *pack_unwrap(const uint8_t head[PACK_HEAD_BYTES], const struct repo *r, struct err *e) MUST_USE;

/*
 * Opens the chunk at `offset` (stored bytes as in the directory) into `plain` (plain_bytes long), and checks its id.
 * `scratch` has room for `stored` bytes and may be `sealed` itself.
 */
struct zst;
int pack_open_chunk(struct aead *aead, struct zst *z, const uint8_t head[PACK_HEAD_BYTES], uint32_t offset, const uint8_t *sealed, size_t stored,
    uint8_t *scratch, uint8_t *plain, size_t plain_bytes, const uint8_t id[CHUNK_ID_BYTES], const struct repo *r, struct err *e) MUST_USE;

/* The id of a plain chunk. */
void pack_chunk_id(uint8_t id[CHUNK_ID_BYTES], const struct repo *r, enum pack_kind kind, const void *plain, size_t bytes);

/* "packs/ab/abcd...": owned by the caller; and back. */
char *pack_name(const uint8_t id[ID_BYTES]);
bool pack_id_of(const char *name, uint8_t id[ID_BYTES]);

#endif
