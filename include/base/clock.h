#ifndef HF_BASE_CLOCK_H
#define HF_BASE_CLOCK_H

#include <stdint.h>

#include "base/err.h"

/* Wall time: microseconds since 1970-01-01T00:00:00Z.  Never used to measure how long something took. */
int64_t clock_wall_us(void);

/* Milliseconds of a clock that only runs forward; for durations and deadlines. */
int64_t clock_mono_ms(void);

/* Sleeps; ends early, with ERR_STOPPED, when a signal asks us to stop. */
int clock_sleep_ms(int64_t ms, struct err *e) MUST_USE;

/* RFC 3339 in UTC, "2026-11-24T02:15:00.123456Z"; `to` needs CLOCK_TEXT bytes.  Whole seconds are written without a fraction
 * by clock_format_s ("2026-11-24T02:15:00Z"). */
#define CLOCK_TEXT 32
const char *clock_format(char *to, int64_t wall_us);
const char *clock_format_s(char *to, int64_t wall_us);

/* Strict RFC 3339 with a zone ("Z" or "+01:00"), nothing before or after it (R30).  0 or -1 with ERR_USAGE. */
int clock_parse(int64_t *wall_us, const char *text, struct err *e);

/* "90s", "15m", "12h", "7d", "500ms", or a bare 0: to milliseconds.  Anything else is ERR_USAGE (R30). */
int clock_parse_duration(int64_t *ms, const char *text, struct err *e);

/* "1 h 12 min", "3.4 s", "250 ms": for people.  `to` needs 32 characters. */
const char *clock_human(char *to, int64_t ms);

#endif
