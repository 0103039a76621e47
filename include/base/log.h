#ifndef HF_BASE_LOG_H
#define HF_BASE_LOG_H

#include <stdbool.h>

#include "base/err.h"
#include "base/json.h"

/*
 * Words for the operator, on stderr.  As text: "holdfast: <message>".  As JSON (log_json): one object a line with time,
 * level and message.  Facts that somebody asked for go to stdout and are not log.  Safe from any thread.  Never log a
 * secret.
 */
enum log_level { LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG };

/* The most talkative level that is shown; LOG_INFO at first. */
void log_set_level(enum log_level level);
void log_set_json(bool json);

void log_error(const char *format, ...) PRINTF_LIKE(1, 2);
void log_warning(const char *format, ...) PRINTF_LIKE(1, 2);
void log_info(const char *format, ...) PRINTF_LIKE(1, 2);
void log_debug(const char *format, ...) PRINTF_LIKE(1, 2);

/* The warnings that were logged since this was last called (the first hundred), as an array of strings that the caller owns:
 * whatever was worth a warning is worth a place in the outcome, and an exit code. */
json_t *log_take_warnings(void);

/* An err, with its hint on a line of its own. */
void log_err(enum log_level level, const struct err *e);

/* Draws `line` at the bottom of a terminal (replacing the one before; NULL takes it away); nothing where stderr is none or
 * the log is JSON.  Log lines go above it. */
void log_status(const char *line);
bool log_has_terminal(void);

#endif
