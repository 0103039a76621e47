#include "report/say.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"

static const char *
unknown(char *to)
{
	snprintf(to, SAY_TEXT, "unknown");
	return to;
}

const char *
say_count(char *to, int64_t n)
{
	char digits[32];
	size_t length, out = 0;

	if (n < 0)
		return unknown(to);
	length = (size_t)snprintf(digits, sizeof(digits), "%" PRId64, n);
	for (size_t i = 0; i < length; i++) {
		if (i > 0 && (length - i) % 3 == 0)
			to[out++] = ',';
		to[out++] = digits[i];
	}
	to[out] = '\0';
	return to;
}

const char *
say_bytes(char *to, int64_t bytes)
{
	return bytes < 0 ? unknown(to) : bytes_human(to, (uint64_t)bytes);
}

const char *
say_ms(char *to, int64_t ms)
{
	const int64_t hour = 3600000, day = 24 * hour;

	if (ms < 0)
		return unknown(to);
	if (ms < 2 * day)
		return clock_human(to, ms);
	snprintf(to, SAY_TEXT, "%" PRId64 " d %02" PRId64 " h", ms / day, ms % day / hour);
	return to;
}

const char *
say_time(char *to, int64_t wall_us)
{
	char text[CLOCK_TEXT];

	if (wall_us < 0)
		return unknown(to);
	clock_format_s(text, wall_us);
	snprintf(to, SAY_TEXT, "%.10s %.8s UTC", text, text + 11);
	return to;
}

const char *
say_day(char *to, int64_t wall_us)
{
	if (wall_us < 0)
		return unknown(to);
	say_time(to, wall_us);
	to[10] = '\0';
	return to;
}

const char *
say_percent(char *to, int64_t part, int64_t whole)
{
	if (part < 0 || whole <= 0)
		return unknown(to);
	if (part > 0 && part < whole / 100)
		snprintf(to, SAY_TEXT, "under 1 %%");
	else
		snprintf(to, SAY_TEXT, "%.0f %%", 100.0 * (double)part / (double)whole);
	return to;
}
