#ifndef HF_BASE_STOP_H
#define HF_BASE_STOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/*
 * The one place where signals arrive.  SIGINT, SIGTERM and SIGHUP ask the program to stop: whatever waits polls stop_fd()
 * beside what it waits for, loops ask stop_check(), and the call unwinds with ERR_STOPPED, so that scratch clusters are
 * removed and children end.  A second signal of the same kind ends the process at once.  SIGPIPE is ignored.
 */

/* Installs the handlers; call once, before any thread is started. */
void stop_install(void);

/* Readable (for ever) once a signal has come; -1 when stop_install was not called.  poll ignores a negative descriptor. */
int stop_fd(void);

/* 0, or -1 with ERR_STOPPED (a signal came) or ERR_TIMEOUT (the deadline is over). */
int stop_check(struct err *e);

/* From `ms` milliseconds from now on, stop_check fails: the ceiling on a whole job (R12).  0 takes it away.  `what` (a string
 * constant) names the job in the message. */
void stop_set_deadline(int64_t ms, const char *what);

/* Puts the signal handling of a child back to the default: async-signal-safe, called between fork and exec. */
void stop_reset_in_child(void);

/* While on, stop_check is 0 and stop_fd is -1: for cleaning up behind a stop (dropping a scratch database, removing a marker).  A second
 * signal of the same kind still ends the process. */
void stop_hold_off(bool on);

/* Clears a pending request: for cleaning up after a stop with code that itself would be stopped, and for tests. */
void stop_clear(void);

#endif
