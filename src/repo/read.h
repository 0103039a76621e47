#ifndef HF_REPO_READ_H
#define HF_REPO_READ_H

#include "repo/index.h"

/* One entry of a stream's list. */
struct list_entry {
	uint8_t id[CHUNK_ID_BYTES];
	uint32_t plain;
};

/* Keeps the keys of packs that were read lately, so that a header is fetched once.  Safe from any thread. */
struct pack_keys;
struct pack_keys *pack_keys_new(struct repo *r);
void pack_keys_free(struct pack_keys *k);

/* Fetches and opens one list chunk (hex id, as in a manifest) that `x` knows.  Needs no vault key.  *entries is owned by the caller.
 * ERR_NOT_FOUND: the pack that `x` names is not there. */
int read_list(struct repo *r, struct index *x, struct pack_keys *keys, const char *id_hex, struct list_entry **entries, size_t *count, struct err *e) MUST_USE;

/* The pure part: the bytes of a list chunk to entries; ERR_CORRUPT when they are none. */
int read_list_parse(const uint8_t *data, size_t bytes, size_t chunk_max, struct list_entry **entries, size_t *count, struct err *e) MUST_USE;

#endif
