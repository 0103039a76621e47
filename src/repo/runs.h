#ifndef HF_REPO_RUNS_H
#define HF_REPO_RUNS_H

#include "repo/index.h"

/*
 * Markers of runs that are under way (docs/repository-format.md, section 10).  A marker is put before anything else, so that
 * whoever sweeps sees the run, and so that the next run finds the packs of one that was killed.
 */
#define RUN_ID_BYTES 8

int runs_begin(struct repo *r, const uint8_t run_id[RUN_ID_BYTES], const char *command, struct err *e) MUST_USE;
int runs_end(struct repo *r, const uint8_t run_id[RUN_ID_BYTES], struct err *e) MUST_USE;

/* 0 when the marker is there, ERR_NOT_FOUND when somebody removed it. */
int runs_stands(struct repo *r, const uint8_t run_id[RUN_ID_BYTES], struct err *e) MUST_USE;

enum run_life { RUN_UNKNOWN, RUN_ALIVE, RUN_DEAD };

/* Whether the process of a marker lives: known on its own host and in its own container only, unknown where the marker cannot be read. */
enum run_life runs_life(struct repo *r, const uint8_t id[ID_BYTES]);

/* How many other runs are under way: those that are not known to be dead. */
int runs_others(struct repo *r, const uint8_t own[RUN_ID_BYTES], size_t *count, struct err *e) MUST_USE;

struct runs_adopted {
	uint64_t packs;
	uint8_t (*dead)[ID_BYTES];      /* runs that were dead before their packs were taken up: end them when the records are in a durable index */
	size_t dead_count;
};

/* Reads the directories of the packs of all other runs that the index does not know, takes them up, and appends their records
 * to `records`, so that they get into this run's index object.  `to` has zeros before; to->dead is owned by the caller, also after a
 * failure. */
int runs_adopt(struct repo *r, const uint8_t own[RUN_ID_BYTES], struct buf *records, struct runs_adopted *to, struct err *e) MUST_USE;

/* Removes the markers of dead runs, except `own`, that left no pack: what the others left is for the next run. */
int runs_bury(struct repo *r, const uint8_t own[RUN_ID_BYTES], struct err *e) MUST_USE;

/*
 * Who removes a backup: the command in its marker, and how long it may take from the marker to the removal.  Whether such a run is under
 * way at `now_us` of the store's clock: not a dead one, nor one whose marker is older.  A marker that cannot be read may be one.
 */
#define RUN_FORGETS "forget"
#define RUN_FORGETS_MAX_MS 3600000LL
int runs_forgetting(struct repo *r, int64_t now_us, bool *any, struct err *e) MUST_USE;

/* Reads the directory of a pack in the store (its size known from a listing). *entries is owned by the caller. */
int pack_fetch_directory(struct repo *r, const uint8_t id[ID_BYTES], uint64_t object_bytes, struct pack_info *info, struct pack_entry **entries,
    struct err *e) MUST_USE;

#endif
