#ifndef HF_PG_DUMP_PLAN_H
#define HF_PG_DUMP_PLAN_H

#include "pg/dump.h"

/*
 * How a dump is cut into streams.  Complete by construction: `rest` is told to leave out the data of exactly those tables
 * that have a stream of their own, and each of these is told to leave out the sequences its table owns, which pg_dump -t
 * would add, since `rest` has them.
 */
struct dump_plan {
	struct dump_stream *streams;
	char ***options;                /* of each stream: options of pg_dump that choose what is in it, NULL-terminated */
	size_t n;
};

/* Asks within the leader's snapshot. */
int dump_plan_make(struct dump_plan *p, struct conn *leader, uint64_t large_table_bytes, struct err *e) MUST_USE;
void dump_plan_free(struct dump_plan *p);

#endif
