#ifndef HF_REPO_INDEX_H
#define HF_REPO_INDEX_H

#include "base/bytes.h"
#include "repo/inner.h"
#include "repo/pack.h"

/*
 * Which chunk lies where.  Most of it comes from a sorted file in the local cache that is mapped, not held (map.h): 36 bytes
 * a chunk.  What the file does not know yet (newer index objects, this run's own packs) is held in a hash table of the same
 * entries.  The cache is only a cache: a map that is missing, damaged, or knows index objects that are gone is built anew.
 *
 * Finding and claiming are safe from any thread once the index is loaded; adding packs too.
 */
struct place {
	uint32_t pack;                  /* number for index_pack */
	uint32_t offset, stored, plain;
};

/* What the store says; in the order of how much a pack is to be relied upon. */
enum pack_seen {
	PACK_ABSENT,                    /* not there, or of another size: treated like a condemned one (R28), though a listing proves nothing (R24) */
	PACK_UNASKED,
	PACK_THERE
};

struct pack_info {
	uint8_t id[ID_BYTES];
	uint8_t sha256[32];             /* zeros: not known (index rebuilt from the packs) */
	uint32_t bytes, chunks;
	enum pack_kind kind;
	bool condemned;                 /* a sweep object names it: nothing new may rely on it */
	enum pack_seen seen;
};

/* The index as it is now, from cache and store; freed by index_free. */
struct index *index_open(struct repo *r, struct err *e) MUST_USE;
void index_free(struct index *x);               /* NULL is nothing */

/* The same into r->index, in the place of one that was loaded before. */
int index_load(struct repo *r, struct err *e) MUST_USE;

/* Lists the packs, for who will need them all: from now on it is known which are there. */
int index_ask_for_packs(struct index *x, struct err *e) MUST_USE;

/*
 * Where a chunk lies: the best place that we know, a condemned pack before an absent one; of several the store is asked
 * about.  ERR_NOT_FOUND: nowhere.
 */
int index_find(struct index *x, const uint8_t id[CHUNK_ID_BYTES], struct place *p, struct err *e) MUST_USE;

/*
 * *ours: the caller must store this chunk, for nobody has it in a pack that is there and will stay, and nobody else
 * claimed it.  Asks the store for a pack when it is relied upon for the first time.
 */
int index_claim(struct index *x, const uint8_t id[CHUNK_ID_BYTES], bool *ours, struct err *e) MUST_USE;

/* Takes up a pack whose chunks lie behind its header as `entries` says.  A pack that is known already is left as it is. */
void index_add(struct index *x, const struct pack_info *info, const struct pack_entry *entries);

/* The packs that sweep objects name: an object with a member for each hex id, added to *condemned (made when NULL). */
int index_condemned(struct repo *r, json_t **condemned, struct err *e) MUST_USE;

uint32_t index_packs(struct index *x);
struct pack_info index_pack(struct index *x, uint32_t number);
bool index_find_pack(struct index *x, const uint8_t id[ID_BYTES], uint32_t *number);

/* Packs that were found not to be there and that nobody is known to have condemned. */
uint32_t index_absent(struct index *x);

/* Chunks known, counting one that lies in several packs as often. */
uint64_t index_chunks(const struct index *x);
size_t index_objects(const struct index *x, const uint8_t (**ids)[ID_BYTES]);
bool index_mapped(const struct index *x);

/* The packs' records as section 7 of the format writes them, appended to `to`; entries are read from the packs' directories
 * in memory. */
void index_record(struct buf *to, const struct pack_info *info, const struct pack_entry *entries);

/* Calls `each` for every pack record of an index object's section; ERR_CORRUPT when it is malformed. */
int index_parse(const struct buf *section, int (*each)(void *ctx, const struct pack_info *info, const struct pack_entry *entries, struct err *e),
    void *ctx, struct err *e) MUST_USE;

/* Puts records as index objects, as many as are needed; `to` is emptied.  Call while adding records, `last` at the end. */
int index_put(struct repo *r, struct buf *records, bool last, struct err *e) MUST_USE;

/* Whether index_put would put them now. */
bool index_full(const struct buf *records);

#endif
