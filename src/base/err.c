#include "base/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Longest text first formatted, then cut: vsnprintf always ends the string. */
static void PRINTF_LIKE(3, 0)
put(char *to, size_t bytes, const char *format, va_list args)
{
	if (vsnprintf(to, bytes, format, args) < 0)
		to[0] = '\0';
}

int
err_set(struct err *e, enum err_kind kind, const char *format, ...)
{
	va_list args;

	err_clear(e);
	e->kind = kind;
	va_start(args, format);
	put(e->msg, sizeof(e->msg), format, args);
	va_end(args);
	return -1;
}

static enum err_kind
kind_of_errno(int sys)
{
	switch (sys) {
	case ENOSPC:
	case EDQUOT:
		return ERR_SPACE;
	case EACCES:
	case EPERM:
	case EROFS:
		return ERR_DENIED;
	case ENOENT:
		return ERR_NOT_FOUND;
	case EEXIST:
		return ERR_EXISTS;
	default:
		return ERR_FAILED;
	}
}

int
err_sys(struct err *e, const char *format, ...)
{
	int sys = errno;
	size_t used;
	va_list args;

	err_clear(e);
	e->kind = kind_of_errno(sys);
	e->sys = sys;
	va_start(args, format);
	put(e->msg, sizeof(e->msg), format, args);
	va_end(args);
	used = strlen(e->msg);
	snprintf(e->msg + used, sizeof(e->msg) - used, ": %s", strerror(sys));
	return -1;
}

int
err_wrap(struct err *e, const char *format, ...)
{
	char before[sizeof(e->msg)], after[sizeof(e->msg)];
	va_list args;

	va_start(args, format);
	put(before, sizeof(before), format, args);
	va_end(args);
	memcpy(after, e->msg, sizeof(after));
	/* What is cut when it grows too long is the end; the innermost text is what the reader needs, so bound the front. */
	snprintf(e->msg, sizeof(e->msg), "%.300s: %.720s", before, after);
	return -1;
}

int
err_hint(struct err *e, const char *format, ...)
{
	va_list args;

	if (e->hint[0] != '\0')
		return -1;
	va_start(args, format);
	put(e->hint, sizeof(e->hint), format, args);
	va_end(args);
	return -1;
}

void
err_clear(struct err *e)
{
	e->kind = ERR_NONE;
	e->sys = 0;
	e->msg[0] = '\0';
	e->hint[0] = '\0';
}

/* One row a kind: its stable word, and the exit code that it gives a command. */
static const struct {
	const char *name;
	int exit_code;
} kinds[] = {
	[ERR_NONE] = { "none", 0 },
	[ERR_FAILED] = { "failed", 1 },
	[ERR_USAGE] = { "usage", 2 },
	[ERR_NOT_FOUND] = { "not_found", 1 },
	[ERR_EXISTS] = { "exists", 8 },
	[ERR_CORRUPT] = { "corrupt", 1 },
	[ERR_KEY] = { "key", 1 },
	[ERR_DENIED] = { "denied", 1 },
	[ERR_SPACE] = { "space", 1 },
	[ERR_STORE] = { "store", 5 },
	[ERR_DATABASE] = { "database", 6 },
	[ERR_LOCKED] = { "locked", 7 },
	[ERR_REFUSED] = { "refused", 8 },
	[ERR_NOT_PROVEN] = { "not_proven", 4 },
	[ERR_TIMEOUT] = { "timeout", 1 },
	[ERR_STOPPED] = { "stopped", 128 },
};

const char *
err_kind_name(enum err_kind kind)
{
	return kinds[kind].name;
}

int
err_exit_code(const struct err *e)
{
	if (e->kind == ERR_STOPPED)
		return 128 + e->sys;
	return kinds[e->kind].exit_code;
}
