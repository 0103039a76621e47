#ifndef HF_SRC_PG_SCRATCH_LEFT_H
#define HF_SRC_PG_SCRATCH_LEFT_H

#include "base/err.h"
#include "pg/conn.h"

/*
 * Databases of a drill on a server that somebody else runs are named after the drill, "holdfast_drill_<16 hex digits>" and then "_2" and so
 * on.  While it lives, a session of it holds an advisory lock of that number; the server lets go of it when the session ends, however it
 * ends.  So the next drill can tell what a dead one left.
 */
#define SCRATCH_LEFT_PREFIX "holdfast_drill_"

/* Holds the lock of `id` (16 hex digits) as long as `guard` is open, and drops what dead drills left: what cannot be dropped is logged. */
int scratch_left_begin(struct conn *guard, const char *id, struct err *e) MUST_USE;

#endif
