#ifndef HF_BASE_PROGRESS_H
#define HF_BASE_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/sink.h"

/*
 * How far a long piece of work is.  Counters may be added to from any thread; a thread of its own draws one line on a
 * terminal about three times a second (what, bytes of how many, rate, estimate, share that was known already), or, where
 * stderr is no terminal, logs one line a minute.  A silent one counts and shows nothing.
 */
struct progress;

struct progress *progress_new(bool silent);
void progress_free(struct progress *p);         /* takes the line away; NULL is nothing */

/* A new phase: sets the counters to 0.  `expected_bytes` 0: unknown. */
void progress_phase(struct progress *p, const char *what, uint64_t expected_bytes);
void progress_add(struct progress *p, uint64_t bytes);          /* of plain data gone through */
void progress_known(struct progress *p, uint64_t bytes);        /* of those, already in the repository */
uint64_t progress_bytes(const struct progress *p);

/* A stage of a stream that is at work for as long as it lives: of all of them the line names the one that moves most bytes, or
 * the oldest where none moves any.  `counts`: what passes is also added to the whole (progress_add).  `name` is copied; takes
 * `next`; must be freed before the progress is. */
struct sink *progress_sink_new(struct progress *p, const char *name, bool counts, struct sink *next);

#endif
