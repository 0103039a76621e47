#ifndef HF_BASE_ERR_H
#define HF_BASE_ERR_H

#include <stdarg.h>
#include <stdbool.h>

#define MUST_USE __attribute__((warn_unused_result))
#define PRINTF_LIKE(text, first) __attribute__((format(printf, text, first)))

/*
 * Every function that can fail returns 0 or -1 (or a pointer or NULL) and takes a struct err as its last argument.  The
 * line that knows most about a failure says it, once, with err_set or err_sys; callers on the way up add what they were
 * doing with err_wrap; the program prints the whole once, at the top.
 *
 * Code decides on the kind only (retry, exit code, level of a report); the text is for people: lower-case, no full stop,
 * the thing named in quotes, numbers with their unit.  A hint is a sentence or two: what the reader can do now.  The
 * first hint that is set stays, since it was set by the line that knew most.
 *
 * A struct err is a plain value; ERR_INIT makes an empty one.  Nothing in it is owned.  Text beyond the buffers is cut.
 * Never put a secret into an err.
 */
enum err_kind {
	ERR_NONE = 0,
	ERR_FAILED,             /* anything that has no kind of its own */
	ERR_USAGE,              /* the command line or the configuration is wrong */
	ERR_NOT_FOUND,          /* the named thing is not there: proved by an answer, never by a timeout */
	ERR_EXISTS,             /* the thing to be made is there already; it was left untouched */
	ERR_CORRUPT,            /* bytes from outside are not what was stored */
	ERR_KEY,                /* wrong or missing key, or a key without the right to do this */
	ERR_DENIED,             /* credentials or file rights do not allow it; a retry will not help */
	ERR_SPACE,              /* disk, memory, quota or store is full */
	ERR_STORE,              /* store unreachable or answered with a transient failure: a retry may help */
	ERR_DATABASE,           /* database server unreachable, or a connection to it was lost */
	ERR_LOCKED,             /* another run, or a lock in the database, is in the way */
	ERR_REFUSED,            /* policy: it could be done, and will not be (R3, R5, R37) */
	ERR_NOT_PROVEN,         /* a drill or verification ran and its verdict is not "proven" */
	ERR_TIMEOUT,            /* a deadline of ours ran out */
	ERR_STOPPED,            /* a signal asked us to stop; `sys` is the signal's number */
};

struct err {
	enum err_kind kind;
	int sys;                        /* errno where there was one, the signal for ERR_STOPPED; else 0 */
	char msg[1024];
	char hint[512];
};

#define ERR_INIT { .kind = ERR_NONE }

/* Sets kind and text (errno is not looked at); replaces whatever `e` held.  Always returns -1, so that it can be
 * returned. */
int err_set(struct err *e, enum err_kind kind, const char *format, ...) PRINTF_LIKE(3, 4);

/* Sets an error from errno: "<text>: <strerror>".  ENOSPC and EDQUOT become ERR_SPACE; EACCES, EPERM and EROFS become
 * ERR_DENIED; ENOENT becomes ERR_NOT_FOUND; EEXIST ERR_EXISTS; all else ERR_FAILED.  Returns -1. */
int err_sys(struct err *e, const char *format, ...) PRINTF_LIKE(2, 3);

/* Puts "<text>: " before the message.  Kind and hint stay.  Returns -1. */
int err_wrap(struct err *e, const char *format, ...) PRINTF_LIKE(2, 3);

/* Sets the hint unless one is set.  Returns -1. */
int err_hint(struct err *e, const char *format, ...) PRINTF_LIKE(2, 3);

void err_clear(struct err *e);

/* The kind as a stable word ("corrupt", "store", ...), for JSON and logs. */
const char *err_kind_name(enum err_kind kind);

/* The exit code that a command ends with for this error: 1 to 8 (DESIGN.md, "Words of the command line"), or 128 + signal. */
int err_exit_code(const struct err *e);

#endif
