#include "base/log.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/width.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static enum log_level shown = LOG_INFO;
static bool as_json;
static char status[512];
static json_t *warnings;                /* NULL: none yet */

enum { WARNINGS_MOST = 100 };

static const char *const level_names[] = { "error", "warning", "info", "debug" };

void
log_set_level(enum log_level level)
{
	shown = level;
}

void
log_set_json(bool json)
{
	as_json = json;
}

bool
log_has_terminal(void)
{
	return !as_json && isatty(STDERR_FILENO);
}

static void
draw_status(void)
{
	struct buf line = BUF_INIT;

	if (status[0] == '\0')
		return;
	width_add(&line, status, width_terminal(STDERR_FILENO, 80) - 1);
	fprintf(stderr, "\r\033[K%s", (const char *)line.data);
	buf_free(&line);
}

static void
write_line(enum log_level level, const char *message, const char *hint)
{
	char now[CLOCK_TEXT];

	pthread_mutex_lock(&lock);
	if (level == LOG_WARNING && json_array_size(warnings) < WARNINGS_MOST) {
		if (warnings == NULL)
			warnings = json_array();
		json_add(warnings, json_str(message));
	}
	if (level > shown) {
		pthread_mutex_unlock(&lock);
		return;
	}
	if (as_json) {
		json_t *line = json_object();
		char *text;

		json_put_str(line, "time", clock_format(now, clock_wall_us()));
		json_put_str(line, "level", level_names[level]);
		json_put_str(line, "message", message);
		if (hint != NULL && hint[0] != '\0')
			json_put_str(line, "hint", hint);
		text = json_text(line, JSON_COMPACT);
		fprintf(stderr, "%s\n", text);
		free(text);
		json_decref(line);
	} else {
		if (status[0] != '\0')
			fprintf(stderr, "\r\033[K");
		fprintf(stderr, "holdfast: %s%s\n", level == LOG_WARNING ? "warning: " : "", message);
		if (hint != NULL && hint[0] != '\0')
			fprintf(stderr, "holdfast: hint: %s\n", hint);
		draw_status();
	}
	pthread_mutex_unlock(&lock);
}

static void PRINTF_LIKE(2, 0)
say(enum log_level level, const char *format, va_list args)
{
	char message[2048];

	if (vsnprintf(message, sizeof(message), format, args) < 0)
		return;
	write_line(level, message, NULL);
}

#define LOG_AT(function, level)                         \
	void function(const char *format, ...)          \
	{                                               \
		va_list args;                           \
							\
		va_start(args, format);                 \
		say(level, format, args);               \
		va_end(args);                           \
	}

LOG_AT(log_error, LOG_ERROR)
LOG_AT(log_warning, LOG_WARNING)
LOG_AT(log_info, LOG_INFO)
LOG_AT(log_debug, LOG_DEBUG)

json_t *
log_take_warnings(void)
{
	json_t *taken;

	pthread_mutex_lock(&lock);
	taken = warnings != NULL ? warnings : json_array();
	warnings = NULL;
	pthread_mutex_unlock(&lock);
	return taken;
}

void
log_err(enum log_level level, const struct err *e)
{
	write_line(level, e->msg, e->hint);
}

void
log_status(const char *line)
{
	if (!log_has_terminal())
		return;
	pthread_mutex_lock(&lock);
	if (line == NULL && status[0] != '\0')
		fprintf(stderr, "\r\033[K");
	snprintf(status, sizeof(status), "%s", line != NULL ? line : "");
	draw_status();
	fflush(stderr);
	pthread_mutex_unlock(&lock);
}
