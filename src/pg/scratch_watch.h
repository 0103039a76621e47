#ifndef HF_SRC_PG_SCRATCH_WATCH_H
#define HF_SRC_PG_SCRATCH_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/child.h"
#include "base/err.h"

/*
 * What runs in a cage writes where it may, as long as there is room, and the disk is the host's.  The watch looks at the free space of
 * the folder's file system ten times a second, and kills the server when less than the floor is left.  Whoever works with that server
 * meets a lost connection, and asks here why.
 */
struct scratch_watch;

/* `server` is borrowed until scratch_watch_free, and must not be waited for meanwhile. */
struct scratch_watch *scratch_watch_new(const char *folder, uint64_t floor, struct child *server, struct err *e) MUST_USE;
void scratch_watch_free(struct scratch_watch *w);               /* ends its thread; NULL is nothing */

/* Whether it has killed the server; then also what was free, and what the folder held itself, or as much of that as a second was enough to
 * count.  Waits no longer than that. */
bool scratch_watch_struck(struct scratch_watch *w, uint64_t *free_bytes, uint64_t *held_bytes);

#endif
