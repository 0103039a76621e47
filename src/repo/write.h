#ifndef HF_REPO_WRITE_H
#define HF_REPO_WRITE_H

#include <pthread.h>

#include "base/hash.h"
#include "base/pool.h"
#include "codec/zst.h"
#include "repo/runs.h"

/*
 * One run: streams are cut by the threads that bring them; workers hash, look up, compress and seal; packs that are full are
 * put by two more threads.  Everything that waits is bounded, so memory is: chunks in flight, one open pack a lane, two
 * packs on their way.
 *
 * A lane is an open pack.  A stream keeps one lane while it lasts, so that its chunks lie together and are read back in
 * long ranges; when it ends, the next stream goes on in the same lane, so that many small streams share packs.
 */
#define WRITE_UPLOADS 2

struct lane {
	pthread_mutex_t lock;           /* guards pack */
	enum pack_kind kind;
	struct pack pack;
	bool open, taken;
	struct lane *next;
};

struct scratch {                        /* what a worker needs; kept from job to job */
	struct zst *zst;
	uint8_t *room;
	struct scratch *next;
};

struct chunk_ref {
	uint8_t id[CHUNK_ID_BYTES];
	uint32_t plain;
};

struct stream {
	char *name, *kind, *database;
	struct chunk_ref *chunks;
	size_t count, room, pending;
	uint64_t bytes;
	uint8_t digest[SHA256_BYTES];
	json_t *lists;
	bool complete;
	struct stream *next;
};

struct chunk_buf {
	struct chunk_buf *next;
	size_t bytes;
	uint8_t data[];
};

struct repo_run {
	struct repo *repo;
	uint8_t run_id[RUN_ID_BYTES];
	struct runs_adopted adopted;
	struct pool *workers, *uploads;
	pthread_mutex_t lock;           /* guards all below */
	pthread_cond_t stream_idle;
	struct err error;               /* the first one; everything after it is without meaning */
	struct lane *lanes, *lists;
	struct scratch *scratches;
	struct chunk_buf *buffers;
	struct stream *streams;
	struct buf records;
	struct repo_stats stats;
	bool begun;                     /* its marker stands */
	void (*seen)(void *ctx, uint64_t bytes, uint64_t known);
	void *seen_ctx;
};

/* The run's first error, and whether there is one (then it is copied to `e`, and -1 is returned). */
void write_fail(struct repo_run *run, const struct err *e);
int write_check(struct repo_run *run, struct err *e) MUST_USE;

/* Ships every open pack and waits until all are put, or one could not be. */
void write_flush(struct repo_run *run);

struct lane *write_lane_new(enum pack_kind kind);
void write_lane_free(struct lane *lane);
void write_stream_free(struct stream *s);

#endif
