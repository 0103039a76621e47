#ifndef HF_BASE_CHILD_H
#define HF_BASE_CHILD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/sink.h"

/*
 * A child process.  Success is exit status 0 and nothing else; what it wrote to stderr is kept (the last 4 KiB) and
 * becomes part of the error.  It never inherits a descriptor that it was not given, nor our environment unless told.  It
 * is killed when the thread that started it ends, so start and wait in one thread.
 */
struct child_spec {
	const char *name;               /* for messages: "pg_dump of public.traces" */
	const char *const *argv;        /* NULL-terminated; argv[0] is a path */
	const char *const *env;         /* the whole environment, NULL-terminated; NULL is an empty one */
	bool pipe_in;                   /* we write to its stdin (child_write_end); else it reads /dev/null */
	bool pipe_out;                  /* we read its stdout (child_pump, child_read_end); else it goes where stderr goes */
	/* Run as SCHED_BATCH: a program that is woken for each 8 KB which a backend sends then does not take the backend's
	 * processor away each time, but reads what has come together when the backend waits. */
	bool batch;

	/* Runs in the child between fork and exec, async-signal-safe calls only; returns 0 or an errno, which becomes the
	 * error of child_start, with `prepare_what` ("enter the sandbox").  May itself wait for a grandchild. */
	int (*prepare)(void *ctx);
	void *prepare_ctx;
	const char *prepare_what;
};

struct child;

struct child *child_start(const struct child_spec *spec, struct err *e) MUST_USE;

/*
 * Reads the child's stdout to its end into `s` (borrowed), then waits for the child: 0 only when every byte was taken and
 * the status is 0 (R4).  Does not finish `s`: the caller does, as its commit.  `idle_ms` without a byte, or a request to
 * stop, kills the child and fails; 0 is no limit.
 */
int child_pump(struct child *c, struct sink *s, int64_t idle_ms, struct err *e) MUST_USE;

/* A sink that writes to the child's stdin; its finish closes that and waits for status 0, its free without finish kills the
 * child.  Borrows `c`, which must outlive it.  A child that ends early is reported by its own words, not as EPIPE. */
struct sink *child_sink_new(struct child *c);

/* Closes our ends and waits: 0 for status 0; ERR_TIMEOUT after `limit_ms` (0: no limit), when it is killed. */
int child_wait(struct child *c, int64_t limit_ms, struct err *e) MUST_USE;

/* Whether it still runs (does not wait). */
bool child_running(struct child *c);

/* Sends a signal; nothing when it has ended. */
void child_signal(struct child *c, int signo);

/* What it wrote to stderr so far, the last 4 KiB of it with lines cut at 400 bytes; valid until freed. */
const char *child_stderr(struct child *c);

/* Kills it with SIGKILL if it runs, and reaps it.  NULL is nothing. */
void child_free(struct child *c);

/* Runs to the end, with stdout into `out` (NULL: thrown away; borrowed, not finished). */
int child_run(const struct child_spec *spec, struct sink *out, int64_t limit_ms, struct err *e) MUST_USE;

#endif
