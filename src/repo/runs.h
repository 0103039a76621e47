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

/* How many other runs are under way. */
int runs_others(struct repo *r, const uint8_t own[RUN_ID_BYTES], size_t *count, struct err *e) MUST_USE;

/* Reads the directories of the packs of all other runs that the index does not know, takes them up, and appends their records
 * to `records`, so that they get into this run's index object.  *count gets how many packs that were. */
int runs_adopt(struct repo *r, const uint8_t own[RUN_ID_BYTES], struct buf *records, uint64_t *count, struct err *e) MUST_USE;

/* Removes markers of this host whose process is gone, except `own`: call when their packs are in a durable index. */
int runs_bury(struct repo *r, const uint8_t own[RUN_ID_BYTES], struct err *e) MUST_USE;

/* Whether the process of a marker is seen to run, which it is on its own host only. */
bool runs_alive(struct repo *r, const uint8_t id[ID_BYTES]);

/* Reads the directory of a pack in the store (its size known from a listing). *entries is owned by the caller. */
int pack_fetch_directory(struct repo *r, const uint8_t id[ID_BYTES], uint64_t object_bytes, struct pack_info *info, struct pack_entry **entries,
    struct err *e) MUST_USE;

#endif
