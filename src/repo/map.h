#ifndef HF_REPO_MAP_H
#define HF_REPO_MAP_H

#include "repo/index.h"

/*
 * The index as a file in the local cache: sorted entries of 40 bytes, mapped.  Written whole under another name, renamed when
 * complete, and ended by a SHA-256 that is checked when it is opened.  It never leaves the machine, so it uses the machine's
 * own byte order.
 */
struct map_entry {
	uint8_t id[24];                 /* beginning of a chunk id: 192 bits of an HMAC */
	uint32_t pack, offset, stored, plain;
};

_Static_assert(sizeof(struct map_entry) == 40, "40 bytes a chunk");

struct map {
	void *memory;                   /* NULL: no map */
	size_t bytes;
	const uint8_t (*ids)[ID_BYTES]; /* index objects that went into it */
	uint32_t id_count, pack_count;
	const uint8_t *packs;           /* MAP_PACK_BYTES each */
	const struct map_entry *entries;
	uint64_t entry_count;
};

/* ERR_NOT_FOUND: none; ERR_CORRUPT: damaged, or of another repository. */
int map_open(struct map *m, const char *path, const uint8_t uuid[16], struct err *e) MUST_USE;
void map_close(struct map *m);

void map_pack(const struct map *m, uint32_t number, struct pack_info *info);

/* Number of the first entry with this beginning, and how many there are. */
uint64_t map_find(const struct map *m, const uint8_t id[CHUNK_ID_BYTES], uint64_t *count);

/* Merges the sorted entries of `base` and `added` (sorted, too) into a new file at `path`. */
int map_write(const char *path, const uint8_t uuid[16], const uint8_t (*ids)[ID_BYTES], size_t id_count, const struct pack_info *packs,
    size_t pack_count, const struct map *base, const struct map_entry *added, size_t added_count, struct err *e) MUST_USE;

#endif
