#include "repo/retain.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static int
newest_first(const void *a, const void *b)
{
	const struct retain_item *x = a, *y = b;

	if (x->order_us != y->order_us)
		return x->order_us < y->order_us ? 1 : -1;
	return strcmp(x->id, y->id);
}

/* The number of the day, ISO week, month or year that a time lies in; equal numbers are the same period. */
static int64_t
period_of(int64_t time_us, enum retain_reason reason)
{
	time_t s = (time_t)(time_us / 1000000);
	struct tm tm;

	gmtime_r(&s, &tm);
	switch (reason) {
	case RETAIN_DAILY:
		return s / 86400;
	case RETAIN_WEEKLY:
		return (s / 86400 + 3) / 7;     /* 1970-01-01 was a Thursday; weeks begin on Monday */
	case RETAIN_MONTHLY:
		return tm.tm_year * 12 + tm.tm_mon;
	default:
		return tm.tm_year;
	}
}

/* Of one group: keeps the newest of each of the `wanted` newest periods. */
static void
keep_periods(struct retain_item *items, size_t count, const char *group, enum retain_reason reason, unsigned wanted)
{
	int64_t before = INT64_MIN;

	for (size_t i = 0; i < count && wanted > 0; i++) {
		int64_t period;

		if (strcmp(items[i].group, group) != 0)
			continue;
		period = reason == RETAIN_LAST ? (int64_t)i : period_of(items[i].time_us, reason);
		if (period == before)
			continue;
		before = period;
		items[i].keep |= reason;
		wanted--;
	}
}

static void
apply_to_group(struct retain_item *items, size_t count, const char *group, const struct retain_rule *rule)
{
	bool frozen = false, newest = true, proven_newer = false;
	unsigned proven = 0;

	keep_periods(items, count, group, RETAIN_LAST, rule->last);
	keep_periods(items, count, group, RETAIN_DAILY, rule->daily);
	keep_periods(items, count, group, RETAIN_WEEKLY, rule->weekly);
	keep_periods(items, count, group, RETAIN_MONTHLY, rule->monthly);
	keep_periods(items, count, group, RETAIN_YEARLY, rule->yearly);
	for (size_t i = 0; i < count; i++) {
		struct retain_item *it = &items[i];

		if (strcmp(it->group, group) != 0)
			continue;
		if (newest)
			frozen = it->suspect;
		newest = false;
		if (frozen)
			it->keep |= RETAIN_FROZEN;
		if (it->hold)
			it->keep |= RETAIN_HOLD;
		if (!proven_newer)
			it->keep |= RETAIN_UNPROVEN;
		if (it->proven && proven++ < rule->min_proven)
			it->keep |= RETAIN_PROVEN;
		proven_newer = proven_newer || it->proven;
	}
}

void
retain_apply(struct retain_item *items, size_t count, const struct retain_rule *rule)
{
	qsort(items, count, sizeof(*items), newest_first);
	for (size_t i = 0; i < count; i++)
		items[i].keep = 0;
	for (size_t i = 0; i < count; i++) {
		size_t k = 0;

		while (k < i && strcmp(items[k].group, items[i].group) != 0)
			k++;
		if (k == i)
			apply_to_group(items, count, items[i].group, rule);
	}
}

const char *
retain_word(enum retain_reason reason)
{
	switch (reason) {
	case RETAIN_LAST:
		return "last";
	case RETAIN_DAILY:
		return "daily";
	case RETAIN_WEEKLY:
		return "weekly";
	case RETAIN_MONTHLY:
		return "monthly";
	case RETAIN_YEARLY:
		return "yearly";
	case RETAIN_HOLD:
		return "on hold";
	case RETAIN_PROVEN:
		return "proven";
	case RETAIN_UNPROVEN:
		return "nothing newer is proven";
	case RETAIN_FROZEN:
		return "frozen: the newest backup is suspect";
	}
	return "";
}
