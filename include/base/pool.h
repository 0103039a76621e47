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

/*
 * `background` workers run only when nobody else wants the processor (SCHED_IDLE): the database backend and the pg_dump that
 * feed them never wait for them.  So that a machine that is never idle cannot starve them for good, a submitter who finds no
 * room for a while does its job itself, at its own priority; it waits less each time that happens, and more again once
 * the workers get on.
 */
struct pool *pool_new(unsigned threads, size_t depth, bool background);

void pool_submit(struct pool *p, void (*run)(void *arg), void *arg);

/* Waits until every job submitted so far has run; helps with those that nobody has begun. */
void pool_drain(struct pool *p);

/* Drains, ends the threads, frees.  NULL is nothing. */
void pool_free(struct pool *p);

#endif
