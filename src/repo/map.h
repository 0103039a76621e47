#ifndef HF_REPO_MAP_H
#define HF_REPO_MAP_H

#include "repo/index.h"

/*
 * The index as a file in the local cache: sorted entries of 36 bytes, mapped.  Written whole under another name, renamed when
 * complete, and ended by a SHA-256 that is checked when it is opened.  It never leaves the machine, so it uses the machine's
 * own byte order.
 */
#define MAP_ID_BYTES 20                 /* beginning of a chunk id: 160 bits of an HMAC; two alike in 2^64 chunks: 1 in 2^33 */

struct map_entry {
	uint8_t id[MAP_ID_BYTES];
	uint32_t pack, offset, stored, plain;
};

_Static_assert(sizeof(struct map_entry) == 36, "with the table of packs, less than 40 bytes a chunk");

#define MAP_RUN 262144                  /* entries in memory while a map is built: 9 MiB */

struct map {
	void *memory;                   /* NULL: no map */
	size_t bytes;
	int fd;                         /* of the file that is mapped */
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

/*
 * Entries on their way into a map, any number in any order, in the memory of MAP_RUN: what is more goes, sorted, to a file
 * below `folder` that has no name.  Where that cannot be written a warning says so, and all stays in memory.
 */
struct map_runs {
	const char *folder;             /* borrowed */
	struct map_entry *entries;      /* those in memory */
	size_t count, room;
	int fd;                         /* runs of MAP_RUN entries, the last one of fewer; -1: none yet */
	uint64_t spilled;               /* entries in the file */
	bool failed;
};

#define MAP_RUNS_INIT(in) { .folder = (in), .fd = -1 }

void map_runs_add(struct map_runs *runs, const struct map_entry *entry);

/* Takes back some of the entries: *count of them, valid until the next call; 0 when there are no more. */
int map_runs_take(struct map_runs *runs, const struct map_entry **entries, size_t *count, struct err *e) MUST_USE;
void map_runs_free(struct map_runs *runs);

/*
 * Merges the entries of `m` (which may be empty) and `runs` into a new map, which `m` then is; it is kept at `path` in
 * the runs' folder, or nowhere (NULL: the file has no name).  On failure `m` and `runs` have what they had.
 */
int map_build(struct map *m, const char *path, const uint8_t uuid[16], const uint8_t (*ids)[ID_BYTES], size_t id_count,
    const struct pack_info *packs, size_t pack_count, struct map_runs *runs, struct err *e) MUST_USE;

#endif
