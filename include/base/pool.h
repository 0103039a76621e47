#ifndef HF_BASE_POOL_H
#define HF_BASE_POOL_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Worker threads behind one bounded queue.  pool_submit waits while `depth` jobs are queued or running, which is what
 * bounds the memory of everything that flows through it.  Jobs report their own errors; the pool knows none.
 *
 * Jobs of one pool must not submit to the same pool (they would wait for themselves).
 */
struct pool;

/* `background` workers give way: the database backend and the pg_dump that feed them get the processor first. */
struct pool *pool_new(unsigned threads, size_t depth, bool background);

void pool_submit(struct pool *p, void (*run)(void *arg), void *arg);

/* Waits until every job submitted so far has run; helps with those that nobody has begun. */
void pool_drain(struct pool *p);

/* Drains, ends the threads, frees.  NULL is nothing. */
void pool_free(struct pool *p);

#endif
