#ifndef HF_BASE_POOL_H
#define HF_BASE_POOL_H

#include <stddef.h>

/*
 * Worker threads behind one bounded queue.  pool_submit waits while `depth` jobs are queued or running, which is what
 * bounds the memory of everything that flows through it.  Jobs report their own errors; the pool knows none.
 *
 * Jobs of one pool must not submit to the same pool (they would wait for themselves).
 */
struct pool;

/* `low_priority` is a nice value for the workers (0: as ours), so that a database backend on the same machine always gets
 * its core. */
struct pool *pool_new(unsigned threads, size_t depth, int low_priority);

void pool_submit(struct pool *p, void (*run)(void *arg), void *arg);

/* Waits until every job submitted so far has run. */
void pool_drain(struct pool *p);

/* Drains, ends the threads, frees.  NULL is nothing. */
void pool_free(struct pool *p);

#endif
