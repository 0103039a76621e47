#ifndef HF_REPO_MARK_H
#define HF_REPO_MARK_H

#include "repo/index.h"

/*
 * Follows every backup to its chunks.  Needs no vault key.  `lost` is called for each thing that a backup leads to and that
 * is not there, not readable, or not what was recorded, with the backup's id and words that say so; it returns 0 to go on.
 */
struct mark {
	struct repo *repo;
	uint8_t *packs;                 /* a bit for each pack in use, by number in the index */
	uint32_t pack_count;
	uint64_t chunks;                /* references followed */
	uint64_t missing;               /* of the backup at work: those that lead nowhere */
	char first_missing[2 * CHUNK_ID_BYTES + 1];
	void (*uses)(void *ctx, uint32_t pack);         /* each pack of the backup at work, once or more; may be NULL */
	int (*lost)(void *ctx, const char *backup, const char *what, struct err *e);
	void *ctx;
};

/* One backup, by its manifest's detail. */
int mark_backup(struct mark *m, const char *id, const json_t *detail, struct err *e) MUST_USE;

void mark_begin(struct mark *m, struct repo *r);
void mark_end(struct mark *m);
bool mark_has(const struct mark *m, uint32_t pack);

#endif
