#include "base/clock.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/stop.h"

int64_t
clock_wall_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t
clock_mono_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int
clock_sleep_ms(int64_t ms, struct err *e)
{
	int64_t until = clock_mono_ms() + ms;

	for (;;) {
		struct pollfd stop = { .fd = stop_fd(), .events = POLLIN };
		int64_t left = until - clock_mono_ms();

		if (stop_check(e))
			return -1;
		if (left <= 0)
			return 0;
		poll(&stop, 1, left > 60000 ? 60000 : (int)left);
	}
}

static const char *
format(char *to, int64_t wall_us, bool fraction)
{
	int64_t us = wall_us % 1000000;
	time_t s;
	struct tm tm;
	size_t used;

	if (us < 0)
		us += 1000000;
	s = (time_t)((wall_us - us) / 1000000);
	gmtime_r(&s, &tm);
	used = strftime(to, CLOCK_TEXT, "%Y-%m-%dT%H:%M:%S", &tm);
	if (fraction)
		snprintf(to + used, CLOCK_TEXT - used, ".%06" PRId64 "Z", us);
	else
		snprintf(to + used, CLOCK_TEXT - used, "Z");
	return to;
}

const char *
clock_format(char *to, int64_t wall_us)
{
	return format(to, wall_us, true);
}

const char *
clock_format_s(char *to, int64_t wall_us)
{
	return format(to, wall_us, false);
}

/* Reads exactly `digits` digits with a value in [low, high] and steps over them; false for anything else. */
static bool
number(const char **p, int digits, int low, int high, int *value)
{
	int v = 0;

	for (int i = 0; i < digits; i++, (*p)++) {
		if (!isdigit((unsigned char)**p))
			return false;
		v = v * 10 + (**p - '0');
	}
	*value = v;
	return v >= low && v <= high;
}

static bool
literal(const char **p, char c)
{
	if (**p != c)
		return false;
	(*p)++;
	return true;
}

static bool
parse(int64_t *wall_us, const char *p)
{
	struct tm tm, back;
	int hours, minutes, sign = 0;
	int64_t us = 0;
	time_t s;

	memset(&tm, 0, sizeof(tm));
	if (!number(&p, 4, 1970, 9999, &tm.tm_year) || !literal(&p, '-') || !number(&p, 2, 1, 12, &tm.tm_mon) || !literal(&p, '-') ||
	    !number(&p, 2, 1, 31, &tm.tm_mday) || !literal(&p, 'T') || !number(&p, 2, 0, 23, &tm.tm_hour) || !literal(&p, ':') ||
	    !number(&p, 2, 0, 59, &tm.tm_min) || !literal(&p, ':') || !number(&p, 2, 0, 59, &tm.tm_sec))
		return false;
	if (literal(&p, '.')) {
		int64_t unit = 100000;

		if (!isdigit((unsigned char)*p))
			return false;
		for (; isdigit((unsigned char)*p); p++, unit /= 10)
			us += (*p - '0') * unit;
	}
	hours = minutes = 0;
	if (!literal(&p, 'Z')) {
		sign = *p == '+' ? 1 : *p == '-' ? -1 : 0;
		p++;
		if (sign == 0 || !number(&p, 2, 0, 23, &hours) || !literal(&p, ':') || !number(&p, 2, 0, 59, &minutes))
			return false;
	}
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	back = tm;
	s = timegm(&back);
	/* timegm turns 31 February into March; the date was never one. */
	if (back.tm_mday != tm.tm_mday || back.tm_mon != tm.tm_mon)
		return false;
	*wall_us = ((int64_t)s - sign * (hours * 3600 + minutes * 60)) * 1000000 + us;
	return *p == '\0';
}

int
clock_parse(int64_t *wall_us, const char *text, struct err *e)
{
	if (parse(wall_us, text))
		return 0;
	err_set(e, ERR_USAGE, "\"%.64s\" is not a time", text);
	return err_hint(e, "Write times as RFC 3339 with a zone: 2026-11-24T02:15:00Z or 2026-11-24T03:15:00+01:00.");
}

int
clock_parse_duration(int64_t *ms, const char *text, struct err *e)
{
	static const struct { const char *unit; int64_t ms; } units[] = {
		{ "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 }, { "d", 86400000 },
	};
	char *end;
	long long v;

	if (isdigit((unsigned char)text[0])) {
		errno = 0;
		v = strtoll(text, &end, 10);
		if (errno == 0 && v == 0 && *end == '\0') {
			*ms = 0;
			return 0;
		}
		for (size_t i = 0; errno == 0 && i < sizeof(units) / sizeof(units[0]); i++)
			if (strcmp(end, units[i].unit) == 0 && v <= INT64_MAX / units[i].ms) {
				*ms = v * units[i].ms;
				return 0;
			}
	}
	err_set(e, ERR_USAGE, "\"%.64s\" is not a length of time", text);
	return err_hint(e, "Write a whole number and a unit: 500ms, 90s, 15m, 12h or 7d.");
}

const char *
clock_human(char *to, int64_t ms)
{
	if (ms < 1000)
		snprintf(to, 32, "%" PRId64 " ms", ms);
	else if (ms < 60000)
		snprintf(to, 32, "%.1f s", (double)ms / 1000);
	else if (ms < 3600000)
		snprintf(to, 32, "%" PRId64 " min %02" PRId64 " s", ms / 60000, ms / 1000 % 60);
	else
		snprintf(to, 32, "%" PRId64 " h %02" PRId64 " min", ms / 3600000, ms / 60000 % 60);
	return to;
}
