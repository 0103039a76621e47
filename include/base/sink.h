#ifndef HF_BASE_SINK_H
#define HF_BASE_SINK_H

#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

/*
 * A sink takes a stream of bytes.  Sinks are chained: each does its work and passes the result to `next`, which it owns.
 * The same type carries a dump on its way out (digest, cut, store) and on its way back.
 *
 * The life of a sink: write, any number of times; then either finish, once, when everything before it went well, or
 * nothing.  Then free, always.  finish commits: what it was told to make exists, durably, when it returns 0.  free without
 * finish abandons and leaves no trace.  After any call that failed, only free is allowed (asserted).
 *
 * That a producer fell silent is not success: whoever reads from a child process calls finish only after the child has
 * exited with status 0.
 *
 * A sink is used by one thread at a time.
 */
struct sink {
	const struct sink_ops *ops;
	struct sink *next;              /* owned; NULL in a last stage */
	enum { SINK_OPEN, SINK_FINISHED, SINK_FAILED } state;
};

struct sink_ops {
	int (*write)(struct sink *s, const void *data, size_t bytes, struct err *e);
	int (*finish)(struct sink *s, struct err *e);           /* must finish `next` itself, when it has done its own part */
	void (*free)(struct sink *s);                           /* frees this stage only; sink_free walks the chain */
};

/* Takes all `bytes` or fails; never short.  0 bytes is nothing, not an end. */
int sink_write(struct sink *s, const void *data, size_t bytes, struct err *e) MUST_USE;

/* Flushes this stage, then finishes the next.  Errors are those of the stage that failed, wrapped by none. */
int sink_finish(struct sink *s, struct err *e) MUST_USE;

/* Frees the whole chain.  NULL is nothing. */
void sink_free(struct sink *s);

/* Takes everything and keeps nothing. */
struct sink *sink_null_new(void);

/* Appends to `to` (borrowed) at most `limit` bytes; more is ERR_CORRUPT, since what is read this way is small by nature. */
struct sink *sink_buf_new(struct buf *to, size_t limit);

/* Writes to a descriptor (borrowed, not closed).  finish does not sync: it is for pipes and terminals, files are made
 * by base/file.h.  `name` is for messages. */
struct sink *sink_fd_new(int fd, const char *name);

#endif
