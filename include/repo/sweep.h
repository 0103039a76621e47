#ifndef HF_REPO_SWEEP_H
#define HF_REPO_SWEEP_H

#include <stdint.h>

#include "repo/repo.h"

/*
 * Deletion, in two phases (docs/repository-format.md, section 10; R5, R24, R28).  Which backups go is decided elsewhere
 * (retain.h); this carries it out.
 */

/* Removes a backup's manifest: from then on it does not exist, and its chunks are garbage.  ERR_LOCKED: it is on hold, and stays. */
int sweep_forget(struct repo *r, const char id[33], struct err *e) MUST_USE;

struct sweep_result {
	uint64_t condemned_packs, condemned_bytes;      /* by this call */
	uint64_t deleted_packs, deleted_bytes;          /* condemned longer than the grace period ago, and still unused */
	uint64_t rescued_packs;                         /* condemned earlier, in use again */
	uint64_t waiting_packs;                         /* condemned, still within the grace period, or held up by a run */
	const char *held_up;                            /* why nothing was deleted though something was due; NULL otherwise */
};

/*
 * Condemns what no backup leads to, and deletes what was condemned more than `grace_ms` ago by the store's own clock.
 * ERR_CORRUPT when a backup leads to a chunk that is nowhere, or when the listing of backups lacks one that is there: nothing is
 * touched then.
 */
int sweep_run(struct repo *r, int64_t grace_ms, struct sweep_result *result, struct err *e) MUST_USE;

#endif
